//! Exact arithmetic on floats: no rounding until the end, then one correct one.
//!
//! In: finite `f64` and integers. Out: the double nearest to the exact result, ties to even, which is what Python's
//! `math.fsum` and `statistics` return. Big integers come from `num-bigint`, the standard crate for them: a variance of
//! doubles needs up to some 4,200 bits, and their square root.

use num_bigint::{BigInt, BigUint, Sign};

/// Exact running sum: a list of partials that do not overlap (Shewchuk's algorithm, as in Python's `math.fsum`).
#[derive(Clone, Debug, Default)]
pub(crate) struct ExactSum {
    /// Grow in magnitude; their exact sum is the exact sum of everything added.
    partials: Vec<f64>,
    /// Plain sum of infinities and NaN; zero as long as everything is finite.
    non_finite: f64,
}

impl ExactSum {
    pub(crate) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.non_finite += value;
            return;
        }
        let mut carried = value;
        let mut kept = 0;
        for index in 0..self.partials.len() {
            let mut small = self.partials[index];
            if carried.abs() < small.abs() {
                std::mem::swap(&mut carried, &mut small);
            }
            let high = carried + small;
            let low = small - (high - carried);
            if low != 0.0 {
                self.partials[kept] = low;
                kept += 1;
            }
            carried = high;
        }
        if !carried.is_finite() {
            self.non_finite += carried; // the sum itself is beyond the range of doubles
            carried = 0.0;
        }
        self.partials.truncate(kept);
        if carried != 0.0 {
            self.partials.push(carried);
        }
    }

    /// Adds `value * count`, exactly: the product of two doubles is the sum of two doubles.
    pub(crate) fn add_times(&mut self, value: f64, count: u64) {
        for part in [count >> 32 << 32, count & 0xffff_ffff] {
            #[expect(clippy::cast_precision_loss, reason = "each half has at most 32 significant bits")]
            let factor = part as f64;
            let product = value * factor;
            self.add(product);
            self.add(value.mul_add(factor, -product));
        }
    }

    /// The sum, correctly rounded.
    pub(crate) fn value(&self) -> f64 {
        if self.non_finite != 0.0 {
            return self.non_finite; // a NaN is not equal to zero either
        }
        let mut rest = self.partials.iter().rev().copied();
        let mut high = rest.next().unwrap_or(0.0);
        let mut low = 0.0;
        for partial in rest.by_ref() {
            let sum = high + partial;
            low = partial - (sum - high);
            high = sum;
            if low != 0.0 {
                break;
            }
        }
        // A tie was rounded to even; if what lies below points the same way, the other neighbour is nearer.
        if let Some(below) = rest.next()
            && (low < 0.0 && below < 0.0 || low > 0.0 && below > 0.0)
        {
            let doubled = low * 2.0;
            let other = high + doubled;
            #[expect(clippy::float_cmp, reason = "asks whether the addition was exact")]
            if doubled == other - high {
                high = other;
            }
        }
        high
    }
}

/// `numerator / denominator` as the nearest double, ties to even; infinite beyond the range, NaN for 0 / 0.
pub(crate) fn ratio_to_f64(numerator: &BigInt, denominator: &BigUint) -> f64 {
    let magnitude = numerator.magnitude();
    if denominator.bits() == 0 {
        return f64::NAN;
    }
    if magnitude.bits() == 0 {
        return 0.0;
    }
    // Bring the quotient to 66 or 67 bits: more than a double holds, so that one sticky bit decides every tie.
    let shift = 66 - bit_length(magnitude) + bit_length(denominator);
    let (dividend, divisor) = (shifted(magnitude, shift), shifted(denominator, -shift));
    let quotient = &dividend / &divisor;
    let inexact = &quotient * &divisor != dividend;
    let digits = u128::try_from(&quotient).unwrap_or(u128::MAX);
    let exponent = bit_length(&quotient) - 1 - shift;
    let unit = (exponent - 52).max(-1074); // binary exponent of the last bit kept
    let dropped = u32::try_from(unit + shift).unwrap_or(u32::MAX).min(127);
    let mut kept = digits >> dropped;
    let rest = digits - (kept << dropped);
    let half = 1_u128 << (dropped - 1);
    if rest > half || rest == half && (inexact || kept & 1 == 1) {
        kept += 1;
    }
    #[expect(clippy::cast_precision_loss, reason = "53 bits, or a power of two")]
    let value = kept as f64 * power_of_two(unit);
    if numerator.sign() == Sign::Minus { -value } else { value }
}

/// The square root of `numerator / denominator` as the nearest double, ties to even; zero for zero.
pub(crate) fn sqrt_of_ratio(numerator: &BigUint, denominator: &BigUint) -> f64 {
    if numerator.bits() == 0 || denominator.bits() == 0 {
        return 0.0;
    }
    // As Python does it: a root of 54 bits or more, rounded to odd, survives the second rounding unharmed.
    let half_shift = (bit_length(numerator) - bit_length(denominator) - 109).div_euclid(2);
    let (dividend, divisor) = (shifted(numerator, -2 * half_shift), shifted(denominator, 2 * half_shift));
    let mut root = (&dividend / &divisor).sqrt();
    if &root * &root * &divisor != dividend {
        root.set_bit(0, true);
    }
    ratio_to_f64(&BigInt::from(shifted(&root, half_shift)), &shifted(&BigUint::from(1_u8), -half_shift))
}

/// Exact sum of the values and of their squares, in powers of two: `sum * 2^unit` and `squares * 2^(2 * unit)`.
pub(crate) struct ExactMoments {
    pub(crate) sum: BigInt,
    pub(crate) squares: BigUint,
    pub(crate) unit: i64,
}

impl ExactMoments {
    /// Of finite values; others count as zero. `with_squares` says whether the squares are wanted.
    pub(crate) fn of(values: &[f64], with_squares: bool) -> Self {
        let unit = values.iter().filter(|value| **value != 0.0).map(|value| decompose(*value).1).min().unwrap_or(0);
        let (mut sum, mut squares) = (BigInt::ZERO, BigUint::ZERO);
        for (mantissa, exponent) in values.iter().map(|value| decompose(*value)).filter(|(mantissa, _)| *mantissa != 0)
        {
            let integer = BigInt::from(mantissa) << (exponent - unit);
            if with_squares {
                squares += integer.magnitude() * integer.magnitude();
            }
            sum += integer;
        }
        Self { sum, squares, unit }
    }

    /// `numerator / divisor * 2^exponent` as the nearest double.
    pub(crate) fn scaled_ratio(numerator: &BigInt, divisor: u64, exponent: i64) -> f64 {
        let scaled = BigInt::from_biguint(numerator.sign(), shifted(numerator.magnitude(), exponent));
        ratio_to_f64(&scaled, &shifted(&BigUint::from(divisor), -exponent))
    }
}

/// `value = mantissa * 2^exponent`; zero for what is not finite.
fn decompose(value: f64) -> (i64, i64) {
    if !value.is_finite() {
        return (0, 0);
    }
    let bits = value.to_bits();
    let fraction = (bits & ((1 << 52) - 1)).cast_signed();
    let biased = (bits >> 52 & 0x7ff).cast_signed();
    let (mantissa, exponent) = if biased == 0 { (fraction, -1074) } else { (fraction | 1 << 52, biased - 1075) };
    (if value.is_sign_negative() { -mantissa } else { mantissa }, exponent)
}

/// `value << shift`; a negative shift leaves it alone, for the other side of the fraction takes it.
pub(crate) fn shifted(value: &BigUint, shift: i64) -> BigUint {
    value << u64::try_from(shift).unwrap_or(0)
}

fn bit_length(value: &BigUint) -> i64 {
    i64::try_from(value.bits()).unwrap_or(i64::MAX)
}

/// `2^exponent` for exponents from -1074 on; infinite above 1023.
fn power_of_two(exponent: i64) -> f64 {
    let bits = match exponent {
        ..=-1023 => 1 << (exponent + 1074).max(0),
        -1022..=1023 => (exponent + 1023) << 52,
        _ => return f64::INFINITY,
    };
    f64::from_bits(bits.cast_unsigned())
}
