//! Reads the log group by group, past damage.

use std::collections::BTreeMap;
use std::io;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::frame;
use super::group::{Head, Kind, MAGIC};
use super::trees::{NUM_TREES, Operation, hash_of, read_operations};
use super::value_log::{Position, ValueLog};

/// Portion in which the log is searched for the next group, bytes.
const SEARCH_BYTES: u64 = 1 << 20;

/// A group whose head and operations are sound.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) head: Head,
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) operations: Vec<Operation>,
    /// A part of a checkpoint that has a gap: it does not count.
    pub(super) is_void: bool,
}

/// The way through the log.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    log: &'a ValueLog,
    /// Behind the last group.
    position: Position,
    /// See [`Head::log_id`]; any one until the first group.
    log_id: Option<u64>,
    /// Groups that should stand between those that were read.
    num_missing: u64,
    /// In a checkpoint: `num_missing` at its beginning.
    checkpoint: Option<u64>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(log: &'a ValueLog, from: Position, log_id: Option<u64>) -> Self {
        Self { log, position: from, log_id, num_missing: 0, checkpoint: None }
    }

    /// The next group; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Group>> {
        let mut at = self.position.end;
        loop {
            if let Some(mut group) = self.group_at(at)? {
                self.num_missing += group.head.number - self.position.number - 1;
                self.follow_checkpoint(&mut group);
                self.position = Position { number: group.head.number, end: group.end };
                self.log_id = Some(group.head.log_id);
                return Ok(Some(group));
            }
            let Some(next) = self.next_magic(at + 1)? else { return Ok(None) };
            at = next;
        }
    }

    /// Nothing that was lost before a whole checkpoint matters.
    fn follow_checkpoint(&mut self, group: &mut Group) {
        let is_unbroken = self.checkpoint == Some(self.num_missing);
        match group.head.kind {
            Kind::Commit => self.checkpoint = None,
            Kind::CheckpointBegin => self.checkpoint = Some(self.num_missing),
            Kind::CheckpointPart => group.is_void = !is_unbroken,
            Kind::CheckpointEnd => {
                group.is_void = !is_unbroken;
                self.checkpoint = None;
                if is_unbroken {
                    self.num_missing = 0;
                }
            }
        }
    }

    fn group_at(&self, start: u64) -> io::Result<Option<Group>> {
        let mut bytes = Vec::new();
        if !read(self.log, start, Head::BYTES as u64, &mut bytes)? {
            return Ok(None);
        }
        let Some(head) = bytes.first_chunk().and_then(Head::from_bytes) else { return Ok(None) };
        let is_ours = self.log_id.is_none_or(|log_id| log_id == head.log_id) && head.number > self.position.number;
        let offset = start.saturating_add(Head::BYTES as u64).saturating_add(head.values_len);
        if !is_ours || !read(self.log, offset, head.operations_len, &mut bytes)? {
            return Ok(None);
        }
        let mut raw = Vec::new();
        if xxh3_64(&bytes) != head.operations_check || frame::open(&bytes, &mut raw).is_err() {
            return Ok(None);
        }
        let end = offset + head.operations_len;
        Ok(read_operations(&raw).map(|operations| Group { head, start, end, operations, is_void: false }))
    }

    /// The place of the next magic at or behind `from`.
    fn next_magic(&self, from: u64) -> io::Result<Option<u64>> {
        let (mut at, mut bytes) = (from, Vec::new());
        while at < self.log.len() {
            let len = SEARCH_BYTES.min(self.log.len() - at);
            if !read(self.log, at, len, &mut bytes)? {
                // A part of the disk that cannot be read hides no other part.
                at += len.min(4096);
                continue;
            }
            if let Some(found) = bytes.windows(MAGIC.len()).position(|window| window == MAGIC) {
                return Ok(Some(at + found as u64));
            }
            if at + len == self.log.len() {
                break;
            }
            at += len - (MAGIC.len() as u64 - 1);
        }
        Ok(None)
    }

    /// Whether the values of a group are those that were written.
    fn has_its_values(&self, group: &Group) -> io::Result<bool> {
        let (mut at, mut left) = (group.start + Head::BYTES as u64, group.head.values_len);
        let (mut hash, mut bytes) = (Xxh3::new(), Vec::new());
        while left > 0 {
            let len = left.min(SEARCH_BYTES);
            if !read(self.log, at, len, &mut bytes)? {
                return Ok(false);
            }
            hash.update(&bytes);
            (at, left) = (at + len, left - len);
        }
        Ok(hash.digest() == group.head.values_check)
    }
}

/// False when these bytes cannot be read: they are behind the end, or the disk fails.
fn read(log: &ValueLog, offset: u64, len: u64, out: &mut Vec<u8>) -> io::Result<bool> {
    match log.read_bytes(offset, len, out) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::OutOfMemory => Err(error),
        Err(_) => Ok(false),
    }
}

/// The result of reading the log to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Behind the last group.
    pub(super) position: Position,
    /// `None` of a log without a group.
    pub(super) log_id: Option<u64>,
    /// Lost groups that no later checkpoint replaces.
    pub(super) num_missing: u64,
    /// Start of a last group that a crash kept from being written whole.
    pub(super) torn: Option<u64>,
}

impl Replayed {
    /// The number of groups that are missing up to number `last`.
    pub(super) fn lost(&self, last: u64) -> u64 {
        self.num_missing + last.saturating_sub(self.position.number)
    }
}

/// Passes the groups of `reader` to `take`, in order. The last one is left out if its values are not whole and its number is
/// greater than `acknowledged`: a crash interrupted it.
pub(super) fn replay(
    mut reader: Reader<'_>,
    acknowledged: u64,
    mut take: impl FnMut(Group) -> io::Result<()>,
) -> io::Result<Replayed> {
    let mut replayed = Replayed { position: reader.position, log_id: reader.log_id, ..Replayed::default() };
    let mut last: Option<Group> = None;
    while let Some(group) = reader.next()? {
        if let Some(before) = last.replace(group) {
            replayed.position = Position { number: before.head.number, end: before.end };
            take(before)?;
        }
    }
    replayed.log_id = reader.log_id;
    if let Some(group) = last {
        if group.head.number > acknowledged && !reader.has_its_values(&group)? {
            replayed.torn = Some(group.start);
        } else {
            replayed.position = Position { number: group.head.number, end: group.end };
            take(group)?;
        }
    }
    replayed.num_missing = reader.num_missing;
    Ok(replayed)
}

/// The entries of a tree.
pub(super) type Entries = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The content of all trees, in memory.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) trees: [Entries; NUM_TREES],
    /// A checkpoint that has begun.
    checkpoint: Option<[Entries; NUM_TREES]>,
}

impl Content {
    /// Reads the whole log.
    pub(super) fn read(log: &ValueLog, acknowledged: u64) -> io::Result<(Self, Replayed)> {
        let mut content = Self::default();
        let replayed = replay(Reader::new(log, Position::default(), None), acknowledged, |group| {
            content.apply(group);
            Ok(())
        })?;
        content.checkpoint = None;
        Ok((content, replayed))
    }

    /// Sum of the hashes of all entries.
    pub(super) fn sum(&self) -> u64 {
        let of_tree = |(tree, entries): (usize, &Entries)| {
            entries.iter().fold(0_u64, |sum, (key, value)| sum.wrapping_add(hash_of(tree, key, value)))
        };
        self.trees.iter().enumerate().map(of_tree).fold(0, u64::wrapping_add)
    }

    fn apply(&mut self, group: Group) {
        match group.head.kind {
            Kind::Commit => self.checkpoint = None,
            Kind::CheckpointBegin => self.checkpoint = Some(Default::default()),
            Kind::CheckpointPart | Kind::CheckpointEnd if group.is_void => self.checkpoint = None,
            Kind::CheckpointPart | Kind::CheckpointEnd => {}
        }
        if group.is_void {
            return;
        }
        let trees = self.checkpoint.as_mut().unwrap_or(&mut self.trees);
        for Operation { tree, key, value } in group.operations {
            match value {
                Some(value) => drop(trees[tree].insert(key.into(), value.into())),
                None => drop(trees[tree].remove(key.as_slice())),
            }
        }
        if group.head.kind == Kind::CheckpointEnd
            && let Some(trees) = self.checkpoint.take()
        {
            self.trees = trees;
        }
    }
}
