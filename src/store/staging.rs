//! The changes that the writer is about to commit: records, changes of the frontier, and the resulting tally.
//!
//! Changes are idempotent: a settled request is not settled again, a known request is not added again. Reading before writing
//! is safe because there is only one writer.

mod harvest;
mod odd;

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::database::{Changes, Durability};
use super::format::META_COUNTS;
use super::settlement::job_digest;
use super::tree::Tree;
use super::trees::{FAILED, META, Operation, PENDING, PROVENANCE, PUSHES, SET_ASIDE, SETTLED, SIGNATURE_IDS};
use super::value::{Failure, FramedRecord, Pending, Provenance, Settled, open_json, seal_json};
use super::{Outcome, Settlement, Store, StoreError, Tally, frame, key};
use crate::actor::Room;
use crate::model::{FIRST_HARVEST, JobId, PushId, Request, Revision, Timestamp};
use foldhash::fast::RandomState;

/// Operations per transaction, about. A larger settlement (a list of 10^5 signatures) takes several. A request leaves one
/// state and enters the next in the same transaction, and becomes settled in the last one, so that after a crash in between
/// it is only repeated. Debug builds use fewer, so that the crash tests can stop between transactions.
const MAX_OPERATIONS: usize = if cfg!(debug_assertions) { 64 } else { 4096 };

#[derive(Clone, Debug)]
enum State {
    Unknown,
    Pending,
    Settled(Settled),
    Failed(Failure),
}

/// Jobs that a writer has seen: a job that is known once stays known in every later state. Holds the latest ones, some
/// megabytes.
#[derive(Debug, Default)]
pub(super) struct KnownJobs(HashSet<JobId, RandomState>);

impl KnownJobs {
    const MOST: usize = 1 << 18;

    /// False when the job was known.
    fn insert(&mut self, id: JobId) -> bool {
        if self.0.len() >= Self::MOST {
            self.0.clear();
        }
        self.0.insert(id)
    }
}

/// Changes before their commit.
pub(super) struct Staging<'a> {
    pub(super) store: &'a Store,
    changes: Changes,
    /// Of the staged answers: their records take memory until they are committed.
    rooms: Vec<Room>,
    /// States after the changes, which the trees do not have yet.
    states: HashMap<Vec<u8>, State, RandomState>,
    /// Entries of `set_aside` after the batches: whether the record was corrected; `None` for an entry that is removed.
    odd: BTreeMap<Vec<u8>, Option<bool>>,
    counts: Tally,
    /// Number of the newest harvest.
    pub(super) harvest: u16,
    /// See [`Staging::finish`].
    finishes: bool,
    durable_pushes: &'a mut HashSet<PushId>,
    new_pushes: Vec<PushId>,
    /// Jobs in any state that a writer remembers from commit to commit: most data refer to jobs that earlier data referred
    /// to.
    known_jobs: Option<&'a mut KnownJobs>,
    durability: Durability,
}

impl<'a> Staging<'a> {
    /// # Errors
    /// [`StoreError`] if the harvests cannot be read.
    pub(super) fn new(
        store: &'a Store,
        counts: Tally,
        durable_pushes: &'a mut HashSet<PushId>,
    ) -> Result<Self, StoreError> {
        let harvest = store.harvest_number()?;
        Ok(Self {
            store,
            changes: Changes::default(),
            rooms: Vec::new(),
            states: HashMap::default(),
            odd: BTreeMap::new(),
            counts,
            harvest,
            finishes: false,
            durable_pushes,
            new_pushes: Vec::new(),
            known_jobs: None,
            durability: Durability::Now,
        })
    }

    /// Looks up jobs in `known_jobs` first.
    pub(super) fn with_known_jobs(self, known_jobs: &'a mut KnownJobs) -> Self {
        Self { known_jobs: Some(known_jobs), ..self }
    }

    /// Changes of a new store, which nobody uses before it is complete.
    pub(super) fn of_unfinished(
        store: &'a Store,
        counts: Tally,
        durable_pushes: &'a mut HashSet<PushId>,
    ) -> Result<Self, StoreError> {
        Ok(Self { durability: Durability::AtTheEnd, ..Self::new(store, counts, durable_pushes)? })
    }

    /// Writes the changes. Returns the tally.
    pub(super) fn commit(mut self) -> Result<Tally, StoreError> {
        self.transact()?;
        Ok(self.counts)
    }

    /// Stages an answer. Returns the requests that it adds to the frontier.
    pub(super) fn settle(&mut self, settlement: Settlement) -> Result<Vec<Pending>, StoreError> {
        self.rooms.push(settlement.room);
        for part in settlement.listed {
            self.put_records(part.records()?)?;
        }
        self.put_records(settlement.records)?;
        for id in settlement.signature_ids {
            if self.harvest == FIRST_HARVEST || !self.store.lists_signature(id)? {
                self.put(SIGNATURE_IDS, id.0.to_be_bytes().to_vec(), Vec::new());
                self.transact_if_full()?;
            }
        }
        self.put_pushes(settlement.pushes);
        let fresh = self.discover(&settlement.discovered)?;
        let mut first = true;
        for (request, settled) in settlement.settled {
            self.transact_if_full()?;
            let settled = self.of_this_harvest(&request, settled)?;
            let state = self.state(&request)?;
            if matches!(state, State::Settled(_)) {
                continue;
            }
            let odd = settlement.odd.iter().filter(|(of, _)| *of == request).map(|(_, odd)| odd);
            self.put_odd(&request, odd, settlement.provenance.fetched_at)?;
            self.leave(&request, &state)?;
            let key = request.key();
            let kind = self.counts.of_mut(request.kind());
            *kind.of_outcome(settled.outcome) += 1;
            kind.records += u64::from(settled.num_records);
            if first {
                kind.attempts += u64::from(settlement.provenance.attempts);
                kind.body_bytes += settlement.provenance.body_bytes;
            }
            self.counts.add_digest(request.kind(), settled.digest);
            // Once for all jobs of a reply. Skipped requests and imported files have no origin.
            if first && settlement.provenance != Provenance::default() && settled.outcome != Outcome::Skipped {
                self.put_provenance(&key, &settlement.provenance)?;
            }
            self.put(SETTLED, key.clone(), settled.seal());
            self.states.insert(key, State::Settled(settled));
            first = false;
        }
        Ok(fresh)
    }

    fn put_records(&mut self, records: Vec<FramedRecord>) -> Result<(), StoreError> {
        let mut records = records.into_iter().peekable();
        while let Some((piece_key, framed)) = records.next() {
            match key::versioned(&piece_key) {
                None => self.put_value(piece_key, framed),
                Some(record_key) => {
                    let record_key = record_key.to_vec();
                    let mut pieces = vec![(piece_key, framed)];
                    while let Some(piece) = records.next_if(|(key, _)| key::versioned(key) == Some(&record_key)) {
                        pieces.push(piece);
                    }
                    self.put_record(&record_key, pieces)?;
                }
            }
            self.transact_if_full()?;
        }
        Ok(())
    }

    /// The settlement as it is stored: with the harvest, and never as gone where the record of the job is known.
    fn of_this_harvest(&mut self, request: &Request, settled: Settled) -> Result<Settled, StoreError> {
        match *request {
            Request::Summary { .. } => Ok(settled),
            Request::Job { id } if settled.outcome != Outcome::Data && self.harvest > FIRST_HARVEST => {
                match self.store.text(&key::job(id)) {
                    Ok(Some(record)) => {
                        let digest = job_digest(request, &record);
                        let kept = Settled { outcome: Outcome::Data, num_records: 1, digest, ..settled };
                        Ok(Settled { harvest: self.harvest, ..kept })
                    }
                    Ok(None) => Ok(Settled { harvest: self.harvest, ..settled }),
                    Err(_) => {
                        self.remove_pieces_from(&key::job(id), 0)?; // it was damaged
                        Ok(Settled { harvest: self.harvest, ..settled })
                    }
                }
            }
            _ => Ok(Settled { harvest: self.harvest, ..settled }),
        }
    }

    /// Stages pushes that columns refer to.
    pub(super) fn put_pushes(&mut self, pushes: Vec<(PushId, Revision)>) {
        for (push, revision) in pushes {
            if !self.durable_pushes.contains(&push) {
                self.put(PUSHES, key::push(push).to_vec(), frame::seal(&revision.0));
                self.durable_pushes.insert(push);
                self.new_pushes.push(push);
            }
        }
    }

    /// Stages requests for the frontier; returns those that were unknown.
    pub(super) fn discover(&mut self, discovered: &[Pending]) -> Result<Vec<Pending>, StoreError> {
        let mut fresh = Vec::new();
        for pending in discovered {
            if let (Some(known), Request::Job { id }) = (&mut self.known_jobs, pending.request)
                && !known.insert(id)
            {
                continue;
            }
            if matches!(self.state(&pending.request)?, State::Unknown) {
                self.enter(pending);
                self.transact_if_full()?;
                fresh.push(*pending);
            }
        }
        Ok(fresh)
    }

    /// Stages a failure: the next run asks again. `charge` adds its attempts to the tally, once a batch.
    pub(super) fn fail(&mut self, request: &Request, failure: &Failure, charge: bool) -> Result<(), StoreError> {
        let state = self.state(request)?;
        if matches!(state, State::Settled(_)) {
            return Ok(());
        }
        self.leave(request, &state)?;
        let key = request.key();
        let kind = self.counts.of_mut(request.kind());
        kind.failed += 1;
        if charge {
            kind.attempts += u64::from(failure.attempts);
        }
        let mut failure = failure.clone();
        match state {
            State::Failed(before) => {
                failure.attempts += before.attempts;
                failure.submitted = before.submitted;
            }
            // Keep its age: it tells when the server will delete the job.
            State::Pending => failure.submitted = self.store.submitted(request)?.unwrap_or(failure.submitted),
            State::Unknown | State::Settled(_) => {}
        }
        self.put(FAILED, key.clone(), seal_json(&failure)?);
        self.states.insert(key, State::Failed(failure));
        self.transact_if_full()
    }

    /// Stages the replacement of a request by its parts; returns the parts that were unknown.
    pub(super) fn replace(
        &mut self,
        request: &Request,
        parts: &[Pending],
        attempts: u32,
    ) -> Result<Vec<Pending>, StoreError> {
        let state = self.state(request)?;
        if matches!(state, State::Settled(_)) {
            return Ok(Vec::new());
        }
        // One transaction for all: with both the whole and its parts in the store, data would be counted twice.
        let mut fresh = Vec::new();
        for part in parts {
            if matches!(self.state(&part.request)?, State::Unknown) {
                self.enter(part);
                fresh.push(*part);
            }
        }
        self.leave(request, &state)?;
        self.counts.of_mut(request.kind()).attempts += u64::from(attempts);
        self.states.insert(request.key(), State::Unknown);
        self.transact_if_full()?;
        Ok(fresh)
    }

    /// Stages the return of a failed or damaged request to the frontier.
    pub(super) fn ask_again(&mut self, request: &Request, submitted: Timestamp) -> Result<(), StoreError> {
        let state = self.state(request)?;
        if matches!(state, State::Pending) {
            return Ok(());
        }
        self.leave(request, &state)?;
        self.enter(&Pending { request: *request, submitted });
        self.transact_if_full()
    }

    fn enter(&mut self, pending: &Pending) {
        let key = pending.request.key();
        self.counts.of_mut(pending.request.kind()).pending += 1;
        let submitted = pending.submitted.as_micros().to_be_bytes();
        self.put(PENDING, key.clone(), frame::seal(&submitted));
        self.states.insert(key, State::Pending);
    }

    /// Removes a request from its state. It must enter the next one before a transaction.
    fn leave(&mut self, request: &Request, state: &State) -> Result<(), StoreError> {
        let key = request.key();
        match state {
            State::Unknown => {}
            State::Pending => {
                self.counts.of_mut(request.kind()).pending -= 1;
                self.remove(PENDING, key);
            }
            State::Failed(_) => {
                self.counts.of_mut(request.kind()).failed -= 1;
                self.remove(FAILED, key);
            }
            State::Settled(settled) => {
                let kind = self.counts.of_mut(request.kind());
                *kind.of_outcome(settled.outcome) -= 1;
                kind.records = kind.records.saturating_sub(u64::from(settled.num_records));
                self.counts.subtract_digest(request.kind(), settled.digest);
                self.remove(SETTLED, key);
                self.remove_odd(request)?;
            }
        }
        Ok(())
    }

    fn state(&self, request: &Request) -> Result<State, StoreError> {
        let key = request.key();
        if let Some(state) = self.states.get(&key) {
            return Ok(state.clone());
        }
        let get = |tree: &Tree| tree.get(&key).map_err(|source| StoreError::database("read the frontier", source));
        if let Some(framed) = get(&self.store.settled)? {
            return Ok(State::Settled(Settled::open(&key, &framed)?));
        }
        if get(&self.store.pending)?.is_some() {
            return Ok(State::Pending);
        }
        match get(&self.store.failed)? {
            Some(framed) => Ok(State::Failed(open_json("failed", &key, &framed)?)),
            None => Ok(State::Unknown),
        }
    }

    fn put_provenance(&mut self, key: &[u8], provenance: &Provenance) -> Result<(), StoreError> {
        self.put(PROVENANCE, key.to_vec(), seal_json(provenance)?);
        Ok(())
    }

    /// Stages a part of the store's description of itself.
    pub(super) fn describe<T: Serialize>(&mut self, key: &[u8], value: &T) -> Result<(), StoreError> {
        self.put(META, key.to_vec(), seal_json(value)?);
        Ok(())
    }

    /// Stages a framed value of the tree `records`.
    pub(super) fn put_value(&mut self, key: Vec<u8>, framed: Vec<u8>) {
        self.changes.records.push((key, framed));
    }

    pub(super) fn stage(&mut self, operation: Operation) {
        self.changes.operations.push(operation);
    }

    fn put(&mut self, tree: usize, key: Vec<u8>, value: Vec<u8>) {
        self.changes.operations.push(Operation { tree, key, value: Some(value) });
    }

    fn remove(&mut self, tree: usize, key: Vec<u8>) {
        self.changes.operations.push(Operation { tree, key, value: None });
    }

    /// Commits the changes so far if there are many; call it only where every request is in one state.
    fn transact_if_full(&mut self) -> Result<(), StoreError> {
        if self.changes.len() >= MAX_OPERATIONS { self.transact() } else { Ok(()) }
    }

    fn transact(&mut self) -> Result<(), StoreError> {
        if self.changes.len() == 0 && !self.finishes {
            return Ok(());
        }
        self.counts.commits += 1;
        self.counts.finished = self.finishes;
        let counts = seal_json(&self.counts)?;
        self.put(META, META_COUNTS.to_vec(), counts);
        let changes = std::mem::take(&mut self.changes);
        if let Err(error) = self.store.write(changes, self.durability) {
            for push in &self.new_pushes {
                self.durable_pushes.remove(push);
            }
            return Err(error);
        }
        self.states.clear(); // the trees have them now
        self.odd.clear();
        Ok(())
    }
}
