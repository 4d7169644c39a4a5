//! SIGINT and SIGTERM: the first drains the run, the second ends the process at once.

use std::time::Duration;

use tokio::task::JoinHandle;

use super::Shutdown;

/// Ends the listening when dropped.
#[derive(Debug)]
pub struct SignalListener(JoinHandle<()>);

impl Drop for SignalListener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Drains `shutdown` at the first SIGINT or SIGTERM, gives up what is in flight after `grace`, and exits with 130 at the
/// second signal. What was acknowledged is on the disk at any time, so neither loses it.
#[must_use]
pub fn end_on_signals(shutdown: Shutdown, grace: Duration) -> SignalListener {
    let mut signals = Signals::listen();
    SignalListener(tokio::spawn(async move {
        signals.next().await;
        tracing::warn!(grace_s = grace.as_secs(), "ending: no new requests; once more ends at once");
        tokio::select! {
            () = async {
                shutdown.drain_then_abandon(grace).await;
                std::future::pending::<()>().await;
            } => {}
            () = signals.next() => end_at_once(),
        }
    }))
}

#[expect(clippy::exit, reason = "the person asked twice; waiting for anything would be waiting too long")]
fn end_at_once() {
    tracing::warn!("ended at once; everything acknowledged is kept");
    crate::observe::clear_display(); // what is written next must not stand behind a bar
    std::process::exit(i32::from(crate::EXIT_INTERRUPTED));
}

/// SIGINT and SIGTERM from the moment on at which it is made: one that comes between two waits is not lost.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Signals(Option<[tokio::signal::unix::Signal; 2]>);

#[cfg(unix)]
impl Signals {
    /// Listens from now on. Where the system gives no handlers, signals end the process as they always do.
    #[must_use]
    pub(crate) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let both = signal(SignalKind::interrupt()).and_then(|one| Ok([one, signal(SignalKind::terminate())?]));
        Self(both.ok())
    }

    /// Returns at the next signal.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) {
        let Some([interrupt, terminate]) = &mut self.0 else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
}

/// Ctrl-C.
#[cfg(not(unix))]
#[derive(Debug)]
pub(crate) struct Signals(());

#[cfg(not(unix))]
impl Signals {
    /// Listens from the first wait on.
    #[must_use]
    pub(crate) fn listen() -> Self {
        Self(())
    }

    /// Returns at the next Ctrl-C.
    ///
    /// # Cancel safety
    /// Safe.
    pub(crate) async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_that_comes_between_two_waits_is_not_lost() {
        let mut signals = Signals::listen();
        for _ in 0..3 {
            let own_id = std::process::id().to_string();
            assert!(std::process::Command::new("kill").args(["-TERM", &own_id]).status().unwrap().success());
            signals.next().await;
        }
    }
}
