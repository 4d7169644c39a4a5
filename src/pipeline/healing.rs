//! Healing: a run that meets damaged values asks the server for them again, once, and names what is lost.

use std::sync::Arc;

use crate::Error;
use crate::dataset::ReduceError;
use crate::dataset::families::groups::GroupsError;
use crate::fetch::FetchError;
use crate::store::{Outcome, Repair, Store, StoreError};

/// At most one repair a run: what is damaged is asked for again, and what the server no longer has is named.
#[derive(Debug, Default)]
pub(super) struct Healing {
    done: Option<Repair>,
}

impl Healing {
    /// Heals at once what opening the store has seen.
    pub(super) async fn begin(store: &Arc<Store>) -> Result<Self, Error> {
        let mut healing = Self::default();
        if store.needs_healing()? {
            healing.heal(store).await?;
        }
        Ok(healing)
    }

    /// Whether a repair may help against `error`.
    pub(super) fn helps(&self, error: &Error) -> bool {
        let stored = match error {
            Error::Store(error)
            | Error::Fetch(FetchError::Store(error))
            | Error::Reduce(
                ReduceError::Store(error) | ReduceError::Groups(GroupsError::LookUp { source: error, .. }),
            ) => Some(error),
            _ => None,
        };
        self.done.is_none() && stored.is_some_and(StoreError::is_damaged_value)
    }

    /// Makes what is damaged pending again.
    pub(super) async fn heal(&mut self, store: &Arc<Store>) -> Result<(), Error> {
        tracing::warn!("stored values are damaged; looking through the whole store");
        let reading = Arc::clone(store);
        let healed = tokio::task::spawn_blocking(move || reading.heal()).await;
        let repair = healed.map_err(|_| Error::Broken { part: "the repair of the store" })??;
        tracing::warn!(requests = repair.asked_again.len(), "asking again for what was damaged");
        self.done = Some(repair);
        Ok(())
    }

    /// What was damaged and is not on the server any more.
    pub(super) fn lost(&self, store: &Store) -> Result<Vec<String>, StoreError> {
        let mut lost = Vec::new();
        for request in self.done.iter().flat_map(|repair| &repair.asked_again) {
            if store.settled(request)?.is_some_and(|settled| settled.outcome == Outcome::Gone) {
                tracing::error!(%request, "its stored answer was damaged, and the server no longer has it");
                lost.push(request.to_string());
            }
        }
        for id in self.done.iter().flat_map(|repair| &repair.forgotten) {
            if !store.lists_signature(*id)? {
                tracing::error!(signature = %id, "its stored record was damaged, and the server no longer lists it");
                lost.push(format!("signature {id}"));
            }
        }
        Ok(lost)
    }
}
