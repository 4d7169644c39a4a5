//! A part of a list of signatures before it is stored: its records, compressed together. That takes a tenth of the memory of
//! records by themselves, and all of a list are in memory until it is complete.

use std::collections::BTreeSet;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::columns::{VarintReader, put_varint};
use super::value::FramedRecord;
use super::{StoreError, frame, key};
use crate::model::{Signature, SignatureId};

/// Neighbouring records of a list.
#[derive(Debug)]
pub(super) struct ListedPart {
    /// Number of its first record in the list.
    first: usize,
    /// Of each record: id, length (varints), text; in a frame.
    framed: Vec<u8>,
    /// Places of the records that are left out.
    left_out: BTreeSet<usize>,
}

impl ListedPart {
    /// The records of `signatures`, the first of which is record `first` of the list.
    pub(super) fn of(first: usize, signatures: &[Signature]) -> Self {
        let mut bytes = Vec::new();
        for signature in signatures {
            let text = signature.raw.as_str().as_bytes();
            put_varint(signature.id.0, &mut bytes);
            put_varint(text.len() as u64, &mut bytes);
            bytes.extend_from_slice(text);
        }
        Self { first, framed: frame::seal(&bytes), left_out: BTreeSet::new() }
    }

    pub(super) const fn first(&self) -> usize {
        self.first
    }

    /// Leaves out record `number` of the list, which a later one of the same signature replaces.
    pub(super) fn leave_out(&mut self, number: usize) {
        self.left_out.insert(number - self.first);
    }

    /// The records, which are compressed on all cores.
    pub(super) fn records(&self) -> Result<Vec<FramedRecord>, StoreError> {
        let mut bytes = Vec::new();
        let damaged = |reason: &str| StoreError::damaged("records", &[key::SIGNATURE], reason);
        frame::open(&self.framed, &mut bytes).map_err(|error| damaged(&error.to_string()))?;
        let texts = texts_of(&bytes).ok_or_else(|| damaged("a list is cut off"))?;
        let counting: Vec<_> = (0..).zip(texts).filter(|(place, _)| !self.left_out.contains(place)).collect();
        let sealed = counting.par_iter().map(|(_, (id, text))| {
            let record_key = key::signature(*id);
            let pieces = key::pieces(&record_key, text);
            pieces.map(|(key, piece)| (key, frame::seal(&piece))).collect::<Vec<_>>()
        });
        Ok(sealed.collect::<Vec<_>>().into_iter().flatten().collect())
    }
}

fn texts_of(bytes: &[u8]) -> Option<Vec<(SignatureId, &[u8])>> {
    let (mut rest, mut texts) = (VarintReader::new(bytes), Vec::new());
    while !rest.rest().is_empty() {
        let (id, len) = (rest.varint().ok()?, usize::try_from(rest.varint().ok()?).ok()?);
        let (text, behind) = rest.rest().split_at_checked(len)?;
        texts.push((SignatureId(id), text));
        rest = VarintReader::new(behind);
    }
    Some(texts)
}
