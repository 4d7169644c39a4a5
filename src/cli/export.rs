//! `export`: writes the store as one file, or the dataset as Parquet tables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::advice::{advice, quoted};
use super::flags::{Configured, FileFlags, InputFlags, LogFlags, OutFlags, StoreFlags, configured};
use super::reading::{lack_of_commits, open_to_read, open_to_show};
use super::streams::OutputPath;
use super::summary::set_aside_line;
use super::terminal::say;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::dataset::tables::{ExportSummary, Table, export as export_tables};
use crate::dataset::write::{ArtifactFile, folder_of, publish, remove_leftovers_of};
use crate::model::Kind;
use crate::observe::{counted, human_bytes};
use crate::store::archive::{self, ArchiveError};
use crate::store::{CrawlIdentity, Tally};
use crate::{EXIT_INCOMPLETE, Error};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The whole store in one compressed file with checksums: a backup, which `import` restores
    Archive,
    /// The dataset as a folder of Parquet files, for DuckDB, Spark, polars, pandas, …
    Parquet,
}

/// The answer to an export without a format.
const FORMATS: &str = "export needs a format:\n  \
    perfharvest export --format archive  # the whole store in one file: a backup, which `perfharvest import` restores\n  \
    perfharvest export --format parquet  # the dataset as Parquet files, for DuckDB, Spark, polars, pandas";

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Format to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Option<Format>,
    /// File (archive) or folder (parquet) to write [default: perfharvest-REPOSITORY-DATE.harvest, where DATE is the end of
    /// the data; for parquet, OUT/parquet]
    #[arg(short = 'o', long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Tables to write, separated by commas; only with parquet [default: all]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "TABLE")]
    tables: Vec<Table>,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    out: OutFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(ExportArgs: inputs, store, out, log);

impl ExportArgs {
    /// The name of the output tells the repository.
    pub(super) const fn has_default_output(&self) -> bool {
        self.output.is_none()
    }
}

pub(super) async fn run(args: &ExportArgs) -> Result<u8, Error> {
    let Some(format) = args.format else {
        return Err(Error::Usage { message: FORMATS.to_owned() });
    };
    let config = args.start()?;
    let (output, tables) = (args.output.clone(), &args.tables);
    if format == Format::Archive && !tables.is_empty() {
        let message =
            "--tables works only with --format parquet; an archive always contains the whole store".to_owned();
        return Err(Error::Usage { message });
    }
    let tables: BTreeSet<Table> = if tables.is_empty() { Table::ALL.into() } else { tables.iter().copied().collect() };
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let exported = blocking(move || match format {
        Format::Archive => export(&config, output, &shutdown).map(|said| (said, 0)),
        Format::Parquet => export_parquet(&config, output, &tables, &shutdown),
    });
    let (said, code) = exported.await.map_err(|error| Error::of_thread("the export", error))??;
    say(&said);
    Ok(code)
}

fn export_parquet(
    config: &Config,
    output: Option<PathBuf>,
    tables: &BTreeSet<Table>,
    shutdown: &Shutdown,
) -> Result<(String, u8), Error> {
    let store = open_to_show(&config.store)?;
    let folder = output.unwrap_or_else(|| config.artifacts.out.join("parquet"));
    if folder.as_os_str() == "-" {
        let message = "the tables are several files, so they cannot go to standard output; give a folder with --output";
        return Err(Error::Usage { message: message.to_owned() });
    }
    if folder.exists() && !folder.is_dir() {
        let message = format!("{} is not a folder; give a folder for the tables with --output", folder.display());
        return Err(Error::Usage { message });
    }
    if *tables == BTreeSet::from([Table::Replicates])
        && store.identity()?.is_some_and(|identity| !identity.scope.replicates)
    {
        let message = "the store has no replicates; `perfharvest run --set scope.replicates=true` fetches them";
        return Err(Error::Usage { message: message.to_owned() });
    }
    let summary = export_tables(&store, config, &folder, tables, shutdown)?;
    let ExportSummary { counts, unreadable, data_with_nulls, .. } = &summary;
    let gaps = Gaps { counts, unreadable, data_with_nulls: *data_with_nulls };
    let said = table_lines(&folder, &summary) + &warnings(config, &gaps, tables, "export");
    Ok((said, if summary.counts.is_whole() { 0 } else { EXIT_INCOMPLETE }))
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
        text.push_str(&format!(
            "\nremoved {}, which was from an earlier export of another dataset or selection",
            table.schema().file_name()
        ));
    }
    text
}

/// The gaps of the tables.
pub(super) struct Gaps<'a> {
    pub(super) counts: &'a Tally,
    pub(super) unreadable: &'a BTreeMap<Table, u64>,
    pub(super) data_with_nulls: u64,
}

/// One line for each thing that is missing from the tables; `again` makes them again.
pub(super) fn warnings(config: &Config, summary: &Gaps<'_>, tables: &BTreeSet<Table>, again: &str) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let counts = summary.counts.of(kind);
        let left_out = match kind {
            _ if counts.pending + counts.failed == 0 => continue,
            Kind::Alerts => "rows are missing from alert_summaries and alerts",
            Kind::Signatures => "rows may be missing from signatures, and whole signatures from data",
            Kind::Summaries => "these signatures are missing from data, revisions and sig_groups",
            Kind::JobDetails => "rows are missing from jobs",
            Kind::Replicates => "these signatures are missing from replicates",
        };
        text.push_str(&format!(
            "\nwarning: {}: {} pending, {} failed; {left_out}",
            kind.name().replace('_', " "),
            counted(counts.pending, "request", "requests"),
            counts.failed
        ));
    }
    if text.is_empty() && !summary.counts.is_complete() {
        text.push_str("\nwarning: the crawl ended before it had requested everything on the lists");
    }
    if !text.is_empty() {
        text.push_str(&format!(
            "\nonly the data fetched so far was exported; run `{}`, then {again} again",
            advice(config, "perfharvest run")
        ));
    }
    if summary.counts.set_aside() > 0 {
        text.push_str(&format!("\nwarning: {}", set_aside_line(config, summary.counts.set_aside())));
    }
    for (table, rows) in summary.unreadable {
        text.push_str(&format!(
            "\nwarning: {} left out of {table}: a field that every row needs is missing",
            counted(*rows, "record was", "records were")
        ));
    }
    if summary.data_with_nulls > 0 {
        text.push_str(&format!(
            "\nwarning: {} a field of another type, which is null in data",
            counted(summary.data_with_nulls, "datum has", "data have")
        ));
    }
    if tables.contains(&Table::Revisions)
        && let Some(lack) = lack_of_commits(config)
    {
        text.push_str(&format!(
            "\nwarning: {lack}, so revisions contains only revisions with data, and no commit_date"
        ));
    }
    text
}

fn export(config: &Config, output: Option<PathBuf>, shutdown: &Shutdown) -> Result<String, Error> {
    let store = open_to_read(&config.store)?;
    let path = match output {
        Some(path) => path,
        None => PathBuf::from(default_name(store.identity()?.as_ref())),
    };
    let place = OutputPath::of(&path)?;
    let path = place.path();
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|_| !path.exists()) else {
        let message = format!(
            "{} already exists, and export does not overwrite it; give another file with --output",
            path.display()
        );
        return Err(Error::Usage { message });
    };
    let folder = folder_of(path);
    remove_leftovers_of(path);
    let mut file = ArtifactFile::create(folder, name)?;
    let summary = match archive::write(&store, &mut file, shutdown) {
        Ok(summary) => summary,
        Err(ArchiveError::Write { source }) => return Err(file.explain(source).into()),
        Err(error) => return Err(error.into()),
    };
    publish(folder, vec![file.finish()?])?;
    let name = place.name();
    let restored_from = if place.is_stdout() { "FILE".to_owned() } else { quoted(path) };
    place.deliver()?;
    Ok(format!(
        "{name}: {}, {} uncompressed in {}\nto restore it: perfharvest import {restored_from} --store DIR",
        human_bytes(summary.file_bytes),
        human_bytes(summary.raw_bytes),
        counted(summary.num_entries, "entry", "entries"),
    ))
}

fn default_name(identity: Option<&CrawlIdentity>) -> String {
    let Some(identity) = identity else { return "perfharvest-empty.harvest".to_owned() };
    let repository: String =
        identity.repository.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let end = identity.data_end.to_naive_string();
    format!("perfharvest-{repository}-{}.harvest", end.split('T').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_after_the_repository_and_the_end_of_its_data() {
        let mut identity = CrawlIdentity::create(&Config::default(), "2026-11-22T08:03:00".parse().unwrap());
        assert_eq!(default_name(Some(&identity)), "perfharvest-autoland-2026-11-22.harvest");
        identity.repository = "../x".to_owned();
        assert_eq!(default_name(Some(&identity)), "perfharvest-___x-2026-11-22.harvest");
    }
}
