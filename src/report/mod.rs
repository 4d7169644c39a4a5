//! 6. REPORT: one HTML page that shows what a crawl holds, for people.
//!
//! `facts` gathers: the numbers behind the artifacts by the code that makes these ([`crate::dataset::survey`]), tallies and
//! failures from the store, the artifacts from their manifest. The sections turn facts into markup through `charts` and
//! `tables`; `page` puts them together. What is promised: the page needs no network and runs no code but its own (a
//! content security policy with the digests of its one style and its one script says so); every text of the server is
//! escaped, by maud's construction; no clock is read, so the same store and artifacts give the same bytes; and its size is
//! bounded, since tables end after some rows and times are binned.

mod alerts;
mod artifacts;
mod charts;
mod coverage;
mod crawl;
mod distributions;
mod facts;
mod groups;
mod names;
mod page;
mod tables;
mod text;
mod time_charts;

use std::path::Path;

use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::ReduceError;
use crate::store::Store;

use facts::Facts;

/// A report, ready to be written.
#[derive(Clone, Debug)]
pub struct Report {
    /// The page.
    pub html: String,
    /// False when anything failed or is still to be fetched.
    pub complete: bool,
}

/// Makes the report of the crawl in `store`; reads only. `spill_dir`: where sorting may put what does not fit into memory.
///
/// # Errors
/// [`ReduceError`] when there is no crawl in the store, or the store or the commits cannot be read.
pub fn make_report(
    store: &Store,
    config: &Config,
    spill_dir: &Path,
    shutdown: &Shutdown,
) -> Result<Report, ReduceError> {
    let facts = Facts::gather(store, config, spill_dir, shutdown)?;
    Ok(Report { html: page::page(&facts).into_string(), complete: facts.is_complete() })
}
