//! Merges sorted runs, in memory and on disk, into one sequence.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::path::Path;

use super::error::SortError;
use super::radix::SortedRun;
use super::spill::{RunReader, RunSpan, SpillFile};

/// Minimum bytes per spilled run, because smaller reads are slow; with less memory, runs are merged in several passes.
const MIN_BUFFER_BYTES: usize = 4 * 1024;

/// Maximum bytes per spilled run, because larger reads are not faster.
const MAX_BUFFER_BYTES: usize = 256 * 1024;

/// Range of the number of spilled runs that are merged at once.
const MAX_FAN_IN: usize = 512;
const MIN_FAN_IN: usize = 8;

/// Distinct pairs in ascending order. After an error the sequence ends.
#[derive(Debug)]
pub(crate) struct SortedPairs {
    merge: Merge,
    last: Option<(u64, u64)>,
}

#[derive(Debug)]
enum Merge {
    /// One run of memory: nothing to merge.
    Single {
        run: SortedRun,
        at: usize,
    },
    Many {
        cursors: Vec<Cursor>,
        files: Vec<File>,
        heads: BinaryHeap<Reverse<RunHead>>,
    },
}

/// A run's next pair, and the index of the run.
type RunHead = ((u64, u64), usize);

#[derive(Debug)]
enum Cursor {
    Memory { run: SortedRun, at: usize },
    Disk { file: usize, reader: RunReader },
}

impl Cursor {
    fn next(&mut self, files: &mut [File]) -> Result<Option<(u64, u64)>, SortError> {
        match self {
            Self::Memory { run, at } => {
                *at += 1;
                Ok(run.get(*at - 1))
            }
            Self::Disk { file, reader } => reader.next(&mut files[*file]),
        }
    }
}

impl SortedPairs {
    /// Merges runs in memory and on disk; the buffers for those on disk take at most half the budget.
    pub(super) fn merge(
        mut runs: Vec<SortedRun>,
        mut spills: Vec<SpillFile>,
        budget_bytes: usize,
        spill_dir: &Path,
    ) -> Result<Self, SortError> {
        let budget_bytes = budget_bytes / 2;
        let fan_in = (budget_bytes / MIN_BUFFER_BYTES).clamp(MIN_FAN_IN, MAX_FAN_IN);
        while spills.iter().map(SpillFile::num_runs).sum::<usize>() > fan_in {
            spills = vec![merge_pass(spills, fan_in, budget_bytes, spill_dir)?];
        }
        runs.retain(|run| run.len() > 0);
        let merge = match runs.pop() {
            Some(run) if runs.is_empty() && spills.is_empty() => Merge::Single { run, at: 0 },
            last => {
                runs.extend(last);
                let mut files = Vec::new();
                let mut spans = Vec::new();
                for spill in spills {
                    let (file, spans_of_file) = spill.into_parts();
                    spans.extend(spans_of_file.into_iter().map(|span| (files.len(), span)));
                    files.push(file);
                }
                let mut cursors: Vec<Cursor> = runs.into_iter().map(|run| Cursor::Memory { run, at: 0 }).collect();
                cursors.extend(disk_cursors(&spans, budget_bytes));
                Merge::many(cursors, files)?
            }
        };
        Ok(Self { merge, last: None })
    }
}

fn disk_cursors(spans: &[(usize, RunSpan)], budget_bytes: usize) -> impl Iterator<Item = Cursor> {
    let buffer_bytes = (budget_bytes / spans.len().max(1)).clamp(MIN_BUFFER_BYTES, MAX_BUFFER_BYTES);
    spans.iter().map(move |&(file, span)| Cursor::Disk { file, reader: RunReader::new(span, buffer_bytes) })
}

/// Merges every `fan_in` runs into one, on a new file.
fn merge_pass(
    spills: Vec<SpillFile>,
    fan_in: usize,
    budget_bytes: usize,
    spill_dir: &Path,
) -> Result<SpillFile, SortError> {
    let mut merged = SpillFile::create_in(spill_dir)?;
    let mut files = Vec::new();
    let mut spans = Vec::new();
    for spill in spills {
        let (file, spans_of_file) = spill.into_parts();
        spans.extend(spans_of_file.into_iter().map(|span| (files.len(), span)));
        files.push(file);
    }
    for group in spans.chunks(fan_in) {
        let merge = Merge::many(disk_cursors(group, budget_bytes).collect(), files)?;
        let mut sorted = SortedPairs { merge, last: None };
        merged.try_write_run(&mut sorted)?;
        files = match sorted.merge {
            Merge::Many { files, .. } => files,
            Merge::Single { .. } => Vec::new(),
        };
    }
    Ok(merged)
}

impl Merge {
    fn many(mut cursors: Vec<Cursor>, mut files: Vec<File>) -> Result<Self, SortError> {
        let mut heads = BinaryHeap::with_capacity(cursors.len());
        for (at, cursor) in cursors.iter_mut().enumerate() {
            if let Some(pair) = cursor.next(&mut files)? {
                heads.push(Reverse((pair, at)));
            }
        }
        Ok(Self::Many { cursors, files, heads })
    }

    fn next(&mut self) -> Result<Option<(u64, u64)>, SortError> {
        match self {
            Self::Single { run, at } => {
                *at += 1;
                Ok(run.get(*at - 1))
            }
            Self::Many { cursors, files, heads } => {
                let Some(mut head) = heads.peek_mut() else { return Ok(None) };
                let Reverse((pair, at)) = *head;
                match cursors[at].next(files)? {
                    Some(next) => *head = Reverse((next, at)),
                    None => drop(PeekMut::pop(head)),
                }
                Ok(Some(pair))
            }
        }
    }
}

impl Iterator for SortedPairs {
    type Item = Result<(u64, u64), SortError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.merge.next() {
                Ok(None) => return None,
                // The same pair can be in several runs.
                Ok(pair) if pair == self.last => {}
                Ok(pair) => {
                    self.last = pair;
                    return pair.map(Ok);
                }
                Err(error) => {
                    if let Merge::Many { heads, .. } = &mut self.merge {
                        heads.clear();
                    }
                    return Some(Err(error));
                }
            }
        }
    }
}
