//! `perf_jobs_by_signature.jsonl`: one thread reads blocks, all cores parse and encode them, one thread writes.
//!
//! Workers finish blocks in any order; they are written in the order of the file, so that the store does not depend on the
//! number of workers. Reading a block takes a buffer, which returns when the block is written: this limits memory.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::blocks::{Block, BlockReader};
use super::rows::{Row, RowLine, read_line};
use super::{FileReport, ImportError};
use crate::actor::{DealError, InOrder, Inbox, Numbered, Shutdown, Ticket, deal, parallelism};
use crate::model::{FIRST_HARVEST, Request, SignatureId, Sorted, Window, bring_to_api_order};
use crate::store::{BulkWriter, Pending, Settlement, Store};

/// The place of a row in the file.
#[derive(Clone, Copy, Debug)]
struct RowSpan {
    offset: u64,
    len: usize,
    /// Hash of the line: equal rows need no joining.
    fingerprint: u64,
}

/// A row, ready for writing.
struct Taken {
    signature: SignatureId,
    span: RowSpan,
    num_data: u64,
    num_outside: u64,
    /// `None` for an empty list.
    settlement: Option<Settlement>,
}

/// A parsed block. Line numbers are relative to the block, from 0.
#[derive(Default)]
struct Parsed {
    num_lines: u64,
    rows: Vec<Taken>,
    torn: Vec<(u64, String)>,
    set_aside: Vec<(u64, String)>,
    /// The block's buffer, for another block.
    buffer: Vec<u8>,
}

/// Imports the file at `path`.
pub(super) fn take(
    path: &Path,
    store: &Store,
    window: Window,
    writer: &mut BulkWriter<'_>,
    shutdown: &Shutdown,
) -> Result<FileReport, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let mut blocks = BlockReader::new(File::open(path).map_err(failed)?);
    let num_workers = parallelism();
    let max_in_flight = 3 * num_workers;
    let mut collector =
        Collector { writer, window, report: FileReport::default(), seen: HashMap::new(), doubled: BTreeMap::new() };
    std::thread::scope(|scope| {
        // Read by the collector, fed by the workers; closed when they have ended.
        let (done, results) = flume::bounded::<(usize, Parsed, Ticket)>(max_in_flight);
        // Buffers of blocks that were written, for further blocks.
        let (used, spare) = flume::bounded::<Vec<u8>>(max_in_flight);
        let collector = &mut collector;
        let collecting = std::thread::Builder::new()
            .spawn_scoped(scope, move || collector.collect(results, &used, shutdown))
            .map_err(ImportError::Thread)?;
        let worker = |_| {
            let done = done.clone();
            move |inbox: Inbox<Block>| {
                for Numbered { number, item: block, ticket } in inbox {
                    if done.send((number, parse_block(block, store, window), ticket)).is_err() {
                        break; // the collector has failed, and has the reason
                    }
                }
                Ok(())
            }
        };
        let workers = (0..num_workers).map(worker).collect();
        drop(done);
        let blocks = std::iter::from_fn(|| blocks.next(spare.try_recv().unwrap_or_default()).transpose());
        let dealt = deal(blocks, max_in_flight, workers);
        let collected = collecting.join().map_err(|_| ImportError::WorkerPanicked)?;
        match dealt {
            Ok(()) => collected,
            Err(DealError::Failed(source)) => Err(failed(source)),
            Err(DealError::Panicked) => Err(ImportError::WorkerPanicked),
            Err(DealError::Thread(source)) => Err(ImportError::Thread(source)),
        }
    })?;
    collector.join_doubled(path, store)?;
    Ok(collector.report)
}

fn parse_block(block: Block, store: &Store, window: Window) -> Parsed {
    let mut parsed = Parsed::default();
    let mut at = 0;
    while at < block.bytes.len() {
        let (line, len) = read_line(&block.bytes[at..]);
        let row = match line {
            RowLine::Whole(row) => Some(row),
            RowLine::BehindFragment(row) => {
                parsed.torn.push((parsed.num_lines, "torn; the complete row after it was imported".to_owned()));
                Some(row)
            }
            RowLine::Torn(what) => {
                parsed.torn.push((parsed.num_lines, what));
                None
            }
            RowLine::Blank => None,
        };
        if let Some(row) = row {
            let reasons = row.data.odd.iter().map(|odd| odd.reason.replace(char::is_control, " "));
            parsed.set_aside.extend(reasons.map(|reason| (parsed.num_lines, reason)));
            let fingerprint = xxh3_64(&block.bytes[at..at + len]);
            let span = RowSpan { offset: block.offset + at as u64, len, fingerprint };
            parsed.rows.push(prepare(row, span, store, window));
        }
        at += len;
        parsed.num_lines += 1;
    }
    parsed.buffer = block.bytes;
    parsed
}

fn prepare(row: Row, span: RowSpan, store: &Store, window: Window) -> Taken {
    let Row { signature, mut data } = row;
    let num_read = data.taken.len() as u64;
    let is_empty = data.taken.is_empty();
    data.taken.retain(|record| window.contains(record.push_timestamp()));
    let num_outside = num_read - data.taken.len() as u64;
    bring_to_api_order(&mut data.taken);
    let settlement = (!is_empty).then(|| Settlement::of_imported_data(store, signature, window, &data));
    Taken { signature, span, num_data: data.taken.len() as u64, num_outside, settlement }
}

/// Writes rows in their order, and finds signatures with several rows.
struct Collector<'a, 'b> {
    writer: &'a mut BulkWriter<'b>,
    window: Window,
    report: FileReport,
    seen: HashMap<SignatureId, RowSpan>,
    /// All spans of signatures with different rows.
    doubled: BTreeMap<SignatureId, Vec<RowSpan>>,
}

impl Collector<'_, '_> {
    /// Writes blocks in the order of the file.
    fn collect(
        &mut self,
        results: flume::Receiver<(usize, Parsed, Ticket)>,
        used: &flume::Sender<Vec<u8>>,
        shutdown: &Shutdown,
    ) -> Result<(), ImportError> {
        let mut blocks = InOrder::default();
        for (number, parsed, ticket) in results {
            blocks.put(number, (parsed, ticket));
            while let Some((mut parsed, _ticket)) = blocks.take() {
                if shutdown.is_draining() {
                    return Err(ImportError::Interrupted);
                }
                let _enough_are_spare = used.try_send(std::mem::take(&mut parsed.buffer));
                self.add(parsed)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, parsed: Parsed) -> Result<(), ImportError> {
        for (line, what) in parsed.torn {
            self.report.torn.add(self.report.lines + line + 1, what);
        }
        for (line, what) in parsed.set_aside {
            self.report.set_aside.add(self.report.lines + line + 1, what);
        }
        self.report.lines += parsed.num_lines;
        let mut settlements = Vec::with_capacity(parsed.rows.len());
        for row in parsed.rows {
            let Some(first) = self.seen.get(&row.signature) else {
                self.seen.insert(row.signature, row.span);
                self.report.data += row.num_data;
                self.report.outside += row.num_outside;
                settlements.push(self.settlement_of(row.signature, row.settlement));
                continue;
            };
            self.report.doubled += 1;
            if first.fingerprint != row.span.fingerprint {
                self.doubled.entry(row.signature).or_insert_with(|| vec![*first]).push(row.span);
            }
        }
        Ok(self.writer.settle(settlements)?)
    }

    fn settlement_of(&mut self, signature: SignatureId, settlement: Option<Settlement>) -> Settlement {
        if let Some(settlement) = settlement {
            self.report.taken += 1;
            settlement
        } else {
            self.report.empty += 1;
            Settlement::discovery(vec![Pending::of(Request::Summary {
                signature,
                harvest: FIRST_HARVEST,
                window: self.window,
                replicates: false,
            })])
        }
    }

    /// Imports all data of signatures with different rows.
    fn join_doubled(&mut self, path: &Path, store: &Store) -> Result<(), ImportError> {
        let failed = |source| ImportError::Read { path: path.to_owned(), source };
        if self.doubled.is_empty() {
            return Ok(());
        }
        let mut file = File::open(path).map_err(failed)?;
        for (signature, spans) in std::mem::take(&mut self.doubled) {
            let mut joined = Row { signature, data: Sorted::default() };
            let mut first = None;
            for span in &spans {
                let mut text = vec![0; span.len];
                file.seek(SeekFrom::Start(span.offset)).and_then(|_| file.read_exact(&mut text)).map_err(failed)?;
                let (RowLine::Whole(row) | RowLine::BehindFragment(row), _) = read_line(&text) else { continue };
                first.get_or_insert(row.data.taken.is_empty());
                joined.data.taken.extend(row.data.taken);
                joined.data.odd.extend(row.data.odd);
            }
            let before = self.report.data;
            let span = spans[0];
            let taken = prepare(joined, span, store, self.window);
            if let Some(settlement) = taken.settlement {
                let request =
                    Request::Summary { signature, harvest: FIRST_HARVEST, window: self.window, replicates: false };
                let stored = store.settled(&request)?.map_or(0, |settled| u64::from(settled.num_records));
                self.report.data = before - stored + taken.num_data;
                if first == Some(true) {
                    self.report.empty -= 1;
                    self.report.taken += 1;
                }
                self.writer.settle_anew(&request, settlement)?;
            }
        }
        Ok(())
    }
}
