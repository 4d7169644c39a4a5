//! A plot as a PDF file of one page, for papers.
//!
//! In: rectangles and glyphs in pixels, y downwards. Out: the file, with the shapes of the glyphs instead of a font: it looks
//! alike everywhere. It has no date, so equal input gives equal bytes.

use ab_glyph::{Font as _, FontRef, Glyph, OutlineCurve, Point, ScaleFont as _};
use pdf_writer::{Content, Filter, Finish as _, Pdf, Rect, Ref, TextStr};

/// Points of 1/72 inch in a pixel, of which 200 are an inch.
const SCALE: f32 = 72.0 / 200.0;
/// The default of zlib.
const COMPRESSION_LEVEL: u8 = 6;

/// The shapes of a page.
pub(super) struct Page {
    content: Content,
    width: f32,
    height: f32,
}

impl Page {
    /// A white page of this size, pixels.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    pub(super) fn new(width: u32, height: u32) -> Self {
        let (width, height) = (width as f32 * SCALE, height as f32 * SCALE);
        let mut content = Content::new();
        content.transform([SCALE, 0.0, 0.0, -SCALE, 0.0, height]); // y grows upwards in PDF
        Self { content, width, height }
    }

    /// Fills a rectangle; `size` is its width and height.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    pub(super) fn rectangle(&mut self, from: (i32, i32), size: (i32, i32), colour: (u8, u8, u8)) {
        self.fill_with(colour);
        self.content.rect(from.0 as f32, from.1 as f32, size.0 as f32, size.1 as f32).fill_nonzero();
    }

    /// Fills the glyphs of a text, whose positions are relative to `at`; an upward text is read from below to above.
    #[expect(clippy::cast_precision_loss, reason = "pixels")]
    pub(super) fn text(
        &mut self,
        font: &FontRef<'_>,
        glyphs: &[Glyph],
        at: (i32, i32),
        upward: bool,
        colour: (u8, u8, u8),
    ) {
        self.fill_with(colour);
        for glyph in glyphs {
            let scaled = font.as_scaled(glyph.scale);
            let (across, down) = (scaled.h_scale_factor(), -scaled.v_scale_factor());
            let place = |point: Point| {
                let (x, y) = (glyph.position.x + point.x * across, glyph.position.y + point.y * down);
                let (x, y) = if upward { (y, -x) } else { (x, y) };
                (hundredths(at.0 as f32 + x), hundredths(at.1 as f32 + y))
            };
            let Some(outline) = font.outline(glyph.id) else { continue }; // a blank
            self.path(&outline.curves, place);
        }
    }

    fn path(&mut self, curves: &[OutlineCurve], place: impl Fn(Point) -> (f32, f32)) {
        let mut end = None;
        for curve in curves {
            let (from, controls, to) = match *curve {
                OutlineCurve::Line(from, to) => (from, None, to),
                OutlineCurve::Quad(from, control, to) => {
                    (from, Some((two_thirds(from, control), two_thirds(to, control))), to)
                }
                OutlineCurve::Cubic(from, first, second, to) => (from, Some((first, second)), to),
            };
            let (from, to) = (place(from), place(to));
            if end != Some(from) {
                self.content.move_to(from.0, from.1);
            }
            match controls.map(|(first, second)| (place(first), place(second))) {
                None => self.content.line_to(to.0, to.1),
                Some((first, second)) => self.content.cubic_to(first.0, first.1, second.0, second.1, to.0, to.1),
            };
            end = Some(to);
        }
        self.content.fill_nonzero();
    }

    fn fill_with(&mut self, (red, green, blue): (u8, u8, u8)) {
        let [red, green, blue] = [red, green, blue].map(|part| f32::from(part) / 255.0);
        self.content.set_fill_rgb(red, green, blue);
    }

    /// The file; `title` is for readers that show titles of documents.
    pub(super) fn into_file(self, title: &str) -> Vec<u8> {
        let [catalog, pages, page, content, info] = [1, 2, 3, 4, 5].map(Ref::new);
        // Not by the library of the replies, whose output may differ between processors.
        let shapes = miniz_oxide::deflate::compress_to_vec_zlib(&self.content.finish(), COMPRESSION_LEVEL);
        let mut pdf = Pdf::new();
        pdf.catalog(catalog).pages(pages);
        pdf.pages(pages).kids([page]).count(1);
        let mut leaf = pdf.page(page);
        leaf.parent(pages).media_box(Rect::new(0.0, 0.0, self.width, self.height)).contents(content);
        leaf.resources();
        leaf.finish();
        pdf.stream(content, &shapes).filter(Filter::FlateDecode);
        pdf.document_info(info).title(TextStr(title));
        pdf.finish()
    }
}

/// The point at two thirds of the way.
fn two_thirds(from: Point, to: Point) -> Point {
    let between = |from: f32, to: f32| from + (to - from) * (2.0 / 3.0);
    Point { x: between(from.x, to.x), y: between(from.y, to.y) }
}

/// A hundredth of a pixel is finer than any print.
fn hundredths(pixels: f32) -> f32 {
    (pixels * 100.0).round() / 100.0
}
