//! The progress of the reducers: their stage and, during a pass over the data, the number of signatures done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Written by the reducers, read by displays.
#[derive(Debug, Default)]
pub struct Reducing {
    stage: Mutex<Option<&'static str>>,
    done: AtomicU64,
    total: AtomicU64,
}

/// The progress of the reducers at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReducingNow {
    /// For people: `reading`, `sorting`, …
    pub stage: String,
    /// Signatures done in a pass over the data, else 0.
    pub done: u64,
    /// Signatures in the pass; 0 in a stage without a count.
    pub total: u64,
}

impl Reducing {
    /// Begins a stage without a count.
    pub fn enter(&self, stage: &'static str) {
        self.pass(stage, 0);
    }

    /// Begins a pass over `total` signatures.
    pub fn pass(&self, stage: &'static str, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    /// Counts signatures that are done.
    pub fn add(&self, done: u64) {
        self.done.fetch_add(done, Relaxed);
    }

    /// Ends the last stage.
    pub fn leave(&self) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// `None` while the reducers do not run.
    #[must_use]
    pub fn now(&self) -> Option<ReducingNow> {
        let stage = (*self.stage.lock().unwrap_or_else(PoisonError::into_inner))?.to_owned();
        Some(ReducingNow { stage, done: self.done.load(Relaxed), total: self.total.load(Relaxed) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_begins_anew_and_ends() {
        let reducing = Reducing::default();
        assert_eq!(reducing.now(), None);
        reducing.pass("reading", 7);
        reducing.add(3);
        assert_eq!(reducing.now(), Some(ReducingNow { stage: "reading".to_owned(), done: 3, total: 7 }));
        reducing.enter("sorting");
        assert_eq!(reducing.now(), Some(ReducingNow { stage: "sorting".to_owned(), done: 0, total: 0 }));
        reducing.leave();
        assert_eq!(reducing.now(), None);
    }
}
