//! The steps of a harvest: its opening, the joining of its answers with those before, its end.

use std::collections::BTreeSet;

use super::{Staging, State};
use crate::model::{Kind, Request, Timestamp};
use crate::store::trees::{Operation, PROVENANCE, RECORDS, SET_ASIDE, SETTLED};
use crate::store::value::{SetAside, Settled, open_json};
use crate::store::{Pending, SettledSummary, Settlement, Store, StoreError, frame, key};

impl Staging<'_> {
    /// Stages the end of the crawl; any later change reverts it.
    pub(in crate::store) fn finish(&mut self) -> Result<(), StoreError> {
        let mut harvests = self.store.harvests()?;
        if let Some(newest) = harvests.last_mut() {
            let now = Timestamp::now();
            newest.join(&self.counts, now);
            newest.finished_at = newest.finished_at.or(Some(now));
        }
        self.stage(Store::harvests_operation(&harvests)?);
        self.finishes = true;
        Ok(())
    }

    /// Stages the first requests of a later harvest: the lists that were settled before, those of the `moved`
    /// signatures, and jobs that were not completed. Requests that failed in an earlier harvest go,
    /// since this one asks for the same in another way; failed jobs stay.
    pub(in crate::store) fn ask_for_lists_again(
        &mut self,
        first: &[Pending],
        moved: &[Pending],
    ) -> Result<(), StoreError> {
        let is_list = |request: &Request| matches!(request.kind(), Kind::Alerts | Kind::Signatures);
        let mut lists = BTreeSet::new();
        for settled in self.store.all_settled() {
            let (request, settled) = settled?;
            if is_list(&request) {
                self.forget(&request, &settled)?;
                lists.insert(request);
            } else if let (Request::Job { id }, true) = (request, settled.may_change) {
                self.keep_version(&key::job(id))?;
                self.leave(&request, &State::Settled(settled))?;
                self.enter(&Pending { request, submitted: Timestamp::default() });
            }
        }
        for failure in self.store.failures() {
            let (request, failure) = failure?;
            if request.kind() != Kind::JobDetails {
                self.leave(&request, &State::Failed(failure))?;
                self.states.insert(request.key(), State::Unknown);
            }
        }
        let is_whole = |request: &Request| {
            matches!(
                request,
                Request::Frameworks
                    | Request::Signatures { framework: None }
                    | Request::UpdatedSignatures { framework: None }
            )
        };
        lists.retain(is_whole);
        let lists = lists.into_iter().map(Pending::of).collect::<Vec<_>>();
        let alerts = Pending::of(Request::AlertPage { pass: 0, page: 1 });
        for pending in if lists.is_empty() { first } else { &lists }.iter().chain(moved).chain([&alerts]) {
            if matches!(self.state(&pending.request)?, State::Unknown) {
                self.enter(pending);
            }
        }
        Ok(())
    }

    /// Stages the removal of a settled request with its page, ids or data. The records that it brought stay.
    pub(in crate::store) fn forget(&mut self, request: &Request, settled: &Settled) -> Result<(), StoreError> {
        self.leave(request, &State::Settled(*settled))?;
        self.states.insert(request.key(), State::Unknown);
        self.remove(PROVENANCE, request.key());
        match request {
            Request::AlertPage { .. } => self.stage(Operation { tree: RECORDS, key: key::page(request), value: None }),
            // Each harvest has lists of its own.
            Request::MovedSignatures { .. } => self.remove_pieces_from(&key::id_list(request), 0)?,
            Request::Summary { .. } => {
                self.remove_pieces_from(&key::header(request), 0)?;
                for number in 0..settled.num_chunks {
                    let key = key::chunk(request, usize::from(number));
                    self.stage(Operation { tree: RECORDS, key, value: None });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Stages one settled summary in the place of `parts`. All of it enters the store in one commit, or nothing.
    pub(in crate::store) fn replace_summaries(
        &mut self,
        parts: &[SettledSummary],
        joined: Settlement,
    ) -> Result<(), StoreError> {
        let failed = |source| StoreError::database("be read", source);
        let (mut odd, mut provenance) = (Vec::new(), None);
        for part in parts {
            let (request, prefix) = (part.request(), part.request().key());
            for entry in self.store.set_aside.scan_prefix(&prefix) {
                let (odd_key, framed) = entry.map_err(failed)?;
                if let Some((_, record)) = key::read_odd(&odd_key).filter(|(of, _)| *of == request) {
                    let value: SetAside = open_json("set_aside", &odd_key, &framed)?;
                    odd.push((record, value.corrected, framed));
                }
            }
            let origin = self.store.provenance.get(&prefix).map_err(failed)?;
            provenance = origin.or(provenance);
            self.forget(&request, &part.settled)?;
        }
        for (record_key, framed) in joined.records {
            self.put_value(record_key, framed);
        }
        self.put_pushes(joined.pushes);
        for (request, settled) in joined.settled {
            let kind = self.counts.of_mut(request.kind());
            *kind.of_outcome(settled.outcome) += 1;
            kind.records += u64::from(settled.num_records);
            self.counts.add_digest(request.kind(), settled.digest);
            let mut records = BTreeSet::new();
            for (record, corrected, framed) in &odd {
                if records.insert(record) {
                    *self.counts.of_mut(request.kind()).of_odd(*corrected) += 1;
                    self.put(SET_ASIDE, key::odd(&request, *record), framed.to_vec());
                }
            }
            if let Some(provenance) = &provenance {
                self.put(PROVENANCE, request.key(), provenance.to_vec());
            }
            self.put(SETTLED, request.key(), settled.seal());
            self.states.insert(request.key(), State::Settled(settled));
        }
        Ok(())
    }

    /// Stages a record in pieces that is part of no answer.
    pub(in crate::store) fn put_blob(&mut self, record_key: &[u8], raw: &[u8]) {
        for (piece_key, piece) in key::pieces(record_key, raw) {
            self.put_value(piece_key, frame::seal(&piece));
        }
    }
}
