//! `compact`: writes the store's log anew without data that was replaced.

use clap::Args;

use super::flags::{Configured, FileFlags, LogFlags, StoreFlags, configured};
use super::terminal::{print, say};
use crate::Error;
use crate::observe::human_bytes;
use crate::store::{Store, StoreError};

#[derive(Debug, Args)]
pub(super) struct CompactArgs {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(CompactArgs: store, log);

pub(super) fn run(args: &CompactArgs) -> Result<u8, Error> {
    let config = args.start()?;
    let done = Store::compact(&config.store)?;
    if args.json {
        let text = serde_json::to_string_pretty(&done).map_err(|source| StoreError::Encode { source })?;
        print(&(text + "\n"))?;
    }
    say(&format!(
        "compacted the store {}\nlog: {} before, {} now\ndatabase: {} before, {} now",
        config.store.path.display(),
        human_bytes(done.log_before),
        human_bytes(done.log_after),
        human_bytes(done.database_before),
        human_bytes(done.database_after),
    ));
    Ok(0)
}
