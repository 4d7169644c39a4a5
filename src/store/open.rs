//! Opens a store: checks folder, lock, format and ledger, brings the database to the end of the log, or builds it again from
//! the log; refuses a log that has lost data.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, RwLock};

use super::database::{Changes, Durability};
use super::format::{META_COUNTS, META_FORMAT, META_STORE_ID, OLDEST_FORMAT, STORE_FORMAT_VERSION};
use super::group::{Kind, Position};
use super::index::{Applied, Fault, Index};
use super::replay::{Content, Reader, Replayed, log_id_of, replay};
use super::space::Space;
use super::trees::{META, Operation};
use super::value::seal_json;
use super::value_log::ValueLog;
use super::{Ledger, Store, StoreError, Tally, lock, value};
use crate::actor::{LockedFile, fail_point};
use crate::config::StoreConfig;
use crate::model::{PushId, PushRevisions, Revision};

/// A log below this length that holds no group has never acknowledged anything: the first group is shorter, too.
pub(super) const MOST_UNBEGUN_BYTES: u64 = 4096;

/// The losses of a store that was opened although it has lost data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Commits that the log no longer has. The database lacks them too if it was rebuilt.
    pub(super) num_missing: u64,
    /// The log is shorter than the database expects.
    pub(super) is_cut: bool,
    /// Why the database was built again.
    pub(super) rebuilt: Option<String>,
}

impl Store {
    /// Opens the store of `config`, or creates an empty one.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used, is in use, has another format, or has lost data.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let path = &config.path;
        std::fs::create_dir_all(path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
        Self::open_with(config, lock::take(path)?)
    }

    /// Opens the store of `config`, whose lock this process has.
    pub(super) fn open_with(config: &StoreConfig, lock: LockedFile) -> Result<Self, StoreError> {
        let path = &config.path;
        let ledger = Ledger::read(path)?;
        // This process holds the lock, so no other one still writes these.
        for path in leftovers(path) {
            let _stays = std::fs::remove_file(path);
        }
        let _stays = remove_folder(&building_in(path));
        let (store, _) = Self::open_locked(config, lock, ledger.as_ref(), false)?;
        store.check_format()?;
        store.check_ledger(ledger)?;
        store.load_pushes()?;
        Ok(store)
    }

    /// Opens a store that must exist.
    ///
    /// # Errors
    /// [`StoreError::Missing`], and those of [`Store::open`].
    pub fn open_existing(config: &StoreConfig) -> Result<Self, StoreError> {
        if !Self::exists(&config.path) {
            return Err(StoreError::Missing(config.path.clone()));
        }
        Self::open(config)
    }

    /// True when there is something of a store in the folder.
    #[must_use]
    pub fn exists(path: &Path) -> bool {
        path.join("db").is_dir() || ValueLog::path_in(path).exists() || Ledger::path_in(path).exists()
    }

    /// Opens the database, or builds it. A store that has lost data is refused, or the loss accepted.
    pub(super) fn open_locked(
        config: &StoreConfig,
        lock: LockedFile,
        ledger: Option<&Ledger>,
        accept_loss: bool,
    ) -> Result<(Self, Losses), StoreError> {
        let path = &config.path;
        refuse_other_format(path, ledger.map(|ledger| ledger.format))?;
        let log = ValueLog::open(path, true)?;
        let log_id = log_id_of(&log)?;
        let opening = Opening { config, log, log_id, ledger, accept_loss };
        let mut losses = Losses::default();
        let (index, applied) = match Index::open_checked(&path.join("db"), config.cache_bytes) {
            Ok((index, applied)) if applied.is_of(log_id) => {
                let applied = opening.catch_up(&index, applied, &mut losses)?;
                (index, applied)
            }
            Ok((index, _)) => {
                let of = index.store_id();
                drop(index);
                opening.rebuild(Reason::OtherLog(of), &mut losses)?
            }
            Err(Fault::Refused(error)) => return Err(error),
            Err(Fault::Missing) => opening.rebuild(Reason::Missing, &mut losses)?,
            Err(Fault::Damaged(reason)) => opening.rebuild(Reason::Damaged(reason), &mut losses)?,
        };
        opening.log.continue_after(applied.position.number, applied.log_id);
        let store =
            Self { space: Space::of(config.min_free_bytes), ..Self::of(path, index, applied, opening.log, Some(lock)) };
        if applied.position.number == 0 {
            store.initialize()?;
        }
        Ok((store, losses))
    }

    pub(super) fn of(path: &Path, index: Index, applied: Applied, values: ValueLog, lock: Option<LockedFile>) -> Self {
        let [meta, pending, settled, failed, provenance, signature_ids, pushes, records, set_aside, unlisted] =
            index.trees.clone();
        Self {
            path: path.to_owned(),
            meta,
            pending,
            settled,
            failed,
            provenance,
            signature_ids,
            pushes,
            records,
            set_aside,
            unlisted,
            index,
            applied: Mutex::new(Some(applied)),
            values,
            unreadable_is_damage: AtomicBool::new(false),
            push_table: RwLock::default(),
            push_damaged: AtomicBool::new(false),
            view: None,
            hidden: None,
            space: Space::of(0),
            lock,
        }
    }

    /// Opens the database as it is.
    pub(super) fn open_unchecked(config: &StoreConfig) -> Result<Self, StoreError> {
        let path = &config.path;
        let lock = lock::take(path)?;
        let index = Index::open(&path.join("db"), config.cache_bytes)?;
        let applied = index.applied()?;
        let log = ValueLog::open(path, true)?;
        log.continue_after(applied.position.number, applied.log_id);
        Ok(Self::of(path, index, applied, log, Some(lock)))
    }

    fn initialize(&self) -> Result<(), StoreError> {
        let id = format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
        let put = |key: &[u8], value| Operation { tree: META, key: key.to_vec(), value: Some(value) };
        let operations = vec![
            put(META_STORE_ID, seal_json(&id)?),
            put(META_COUNTS, seal_json(&Tally::default())?),
            put(META_FORMAT, seal_json(&STORE_FORMAT_VERSION)?),
        ];
        self.write(Changes { operations, ..Changes::default() }, Durability::Now)?;
        fail_point("store.before_first_ledger");
        self.write_ledger(&Tally::default())
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let lost = || StoreError::damaged("meta", META_FORMAT, "it is missing");
        refuse_other_format(&self.path, Some(self.get_meta(META_FORMAT)?.ok_or_else(lost)?))
    }

    fn check_ledger(&self, ledger: Option<Ledger>) -> Result<(), StoreError> {
        let path = Ledger::path_in(&self.path);
        let Some(ledger) = ledger else {
            let counts = self.counts()?;
            if self.identity()?.is_none() && counts == Tally::default() {
                return self.write_ledger(&counts); // killed before the first one was written
            }
            return Err(StoreError::Ledger { path, reason: "is missing".to_owned() });
        };
        if self.get_meta::<String>(META_STORE_ID)?.as_deref() != Some(ledger.store_id.as_str()) {
            return Err(StoreError::Ledger { path, reason: "belongs to another store".to_owned() });
        }
        if !ledger.is_of(self.log_id()) {
            let counts = self.counts()?;
            ledger.check_successor(&self.path, Some(&ledger.store_id), Some(&counts))?;
            fail_point("compact.before_ledger");
            self.write_ledger(&counts)?;
        }
        Ok(())
    }

    /// Fails when the log is shorter than the database expects.
    pub(super) fn check_values(&self) -> Result<(), StoreError> {
        let applied = self.applied.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        check_length(&self.path, &self.values, applied.unwrap_or_default())
    }

    /// Reads the push table. Damaged pushes are left out and remembered: answers that refer to them must be fetched
    /// again before anything is made from them.
    pub(super) fn load_pushes(&self) -> Result<(), StoreError> {
        let mut table = PushRevisions::default();
        let mut damaged = false;
        for entry in &self.pushes {
            let (key, framed) = entry.map_err(|source| StoreError::database("read the pushes", source))?;
            match read_push(&key, &framed) {
                Ok((push, revision)) => drop(table.insert(push, revision)),
                Err(error) => {
                    tracing::warn!("{error}");
                    damaged = true;
                }
            }
        }
        self.push_damaged.store(damaged, Ordering::Relaxed);
        *self.push_table.write().unwrap_or_else(std::sync::PoisonError::into_inner) = table;
        Ok(())
    }

    /// True when [`Store::repair`] is needed before anything is asked or read: a damaged push was met on opening, or the
    /// number of entries of a tree differs from the tally, which is written in the same transactions.
    ///
    /// # Errors
    /// [`StoreError::Damaged`], and any error of reading.
    pub fn needs_repair(&self) -> Result<bool, StoreError> {
        let counts = self.counts()?;
        let counted = [counts.pending(), counts.settled(), counts.failed()];
        for (tree, counted) in [&self.pending, &self.settled, &self.failed].into_iter().zip(counted) {
            if Self::num_entries(tree)? != counted {
                return Ok(true);
            }
        }
        Ok(self.push_damaged.load(Ordering::Relaxed))
    }
}

pub(super) fn read_push(key: &[u8], framed: &[u8]) -> Result<(PushId, Revision), StoreError> {
    let raw = value::open_frame("pushes", key, framed)?;
    match (key.try_into(), raw.as_slice().try_into()) {
        (Ok(id), Ok(bytes)) => Ok((PushId(u64::from_be_bytes(id)), Revision(bytes))),
        _ => Err(StoreError::damaged("pushes", key, "it is not a revision")),
    }
}

/// Files that killed processes left behind in the store at `store`.
pub(super) fn leftovers(store: &Path) -> Vec<PathBuf> {
    let next = Some(ValueLog::next_path_in(store)).filter(|next| std::fs::symlink_metadata(next).is_ok());
    Ledger::leftovers(store).into_iter().chain(next).collect()
}

/// Why the database is built.
enum Reason {
    Missing,
    Damaged(String),
    /// It is sound, but of another log: that of the store with this id.
    OtherLog(Option<String>),
}

/// A store that is being opened.
struct Opening<'a> {
    config: &'a StoreConfig,
    log: ValueLog,
    /// The number of the log; `None` if it has no group.
    log_id: Option<u64>,
    ledger: Option<&'a Ledger>,
    accept_loss: bool,
}

impl Opening<'_> {
    fn acknowledged(&self) -> u64 {
        self.ledger.map_or(0, |ledger| ledger.acknowledged(self.log_id))
    }

    fn unreadable(&self, source: io::Error) -> StoreError {
        StoreError::Folder { path: self.log.path().to_owned(), source }
    }

    /// Applies the groups that the log has and the database lacks.
    fn catch_up(&self, index: &Index, applied: Applied, losses: &mut Losses) -> Result<Applied, StoreError> {
        let path = &self.config.path;
        if let Err(error) = check_length(path, &self.log, applied) {
            if !self.accept_loss {
                return Err(error);
            }
            self.log.accept_loss(applied.position.end);
            losses.is_cut = true;
        }
        let reader = || Reader::new(&self.log, applied.position, Some(applied.log_id));
        let seen = replay(reader(), self.acknowledged(), |_| Ok(())).map_err(|source| self.unreadable(source))?;
        self.check(&seen, losses)?;
        let mut result = Ok(applied);
        let replayed = replay(reader(), self.acknowledged(), |group| {
            let is_commit = group.head.kind == Kind::Commit;
            // A checkpoint repeats what the database holds.
            let operations = if is_commit { group.operations.as_slice() } else { &[] };
            let position = Position { number: group.head.number, end: group.end };
            if let Ok(before) = &result {
                result = index.apply(*before, operations, position);
            }
            Ok(())
        });
        replayed.map_err(|source| self.unreadable(source))?;
        result
    }

    /// Refuses a log that has lost data, or accepts the loss.
    fn check(&self, replayed: &Replayed, losses: &mut Losses) -> Result<(), StoreError> {
        let path = self.config.path.clone();
        let (expected, found) = (self.acknowledged(), replayed.position.number);
        losses.num_missing = replayed.lost(expected);
        if !self.accept_loss && replayed.num_missing > 0 {
            return Err(StoreError::CommitsLost { path, lost: replayed.num_missing });
        }
        if !self.accept_loss && found < expected {
            return Err(StoreError::BehindLedger { path, expected, found });
        }
        replayed.torn.map_or(Ok(()), |head| self.log.cancel(&head)).map_err(|source| self.unreadable(source))
    }

    /// Refuses a log in the place of the one that the database or the ledger knows, unless a compaction has put it there.
    fn check_origin(&self, content: &Content, reason: &Reason, losses: &mut Losses) -> Result<(), StoreError> {
        let path = &self.config.path;
        let store_id = content.description::<String>(META_STORE_ID);
        if let Reason::OtherLog(Some(of_database)) = reason
            && store_id.as_ref().is_some_and(|store_id| store_id != of_database)
        {
            return Err(StoreError::OtherLog(path.clone()));
        }
        let Some(ledger) = self.ledger.filter(|ledger| !ledger.is_of(self.log_id)) else { return Ok(()) };
        let counts = content.description(META_COUNTS);
        match ledger.check_successor(path, store_id.as_deref(), counts.as_ref()) {
            Err(error) if !self.accept_loss => Err(error),
            Err(StoreError::BehindLedger { expected, found, .. }) => {
                losses.num_missing = losses.num_missing.max(expected - found);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The ledger is written last: with that of another log, a compaction ended before its end.
    fn say_why(&self, reason: Reason, losses: &mut Losses) {
        let path = self.config.path.display();
        let is_compacted = self.ledger.is_some_and(|ledger| !ledger.is_of(self.log_id));
        let reason = match reason {
            Reason::Missing | Reason::OtherLog(_) if is_compacted => {
                tracing::info!("rebuilding the database of the store {path} from its log, which was compacted");
                return;
            }
            Reason::Missing => "it is missing".to_owned(),
            Reason::OtherLog(_) => "it belongs to another log".to_owned(),
            Reason::Damaged(reason) => reason,
        };
        tracing::warn!("rebuilding the database of the store {path} from its log: {reason}");
        losses.rebuilt = Some(reason);
    }

    /// Builds the database from the log, beside the old one, and puts it in its place.
    fn rebuild(&self, reason: Reason, losses: &mut Losses) -> Result<(Index, Applied), StoreError> {
        let path = &self.config.path;
        let failed = |source| StoreError::Folder { path: path.clone(), source };
        let (content, replayed) =
            Content::read(&self.log, self.acknowledged()).map_err(|source| self.unreadable(source))?;
        let is_new = self.ledger.is_none() && self.log.len() < MOST_UNBEGUN_BYTES;
        match (replayed.log_id, reason) {
            (Some(_), reason) => {
                self.check(&replayed, losses)?;
                self.check_origin(&content, &reason, losses)?;
                self.say_why(reason, losses);
            }
            (None, _) if is_new => {}
            (None, Reason::Damaged(reason)) => {
                return Err(StoreError::Unopenable { path: path.clone(), reason });
            }
            (None, Reason::Missing | Reason::OtherLog(_)) => {
                let reason = "is left, but the database and the log beside it are missing".to_owned();
                return Err(StoreError::Ledger { path: Ledger::path_in(path), reason });
            }
        }
        let (building, place) = (building_in(path), path.join("db"));
        remove_folder(&building).map_err(failed)?;
        let applied = Applied {
            position: replayed.position,
            log_id: replayed.log_id.unwrap_or_else(rand::random),
            ..Applied::default()
        };
        let applied = Index::build(&building, self.config.cache_bytes, content.into_entries(), applied)?;
        switch_database(path).map_err(failed)?;
        Ok((Index::open(&place, self.config.cache_bytes)?, applied))
    }
}

/// The folder in which the database of the store at `store` is built.
pub(super) fn building_in(store: &Path) -> PathBuf {
    store.join("db.new")
}

/// Puts the database that was built in the place of the old one.
pub(super) fn switch_database(store: &Path) -> io::Result<()> {
    let place = store.join("db");
    fail_point("index.before_switch");
    remove_folder(&place)?;
    std::fs::rename(building_in(store), &place)?;
    File::open(store)?.sync_all()?;
    fail_point("index.after_switch");
    Ok(())
}

pub(super) fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn check_length(path: &Path, log: &ValueLog, applied: Applied) -> Result<(), StoreError> {
    let expected = applied.position.end;
    if log.len() >= expected {
        return Ok(());
    }
    let found = log.exists().then(|| log.len());
    Err(StoreError::ValuesCut { path: path.to_owned(), expected, found })
}

/// Stores from before the first release have a lower number.
pub(super) fn refuse_other_format(path: &Path, found: Option<u32>) -> Result<(), StoreError> {
    match found {
        None | Some(OLDEST_FORMAT..=STORE_FORMAT_VERSION) => Ok(()),
        Some(found) if found < OLDEST_FORMAT => Err(StoreError::DevelopmentFormat(path.to_owned())),
        Some(found) => Err(StoreError::OtherFormat { path: path.to_owned(), found }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_was_killed_at_any_step_of_its_creation_can_be_opened() {
        let whole = tempfile::tempdir().unwrap();
        let config = |path: &Path| StoreConfig { path: path.to_owned(), ..StoreConfig::default() };
        drop(Store::open(&config(whole.path())).unwrap());
        let conf = std::fs::read(whole.path().join("db/conf")).unwrap();
        for (written, has_file) in
            [0, 1, conf.len() - 5, conf.len() - 4, conf.len()].map(|len| [(len, false), (len, true)]).as_flattened()
        {
            let (written, killed) = (*written, tempfile::tempdir().unwrap());
            std::fs::create_dir(killed.path().join("db")).unwrap();
            let files = [("db/conf", &conf[..written]), ("db/db", &[][..])];
            for (name, bytes) in &files[..=usize::from(*has_file)] {
                let mut file = File::options().create_new(true).write(true).open(killed.path().join(name)).unwrap();
                std::io::Write::write_all(&mut file, bytes).unwrap();
            }
            let store = Store::open(&config(killed.path())).unwrap_or_else(|error| panic!("{written} bytes: {error}"));
            assert!(store.identity().unwrap().is_none());
        }
    }
}
