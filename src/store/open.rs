//! Opens a store: checks folder, lock, format and ledger, and refuses a store that has lost data.

use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::RwLock;
use std::sync::atomic::{AtomicBool, Ordering};

use sled::Db;

use super::error::reason_of;
use super::format::{
    META_COUNTS, META_DEVELOPMENT_FORMAT, META_FORMAT, META_STORE_ID, META_VALUES, STORE_FORMAT_VERSION,
};
use super::value_log::ValueLog;
use super::{Ledger, Store, StoreError, Tally, value};
use crate::actor::fail_point;
use crate::config::StoreConfig;
use crate::model::{PushId, PushRevisions, Revision};

impl Store {
    /// Opens the store of `config`, or creates an empty one.
    ///
    /// # Errors
    /// [`StoreError`] when the folder cannot be used, is in use, has another format, or has lost data.
    pub fn open(config: &StoreConfig) -> Result<Self, StoreError> {
        let path = &config.path;
        let folder = |source| StoreError::Folder { path: path.clone(), source };
        std::fs::create_dir_all(path).map_err(folder)?;
        let ledger = Ledger::read(path)?;
        let fresh = !path.join("db").exists();
        if fresh && ledger.is_some() {
            return Err(StoreError::Ledger {
                path: Ledger::path_in(path),
                reason: "is left, but the database beside it is missing".to_owned(),
            });
        }
        let store = Self::open_trees(path, config.cache_bytes)?;
        // This process holds the lock, so no other one still writes these.
        for path in Ledger::leftovers(path) {
            let _stays = std::fs::remove_file(path);
        }
        if fresh {
            store.initialize()?;
        } else {
            store.check_format()?;
            store.check_ledger(ledger)?;
            store.check_values()?;
        }
        store.load_pushes()?;
        Ok(store)
    }

    /// Opens the database without any check.
    pub(super) fn open_trees(path: &Path, cache_bytes: u64) -> Result<Self, StoreError> {
        let db = open_sled(path, cache_bytes)?;
        let tree = |name: &str| db.open_tree(name).map_err(|source| StoreError::database("open a tree", source));
        Ok(Self {
            path: path.to_owned(),
            meta: tree("meta")?,
            pending: tree("pending")?,
            settled: tree("settled")?,
            failed: tree("failed")?,
            provenance: tree("provenance")?,
            signature_ids: tree("signature_ids")?,
            pushes: tree("pushes")?,
            records: tree("records")?,
            set_aside: tree("set_aside")?,
            values: ValueLog::open(path)?,
            unreadable_is_damage: AtomicBool::new(false),
            push_table: RwLock::default(),
            push_damaged: AtomicBool::new(false),
            db_file: open_db_file(path).map_err(|source| StoreError::Folder { path: path.to_owned(), source })?,
            db,
        })
    }

    /// Opens a store that must exist.
    ///
    /// # Errors
    /// [`StoreError::Missing`], and those of [`Store::open`].
    pub fn open_existing(config: &StoreConfig) -> Result<Self, StoreError> {
        if !config.path.join("db").is_dir() {
            return Err(StoreError::Missing(config.path.clone()));
        }
        Self::open(config)
    }

    pub(super) fn initialize(&self) -> Result<(), StoreError> {
        let id = format!("{:016x}{:016x}", rand::random::<u64>(), rand::random::<u64>());
        self.put_meta(META_STORE_ID, &id)?;
        self.put_meta(META_COUNTS, &Tally::default())?;
        self.put_meta(META_FORMAT, &STORE_FORMAT_VERSION)?;
        self.flush("write its format")?;
        let folder = self.path.join("db");
        // sled flushes its log, but not its description of itself.
        let synced = File::open(folder.join("conf")).and_then(|conf| conf.sync_all());
        let synced = synced.and_then(|()| File::open(&folder)).and_then(|folder| folder.sync_all());
        synced.map_err(|source| StoreError::Folder { path: folder, source })?;
        fail_point("store.before_first_ledger");
        self.write_ledger(&Tally::default())
    }

    fn check_format(&self) -> Result<(), StoreError> {
        self.refuse_development_format()?;
        match self.get_meta::<u32>(META_FORMAT)? {
            Some(STORE_FORMAT_VERSION) => Ok(()),
            Some(found) => Err(StoreError::OtherFormat { path: self.path.clone(), found }),
            // Killed during its creation: nothing had been acknowledged. But an empty database with a ledger is a loss.
            None if self.settled.is_empty() && Ledger::read(&self.path)?.is_none() => self.initialize(),
            None => Err(StoreError::BehindLedger {
                path: self.path.clone(),
                expected: Ledger::read(&self.path)?.map_or(0, |ledger| ledger.counts.commits),
                found: 0,
            }),
        }
    }

    /// Only looks whether the key exists, so that a damaged value is recognized too.
    pub(super) fn refuse_development_format(&self) -> Result<(), StoreError> {
        match self.meta.contains_key(META_DEVELOPMENT_FORMAT) {
            Ok(false) => Ok(()),
            Ok(true) => Err(StoreError::DevelopmentFormat(self.path.clone())),
            Err(source) => Err(StoreError::database("read its description", source)),
        }
    }

    fn check_ledger(&self, ledger: Option<Ledger>) -> Result<(), StoreError> {
        let counts = self.counts()?;
        let Some(ledger) = ledger else {
            if counts.commits == 0 {
                return self.write_ledger(&counts); // killed before the first one was written
            }
            return Err(StoreError::Ledger { path: Ledger::path_in(&self.path), reason: "is missing".to_owned() });
        };
        if self.get_meta::<String>(META_STORE_ID)?.as_deref() != Some(ledger.store_id.as_str()) {
            return Err(StoreError::Ledger {
                path: Ledger::path_in(&self.path),
                reason: "belongs to another store".to_owned(),
            });
        }
        if counts.commits < ledger.counts.commits {
            return Err(StoreError::BehindLedger {
                path: self.path.clone(),
                expected: ledger.counts.commits,
                found: counts.commits,
            });
        }
        Ok(())
    }

    /// Length that the value log must have, bytes.
    pub(super) fn known_values(&self) -> Result<u64, StoreError> {
        Ok(self.get_meta(META_VALUES)?.unwrap_or_default())
    }

    pub(super) fn check_values(&self) -> Result<(), StoreError> {
        let expected = self.known_values()?;
        if self.values.len() >= expected {
            return Ok(());
        }
        let found = self.values.exists().then(|| self.values.len());
        Err(StoreError::ValuesCut { path: self.path.clone(), expected, found })
    }

    /// Reads the push table. Damaged pushes are left out and remembered: the answers that refer to them must be fetched
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

/// Removes a database that a killed process left half created: sled writes its `conf` in two steps before it creates the
/// database file, and refuses one that ends between them. No data are lost, because the database file is empty or missing.
fn remove_half_made(path: &Path) -> std::io::Result<()> {
    let db = path.join("db");
    let not_found = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let is_empty = match std::fs::metadata(db.join("db")) {
        Ok(file) => file.len() == 0,
        Err(error) => not_found(&error),
    };
    if !is_empty {
        return Ok(());
    }
    match std::fs::remove_file(db.join("conf")) {
        Err(error) if !not_found(&error) => Err(error),
        _ => Ok(()),
    }
}

fn open_db_file(path: &Path) -> std::io::Result<File> {
    File::options().write(true).open(path.join("db").join("db"))
}

/// Opens sled's database. sled panics on some damage; a panic becomes an error here.
fn open_sled(path: &Path, cache_bytes: u64) -> Result<Db, StoreError> {
    remove_half_made(path).map_err(|source| StoreError::Folder { path: path.to_owned(), source })?;
    let config = sled::Config::new()
        .path(path.join("db"))
        .cache_capacity(cache_bytes.max(LEAST_CACHE_BYTES))
        .flush_every_ms(None) // the writer flushes before it acknowledges
        .mode(sled::Mode::HighThroughput);
    let mut opened = catch_silently(|| config.open());
    for _ in 0..LOCK_ATTEMPTS {
        if !matches!(&opened, Ok(Err(sled::Error::Io(error))) if is_lock_error(error)) {
            break;
        }
        std::thread::sleep(LOCK_INTERVAL);
        opened = catch_silently(|| config.open());
    }
    match opened {
        Ok(Ok(db)) => Ok(db),
        Ok(Err(sled::Error::Io(error))) if is_lock_error(&error) => Err(StoreError::Locked(path.to_owned())),
        Ok(Err(sled::Error::Io(source))) if source.kind() != std::io::ErrorKind::Other => {
            Err(StoreError::Folder { path: path.to_owned(), source })
        }
        Ok(Err(error)) => Err(StoreError::Unopenable { path: path.to_owned(), reason: reason_of(&error.to_string()) }),
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_else(|| "sled cannot read it".to_owned());
            if let Some(source) = system_error_in(&reason) {
                return Err(StoreError::Folder { path: path.to_owned(), source });
            }
            Err(StoreError::Unopenable { path: path.to_owned(), reason: reason_of(&reason) })
        }
    }
}

/// The system's error in the text of a panic, `Os { code: 24, …`: such a panic says nothing about the files.
fn system_error_in(panic: &str) -> Option<std::io::Error> {
    let (_, code) = panic.split_once("Os { code: ")?;
    let digits = code.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(std::io::Error::from_raw_os_error)
}

/// Runs a function that may panic on damage. The panic becomes a value; its message is not printed, since the caller's error
/// replaces it. Panics of other threads are printed.
pub(super) fn catch_silently<T>(run: impl FnOnce() -> T) -> std::thread::Result<T> {
    thread_local! {
        static SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !SILENT.get() {
                before(panic);
            }
        }));
    });
    SILENT.set(true);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(run));
    SILENT.set(false);
    caught
}

/// sled panics where the cache is smaller.
const LEAST_CACHE_BYTES: u64 = 256;

/// sled's threads, or a process that is just ending, may keep a store locked for a moment after it was closed.
const LOCK_ATTEMPTS: u32 = 100;
const LOCK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(50);

fn is_lock_error(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::WouldBlock || error.to_string().contains("could not acquire lock")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_system_is_never_called_damage() {
        let panic =
            r#"called `Result::unwrap()` on an `Err` value: Os { code: 24, kind: Uncategorized, message: "x" }"#;
        assert_eq!(system_error_in(panic).unwrap().raw_os_error(), Some(24));
        assert!(system_error_in("index out of bounds").is_none());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(Store::open(&StoreConfig { path: path.clone(), ..StoreConfig::default() }).unwrap());
        for cache_bytes in [0, 1, 255] {
            let opened = Store::open(&StoreConfig { path: path.clone(), cache_bytes, ..StoreConfig::default() });
            let said = opened.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(!said.contains("damage") && !said.contains("repair"), "{cache_bytes}: {said}");
        }
    }

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
