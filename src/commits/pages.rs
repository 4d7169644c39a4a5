//! `FILE.pages`: the answers of a server, kept beside the file that is made from them.
//!
//! An append-only file of lines `<xxh3 of the JSON, 16 hex digits> <JSON>`. The first line names the source; pages of
//! another source are dropped. A later line replaces an earlier one with the same key. The file ends before the first
//! incomplete line or wrong checksum, which a kill or a damaged disk leaves: everything after it is fetched again.
//!
//! Memory holds only the offsets of the pages. A file lock allows one process at a time.

use std::collections::{BTreeSet, HashMap};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::error::FetchCommitsError;
use crate::actor::{LockedFile, fail_point};
use crate::model::{CommitRecord, Timestamp};

/// Version of the file's format.
const FORMAT: u32 = 1;

/// Longest accepted line, bytes: a page of commits with their messages.
const MAX_LINE_BYTES: u64 = 256 << 20;

/// Length of the checksum and the space after it, bytes.
const CHECKSUM_BYTES: usize = 17;

/// A part of a repository's log, oldest commit first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Page {
    pub(super) commits: Vec<CommitRecord>,
    /// Commits that the server counts but does not list.
    #[serde(default)]
    pub(super) num_unlisted: u64,
}

/// The window, size and digest of the file that was made last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Done {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    Source { format: u32, source: String },
    Page { key: String, page: Page },
    Forgotten { key: String },
    Made { sha256: String },
    Done(Done),
}

/// Requests to one server that are in flight at the same time, at most.
pub const MAX_IN_FLIGHT: usize = 10;

/// The pages that make up the file.
pub(super) struct Fetched {
    /// The keys of the pages.
    pub(super) oldest_first: Vec<String>,
    /// How many of them an earlier run had fetched.
    pub(super) num_kept: u64,
}

/// The pages of one source.
#[derive(Debug)]
pub(super) struct Pages {
    path: PathBuf,
    file: LockedFile,
    /// Offset and length of the line of each key, bytes.
    places: HashMap<String, (u64, usize)>,
    done: Option<Done>,
    /// SHA-256 of every file that was made here, also from other sources.
    made: BTreeSet<String>,
    end: u64,
}

/// The file with the pages of `output`.
pub(super) fn path_beside(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".pages");
    name.into()
}

/// SHA-256 of every file that was made at `output`, from any source.
pub(super) fn made_for(output: &Path) -> Result<BTreeSet<String>, FetchCommitsError> {
    let path = path_beside(output);
    let made = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        opened => opened.and_then(|file| read_made(&file)),
    };
    made.map_err(|source| FetchCommitsError::Pages { path, source })
}

fn read_made(file: &File) -> io::Result<BTreeSet<String>> {
    let mut reader = BufReader::with_capacity(1 << 18, file);
    reader.seek(SeekFrom::Start(0))?;
    let (mut made, mut line) = (BTreeSet::new(), Vec::new());
    loop {
        line.clear();
        reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        match read_line(&line) {
            Some(Entry::Made { sha256 } | Entry::Done(Done { sha256, .. })) => drop(made.insert(sha256)),
            Some(_) => {}
            None => return Ok(made),
        }
    }
}

impl Pages {
    /// Opens or creates the pages beside `output`; drops the pages of any source other than `source`.
    pub(super) fn open(output: &Path, source: &str) -> Result<Self, FetchCommitsError> {
        let path = path_beside(output);
        let failed = |source| FetchCommitsError::Pages { path: path.clone(), source };
        let file =
            OpenOptions::new().read(true).append(true).create(true).truncate(false).open(&path).map_err(failed)?;
        let file = match LockedFile::try_lock(file) {
            Ok(file) => file,
            Err(TryLockError::WouldBlock) => return Err(FetchCommitsError::InUse { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        };
        let mut pages =
            Self { path: path.clone(), file, places: HashMap::new(), done: None, made: BTreeSet::new(), end: 0 };
        pages.made = read_made(&pages.file).map_err(failed)?;
        let known = pages.read_lines(source).map_err(failed)?;
        let length = pages.file.metadata().map_err(failed)?.len();
        if known && pages.end < length {
            tracing::warn!(file = %path.display(), at = pages.end, "the last page is incomplete; fetching it again");
        } else if !known && length > 0 {
            tracing::info!(file = %path.display(), "dropping the pages of another source");
        }
        if !known {
            (pages.places, pages.done, pages.end) = (HashMap::new(), None, 0);
        }
        if pages.end < length {
            pages.file.set_len(pages.end).map_err(failed)?;
        }
        if !known {
            pages.append(&Entry::Source { format: FORMAT, source: source.to_owned() })?;
            for sha256 in std::mem::take(&mut pages.made) {
                pages.set_made(&sha256)?;
            }
        }
        Ok(pages)
    }

    /// Reads all lines up to the first damaged one. False if they belong to another source.
    fn read_lines(&mut self, source: &str) -> io::Result<bool> {
        let mut reader = BufReader::with_capacity(1 << 18, &*self.file);
        reader.seek(SeekFrom::Start(0))?;
        let mut line = Vec::new();
        let mut known = false;
        loop {
            line.clear();
            reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
            let Some(entry) = read_line(&line) else { return Ok(known) };
            match entry {
                Entry::Source { format, source: found } if format == FORMAT && found == source => known = true,
                _ if !known => return Ok(false),
                Entry::Source { .. } => return Ok(false),
                Entry::Page { key, .. } => {
                    self.places.insert(key, (self.end, line.len()));
                }
                Entry::Forgotten { key } => {
                    self.places.remove(&key);
                }
                Entry::Made { .. } => {}
                Entry::Done(done) => self.done = Some(done),
            }
            self.end += line.len() as u64;
        }
    }

    fn append(&mut self, entry: &Entry) -> Result<(u64, usize), FetchCommitsError> {
        let put = || -> io::Result<usize> {
            let json = serde_json::to_string(entry)?;
            let line = format!("{:016x} {json}\n", xxh3_64(json.as_bytes()));
            self.file.write_all(line.as_bytes())?;
            Ok(line.len())
        };
        let length = { put }().map_err(|source| self.failed(source))?;
        let place = (self.end, length);
        self.end += length as u64;
        Ok(place)
    }

    fn failed(&self, source: io::Error) -> FetchCommitsError {
        FetchCommitsError::Pages { path: self.path.clone(), source }
    }

    /// Whether there is a page with this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// The page with this key; an empty page if there is none.
    pub(super) fn get(&mut self, key: &str) -> Result<Page, FetchCommitsError> {
        let Some(&(at, length)) = self.places.get(key) else { return Ok(Page::default()) };
        let mut line = vec![0; length];
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut line));
        read.map_err(|source| self.failed(source))?;
        match read_line(&line) {
            Some(Entry::Page { page, .. }) => Ok(page),
            _ => Err(self.failed(io::Error::other("a page changed after it was checked"))),
        }
    }

    /// Appends a page.
    pub(super) fn put(&mut self, key: &str, page: Page) -> Result<(), FetchCommitsError> {
        let place = self.append(&Entry::Page { key: key.to_owned(), page })?;
        self.places.insert(key.to_owned(), place);
        fail_point("commits.page_kept");
        Ok(())
    }

    /// Removes the page with this key.
    pub(super) fn forget(&mut self, key: &str) -> Result<(), FetchCommitsError> {
        if self.places.remove(key).is_some() {
            self.append(&Entry::Forgotten { key: key.to_owned() })?;
        }
        Ok(())
    }

    /// The file that was made last, if any.
    pub(super) fn done(&self) -> Option<&Done> {
        self.done.as_ref()
    }

    /// Records the SHA-256 of a file before it appears.
    pub(super) fn set_made(&mut self, sha256: &str) -> Result<(), FetchCommitsError> {
        if self.made.insert(sha256.to_owned()) {
            self.append(&Entry::Made { sha256: sha256.to_owned() })?;
        }
        Ok(())
    }

    /// Records that the file was made.
    pub(super) fn set_done(&mut self, done: Done) -> Result<(), FetchCommitsError> {
        if self.done.as_ref() != Some(&done) {
            self.append(&Entry::Done(done.clone()))?;
            self.done = Some(done);
        }
        Ok(())
    }

    /// Removes the file if it holds neither pages nor a record of a made file.
    pub(super) fn remove_if_empty(&self) {
        if self.places.is_empty() && self.made.is_empty() {
            let _a_leftover_is_harmless = std::fs::remove_file(&self.path);
        }
    }
}

/// Parses a line; `None` if it is incomplete or its checksum is wrong.
fn read_line(line: &[u8]) -> Option<Entry> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
    let (checksum, json) = text.split_at_checked(CHECKSUM_BYTES)?;
    let expected = u64::from_str_radix(checksum.strip_suffix(' ')?, 16).ok()?;
    if xxh3_64(json.as_bytes()) != expected {
        return None;
    }
    serde_json::from_str(json).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(node: u8) -> Page {
        let text = format!(
            r#"{{"node":"{}","desc":"\ud800 é\n","date":[1782864500,-7200],"parents":[]}}"#,
            format!("{node:02x}").repeat(20)
        );
        Page { commits: vec![serde_json::from_str(&text).unwrap()], num_unlisted: u64::from(node) }
    }

    fn open(folder: &Path) -> Pages {
        Pages::open(&folder.join("c.jsonl"), "hgweb:http://h").unwrap()
    }

    #[test]
    fn pages_survive_reopening_and_are_used_only_for_their_source() {
        let folder = tempfile::tempdir().unwrap();
        let mut pages = open(folder.path());
        pages.put("a", page(1)).unwrap();
        pages.put("b", page(2)).unwrap();
        pages.put("a", page(3)).unwrap();
        pages.forget("b").unwrap();
        let done = Done { start: Timestamp::from_secs(1), end: Timestamp::from_secs(2), bytes: 3, sha256: "x".into() };
        pages.set_done(done.clone()).unwrap();
        assert!(matches!(
            Pages::open(&folder.path().join("c.jsonl"), "hgweb:http://h"),
            Err(FetchCommitsError::InUse { .. })
        ));
        drop(pages);
        let mut pages = open(folder.path());
        assert_eq!((pages.get("a").unwrap(), pages.has("b"), pages.done()), (page(3), false, Some(&done)));
        drop(pages);
        let other = Pages::open(&folder.path().join("c.jsonl"), "pushes").unwrap();
        assert!(!other.has("a") && other.done().is_none());
        drop(other);
        assert!(!open(folder.path()).has("a"), "they were dropped");
    }

    #[test]
    fn empty_pages_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        open(folder.path()).remove_if_empty();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn pages_before_a_cut_or_a_flipped_bit_are_intact(cut in 0_usize..1200, flip in proptest::bool::ANY) {
            let folder = tempfile::tempdir().unwrap();
            let mut ends = Vec::new();
            {
                let mut pages = open(folder.path());
                for node in 1..5 {
                    pages.put(&node.to_string(), page(node)).unwrap();
                    ends.push(usize::try_from(pages.end).unwrap());
                }
            }
            let path = folder.path().join("c.jsonl.pages");
            let mut bytes = std::fs::read(&path).unwrap();
            let cut = cut.min(bytes.len() - 1);
            if flip { bytes[cut] ^= 1 } else { bytes.truncate(cut) }
            let mut file = OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
            file.write_all(&bytes).unwrap();
            drop(file);
            let mut pages = open(folder.path());
            for (node, end) in (1..5).zip(ends) {
                prop_assert_eq!(pages.has(&node.to_string()), end <= cut, "{} {}", node, cut);
                if end <= cut {
                    prop_assert_eq!(pages.get(&node.to_string()).unwrap(), page(node));
                }
            }
            pages.put("5", page(5)).unwrap();
            drop(pages);
            prop_assert_eq!(open(folder.path()).get("5").unwrap(), page(5));
        }
    }
}
