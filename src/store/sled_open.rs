//! Opens sled's database. sled panics on some damage, reports some errors of the system in the text of a panic, and refuses what
//! a killed process left half made.

use std::path::Path;
use std::time::Duration;

use sled::Db;

use super::StoreError;
use super::error::reason_of;
use super::panics::catch_silently;

/// sled follows links, and would write to a file elsewhere.
pub(super) fn refuse_links(folder: &Path) -> Result<(), StoreError> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    match std::iter::once(folder.to_owned()).chain(entries).find(|path| path.is_symlink()) {
        None => Ok(()),
        Some(path) => {
            let source = std::io::Error::other("it is a symbolic link; remove the link: the log has what it held");
            Err(StoreError::Folder { path, source })
        }
    }
}

pub(super) fn error_of_panic(folder: &Path, panic: &(dyn std::any::Any + Send)) -> StoreError {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    let text = text.unwrap_or_else(|| "sled cannot read it".to_owned());
    let path = folder.to_owned();
    match system_error_in(&text) {
        Some(source) => StoreError::Folder { path, source },
        None => StoreError::Unopenable { path, reason: reason_of(&text) },
    }
}

/// The system's error in the text of a panic, `Os { code: 24, …`: such a panic says nothing about the files.
pub(super) fn system_error_in(panic: &str) -> Option<std::io::Error> {
    let (_, code) = panic.split_once("Os { code: ")?;
    let digits = code.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(std::io::Error::from_raw_os_error).filter(is_of_the_system)
}

/// Removes a database that a killed process left half created: sled writes its `conf` in two steps before it creates the
/// database file, and refuses one that ends between them. No data are lost, because the database file is empty or missing.
fn remove_half_made(folder: &Path) -> std::io::Result<()> {
    let not_found = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let is_empty = match std::fs::metadata(folder.join("db")) {
        Ok(file) => file.len() == 0,
        Err(error) => not_found(&error),
    };
    if !is_empty {
        return Ok(());
    }
    match std::fs::remove_file(folder.join("conf")) {
        Err(error) if !not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Opens sled's database. sled panics on some damage; a panic becomes an error here.
pub(super) fn open_sled(folder: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    remove_half_made(folder).map_err(|source| StoreError::Folder { path: folder.to_owned(), source })?;
    let config = sled::Config::new()
        .path(folder)
        .cache_capacity(cache_bytes.max(LEAST_CACHE_BYTES))
        .flush_every_ms(None) // what is not flushed is in the log
        .mode(sled::Mode::HighThroughput);
    let mut opened = catch_silently(|| config.open());
    for _ in 0..LOCK_ATTEMPTS {
        if !matches!(&opened, Ok(Err(sled::Error::Io(error))) if is_lock_error(error)) {
            break;
        }
        std::thread::sleep(LOCK_INTERVAL);
        opened = catch_silently(|| config.open());
    }
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if is_lock_error(&error) => Err(StoreError::Locked(store_of(folder))),
        Ok(Err(sled::Error::Io(source))) if is_of_the_system(&source) => {
            Err(StoreError::Folder { path: folder.to_owned(), source })
        }
        Ok(Err(error)) => {
            Err(StoreError::Unopenable { path: folder.to_owned(), reason: reason_of(&error.to_string()) })
        }
        Err(panic) => Err(error_of_panic(folder, &*panic)),
    }
}

pub(super) fn store_of(folder: &Path) -> std::path::PathBuf {
    folder.parent().unwrap_or(folder).to_owned()
}

/// sled refuses a smaller cache.
pub(super) const LEAST_CACHE_BYTES: u64 = 256;

/// sled's threads may keep a database locked for a moment after it was closed.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_INTERVAL: Duration = Duration::from_millis(50);

/// True when the system refuses an operation, whatever the file holds.
fn is_of_the_system(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{InvalidInput, IsADirectory, NotADirectory};
    const EIO: i32 = 5;
    let of_content = matches!(error.kind(), InvalidInput | IsADirectory | NotADirectory);
    error.raw_os_error().is_some_and(|number| number != EIO) && !of_content
}

fn is_lock_error(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}
