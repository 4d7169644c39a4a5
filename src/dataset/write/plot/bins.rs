//! Counts values into bins as `numpy.histogram` does.
//!
//! In: values with their multiplicity. Out: equal bins between the minimum and the maximum, or around a single value (half
//! a unit to each side). Bins are half open, except the last, which includes the maximum.

/// Counts between edges: one more edge than counts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Bins {
    edges: Vec<f64>,
    counts: Vec<u64>,
}

impl Bins {
    /// `None` if no value is finite.
    pub(crate) fn of(observations: &[(f64, u64)], num_bins: usize) -> Option<Self> {
        let num_bins = num_bins.clamp(1, 10_000);
        let finite = || observations.iter().copied().filter(|(value, count)| value.is_finite() && *count > 0);
        let low = finite().map(|(value, _)| value).reduce(f64::min)?;
        let high = finite().map(|(value, _)| value).reduce(f64::max)?;
        let (low, high) = if low < high { (low, high) } else { (low - 0.5, high + 0.5) };
        let edges = edges_between(low, high, num_bins);
        let mut counts = vec![0_u64; num_bins];
        for (value, count) in finite() {
            let bin = bin_of(value, &edges);
            counts[bin] = counts[bin].saturating_add(count);
        }
        Some(Self { edges, counts })
    }

    pub(crate) fn low(&self) -> f64 {
        self.edges.first().copied().unwrap_or(0.0)
    }

    pub(crate) fn high(&self) -> f64 {
        self.edges.last().copied().unwrap_or(1.0)
    }

    pub(crate) fn max_count(&self) -> u64 {
        self.counts.iter().copied().max().unwrap_or(0)
    }

    /// Lower edge, upper edge and count of each bin.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (f64, f64, u64)> + '_ {
        self.edges.windows(2).zip(&self.counts).map(|(edges, count)| (edges[0], edges[1], *count))
    }
}

/// `numpy.linspace(low, high, num_bins + 1)`; a range beyond that of doubles, where numpy fails, works too.
#[expect(clippy::cast_precision_loss, reason = "few bins")]
fn edges_between(low: f64, high: f64, num_bins: usize) -> Vec<f64> {
    let step = (high - low) / num_bins as f64;
    let edge = |index: usize| {
        if step.is_finite() {
            index as f64 * step + low
        } else {
            let share = index as f64 / num_bins as f64;
            low * (1.0 - share) + high * share
        }
    };
    let mut edges: Vec<f64> = (0..num_bins).map(edge).collect();
    edges.push(high);
    edges
}

/// The last bin whose lower edge is not above `value`; the edges decide, as in numpy.
fn bin_of(value: f64, edges: &[f64]) -> usize {
    let num_bins = edges.len() - 1;
    edges.partition_point(|edge| *edge <= value).saturating_sub(1).min(num_bins - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bins(values: &[f64], num_bins: usize) -> Option<Bins> {
        let observations: Vec<(f64, u64)> = values.iter().map(|value| (*value, 1)).collect();
        Bins::of(&observations, num_bins)
    }

    // Expectations from numpy 2.5.
    #[test]
    fn counts_are_those_of_numpy() {
        assert_eq!(bins(&[0.0, 1.0, 2.0, 3.0], 3).unwrap().counts, [1, 1, 2]);
        assert_eq!(bins(&[0.1, 0.2, 0.3, 0.4, 0.5, 0.7], 6).unwrap().counts, [1; 6]);
        assert_eq!(bins(&[7.0; 4], 5).unwrap().counts, [0, 0, 4, 0, 0]);
        assert_eq!(bins(&[7.0], 2).unwrap().edges, [6.5, 7.0, 7.5]);
    }

    #[test]
    fn only_finite_values_are_binned() {
        assert_eq!(bins(&[], 50), None);
        assert_eq!(bins(&[f64::NAN, f64::INFINITY], 50), None);
        assert_eq!(bins(&[f64::NAN, 0.0, 1.0], 2).unwrap().counts, [1, 1]);
        assert_eq!(bins(&[f64::MIN, 0.0, f64::MAX], 2).unwrap().counts, [1, 2]);
    }

    proptest! {
        #[test]
        fn every_value_lies_within_its_bin(values in prop::collection::vec(-1e9..1e9_f64, 1..60), num_bins in 1..60_usize) {
            let bins = bins(&values, num_bins).unwrap();
            let last = bins.high();
            for (low, high, count) in bins.iter() {
                let inside = values.iter().filter(|value| low <= **value && (**value < high || high >= last && **value <= high));
                prop_assert_eq!(u64::try_from(inside.count()).unwrap(), count);
            }
        }
    }
}
