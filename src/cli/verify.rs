//! `verify`: checks every stored value, the ledger, and the artifacts against their manifest; `--repair` makes the
//! repairs that need no network.

use std::io::Read as _;
use std::path::Path;

use clap::Args;
use sha2::{Digest as _, Sha256};

use super::advice::advice;
use super::flags::{Configured, FileFlags, LogFlags, OutFlags, StoreFlags, configured};
use super::terminal::{print, say};
use crate::Error;
use crate::config::Config;
use crate::dataset::write::{ArtifactEntry, MANIFEST_NAME, Manifest, leftovers_in};
use crate::dataset::{Artifact, FolderError, FolderKind, Owner};
use crate::model::printable;
use crate::observe::counted;
use crate::store::{Finding, Remedy, StoreError, verify_store};

/// Exit code if damage is left.
const EXIT_DAMAGED: u8 = 4;

#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Make all repairs that need no network
    #[arg(long)]
    repair: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    out: OutFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(VerifyArgs: store, out, log);

/// The findings so far, by remedy.
#[derive(Debug, Default)]
struct Tally {
    /// Damage that is left.
    num_open: u64,
    num_repaired: u64,
    /// Each remedy once.
    remedies: Vec<Remedy>,
}

impl Tally {
    fn add(&mut self, remedy: Remedy, repair: bool) {
        match remedy {
            Remedy::None => {}
            Remedy::Repaired => self.num_repaired += 1,
            // A repair has put the request back into the frontier, or removed the artifact: no damage is left.
            Remedy::RunAgain | Remedy::Reduce if repair => self.num_repaired += 1,
            Remedy::Repair | Remedy::RunAgain | Remedy::Reduce | Remedy::Move | Remedy::Lost => self.num_open += 1,
        }
        if !self.remedies.contains(&remedy) {
            self.remedies.push(remedy);
        }
    }

    fn closing_line(&self, config: &Config, repair: bool) -> String {
        let next = next_commands(&self.remedies, repair);
        let next: Vec<_> = next.into_iter().map(|command| advice(config, command)).collect();
        let next = if next.is_empty() { String::new() } else { format!("; next: {}", next.join(", then: ")) };
        if self.num_open > 0 {
            let problems = counted(self.num_open, "problem", "problems");
            if self.remedies.contains(&Remedy::Lost) {
                return format!("{problems} found; some data is lost: follow the advice above");
            }
            format!("{problems} found{next}")
        } else if self.num_repaired > 0 {
            format!("{} repaired{next}", counted(self.num_repaired, "problem", "problems"))
        } else {
            "no damage found".to_owned()
        }
    }
}

pub(super) fn run(args: &VerifyArgs) -> Result<u8, Error> {
    let config = args.start()?;
    let VerifyArgs { repair, json, .. } = *args;
    let mut tally = Tally::default();
    let mut printed = Ok(());
    let mut found = |finding: Finding| {
        tally.add(finding.remedy, repair);
        let line = if json { json_line(&finding) } else { Ok(text_line(&finding)) };
        let this = line.and_then(|line| print(&line));
        if printed.is_ok() {
            printed = this;
        }
    };
    verify_store(&config.store, repair, &mut found)?;
    verify_artifacts(&config, repair, &mut found);
    printed?;
    say(&tally.closing_line(&config, repair));
    Ok(if tally.num_open > 0 { EXIT_DAMAGED } else { 0 })
}

/// The commands to run next, in order. A run also makes the artifacts.
fn next_commands(seen: &[Remedy], repair: bool) -> Vec<&'static str> {
    let saw = |remedy| seen.contains(&remedy);
    if saw(Remedy::Lost) {
        return Vec::new(); // no command helps before the lost data is dealt with
    }
    let mut next = Vec::new();
    // A run repairs only the damage that it reads, and a run with nothing to do reads nothing.
    if saw(Remedy::Repair) || (saw(Remedy::RunAgain) && !repair) {
        next.push(if repair { "perfharvest verify" } else { "perfharvest verify --repair" });
    }
    if saw(Remedy::RunAgain) || saw(Remedy::Repaired) || (saw(Remedy::Repair) && !repair) {
        next.push("perfharvest run");
    } else if saw(Remedy::Reduce) {
        next.push("perfharvest reduce");
    }
    next
}

fn text_line(finding: &Finding) -> String {
    let remedy = match finding.remedy {
        Remedy::None => "harmless",
        Remedy::Repair => "needs repair",
        Remedy::RunAgain => "needs run",
        Remedy::Reduce => "needs reduce",
        Remedy::Repaired => "repaired",
        Remedy::Move => "needs you",
        Remedy::Lost => "lost",
    };
    format!("{remedy}: {}\n", printable(&finding.what, usize::MAX))
}

fn json_line(finding: &Finding) -> Result<String, Error> {
    let line = serde_json::to_string(finding).map_err(|source| StoreError::Encode { source })?;
    Ok(line + "\n")
}

/// Compares the artifacts with their manifest. A repair removes damaged ones, so that they are made again.
fn verify_artifacts(config: &Config, repair: bool, found: &mut dyn FnMut(Finding)) {
    let folder = &config.artifacts.out;
    if !folder.is_dir() {
        let reduce = advice(config, "perfharvest reduce");
        let what = format!("{}: there is no such folder; `{reduce}` makes the artifacts", folder.display());
        return found(Finding::new(what, Remedy::None));
    }
    let kind = FolderKind::artifacts();
    let unlisted = match Owner::at(&config.store.path).map(|owner| kind.check(folder, &owner)) {
        Some(Err(error @ FolderError::OtherStore { .. })) => {
            return found(Finding::new(error.to_string(), Remedy::Move));
        }
        Some(Err(error)) => Some(error),
        Some(Ok(())) | None => None,
    };
    let reduce = advice(config, "perfharvest reduce");
    for leftover in leftovers_in(folder) {
        let remedy = if repair && std::fs::remove_file(&leftover).is_ok() { Remedy::Repaired } else { Remedy::None };
        found(Finding::new(format!("{}: temporary file of a process that was killed", leftover.display()), remedy));
    }
    let path = folder.join(MANIFEST_NAME);
    let manifest = match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice::<Manifest>(&text).map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return report_missing_manifest(folder, &reduce, found);
        }
        Err(error) => Err(error.to_string()),
    };
    let manifest = match manifest {
        Ok(manifest) => manifest,
        Err(why) => return report_damage(config, &path, &why, repair, found),
    };
    if let Some(error) = unlisted {
        found(Finding::new(error.to_string(), Remedy::Move));
    }
    for name in &manifest.run.publishing {
        let what =
            format!("{}: a process was killed while it replaced it; `{reduce}` makes it", folder.join(name).display());
        found(Finding::new(what, Remedy::Reduce));
    }
    for (name, entry) in manifest.artifacts.iter().chain(&manifest.run.changes) {
        let path = folder.join(name);
        if is_missing(&path) {
            found(Finding::new(format!("{}: missing; `{reduce}` makes it", path.display()), Remedy::Reduce));
        } else if let Err(why) = check_artifact(&path, entry) {
            report_damage(config, &path, &why, repair, found);
        }
    }
}

/// Artifacts without a manifest cannot be checked: a run was killed while publishing them, or the manifest was lost. A
/// folder without artifacts needs no manifest.
fn report_missing_manifest(folder: &Path, reduce: &str, found: &mut dyn FnMut(Finding)) {
    if Artifact::ALL.iter().any(|artifact| folder.join(artifact.file_name()).exists()) {
        let path = folder.join(MANIFEST_NAME);
        let what = format!(
            "{}: missing, so the artifacts cannot be checked; `{reduce}` makes it, unless they are of other origin",
            path.display()
        );
        found(Finding::new(what, Remedy::Reduce));
    }
}

fn is_missing(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

fn report_damage(config: &Config, path: &Path, why: &str, repair: bool, found: &mut dyn FnMut(Finding)) {
    let removed = repair && std::fs::remove_file(path).is_ok();
    let reduce = advice(config, "perfharvest reduce");
    let (what, remedy) = if removed {
        (format!("removed; `{reduce}` makes it again"), Remedy::Reduce)
    } else {
        let repair = advice(config, "perfharvest verify --repair");
        (format!("`{repair}` removes it, and then `{reduce}` makes it again"), Remedy::Repair)
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
        return Err(format!("its size is {bytes} bytes, but {MANIFEST_NAME} says {}", entry.bytes));
    }
    let sha256: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if sha256 == entry.sha256 { Ok(()) } else { Err(format!("its content differs from the digest in {MANIFEST_NAME}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_answers_are_repaired_before_a_run_fetches_them() {
        let (verify, run) = ("perfharvest verify --repair", "perfharvest run");
        assert_eq!(next_commands(&[Remedy::RunAgain], false), [verify, run]);
        assert_eq!(next_commands(&[Remedy::RunAgain, Remedy::Repaired], true), [run]);
        assert_eq!(next_commands(&[Remedy::Repair, Remedy::Reduce], false), [verify, run]);
        assert_eq!(next_commands(&[Remedy::Reduce], false), ["perfharvest reduce"]);
        assert!(next_commands(&[Remedy::Lost, Remedy::RunAgain], false).is_empty());
    }
}
