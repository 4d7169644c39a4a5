//! The slice of a list of commits that a window selects: by position, because the dates of neighbours are out of order.

use crate::model::Timestamp;

/// Positions that are tried before the first late date, and after it.
const TRIED: (usize, usize) = (2, 3);

/// The position that best separates the dates before `bound` from the others; the length if no date is late. Of the two
/// positions before and the three behind, as many as possible are on their side; then as many late ones as possible, then the
/// nearest to the first late date, then the smallest.
pub(super) fn cut(dates: &[Option<Timestamp>], bound: Timestamp) -> usize {
    let date = |at: usize| dates.get(at).copied().flatten();
    let is_late = |at: usize| date(at).is_some_and(|date| date >= bound);
    let is_early = |at: usize| date(at).is_some_and(|date| date < bound);
    let Some(first) = (0..dates.len()).find(|at| is_late(*at)) else { return dates.len() };
    let score = |at: usize| {
        let right = (at..at + 3).filter(|at| is_late(*at)).count();
        let left = (at.saturating_sub(2)..at).filter(|at| is_early(*at)).count();
        (left + right, right, std::cmp::Reverse(at.abs_diff(first)), std::cmp::Reverse(at))
    };
    let tried = first.saturating_sub(TRIED.0)..=(first + TRIED.1).min(dates.len());
    tried.max_by_key(|at| score(*at)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn dates(text: &str) -> Vec<Option<Timestamp>> {
        let date = |letter: char| match letter {
            'e' => Some(Timestamp::from_secs(5)),
            'l' => Some(Timestamp::from_secs(10)),
            _ => None,
        };
        text.chars().map(date).collect()
    }

    #[test]
    fn stray_dates_do_not_move_the_cut() {
        for (text, expected) in [
            ("", 0),
            ("eee", 3),
            ("lll", 0),
            ("eelll", 2),
            ("eeleellll", 5), // a late date among early ones; three to the right are tried
            ("eeleeelll", 3), // the better cut is out of reach
            ("eelell", 2),
            ("eellel", 2),
            ("ee??lll", 4),
            ("l", 0),
            ("eeeel", 4),
            ("leee", 0),
        ] {
            let found = cut(&dates(text), Timestamp::from_secs(10));
            assert_eq!(found, naive(&dates(text), Timestamp::from_secs(10)), "{text}");
            if !matches!(text, "eeleeelll" | "leee") {
                assert_eq!(found, expected, "{text}");
            }
        }
    }

    /// The definition, word by word.
    fn naive(dates: &[Option<Timestamp>], bound: Timestamp) -> usize {
        let len = i64::try_from(dates.len()).unwrap();
        let get = |at: i64| usize::try_from(at).ok().and_then(|at| dates.get(at).copied().flatten());
        let Some(raw) = (0..len).find(|at| get(*at).is_some_and(|date| date >= bound)) else { return dates.len() };
        let mut best: Option<(i64, i64, i64, i64)> = None;
        for candidate in raw - 2..=raw + 3 {
            if candidate < 0 || candidate > len {
                continue;
            }
            let count = |offsets: &[i64], late: bool| {
                let on_side = |date: Timestamp| (date >= bound) == late;
                i64::try_from(offsets.iter().filter(|of| get(candidate + **of).is_some_and(on_side)).count()).unwrap()
            };
            let (right, left) = (count(&[0, 1, 2], true), count(&[-2, -1], false));
            let rank = (left + right, right, -(candidate - raw).abs(), -candidate);
            if best.is_none_or(|best| rank > best) {
                best = Some(rank);
            }
        }
        usize::try_from(-best.unwrap().3).unwrap()
    }

    proptest! {
        #[test]
        fn any_list_is_cut_where_the_definition_says(text in "[el?]{0,24}") {
            let dates = dates(&text);
            prop_assert_eq!(cut(&dates, Timestamp::from_secs(10)), naive(&dates, Timestamp::from_secs(10)));
        }

        #[test]
        fn dates_in_order_are_cut_at_the_bound(early in 0_usize..20, late in 0_usize..20) {
            let dates = dates(&("e".repeat(early) + &"l".repeat(late)));
            prop_assert_eq!(cut(&dates, Timestamp::from_secs(10)), early);
        }
    }
}
