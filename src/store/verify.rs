//! Verifies a whole store from outside, and repairs it: the log, the database, the ledger, every stored value.
//!
//! In: a store that nobody has open. Out: findings, one by one, each with its remedy. Without `repair`, nothing is changed.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::format::{META_COUNTS, META_FORMAT, META_STORE_ID, STORE_FORMAT_VERSION};
use super::index::{Applied, Fault, Index};
use super::open::{leftovers, refuse_other_format};
use super::replay::{Content, log_id_of};
use super::value_log::ValueLog;
use super::{Damage, Ledger, Repair, Store, StoreError, Tally, Unavailable, lock};
use crate::actor::LockedFile;
use crate::config::StoreConfig;

/// The next step after a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Nothing: a killed process left it behind, and the next run or repair removes it.
    None,
    /// `perfharvest verify --repair`
    Repair,
    /// `perfharvest run`, which asks the server again.
    RunAgain,
    /// `perfharvest reduce`, which makes the missing artifact.
    Reduce,
    /// Moving files that are not of this store, by hand.
    Move,
    /// Nothing: it was repaired just now.
    Repaired,
    /// It cannot be repaired: restore the store from a backup, or start again.
    Lost,
}

/// One result of a verification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The damage and its place, for people.
    pub what: String,
    /// The next step.
    pub remedy: Remedy,
}

impl Finding {
    /// Pairs a text with its remedy.
    #[must_use]
    pub fn new(what: impl Into<String>, remedy: Remedy) -> Self {
        Self { what: what.into(), remedy }
    }
}

/// Verifies the store of `config`, passes each finding to `found`, and with `repair` repairs whatever needs no network.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Locked`], [`StoreError::OtherFormat`], [`StoreError::DevelopmentFormat`], and any
/// failure that prevents a look at a damaged store.
pub fn verify_store(config: &StoreConfig, repair: bool, found: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
    let path = &config.path;
    if !Store::exists(path) {
        return Err(StoreError::Missing(path.clone()));
    }
    let verified = if repair { repair_store(config, found) } else { look_at(config, found) };
    match verified {
        // The error itself advises a repair, which would not help.
        Err(
            StoreError::Corrupt(reason) | StoreError::Unopenable { reason, .. } | StoreError::Ledger { reason, .. },
        ) => {
            let what = format!(
                "the store {} has neither a database that can be opened ({reason}) nor a log to build it from, and cannot be \
                 repaired: restore the store from a backup, or make a new one from an archive with `perfharvest import`, or \
                 move this folder away and run again",
                path.display()
            );
            found(Finding::new(what, Remedy::Lost));
            Ok(())
        }
        verified => verified,
    }
}

/// The ledger, or why it cannot be read.
struct SeenLedger {
    ledger: Option<Ledger>,
    unreadable: Option<String>,
}

impl SeenLedger {
    fn read(path: &Path) -> Result<Self, StoreError> {
        match Ledger::read(path) {
            Ok(ledger) => Ok(Self { ledger, unreadable: None }),
            Err(error @ StoreError::DevelopmentFormat(_)) => Err(error),
            Err(error) => Ok(Self { ledger: None, unreadable: Some(error.to_string()) }),
        }
    }

    fn acknowledged(&self, log_id: Option<u64>) -> u64 {
        self.ledger.as_ref().map_or(0, |ledger| ledger.acknowledged(log_id))
    }
}

/// Changes nothing.
fn look_at(config: &StoreConfig, found: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
    let path = &config.path;
    let seen = SeenLedger::read(path)?;
    refuse_other_format(path, seen.ledger.as_ref().map(|ledger| ledger.format))?;
    for leftover in leftovers(path) {
        found(Finding::new(format!("{}: a killed process left it behind", leftover.display()), Remedy::None));
    }
    let log = ValueLog::open(path, false)?;
    let unreadable = |source| StoreError::Folder { path: log.path().to_owned(), source };
    let acknowledged = seen.acknowledged(log_id_of(&log)?);
    let (content, replayed) = Content::read(&log, acknowledged).map_err(unreadable)?;
    let index = match open_index(config, replayed.position.number, found)? {
        Some((_, index, applied)) if !applied.is_of(replayed.log_id) => {
            let store_id = content.description::<String>(META_STORE_ID);
            if store_id.is_some() && index.store_id().is_some_and(|of_database| store_id != Some(of_database)) {
                return Err(StoreError::OtherLog(path.clone()));
            }
            let what = format!(
                "the database of the store {}: it belongs to a log before the present one; the next command rebuilds it",
                path.display()
            );
            found(Finding::new(what, Remedy::None));
            None
        }
        index => index,
    };
    let applied = index.as_ref().map_or(0, |(_, _, applied)| applied.position.number);
    let lost = replayed.lost(applied.max(acknowledged));
    if lost == 0 && replayed.num_halved > 0 {
        found(Finding::new(halved(path, replayed.num_halved), Remedy::Repair));
    }
    let store = match index {
        Some((lock, index, applied)) if applied.position.end > log.len() || lost > 0 => {
            // The database may still have the values that the log has lost.
            let store = Store::of(path, index, applied, log, Some(lock));
            let what = match store.check_values() {
                Err(error) => error,
                Ok(()) => StoreError::CommitsLost { path: path.clone(), lost },
            };
            found(Finding::new(what.to_string(), Remedy::Repair));
            store
        }
        _ if replayed.log_id.is_none() => {
            if seen.ledger.is_none() && seen.unreadable.is_none() {
                let what = format!("{}: its creation was interrupted; the next run completes it", path.display());
                found(Finding::new(what, Remedy::None));
                return Ok(());
            }
            let reason = "both are missing or damaged".to_owned();
            return Err(StoreError::Unopenable { path: path.clone(), reason });
        }
        index => {
            if let Some((_, index, applied)) = index
                && applied.position == replayed.position
                && index.sum_of_content()? != content.sum()
            {
                found(Finding::new(differs(path), Remedy::Repair));
            }
            if lost > 0 {
                let error = StoreError::CommitsLost { path: path.clone(), lost };
                found(Finding::new(error.to_string(), Remedy::Repair));
            }
            Store::of_content(config, content, &replayed, log)?
        }
    };
    store.unreadable_is_damage.store(true, Ordering::Relaxed);
    if let Some(reason) = lost_description(&store, seen.ledger.as_ref())? {
        found(Finding::new(reason, Remedy::Repair));
        return Ok(());
    }
    verify_values(&store, seen.ledger.as_ref(), &[], false, found)?;
    verify_ledger(&store, &seen, false, found)
}

/// Opens the database where that changes nothing for others; `None` while another process has it, and where it is damaged.
fn open_index(
    config: &StoreConfig,
    last: u64,
    found: &mut dyn FnMut(Finding),
) -> Result<Option<(LockedFile, Index, Applied)>, StoreError> {
    let path = &config.path;
    let lock = match lock::take_if_free(path) {
        Ok(lock) => lock,
        Err(Unavailable::ReadOnly) => return Ok(None),
        Err(Unavailable::InUse) => {
            let what = format!("{}: another process is writing to it; verified as of commit {last}", path.display());
            found(Finding::new(what, Remedy::None));
            return Ok(None);
        }
    };
    let reason = match Index::open_checked(&path.join("db"), config.cache_bytes) {
        Ok((index, applied)) => return Ok(Some((lock, index, applied))),
        Err(Fault::Refused(error @ (StoreError::DevelopmentFormat(_) | StoreError::OtherFormat { .. }))) => {
            return Err(error);
        }
        Err(Fault::Refused(_)) => return Ok(None),
        Err(Fault::Missing) => "it is missing".to_owned(),
        Err(Fault::Damaged(reason)) => reason,
    };
    let what = format!("the database of the store {}: {reason}; it can be rebuilt from the log", path.display());
    found(Finding::new(what, Remedy::Repair));
    Ok(None)
}

fn differs(path: &Path) -> String {
    format!("the database of the store {}: it differs from the log, from which it can be rebuilt", path.display())
}

fn halved(path: &Path, num: u64) -> String {
    format!("the log of the store {}: {num} commits are left in one of two copies; nothing is lost yet", path.display())
}

fn repair_store(config: &StoreConfig, found: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
    let path = &config.path;
    let mut held = Some(lock::take(path)?);
    let seen = SeenLedger::read(path)?;
    for leftover in leftovers(path) {
        let remedy = if std::fs::remove_file(&leftover).is_ok() { Remedy::Repaired } else { Remedy::None };
        found(Finding::new(format!("{}: a killed process left it behind", leftover.display()), remedy));
    }
    let open = |lock| Store::open_locked(config, lock, seen.ledger.as_ref(), true);
    let (mut store, mut losses) = open(held.take().map_or_else(|| lock::take(path), Ok)?)?;
    let unreadable = |source| StoreError::Folder { path: path.clone(), source };
    let applied = store.position().number;
    let (content, replayed) = Content::read(&store.values, applied).map_err(unreadable)?;
    losses.num_missing = losses.num_missing.max(replayed.lost(applied));
    if losses.num_missing == 0 && !losses.is_cut && content.sum() != store.index.sum_of_content()? {
        found(Finding::new(differs(path), Remedy::Repaired));
        drop(store);
        let lock = lock::take(path)?;
        let place = path.join("db");
        std::fs::remove_dir_all(&place).map_err(|source| StoreError::Folder { path: place, source })?;
        store = open(lock)?.0;
    }
    drop(content);
    if losses.num_missing == 0 && !losses.is_cut && replayed.num_halved > 0 {
        store.write_checkpoint()?;
        found(Finding::new(halved(path, replayed.num_halved), Remedy::Repaired));
    }
    store.unreadable_is_damage.store(true, Ordering::Relaxed);
    let mut lost = Vec::new();
    if let Some(reason) = &losses.rebuilt {
        let what = format!("the database of the store {}: {reason}; it was rebuilt from the log", path.display());
        found(Finding::new(what, Remedy::Repaired));
    }
    if losses.is_cut || losses.num_missing > 0 {
        let reason = if losses.is_cut {
            "its file `values` is shorter than its database expects".to_owned()
        } else {
            format!("{} commits in its file `values` are damaged", losses.num_missing)
        };
        store.write_checkpoint()?;
        lost.push(Damage::Description { part: "log", reason });
    }
    if let Some(reason) = lost_description(&store, seen.ledger.as_ref())? {
        store.put_meta(META_FORMAT, &STORE_FORMAT_VERSION)?;
        lost.push(Damage::Description { part: "description", reason });
    }
    verify_values(&store, seen.ledger.as_ref(), &lost, true, found)?;
    verify_ledger(&store, &seen, true, found)
}

/// Why the store's description has to be written anew.
fn lost_description(store: &Store, ledger: Option<&Ledger>) -> Result<Option<String>, StoreError> {
    let reason = match store.get_meta::<u32>(META_FORMAT) {
        Ok(Some(format)) => return refuse_other_format(store.path(), Some(format)).map(|()| None),
        Ok(None) => "the store's description is missing".to_owned(),
        Err(error) => error.to_string(),
    };
    let listed = ledger.map_or(0, |ledger| ledger.counts.settled());
    let held = Store::num_entries(&store.settled)?;
    Ok(Some(format!("{reason}; the ledger lists {listed} settled requests, the database holds {held}")))
}

/// Searches all values for damage, and repairs it together with `lost`.
fn verify_values(
    store: &Store,
    ledger: Option<&Ledger>,
    lost: &[Damage],
    repair: bool,
    found: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    store.load_pushes()?;
    let mut damages = Vec::new();
    store.find_damage(|damage| damages.push(damage))?;
    damages.extend_from_slice(lost);
    let repaired = if repair { store.repair_damage(&damages, ledger)? } else { Repair::default() };
    for damage in &damages {
        let remedy = match damage {
            Damage::Answer { .. } => Remedy::RunAgain,
            _ if repair => Remedy::Repaired,
            _ => Remedy::Repair,
        };
        found(Finding::new(damage.to_string(), remedy));
    }
    let num = repaired.asked_again.len();
    if num > 0 {
        let what = if num == 1 { "1 request is".to_owned() } else { format!("{num} requests are") };
        found(Finding::new(format!("{what} pending again: run again to fetch the data"), Remedy::RunAgain));
    }
    Ok(())
}

fn verify_ledger(
    store: &Store,
    seen: &SeenLedger,
    repair: bool,
    found: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    let path = Ledger::path_in(store.path());
    let at = path.display();
    let counts = store.get_meta::<Tally>(META_COUNTS).ok().flatten();
    let id = store.get_meta::<String>(META_STORE_ID).ok().flatten();
    let what = match (&seen.ledger, counts) {
        (None, _) => seen.unreadable.clone().or_else(|| Some(format!("the ledger {at} is missing"))),
        (Some(ledger), _) if id.as_ref().is_some_and(|id| *id != ledger.store_id) => {
            Some(format!("the ledger {at} belongs to another store"))
        }
        (Some(ledger), Some(counts)) if counts.commits < ledger.counts.commits => Some(format!(
            "the store has lost data: its ledger lists {} settled requests, but the log holds {}; if there is a newer backup, \
             restore it",
            ledger.counts.settled(),
            counts.settled(),
        )),
        _ => None,
    };
    let is_of_this_log = seen.ledger.as_ref().is_some_and(|ledger| ledger.is_of(store.log_id()));
    if repair && (what.is_some() || !is_of_this_log) {
        store.write_ledger(&store.counts()?)?;
    }
    if let Some(what) = what {
        found(Finding::new(what, if repair { Remedy::Repaired } else { Remedy::Repair }));
    }
    Ok(())
}
