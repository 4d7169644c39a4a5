//! `export`: the store as one file, or the dataset in it as tables.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Common, say};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::tables::{ExportSummary, Table, export as export_tables};
use crate::dataset::write::{ArtifactFile, publish};
use crate::model::Kind;
use crate::observe::human_bytes;
use crate::store::archive::{self, ArchiveError};
use crate::store::{CrawlIdentity, Store};
use crate::{EXIT_INCOMPLETE, Error};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The whole store in one compressed, checksummed file: a backup, which `import` takes in
    Archive,
    /// The dataset as Parquet files in a folder, for DuckDB, Spark, polars, pandas, …
    Parquet,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    /// The file, or for parquet the folder, to write [default: perfharvest-REPOSITORY-DATE.phar, DATE being the end of
    /// the data; for parquet, `parquet` in the artifacts' folder]
    #[arg(short = 'o', long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// With parquet: only these tables, separated by commas [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TABLE")]
    tables: Vec<Table>,
}

pub(super) async fn run(common: &Common<ExportArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let ExportArgs { format, output, tables } = &common.own;
    let (format, output) = (*format, output.clone());
    if format == Format::Archive && !tables.is_empty() {
        let message = "--tables goes with --format parquet; an archive always holds the whole store".to_owned();
        return Err(Error::Usage { message });
    }
    let tables: BTreeSet<Table> = if tables.is_empty() { Table::ALL.into() } else { tables.iter().copied().collect() };
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let exported = tokio::task::spawn_blocking(move || match format {
        Format::Archive => export(&config, output, &shutdown).map(|said| (said, 0)),
        Format::Parquet => export_parquet(&config, output, &tables, &shutdown),
    });
    let (said, code) = exported.await.map_err(|_| Error::Broken { part: "the export" })??;
    say(&said);
    Ok(code)
}

fn export_parquet(
    config: &Config,
    output: Option<PathBuf>,
    tables: &BTreeSet<Table>,
    shutdown: &Shutdown,
) -> Result<(String, u8), Error> {
    let store = Store::open_existing(&config.store)?;
    let folder = output.unwrap_or_else(|| config.artifacts.out.join("parquet"));
    if folder.exists() && !folder.is_dir() {
        let message = format!("{} is no folder; name one for the tables with --output", folder.display());
        return Err(Error::Usage { message });
    }
    let summary = export_tables(&store, config, &folder, tables, shutdown)?;
    let has_commits = config.inputs.commits.is_some();
    let said = table_lines(&folder, &summary) + &warnings(&summary, tables, has_commits);
    Ok((said, if summary.counts.is_complete() { 0 } else { EXIT_INCOMPLETE }))
}

fn table_lines(folder: &Path, summary: &ExportSummary) -> String {
    let mut text = format!("{}:", folder.display());
    for (name, table) in &summary.description.tables {
        text.push_str(&format!(
            "\n  {:24} {:>12} rows {:>12}",
            format!("{name}.parquet"),
            table.rows,
            human_bytes(table.bytes)
        ));
    }
    for table in &summary.removed {
        text.push_str(&format!("\nremoved {}, of an earlier export of something else", table.schema().file_name()));
    }
    text
}

/// What is missing from the tables, a line each.
fn warnings(summary: &ExportSummary, tables: &BTreeSet<Table>, has_commits: bool) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let counts = summary.counts.of(kind);
        let left_out = match kind {
            _ if counts.pending + counts.failed == 0 => continue,
            Kind::Alerts => "alert_summaries and alerts lack rows",
            Kind::Signatures => "signatures may lack rows, and data those of whole signatures",
            Kind::Summaries => "data, revisions and sig_groups are without these signatures",
            Kind::JobDetails => "jobs lacks rows",
        };
        text.push_str(&format!(
            "\nwarning: {} {} requests pending, {} failed: {left_out}",
            counts.pending,
            kind.name().replace('_', " "),
            counts.failed
        ));
    }
    if text.is_empty() && !summary.counts.is_complete() {
        text.push_str("\nwarning: the crawl was ended before all that follows from the lists was asked");
    }
    if !text.is_empty() {
        text.push_str("\nonly what is settled was exported; `perfharvest run` fetches the rest, then export again");
    }
    for (table, rows) in &summary.unreadable {
        text.push_str(&format!("\nwarning: {rows} records gave no row of {table}: they lack what every row has"));
    }
    if tables.contains(&Table::Revisions) && !has_commits {
        text.push_str(
            "\nwarning: without --commits, revisions has only those with data, and no commit_date: nothing tells which \
             commits lie in the window",
        );
    }
    text
}

fn export(config: &Config, output: Option<PathBuf>, shutdown: &Shutdown) -> Result<String, Error> {
    let store = Store::open_existing(&config.store)?;
    let path = match output {
        Some(path) => path,
        None => PathBuf::from(default_name(store.identity()?.as_ref())),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|_| !path.exists()) else {
        let message = format!("{} exists; nothing is overwritten: name another file with --output", path.display());
        return Err(Error::Usage { message });
    };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = ArtifactFile::create(folder, name)?;
    let summary = match archive::write(&store, &mut file, shutdown) {
        Ok(summary) => summary,
        Err(ArchiveError::Write { source }) => return Err(file.explain(source).into()),
        Err(error) => return Err(error.into()),
    };
    publish(folder, vec![file.finish()?])?;
    Ok(format!(
        "{}: {} in {} entries, {} in the file\n`perfharvest import {}` makes a store of it again",
        path.display(),
        human_bytes(summary.raw_bytes),
        summary.num_entries,
        human_bytes(summary.file_bytes),
        path.display(),
    ))
}

fn default_name(identity: Option<&CrawlIdentity>) -> String {
    let Some(identity) = identity else { return "perfharvest-empty.phar".to_owned() };
    let repository: String =
        identity.repository.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let end = identity.data_end.to_naive_string();
    format!("perfharvest-{repository}-{}.phar", end.split('T').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_after_the_repository_and_the_end_of_its_data() {
        let mut identity = CrawlIdentity::create(&Config::default(), "2026-11-22T08:03:00".parse().unwrap());
        assert_eq!(default_name(Some(&identity)), "perfharvest-autoland-2026-11-22.phar");
        identity.repository = "../x".to_owned();
        assert_eq!(default_name(Some(&identity)), "perfharvest-___x-2026-11-22.phar");
    }
}
