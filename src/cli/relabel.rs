//! `relabel`: relabels `perf_llm_struc` records using the stored alerts and signatures.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::Args;

use super::flags::{Configured, FileFlags, LogFlags, StoreFlags, configured};
use super::reading::open_to_read;
use super::terminal::say;
use crate::Error;
use crate::dataset::relabel_with_store;
use crate::dataset::write::{ArtifactError, ArtifactFile, publish};
use crate::model::FrameworkId;

#[derive(Debug, Args)]
pub(super) struct RelabelArgs {
    #[arg(
        long,
        value_name = "FILE",
        help = "Records to relabel: one JSON object per line, with \"commit_id\" and \"response\""
    )]
    input: PathBuf,
    /// File to write the relabelled records to
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    #[arg(help = "Frameworks whose regressions do not count [default: artifacts.excluded_framework_ids: 2,6,18]")]
    exclude_framework_ids: Option<Vec<u64>>,
    /// File to write a report of the changes to [default: none]
    #[arg(long, value_name = "FILE")]
    report_json: Option<PathBuf>,
    /// Write only the first N records; 0 for all
    #[arg(long, value_name = "N", default_value_t = 0)]
    limit: u64,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(RelabelArgs: store, log);

pub(super) fn run(args: &RelabelArgs) -> Result<u8, Error> {
    let config = args.start()?;
    let store = open_to_read(&config.store)?;
    let ids = args.exclude_framework_ids.as_ref().unwrap_or(&config.artifacts.excluded_framework_ids);
    let excluded: BTreeSet<FrameworkId> = ids.iter().copied().map(FrameworkId).collect();
    let mut output = begin(&args.output)?;
    let rules = (&excluded, config.artifacts.semantics);
    let report = relabel_with_store(&store, rules, &args.input, NonZeroU64::new(args.limit), &mut output)?;
    finish(&args.output, output)?;
    if let Some(path) = &args.report_json {
        let mut file = begin(path)?;
        let written = file.write_all(report.as_bytes());
        written.map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
        finish(path, file)?;
    }
    say(&format!("wrote the relabelled records to {}", args.output.display()));
    Ok(0)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn begin(path: &Path) -> Result<ArtifactFile, Error> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::Usage { message: format!("{} is not a file name; give a file to write", path.display()) });
    };
    Ok(ArtifactFile::create(folder_of(path), name)?)
}

fn finish(path: &Path, file: ArtifactFile) -> Result<(), Error> {
    Ok(publish(folder_of(path), vec![file.finish()?])?)
}
