//! Tables that can be sorted and filtered. They are complete without the script, which only reorders and hides rows.

use maud::{Markup, html};

use super::text;

/// A table with at least this many rows has a filter.
const FILTER_FROM: usize = 9;

#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    name: &'static str,
    numeric: bool,
}

/// A column of texts.
pub(super) const fn texts(name: &'static str) -> Column {
    Column { name, numeric: false }
}

/// A column of numbers.
pub(super) const fn numbers(name: &'static str) -> Column {
    Column { name, numeric: true }
}

#[derive(Clone, Debug)]
pub(super) enum Cell {
    /// A text; texts from the server must have gone through [`text::shown`].
    Text(String),
    /// A file name, a revision or a digest.
    Code(String),
    /// A sort key, and the text that is shown.
    Number(f64, String),
    /// A sort key, and a drawing.
    Drawn(f64, Markup),
    /// No value; sorted last.
    Missing,
}

impl Cell {
    /// A cell with a whole number.
    #[expect(clippy::cast_precision_loss, reason = "a sort key")]
    pub(super) fn count(number: u64) -> Self {
        Self::Number(number as f64, text::count(number))
    }

    /// A cell with a number, if there is one.
    pub(super) fn measure(value: Option<f64>) -> Self {
        value.map_or(Self::Missing, |value| Self::Number(value, text::number(value)))
    }

    fn draw(&self, column: Column) -> Markup {
        let class = column.numeric.then_some("n");
        html! {
            @match self {
                Self::Text(text) => td class=[class] { bdi { (text) } },
                Self::Code(text) => td class=[class] { code { (text) } },
                Self::Number(value, shown) => td class=[class] data-v=(value) { (shown) },
                Self::Drawn(value, drawn) => td data-v=(value) { (drawn) },
                Self::Missing => td class=[class] data-v="" { "—" },
            }
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Table {
    /// Name of the table, also for screen readers.
    pub(super) caption: &'static str,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// The note about rows that are left out.
    pub(super) left_out: Option<String>,
}

impl Table {
    pub(super) fn draw(&self) -> Markup {
        html! {
            div.table data-table {
                div.tools hidden[self.rows.len() < FILTER_FROM] {
                    input type="search" aria-label={ "Filter: " (self.caption) } placeholder="Filter rows" disabled;
                    span data-status aria-live="polite" { (text::counted(self.rows.len() as u64, "row", "rows")) }
                }
                div.scroll role="region" aria-label=(self.caption) tabindex="0" {
                    table {
                        caption { (self.caption) }
                        thead { tr {
                            @for column in &self.columns {
                                th scope="col" class=[column.numeric.then_some("n")] {
                                    button type="button" disabled { (column.name) }
                                }
                            }
                        } }
                        tbody {
                            @for row in &self.rows {
                                tr { @for (cell, column) in row.iter().zip(&self.columns) { (cell.draw(*column)) } }
                            }
                        }
                    }
                }
                @if let Some(left_out) = &self.left_out { p.note { (left_out) } }
            }
        }
    }
}

/// The note about rows that are left out; `None` if there are none.
pub(super) fn left_out(shown: usize, total: u64, which: &str, what: &str, elsewhere: &str) -> Option<String> {
    let shown = shown as u64;
    (shown < total).then(|| {
        let (part, whole) = (text::count(shown), text::count(total));
        let rest = text::counted(total - shown, "is", "are");
        format!("This table shows the {which} {part} of {whole} {what}, and {rest} left out; {elsewhere}.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_escaped_in_every_place() {
        let nasty = "</td><script>alert('x')</script>\" onclick=\"y";
        let cells =
            vec![Cell::Text(nasty.to_owned()), Cell::Code(nasty.to_owned()), Cell::Number(1.0, nasty.to_owned())];
        let columns = vec![texts("a"), texts("b"), numbers("c")];
        let table = Table { caption: "c", columns, rows: vec![cells], left_out: Some(nasty.to_owned()) };
        let html = table.draw().into_string();
        assert_eq!(html.matches("&lt;script&gt;").count(), 4);
        assert!(!html.contains("<script") && !html.contains("\" onclick"));
    }

    #[test]
    fn rows_that_are_left_out_are_counted() {
        assert_eq!(left_out(3, 3, "largest", "groups", "x"), None);
        let line = left_out(100, 5120, "largest", "groups", "sig_groups.jsonl has them all").unwrap();
        assert_eq!(
            line,
            "This table shows the largest 100 of 5,120 groups, and 5,020 are left out; sig_groups.jsonl has them all."
        );
    }
}
