//! Charts over time: counts by kind, and the spread of values. Days are grouped into at most 62 bins.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::charts::{Frame, figure, legend, nothing, round};
use super::text;
use crate::dataset::write::plot::axis::count_to_f64;

/// Width and height of a drawing that fills its row, pixels.
const ALONE: (i32, i32) = (980, 260);
const MAX_BINS: i64 = 62;
/// Most ticks on a time axis: dates are long.
const MAX_TICKS: usize = 9;
/// Colour classes of kinds; all further kinds share the last.
const KIND_CLASSES: [&str; 6] = ["s0", "s1", "s2", "s3", "s4", OTHERS];
/// Colour class of the less important kinds.
pub(super) const OTHERS: &str = "s5";

/// Name of a kind, and its colour class.
pub(super) type NamedKind = (String, &'static str);

/// Left and right edge of a bar, pixels.
type Point = (f64, f64);
/// Position of a tick, and its label.
type Label = (f64, String);

/// Bins of equal numbers of days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TimeBins {
    start_day: i64,
    days: i64,
    len: usize,
}

impl TimeBins {
    /// Bins of a day, a week, four weeks or longer, from one day to another, both included.
    pub(super) fn between(first_day: i64, last_day: i64) -> Self {
        let last_day = last_day.max(first_day);
        let bins_of = |days: i64| {
            // Weeks begin on Mondays; the epoch was a Thursday.
            let start_day = if days % 7 == 0 { (first_day + 3).div_euclid(7) * 7 - 3 } else { first_day };
            (start_day, (last_day - start_day) / days + 1)
        };
        let longest = (last_day - first_day) / (MAX_BINS - 1) + 1;
        let days = [1, 7, 28, 91, 364].into_iter().find(|days| bins_of(*days).1 <= MAX_BINS).unwrap_or(longest);
        let (start_day, len) = bins_of(days);
        Self { start_day, days, len: usize::try_from(len).unwrap_or(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bin of a day; days outside belong to the nearest bin.
    pub(super) fn of_day(&self, day: i64) -> usize {
        let bin = (day - self.start_day).div_euclid(self.days).max(0);
        usize::try_from(bin).unwrap_or(0).min(self.len - 1)
    }

    fn first_day(&self, bin: usize) -> i64 {
        self.start_day + self.days * i64::try_from(bin).unwrap_or(0)
    }

    fn name(&self, bin: usize) -> String {
        let first = self.first_day(bin);
        let (first, last) = (text::date_of_day(first), text::date_of_day(first + self.days - 1));
        if first == last { first } else { format!("{first} to {last}") }
    }

    /// `Commit date (UTC), one bar per week`
    fn label(&self, what: &str) -> String {
        let span = match self.days {
            1 => "day".to_owned(),
            7 => "week".to_owned(),
            days if days % 7 == 0 => format!("{} weeks", days / 7),
            days => format!("{days} days"),
        };
        format!("{what} (UTC), one bar per {span}")
    }

    /// The positions of the bins, and the labels of some of them.
    fn layout(&self, frame: &Frame) -> (Vec<Point>, Vec<Label>) {
        let step = f64::from(frame.right - frame.left) / count_to_f64(self.len as u64);
        // Limits the width of bars if there are few bins.
        let gap = (step * 0.1).max((step - 46.0) / 2.0);
        let edge = |bin: usize| f64::from(frame.left) + step * count_to_f64(bin as u64);
        let places = (0..self.len).map(|bin| (edge(bin) + gap, edge(bin + 1) - gap)).collect();
        let every = self.len.div_ceil(MAX_TICKS);
        let ticks =
            (0..self.len).step_by(every).map(|bin| (edge(bin) + step / 2.0, text::date_of_day(self.first_day(bin))));
        (places, ticks.filter(|(x, _)| x + 34.0 < f64::from(frame.right + 14)).collect())
    }
}

/// Stacked counts over time. `counts` are by bin, then by kind.
pub(super) fn stacked(
    caption: &str,
    (x_label, y_label): (&str, &str),
    bins: TimeBins,
    kinds: &[NamedKind],
    counts: &[Vec<u64>],
    empty: &str,
) -> Markup {
    let most = counts.iter().map(|bin| bin.iter().sum::<u64>()).max().unwrap_or(0);
    if most == 0 {
        return nothing(caption, empty);
    }
    let frame = Frame::new(ALONE, most, y_label, bins.label(x_label));
    let (places, ticks) = bins.layout(&frame);
    let content = html! {
        @for (bin, (counts, place)) in counts.iter().zip(&places).enumerate() {
            @for (kind, ((name, class), count)) in kinds.iter().zip(counts).enumerate() {
                @if *count > 0 {
                    @let low = counts[..kind].iter().sum::<u64>();
                    @let title = format!("{}, {name}: {}", bins.name(bin), text::count(*count));
                    (frame.bar(class, *place, (count_to_f64(low), count_to_f64(low + count)), &title))
                }
            }
        }
    };
    let totals: Vec<u64> = (0..kinds.len()).map(|kind| counts.iter().map(|bin| bin[kind]).sum()).collect();
    let named: Vec<String> =
        kinds.iter().zip(&totals).map(|((name, _), total)| format!("{name}: {}", text::count(*total))).collect();
    let description = format!("{caption}, starting {}: {}", text::date_of_day(bins.start_day), named.join(", "));
    let legend = legend(kinds.iter().map(|(_, class)| *class).zip(named));
    figure(caption, &frame.draw(&description, &ticks, &content), &legend)
}

/// The spread of values over time: min to max, interquartile range, median. `values` are by bin.
pub(super) fn spread(
    caption: &str,
    (x_label, y_label): (&str, &str),
    bins: TimeBins,
    mut values: Vec<Vec<u64>>,
    empty: &str,
) -> Markup {
    for bin in &mut values {
        bin.sort_unstable();
    }
    let most = values.iter().filter_map(|bin| bin.last().copied()).max().filter(|most| *most > 0);
    let Some(most) = most else { return nothing(caption, empty) };
    let frame = Frame::new(ALONE, most, y_label, bins.label(x_label));
    let (places, ticks) = bins.layout(&frame);
    let content = html! {
        @for (bin, (values, place)) in values.iter().zip(&places).enumerate() {
            @if let [least, .., greatest] | [least @ greatest] = values.as_slice() {
                @let quarter = |n: usize| values[(values.len() - 1) * n / 4];
                @let title = format!(
                    "{}: {} to {}, median {}, {}", bins.name(bin), text::count(*least), text::count(*greatest),
                    text::count(quarter(2)), text::counted(values.len() as u64, "revision", "revisions"),
                );
                @let middle = f64::midpoint(place.0, place.1);
                @let thin = (middle - 1.5, middle + 1.5);
                (frame.bar("range", thin, (count_to_f64(*least), count_to_f64(*greatest)), &title))
                (frame.bar("middle", *place, (count_to_f64(quarter(1)), count_to_f64(quarter(3))), &title))
                @let y = frame.y(count_to_f64(quarter(2)));
                line.center x1=(round(place.0)) x2=(round(place.1)) y1=(y) y2=(y) { title { (title) } }
            }
        }
    };
    let num: usize = values.iter().map(Vec::len).sum();
    let description = format!(
        "{caption}, starting {}: {}, at most {} each",
        text::date_of_day(bins.start_day),
        text::counted(num as u64, "revision", "revisions"),
        text::count(most)
    );
    let names = [("key-center", "median"), ("middle", "interquartile range (IQR)"), ("range", "min to max")];
    let legend = legend(names.map(|(class, name)| (class, name.to_owned())));
    figure(caption, &frame.draw(&description, &ticks, &content), &legend)
}

/// The names of the most frequent kinds, with all others combined as the last; and the index of each kind in them.
pub(super) fn gathered<T: Ord + Clone>(
    totals: &[(T, u64)],
    name: impl Fn(&T) -> String,
) -> (Vec<NamedKind>, BTreeMap<T, usize>) {
    let most = KIND_CLASSES.len();
    let shown = if totals.len() > most { most - 1 } else { totals.len() };
    let mut names: Vec<String> = totals.iter().take(shown).map(|(kind, _)| name(kind)).collect();
    if totals.len() > shown {
        names.push(format!("{} others", totals.len() - shown));
    }
    let names = names.into_iter().zip(KIND_CLASSES).collect();
    (names, totals.iter().enumerate().map(|(place, (kind, _))| (kind.clone(), place.min(shown))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn weeks_begin_on_mondays() {
        let bins = TimeBins::between(20_635, 20_755); // 2026-07-01, a Wednesday
        assert_eq!((bins.days, text::date_of_day(bins.start_day).as_str()), (7, "2026-06-29"));
        assert_eq!(bins.name(0), "2026-06-29 to 2026-07-05");
        assert_eq!(bins.label("Commit date"), "Commit date (UTC), one bar per week");
    }

    #[test]
    fn kinds_beyond_the_number_of_colours_are_combined() {
        let totals: Vec<(u32, u64)> = (0..9).map(|kind| (kind, 100 - u64::from(kind))).collect();
        let (names, place) = gathered(&totals, |kind| format!("kind {kind}"));
        assert_eq!((names.len(), names.last()), (6, Some(&("4 others".to_owned(), OTHERS))));
        assert_eq!((place[&4], place[&5], place[&8]), (4, 5, 5));
        assert_eq!(gathered(&totals[..6], u32::to_string).0.len(), 6);
    }

    proptest! {
        #[test]
        fn any_span_of_days_has_few_bins_and_each_day_one(first in -800_000..3_000_000_i64, span in 0..900_000_i64) {
            let bins = TimeBins::between(first, first + span);
            prop_assert!((1..=usize::try_from(MAX_BINS).unwrap()).contains(&bins.len()));
            for day in [first, first + span / 2, first + span] {
                let bin = bins.of_day(day);
                prop_assert!(bins.first_day(bin) <= day && day < bins.first_day(bin) + bins.days);
            }
        }
    }
}
