//! 7. PUBLISH: one folder to upload, to Zenodo or Hugging Face.
//!
//! ```text
//!   store -> tables (Parquet, data by month) ---------------------> files
//!   store -> reduce, into a staging folder -> gzip ---------------> files -> facts -> card, Croissant, data package, citation
//! ```
//!
//! In: the store and the inputs of a reduction. Out: a folder that describes itself. Promises: the same store gives the same
//! bytes; files without changes are left alone, so that after a refresh only the months with changes are uploaded again; all
//! files appear at the end, `manifest.json` last; e-mail addresses are replaced, unless they are to be kept.

mod card;
mod citation;
mod compress;
mod croissant;
mod datapackage;
mod dictionary;
mod error;
mod facts;
mod folder;
mod manifest;
mod yaml;

use std::collections::BTreeMap;
use std::path::Path;

pub use self::error::PublishError;
use self::facts::{Facts, FileFact};
use self::folder::{CARD_NAME, CITATION_NAME, CROISSANT_NAME, Folder, PACKAGE_NAME, SUMS_NAME};
use self::manifest::{FileEntry, PublishedManifest};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::tables::{SCHEMA_VERSION, Table, write_published};
use crate::dataset::write::ADDRESSES_REDACTED;
use crate::dataset::{Artifact, DatasetError, ReduceOrder, ReduceSummary, read_commits, reduce};
use crate::observe::Reducing;
use crate::store::{Store, Tally};

/// The result of a publication.
#[derive(Clone, Debug)]
pub struct PublishSummary {
    /// Bytes and rows of each table.
    pub tables: BTreeMap<Table, TableTotal>,
    /// Number of all files, `manifest.json` included.
    pub num_files: usize,
    /// Their length together.
    pub num_bytes: u64,
    /// Files that were written, because they are new or have changed.
    pub num_written: usize,
    /// Files of an earlier publication that no longer belong to the dataset.
    pub removed: Vec<String>,
    /// E-mail addresses that were replaced, by place; `None` if they were kept.
    pub redacted: Option<BTreeMap<String, u64>>,
    /// The crawl's tally: answers of pending and failed requests are missing.
    pub counts: Tally,
    /// Number of records without a row, by table.
    pub unreadable: BTreeMap<Table, u64>,
    /// Data with a field of an undocumented type, which is null in the table.
    pub data_with_nulls: u64,
    /// Artifacts that a malformed input costs, with its defect.
    pub refused: BTreeMap<Artifact, String>,
    /// False if anything is missing; the card says so.
    pub whole: bool,
}

/// A table of a published dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableTotal {
    /// Number of its files.
    pub files: usize,
    /// Number of its rows.
    pub rows: u64,
    /// Length of its files.
    pub bytes: u64,
}

/// Makes the dataset of the crawl in `store`, which is only read, in the folder `root`.
///
/// # Errors
/// [`PublishError`].
pub fn publish(
    store: &Store,
    config: &Config,
    root: &Path,
    keep_emails: bool,
    shutdown: &Shutdown,
) -> Result<PublishSummary, PublishError> {
    let identity = store.identity().map_err(DatasetError::from)?.ok_or(DatasetError::EmptyStore)?;
    let commits = read_commits(config, &identity)?;
    let mut folder = Folder::open(root, &config.store.path)?;
    let mut config = config.clone();
    config.artifacts.redact_emails = !keep_emails;

    tracing::info!(folder = %root.display(), "writing the tables");
    let tables = write_published(store, &config, (&identity, commits.as_ref()), root, shutdown)?;
    let mut redacted: Option<BTreeMap<String, u64>> =
        tables.addresses_redacted.map(|number| BTreeMap::from([("tables".to_owned(), number)]));
    folder.keep(tables.made);
    for file in tables.files {
        folder.add(&file.path, file.file, Some(file.table), Some(file.rows), None);
    }
    tracing::info!("making the artifacts");
    config.artifacts.out = folder.staging()?;
    let order = ReduceOrder {
        config: &config,
        commits: commits.as_ref(),
        artifacts: &[],
        shutdown,
        reducing: &Reducing::default(),
    };
    let reduction = reduce(store, order)?;
    for (name, entry) in reduction.manifest.artifacts.iter().chain(&reduction.manifest.run.changes) {
        if let Some(places) = &mut redacted {
            places.extend(entry.counts.get(ADDRESSES_REDACTED).map(|number| (name.clone(), *number)));
        }
        folder.copy_artifact(name, entry, shutdown)?;
    }
    let counts = store.counts().map_err(DatasetError::from)?;
    let whole = reduction.complete && counts.is_whole();
    let facts = Facts {
        settings: &config.publish,
        crawl: &identity,
        harvests: &reduction.manifest.run.harvests,
        whole,
        files: folder.facts(),
        redacted,
    };
    write_documents(&mut folder, &facts)?;
    if shutdown.is_draining() {
        return Err(DatasetError::Interrupted.into());
    }
    let manifest = describe(&reduction, &facts, folder.entries());
    let placed = folder.publish(manifest)?;
    Ok(PublishSummary {
        tables: totals(&facts.files),
        num_files: placed.num_files,
        num_bytes: placed.num_bytes,
        num_written: placed.num_written,
        removed: placed.removed,
        redacted: facts.redacted.clone(),
        counts,
        unreadable: tables.unreadable,
        data_with_nulls: tables.data_with_nulls,
        refused: reduction.refused.clone(),
        whole,
    })
}

fn totals(files: &[FileFact]) -> BTreeMap<Table, TableTotal> {
    let mut totals = BTreeMap::<_, TableTotal>::new();
    for FileFact { table, rows, bytes, .. } in files {
        let Some(table) = table else { continue };
        let total = totals.entry(*table).or_default();
        total.files += 1;
        total.rows += rows.unwrap_or(0);
        total.bytes += bytes;
    }
    totals
}

fn write_documents(folder: &mut Folder, facts: &Facts<'_>) -> Result<(), PublishError> {
    let json = |document: serde_json::Value| {
        let mut text = serde_json::to_string_pretty(&document).map_err(DatasetError::Report)?;
        text.push('\n');
        Ok::<_, PublishError>(text)
    };
    folder.write(CARD_NAME, &card::document(facts))?;
    folder.write(CROISSANT_NAME, &json(croissant::document(facts))?)?;
    folder.write(PACKAGE_NAME, &json(datapackage::document(facts))?)?;
    folder.write(CITATION_NAME, &citation::document(facts))?;
    let sums = folder.entries().iter().map(|(path, FileEntry { sha256, .. })| format!("{sha256}  {path}\n"));
    let sums: String = sums.collect();
    folder.write(SUMS_NAME, &sums)
}

/// The manifest of the folder. The one of the staging folder lists the artifacts as they were before compression.
fn describe(reduction: &ReduceSummary, facts: &Facts<'_>, files: &BTreeMap<String, FileEntry>) -> PublishedManifest {
    let made = reduction.manifest.clone();
    let mut run = made.run;
    run.changes = BTreeMap::new(); // they are among the files
    PublishedManifest {
        format: manifest::FORMAT,
        kind: manifest::KIND.to_owned(),
        tool: made.tool,
        crawl: made.crawl,
        semantics: made.semantics,
        complete: made.complete && facts.whole,
        schema_version: SCHEMA_VERSION,
        addresses_redacted: facts.redacted.clone(),
        files: files.clone(),
        not_made: made.not_made,
        commits: made.commits,
        run,
    }
}
