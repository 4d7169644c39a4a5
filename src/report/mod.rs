//! 6. REPORT: one HTML page about a crawl, for people.
//!
//! `facts` gathers the numbers ([`crate::dataset::compute_overview`]), counts and failures from the store, and the
//! artifacts from their manifest. Each section turns facts into markup with `charts` and `tables`, and `page` combines
//! the sections. Promises: the page needs no network and runs only its own code (its content security policy allows one
//! style and one script, by digest); maud escapes every text from the server; the page does not depend on the clock, so
//! the same store and artifacts give the same bytes; its size is bounded, because tables have a maximum number of rows
//! and times are binned.

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
use crate::dataset::DatasetError;
use crate::store::Store;

use facts::Facts;

/// A report, ready to be written.
#[derive(Clone, Debug)]
pub struct Report {
    /// The whole page.
    pub html: String,
    /// False if a request failed or is still to be made, or a record was set aside.
    pub complete: bool,
}

/// Makes the report of the crawl in `store`, which is only read. `spill_dir` is the folder for temporary files of
/// sorting.
///
/// # Errors
/// [`DatasetError`] if the store holds no crawl, or if the store or the commits cannot be read.
pub fn make_report(
    store: &Store,
    config: &Config,
    spill_dir: &Path,
    shutdown: &Shutdown,
) -> Result<Report, DatasetError> {
    let facts = Facts::gather(store, config, spill_dir, shutdown)?;
    Ok(Report { html: page::page(&facts).into_string(), complete: facts.counts.is_whole() })
}
