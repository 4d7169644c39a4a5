//! Makes the dictionary with which the store compresses the API's records (`src/store/frame.dict`), from a crawl of the
//! recorded corpus. The one in use must never change; this shows how it came about, and serves for a next one.
//!
//! ```text
//! cargo run --example train_dictionary -- DEMO_STORE OUTPUT     # DEMO_STORE: what `perfharvest demo` left
//! ```

use std::path::PathBuf;

use anyhow::Context as _;
use perfharvest::config::StoreConfig;
use perfharvest::model::Request;
use perfharvest::store::Store;

/// Half as large costs 8 % of what it saves, twice as large gains 3 %.
const DICTIONARY_BYTES: usize = 16 << 10;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let usage = "usage: train_dictionary DEMO_STORE OUTPUT";
    let (path, output) = (args.next().context(usage)?, args.next().context(usage)?);
    let store = Store::open_existing(&StoreConfig { path, ..StoreConfig::default() })?;
    let mut samples: Vec<Vec<u8>> = Vec::new();
    for entry in store.all_settled() {
        let (request, _) = entry?;
        let record = match request {
            Request::Job { id } => store.job(id)?,
            Request::Summary { .. } => store.summary_header(&request)?,
            _ => None,
        };
        samples.extend(record.map(|record| record.as_str().as_bytes().to_vec()));
        samples.extend(store.provenance(&request)?.map(|made| serde_json::to_vec(&made)).transpose()?);
    }
    for id in store.signature_ids()? {
        samples.extend(store.signature(id)?.map(|record| record.as_str().as_bytes().to_vec()));
    }
    for id in store.alert_listing()? {
        samples.extend(store.alert_summary(id)?.map(|record| record.as_str().as_bytes().to_vec()));
    }
    let dictionary = zstd::dict::from_samples(&samples, DICTIONARY_BYTES)?;
    std::io::Write::write_all(
        &mut std::fs::OpenOptions::new().write(true).create_new(true).open(&output)?,
        &dictionary,
    )?;
    Ok(())
}
