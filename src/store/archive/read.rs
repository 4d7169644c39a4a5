//! An archive to a store: one thread reads, checks and decompresses; all cores seal the values; one thread writes.
//!
//! The store is created beside its final path and moved there only when the whole archive has been read, its checksum is
//! right, and its entries add up to the tally in its header.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::entry::{Entry, Next, read_next};
use super::header::{
    ARCHIVE_FORMAT_VERSION, CONTENT_VERSION, CONTENT_WITH_HARVESTS, FORMAT_KEY, MAGIC, PREAMBLE_BYTES, TRAILER_BYTES,
};
use super::{ArchiveError, ArchiveHeader, ArchiveSummary};
use crate::actor::Shutdown;
use crate::config::StoreConfig;
use crate::model::{FIRST_HARVEST, Kind, Request};
use crate::store::database::{Changes, Durability};
use crate::store::trees::{FAILED, META, Operation, PENDING, PROVENANCE, RECORDS, SET_ASIDE, SETTLED, SIGNATURE_IDS};
use crate::store::value::{SetAside, Settled, open_json};
use crate::store::{Absorbed, Change, Incoming, Lateness, Pending, Store, StoreError, Tally, frame, key};

/// Entries per batch at most, and bytes per batch, about.
const BATCH_ENTRIES: usize = 4096;
const BATCH_BYTES: usize = 4 << 20;
/// Batches that wait for the writing thread at most.
const MAILBOX: usize = 2;
/// Longer headers are refused.
const MAX_HEADER_BYTES: u32 = 1 << 20;
/// At least the window of [`super::write`].
const MAX_WINDOW_LOG: u32 = 27;

/// Creates the store of `config`, which must be empty or not exist, from the archive at `path`.
///
/// # Errors
/// [`ArchiveError`]; the path is then as before.
pub fn read(path: &Path, config: &StoreConfig, shutdown: &Shutdown) -> Result<ArchiveSummary, ArchiveError> {
    let archive = Archive::open(path)?;
    let incoming = Incoming::begin(config)?;
    let summary = fill(archive, incoming.store()?, shutdown)?;
    incoming.finish()?;
    Ok(summary)
}

/// Merges the archive at `path` into the store of `config`. `None`: it was interrupted, and is to be done again.
///
/// # Errors
/// [`ArchiveError`]; what was merged until then stays.
pub fn merge(
    path: &Path,
    config: &StoreConfig,
    lateness: Lateness,
    first: &[Pending],
    shutdown: &Shutdown,
) -> Result<(ArchiveSummary, Option<Absorbed>), ArchiveError> {
    let archive = Archive::open(path)?;
    let target = Store::open(config)?;
    let mut incoming = Incoming::beside(config)?;
    let summary = fill(archive, incoming.store()?, shutdown)?;
    let absorbed = target.absorb(incoming.read_back()?, lateness, first, shutdown)?;
    Ok((summary, absorbed))
}

/// Writes an archive into a new store.
fn fill(mut archive: Archive<'_>, store: &Store, shutdown: &Shutdown) -> Result<ArchiveSummary, ArchiveError> {
    let (path, header, content) = (archive.path, archive.header.clone(), archive.content);
    let reader = &mut archive;
    let (num_entries, raw_bytes, tally) = std::thread::scope(|scope| {
        let (batches, inbox) = flume::bounded(MAILBOX);
        let reading = std::thread::Builder::new()
            .spawn_scoped(scope, move || reader.read_entries(&batches, shutdown))
            .map_err(ArchiveError::Thread)?;
        let written = write_batches(store, &inbox, content);
        drop(inbox);
        let read = reading.join().map_err(|_| ArchiveError::WorkerPanicked)?;
        let tally = written.map_err(|error| of_archive(path, error))?; // first, since a failed writer makes the reader fail too
        let (num_entries, raw_bytes) = read?;
        Ok::<_, ArchiveError>((num_entries, raw_bytes, tally))
    })?;
    archive.check_tally(&tally)?;
    store.flush_all(&header.counts)?;
    if content < CONTENT_WITH_HARVESTS && header.counts.is_complete() {
        // Without harvests, the end of the crawl was that of the first. Nothing may open the next one before that is stored.
        store.join_harvest(shutdown)?;
        store.commit(Change::Finish)?;
    }
    Ok(ArchiveSummary { header, num_entries, raw_bytes, file_bytes: archive.file_bytes })
}

/// Hashes all bytes that are read.
struct Hashing<R> {
    input: R,
    hash: Xxh3,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.input.read(buffer)?;
        self.hash.update(&buffer[..len]);
        Ok(len)
    }
}

/// An open archive whose header has been read.
struct Archive<'a> {
    path: &'a Path,
    input: Hashing<File>,
    header: ArchiveHeader,
    /// Version of the keys and values.
    content: u32,
    /// Bytes between header and trailer.
    body_bytes: u64,
    file_bytes: u64,
}

impl<'a> Archive<'a> {
    fn open(path: &'a Path) -> Result<Self, ArchiveError> {
        let failed = |source| ArchiveError::Read { path: path.to_owned(), source };
        let no_archive = || ArchiveError::NoArchive(path.to_owned());
        let damaged = |reason: &str| damaged(path, reason);
        let file = File::open(path).map_err(failed)?;
        let file_bytes = file.metadata().map_err(failed)?.len();
        let mut input = Hashing { input: file, hash: Xxh3::new() };
        let mut head = vec![0; PREAMBLE_BYTES];
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|_| no_archive())?;
        if magic != MAGIC {
            return Err(no_archive());
        }
        head[..MAGIC.len()].copy_from_slice(&magic);
        input.read_exact(&mut head[MAGIC.len()..]).map_err(|_| damaged("it ends within its header"))?;
        let number = |at: usize| head[at..].first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let (format, content, json_len) = (number(8), number(12), number(16));
        let newer = |what, found, known| ArchiveError::Newer { path: path.to_owned(), what, found, known };
        if format != ARCHIVE_FORMAT_VERSION {
            return Err(newer("archive format", format, ARCHIVE_FORMAT_VERSION));
        }
        if !(1..=CONTENT_VERSION).contains(&content) {
            return Err(newer("content version", content, CONTENT_VERSION));
        }
        if json_len > MAX_HEADER_BYTES {
            return Err(damaged("its header has an impossible length"));
        }
        let json_end = PREAMBLE_BYTES + json_len as usize;
        head.resize(json_end, 0);
        let mut checksum = [0; 8];
        let read = input.read_exact(&mut head[PREAMBLE_BYTES..]).and_then(|()| input.read_exact(&mut checksum));
        read.map_err(|_| damaged("it ends within its header"))?;
        if xxh3_64(&head) != u64::from_le_bytes(checksum) {
            return Err(damaged("the checksum of its header is wrong"));
        }
        let header = serde_json::from_slice(&head[PREAMBLE_BYTES..]).map_err(|error| damaged(&error.to_string()))?;
        let body_bytes = file_bytes
            .checked_sub((json_end + checksum.len() + TRAILER_BYTES) as u64)
            .ok_or_else(|| damaged("it ends before its first entry"))?;
        Ok(Self { path, input, header, content, body_bytes, file_bytes })
    }

    /// Sends all entries in batches, then checks the end and the checksum.
    fn read_entries(
        &mut self,
        batches: &flume::Sender<Vec<Entry>>,
        shutdown: &Shutdown,
    ) -> Result<(u64, u64), ArchiveError> {
        let path = self.path;
        let broken = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged(path, "it ends too early"),
            _ => damaged(path, &error.to_string()),
        };
        let body = io::BufReader::with_capacity(256 << 10, (&mut self.input).take(self.body_bytes));
        let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(broken)?.single_frame();
        decoder.window_log_max(MAX_WINDOW_LOG).map_err(broken)?;
        let mut entries = io::BufReader::with_capacity(256 << 10, decoder);
        let (mut num_entries, mut raw_bytes) = (0, 0);
        let mut batch = Vec::new();
        let mut batch_bytes = 0;
        loop {
            let next = read_next(&mut entries).map_err(broken)?;
            if let Next::Entry(entry) = next {
                num_entries += 1;
                batch_bytes += entry.key.len() + entry.value.len();
                batch.push(entry);
                if batch.len() < BATCH_ENTRIES && batch_bytes < BATCH_BYTES {
                    continue;
                }
                if shutdown.is_draining() {
                    return Err(ArchiveError::Interrupted);
                }
                raw_bytes += std::mem::take(&mut batch_bytes) as u64;
                if batches.send(std::mem::take(&mut batch)).is_err() {
                    return Err(ArchiveError::WorkerPanicked); // the writer has failed and reports why
                }
            } else if next != (Next::End { num_entries }) {
                return Err(damaged(path, "its number of entries is wrong"));
            } else {
                break;
            }
        }
        raw_bytes += batch_bytes as u64;
        if batches.send(batch).is_err() {
            return Err(ArchiveError::WorkerPanicked);
        }
        let mut more = [0];
        if entries.read(&mut more).map_err(broken)? != 0 {
            return Err(damaged(path, "there are bytes after its last entry"));
        }
        let mut body = entries.into_inner().finish();
        if body.read(&mut more).map_err(broken)? != 0 {
            return Err(damaged(path, "there are bytes after its last entry"));
        }
        drop(body);
        let found = self.input.hash.digest128();
        let mut checksum = [0; TRAILER_BYTES];
        self.input.read_exact(&mut checksum).map_err(broken)?;
        if found != u128::from_le_bytes(checksum) {
            return Err(damaged(path, "its checksum is wrong"));
        }
        Ok((num_entries, raw_bytes))
    }

    /// Compares the tally of the entries with that of the header.
    fn check_tally(&self, tally: &Tally) -> Result<(), ArchiveError> {
        for kind in Kind::ALL {
            let (found, said) = (tally.of(kind), self.header.counts.of(kind));
            let counts = |of: &crate::store::KindTally| {
                let odd = [of.set_aside, of.corrected];
                ([of.pending, of.data, of.empty, of.gone, of.skipped, of.failed, of.records], odd)
            };
            if counts(found) != counts(said) || tally.digest(kind) != self.header.counts.digest(kind) {
                return Err(damaged(
                    self.path,
                    &format!("its {} do not add up to the tally in its header", kind.name()),
                ));
            }
        }
        Ok(())
    }
}

/// Damage of an entry is damage of the archive.
fn of_archive(path: &Path, error: ArchiveError) -> ArchiveError {
    match error {
        ArchiveError::Store(StoreError::Damaged { key, reason, .. }) => damaged(path, &format!("{key}: {reason}")),
        error => error,
    }
}

fn damaged(path: &Path, reason: &str) -> ArchiveError {
    ArchiveError::Damaged { path: path.to_owned(), reason: reason.to_owned() }
}

/// Seals and writes all batches; returns the tally of their entries.
fn write_batches(store: &Store, inbox: &flume::Receiver<Vec<Entry>>, content: u32) -> Result<Tally, ArchiveError> {
    let mut tally = Tally::default();
    for batch in inbox {
        let sealed: Vec<(Entry, Vec<u8>)> = batch
            .into_par_iter()
            .map(|mut entry| {
                if content < CONTENT_WITH_HARVESTS {
                    entry.key = with_first_harvest(entry.tree, entry.key);
                }
                let framed = if entry.tree == SIGNATURE_IDS { Vec::new() } else { frame::seal(&entry.value) };
                (entry, framed)
            })
            .collect();
        let mut changes = Changes::default();
        for (entry, framed) in sealed {
            count(&entry, &framed, &mut tally)?;
            if entry.tree == RECORDS {
                changes.records.push((entry.key, framed));
            } else if entry.tree != META || entry.key != FORMAT_KEY {
                // The new store has its own version.
                changes.operations.push(Operation { tree: entry.tree, key: entry.key, value: Some(framed) });
            }
        }
        store.write(changes, Durability::AtTheEnd)?;
    }
    Ok(tally)
}

/// The key of an entry from before there were harvests: those of summaries lack its number.
fn with_first_harvest(tree: usize, mut key: Vec<u8>) -> Vec<u8> {
    let request_at = match (tree, key.first()) {
        (PENDING | SETTLED | FAILED | PROVENANCE | SET_ASIDE, Some(b's')) => 0,
        (RECORDS, Some(b'H' | b'C')) if key.get(1) == Some(&b's') => 1,
        _ => return key,
    };
    let harvest_at = request_at + 1 + 8;
    if key.len() >= harvest_at {
        key.splice(harvest_at..harvest_at, FIRST_HARVEST.to_be_bytes());
    }
    key
}

fn count(entry: &Entry, framed: &[u8], tally: &mut Tally) -> Result<(), StoreError> {
    let invalid = || StoreError::damaged("archive", &entry.key, "the key is invalid");
    let request = match entry.tree {
        SET_ASIDE => {
            let (request, _) = key::read_odd(&entry.key).ok_or_else(invalid)?;
            let odd: SetAside = open_json("set_aside", &entry.key, framed)?;
            *tally.of_mut(request.kind()).of_odd(odd.corrected) += 1;
            return Ok(());
        }
        PENDING | SETTLED | FAILED => Request::from_key(&entry.key).ok_or_else(invalid)?,
        _ => return Ok(()),
    };
    match entry.tree {
        PENDING => tally.of_mut(request.kind()).pending += 1,
        FAILED => tally.of_mut(request.kind()).failed += 1,
        SETTLED => {
            let settled = Settled::open(&entry.key, framed)?;
            let kind = tally.of_mut(request.kind());
            *kind.of_outcome(settled.outcome) += 1;
            kind.records += u64::from(settled.num_records);
            tally.add_digest(request.kind(), settled.digest);
        }
        _ => {}
    }
    Ok(())
}
