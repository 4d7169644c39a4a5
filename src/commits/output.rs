//! Writes the file: each commit of the window once, in the text of Python's `json.dumps`.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use xxhash_rust::xxh3::xxh3_128;

use super::error::FetchCommitsError;
use super::order::CommitWindow;
use crate::config::CommitsFrom;
use crate::dataset::write::json::{AsciiMode, dumps, write_str};
use crate::dataset::write::{ArtifactError, ArtifactFile, Finished, folder_of, resolve};
use crate::model::{CommitHash, CommitRecord};

/// Malformed commits that are named; the others are only counted.
const MOST_NAMED: u64 = 20;

/// A file that is being written. Dropped without [`CommitsFile::finish`], it leaves nothing behind.
pub(super) struct CommitsFile {
    path: PathBuf,
    /// The source, for errors.
    from: String,
    file: ArtifactFile,
    window: CommitWindow,
    /// Hashes of the nodes written so far: smaller than the nodes, of which a repository has a million.
    seen: HashSet<u128>,
    num_commits: u64,
    num_broken: u64,
    line: Vec<u8>,
}

/// A file that is complete, and has not appeared yet.
pub(super) struct WrittenCommits {
    pub(super) num_commits: u64,
    /// Left out because they are malformed.
    pub(super) num_broken: u64,
    pub(super) bytes: u64,
    /// 64 hex digits.
    pub(super) sha256: String,
    /// `None` if the file already has the same bytes.
    pub(super) finished: Option<Finished>,
}

/// The file that is made for `path`, in a folder that exists.
pub(super) fn place_of(path: &Path) -> Result<PathBuf, FetchCommitsError> {
    let place = resolve(path)?;
    if folder_of(&place).is_dir() && place.file_name().is_some_and(|name| name.to_str().is_some()) {
        Ok(place)
    } else {
        Err(FetchCommitsError::NoFile { path: path.to_owned() })
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Length (bytes) and SHA-256 (64 hex digits) of the file at `path`; `None` without a file.
pub(super) fn digest_of(path: &Path) -> Result<Option<(u64, String)>, FetchCommitsError> {
    let read = || -> io::Result<Option<(u64, String)>> {
        let mut file = match std::fs::File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let (mut hash, mut bytes, mut block) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            match file.read(&mut block)? {
                0 => return Ok(Some((bytes, hex(&hash.finalize())))),
                n => {
                    hash.update(&block[..n]);
                    bytes += n as u64;
                }
            }
        }
    };
    read().map_err(|source| FetchCommitsError::Pages { path: path.to_owned(), source })
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl CommitsFile {
    pub(super) fn create(path: &Path, from: &CommitsFrom, window: CommitWindow) -> Result<Self, FetchCommitsError> {
        let file = ArtifactFile::create(folder_of(path), name_of(path))?;
        let (path, from) = (path.to_owned(), from.to_string());
        Ok(Self { path, from, file, window, seen: HashSet::new(), num_commits: 0, num_broken: 0, line: Vec::new() })
    }

    /// Writes `commit`, if it is in the window and not yet written.
    pub(super) fn add(&mut self, commit: &CommitRecord) -> Result<(), FetchCommitsError> {
        if !self.window.contains(commit.committed_secs())
            || !self.seen.insert(xxh3_128(commit.node.as_str().as_bytes()))
        {
            return Ok(());
        }
        self.line.clear();
        write_line(commit, &mut self.line);
        self.num_commits += 1;
        let failed = |source| ArtifactError::Write { path: self.path.clone(), source };
        Ok(self.file.write_all(&self.line).map_err(failed)?)
    }

    /// Counts a malformed commit, and names it, unless it is known to be outside of the window.
    pub(super) fn leave_out(&mut self, node: &CommitHash, reason: &str, secs: Option<i64>) {
        if secs.is_some_and(|secs| !self.window.contains(secs)) {
            return;
        }
        self.num_broken += 1;
        if self.num_broken <= MOST_NAMED {
            tracing::warn!(%node, reason, "left out a malformed commit of the clone");
        }
    }

    /// Completes the file under its temporary name.
    pub(super) fn finish(self) -> Result<WrittenCommits, FetchCommitsError> {
        if self.num_commits == 0 {
            drop(self.file.finish()?); // removes the temporary file
            let CommitWindow { start, end } = self.window;
            return Err(FetchCommitsError::NothingInWindow { from: self.from, start, end });
        }
        let finished = self.file.finish()?;
        let (bytes, sha256) = (finished.bytes, hex(&finished.sha256));
        let changed = digest_of(&self.path)? != Some((bytes, sha256.clone()));
        let finished = changed.then_some(finished);
        Ok(WrittenCommits { num_commits: self.num_commits, num_broken: self.num_broken, bytes, sha256, finished })
    }
}

/// `{"node": …, "desc": …, "date": [secs, zone], "parents": […]}`
fn write_line(commit: &CommitRecord, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"node\": ");
    write_str(commit.node.as_str(), line, AsciiMode::Escape);
    line.extend_from_slice(b", \"desc\": ");
    if dumps(commit.desc.as_str(), line, AsciiMode::Escape).is_err() {
        line.extend_from_slice(b"\"\""); // a record holds valid JSON only
    }
    line.extend_from_slice(format!(", \"date\": [{}, {}], \"parents\": [", commit.date.0, commit.date.1).as_bytes());
    for (number, parent) in commit.parents.iter().enumerate() {
        if number > 0 {
            line.extend_from_slice(b", ");
        }
        write_str(parent.as_str(), line, AsciiMode::Escape);
    }
    line.extend_from_slice(b"]}\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn commit(node: char, secs: i64) -> CommitRecord {
        let text = format!(
            r#"{{"node":"{}","desc":"caf\u00e9 \u001b[31m é \ud800/","date":[{secs},-3600],"parents":["{}"]}}"#,
            node.to_string().repeat(40),
            "0".repeat(40)
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_commit_of_the_window_is_written_once_and_as_ascii() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all_commits.jsonl");
        let window = CommitWindow { start: Timestamp::from_secs(10), end: Timestamp::from_secs(20) };
        let write = || {
            let mut file = CommitsFile::create(&path, &CommitsFrom::Pushes, window).unwrap();
            for (node, secs) in [('a', 9), ('b', 10), ('c', 20), ('b', 10), ('d', 21)] {
                file.add(&commit(node, secs)).unwrap();
            }
            file.finish().unwrap()
        };
        let written = write();
        assert_eq!(written.num_commits, 2);
        crate::dataset::write::publish(folder.path(), vec![written.finished.unwrap()]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len() as u64, written.bytes);
        let first = r#", "desc": "caf\u00e9 \u001b[31m \u00e9 \ud800/", "date": [10, -3600], "parents": ["0000"#;
        assert!(text.starts_with("{\"node\": \"bbbb") && text.contains(first), "{text}");
        assert!(write().finished.is_none(), "the same bytes are left alone");
    }

    #[test]
    fn a_window_without_commits_makes_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("all_commits.jsonl");
        let window = CommitWindow { start: Timestamp::from_secs(10), end: Timestamp::from_secs(20) };
        let mut file = CommitsFile::create(&path, &CommitsFrom::Pushes, window).unwrap();
        file.add(&commit('a', 9)).unwrap();
        assert!(matches!(file.finish(), Err(FetchCommitsError::NothingInWindow { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
