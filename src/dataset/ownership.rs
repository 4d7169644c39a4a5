//! Decides whose the files of an output folder are. Outputs that this store did not make are never overwritten.
//!
//! The description in the folder (`manifest.json`, `export.json`) names its crawl, its store and all files, also while they are
//! being published: a process killed between two renames leaves a description of both.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use super::catalogue::Artifact;
use super::write::{ArtifactError, Finished, MANIFEST_NAME, MadeFolders, file_digest, make_folder};
use crate::actor::LockedFile;
use crate::store::{CrawlIdentity, Ledger, Store, StoreError};

/// Maximum names in a message.
const MAX_NAMES: usize = 3;

/// A folder is not written to.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It holds the outputs of another store.
    #[error(
        "{} holds the dataset of another store ({difference}), which is not overwritten; give another folder with {flag}, \
         or move the old files, then run the same command again",
        folder.display()
    )]
    OtherStore {
        /// The folder.
        folder: PathBuf,
        /// How the two differ.
        difference: String,
        /// The flag that names another folder.
        flag: &'static str,
    },
    /// It holds files with the names of outputs that no description of this store lists.
    #[error(
        "{} holds {names}, not listed by a {description} of this store; files of other origin are not overwritten; give \
         another folder with {flag}, or move the old files, then run the same command again{}",
        folder.display(),
        if *flag == "--out" {
            "; `perfharvest import` reads a dataset of the older scripts, and `perfharvest reduce` accepts files that are \
             equal to its own"
        } else {
            ""
        }
    )]
    Unlisted {
        /// The folder.
        folder: PathBuf,
        /// The first of the files.
        names: String,
        /// The file that should list them.
        description: &'static str,
        /// The flag that names another folder.
        flag: &'static str,
    },
    /// It is a store.
    #[error("{} is a store, and outputs are not put into one; give another folder with {flag}", folder.display())]
    Store {
        /// The folder.
        folder: PathBuf,
        /// The flag that names another folder.
        flag: &'static str,
    },
    /// Another process writes to it.
    #[error("{} is in use by another process; wait until it ends, or give another folder with {flag}", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// The flag that names another folder.
        flag: &'static str,
    },
}

/// A store whose outputs a folder may hold.
#[derive(Debug)]
pub(crate) struct Owner {
    /// `None` while there is no store yet.
    ledger: Option<Ledger>,
}

impl Owner {
    /// The store at `path`. `None` if its ledger is damaged, which opening the store reports.
    pub(crate) fn at(path: &Path) -> Option<Self> {
        let ledger = match Store::latest_ledger(path) {
            Err(StoreError::Missing(_)) => None,
            read => Some(read.ok()?),
        };
        Some(Self { ledger })
    }

    pub(crate) fn id(&self) -> Option<&str> {
        self.ledger.as_ref().map(|ledger| ledger.store_id.as_str())
    }
}

/// A kind of output folder: its files, and the one that describes the others.
#[derive(Clone, Debug)]
pub(crate) struct FolderKind {
    description: &'static str,
    /// The files by their names in the description.
    files: BTreeMap<String, String>,
    flag: &'static str,
    /// The `kind` in the description; `None` if it has none.
    kind: Option<&'static str>,
}

impl FolderKind {
    /// The folder of the artifacts.
    pub(crate) fn artifacts() -> Self {
        let names = Artifact::ALL.iter().map(|artifact| artifact.file_name());
        let files = names.map(|name| (name.to_owned(), name.to_owned())).collect();
        Self { description: MANIFEST_NAME, files, flag: "--out", kind: None }
    }

    /// A folder that `description` describes; `files` by their names in it.
    pub(crate) fn export(description: &'static str, files: BTreeMap<String, String>) -> Self {
        Self { description, files, flag: "--output", kind: None }
    }

    /// A published folder, whose description has a `kind`: its name is also that of a folder of artifacts.
    pub(crate) fn published(kind: &'static str, description: &'static str, files: BTreeMap<String, String>) -> Self {
        Self { kind: Some(kind), ..Self::export(description, files) }
    }

    /// Refuses a folder with outputs that are not `owner`'s.
    pub(crate) fn check(&self, folder: &Path, owner: &Owner) -> Result<(), FolderError> {
        self.refuse(folder, &self.unlisted(folder, owner)?)
    }

    /// The outputs in the folder that no description of `owner` lists.
    ///
    /// # Errors
    /// [`FolderError::OtherStore`] if they are those of another store, and [`FolderError::Store`] if the folder is one.
    pub(crate) fn unlisted(&self, folder: &Path, owner: &Owner) -> Result<Vec<&str>, FolderError> {
        if Ledger::path_in(folder).exists() {
            return Err(FolderError::Store { folder: folder.to_owned(), flag: self.flag });
        }
        let is_there = |name: &str| std::fs::symlink_metadata(folder.join(name)).is_ok();
        let text = std::fs::read(folder.join(self.description)).unwrap_or_default();
        let described = serde_json::from_slice::<Described>(&text).ok();
        let described = described.filter(|described| described.kind.as_deref() == self.kind);
        if let Some(difference) = described.as_ref().and_then(|described| described.difference(owner)) {
            return Err(FolderError::OtherStore { folder: folder.to_owned(), difference, flag: self.flag });
        }
        let is_listed = |key: &str| described.as_ref().is_some_and(|described| described.lists(key));
        let unlisted = self.files.iter().filter(|(key, name)| !is_listed(key) && is_there(name));
        let mut unlisted: Vec<&str> = unlisted.map(|(_, name)| name.as_str()).collect();
        // A torn description may be this store's own; one of another form is of another program.
        if described.is_none() && serde_json::from_slice::<IgnoredAny>(&text).is_ok() {
            unlisted.push(self.description);
        }
        Ok(unlisted)
    }

    /// Refuses to overwrite the files `names`, if any.
    pub(crate) fn refuse(&self, folder: &Path, names: &[&str]) -> Result<(), FolderError> {
        if names.is_empty() {
            return Ok(());
        }
        let mut text = names.iter().take(MAX_NAMES).copied().collect::<Vec<_>>().join(", ");
        if names.len() > MAX_NAMES {
            text.push_str(", …");
        }
        let (folder, description, flag) = (folder.to_owned(), self.description, self.flag);
        Err(FolderError::Unlisted { folder, names: text, description, flag })
    }

    /// Refuses to replace or remove `unlisted` files, unless they are equal to those just made: then only the description was
    /// lost. Files that are left alone do not matter.
    pub(crate) fn refuse_others(
        &self,
        folder: &Path,
        unlisted: &[&str],
        made: &[Finished],
        removed: &[PathBuf],
    ) -> Result<(), FolderError> {
        let mut others = Vec::new();
        for name in unlisted {
            let path = folder.join(name);
            let is_other = match made.iter().find(|file| file.name() == *name) {
                Some(file) => file_digest(&path).ok() != Some(file.digest()),
                None => removed.contains(&path) || *name == self.description,
            };
            others.extend(is_other.then_some(*name));
        }
        self.refuse(folder, &others)
    }

    /// Makes the folder, and keeps other processes from writing to it while the result lives.
    pub(crate) fn lock(&self, folder: &Path) -> Result<FolderLock, LockError> {
        let made = make_folder(folder)?;
        let file = match File::open(folder).ok().map(LockedFile::lock_if_possible) {
            Some(None) => return Err(FolderError::InUse { folder: folder.to_owned(), flag: self.flag }.into()),
            locked => locked.flatten(),
        };
        Ok(FolderLock { _made: made, _file: file })
    }
}

/// A folder of outputs that no other process writes to, where the system can lock folders.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _made: MadeFolders,
    _file: Option<LockedFile>,
}

/// Why a folder cannot be locked.
#[derive(Debug, Error)]
pub(crate) enum LockError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
}

/// The parts of a description that identify its store and list its files.
#[derive(Deserialize)]
struct Described {
    crawl: CrawlIdentity,
    #[serde(default)]
    kind: Option<String>,
    #[serde(default, alias = "tables", alias = "files")]
    artifacts: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    not_made: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    run: RunPart,
    /// As in [`RunPart`]; an export has no other part that depends on its run.
    #[serde(default)]
    publishing: Vec<String>,
}

#[derive(Default, Deserialize)]
struct RunPart {
    #[serde(default)]
    store: Option<String>,
    #[serde(default)]
    publishing: Vec<String>,
}

impl Described {
    fn lists(&self, name: &str) -> bool {
        self.artifacts.contains_key(name)
            || self.not_made.contains_key(name)
            || self.publishing.iter().chain(&self.run.publishing).any(|listed| listed == name)
    }

    /// How its store differs from `owner`; `None` if it is the same.
    fn difference(&self, owner: &Owner) -> Option<String> {
        let Self { crawl, run, .. } = self;
        if run.store.is_some() && run.store.as_deref() == owner.id() {
            return None; // its server may have moved meanwhile
        }
        let stored = owner.ledger.as_ref().and_then(|ledger| Some((ledger.identity.as_ref()?, &ledger.harvests)));
        let Some((now, harvests)) = stored else {
            return Some(format!("repository {}, data until {}; the store is new", crawl.repository, crawl.data_end));
        };
        let is_earlier =
            crawl.data_end < now.data_end && harvests.iter().any(|harvest| harvest.data_end == crawl.data_end);
        let crawl = if is_earlier { crawl.clone().extended_to(now.data_end) } else { crawl.clone() };
        // The scope of a store may become wider.
        let scope = if now.scope.includes(&crawl.scope) { &now.scope } else { &crawl.scope };
        let moved = CrawlIdentity { base_url: now.base_url.clone(), scope: scope.clone(), ..crawl.clone() };
        if moved == *now {
            return run.store.as_ref().map(|_| "another crawl with the same settings".to_owned());
        }
        let rows = [
            ("repository", crawl.repository.clone(), now.repository.clone()),
            ("window", span(&crawl), span(now)),
            ("data until", crawl.data_end.to_string(), now.data_end.to_string()),
            ("scope", crawl.scope.to_string(), now.scope.to_string()),
            ("sample", sample(&crawl), sample(now)),
        ];
        let differing = rows.into_iter().find(|(_, there, here)| there != here);
        Some(differing.map_or_else(
            || "its crawl has other settings".to_owned(),
            |(key, there, here)| format!("{key}: {there} there, {here} in the store"),
        ))
    }
}

fn span(crawl: &CrawlIdentity) -> String {
    format!("{} to {}", crawl.window_start, crawl.window_end)
}

fn sample(crawl: &CrawlIdentity) -> String {
    crawl.sample_signatures.map_or_else(|| "all".to_owned(), |number| format!("{number} by seed {}", crawl.sample_seed))
}
