//! A new store, filled beside its final path and moved there when it is complete.
//!
//! In: the final path, which is empty or does not exist. Out: the complete store at this path, or nothing. The folder is
//! `STORE.importing`; the next import removes the remains of a killed one. A lock file keeps two imports apart.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::index::Index;
use super::value_log::ValueLog;
use super::{Ledger, Store, StoreError};
use crate::actor::{LockedFile, no_follow};
use crate::config::StoreConfig;

const LOCK_NAME: &str = "importing.lock";

/// A new store. Dropped without [`Incoming::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Incoming {
    /// Of the finished store.
    config: StoreConfig,
    folder: PathBuf,
    /// `None` only after it was finished or abandoned.
    store: Option<Store>,
    is_in_place: bool,
    /// Held until the store is at its final path.
    _lock: LockedFile,
}

impl Incoming {
    /// Creates the folder beside `config.path`, and an empty store in it.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] when there is something at `config.path`, [`StoreError::Locked`] when another import runs,
    /// and any error of creating a store.
    pub fn begin(config: &StoreConfig) -> Result<Self, StoreError> {
        drop(check_empty(config)?);
        Self::beside(config)
    }

    /// As [`Incoming::begin`], whatever is at `config.path`: for a store that another one absorbs.
    ///
    /// # Errors
    /// As [`Incoming::begin`], but for [`StoreError::NotEmpty`].
    pub fn beside(config: &StoreConfig) -> Result<Self, StoreError> {
        let mut name = config.path.file_name().unwrap_or_default().to_owned();
        name.push(".importing");
        let folder = config.path.with_file_name(name);
        let failed = |source| StoreError::Folder { path: folder.clone(), source };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        if folder.is_symlink() {
            return Err(failed(io::Error::new(io::ErrorKind::NotADirectory, "it is a symbolic link; remove the link")));
        }
        let lock = no_follow(OpenOptions::new().create(true).truncate(false).write(true)).open(folder.join(LOCK_NAME));
        let lock = match LockedFile::try_lock(lock.map_err(failed)?) {
            Ok(lock) => lock,
            Err(TryLockError::WouldBlock) => return Err(StoreError::Locked(folder)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        };
        remove_left_over(&folder).map_err(failed)?;
        let store = Store::open(&StoreConfig { path: folder.clone(), ..config.clone() })?.into_memory()?;
        Ok(Self { config: config.clone(), folder, store: Some(store), is_in_place: false, _lock: lock })
    }

    /// The store, for writing.
    ///
    /// # Errors
    /// [`StoreError::WriterStopped`] never happens before [`Incoming::finish`].
    pub fn store(&self) -> Result<&Store, StoreError> {
        self.store.as_ref().ok_or(StoreError::WriterStopped)
    }

    /// Opens the store again, to read it; it must have been flushed.
    ///
    /// # Errors
    /// [`StoreError`] when it cannot be opened.
    pub fn read_back(&mut self) -> Result<&Store, StoreError> {
        drop(self.store.take());
        let mut store = Store::open(&StoreConfig { path: self.folder.clone(), ..self.config.clone() })?;
        store.hide_open_harvest()?;
        Ok(self.store.insert(store))
    }

    /// Moves the store to its final path. It must have been flushed.
    ///
    /// # Errors
    /// [`StoreError::NotEmpty`] or [`StoreError::Locked`] when another store was created there meanwhile,
    /// [`StoreError::Folder`] when it cannot be moved; then the new store is removed.
    pub fn finish(mut self) -> Result<(), StoreError> {
        drop(self.store.take()); // sled writes its last pages now
        // Another process may have created a store there meanwhile. An empty one stays locked until it is removed.
        let held = check_empty(&self.config)?;
        let target = &self.config.path;
        let moved = || -> io::Result<()> {
            if target.exists() {
                std::fs::remove_dir_all(target)?; // it is empty
            }
            std::fs::remove_file(self.folder.join(LOCK_NAME))?;
            File::open(&self.folder)?.sync_all()?;
            std::fs::rename(&self.folder, target)?;
            File::open(parent_of(target))?.sync_all()
        };
        moved().map_err(|source| StoreError::Folder { path: target.clone(), source })?;
        drop(held);
        self.is_in_place = true;
        Ok(())
    }
}

impl Store {
    /// The same store with its database in memory; [`Store::flush_all`] writes it.
    fn into_memory(self) -> Result<Self, StoreError> {
        let index = Index::in_memory();
        index.apply_in_bulk(self.index.entries().collect::<Result<_, _>>()?)?;
        let applied = *self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        let Self { path, values, space, lock, .. } = self;
        Ok(Self { space, ..Self::of(&path, index, applied.unwrap_or_default(), values, lock) })
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        drop(self.store.take());
        if !self.is_in_place {
            // A failure cannot be reported from here, and the next import tries again.
            let _next_time = std::fs::remove_dir_all(&self.folder);
        }
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// True if the store of `config` holds a crawl, so that an import is merged into it.
///
/// # Errors
/// [`StoreError`] when there is something else at its path, or the store cannot be opened.
pub fn is_filled(config: &StoreConfig) -> Result<bool, StoreError> {
    match check_empty(config) {
        Ok(_) => Ok(false),
        Err(StoreError::NotEmpty(_)) if Store::exists(&config.path) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Checks that there is nothing at the store's path, or an empty store; returns the latter still open, so that no other
/// process fills it.
fn check_empty(config: &StoreConfig) -> Result<Option<Store>, StoreError> {
    let path = &config.path;
    let mut entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StoreError::Folder { path: path.clone(), source }),
    };
    let not_empty = || StoreError::NotEmpty(path.clone());
    if path.join("db").is_dir() {
        let store = Store::open(config)?;
        let counts = store.counts()?;
        let is_empty = store.identity()?.is_none() && counts.pending() + counts.settled() + counts.failed() == 0;
        return if is_empty { Ok(Some(store)) } else { Err(not_empty()) };
    }
    if entries.next().is_some() { Err(not_empty()) } else { Ok(None) }
}

/// Removes the remains of a killed import, and no file that is not part of a store.
fn remove_left_over(folder: &Path) -> io::Result<()> {
    let gone = |removed: io::Result<()>| match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    gone(std::fs::remove_dir_all(folder.join("db")))?;
    gone(std::fs::remove_dir_all(folder.join("db.new")))?;
    gone(std::fs::remove_file(ValueLog::path_in(folder)))?;
    gone(std::fs::remove_file(Ledger::path_in(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf) -> StoreConfig {
        StoreConfig { path, ..crate::config::Config::default().store }
    }

    #[test]
    fn a_store_appears_when_it_is_finished_and_one_that_is_given_up_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().join("store"));
        let given_up = Incoming::begin(&config).unwrap();
        assert!(matches!(Incoming::begin(&config), Err(StoreError::Locked(_))));
        drop(given_up);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        Incoming::begin(&config).unwrap().finish().unwrap();
        let counts = Store::open_existing(&config).unwrap().counts().unwrap();
        assert_eq!((counts.settled(), std::fs::read_dir(folder.path()).unwrap().count()), (0, 1));
        Incoming::begin(&config).unwrap().finish().unwrap(); // an empty store is replaced
    }

    #[test]
    fn a_store_that_was_filled_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().join("store"));
        let incoming = Incoming::begin(&config).unwrap();
        let other = Store::open(&config).unwrap();
        let request = crate::model::Request::Frameworks;
        let settlement = crate::store::Settlement::discovery(vec![crate::store::Pending::of(request)]);
        other.commit(crate::store::Change::Expand { settlement: Box::new(settlement) }).unwrap();
        drop(other);
        assert!(matches!(incoming.finish(), Err(StoreError::NotEmpty(_))));
        assert_eq!(Store::open_existing(&config).unwrap().pending().count(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_import_left_is_removed_and_a_folder_of_other_things_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path().join("store"));
        std::fs::create_dir_all(folder.path().join("store.importing/db")).unwrap();
        std::fs::create_dir_all(folder.path().join("store.importing/db/half")).unwrap();
        Incoming::begin(&config).unwrap().finish().unwrap();
        assert!(!config.path.join("db/half").exists());

        let other = StoreConfig { path: folder.path().to_owned(), ..config };
        assert!(matches!(Incoming::begin(&other), Err(StoreError::NotEmpty(_))));
    }
}
