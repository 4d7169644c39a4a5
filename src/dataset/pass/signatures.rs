//! Lists the signatures of a pass: those with complete data, each with its windows, in blocks.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::model::{FIRST_HARVEST, Kind, Request, SignatureId, Window};
use crate::store::{SettledSummary, Store, StoreError, StoredPart, is_whole};

/// Data per block, approximately: about 500 KB of text.
const DATA_PER_BLOCK: u64 = 2048;
/// Maximum signatures per block, for signatures with few data.
const SIGNATURES_PER_BLOCK: usize = 256;

/// A window of a signature's data; the only one, unless the crawl split the request or a later harvest adds to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) signature: SignatureId,
    pub(crate) harvest: u16,
    window: Window,
    pub(crate) num_data: u32,
    pub(crate) num_chunks: u16,
    replicates: bool,
}

impl Part {
    fn of(summary: &SettledSummary) -> Self {
        let SettledSummary { signature, harvest, window, replicates, settled } = *summary;
        let (num_data, num_chunks) = (settled.num_records, settled.num_chunks);
        Self { signature, harvest, window, num_data, num_chunks, replicates }
    }

    pub(crate) fn stored(&self) -> StoredPart {
        (self.request(), self.num_chunks)
    }

    pub(crate) fn request(&self) -> Request {
        let Self { signature, harvest, window, replicates, .. } = *self;
        Request::Summary { signature, harvest, window, replicates }
    }
}

/// A part as it is kept, in half of the memory.
#[derive(Clone, Copy, Debug)]
struct Listed {
    signature: SignatureId,
    /// Place of its window in the list of windows.
    window: u32,
    num_data: u32,
    num_chunks: u16,
    harvest: u16,
}

/// Signatures with their parts, in one list because there may be 10^5 of them.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// Sorted by signature, then harvest, then window.
    parts: Vec<Listed>,
    /// Most parts have the same one, the whole window of the crawl.
    windows: Vec<Window>,
    replicates: bool,
    num: usize,
}

/// Neighbouring signatures with their parts: the work of one worker at a time.
#[derive(Clone, Debug)]
pub(crate) struct Block(Range<usize>);

impl Signatures {
    /// The signatures with complete data. Leaves out what a harvest has of a signature with a pending or failed part, because
    /// half of the data would look like all of them; those of the harvests before are complete by themselves.
    pub(crate) fn complete(store: &Store) -> Result<Self, StoreError> {
        Self::complete_rows(store, false)
    }

    /// As [`Signatures::complete`]; with `replicates`, the answers with them.
    pub(crate) fn complete_rows(store: &Store, replicates: bool) -> Result<Self, StoreError> {
        let incomplete: BTreeSet<(SignatureId, u16)> =
            store.unsettled_summaries(replicates).collect::<Result<_, _>>()?;
        let start = store.identity()?.map(|identity| identity.data_window().start).unwrap_or_default();
        let ends = store.harvest_ends()?;
        let mut signatures = Self { replicates, ..Self::default() };
        let kind = if replicates { Kind::Replicates } else { Kind::Summaries };
        let expected = usize::try_from(store.counts()?.of(kind).settled()).unwrap_or_default();
        let _only_to_copy_nothing_as_it_grows = signatures.parts.try_reserve_exact(expected);
        store.for_each_reading(replicates, |reading| {
            let SettledSummary { signature, harvest, .. } = reading[0];
            // A later harvest asks only for the end of the data.
            let has_begun = signatures.parts.last().is_some_and(|before| before.signature == signature);
            let is_complete = !incomplete.contains(&(signature, harvest));
            if is_complete && (has_begun || harvest == FIRST_HARVEST || is_whole(reading, start, &ends)) {
                for summary in reading {
                    signatures.push(Part::of(summary));
                }
            }
            Ok::<_, StoreError>(())
        })?;
        signatures.parts.shrink_to_fit();
        Ok(signatures)
    }

    /// Adds a part behind all others.
    fn push(&mut self, part: Part) {
        let Part { signature, harvest, window, num_data, num_chunks, .. } = part;
        let last = self.windows.len().saturating_sub(1);
        let known = [0, last].into_iter().find(|place| self.windows.get(*place) == Some(&window));
        let place = known.unwrap_or(self.windows.len());
        if known.is_none() {
            self.windows.push(window);
        }
        self.num += usize::from(self.parts.last().is_none_or(|before| before.signature != signature));
        let window = u32::try_from(place).unwrap_or(u32::MAX);
        self.parts.push(Listed { signature, window, num_data, num_chunks, harvest });
    }

    /// Number of signatures.
    pub(crate) fn len(&self) -> usize {
        self.num
    }

    /// The parts of each signature.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Vec<Part>> {
        let by_signature = self.parts.chunk_by(|one, other| one.signature == other.signature);
        by_signature.map(|listed| self.parts(listed))
    }

    /// The parts of a signature; empty for an unknown one.
    pub(crate) fn parts_of(&self, signature: SignatureId) -> Vec<Part> {
        let start = self.parts.partition_point(|part| part.signature < signature);
        let end = self.parts.partition_point(|part| part.signature <= signature);
        self.parts(&self.parts[start..end])
    }

    /// The parts of the signatures of a block.
    pub(crate) fn parts_in(&self, block: &Block) -> Vec<Part> {
        self.parts(&self.parts[block.0.clone()])
    }

    fn parts(&self, listed: &[Listed]) -> Vec<Part> {
        let part = |listed: &Listed| {
            let Listed { signature, window, num_data, num_chunks, harvest } = *listed;
            let window = self.windows[window as usize];
            Part { signature, harvest, window, num_data, num_chunks, replicates: self.replicates }
        };
        listed.iter().map(part).collect()
    }

    /// Divides the signatures into blocks of about equally many data.
    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let (mut start, mut end, mut num, mut data) = (0, 0, 0, 0);
        for listed in self.parts.chunk_by(|one, other| one.signature == other.signature) {
            end += listed.len();
            num += 1;
            data += listed.iter().map(|part| u64::from(part.num_data)).sum::<u64>();
            if data >= DATA_PER_BLOCK || num >= SIGNATURES_PER_BLOCK {
                blocks.push(Block(start..end));
                (start, num, data) = (end, 0, 0);
            }
        }
        if start < end {
            blocks.push(Block(start..end));
        }
        blocks
    }
}

/// The parts of each signature of a block.
pub(crate) fn by_signature(parts: &[Part]) -> impl Iterator<Item = &[Part]> {
    parts.chunk_by(|one, other| one.signature == other.signature)
}

#[cfg(test)]
impl Part {
    /// A part without data of a signature.
    pub(crate) fn for_test(signature: u64) -> Self {
        let window =
            Window { start: crate::model::Timestamp::from_secs(0), end: crate::model::Timestamp::from_secs(1) };
        Self {
            signature: SignatureId(signature),
            harvest: FIRST_HARVEST,
            window,
            num_data: 0,
            num_chunks: 1,
            replicates: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn part(signature: u64, start: i64, num_data: u32) -> Part {
        let window = Window { start: Timestamp::from_secs(start), end: Timestamp::from_secs(start + 1) };
        Part {
            signature: SignatureId(signature),
            harvest: FIRST_HARVEST,
            window,
            num_data,
            num_chunks: 1,
            replicates: false,
        }
    }

    #[test]
    fn blocks_hold_whole_signatures_and_all_of_them_once() {
        // Every third signature was asked in parts; one has more data than a block.
        let parts = (0..2000_u64).flat_map(|signature| {
            let num_data = if signature == 70 { 100_000 } else { u32::try_from(signature % 40).unwrap() };
            (0..if signature % 3 == 0 { 3 } else { 1 }).map(move |start| part(signature, start, num_data))
        });
        let parts: Vec<Part> = parts.collect();
        let mut signatures = Signatures::default();
        for part in &parts {
            signatures.push(*part);
        }
        assert_eq!((signatures.len(), signatures.iter().count()), (2000, 2000));
        let blocks: Vec<_> = signatures.blocks().iter().map(|block| signatures.parts_in(block)).collect();
        assert_eq!(blocks.concat(), parts);
        for pair in blocks.windows(2) {
            assert_ne!(pair[0].last().unwrap().signature, pair[1][0].signature);
        }
        for block in blocks {
            let whole: Vec<&[Part]> = by_signature(&block).collect();
            assert!(whole.len() <= SIGNATURES_PER_BLOCK);
            let data = |of: &[&[Part]]| of.concat().iter().map(|part| u64::from(part.num_data)).sum::<u64>();
            assert!(data(&whole[..whole.len() - 1]) < DATA_PER_BLOCK, "the block could have ended earlier");
        }
        assert_eq!(signatures.parts_of(SignatureId(3)).len(), 3);
        assert_eq!(signatures.parts_of(SignatureId(4)), [part(4, 0, 4)]);
        assert!(signatures.parts_of(SignatureId(2000)).is_empty());
        assert!(Signatures::default().blocks().is_empty());
    }
}
