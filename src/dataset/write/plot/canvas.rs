//! Draws rectangles, dashes and text on an image in memory, and encodes it.
//!
//! In: shapes in pixels, y downwards. Out: the bytes of a PNG file, or the same shapes as PDF, or as SVG, whose text stays text.
//! The bitmap backend of plotters fills the pixels; this file lays out text, because that backend ignores the side bearings of glyphs and rounds positions to pixels. The font
//! is `DejaVu` Sans, embedded (licence in `font/`): the Latin, Greek and Cyrillic glyphs, signs and raised digits, without hints, by
//! `pyftsubset --legacy-kern --no-hinting`.

use ab_glyph::{Font as _, FontRef, Glyph, InvalidFont, PxScale, ScaleFont as _, point};
use plotters::backend::{BitMapBackend, DrawingBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea as _};
use plotters::element::Rectangle;
use plotters::style::{Color as _, RGBColor};

use super::pdf::Page;

const FONT: &[u8] = include_bytes!("../font/DejaVuSans.ttf");
/// 200 pixels per inch, in pixels per metre.
const RESOLUTION: u32 = 7874;

/// Red, green, blue.
pub(super) type Rgb = (u8, u8, u8);

/// The colour of text and axes.
pub(super) const INK: Rgb = (0x22, 0x22, 0x22);

type BackendError = <BitMapBackend<'static> as DrawingBackend>::ErrorType;

/// A failure to draw a plot.
#[derive(Debug, thiserror::Error)]
pub enum PlotError {
    /// The embedded font is invalid.
    #[error("failed to read the embedded font")]
    Font(#[from] InvalidFont),
    /// The bitmap backend failed.
    #[error("failed to draw the plot")]
    Draw(#[from] DrawingAreaErrorKind<BackendError>),
    /// The PNG encoder failed.
    #[error("failed to encode the plot as PNG")]
    Encode(#[from] png::EncodingError),
}

/// A dash pattern, pixels: `on` of every `period`, beginning at `phase`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dashes {
    pub(super) on: i32,
    pub(super) period: i32,
    pub(super) phase: i32,
}

/// The point of a text's baseline at its position.
#[derive(Clone, Copy, Debug)]
pub(super) enum Anchor {
    Middle,
    End,
}

/// A line of text.
#[derive(Clone, Debug)]
pub(super) struct Text {
    words: String,
    /// From ascent to descent, pixels.
    size: f32,
    colour: Rgb,
    upward: bool,
}

impl Text {
    pub(super) fn new(text: &str, size: f32, colour: Rgb) -> Self {
        Self { words: text.to_owned(), size, colour, upward: false }
    }

    /// From ascent to descent, pixels.
    pub(super) fn size(&self) -> f32 {
        self.size
    }

    /// The same text, read from below to above.
    pub(super) fn upward(self) -> Self {
        Self { upward: true, ..self }
    }
}

/// A white image.
pub(super) struct Canvas {
    surface: Surface,
    width: u32,
    height: u32,
    font: FontRef<'static>,
}

enum Surface {
    /// Three bytes each, a row after the other.
    Pixels(Vec<u8>),
    /// The elements so far.
    Svg(String),
    Pdf(Page),
}

impl Canvas {
    pub(super) fn of_pixels(width: i32, height: i32) -> Result<Self, PlotError> {
        Self::with(width, height, |width, height| Surface::Pixels(vec![0xff; width as usize * height as usize * 3]))
    }

    pub(super) fn of_svg(width: i32, height: i32) -> Result<Self, PlotError> {
        Self::with(width, height, |_, _| Surface::Svg(String::new()))
    }

    pub(super) fn of_pdf(width: i32, height: i32) -> Result<Self, PlotError> {
        Self::with(width, height, |width, height| Surface::Pdf(Page::new(width, height)))
    }

    fn with(width: i32, height: i32, surface: impl FnOnce(u32, u32) -> Surface) -> Result<Self, PlotError> {
        let (width, height) = (width.unsigned_abs(), height.unsigned_abs());
        Ok(Self { surface: surface(width, height), width, height, font: FontRef::try_from_slice(FONT)? })
    }

    /// Fills from `from` up to, but without, `to`.
    pub(super) fn rectangle(&mut self, from: (i32, i32), to: (i32, i32), colour: Rgb) -> Result<(), PlotError> {
        if to.0 <= from.0 || to.1 <= from.1 {
            return Ok(());
        }
        let size = (to.0 - from.0, to.1 - from.1);
        match &mut self.surface {
            Surface::Pixels(pixels) => {
                let corners = [from, (to.0 - 1, to.1 - 1)]; // plotters includes both corners
                area(pixels, self.width, self.height).draw(&Rectangle::new(corners, rgb(colour).filled()))?;
            }
            Surface::Svg(elements) => {
                let ((x, y), (width, height)) = (from, size);
                let fill = hex(colour);
                elements.push_str(&format!(
                    "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{fill}\"/>\n"
                ));
            }
            Surface::Pdf(page) => page.rectangle(from, size, colour),
        }
        Ok(())
    }

    /// Draws dashes downwards from `from`.
    pub(super) fn dashed_vertical(
        &mut self,
        from: (i32, i32),
        length: i32,
        width: i32,
        colour: Rgb,
        dashes: Dashes,
    ) -> Result<(), PlotError> {
        for (start, end) in dashes.within(length) {
            self.rectangle((from.0, from.1 + start), (from.0 + width, from.1 + end), colour)?;
        }
        Ok(())
    }

    /// Draws a sample of dashes rightwards; `from` is the middle of its start.
    pub(super) fn dashed_horizontal(
        &mut self,
        from: (i32, i32),
        width: i32,
        colour: Rgb,
        dashes: Dashes,
    ) -> Result<(), PlotError> {
        let top = from.1 - width / 2;
        let sample = Dashes { phase: 0, ..dashes };
        for (start, end) in sample.within(dashes.sample_length()) {
            self.rectangle((from.0 + start, top), (from.0 + end, top + width), colour)?;
        }
        Ok(())
    }

    /// Length of a text along its baseline, pixels, rounded up.
    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    pub(super) fn text_width_px(&self, text: &Text) -> i32 {
        self.layout(text).1.ceil() as i32
    }

    /// A text of at most this size, reduced so that it is not longer than `room`, pixels.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    pub(super) fn fitting(&self, words: &str, size: f32, room: i32) -> Text {
        let text = Text::new(words, size, INK);
        let factor = room.max(1) as f32 / self.layout(&text).1.max(1.0);
        Text { size: size * factor.min(1.0), ..text }
    }

    /// Draws `text` with the anchor of its baseline at `at`.
    #[expect(clippy::cast_possible_truncation, reason = "pixels")]
    pub(super) fn text(&mut self, text: &Text, at: (i32, i32), anchor: Anchor) -> Result<(), PlotError> {
        let (mut glyphs, width) = self.layout(text);
        let start = match anchor {
            Anchor::Middle => -width / 2.0,
            Anchor::End => -width,
        };
        for glyph in &mut glyphs {
            glyph.position.x += start;
        }
        let pixels = match &mut self.surface {
            Surface::Pixels(pixels) => pixels,
            Surface::Svg(elements) => {
                elements.push_str(&text_element(&self.font, text, width, at, anchor));
                return Ok(());
            }
            Surface::Pdf(page) => {
                page.text(&self.font, &glyphs, at, text.upward, text.colour);
                return Ok(());
            }
        };
        let colour = rgb(text.colour);
        let font = self.font.clone();
        let area = area(pixels, self.width, self.height);
        for glyph in glyphs {
            let Some(outline) = font.outline_glyph(glyph) else { continue }; // a blank
            let (left, top) = (outline.px_bounds().min.x as i32, outline.px_bounds().min.y as i32);
            let mut drawn = Ok(());
            outline.draw(|x, y, coverage| {
                let (x, y) = (left + x.cast_signed(), top + y.cast_signed());
                let pixel = if text.upward { (at.0 + y, at.1 - x) } else { (at.0 + x, at.1 + y) };
                // Clamped for the backend, which would wrap a coverage above 1.
                if drawn.is_ok() && coverage > 0.0 {
                    drawn = area.draw_pixel(pixel, &colour.mix(f64::from(coverage.min(1.0))));
                }
            });
            drawn?;
        }
        Ok(())
    }

    /// Glyphs on a baseline that starts at the origin, and its length.
    fn layout(&self, text: &Text) -> (Vec<Glyph>, f32) {
        let scale = PxScale::from(text.size);
        let font = self.font.as_scaled(scale);
        let mut x = 0.0;
        let mut glyphs: Vec<Glyph> = Vec::with_capacity(text.words.len());
        for ch in text.words.chars() {
            let id = font.glyph_id(ch);
            if let Some(before) = glyphs.last() {
                x += font.kern(before.id, id);
            }
            glyphs.push(id.with_scale_and_position(scale, point(x, 0.0)));
            x += font.h_advance(id);
        }
        (glyphs, x)
    }

    /// The PDF file; nothing for the others.
    pub(super) fn into_pdf(self, title: &str) -> Vec<u8> {
        let Surface::Pdf(page) = self.surface else { return Vec::new() };
        page.into_file(title)
    }

    /// The document, with a title for readers that do not show it; nothing for the others.
    pub(super) fn into_svg(self, title: &str) -> Vec<u8> {
        let Surface::Svg(elements) = self.surface else { return Vec::new() };
        let (width, height, title) = (self.width, self.height, escaped(title));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"DejaVu Sans, Verdana, sans-serif\">\n<title>{title}</title>\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{elements}</svg>\n"
        )
        .into_bytes()
    }

    /// Encodes the image; nothing for the others.
    pub(super) fn into_png(self) -> Result<Vec<u8>, PlotError> {
        let mut out = Vec::new();
        let Surface::Pixels(pixels) = self.surface else { return Ok(out) };
        let mut encoder = png::Encoder::new(&mut out, self.width, self.height);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        // Plain areas and straight lines compress best unfiltered; more effort saves little and takes a tenth of a second.
        encoder.set_filter(png::FilterType::NoFilter);
        encoder.set_compression(png::Compression::Default);
        encoder.set_pixel_dims(Some(png::PixelDimensions {
            xppu: RESOLUTION,
            yppu: RESOLUTION,
            unit: png::Unit::Meter,
        }));
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&pixels)?;
        writer.finish()?;
        Ok(out)
    }
}

fn area(pixels: &mut [u8], width: u32, height: u32) -> DrawingArea<BitMapBackend<'_>, Shift> {
    BitMapBackend::with_buffer(pixels, (width, height)).into_drawing_area()
}

/// A text of the length that it has in this font, also where the reader has another.
fn text_element(font: &FontRef<'_>, text: &Text, width: f32, (x, y): (i32, i32), anchor: Anchor) -> String {
    // The size of a font is its em in SVG, and its height here.
    let em = text.size * font.units_per_em().unwrap_or(1.0) / font.height_unscaled();
    let anchor = match anchor {
        Anchor::Middle => "middle",
        Anchor::End => "end",
    };
    let turned = if text.upward { format!(" transform=\"rotate(-90 {x} {y})\"") } else { String::new() };
    let (fill, words) = (hex(text.colour), escaped(&text.words));
    format!(
        "<text x=\"{x}\" y=\"{y}\" font-size=\"{em:.1}\" textLength=\"{width:.1}\" text-anchor=\"{anchor}\" \
         fill=\"{fill}\"{turned}>{words}</text>\n"
    )
}

fn hex((red, green, blue): Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl Dashes {
    /// Length of three dashes, pixels.
    pub(super) fn sample_length(self) -> i32 {
        2 * self.period + self.on
    }

    /// Start and end of each dash on a line of this length.
    fn within(self, length: i32) -> impl Iterator<Item = (i32, i32)> {
        let step = usize::try_from(self.period.max(1)).unwrap_or(1);
        (self.phase..length).step_by(step).map(move |start| (start, (start + self.on).min(length)))
    }
}

fn rgb((red, green, blue): Rgb) -> RGBColor {
    RGBColor(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_every_sign_of_numbers_and_labels() {
        let font = FontRef::try_from_slice(FONT).unwrap();
        for sign in "0123456789.,-−×⁰¹²³⁴⁵⁶⁷⁸⁹⁻…()=%".chars() {
            assert_ne!(font.glyph_id(sign).0, 0, "{sign}");
        }
    }
}
