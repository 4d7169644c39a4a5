//! Reads a file of lines in blocks that end at the end of a line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::ImportError;
use crate::actor::{DealError, Inbox, Shutdown, deal, parallelism};

/// Size of a block, about; it has at least one line.
const BLOCK_BYTES: u64 = 1 << 20;

/// Some lines of a file.
#[derive(Debug)]
pub(super) struct Block {
    /// Position in the file, bytes.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
}

/// Reads a file block by block.
#[derive(Debug)]
pub(super) struct BlockReader {
    file: File,
    /// The first part of a line that ends in the next block.
    carry: Vec<u8>,
    offset: u64,
    block_bytes: u64,
}

impl BlockReader {
    pub(super) fn new(file: File) -> Self {
        Self { file, carry: Vec::new(), offset: 0, block_bytes: BLOCK_BYTES }
    }

    /// Reads the next block into `buffer`; `None` at the end of the file.
    pub(super) fn next(&mut self, buffer: Vec<u8>) -> io::Result<Option<Block>> {
        let mut bytes = buffer;
        bytes.clear();
        bytes.append(&mut self.carry);
        loop {
            let searched = bytes.len();
            bytes.reserve(usize::try_from(self.block_bytes).unwrap_or_default());
            let read = (&mut self.file).take(self.block_bytes).read_to_end(&mut bytes)?;
            if read == 0 {
                break;
            }
            if let Some(at) = bytes[searched..].iter().rposition(|&byte| byte == b'\n') {
                self.carry.extend_from_slice(&bytes[searched + at + 1..]);
                bytes.truncate(searched + at + 1);
                break;
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let block = Block { offset: self.offset, bytes };
        self.offset += block.bytes.len() as u64;
        Ok(Some(block))
    }
}

/// Calls `take` for each block of the file at `path`.
pub(super) fn each_block(path: &Path, shutdown: &Shutdown, mut take: impl FnMut(&[u8])) -> Result<(), ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let mut blocks = BlockReader::new(File::open(path).map_err(failed)?);
    let mut spare = Vec::new();
    while let Some(block) = blocks.next(spare).map_err(failed)? {
        if shutdown.is_draining() {
            return Err(ImportError::Interrupted);
        }
        take(&block.bytes);
        spare = block.bytes;
    }
    Ok(())
}

/// Applies `of_block` to each block of the file at `path`, on all cores, and joins the results by `join`; their order must not
/// matter. Returns `T::default()` for an empty file.
pub(super) fn fold_blocks<T: Default + Send>(
    path: &Path,
    shutdown: &Shutdown,
    of_block: impl Fn(&[u8]) -> T + Sync,
    join: impl Fn(T, T) -> T + Sync,
) -> Result<T, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let mut blocks = BlockReader::new(File::open(path).map_err(failed)?);
    let num_workers = parallelism();
    let max_in_flight = 2 * num_workers;
    let (used, spare) = flume::bounded::<Vec<u8>>(max_in_flight);
    let joined = Mutex::new(T::default());
    let (of_block, join, joined_by_all) = (&of_block, &join, &joined);
    let worker = |_| {
        let used = used.clone();
        move |inbox: Inbox<Block>| {
            let mut of_worker = T::default();
            for work in inbox {
                of_worker = join(of_worker, of_block(&work.item.bytes));
                let _enough_are_spare = used.try_send(work.item.bytes);
            }
            let mut joined = joined_by_all.lock().unwrap_or_else(PoisonError::into_inner);
            *joined = join(std::mem::take(&mut joined), of_worker);
            Ok(())
        }
    };
    let items = std::iter::from_fn(|| {
        if shutdown.is_draining() {
            return Some(Err(ImportError::Interrupted));
        }
        blocks.next(spare.try_recv().unwrap_or_default()).map_err(failed).transpose()
    });
    match deal(items, max_in_flight, (0..num_workers).map(worker).collect()) {
        Ok(()) => Ok(joined.into_inner().unwrap_or_else(PoisonError::into_inner)),
        Err(DealError::Failed(error)) => Err(error),
        Err(DealError::Panicked) => Err(ImportError::WorkerPanicked),
        Err(DealError::Thread(source)) => Err(ImportError::Thread(source)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn joined_blocks_are_the_file_and_only_the_last_may_end_within_a_line() {
        for text in ["", "a", "a\n", "\n\n", "one\ntwo, which is long\n3\n\nfour", "no line end at all, and long"] {
            for block_bytes in 1..12 {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(text.as_bytes()).unwrap();
                file.rewind().unwrap();
                let mut reader = BlockReader { block_bytes, ..BlockReader::new(file) };
                let mut blocks = Vec::new();
                while let Some(block) = reader.next(b"used before".to_vec()).unwrap() {
                    blocks.push(block);
                }
                let mut offset = 0;
                for (number, block) in blocks.iter().enumerate() {
                    assert_eq!(block.offset, offset);
                    assert!(block.bytes.ends_with(b"\n") || number + 1 == blocks.len());
                    offset += block.bytes.len() as u64;
                }
                let whole: Vec<u8> = blocks.into_iter().flat_map(|block| block.bytes).collect();
                assert_eq!(whole, text.as_bytes());
            }
        }
    }
}
