//! Checking a whole store from outside, and mending it: the database's files, the ledger, every stored value.
//!
//! In: a store that nobody has open. Out: findings, one by one, each with what helps. Nothing is changed unless asked.

use std::path::Path;
use std::sync::atomic::Ordering;

use serde::Serialize;

use super::format::{META_FORMAT, STORE_FORMAT_VERSION};
use super::{Counts, Damage, Ledger, Repair, Store, StoreError};
use crate::config::StoreConfig;

/// What helps against a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Remedy {
    /// Nothing is wrong; a killed process left it, and the next run or repair removes it.
    None,
    /// `perfharvest verify --repair` mends it.
    Repair,
    /// Repaired or not, the next `perfharvest run` has to ask the server again.
    RunAgain,
    /// An artifact is not there (any more); `perfharvest reduce` makes it.
    Reduce,
    /// It was mended just now.
    Mended,
    /// It cannot be mended: restore the store from a backup, or begin anew.
    Lost,
}

/// One thing that a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong, and where.
    pub what: String,
    /// What helps.
    pub remedy: Remedy,
}

impl Finding {
    /// A finding.
    #[must_use]
    pub fn new(what: impl Into<String>, remedy: Remedy) -> Self {
        Self { what: what.into(), remedy }
    }
}

/// Verifies the store of `config`, hands each finding to `found`, and mends what can be mended when `repair` says so.
///
/// # Errors
/// [`StoreError::Missing`], [`StoreError::Locked`], [`StoreError::OtherFormat`], [`StoreError::DevelopmentFormat`], and what keeps a damaged store from being
/// looked at at all.
pub fn verify_store(config: &StoreConfig, repair: bool, found: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
    let path = &config.path;
    if !path.is_dir() {
        return Err(StoreError::Missing { path: path.clone() });
    }
    if !path.join("db").is_dir() {
        if Ledger::path_in(path).exists() {
            found(Finding::new(
                format!(
                    "{}: the database is gone and only its ledger is left; restore the store from a backup, or move this folder away and run again",
                    path.display()
                ),
                Remedy::Lost,
            ));
            return Ok(());
        }
        return Err(StoreError::Missing { path: path.clone() });
    }
    // sled panics on some damage that it meets only on the way.
    let verified = super::open::catch_silently(|| verify_opened(config, repair, found));
    match verified.unwrap_or_else(|_| Err(StoreError::Corrupt { reason: "sled cannot read it".to_owned() })) {
        // The advice of the error itself is what was just tried.
        Err(StoreError::Corrupt { reason } | StoreError::Unopenable { reason, .. }) if repair => {
            found(Finding::new(
                format!(
                    "the database of the store {} is damaged ({reason}), and this cannot be mended: restore the store from \
                     a backup, or make a new one from an archive with `perfharvest import`, or move this folder away and \
                     run again",
                    path.display()
                ),
                Remedy::Lost,
            ));
            Ok(())
        }
        verified => verified,
    }
}

fn verify_opened(config: &StoreConfig, repair: bool, found: &mut dyn FnMut(Finding)) -> Result<(), StoreError> {
    let path = &config.path;
    let store = match Store::open_trees(path, config.cache_bytes) {
        Err(error @ (StoreError::Unopenable { .. } | StoreError::Corrupt { .. })) => {
            if !repair {
                found(Finding::new(error.to_string(), Remedy::Repair));
                return Ok(());
            }
            reopen(config, &error, found)?
        }
        opened => opened?,
    };
    store.unreadable_is_damage.store(true, Ordering::Relaxed);
    for leftover in Ledger::leftovers(path) {
        let remedy = if repair && std::fs::remove_file(&leftover).is_ok() { Remedy::Mended } else { Remedy::None };
        found(Finding::new(format!("{}: left by a process that was killed", leftover.display()), remedy));
    }
    let ledger = Ledger::read(path);
    let (read_ledger, unreadable) = match ledger {
        Ok(ledger) => (ledger, None),
        Err(error @ StoreError::DevelopmentFormat { .. }) => return Err(error),
        Err(error) => (None, Some(error.to_string())),
    };
    store.refuse_development_format()?;
    match store.get_meta::<u32>(META_FORMAT) {
        Ok(Some(STORE_FORMAT_VERSION)) => {}
        Ok(Some(format)) => return Err(StoreError::OtherFormat { path: path.clone(), found: format }),
        Ok(None) if read_ledger.is_none() && unreadable.is_none() => {
            found(Finding::new(
                format!("{}: it was never finished; the next run makes it", path.display()),
                Remedy::None,
            ));
            return Ok(());
        }
        missing => return restart_description(&store, missing.err(), read_ledger.as_ref(), repair, found),
    }
    store.load_pushes()?;
    let mut damages = Vec::new();
    store.survey(|damage| damages.push(damage))?;
    let mended = if repair { store.mend(&damages, read_ledger.as_ref())? } else { Repair::default() };
    for damage in &damages {
        found(Finding::new(damage.to_string(), remedy_of(damage, repair)));
    }
    if !mended.asked_again.is_empty() {
        let num = mended.asked_again.len();
        found(Finding::new(format!("{num} requests are pending again: run again to fetch them"), Remedy::RunAgain));
    }
    verify_ledger(&store, read_ledger.as_ref(), unreadable, repair, found)
}

fn remedy_of(damage: &Damage, repair: bool) -> Remedy {
    match damage {
        Damage::Answer { .. } => Remedy::RunAgain,
        Damage::State { .. }
        | Damage::Twice { .. }
        | Damage::Signature { .. }
        | Damage::Push { .. }
        | Damage::Description { .. }
            if repair =>
        {
            Remedy::Mended
        }
        _ => Remedy::Repair,
    }
}

/// Opens the database without the files that sled can make anew: its snapshots and its parameters.
fn reopen(config: &StoreConfig, error: &StoreError, found: &mut dyn FnMut(Finding)) -> Result<Store, StoreError> {
    let db = config.path.join("db");
    let is_snapshot = |name: &str| name.starts_with("snap.");
    let is_parameters = |name: &str| name == "conf";
    remove_files(&db, is_snapshot)?;
    let mut opened = Store::open_trees(&config.path, config.cache_bytes);
    if opened.is_err() {
        remove_files(&db, is_parameters)?;
        opened = Store::open_trees(&config.path, config.cache_bytes);
    }
    match opened {
        Ok(store) => {
            let reason = match error {
                StoreError::Unopenable { reason, .. } | StoreError::Corrupt { reason } => reason.clone(),
                error => error.to_string(),
            };
            let what =
                format!("the database could not be opened ({reason}); opened without its snapshot, which was rebuilt");
            found(Finding::new(what, Remedy::Mended));
            Ok(store)
        }
        Err(error) => Err(error),
    }
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

/// A database without a format: its description is damaged, or its log was cut off at the beginning.
fn restart_description(
    store: &Store,
    error: Option<StoreError>,
    ledger: Option<&Ledger>,
    repair: bool,
    found: &mut dyn FnMut(Finding),
) -> Result<(), StoreError> {
    let what = error.map_or_else(|| "the store's description is gone".to_owned(), |error| error.to_string());
    let settled = ledger.map_or(0, |ledger| ledger.counts.settled());
    let held = Store::num_entries(&store.settled)?;
    let what = format!("{what}; the ledger knew {settled} settled requests, the database holds {held}");
    if !repair {
        found(Finding::new(what, Remedy::Repair));
        return Ok(());
    }
    store.put_meta(META_FORMAT, &STORE_FORMAT_VERSION)?;
    store.load_pushes()?;
    let mut damages = Vec::new();
    store.survey(|damage| damages.push(damage))?;
    damages.push(Damage::Description { part: "description", reason: what.clone() });
    let mended = store.mend(&damages, ledger)?;
    found(Finding::new(format!("{what}; what is gone is asked for by the next run"), Remedy::Mended));
    for request in mended.asked_again {
        found(Finding::new(format!("{request} is pending again"), Remedy::RunAgain));
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
    let counts = store.get_meta::<Counts>(super::format::META_COUNTS).ok().flatten();
    let id = store.get_meta::<String>(super::format::META_STORE_ID).ok().flatten();
    let what = match (ledger, counts) {
        (None, _) => unreadable.or_else(|| Some(format!("the ledger {at} is missing"))),
        (Some(ledger), _) if id.as_ref().is_some_and(|id| *id != ledger.store_id) => {
            Some(format!("the ledger {at} is that of another store"))
        }
        (Some(ledger), Some(counts)) if counts.commits < ledger.counts.commits => Some(format!(
            "the store has lost data: its ledger knows {} commits and {} settled requests, the database holds {} and {}; if you have a newer backup, restore it",
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
        found(Finding::new(what, if repair { Remedy::Mended } else { Remedy::Repair }));
    }
    Ok(())
}
