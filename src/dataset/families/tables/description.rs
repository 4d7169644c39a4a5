//! `export.json`: describes the tables of a folder, their crawl, and whether rows are missing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::ExportError;
use super::table::{SCHEMA_VERSION, Table};
use crate::config::Config;
use crate::dataset::commits::Commits;
use crate::dataset::write::{ArtifactError, ArtifactFile, Finished, REDACTION, ToolEntry, publish};
use crate::store::{CrawlIdentity, Tally};

/// The file's name. The file is replaced before the tables and after them: while it lists tables as `publishing`, the folder
/// has no finished export.
pub const EXPORT_NAME: &str = "export.json";

/// The content of `export.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// [`SCHEMA_VERSION`]
    pub schema_version: u32,
    /// The program that wrote the export.
    pub tool: ToolEntry,
    /// The crawl of the store.
    pub crawl: CrawlIdentity,
    /// False if requests failed or are pending, so that rows are missing.
    pub complete: bool,
    /// Digests of the settled requests by kind and of the commits, and the options.
    pub inputs: BTreeMap<String, String>,
    /// Entries by table name.
    pub tables: BTreeMap<String, TableEntry>,
    /// Tables that were being replaced when the process was killed; empty in a finished export.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publishing: Vec<String>,
}

/// The description of a table's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Number of rows.
    pub rows: u64,
    /// Length of the file, bytes.
    pub bytes: u64,
    /// SHA-256 of the file, hex.
    pub sha256: String,
}

impl TableEntry {
    pub(super) fn of(file: &Finished, rows: u64) -> Self {
        Self { rows, bytes: file.bytes, sha256: file.sha256.iter().map(|byte| format!("{byte:02x}")).collect() }
    }
}

impl Description {
    /// The description of a store, without tables.
    pub(super) fn of(identity: &CrawlIdentity, counts: &Tally, commits: Option<&Commits>, config: &Config) -> Self {
        let mut inputs = BTreeMap::new();
        for kind in counts.kinds() {
            let of_kind = counts.of(kind);
            // A missing answer may turn out to be empty, and then the digest stays the same.
            let missing = match of_kind.pending + of_kind.failed {
                0 => String::new(),
                missing => format!(", {missing} requests missing"),
            };
            inputs.insert(kind.name().to_owned(), format!("xxh3:{:032x}{missing}", counts.digest(kind)));
        }
        if let Some(commits) = commits {
            inputs.insert("commits".to_owned(), format!("sha256:{}", commits.report.digest_hex()));
        }
        if config.artifacts.redact_emails {
            inputs.insert("redact_emails".to_owned(), REDACTION.to_owned());
        }
        Self {
            schema_version: SCHEMA_VERSION,
            tool: ToolEntry { name: env!("CARGO_PKG_NAME").to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() },
            crawl: identity.clone(),
            complete: counts.is_complete(),
            inputs,
            tables: BTreeMap::new(),
            publishing: Vec::new(),
        }
    }

    /// The metadata of a table's file, for a copy of the file outside its folder.
    pub(super) fn notes(&self, table: Table) -> [(&'static str, String); 5] {
        [
            ("perfharvest.table", table.name().to_owned()),
            ("perfharvest.schema_version", self.schema_version.to_string()),
            ("perfharvest.complete", self.complete.to_string()),
            ("perfharvest.repository", self.crawl.repository.clone()),
            ("perfharvest.data_end", self.crawl.data_end.to_string()),
        ]
    }

    /// Adopts the tables of an earlier export with the same description. Returns the other tables of the folder, which must
    /// be removed because they contradict this export.
    pub(super) fn take_over(&mut self, folder: &Path) -> Vec<Table> {
        // An unreadable description counts as none.
        let before: Option<Self> =
            std::fs::read(folder.join(EXPORT_NAME)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let agrees =
            |before: &Self| Self { tables: self.tables.clone(), publishing: Vec::new(), ..before.clone() } == *self;
        let kept = before.filter(agrees).map(|before| before.tables).unwrap_or_default();
        let mut contradicting = Vec::new();
        for table in Table::ALL {
            let found = std::fs::metadata(folder.join(table.schema().file_name()));
            let Some(found) = found.ok().filter(std::fs::Metadata::is_file) else { continue };
            if self.tables.contains_key(table.name()) {
                continue;
            }
            match kept.get(table.name()).filter(|entry| entry.bytes == found.len()) {
                Some(entry) => drop(self.tables.insert(table.name().to_owned(), entry.clone())),
                None => contradicting.push(table),
            }
        }
        contradicting
    }

    /// Writes the file under a temporary name.
    pub(super) fn write(&self, folder: &Path) -> Result<Finished, ExportError> {
        let mut text = serde_json::to_vec_pretty(self).map_err(ExportError::Description)?;
        text.push(b'\n');
        let mut file = ArtifactFile::create(folder, EXPORT_NAME)?;
        match file.write_all(&text) {
            Ok(()) => Ok(file.finish()?),
            Err(met) => Err(file.explain(met).into()),
        }
    }
}

/// Replaces the description, durably, by one that lists all tables without describing them, and removes `tables`. A process
/// killed from here on must leave neither a description of other files, nor files that nobody claims.
pub(super) fn claim(folder: &Path, description: &Description, tables: &[Table]) -> Result<(), ExportError> {
    let publishing = Table::ALL.iter().map(|table| table.name().to_owned()).collect();
    let claim = Description { tables: BTreeMap::new(), complete: false, publishing, ..description.clone() };
    publish(folder, vec![claim.write(folder)?])?;
    for path in tables.iter().map(|table| folder.join(table.schema().file_name())) {
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ArtifactError::Write { path, source }.into());
            }
            _ => {}
        }
    }
    Ok(())
}
