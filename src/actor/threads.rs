//! Threads, of which the system may allow few: `ulimit -u`, `ulimit -v`, a container.
//!
//! [`prepare_threads`] finds out at the start of the process how many there can be, and sizes every pool by it. Threads
//! that are started later can still be refused: [`blocking`] reports that, where tokio's own blocking pool would wait
//! forever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::OnceLock;
use std::task::{Context, Poll};

use thiserror::Error;
use tokio::sync::oneshot;

/// Threads of a command beside the pools: sled's, a reducer and two writing threads for each family, the store's
/// writer.
const FIXED: usize = 36;

/// Pools that have a thread per core: the async runtime, rayon, the workers of a pass.
const POOLS: usize = 3;

/// Address space of a thread, bytes: its stack, and the segments that the allocator reserves for it.
const THREAD_BYTES: u64 = 40 << 20;

/// Address space beside that of the threads, bytes.
const BASE_BYTES: u64 = 768 << 20;

/// The system's limits are too low. Exit code 4.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// Too few threads.
    #[error(
        "the system allows only {allowed} more threads, and {needed} are needed; raise the limit of processes (`ulimit -u`, or the container's)"
    )]
    Threads {
        /// Threads that could be started.
        allowed: usize,
        /// Threads that the smallest run needs.
        needed: usize,
    },
    /// Too little address space.
    #[error(
        "the address space is limited to {} MB (`ulimit -v`), and {} MB are needed, of which most is reserved but never used; raise the limit, or limit the memory itself by a control group", limit >> 20, needed >> 20
    )]
    AddressSpace {
        /// The limit, bytes.
        limit: u64,
        /// Address space that the smallest run needs, bytes.
        needed: u64,
    },
}

/// The work on a thread of its own did not end.
#[derive(Debug)]
pub(crate) enum BlockingError {
    /// It panicked.
    Panicked,
    /// The system refused the thread.
    Thread(io::Error),
}

static PARALLELISM: OnceLock<usize> = OnceLock::new();

/// Threads of a pool that shares out work: the number of cores, or fewer where the system does not allow as many.
pub(crate) fn parallelism() -> usize {
    *PARALLELISM.get_or_init(cores)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Sizes the pools by the threads that the system allows. Returns how many threads the async runtime may have.
///
/// # Errors
/// [`LimitError`] when not even a pool of one thread each is possible.
pub fn prepare_threads() -> Result<usize, LimitError> {
    let limit = address_space_limit();
    let by_addresses = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit.saturating_sub(BASE_BYTES) / THREAD_BYTES).unwrap_or(usize::MAX)
    });
    if let Some(limit) = limit.filter(|_| pool_size(by_addresses).is_none()) {
        return Err(LimitError::AddressSpace { limit, needed: BASE_BYTES + (FIXED + POOLS) as u64 * THREAD_BYTES });
    }
    let allowed = start_at_once((FIXED + POOLS * cores()).min(by_addresses));
    let refused = LimitError::Threads { allowed, needed: FIXED + POOLS };
    let size = pool_size(allowed).ok_or_else(|| refused.clone())?;
    let size = *PARALLELISM.get_or_init(|| size);
    match rayon::ThreadPoolBuilder::new().num_threads(size).build_global() {
        Ok(()) => Ok(size),
        Err(_) => Err(refused),
    }
}

/// Threads of each pool when there can be `allowed` altogether.
fn pool_size(allowed: usize) -> Option<usize> {
    let size = allowed.checked_sub(FIXED)? / POOLS;
    (size > 0).then(|| size.min(cores()))
}

/// Starts `wanted` threads that live at the same time, and ends them. Returns how many the system allowed.
fn start_at_once(wanted: usize) -> usize {
    let (all_started, wait) = flume::bounded::<()>(0);
    let mut threads = Vec::with_capacity(wanted);
    for _ in 0..wanted {
        let wait = wait.clone();
        // The sender is dropped when all have started.
        match std::thread::Builder::new().spawn(move || wait.recv().is_err()) {
            Ok(thread) => threads.push(thread),
            Err(_) => break,
        }
    }
    drop(all_started);
    let allowed = threads.len();
    for thread in threads {
        drop(thread.join());
    }
    allowed
}

#[cfg(target_os = "linux")]
fn address_space_limit() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::As).current
}

#[cfg(not(target_os = "linux"))]
fn address_space_limit() -> Option<u64> {
    None
}

/// Runs `work`, which may wait for the disk, on a thread of its own, from now on. Dropping the future does not end it.
pub(crate) fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Blocking<T> {
    let (done, result) = oneshot::channel();
    // A panic drops the sender. Boxed, so that the compiler makes the start of a thread once and not for each kind of work.
    let work: Box<dyn FnOnce() + Send> = Box::new(move || drop(done.send(work())));
    let started = std::thread::Builder::new().spawn(work);
    Blocking { refused: started.err(), result }
}

/// Work on a thread of its own.
#[derive(Debug)]
pub(crate) struct Blocking<T> {
    refused: Option<io::Error>,
    result: oneshot::Receiver<T>,
}

impl<T> Future for Blocking<T> {
    type Output = Result<T, BlockingError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(refused) = self.refused.take() {
            return Poll::Ready(Err(BlockingError::Thread(refused)));
        }
        Pin::new(&mut self.result).poll(context).map(|done| done.map_err(|_| BlockingError::Panicked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_shrink_with_the_threads_that_are_allowed_and_never_have_none() {
        assert_eq!(pool_size(usize::MAX), Some(cores()));
        assert_eq!(pool_size(FIXED + POOLS), Some(1));
        assert_eq!((pool_size(FIXED + POOLS - 1), pool_size(0)), (None, None));
    }

    #[tokio::test]
    async fn work_on_a_thread_gives_its_result_or_says_that_it_panicked() {
        assert_eq!(blocking(|| 7).await.unwrap(), 7);
        let panicked = blocking(|| assert_eq!(1, 2, "a panic")).await;
        assert!(matches!(panicked, Err(BlockingError::Panicked)));
    }
}
