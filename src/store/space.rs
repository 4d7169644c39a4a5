//! Free space on the disk of a store. A crawl ends in order before the disk is full, instead of at its first failing write.

use std::fmt;
use std::io;
use std::path::Path;

use super::StoreError;

/// Returns the bytes that this process may still write on the disk of a path.
type Source = Box<dyn Fn(&Path) -> io::Result<u64> + Send + Sync>;

/// The least free space, and the way to find out how much there is: one call a commit.
pub(super) struct Space {
    least: u64,
    source: Source,
}

impl fmt::Debug for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Space").field("least", &self.least).finish_non_exhaustive()
    }
}

impl Space {
    /// `store.min_free_bytes`; 0 asks for none.
    pub(super) fn of(least: u64) -> Self {
        Self { least, source: Box::new(free_bytes) }
    }

    #[cfg(test)]
    pub(super) fn with_source(least: u64, source: Source) -> Self {
        Self { least, source }
    }

    /// The error if the disk of `store` has too little free space. A disk that does not tell has enough.
    pub(super) fn shortage(&self, store: &Path) -> Option<StoreError> {
        let Self { least, source } = self;
        if *least == 0 {
            return None;
        }
        let free = source(store).ok().filter(|free| free < least)?;
        Some(StoreError::LowSpace { path: store.to_owned(), free, least: *least })
    }
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_path: &Path) -> io::Result<u64> {
    Err(io::ErrorKind::Unsupported.into())
}
