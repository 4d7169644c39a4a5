//! `import`: fills an empty store from an archive or from the files of the older scripts, or merges these into a store.

use std::path::{Path, PathBuf};

use clap::Args;

use super::advice::advice;
use super::flags::{Configured, FileFlags, LogFlags, SourceFlags, StoreFlags, WindowFlags, configured};
use super::streams::InputPath;
use super::terminal::say;
use crate::Error;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::fetch::first_requests;
use crate::import::{
    ALERTS_NAME, DATA_NAME, EndProof, FileReport, ImportSummary, JOBS_NAME, NamedLines, import_folder, merge_folder,
};
use crate::observe::{counted, human_bytes};
use crate::store::{Absorbed, Lateness, archive, is_filled};

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// Archive, or folder with the files of the older scripts; - for an archive on standard input
    #[arg(value_name = "FILE|DIR")]
    from: PathBuf,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    source: SourceFlags,
    #[command(flatten)]
    window: WindowFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(ImportArgs: source, window, store, log);

pub(super) async fn run(args: &ImportArgs) -> Result<u8, Error> {
    let config = args.start()?;
    let from = args.from.clone();
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let imported = blocking(move || import(&from, &config, &shutdown)).await;
    say(&imported.map_err(|error| Error::of_thread("the import", error))??);
    Ok(0)
}

fn import(from: &Path, config: &Config, shutdown: &Shutdown) -> Result<String, Error> {
    let is_merged = is_filled(&config.store)?;
    if from.is_dir() {
        let (summary, absorbed) = if is_merged {
            let (summary, absorbed) = merge_folder(from, config, shutdown)?;
            (summary, Some(absorbed))
        } else {
            (import_folder(from, config, shutdown)?, None)
        };
        let mut text = folder_lines(&summary);
        text.push_str(&absorbed.as_ref().map(merged_lines).unwrap_or_default());
        if from.join(ALERTS_NAME).exists() {
            text.push_str(&format!(
                "{ALERTS_NAME}: not imported; the server still has the alerts, and the next run fetches them\n"
            ));
        }
        return Ok(text + &next_step(config));
    }
    let from = InputPath::of(from)?;
    if is_merged {
        let (lateness, first) = (Lateness::of(&config.window, false), first_requests(&config.batch));
        let (_, absorbed) = archive::merge(from.path(), &config.store, lateness, &first, shutdown)?;
        let absorbed = absorbed.ok_or(archive::ArchiveError::Interrupted)?;
        return Ok(merged_lines(&absorbed) + &next_step(config));
    }
    let summary = archive::read(from.path(), &config.store, shutdown)?;
    let counts = &summary.header.counts;
    let mut text = format!(
        "imported {}, {}\n{} settled, {} pending, {} failed\nstore: {}",
        counted(summary.num_entries, "entry", "entries"),
        human_bytes(summary.raw_bytes),
        counted(counts.settled(), "request", "requests"),
        counts.pending(),
        counts.failed(),
        config.store.path.display(),
    );
    if let Some(crawl) = &summary.header.identity {
        text.push_str(&format!(
            "; {} from {}, commits {} to {}, data until {}",
            crawl.repository, crawl.base_url, crawl.window_start, crawl.window_end, crawl.data_end
        ));
    }
    Ok(text)
}

fn next_step(config: &Config) -> String {
    format!("store: {}; to complete it, run: {}", config.store.path.display(), advice(config, "perfharvest run"))
}

/// The lines about a merge with the data that the store had.
fn merged_lines(absorbed: &Absorbed) -> String {
    let reading =
        if absorbed.is_newer { "newer than the store: the next harvest is open" } else { "joined as older data" };
    let mut text = format!(
        "merged ({reading}): {} of {}, {} of signatures, alert summaries and jobs\n",
        counted(absorbed.data, "datum", "data"),
        counted(absorbed.signatures, "signature", "signatures"),
        counted(absorbed.records, "new record", "new records"),
    );
    for (count, one, many) in [
        (
            absorbed.left_out,
            "signature left out: the scope excludes it, or requests failed; import again after `perfharvest run`",
            "signatures left out: the scope excludes them, or requests failed; import again after `perfharvest run`",
        ),
        (absorbed.outside, "datum outside the data window, left out", "data outside the data window, left out"),
        (absorbed.set_aside, "record that was set aside, left out", "records that were set aside, left out"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {}\n", counted(count, one, many)));
        }
    }
    text
}

fn folder_lines(summary: &ImportSummary) -> String {
    let mut text = String::new();
    for (name, report) in &summary.files {
        match report {
            None => text.push_str(&format!("{name}: not found\n")),
            Some(report) => text.push_str(&file_lines(name, report)),
        }
    }
    let window = summary.identity.data_window();
    text.push_str(&format!("data from {} until {} ({})", window.start, window.end, summary.end_proof));
    if matches!(summary.end_proof, EndProof::NewestPush | EndProof::Manifest) {
        text.push_str("; `perfharvest refresh` fetches the data that came later");
    }
    text.push('\n');
    text
}

fn file_lines(name: &str, report: &FileReport) -> String {
    let mut text = format!("{name}: {}, ", counted(report.lines, "line", "lines"));
    match name {
        DATA_NAME => text.push_str(&format!(
            "{} with {}",
            counted(report.taken, "signature", "signatures"),
            counted(report.data, "datum", "data")
        )),
        JOBS_NAME => text.push_str(&counted(report.taken, "job", "jobs")),
        _ => text.push_str(&counted(report.taken, "signature", "signatures")),
    }
    text.push('\n');
    for (count, one, many) in [
        (
            report.empty,
            "empty list, which may hide an error: the next run fetches it again",
            "empty lists, which may hide errors: the next run fetches them again",
        ),
        (report.outside, "datum outside the data window, left out", "data outside the data window, left out"),
        (report.doubled, "duplicate row, merged", "duplicate rows, merged"),
        (
            report.corrected,
            "row with values that are not valid JSON, corrected",
            "rows with values that are not valid JSON, corrected",
        ),
        (
            report.torn.count,
            "incomplete or malformed row, left out: the next run fetches its data",
            "incomplete or malformed rows, left out: the next run fetches their data",
        ),
    ] {
        if count > 0 {
            text.push_str(&format!("  {}\n", counted(count, one, many)));
        }
    }
    push_lines(&mut text, &report.torn);
    if report.set_aside.count > 0 {
        let (one, many) = ("datum set aside or corrected", "data set aside or corrected");
        text.push_str(&format!("  {}\n", counted(report.set_aside.count, one, many)));
        push_lines(&mut text, &report.set_aside);
    }
    text
}

fn push_lines(text: &mut String, lines: &NamedLines) {
    for (line, what) in &lines.first {
        text.push_str(&format!("    line {line}: {what}\n"));
    }
    if lines.count > lines.first.len() as u64 {
        text.push_str("    …\n");
    }
}
