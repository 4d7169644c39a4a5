//! Charts as inline SVG: histograms and columns. Colours are set by class in the style sheet, for light and dark
//! schemes.
//!
//! In: plain numbers. Out: a `figure` with a caption, the drawing with title, axes and units, and a legend outside the
//! drawing, where it can wrap. Bins and ticks are those of the PNG plots ([`crate::dataset::write::plot`]).

use maud::{Markup, html};

use super::text;
use crate::dataset::write::plot::Histogram;
use crate::dataset::write::plot::axis::{Axis, count_to_f64, short_number};
use crate::dataset::write::plot::bins::Bins;

/// Width and height of a drawing beside a table, pixels at its natural size.
const BESIDE: (i32, i32) = (560, 300);
/// Range of integer values below which each value has its own bar.
const SEPARATE_BARS: f64 = 60.0;

/// The layout of a drawing.
pub(super) struct Frame {
    size: (i32, i32),
    pub(super) left: i32,
    pub(super) right: i32,
    top: i32,
    pub(super) bottom: i32,
    y: Axis,
    y_label: String,
    x_label: String,
}

impl Frame {
    /// A frame for counts up to `most`.
    pub(super) fn new(size: (i32, i32), most: u64, y_label: &str, x_label: String) -> Self {
        let y = Axis::of_counts(most);
        let longest = y.ticks.iter().map(|tick| tick.label.chars().count()).max().unwrap_or(1);
        let left = 18 + 8 * i32::try_from(longest).unwrap_or(12);
        Self {
            size,
            left,
            right: size.0 - 14,
            top: 30,
            bottom: size.1 - 52,
            y_label: y.label_with_unit(y_label, None),
            y,
            x_label,
        }
    }

    /// The vertical position of `value`, pixels.
    pub(super) fn y(&self, value: f64) -> f64 {
        place(&self.y, value, self.bottom, self.top)
    }

    /// A bar from `left` to `right` and from `low` to `high`. A bar that is not empty is at least one pixel high.
    pub(super) fn bar(&self, class: &str, (left, right): (f64, f64), (low, high): (f64, f64), title: &str) -> Markup {
        let (bottom, top) = (self.y(low), self.y(high));
        let height = if high > low { (bottom - top).max(1.0) } else { 0.0 };
        html! {
            rect class=(class) x=(round(left)) y=(round(bottom - height)) width=(round((right - left).max(0.5)))
                height=(round(height)) { title { (title) } }
        }
    }

    /// Draws grid, axes, labels and `content`; `ticks` are positions and labels.
    pub(super) fn draw(&self, description: &str, ticks: &[(f64, String)], content: &Markup) -> Markup {
        let (left, right, bottom) = (self.left, self.right, self.bottom);
        html! {
            svg viewBox={ "0 0 " (self.size.0) " " (self.size.1) } role="img" aria-label=(description) {
                title { (description) }
                @for tick in &self.y.ticks {
                    @let y = self.y(tick.value);
                    line.grid x1=(left) x2=(right) y1=(y) y2=(y) {}
                    text.tick.end x=(left - 7) y=(round(y + 4.5)) { (tick.label) }
                }
                (content)
                line.axis x1=(left) x2=(right) y1=(bottom) y2=(bottom) {}
                @for (x, label) in ticks {
                    line.axis x1=(round(*x)) x2=(round(*x)) y1=(bottom) y2=(bottom + 5) {}
                    text.tick.mid x=(round(*x)) y=(bottom + 19) { (label) }
                }
                text.label x="2" y="14" { (self.y_label) }
                text.label.mid x=(i32::midpoint(left, right)) y=(self.size.1 - 9) { (self.x_label) }
            }
        }
    }
}

/// The position of `value` between two pixels, to a tenth of a pixel.
fn place(axis: &Axis, value: f64, start: i32, end: i32) -> f64 {
    f64::from(axis.position(value, start * 10, end * 10)) / 10.0
}

pub(super) fn round(place: f64) -> f64 {
    (place * 10.0).round() / 10.0
}

/// A chart with its caption and the content below it. The drawing keeps a readable size, and scrolls on narrow screens.
pub(super) fn figure(caption: &str, drawing: &Markup, below: &Markup) -> Markup {
    html! {
        figure {
            figcaption { (caption) }
            div.scroll role="region" aria-label=(caption) tabindex="0" { (drawing) }
            (below)
        }
    }
}

/// The placeholder for a chart without data.
pub(super) fn nothing(caption: &str, why: &str) -> Markup {
    html! { figure { figcaption { (caption) } p.nothing { (why) } } }
}

/// The legend: classes and their names.
pub(super) fn legend<'a>(names: impl IntoIterator<Item = (&'a str, String)>) -> Markup {
    html! {
        ul.legend {
            @for (class, name) in names {
                li { svg.key viewBox="0 0 12 12" aria-hidden="true" { rect class=(class) width="12" height="12" {} } (name) }
            }
        }
    }
}

/// The values to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// All, in the bins of the PNG plot that is an artifact.
    OfThePlot,
    /// Without outliers that would squeeze all others into a single bar.
    Middle,
}

/// The values within the range.
struct Within {
    kept: Vec<(f64, u64)>,
    num_below: u64,
    num_above: u64,
}

impl Within {
    fn of(observations: &[(f64, u64)], range: Range) -> Self {
        let mut sorted: Vec<(f64, u64)> =
            observations.iter().copied().filter(|(value, count)| value.is_finite() && *count > 0).collect();
        sorted.sort_by(|one, other| one.0.total_cmp(&other.0));
        let total: u64 = sorted.iter().map(|(_, count)| count).sum();
        let (Some(first), Some(last), Range::Middle) = (sorted.first().copied(), sorted.last().copied(), range) else {
            return Self { kept: sorted, num_below: 0, num_above: 0 };
        };
        let nth = |rank: u64| {
            let mut before = 0;
            let at = sorted.iter().find(|(_, count)| {
                before += count;
                rank < before
            });
            at.map_or(last.0, |(value, _)| *value)
        };
        let (low, high) = (nth(total / 50), nth(total - 1 - total / 50));
        let room = 2.0 * (high - low);
        let low = if room > 0.0 && low - first.0 > room { low } else { first.0 };
        let high = if room > 0.0 && last.0 - high > room { high } else { last.0 };
        let num =
            |outside: &dyn Fn(f64) -> bool| sorted.iter().filter(|(value, _)| outside(*value)).map(|(_, n)| n).sum();
        let (num_below, num_above) = (num(&|value| value < low), num(&|value| value > high));
        sorted.retain(|(value, _)| low <= *value && *value <= high);
        Self { kept: sorted, num_below, num_above }
    }

    /// Lower edge, upper edge and count of each bar, and whether each bar is a single value.
    fn bars(&self, range: Range, num_bins: usize) -> (Vec<(f64, f64, u64)>, bool) {
        let integral = range == Range::Middle && self.kept.iter().all(|(value, _)| value.fract() == 0.0);
        let width = self.kept.last().map_or(0.0, |last| last.0) - self.kept.first().map_or(0.0, |first| first.0);
        if integral && width < SEPARATE_BARS {
            let mut bars: Vec<(f64, f64, u64)> = Vec::new();
            for (value, count) in &self.kept {
                match bars.last_mut() {
                    Some(bar) if bar.0 + 0.5 >= *value => bar.2 += count,
                    _ => bars.push((value - 0.5, value + 0.5, *count)),
                }
            }
            return (bars, true);
        }
        let bins = Bins::of(&self.kept, num_bins);
        (bins.iter().flat_map(Bins::iter).collect(), false)
    }

    fn note(&self) -> Option<String> {
        let outside =
            |num: u64, which: &str| (num > 0).then(|| format!("{} {which}", text::counted(num, "value", "values")));
        let parts: Vec<String> = [outside(self.num_below, "far below"), outside(self.num_above, "far above")]
            .into_iter()
            .flatten()
            .collect();
        (!parts.is_empty()).then(|| format!("Not drawn: {}. The statistics include them.", parts.join(", ")))
    }
}

/// A histogram with mean and median; `empty` is the text if there are no values.
pub(super) fn histogram(histogram: &Histogram, range: Range, empty: &str) -> Markup {
    let within = Within::of(&histogram.observations, range);
    let (bars, separate) = within.bars(range, histogram.num_bins);
    let (Some(first), Some(last)) = (bars.first(), bars.last()) else { return nothing(&histogram.title, empty) };
    let total: u64 = histogram.observations.iter().map(|(_, count)| count).sum();
    let most = bars.iter().map(|(.., count)| *count).max().unwrap_or(0);
    let x = Axis::of_values(first.0, last.1, separate, 7);
    let unit = histogram.x_unit.as_deref();
    let frame = Frame::new(BESIDE, most, &histogram.y_label, x.label_with_unit(&histogram.x_label, unit));
    let at = |value: f64| place(&x, value, frame.left, frame.right);
    let unit = unit.map_or_else(String::new, |unit| format!(" {unit}"));
    let content = html! {
        @for (low, high, count) in bars.iter().filter(|(.., count)| *count > 0) {
            @let range = if separate { short_number(f64::midpoint(*low, *high)) } else {
                format!("{} to {}", short_number(*low), short_number(*high))
            };
            @let title = format!("{range}{unit}: {}", text::count(*count));
            (frame.bar("s0", (at(*low) + 0.5, at(*high) - 0.5), (0.0, count_to_f64(*count)), &title))
        }
        @for (class, value) in [("mean", histogram.mean), ("median", histogram.median)] {
            @if let Some(value) = value.filter(|value| (first.0..=last.1).contains(value)) {
                @let x = round(at(value));
                line class=(class) x1=(x) x2=(x) y1=(frame.top) y2=(frame.bottom) {}
            }
        }
    };
    let ticks: Vec<(f64, String)> = x.ticks.iter().map(|tick| (at(tick.value), tick.label.clone())).collect();
    let center = |name: &str, value: Option<f64>| value.map(|value| format!("{name} {}{unit}", short_number(value)));
    let (mean, median) = (center("mean", histogram.mean), center("median", histogram.median));
    let description = format!(
        "{}: histogram of {} from {} to {}{unit}, {}, {}",
        histogram.title,
        text::counted(total, "value", "values"),
        short_number(if separate { first.0 + 0.5 } else { first.0 }),
        short_number(if separate { last.1 - 0.5 } else { last.1 }),
        mean.as_deref().unwrap_or("no mean"),
        median.as_deref().unwrap_or("no median"),
    );
    let below = html! {
        (legend([("key-mean", mean), ("key-median", median)].into_iter().filter_map(|(class, name)| Some((class, name?)))))
        @if let Some(note) = within.note() { p.note { (note) } }
    };
    figure(&histogram.title, &frame.draw(&description, &ticks, &content), &below)
}

/// A column chart of named classes of values.
pub(super) fn columns(caption: &str, x_label: &str, y_label: &str, classes: &[(String, u64)], empty: &str) -> Markup {
    if classes.is_empty() {
        return nothing(caption, empty);
    }
    let most = classes.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let frame = Frame::new(BESIDE, most, y_label, x_label.to_owned());
    let num = count_to_f64(classes.len() as u64);
    let step = f64::from(frame.right - frame.left) / num;
    let edge = |place: usize| f64::from(frame.left) + step * count_to_f64(place as u64);
    let gap = (step * 0.12).min(8.0);
    let content = html! {
        @for (place, (name, count)) in classes.iter().enumerate() {
            @let title = format!("{name}: {}", text::count(*count));
            (frame.bar("s0", (edge(place) + gap, edge(place + 1) - gap), (0.0, count_to_f64(*count)), &title))
        }
    };
    let ticks: Vec<(f64, String)> =
        classes.iter().enumerate().map(|(place, (name, _))| (edge(place) + step / 2.0, name.clone())).collect();
    let parts: Vec<String> = classes.iter().map(|(name, count)| format!("{name}: {count}")).collect();
    let description = format!("{caption}: {}", parts.join(", "));
    figure(caption, &frame.draw(&description, &ticks, &content), &html! {})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(observations: &[(f64, u64)]) -> String {
        let mut drawn = Histogram::new("Waits <of> jobs", "Wait", "Jobs");
        drawn.observations = observations.to_vec();
        drawn.mean = Some(3.0);
        histogram(&drawn, Range::Middle, "no job waited").into_string()
    }

    #[test]
    fn a_chart_of_a_plot_has_its_bins_and_all_values() {
        let mut drawn = Histogram::new("Signatures per revision", "Signatures", "Revisions");
        drawn.observations = (0..50).map(|n| (f64::from(n), 3)).chain([(1e4, 1)]).collect();
        let html = histogram(&drawn, Range::OfThePlot, "none").into_string();
        for (low, high, count) in Bins::of(&drawn.observations, drawn.num_bins).unwrap().iter() {
            let title = format!("{} to {}: {count}<", short_number(low), short_number(high));
            assert_eq!(html.contains(&title), count > 0, "{title} in {html}");
        }
        assert!(!html.contains("Not drawn"));
    }

    #[test]
    fn every_value_is_in_a_bar_or_mentioned_as_left_out() {
        let values: Vec<(f64, u64)> = (0..100).map(|n| (f64::from(n) * 0.37, 2)).collect();
        let counts = |html: &str| -> u64 {
            html.split("<rect class=\"s0\"")
                .skip(1)
                .map(|bar| {
                    let title = bar.split("<title>").nth(1).unwrap().split("</title>").next().unwrap();
                    title.rsplit(' ').next().unwrap().replace(',', "").parse::<u64>().unwrap()
                })
                .sum()
        };
        assert_eq!(counts(&of(&values)), 200);
        let mut with_outlier = values;
        with_outlier.push((1e9, 1));
        let html = of(&with_outlier);
        assert!(html.contains("Not drawn: "), "{html}");
        assert!(counts(&html) >= 190);
        assert_eq!(counts(&of(&[(1.0, 5), (3.0, 7)])), 12);
    }

    #[test]
    fn a_chart_without_data_says_why() {
        assert!(of(&[]).contains("no job waited"));
        assert!(of(&[(f64::NAN, 3)]).contains("no job waited"));
        assert!(columns("c", "x", "y", &[], "no group").into_string().contains("no group"));
    }

    #[test]
    fn captions_are_escaped_in_text_and_attribute() {
        let html = of(&[(1.0, 1)]);
        assert!(!html.contains("<of>") && html.matches("&lt;of&gt;").count() == 4);
    }
}
