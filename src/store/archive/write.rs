//! A store to an archive: one thread reads the store, another compresses.

use std::collections::HashSet;
use std::io::{self, Write};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::entry::{put, put_end};
use super::header::{ARCHIVE_FORMAT_VERSION, CONTENT_VERSION, CONTENT_WITH_HARVESTS, FORMAT_KEY, MAGIC};
use super::{ArchiveError, ArchiveHeader, ArchiveSummary};
use crate::actor::Shutdown;
use crate::model::Request;
use crate::store::format::{META_APPLIED, META_FORMAT, META_STORE_ID};
use crate::store::trees::{
    self, FAILED, META, PENDING, PROVENANCE, PUSHES, RECORDS, SET_ASIDE, SETTLED, SIGNATURE_IDS, UNLISTED,
};
use crate::store::value::{Settled, StoredPage, open_frame};
use crate::store::{Outcome, Store, StoreError, key};

/// Entries are sent to the compressing thread in blocks of about this size.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that wait for the compressing thread at most.
const MAILBOX: usize = 4;
const ZSTD_LEVEL: i32 = 3;
/// 16 MiB: similar records are several megabytes apart.
const WINDOW_LOG: u32 = 24;

/// Writes `store` to `out`. The caller finishes the file.
///
/// # Errors
/// [`ArchiveError::Store`] when a value is damaged or missing, since an archive must be complete;
/// [`ArchiveError::Write`] and [`ArchiveError::Interrupted`].
pub fn write<W: Write + Send>(store: &Store, out: &mut W, shutdown: &Shutdown) -> Result<ArchiveSummary, ArchiveError> {
    let header = ArchiveHeader {
        store_id: store.get_meta(META_STORE_ID)?.unwrap_or_default(),
        identity: store.identity()?,
        counts: store.counts()?,
    };
    let mut head = Vec::from(MAGIC);
    let json = serde_json::to_vec(&header).map_err(|source| StoreError::Encode { source })?;
    let json_len = u32::try_from(json.len()).unwrap_or(u32::MAX); // a few kilobytes
    let has_replicates = header.identity.as_ref().is_some_and(|identity| identity.scope.replicates);
    let content = if has_replicates { CONTENT_VERSION } else { CONTENT_WITH_HARVESTS };
    for number in [ARCHIVE_FORMAT_VERSION, content, json_len] {
        head.extend_from_slice(&number.to_le_bytes());
    }
    head.extend_from_slice(&json);
    head.extend_from_slice(&xxh3_64(&head).to_le_bytes());

    std::thread::scope(|scope| {
        let (blocks, inbox) = flume::bounded(MAILBOX);
        let compressing = std::thread::Builder::new()
            .spawn_scoped(scope, move || compress(out, &head, &inbox))
            .map_err(ArchiveError::Thread)?;
        let mut gathering =
            Gathering { store, content, shutdown, blocks, block: Vec::new(), num_entries: 0, raw_bytes: 0 };
        let gathered = gathering.gather();
        let Gathering { blocks, num_entries, raw_bytes, .. } = gathering;
        if gathered.is_ok() {
            let _compressor_reports_why = blocks.send(Block::End);
        }
        drop(blocks);
        let compressed = compressing.join().map_err(|_| ArchiveError::WorkerPanicked)?;
        match (gathered, compressed) {
            (Ok(()), Ok(file_bytes)) => Ok(ArchiveSummary { header, num_entries, raw_bytes, file_bytes }),
            // The reader stopped because writing had failed, so the error of writing is the cause.
            (Err(ArchiveError::Write { .. }) | Ok(()), Err(source)) => Err(ArchiveError::Write { source }),
            (Err(error), _) => Err(error),
        }
    })
}

/// A message to the compressing thread. Without [`Block::End`] the archive is not finished.
enum Block {
    Entries(Vec<u8>),
    End,
}

/// Hashes and counts all bytes that are written.
struct Hashing<'a, W> {
    out: &'a mut W,
    hash: Xxh3,
    bytes: u64,
}

impl<W: Write> Write for Hashing<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn compress<W: Write>(out: &mut W, head: &[u8], inbox: &flume::Receiver<Block>) -> io::Result<u64> {
    let mut out = Hashing { out, hash: Xxh3::new(), bytes: 0 };
    out.write_all(head)?;
    let mut encoder = zstd::stream::write::Encoder::new(out, ZSTD_LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    loop {
        match inbox.recv() {
            Ok(Block::Entries(block)) => encoder.write_all(&block)?,
            Ok(Block::End) => break,
            Err(flume::RecvError::Disconnected) => return Ok(0), // the reader has failed and reports why
        }
    }
    let mut out = encoder.finish()?;
    let checksum = out.hash.digest128();
    out.write_all(&checksum.to_le_bytes())?;
    out.flush()?;
    Ok(out.bytes)
}

struct Gathering<'a> {
    store: &'a Store,
    content: u32,
    shutdown: &'a Shutdown,
    blocks: flume::Sender<Block>,
    block: Vec<u8>,
    num_entries: u64,
    raw_bytes: u64,
}

impl Gathering<'_> {
    fn gather(&mut self) -> Result<(), ArchiveError> {
        let store = self.store;
        for (number, tree) in [
            (META, &store.meta),
            (PENDING, &store.pending),
            (SETTLED, &store.settled),
            (FAILED, &store.failed),
            (PROVENANCE, &store.provenance),
            (SIGNATURE_IDS, &store.signature_ids),
            (PUSHES, &store.pushes),
            (SET_ASIDE, &store.set_aside),
            (UNLISTED, &store.unlisted),
        ] {
            for entry in tree {
                let (key, framed) = entry.map_err(reading)?;
                if number == META && key == META_APPLIED {
                    continue; // only this store's
                }
                if number == META && key == META_FORMAT {
                    self.put(number, FORMAT_KEY, self.content.to_string().as_bytes())?; // both sort alike
                } else if number == SIGNATURE_IDS {
                    self.put(number, &key, &[])?;
                } else {
                    self.put(number, &key, &open_frame(trees::NAMES[number], &key, &framed)?)?;
                }
            }
        }
        self.gather_records()?;
        put_end(self.num_entries, &mut self.block);
        self.send()
    }

    /// The records of all settled requests, by their keys.
    fn gather_records(&mut self) -> Result<(), ArchiveError> {
        let store = self.store;
        let mut alerts = HashSet::new();
        for settled in store.all_settled() {
            let (request, settled) = settled?;
            match request {
                Request::AlertPage { .. } => {
                    let page_key = key::page(&request);
                    let raw = self.single(&page_key, &request)?;
                    let page: StoredPage = serde_json::from_slice(&raw)
                        .map_err(|source| StoreError::damaged("records", &page_key, &source.to_string()))?;
                    for id in page.ids {
                        if alerts.insert(id) {
                            self.pieces(&key::alert(id), &request)?;
                        }
                    }
                }
                Request::Frameworks | Request::UpdatedSignatures { .. } | Request::MovedSignatures { .. } => {
                    self.pieces(&key::id_list(&request), &request)?;
                }
                // The signatures themselves are listed in their own tree.
                Request::Signatures { .. } => {
                    if store.id_list(&request)?.is_some() {
                        self.pieces(&key::id_list(&request), &request)?;
                    }
                }
                Request::Summary { .. } => {
                    if matches!(settled.outcome, Outcome::Data | Outcome::Empty) {
                        self.summary(&request, settled)?;
                    }
                }
                Request::Job { id } => {
                    if settled.outcome == Outcome::Data {
                        self.pieces(&key::job(id), &request)?;
                    }
                }
            }
        }
        for id in store.signature_ids()? {
            self.pieces(&key::signature(id), &format!("signature {id}"))?;
        }
        // Alert summaries that the server no longer lists.
        for id in store.alert_listing()? {
            if alerts.insert(id) {
                self.pieces(&key::alert(id), &format!("alert summary {id}"))?;
            }
        }
        for prefix in key::HISTORY_PREFIXES {
            for key in store.records.scan_prefix(prefix).keys() {
                self.single(&key.map_err(reading)?, &"the history of the store")?;
            }
        }
        Ok(())
    }

    fn summary(&mut self, request: &Request, settled: Settled) -> Result<(), ArchiveError> {
        self.pieces(&key::header(request), request)?;
        for number in 0..settled.num_chunks {
            self.single(&key::chunk(request, usize::from(number)), request)?;
        }
        Ok(())
    }

    /// Puts a record of one value; also returns the value.
    fn single(&mut self, key: &[u8], owner: &dyn std::fmt::Display) -> Result<Vec<u8>, ArchiveError> {
        let found = self.store.with_record(key, <[u8]>::to_vec)?;
        let raw = found.ok_or_else(|| StoreError::MissingValue { key: owner.to_string() })?;
        self.put(RECORDS, key, &raw)?;
        Ok(raw)
    }

    /// Puts a record in pieces, each of which begins with the number of pieces.
    fn pieces(&mut self, key: &[u8], owner: &dyn std::fmt::Display) -> Result<(), ArchiveError> {
        let mut number: u16 = 0;
        loop {
            let raw = self.single(&key::piece(key, number), owner)?;
            let [high, low, ..] = raw.as_slice() else {
                return Err(StoreError::damaged("records", key, "one of its pieces is too short").into());
            };
            number += 1;
            if number >= u16::from_be_bytes([*high, *low]) {
                return Ok(());
            }
        }
    }

    fn put(&mut self, tree: usize, key: &[u8], value: &[u8]) -> Result<(), ArchiveError> {
        if !put(tree, key, value, &mut self.block) {
            return Err(StoreError::damaged("records", key, "it is too long for an archive").into());
        }
        self.num_entries += 1;
        self.raw_bytes += (key.len() + value.len()) as u64;
        if self.block.len() >= BLOCK_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), ArchiveError> {
        if self.shutdown.is_draining() {
            return Err(ArchiveError::Interrupted);
        }
        let block = std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK_BYTES + (64 << 10)));
        let stopped = || ArchiveError::Write { source: io::Error::other("writing stopped") };
        self.blocks.send(Block::Entries(block)).map_err(|_| stopped())
    }
}

fn reading(source: sled::Error) -> StoreError {
    StoreError::Database { action: "be read", source }
}
