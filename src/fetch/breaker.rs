//! The circuit breaker: a source that is down is probed, and not asked for the whole frontier in turn.
//!
//! When several attempts of any kind fail in a row, the source is considered down: fetchers wait, one of them
//! probes with the smallest request there is, and attempts that met the outage do not count against their requests. Every
//! second probe is a request of the frontier, in case only the smallest one fails. After `give_up_after` the run ends with
//! everything kept.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use crate::source::SourceError;

/// After so many failures in a row the source is considered down.
const FAILURES_IN_A_ROW: u32 = 6;

/// How long a source is probed that has not answered once in this run: a wrong address is reported soon.
const FIRST_ANSWER_PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct State {
    /// Failed attempts since the last success.
    in_a_row: u32,
    /// Attempts that were answered in this run.
    num_answers: u64,
    /// True once a reply of Treeherder's came, if only an error: it is at the address.
    was_heard: bool,
    last_error: Option<Arc<SourceError>>,
    num_probes: u32,
    /// The start of the outage.
    down_since: Option<Instant>,
    next_probe: Instant,
    probe_delay: Duration,
}

/// Shared by all fetchers. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Breaker {
    state: Arc<Mutex<State>>,
    recovered: Arc<Notify>,
    patience: Arc<Mutex<Patience>>,
}

/// How long an outage is waited out, and how often the source is probed.
#[derive(Clone, Copy, Debug)]
struct Patience {
    initial_delay: Duration,
    max_delay: Duration,
    give_up_after: Duration,
}

/// A fetcher's next step before an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Go on.
    Open,
    /// Probe the source first.
    Probe,
    /// Wait this long, or for [`Breaker::recovered`], then check the gate again.
    Wait(Duration),
    /// The source has been down for this long: end the run.
    GiveUp(Duration),
}

/// Whether a failed attempt counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toll {
    /// It counts against its request.
    Counts,
    /// It met an outage: it does not count. `began` is true once an outage, for the attempt that revealed it.
    Outage { began: bool },
}

impl Breaker {
    /// A source that is up.
    pub(super) fn new(initial_delay: Duration, max_delay: Duration, give_up_after: Duration) -> Self {
        Self {
            state: Arc::new(Mutex::new(State {
                in_a_row: 0,
                num_answers: 0,
                was_heard: false,
                last_error: None,
                num_probes: 0,
                down_since: None,
                next_probe: Instant::now(),
                probe_delay: initial_delay,
            })),
            recovered: Arc::default(),
            patience: Arc::new(Mutex::new(Patience { initial_delay, max_delay, give_up_after })),
        }
    }

    /// Applies a changed configuration.
    pub(super) fn retune(&self, initial_delay: Duration, max_delay: Duration, give_up_after: Duration) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) =
            Patience { initial_delay, max_delay, give_up_after };
    }

    fn patience(&self) -> Patience {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the next attempt may be made. At most one fetcher in an interval may probe, or pass in place of a probe.
    pub(super) fn gate(&self) -> Gate {
        let Patience { max_delay, give_up_after, .. } = self.patience();
        let mut state = self.state();
        let Some(since) = state.down_since else { return Gate::Open };
        let patience = state.patience(give_up_after);
        let now = Instant::now();
        if now - since >= patience {
            return Gate::GiveUp(now - since);
        }
        if now < state.next_probe {
            return Gate::Wait((state.next_probe - now).min(patience.saturating_sub(now - since)));
        }
        state.probe_delay = (state.probe_delay * 2).min(max_delay);
        state.next_probe = now + state.probe_delay;
        state.num_probes += 1;
        if state.num_probes % 2 == 1 { Gate::Probe } else { Gate::Open }
    }

    /// How long an outage lasts before the run ends.
    pub(super) fn gives_up_after(&self) -> Duration {
        self.state().patience(self.patience().give_up_after)
    }

    /// True while the source is considered down.
    pub(super) fn is_down(&self) -> bool {
        self.state().down_since.is_some()
    }

    /// Attempts that were answered so far.
    pub(super) fn num_answers(&self) -> u64 {
        self.state().num_answers
    }

    /// The last error of the kind that an outage causes.
    pub(super) fn last_error(&self) -> Option<Arc<SourceError>> {
        self.state().last_error.clone()
    }

    /// Ready when the source answers again, counted from this call: make it before [`Breaker::gate`], so that a
    /// recovery in between is not missed.
    pub(super) fn recovered(&self) -> Notified<'_> {
        self.recovered.notified()
    }

    /// An attempt was answered, if only by an error of its own. True when this ends an outage.
    pub(super) fn answered(&self) -> bool {
        let mut state = self.state();
        state.in_a_row = 0;
        state.num_answers += 1;
        state.was_heard = true;
        let was_down = state.down_since.take().is_some();
        drop(state);
        if was_down {
            self.recovered.notify_waiters();
        }
        was_down
    }

    /// An attempt failed by an error that an outage may cause.
    pub(super) fn failed(&self, error: &Arc<SourceError>) -> Toll {
        let Patience { initial_delay, .. } = self.patience();
        let mut state = self.state();
        state.note(error);
        if state.down_since.is_some() {
            return Toll::Outage { began: false };
        }
        if state.in_a_row < FAILURES_IN_A_ROW {
            return Toll::Counts;
        }
        state.begin_outage(initial_delay);
        Toll::Outage { began: true }
    }

    /// A probe failed: its sender suspected the source, which is considered down now.
    pub(super) fn probe_failed(&self, error: &Arc<SourceError>) {
        let Patience { initial_delay, .. } = self.patience();
        let mut state = self.state();
        state.note(error);
        if state.down_since.is_none() {
            state.begin_outage(initial_delay);
        }
    }
}

impl State {
    fn patience(&self, give_up_after: Duration) -> Duration {
        if self.was_heard { give_up_after } else { give_up_after.min(FIRST_ANSWER_PATIENCE) }
    }

    fn note(&mut self, error: &Arc<SourceError>) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.was_heard |= error.status().is_some() && error.not_treeherder().is_none();
        self.last_error = Some(Arc::clone(error));
    }

    fn begin_outage(&mut self, initial_delay: Duration) {
        let now = Instant::now();
        self.down_since = Some(now);
        self.probe_delay = initial_delay;
        self.next_probe = now + initial_delay;
        self.num_probes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Duration::from_secs(1), Duration::from_secs(8), Duration::from_mins(5))
    }

    /// An error without a reply.
    fn silence() -> Arc<SourceError> {
        Arc::new(crate::source::broken_connection())
    }

    fn unavailable() -> Arc<SourceError> {
        Arc::new(SourceError::Status { status: 503, retry_after: None, excerpt: String::new() })
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            let _toll = breaker.failed(&silence());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failures_between_successes_count_and_never_stop_the_run() {
        let breaker = breaker();
        for _ in 0..50 {
            for _ in 1..FAILURES_IN_A_ROW {
                assert_eq!(breaker.failed(&silence()), Toll::Counts);
            }
            assert!(!breaker.answered());
        }
        assert_eq!(breaker.gate(), Gate::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_probed_by_one_at_growing_intervals_and_ends_with_an_answer() {
        let breaker = breaker();
        assert!(!breaker.answered());
        fail(&breaker, FAILURES_IN_A_ROW);
        assert_eq!(breaker.gate(), Gate::Wait(Duration::from_secs(1)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(breaker.gate(), Gate::Probe);
        assert_eq!(breaker.gate(), Gate::Wait(Duration::from_secs(2)));
        assert_eq!(breaker.failed(&silence()), Toll::Outage { began: false });
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(breaker.gate(), Gate::Open, "every second probe is a request of the frontier");
        assert_eq!(breaker.gate(), Gate::Wait(Duration::from_secs(4)));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(breaker.gate(), Gate::Probe);
        assert!(breaker.answered());
        assert_eq!(breaker.gate(), Gate::Open);
        assert_eq!(breaker.failed(&silence()), Toll::Counts);
    }

    #[tokio::test(start_paused = true)]
    async fn a_recovery_between_the_gate_and_the_wait_is_not_missed() {
        let breaker = breaker();
        fail(&breaker, FAILURES_IN_A_ROW);
        let recovered = breaker.recovered();
        assert!(matches!(breaker.gate(), Gate::Wait(_)));
        assert!(breaker.answered());
        recovered.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_begins_an_outage() {
        let breaker = breaker();
        assert_eq!(breaker.failed(&silence()), Toll::Counts);
        breaker.probe_failed(&silence());
        assert!(breaker.is_down() && breaker.last_error().is_some());
        assert_eq!(breaker.gate(), Gate::Wait(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_reply_counts_as_a_sign_of_life() {
        let breaker = breaker();
        for _ in 0..FAILURES_IN_A_ROW {
            let _toll = breaker.failed(&unavailable());
        }
        tokio::time::advance(Duration::from_mins(4)).await;
        assert_eq!(breaker.gate(), Gate::Probe);
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_page_in_its_place_does_not() {
        let breaker = breaker();
        let login = Arc::new(SourceError::Redirect { status: 302, location: "http://login".to_owned() });
        for _ in 0..=FAILURES_IN_A_ROW {
            let _toll = breaker.failed(&login);
        }
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(matches!(breaker.gate(), Gate::GiveUp(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_that_never_answered_is_given_up_sooner() {
        let (never, once) = (breaker(), breaker());
        once.answered();
        for breaker in [&never, &once] {
            fail(breaker, FAILURES_IN_A_ROW);
        }
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(matches!(never.gate(), Gate::GiveUp(_)));
        assert_eq!(once.gate(), Gate::Probe);
        tokio::time::advance(Duration::from_mins(5)).await;
        assert!(matches!(once.gate(), Gate::GiveUp(_)));
    }
}
