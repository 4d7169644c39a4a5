//! The advice for an error of the system.

use std::io::{Error, ErrorKind};

/// The next step after `error` met a file: a sentence fragment. One table, so that no message blames the disk for a
/// limit.
pub(crate) fn advice(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free some space, then run the same command again",
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => "check the permissions, or choose another place",
        ErrorKind::AlreadyExists | ErrorKind::NotADirectory => "choose another folder, since a file has this name",
        ErrorKind::NotFound => "check that its folder exists",
        ErrorKind::WouldBlock | ErrorKind::OutOfMemory => {
            "raise the limit of processes (`ulimit -u`) or of memory (`ulimit -v`), then run the same command again"
        }
        ErrorKind::FileTooLarge => "raise the limit of file sizes (`ulimit -f`), then run the same command again",
        _ => match error.raw_os_error() {
            Some(ENFILE | EMFILE) => "raise the limit of open files (`ulimit -n`), then run the same command again",
            Some(EIO) => "the disk may be failing; check it, then run the same command again",
            _ => "correct the cause, then run the same command again",
        },
    }
}

/// True when the system has run out of a resource (space, open files, threads, memory). Another place would not help.
pub(crate) fn is_limit(error: &Error) -> bool {
    use ErrorKind::{OutOfMemory, QuotaExceeded, StorageFull, WouldBlock};
    matches!(error.kind(), StorageFull | QuotaExceeded | OutOfMemory | WouldBlock)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE | EIO))
}

const EIO: i32 = 5;
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_needs_space() {
        const ENOSPC: i32 = 28;
        const EDQUOT: i32 = 122;
        for code in 1..=133 {
            let says_space = advice(&Error::from_raw_os_error(code)).contains("space");
            assert_eq!(says_space, matches!(code, ENOSPC | EDQUOT), "{code}");
        }
        assert!(advice(&Error::from_raw_os_error(EMFILE)).contains("ulimit -n"));
    }
}
