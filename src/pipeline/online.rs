//! Checks a configuration against its server: that it is Treeherder, has the repository, and has our time.

use std::num::NonZeroU32;
use std::sync::Arc;

use crate::Error;
use crate::actor::Shutdown;
use crate::config::Config;
use crate::fetch::{AskError, Asker, FetchError, Pressure};
use crate::model::{Timestamp, Window};
use crate::source::{SourceError, Treeherder};

/// The result of a check of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OnlineCheck {
    /// How far the server's clock is ahead of ours, seconds; `None` when it does not send its time.
    pub clock_ahead_secs: Option<i64>,
}

/// Asks the server of `config` for its frameworks and for the newest push of the repository, each once.
///
/// # Errors
/// [`FetchError::UnknownRepository`] with similar names, [`FetchError::WrongClock`], [`FetchError::Refused`], and
/// [`FetchError::CheckFailed`] for everything else that is not an answer of Treeherder.
///
/// # Cancel safety
/// Dropping the future abandons the request.
pub async fn check_online(config: &Config, shutdown: &Shutdown) -> Result<OnlineCheck, Error> {
    config.require_contact()?;
    let mut config = config.clone();
    config.retry.max_attempts = NonZeroU32::MIN; // a person waits for the first answer
    let pressure = Pressure::start(&config);
    let clock = pressure.clock.clone();
    let now = Timestamp::now();
    let nothing = Window { start: now, end: now };
    let source = Treeherder::new(&config.source, &config.batch, nothing, now, clock.clone())?;
    let asker = Asker::new(Arc::new(config.clone()), pressure, shutdown);
    asker.ask("frameworks", || source.check_server()).await.map_err(|error| failure_of(&config, error))?;
    match asker.ask("newest push", || source.check_repository()).await {
        Ok(()) => Ok(OnlineCheck { clock_ahead_secs: clock.ahead_secs() }),
        Err(AskError::Failed { source: error @ SourceError::UnknownRepository { .. }, .. }) => {
            let nearest = asker.ask("repositories", || source.nearest_repositories()).await.unwrap_or_default();
            let base_url = config.source.base_url.clone();
            Err(FetchError::UnknownRepository { base_url, nearest, source: Arc::new(error) }.into())
        }
        Err(error) => Err(failure_of(&config, error)),
    }
}

fn failure_of(config: &Config, error: AskError) -> Error {
    let source = match error {
        AskError::Fetch(error) => return error.into(),
        AskError::Interrupted => return Error::Broken { part: "the check of the server" }, // nobody ends it
        AskError::Failed { source, .. } => Arc::new(source),
    };
    let error = match *source {
        SourceError::ClockSkew { .. } => FetchError::WrongClock { source },
        SourceError::Thread { .. } => FetchError::Thread { source },
        SourceError::Forbidden => {
            let user_agent = config.source.user_agent.clone();
            FetchError::Refused { request: "the check".to_owned(), user_agent, source }
        }
        _ => {
            let base_url = config.source.base_url.clone();
            let unknown = "check source.base_url and whether the server is up";
            FetchError::CheckFailed { base_url, hint: source.not_treeherder().unwrap_or(unknown), source }
        }
    };
    error.into()
}
