//! The lock of a store: at most one process writes to it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use super::StoreError;
use crate::actor::{LockedFile, no_follow};

const NAME: &str = "lock";

/// A process that is just ending may keep a store locked for a moment.
const ATTEMPTS: u32 = 100;
const INTERVAL: Duration = Duration::from_millis(50);

/// Why a process only reads a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Another process has it open.
    InUse,
    /// The system does not let this process write in its folder.
    ReadOnly,
}

/// Takes the lock of the store at `store`; it is released when the file is dropped.
pub(super) fn take(store: &Path) -> Result<LockedFile, StoreError> {
    let path = store.join(NAME);
    let failed = |source| StoreError::Folder { path: path.clone(), source };
    for _ in 0..ATTEMPTS {
        match LockedFile::try_lock(open(&path)?) {
            Ok(file) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(INTERVAL),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
    }
    Err(StoreError::Locked(store.to_owned()))
}

/// Takes the lock if no other process has it and this one may write.
pub(super) fn take_if_free(store: &Path) -> Result<LockedFile, Unavailable> {
    let file = open(&store.join(NAME)).map_err(|_| Unavailable::ReadOnly)?;
    LockedFile::try_lock(file).map_err(|error| match error {
        TryLockError::WouldBlock => Unavailable::InUse,
        TryLockError::Error(_) => Unavailable::ReadOnly,
    })
}

fn open(path: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Folder { path: path.to_owned(), source };
    // Opening a FIFO would wait for its other end.
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(failed(io::Error::other("it is not a regular file"))),
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(failed(source)),
        _ => {}
    }
    no_follow(OpenOptions::new().create(true).truncate(false).write(true)).open(path).map_err(failed)
}
