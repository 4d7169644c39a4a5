//! The book of arrivals: every request, when it arrived and how it was answered.
//!
//! A request is entered when it arrives, and settled when its outcome is known. Settled entries go through a bounded
//! channel to a thread that appends them to the arrival log. Closing the channel flushes the log and ends the thread.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::error::SimulatorError;

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Still waiting for its answer.
    Pending,
    /// Answered with this status.
    Status(u16),
    /// Ended by a fault: a name of [`FaultKind`](crate::FaultKind), or `close` (a scripted close), `killed` (over
    /// [`kill_over_data`](crate::Behaviour::kill_over_data)) or `abandoned` (the client left first).
    Fault(&'static str),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending => f.pad("pending"),
            Self::Status(status) => f.pad(&status.to_string()),
            Self::Fault(name) => f.pad(name),
        }
    }
}

/// One request that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Time since the server started, on tokio's clock.
    pub at: Duration,
    /// The requested endpoint.
    pub endpoint: Endpoint,
    /// Path and query, as sent.
    pub path_and_query: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The User-Agent header, if there was one.
    pub user_agent: Option<String>,
}

/// Numbers of requests by endpoint and outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedCounts {
    counts: BTreeMap<(Endpoint, Outcome), u64>,
}

impl ServedCounts {
    /// Iterates over the counts, ordered by endpoint and outcome.
    pub fn iter(&self) -> impl Iterator<Item = (Endpoint, &Outcome, u64)> {
        self.counts.iter().map(|((endpoint, outcome), count)| (*endpoint, outcome, *count))
    }

    /// The number of all requests.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }

    /// The number of requests to an endpoint.
    #[must_use]
    pub fn of(&self, endpoint: Endpoint) -> u64 {
        self.iter().filter(|(of, ..)| *of == endpoint).map(|(.., count)| count).sum()
    }

    /// The number of requests to an endpoint that were answered with this status.
    #[must_use]
    pub fn with_status(&self, endpoint: Endpoint, status: u16) -> u64 {
        self.counts.get(&(endpoint, Outcome::Status(status))).copied().unwrap_or(0)
    }

    /// The requests since an earlier count of the same server.
    #[must_use]
    pub fn since(&self, mark: &Self) -> Self {
        let since = self.counts.iter().map(|(key, count)| {
            let before = mark.counts.get(key).copied().unwrap_or(0);
            (key.clone(), count.saturating_sub(before))
        });
        Self { counts: since.filter(|(_, count)| *count > 0).collect() }
    }

    fn shift(&mut self, endpoint: Endpoint, from: &Outcome, to: Outcome) {
        if let Some(count) = self.counts.get_mut(&(endpoint, from.clone())) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&(endpoint, from.clone()));
            }
        }
        *self.counts.entry((endpoint, to)).or_insert(0) += 1;
    }
}

impl fmt::Display for ServedCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (endpoint, outcome, count) in self.iter() {
            writeln!(f, "{endpoint:<14}{outcome:<14}{count:>10}")?;
        }
        write!(f, "{:<28}{:>10}", "total", self.total())
    }
}

/// Lines that may wait for the log's thread. A full channel delays requests, so that memory stays bounded.
const LOG_CAPACITY: usize = 4096;

/// The book, shared by all connections.
#[derive(Debug)]
pub(crate) struct ArrivalBook {
    started_at: Instant,
    keep: usize,
    number: AtomicU64,
    entries: Mutex<Entries>,
    /// The log's thread holds the receiver. Closed by [`ArrivalBook::finish`].
    log: Mutex<Option<Log>>,
}

#[derive(Debug, Default)]
struct Entries {
    kept: Vec<Arrival>,
    served: ServedCounts,
}

#[derive(Debug)]
struct Log {
    lines: flume::Sender<Vec<u8>>,
    writer: JoinHandle<std::io::Result<()>>,
    path: PathBuf,
}

/// A request that is not settled yet. One that is dropped counts as abandoned.
#[derive(Debug)]
pub(crate) struct OpenEntry {
    book: Arc<ArrivalBook>,
    arrival: Option<Arrival>,
    index: Option<usize>,
    number: u64,
}

impl ArrivalBook {
    /// Opens the book, and the log if a path is given.
    pub(crate) fn open(keep: usize, log: Option<PathBuf>) -> Result<Arc<Self>, SimulatorError> {
        let log = log.map(Log::open).transpose()?;
        Ok(Arc::new(Self {
            started_at: Instant::now(),
            keep,
            number: AtomicU64::new(0),
            entries: Mutex::default(),
            log: Mutex::new(log),
        }))
    }

    pub(crate) fn enter(
        self: &Arc<Self>,
        endpoint: Endpoint,
        path_and_query: &str,
        user_agent: Option<&str>,
    ) -> OpenEntry {
        let arrival = Arrival {
            at: self.started_at.elapsed(),
            endpoint,
            path_and_query: path_and_query.to_owned(),
            outcome: Outcome::Pending,
            user_agent: user_agent.map(str::to_owned),
        };
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let mut entries = self.entries();
        *entries.served.counts.entry((endpoint, Outcome::Pending)).or_insert(0) += 1;
        let index = (entries.kept.len() < self.keep).then(|| {
            entries.kept.push(arrival.clone());
            entries.kept.len() - 1
        });
        drop(entries);
        OpenEntry { book: Arc::clone(self), arrival: Some(arrival), index, number }
    }

    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        self.entries().kept.clone()
    }

    pub(crate) fn served(&self) -> ServedCounts {
        self.entries().served.clone()
    }

    /// Closes the log. Blocks until it is flushed.
    pub(crate) fn finish(&self) -> Result<(), SimulatorError> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Log { lines, writer, path }) = log else { return Ok(()) };
        drop(lines);
        match writer.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(SimulatorError::File { verb: "write", path, source }),
            Err(_) => Err(SimulatorError::Task { task: "writer of the arrival log" }),
        }
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_line(&self, arrival: &Arrival) {
        let lines = {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            log.as_ref().map(|log| log.lines.clone())
        };
        let Some(lines) = lines else { return };
        let line = serde_json::to_vec(&LogLine {
            at_ms: u64::try_from(arrival.at.as_millis()).unwrap_or(u64::MAX),
            endpoint: arrival.endpoint.name(),
            path_and_query: &arrival.path_and_query,
            outcome: arrival.outcome.to_string(),
        });
        if let Ok(line) = line {
            // Fails only once the writer has failed, which `finish` reports.
            let _ = lines.send(line);
        }
    }
}

#[derive(Serialize)]
struct LogLine<'a> {
    at_ms: u64,
    endpoint: &'a str,
    path_and_query: &'a str,
    outcome: String,
}

impl Log {
    fn open(path: PathBuf) -> Result<Self, SimulatorError> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|source| SimulatorError::File { verb: "open", path: path.clone(), source })?;
        let (lines, received) = flume::bounded::<Vec<u8>>(LOG_CAPACITY);
        let writer = std::thread::spawn(move || {
            let mut file = BufWriter::new(file);
            for mut line in received {
                line.push(b'\n');
                file.write_all(&line)?;
            }
            file.flush()
        });
        Ok(Self { lines, writer, path })
    }
}

impl OpenEntry {
    /// The number of this arrival, from 0.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Records how the request ended.
    pub(crate) fn settle(mut self, outcome: Outcome) {
        self.close(outcome);
    }

    fn close(&mut self, outcome: Outcome) {
        let Some(mut arrival) = self.arrival.take() else { return };
        arrival.outcome = outcome;
        let mut entries = self.book.entries();
        entries.served.shift(arrival.endpoint, &Outcome::Pending, arrival.outcome.clone());
        if let Some(kept) = self.index.and_then(|index| entries.kept.get_mut(index)) {
            kept.outcome = arrival.outcome.clone();
        }
        drop(entries);
        self.book.write_line(&arrival);
    }
}

impl Drop for OpenEntry {
    fn drop(&mut self) {
        self.close(Outcome::Fault("abandoned"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_is_dropped_counts_as_abandoned() {
        let book = ArrivalBook::open(1, None).unwrap();
        book.enter(Endpoint::Jobs, "/a", None).settle(Outcome::Status(200));
        let mark = book.served();
        drop(book.enter(Endpoint::Jobs, "/b", None));
        assert_eq!((mark.total(), book.served().since(&mark).of(Endpoint::Jobs)), (1, 1));
        let open = book.enter(Endpoint::Push, "/c", None);
        let served = book.served();
        assert_eq!(served.total(), 3);
        assert_eq!(served.with_status(Endpoint::Jobs, 200), 1);
        assert_eq!(served.iter().filter(|(_, outcome, _)| **outcome == Outcome::Pending).count(), 1);
        assert_eq!(book.arrivals().len(), 1, "later arrivals are only counted");
        drop(open);
    }

    #[test]
    fn the_log_has_a_line_for_every_arrival() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("arrivals.jsonl");
        let book = ArrivalBook::open(0, Some(path.clone())).unwrap();
        for n in 0..100 {
            book.enter(Endpoint::Jobs, &format!("/x?id={n}"), None).settle(Outcome::Status(200));
        }
        book.finish().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text.lines().count(), 100);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(first["outcome"], "200");
        assert_eq!(first["path_and_query"], "/x?id=0");
    }
}
