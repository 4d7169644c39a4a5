//! `relabel`: `perf_llm_struc` records, by the stored alerts and signatures.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Common, say};
use crate::Error;
use crate::dataset::relabel_with_store;
use crate::dataset::write::{ArtifactError, ArtifactFile, publish};
use crate::model::FrameworkId;
use crate::store::Store;

#[derive(Debug, Args)]
pub(super) struct RelabelArgs {
    #[arg(long, value_name = "FILE", help = "The records: a JSON object a line, with \"commit_id\" and \"response\"")]
    input: PathBuf,
    /// Where the relabelled records go
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    #[arg(long, value_name = "ID,…", value_delimiter = ',')]
    #[arg(help = "Frameworks whose regressions do not count [default: artifacts.excluded_framework_ids]")]
    exclude_framework_ids: Option<Vec<u64>>,
    /// Where a report of what was changed goes
    #[arg(long, value_name = "FILE")]
    report_json: Option<PathBuf>,
    /// Read only that many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

pub(super) fn run(common: &Common<RelabelArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let args = &common.own;
    let store = Store::open_existing(&config.store)?;
    let ids = args.exclude_framework_ids.as_ref().unwrap_or(&config.artifacts.excluded_framework_ids);
    let excluded: BTreeSet<FrameworkId> = ids.iter().copied().map(FrameworkId).collect();
    let mut output = begin(&args.output)?;
    let report = relabel_with_store(&store, &excluded, &args.input, args.limit, &mut output)?;
    finish(&args.output, output)?;
    if let Some(path) = &args.report_json {
        let mut file = begin(path)?;
        let written = file.write_all(report.as_bytes());
        written.map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
        finish(path, file)?;
    }
    say(&format!("relabelled records in {}", args.output.display()));
    Ok(0)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn begin(path: &Path) -> Result<ArtifactFile, Error> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
        return Err(Error::Usage { message: format!("{} is no name of a file", path.display()) });
    };
    Ok(ArtifactFile::create(folder_of(path), name)?)
}

fn finish(path: &Path, file: ArtifactFile) -> Result<(), Error> {
    Ok(publish(folder_of(path), vec![file.finish()?])?)
}
