//! The change feed: `changes/NNNN.jsonl` beside the artifacts says what harvest N added, changed, or no longer saw.
//!
//! In: the lines that the store keeps of each harvest, and the data, which know the harvest that saw them first. A file
//! depends on the store alone, and stays as it is when later harvests follow; what had failed may be answered by a later run.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use crate::actor::Shutdown;
use crate::model::{AlertSummaryId, FIRST_HARVEST, SignatureId, Timestamp};
use crate::store::columns::ColumnSet;
use crate::store::{ChunkReader, DataChanges, Harvest, Store, StoreError};

use super::error::DatasetError;
use super::ownership::FolderKind;
use super::write::{
    ArtifactEntry, ArtifactFile, Finished, Manifest, file_digest, publish, redact_emails, remove_leftovers,
};

/// The folder of the feed, in that of the artifacts.
pub(crate) const FOLDER: &str = "changes";

/// The file of a harvest, in the folder of the artifacts.
pub(crate) fn changes_file(harvest: u16) -> String {
    format!("{FOLDER}/{harvest:04}.jsonl")
}

/// Version of the lines.
const SCHEMA_VERSION: u32 = 1;

/// Inputs of a file in the manifest: whether addresses are redacted, and the requests of the harvest, of which there are more
/// when a later run repeats those that failed.
const REDACTED: &str = "redact_emails";
const REQUESTS: &str = "requests";

/// The files that are to be made, under temporary names, and the entries of all of them.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    made: Vec<Finished>,
    pub(crate) entries: BTreeMap<String, ArtifactEntry>,
}

/// The means of the feed.
pub(crate) struct FeedMaker<'a> {
    pub(crate) store: &'a Store,
    /// The folder of the artifacts.
    pub(crate) out: &'a Path,
    pub(crate) redact: bool,
    pub(crate) shutdown: &'a Shutdown,
}

impl FeedMaker<'_> {
    /// Makes the files of the harvests that came to their end, except those that are there as `before` lists them.
    ///
    /// # Errors
    /// [`DatasetError`]; a file that `before` does not list is not replaced, unless it is equal.
    pub(crate) fn make(&self, before: Option<&Manifest>) -> Result<Feed, DatasetError> {
        let mut feed = Feed::default();
        let folder = self.out.join(FOLDER);
        remove_leftovers(&folder);
        let mut previous_end = Timestamp::default();
        let harvests = self.store.harvests()?.into_iter();
        for harvest in harvests.filter(|harvest| !harvest.is_open() && self.store.shows(harvest.number)) {
            let name = changes_file(harvest.number);
            let file_name = name.trim_start_matches(FOLDER).trim_start_matches('/');
            let inputs = [(REDACTED, self.redact.to_string()), (REQUESTS, harvest.requests.to_string())];
            let inputs = inputs.map(|(name, value)| (name.to_owned(), value)).into();
            let listed = before.and_then(|before| before.run.changes.get(&name));
            let is_current = |entry: &&ArtifactEntry| {
                entry.inputs == inputs
                    && entry.schema_version == SCHEMA_VERSION
                    && file_digest(&self.out.join(&name))
                        .is_ok_and(|digest| digest == format!("sha256:{}", entry.sha256))
            };
            if let Some(entry) = listed.filter(is_current) {
                feed.entries.insert(name, entry.clone());
            } else {
                std::fs::create_dir_all(&folder).map_err(|source| DatasetError::write(folder.clone(), source))?;
                let (finished, entry) = self.write(&folder, file_name, &harvest, previous_end, inputs)?;
                let is_listed = before.is_some_and(|before| {
                    before.run.changes.contains_key(&name) || before.run.publishing.contains(&name)
                });
                if !is_listed && std::fs::symlink_metadata(self.out.join(&name)).is_ok() {
                    let others = [file_name];
                    FolderKind::artifacts().refuse_others(&folder, &others, std::slice::from_ref(&finished), &[])?;
                }
                feed.made.push(finished);
                feed.entries.insert(name, entry);
            }
            previous_end = harvest.data_end;
        }
        Ok(feed)
    }

    fn write(
        &self,
        folder: &Path,
        file_name: &str,
        harvest: &Harvest,
        previous_end: Timestamp,
        inputs: BTreeMap<String, String>,
    ) -> Result<(Finished, ArtifactEntry), DatasetError> {
        let mut lines = Lines { file: ArtifactFile::create(folder, file_name)?, rows: 0, redact: self.redact };
        let first = harvest.number == FIRST_HARVEST;
        let before = if first { "null".to_owned() } else { format!("\"{previous_end}\"") };
        lines.put(&format!(
            "{{\"kind\":\"harvest\",\"harvest\":{},\"data_end\":\"{}\",\"previous_data_end\":{before}}}\n",
            harvest.number, harvest.data_end
        ))?;
        if first {
            self.put_first_records(&mut lines)?;
        }
        for portion in self.store.feed(harvest.number) {
            let portion = portion?;
            lines.put(std::str::from_utf8(&portion).map_err(|_| {
                DatasetError::Store(StoreError::MissingValue {
                    key: format!("the change feed of harvest {}", harvest.number),
                })
            })?)?;
        }
        self.put_added_data(harvest.number, previous_end, &mut lines)?;
        let Lines { file, rows, .. } = lines;
        let finished = file.finish()?;
        let entry = ArtifactEntry {
            rows: Some(rows),
            bytes: finished.bytes,
            sha256: finished.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
            schema_version: SCHEMA_VERSION,
            inputs,
            counts: BTreeMap::new(),
        };
        Ok((finished, entry))
    }

    /// The records that the first harvest saw; their texts are in the artifacts.
    fn put_first_records(&self, lines: &mut Lines) -> Result<(), DatasetError> {
        let mut put =
            |kind: &str, id: u64| lines.put(&format!("{{\"kind\":\"{kind}\",\"change\":\"added\",\"id\":{id}}}\n"));
        let mut alerts: Vec<AlertSummaryId> = self.store.alert_listing()?;
        alerts.sort_unstable();
        for id in self.store.seen_by_first_harvest(alerts)? {
            put("alert_summary", id.0)?;
        }
        for id in self.store.signatures_of_first_harvest()? {
            put("signature", id.0)?;
        }
        for job in self.store.stored_jobs() {
            let (id, stored_by) = job?;
            if stored_by == FIRST_HARVEST {
                put("job", id.0)?;
            }
        }
        Ok(())
    }

    /// A line for each signature with data that the harvest saw first.
    fn put_added_data(&self, harvest: u16, previous_end: Timestamp, lines: &mut Lines) -> Result<(), DatasetError> {
        let columns = ColumnSet::IDS | ColumnSet::HARVESTS | ColumnSet::PUSH_TIMESTAMPS | ColumnSet::IRREGULAR;
        let mut chunks = ChunkReader::new(self.store);
        let mut added: Option<(SignatureId, DataChanges)> = None;
        for summary in self.store.settled_summaries() {
            let summary = summary?;
            if summary.harvest < harvest {
                continue; // its data were seen before
            }
            if self.shutdown.is_draining() {
                return Err(DatasetError::Interrupted);
            }
            if added.as_ref().is_some_and(|(signature, _)| *signature != summary.signature) {
                lines.put_data(added.take())?;
            }
            let (_, changes) = added.get_or_insert_with(|| (summary.signature, DataChanges::default()));
            let (request, num_chunks) = summary.part();
            chunks.for_each::<DatasetError>(&request, num_chunks, columns, |columns| {
                for at in 0..columns.len() {
                    if columns.seen(at).map_or(summary.harvest, |seen| seen.first) == harvest {
                        let text = columns.irregular(at);
                        changes.added.add_stored(columns.id(at), text);
                        if harvest > FIRST_HARVEST && columns.push_timestamp(at) < previous_end {
                            changes.late.add_stored(columns.id(at), text);
                        }
                    }
                }
                Ok(())
            })?;
        }
        lines.put_data(added)
    }
}

impl Feed {
    /// Names of the files that are to be published.
    pub(crate) fn to_publish(&self) -> impl Iterator<Item = String> {
        self.made.iter().map(|file| format!("{FOLDER}/{}", file.name()))
    }

    /// Gives the files their names.
    ///
    /// # Errors
    /// [`DatasetError`] if one of them cannot be renamed.
    pub(crate) fn publish(self, out: &Path) -> Result<(), DatasetError> {
        Ok(publish(&out.join(FOLDER), self.made)?)
    }
}

/// A file of the feed while it is written.
struct Lines {
    file: ArtifactFile,
    rows: u64,
    redact: bool,
}

impl Lines {
    /// Writes whole lines.
    fn put(&mut self, lines: &str) -> Result<(), DatasetError> {
        self.rows += lines.bytes().filter(|byte| *byte == b'\n').count() as u64;
        let path = self.file.path().to_owned();
        let redacted = self.redact.then(|| redact_emails(lines));
        let bytes = redacted.as_deref().unwrap_or(lines).as_bytes();
        self.file.write_all(bytes).map_err(|source| DatasetError::write(path, source))
    }

    fn put_data(&mut self, added: Option<(SignatureId, DataChanges)>) -> Result<(), DatasetError> {
        let Some((signature, changes)) = added.filter(|(_, changes)| !changes.is_empty()) else { return Ok(()) };
        let mut line = Vec::new();
        changes.write_line(signature, &mut line);
        self.put(&String::from_utf8_lossy(&line))
    }
}
