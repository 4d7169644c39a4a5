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
    SignalListener(tokio::spawn(async move {
        wait_for_signal().await;
        tracing::warn!(grace_s = grace.as_secs(), "ending: no new requests; once more ends at once");
        tokio::select! {
            () = async {
                shutdown.drain_then_abandon(grace).await;
                std::future::pending::<()>().await;
            } => {}
            () = wait_for_signal() => end_at_once(),
        }
    }))
}

#[expect(clippy::exit, reason = "the person asked twice; waiting for anything would be waiting too long")]
fn end_at_once() {
    tracing::warn!("ended at once; everything acknowledged is kept");
    crate::observe::clear_display(); // what is written next must not stand behind a bar
    std::process::exit(i32::from(crate::EXIT_INTERRUPTED));
}

/// Returns at the next SIGINT or SIGTERM.
///
/// # Cancel safety
/// Safe.
pub async fn wait_for_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            return std::future::pending().await; // without handlers, signals end the process as they always do
        };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
