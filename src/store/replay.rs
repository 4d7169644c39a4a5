//! Reads the log group by group, past damage.

use std::collections::BTreeMap;
use std::io;

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::StoreError;
use super::frame;
use super::group::{Head, Kind, MAGIC, Position};
use super::trees::{META, NUM_TREES, Operation, hash_of, place_records, read_operations};
use super::value::open_json;
use super::value_log::ValueLog;

/// Portion in which the log is searched for the next group, bytes.
const SEARCH_BYTES: u64 = 1 << 20;

/// A group whose head and operations are sound.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) head: Head,
    /// Where the next group is looked for.
    pub(super) end: u64,
    pub(super) operations: Vec<Operation>,
    /// One of the two copies of head and operations is damaged.
    is_halved: bool,
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
    /// Groups of which one copy is damaged.
    num_halved: u64,
    /// In a checkpoint: `num_missing` and `num_halved` at its beginning.
    checkpoint: Option<(u64, u64)>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(log: &'a ValueLog, from: Position, log_id: Option<u64>) -> Self {
        Self { log, position: from, log_id, num_missing: 0, num_halved: 0, checkpoint: None }
    }

    /// The next group; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Group>> {
        let mut at = self.position.end;
        loop {
            if let Some(mut group) = self.group_at(at)? {
                self.num_missing += group.head.number - self.position.number - 1;
                self.follow_checkpoint(&mut group);
                self.num_halved += u64::from(group.is_halved);
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
        let halved_before =
            self.checkpoint.and_then(|(missing, halved)| (missing == self.num_missing).then_some(halved));
        let is_unbroken = halved_before.is_some();
        match group.head.kind {
            Kind::Commit => self.checkpoint = None,
            Kind::CheckpointBegin => self.checkpoint = Some((self.num_missing, self.num_halved)),
            Kind::CheckpointPart => group.is_void = !is_unbroken,
            Kind::CheckpointEnd => {
                group.is_void = !is_unbroken;
                self.checkpoint = None;
                if let Some(halved) = halved_before {
                    self.num_missing = 0;
                    self.num_halved -= halved;
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
        if !is_ours || ![head.start, head.second_at()].contains(&start) {
            return Ok(None);
        }
        let copies = [self.copy_at(head.start, &head)?, self.copy_at(head.second_at(), &head)?];
        // Behind a second copy that was cut, the next group begins before the end of the whole one.
        let end = if copies[1].is_some() { head.end() } else { head.second_at() };
        let is_halved = copies.iter().any(Option::is_none);
        let mut raw = Vec::new();
        let sealed = copies.into_iter().flatten().next();
        let read = sealed.filter(|sealed| frame::open(sealed, &mut raw).is_ok()).and_then(|_| read_operations(&raw));
        let Some(mut operations) = read else { return Ok(None) };
        if head.kind == Kind::Commit {
            place_records(&mut operations, head.values_at());
        }
        Ok(Some(Group { head, end, operations, is_halved, is_void: false }))
    }

    /// The sealed operations of the copy at `start` of head and operations, if both are sound.
    fn copy_at(&self, start: u64, head: &Head) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let len = (Head::BYTES as u64).saturating_add(head.operations_len);
        if !read(self.log, start, len, &mut bytes)? || !bytes.starts_with(&head.to_bytes()) {
            return Ok(None);
        }
        let sealed = bytes.split_off(Head::BYTES);
        Ok((xxh3_64(&sealed) == head.operations_check).then_some(sealed))
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
        let (mut at, mut left) = (group.head.values_at(), group.head.values_len);
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

/// The number of `log`; `None` without a group.
pub(super) fn log_id_of(log: &ValueLog) -> Result<Option<u64>, StoreError> {
    let first = Reader::new(log, Position::default(), None).next();
    let first = first.map_err(|source| StoreError::Folder { path: log.path().to_owned(), source })?;
    Ok(first.map(|group| group.head.log_id))
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
    /// Groups of which one copy is damaged, unless a later checkpoint replaces them.
    pub(super) num_halved: u64,
    /// A last group that a crash kept from being written whole.
    pub(super) torn: Option<Head>,
}

impl Replayed {
    /// The number of groups that are missing up to number `last`.
    pub(super) fn lost(&self, last: u64) -> u64 {
        self.num_missing + last.saturating_sub(self.position.number)
    }
}

/// Passes the groups of `reader` to `take`, in order. The last one is left out if its values or its second copy are not whole
/// and its number is greater than `acknowledged`: a crash interrupted it.
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
        let is_whole = group.end == group.head.end() && reader.has_its_values(&group)?;
        if group.head.number > acknowledged && !is_whole {
            reader.num_halved -= u64::from(group.is_halved);
            replayed.torn = Some(group.head);
        } else {
            replayed.position = Position { number: group.head.number, end: group.end };
            take(group)?;
        }
    }
    (replayed.num_missing, replayed.num_halved) = (reader.num_missing, reader.num_halved);
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

    /// All entries, by tree, then by key.
    pub(super) fn into_entries(self) -> impl Iterator<Item = Result<Operation, StoreError>> {
        let of_tree = |(tree, entries): (usize, Entries)| {
            entries
                .into_iter()
                .map(move |(key, value)| Ok(Operation { tree, key: key.into(), value: Some(value.into()) }))
        };
        self.trees.into_iter().enumerate().flat_map(of_tree)
    }

    /// The description of the store under `key`; `None` if it is missing or damaged.
    pub(super) fn description<T: for<'de> serde::Deserialize<'de>>(&self, key: &[u8]) -> Option<T> {
        self.trees[META].get(key).and_then(|framed| open_json("meta", key, framed).ok())
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::trees::{RECORDS, SETTLED, operations_to_bytes};

    /// Writes commit `number`, with two values and three operations, and returns its head.
    fn commit(log: &ValueLog, number: u8, value_bytes: usize) -> Head {
        let values: Vec<_> = (0..2).map(|at| frame::seal(&vec![number ^ at; value_bytes])).collect();
        let put = |tree, key: u8, value| Operation { tree, key: vec![number, key], value: Some(value) };
        let operations_of = |places: &[crate::store::value_log::Place]| {
            let records = (0..).zip(places).map(|(key, place)| put(RECORDS, key, place.to_bytes()));
            operations_to_bytes(&records.chain([put(SETTLED, 9, vec![number])]).collect::<Vec<_>>())
        };
        log.append(Kind::Commit, &values, operations_of).unwrap()
    }

    fn log_of(store: &Path, value_bytes: usize) -> Vec<Head> {
        let log = ValueLog::open(store, true).unwrap();
        (1..=3).map(|number| commit(&log, number, value_bytes)).collect()
    }

    fn overwrite(path: &Path, bytes: &[u8]) {
        let mut file = std::fs::File::options().write(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
    }

    fn read_all(store: &Path) -> (Content, Replayed) {
        Content::read(&ValueLog::open(store, false).unwrap(), 3).unwrap()
    }

    #[test]
    fn damage_to_either_copy_of_a_commit_costs_nothing_and_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let heads = log_of(folder.path(), 20);
        let (whole, replayed) = read_all(folder.path());
        assert_eq!((replayed.num_missing, replayed.num_halved, whole.trees[RECORDS].len()), (0, 0, 6));
        let path = ValueLog::path_in(folder.path());
        let sound = std::fs::read(&path).unwrap();
        for head in &heads {
            for copy in [head.start, head.second_at()] {
                for at in copy..copy + Head::BYTES as u64 + head.operations_len {
                    let mut damaged = sound.clone();
                    damaged[usize::try_from(at).unwrap()] ^= 1 << (at % 8);
                    overwrite(&path, &damaged);
                    let (content, replayed) = read_all(folder.path());
                    assert_eq!((replayed.num_missing, replayed.num_halved), (0, 1), "byte {at}");
                    assert_eq!(content.trees, whole.trees, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn a_zeroed_page_costs_at_most_the_commit_that_is_within_it() {
        let folder = tempfile::tempdir().unwrap();
        let heads = log_of(folder.path(), 20);
        let path = ValueLog::path_in(folder.path());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[usize::try_from(heads[1].start).unwrap()..usize::try_from(heads[1].end()).unwrap()].fill(0);
        overwrite(&path, &bytes);
        let (content, replayed) = read_all(folder.path());
        assert_eq!((replayed.num_missing, content.trees[RECORDS].len(), content.trees[SETTLED].len()), (1, 4, 2));
    }

    #[test]
    fn a_commit_after_one_that_was_cut_within_its_second_copy_is_read() {
        for kept in [0, 7, Head::BYTES as u64, Head::BYTES as u64 + 5] {
            let folder = tempfile::tempdir().unwrap();
            let last = log_of(folder.path(), 20)[2];
            let path = ValueLog::path_in(folder.path());
            std::fs::File::options().write(true).open(&path).unwrap().set_len(last.second_at() + kept).unwrap();
            let unknown = Content::read(&ValueLog::open(folder.path(), false).unwrap(), 2).unwrap().1;
            assert_eq!(
                (unknown.torn, unknown.num_halved),
                (Some(last), 0),
                "unless it was acknowledged, it does not count"
            );
            let (content, replayed) = read_all(folder.path());
            assert_eq!((content.trees[SETTLED].len(), replayed.torn, replayed.num_halved), (3, None, 1), "{kept}");
            let log = ValueLog::open(folder.path(), true).unwrap();
            log.continue_after(3, replayed.log_id.unwrap());
            commit(&log, 4, 200);
            let (content, replayed) = read_all(folder.path());
            assert_eq!((content.trees[SETTLED].len(), replayed.num_missing), (4, 0), "{kept}");
        }
    }
}
