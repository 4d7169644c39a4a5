//! `import`: an archive, or the files of the older scripts, into an empty store.

use std::path::{Path, PathBuf};

use clap::Args;

use super::{Common, say};
use crate::Error;
use crate::actor::Shutdown;
use crate::config::Config;
use crate::import::{ALERTS_NAME, DATA_NAME, FileReport, ImportSummary, JOBS_NAME, import_folder};
use crate::observe::human_bytes;
use crate::store::archive;

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// An archive, or the folder of the older scripts' files
    #[arg(value_name = "FILE|DIR")]
    from: PathBuf,
}

pub(super) async fn run(common: &Common<ImportArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let from = common.own.from.clone();
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let imported = tokio::task::spawn_blocking(move || import(&from, &config, &shutdown)).await;
    say(&imported.map_err(|_| Error::Broken { part: "the import" })??);
    Ok(0)
}

fn import(from: &Path, config: &Config, shutdown: &Shutdown) -> Result<String, Error> {
    let place = config.store.path.display();
    if from.is_dir() {
        let summary = import_folder(from, config, shutdown)?;
        let mut text = folder_lines(&summary);
        if from.join(ALERTS_NAME).exists() {
            text.push_str(&format!(
                "{ALERTS_NAME}: not read; the next run asks for the alerts, which the server keeps\n"
            ));
        }
        return Ok(text + &format!("store {place}; `perfharvest run` completes it"));
    }
    let summary = archive::read(from, &config.store, shutdown)?;
    let counts = &summary.header.counts;
    let mut text = format!(
        "{} entries, {}, checked and taken in\n{} requests settled, {} pending, {} failed\nstore {place}",
        summary.num_entries,
        human_bytes(summary.raw_bytes),
        counts.settled(),
        counts.pending(),
        counts.failed(),
    );
    if let Some(crawl) = &summary.header.identity {
        text.push_str(&format!(
            ": {} of {}, commits {} to {}, data until {}",
            crawl.repository, crawl.base_url, crawl.window_start, crawl.window_end, crawl.data_end
        ));
    }
    Ok(text)
}

fn folder_lines(summary: &ImportSummary) -> String {
    let mut text = String::new();
    for (name, report) in &summary.files {
        match report {
            None => text.push_str(&format!("{name}: not there\n")),
            Some(report) => text.push_str(&file_lines(name, report)),
        }
    }
    let window = summary.identity.data_window();
    text.push_str(&format!("data from {} until {}", window.start, window.end));
    if summary.guessed_data_end {
        text.push_str(&format!(
            ", when {DATA_NAME} was last written; --data-end names another end, if data were fetched only until then"
        ));
    }
    text.push('\n');
    text
}

fn file_lines(name: &str, report: &FileReport) -> String {
    let mut text = format!("{name}: {} lines, ", report.lines);
    match name {
        DATA_NAME => text.push_str(&format!("{} signatures with {} data", report.taken, report.data)),
        JOBS_NAME => text.push_str(&format!("{} jobs", report.taken)),
        _ => text.push_str(&format!("{} signatures", report.taken)),
    }
    text.push('\n');
    for (count, what) in [
        (report.empty, "empty lists, which may be swallowed errors: the next run asks again"),
        (report.outside, "data outside of the data window, left out"),
        (report.doubled, "doubled rows, joined"),
        (report.torn.count, "torn or malformed rows, left out; what they held is asked by the next run"),
    ] {
        if count > 0 {
            text.push_str(&format!("  {count} {what}\n"));
        }
    }
    for (line, what) in &report.torn.first {
        text.push_str(&format!("    line {line}: {what}\n"));
    }
    if report.torn.count > report.torn.first.len() as u64 {
        text.push_str("    …\n");
    }
    text
}
