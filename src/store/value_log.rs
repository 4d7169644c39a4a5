//! The log: a file with every change of the store, from which the database can be built again.
//!
//! In: commits, each with the framed bytes of its records and the changes of the trees. Out: the [`Place`] of each record,
//! which the database stores instead of the value, and from a place the value again. sled rewrites a page of some 16 values
//! when one is added, and reads all of it for one of them: that costs little for places, but much for data. (Keys apart from
//! values: Lu et al., `WiscKey`, FAST 2016.)
//!
//! Groups (see `group`) are only appended, and are on the disk before the database gets their changes. So a crash leaves at
//! most unused bytes, and a file that is shorter than the database expects has lost data.

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::StoreError;
use super::bundle::value_in;
use super::frame;
use super::group::{Head, Kind};
use crate::actor::{fail_point, no_follow};

const NAME: &str = "values";
/// A log that is to take the place of the other one.
const NEXT_NAME: &str = "values.new";
const MAGIC: [u8; 2] = *b"PV";

/// Values are written in portions of about this size.
const WRITE_BYTES: usize = 1 << 20;

/// Longer values are neither written nor read.
pub(super) const MAX_VALUE_BYTES: u32 = 1 << 28;

/// The place of a value in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    offset: u64,
    len: u32,
    /// The last four bytes of the value, a part of its checksum, so that another value at this place is recognized.
    check: u32,
    /// Of a value in a bundle, to which all else refers: its number there.
    slot: Option<u16>,
}

impl Place {
    const LEAST_BYTES: usize = MAGIC.len() + 8 + 4 + 4;

    /// Position of the first byte in the file.
    pub(super) const fn offset(self) -> u64 {
        self.offset
    }

    /// Length of the value or its bundle, bytes.
    pub(super) const fn len(self) -> u32 {
        self.len
    }

    /// In a bundle (see [`super::bundle`]): the number of the value there.
    pub(super) const fn slot(self) -> Option<u16> {
        self.slot
    }

    /// The place of value `slot` in the bundle at this place.
    pub(super) const fn in_slot(self, slot: Option<u16>) -> Self {
        Self { slot, ..self }
    }

    /// The place of the same value at `offset`.
    pub(super) const fn at(self, offset: u64) -> Self {
        Self { offset, ..self }
    }

    /// The same place in values that begin at `start`.
    pub(super) const fn behind(self, start: u64) -> Self {
        Self { offset: self.offset.saturating_add(start), ..self }
    }

    fn of(offset: u64, framed: &[u8]) -> io::Result<Self> {
        let len = u32::try_from(framed.len()).ok().filter(|len| *len <= MAX_VALUE_BYTES);
        let len = len.ok_or_else(|| io::Error::other("a value is too long for the store"))?;
        Ok(Self { offset, len, check: check_of(framed), slot: None })
    }

    /// Little-endian, after a magic; at the end the slot, if any.
    pub(super) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(Self::LEAST_BYTES + 2);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.offset.to_le_bytes());
        bytes.extend_from_slice(&self.len.to_le_bytes());
        bytes.extend_from_slice(&self.check.to_le_bytes());
        bytes.extend(self.slot.into_iter().flat_map(u16::to_le_bytes));
        bytes
    }

    /// `None` for bytes that are not a place.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<2>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let (check, slot) = rest.split_first_chunk::<4>()?;
        let slot = if slot.is_empty() { None } else { Some(u16::from_le_bytes(slot.try_into().ok()?)) };
        let (offset, len) = (u64::from_le_bytes(*offset), u32::from_le_bytes(*len));
        (*magic == MAGIC).then_some(Self { offset, len, check: u32::from_le_bytes(*check), slot })
    }
}

fn check_of(framed: &[u8]) -> u32 {
    framed.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The log of one store. Any thread may read it; appending threads wait for each other.
#[derive(Debug)]
pub(super) struct ValueLog {
    path: PathBuf,
    /// In this process.
    number: u64,
    /// Not set before the file exists: reading does not create it.
    file: OnceLock<File>,
    /// Length of the file, where the next group begins.
    end: AtomicU64,
    /// Locked while a group is appended.
    writing: Mutex<Writing>,
}

#[derive(Debug, Default)]
struct Writing {
    /// Bytes to be written.
    buffer: Vec<u8>,
    /// Of the last group.
    number: u64,
    log_id: u64,
    /// A write failed: the next process finds out how far it came.
    is_broken: bool,
}

/// Tells the open logs of this process apart.
static NUM_OPENED: AtomicU64 = AtomicU64::new(0);

/// Bundles that each thread keeps: readers go through several ranges of records side by side.
const BUNDLES_KEPT: usize = 4;

#[derive(Debug, Default)]
struct Scratch {
    framed: Vec<u8>,
    raw: Vec<u8>,
    /// Number of the log, place in it, and the bundle there, out of its frame; the latest one last.
    bundles: Vec<(u64, u64, Vec<u8>)>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

impl ValueLog {
    /// The path of the log of the store at `store`.
    pub(super) fn path_in(store: &Path) -> PathBuf {
        store.join(NAME)
    }

    /// Opens the log of the store at `store`, for reading only or also for writing; the first group creates the file.
    pub(super) fn open(store: &Path, writable: bool) -> Result<Self, StoreError> {
        let log = Self::at(Self::path_in(store));
        match std::fs::symlink_metadata(&log.path) {
            Ok(metadata) if !metadata.is_file() => return Err(StoreError::NotAFile(log.path)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(log),
            Err(source) => return Err(StoreError::Folder { path: log.path, source }),
        }
        let opened = no_follow(OpenOptions::new().read(true).write(writable)).open(&log.path);
        let read_len = |file: File| file.metadata().map(|metadata| (file, metadata.len()));
        let (file, len) =
            opened.and_then(read_len).map_err(|source| StoreError::Folder { path: log.path.clone(), source })?;
        log.end.store(len, Ordering::Release);
        log.file.get_or_init(|| file);
        Ok(log)
    }

    /// The path of the log that a compaction of the store at `store` writes.
    pub(super) fn next_path_in(store: &Path) -> PathBuf {
        store.join(NEXT_NAME)
    }

    /// A log of which the first group creates the file, at `path`.
    pub(super) fn at(path: PathBuf) -> Self {
        let number = NUM_OPENED.fetch_add(1, Ordering::Relaxed);
        Self { file: OnceLock::new(), end: AtomicU64::new(0), writing: Mutex::default(), path, number }
    }

    /// Continues after group `number`.
    pub(super) fn continue_after(&self, number: u64, log_id: u64) {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        (writing.number, writing.log_id) = (number, log_id);
    }

    /// The file; it is created, with its name on the disk, if it does not exist.
    fn file(&self) -> io::Result<&File> {
        if let Some(file) = self.file.get() {
            return Ok(file);
        }
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&self.path)?;
        if let Some(store) = self.path.parent() {
            File::open(store)?.sync_all()?;
        }
        Ok(self.file.get_or_init(|| file))
    }

    /// True when the file exists.
    pub(super) fn exists(&self) -> bool {
        self.file.get().is_some()
    }

    /// As if the disk failed: the file can only be written.
    #[cfg(test)]
    pub(super) fn make_unreadable(&mut self) {
        let file = OpenOptions::new().write(true).open(&self.path).unwrap();
        self.file = OnceLock::from(file);
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes.
    pub(super) fn len(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Appends a group with `values` and the operations that `operations_of` makes from their places, which are relative to
    /// the first value. It is durable after [`ValueLog::sync`].
    pub(super) fn append(
        &self,
        kind: Kind,
        values: &[Vec<u8>],
        operations_of: impl FnOnce(&[Place]) -> Vec<u8>,
    ) -> io::Result<Head> {
        let mut writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if writing.is_broken {
            return Err(io::Error::other("an earlier write failed"));
        }
        let (mut places, mut hash, mut values_len) = (Vec::with_capacity(values.len()), Xxh3::new(), 0);
        for framed in values {
            places.push(Place::of(values_len, framed)?);
            hash.update(framed);
            values_len += framed.len() as u64;
        }
        let operations = frame::seal(&operations_of(&places));
        let head = Head {
            kind,
            log_id: writing.log_id,
            number: writing.number + 1,
            start: self.len(),
            values_len,
            values_check: hash.digest(),
            operations_len: operations.len() as u64,
            operations_check: xxh3_64(&operations),
        };
        writing.is_broken = true;
        let described = [&head.to_bytes()[..], &operations].concat();
        self.write(&mut writing.buffer, head.start, &described, values)?;
        fail_point("log.mid_write");
        write_all_at(self.file()?, &described, head.second_at())?;
        self.end.store(head.end(), Ordering::Release);
        writing.is_broken = false;
        writing.number = head.number;
        Ok(head)
    }

    fn write(&self, buffer: &mut Vec<u8>, start: u64, described: &[u8], values: &[Vec<u8>]) -> io::Result<()> {
        let mut offset = start;
        buffer.clear();
        buffer.extend_from_slice(described);
        for framed in values {
            buffer.extend_from_slice(framed);
            if buffer.len() >= WRITE_BYTES {
                write_all_at(self.file()?, buffer, offset)?;
                offset += buffer.len() as u64;
                buffer.clear();
            }
        }
        write_all_at(self.file()?, buffer, offset)
    }

    /// Destroys the heads of a group that was not written whole, so that it never counts.
    pub(super) fn cancel(&self, head: &Head) -> io::Result<()> {
        let file = self.file()?;
        for at in [head.start, head.second_at()] {
            let len = self.len().saturating_sub(at).min(Head::BYTES as u64);
            write_all_at(file, &[0; Head::BYTES][..usize::try_from(len).unwrap_or_default()], at)?;
        }
        file.sync_data()
    }

    /// Reads `len` bytes.
    pub(super) fn read_bytes(&self, offset: u64, len: u64, out: &mut Vec<u8>) -> io::Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= self.len());
        let (Some(file), Some(_), Ok(len)) = (self.file.get(), end, usize::try_from(len)) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        out.resize(len, 0);
        read_exact_at(file, out, offset)
    }

    /// Flushes all values to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        fail_point("log.before_sync");
        self.file.get().map_or(Ok(()), File::sync_data)?;
        fail_point("log.after_sync");
        Ok(())
    }

    /// Passes the value at `place`, out of its frame, to `read`; [`io::ErrorKind::InvalidData`] when another value is there, or
    /// it is damaged.
    pub(super) fn read<T>(&self, place: Place, read: impl FnOnce(&[u8]) -> T) -> io::Result<T> {
        SCRATCH.with_borrow_mut(|Scratch { framed, raw, bundles }| {
            let Some(slot) = place.slot else {
                self.read_framed(place, framed, raw)?;
                return Ok(read(raw));
            };
            let is_it = |(log, offset, _): &(u64, u64, _)| (*log, *offset) == (self.number, place.offset);
            if let Some(at) = bundles.iter().position(is_it) {
                bundles[at..].rotate_left(1);
            } else {
                let mut bundle = if bundles.len() < BUNDLES_KEPT { Vec::new() } else { bundles.remove(0).2 };
                self.read_framed(place, framed, &mut bundle)?;
                bundles.push((self.number, place.offset, bundle));
            }
            let value = bundles.last().and_then(|(_, _, bundle)| value_in(bundle, slot));
            value.map(read).ok_or_else(|| invalid("its bundle does not have it"))
        })
    }

    /// Reads what is at `place` and takes it out of its frame.
    fn read_framed(&self, place: Place, framed: &mut Vec<u8>, raw: &mut Vec<u8>) -> io::Result<()> {
        // Checked before memory is allocated: a place may be damaged too.
        let end = place.offset.checked_add(u64::from(place.len));
        let is_possible = place.len <= MAX_VALUE_BYTES && end.is_some_and(|end| end <= self.len());
        let Some(file) = self.file.get().filter(|_| is_possible) else {
            return Err(invalid("the file of values ends before this value"));
        };
        framed.resize(place.len as usize, 0);
        read_exact_at(file, framed, place.offset)?;
        if check_of(framed) != place.check {
            return Err(invalid("other bytes are at its place"));
        }
        frame::open(framed, raw).map_err(|error| invalid(&error.to_string()))
    }

    /// Continues at `len` if the file is shorter, so that the place of a lost value is never used again.
    pub(super) fn accept_loss(&self, len: u64) {
        self.end.fetch_max(len, Ordering::AcqRel);
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(unix)]
fn write_all_at(file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, buffer, offset)
}

#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(len) => (buffer, offset) = (&mut buffer[len..], offset + len as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(windows)]
fn write_all_at(file: &File, mut buffer: &[u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_write(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(len) => (buffer, offset) = (&buffer[len..], offset + len as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
