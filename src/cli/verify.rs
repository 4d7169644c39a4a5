//! `verify`: every stored value, the ledger, every artifact against the manifest; `--repair` mends what needs no network.

use std::io::Read as _;
use std::path::Path;

use clap::Args;
use sha2::{Digest as _, Sha256};

use super::{Common, advice, print, say};
use crate::Error;
use crate::dataset::Artifact;
use crate::dataset::write::{ArtifactEntry, MANIFEST_NAME, Manifest, leftovers_in};
use crate::store::{Finding, Remedy, StoreError, verify_store};

/// Exit code of a store or artifacts that are damaged, also where they were mended just now.
const EXIT_DAMAGED: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Mend what can be mended without the network
    #[arg(long)]
    repair: bool,
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

pub(super) fn run(common: &Common<VerifyArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let VerifyArgs { repair, json } = common.own;
    let mut open = 0_usize; // findings that are damage still
    let mut mended = 0_usize;
    let mut seen = Vec::new();
    let mut printed = Ok(());
    let mut found = |finding: Finding| {
        match finding.remedy {
            Remedy::None => {}
            Remedy::Mended => mended += 1,
            // What was put back into the frontier is no damage any more, and what was removed neither.
            Remedy::RunAgain | Remedy::Reduce if repair => mended += 1,
            Remedy::Repair | Remedy::RunAgain | Remedy::Reduce | Remedy::Lost => open += 1,
        }
        if !seen.contains(&finding.remedy) {
            seen.push(finding.remedy);
        }
        let line = if json { json_line(&finding) } else { Ok(text_line(&finding)) };
        let told = line.and_then(|line| print(&line));
        if printed.is_ok() {
            printed = told;
        }
    };
    verify_store(&config.store, repair, &mut found)?;
    verify_artifacts(&config.artifacts.out, repair, &mut found);
    printed?;
    let next = next_commands(&seen, repair);
    let next: Vec<_> = next.into_iter().map(|command| advice(&config, command)).collect();
    let next = next.join(", then: ");
    if open > 0 {
        let next =
            if next.is_empty() { "what is lost needs the steps above".to_owned() } else { format!("next: {next}") };
        say(&format!("{open} damaged or missing; {next}"));
        return Ok(EXIT_DAMAGED);
    }
    if mended > 0 {
        let next = if next.is_empty() { String::new() } else { format!("; next: {next}") };
        say(&format!("mended what can be mended without the network{next}"));
    } else {
        say("everything verifies");
    }
    Ok(0)
}

/// The commands that make it whole, in their order. A run makes the artifacts too.
fn next_commands(seen: &[Remedy], repair: bool) -> Vec<&'static str> {
    let saw = |remedy| seen.contains(&remedy);
    if saw(Remedy::Lost) {
        return Vec::new(); // nothing helps before that
    }
    let mut next = Vec::new();
    // A run asks again for what it meets, and one that has nothing to do meets nothing.
    if saw(Remedy::Repair) || (saw(Remedy::RunAgain) && !repair) {
        next.push(if repair { "perfharvest verify" } else { "perfharvest verify --repair" });
    }
    if saw(Remedy::RunAgain) || saw(Remedy::Mended) || (saw(Remedy::Repair) && !repair) {
        next.push("perfharvest run");
    } else if saw(Remedy::Reduce) {
        next.push("perfharvest reduce");
    }
    next
}

fn text_line(finding: &Finding) -> String {
    let remedy = match finding.remedy {
        Remedy::None => "harmless",
        Remedy::Repair => "repair",
        Remedy::RunAgain => "run again",
        Remedy::Reduce => "reduce",
        Remedy::Mended => "mended",
        Remedy::Lost => "lost",
    };
    let what: String = finding.what.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{remedy}: {what}\n")
}

fn json_line(finding: &Finding) -> Result<String, Error> {
    let line = serde_json::to_string(finding).map_err(|source| StoreError::Encode { source })?;
    Ok(line + "\n")
}

/// Holds the artifacts against their manifest. A damaged one is removed by a repair, so that it is made anew.
fn verify_artifacts(folder: &Path, repair: bool, found: &mut dyn FnMut(Finding)) {
    for leftover in leftovers_in(folder) {
        let remedy = if repair && std::fs::remove_file(&leftover).is_ok() { Remedy::Mended } else { Remedy::None };
        found(Finding::new(format!("{}: left by a process that was killed", leftover.display()), remedy));
    }
    let path = folder.join(MANIFEST_NAME);
    let manifest = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Manifest>(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return tell_unlisted(folder, found),
        Err(error) => Err(error.to_string()),
    };
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(why) => return tell_artifact(&path, &why, repair, found),
    };
    for (name, entry) in &manifest.artifacts {
        let path = folder.join(name);
        if is_missing(&path) {
            found(Finding::new(format!("{}: missing; `perfharvest reduce` makes it", path.display()), Remedy::Reduce));
        } else if let Err(why) = check_artifact(&path, entry) {
            tell_artifact(&path, &why, repair, found);
        }
    }
}

/// Without a manifest, artifacts prove nothing: a run was killed while it published them, or the manifest was lost. Where
/// there are none, none were made yet.
fn tell_unlisted(folder: &Path, found: &mut dyn FnMut(Finding)) {
    if Artifact::ALL.iter().any(|artifact| folder.join(artifact.file_name()).exists()) {
        let path = folder.join(MANIFEST_NAME);
        let what =
            format!("{}: missing, so the artifacts cannot be checked; `perfharvest reduce` makes it", path.display());
        found(Finding::new(what, Remedy::Reduce));
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn tell_artifact(path: &Path, why: &str, repair: bool, found: &mut dyn FnMut(Finding)) {
    let removed = repair && std::fs::remove_file(path).is_ok();
    let (what, remedy) = if removed {
        ("removed; `perfharvest reduce` makes it anew", Remedy::Reduce)
    } else {
        ("`perfharvest verify --repair` removes it, and then `perfharvest reduce` makes it anew", Remedy::Repair)
    };
    found(Finding::new(format!("{}: {why}; {what}", path.display()), remedy));
}

fn check_artifact(path: &Path, entry: &ArtifactEntry) -> Result<(), String> {
    let mut file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    let mut hash = Sha256::new();
    let mut block = vec![0; 256 << 10];
    let mut bytes = 0_u64;
    loop {
        match file.read(&mut block).map_err(|error| error.to_string())? {
            0 => break,
            read => {
                hash.update(&block[..read]);
                bytes += read as u64;
            }
        }
    }
    if bytes != entry.bytes {
        return Err(format!("it has {bytes} bytes, the manifest says {}", entry.bytes));
    }
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 == entry.sha256 { Ok(()) } else { Err("its bytes are not those that the manifest knows".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_answers_are_to_be_repaired_before_a_run_asks_for_them() {
        let (verify, run) = ("perfharvest verify --repair", "perfharvest run");
        assert_eq!(next_commands(&[Remedy::RunAgain], false), [verify, run]);
        assert_eq!(next_commands(&[Remedy::RunAgain, Remedy::Mended], true), [run]);
        assert_eq!(next_commands(&[Remedy::Repair, Remedy::Reduce], false), [verify, run]);
        assert_eq!(next_commands(&[Remedy::Reduce], false), ["perfharvest reduce"]);
        assert!(next_commands(&[Remedy::Lost, Remedy::RunAgain], false).is_empty());
    }
}
