//! A store for reading only, beside the process that writes it, or where this process may not write: a private database,
//! built from the log in a temporary folder. Nothing in the store's own folder is locked or written.
//!
//! The store is seen as of the last commit at the time of opening, and stays so: the log is only appended to, and a compaction
//! writes another file.

use std::path::Path;

use super::database::View;
use super::format::{META_COUNTS, META_FORMAT, META_HARVESTS, META_IDENTITY, META_STORE_ID};
use super::group::Position;
use super::index::{Applied, Index};
use super::lock::Unavailable;
use super::open::{MOST_UNBEGUN_BYTES, refuse_other_format};
use super::replay::{Content, Reader, Replayed, log_id_of, replay};
use super::trees::{META, Operation};
use super::value::open_json;
use super::value_log::ValueLog;
use super::{CrawlIdentity, Ledger, Store, StoreError, Tally, lock};
use crate::config::StoreConfig;

impl Store {
    /// Opens an existing store for reading: the store itself if this process can lock it, else a view as of its last commit.
    ///
    /// # Errors
    /// [`StoreError::Missing`], and those of [`Store::open`] except [`StoreError::Locked`].
    pub fn open_to_read(config: &StoreConfig) -> Result<Self, StoreError> {
        if !Self::exists(&config.path) {
            return Err(StoreError::Missing(config.path.clone()));
        }
        match lock::take_if_free(&config.path) {
            Ok(lock) => match Self::open_with(config, lock) {
                Err(StoreError::Folder { .. }) => Self::open_view(config, Unavailable::ReadOnly),
                opened => opened,
            },
            Err(reason) => Self::open_view(config, reason),
        }
    }

    /// As [`Store::open_to_read`], and shows the last harvest that came to its end: while a later one is open, identity,
    /// tally and records are those of before it.
    ///
    /// # Errors
    /// Those of [`Store::open_to_read`], and [`StoreError::Joining`].
    pub fn open_to_show(config: &StoreConfig) -> Result<Self, StoreError> {
        let mut store = Self::open_to_read(config)?;
        store.hide_open_harvest()?;
        Ok(store)
    }

    /// Tally and identity as of the last commit: those of the ledger, which may be a second older, brought to the end of the
    /// log. Without the log, those of the ledger.
    ///
    /// # Errors
    /// [`StoreError::Missing`] without a store or while it is created, [`StoreError::Ledger`] when only the ledger is missing or cannot be read, and
    /// the errors for another format.
    pub fn latest_ledger(path: &Path) -> Result<Ledger, StoreError> {
        let mut ledger = match Ledger::read(path)? {
            Some(ledger) => ledger,
            None if Self::exists(path) && !is_without_content(path) => {
                return Err(StoreError::Ledger { path: Ledger::path_in(path), reason: "is missing".to_owned() });
            }
            None => return Err(StoreError::Missing(path.to_owned())),
        };
        refuse_other_format(path, Some(ledger.format))?;
        let Ok(log) = ValueLog::open(path, false) else { return Ok(ledger) };
        let log_id = log_id_of(&log).ok().flatten();
        let known = Position { number: ledger.last_commit, end: ledger.log_end };
        // Of a log that was compacted since, all groups are behind the ledger.
        let known = if ledger.is_of(log_id) { known } else { Position::default() };
        let _unreadable = replay(Reader::new(&log, known, log_id), known.number, |group| {
            for Operation { tree, key, value } in group.operations {
                match (tree, key.as_slice(), value) {
                    (META, META_COUNTS, Some(framed)) => {
                        ledger.counts = open_json("meta", &key, &framed).unwrap_or_else(|_| ledger.counts.clone());
                    }
                    (META, META_IDENTITY, Some(framed)) => {
                        ledger.identity = open_json("meta", &key, &framed).ok().or_else(|| ledger.identity.take());
                    }
                    (META, META_HARVESTS, Some(framed)) => {
                        ledger.harvests = open_json("meta", &key, &framed).unwrap_or_else(|_| ledger.harvests.clone());
                    }
                    _ => {}
                }
            }
            Ok(())
        });
        Ok(ledger)
    }

    fn open_view(config: &StoreConfig, reason: Unavailable) -> Result<Self, StoreError> {
        let path = &config.path;
        // First the ledger: the log holds at least as much.
        let ledger = Ledger::read(path)?;
        refuse_other_format(path, ledger.as_ref().map(|ledger| ledger.format))?;
        let log = ValueLog::open(path, false)?;
        let log_id = log_id_of(&log)?;
        let expected = ledger.as_ref().map_or(0, |ledger| ledger.acknowledged(log_id));
        let read = Content::read(&log, expected);
        let (content, replayed) = read.map_err(|source| StoreError::Folder { path: log.path().to_owned(), source })?;
        if replayed.num_missing > 0 {
            return Err(StoreError::CommitsLost { path: path.clone(), lost: replayed.num_missing });
        }
        let found = replayed.position.number;
        if found == 0 && expected == 0 {
            return Err(StoreError::Missing(path.clone()));
        }
        if found < expected {
            return Err(StoreError::BehindLedger { path: path.clone(), expected, found });
        }
        if let Some(ledger) = ledger.filter(|ledger| !ledger.is_of(log_id)) {
            let (store_id, counts) = (content.description::<String>(META_STORE_ID), content.description(META_COUNTS));
            ledger.check_successor(path, store_id.as_deref(), counts.as_ref())?;
        }
        let mut store = Self::of_content(config, content, &replayed, log)?;
        refuse_other_format(path, store.get_meta(META_FORMAT)?)?;
        store.load_pushes()?;
        if let Some(view) = &mut store.view {
            view.reason = reason;
        }
        Ok(store)
    }

    /// A store with `content`, which was read from `log`.
    pub(super) fn of_content(
        config: &StoreConfig,
        content: Content,
        replayed: &Replayed,
        log: ValueLog,
    ) -> Result<Self, StoreError> {
        let made = tempfile::tempdir();
        let folder = made.map_err(|source| StoreError::Folder { path: std::env::temp_dir(), source })?;
        let log_id = replayed.log_id.unwrap_or_default();
        let applied = Applied { position: replayed.position, log_id, ..Applied::default() };
        let place = folder.path().join("db");
        let applied = Index::build(&place, config.cache_bytes, content.into_entries(), applied)?;
        let index = Index::open(&place, config.cache_bytes)?;
        let view = View { reason: Unavailable::InUse, _folder: folder };
        Ok(Self { view: Some(view), ..Self::of(&config.path, index, applied, log, None) })
    }

    /// For a store that was opened for reading only: the reason, and the number of the last commit that is seen.
    #[must_use]
    pub fn as_of(&self) -> Option<(Unavailable, u64)> {
        self.view.as_ref().map(|view| (view.reason, self.position().number))
    }
}

/// True for a store whose creation goes on or was interrupted, before its ledger was written.
fn is_without_content(path: &Path) -> bool {
    let Ok(log) = ValueLog::open(path, false) else { return false };
    let content = Some(&log).filter(|log| log.len() < MOST_UNBEGUN_BYTES).map(|log| Content::read(log, 0));
    content.is_some_and(|content| {
        content.is_ok_and(|(content, _)| {
            let counts = content.description::<Tally>(META_COUNTS).unwrap_or_default();
            content.description::<CrawlIdentity>(META_IDENTITY).is_none() && counts == Tally::default()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Request;
    use crate::store::{Change, Pending, Settlement};

    #[test]
    fn a_store_without_a_ledger_is_missing_before_it_has_content_and_damaged_then() {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { path: folder.path().join("store"), ..StoreConfig::default() };
        let store = Store::open(&config).unwrap();
        let without_ledger = || {
            std::fs::remove_file(Ledger::path_in(&config.path)).unwrap();
            Store::latest_ledger(&config.path).unwrap_err()
        };
        assert!(matches!(without_ledger(), StoreError::Missing(_)));
        let settlement = Settlement::discovery(vec![Pending::of(Request::Frameworks)]);
        store.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
        store.write_ledger(&store.counts().unwrap()).unwrap();
        assert!(matches!(without_ledger(), StoreError::Ledger { .. }));
    }
}
