//! A fetcher's access to the source: the breaker's gate, a token, the attempt, and the notes taken of its result.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{debug, info, warn};

use super::breaker::{Gate, Toll};
use super::error::FetchError;
use super::pressure::Pressure;
use super::retry::{Retryability, classify, shows_life};
use crate::actor::Shutdown;
use crate::config::Config;
use crate::model::{AlertSummary, Batch, Kind, Request};
use crate::observe::{AttemptResult, Counters, human_duration};
use crate::source::{Answer, Reply, SignatureSink, SourceError, Treeherder};
use crate::store::SignatureListing;

/// The source, and all that an attempt passes on its way there. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct SourceAccess {
    /// The source.
    pub(crate) source: Treeherder,
    /// How hard the run presses the server.
    pub(crate) pressure: Pressure,
    /// Ends the run.
    pub(crate) shutdown: Shutdown,
    /// Counters of attempts, waits and errors.
    pub(crate) counters: Arc<Counters>,
    /// The configuration; `[limiter]`, `[concurrency]` and `[retry]` may change while a crawl runs.
    pub(crate) config: watch::Receiver<Arc<Config>>,
}

/// The result of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probed {
    Answered,
    Failed,
    /// The run ends.
    Ended,
}

impl SourceAccess {
    /// Waits for the gate and for a token. False when the run ends meanwhile.
    pub(super) async fn may_ask(&self) -> Result<bool, FetchError> {
        let breaker = &self.pressure.breaker;
        loop {
            let recovered = breaker.recovered();
            let was_down = breaker.is_down();
            match breaker.gate() {
                Gate::Open => {
                    if !self.take_token().await? {
                        return Ok(false);
                    }
                    if was_down || !breaker.is_down() {
                        return Ok(true);
                    } // it went down while this one waited: the token is spent, the request is not
                }
                Gate::Wait(wait) => {
                    let _waiting = self.counters.wait_for_source();
                    tokio::select! {
                        biased;
                        () = self.shutdown.drained() => return Ok(false),
                        () = recovered => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Gate::Probe => {
                    let _waiting = self.counters.wait_for_source();
                    if self.probe().await? == Probed::Ended {
                        return Ok(false);
                    }
                }
                Gate::GiveUp(waited) => return Err(self.unreachable(waited)),
            }
        }
    }

    /// Waits for a token. False when the run ends meanwhile.
    async fn take_token(&self) -> Result<bool, FetchError> {
        let waiting = self.counters.wait_for_token();
        let token = tokio::select! {
            biased;
            () = self.shutdown.drained() => None,
            token = self.pressure.bucket.acquire() => Some(token),
        };
        waiting.over(matches!(token, Some(Ok(()))));
        token.transpose().map(|token| token.is_some())
    }

    /// Asks `batch` once. The listing holds the signatures of a list, compressed while the rest of it arrives. `None` when
    /// the run is abandoned.
    pub(super) async fn attempt(&self, batch: &Batch) -> Option<Result<(Answer, SignatureListing), Arc<SourceError>>> {
        let listing = Arc::new(Mutex::new(SignatureListing::default()));
        let listed = Arc::clone(&listing);
        let sink: SignatureSink =
            Box::new(move |portion| listed.lock().unwrap_or_else(PoisonError::into_inner).add(&portion));
        let result = tokio::select! {
            biased;
            () = self.shutdown.abandoned() => return None,
            result = self.source.fetch(batch, sink) => result,
        };
        let listing = std::mem::take(&mut *listing.lock().unwrap_or_else(PoisonError::into_inner));
        Some(result.map(|answer| (answer, listing)).map_err(Arc::new))
    }

    /// Asks the smallest thing there is, to see whether the source answers.
    pub(super) async fn probe(&self) -> Result<Probed, FetchError> {
        if !self.take_token().await? {
            return Ok(Probed::Ended);
        }
        let probe = Batch::of(Request::Frameworks);
        let Some(result) = self.attempt(&probe).await else { return Ok(Probed::Ended) };
        let error = match result {
            Ok((answer, _)) => {
                self.count_answer(Kind::Signatures, 1, &answer);
                self.note_recovery();
                return Ok(Probed::Answered);
            }
            Err(error) => error,
        };
        self.counters.attempt(Kind::Signatures, 1, AttemptResult::Failed(&error.label()));
        self.heed_retry_after(&error)?;
        if classify(&error) == Retryability::Refused {
            return Err(self.refused(&probe, error).await);
        }
        if shows_life(&error) {
            self.note_recovery();
            return Ok(Probed::Answered);
        }
        self.pressure.breaker.probe_failed(&error);
        debug!(error = %error.with_causes(), "the source does not answer even the smallest request");
        Ok(Probed::Failed)
    }

    /// Asks once for a page of alert summaries, to compare another answer with it. `None` without an answer.
    pub(super) async fn ask_witness(&self, witness: &Batch) -> Result<Option<Vec<AlertSummary>>, FetchError> {
        if !self.take_token().await? {
            return Ok(None);
        }
        match self.attempt(witness).await {
            Some(Ok((answer, _))) => {
                self.count_answer(witness.kind(), 1, &answer);
                Ok(if let Reply::AlertPage { records, .. } = answer.reply { Some(records.taken) } else { None })
            }
            Some(Err(error)) => {
                self.counters.attempt(witness.kind(), 1, AttemptResult::Failed(&error.label()));
                self.heed_retry_after(&error)?;
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Takes note of an answer: counters, breaker, rate.
    pub(super) fn note_answer(&self, batch: &Batch, attempts: u32, answer: &Answer) {
        debug!(request = %batch, attempts, bytes = answer.body_bytes, latency_ms = answer.latency.as_millis(), "answered");
        self.count_answer(batch.kind(), attempts, answer);
        self.note_recovery();
        self.pressure.note_answer(&self.config, &self.counters);
    }

    /// Takes note of a failed attempt: counters, pause, rate, breaker. True when it met an outage.
    ///
    /// # Errors
    /// [`FetchError::AskedToWait`] when the server asks to wait longer than is allowed.
    pub(super) fn note_error(&self, batch: &Batch, attempt: u32, error: &Arc<SourceError>) -> Result<bool, FetchError> {
        self.counters.attempt(batch.kind(), attempt, AttemptResult::Failed(&error.label()));
        self.counters.note_error(format!("{batch}: {}", error.with_causes()));
        self.heed_retry_after(error)?;
        self.pressure.note_error(error, &self.config, &self.counters);
        if classify(error) == Retryability::Refused {
            return Ok(false);
        }
        if shows_life(error) {
            self.note_recovery();
            return Ok(false);
        }
        match self.pressure.breaker.failed(error) {
            Toll::Counts => Ok(false),
            Toll::Outage { began } => {
                if began {
                    warn!(
                        error = %error.with_causes(),
                        "many requests in a row failed; probing the source until it answers, for {} at most",
                        human_duration(self.pressure.breaker.gives_up_after())
                    );
                }
                Ok(true)
            }
        }
    }

    fn count_answer(&self, kind: Kind, attempts: u32, answer: &Answer) {
        let counted = AttemptResult::Answered { body_bytes: answer.body_bytes, latency: answer.latency };
        self.counters.attempt(kind, attempts, counted);
    }

    fn note_recovery(&self) {
        if self.pressure.breaker.answered() {
            info!("the source answers again");
        }
    }

    fn heed_retry_after(&self, error: &SourceError) -> Result<(), FetchError> {
        let allowed = self.config.borrow().limiter.max_retry_after;
        self.pressure.heed_retry_after(error, allowed)
    }

    /// Whether the server has the repository: its signature lists do not say. False when the run ends.
    ///
    /// # Errors
    /// [`FetchError::UnknownRepository`].
    pub(super) async fn check_repository(&self) -> Result<bool, FetchError> {
        if !self.take_token().await? {
            return Ok(false);
        }
        let checked = tokio::select! {
            biased;
            () = self.shutdown.abandoned() => return Ok(false),
            checked = self.source.check_repository() => checked,
        };
        match checked {
            Err(source @ SourceError::UnknownRepository { .. }) => Err(self.unknown_repository(Arc::new(source)).await),
            _ => Ok(true),
        }
    }

    /// Asks for the names of the repositories, so that the error can suggest one; without an answer it suggests none.
    async fn unknown_repository(&self, source: Arc<SourceError>) -> FetchError {
        let asked = async {
            match self.take_token().await {
                Ok(true) => self.source.nearest_repositories().await.unwrap_or_default(),
                _ => Vec::new(),
            }
        };
        let nearest = tokio::select! {
            biased;
            () = self.shutdown.abandoned() => Vec::new(),
            nearest = asked => nearest,
        };
        FetchError::UnknownRepository { base_url: self.config.borrow().source.base_url.clone(), nearest, source }
    }

    /// The crawl cannot go on.
    pub(super) async fn refused(&self, batch: &Batch, source: Arc<SourceError>) -> FetchError {
        match *source {
            SourceError::UnknownRepository { .. } => return self.unknown_repository(source).await,
            SourceError::ClockSkew { .. } => return FetchError::WrongClock { source },
            SourceError::Thread { .. } => return FetchError::Thread { source },
            _ => {}
        }
        let user_agent = self.config.borrow().source.user_agent.clone();
        FetchError::Refused { request: batch.to_string(), user_agent, source }
    }

    fn unreachable(&self, waited: Duration) -> FetchError {
        let nothing = || Arc::new(SourceError::Status { status: 503, retry_after: None, excerpt: String::new() });
        let source = self.pressure.breaker.last_error().unwrap_or_else(nothing);
        let base_url = self.config.borrow().source.base_url.clone();
        let waited_secs = waited.as_secs();
        match source.not_treeherder() {
            Some(hint) => FetchError::NotTreeherder { base_url, waited_secs, hint, source },
            None => FetchError::Unreachable { base_url, waited_secs, source },
        }
    }
}
