//! The files of a corpus, and the format of their recordings.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::SimulatorError;

/// The texts of a corpus, by file name.
#[derive(Debug, Default)]
pub(crate) struct CorpusFiles<'a>(BTreeMap<String, Cow<'a, str>>);

impl<'a> CorpusFiles<'a> {
    pub(crate) fn insert(&mut self, name: &str, text: Cow<'a, str>) {
        self.0.insert(name.to_owned(), text);
    }

    /// Reads the files of a folder, or of its subfolder `api`.
    pub(crate) fn read(folder: &Path) -> Result<CorpusFiles<'static>, SimulatorError> {
        let api = folder.join("api");
        let folder = if api.is_dir() { api } else { folder.to_owned() };
        let failed = |source| SimulatorError::File { verb: "read", path: folder.clone(), source };
        let mut files = CorpusFiles::default();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let Some(name) = path.file_name().and_then(|name| name.to_str()).map(str::to_owned) else { continue };
            if path.extension().is_some_and(|extension| extension == "json" || extension == "jsonl") {
                let text = std::fs::read_to_string(&path).map_err(|source| SimulatorError::File {
                    verb: "read",
                    path: path.clone(),
                    source,
                })?;
                files.insert(&name, Cow::Owned(text));
            }
        }
        Ok(files)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| &**text)
    }

    pub(super) fn require(&self, name: &str) -> Result<&str, SimulatorError> {
        self.get(name).ok_or_else(|| fault(name, "is missing"))
    }

    /// The non-empty lines of a file, with their numbers from 1.
    pub(super) fn lines(&self, name: &str) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.get(name).unwrap_or("").lines().enumerate();
        lines.map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim().is_empty())
    }
}

pub(super) fn fault(file: &str, complaint: &str) -> SimulatorError {
    SimulatorError::Corpus { file: file.to_owned(), complaint: complaint.to_owned() }
}

pub(super) fn malformed(file: &str, line: usize) -> impl FnOnce(serde_json::Error) -> SimulatorError {
    let file = file.to_owned();
    move |source| SimulatorError::Recording { file, line, source }
}

/// A recorded reply.
#[derive(Deserialize)]
pub(super) struct Recording<'a> {
    #[serde(borrow)]
    pub(super) request: Option<RecordedRequest<'a>>,
    pub(super) status: Option<u16>,
    #[serde(borrow, default)]
    pub(super) headers: HashMap<&'a str, Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) body: &'a RawValue,
}

#[derive(Deserialize)]
pub(super) struct RecordedRequest<'a> {
    #[serde(borrow)]
    pub(super) path: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) query: Cow<'a, str>,
}

pub(super) fn recording<'a>(file: &str, (line, text): (usize, &'a str)) -> Result<Recording<'a>, SimulatorError> {
    serde_json::from_str(text).map_err(malformed(file, line))
}
