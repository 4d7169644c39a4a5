//! The trees of a store, and a change of one of their entries.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::value_log::Place;

/// The number of trees.
pub(super) const NUM_TREES: usize = 10;

/// Names by number. A number stands in the log, so that it never changes its meaning; a new tree comes last.
pub(super) const NAMES: [&str; NUM_TREES] = [
    "meta",
    "pending",
    "settled",
    "failed",
    "provenance",
    "signature_ids",
    "pushes",
    "records",
    "set_aside",
    "unlisted",
];

pub(super) const META: usize = 0;
pub(super) const PENDING: usize = 1;
pub(super) const SETTLED: usize = 2;
pub(super) const FAILED: usize = 3;
pub(super) const PROVENANCE: usize = 4;
pub(super) const SIGNATURE_IDS: usize = 5;
pub(super) const PUSHES: usize = 6;
pub(super) const RECORDS: usize = 7;
pub(super) const SET_ASIDE: usize = 8;
/// Signatures and alert summaries that the server's list lacked: the number of the last harvest that saw them, and of the one
/// that saw them again.
pub(super) const UNLISTED: usize = 9;

/// The trees that tell the state of a request, which other trees hold the answer to.
pub(super) const STATES: [usize; 4] = [META, PENDING, SETTLED, FAILED];

/// A change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operation {
    /// Number of the tree.
    pub(super) tree: usize,
    pub(super) key: Vec<u8>,
    /// `None` removes the entry.
    pub(super) value: Option<Vec<u8>>,
}

/// The part of an entry in the sum over all entries.
pub(super) fn hash_of(tree: usize, key: &[u8], value: &[u8]) -> u64 {
    xxh3_64_with_seed(value, xxh3_64_with_seed(key, tree as u64))
}

/// Set in the byte of the tree: the entry is removed.
const REMOVED: u8 = 0x80;

/// Appends an operation: tree, length of the key (2 bytes), length of the value (4 bytes), key, value.
pub(super) fn put_operation(operation: &Operation, out: &mut Vec<u8>) {
    let value = operation.value.as_deref();
    let tree = u8::try_from(operation.tree).unwrap_or(!REMOVED);
    out.push(if value.is_some() { tree } else { tree | REMOVED });
    out.extend_from_slice(&u16::try_from(operation.key.len()).unwrap_or(u16::MAX).to_le_bytes());
    out.extend_from_slice(&u32::try_from(value.map_or(0, <[u8]>::len)).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&operation.key);
    out.extend_from_slice(value.unwrap_or_default());
}

/// Operations as bytes, one after the other.
pub(super) fn operations_to_bytes(operations: &[Operation]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for operation in operations {
        put_operation(operation, &mut bytes);
    }
    bytes
}

/// Reads operations to the end; `None` for bytes that [`put_operation`] did not write.
pub(super) fn read_operations(mut bytes: &[u8]) -> Option<Vec<Operation>> {
    let mut operations = Vec::new();
    while let Some((first, rest)) = bytes.split_first() {
        let tree = usize::from(first & !REMOVED);
        let (key_len, rest) = rest.split_first_chunk::<2>()?;
        let (value_len, rest) = rest.split_first_chunk::<4>()?;
        let (key, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*key_len)))?;
        let (value, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*value_len)).ok()?)?;
        if tree >= NUM_TREES {
            return None;
        }
        let value = (first & REMOVED == 0).then(|| value.to_vec());
        operations.push(Operation { tree, key: key.to_vec(), value });
        bytes = rest;
    }
    Some(operations)
}

/// Makes the places of records, which stand relative to the values of their commit, absolute.
pub(super) fn place_records(operations: &mut [Operation], values_at: u64) {
    for Operation { value, .. } in operations.iter_mut().filter(|operation| operation.tree == RECORDS) {
        if let Some(place) = value.as_deref().and_then(Place::from_bytes) {
            *value = Some(place.behind(values_at).to_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn operations_come_back_and_a_cut_is_seen(
            parts in proptest::collection::vec((0..NUM_TREES, any::<Vec<u8>>(), any::<Option<Vec<u8>>>()), 1..10),
        ) {
            let operations: Vec<_> = parts.into_iter().map(|(tree, key, value)| Operation { tree, key, value }).collect();
            let bytes = operations_to_bytes(&operations);
            let cut = read_operations(&bytes[..bytes.len() - 1]);
            prop_assert_eq!(read_operations(&bytes), Some(operations.clone()));
            prop_assert!(cut.is_none_or(|cut| cut.len() < operations.len()));
        }
    }
}
