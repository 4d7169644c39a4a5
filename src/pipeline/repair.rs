//! Repair: a run that meets damaged values fetches them again, once, and names those that are lost.

use std::sync::Arc;

use crate::Error;
use crate::actor::blocking;
use crate::dataset::DatasetError;
use crate::dataset::families::groups::GroupsError;
use crate::fetch::FetchError;
use crate::store::{Outcome, Repair, Store, StoreError};

/// The repair of a run, at most one: damaged answers become pending again.
#[derive(Debug, Default)]
pub(super) struct RunRepair {
    done: Option<Repair>,
}

impl RunRepair {
    /// Repairs the store at once when damage was seen on opening it.
    pub(super) async fn begin(store: &Arc<Store>) -> Result<Self, Error> {
        let mut repair = Self::default();
        if store.needs_repair()? {
            repair.repair(store).await?;
        }
        Ok(repair)
    }

    /// Whether a repair may help against `error`.
    pub(super) fn helps(&self, error: &Error) -> bool {
        self.done.is_none() && store_error_of(error).is_some_and(StoreError::is_damaged_value)
    }

    /// Makes damaged answers pending again.
    pub(super) async fn repair(&mut self, store: &Arc<Store>) -> Result<(), Error> {
        tracing::warn!("stored values are damaged; checking the whole store");
        let reading = Arc::clone(store);
        let repaired = blocking(move || reading.repair()).await;
        let repair = repaired.map_err(|error| Error::of_thread("the repair of the store", error))??;
        tracing::warn!(requests = repair.asked_again.len(), "fetching the damaged answers again");
        self.done = Some(repair);
        Ok(())
    }

    /// Damaged answers that the server no longer has.
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

fn store_error_of(error: &Error) -> Option<&StoreError> {
    match error {
        Error::Store(error)
        | Error::Fetch(FetchError::Store(error))
        | Error::Reduce(DatasetError::Store(error) | DatasetError::Groups(GroupsError::LookUp { source: error, .. })) => {
            Some(error)
        }
        _ => None,
    }
}
