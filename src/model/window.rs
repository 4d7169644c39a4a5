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
