//! Sorts pairs in memory.
//!
//! Ids are nearly consecutive, so a pair nearly always fits into 64 bits after subtracting the minimum of each column.
//! Counting sorts such keys, at most 11 bits at a time, in half the memory. Pairs that do not fit are compared.

/// More bits per digit would need more buckets than the first-level cache has lines.
const MAX_DIGIT_BITS: u32 = 11;

/// Below this, counting costs more than comparing.
const MIN_COUNTED_KEYS: usize = 2048;

/// Pairs in ascending order, each once.
#[derive(Debug)]
pub(super) enum SortedRun {
    /// One word a pair.
    Keys { keys: Vec<u64>, packing: Packing },
    /// Two words a pair.
    Pairs(Vec<(u64, u64)>),
}

/// The mapping from pairs to words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packing {
    least: (u64, u64),
    second_bits: u32,
    bits: u32,
}

impl Packing {
    /// `None` when the pairs span more than 64 bits.
    fn of(pairs: &[(u64, u64)]) -> Option<Self> {
        let &first = pairs.first()?;
        let (mut least, mut most) = (first, first);
        for &(a, b) in pairs {
            least = (least.0.min(a), least.1.min(b));
            most = (most.0.max(a), most.1.max(b));
        }
        let bits = |range: u64| 64 - range.leading_zeros();
        let second_bits = bits(most.1 - least.1);
        let bits = bits(most.0 - least.0) + second_bits;
        (bits <= 64).then_some(Self { least, second_bits, bits })
    }

    fn pack(self, (a, b): (u64, u64)) -> u64 {
        // A shift by 64 occurs only where the first number never varies.
        (a - self.least.0).checked_shl(self.second_bits).unwrap_or_default() | (b - self.least.1)
    }

    fn unpack(self, key: u64) -> (u64, u64) {
        let first = key.checked_shr(self.second_bits).unwrap_or_default();
        let second = key ^ first.checked_shl(self.second_bits).unwrap_or_default();
        (first + self.least.0, second + self.least.1)
    }
}

impl SortedRun {
    pub(super) fn get(&self, at: usize) -> Option<(u64, u64)> {
        match self {
            Self::Keys { keys, packing } => keys.get(at).map(|&key| packing.unpack(key)),
            Self::Pairs(pairs) => pairs.get(at).copied(),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Keys { keys, .. } => keys.len(),
            Self::Pairs(pairs) => pairs.len(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        (0..self.len()).map_while(|at| self.get(at))
    }
}

/// Sorts one run after the other; keeps the buffers that [`RadixSorter::reuse`] returns.
#[derive(Debug, Default)]
pub(super) struct RadixSorter {
    keys: Vec<u64>,
    other: Vec<u64>,
}

impl RadixSorter {
    /// Sorts the pairs, leaving an empty buffer behind.
    pub(super) fn sort(&mut self, pairs: &mut Vec<(u64, u64)>) -> SortedRun {
        let Some(packing) = Packing::of(pairs) else {
            pairs.sort_unstable();
            pairs.dedup();
            return SortedRun::Pairs(std::mem::take(pairs));
        };
        self.keys.clear();
        self.keys.reserve_exact(pairs.len());
        self.keys.extend(pairs.iter().map(|&pair| packing.pack(pair)));
        pairs.clear();
        sort_keys(&mut self.keys, &mut self.other, packing.bits);
        self.keys.dedup();
        SortedRun::Keys { keys: std::mem::take(&mut self.keys), packing }
    }

    /// Takes back the buffers of a finished run.
    pub(super) fn reuse(&mut self, run: SortedRun, pairs: &mut Vec<(u64, u64)>) {
        match run {
            SortedRun::Keys { keys, .. } => self.keys = keys,
            SortedRun::Pairs(mut buffer) => {
                buffer.clear();
                *pairs = buffer;
            }
        }
    }
}

/// Sorts keys of `bits` bits, from the lowest digit to the highest; skips digits that never vary.
fn sort_keys(keys: &mut Vec<u64>, other: &mut Vec<u64>, bits: u32) {
    if keys.len() < MIN_COUNTED_KEYS {
        keys.sort_unstable();
        return;
    }
    let num_digits = bits.div_ceil(MAX_DIGIT_BITS);
    if num_digits == 0 {
        return;
    }
    let digit_bits = bits.div_ceil(num_digits);
    let num_buckets = 1_usize << digit_bits;
    #[expect(clippy::cast_possible_truncation, reason = "a digit has 11 bits at most")]
    let digit_of = |key: u64, digit: u32| (key >> (digit * digit_bits)) as usize & (num_buckets - 1);
    let mut counts = vec![0_usize; num_buckets * num_digits as usize];
    for &key in keys.iter() {
        for (digit, counts) in (0..).zip(counts.chunks_exact_mut(num_buckets)) {
            counts[digit_of(key, digit)] += 1;
        }
    }
    other.clear();
    other.resize(keys.len(), 0);
    for (digit, counts) in (0..).zip(counts.chunks_exact_mut(num_buckets)) {
        if counts.contains(&keys.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for &key in keys.iter() {
            let next = &mut counts[digit_of(key, digit)];
            other[*next] = key;
            *next += 1;
        }
        std::mem::swap(keys, other);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(pairs: &[(u64, u64)]) {
        let mut expected = pairs.to_vec();
        expected.sort_unstable();
        expected.dedup();
        let mut sorter = RadixSorter::default();
        let run = sorter.sort(&mut pairs.to_vec());
        assert_eq!(run.iter().collect::<Vec<_>>(), expected);
        assert_eq!(run.len(), expected.len());
    }

    #[test]
    fn pairs_that_span_the_whole_range_are_sorted() {
        check(&[]);
        check(&[(u64::MAX, u64::MAX), (0, 0), (u64::MAX, 0)]);
        check(&[(5, u64::MAX), (5, 0), (5, 7)]);
        check(&[(u64::MAX, 5), (0, 5), (7, 5)]);
        check(&vec![(3, 4); 5000]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn counting_sorts_as_comparing_does(
            pairs in proptest::collection::vec((any::<u64>(), any::<u64>()), MIN_COUNTED_KEYS..MIN_COUNTED_KEYS + 500),
            first_shift in 0_u32..64,
            second_shift in 0_u32..64,
            base: u32,
        ) {
            let pairs: Vec<_> = pairs
                .into_iter()
                .map(|(a, b)| ((a >> first_shift).saturating_add(u64::from(base)), b >> second_shift))
                .collect();
            check(&pairs);
        }
    }
}
