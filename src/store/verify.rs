//! Verifies a whole store from outside, and repairs it: the database's files, the ledger, every stored value.
//!
//! In: a store that nobody has open. Out: findings, one by one, each with its remedy. Without `repair`, nothing is changed.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::format::{META_COUNTS, META_FORMAT, META_STORE_ID, STORE_FORMAT_VERSION};
use super::open::catch_silently;
use super::{Damage, Ledger, Repair, Store, StoreError, Tally};
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
    if !path.join("db").is_dir() {
        if !path.is_dir() || !Ledger::path_in(path).exists() {
            return Err(StoreError::Missing(path.clone()));
        }
        let what = format!(
            "{}: the database is missing and only its ledger is left; restore the store from a backup, or move this folder \
             away and run again",
            path.display()
        );
        found(Finding::new(what, Remedy::Lost));
        return Ok(());
    }
    // On some damage sled panics only when it reads it.
    let verified = catch_silently(|| verify_database(config, repair, found));
    match verified.unwrap_or_else(|_| Err(StoreError::Corrupt("sled cannot read it".to_owned()))) {
        // The error itself advises a repair, which has just failed.
        Err(StoreError::Corrupt(reason) | StoreError::Unopenable { reason, .. }) if repair => {
            let what = format!(
                "the database of the store {} is damaged ({reason}) and cannot be repaired: restore the store from a backup, \
                 or make a new one from an archive with `perfharvest import`, or move this folder away and run again",
                path.display()
            );
            found(Finding::new(what, Remedy::Lost));
            Ok(())
        }
        verified => verified,
    }
}

fn verify_database(config: &StoreConfig, repair: bool, found: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
    let path = &config.path;
    let store = match Store::open_trees(path, config.cache_bytes) {
        Err(error @ (StoreError::Unopenable { .. } | StoreError::Corrupt(_))) => {
            if !repair {
                found(Finding::new(error.to_string(), Remedy::Repair));
                return Ok(());
            }
            reopen(config, &error, found)?
        }
        opened => opened?,
    };
    store.unreadable_is_damage.store(true, Ordering::Relaxed);
    store.refuse_development_format()?;
    for leftover in Ledger::leftovers(path) {
        let remedy = if repair && std::fs::remove_file(&leftover).is_ok() { Remedy::Repaired } else { Remedy::None };
        found(Finding::new(format!("{}: a killed process left it behind", leftover.display()), remedy));
    }
    let (ledger, unreadable) = match Ledger::read(path) {
        Ok(ledger) => (ledger, None),
        Err(error @ StoreError::DevelopmentFormat(_)) => return Err(error),
        Err(error) => (None, Some(error.to_string())),
    };
    let lost = match store.get_meta::<u32>(META_FORMAT) {
        Ok(Some(STORE_FORMAT_VERSION)) => None,
        Ok(Some(found)) => return Err(StoreError::OtherFormat { path: path.clone(), found }),
        Ok(None) if ledger.is_none() && unreadable.is_none() => {
            let what = format!("{}: its creation was interrupted; the next run completes it", path.display());
            found(Finding::new(what, Remedy::None));
            return Ok(());
        }
        Ok(None) => Some("the store's description is missing".to_owned()),
        Err(error) => Some(error.to_string()),
    };
    if let Some(reason) = lost {
        let listed = ledger.as_ref().map_or(0, |ledger| ledger.counts.settled());
        let held = Store::num_entries(&store.settled)?;
        let reason = format!("{reason}; the ledger lists {listed} settled requests, the database holds {held}");
        if !repair {
            found(Finding::new(reason, Remedy::Repair));
            return Ok(());
        }
        store.put_meta(META_FORMAT, &STORE_FORMAT_VERSION)?;
        return verify_values(&store, ledger.as_ref(), Some(reason), repair, found);
    }
    verify_values(&store, ledger.as_ref(), None, repair, found)?;
    verify_ledger(&store, ledger.as_ref(), unreadable, repair, found)
}

/// Searches all values for damage; `lost` tells why the store's description has to be written anew.
fn verify_values(
    store: &Store,
    ledger: Option<&Ledger>,
    lost: Option<String>,
    repair: bool,
    found: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    store.load_pushes()?;
    let mut damages = Vec::new();
    store.find_damage(|damage| damages.push(damage))?;
    damages.extend(lost.map(|reason| Damage::Description { part: "description", reason }));
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

/// Opens the database without the files that sled can rebuild: its snapshots and its parameters.
fn reopen(config: &StoreConfig, error: &StoreError, found: &mut dyn FnMut(Finding)) -> Result<Store, StoreError> {
    let db = config.path.join("db");
    remove_files(&db, |name| name.starts_with("snap."))?;
    let mut opened = Store::open_trees(&config.path, config.cache_bytes);
    if opened.is_err() {
        remove_files(&db, |name| name == "conf")?;
        opened = Store::open_trees(&config.path, config.cache_bytes);
    }
    let store = opened?;
    let reason = match error {
        StoreError::Unopenable { reason, .. } | StoreError::Corrupt(reason) => reason.clone(),
        error => error.to_string(),
    };
    let what = format!("the database could not be opened ({reason}); its snapshot was removed and rebuilt");
    found(Finding::new(what, Remedy::Repaired));
    Ok(store)
}

fn remove_files(folder: &Path, which: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    let failed = |source| StoreError::Folder { path: folder.to_owned(), source };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(&which) {
            std::fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    Ok(())
}

fn verify_ledger(
    store: &Store,
    ledger: Option<&Ledger>,
    unreadable: Option<String>,
    repair: bool,
    found: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    let path = Ledger::path_in(store.path());
    let at = path.display();
    let counts = store.get_meta::<Tally>(META_COUNTS).ok().flatten();
    let id = store.get_meta::<String>(META_STORE_ID).ok().flatten();
    let what = match (ledger, counts) {
        (None, _) => unreadable.or_else(|| Some(format!("the ledger {at} is missing"))),
        (Some(ledger), _) if id.as_ref().is_some_and(|id| *id != ledger.store_id) => {
            Some(format!("the ledger {at} belongs to another store"))
        }
        (Some(ledger), Some(counts)) if counts.commits < ledger.counts.commits => Some(format!(
            "the store has lost data: its ledger lists {} commits and {} settled requests, but the database holds {} and {}; \
             if there is a newer backup, restore it",
            ledger.counts.commits,
            ledger.counts.settled(),
            counts.commits,
            counts.settled(),
        )),
        _ => None,
    };
    if let Some(what) = what {
        if repair {
            store.write_ledger(&store.counts()?)?;
        }
        found(Finding::new(what, if repair { Remedy::Repaired } else { Remedy::Repair }));
    }
    Ok(())
}
