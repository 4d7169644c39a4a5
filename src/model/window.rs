//! Windows of time.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// A half-open window of time: with `start`, without `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Window {
    /// First instant inside.
    pub start: Timestamp,
    /// First instant after.
    pub end: Timestamp,
}

impl Window {
    /// True when `at` is in the window.
    #[must_use]
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// The gaps that `parts` leave in the window.
    #[must_use]
    pub fn gaps(&self, parts: impl IntoIterator<Item = Self>) -> Vec<Self> {
        let mut parts: Vec<Self> = parts.into_iter().collect();
        parts.sort_unstable_by_key(|part| part.start);
        let (mut gaps, mut covered_until) = (Vec::new(), self.start);
        for part in parts {
            if part.start > covered_until {
                gaps.push(Self { start: covered_until, end: part.start });
            }
            covered_until = covered_until.max(part.end);
        }
        if covered_until < self.end {
            gaps.push(Self { start: covered_until, end: self.end });
        }
        gaps
    }

    /// True if `parts` leave no gap in the window.
    #[must_use]
    pub fn is_covered(&self, parts: impl IntoIterator<Item = Self>) -> bool {
        self.gaps(parts).is_empty()
    }

    /// Whole seconds from start to end; 0 when the window is empty.
    #[must_use]
    pub fn secs(&self) -> i64 {
        (self.end.as_secs() - self.start.as_secs()).max(0)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_secs(n * 86_400)
    }

    fn days(start: i64, end: i64) -> Window {
        Window { start: day(start), end: day(end) }
    }

    #[test]
    fn the_gaps_of_a_window_are_outside_all_its_parts() {
        let whole = days(0, 8);
        assert_eq!(whole.gaps([whole]), []);
        assert_eq!(whole.gaps([days(0, 4), days(4, 8)]), []);
        assert_eq!(whole.gaps([days(0, 2), days(1, 4), days(4, 9)]), []);
        assert_eq!(whole.gaps([]), [whole]);
        assert_eq!(whole.gaps([days(0, 4)]), [days(4, 8)]);
        assert_eq!(whole.gaps([days(2, 4), days(5, 6), days(6, 8)]), [days(0, 2), days(4, 5)]);
        assert_eq!(whole.gaps([days(0, 5), days(1, 2), days(6, 7)]), [days(5, 6), days(7, 8)]);
    }
}
