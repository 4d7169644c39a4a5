//! Repair without the network: damaged answers go back to the frontier, so that the next crawl asks for them again; values
//! that follow from others are computed again.
//!
//! A repair works in portions, since all answers may be damaged. First the tally is marked as unfinished, last it is written
//! anew; a request changes its state within one portion. The tally shows a repair that was killed in between, and the next
//! run repeats it.

use std::collections::{BTreeSet, HashSet};

use super::database::{Changes, Durability};
use super::format::{META_BUSIEST, META_COUNTS, META_HARVESTS, META_IDENTITY, META_STORE_ID};
use super::group::Position;
use super::replay::{Reader, replay};
use super::trees::{
    FAILED, META, Operation, PENDING, PROVENANCE, PUSHES, RECORDS, SET_ASIDE, SETTLED, SIGNATURE_IDS, UNLISTED,
};
use super::value::seal_json;
use super::{CrawlIdentity, Damage, Harvest, Ledger, Store, StoreError, Tally, frame};
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

/// Operations per commit, about.
const MAX_OPERATIONS: usize = if cfg!(debug_assertions) { 16 } else { 4096 };

/// Changes besides the states of the requests that are asked again.
#[derive(Debug, Default)]
struct Plan {
    meta: Vec<Operation>,
    entries: Vec<Operation>,
    /// Keys in `settled` that will not be there any more.
    unsettled: HashSet<Vec<u8>>,
}

impl Plan {
    fn remove(&mut self, tree: usize, key: Vec<u8>) {
        self.entries.push(Operation { tree, key, value: None });
    }

    fn describe(&mut self, key: &[u8], value: Option<Vec<u8>>) {
        self.meta.push(Operation { tree: META, key: key.to_vec(), value });
    }
}

impl Store {
    /// Finds all damage and repairs it. Must not run beside a writer.
    ///
    /// # Errors
    /// [`StoreError`] when sled cannot read or write.
    pub fn repair(&self) -> Result<Repair, StoreError> {
        let log = replay(Reader::new(&self.values, Position::default(), None), 0, |_| Ok(()));
        let log = log.map_err(|source| StoreError::Folder { path: self.values.path().to_owned(), source })?;
        let num_damaged = log.num_missing + log.num_halved;
        if num_damaged > 0 {
            tracing::warn!("{num_damaged} commits in the log are damaged; writing them again from the database");
            self.write_checkpoint()?;
        }
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
        let mut changes = Plan::default();
        for damage in damages {
            Self::plan_repair(damage, &mut repair, &mut changes);
        }
        changes.unsettled.extend(repair.asked_again.iter().map(Request::key));
        let counts = self.repair_description(ledger, &repair, &mut changes)?;
        drop(std::mem::take(&mut changes.unsettled)); // there may be a key for each answer
        self.apply(changes, &repair)?;
        self.load_pushes()?;
        self.write_ledger(&counts)?;
        Ok(repair)
    }

    fn plan_repair(damage: &Damage, repair: &mut Repair, changes: &mut Plan) {
        if !matches!(damage, Damage::Answer { .. }) {
            repair.num_repaired += 1;
        }
        match damage {
            Damage::Answer { request, .. } => drop(repair.asked_again.insert(*request)),
            Damage::State { tree, key, .. } => {
                let request = Request::from_key(key);
                match *tree {
                    "set_aside" => changes.remove(SET_ASIDE, key.clone()),
                    "unlisted" => changes.remove(UNLISTED, key.clone()),
                    // Its outcome or its failure cannot be known any more, so it is asked again.
                    "settled" | "failed" if request.is_some() => repair.asked_again.extend(request),
                    "pending" if request.is_some() => {
                        changes.entries.push(ask_again(key.clone()));
                    }
                    "provenance" => changes.remove(PROVENANCE, key.clone()),
                    "settled" => changes.remove(SETTLED, key.clone()),
                    "failed" => changes.remove(FAILED, key.clone()),
                    _ => changes.remove(PENDING, key.clone()),
                }
                if request.is_none() {
                    changes.unsettled.insert(key.clone());
                }
            }
            Damage::Twice { tree, request } => match *tree {
                "pending" => changes.remove(PENDING, request.key()),
                "failed" => changes.remove(FAILED, request.key()),
                _ => {
                    changes.remove(SETTLED, request.key());
                    changes.unsettled.insert(request.key());
                }
            },
            Damage::Signature { key, .. } => {
                // The list, asked again, brings it back. Otherwise a signature that the server has removed from its list
                // would stay damaged for ever.
                let id = key.as_slice().try_into().map(u64::from_be_bytes);
                repair.forgotten.extend(id.map(SignatureId));
                changes.remove(SIGNATURE_IDS, key.clone());
            }
            Damage::Push { key, .. } => changes.remove(PUSHES, key.clone()),
            Damage::History { key, .. } => changes.remove(RECORDS, key.clone()),
            Damage::Description { .. } => {} // see `repair_description`
        }
    }

    /// Computes the description again; returns the new tally.
    fn repair_description(
        &self,
        ledger: Option<&Ledger>,
        repair: &Repair,
        changes: &mut Plan,
    ) -> Result<Tally, StoreError> {
        let known = ledger.map(|ledger| ledger.counts.clone()).unwrap_or_default();
        let before = self.get_meta::<Tally>(META_COUNTS).ok().flatten().unwrap_or_else(|| known.clone());
        let mut counts = self.recount(&before, &changes.unsettled)?;
        for request in &repair.asked_again {
            counts.of_mut(request.kind()).pending += 1;
        }
        counts.commits += 1;
        changes.describe(META_COUNTS, Some(seal_json(&counts)?));
        if !matches!(self.get_meta::<String>(META_STORE_ID), Ok(Some(_))) {
            let fresh = || format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
            let id = ledger.map_or_else(fresh, |ledger| ledger.store_id.clone());
            changes.describe(META_STORE_ID, Some(seal_json(&id)?));
        }
        if self.get_meta::<String>(META_BUSIEST).is_err() {
            changes.describe(META_BUSIEST, None);
        }
        let known = ledger.map(|ledger| &ledger.harvests).filter(|harvests| !harvests.is_empty());
        let stored = self.get_meta::<Vec<Harvest>>(META_HARVESTS).ok().flatten().map_or(0, |harvests| harvests.len());
        if stored < known.map_or(1, Vec::len) {
            changes.describe(META_HARVESTS, known.map(seal_json).transpose()?);
        }
        let pinned = self.get_meta::<CrawlIdentity>(META_IDENTITY);
        if !matches!(pinned, Ok(Some(_))) {
            match ledger.and_then(|ledger| ledger.identity.as_ref()) {
                Some(identity) => changes.describe(META_IDENTITY, Some(seal_json(identity)?)),
                None => pinned.map(drop)?,
            }
        }
        Ok(counts)
    }

    fn apply(&self, plan: Plan, repair: &Repair) -> Result<(), StoreError> {
        let write =
            |operations: Vec<Operation>| self.write(Changes { operations, ..Changes::default() }, Durability::Now);
        if let Ok(Some(mut counts)) = self.get_meta::<Tally>(META_COUNTS) {
            counts.finished = false;
            self.put_meta(META_COUNTS, &counts)?;
            if let Ok(Some(mut ledger)) = Ledger::read(&self.path) {
                ledger.counts.finished = false;
                ledger.write(&self.path)?;
            }
        }
        for portion in plan.entries.chunks(MAX_OPERATIONS) {
            write(portion.to_vec())?;
        }
        let asked_again: Vec<&Request> = repair.asked_again.iter().collect();
        for portion in asked_again.chunks(MAX_OPERATIONS / 3) {
            let of = |request: &&Request| {
                let key = request.key();
                let leave = |tree| Operation { tree, key: key.clone(), value: None };
                [leave(SETTLED), leave(FAILED), ask_again(key.clone())]
            };
            write(portion.iter().flat_map(of).collect())?;
            fail_point("repair.within");
        }
        write(plan.meta)
    }
}

/// A request of unknown age; such requests are asked first.
pub(super) fn ask_again(key: Vec<u8>) -> Operation {
    let no_time = frame::seal(&Timestamp::default().as_micros().to_be_bytes());
    Operation { tree: PENDING, key, value: Some(no_time) }
}
