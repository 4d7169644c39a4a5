//! Entries as bytes; the parent module has their layout.

use std::io::{self, Read};

use crate::store::trees::NUM_TREES;
use crate::store::value_log::MAX_VALUE_BYTES;

/// Stands where an entry has its tree, which is written as its number in the store + 1.
const END: u8 = 0;

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// As in [`crate::store::trees`].
    pub(super) tree: usize,
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// The next item in the body of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Entry(Entry),
    End {
        /// According to the archive.
        num_entries: u64,
    },
}

/// Appends an entry; false when the key or the value is too long for the format.
#[must_use]
pub(super) fn put(tree: usize, key: &[u8], value: &[u8], out: &mut Vec<u8>) -> bool {
    let (Ok(tree), Ok(key_len), Ok(value_len)) =
        (u8::try_from(tree + 1), u16::try_from(key.len()), u32::try_from(value.len()))
    else {
        return false;
    };
    out.push(tree);
    out.extend_from_slice(&key_len.to_le_bytes());
    out.extend_from_slice(&value_len.to_le_bytes());
    out.extend_from_slice(key);
    out.extend_from_slice(value);
    true
}

/// Appends the end mark, which follows the last entry.
pub(super) fn put_end(num_entries: u64, out: &mut Vec<u8>) {
    out.push(END);
    out.extend_from_slice(&num_entries.to_le_bytes());
}

/// Reads the next item.
pub(super) fn read_next(input: &mut impl Read) -> io::Result<Next> {
    let mut tree = [0];
    input.read_exact(&mut tree)?;
    if tree[0] == END {
        let mut num_entries = [0; 8];
        input.read_exact(&mut num_entries)?;
        return Ok(Next::End { num_entries: u64::from_le_bytes(num_entries) });
    }
    let tree = usize::from(tree[0]) - 1;
    if tree >= NUM_TREES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry belongs to an unknown tree"));
    }
    let (mut key_len, mut value_len) = ([0; 2], [0; 4]);
    input.read_exact(&mut key_len)?;
    input.read_exact(&mut value_len)?;
    let key = read_bytes(input, u64::from(u16::from_le_bytes(key_len)))?;
    let value_len = u32::from_le_bytes(value_len);
    if value_len > MAX_VALUE_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an entry is longer than a store can hold"));
    }
    let value = read_bytes(input, u64::from(value_len))?;
    Ok(Next::Entry(Entry { tree, key, value }))
}

/// Reads entries to the first error, and panics if one is not written as it was read.
pub(crate) fn check_entries(body: &[u8]) {
    let mut rest = body;
    loop {
        let before = rest;
        let mut again = Vec::new();
        match read_next(&mut rest) {
            Ok(Next::Entry(Entry { tree, key, value })) => assert!(put(tree, &key, &value, &mut again)),
            Ok(Next::End { num_entries }) => put_end(num_entries, &mut again),
            Err(_) => return,
        }
        assert!(before.len() == again.len() + rest.len() && before.starts_with(&again));
    }
}

/// Reads exactly `len` bytes; allocates for bytes that are there, not for those that are announced.
fn read_bytes(input: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(len.min(64 << 10)).unwrap_or_default());
    input.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_entry_that_no_store_could_hold_is_refused_before_it_is_read() {
        let header = |len: u32| [&[1, 1, 0][..], &len.to_le_bytes(), b"k"].concat();
        let endless =
            |len| read_next(&mut header(len).as_slice().chain(io::repeat(0).take(1 << 20))).unwrap_err().kind();
        assert_eq!(endless(MAX_VALUE_BYTES + 1), io::ErrorKind::InvalidData);
        assert_eq!(endless(MAX_VALUE_BYTES), io::ErrorKind::UnexpectedEof);
    }

    proptest! {
        #[test]
        fn entries_come_back_and_a_cut_is_seen(
            entries in proptest::collection::vec((0..NUM_TREES, any::<Vec<u8>>(), any::<Vec<u8>>()), 0..10),
        ) {
            let mut bytes = Vec::new();
            for (tree, key, value) in &entries {
                prop_assert!(put(*tree, key, value, &mut bytes));
            }
            put_end(entries.len() as u64, &mut bytes);
            let mut input = bytes.as_slice();
            for (tree, key, value) in entries.iter().cloned() {
                prop_assert_eq!(read_next(&mut input).unwrap(), Next::Entry(Entry { tree, key, value }));
            }
            prop_assert_eq!(read_next(&mut input).unwrap(), Next::End { num_entries: entries.len() as u64 });
            let mut cut = &bytes[..bytes.len() - 1];
            while let Ok(next) = read_next(&mut cut) {
                prop_assert!(matches!(next, Next::Entry(_)));
            }
        }
    }
}
