//! The identity of a crawl: pinned in a new store, compared with that of an old one.
//!
//! `plan` makes a store, but does not decide for the crawl: a mark in the store's folder says that only `plan` has used it. A
//! crawl of another window then starts anew, and the first crawl removes the mark. A store with data or jobs is never removed,
//! whatever the mark says.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::options::RunOptions;
use super::scope::scope_of;
use crate::Error;
use crate::config::{Config, Scope};
use crate::model::{Kind, Timestamp};
use crate::store::{CrawlIdentity, Ledger, Store, StoreError};

/// The mark of a store that only `plan` has used.
const PLANNED_NAME: &str = "planned";

/// The mark of a store that is being removed, which may be interrupted.
const REMOVED_NAME: &str = "planned.removed";

/// All that a store is made of, the mark last.
const STORE_FILES: &[&str] = &["db", "db.new", "values", "run.json", "ledger.json", REMOVED_NAME];

/// All else that may be in the folder of a store before it has begun, and the beginning of names of commits and their pages.
const BESIDE_STORE: &[&str] = &[PLANNED_NAME, "values.new", "lock", "lost+found"];
const COMMITS_NAME: &str = "all_commits.jsonl";

/// Longest age of the lists of `plan` that a crawl up to now takes over, seconds.
const MAX_PLAN_AGE_SECS: i64 = 3600;

/// Opens the store of `config` for its crawl: pins the crawl in a new store, compares it with that of an old one.
///
/// # Errors
/// [`StoreError::OtherCrawl`] when the store holds another crawl, and the errors of opening.
pub fn open_crawl(config: &Config, options: RunOptions) -> Result<(Arc<Store>, CrawlIdentity), StoreError> {
    open_crawl_at(config, options, Timestamp::now())
}

/// As [`open_crawl`], at `now`.
pub(super) fn open_crawl_at(
    config: &Config,
    options: RunOptions,
    now: Timestamp,
) -> Result<(Arc<Store>, CrawlIdentity), StoreError> {
    let path = &config.store.path;
    refuse_other_files(path)?;
    let mark = path.join(PLANNED_NAME);
    if path.join(REMOVED_NAME).exists() {
        remove_store(path)?;
    }
    if options.lists_only && !Store::exists(path) {
        put_mark(path, &mark)?;
    }
    let mut store = Store::open(&config.store)?;
    if let Some(identity) = store.identity()?
        && mark.exists()
        && !is_planned(&identity, config, options, now)?
        && holds_lists_only(&store)?
    {
        tracing::info!("the stored lists are of a plan for another window; fetching them again");
        drop(store);
        forget_plan(path)?;
        if options.lists_only {
            put_mark(path, &mark)?;
        }
        store = Store::open(&config.store)?;
    }
    if !options.lists_only && mark.exists() {
        // On the disk before the first answer: the mark must not come back after a loss of power.
        let removed = std::fs::remove_file(&mark).and_then(|()| File::open(path)?.sync_all());
        removed.map_err(|source| StoreError::Folder { path: mark.clone(), source })?;
    }
    let identity = match store.identity()? {
        None => {
            let identity = new_identity(config, now)?;
            store.pin_identity(&identity)?;
            store.begin_first_harvest(now)?;
            identity
        }
        Some(mut identity) => {
            refuse_other(&identity, config, options)?;
            let base_url = config.source.base_url.trim_end_matches('/');
            if identity.base_url != base_url {
                base_url.clone_into(&mut identity.base_url);
                store.pin_identity(&identity)?;
            }
            identity
        }
    };
    Ok((Arc::new(store), identity))
}

/// Refuses to begin a store among other files. A folder that cannot be read is left to the opening of the store.
fn refuse_other_files(path: &Path) -> Result<(), StoreError> {
    if Store::exists(path) {
        return Ok(());
    }
    let names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut names = names.map(|name| name.to_string_lossy().into_owned());
    let is_known = |name: &str| {
        name.starts_with('.')
            || name.starts_with(COMMITS_NAME)
            || STORE_FILES.iter().chain(BESIDE_STORE).any(|own| name == *own)
    };
    match names.find(|name| !is_known(name)) {
        Some(name) => Err(StoreError::OtherFiles { path: path.to_owned(), name }),
        None => Ok(()),
    }
}

/// The identity that [`open_crawl_at`] will return, without touching the store.
pub(super) fn foreseen_crawl(
    config: &Config,
    options: RunOptions,
    now: Timestamp,
) -> Result<CrawlIdentity, StoreError> {
    let path = &config.store.path;
    let stored = Ledger::read(path).ok().flatten().and_then(|ledger| Some((ledger.identity?, ledger.counts)));
    match stored {
        Some((identity, _)) if path.join(PLANNED_NAME).exists() && !is_planned(&identity, config, options, now)? => {
            new_identity(config, now)
        }
        Some((identity, counts)) => {
            refuse_other(&identity, config, options)?;
            Ok(CrawlIdentity { scope: scope_of(&identity, &counts, config)?, ..identity })
        }
        None => new_identity(config, now),
    }
}

/// The identity of a new crawl, with the configured scope.
fn new_identity(config: &Config, now: Timestamp) -> Result<CrawlIdentity, StoreError> {
    let scope = config.scope_over(&Scope::default())?;
    Ok(CrawlIdentity { scope, ..CrawlIdentity::create(config, now) })
}

/// Refuses a stored crawl that differs from the requested one.
pub(crate) fn refuse_other(identity: &CrawlIdentity, config: &Config, options: RunOptions) -> Result<(), StoreError> {
    let differences = identity.differences(config, options.same_source);
    if differences.is_empty() {
        return Ok(());
    }
    Err(StoreError::OtherCrawl { path: config.store.path.clone(), differences })
}

/// Refuses a window that has not begun; warns of one that has not ended.
pub(super) fn check_window(identity: &CrawlIdentity, now: Timestamp) -> Result<(), Error> {
    let window = identity.data_window();
    if window.start >= now {
        let message = format!(
            "the window from {} to {} is in the future: it is {now} by the clock of this machine; give another window with \
             --start and --end, or set the clock",
            identity.window_start, identity.data_end
        );
        return Err(Error::Usage { message });
    }
    if identity.data_end > now {
        tracing::warn!(
            data_end = %identity.data_end, %now,
            "the end of the data is in the future; data pushed after they are fetched will be missing"
        );
    }
    Ok(())
}

/// True if a crawl of `config` would have the identity that `plan` chose, or one that differs by a recent `data_end`.
fn is_planned(
    identity: &CrawlIdentity,
    config: &Config,
    options: RunOptions,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let is_open = config.window.data_end.is_none();
    let is_recent = identity.data_end.plus_secs(MAX_PLAN_AGE_SECS) >= now;
    // A start that is left open follows from the end, and a plan may have been made for another one.
    let now = if is_open { identity.data_end } else { now };
    let asked = CrawlIdentity { base_url: identity.base_url.clone(), ..new_identity(config, now)? };
    let is_same = *identity == asked && identity.differences(config, options.same_source).is_empty();
    Ok((!is_open || is_recent) && is_same)
}

/// True for a store that only `plan` has used, so that its crawl has not begun.
pub(super) fn is_only_planned(store: &Path) -> bool {
    store.join(PLANNED_NAME).exists()
}

/// True for a store whose crawl has begun, so that it has a window of its own.
pub(crate) fn has_begun(store: &Path) -> bool {
    let identity = Ledger::read(store).ok().flatten().and_then(|ledger| ledger.identity);
    identity.is_some() && !is_only_planned(store)
}

fn put_mark(path: &Path, mark: &PathBuf) -> Result<(), StoreError> {
    let put = || -> std::io::Result<()> {
        std::fs::create_dir_all(path)?;
        OpenOptions::new().write(true).create(true).truncate(true).open(mark)?.sync_all()
    };
    put().map_err(|source| StoreError::Folder { path: mark.clone(), source })
}

/// True if nothing is stored that a server may have deleted since.
fn holds_lists_only(store: &Store) -> Result<bool, StoreError> {
    let counts = store.counts()?;
    let is_empty = |kind| counts.of(kind).settled() == counts.of(kind).skipped;
    Ok(is_empty(Kind::Summaries) && is_empty(Kind::JobDetails))
}

/// Removes the store that `plan` made.
fn forget_plan(path: &Path) -> Result<(), StoreError> {
    let mark = path.join(PLANNED_NAME);
    std::fs::rename(&mark, path.join(REMOVED_NAME)).map_err(|source| StoreError::Folder { path: mark, source })?;
    remove_store(path)
}

fn remove_store(path: &Path) -> Result<(), StoreError> {
    for path in STORE_FILES.iter().map(|name| path.join(name)) {
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::Folder { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
