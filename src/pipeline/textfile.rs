//! Writes the state of the store for the node exporter.

use crate::config::Config;
use crate::model::{Kind, Timestamp};
use crate::observe::{RunState, StoreState};
use crate::store::{Store, StoreError};

/// Writes `metrics.textfile`, if it is configured and there is a store. A file that cannot be written costs a warning: no
/// data depend on it.
pub(crate) fn write_textfile(config: &Config) {
    let Some(path) = &config.metrics.textfile else { return };
    let state = match state_of(config) {
        Err(StoreError::Missing(_)) => return,
        state => state.map_err(|error| error.to_string()),
    };
    if let Err(error) = state.and_then(|state| state.write(path).map_err(|error| error.to_string())) {
        tracing::warn!(error, file = %path.display(), "cannot write metrics.textfile");
    }
}

fn state_of(config: &Config) -> Result<StoreState, StoreError> {
    let store = &config.store.path;
    let ledger = Store::latest_ledger(store)?;
    let finished = ledger.harvests.iter().rev().find(|harvest| harvest.finished_at.is_some());
    Ok(StoreState {
        repository: ledger.identity.as_ref().map(|crawl| crawl.repository.clone()).unwrap_or_default(),
        now: Timestamp::now(),
        harvest: finished.map_or(0, |harvest| harvest.number),
        is_open: ledger.harvests.last().is_some_and(|newest| newest.finished_at.is_none()),
        finished: finished.and_then(|harvest| Some((harvest.data_end, harvest.finished_at?))),
        requests: Kind::ALL
            .into_iter()
            .map(|kind| (kind, ledger.counts.of(kind)))
            .map(|(kind, of)| (kind, [of.pending, of.settled(), of.failed]))
            .collect(),
        set_aside: ledger.counts.set_aside(),
        run: RunState::read(store),
    })
}
