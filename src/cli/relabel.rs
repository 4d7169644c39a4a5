//! `relabel`: relabels `perf_llm_struc` records using the stored alerts and signatures.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};

use clap::Args;

use super::flags::{Configured, FileFlags, LogFlags, StoreFlags, configured};
use super::reading::open_to_show;
use super::streams::{InputPath, OutputPath};
use super::terminal::say;
use crate::Error;
use crate::dataset::relabel_with_store;
use crate::dataset::write::{ArtifactError, ArtifactFile, folder_of, publish, remove_leftovers_of};
use crate::model::FrameworkId;

#[derive(Debug, Args)]
pub(super) struct RelabelArgs {
    #[arg(
        long,
        value_name = "FILE",
        help = "Records to relabel: one JSON object per line, with \"commit_id\" and \"response\"; - for standard input"
    )]
    input: PathBuf,
    /// File to write the relabelled records to; - for standard output
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
    let store = open_to_show(&config.store)?;
    let ids = args.exclude_framework_ids.as_ref().unwrap_or(&config.artifacts.excluded_framework_ids);
    let excluded: BTreeSet<FrameworkId> = ids.iter().copied().map(FrameworkId).collect();
    let input = InputPath::of(&args.input)?;
    let place = OutputPath::of(&args.output)?;
    let mut output = begin(place.path())?;
    let rules = (&excluded, config.artifacts.semantics);
    let report = relabel_with_store(&store, rules, input.path(), NonZeroU64::new(args.limit), &mut output)?;
    finish(place.path(), output)?;
    if let Some(path) = &args.report_json {
        let place = OutputPath::of(path)?;
        let path = place.path();
        let mut file = begin(path)?;
        let written = file.write_all(report.as_bytes());
        written.map_err(|source| ArtifactError::Write { path: path.to_owned(), source })?;
        finish(path, file)?;
        place.deliver()?;
    }
    say(&format!("wrote the relabelled records to {}", place.name()));
    place.deliver()?;
    Ok(0)
}

fn begin(path: &Path) -> Result<ArtifactFile, Error> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::Usage { message: format!("{} is not a file name; give a file to write", path.display()) });
    };
    remove_leftovers_of(path);
    Ok(ArtifactFile::create(folder_of(path), name)?)
}

fn finish(path: &Path, file: ArtifactFile) -> Result<(), Error> {
    Ok(publish(folder_of(path), vec![file.finish()?])?)
}
