//! Looking through everything that is stored, one value at a time: what does not verify, and what is not there.
//!
//! Small values are listed, records are got by the keys that the settled requests lead to. Memory does not grow with the
//! data. Records to which no settled request leads are not looked at: nothing reads them. A database that sled opens
//! without the end of its log may hold its trees as of different moments, so what one tree says is held against the others.

use std::collections::{BTreeSet, HashSet};

use super::columns::{ColumnSet, Columns, RevisionPlace};
use super::format::{META_BUSIEST, META_COUNTS, META_IDENTITY, META_STORE_ID};
use super::open::read_push;
use super::value::{Failure, Provenance, Settled, open_frame, open_json};
use super::{Counts, CrawlIdentity, Ledger, Outcome, Store, StoreError, key};
use crate::model::{JobId, Kind, Request, SignatureId, Timestamp, Window, sampled_jobs};

/// Something that is stored and damaged, or missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A settled request whose records do not verify or are not all there.
    Answer {
        /// The request.
        request: Request,
        /// What was seen.
        reason: String,
    },
    /// The small value of a request in one of the trees `settled`, `pending`, `failed` or `provenance`.
    State {
        /// The tree.
        tree: &'static str,
        /// The key.
        key: Vec<u8>,
        /// What was seen.
        reason: String,
    },
    /// A request of the tree `pending` or `failed` that is in a later state too; also one for the data of a window within
    /// which, or within another of which, there are settled data of the same signature.
    Twice {
        /// The tree.
        tree: &'static str,
        /// The request.
        request: Request,
    },
    /// A signature's id, or the record that belongs to it. The lists of signatures are damaged too.
    Signature {
        /// The key in the tree of ids.
        key: Vec<u8>,
        /// What was seen.
        reason: String,
    },
    /// An entry of the push table. The answers that refer to it are damaged too.
    Push {
        /// The key.
        key: Vec<u8>,
        /// What was seen.
        reason: String,
    },
    /// A part of the store's description of itself.
    Description {
        /// Which part.
        part: &'static str,
        /// What was seen.
        reason: String,
    },
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answer { request, reason } => write!(f, "{request}: {reason}"),
            Self::Twice { tree, request } => write!(f, "{request}: it stands in the tree {tree} besides another"),
            Self::State { reason, .. } | Self::Push { reason, .. } | Self::Signature { reason, .. } => {
                f.write_str(reason)
            }
            Self::Description { part, reason } => write!(f, "the store's {part}: {reason}"),
        }
    }
}

/// Passes damage on; what is no damage ends the survey.
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

/// Reads what is stored, with buffers that serve all of it.
struct Surveyor<'a> {
    store: &'a Store,
    columns: Columns,
    raw: Vec<u8>,
    /// The window of which a summary is a signature's whole.
    whole: Option<Window>,
    /// The job of each datum of a summary.
    jobs: Vec<Option<(JobId, Timestamp)>>,
    /// Jobs that a summary leads to, and of which nothing else is known.
    unasked: BTreeSet<JobId>,
}

impl Store {
    /// Looks through everything that is stored and hands each damage to `found`. Needs the push table.
    ///
    /// # Errors
    /// [`StoreError`] when sled itself cannot go on.
    pub fn survey(&self, mut found: impl FnMut(Damage)) -> Result<(), StoreError> {
        self.survey_description(&mut found)?;
        for entry in &self.pushes {
            let (key, framed) = entry.map_err(listing)?;
            if let Err(reason) = damage_of(read_push(&key, &framed))? {
                found(Damage::Push { key: key.to_vec(), reason });
            }
        }
        let mut surveyor = Surveyor::new(self);
        for entry in &self.settled {
            let (key, framed) = entry.map_err(listing)?;
            let request = Request::from_key(&key);
            if let Some(request) = request
                && self.stands_twice("settled", &request)?
            {
                found(Damage::Twice { tree: "settled", request });
                continue;
            }
            match (request, damage_of(Settled::open(&key, &framed))?) {
                (Some(request), Ok(settled)) => {
                    if let Err(reason) = damage_of(surveyor.check_answer(request, &settled))? {
                        found(Damage::Answer { request, reason });
                    }
                }
                (None, Ok(_)) => {
                    let reason = "a settled request has a key of no request".to_owned();
                    found(Damage::State { tree: "settled", key: key.to_vec(), reason });
                }
                (_, Err(reason)) => found(Damage::State { tree: "settled", key: key.to_vec(), reason }),
            }
        }
        for &id in &surveyor.unasked {
            let reason = "data that are stored lead to it, and it is neither settled nor to be asked for".to_owned();
            found(Damage::Answer { request: Request::Job { id }, reason });
        }
        surveyor.check_signatures(&mut found)?;
        self.survey_small_values(&mut found)
    }

    fn survey_description(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        let parts = [
            ("identity", damage_of(self.get_meta::<CrawlIdentity>(META_IDENTITY))?.map(drop)),
            ("id", damage_of(self.get_meta::<String>(META_STORE_ID))?.map(drop)),
            ("note of the busiest revisions", damage_of(self.get_meta::<String>(META_BUSIEST))?.map(drop)),
            ("values", damage_of(self.check_values())?),
        ];
        for (part, read) in parts {
            if let Err(reason) = read {
                found(Damage::Description { part, reason });
            }
        }
        let tally = damage_of(self.get_meta::<Counts>(META_COUNTS))?;
        let reason = match tally {
            Ok(Some(counts)) if self.recount(&counts, &HashSet::new())?.same_frontier(&counts) => return Ok(()),
            Ok(Some(_)) => "it does not fit what is stored".to_owned(),
            Ok(None) => "it is missing".to_owned(),
            Err(reason) => reason,
        };
        found(Damage::Description { part: "tally", reason });
        Ok(())
    }

    fn survey_small_values(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        for (name, tree) in [("pending", &self.pending), ("failed", &self.failed), ("provenance", &self.provenance)] {
            for entry in tree {
                let (key, framed) = entry.map_err(listing)?;
                if let Some(request) = Request::from_key(&key)
                    && self.stands_twice(name, &request)?
                {
                    found(Damage::Twice { tree: name, request });
                    continue;
                }
                let read = match name {
                    _ if Request::from_key(&key).is_none() => {
                        Err(StoreError::damaged(name, &key, "it is the key of no request"))
                    }
                    "failed" => open_json::<Failure>(name, &key, &framed).map(drop),
                    "provenance" => open_json::<Provenance>(name, &key, &framed).map(drop),
                    _ => open_frame(name, &key, &framed).and_then(|raw| match raw.len() {
                        8 => Ok(()),
                        _ => Err(StoreError::damaged(name, &key, "it is no time")),
                    }),
                };
                if let Err(reason) = damage_of(read)? {
                    found(Damage::State { tree: name, key: key.to_vec(), reason });
                }
            }
        }
        Ok(())
    }

    /// Is what a request of `tree` asks for in a state besides that of `tree`, which counts more?
    fn stands_twice(&self, tree: &str, request: &Request) -> Result<bool, StoreError> {
        match tree {
            "pending" => self.overlaps_settled(request),
            "failed" => {
                Ok(self.pending.contains_key(request.key()).map_err(listing)? || self.overlaps_settled(request)?)
            }
            "settled" => self.lies_within_settled(request),
            _ => Ok(false),
        }
    }

    /// Is it settled, or a part or the whole of what is?
    fn overlaps_settled(&self, request: &Request) -> Result<bool, StoreError> {
        let Request::Summary { signature, window } = *request else {
            return self.settled.contains_key(request.key()).map_err(listing);
        };
        self.any_settled_window(signature, |other| other.start < window.end && window.start < other.end)
    }

    /// Is the window of a settled summary a part of another's?
    fn lies_within_settled(&self, request: &Request) -> Result<bool, StoreError> {
        let Request::Summary { signature, window } = *request else { return Ok(false) };
        self.any_settled_window(signature, |other| {
            other != window && other.start <= window.start && window.end <= other.end
        })
    }

    fn any_settled_window(&self, signature: SignatureId, is_it: impl Fn(Window) -> bool) -> Result<bool, StoreError> {
        for key in self.settled.scan_prefix(Request::summaries_prefix(signature)).keys() {
            if let Some(Request::Summary { window, .. }) = Request::from_key(&key.map_err(listing)?)
                && is_it(window)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The tally of what is in the trees, as if the requests of `without` were not settled and what is damaged not
    /// there. What the trees do not tell (attempts, bytes, commits) is taken over from `before`.
    pub(super) fn recount(&self, before: &Counts, without: &HashSet<Vec<u8>>) -> Result<Counts, StoreError> {
        let mut counts = Counts::default();
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
                if self.stands_twice(name, &request)? {
                    continue;
                }
                let kind = counts.of_mut(request.kind());
                *(if name == "pending" { &mut kind.pending } else { &mut kind.failed }) += 1;
            }
        }
        Ok(counts)
    }
}

impl<'a> Surveyor<'a> {
    fn new(store: &'a Store) -> Self {
        let ledger = || Ledger::read(&store.path).ok().flatten()?.identity;
        let identity = store.identity().ok().flatten().or_else(ledger);
        Self {
            store,
            columns: Columns::default(),
            raw: Vec::new(),
            whole: identity.map(|identity| identity.data_window()),
            jobs: Vec::new(),
            unasked: BTreeSet::new(),
        }
    }

    /// Are all records of a settled request there, and can they be read?
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
            Request::Frameworks | Request::UpdatedSignatures { .. } => {
                let ids = store.id_list(&request)?.map_or(0, |ids| ids.len());
                if ids == settled.num_records as usize { Ok(()) } else { Err(wrong("ids are missing")) }
            }
            Request::Signatures { .. } => Ok(()), // see `check_signatures`
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
        for number in 0..settled.num_chunks {
            self.store.chunk(&request, number, &mut self.raw)?;
            self.columns.decode(&self.raw, ColumnSet::ALL).map_err(|source| wrong(source.to_string()))?;
            num_data += self.columns.len();
            self.jobs.extend((0..self.columns.len()).map(|at| self.columns.aged_job(at)));
            for at in 0..self.columns.len() {
                if self.columns.revision_place(at) == RevisionPlace::PushTable
                    && !pushes.contains_key(&self.columns.push_id(at))
                {
                    return Err(wrong(format!("push {} is not in the push table", self.columns.push_id(at))));
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
            return Err(wrong(format!("{num_data} of {} data are there", settled.num_records)));
        }
        self.check_sample(request)
    }

    /// Were the sampled jobs of a signature brought into the frontier? Those of a window in parts are at the end of every
    /// crawl.
    fn check_sample(&mut self, request: Request) -> Result<(), StoreError> {
        let Request::Summary { window, .. } = request else { return Ok(()) };
        if self.whole != Some(window) {
            return Ok(());
        }
        for (id, _) in sampled_jobs(&self.jobs) {
            if !self.unasked.contains(&id) && !self.store.is_known(&Request::Job { id })? {
                self.unasked.insert(id);
            }
        }
        Ok(())
    }

    /// The signatures' ids and records. Which list one came from is not kept, so a damaged one damages all lists, and ids of
    /// no list (those of imported records) may hide that others are missing.
    fn check_signatures(&self, found: &mut impl FnMut(Damage)) -> Result<(), StoreError> {
        let mut lists = Vec::new();
        let (mut whole, mut by_framework) = (0, 0);
        for entry in self.store.settled.scan_prefix(b"g") {
            let (key, framed) = entry.map_err(listing)?;
            // One that does not verify is found with the other settled requests.
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
                damage("the key of a signature is none".to_owned());
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
            damaged = Some(format!("{num_listed} of {expected} signatures are there"));
        }
        let Some(reason) = damaged else { return Ok(()) };
        for request in lists {
            found(Damage::Answer { request, reason: reason.clone() });
        }
        Ok(())
    }
}
