//! `report`: writes one HTML page about a crawl.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::flags::{Configured, FileFlags, InputFlags, LogFlags, OutFlags, SemanticsFlags, StoreFlags, configured};
use super::reading::{lack_of_commits, open_to_show};
use super::streams::OutputPath;
use super::terminal::say;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::dataset::write::{ArtifactError, ArtifactFile, folder_of, make_folder, publish, remove_leftovers_of};
use crate::observe::human_bytes;
use crate::report::make_report;
use crate::{EXIT_INCOMPLETE, Error};

/// Bytes at the beginning of a report that hold the name of the program.
const HEAD_BYTES: u64 = 4096;

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// HTML file to write; - for standard output
    #[arg(short = 'o', long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    out: OutFlags,
    #[command(flatten)]
    semantics: SemanticsFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(ReportArgs: inputs, store, out, semantics, log);

pub(super) async fn run(args: &ReportArgs) -> Result<u8, Error> {
    let config = Arc::new(args.start()?);
    let place = OutputPath::of(&args.output).map_err(|error| at_output(&args.output, error))?;
    let output = place.path();
    let folder = folder_of(output).to_owned();
    let name = output.file_name().and_then(|name| name.to_str());
    let Some(name) = name else {
        let message = format!("--output {} is not a file name; try --output report.html", output.display());
        return Err(Error::Usage { message });
    };
    if output.exists() && !is_report(output) {
        let message = format!(
            "{} exists and is not a report of perfharvest, and is not overwritten; give another file with --output, or \
             move or remove it",
            output.display()
        );
        return Err(Error::Usage { message });
    }
    let store = Arc::new(open_to_show(&config.store)?);
    let _made = make_folder(&folder).map_err(|error| at_output(output, error))?;
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (reading, spill_dir) = (Arc::clone(&config), folder.clone());
    let made = blocking(move || make_report(&store, &reading, &spill_dir, &shutdown)).await;
    let report = made.map_err(|error| Error::of_thread("the report", error))??;
    remove_leftovers_of(output);
    let mut file = ArtifactFile::create(&folder, name)?;
    if let Err(error) = file.write_all(report.html.as_bytes()) {
        return Err(file.explain(error).into());
    }
    publish(&folder, vec![file.finish()?])?;
    say(&closing_line(&config, &place.name(), &report));
    place.deliver()?;
    Ok(if report.complete { 0 } else { EXIT_INCOMPLETE })
}

/// Begins the file as a report does?
fn is_report(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(HEAD_BYTES).read_to_end(&mut head));
    read.is_ok() && String::from_utf8_lossy(&head).contains("content=\"perfharvest ")
}

/// The folder in this error is the one of `--output`, not the one of the artifacts.
fn at_output(output: &Path, error: ArtifactError) -> Error {
    match error {
        ArtifactError::Folder { folder, source } => {
            let (output, folder) = (output.display(), folder.display());
            let message = format!("cannot write --output {output} in the folder {folder}: {source}; give another file");
            Error::Usage { message }
        }
        error => error.into(),
    }
}

fn closing_line(config: &Config, output: &str, report: &crate::report::Report) -> String {
    let mut text = format!("wrote the report to {output} ({})", human_bytes(report.html.len() as u64));
    if let Some(lack) = lack_of_commits(config) {
        text.push_str(&format!("\nnote: {lack}, so the report does not cover revisions"));
    }
    if !report.complete {
        text.push_str("\nnote: the crawl is not complete; the report says what is missing");
    }
    text
}
