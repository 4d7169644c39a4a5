//! Keeps sorted runs in a temporary file without a name.
//!
//! A run is a sequence of pairs as varints: the difference to the previous first number, then the difference to the
//! previous second number if the first is equal, otherwise the second number itself. Consecutive jobs have close ids, so a
//! pair takes about three bytes instead of sixteen.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::error::SortError;
use crate::store::columns::{VarintReader, put_varint};

/// Bytes gathered before a write to the file.
const WRITE_BUFFER_BYTES: usize = 64 * 1024;

/// Two varints of 64 bits.
pub(super) const MAX_PAIR_BYTES: usize = 20;

/// The position of a run in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunSpan {
    start: u64,
    end: u64,
    num_pairs: u64,
}

/// A file of runs; dropping it deletes the file.
#[derive(Debug)]
pub(super) struct SpillFile {
    file: File,
    dir: PathBuf,
    end: u64,
    spans: Vec<RunSpan>,
}

impl SpillFile {
    pub(super) fn create_in(dir: &Path) -> Result<Self, SortError> {
        let file = tempfile::tempfile_in(dir).map_err(|source| SortError::Spill { dir: dir.to_owned(), source })?;
        Ok(Self { file, dir: dir.to_owned(), end: 0, spans: Vec::new() })
    }

    pub(super) fn num_runs(&self) -> usize {
        self.spans.len()
    }

    /// Appends a run of ascending pairs.
    pub(super) fn write_run(&mut self, pairs: impl Iterator<Item = (u64, u64)>) -> Result<(), SortError> {
        self.try_write_run(pairs.map(Ok))
    }

    /// Appends a run of ascending pairs from a fallible source.
    pub(super) fn try_write_run(
        &mut self,
        pairs: impl Iterator<Item = Result<(u64, u64), SortError>>,
    ) -> Result<(), SortError> {
        let mut span = RunSpan { start: self.end, end: self.end, num_pairs: 0 };
        let mut buffer = Vec::with_capacity(WRITE_BUFFER_BYTES);
        let mut last = (0, 0);
        for pair in pairs {
            if buffer.len() + MAX_PAIR_BYTES > WRITE_BUFFER_BYTES {
                self.write(&mut buffer)?;
            }
            let (first, second) = pair?;
            put_varint(first - last.0, &mut buffer);
            put_varint(if first == last.0 { second - last.1 } else { second }, &mut buffer);
            last = (first, second);
            span.num_pairs += 1;
        }
        self.write(&mut buffer)?;
        span.end = self.end;
        self.spans.push(span);
        Ok(())
    }

    fn write(&mut self, buffer: &mut Vec<u8>) -> Result<(), SortError> {
        self.file.write_all(buffer).map_err(|source| SortError::Spill { dir: self.dir.clone(), source })?;
        self.end += buffer.len() as u64;
        buffer.clear();
        Ok(())
    }

    /// Ends writing; returns the file and its runs.
    pub(super) fn into_parts(self) -> (File, Vec<RunSpan>) {
        (self.file, self.spans)
    }
}

/// Reads one run; several readers share a file.
#[derive(Debug)]
pub(super) struct RunReader {
    span: RunSpan,
    buffer: Vec<u8>,
    at: usize,
    last: (u64, u64),
}

impl RunReader {
    /// Holds up to `buffer_bytes` in memory, at least a few pairs.
    pub(super) fn new(span: RunSpan, buffer_bytes: usize) -> Self {
        Self { span, buffer: Vec::with_capacity(buffer_bytes.max(4 * MAX_PAIR_BYTES)), at: 0, last: (0, 0) }
    }

    /// The next pair; `None` after the last.
    pub(super) fn next(&mut self, file: &mut File) -> Result<Option<(u64, u64)>, SortError> {
        if self.span.num_pairs == 0 {
            return Ok(None);
        }
        if self.buffer.len() - self.at < MAX_PAIR_BYTES && self.span.start < self.span.end {
            self.refill(file)?;
        }
        let mut reader = VarintReader::new(&self.buffer[self.at..]);
        let first_step = reader.varint().map_err(|_| SortError::Damaged)?;
        let second_step = reader.varint().map_err(|_| SortError::Damaged)?;
        self.at = self.buffer.len() - reader.rest().len();
        let first = self.last.0.checked_add(first_step).ok_or(SortError::Damaged)?;
        let base = if first_step == 0 { self.last.1 } else { 0 };
        let second = base.checked_add(second_step).ok_or(SortError::Damaged)?;
        self.last = (first, second);
        self.span.num_pairs -= 1;
        Ok(Some(self.last))
    }

    fn refill(&mut self, file: &mut File) -> Result<(), SortError> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let room = (self.buffer.capacity() - self.buffer.len()) as u64;
        let wanted = room.min(self.span.end - self.span.start);
        file.seek(SeekFrom::Start(self.span.start)).map_err(SortError::Read)?;
        let got = file.take(wanted).read_to_end(&mut self.buffer).map_err(SortError::Read)?;
        if got as u64 != wanted {
            return Err(SortError::Damaged);
        }
        self.span.start += wanted;
        Ok(())
    }
}
