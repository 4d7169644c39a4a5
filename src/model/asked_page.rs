//! A page of alert summaries as the server is asked for it, and its parts.

/// Added to the number of a page: its last row, asked again when all pages of the pass were read.
pub const LAST_ROWS: u32 = 1 << 31;

/// A page of alert summaries as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskedPage {
    /// Its number, from 1.
    pub page: u32,
    /// Rows per page.
    pub limit: u32,
}

impl AskedPage {
    /// How a page of the frontier, such as a second look, is asked for when pages have `page_size` rows.
    #[must_use]
    pub fn of(page: u32, page_size: u32) -> Self {
        match page.checked_sub(LAST_ROWS) {
            Some(page) => Self { page, limit: page_size }.last_row(),
            None => Self { page: page.max(1), limit: page_size },
        }
    }

    /// Rows of the list before this page.
    #[must_use]
    pub fn rows_before(self) -> u64 {
        u64::from(self.page.max(1) - 1) * u64::from(self.limit)
    }

    /// Its last row, as a page of one.
    #[must_use]
    pub fn last_row(self) -> Self {
        Self { page: self.page.saturating_mul(self.limit), limit: 1 }
    }

    /// The same rows in smaller pages: as few as the server's numbering allows, since page n begins at row `(n - 1) * limit`.
    /// Halves, where the number of rows is even. Nothing for a single row.
    #[must_use]
    pub fn parts(self) -> Vec<Self> {
        let Some(num) = (2..=self.limit).find(|num| self.limit.is_multiple_of(*num)) else { return Vec::new() };
        let before = (self.page.max(1) - 1).saturating_mul(num);
        (1..=num).map(|number| Self { page: before.saturating_add(number), limit: self.limit / num }).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Requests that it takes to read all rows but row `bad`, when each page that holds it fails once.
    fn requests_around(asked: AskedPage, bad: u64) -> u32 {
        let holds_it = (asked.rows_before()..asked.rows_before() + u64::from(asked.limit)).contains(&bad);
        let parts = if holds_it { asked.parts() } else { Vec::new() };
        1 + parts.into_iter().map(|part| requests_around(part, bad)).sum::<u32>()
    }

    #[test]
    fn a_bad_row_of_a_page_of_100_costs_15_requests() {
        for bad in [200, 237, 299] {
            assert_eq!(requests_around(AskedPage { page: 3, limit: 100 }, bad), 15);
        }
        assert_eq!(requests_around(AskedPage { page: 1, limit: 64 }, 5), 13);
        assert_eq!(requests_around(AskedPage { page: 1, limit: 1 }, 0), 1);
    }

    proptest! {
        #[test]
        fn parts_are_smaller_and_adjoin_and_have_the_rows_of_the_page(page in 1_u32..1000, limit in 1_u32..=100) {
            let asked = AskedPage { page, limit };
            let parts = asked.parts();
            prop_assert_eq!(parts.is_empty(), limit == 1);
            let mut next = asked.rows_before();
            for part in &parts {
                prop_assert!(part.limit < limit && part.rows_before() == next);
                next += u64::from(part.limit);
            }
            prop_assert!(parts.is_empty() || next == asked.rows_before() + u64::from(limit));
            prop_assert!(parts.last().is_none_or(|last| last.last_row() == asked.last_row()));
        }
    }
}
