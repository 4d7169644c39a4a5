//! Chooses the range of an axis, its ticks and their labels.
//!
//! In: the range of the values or the maximum count. Out: round ticks within a slightly wider range, each with a label:
//! digit groups (`12,500`), a true minus sign, and only the decimals that the step needs. From a million on, the labels are
//! in thousands, millions, … and the label of the axis states the power of ten (`10⁶ minutes`).

/// A labelled position on an axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tick {
    pub(crate) value: f64,
    pub(crate) label: String,
}

/// A linear axis.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) ticks: Vec<Tick>,
    /// Exponent of the power of ten that divides the labels; a multiple of 3.
    power: i32,
}

impl Axis {
    /// An axis for values from `low` to `high`, with a margin and at most `max_ticks` intervals between ticks; `integral`
    /// values get integral ticks.
    pub(crate) fn of_values(low: f64, high: f64, integral: bool, max_ticks: u32) -> Self {
        let margin = (high / 64.0 - low / 64.0).clamp(f64::MIN_POSITIVE, f64::MAX / 256.0);
        let (low, high) = ((low - margin).max(f64::MIN), (high + margin).min(f64::MAX));
        Self::with_ticks(low, high, max_ticks, integral)
    }

    /// An axis for counts from zero to somewhat above `max`.
    pub(crate) fn of_counts(max: u64) -> Self {
        // A bar that reaches the top of the frame looks cut off.
        Self::with_ticks(0.0, count_to_f64(max.max(1)) * 1.08, 6, true)
    }

    /// An axis from 0 to 1 without ticks.
    pub(crate) fn blank() -> Self {
        Self { low: 0.0, high: 1.0, ticks: Vec::new(), power: 0 }
    }

    fn with_ticks(low: f64, high: f64, max_ticks: u32, integral: bool) -> Self {
        let max_ticks = f64::from(max_ticks);
        let step = round_step(high / max_ticks - low / max_ticks, integral);
        let first = (low / step).ceil();
        let power = power_of(low.abs().max(high.abs()), step);
        let unit = 10_f64.powi(power);
        let decimals = num_decimals(step / unit);
        let mut ticks: Vec<Tick> = Vec::new();
        for offset in 0..=12 {
            let value = (first + f64::from(offset)) * step;
            // If doubles are not denser than the ticks, some ticks coincide.
            if (low..=high).contains(&value) && ticks.last().is_none_or(|before| before.value < value) {
                ticks.push(Tick { value, label: written(value / unit, decimals) });
            }
        }
        Self { low, high, ticks, power }
    }

    /// The pixel of `value`, with `low` at `start` and `high` at `end`.
    #[expect(clippy::cast_possible_truncation, reason = "clamped to the frame")]
    pub(crate) fn position(&self, value: f64, start: i32, end: i32) -> i32 {
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        let share = if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
        (f64::from(start) + share * f64::from(end - start)).round() as i32
    }

    /// `Job duration (10⁶ minutes)`: the label with the unit and the power of ten that the ticks leave out.
    pub(crate) fn label_with_unit(&self, label: &str, unit: Option<&str>) -> String {
        let power = (self.power != 0).then(|| format!("10{}", superscript(&self.power.to_string())));
        match (power, unit) {
            (None, None) => label.to_owned(),
            (None, Some(unit)) => format!("{label} ({unit})"),
            (Some(power), None) => format!("{label} ({power})"),
            (Some(power), Some(unit)) => format!("{label} ({power} {unit})"),
        }
    }
}

/// A count as a double, which is exact enough for a position on the axis.
#[expect(clippy::cast_precision_loss, reason = "the doc says so")]
pub(crate) fn count_to_f64(count: u64) -> f64 {
    count as f64
}

/// The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least `step`, and integral if `integral`.
fn round_step(step: f64, integral: bool) -> f64 {
    if !step.is_finite() || step <= 0.0 || integral && step <= 1.0 {
        return 1.0;
    }
    let magnitude = 10_f64.powf(step.log10().floor()).max(f64::MIN_POSITIVE);
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|round| round * magnitude)
        .find(|round| *round >= step * (1.0 - 1e-9) && !(integral && round.fract() != 0.0))
        .unwrap_or(step)
}

/// The exponent of the power of ten that divides the labels; 0 for numbers that are short enough.
#[expect(clippy::cast_possible_truncation, reason = "an exponent of a double")]
fn power_of(greatest: f64, step: f64) -> i32 {
    let exponent = greatest.log10().floor() as i32;
    let power = exponent.div_euclid(3) * 3;
    // Ticks that differ far behind the first digit do not become shorter.
    let is_awkward = (6..).contains(&exponent) || (..-3).contains(&exponent);
    if is_awkward && num_decimals(step / 10_f64.powi(power)) <= 3 { power } else { 0 }
}

/// Decimals that a step of 1, 2, 2.5 or 5 times a power of ten needs.
fn num_decimals(step: f64) -> usize {
    (0..12)
        .find(|decimals| {
            let scaled = step * 10_f64.powi(*decimals);
            scaled >= 0.999 && (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0)
        })
        .and_then(|decimals| usize::try_from(decimals).ok())
        .unwrap_or(12)
}

/// A number for the legend: four significant digits, or two decimals.
pub(crate) fn short_number(value: f64) -> String {
    if value != 0.0 && !(1e-3..1e12).contains(&value.abs()) {
        return scientific(&format!("{value:.3e}"));
    }
    let text = written(value, if value.abs() < 0.1 { 4 } else { 2 });
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A number in plain decimals, with digit groups and a true minus sign; zero has no sign.
fn written(value: f64, decimals: usize) -> String {
    if value != 0.0 && value.abs() >= 1e15 {
        return scientific(&format!("{value:e}"));
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let is_zero = !text.contains(|ch: char| ('1'..='9').contains(&ch));
    let sign = if value < 0.0 && !is_zero { "−" } else { "" };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{sign}{}{point}{fraction}", grouped(whole))
}

/// Digits in groups of three: `12,500`.
pub(crate) fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// `1.25e-7` as `1.25×10⁻⁷`.
fn scientific(text: &str) -> String {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    format!("{}×10{}", mantissa.replace('-', "−"), superscript(exponent))
}

fn superscript(power: &str) -> String {
    let raise = |ch| match ch {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        _ => '⁹',
    };
    power.chars().map(raise).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        let axis = Axis::of_values(0.0, 137.0, true, 8);
        assert_eq!(labels(&axis), ["0", "20", "40", "60", "80", "100", "120"]);
        assert_eq!(axis.label_with_unit("Jobs", None), "Jobs");
        assert_eq!(labels(&Axis::of_values(11.78, 12.78, false, 8)), ["11.8", "12.0", "12.2", "12.4", "12.6"]);
        assert_eq!(labels(&Axis::of_counts(20_000)), ["0", "5,000", "10,000", "15,000", "20,000"]);
    }

    #[test]
    fn great_numbers_share_a_power_of_ten() {
        let axis = Axis::of_values(-1.5e7, 48.0, false, 8);
        assert_eq!(labels(&axis), ["−14", "−12", "−10", "−8", "−6", "−4", "−2", "0"]);
        assert_eq!(axis.label_with_unit("Job duration", Some("minutes")), "Job duration (10⁶ minutes)");
        assert_eq!(Axis::of_values(0.0, 2.5e-7, false, 8).label_with_unit("Time", None), "Time (10⁻⁹)");
    }

    #[test]
    fn integers_have_integral_ticks() {
        assert_eq!(labels(&Axis::of_values(6.5, 7.5, true, 8)), ["7"]);
        assert_eq!(labels(&Axis::of_counts(1)), ["0", "1"]);
        assert_eq!(labels(&Axis::of_counts(14)), ["0", "5", "10", "15"]);
    }

    #[test]
    fn numbers_of_the_legend_are_short() {
        for (value, text) in [
            (30.330_434, "30.33"),
            (0.0, "0"),
            (-712_134.240_9, "−712,134.24"),
            (12.5, "12.5"),
            (0.012_34, "0.0123"),
            (8.308e-5, "8.308×10⁻⁵"),
            (-2.5e15, "−2.500×10¹⁵"),
        ] {
            assert_eq!(short_number(value), text);
        }
    }

    proptest! {
        #[test]
        fn any_range_has_few_distinct_ticks_inside(low in -1e12..1e12_f64, exponent in -3..12_i32, integral: bool) {
            let high = low + 10_f64.powi(exponent);
            let axis = Axis::of_values(low, high, integral, 8);
            prop_assert!(axis.ticks.len() <= 9);
            prop_assert!(axis.ticks.is_sorted_by(|a, b| a.value < b.value));
            prop_assert!(axis.ticks.iter().all(|tick| axis.low <= tick.value && tick.value <= axis.high));
            prop_assert_eq!(axis.position(low.min(axis.low), 100, 900), 100);
        }
    }
}
