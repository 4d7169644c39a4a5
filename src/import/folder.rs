//! Imports a folder of files into a new store, or merges it into another.

use std::path::{Path, PathBuf};

use super::data_end::proven_crawl;
use super::report::{DATA_NAME, EndProof, FileReport, JOBS_NAME, SIGNATURES_NAME};
use super::{ImportError, data, lists};
use crate::actor::Shutdown;
use crate::config::{Config, Scope};
use crate::fetch::first_requests;
use crate::store::{Absorbed, BulkWriter, CrawlIdentity, Incoming, Lateness, Store, StoreError, Tally};

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
    let files = Files::of(folder, config)?;
    let (crawl, end_proof) = proven_crawl(folder, files.data.as_deref(), config, shutdown)?;
    let incoming = Incoming::begin(&config.store)?;
    let summary = files.fill(incoming.store()?, crawl, end_proof, config, shutdown)?;
    incoming.finish()?;
    Ok(summary)
}

/// Merges the files in `folder` into the store of `config`, which holds a crawl of the same server and repository.
///
/// # Errors
/// [`ImportError`]; what was merged until then stays, and the same import goes on with it.
pub fn merge_folder(
    folder: &Path,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(ImportSummary, Absorbed), ImportError> {
    let files = Files::of(folder, config)?;
    let target = Store::open(&config.store)?;
    let stored = target.identity()?.ok_or_else(|| StoreError::Missing(config.store.path.clone()))?;
    let mut config = config.clone();
    config.window.start.get_or_insert(stored.window_start);
    let (mut crawl, end_proof) = proven_crawl(folder, files.data.as_deref(), &config, shutdown)?;
    if end_proof == EndProof::Nothing {
        crawl.data_end = stored.data_end; // there are no data that could be newer
    }
    let mut incoming = Incoming::beside(&config.store)?;
    let summary = files.fill(incoming.store()?, crawl, end_proof, &config, shutdown)?;
    let (lateness, first) = (Lateness::of(&config.window, false), first_requests(&config.batch));
    let absorbed = target.absorb(incoming.read_back()?, lateness, &first, shutdown)?;
    Ok((summary, absorbed.ok_or(ImportError::Interrupted)?))
}

/// The files of a folder that are there.
struct Files {
    data: Option<PathBuf>,
    signatures: Option<PathBuf>,
    jobs: Option<PathBuf>,
}

impl Files {
    fn of(folder: &Path, config: &Config) -> Result<Self, ImportError> {
        if config.sample.signatures.is_some() {
            return Err(ImportError::Sampled);
        }
        let there = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
        let files = Self { data: there(DATA_NAME), signatures: there(SIGNATURES_NAME), jobs: there(JOBS_NAME) };
        if files.data.is_none() && files.signatures.is_none() && files.jobs.is_none() {
            return Err(ImportError::NothingThere(folder.to_owned()));
        }
        Ok(files)
    }

    /// Writes the files into a new store of `crawl`.
    fn fill(
        self,
        store: &Store,
        crawl: CrawlIdentity,
        end_proof: EndProof,
        config: &Config,
        shutdown: &Shutdown,
    ) -> Result<ImportSummary, ImportError> {
        let scope = config.scope_over(&Scope::default()).map_err(StoreError::from)?;
        let identity = CrawlIdentity { scope, ..crawl };
        store.pin_identity(&identity)?;
        store.mark_as_imported()?;
        let mut writer = BulkWriter::new(store)?;
        let of_signatures =
            self.signatures.map(|path| lists::take_signatures(&path, &mut writer, shutdown)).transpose()?;
        let of_jobs = self.jobs.map(|path| lists::take_jobs(&path, &mut writer, shutdown)).transpose()?;
        let window = identity.data_window();
        let of_data = self.data.map(|path| data::take(&path, store, window, &mut writer, shutdown)).transpose()?;
        writer.discover(first_requests(&config.batch))?;
        let counts = writer.finish()?;
        Ok(ImportSummary {
            identity,
            end_proof,
            files: [(DATA_NAME, of_data), (SIGNATURES_NAME, of_signatures), (JOBS_NAME, of_jobs)],
            counts,
        })
    }
}
