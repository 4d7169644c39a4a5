//! Files that keep other processes away.

use std::fs::{File, TryLockError};
use std::io;
use std::ops::{Deref, DerefMut};

/// A file that this process has locked, until the value is dropped.
///
/// To close the file would not be enough: a child process that another thread is just starting has a copy of every open file,
/// and with it the lock, until its own program runs.
#[derive(Debug)]
pub(crate) struct LockedFile(File);

impl LockedFile {
    /// Locks `file`, unless another process has it locked.
    pub(crate) fn try_lock(file: File) -> Result<Self, TryLockError> {
        file.try_lock()?;
        Ok(Self(file))
    }

    /// As [`LockedFile::try_lock`]; `None` if another process has it locked. Some file systems have no locks: the file is
    /// taken to be free there.
    pub(crate) fn lock_if_possible(file: File) -> Option<Self> {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Ok(()) | Err(TryLockError::Error(_)) => Some(Self(file)),
        }
    }
}

impl Deref for LockedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.0
    }
}

impl DerefMut for LockedFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.0
    }
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        let _closing_it_does_too: io::Result<()> = self.0.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_free_once_dropped_though_a_starting_process_has_a_copy_of_it() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let open = || File::open(&path).unwrap();
        let locked = LockedFile::try_lock(open()).unwrap();
        assert!(matches!(LockedFile::try_lock(open()), Err(TryLockError::WouldBlock)));
        assert!(LockedFile::lock_if_possible(open()).is_none());
        let _copy = locked.try_clone().unwrap();
        drop(locked);
        LockedFile::try_lock(open()).unwrap();
    }
}
