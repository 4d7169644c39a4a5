//! Paging through the alert summaries while the list moves.
//!
//! The list is newest first and shifts while it is read: a new summary pushes rows to later pages (one row comes twice,
//! the new one never), a summary that leaves the filter pulls rows up (one row is lost). So all pages are read, then page
//! 1 once more. The list was still only if every page reported the same count, every row came once, and page 1 holds the
//! same rows. If not, the list is read again in another pass. The dataset holds the rows of the last pass, each id once.

use std::collections::HashSet;

use crate::model::AlertSummaryId;

/// The part of a page that a pass is judged by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlertPageOutline {
    /// Summaries in the whole list, as the server counted them for this page.
    pub(crate) count: u64,
    /// The ids on the page, as listed.
    pub(crate) ids: Vec<AlertSummaryId>,
}

/// The verdict on a pass over the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PassVerdict {
    /// Pages up to this number are missing.
    NeedsPages(u32),
    /// All pages are there; page 1 must be read once more.
    NeedsClosingLook,
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

/// Judges a pass from its pages (`page(0)` is the closing look).
pub(crate) fn judge_pass(page_size: u32, mut page: impl FnMut(u32) -> Option<AlertPageOutline>) -> PassVerdict {
    let Some(first) = page(1) else { return PassVerdict::NeedsPages(1) };
    let last = pages_of(first.count, page_size);
    if last == 1 {
        return PassVerdict::Still; // one reply is one moment
    }
    let mut missing = false;
    let mut counts_agree = true;
    let mut rows = first.ids.len() as u64;
    let mut ids: HashSet<AlertSummaryId> = first.ids.iter().copied().collect();
    for number in 2..=last {
        match page(number) {
            Some(outline) => {
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
    let Some(closing) = page(0) else { return PassVerdict::NeedsClosingLook };
    let each_once = rows == first.count && ids.len() as u64 == first.count;
    let still = counts_agree && closing.count == first.count && closing.ids == first.ids && each_once;
    if still { PassVerdict::Still } else { PassVerdict::Shifted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outline(count: u64, ids: impl IntoIterator<Item = u64>) -> AlertPageOutline {
        AlertPageOutline { count, ids: ids.into_iter().map(AlertSummaryId).collect() }
    }

    fn judge(pages: &[Option<AlertPageOutline>]) -> PassVerdict {
        judge_pass(2, |n| pages.get(n as usize).cloned().flatten())
    }

    #[test]
    fn a_list_of_one_page_needs_no_second_look() {
        assert_eq!(judge(&[None, Some(outline(2, [9, 8]))]), PassVerdict::Still);
        assert_eq!(judge(&[None, Some(outline(0, []))]), PassVerdict::Still);
    }

    #[test]
    fn pages_are_asked_for_then_page_one_again() {
        assert_eq!(judge(&[None, None]), PassVerdict::NeedsPages(1));
        assert_eq!(judge(&[None, Some(outline(3, [9, 8]))]), PassVerdict::NeedsPages(2));
        let both = [None, Some(outline(3, [9, 8])), Some(outline(3, [7]))];
        assert_eq!(judge(&both), PassVerdict::NeedsClosingLook);
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
