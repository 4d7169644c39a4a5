//! Changes to the data while the server runs: alert summaries appear and leave, jobs expire.
//!
//! A `World` is a data set plus these changes; the endpoints answer from it.

use std::collections::HashSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::alert_record::AlertRecord;
use crate::dataset::{AlertHead, Dataset};
use crate::error::SimulatorError;
use crate::history::History;
use crate::json_text::OrderedObject;

/// A change of the list of alert summaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AlertChange {
    /// Adds a summary: its record as JSON, with at least `id`, `created`, `push_timestamp`, `repository`, `framework`
    /// and `status`. The list is sorted by `created`.
    Create(String),
    /// Marks the summary with this id as invalid (status 3), so that `hide_related_and_invalid` hides it.
    Leave(u64),
}

/// The status that hides a summary.
const INVALID: u64 = 3;

#[derive(Clone, Debug)]
enum Pending {
    Create(AlertRecord),
    Leave(u64),
}

/// The changes in force, and those that wait for a number of requests.
#[derive(Debug, Default)]
pub(crate) struct Alterations {
    deleted_jobs: HashSet<u64>,
    created: Vec<AlertRecord>,
    left: HashSet<u64>,
    num_alert_requests: u64,
    pending: Vec<(u64, Pending)>,
}

impl Alterations {
    pub(crate) fn is_deleted(&self, job_id: u64) -> bool {
        !self.deleted_jobs.is_empty() && self.deleted_jobs.contains(&job_id)
    }

    pub(crate) fn has_deleted_jobs(&self) -> bool {
        !self.deleted_jobs.is_empty()
    }

    pub(crate) fn created(&self) -> &[AlertRecord] {
        &self.created
    }

    /// The head with the changes applied.
    pub(crate) fn alter(&self, mut head: AlertHead) -> AlertHead {
        if self.left.contains(&head.id) {
            head.status = INVALID;
        }
        head
    }

    /// The record with the changes applied.
    pub(crate) fn alter_text(&self, id: u64, text: Vec<u8>) -> Vec<u8> {
        if !self.left.contains(&id) {
            return text;
        }
        match serde_json::from_slice::<OrderedObject<'_>>(&text) {
            Ok(record) => record.with(&[("status", INVALID.to_string())]).into_bytes(),
            Err(_) => text,
        }
    }

    fn apply(&mut self, change: Pending) {
        match change {
            Pending::Create(alert) => self.created.push(alert),
            Pending::Leave(id) => {
                self.left.insert(id);
            }
        }
    }
}

/// A data set, its history, the changes to it, and the clock.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) dataset: Arc<dyn Dataset>,
    pub(crate) history: History,
    /// Seconds since the epoch; it only rises.
    clock: AtomicI64,
    alterations: RwLock<Alterations>,
}

impl World {
    pub(crate) fn new(dataset: Arc<dyn Dataset>, history: History, now: Option<i64>) -> Self {
        let clock = AtomicI64::new(now.unwrap_or_else(|| dataset.now()));
        Self { dataset, history, clock, alterations: RwLock::default() }
    }

    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Moves the clock; returns its time before.
    ///
    /// # Errors
    /// The clock is already past this time.
    pub(crate) fn set_now(&self, now: i64) -> Result<i64, SimulatorError> {
        self.clock
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| (before <= now).then_some(now))
            .map_err(|before| SimulatorError::ClockBack { now: before, asked: now })
    }

    /// Moves the clock on; returns its times before and after.
    pub(crate) fn advance(&self, seconds: i64) -> (i64, i64) {
        let before =
            self.clock.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| Some(now.saturating_add(seconds)));
        let before = before.unwrap_or_else(|before| before);
        (before, before.saturating_add(seconds))
    }

    /// When a signature is deleted, with its parent or alone; seconds.
    pub(crate) fn vanishing(&self, signature: u64, parent: Option<u64>) -> i64 {
        let span = (self.dataset.start(), self.dataset.now());
        let vanishing = |id| self.history.vanishing(id, span);
        vanishing(signature).min(parent.map_or(i64::MAX, vanishing))
    }

    pub(crate) fn alterations(&self) -> RwLockReadGuard<'_, Alterations> {
        self.alterations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn alter(&self) -> RwLockWriteGuard<'_, Alterations> {
        self.alterations.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn delete_job(&self, id: u64) {
        self.alter().deleted_jobs.insert(id);
    }

    /// Applies a change once this many alert requests have been answered; immediately if they already have.
    pub(crate) fn after(&self, num_alert_requests: u64, change: AlertChange) -> Result<(), SimulatorError> {
        let change = match change {
            AlertChange::Leave(id) => Pending::Leave(id),
            AlertChange::Create(record) => Pending::Create(self.read_alert(&record)?),
        };
        let mut alterations = self.alter();
        if alterations.num_alert_requests >= num_alert_requests {
            alterations.apply(change);
        } else {
            alterations.pending.push((num_alert_requests, change));
        }
        Ok(())
    }

    /// Counts an answered alert request, and applies the changes that waited for it.
    pub(crate) fn alert_request_answered(&self) {
        let mut alterations = self.alter();
        alterations.num_alert_requests += 1;
        let count = alterations.num_alert_requests;
        let (due, waiting) = std::mem::take(&mut alterations.pending).into_iter().partition(|(n, _)| *n <= count);
        alterations.pending = waiting;
        let due: Vec<(u64, Pending)> = due;
        for (_, change) in due {
            alterations.apply(change);
        }
    }

    fn read_alert(&self, record: &str) -> Result<AlertRecord, SimulatorError> {
        AlertRecord::read(record, |name| self.dataset.repository(name).map(|repository| repository.id))
            .map_err(|source| SimulatorError::AlertRecord { source })
    }
}
