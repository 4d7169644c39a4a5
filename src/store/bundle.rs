//! Bundles: the values of neighbouring records, compressed together. They share jobs, pushes and texts, so together they take
//! a third to two thirds of the space. A compaction makes them; an answer that has just come is stored value by value.
//!
//! Before the frame: the number of values, their lengths (varints), the values.

use super::columns::{VarintReader, put_varint};
use super::frame;

/// A longer value is stored alone, and bundles have about this many bytes: all of it is read and decompressed for one value,
/// and lost with one damaged byte.
pub(super) const BUNDLE_BYTES: usize = if cfg!(debug_assertions) { 1 << 10 } else { 16 << 10 };

const MOST_VALUES: u16 = 1 << 12;

/// The slots of the records of a value or bundle that has `num_records` of them.
pub(super) fn slots(num_records: u16) -> impl Iterator<Item = Option<u16>> {
    (0..num_records).map(move |slot| (num_records > 1).then_some(slot))
}

/// Makes values and bundles from records in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Bundler {
    /// Each in a frame.
    values: Vec<Vec<u8>>,
    /// Records in each value.
    num_records: Vec<u16>,
    keys: Vec<Vec<u8>>,
    open: Vec<(Vec<u8>, Vec<u8>)>,
    open_bytes: usize,
}

impl Bundler {
    pub(super) fn put(&mut self, key: Vec<u8>, raw: Vec<u8>) {
        let is_neighbour = self.open.last().is_none_or(|(before, _)| before.first() == key.first());
        let has_room = self.open_bytes < BUNDLE_BYTES && self.open.len() < usize::from(MOST_VALUES);
        if !is_neighbour || !has_room || raw.len() >= BUNDLE_BYTES {
            self.close();
        }
        self.open_bytes += raw.len();
        self.open.push((key, raw));
    }

    fn close(&mut self) {
        let open = std::mem::take(&mut self.open);
        self.open_bytes = 0;
        match open.as_slice() {
            [] => return,
            [(_, raw)] => self.values.push(frame::seal(raw)),
            several => {
                let mut bundle = Vec::new();
                put_varint(several.len() as u64, &mut bundle);
                for (_, raw) in several {
                    put_varint(raw.len() as u64, &mut bundle);
                }
                for (_, raw) in several {
                    bundle.extend_from_slice(raw);
                }
                self.values.push(frame::seal_like(&bundle, &several[0].1));
            }
        }
        self.num_records.push(u16::try_from(open.len()).unwrap_or(MOST_VALUES)); // it has no more
        self.keys.extend(open.into_iter().map(|(key, _)| key));
    }

    /// The values, the number of records in each, and the keys of these.
    pub(super) fn finish(mut self) -> (Vec<Vec<u8>>, Vec<u16>, Vec<Vec<u8>>) {
        self.close();
        (self.values, self.num_records, self.keys)
    }
}

/// Value number `slot` of a bundle that was taken out of its frame; `None` if it has another form.
pub(super) fn value_in(bundle: &[u8], slot: u16) -> Option<&[u8]> {
    let mut rest = VarintReader::new(bundle);
    let num_values = rest.varint().ok()?;
    let (mut before, mut len) = (0_usize, 0_usize);
    for number in 0..num_values {
        let value_len = usize::try_from(rest.varint().ok()?).ok()?;
        if number < u64::from(slot) {
            before = before.checked_add(value_len)?;
        } else if number == u64::from(slot) {
            len = value_len;
        }
    }
    (u64::from(slot) < num_values).then_some(())?;
    rest.rest().get(before..)?.get(..len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_value_comes_back_from_its_place(
            values in proptest::collection::vec((0_u8..3, proptest::collection::vec(any::<u8>(), 0..BUNDLE_BYTES * 5 / 4)), 0..40),
        ) {
            let mut bundler = Bundler::default();
            let mut keyed: Vec<_> = (0_u8..).zip(values).map(|(at, (letter, raw))| (vec![letter, at], raw)).collect();
            keyed.sort();
            for (key, raw) in &keyed {
                bundler.put(key.clone(), raw.clone());
            }
            let (framed, num_records, keys) = bundler.finish();
            prop_assert!(keys.iter().eq(keyed.iter().map(|(key, _)| key)));
            let places = framed.iter().zip(num_records).flat_map(|(value, num)| slots(num).map(move |slot| (value, slot)));
            let places: Vec<_> = places.collect();
            prop_assert_eq!(places.len(), keyed.len());
            for ((_, raw), (value, slot)) in keyed.iter().zip(places) {
                let mut opened = Vec::new();
                frame::open(value, &mut opened).unwrap();
                let read = slot.map_or(Some(opened.as_slice()), |slot| value_in(&opened, slot));
                prop_assert_eq!(read, Some(raw.as_slice()));
                prop_assert!(slot.is_none() || raw.len() < BUNDLE_BYTES);
            }
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), slot: u16) {
            let _ = value_in(&bytes, slot);
        }
    }
}
