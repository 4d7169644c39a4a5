//! A column of 64-bit words in few bits each.
//!
//! A head byte tells how the words were reduced: to differences from word to word or not; then to zigzag words or to distances
//! from the least word; with a bitmap of zeros or not. The results are packed at a width that suits most of them, and the
//! bits that do not fit follow as exceptions. The encoder measures all these ways and takes the shortest.
//!
//! Layout: head, width, \[first word as zigzag varint\], \[least as zigzag varint\], \[bitmap\], packed bits,
//! \[count of exceptions, then each as (positions since the last, bits above the width), varints\].
//! An empty column takes no bytes: the reader knows the number of words.

use super::error::{ColumnsError, malformed};
use super::varint::{Reader, put_len, put_varint, unzigzag, varint_len, zigzag};

const DELTA: u8 = 1;
const FROM_LEAST: u8 = 1 << 1;
const SPARSE: u8 = 1 << 2;
const EXCEPTIONS: u8 = 1 << 3;

/// Packs columns; keeps its buffer for the next.
#[derive(Debug, Default)]
pub(super) struct IntegerEncoder {
    residuals: Vec<u64>,
}

/// A way to write a column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    head: u8,
    width: u32,
    bits: u64,
}

impl Plan {
    /// Bytes of the column, within a few.
    pub(super) const fn cost_bytes(self) -> u64 {
        self.bits / 8 + 2
    }
}

impl IntegerEncoder {
    /// Appends a column.
    pub(super) fn encode(&mut self, words: &[u64], out: &mut Vec<u8>) {
        if !words.is_empty() {
            self.encode_as(Self::plan(words), words, out);
        }
    }

    /// Appends a column, which is not empty, by its own plan.
    pub(super) fn encode_as(&mut self, plan: Plan, words: &[u64], out: &mut Vec<u8>) {
        let least = self.reduce(words, plan.head);
        out.extend_from_slice(&[plan.head, plan.width.to_le_bytes()[0]]);
        if plan.head & DELTA != 0 {
            put_varint(zigzag(words[0]), out);
        }
        if plan.head & FROM_LEAST != 0 {
            put_varint(zigzag(least), out);
        }
        if plan.head & SPARSE != 0 {
            put_bitmap(&self.residuals, out);
            self.residuals.retain(|&residual| residual != 0);
        }
        pack(&self.residuals, plan.width, out);
        if plan.head & EXCEPTIONS != 0 {
            put_exceptions(&self.residuals, plan.width, out);
        }
    }

    /// The shortest way to write a column.
    pub(super) fn plan(words: &[u64]) -> Plan {
        if words.iter().all(|&word| word == 0) {
            return Plan { head: 0, width: 0, bits: 0 };
        }
        // All four ways at once: the words, and the differences; each as zigzag, and from the least.
        let step = |pair: &[u64]| pair[1].wrapping_sub(pair[0]);
        let (mut least, mut least_step) = (words[0].cast_signed(), i64::MAX);
        for pair in words.windows(2) {
            least = least.min(pair[1].cast_signed());
            least_step = least_step.min(step(pair).cast_signed());
        }
        if words.len() == 1 {
            least_step = 0;
        }
        let (least, least_step) = (least.cast_unsigned(), least_step.cast_unsigned());
        let mut lens = [Lens::default(); 4];
        for &word in words {
            lens[0].add(zigzag(word));
            lens[1].add(word.wrapping_sub(least));
        }
        for pair in words.windows(2) {
            let step = step(pair);
            lens[2].add(zigzag(step));
            lens[3].add(step.wrapping_sub(least_step));
        }
        let first_bits = 8 * varint_len(zigzag(words[0]));
        let fixed_bits =
            [0, 8 * varint_len(zigzag(least)), first_bits, first_bits + 8 * varint_len(zigzag(least_step))];
        let mut best = Plan { head: 0, width: 64, bits: u64::MAX };
        let heads = [0, FROM_LEAST, DELTA, DELTA | FROM_LEAST];
        for ((lens, head), bits) in lens.iter().zip(heads).zip(fixed_bits) {
            cheapest_width(lens, head, bits, &mut best);
        }
        best
    }

    /// Fills `residuals` with the words to pack; returns the least word if the head demands its subtraction, else 0.
    fn reduce(&mut self, words: &[u64], head: u8) -> u64 {
        self.residuals.clear();
        if head & DELTA == 0 {
            self.residuals.extend_from_slice(words);
        } else {
            self.residuals.extend(words.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])));
        }
        if head & FROM_LEAST == 0 {
            self.residuals.iter_mut().for_each(|residual| *residual = zigzag(*residual));
            return 0;
        }
        let least = self.residuals.iter().map(|residual| residual.cast_signed()).min().unwrap_or_default();
        let least = least.cast_unsigned();
        self.residuals.iter_mut().for_each(|residual| *residual = residual.wrapping_sub(least));
        least
    }
}

/// How many residuals have each length.
#[derive(Clone, Copy)]
struct Lens {
    counts: [u32; 65],
    /// Bit by bit, the lengths that occur.
    occurring: u128,
}

impl Default for Lens {
    fn default() -> Self {
        Self { counts: [0; 65], occurring: 0 }
    }
}

impl Lens {
    fn add(&mut self, residual: u64) {
        let len = 64 - residual.leading_zeros();
        self.counts[len as usize] += 1; // a chunk has at most 2^20 data
        self.occurring |= 1 << len;
    }
}

/// Tries every width that some residual needs, with and without a bitmap of zeros.
fn cheapest_width(counted: &Lens, head: u8, fixed_bits: u64, best: &mut Plan) {
    let mut lens = [(0_u32, 0_u64); 65];
    let mut num_lens = 0;
    let mut occurring = counted.occurring | 1;
    while occurring != 0 {
        let len = occurring.trailing_zeros();
        lens[num_lens] = (len, counted.counts[len as usize].into());
        num_lens += 1;
        occurring &= occurring - 1;
    }
    let lens = &lens[..num_lens];
    let total: u64 = lens.iter().map(|(_, count)| count).sum();
    let nonzero = total - lens[0].1;
    for (at, &(width, _)) in lens.iter().enumerate() {
        let mut exceptions = 0;
        let mut bits = fixed_bits;
        for &(len, count) in &lens[at + 1..] {
            exceptions += count;
            bits += count * 8 * (1 + u64::from((len - width).div_ceil(7)));
        }
        let mut exception_flag = 0;
        if exceptions > 0 {
            bits += 8 * varint_len(exceptions);
            exception_flag = EXCEPTIONS;
        }
        for (sparse_flag, packed_bits) in
            [(0, total * u64::from(width)), (SPARSE, total.next_multiple_of(8) + nonzero * u64::from(width))]
        {
            let bits = bits + packed_bits;
            if bits < best.bits {
                *best = Plan { head: head | sparse_flag | exception_flag, width, bits };
            }
        }
    }
}

fn put_bitmap(residuals: &[u64], out: &mut Vec<u8>) {
    for eight in residuals.chunks(8) {
        out.push(eight.iter().enumerate().fold(0, |byte, (at, &residual)| byte | u8::from(residual != 0) << at));
    }
}

const fn mask(width: u32) -> u64 {
    if width == 0 { 0 } else { u64::MAX >> (64 - width) }
}

/// Appends the low bits of each residual, lowest first.
fn pack(residuals: &[u64], width: u32, out: &mut Vec<u8>) {
    let num_bits = residuals.len() * width as usize;
    let (mask, end) = (mask(width), out.len() + num_bits.div_ceil(8));
    out.reserve(num_bits / 8 + 16);
    let (mut pending, mut num_pending) = (0_u128, 0);
    for &residual in residuals {
        pending |= u128::from(residual & mask) << num_pending;
        num_pending += width;
        if num_pending >= 64 {
            #[expect(clippy::cast_possible_truncation, reason = "the low bits")]
            out.extend_from_slice(&(pending as u64).to_le_bytes());
            pending >>= 64;
            num_pending -= 64;
        }
    }
    out.extend_from_slice(&pending.to_le_bytes());
    out.truncate(end);
}

fn put_exceptions(residuals: &[u64], width: u32, out: &mut Vec<u8>) {
    let does_not_fit = |residual: u64| residual & !mask(width) != 0;
    put_len(residuals.iter().filter(|&&residual| does_not_fit(residual)).count(), out);
    let mut next = 0;
    for (at, &residual) in residuals.iter().enumerate().filter(|&(_, &residual)| does_not_fit(residual)) {
        put_len(at - next, out);
        put_varint(residual >> width, out);
        next = at + 1;
    }
}

/// Reads a column of `count` words into `out`. The caller must have limited `count`.
pub(super) fn decode_integers(reader: &mut Reader<'_>, count: usize, out: &mut Vec<u64>) -> Result<(), ColumnsError> {
    out.clear();
    if count == 0 {
        return Ok(());
    }
    let head = reader.byte()?;
    let width = u32::from(reader.byte()?);
    if head >= 1 << 4 || width > 64 {
        return Err(malformed("an integer column has an unknown head"));
    }
    let is_delta = head & DELTA != 0;
    let first = if is_delta { unzigzag(reader.varint()?) } else { 0 };
    let least = if head & FROM_LEAST != 0 { unzigzag(reader.varint()?) } else { 0 };
    let num_residuals = count - usize::from(is_delta);
    out.reserve(count);
    if head & SPARSE == 0 {
        unpack(reader, num_residuals, width, out)?;
        take_exceptions(head, reader, width, out)?;
    } else {
        let bitmap = reader.bytes(num_residuals.div_ceil(8))?;
        let is_set = |at: usize| bitmap[at / 8] >> (at % 8) & 1 != 0;
        let mut num_packed = (0..num_residuals).filter(|&at| is_set(at)).count();
        unpack(reader, num_packed, width, out)?;
        take_exceptions(head, reader, width, out)?;
        // Spread from the back: a word never moves over one that has yet to move.
        out.resize(num_residuals, 0);
        for at in (0..num_residuals).rev() {
            out[at] = if is_set(at) {
                num_packed -= 1;
                out[num_packed]
            } else {
                0
            };
        }
    }
    if head & FROM_LEAST == 0 {
        for word in out.iter_mut() {
            *word = unzigzag(*word);
        }
    } else {
        for word in out.iter_mut() {
            *word = word.wrapping_add(least);
        }
    }
    if is_delta {
        out.insert(0, first);
        let mut sum = 0_u64;
        for word in out.iter_mut() {
            sum = sum.wrapping_add(*word);
            *word = sum;
        }
    }
    Ok(())
}

fn unpack(reader: &mut Reader<'_>, count: usize, width: u32, out: &mut Vec<u64>) -> Result<(), ColumnsError> {
    let width_bits = width as usize;
    let num_bits = count.checked_mul(width_bits).ok_or_else(|| malformed("a length exceeds its bound"))?;
    let packed = reader.bytes(num_bits.div_ceil(8))?;
    let mask = mask(width);
    let mut bit = 0;
    for _ in 0..count {
        let (at, shift) = (bit / 8, bit % 8);
        // A word that starts within a byte can reach into a ninth.
        let word = match packed.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            Some(eight) if width + 7 <= 64 => u64::from_le_bytes(*eight) >> shift,
            _ => {
                let mut sixteen = [0; 16];
                let tail = packed.get(at..).unwrap_or_default();
                let len = tail.len().min(9);
                sixteen[..len].copy_from_slice(&tail[..len]);
                let [low, high] =
                    [0, 8].map(|at| sixteen[at..].first_chunk::<8>().map_or(0, |eight| u64::from_le_bytes(*eight)));
                // Shift in two steps, since a shift by 64 overflows.
                low >> shift | high << 1 << (63 - shift)
            }
        };
        out.push(word & mask);
        bit += width_bits;
    }
    Ok(())
}

fn take_exceptions(head: u8, reader: &mut Reader<'_>, width: u32, out: &mut [u64]) -> Result<(), ColumnsError> {
    if head & EXCEPTIONS == 0 {
        return Ok(());
    }
    let mut next = 0;
    for _ in 0..reader.len(out.len())? {
        let at = next + reader.len(out.len())?;
        let word = out.get_mut(at).ok_or_else(|| malformed("an exception lies outside its column"))?;
        *word |=
            reader.varint()?.checked_shl(width).ok_or_else(|| malformed("an exception has bits above the 64th"))?;
        next = at + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(words: &[u64]) -> usize {
        let mut bytes = Vec::new();
        let mut encoder = IntegerEncoder::default();
        encoder.encode(words, &mut bytes);
        let mut reader = Reader::new(&bytes);
        let mut again = vec![7];
        decode_integers(&mut reader, words.len(), &mut again).unwrap();
        reader.finish().unwrap();
        assert_eq!(again, words);
        let cost = if words.is_empty() { 0 } else { IntegerEncoder::plan(words).cost_bytes() };
        assert!(cost.abs_diff(bytes.len() as u64) <= 4 + words.len() as u64 / 64);
        bytes.len()
    }

    #[test]
    fn regular_columns_take_next_to_nothing() {
        assert_eq!(round_trip(&[]), 0);
        assert!(round_trip(&[7; 1000]) <= 4);
        assert!(round_trip(&(5_000_000..5_001_000).collect::<Vec<_>>()) <= 8);
        assert!(round_trip(&(0..1000).map(|at| u64::from(at == 500) << 40).collect::<Vec<_>>()) <= 16);
    }

    #[test]
    fn a_wide_word_among_narrow_ones_is_an_exception() {
        let mut words: Vec<u64> = (0..256).map(|at| at * 7919 % 16).collect();
        words[100] = u64::MAX;
        words[200] = 1 << 63;
        assert!(round_trip(&words) < 128 + 60);
    }

    proptest! {
        #[test]
        fn any_words_come_back(words in proptest::collection::vec(any::<u64>(), 0..200), shift in 0_u32..64, steps: bool) {
            let mut words: Vec<u64> = words.iter().map(|word| word >> shift).collect();
            round_trip(&words);
            if steps {
                let mut sum = 0_u64;
                for word in &mut words {
                    sum = sum.wrapping_add(*word);
                    *word = sum;
                }
                round_trip(&words);
            }
        }

        #[test]
        fn words_of_mixed_sizes_come_back(words in proptest::collection::vec((any::<u64>(), 0_u32..64, any::<bool>()), 0..100)) {
            let words: Vec<u64> = words
                .into_iter()
                .map(|(word, shift, zero)| if zero { 0 } else { word >> shift })
                .collect();
            round_trip(&words);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), head in 0_u8..16, width in 0_u8..66, count in 0_usize..300) {
            let mut all = vec![head, width];
            all.extend_from_slice(&bytes);
            let _ = decode_integers(&mut Reader::new(&all), count, &mut Vec::new());
        }
    }
}
