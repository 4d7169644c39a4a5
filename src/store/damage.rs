//! The search for damage: reads everything that is stored, one value at a time, and reports values that fail their checks or
//! are missing.
//!
//! Small values are listed; records are read by the keys that follow from the settled requests, so memory does not grow with
//! the data. Records that no settled request refers to are skipped: nothing reads them. sled may open a database without the
//! end of its log, and then its trees may come from different moments, so the trees are checked against each other.

use std::collections::{BTreeSet, HashSet};

use super::columns::{ColumnSet, Columns, RevisionPlace};
use super::damage_kinds::Damage;
use super::format::{META_BUSIEST, META_COUNTS, META_HARVESTS, META_IDENTITY, META_STORE_ID};
use super::open::read_push;
use super::value::{Failure, Provenance, SetAside, Settled, open_frame, open_json};
use super::{CrawlIdentity, HarvestEnds, Ledger, Outcome, Store, StoreError, Tally, key};
use crate::model::{FIRST_HARVEST, JobId, Kind, PushId, Request, SignatureId, Timestamp, Window, sampled_jobs};

/// Turns damage into its reason; any other error ends the search.
fn damage_of<T>(result: Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Damaged { tree, key, reason }) => {
            Ok(Err(format!("the stored value of {key} (tree {tree}) is damaged: {reason}")))
        }
        Err(error @ (StoreError::MissingValue { .. } | StoreError::ValuesCut { .. })) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

fn listing(source: sled::Error) -> StoreError {
    StoreError::database("be listed", source)
}

/// Checks the records of settled requests, with buffers that are used again for each.
struct Checker<'a> {
    store: &'a Store,
    columns: Columns,
    raw: Vec<u8>,
    /// Start of the crawl's data window, where the identity is known, and the end of it in each harvest.
    start: Option<Timestamp>,
    ends: HarvestEnds,
    /// The job of each datum of the current summary.
    jobs: Vec<Option<(JobId, Timestamp)>>,
    /// The crawl has asked for the jobs of all data.
    all_jobs: bool,
    /// Jobs that a summary refers to and that are in no state.
    unasked: BTreeSet<JobId>,
    /// Pushes of the current summary that the push table lacks.
    unknown: HashSet<PushId>,
    /// All of which a summary that counts as damaged will bring the revisions.
    awaited: HashSet<PushId>,
}

impl Store {
    /// Reads everything that is stored and passes each damage to `found`. The push table must have been loaded.
    ///
    /// # Errors
    /// [`StoreError`] when sled itself cannot continue.
    pub fn find_damage(&self, mut found: impl FnMut(Damage)) -> Result<(), StoreError> {
        self.check_description(&mut found)?;
        for entry in &self.pushes {
            let (key, framed) = entry.map_err(listing)?;
            if let Err(reason) = damage_of(read_push(&key, &framed))? {
                found(Damage::Push { key: key.to_vec(), reason });
            }
        }
        let mut checker = Checker::new(self);
        for entry in &self.settled {
            let (key, framed) = entry.map_err(listing)?;
            let request = Request::from_key(&key);
            if let Some(request) = request
                && self.is_superseded("settled", &request)?
            {
                found(Damage::Twice { tree: "settled", request });
                continue;
            }
            match (request, damage_of(Settled::open(&key, &framed))?) {
                (Some(request), Ok(settled)) => {
                    if let Err(reason) = damage_of(checker.check_answer(request, &settled))? {
                        found(Damage::Answer { request, reason });
                    }
                }
                (None, Ok(_)) => {
                    let reason = "a settled request has an invalid key".to_owned();
                    found(Damage::State { tree: "settled", key: key.to_vec(), reason });
                }
                (_, Err(reason)) => found(Damage::State { tree: "settled", key: key.to_vec(), reason }),
            }
        }
        for &id in &checker.unasked {
            let reason = "stored data refer to it, but it is neither settled nor pending".to_owned();
            found(Damage::Answer { request: Request::Job { id }, reason });
        }
        checker.check_signatures(&mut found)?;
        self.check_history(&mut found)?;
        self.check_small_values(&mut found)
    }

    /// Reads the records that belong to no settled request.
    fn check_history(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        for prefix in key::HISTORY_PREFIXES {
            for key in self.records.scan_prefix(prefix).keys() {
                let key = key.map_err(listing)?;
                if let Err(reason) = damage_of(self.with_record(&key, |_| ()))? {
                    found(Damage::History { key: key.to_vec(), reason });
                }
            }
        }
        Ok(())
    }

    fn check_description(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        let parts = [
            ("identity", damage_of(self.get_meta::<CrawlIdentity>(META_IDENTITY))?.map(drop)),
            ("id", damage_of(self.get_meta::<String>(META_STORE_ID))?.map(drop)),
            ("harvests", damage_of(self.check_harvests())?),
            ("note of the busiest revisions", damage_of(self.get_meta::<String>(META_BUSIEST))?.map(drop)),
            ("values", damage_of(self.check_values())?),
        ];
        for (part, read) in parts {
            if let Err(reason) = read {
                found(Damage::Description { part, reason });
            }
        }
        let tally = damage_of(self.get_meta::<Tally>(META_COUNTS))?;
        let reason = match tally {
            Ok(Some(counts)) if self.recount(&counts, &HashSet::new())?.same_frontier(&counts) => return Ok(()),
            Ok(Some(_)) => "it differs from the number of stored requests".to_owned(),
            Ok(None) => "it is missing".to_owned(),
            Err(reason) => reason,
        };
        found(Damage::Description { part: "tally", reason });
        Ok(())
    }

    /// A store keeps the list from its first harvest's end on; the ledger knows how many there were.
    fn check_harvests(&self) -> Result<(), StoreError> {
        let listed = Ledger::read(&self.path).ok().flatten().map_or(0, |ledger| ledger.harvests.len());
        if self.harvests()?.len() < listed {
            return Err(StoreError::damaged("meta", META_HARVESTS, "some of them are missing"));
        }
        Ok(())
    }

    fn check_small_values(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        for (name, tree) in [
            ("pending", &self.pending),
            ("failed", &self.failed),
            ("provenance", &self.provenance),
            ("set_aside", &self.set_aside),
            ("unlisted", &self.unlisted),
        ] {
            for entry in tree {
                let (key, framed) = entry.map_err(listing)?;
                if let Some(request) = Request::from_key(&key)
                    && self.is_superseded(name, &request)?
                {
                    found(Damage::Twice { tree: name, request });
                    continue;
                }
                let read = match name {
                    "set_aside" if key::read_odd(&key).is_some() => {
                        open_json::<SetAside>(name, &key, &framed).map(drop)
                    }
                    "unlisted" => self.last_seen(&key).map(drop),
                    _ if name == "set_aside" || Request::from_key(&key).is_none() => {
                        Err(StoreError::damaged(name, &key, "the key is invalid"))
                    }
                    "failed" => open_json::<Failure>(name, &key, &framed).map(drop),
                    "provenance" => open_json::<Provenance>(name, &key, &framed).map(drop),
                    _ => open_frame(name, &key, &framed).and_then(|raw| match raw.len() {
                        8 => Ok(()),
                        _ => Err(StoreError::damaged(name, &key, "it is not a time")),
                    }),
                };
                if let Err(reason) = damage_of(read)? {
                    found(Damage::State { tree: name, key: key.to_vec(), reason });
                }
            }
        }
        Ok(())
    }

    /// True when the request has another state that takes precedence over that of `tree`.
    fn is_superseded(&self, tree: &str, request: &Request) -> Result<bool, StoreError> {
        match tree {
            "pending" => self.overlaps_settled(request),
            "failed" => {
                Ok(self.pending.contains_key(request.key()).map_err(listing)? || self.overlaps_settled(request)?)
            }
            "settled" => self.lies_within_settled(request),
            _ => Ok(false),
        }
    }

    /// True when the request is settled, or its window overlaps a settled one of the same signature.
    fn overlaps_settled(&self, request: &Request) -> Result<bool, StoreError> {
        let Request::Summary { window, .. } = *request else {
            return self.settled.contains_key(request.key()).map_err(listing);
        };
        self.any_settled_window(request, |other| other.start < window.end && window.start < other.end)
    }

    /// True when the window of a settled summary lies within another settled one of the same signature.
    fn lies_within_settled(&self, request: &Request) -> Result<bool, StoreError> {
        let Request::Summary { window, .. } = *request else { return Ok(false) };
        self.any_settled_window(request, |other| {
            other != window && other.start <= window.start && window.end <= other.end
        })
    }

    /// Whether any settled window of the signature and harvest of a summary fulfils `is_it`.
    fn any_settled_window(&self, summary: &Request, is_it: impl Fn(Window) -> bool) -> Result<bool, StoreError> {
        let Request::Summary { signature, harvest, replicates, .. } = *summary else { return Ok(false) };
        for key in self.settled.scan_prefix(Request::summaries_prefix(signature, replicates)).keys() {
            if let Some(Request::Summary { harvest: asked_by, window, .. }) = Request::from_key(&key.map_err(listing)?)
                && asked_by == harvest
                && is_it(window)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Counts the entries of the trees, leaving out the keys in `without` and damaged entries. Numbers that the trees do not
    /// hold (attempts, bytes, commits) are taken from `before`.
    pub(super) fn recount(&self, before: &Tally, without: &HashSet<Vec<u8>>) -> Result<Tally, StoreError> {
        let mut counts = Tally::default();
        counts.commits = before.commits;
        for kind in Kind::ALL {
            counts.of_mut(kind).attempts = before.of(kind).attempts;
            counts.of_mut(kind).body_bytes = before.of(kind).body_bytes;
        }
        for entry in &self.settled {
            let (key, framed) = entry.map_err(listing)?;
            let (Some(request), Ok(settled)) = (Request::from_key(&key), Settled::open(&key, &framed)) else {
                continue;
            };
            if without.contains(key.as_ref()) {
                continue;
            }
            let kind = counts.of_mut(request.kind());
            *kind.of_outcome(settled.outcome) += 1;
            kind.records += u64::from(settled.num_records);
            counts.add_digest(request.kind(), settled.digest);
        }
        for (name, tree) in [("pending", &self.pending), ("failed", &self.failed)] {
            for key in tree.iter().keys() {
                let key = key.map_err(listing)?;
                let Some(request) = Request::from_key(&key).filter(|_| !without.contains(key.as_ref())) else {
                    continue;
                };
                if self.is_superseded(name, &request)? {
                    continue;
                }
                let kind = counts.of_mut(request.kind());
                *(if name == "pending" { &mut kind.pending } else { &mut kind.failed }) += 1;
            }
        }
        for entry in &self.set_aside {
            let (key, framed) = entry.map_err(listing)?;
            let Some((request, _)) = key::read_odd(&key) else { continue };
            if let Ok(odd) = open_json::<SetAside>("set_aside", &key, &framed) {
                *counts.of_mut(request.kind()).of_odd(odd.corrected) += 1;
            }
        }
        Ok(counts)
    }
}

impl<'a> Checker<'a> {
    fn new(store: &'a Store) -> Self {
        let ledger = Ledger::read(&store.path).ok().flatten();
        let (identity, harvests) = ledger.map(|ledger| (ledger.identity, ledger.harvests)).unwrap_or_default();
        let identity = store.identity().ok().flatten().or(identity);
        let stored = store.harvests().unwrap_or_default();
        let harvests = if stored.len() < harvests.len() { harvests } else { stored };
        Self {
            store,
            columns: Columns::default(),
            raw: Vec::new(),
            start: identity.as_ref().map(|identity| identity.data_window().start),
            // Asked for at the end of a crawl.
            all_jobs: identity.is_some_and(|identity| identity.scope.all_jobs)
                && store.counts().is_ok_and(|counts| counts.is_complete()),
            ends: HarvestEnds::of(&harvests),
            jobs: Vec::new(),
            unasked: BTreeSet::new(),
            unknown: HashSet::new(),
            awaited: HashSet::new(),
        }
    }

    /// Reads all records of a settled request.
    fn check_answer(&mut self, request: Request, settled: &Settled) -> Result<(), StoreError> {
        let (store, key) = (self.store, request.key());
        let wrong = |what: &str| StoreError::damaged("records", &key, what);
        if matches!(settled.outcome, Outcome::Gone | Outcome::Skipped) {
            return Ok(());
        }
        match request {
            Request::AlertPage { pass, page } => {
                let missing = || StoreError::MissingValue { key: request.to_string() };
                for id in store.alert_page(pass, page)?.ok_or_else(missing)?.ids {
                    let record = store.alert_summary(id)?;
                    record.ok_or_else(|| StoreError::MissingValue { key: format!("alert summary {id}") })?;
                }
                Ok(())
            }
            Request::Frameworks | Request::UpdatedSignatures { .. } | Request::MovedSignatures { .. } => {
                let ids = store.id_list(&request)?.map_or(0, |ids| ids.len());
                if ids == settled.num_records as usize { Ok(()) } else { Err(wrong("some of its ids are missing")) }
            }
            Request::Signatures { .. } => store.id_list(&request).map(drop), // see also `check_signatures`
            Request::Job { id } => store.job(id).map(drop),
            Request::Summary { .. } => self.check_summary(request, settled),
        }
    }

    fn check_summary(&mut self, request: Request, settled: &Settled) -> Result<(), StoreError> {
        let wrong = |what: String| StoreError::Damaged { tree: "records", key: request.to_string(), reason: what };
        let header = self.store.summary_header(&request)?;
        header.ok_or_else(|| StoreError::MissingValue { key: request.to_string() })?;
        let pushes = self.store.push_table.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut num_data = 0;
        self.jobs.clear();
        self.unknown.clear();
        for number in 0..settled.num_chunks {
            self.store.chunk(&request, number, &mut self.raw)?;
            self.columns.decode(&self.raw, ColumnSet::ALL).map_err(|source| wrong(source.to_string()))?;
            num_data += self.columns.num_rows();
            self.jobs.extend((0..self.columns.len()).map(|at| self.columns.aged_job(at)));
            for at in 0..self.columns.len() {
                if self.columns.revision_place(at) == RevisionPlace::PushTable
                    && !pushes.contains_key(&self.columns.push_id(at))
                {
                    self.unknown.insert(self.columns.push_id(at));
                }
                if let Some(text) = self.columns.irregular(at)
                    && let Err(source) = serde_json::from_str::<serde::de::IgnoredAny>(text)
                {
                    return Err(wrong(source.to_string()));
                }
            }
        }
        drop(pushes);
        if num_data != settled.num_records as usize {
            return Err(wrong(format!("only {num_data} of {} data are stored", settled.num_records)));
        }
        // Each summary that is asked again may come back with less: after 120 days the server has forgotten its jobs.
        if let Some(push) = self.unknown.difference(&self.awaited).min().copied() {
            self.awaited.extend(self.unknown.drain());
            return Err(wrong(format!("push {push} is not in the push table")));
        }
        self.check_jobs(request)
    }

    /// Checks that the jobs of a signature are in some state: the sampled ones, or all of them. A window in parts is skipped: its
    /// sample is drawn at the end of the crawl.
    fn check_jobs(&mut self, request: Request) -> Result<(), StoreError> {
        let Request::Summary { signature, harvest, window, replicates: false } = request else { return Ok(()) };
        let asked: Vec<_> = if self.all_jobs {
            self.jobs.iter().copied().flatten().collect()
        } else if harvest > FIRST_HARVEST && self.store.summaries_of(signature).nth(1).is_some() {
            return Ok(()); // as for parts of a window: the sample of all parts is drawn before they are joined
        } else if self.start != Some(window.start) || self.ends.end_of(harvest) != window.end {
            return Ok(());
        } else {
            sampled_jobs(&self.jobs).collect()
        };
        for (id, _) in asked {
            if !self.unasked.contains(&id) && !self.store.is_known(&Request::Job { id })? {
                self.unasked.insert(id);
            }
        }
        Ok(())
    }

    /// Checks the ids and records of the signatures. The store does not keep which list a signature came from, so a damaged
    /// one damages all lists; and signatures of no list (imported ones) may hide that others are missing.
    fn check_signatures(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        let mut lists = Vec::new();
        let (mut whole, mut by_framework) = (0, 0);
        for entry in self.store.settled.scan_prefix(b"g") {
            let (key, framed) = entry.map_err(listing)?;
            // A damaged one is reported with the other settled requests.
            let (Some(request), Ok(settled)) = (Request::from_key(&key), Settled::open(&key, &framed)) else {
                continue;
            };
            match request {
                Request::Signatures { framework: None } => whole = settled.num_records,
                _ => by_framework += settled.num_records,
            }
            lists.push(request);
        }
        let (mut num_listed, mut damaged) = (0, None);
        for entry in self.store.signature_ids.iter().keys() {
            let entry = entry.map_err(listing)?;
            let mut damage = |reason: String| {
                found(Damage::Signature { key: entry.to_vec(), reason: reason.clone() });
                damaged = Some(reason);
            };
            let Ok(id) = entry.as_ref().try_into().map(|id| SignatureId(u64::from_be_bytes(id))) else {
                damage("a signature has an invalid key".to_owned());
                continue;
            };
            num_listed += 1;
            let record = self.store.signature(id).and_then(|record| {
                record.ok_or_else(|| StoreError::damaged("records", &key::signature(id), "it is missing"))
            });
            if let Err(reason) = damage_of(record)? {
                damage(format!("signature {id}: {reason}"));
            }
        }
        let expected = whole.max(by_framework);
        if num_listed < expected {
            damaged = Some(format!("only {num_listed} of {expected} signatures are stored"));
        }
        let Some(reason) = damaged else { return Ok(()) };
        for request in lists {
            found(Damage::Answer { request, reason: reason.clone() });
        }
        Ok(())
    }
}
