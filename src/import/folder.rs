//! Imports a folder of files into a new store.

use std::path::Path;

use super::data_end::proven_crawl;
use super::report::{DATA_NAME, EndProof, FileReport, JOBS_NAME, SIGNATURES_NAME};
use super::{ImportError, data, lists};
use crate::actor::Shutdown;
use crate::config::{Config, Scope};
use crate::fetch::first_requests;
use crate::store::{BulkWriter, CrawlIdentity, Incoming, Store, StoreError, Tally};

/// The result of an import.
#[derive(Clone, Debug)]
pub struct ImportSummary {
    /// Identity of the new store's crawl.
    pub identity: CrawlIdentity,
    /// The source of its `data_end`.
    pub end_proof: EndProof,
    /// By file name; `None` for a missing file.
    pub files: [(&'static str, Option<FileReport>); 3],
    /// Tally of the new store.
    pub counts: Tally,
}

/// Imports the files in `folder` into the store of `config`, which must be empty or not exist.
///
/// # Errors
/// [`ImportError`]; the store's path is then as before.
pub fn import_folder(folder: &Path, config: &Config, shutdown: &Shutdown) -> Result<ImportSummary, ImportError> {
    if config.sample.signatures.is_some() {
        return Err(ImportError::Sampled);
    }
    let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    let (data, signatures, jobs) = (there(DATA_NAME), there(SIGNATURES_NAME), there(JOBS_NAME));
    if data.is_none() && signatures.is_none() && jobs.is_none() {
        return Err(ImportError::NothingThere(folder.to_owned()));
    }
    let (crawl, end_proof) = proven_crawl(folder, data.as_deref(), config, shutdown)?;
    let identity = CrawlIdentity { scope: config.scope.over(&Scope::default()).map_err(StoreError::from)?, ..crawl };

    let incoming = Incoming::begin(&config.store)?;
    let store: &Store = incoming.store()?;
    store.pin_identity(&identity)?;
    let mut writer = BulkWriter::new(store)?;
    let of_signatures = signatures.map(|path| lists::take_signatures(&path, &mut writer, shutdown)).transpose()?;
    let of_jobs = jobs.map(|path| lists::take_jobs(&path, &mut writer, shutdown)).transpose()?;
    let window = identity.data_window();
    let of_data = data.map(|path| data::take(&path, store, window, &mut writer, shutdown)).transpose()?;
    writer.discover(first_requests(&config.batch))?;
    let counts = writer.finish()?;
    incoming.finish()?;
    Ok(ImportSummary {
        identity,
        end_proof,
        files: [(DATA_NAME, of_data), (SIGNATURES_NAME, of_signatures), (JOBS_NAME, of_jobs)],
        counts,
    })
}
