//! A page of alert summaries that is too much for one reply: its rows come in smaller pages, and are settled as one.
//!
//! In: one part after the other. Out: the records, the count, and the rows that the server does not return. The list may
//! move between two parts, and a row would then be lost. So, after all parts, the last row of each part except the last is
//! read once more, like the last rows of pages at the end of a pass (`source/page.rs`). If it is another row, that row is
//! added to the page, which then has more rows than its count, and the list is read again.

use std::time::Duration;

use crate::actor::Room;
use crate::model::{AlertSummary, AskedPage, OddRecord, Sorted, stand_in};
use crate::source::{Answer, Reply, SourceError};

/// The rows of a page so far.
#[derive(Debug)]
pub(super) struct PageInParts {
    /// The length of the list, as the server counted last.
    count: Option<u64>,
    records: Sorted<AlertSummary>,
    /// The last row of each part, and the rows that may be there: one, if none of the part was set aside.
    ends: Vec<(AskedPage, Vec<u64>)>,
    /// All parts are read; the answers to come are second looks.
    is_read: bool,
    body_bytes: u64,
    latency: Duration,
}

impl PageInParts {
    /// A page without any part yet, in a list of `count` rows if that is known.
    pub(super) fn new(count: Option<u64>) -> Self {
        Self {
            count,
            records: Sorted::default(),
            ends: Vec::new(),
            is_read: false,
            body_bytes: 0,
            latency: Duration::ZERO,
        }
    }

    /// True when the list has no row of `part`.
    pub(super) fn ends_before(&self, part: AskedPage) -> bool {
        self.count.is_some_and(|count| count <= part.rows_before())
    }

    /// Adds an answer: the rows of a part, or a second look at one of them.
    pub(super) fn add(&mut self, asked: AskedPage, count: u64, records: Sorted<AlertSummary>) {
        // The server does not count the list when it ends before the page.
        let is_beyond = records.taken.is_empty() && records.odd.is_empty() && asked.page > 1;
        self.count = Some(if is_beyond { asked.rows_before() } else { count });
        self.add_rows(asked, records);
    }

    /// Adds a row that the server does not return.
    pub(super) fn add_unreadable(&mut self, row: AskedPage, error: &SourceError) {
        self.add_rows(row, Sorted { taken: Vec::new(), odd: vec![unreadable(row, error)] });
    }

    fn add_rows(&mut self, asked: AskedPage, records: Sorted<AlertSummary>) {
        let set_aside = records.odd.iter().filter(|odd| !odd.taken).map(|odd| odd.record);
        let last: Vec<u64> = records.taken.last().map(|record| record.id.0).into_iter().chain(set_aside).collect();
        if !self.is_read {
            self.ends.push((asked.last_row(), last));
        } else if let [row] = *last
            && self.rows_at(asked).contains(&row)
        {
            return; // it is in its place
        }
        self.records.taken.extend(records.taken);
        self.records.odd.extend(records.odd);
    }

    /// The rows that may be at the end of the part that ends there.
    fn rows_at(&self, row: AskedPage) -> &[u64] {
        self.ends.iter().find(|(end, _)| *end == row).map_or(&[], |(_, rows)| rows)
    }

    /// True when a second look at `row` will show again that the server does not return it.
    pub(super) fn lacks(&self, row: AskedPage) -> bool {
        self.is_read && self.rows_at(row).contains(&stand_in_of(row))
    }

    /// All parts are read: returns the rows to look at once more. Nothing follows the last part in this page.
    pub(super) fn begin_looks(&mut self) -> Vec<AskedPage> {
        self.is_read = true;
        self.ends.pop();
        self.ends.iter().map(|(row, _)| *row).collect()
    }

    /// Adds the cost of an answer.
    pub(super) fn add_cost(&mut self, body_bytes: u64, latency: Duration) {
        self.body_bytes += body_bytes;
        self.latency += latency;
    }

    /// The page, as if it had come in one reply; `None` while the length of the list is unknown.
    pub(super) fn into_answer(self) -> Option<Answer> {
        let Self { count, records, body_bytes, latency, .. } = self;
        let reply = Reply::AlertPage { count: count?, records };
        Some(Answer { reply, body_bytes, latency, room: Room::default() })
    }
}

fn words(row: AskedPage) -> String {
    format!("row {} of the list", row.rows_before() + 1)
}

/// Stands for the id of a row that the server does not return.
pub(super) fn stand_in_of(row: AskedPage) -> u64 {
    stand_in(words(row).as_bytes())
}

fn unreadable(row: AskedPage, error: &SourceError) -> OddRecord {
    let reason = format!("the server does not return it, even alone: {}", error.with_causes());
    OddRecord::set_aside(stand_in_of(row), reason, words(row).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ids: impl IntoIterator<Item = u64>) -> Sorted<AlertSummary> {
        let mut records = Sorted::default();
        for id in ids {
            records.add_alert_summary(format!("{{\"id\":{id}}}").as_bytes()).unwrap();
        }
        records
    }

    fn asked(page: u32, limit: u32) -> AskedPage {
        AskedPage { page, limit }
    }

    fn gave_up() -> SourceError {
        SourceError::GaveUp { status: 500, took: Duration::from_secs(30) }
    }

    /// The count, and how many rows the page has.
    fn settled(page: PageInParts) -> Option<(u64, usize)> {
        match page.into_answer()?.reply {
            Reply::AlertPage { count, records } => Some((count, records.taken.len() + records.odd.len())),
            _ => None,
        }
    }

    /// Rows 1 to 5 of a list of 5; the server does not return row 3. Then `looks`: second looks at rows 2 and 3.
    fn read(looks: [Option<u64>; 2]) -> Option<(u64, usize)> {
        let mut page = PageInParts::new(None);
        page.add(asked(1, 2), 5, rows([9, 8]));
        page.add_unreadable(asked(3, 1), &gave_up());
        page.add(asked(4, 1), 5, rows([6]));
        page.add(asked(5, 1), 5, rows([5]));
        assert!(!page.ends_before(asked(5, 1)) && page.ends_before(asked(6, 1)) && page.ends_before(asked(2, 5)));
        assert_eq!(page.begin_looks(), [asked(2, 1), asked(3, 1), asked(4, 1)]);
        assert!(page.lacks(asked(3, 1)) && !page.lacks(asked(2, 1)));
        for (row, found) in [asked(2, 1), asked(3, 1)].into_iter().zip(looks) {
            match found {
                Some(id) => page.add(row, 5, rows([id])),
                None => page.add_unreadable(row, &gave_up()),
            }
        }
        page.add(asked(4, 1), 5, rows([6]));
        settled(page)
    }

    #[test]
    fn a_page_has_more_rows_than_its_count_if_a_second_look_finds_another_row() {
        assert_eq!(read([Some(8), None]), Some((5, 5)), "all are in their places");
        assert_eq!(read([Some(7), None]), Some((5, 6)), "row 3 came to row 2");
        assert_eq!(read([None, None]), Some((5, 6)), "the row that is not returned came to row 2");
        assert_eq!(read([Some(8), Some(6)]), Some((5, 6)), "the row that is not returned has left");
    }

    #[test]
    fn the_end_of_the_list_tells_its_length_and_nothing_else_does() {
        let mut page = PageInParts::new(None);
        page.add_unreadable(asked(1, 1), &gave_up());
        page.add_unreadable(asked(2, 1), &gave_up());
        assert!(!page.ends_before(asked(3, 1)));
        page.add(asked(3, 1), 0, rows([]));
        assert!(page.ends_before(asked(3, 1)) && page.ends_before(asked(2, 5)));
        assert_eq!(settled(page), Some((2, 2)));
        let mut page = PageInParts::new(None);
        page.add_unreadable(asked(1, 1), &gave_up());
        assert_eq!(settled(page), None);
        assert_eq!(settled(PageInParts::new(Some(7))), Some((7, 0)));
    }
}
