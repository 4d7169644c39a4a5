//! `report`: one page that shows what a crawl holds.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::{Common, say};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::write::{ArtifactError, ArtifactFile, check_folder, publish};
use crate::observe::human_bytes;
use crate::report::make_report;
use crate::store::Store;
use crate::{EXIT_INCOMPLETE, Error};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The page to write
    #[arg(long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
}

pub(super) async fn run(common: &Common<ReportArgs>) -> Result<u8, Error> {
    let config = Arc::new(common.flags.start()?);
    let output = &common.own.output;
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let name = output.file_name().and_then(|name| name.to_str()).filter(|_| !output.is_dir());
    let Some(name) = name else {
        let message = format!("--output {} names no file; try --output report.html", output.display());
        return Err(Error::Usage { message });
    };
    let store = Arc::new(Store::open_existing(&config.store)?);
    check_folder(&folder).map_err(|error| at_output(output, error))?;
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let (reading, spill_dir) = (Arc::clone(&config), folder.clone());
    let made = tokio::task::spawn_blocking(move || make_report(&store, &reading, &spill_dir, &shutdown)).await;
    let report = made.map_err(|_| Error::Broken { part: "the report" })??;
    let mut file = ArtifactFile::create(&folder, name)?;
    if let Err(error) = file.write_all(report.html.as_bytes()) {
        return Err(file.explain(error).into());
    }
    publish(&folder, vec![file.finish()?])?;
    say(&closing_line(&config, output, &report));
    Ok(if report.complete { 0 } else { EXIT_INCOMPLETE })
}

/// The folder here is that of `--output`, not that of the artifacts.
fn at_output(output: &Path, error: ArtifactError) -> Error {
    match error {
        ArtifactError::Folder { folder, source } => {
            let (output, folder) = (output.display(), folder.display());
            let message =
                format!("cannot write --output {output} into the folder {folder}: {source}; name another file");
            Error::Usage { message }
        }
        error @ ArtifactError::Write { .. } => error.into(),
    }
}

fn closing_line(config: &Config, output: &Path, report: &crate::report::Report) -> String {
    let mut text = format!("{} of report in {}", human_bytes(report.html.len() as u64), output.display());
    if config.inputs.commits.is_none() {
        text.push_str("\nwithout --commits, it says nothing of revisions");
    }
    if !report.complete {
        text.push_str("\nthe crawl is not complete, and the report says so");
    }
    text
}
