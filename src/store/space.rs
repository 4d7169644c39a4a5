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

    /// True if too little space would be left on the disk of `store` once `bytes` more were written.
    pub(super) fn lacks(&self, bytes: u64, store: &Path) -> bool {
        (self.source)(store).is_ok_and(|free| free < self.least.saturating_add(bytes))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_beside_a_store_leaves_the_least_free_space() {
        let lacks = |least, bytes| Space::with_source(least, Box::new(|_| Ok(100))).lacks(bytes, Path::new("store"));
        assert_eq!([lacks(0, 100), lacks(0, 101), lacks(40, 60), lacks(40, 61)], [false, true, false, true]);
        let silent = Space::with_source(40, Box::new(|_| Err(io::ErrorKind::Unsupported.into())));
        assert!(!silent.lacks(u64::MAX, Path::new("store")));
    }
}
