//! Opens the store for commands that only read.

use super::terminal::say;
use crate::config::StoreConfig;
use crate::store::{Store, StoreError, Unavailable};

/// Opens the store. While a crawl runs, or without write permission, reports the commit as of which it is read.
pub(super) fn open_to_read(config: &StoreConfig) -> Result<Store, StoreError> {
    let store = Store::open_to_read(config)?;
    if let Some((reason, commit)) = store.as_of() {
        let reason = match reason {
            Unavailable::InUse => "another process is writing to the store",
            Unavailable::ReadOnly => "this process may not write to the store",
        };
        say(&format!("{reason} {}: reading it as of commit {commit}", config.path.display()));
    }
    Ok(store)
}
