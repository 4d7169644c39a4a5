//! The identity of a crawl: pinned in a new store, compared with that of an old one.

use std::sync::Arc;

use super::options::RunOptions;
use crate::config::Config;
use crate::model::Timestamp;
use crate::store::{CrawlIdentity, Store, StoreError};

/// Opens the store of `config` for its crawl: pins the crawl in a new store, compares it with that of an old one.
///
/// # Errors
/// [`StoreError::OtherCrawl`] when the store holds another crawl, and the errors of opening.
pub fn open_crawl(config: &Config, options: RunOptions) -> Result<(Arc<Store>, CrawlIdentity), StoreError> {
    let store = Store::open(&config.store)?;
    let identity = match store.identity()? {
        None => {
            let identity = CrawlIdentity::create(config, Timestamp::now());
            store.pin_identity(&identity)?;
            identity
        }
        Some(mut identity) => {
            let differences = identity.differences(config, options.same_source);
            if !differences.is_empty() {
                return Err(StoreError::OtherCrawl { path: store.path().to_owned(), differences });
            }
            let base_url = config.source.base_url.trim_end_matches('/');
            if identity.base_url != base_url {
                base_url.clone_into(&mut identity.base_url);
                store.pin_identity(&identity)?;
            }
            identity
        }
    };
    Ok((Arc::new(store), identity))
}
