//! Stops a run in two steps: first no new requests, then no waiting for those in flight.
//!
//! Only scheduler and fetchers watch it. Store and writers stop when their handles are dropped, so nothing accepted is
//! lost.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// The two cancellation tokens of a run. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    abandoned: CancellationToken,
}

impl Shutdown {
    /// Neither step has happened.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A part of this run, which stops with it and can be stopped by itself.
    #[must_use]
    pub fn part(&self) -> Self {
        Self { draining: self.draining.child_token(), abandoned: self.abandoned.child_token() }
    }

    /// First step: no new requests.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// Second step: requests in flight are abandoned, and stay pending.
    pub fn abandon(&self) {
        self.draining.cancel();
        self.abandoned.cancel();
    }

    /// First step now, second after `grace`.
    pub async fn drain_then_abandon(&self, grace: Duration) {
        self.drain();
        tokio::time::sleep(grace).await;
        self.abandon();
    }

    /// True from the first step on.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Returns at the first step.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn drained(&self) {
        self.draining.cancelled().await;
    }

    /// Returns at the second step.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn abandoned(&self) {
        self.abandoned.cancelled().await;
    }
}
