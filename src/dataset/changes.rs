//! The change feed: `changes/NNNN.jsonl` beside the artifacts says what harvest N added, changed, or no longer saw.
//!
//! In: the lines that the store keeps of each harvest, and the data, which know the harvest that saw them first. A file
//! depends on the store alone, and stays as it is when later harvests follow.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use crate::actor::Shutdown;
use crate::model::{AlertSummaryId, FIRST_HARVEST, SignatureId, Timestamp};
use crate::store::columns::ColumnSet;
use crate::store::{ChunkReader, DataChanges, DatumList, Harvest, RowsChanges, Store, StoreError};

use super::error::DatasetError;
use super::ownership::FolderKind;
use super::write::{
    ArtifactEntry, ArtifactFile, Completing, Finished, Manifest, REDACTION, Redaction, file_digest, publish,
    remove_leftovers,
};

/// The folder of the feed, in that of the artifacts.
pub(crate) const FOLDER: &str = "changes";

/// The file of a harvest, in the folder of the artifacts.
pub(crate) fn changes_file(harvest: u16) -> String {
    format!("{FOLDER}/{}", file_name(harvest))
}

/// Version of the lines.
const SCHEMA_VERSION: u32 = 1;

/// Files that are written in one pass over the data; each takes two threads. Debug builds write fewer, so that tests come to
/// a second pass.
const FILES_PER_PASS: usize = if cfg!(debug_assertions) { 2 } else { 32 };

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
        let (mut to_make, mut previous_end) = (Vec::new(), Timestamp::default());
        let harvests = self.store.harvests()?.into_iter();
        for harvest in harvests.filter(|harvest| !harvest.is_open() && self.store.shows(harvest.number)) {
            let name = changes_file(harvest.number);
            let inputs = self.inputs_of(&harvest);
            let listed = before.and_then(|before| before.run.changes.get(&name));
            let is_current = |entry: &&ArtifactEntry| {
                entry.inputs == inputs
                    && entry.schema_version == SCHEMA_VERSION
                    && file_digest(&self.out.join(&name))
                        .is_ok_and(|digest| digest == format!("sha256:{}", entry.sha256))
            };
            let data_end = harvest.data_end;
            match listed.filter(is_current) {
                Some(entry) => drop(feed.entries.insert(name, entry.clone())),
                None => to_make.push((harvest, previous_end)),
            }
            previous_end = data_end;
        }
        for harvests in to_make.chunks(FILES_PER_PASS) {
            std::fs::create_dir_all(&folder).map_err(|source| DatasetError::write(folder.clone(), source))?;
            for ((finished, entry), (harvest, _)) in self.write(&folder, harvests)?.into_iter().zip(harvests) {
                let (name, file_name) = (changes_file(harvest.number), file_name(harvest.number));
                let is_listed = before.is_some_and(|before| {
                    before.run.changes.contains_key(&name) || before.run.publishing.contains(&name)
                });
                if !is_listed && std::fs::symlink_metadata(self.out.join(&name)).is_ok() {
                    let others = [file_name.as_str()];
                    FolderKind::artifacts().refuse_others(&folder, &others, std::slice::from_ref(&finished), &[])?;
                }
                feed.made.push(finished);
                feed.entries.insert(name, entry);
            }
        }
        Ok(feed)
    }

    fn inputs_of(&self, harvest: &Harvest) -> BTreeMap<String, String> {
        let inputs = [
            (REDACTED, if self.redact { REDACTION } else { "false" }.to_owned()),
            (REQUESTS, harvest.requests.to_string()),
        ];
        inputs.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// Writes the files of some harvests, each with the end of the data of the harvest before.
    fn write(
        &self,
        folder: &Path,
        harvests: &[(Harvest, Timestamp)],
    ) -> Result<Vec<(Finished, ArtifactEntry)>, DatasetError> {
        let begin = |(harvest, previous_end): &(Harvest, Timestamp)| {
            let file = ArtifactFile::create(folder, &file_name(harvest.number))?;
            let (number, previous_end) = (harvest.number, *previous_end);
            let mut lines =
                Lines { file, harvest: number, previous_end, rows: 0, redaction: Redaction::new(self.redact) };
            self.put_records(harvest, &mut lines).map(|()| lines)
        };
        let mut files = harvests.iter().map(begin).collect::<Result<Vec<_>, _>>()?;
        self.put_added(&mut files, false)?;
        for lines in &mut files {
            self.put_stored(lines, true)?;
        }
        self.put_added(&mut files, true)?;
        // Together, they wait for the disk about as long as one.
        let complete = |Lines { file, rows, redaction, .. }: Lines| Ok((rows, redaction, file.complete()?));
        let completing = files.into_iter().map(complete).collect::<Result<Vec<_>, DatasetError>>()?;
        let finish =
            |((rows, redaction, file), (harvest, _)): ((u64, Redaction, Completing), &(Harvest, Timestamp))| {
                let finished = file.wait()?;
                let entry = ArtifactEntry {
                    rows: Some(rows),
                    bytes: finished.bytes,
                    sha256: finished.sha256.iter().map(|byte| format!("{byte:02x}")).collect(),
                    schema_version: SCHEMA_VERSION,
                    inputs: self.inputs_of(harvest),
                    counts: redaction.counts().into_iter().collect(),
                };
                Ok((finished, entry))
            };
        completing.into_iter().zip(harvests).map(finish).collect()
    }

    /// Everything but the added data, and the replicates.
    fn put_records(&self, harvest: &Harvest, lines: &mut Lines) -> Result<(), DatasetError> {
        let first = harvest.number == FIRST_HARVEST;
        let before = if first { "null".to_owned() } else { format!("\"{}\"", lines.previous_end) };
        lines.put(&format!(
            "{{\"kind\":\"harvest\",\"harvest\":{},\"data_end\":\"{}\",\"previous_data_end\":{before}}}\n",
            harvest.number, harvest.data_end
        ))?;
        if first {
            self.put_first_records(lines)?;
        }
        self.put_stored(lines, false)
    }

    /// The lines that the store keeps of the harvest of a file: those of replicates, or all others.
    fn put_stored(&self, lines: &mut Lines, of_replicates: bool) -> Result<(), DatasetError> {
        for portion in self.store.feed(lines.harvest, of_replicates) {
            let portion = portion?;
            lines.put(std::str::from_utf8(&portion).map_err(|_| {
                DatasetError::Store(StoreError::MissingValue {
                    key: format!("the change feed of harvest {}", lines.harvest),
                })
            })?)?;
        }
        Ok(())
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
        for id in self.store.jobs_of_first_harvest()? {
            put("job", id.0)?;
        }
        Ok(())
    }

    /// A line for each signature with data that the harvest of a file saw first, or with `of_replicates` with rows of such data.
    /// `files`: by harvest.
    fn put_added(&self, files: &mut [Lines], of_replicates: bool) -> Result<(), DatasetError> {
        let Some(first) = files.first().map(|file| file.harvest) else { return Ok(()) };
        let columns = ColumnSet::IDS | ColumnSet::HARVESTS | ColumnSet::PUSH_TIMESTAMPS | ColumnSet::IRREGULAR;
        let mut chunks = ChunkReader::new(self.store);
        let mut added = vec![Added::default(); files.len()];
        let (mut last, mut last_id) = (None, None);
        for summary in self.store.settled_rows(of_replicates) {
            let summary = summary?;
            if self.shutdown.is_draining() {
                return Err(DatasetError::Interrupted);
            }
            match last {
                // Not joined, since other parts failed: the dataset lacks these data.
                Some((signature, harvest)) if signature == summary.signature && harvest != summary.harvest => continue,
                Some((signature, _)) if signature != summary.signature => {
                    put_data(signature, &mut added, files, of_replicates)?;
                }
                _ => {}
            }
            last = Some((summary.signature, summary.harvest));
            if summary.harvest < first {
                continue; // its data were seen before
            }
            let (request, num_chunks) = summary.part();
            chunks.for_each::<DatasetError>(&request, num_chunks, columns, |columns| {
                for at in 0..columns.len() {
                    let id = columns.id(at);
                    // The rows of a datum may be in several chunks.
                    let is_continued = id.is_some() && id == std::mem::replace(&mut last_id, id);
                    let seen_by = columns.seen(at).map_or(summary.harvest, |seen| seen.first);
                    let Ok(number) = files.binary_search_by_key(&seen_by, |file| file.harvest) else { continue };
                    let text = columns.irregular(at);
                    if !is_continued {
                        added[number].data.add_stored(id, text);
                    }
                    if seen_by > FIRST_HARVEST && columns.push_timestamp(at) < files[number].previous_end {
                        added[number].late.add_stored(id, text);
                    }
                }
                Ok(())
            })?;
        }
        last.map_or(Ok(()), |(signature, _)| put_data(signature, &mut added, files, of_replicates))
    }
}

/// What a harvest added to a signature.
#[derive(Clone, Default)]
struct Added {
    data: DatumList,
    /// Pushed before the end of the data of the harvest before.
    late: DatumList,
}

/// Writes what was `added` to a signature by the harvest of each file, and leaves nothing of it.
fn put_data(
    signature: SignatureId,
    added: &mut [Added],
    files: &mut [Lines],
    of_replicates: bool,
) -> Result<(), DatasetError> {
    for (added, lines) in added.iter_mut().zip(files).filter(|(added, _)| !added.data.is_empty()) {
        let Added { data: added, late } = std::mem::take(added);
        let mut line = Vec::new();
        if of_replicates {
            RowsChanges { added, ..RowsChanges::default() }.write_line(signature, &mut line);
        } else {
            DataChanges { added, late, ..DataChanges::default() }.write_line(signature, &mut line);
        }
        lines.put(&String::from_utf8_lossy(&line))?;
    }
    Ok(())
}

fn file_name(harvest: u16) -> String {
    format!("{harvest:04}.jsonl")
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
    harvest: u16,
    /// Of the data of the harvest before.
    previous_end: Timestamp,
    rows: u64,
    redaction: Redaction,
}

impl Lines {
    /// Writes whole lines.
    fn put(&mut self, lines: &str) -> Result<(), DatasetError> {
        self.rows += lines.bytes().filter(|byte| *byte == b'\n').count() as u64;
        let path = self.file.path().to_owned();
        let lines = self.redaction.apply(lines);
        self.file.write_all(lines.as_bytes()).map_err(|source| DatasetError::write(path, source))
    }
}
