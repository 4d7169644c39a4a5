//! The column of measured values: floats, to the bit.
//!
//! Most tests report decimal numbers of few places (`533.1`) or whole ones. Such a column is stored as integers of a common
//! scale, `5331 / 10`, and the division gives exactly the same float. Values without such a quotient are exceptions, stored
//! as bits; a column of many exceptions is stored as bits altogether.
//!
//! Layout: the mode (0 = bits, else 1 + the number of decimal places); for decimals the exceptions (count, then
//! (positions since the last, 8 bytes) each); then an integer column.

use super::error::{ColumnsError, malformed};
use super::integers::{IntegerEncoder, decode_integers};
use super::varint::{Reader, put_len};

/// Powers of ten up to this one are exact floats, and so is every integer below 2^53.
const MAX_PLACES: u8 = 15;

const POWERS: [f64; MAX_PLACES as usize + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

const MAX_MANTISSA: f64 = 9_007_199_254_740_992.0;

/// 2^52: floats of at least this magnitude are whole.
const ALL_WHOLE: f64 = 4_503_599_627_370_496.0;

/// Bytes of an exception, about.
const EXCEPTION_BYTES: u64 = 9;

/// The integer that gives exactly `value` when divided by 10 to the power of `places`.
fn mantissa(value: f64, places: u8) -> Option<u64> {
    let scaled = value * POWERS[usize::from(places)];
    if scaled.is_nan() || scaled.abs() >= MAX_MANTISSA {
        return None;
    }
    // The nearest whole number. `round` is a call of a library function on processors without an instruction for it.
    let shifted = if scaled.abs() < ALL_WHOLE { scaled + 0.5_f64.copysign(scaled) } else { scaled };
    #[expect(clippy::cast_possible_truncation, reason = "whole or truncated, below 2^53")]
    let integer = (shifted as i64).cast_unsigned();
    (quotient(integer, places).to_bits() == value.to_bits()).then_some(integer)
}

fn quotient(mantissa: u64, places: u8) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53 where the encoder wrote it")]
    let integer = mantissa.cast_signed() as f64;
    integer / POWERS[usize::from(places)]
}

/// Encodes values; keeps its buffers for the next column.
#[derive(Debug, Default)]
pub(super) struct ValueEncoder {
    words: Vec<u64>,
    best: Vec<u64>,
    /// Indexes of values without a mantissa, for `words` and for `best`.
    exceptions: Vec<usize>,
    best_exceptions: Vec<usize>,
}

impl ValueEncoder {
    /// Appends the column.
    pub(super) fn encode(&mut self, values: &[f64], integers: &mut IntegerEncoder, out: &mut Vec<u8>) {
        if values.is_empty() {
            return;
        }
        self.best.clear();
        self.best.extend(values.iter().map(|value| value.to_bits()));
        let mut best_places = None;
        let mut best_plan = IntegerEncoder::plan(&self.best);
        let mut best_cost = best_plan.cost_bytes();
        for (places, num_longer) in distinct_places(values) {
            if EXCEPTION_BYTES * num_longer >= best_cost {
                continue; // the exceptions alone cost as much
            }
            self.scale(values, places);
            let plan = IntegerEncoder::plan(&self.words);
            let cost = plan.cost_bytes() + EXCEPTION_BYTES * self.exceptions.len() as u64;
            if cost < best_cost {
                (best_plan, best_cost) = (plan, cost);
                best_places = Some(places);
                std::mem::swap(&mut self.words, &mut self.best);
                std::mem::swap(&mut self.exceptions, &mut self.best_exceptions);
            }
        }
        match best_places {
            None => out.push(0),
            Some(places) => {
                out.push(places + 1);
                put_exceptions(values, &self.best_exceptions, out);
            }
        }
        integers.encode_as(best_plan, &self.best, out);
    }

    /// Fills `words` with the mantissas, and `exceptions` with the indexes of values without one, whose words repeat the one
    /// before.
    fn scale(&mut self, values: &[f64], places: u8) {
        let mut last = values.iter().find_map(|&value| mantissa(value, places)).unwrap_or_default();
        self.words.clear();
        self.exceptions.clear();
        for (at, &value) in values.iter().enumerate() {
            match mantissa(value, places) {
                Some(word) => last = word,
                None => self.exceptions.push(at),
            }
            self.words.push(last);
        }
    }
}

fn put_exceptions(values: &[f64], exceptions: &[usize], out: &mut Vec<u8>) {
    put_len(exceptions.len(), out);
    let mut next = 0;
    for &at in exceptions {
        put_len(at - next, out);
        out.extend_from_slice(&values[at].to_bits().to_le_bytes());
        next = at + 1;
    }
}

/// The numbers of decimal places that at least one value needs, ascending, each with the number of values that need more.
fn distinct_places(values: &[f64]) -> impl Iterator<Item = (u8, u64)> + use<> {
    let mut needed = [0_u64; MAX_PLACES as usize + 1];
    let mut last = 0; // values of one test mostly need the same number
    for &value in values {
        let fits = |places| mantissa(value, places).is_some();
        // A value has a mantissa at every number of places from its fewest until the mantissa grows too large.
        let fitting =
            (last..=MAX_PLACES).find(|&places| fits(places)).or_else(|| (0..last).rev().find(|&places| fits(places)));
        if let Some(mut places) = fitting {
            while places > 0 && fits(places - 1) {
                places -= 1;
            }
            needed[usize::from(places)] += 1;
            last = places;
        }
    }
    let mut num_longer: u64 = needed.iter().sum();
    (0..).zip(needed).filter(|(_, num)| *num > 0).map(move |(places, num)| {
        num_longer -= num;
        (places, num_longer)
    })
}

/// Reads the column of `count` values as bits into `words`.
pub(super) fn decode_values(reader: &mut Reader<'_>, count: usize, words: &mut Vec<u64>) -> Result<(), ColumnsError> {
    words.clear();
    if count == 0 {
        return Ok(());
    }
    let Some(places) = reader.byte()?.checked_sub(1) else {
        return decode_integers(reader, count, words);
    };
    if places > MAX_PLACES {
        return Err(malformed("the values have an unknown scale"));
    }
    let mut exceptions = *reader;
    let num_exceptions = reader.len(count)?;
    for _ in 0..num_exceptions {
        reader.varint()?;
        reader.word()?;
    }
    decode_integers(reader, count, words)?;
    for word in words.iter_mut() {
        *word = quotient(*word, places).to_bits();
    }
    let mut next = 0;
    for _ in 0..exceptions.len(count)? {
        let at = next + exceptions.len(count)?;
        *words.get_mut(at).ok_or_else(|| malformed("an exception lies outside its column"))? = exceptions.word()?;
        next = at + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        ValueEncoder::default().encode(values, &mut IntegerEncoder::default(), &mut bytes);
        let mut reader = Reader::new(&bytes);
        let mut words = Vec::new();
        decode_values(&mut reader, values.len(), &mut words).unwrap();
        reader.finish().unwrap();
        let bits: Vec<u64> = values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(words, bits);
        bytes.len()
    }

    #[test]
    fn decimals_take_the_bits_of_their_range() {
        let values: Vec<f64> = (0..1024).map(|at| f64::from(at * 7919 % 1024 + 50_000) / 100.0).collect();
        assert!(round_trip(&values) <= 1024 * 10 / 8 + 10);
        let mut values = values;
        values[3] = std::f64::consts::PI;
        values[1000] = -0.0;
        assert!(round_trip(&values) <= 1024 * 10 / 8 + 40);
    }

    #[test]
    fn odd_floats_come_back() {
        round_trip(&[]);
        round_trip(&[-0.0, 0.0, f64::MAX, f64::MIN, 5e-324, -5e-324, f64::EPSILON, 1e16, -1e15, 0.1]);
        round_trip(&[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5]);
        round_trip(&[9_007_199_254_740_991.0, 9_007_199_254_740_992.0, 9_007_199_254_740_994.0]);
    }

    proptest! {
        #[test]
        fn any_bits_come_back(bits in proptest::collection::vec(any::<u64>(), 0..80)) {
            round_trip(&bits.into_iter().map(f64::from_bits).collect::<Vec<_>>());
        }

        #[test]
        fn decimals_of_any_scale_come_back(
            digits in proptest::collection::vec((any::<i64>(), 0_u32..64, 0_i32..18), 0..80),
        ) {
            let values: Vec<f64> = digits
                .into_iter()
                .map(|(digits, shift, places)| format!("{}e-{places}", digits >> shift).parse().unwrap())
                .collect();
            round_trip(&values);
        }
    }
}
