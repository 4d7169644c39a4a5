//! Every statistic of the artifacts, defined once, equal to what Python computes to the last digit.
//!
//! In: plain slices of floats; integers come as [`ValueCounts`](crate::counts::ValueCounts), which has its own methods.
//! Out: numbers. The scripts that defined the artifacts took percentiles in four different ways; each way has its own
//! function, whose documentation names the artifact. Promises: nothing here panics, and empty input gives `None`. Sums
//! and variances are exact and rounded once (see `exact`); `ln` and `exp` come from the platform's C library, as in
//! Python.

use std::cmp::Ordering;

use num_bigint::{BigInt, BigUint};

use crate::exact::{ExactMoments, ExactSum, ratio_to_f64, shifted, sqrt_of_ratio};

/// A statistic of integers: Python keeps it an integer where it is one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Written without a fraction.
    Int(i64),
    /// Written with a fraction, also if that is zero.
    Float(f64),
}

impl Number {
    /// The value as a double, rounded beyond 2^53.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "the doc says so")]
    pub fn to_f64(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// Python's `round(x, 2)`: integers stay as they are.
    #[must_use]
    pub fn round_half_even_2(self) -> Self {
        match self {
            Self::Int(_) => self,
            Self::Float(value) => Self::Float(round_half_even_2(value)),
        }
    }
}

/// Python's `round(x, 2)`: the double nearest to the decimal with two places that is nearest to the exact binary value
/// (2.675 becomes 2.67, for it lies below); ties go to the even digit.
#[must_use]
pub fn round_half_even_2(value: f64) -> f64 {
    if value.is_finite() { format!("{value:.2}").parse().unwrap_or(value) } else { value }
}

/// Sorted copy, as Python's `sorted`: stable, `-0.0` equal to `0.0`.
#[must_use]
pub fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
    sorted
}

/// `math.fsum`: the exact sum, correctly rounded; 0 for no values. Beyond the range of doubles, where Python raises, it
/// is infinite or NaN.
#[must_use]
pub fn fsum(values: &[f64]) -> f64 {
    let mut sum = ExactSum::default();
    for value in values {
        sum.add(*value);
    }
    sum.value()
}

/// `statistics.fmean`: the exact sum, rounded, divided by the number of values. Used for `time_to_culprit_stats.json`.
#[must_use]
pub fn fmean(values: &[f64]) -> Option<f64> {
    Some(fsum(values) / count_as_f64(values.len())?)
}

/// `statistics.mean` of floats: the exact mean, rounded once. Used for the duration and the wait time statistics.
#[must_use]
pub fn mean(values: &[f64]) -> Option<f64> {
    let divisor = non_zero_len(values)?;
    if let Some(non_finite) = non_finite_sum(values) {
        return Some(non_finite);
    }
    let ExactMoments { sum, unit, .. } = ExactMoments::of(values, false);
    Some(ExactMoments::scaled_ratio(&sum, divisor, unit))
}

/// `statistics.median` of sorted floats.
#[must_use]
#[expect(clippy::manual_midpoint, reason = "what Python computes, also where it overflows")]
pub fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted[middle - 1] + upper) / 2.0) }
}

/// `statistics.pstdev`: the root of the exact population variance, rounded once.
#[must_use]
pub fn pstdev(values: &[f64]) -> Option<f64> {
    let divisor = non_zero_len(values)?;
    if non_finite_sum(values).is_some() {
        return Some(f64::NAN);
    }
    let ExactMoments { sum, squares, unit } = ExactMoments::of(values, true);
    // variance = (n * squares - sum^2) / n^2, never negative
    let numerator = squares * divisor - sum.magnitude() * sum.magnitude();
    let denominator = BigUint::from(divisor) * divisor;
    Some(sqrt_of_ratio(&shifted(&numerator, 2 * unit), &shifted(&denominator, -2 * unit)))
}

/// Mean of what remains of sorted floats without the lowest and the highest 10 percent, `int(n * 0.1)` each.
#[must_use]
pub fn trimmed_mean_10pct(sorted: &[f64]) -> Option<f64> {
    let num_cut = num_trimmed(u64::try_from(sorted.len()).ok()?);
    let cut = usize::try_from(num_cut).ok()?;
    mean(&sorted[cut..sorted.len() - cut])
}

/// Python's built-in `sum` of floats, from left to right. Since Python 3.12 it is not the plain sum: it carries the
/// rounding errors along (Neumaier) and adds them at the end. Used for the mean of sampled durations
/// (`job_durations.csv`) and for [`geometric_mean_builtin_sum`].
#[must_use]
pub fn builtin_sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut error) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        error += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    if error.is_finite() { sum + error } else { sum }
}

/// Geometric mean of the positive floats, `exp(sum(log) / n)` with Python's [`builtin_sum`]; NaN if none is positive,
/// `None` only for no values at all. Used for `sig_group_job_duration_stats.json`.
#[must_use]
pub fn geometric_mean_builtin_sum(sorted: &[f64]) -> Option<f64> {
    non_zero_len(sorted)?;
    let positive: Vec<f64> = sorted.iter().copied().filter(|value| *value > 0.0).collect();
    let sum = builtin_sum(positive.iter().map(|value| value.ln()));
    Some(count_as_f64(positive.len()).map_or(f64::NAN, |count| (sum / count).exp()))
}

/// Percentile as the nearest rank, `sorted[round((n - 1) * fraction)]`, a half rounded to even; `fraction` is 0 to 1.
/// Used for `time_to_culprit_stats.json`.
#[must_use]
pub fn nearest_rank_percentile(sorted: &[f64], fraction: f64) -> Option<f64> {
    let last = count_as_f64(sorted.len())? - 1.0;
    sorted.get(index_of((last * fraction).round_ties_even().clamp(0.0, last))).copied()
}

/// Percentile by weights `data[f] * (c - k) + data[c] * (k - f)` about `k = (n - 1) * (percent / 100)`, and `data[k]`
/// if `k` is integral; `percent` is 0 to 100. The order of operations counts: `(n - 1) * percent / 100` gives other
/// last digits. Used for `sig_group_job_duration_stats.json`.
#[must_use]
pub fn gap_weighted_percentile(sorted: &[f64], percent: u32) -> Option<f64> {
    let position = position_of(sorted.len(), percent)?;
    let (floor, ceil) = (position.floor(), position.ceil());
    let (below, above) = (*sorted.get(index_of(floor))?, *sorted.get(index_of(ceil))?);
    #[expect(clippy::float_cmp, reason = "both are integral")]
    if floor == ceil {
        return Some(below);
    }
    Some(below * (ceil - position) + above * (position - floor))
}

/// Percentile by the fraction, `a * (1 - fraction) + b * fraction` about `(n - 1) * (percent / 100)`, also where that
/// is integral. The weights are those of [`gap_weighted_percentile`] to the last bit, so that only the sign of a zero
/// can differ; each artifact keeps its own definition all the same. `percent` is 0 to 100. Used for
/// `job_wait_time_stats.json`.
#[must_use]
pub fn fraction_weighted_percentile(sorted: &[f64], percent: u32) -> Option<f64> {
    let position = position_of(sorted.len(), percent)?;
    let floor = position.floor();
    let below = *sorted.get(index_of(floor))?;
    let Some(above) = sorted.get(index_of(floor) + 1) else {
        return Some(below);
    };
    let fraction = position - floor;
    Some(below * (1.0 - fraction) + above * fraction)
}

/// Microseconds as seconds, as Python's `timedelta.total_seconds`: correctly rounded.
#[must_use]
pub fn seconds_of_micros(micros: i64) -> f64 {
    ratio_to_f64(&BigInt::from(micros), &BigUint::from(1_000_000_u32))
}

/// `int(0.1 * n)`, with the rounding of the product that Python has.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "n is positive"
)]
pub(crate) fn num_trimmed(len: u64) -> u64 {
    (0.1 * len as f64) as u64
}

/// `(n - 1) * (percent / 100)`, for `n` of at least 1.
fn position_of(len: usize, percent: u32) -> Option<f64> {
    Some((count_as_f64(len)? - 1.0) * (f64::from(percent.min(100)) / 100.0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "integral, and within a slice's length")]
fn index_of(position: f64) -> usize {
    position as usize
}

/// The length as a double; `None` for zero.
#[expect(clippy::cast_precision_loss, reason = "no slice has 2^53 values")]
fn count_as_f64(len: usize) -> Option<f64> {
    (len > 0).then_some(len as f64)
}

fn non_zero_len(values: &[f64]) -> Option<u64> {
    u64::try_from(values.len()).ok().filter(|len| *len > 0)
}

/// The plain sum of infinities and NaN, if there are any.
fn non_finite_sum(values: &[f64]) -> Option<f64> {
    values.iter().copied().filter(|value| !value.is_finite()).reduce(|sum, value| sum + value)
}

#[cfg(test)]
#[expect(clippy::float_cmp, clippy::unreadable_literal, reason = "the claim is equality to the last digit")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Each expectation is what Python 3.13 computes.
    #[test]
    fn sums_and_means_are_those_of_python() {
        assert_eq!(fsum(&[]), 0.0);
        assert_eq!(fsum(&[0.1; 10]), 1.0);
        assert_eq!(fsum(&[1e16, 1.0, -1e16]), 1.0);
        assert_eq!(fsum(&[1e-16, 1.0, 1e16]), 1.0000000000000002e16);
        assert!(fsum(&[-0.0]).is_sign_positive());
        assert_eq!(fsum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert_eq!(fmean(&[0.1; 10]), Some(0.1));
        assert_eq!(mean(&[0.1, 0.1, 0.1]), Some(0.1));
        assert_eq!(mean(&[1e308, 1e308]), Some(1e308));
        assert_eq!(mean(&[1e16, 1.0, -1e16]), Some(0.3333333333333333));
        assert_eq!(mean(&[0.1, 0.2, 0.3, 0.4, 0.7]), Some(0.33999999999999997));
        assert_eq!(builtin_sum([0.1; 10]), 1.0); // 0.9999999999999999 before Python 3.12
        assert_eq!(builtin_sum([1e16, 1.0, -1e16]), 1.0);
    }

    #[test]
    fn deviations_are_the_rounded_roots_of_the_exact_variance() {
        assert_eq!(pstdev(&[1.5, 2.5, 2.5, 2.75, 3.25, 4.75]), Some(0.986893273527251));
        assert_eq!(pstdev(&[0.1, 0.2, 0.3]), Some(0.0816496580927726));
        assert_eq!(pstdev(&[1e308, -1e308, 1e308]), Some(9.428090415820633e307));
        assert_eq!(pstdev(&[1e16, 1.0, -1e16]), Some(8164965809277260.0));
        assert_eq!(pstdev(&[5e-324, 0.0]), Some(0.0));
        assert_eq!(pstdev(&[7.25]), Some(0.0));
    }

    #[test]
    fn no_values_have_no_statistics() {
        assert_eq!((fmean(&[]), mean(&[]), median(&[]), pstdev(&[])), (None, None, None, None));
        assert_eq!((trimmed_mean_10pct(&[]), geometric_mean_builtin_sum(&[])), (None, None));
        assert_eq!(nearest_rank_percentile(&[], 0.9), None);
        assert_eq!((gap_weighted_percentile(&[], 25), fraction_weighted_percentile(&[], 25)), (None, None));
    }

    #[test]
    fn not_a_number_is_no_panic() {
        let values = sorted(&[f64::NAN, 1.0, f64::INFINITY, f64::NEG_INFINITY]);
        assert!(
            mean(&values).unwrap().is_nan() && pstdev(&values).unwrap().is_nan() && fmean(&values).unwrap().is_nan()
        );
    }

    #[test]
    fn geometric_mean_takes_positive_values_only() {
        assert_eq!(geometric_mean_builtin_sum(&[-3.0, 0.0, 0.5, 1.5, 12.28, 48.35]), Some(4.593714784735139));
        assert!(geometric_mean_builtin_sum(&[-3.0, 0.0]).unwrap().is_nan());
    }

    #[test]
    fn ranks_are_rounded_half_to_even() {
        assert_eq!(nearest_rank_percentile(&[0.0, 1.0], 0.5), Some(0.0));
        assert_eq!(nearest_rank_percentile(&[0.0, 1.0, 2.0, 3.0], 0.5), Some(2.0));
        assert_eq!(nearest_rank_percentile(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0], 0.5), Some(2.0));
        assert_eq!(nearest_rank_percentile(&[4.0], 0.99), Some(4.0));
    }

    #[test]
    fn interpolated_percentiles_are_those_of_python() {
        let values = [0.77, 3.98, 10.59, 17.42, 26.09, 28.74, 30.15, 36.4, 40.06, 43.7];
        assert_eq!(gap_weighted_percentile(&values, 95), Some(42.062)); // 42.062000000000005 by (n - 1) * 95 / 100
        assert_eq!(fraction_weighted_percentile(&values, 95), Some(42.062));
        let values = [1.1, 2.2, 3.3, 4.4, 5.5, 6.6, 7.7];
        for (percent, expected) in
            [(25, 2.75), (75, 6.05), (90, 7.04), (95, 7.369999999999999), (99, 7.6339999999999995)]
        {
            assert_eq!(gap_weighted_percentile(&values, percent), Some(expected));
            assert_eq!(fraction_weighted_percentile(&values, percent), Some(expected));
        }
        assert_eq!(gap_weighted_percentile(&values, 100), Some(7.7));
        assert_eq!(fraction_weighted_percentile(&values, 100), Some(7.7));
        assert!(gap_weighted_percentile(&[-0.0, 1.0], 0).unwrap().is_sign_negative());
    }

    #[test]
    fn two_places_are_rounded_on_the_binary_value() {
        for (value, rounded) in [(2.675, 2.67), (0.125, 0.12), (0.375, 0.38), (1.005, 1.0), (1e22, 1e22), (0.005, 0.01)]
        {
            assert_eq!(round_half_even_2(value), rounded);
        }
        assert!(round_half_even_2(-0.001).is_sign_negative());
        assert_eq!(Number::Int(3).round_half_even_2(), Number::Int(3));
    }

    #[test]
    fn microseconds_become_correctly_rounded_seconds() {
        assert_eq!(seconds_of_micros(337_556_621_867), 337556.621867);
        assert_eq!(seconds_of_micros(-1), -1e-6);
        assert_eq!(seconds_of_micros(i64::MAX), 9223372036854.775);
    }

    proptest! {
        #[test]
        fn statistics_of_small_integers_equal_the_naive_ones(values in prop::collection::vec(-1000_i32..1000, 1..60)) {
            let floats: Vec<f64> = values.iter().map(|value| f64::from(*value)).collect();
            let n = f64::from(u32::try_from(values.len()).unwrap());
            let sum: f64 = floats.iter().sum(); // exact
            prop_assert_eq!(fsum(&floats), sum);
            prop_assert_eq!(builtin_sum(floats.iter().copied()), sum);
            prop_assert_eq!(mean(&floats), Some(sum / n));
            let squares: f64 = floats.iter().map(|value| value * value).sum();
            let naive = ((n * squares - sum * sum) / (n * n)).sqrt();
            prop_assert!((pstdev(&floats).unwrap() - naive).abs() <= 1e-13 * naive);
        }

        #[test]
        fn sums_do_not_depend_on_order(mut values in prop::collection::vec(-1e200..1e200_f64, 0..40), scale in -200..0_i32) {
            for value in values.iter_mut().step_by(3) {
                *value *= 10_f64.powi(scale);
            }
            let (sum, spread) = (fsum(&values), pstdev(&values));
            values.reverse();
            prop_assert_eq!(fsum(&values), sum);
            prop_assert_eq!(pstdev(&values), spread);
        }

        #[test]
        fn percentiles_lie_between_their_neighbours(values in prop::collection::vec(-1e6..1e6_f64, 1..50), percent in 0..=100_u32) {
            let values = sorted(&values);
            let (least, greatest) = (values[0] - 1e-6, values[values.len() - 1] + 1e-6);
            for value in [gap_weighted_percentile(&values, percent), fraction_weighted_percentile(&values, percent)] {
                prop_assert!((least..=greatest).contains(&value.unwrap()));
            }
            let rank = nearest_rank_percentile(&values, f64::from(percent) / 100.0).unwrap();
            prop_assert!(values.contains(&rank));
        }
    }
}
