//! Paging through the alert summaries while the list moves.
//!
//! The list is newest first and shifts while it is read: a new summary pushes rows to later pages (one row comes twice,
//! the new one never), a summary that leaves the filter pulls rows up (one row is lost). Both may happen together, on
//! later pages, so that counts and page 1 stay the same. So all pages are read, then page 1 and the last row of each
//! other page once more. The list was still only if every page reported the same count, every row came once, and the
//! second looks found the same rows. If not, the list is read again in another pass. The dataset holds the rows of the
//! last pass, each id once.
//!
//! Rows keep their order, so a row's place changes only by rows that come or leave before it. A last row that is in its
//! place after all pages were read was there all the time, unless one change undid another; then the next page began
//! behind it, and no row that stayed was missed in between. A second look costs the server a count and one row
//! (`limit=1&page=` its place), where reading every page twice would prove the same for a hundred rows each. Ranges of
//! ids would need no second look, but the API has no filter for them, and pages that overlap have other compositions,
//! on which parts of the records depend.

use std::collections::{HashMap, HashSet};

use crate::model::{AlertSummaryId, AskedPage, LAST_ROWS};

/// The part of a page that a pass is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlertPageOutline {
    /// Summaries in the whole list, as the server counted them for this page.
    pub(crate) count: u64,
    /// The ids on the page, as listed; behind them those of rows that were set aside, whose places are unknown.
    pub(crate) ids: Vec<AlertSummaryId>,
    /// How many of the ids belong to rows that were set aside.
    pub(crate) num_set_aside: usize,
}

impl AlertPageOutline {
    /// The row that may be the last one: one, if no row was set aside.
    fn possible_last_rows(&self) -> &[AlertSummaryId] {
        &self.ids[self.ids.len().saturating_sub(self.num_set_aside + 1)..]
    }
}

/// The verdict on a pass over the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassVerdict {
    /// Pages up to this number are missing.
    NeedsPages(u32),
    /// All pages up to this number are there; page 1, and the last rows of all but the last page, must be read once
    /// more.
    NeedsClosingLooks {
        /// Number of pages.
        last: u32,
        /// True if no row of page 1 was set aside.
        first_is_whole: bool,
    },
    /// The list did not move.
    Still,
    /// Rows shifted.
    Shifted,
}

/// The number of pages for `count` rows; at least one.
#[must_use]
pub(crate) fn pages_of(count: u64, page_size: u32) -> u32 {
    u32::try_from(count.div_ceil(u64::from(page_size.max(1)))).unwrap_or(u32::MAX).max(1)
}

/// The page numbers of the second looks at a pass of `last` pages. Of a first page with rows that were set aside, the
/// last row is enough: the server may not return the page as a whole.
pub(crate) fn closing_looks(last: u32, first_is_whole: bool) -> impl Iterator<Item = u32> {
    let first = if first_is_whole { 0 } else { LAST_ROWS + 1 };
    std::iter::once(first).chain((2..last).map(|page| LAST_ROWS + page))
}

/// Returns why a page contradicts itself: `count` and `next` of the reply say which rows it must have.
pub(super) fn contradiction(
    asked: AskedPage,
    count: u64,
    has_next: Option<bool>,
    ids: &[AlertSummaryId],
) -> Option<String> {
    let AskedPage { page, limit } = asked;
    let rows_before = asked.rows_before();
    let expected = count.saturating_sub(rows_before).min(u64::from(limit));
    if ids.len() as u64 != expected {
        return Some(format!("{} rows on page {page} of {limit}, where a list of {count} has {expected}", ids.len()));
    }
    let expects_next = count > rows_before + expected;
    let word = |next| if next { "another page" } else { "no other page" };
    (has_next? != expects_next)
        .then(|| format!("{} after page {page} of {limit} in a list of {count}", word(!expects_next)))
}

/// Judges a pass from its pages and the second looks at them (see [`closing_looks`]).
pub(crate) fn judge_pass(page_size: u32, mut page: impl FnMut(u32) -> Option<AlertPageOutline>) -> PassVerdict {
    let Some(first) = page(1) else { return PassVerdict::NeedsPages(1) };
    let last = pages_of(first.count, page_size);
    let mut missing = false;
    let mut counts_agree = true;
    let mut rows = first.ids.len() as u64;
    let mut ids: HashSet<AlertSummaryId> = first.ids.iter().copied().collect();
    if last == 1 {
        // One reply is one moment, but a row that comes twice may hide another. A page that was read in parts has more
        // rows than its count if rows moved meanwhile.
        let each_once = ids.len() as u64 == rows && rows == first.count;
        return if each_once { PassVerdict::Still } else { PassVerdict::Shifted };
    }
    let mut last_rows = HashMap::from([(1, first.possible_last_rows().to_vec())]);
    for number in 2..=last {
        match page(number) {
            Some(outline) => {
                last_rows.insert(number, outline.possible_last_rows().to_vec());
                counts_agree &= outline.count == first.count;
                rows += outline.ids.len() as u64;
                ids.extend(outline.ids);
            }
            None => missing = true,
        }
    }
    if missing {
        return PassVerdict::NeedsPages(last);
    }
    let each_once = rows == first.count && ids.len() as u64 == first.count;
    if !(counts_agree && each_once) {
        return PassVerdict::Shifted;
    }
    let mut still = true;
    let first_is_whole = first.num_set_aside == 0;
    for look in closing_looks(last, first_is_whole) {
        let Some(found) = page(look) else { return PassVerdict::NeedsClosingLooks { last, first_is_whole } };
        let is_in_place = match look {
            0 => found.ids == first.ids,
            look => {
                matches!((&*found.ids, last_rows.get(&(look - LAST_ROWS))), ([row], Some(last)) if last.contains(row))
            }
        };
        still &= found.count == first.count && is_in_place;
    }
    if still { PassVerdict::Still } else { PassVerdict::Shifted }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outline(count: u64, ids: impl IntoIterator<Item = u64>) -> AlertPageOutline {
        AlertPageOutline { count, ids: ids.into_iter().map(AlertSummaryId).collect(), num_set_aside: 0 }
    }

    fn judge(pages: &[Option<AlertPageOutline>]) -> PassVerdict {
        judge_pass(2, |n| pages.get(n as usize).cloned().flatten())
    }

    #[test]
    fn a_list_of_one_page_needs_no_second_look() {
        assert_eq!(judge(&[None, Some(outline(2, [9, 8]))]), PassVerdict::Still);
        assert_eq!(judge(&[None, Some(outline(0, []))]), PassVerdict::Still);
        assert_eq!(
            judge(&[None, Some(outline(2, [9, 9]))]),
            PassVerdict::Shifted,
            "one may be in the place of another"
        );
    }

    #[test]
    fn pages_are_asked_for_then_page_one_again() {
        assert_eq!(judge(&[None, None]), PassVerdict::NeedsPages(1));
        assert_eq!(judge(&[None, Some(outline(3, [9, 8]))]), PassVerdict::NeedsPages(2));
        let both = [None, Some(outline(3, [9, 8])), Some(outline(3, [7]))];
        assert_eq!(judge(&both), PassVerdict::NeedsClosingLooks { last: 2, first_is_whole: true });
        assert_eq!(
            closing_looks(2, true).collect::<Vec<_>>(),
            [0],
            "page 1 as a whole, and nothing comes after the last"
        );
        assert_eq!(closing_looks(4, true).collect::<Vec<_>>(), [0, LAST_ROWS + 2, LAST_ROWS + 3]);
        assert_eq!(closing_looks(2, false).collect::<Vec<_>>(), [LAST_ROWS + 1]);
    }

    /// Reads a list in pages of two, while `changed` takes its place before page `from`; then the second looks.
    fn read_while_it_changes(rows: &[u64], changed: &[u64], from: u32) -> PassVerdict {
        let list = |rows: &[u64], asked: AskedPage| {
            let (page, limit) = (asked.page as usize, asked.limit as usize);
            outline(rows.len() as u64, rows.chunks(limit).nth(page - 1).unwrap_or_default().iter().copied())
        };
        judge_pass(2, |page| {
            let is_late = page == 0 || page >= from;
            Some(list(if is_late { changed } else { rows }, AskedPage::of(page, 2)))
        })
    }

    #[test]
    fn a_row_that_left_and_another_that_came_on_later_pages_show_as_shifted() {
        let rows = [9, 8, 7, 6, 5, 4];
        assert_eq!(read_while_it_changes(&rows, &rows, 3), PassVerdict::Still);
        // 7 leaves after page 2, an old 3 comes back: every count is 6, page 1 is the same, and 5 is on no page read.
        assert_eq!(read_while_it_changes(&rows, &[9, 8, 6, 5, 4, 3], 3), PassVerdict::Shifted);
    }

    proptest! {
        #[test]
        fn a_pass_that_is_still_has_every_row_that_stayed(
            all in prop::collection::btree_map(1_u64..1000, (any::<bool>(), any::<bool>()), 1..40),
            from in 1_u32..22,
        ) {
            let rows = |then: fn(&(bool, bool)) -> bool| -> Vec<u64> {
                all.iter().rev().filter(|(_, state)| then(state)).map(|(id, _)| *id).collect()
            };
            let (before, after) = (rows(|state| state.0), rows(|state| state.1));
            let last = pages_of(before.len() as u64, 2);
            let verdict = read_while_it_changes(&before, &after, from);
            if verdict == PassVerdict::Still && last > 1 && from > 1 {
                let page = |number: u32| {
                    let list = if number >= from { &after } else { &before };
                    list.chunks(2).nth(number as usize - 1).unwrap_or_default().to_vec()
                };
                let read: HashSet<u64> = (1..=last).flat_map(page).collect();
                let lost = before.iter().find(|id| after.contains(id) && !read.contains(id));
                prop_assert_eq!(lost, None);
            }
        }
    }

    #[test]
    fn count_rows_and_next_must_agree() {
        let contradicts = |page, count, has_next, ids: &[u64]| {
            let ids: Vec<_> = ids.iter().copied().map(AlertSummaryId).collect();
            contradiction(AskedPage { page, limit: 2 }, count, has_next, &ids).is_some()
        };
        assert!(!contradicts(1, 3, Some(true), &[9, 8]) && !contradicts(2, 3, Some(false), &[7]));
        assert!(!contradicts(1, 0, Some(false), &[]) && !contradicts(1, 3, None, &[9, 8]));
        assert!(!contradicts(3, 2, Some(false), &[]), "a list that became shorter");
        assert!(contradicts(1, 3, Some(true), &[9]), "rows are missing");
        assert!(contradicts(1, 3, Some(true), &[9, 8, 7]), "more rows than asked for");
        assert!(contradicts(1, 1, Some(false), &[9, 8]) && contradicts(1, 0, Some(false), &[9]), "the count lies");
        assert!(contradicts(1, 3, Some(false), &[9, 8]) && contradicts(2, 3, Some(true), &[7]), "the link lies");
    }

    #[test]
    fn a_row_created_or_leaving_shows_as_shifted() {
        let still = [Some(outline(3, [9, 8])), Some(outline(3, [9, 8])), Some(outline(3, [7]))];
        assert_eq!(judge(&still), PassVerdict::Still);
        let created = [Some(outline(4, [10, 9])), Some(outline(3, [9, 8])), Some(outline(4, [8, 7]))];
        assert_eq!(judge(&created), PassVerdict::Shifted);
        let left = [Some(outline(2, [9, 7])), Some(outline(3, [9, 8])), Some(outline(2, []))];
        assert_eq!(judge(&left), PassVerdict::Shifted);
        let one_in_one_out = [Some(outline(3, [10, 9])), Some(outline(3, [9, 8])), Some(outline(3, [7]))];
        assert_eq!(judge(&one_in_one_out), PassVerdict::Shifted);
        let twice = [Some(outline(3, [9, 8])), Some(outline(3, [9, 8])), Some(outline(3, [8]))];
        assert_eq!(judge(&twice), PassVerdict::Shifted, "the row that came twice hides one that is missing");
    }
}
