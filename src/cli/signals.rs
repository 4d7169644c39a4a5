//! SIGINT and SIGTERM: the first drains the run, the second ends the process immediately. A closed terminal ends
//! nothing.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::actor::Shutdown;

/// Stops listening when dropped.
#[derive(Debug)]
pub(super) struct SignalListener(JoinHandle<()>);

impl Drop for SignalListener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Drains `shutdown` at the first SIGINT or SIGTERM, abandons requests in flight after `grace`, and exits with 130 at
/// the second signal. Acknowledged answers are always on the disk already, so neither signal loses them. From now on,
/// SIGHUP does not end the process.
#[must_use]
pub(super) fn end_on_signals(shutdown: Shutdown, grace: Duration) -> SignalListener {
    let mut signals = Signals::listen();
    keep_running_without_terminal();
    SignalListener(tokio::spawn(async move {
        signals.next().await;
        tracing::warn!(
            grace_s = grace.as_secs(),
            "stopping: waiting for requests in flight; press Ctrl-C again to stop now"
        );
        tokio::select! {
            () = async {
                shutdown.drain_then_abandon(grace).await;
                std::future::pending::<()>().await;
            } => {}
            () = signals.next() => end_at_once(),
        }
    }))
}

#[expect(clippy::exit, reason = "the user asked twice, so nothing is waited for")]
fn end_at_once() {
    tracing::warn!("stopped immediately; everything acknowledged is kept");
    crate::observe::clear_display(); // or the shell's prompt would follow a progress bar
    std::process::exit(i32::from(crate::EXIT_INTERRUPTED));
}

/// Takes SIGHUP's default action away, which ends the process when its terminal is closed.
fn keep_running_without_terminal() {
    #[cfg(unix)]
    if let Err(error) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()) {
        tracing::debug!(%error, "SIGHUP ends the process, as usual");
    }
}

/// Listens to SIGINT and SIGTERM from its creation on, so that a signal between two waits is not lost.
#[cfg(unix)]
#[derive(Debug)]
pub(super) struct Signals(Option<[tokio::signal::unix::Signal; 2]>);

#[cfg(unix)]
impl Signals {
    /// Starts listening. If the system has no handlers, signals end the process as usual.
    #[must_use]
    pub(super) fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let both = signal(SignalKind::interrupt()).and_then(|one| Ok([one, signal(SignalKind::terminate())?]));
        Self(both.ok())
    }

    /// Returns at the next signal.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn next(&mut self) {
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
pub(super) struct Signals(());

#[cfg(not(unix))]
impl Signals {
    /// Listens from the first wait on.
    #[must_use]
    pub(super) fn listen() -> Self {
        Self(())
    }

    /// Returns at the next Ctrl-C.
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn next(&mut self) {
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
