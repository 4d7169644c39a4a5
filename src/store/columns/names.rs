//! The column of machine names: a dictionary for the chunk, and an index for each datum.
//!
//! Layout: the number of entries, then each, sorted, as (bytes shared with the entry before, length of the rest, the
//! rest), then an integer column of indexes.

use xxhash_rust::xxh3::xxh3_64;

use super::error::{ColumnsError, malformed};
use super::integers::{IntegerEncoder, decode_integers};
use super::varint::{Reader, put_len};

/// Most bytes that an entry may share with the one before, which limits the expansion of a few bytes.
const MAX_SHARED_BYTES: usize = 64;

/// Appends the column.
pub(super) fn encode_names(names: &[&str], integers: &mut IntegerEncoder, out: &mut Vec<u8>) {
    if names.is_empty() {
        return;
    }
    let (entries, mut words) = distinct(names);
    let mut sorted: Vec<usize> = (0..entries.len()).collect();
    sorted.sort_unstable_by_key(|&entry| entries[entry]);
    let mut places = vec![0_u64; entries.len()];
    put_len(entries.len(), out);
    let mut last: &[u8] = b"";
    for (place, &entry) in (0..).zip(&sorted) {
        places[entry] = place;
        let name = entries[entry].as_bytes();
        let shared = name.iter().zip(last).take(MAX_SHARED_BYTES).take_while(|(a, b)| a == b).count();
        put_len(shared, out);
        put_len(name.len() - shared, out);
        out.extend_from_slice(&name[shared..]);
        last = name;
    }
    for word in &mut words {
        *word = usize::try_from(*word).ok().and_then(|entry| places.get(entry)).copied().unwrap_or_default();
    }
    integers.encode(&words, out);
}

/// The distinct names in the order of their first use, and the index of each name.
fn distinct<'a>(names: &[&'a str]) -> (Vec<&'a str>, Vec<u64>) {
    let mut entries: Vec<&str> = Vec::new();
    // Open addressing, at most half full; 0 is free, else an entry's index + 1.
    let mask = (names.len() * 2).next_power_of_two() - 1;
    let mut slots = vec![0_u32; mask + 1];
    let mut words = Vec::with_capacity(names.len());
    for &name in names {
        #[expect(clippy::cast_possible_truncation, reason = "the low bits of a hash are one")]
        let mut slot = xxh3_64(name.as_bytes()) as usize & mask;
        let index = loop {
            match slots[slot] {
                0 => {
                    entries.push(name);
                    slots[slot] = u32::try_from(entries.len()).unwrap_or(u32::MAX); // a chunk has at most 2^20 data
                    break entries.len() - 1;
                }
                taken if entries[taken as usize - 1] == name => break taken as usize - 1,
                _ => slot = (slot + 1) & mask,
            }
        };
        words.push(index as u64);
    }
    (entries, words)
}

/// A dictionary, all entries in one text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    text: String,
    /// End of each entry in `text`.
    ends: Vec<usize>,
}

impl Names {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    /// An entry; empty for an unknown index.
    pub(super) fn get(&self, index: usize) -> &str {
        let start = index.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before));
        match (start, self.ends.get(index)) {
            (Some(&start), Some(&end)) => &self.text[start..end],
            _ => "",
        }
    }

    /// Reads the column of `count` names: the dictionary into `self`, checked indexes into `indexes`.
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
