//! The data of a server as of a time: the one place that decides which records are there.

use std::sync::RwLockReadGuard;

use crate::alert_timeline::AlertTimeline;
use crate::alterations::{Alterations, World};
use crate::dataset::{AlertHead, Datum, PushHead, Repository, SignatureHead, SummaryFrame, Window};
use crate::history::AsOf;

/// A world at a time. Ranks are those of its data set; a rank may have nothing to show yet, or nothing any more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    world: &'a World,
    as_of: AsOf<'a>,
}

impl<'a> View<'a> {
    /// The world at its present time, which stays the same for this view when the clock moves on.
    pub(crate) fn of(world: &'a World) -> Self {
        Self::at(world, world.now())
    }

    pub(crate) fn at(world: &'a World, now: i64) -> Self {
        Self { world, as_of: AsOf { now, history: &world.history, keeps_jobs: false } }
    }

    /// Seconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        self.as_of.now
    }

    pub(crate) fn alterations(&self) -> RwLockReadGuard<'a, Alterations> {
        self.world.alterations()
    }

    pub(crate) fn frameworks(&self) -> &'a str {
        self.world.dataset.frameworks()
    }

    pub(crate) fn repositories(&self) -> &'a [Repository] {
        self.world.dataset.repositories()
    }

    pub(crate) fn repository(&self, name: &str) -> Option<&'a Repository> {
        self.world.dataset.repository(name)
    }

    /// Above every rank of a signature.
    pub(crate) fn num_signatures(&self, repository: u64) -> usize {
        self.world.dataset.num_signatures(repository)
    }

    /// The head of a signature that is there.
    pub(crate) fn signature_head(&self, repository: u64, rank: usize) -> Option<SignatureHead<'a>> {
        let head = self.world.dataset.signature_head(repository, rank, &self.as_of)?;
        (self.now() < self.world.vanishing(head.id, head.parent_id)).then_some(head)
    }

    pub(crate) fn find_signature(&self, repository: u64, id: u64) -> Option<usize> {
        let rank = self.world.dataset.find_signature(repository, id)?;
        self.signature_head(repository, rank).map(|_| rank)
    }

    pub(crate) fn write_signature(&self, repository: u64, rank: usize, out: &mut Vec<u8>) {
        self.world.dataset.write_signature(repository, rank, out);
    }

    pub(crate) fn summary_frame(&self, repository: u64, rank: usize) -> SummaryFrame<'a> {
        self.world.dataset.summary_frame(repository, rank)
    }

    pub(crate) fn visit_data(
        &self,
        repository: u64,
        rank: usize,
        window: &Window<'_>,
        visit: &mut dyn FnMut(&Datum<'_>),
    ) {
        self.world.dataset.visit_data(repository, rank, window, &self.as_of, visit);
    }

    /// The rows of a datum in an answer with replicates: one for each, or the datum as it is if it has none.
    pub(crate) fn visit_rows<'d>(&self, datum: &Datum<'d>, mut visit: impl FnMut(&Datum<'d>)) {
        let replicates = self.world.dataset.replicates(datum);
        if replicates.is_empty() {
            visit(datum);
        }
        for value in replicates {
            visit(&datum.with_value(value));
        }
    }

    pub(crate) fn write_job(&self, repository: u64, id: u64, out: &mut Vec<u8>) -> bool {
        self.world.dataset.write_job(repository, id, &self.as_of, out)
    }

    pub(crate) fn job_ids(&self, repository: u64, pushes: Option<&[u64]>, offset: usize, limit: usize) -> Vec<u64> {
        self.world.dataset.job_ids(repository, pushes, &self.as_of, (offset, limit))
    }

    /// The pushes until now with their ranks, newest first.
    pub(crate) fn pushes(&self, repository: u64) -> impl Iterator<Item = (usize, PushHead<'a>)> {
        let Self { world, as_of } = *self;
        (0..world.dataset.num_pushes(repository))
            .map(move |rank| (rank, world.dataset.push_head(repository, rank)))
            .filter(move |(_, head)| head.push_timestamp.min(world.dataset.now()) <= as_of.now)
    }

    pub(crate) fn write_push(&self, repository: u64, rank: usize, out: &mut Vec<u8>) {
        self.world.dataset.write_push(repository, rank, out);
    }

    fn timeline(&self) -> AlertTimeline<'a> {
        AlertTimeline { dataset: &*self.world.dataset, as_of: self.as_of }
    }

    /// Above every rank of an alert summary.
    pub(crate) fn num_alerts(&self) -> usize {
        self.world.dataset.num_alerts()
    }

    /// The head of an alert summary that is there.
    pub(crate) fn alert_head(&self, rank: usize) -> Option<AlertHead> {
        self.timeline().head(rank)
    }

    /// Seconds.
    pub(crate) fn alert_push_timestamp(&self, rank: usize) -> i64 {
        self.world.dataset.alert_push_timestamp(rank)
    }

    pub(crate) fn write_alert(&self, rank: usize, out: &mut Vec<u8>) {
        self.timeline().write(rank, out);
    }
}
