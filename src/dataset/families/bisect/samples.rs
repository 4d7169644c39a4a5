//! Rows by the commit that they measured: kept in a temporary file without a name, and brought to the order of the commits
//! by the external sort.
//!
//! Promises: memory is bounded, and the rows of a commit come in the order in which they were added.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use crate::dataset::error::DatasetError;
use crate::dataset::pass::external_sort::{PairSorter, SortError, SortedPairs};

/// Bytes read at once: most rows are shorter.
const USUAL_BYTES: usize = 512;

/// Bytes of the length before a row.
const LEN_BYTES: usize = size_of::<u32>();

/// Takes rows.
pub(super) struct Samples {
    file: BufWriter<File>,
    dir: PathBuf,
    end: u64,
    /// The position of the commit, and the place in the file.
    pairs: PairSorter,
}

impl Samples {
    pub(super) fn create_in(dir: &Path, pairs: PairSorter) -> Result<Self, SortError> {
        let file = tempfile::tempfile_in(dir).map_err(|source| SortError::Spill { dir: dir.to_owned(), source })?;
        Ok(Self { file: BufWriter::with_capacity(1 << 18, file), dir: dir.to_owned(), end: 0, pairs })
    }

    /// Adds a row of the commit at `position`.
    pub(super) fn add(&mut self, position: u32, row: &[u8]) -> Result<(), DatasetError> {
        let len = u32::try_from(row.len()).map_err(|_| SortError::Damaged)?;
        let written = self.file.write_all(&len.to_le_bytes()).and_then(|()| self.file.write_all(row));
        written.map_err(|source| SortError::Spill { dir: self.dir.clone(), source })?;
        self.pairs.push(u64::from(position), self.end)?;
        self.end += (LEN_BYTES + row.len()) as u64;
        Ok(())
    }

    /// Ends the input.
    pub(super) fn finish(self) -> Result<SortedSamples, SortError> {
        let Self { file, dir, pairs, .. } = self;
        let file = file.into_inner().map_err(|error| SortError::Spill { dir, source: error.into_error() })?;
        Ok(SortedSamples { file, pairs: PairSorter::finish_all(vec![pairs])?.peekable(), row: Vec::new() })
    }
}

/// Returns rows, by position.
pub(super) struct SortedSamples {
    file: File,
    pairs: Peekable<SortedPairs>,
    row: Vec<u8>,
}

impl SortedSamples {
    /// The next row of the commit at `position`; `None` after the last. Positions must ascend.
    pub(super) fn next_of(&mut self, position: u32) -> Result<Option<&[u8]>, SortError> {
        let is_of = |pair: &Result<(u64, u64), _>| pair.as_ref().map_or(true, |(at, _)| *at == u64::from(position));
        let Some((_, place)) = self.pairs.next_if(is_of).transpose()? else { return Ok(None) };
        self.file.seek(SeekFrom::Start(place)).map_err(SortError::Read)?;
        self.row.clear();
        let take = |wanted: usize, row: &mut Vec<u8>| {
            (&self.file).take(wanted as u64).read_to_end(row).map_err(SortError::Read)
        };
        take(USUAL_BYTES, &mut self.row)?;
        let len = self.row.first_chunk::<LEN_BYTES>().ok_or(SortError::Damaged)?;
        let end = LEN_BYTES + u32::from_le_bytes(*len) as usize;
        if end > self.row.len() {
            take(end - self.row.len(), &mut self.row)?;
        }
        self.row.get(LEN_BYTES..end).map(Some).ok_or(SortError::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_come_back_by_commit_in_the_order_in_which_they_were_added(
            rows in proptest::collection::vec((0_u32..6, 0_usize..1500), 0..60),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut samples = Samples::create_in(dir.path(), PairSorter::new(0, dir.path())).unwrap();
            let mut expected: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
            for (number, (position, len)) in rows.into_iter().enumerate() {
                let row = vec![u8::try_from(number).unwrap(); len];
                samples.add(position, &row).unwrap();
                expected.entry(position).or_default().push(row);
            }
            let mut sorted = samples.finish().unwrap();
            for position in 0..6 {
                let mut found = Vec::new();
                while let Some(row) = sorted.next_of(position).unwrap() {
                    found.push(row.to_vec());
                }
                prop_assert_eq!(found, expected.remove(&position).unwrap_or_default());
            }
        }
    }
}
