//! Which signatures a pass goes over: those whose data are all there, each with its windows, in blocks.

use std::collections::BTreeSet;

use crate::model::{Request, SignatureId, Window};
use crate::store::{SettledSummary, Store, StoreError};

/// Data per block, about: some 500 KB of text.
const DATA_PER_BLOCK: u64 = 2048;
/// Signatures per block at the most, for signatures with little data.
const SIGNATURES_PER_BLOCK: usize = 256;

/// A window of a signature's data; the only one, unless its window was asked in parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) signature: SignatureId,
    window: Window,
    pub(crate) num_data: u32,
    pub(crate) num_chunks: u16,
}

impl Part {
    fn of(summary: &SettledSummary) -> Self {
        let SettledSummary { signature, window, settled } = *summary;
        Self { signature, window, num_data: settled.num_records, num_chunks: settled.num_chunks }
    }

    /// The request that it answers.
    pub(crate) fn request(&self) -> Request {
        Request::Summary { signature: self.signature, window: self.window }
    }
}

/// Signatures with their parts; there may be 10^5, so they stand in one list.
#[derive(Debug, Default)]
pub(crate) struct Signatures {
    /// By signature, then window.
    parts: Vec<Part>,
    num: usize,
}

impl Signatures {
    /// Those whose data are all there. Those that are pending or failed, in any part, are left out: half of their data
    /// would look like all of it.
    pub(crate) fn complete(store: &Store) -> Result<Self, StoreError> {
        let incomplete: BTreeSet<SignatureId> = store.unsettled_signatures().collect::<Result<_, _>>()?;
        Self::of(store.settled_summaries(), |signature| incomplete.contains(&signature))
    }

    fn of(
        summaries: impl Iterator<Item = Result<SettledSummary, StoreError>>,
        incomplete: impl Fn(SignatureId) -> bool,
    ) -> Result<Self, StoreError> {
        let mut parts = Vec::new();
        for summary in summaries {
            let summary = summary?;
            if !incomplete(summary.signature) {
                parts.push(Part::of(&summary));
            }
        }
        parts.shrink_to_fit();
        let num = by_signature(&parts).count();
        Ok(Self { parts, num })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.num
    }

    /// The parts of each.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[Part]> {
        by_signature(&self.parts)
    }

    /// The parts of one; none of one that is not there.
    pub(crate) fn parts_of(&self, signature: SignatureId) -> &[Part] {
        let start = self.parts.partition_point(|part| part.signature < signature);
        let end = self.parts.partition_point(|part| part.signature <= signature);
        &self.parts[start..end]
    }

    /// Deals the signatures out in blocks of about the same number of data.
    pub(super) fn blocks(&self) -> Vec<&[Part]> {
        let mut blocks = Vec::new();
        let (mut start, mut end, mut num, mut data) = (0, 0, 0, 0);
        for parts in self.iter() {
            end += parts.len();
            num += 1;
            data += parts.iter().map(|part| u64::from(part.num_data)).sum::<u64>();
            if data >= DATA_PER_BLOCK || num >= SIGNATURES_PER_BLOCK {
                blocks.push(&self.parts[start..end]);
                (start, num, data) = (end, 0, 0);
            }
        }
        if start < end {
            blocks.push(&self.parts[start..]);
        }
        blocks
    }
}

/// The parts of each signature of a block.
pub(super) fn by_signature(parts: &[Part]) -> impl Iterator<Item = &[Part]> {
    parts.chunk_by(|one, other| one.signature == other.signature)
}
