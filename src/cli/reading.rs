//! Opens the store for commands that only read.

use super::advice::complete_commands;
use super::terminal::say;
use crate::config::StoreConfig;
use crate::store::{Store, StoreError, Unavailable};

/// Opens the store. While a crawl runs, or without write permission, reports the commit as of which it is read.
pub(super) fn open_to_read(config: &StoreConfig) -> Result<Store, StoreError> {
    Ok(say_how_far(Store::open_to_read(config)?, config))
}

/// As [`open_to_read`], to show the dataset: while a harvest is open, that of the one before.
pub(super) fn open_to_show(config: &StoreConfig) -> Result<Store, StoreError> {
    let store = say_how_far(Store::open_to_show(config)?, config);
    if let (Some(harvest), Some(identity)) = (store.hides(), store.identity()?) {
        say(&complete_commands(&format!(
            "harvest {harvest} is open: showing the data up to {}, those of the harvest before; `perfharvest refresh` \
             finishes it",
            identity.data_end,
        )));
    }
    Ok(store)
}

fn say_how_far(store: Store, config: &StoreConfig) -> Store {
    if let Some((reason, commit)) = store.as_of() {
        let reason = match reason {
            Unavailable::InUse => "another process is writing to the store",
            Unavailable::ReadOnly => "this process may not write to the store",
        };
        say(&format!("{reason} {}: reading it as of commit {commit}", config.path.display()));
    }
    store
}
