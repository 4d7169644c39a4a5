//! Draws histograms for print: as PNG images of 1600 by 1000 pixels at 200 pixels per inch, as SVG and as PDF.
//!
//! In: a [`Histogram`], plain data. Out: the bytes of a PNG, SVG or PDF file. Promises: equal input gives equal bytes; bins equal those
//! of `numpy.histogram`; drawing reads no file or font of the system; the colours suit colour-blind readers (Okabe and Ito's
//! palette), and the two lines differ in their dashes for print. Without values the frame says "no data".
//!
//! `bins` counts, `axis` chooses ticks and their labels, `canvas` draws, `pdf` writes what is drawn as PDF; this file owns the layout.

pub(crate) mod axis;
pub(crate) mod bins;
mod canvas;
mod pdf;

use axis::Axis;
use bins::Bins;
use canvas::{Anchor, Canvas, Dashes, INK, Rgb, Text};

pub use canvas::PlotError;

const WIDTH: i32 = 1600;
const HEIGHT: i32 = 1000;
const RIGHT: i32 = WIDTH - 50;
const TOP: i32 = 180;
const BOTTOM: i32 = HEIGHT - 150;

const GRID: Rgb = (0xdd, 0xdd, 0xdd);
const BAR: Rgb = (0x56, 0xb4, 0xe9);
const BAR_EDGE: Rgb = (0x00, 0x72, 0xb2);
const MEAN: Rgb = (0xd5, 0x5e, 0x00);
const MEDIAN: Rgb = (0x00, 0x00, 0x00);
// One period, disjoint: both lines stay visible where they coincide.
const MEAN_DASHES: Dashes = Dashes { on: 26, period: 48, phase: 0 };
const MEDIAN_DASHES: Dashes = Dashes { on: 10, period: 48, phase: 32 };

/// A histogram to be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Text above the plot.
    pub title: String,
    /// The measured quantity, without its unit.
    pub x_label: String,
    /// The unit of the values, such as `minutes`; `None` for plain numbers.
    pub x_unit: Option<String>,
    /// The counted things.
    pub y_label: String,
    /// Number of bins between the minimum and the maximum; 0 counts as 1.
    pub num_bins: usize,
    /// Values with their number of occurrences, in any order; values that are not finite are left out.
    pub observations: Vec<(f64, u64)>,
    /// Position of the line of the mean.
    pub mean: Option<f64>,
    /// Position of the line of the median.
    pub median: Option<f64>,
}

impl Histogram {
    /// A histogram of 50 bins without values.
    pub fn new(title: impl Into<String>, x_label: impl Into<String>, y_label: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            x_label: x_label.into(),
            x_unit: None,
            y_label: y_label.into(),
            num_bins: 50,
            observations: Vec::new(),
            mean: None,
            median: None,
        }
    }

    /// Draws the histogram and returns it as a PNG file.
    ///
    /// # Errors
    /// If drawing or encoding fails, which has no known cause, because both work in memory.
    pub fn render(&self) -> Result<Vec<u8>, PlotError> {
        let mut canvas = Canvas::of_pixels(WIDTH, HEIGHT)?;
        self.draw(&mut canvas)?;
        canvas.into_png()
    }

    /// Draws the same as SVG.
    ///
    /// # Errors
    /// As [`Histogram::render`].
    pub fn render_svg(&self) -> Result<Vec<u8>, PlotError> {
        let mut canvas = Canvas::of_svg(WIDTH, HEIGHT)?;
        self.draw(&mut canvas)?;
        Ok(canvas.into_svg(&self.title))
    }

    /// Draws the same as PDF, on a page of 8 by 5 inches.
    ///
    /// # Errors
    /// As [`Histogram::render`].
    pub fn render_pdf(&self) -> Result<Vec<u8>, PlotError> {
        let mut canvas = Canvas::of_pdf(WIDTH, HEIGHT)?;
        self.draw(&mut canvas)?;
        Ok(canvas.into_pdf(&self.title))
    }

    fn draw(&self, canvas: &mut Canvas) -> Result<(), PlotError> {
        let bins = Bins::of(&self.observations, self.num_bins);
        let frame = PlotArea::of(self, bins.as_ref(), canvas);
        frame.draw_grid(canvas)?;
        if let Some(bins) = &bins {
            frame.draw_bars(bins, canvas)?;
            frame.draw_line(self.mean, MEAN, MEAN_DASHES, canvas)?;
            frame.draw_line(self.median, MEDIAN, MEDIAN_DASHES, canvas)?;
        } else {
            let middle = i32::midpoint(frame.left, RIGHT);
            canvas.text(&Text::new("no data", 64.0, INK), (middle, i32::midpoint(TOP, BOTTOM) + 20), Anchor::Middle)?;
        }
        frame.draw_axes(canvas)?;
        self.draw_texts(&frame, canvas)
    }

    fn draw_texts(&self, frame: &PlotArea, canvas: &mut Canvas) -> Result<(), PlotError> {
        let middle = i32::midpoint(frame.left, RIGHT);
        let title = canvas.fitting(&self.title, 54.0, WIDTH - 100);
        canvas.text(&title, (middle, 72), Anchor::Middle)?;
        let x_label = frame.x.label_with_unit(&self.x_label, self.x_unit.as_deref());
        canvas.text(&canvas.fitting(&x_label, 44.0, WIDTH - 100), (middle, HEIGHT - 38), Anchor::Middle)?;
        let y_label = canvas.fitting(&frame.y.label_with_unit(&self.y_label, None), 44.0, HEIGHT - 60);
        let y_middle = i32::midpoint(TOP, BOTTOM).max(canvas.text_width_px(&y_label) / 2 + 20);
        canvas.text(&y_label.upward(), (62, y_middle), Anchor::Middle)?;
        self.draw_legend(middle, canvas)
    }

    /// Draws the legend above the plot, where it covers no bar: a sample of each dashed line with its value, and n.
    fn draw_legend(&self, middle: i32, canvas: &mut Canvas) -> Result<(), PlotError> {
        const BASELINE: i32 = 140;
        const GAP: i32 = 70;
        const SAMPLE_GAP: i32 = 16;
        let n: u128 =
            self.observations.iter().filter(|(value, _)| value.is_finite()).map(|(_, n)| u128::from(*n)).sum();
        let unit = self.x_unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
        let mut entries: Vec<(Option<(Rgb, Dashes)>, String)> = Vec::new();
        let lines = [("mean", self.mean, MEAN, MEAN_DASHES), ("median", self.median, MEDIAN, MEDIAN_DASHES)];
        for (name, value, colour, dashes) in lines {
            if let Some(value) = value.filter(|value| value.is_finite() && n > 0) {
                entries.push((Some((colour, dashes)), format!("{name} = {}{unit}", axis::short_number(value))));
            }
        }
        entries.push((None, format!("n = {}", axis::grouped(&n.to_string()))));
        let sample_width = |sample: &Option<(Rgb, Dashes)>| sample.map_or(0, |(_, dashes)| dashes.sample_length());
        let texts_only = entries.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().concat();
        let besides: i32 = entries.iter().map(|(sample, _)| sample_width(sample) + SAMPLE_GAP + GAP).sum();
        let size = canvas.fitting(&texts_only, 38.0, WIDTH - 40 - besides).size();
        let widths: Vec<i32> = entries
            .iter()
            .map(|(sample, text)| match sample_width(sample) {
                0 => canvas.text_width_px(&Text::new(text, size, INK)),
                width => width + SAMPLE_GAP + canvas.text_width_px(&Text::new(text, size, INK)),
            })
            .collect();
        let total = widths.iter().map(|width| width + GAP).sum::<i32>() - GAP;
        let mut x = (middle - total / 2).min(WIDTH - 20 - total).max(20);
        for ((sample, text), width) in entries.iter().zip(widths) {
            if let Some((colour, dashes)) = *sample {
                canvas.dashed_horizontal((x, BASELINE - 13), 6, colour, dashes)?;
            }
            canvas.text(&Text::new(text, size, INK), (x + width, BASELINE), Anchor::End)?;
            x += width + GAP;
        }
        Ok(())
    }
}

/// The plotting area: two axes and their pixels.
struct PlotArea {
    x: Axis,
    y: Axis,
    left: i32,
}

impl PlotArea {
    fn of(histogram: &Histogram, bins: Option<&Bins>, canvas: &Canvas) -> Self {
        let Some(bins) = bins else {
            return Self { x: Axis::blank(), y: Axis::blank(), left: 120 };
        };
        let integral = histogram.observations.iter().all(|(value, _)| value.fract() == 0.0);
        let y = Axis::of_counts(bins.max_count());
        let widest = y.ticks.iter().map(|tick| canvas.text_width_px(&tick_text(&tick.label))).max().unwrap_or(0);
        let left = 62 + 30 + widest + 24;
        let x_with = |max_ticks| Axis::of_values(bins.low(), bins.high(), integral, max_ticks);
        let labels_fit = |x: &Axis| {
            x.ticks.windows(2).all(|ticks| {
                let [from, to] = [&ticks[0], &ticks[1]].map(|tick| x.position(tick.value, left, RIGHT));
                let half_widths =
                    ticks.iter().map(|tick| canvas.text_width_px(&tick_text(&tick.label))).sum::<i32>() / 2;
                to - from > half_widths + 30
            })
        };
        let x = (2..=8).rev().map(x_with).find(labels_fit).unwrap_or_else(|| x_with(1));
        Self { x, y, left }
    }

    fn x_px(&self, value: f64) -> i32 {
        self.x.position(value, self.left, RIGHT)
    }

    fn y_px(&self, count: f64) -> i32 {
        self.y.position(count, BOTTOM, TOP)
    }

    fn draw_grid(&self, canvas: &mut Canvas) -> Result<(), PlotError> {
        for tick in &self.y.ticks {
            let y = self.y_px(tick.value);
            canvas.rectangle((self.left, y - 1), (RIGHT, y + 1), GRID)?;
        }
        for tick in &self.x.ticks {
            let x = self.x_px(tick.value);
            canvas.rectangle((x - 1, TOP), (x + 1, BOTTOM), GRID)?;
        }
        Ok(())
    }

    fn draw_bars(&self, bins: &Bins, canvas: &mut Canvas) -> Result<(), PlotError> {
        for (low, high, count) in bins.iter().filter(|(_, _, count)| *count > 0) {
            // At least 4 pixels high and 3 wide, so that a single value among millions is visible.
            let top = self.y_px(axis::count_to_f64(count)).min(BOTTOM - 4);
            let (left, right) = (self.x_px(low), self.x_px(high));
            let right = right.max(left + 3);
            canvas.rectangle((left, top), (right, BOTTOM), BAR_EDGE)?;
            if right - left > 6 {
                canvas.rectangle((left + 1, top + 2), (right - 1, BOTTOM), BAR)?;
            }
        }
        Ok(())
    }

    fn draw_line(&self, value: Option<f64>, colour: Rgb, dashes: Dashes, canvas: &mut Canvas) -> Result<(), PlotError> {
        match value {
            Some(value) if value >= self.x.low && value <= self.x.high => {
                canvas.dashed_vertical((self.x_px(value) - 3, TOP), BOTTOM - TOP, 6, colour, dashes)
            }
            _ => Ok(()),
        }
    }

    fn draw_axes(&self, canvas: &mut Canvas) -> Result<(), PlotError> {
        canvas.rectangle((self.left - 3, TOP), (self.left, BOTTOM + 3), INK)?;
        canvas.rectangle((self.left - 3, BOTTOM), (RIGHT, BOTTOM + 3), INK)?;
        for tick in &self.y.ticks {
            let y = self.y_px(tick.value);
            canvas.rectangle((self.left - 14, y - 1), (self.left, y + 2), INK)?;
            canvas.text(&tick_text(&tick.label), (self.left - 22, y + 14), Anchor::End)?;
        }
        for tick in &self.x.ticks {
            let x = self.x_px(tick.value);
            canvas.rectangle((x - 1, BOTTOM), (x + 2, BOTTOM + 14), INK)?;
            let text = tick_text(&tick.label);
            let x = x.min(WIDTH - 10 - canvas.text_width_px(&text) / 2);
            canvas.text(&text, (x, BOTTOM + 54), Anchor::Middle)?;
        }
        Ok(())
    }
}

fn tick_text(label: &str) -> Text {
    Text::new(label, 40.0, INK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn histogram(observations: &[(f64, u64)]) -> Histogram {
        let mean = observations.first().map(|(value, _)| *value);
        Histogram {
            observations: observations.to_vec(),
            mean,
            median: mean,
            ..Histogram::new("Title", "Values", "Number")
        }
    }

    /// The pixels of a PNG file, three bytes each.
    fn decoded(png: &[u8]) -> Vec<u8> {
        let mut reader = png::Decoder::new(png).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height, frame.color_type), (1600, 1000, png::ColorType::Rgb));
        pixels
    }

    fn num_pixels(png: &[u8], (red, green, blue): Rgb) -> usize {
        decoded(png).as_chunks::<3>().0.iter().filter(|pixel| **pixel == [red, green, blue]).count()
    }

    #[rstest]
    #[case(&[])]
    #[case(&[(f64::NAN, 3)])]
    #[case(&[(7.0, 1)])]
    #[case(&[(7.0, 3000)])]
    #[case(&[(0.0, 69), (3.0, 1), (137.0, 1)])]
    #[case(&[(-1.5e7, 2), (48.0, 40)])]
    #[case(&[(f64::MIN, 1), (f64::MAX, u64::MAX), (5e-324, u64::MAX)])]
    #[case(&[(1.7e9, 1), (1.7e9 + 36.0, 5)])]
    fn any_values_are_drawn_and_equal_input_gives_equal_bytes(#[case] observations: &[(f64, u64)]) {
        let png = histogram(observations).render().unwrap();
        assert_eq!(png, histogram(observations).render().unwrap());
        let has_bars = observations.iter().any(|(value, _)| value.is_finite());
        assert_eq!(num_pixels(&png, BAR) + num_pixels(&png, BAR_EDGE) > 0, has_bars);
        assert_eq!(num_pixels(&png, MEAN) > 0, has_bars);
    }

    #[test]
    fn the_svg_has_the_bars_and_the_texts() {
        let mut drawn = histogram(&[(1.0, 2), (3.0, 5), (9.0, 1)]);
        drawn.title = "a < b & c".to_owned();
        let svg = String::from_utf8(drawn.render_svg().unwrap()).unwrap();
        assert_eq!(svg.matches("fill=\"#56b4e9\"").count(), 3, "{svg}");
        assert!(svg.starts_with("<svg xmlns=") && svg.ends_with("</svg>\n") && !svg.contains("a < b"), "{svg}");
        for words in
            ["<title>a &lt; b &amp; c</title>", ">Values</text>", ">Number</text>", ">n = 8</text>", "rotate(-90 "]
        {
            assert!(svg.contains(words), "{words} is missing in {svg}");
        }
        assert_eq!(svg.into_bytes(), drawn.render_svg().unwrap());
        assert!(String::from_utf8(histogram(&[]).render_svg().unwrap()).unwrap().contains(">no data</text>"));
    }

    #[test]
    fn the_pdf_has_the_bars_and_the_letters_of_the_texts() {
        let content = |drawn: &Histogram| {
            let file = drawn.render_pdf().unwrap();
            let text = String::from_utf8_lossy(&file);
            assert!(text.starts_with("%PDF-1.7") && text.trim_end().ends_with("%%EOF"), "{text}");
            assert!(text.contains("/MediaBox [0 0 576 360]") && text.contains("/Title (Title)"), "{text}");
            let at = |mark: &[u8]| file.windows(mark.len()).position(|window| window == mark).unwrap();
            let stream = &file[at(b"stream\n") + 7..at(b"\nendstream")];
            String::from_utf8(miniz_oxide::inflate::decompress_to_vec_zlib(stream).unwrap()).unwrap()
        };
        let drawn = histogram(&[(1.0, 2), (3.0, 5), (9.0, 1)]);
        let shapes = content(&drawn);
        let fill = |(red, green, blue): Rgb| {
            let [red, green, blue] = [red, green, blue].map(|part| f32::from(part) / 255.0);
            format!("{red} {green} {blue} rg\n")
        };
        assert_eq!(shapes.matches(&fill(BAR)).count(), 3, "{shapes}");
        assert_eq!(shapes, content(&drawn));
        // Each letter that has curves is a path of its own.
        let num_paths = |shapes: &str| shapes.split("f\n").filter(|path| path.contains(" c\n")).count();
        let longer = Histogram { x_label: "Values os".to_owned(), ..drawn.clone() };
        assert_eq!(num_paths(&content(&longer)), num_paths(&shapes) + 2);
        assert!(num_paths(&content(&histogram(&[]))) > 0);
    }

    #[test]
    fn a_single_value_among_millions_shows() {
        let rest = histogram(&[(0.0, 5_000_000), (49.0, 0)]).render().unwrap();
        let both = histogram(&[(0.0, 5_000_000), (49.0, 1)]).render().unwrap();
        assert_ne!(decoded(&rest), decoded(&both));
    }

    #[test]
    fn long_texts_are_made_to_fit() {
        let mut histogram = histogram(&[(1e11, 1), (2e11, 1)]);
        let long = "words that do not fit ".repeat(12);
        (histogram.title, histogram.x_label, histogram.y_label) = (long.clone(), long.clone(), long.clone());
        histogram.x_unit = Some(long);
        let pixels = decoded(&histogram.render().unwrap());
        let (rows, _) = pixels.as_chunks::<{ 1600 * 3 }>();
        assert!(rows.iter().all(|row| row[..6].iter().chain(&row[4794..]).all(|byte| *byte == 0xff)));
    }
}
