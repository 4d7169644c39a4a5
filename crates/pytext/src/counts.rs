//! Statistics of integers that keep their kind: Python's mean of integers is an integer where it is exact.
//!
//! In: integers, one by one. Out: [`Number`]s. Memory grows with the number of distinct values only, so that millions
//! of revisions cost no more than their histogram.

use std::collections::BTreeMap;

use num_bigint::{BigInt, BigUint};

use crate::exact::{ExactSum, ratio_to_f64};
use crate::stats::{Number, num_trimmed};

/// Integers and how often each occurs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ValueCounts {
    by_value: BTreeMap<i64, u64>,
    len: u64,
}

impl ValueCounts {
    /// Counts one occurrence of `value`.
    pub fn add(&mut self, value: i64) {
        *self.by_value.entry(value).or_default() += 1;
        self.len += 1;
    }

    /// Number of integers counted, repetitions included.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values in ascending order, each with the number of its occurrences.
    pub fn iter(&self) -> impl Iterator<Item = (i64, u64)> + '_ {
        self.by_value.iter().map(|(value, count)| (*value, *count))
    }

    /// Smallest value.
    #[must_use]
    pub fn min(&self) -> Option<i64> {
        self.by_value.first_key_value().map(|(value, _)| *value)
    }

    /// Greatest value.
    #[must_use]
    pub fn max(&self) -> Option<i64> {
        self.by_value.last_key_value().map(|(value, _)| *value)
    }

    /// `statistics.mean` of integers: an integer if the exact mean is one.
    #[must_use]
    pub fn mean(&self) -> Option<Number> {
        self.mean_without(0)
    }

    /// Mean of what remains without the lowest and the highest 10 percent, `int(0.1 * n)` each.
    #[must_use]
    pub fn trimmed_mean_10pct(&self) -> Option<Number> {
        self.mean_without(num_trimmed(self.len))
    }

    /// `statistics.median` of integers: an integer if their number is odd, a float if it is even.
    #[must_use]
    pub fn median(&self) -> Option<Number> {
        let upper = self.nth(self.len / 2)?;
        if self.len % 2 == 1 {
            return Some(Number::Int(upper));
        }
        let lower = self.nth(self.len / 2 - 1)?;
        Some(Number::Float(ratio_to_f64(&(BigInt::from(lower) + upper), &BigUint::from(2_u8))))
    }

    /// Percentile as `statistics.quantiles(n=100, method="inclusive")` has it: the exact weighted mean of two
    /// neighbours, rounded once, always a float; the value itself, an integer, if it is the only one. `percent` is 0 to
    /// 100. Used for `perf_jobs_stats.json`.
    #[must_use]
    pub fn inclusive_percentile(&self, percent: u32) -> Option<Number> {
        let percent = u64::from(percent.min(100));
        if self.len == 1 {
            return self.min().map(Number::Int);
        }
        let position = u128::from(percent) * u128::from(self.len.checked_sub(1)?);
        let index = u64::try_from(position / 100).ok()?;
        let weight = u8::try_from(position % 100).ok()?;
        let below = self.nth(index)?;
        let above = self.nth(index + 1).unwrap_or(below);
        let weighted = BigInt::from(below) * (100 - weight) + BigInt::from(above) * weight;
        Some(Number::Float(ratio_to_f64(&weighted, &BigUint::from(100_u8))))
    }

    /// `statistics.geometric_mean` of the positive integers, `exp(fsum(log) / n)`; `None` if there are none. Used for
    /// `perf_jobs_stats.json`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "Python converts to double as well")]
    pub fn geometric_mean(&self) -> Option<f64> {
        let (mut logs, mut num_positive) = (ExactSum::default(), 0);
        for (value, count) in self.by_value.range(1..) {
            logs.add_times((*value as f64).ln(), *count);
            num_positive += count;
        }
        (num_positive > 0).then(|| (logs.value() / num_positive as f64).exp())
    }

    /// The value at `index` of the sorted integers.
    fn nth(&self, index: u64) -> Option<i64> {
        let mut num_before = 0;
        for (value, count) in &self.by_value {
            num_before += count;
            if index < num_before {
                return Some(*value);
            }
        }
        None
    }

    /// Exact mean without the `num_cut` lowest and highest values.
    fn mean_without(&self, num_cut: u64) -> Option<Number> {
        let num_kept = self.len.checked_sub(num_cut.checked_mul(2)?).filter(|num_kept| *num_kept > 0)?;
        let (mut sum, mut num_before) = (BigInt::ZERO, 0);
        for (value, count) in self.iter() {
            let kept_from = num_before.max(num_cut);
            num_before += count;
            sum += BigInt::from(value) * num_before.min(num_cut + num_kept).saturating_sub(kept_from);
        }
        let quotient = &sum / num_kept;
        if &quotient * num_kept == sum {
            return i64::try_from(&quotient).ok().map(Number::Int);
        }
        Some(Number::Float(ratio_to_f64(&sum, &BigUint::from(num_kept))))
    }
}

impl Extend<i64> for ValueCounts {
    fn extend<I: IntoIterator<Item = i64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.add(value));
    }
}

impl FromIterator<i64> for ValueCounts {
    fn from_iter<I: IntoIterator<Item = i64>>(values: I) -> Self {
        let mut counts = Self::default();
        counts.extend(values);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(values: &[i64]) -> ValueCounts {
        values.iter().copied().collect()
    }

    // Each expectation is what Python 3.13 computes.
    #[test]
    fn integers_stay_integers_where_python_keeps_them() {
        assert_eq!(counts(&[1, 2]).mean(), Some(Number::Float(1.5)));
        assert_eq!(counts(&[1, 3]).mean(), Some(Number::Int(2)));
        assert_eq!(counts(&[3, 1, 2]).median(), Some(Number::Int(2)));
        assert_eq!(counts(&[1, 3]).median(), Some(Number::Float(2.0)));
        assert_eq!(counts(&[5]).inclusive_percentile(25), Some(Number::Int(5)));
        assert_eq!(counts(&[5, 5]).inclusive_percentile(25), Some(Number::Float(5.0)));
    }

    #[test]
    fn statistics_are_those_of_python() {
        let counts = counts(&[400, 1, 2, 3, 11, 7]);
        let percentiles = [25, 75, 90, 95, 99].map(|percent| counts.inclusive_percentile(percent).unwrap().to_f64());
        assert!(percentiles.iter().eq(&[2.25, 10.0, 205.5, 302.75, 380.55]));
        assert_eq!(counts.mean(), Some(Number::Float(70.666_666_666_666_67)));
        assert_eq!(counts.geometric_mean(), Some(7.547_161_807_368_471));
        assert_eq!(counts.inclusive_percentile(100), Some(Number::Float(400.0)));
    }

    #[test]
    fn no_integer_overflows() {
        let counts = counts(&[i64::MAX, i64::MAX - 1]);
        assert_eq!(counts.mean(), Some(Number::Float(9.223_372_036_854_776e18)));
        assert_eq!(counts.median(), Some(Number::Float(9.223_372_036_854_776e18)));
        assert_eq!(counts.inclusive_percentile(99), Some(Number::Float(9.223_372_036_854_776e18)));
    }

    #[test]
    fn no_integers_have_no_statistics() {
        let counts = ValueCounts::default();
        assert!(counts.is_empty());
        assert_eq!((counts.mean(), counts.median(), counts.trimmed_mean_10pct()), (None, None, None));
        assert_eq!((counts.inclusive_percentile(50), counts.geometric_mean(), counts.min()), (None, None, None));
    }

    proptest! {
        #[test]
        fn counting_gives_what_sorting_gives(mut values in prop::collection::vec(-20_i64..20, 1..80), percent in 0..=100_u32) {
            let counts = counts(&values);
            values.sort_unstable();
            let cut = values.len() / 10;
            let kept = &values[cut..values.len() - cut];
            let (sum, n) = (kept.iter().sum::<i64>(), i64::try_from(kept.len()).unwrap());
            let expected = if sum % n == 0 { Number::Int(sum / n) } else { Number::Float(Number::Int(sum).to_f64() / Number::Int(n).to_f64()) };
            prop_assert_eq!(counts.trimmed_mean_10pct(), Some(expected));
            let position = usize::try_from(percent).unwrap() * (values.len() - 1);
            let weight = i64::try_from(position % 100).unwrap();
            let (below, above) = (values[position / 100], values[(position / 100 + 1).min(values.len() - 1)]);
            let expected = Number::Int(below * (100 - weight) + above * weight).to_f64() / 100.0;
            prop_assert_eq!(counts.inclusive_percentile(percent).map(Number::to_f64), Some(expected));
        }
    }
}
