//! Outputs appear whole: a temporary file in the same folder, fsync, rename, fsync of the folder. The only file that
//! creates outputs.
//!
//! Each [`ArtifactFile`] has a thread that hashes and writes, so that whoever makes the rows does not wait for the disk;
//! nor does it at the end: a [`Completing`] file is flushed while the next is made.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{JoinHandle, ScopedJoinHandle};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::MANIFEST_NAME;
use super::digest::digest_text;
use super::error::{ArtifactError, WriterPanicked};
use super::place::{folder_of, resolve};
use crate::actor::{LockedFile, fail_point, temporary_file};

/// Bytes handed to the writing thread at once.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that wait for the writing thread at the most.
const MAILBOX: usize = 8;

/// After so many bytes, what is written so far goes to the disk, beside the writing: else a long file would be on its way
/// only when all rows are made.
const SYNC_BYTES: u64 = 16 << 20;

/// How many letters and digits a temporary name has between the file's own and its ending.
const RANDOM_LEN: usize = 6;

/// The temporary files that killed processes left in `folder`: `.NAME.abc123.tmp`, and nobody has them locked.
#[must_use]
pub fn leftovers_in(folder: &Path) -> Vec<PathBuf> {
    let is_ours = |name: &str| {
        let middle = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
        middle.and_then(|middle| middle.rsplit_once('.')).is_some_and(|(name, random)| {
            !name.is_empty() && random.len() == RANDOM_LEN && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let ours = files.filter(|entry| entry.file_name().to_str().is_some_and(is_ours)).map(|entry| entry.path());
    ours.filter(|path| hold(path).is_some()).collect()
}

/// Locks a temporary file that no process writes. `None` for one that is being written.
fn hold(path: &Path) -> Option<LockedFile> {
    LockedFile::lock_if_possible(File::open(path).ok()?)
}

/// Removes what [`leftovers_in`] finds.
pub fn remove_leftovers(folder: &Path) {
    remove(leftovers_in(folder));
}

/// Removes the temporary files that killed processes left of the output at `path`.
pub fn remove_leftovers_of(path: &Path) {
    let Ok(path) = resolve(path) else { return };
    let Some(name) = path.file_name() else { return };
    let begin = format!(".{}.", name.to_string_lossy());
    let mut leftovers = leftovers_in(folder_of(&path));
    leftovers.retain(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begin)));
    remove(leftovers);
}

fn remove(leftovers: Vec<PathBuf>) {
    for path in leftovers {
        if hold(&path).is_some_and(|_held| std::fs::remove_file(&path).is_ok()) {
            tracing::debug!(path = %path.display(), "removed the temporary file of a run that was killed");
        }
    }
}

/// The result of a writing thread: the file, its length and its SHA-256.
type Written = (NamedTempFile, u64, [u8; 32]);

/// An output being written; dropped without [`ArtifactFile::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct ArtifactFile {
    path: PathBuf,
    block: Vec<u8>,
    /// To the writing thread; an empty block tells that the file is complete, dropping this without one that it is given up.
    blocks: Option<flume::Sender<Vec<u8>>>,
    /// Blocks that were written: their memory serves again.
    spare: flume::Receiver<Vec<u8>>,
    thread: Option<JoinHandle<io::Result<Option<Written>>>>,
}

/// An output whose bytes are all known, on its way to the disk; dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Completing(ArtifactFile);

/// An output that is complete and on the disk, under a temporary name.
#[derive(Debug)]
pub struct Finished {
    path: PathBuf,
    /// Open, and thereby locked: no other process takes it for a leftover.
    temporary: NamedTempFile,
    /// Its length.
    pub bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: [u8; 32],
}

/// A temporary file beside the output at `path`.
fn create_locked(path: &Path) -> io::Result<NamedTempFile> {
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    loop {
        let temporary = temporary_file(&prefix, ".tmp").rand_bytes(RANDOM_LEN).tempfile_in(folder_of(path))?;
        let _some_file_systems_have_no_locks = temporary.as_file().lock();
        // Before it was locked, another process may have taken it for a leftover.
        if temporary.path().exists() {
            return Ok(temporary);
        }
    }
}

impl ArtifactFile {
    /// Begins `name` in `folder`, or the file to which a symbolic link of this name leads.
    ///
    /// # Errors
    /// [`ArtifactError::Folder`] when no file can be created there, [`ArtifactError::NotAFile`] when something else is there.
    pub fn create(folder: &Path, name: &str) -> Result<Self, ArtifactError> {
        let path = resolve(&folder.join(name))?;
        let failed = |source| ArtifactError::Folder { folder: folder_of(&path).to_owned(), source };
        let temporary = create_locked(&path).map_err(failed)?;
        let (blocks, inbox) = flume::bounded(MAILBOX);
        let (used, spare) = flume::bounded(MAILBOX);
        let hasher = Hasher::start(used.clone()).map_err(ArtifactError::Thread)?;
        let thread = std::thread::Builder::new()
            .name(format!("write {name}"))
            .spawn(move || write_blocks(temporary, &inbox, hasher, &used))
            .map_err(ArtifactError::Thread)?;
        Ok(Self { path, block: Vec::with_capacity(BLOCK_BYTES), blocks: Some(blocks), spare, thread: Some(thread) })
    }

    /// Where it will appear.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`ArtifactError::Write`] when anything could not be written.
    pub fn finish(self) -> Result<Finished, ArtifactError> {
        self.complete()?.wait()
    }

    /// Says that nothing more is to be written, and does not wait for the disk.
    ///
    /// # Errors
    /// [`ArtifactError::Write`] when writing has stopped.
    pub fn complete(mut self) -> Result<Completing, ArtifactError> {
        match self.send().and_then(|()| self.hand_over(Vec::new())) {
            Ok(()) => {
                drop(self.blocks.take()); // the writing thread goes on to the disk
                Ok(Completing(self))
            }
            Err(met) => Err(self.explain_now(met)),
        }
    }

    /// An error that a write met, as the writing thread saw it.
    #[must_use]
    pub fn explain(mut self, met: io::Error) -> ArtifactError {
        self.explain_now(met)
    }

    /// As [`ArtifactFile::explain`], where the file cannot be given away; nothing more can be written to it.
    pub(super) fn explain_now(&mut self, met: io::Error) -> ArtifactError {
        let source = self.cause_of_end(met);
        ArtifactError::of_write(self.path.clone(), source)
    }

    fn send(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let next = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK_BYTES));
        let block = std::mem::replace(&mut self.block, next);
        self.hand_over(block)
    }

    /// Writes all of `block` without copying it; leaves an empty one, with memory for the next where there is some.
    ///
    /// # Errors
    /// When writing has stopped; [`ArtifactFile::explain`] tells why.
    pub fn write_block(&mut self, block: &mut Vec<u8>) -> io::Result<()> {
        self.send()?;
        let next = self.spare.try_recv().unwrap_or_default();
        match std::mem::replace(block, next) {
            nothing if nothing.is_empty() => Ok(()), // an empty block says more than that
            block => self.hand_over(block),
        }
    }

    fn hand_over(&mut self, block: Vec<u8>) -> io::Result<()> {
        let is_sent = self.blocks.as_ref().is_some_and(|blocks| blocks.send(block).is_ok());
        if is_sent { Ok(()) } else { Err(self.cause_of_end(io::Error::other("writing stopped"))) }
    }

    /// The error that ended the writing thread; `met` if it met none, or was asked before.
    fn cause_of_end(&mut self, met: io::Error) -> io::Error {
        drop(self.blocks.take());
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => error,
            Some(Err(_)) => io::Error::other(WriterPanicked),
            _ => met,
        }
    }
}

impl Completing {
    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`ArtifactError::Write`] when anything could not be written.
    pub fn wait(self) -> Result<Finished, ArtifactError> {
        let Self(mut file) = self;
        let path = std::mem::take(&mut file.path);
        let failed = |source| ArtifactError::of_write(path.clone(), source);
        let thread = file.thread.take().ok_or_else(|| failed(io::Error::other("it was finished before")))?;
        let written = thread.join().map_err(|_| failed(io::Error::other(WriterPanicked)))?;
        let written = written.map_err(failed)?;
        let (temporary, bytes, sha256) = written.ok_or_else(|| failed(io::Error::other("it was given up")))?;
        Ok(Finished { path, temporary, bytes, sha256 })
    }
}

impl Drop for ArtifactFile {
    /// Waits until the temporary file is gone: a process that ends right after would leave it behind.
    fn drop(&mut self) {
        drop(self.blocks.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Write for ArtifactFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() + bytes.len() > BLOCK_BYTES {
            self.send()?;
        }
        self.block.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// A thread that hashes the blocks beside the one that writes them: either takes as long as the other, and longer than making
/// the rows.
struct Hasher {
    blocks: flume::Sender<Arc<Vec<u8>>>,
    thread: JoinHandle<[u8; 32]>,
}

impl Hasher {
    fn start(used: flume::Sender<Vec<u8>>) -> io::Result<Self> {
        let (blocks, inbox) = flume::bounded::<Arc<Vec<u8>>>(MAILBOX);
        let hash = move || {
            let mut hash = Sha256::new();
            for block in inbox {
                hash.update(block.as_slice());
                hand_back(block, &used);
            }
            hash.finalize().into()
        };
        Ok(Self { blocks, thread: std::thread::Builder::new().spawn(hash)? })
    }

    fn finish(self) -> io::Result<[u8; 32]> {
        drop(self.blocks); // nothing more is to be hashed
        self.thread.join().map_err(|_| io::Error::other(WriterPanicked))
    }
}

/// The last user of a block hands its memory back.
fn hand_back(block: Arc<Vec<u8>>, used: &flume::Sender<Vec<u8>>) {
    if let Some(mut block) = Arc::into_inner(block) {
        block.clear();
        let _enough_are_spare = used.try_send(block);
    }
}

/// Writes what comes. `None` when the file is given up.
fn write_blocks(
    mut temporary: NamedTempFile,
    inbox: &flume::Receiver<Vec<u8>>,
    hasher: Hasher,
    used: &flume::Sender<Vec<u8>>,
) -> io::Result<Option<Written>> {
    std::thread::scope(|scope| {
        let (mut bytes, mut synced) = (0, 0);
        let mut syncing: Option<ScopedJoinHandle<'_, io::Result<()>>> = None;
        let synced_well =
            |syncing: Option<ScopedJoinHandle<'_, io::Result<()>>>| match syncing.map(ScopedJoinHandle::join) {
                // The system reports an error to one sync only, so the last one would not get it.
                Some(met) => met.map_err(|_| io::Error::other(WriterPanicked))?,
                None => Ok(()),
            };
        let mut complete = false;
        for block in inbox {
            complete = block.is_empty();
            bytes += block.len() as u64;
            let block = Arc::new(block);
            let _never_gone_before = hasher.blocks.send(Arc::clone(&block));
            temporary.write_all(&block)?;
            hand_back(block, used);
            if bytes - synced >= SYNC_BYTES && syncing.as_ref().is_none_or(ScopedJoinHandle::is_finished) {
                synced_well(syncing.take())?;
                let file = temporary.as_file().try_clone()?;
                // Without a thread, the end waits for the disk longer.
                syncing = std::thread::Builder::new().spawn_scoped(scope, move || file.sync_data()).ok();
                synced = bytes;
            }
        }
        if !complete {
            return Ok(None);
        }
        temporary.flush()?;
        fail_point("artifact.before_fsync");
        synced_well(syncing)?;
        temporary.as_file().sync_all()?;
        let sha256 = hasher.finish()?;
        Ok(Some((temporary, bytes, sha256)))
    })
}

impl Finished {
    /// The name that it gets.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The SHA-256 in the format of `manifest.json`.
    pub(crate) fn digest(&self) -> String {
        digest_text(&self.sha256)
    }
}

/// Outputs that appear together, at the end.
pub type Publication = Vec<Finished>;

/// Gives the outputs their names, in `folder` or where its links lead, durably.
///
/// # Errors
/// [`ArtifactError::Write`] names the first that could not be renamed; those before it have appeared.
pub fn publish(folder: &Path, publication: Publication) -> Result<(), ArtifactError> {
    if publication.is_empty() {
        return Ok(());
    }
    let mut folders = BTreeSet::from([folder.to_owned()]);
    for finished in publication {
        let path = finished.path;
        folders.insert(folder_of(&path).to_owned());
        let failed = |source| ArtifactError::Write { path: path.clone(), source };
        fail_point(if path.ends_with(MANIFEST_NAME) { "artifact.before_manifest" } else { "artifact.before_rename" });
        finished.temporary.persist(&path).map_err(|error| failed(error.error))?;
    }
    fail_point("artifact.after_renames");
    for folder in folders {
        let synced = File::open(&folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| ArtifactError::Write { path: folder, source })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
