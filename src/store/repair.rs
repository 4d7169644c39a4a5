//! Repair without the network: damaged answers go back to the frontier, so that the next crawl asks for them again; values
//! that follow from others are computed again.
//!
//! A repair works in portions, since all answers may be damaged. First the tally is marked as unfinished, last it is written
//! anew; a request changes its state within one portion. The tally shows a repair that was killed in between, and the next
//! run repeats it.

use std::collections::{BTreeSet, HashSet};

use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{Transactional as _, Tree};

use super::format::{META_BUSIEST, META_COUNTS, META_IDENTITY, META_STORE_ID, META_VALUES};
use super::value::seal_json;
use super::{CrawlIdentity, Damage, Ledger, Store, StoreError, Tally, frame};
use crate::actor::fail_point;
use crate::model::{Request, SignatureId, Timestamp};

/// The result of a repair.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Requests with damaged answers: back in the frontier.
    pub asked_again: BTreeSet<Request>,
    /// Signatures with damaged records: unknown until a list brings them back.
    pub forgotten: BTreeSet<SignatureId>,
    /// Damaged values that were computed again or were not needed.
    pub num_repaired: usize,
}

impl Repair {
    /// True when nothing was damaged.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.asked_again.is_empty() && self.num_repaired == 0
    }
}

/// Operations per transaction, about: sled keeps every page that a transaction replaces until its end.
const MAX_OPERATIONS: usize = if cfg!(debug_assertions) { 16 } else { 4096 };

/// A tree, a key in it, and its new value; `None` removes the entry.
type EntryChange<'a> = (&'a Tree, Vec<u8>, Option<Vec<u8>>);

/// Changes besides the states of the requests that are asked again.
#[derive(Debug, Default)]
struct Changes<'a> {
    meta: sled::Batch,
    entries: Vec<EntryChange<'a>>,
    /// Keys in `settled` that will not be there any more.
    unsettled: HashSet<Vec<u8>>,
}

impl<'a> Changes<'a> {
    fn remove(&mut self, tree: &'a Tree, key: Vec<u8>) {
        self.entries.push((tree, key, None));
    }
}

impl Store {
    /// Finds all damage and repairs it. Must not run beside a writer.
    ///
    /// # Errors
    /// [`StoreError`] when sled cannot read or write.
    pub fn repair(&self) -> Result<Repair, StoreError> {
        let mut damages = Vec::new();
        self.find_damage(|damage| {
            tracing::warn!("damaged: {damage}");
            damages.push(damage);
        })?;
        self.repair_damage(&damages, None)
    }

    /// Repairs `damages`. The ledger gives the content of a damaged description.
    pub(super) fn repair_damage(&self, damages: &[Damage], ledger: Option<&Ledger>) -> Result<Repair, StoreError> {
        let mut repair = Repair::default();
        if damages.is_empty() {
            return Ok(repair);
        }
        let read_ledger = Ledger::read(&self.path).ok().flatten();
        let ledger = ledger.or(read_ledger.as_ref());
        let mut changes = Changes::default();
        for damage in damages {
            self.plan_repair(damage, &mut repair, &mut changes);
        }
        changes.unsettled.extend(repair.asked_again.iter().map(Request::key));
        let counts = self.repair_description(ledger, &repair, &mut changes)?;
        drop(std::mem::take(&mut changes.unsettled)); // there may be a key for each answer
        self.apply(changes, &repair)?;
        self.load_pushes()?;
        self.write_ledger(&counts)?;
        Ok(repair)
    }

    fn plan_repair<'a>(&'a self, damage: &Damage, repair: &mut Repair, changes: &mut Changes<'a>) {
        if !matches!(damage, Damage::Answer { .. }) {
            repair.num_repaired += 1;
        }
        match damage {
            Damage::Answer { request, .. } => drop(repair.asked_again.insert(*request)),
            Damage::State { tree, key, .. } => {
                let request = Request::from_key(key);
                match *tree {
                    "set_aside" => changes.remove(&self.set_aside, key.clone()),
                    // Its outcome or its failure cannot be known any more, so it is asked again.
                    "settled" | "failed" if request.is_some() => repair.asked_again.extend(request),
                    "pending" if request.is_some() => {
                        changes.entries.push((&self.pending, key.clone(), Some(no_time())));
                    }
                    "provenance" => changes.remove(&self.provenance, key.clone()),
                    "settled" => changes.remove(&self.settled, key.clone()),
                    "failed" => changes.remove(&self.failed, key.clone()),
                    _ => changes.remove(&self.pending, key.clone()),
                }
                if request.is_none() {
                    changes.unsettled.insert(key.clone());
                }
            }
            Damage::Twice { tree, request } => match *tree {
                "pending" => changes.remove(&self.pending, request.key()),
                "failed" => changes.remove(&self.failed, request.key()),
                _ => {
                    changes.remove(&self.settled, request.key());
                    changes.unsettled.insert(request.key());
                }
            },
            Damage::Signature { key, .. } => {
                // The list, asked again, brings it back. Otherwise a signature that the server has removed from its list
                // would stay damaged for ever.
                let id = key.as_slice().try_into().map(u64::from_be_bytes);
                repair.forgotten.extend(id.map(SignatureId));
                changes.remove(&self.signature_ids, key.clone());
            }
            Damage::Push { key, .. } => changes.remove(&self.pushes, key.clone()),
            Damage::Description { .. } => {} // see `repair_description`
        }
    }

    /// Computes the description again; returns the new tally.
    fn repair_description(
        &self,
        ledger: Option<&Ledger>,
        repair: &Repair,
        changes: &mut Changes<'_>,
    ) -> Result<Tally, StoreError> {
        let known = ledger.map(|ledger| ledger.counts.clone()).unwrap_or_default();
        let before = self.get_meta::<Tally>(META_COUNTS).ok().flatten().unwrap_or_else(|| known.clone());
        let mut counts = self.recount(&before, &changes.unsettled)?;
        for request in &repair.asked_again {
            counts.of_mut(request.kind()).pending += 1;
        }
        counts.commits += 1;
        changes.meta.insert(META_COUNTS, seal_json(&counts)?);
        if !matches!(self.get_meta::<String>(META_STORE_ID), Ok(Some(_))) {
            let fresh = || format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
            let id = ledger.map_or_else(fresh, |ledger| ledger.store_id.clone());
            changes.meta.insert(META_STORE_ID, seal_json(&id)?);
        }
        if self.get_meta::<String>(META_BUSIEST).is_err() {
            changes.meta.remove(META_BUSIEST);
        }
        let pinned = self.get_meta::<CrawlIdentity>(META_IDENTITY);
        if !matches!(pinned, Ok(Some(_))) {
            match ledger.and_then(|ledger| ledger.identity.as_ref()) {
                Some(identity) => changes.meta.insert(META_IDENTITY, seal_json(identity)?),
                None => pinned.map(drop)?,
            }
        }
        Ok(counts)
    }

    fn apply(&self, changes: Changes<'_>, repair: &Repair) -> Result<(), StoreError> {
        if let Ok(Some(mut counts)) = self.get_meta::<Tally>(META_COUNTS) {
            counts.finished = false;
            self.put_meta(META_COUNTS, &counts)?;
            self.flush("flush a repair")?;
            if let Ok(Some(mut ledger)) = Ledger::read(&self.path) {
                ledger.counts.finished = false;
                ledger.write(&self.path)?;
            }
        }
        for portion in changes.entries.chunks(MAX_OPERATIONS) {
            let mut batches: Vec<(&Tree, sled::Batch)> = Vec::new();
            for (tree, key, value) in portion {
                let known = batches.iter().position(|(known, _)| std::ptr::eq(*known, *tree));
                let at = known.unwrap_or_else(|| {
                    batches.push((tree, sled::Batch::default()));
                    batches.len() - 1
                });
                match value {
                    Some(value) => batches[at].1.insert(key.as_slice(), value.as_slice()),
                    None => batches[at].1.remove(key.as_slice()),
                }
            }
            transact(&batches)?;
        }
        let asked_again: Vec<&Request> = repair.asked_again.iter().collect();
        for portion in asked_again.chunks(MAX_OPERATIONS / 3) {
            let [mut settled, mut failed, mut pending]: [sled::Batch; 3] = Default::default();
            for request in portion {
                let key = request.key();
                settled.remove(key.as_slice());
                failed.remove(key.as_slice());
                pending.insert(key, no_time());
            }
            transact(&[(&self.settled, settled), (&self.failed, failed), (&self.pending, pending)])?;
            fail_point("repair.within");
        }
        // Values behind the end of a file that was cut are pending again now, so their loss is accepted. Until here, the
        // store is refused.
        self.flush("flush a repair")?;
        let accepted = self.values.accept_loss(self.known_values().unwrap_or_default());
        accepted.map_err(|source| StoreError::Folder { path: self.values.path().to_owned(), source })?;
        let mut meta = changes.meta;
        meta.insert(META_VALUES, seal_json(&self.values.len())?);
        transact(&[(&self.meta, meta)])?;
        self.flush("flush a repair")
    }
}

fn transact(batches: &[(&Tree, sled::Batch)]) -> Result<(), StoreError> {
    let trees: Vec<&Tree> = batches.iter().map(|(tree, _)| *tree).collect();
    let done: Result<(), TransactionError<()>> = trees.as_slice().transaction(|views| {
        for (view, (_, batch)) in views.iter().zip(batches) {
            view.apply_batch(batch).map_err(ConflictableTransactionError::from)?;
        }
        Ok(())
    });
    match done {
        Ok(()) => Ok(()),
        Err(TransactionError::Storage(source)) => Err(StoreError::database("store a repair", source)),
        Err(TransactionError::Abort(())) => Err(StoreError::WriterStopped),
    }
}

/// The value of a pending request of unknown age; such requests are asked first.
fn no_time() -> Vec<u8> {
    frame::seal(&Timestamp::default().as_micros().to_be_bytes())
}
