//! How far the making of artifacts has come: which stage it is in and, of a pass over the data, how many signatures are
//! done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// Told by the reducers, read by whoever shows it.
#[derive(Debug, Default)]
pub struct Reducing {
    stage: Mutex<Option<&'static str>>,
    done: AtomicU64,
    total: AtomicU64,
}

/// Where the reducers are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReducingNow {
    /// What they do.
    pub stage: String,
    /// Signatures done, in a pass over the data; else 0.
    pub done: u64,
    /// Signatures to pass over; 0 in a stage that counts nothing.
    pub total: u64,
}

impl Reducing {
    /// Begins a stage that counts nothing.
    pub fn enter(&self, stage: &'static str) {
        self.pass(stage, 0);
    }

    /// Begins a pass over `total` signatures.
    pub fn pass(&self, stage: &'static str, total: u64) {
        self.done.store(0, Relaxed);
        self.total.store(total, Relaxed);
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some(stage);
    }

    /// Counts signatures that were passed over.
    pub fn add(&self, done: u64) {
        self.done.fetch_add(done, Relaxed);
    }

    /// The reducers have ended.
    pub fn leave(&self) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Where the reducers are; `None` while they do not work.
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
