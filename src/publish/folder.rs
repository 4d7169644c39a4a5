//! Owns the folder of a published dataset: whose it is, which of its files change, and how they appear.
//!
//! Files are written under temporary names beside those that they replace. A file with the bytes of the one that is there is
//! dropped at once. At the end, a manifest that claims all changing files comes first, the files follow, and the manifest
//! that describes them comes last: a process killed in between leaves a folder that the next publication recognizes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::compress;
use super::error::PublishError;
use super::facts::FileFact;
use super::manifest::{FileEntry, KIND, PublishedManifest};
use crate::actor::Shutdown;
use crate::dataset::tables::Table;
use crate::dataset::write::{
    ArtifactError, Finished, MANIFEST_NAME, MadeFolders, file_digest, folder_of, make_folder, remove_leftovers,
};
use crate::dataset::{
    Artifact, ArtifactEntry, ArtifactFile, DatasetError, FolderKind, FolderLock, Owner, publish as rename_all,
};

pub(super) const CARD_NAME: &str = "README.md";
pub(super) const CROISSANT_NAME: &str = "croissant.json";
pub(super) const PACKAGE_NAME: &str = "datapackage.json";
pub(super) const CITATION_NAME: &str = "CITATION.cff";
pub(super) const SUMS_NAME: &str = "SHA256SUMS";

/// The folder of the artifacts' copies.
const ARTIFACTS: &str = "artifacts";

/// The folder of the artifacts before they are compressed; removed at the end.
const STAGING: &str = ".perfharvest-staging";

/// A published folder while its files are written.
pub(super) struct Folder {
    root: PathBuf,
    owner: Option<Owner>,
    before: Option<PublishedManifest>,
    entries: BTreeMap<String, FileEntry>,
    /// Files that differ from those in the folder.
    changed: BTreeMap<String, Finished>,
    made: Vec<MadeFolders>,
    staging: Option<Staging>,
    _lock: FolderLock,
}

/// The effect of a publication on its folder.
pub(super) struct Placed {
    pub(super) num_files: usize,
    pub(super) num_bytes: u64,
    pub(super) num_written: usize,
    pub(super) removed: Vec<String>,
}

impl Folder {
    /// Takes the folder for the store at `store`.
    ///
    /// # Errors
    /// If it holds files of another origin, or another process writes to it.
    pub(super) fn open(root: &Path, store: &Path) -> Result<Self, PublishError> {
        let known = [CARD_NAME, CROISSANT_NAME, PACKAGE_NAME, CITATION_NAME, SUMS_NAME].into_iter().map(str::to_owned);
        let tables = Table::ALL.into_iter().map(|table| format!("{table}/part-0.parquet"));
        let artifacts = Artifact::ALL.iter().map(|artifact| copy_path(artifact.file_name()));
        let kind = kind(known.chain(tables).chain(artifacts));
        let lock = kind.lock(root).map_err(DatasetError::from)?;
        let owner = Owner::at(store);
        if let Some(owner) = &owner {
            kind.check(root, owner).map_err(DatasetError::from)?;
        }
        for folder in ["", ARTIFACTS, "artifacts/changes"] {
            remove_leftovers(&root.join(folder));
        }
        let before = std::fs::read(root.join(MANIFEST_NAME)).ok();
        let before = before.and_then(|text| serde_json::from_slice(&text).ok());
        Ok(Self {
            root: root.to_owned(),
            owner,
            before,
            entries: BTreeMap::new(),
            changed: BTreeMap::new(),
            made: Vec::new(),
            staging: None,
            _lock: lock,
        })
    }

    /// Keeps folders that were made for files.
    pub(super) fn keep(&mut self, made: Vec<MadeFolders>) {
        self.made.extend(made);
    }

    /// The folder for the artifacts before they are compressed.
    pub(super) fn staging(&mut self) -> Result<PathBuf, PublishError> {
        let path = self.root.join(STAGING);
        self.made.push(make_folder(&path)?);
        self.staging = Some(Staging(path.clone()));
        Ok(path)
    }

    /// Takes in a file of the dataset at `path`.
    pub(super) fn add(
        &mut self,
        path: &str,
        file: Finished,
        table: Option<Table>,
        rows: Option<u64>,
        artifact: Option<&ArtifactEntry>,
    ) {
        let sha256: String = file.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        let place = self.root.join(path);
        let is_same = std::fs::metadata(&place).is_ok_and(|found| found.is_file() && found.len() == file.bytes)
            && file_digest(&place).is_ok_and(|digest| digest == format!("sha256:{sha256}"));
        let entry = FileEntry { bytes: file.bytes, sha256, ..entry_of(artifact, table, rows) };
        self.entries.insert(path.to_owned(), entry);
        if !is_same {
            self.changed.insert(path.to_owned(), file);
        }
    }

    /// Copies an artifact from the staging folder.
    pub(super) fn copy_artifact(
        &mut self,
        name: &str,
        entry: &ArtifactEntry,
        shutdown: &Shutdown,
    ) -> Result<(), PublishError> {
        let path = copy_path(name);
        let place = self.root.join(&path);
        let folder = folder_of(&place);
        if !folder.is_dir() {
            self.made.push(make_folder(folder)?);
        }
        let from = self.root.join(STAGING).join(name);
        let file = compress::copy(&from, folder, shutdown)?;
        self.add(&path, file, None, None, Some(entry));
        std::fs::remove_file(&from).map_err(|source| ArtifactError::Write { path: from, source })?; // its space is needed
        Ok(())
    }

    /// Writes a document.
    pub(super) fn write(&mut self, name: &str, text: &str) -> Result<(), PublishError> {
        let file = written(&self.root, name, text.as_bytes())?;
        self.add(name, file, None, None, None);
        Ok(())
    }

    pub(super) fn entries(&self) -> &BTreeMap<String, FileEntry> {
        &self.entries
    }

    /// The files as the documents list them.
    pub(super) fn facts(&self) -> Vec<FileFact> {
        let table =
            |entry: &FileEntry| Table::ALL.into_iter().find(|table| entry.table.as_deref() == Some(table.name()));
        let fact = |(path, entry): (&String, &FileEntry)| FileFact {
            path: path.clone(),
            bytes: entry.bytes,
            sha256: entry.sha256.clone(),
            table: table(entry),
            rows: entry.rows,
        };
        self.entries.iter().map(fact).collect()
    }

    /// Gives the files their names, and removes those that no longer belong to the dataset.
    pub(super) fn publish(mut self, mut manifest: PublishedManifest) -> Result<Placed, PublishError> {
        drop(self.staging.take());
        let kind = kind(self.entries.keys().cloned());
        if let Some(owner) = &self.owner {
            kind.check(&self.root, owner).map_err(DatasetError::from)?;
        }
        let known = self.before.iter().flat_map(|before| before.files.keys().chain(&before.run.publishing));
        let mut removed: BTreeSet<String> = known.filter(|path| !self.entries.contains_key(*path)).cloned().collect();
        removed.retain(|path| is_inside(path) && self.root.join(path).is_file());
        let num_bytes = self.entries.values().map(|entry| entry.bytes).sum();
        let mut placed = Placed {
            num_files: self.entries.len() + 1,
            num_bytes,
            num_written: self.changed.len(),
            removed: removed.iter().cloned().collect(),
        };
        if let Some(before) = &self.before {
            let created_at = std::mem::replace(&mut manifest.run.created_at, before.run.created_at);
            if manifest == *before && self.changed.is_empty() && removed.is_empty() {
                return Ok(placed);
            }
            manifest.run.created_at = created_at;
        }
        if !self.changed.is_empty() || !removed.is_empty() {
            let mut claim = PublishedManifest { complete: false, ..manifest.clone() };
            claim.files.retain(|path, _| !self.changed.contains_key(path));
            claim.run.publishing = self.changed.keys().chain(&removed).cloned().collect();
            rename_all(&self.root, vec![self.manifest(&claim)?])?;
        }
        let described = self.manifest(&manifest)?;
        rename_all(&self.root, std::mem::take(&mut self.changed).into_values().collect())?;
        for path in &removed {
            let path = self.root.join(path);
            std::fs::remove_file(&path).map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
            let _holds_other_files = std::fs::remove_dir(folder_of(&path));
        }
        rename_all(&self.root, vec![described])?;
        placed.num_written += 1;
        Ok(placed)
    }

    fn manifest(&self, manifest: &PublishedManifest) -> Result<Finished, PublishError> {
        let mut text = serde_json::to_vec_pretty(manifest).map_err(DatasetError::Report)?;
        text.push(b'\n');
        written(&self.root, MANIFEST_NAME, &text)
    }
}

fn kind(paths: impl Iterator<Item = String>) -> FolderKind {
    FolderKind::published(KIND, MANIFEST_NAME, paths.map(|path| (path.clone(), path)).collect())
}

/// The entry of an artifact in the manifest of the folder.
fn entry_of(artifact: Option<&ArtifactEntry>, table: Option<Table>, rows: Option<u64>) -> FileEntry {
    FileEntry {
        table: table.map(|table| table.name().to_owned()),
        rows: rows.or(artifact.and_then(|artifact| artifact.rows)),
        uncompressed: artifact.cloned(),
        ..FileEntry::default()
    }
}

/// The path of an artifact's copy.
fn copy_path(name: &str) -> String {
    format!("{ARTIFACTS}/{}", compress::copy_name(name))
}

/// False for a path that leads out of the folder: a manifest may have been edited.
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, std::path::Component::Normal(_)))
}

fn written(folder: &Path, name: &str, text: &[u8]) -> Result<Finished, PublishError> {
    let mut file = ArtifactFile::create(folder, name)?;
    match file.write_all(text) {
        Ok(()) => Ok(file.finish()?),
        Err(met) => Err(file.explain(met).into()),
    }
}

/// The staging folder; dropped, it is removed with all that it holds.
struct Staging(PathBuf);

impl Drop for Staging {
    fn drop(&mut self) {
        let _next_time = std::fs::remove_dir_all(&self.0);
    }
}
