//! sled's database: an index that the log can build again.
//!
//! In: operations, in the order of the log. Out: trees. A database that is built from the log has its entries in a packed part
//! (see `packed`); sled has the later ones over them, until they are many and are packed, too (`index/pack.rs`). A sum over all
//! entries of sled, kept in the same transactions, shows on opening whether it still holds what was written into it; a page that
//! sled cannot read, a panic or a hang shows too. The packed part has a checksum.

mod disk;
mod pack;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sled::transaction::{ConflictableTransactionError, TransactionError};
use sled::{IVec, Transactional as _};

use self::disk::{Disk, packed_name};
use super::StoreError;
use super::format::{
    META_APPLIED, META_APPLIED_BEFORE, META_DEVELOPMENT_FORMAT, META_FORMAT, META_STORE_ID, OLDEST_FORMAT,
};
use super::frame;
use super::group::Position;
use super::packed::{NAME as PACKED, Packed, PackedWriter};
use super::panics::catch_silently;
use super::sled_open::{error_of_panic, open_sled, refuse_links, store_of};
use super::tree::{REMOVED, Tree};
use super::trees::{META, NAMES, NUM_TREES, Operation, RECORDS, STATES, hash_of};
use super::value::open_json;
use crate::actor::fail_point;

/// Operations per batch outside of transactions: sled keeps every page that a batch replaces until its end.
const BATCH_OPERATIONS: usize = 512;

/// Operations per transaction, for the same reason: a reply of 25 MB would take 700 MB.
const TRANSACTION_OPERATIONS: usize = if cfg!(debug_assertions) { 64 } else { BATCH_OPERATIONS };

/// Time for a look at all entries, and for each megabyte of them: a thousand times the usual.
const LEAST_DEADLINE: Duration = Duration::from_mins(1);
const DEADLINE_PER_MIB: Duration = Duration::from_secs(2);

/// The part of the log that is in the database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Applied {
    pub(super) position: Position,
    /// See [`super::group::Head::log_id`].
    pub(super) log_id: u64,
    /// Sum (wrapping) of the hashes of all entries of sled except this one.
    pub(super) sum: u64,
    /// Checksum of the packed part; `None` without one.
    pub(super) packed: Option<u64>,
    /// How often sled's entries were packed.
    pub(super) generation: u64,
}

impl Applied {
    /// Whether the database is of the log with the number `log_id`, or of one that has lost all of its groups.
    pub(super) fn is_of(self, log_id: Option<u64>) -> bool {
        log_id.is_none_or(|log_id| log_id == self.log_id)
    }

    fn seal(self) -> Vec<u8> {
        let fields = [self.position.number, self.position.end, self.log_id, self.sum];
        let generation = Some(self.generation).filter(|generation| *generation > 0);
        let fields = fields.into_iter().chain(self.packed).chain(generation);
        frame::seal(&fields.flat_map(u64::to_le_bytes).collect::<Vec<_>>())
    }

    fn open(framed: &[u8]) -> Option<Self> {
        let mut raw = Vec::new();
        frame::open(framed, &mut raw).ok()?;
        let field = |at: usize| raw.get(8 * at..)?.first_chunk::<8>().map(|field| u64::from_le_bytes(*field));
        let position = Position { number: field(0)?, end: field(1)? };
        let generation = field(5).unwrap_or_default();
        Some(Self { position, log_id: field(2)?, sum: field(3)?, packed: field(4), generation })
    }
}

/// Why there is no database to use.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is missing, or was never finished.
    Missing,
    /// It does not hold what was written into it: the reason.
    Damaged(String),
    /// The system refuses, which says nothing about the data.
    Refused(StoreError),
}

/// An open database.
#[derive(Clone, Debug)]
pub(super) struct Index {
    /// Each read as one.
    pub(super) trees: [Tree; NUM_TREES],
    /// `None` for a database in memory.
    disk: Option<Arc<Disk>>,
}

impl Index {
    /// Opens the database in `folder`, without a look at sled's entries.
    pub(super) fn open(folder: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let db = open_sled(folder, cache_bytes)?;
        let found = db.open_tree(NAMES[META]).and_then(|meta| meta.get(META_APPLIED));
        let found = found.map_err(|source| StoreError::database("read its description", source))?;
        let applied = found.as_deref().and_then(Applied::open).unwrap_or_default();
        let generation = applied.generation;
        let packed =
            applied.packed.map(|check| open_packed(&folder.join(packed_name(generation)), check)).transpose()?;
        let disk = Disk::new(db, folder, packed.as_deref());
        disk.remove_other_generations(generation)?;
        let sled = disk.open_trees(generation)?;
        let trees = std::array::from_fn(|number| {
            let packed = packed.as_ref().filter(|_| number != META);
            Tree::new(number_in_file(number), sled[number].clone(), packed.map(Arc::clone))
        });
        Ok(Self { trees, disk: Some(Arc::new(disk)) })
    }

    /// A database in memory, for a store that nobody reads before it is complete.
    pub(super) fn in_memory() -> Self {
        let tree = |number| Tree::in_memory(number_in_file(number));
        Self { trees: std::array::from_fn(tree), disk: None }
    }

    /// True before the database is [built](Index::build) on the disk.
    pub(super) fn is_in_memory(&self) -> bool {
        self.disk.is_none()
    }

    /// sled's part of the trees; none of a database in memory.
    fn sled(&self) -> impl Iterator<Item = Arc<sled::Tree>> {
        self.trees.iter().filter_map(Tree::sled)
    }

    /// Opens the database in `folder` and reads all of it. sled panics on some damage and never returns from other.
    pub(super) fn open_checked(folder: &Path, cache_bytes: u64) -> Result<(Self, Applied), Fault> {
        if !folder.is_dir() && !folder.is_symlink() {
            return Err(Fault::Missing);
        }
        refuse_links(folder).map_err(Fault::Refused)?;
        let len = std::fs::metadata(folder.join("db")).map_or(0, |file| file.len());
        let deadline = LEAST_DEADLINE + DEADLINE_PER_MIB * u32::try_from(len >> 20).unwrap_or(u32::MAX);
        let (sender, receiver) = flume::bounded(1);
        let path = folder.to_owned();
        let opening = std::thread::Builder::new().name("index".to_owned()).spawn(move || {
            let opened = catch_silently(|| Self::open_and_sum(&path, cache_bytes));
            let panicked = |panic: Box<dyn std::any::Any + Send>| fault_of(error_of_panic(&path, &*panic));
            let _nobody_waits = sender.send(opened.unwrap_or_else(|panic| Err(panicked(panic))));
        });
        opening.map_err(|source| Fault::Refused(StoreError::Folder { path: folder.to_owned(), source }))?;
        match receiver.recv_timeout(deadline) {
            Ok(opened) => opened,
            Err(_) => Err(Fault::Damaged("sled does not come to an end with it".to_owned())),
        }
    }

    fn open_and_sum(folder: &Path, cache_bytes: u64) -> Result<(Self, Applied), Fault> {
        let index = Self::open(folder, cache_bytes).map_err(fault_of)?;
        let applied = index.trees[META].get(META_APPLIED);
        let applied = applied.map_err(|source| fault_of(StoreError::database("read its description", source)))?;
        if index.is_of_development() {
            return Err(Fault::Refused(StoreError::DevelopmentFormat(store_of(folder))));
        }
        match applied.as_deref().map(Applied::open) {
            None if index.trees[META].iter().next().is_none() => Err(Fault::Missing),
            None if index.trees[META].contains_key(META_APPLIED_BEFORE).unwrap_or_default() => {
                Err(Fault::Damaged("an earlier version made it".to_owned()))
            }
            None => Err(Fault::Damaged("its description is missing".to_owned())),
            Some(None) => Err(Fault::Damaged("its description is damaged".to_owned())),
            Some(Some(applied)) => {
                index.check(applied).map_err(fault_of)?;
                Ok((index, applied))
            }
        }
    }

    fn is_of_development(&self) -> bool {
        let format = self.trees[META].get(META_FORMAT).ok().flatten();
        let format = format.and_then(|framed| open_json::<u32>("meta", META_FORMAT, &framed).ok());
        format.is_some_and(|format| format < OLDEST_FORMAT)
            || self.trees[META].contains_key(META_DEVELOPMENT_FORMAT).unwrap_or_default()
    }

    /// Length of the packed part.
    pub(super) fn packed_bytes(&self) -> u64 {
        self.trees[RECORDS].packed_part().map_or(0, |packed| packed.bytes())
    }

    /// Builds a database with `entries` in `folder`, which must not exist: the description in sled, all else in the packed
    /// part. The entries come by tree, then by key. `applied` comes without the sum and the packed part, and is returned with
    /// them.
    pub(super) fn build(
        folder: &Path,
        cache_bytes: u64,
        entries: impl IntoIterator<Item = Result<Operation, StoreError>>,
        applied: Applied,
    ) -> Result<Applied, StoreError> {
        let failed = |source: std::io::Error| StoreError::database("be built from its log", source.into());
        std::fs::create_dir_all(folder).map_err(failed)?;
        let mut applied = Applied { sum: 0, packed: None, generation: 0, ..applied };
        let mut description = sled::Batch::default();
        let mut packed = PackedWriter::create(&folder.join(PACKED)).map_err(failed)?;
        for entry in entries {
            let Operation { tree, key, value } = entry?;
            let value = value.unwrap_or_default();
            if tree == META {
                applied.sum = applied.sum.wrapping_add(hash_of(META, &key, &value));
                description.insert(key, value);
            } else {
                packed.put(number_in_file(tree), &key, &value).map_err(failed)?;
            }
        }
        applied.packed = Some(packed.finish().map_err(failed)?);
        description.insert(META_APPLIED, applied.seal());
        let db = open_sled(folder, cache_bytes)?;
        let meta = db.open_tree(NAMES[META]).map_err(|source| StoreError::database("open a tree", source))?;
        meta.apply_batch(description).map_err(|source| StoreError::database("be built from its log", source))?;
        drop((meta, db));
        // sled flushes its file, but not its description of itself.
        let synced = File::open(folder.join("conf")).and_then(|conf| conf.sync_all());
        synced.and_then(|()| File::open(folder)?.sync_all()).map_err(failed)?;
        Ok(applied)
    }

    /// The id of the store; `None` if it is missing or damaged.
    pub(super) fn store_id(&self) -> Option<String> {
        let framed = self.trees[META].get(META_STORE_ID).ok().flatten()?;
        open_json("meta", META_STORE_ID, &framed).ok()
    }

    /// How much of the log is in the database.
    pub(super) fn applied(&self) -> Result<Applied, StoreError> {
        let found = self.trees[META].get(META_APPLIED);
        let found = found.map_err(|source| StoreError::database("read its description", source))?;
        found
            .as_deref()
            .and_then(Applied::open)
            .ok_or_else(|| StoreError::damaged("meta", META_APPLIED, "it is missing"))
    }

    /// Reads all entries of sled.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if they are not what was written, and where sled panics.
    pub(super) fn check(&self, applied: Applied) -> Result<(), StoreError> {
        let folder = self.disk.as_ref().map_or(Path::new("db"), |disk| disk.folder.as_path());
        let sum = catch_silently(|| self.sum()).unwrap_or_else(|panic| Err(error_of_panic(folder, &*panic)))?;
        if sum == applied.sum {
            return Ok(());
        }
        Err(StoreError::Corrupt("it does not hold what was written into it".to_owned()))
    }

    /// Sum of the hashes of all entries of sled.
    pub(super) fn sum(&self) -> Result<u64, StoreError> {
        let (mut sum, mut num_entries) = (0_u64, 0);
        for (number, tree) in self.sled().enumerate() {
            for entry in tree.iter() {
                let (key, value) = entry.map_err(|source| StoreError::database("be read", source))?;
                if number != META || key != META_APPLIED {
                    sum = sum.wrapping_add(hash_of(number, &key, &value));
                    num_entries += 1;
                }
            }
        }
        if let Some(disk) = &self.disk {
            disk.live().num_entries = num_entries;
        }
        Ok(sum)
    }

    /// Sum of the hashes of all entries, wherever they are.
    pub(super) fn sum_of_content(&self) -> Result<u64, StoreError> {
        self.entries().try_fold(0_u64, |sum, entry| {
            let Operation { tree, key, value } = entry?;
            Ok(sum.wrapping_add(hash_of(tree, &key, &value.unwrap_or_default())))
        })
    }

    /// Notes how much of the log is in the database, without a transaction.
    pub(super) fn set_applied(&self, applied: Applied) -> Result<(), StoreError> {
        let put = self.trees[META].sled().map_or(Ok(None), |meta| meta.insert(META_APPLIED, applied.seal()));
        put.map_err(|source| StoreError::database("write its description", source)).map(drop)
    }

    /// Applies the operations of the group that ends at `position`. A large group takes several transactions; one that was
    /// applied in part is applied again from its beginning when the database is opened.
    pub(super) fn apply(
        &self,
        before: Applied,
        operations: &[Operation],
        position: Position,
    ) -> Result<Applied, StoreError> {
        if self.is_in_memory() {
            self.apply_in_bulk(operations.to_vec())?;
            return Ok(Applied { position, ..before });
        }
        let mut operations: Vec<&Operation> = operations.iter().collect();
        if operations.len() > TRANSACTION_OPERATIONS {
            // Records come before the states that refer to them, for readers in this process.
            operations.sort_by_key(|operation| STATES.contains(&operation.tree));
        }
        let (mut applied, mut rest) = (before, operations.as_slice());
        while rest.len() > TRANSACTION_OPERATIONS {
            let (part, behind) = rest.split_at(TRANSACTION_OPERATIONS);
            applied = self.apply_part(applied, part, before.position)?;
            fail_point("index.within");
            rest = behind;
        }
        self.apply_part(applied, rest, position)
    }

    /// Applies operations in one transaction, which notes that the database has the log up to `position`.
    fn apply_part(
        &self,
        before: Applied,
        operations: &[&Operation],
        position: Position,
    ) -> Result<Applied, StoreError> {
        let failed = |source| StoreError::database("commit answers", source);
        let mut removed = Vec::with_capacity(operations.len());
        for operation in operations {
            removed.push(self.removal(operation).map_err(failed)?);
        }
        let sled: Vec<sled::Tree> = self.sled().map(|tree| (*tree).clone()).collect();
        let done: Result<(Applied, i64), TransactionError<()>> = sled.as_slice().transaction(|views| {
            let (mut sum, mut more) = (before.sum, 0);
            for (Operation { tree, key, value }, removed) in operations.iter().copied().zip(&removed) {
                let value = value.as_deref().or(*removed);
                let old = match value {
                    Some(value) => views[*tree].insert(key.as_slice(), value),
                    None => views[*tree].remove(key.as_slice()),
                };
                if let Some(old) = old.map_err(ConflictableTransactionError::from)? {
                    sum = sum.wrapping_sub(hash_of(*tree, key, &old));
                    more -= 1;
                }
                if let Some(value) = value {
                    sum = sum.wrapping_add(hash_of(*tree, key, value));
                    more += 1;
                }
            }
            let applied = Applied { position, sum, ..before };
            views[META].insert(META_APPLIED, applied.seal()).map_err(ConflictableTransactionError::from)?;
            Ok((applied, more))
        });
        if let (Some(disk), Ok((_, more))) = (&self.disk, &done) {
            disk.live().num_entries += more;
        }
        done.map(|(applied, _)| applied).map_err(|error| match error {
            TransactionError::Storage(source) => failed(source),
            TransactionError::Abort(()) => StoreError::WriterStopped,
        })
    }

    /// The mark that takes the place of the entry which `operation` removes; `None` where sled's entry just goes.
    fn removal(&self, Operation { tree, key, value }: &Operation) -> sled::Result<Option<&'static [u8]>> {
        let leaves_mark = value.is_none() && self.trees[*tree].is_packed(key)?;
        Ok(leaves_mark.then_some(REMOVED))
    }

    /// Applies operations without a transaction and without the sum: the caller notes both at the end.
    pub(super) fn apply_in_bulk(&self, operations: Vec<Operation>) -> Result<(), StoreError> {
        if self.is_in_memory() {
            for Operation { tree, key, value } in operations {
                self.trees[tree].change_in_memory(&key, value.as_deref());
            }
            return Ok(());
        }
        let failed = |source| StoreError::database("write records", source);
        let mut batches: [sled::Batch; NUM_TREES] = Default::default();
        for operation in operations {
            let removed = self.removal(&operation).map_err(failed)?;
            let Operation { tree, key, value } = operation;
            match value.or_else(|| removed.map(<[u8]>::to_vec)) {
                Some(value) => batches[tree].insert(key, value),
                None => batches[tree].remove(key),
            }
        }
        for (tree, batch) in self.sled().zip(batches) {
            tree.apply_batch(batch).map_err(failed)?;
        }
        Ok(())
    }

    /// All entries but the note of what was applied.
    pub(super) fn entries(&self) -> impl Iterator<Item = Result<Operation, StoreError>> {
        self.entries_of(|_| true)
    }

    /// The entries of the trees that are wanted, but for that note.
    pub(super) fn entries_of(
        &self,
        is_wanted: fn(usize) -> bool,
    ) -> impl Iterator<Item = Result<Operation, StoreError>> {
        let trees = self.trees.iter().enumerate().filter(move |(number, _)| is_wanted(*number));
        trees.flat_map(|(number, tree)| {
            tree.iter().filter_map(move |entry| {
                let of = |(key, value): (IVec, IVec)| {
                    let is_content = number != META || key != META_APPLIED;
                    is_content.then(|| Operation { tree: number, key: key.to_vec(), value: Some(value.to_vec()) })
                };
                entry.map(of).map_err(|source| StoreError::database("be read", source)).transpose()
            })
        })
    }
}

/// The number of a tree in the packed part.
fn number_in_file(tree: usize) -> u8 {
    u8::try_from(tree).unwrap_or(u8::MAX)
}

fn open_packed(path: &Path, check: u64) -> Result<Arc<Packed>, StoreError> {
    Packed::open(path, check).map(Arc::new).map_err(|source| match source.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => StoreError::Corrupt(source.to_string()),
        std::io::ErrorKind::NotFound => StoreError::Corrupt("its packed part is missing".to_owned()),
        _ => StoreError::Folder { path: path.to_owned(), source },
    })
}

fn fault_of(error: StoreError) -> Fault {
    match error {
        StoreError::Corrupt(reason) | StoreError::Unopenable { reason, .. } => Fault::Damaged(reason),
        error => Fault::Refused(error),
    }
}
