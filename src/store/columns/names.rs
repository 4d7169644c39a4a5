//! The column of machine names: a dictionary of the chunk's own, and which entry each datum has.
//!
//! Layout: the number of entries, then each, sorted, as (bytes shared with the entry before, length of the rest, the
//! rest), then an integer column of indexes.

use std::collections::BTreeMap;

use super::integers::{IntegerEncoder, decode_integers};
use super::varint::{Reader, put_len};
use super::{ColumnsError, malformed};

/// The most that an entry may borrow from the one before: bounds what few bytes can unfold to.
const MAX_SHARED_BYTES: usize = 64;

/// Appends the column.
pub(super) fn encode_names(names: &[&str], integers: &mut IntegerEncoder, out: &mut Vec<u8>) {
    if names.is_empty() {
        return;
    }
    let mut indexes: BTreeMap<&str, u64> = names.iter().map(|&name| (name, 0)).collect();
    put_len(indexes.len(), out);
    let mut last: &[u8] = b"";
    for (index, (name, at)) in (0..).zip(&mut indexes) {
        *at = index;
        let name = name.as_bytes();
        let shared = name.iter().zip(last).take(MAX_SHARED_BYTES).take_while(|(a, b)| a == b).count();
        put_len(shared, out);
        put_len(name.len() - shared, out);
        out.extend_from_slice(&name[shared..]);
        last = name;
    }
    let words: Vec<u64> = names.iter().map(|name| indexes.get(name).copied().unwrap_or_default()).collect();
    integers.encode(&words, out);
}

/// A dictionary, all entries in one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: String,
    /// Where each entry ends.
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// An entry; empty when there is none.
    pub(super) fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before));
        match (start, self.ends.get(index)) {
            (Some(&start), Some(&end)) => &self.text[start..end],
            _ => "",
        }
    }

    /// Reads the column of `count` names: the dictionary into `self`, the indexes, all of which are entries, into
    /// `indexes`.
    pub(super) fn decode(
        &mut self,
        reader: &mut Reader<'_>,
        count: usize,
        indexes: &mut Vec<u64>,
    ) -> Result<(), ColumnsError> {
        self.clear();
        indexes.clear();
        if count == 0 {
            return Ok(());
        }
        let num_entries = reader.len(count)?;
        let mut entry = Vec::new();
        for _ in 0..num_entries {
            let shared = reader.len(entry.len().min(MAX_SHARED_BYTES))?;
            let rest = reader.len(usize::MAX)?;
            entry.truncate(shared);
            entry.extend_from_slice(reader.bytes(rest)?);
            self.text.push_str(std::str::from_utf8(&entry).map_err(|_| malformed("a name is not UTF-8"))?);
            self.ends.push(self.text.len());
        }
        decode_integers(reader, count, indexes)?;
        if indexes.iter().any(|&index| index >= num_entries as u64) {
            return Err(malformed("a name is not in the dictionary"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(names: &[&str]) -> usize {
        let mut bytes = Vec::new();
        encode_names(names, &mut IntegerEncoder::default(), &mut bytes);
        let mut reader = Reader::new(&bytes);
        let (mut dictionary, mut indexes) = (Names::default(), Vec::new());
        dictionary.decode(&mut reader, names.len(), &mut indexes).unwrap();
        reader.finish().unwrap();
        let again: Vec<&str> = indexes.iter().map(|&index| dictionary.get(usize::try_from(index).unwrap())).collect();
        assert_eq!(again, names);
        bytes.len()
    }

    #[test]
    fn machines_of_one_pool_share_their_names() {
        let names: Vec<String> = (0..100).map(|at| format!("t-linux64-ms-{:03}", at % 10)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(round_trip(&names) <= 110);
    }

    proptest! {
        #[test]
        fn any_names_come_back(names in proptest::collection::vec(".{0,5}|[ab]{0,100}", 0..40)) {
            round_trip(&names.iter().map(String::as_str).collect::<Vec<_>>());
        }
    }
}
