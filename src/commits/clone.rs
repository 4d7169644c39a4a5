//! `clone:DIR`: streams the output of `hg log` or `git log`, run as a child process.
//!
//! In: a clone. Out: its commits, parents before children. The child runs without a shell, without a terminal, and
//! without the user's settings that change a log (aliases, templates, signatures, pagers). The clone is the child's
//! working folder and never an argument, so that its name cannot be read as an option. The child ends with the run.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};

use super::error::FetchCommitsError;
use super::order::CommitWindow;
use super::output::{CommitsFile, WrittenCommits};
use crate::actor::{Shutdown, blocking};
use crate::model::{CommitHash, CommitRecord, RawJson, printable};

/// Longest accepted commit, bytes.
const MAX_COMMIT_BYTES: u64 = 64 << 20;

/// Characters of the child's error output that are shown, from its end.
const MAX_SHOWN: usize = 600;

/// One commit per line, in the fields and the format of `hg log -Tjson`.
const HG_TEMPLATE: &str = r#"\{"node": {node|json}, "desc": {desc|json}, "date": {date|json}, "parents": [{p1node|json}{ifeq(p2rev, -1, "", ", {p2node|json}")}]}\n"#;

/// Node, parents, commit date and message, each terminated by NUL.
const GIT_FORMAT: &str = "--format=tformat:%H%x00%P%x00%cd%x00%B";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloneKind {
    Mercurial,
    Git,
}

impl CloneKind {
    fn program(self) -> &'static str {
        match self {
            Self::Mercurial => "hg",
            Self::Git => "git",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Mercurial => "Mercurial (`apt-get install mercurial` or `pip install mercurial`)",
            Self::Git => "git (`apt-get install git`)",
        }
    }

    /// The byte that terminates a part of the output.
    fn delimiter(self) -> u8 {
        match self {
            Self::Mercurial => b'\n',
            Self::Git => 0,
        }
    }
}

/// The kind of the clone in `folder` itself; parent folders are not searched.
pub(super) fn kind_of(folder: &Path) -> Result<CloneKind, FetchCommitsError> {
    if folder.join(".hg").is_dir() {
        Ok(CloneKind::Mercurial)
    } else if folder.join(".git").exists() || folder.join("HEAD").is_file() && folder.join("objects").is_dir() {
        Ok(CloneKind::Git)
    } else {
        Err(FetchCommitsError::NotAClone { folder: folder.to_owned() })
    }
}

/// Writes the commits of the clone in `folder` to `file`.
pub(super) async fn read(
    folder: &Path,
    window: CommitWindow,
    file: CommitsFile,
    shutdown: &Shutdown,
) -> Result<WrittenCommits, FetchCommitsError> {
    let kind = kind_of(folder)?;
    if kind == CloneKind::Git && [".git/shallow", "shallow"].iter().any(|mark| folder.join(mark).is_file()) {
        tracing::warn!(
            clone = %folder.display(),
            "the clone is shallow, so older commits are missing; `git fetch --unshallow` fetches them"
        );
    }
    let log = Log { kind, folder: folder.to_owned() };
    let mut child = ChildGuard(log.start(window)?);
    let (Some(stdout), Some(stderr)) = (child.0.stdout.take(), child.0.stderr.take()) else {
        return Err(FetchCommitsError::Panicked);
    };
    let said = blocking(move || last_errors(stderr));
    let reading = log.clone();
    let mut lines = blocking(move || reading.copy(stdout, file));
    let read = tokio::select! {
        biased;
        () = shutdown.drained() => return Err(FetchCommitsError::Interrupted), // dropping the guard ends the child
        read = &mut lines => read,
    };
    let read = read.map_err(FetchCommitsError::of_thread)?;
    if let Err(error @ FetchCommitsError::Artifact(_)) = read {
        return Err(error); // not caused by the child
    }
    let said = said.await.map_err(FetchCommitsError::of_thread)?;
    let status = child.0.wait().map_err(|source| log.pipe(source))?;
    // If the child failed, its error output says more than its incomplete log.
    log.check(status, &said)?;
    let file = read?;
    blocking(|| file.finish()).await.map_err(FetchCommitsError::of_thread)?
}

/// Kills the child when dropped.
struct ChildGuard(Child);

impl Drop for ChildGuard {
    fn drop(&mut self) {
        let _may_have_ended_already = self.0.kill();
        let _may_have_been_waited_for = self.0.wait();
    }
}

/// The log of a clone.
#[derive(Clone, Debug)]
struct Log {
    kind: CloneKind,
    folder: PathBuf,
}

impl Log {
    fn start(&self, window: CommitWindow) -> Result<Child, FetchCommitsError> {
        let mut command = Command::new(self.kind.program());
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match self.kind {
            CloneKind::Mercurial => hg_log(&mut command, window),
            CloneKind::Git => git_log(&mut command, &self.folder),
        }
        command.spawn().map_err(|source| FetchCommitsError::NotInstalled {
            program: self.kind.program(),
            package: self.kind.package(),
            folder: self.folder.clone(),
            source,
        })
    }

    fn copy(&self, stdout: ChildStdout, mut file: CommitsFile) -> Result<CommitsFile, FetchCommitsError> {
        let mut parts = Parts { log: self, reader: BufReader::with_capacity(1 << 18, stdout), part: Vec::new() };
        loop {
            let next = match self.kind {
                CloneKind::Mercurial => parts.hg_commit(),
                CloneKind::Git => parts.git_commit(),
            };
            match next {
                Ok(Some(Found::Commit(commit))) => file.add(&commit)?,
                Ok(Some(Found::Broken { node, reason, secs })) => file.leave_out(&node, &reason, secs),
                Ok(None) => return Ok(file),
                Err(error) => {
                    // Reading to the end lets the child finish and report its own error.
                    let _the_rest_is_not_needed = io::copy(&mut parts.reader, &mut io::sink());
                    return Err(error);
                }
            }
        }
    }

    fn check(&self, status: ExitStatus, said: &[u8]) -> Result<(), FetchCommitsError> {
        if status.success() {
            return Ok(());
        }
        let said = printable(String::from_utf8_lossy(said).trim(), MAX_SHOWN);
        let (program, folder) = (self.kind.program(), self.folder.clone());
        Err(FetchCommitsError::ProgramFailed { program, folder, status: status.to_string(), said })
    }

    fn pipe(&self, source: io::Error) -> FetchCommitsError {
        FetchCommitsError::ProgramPipe { program: self.kind.program(), folder: self.folder.clone(), source }
    }

    fn unexpected(&self, found: &str) -> FetchCommitsError {
        let (program, folder) = (self.kind.program(), self.folder.clone());
        FetchCommitsError::ProgramOutput { program, folder, found: printable(found, 200) }
    }
}

fn hg_log(command: &mut Command, window: CommitWindow) {
    // Mercurial's dates have 32 bits.
    let secs = |secs: i64| secs.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
    let revisions = format!("date(\"{} 0 to {} 0\")", secs(window.start.as_secs()), secs(window.end.as_secs()));
    command.args(["log", "--rev", &revisions, "--template", HG_TEMPLATE]);
    // HGPLAIN turns off aliases, defaults, colours and translations; an empty HGRCPATH leaves only the clone's own
    // settings.
    command.env("HGPLAIN", "1").env("HGRCPATH", "").env("HGENCODING", "utf-8").env("HGENCODINGMODE", "replace");
    command.env_remove("HGPLAINEXCEPT");
}

fn git_log(command: &mut Command, folder: &Path) {
    for setting in ["log.showSignature=false", "log.follow=false", "core.fsmonitor=false"] {
        command.args(["-c", setting]);
    }
    command.args(["--no-pager", "log", "--topo-order", "--reverse", "-z", "--no-patch", "--no-color", "--no-notes"]);
    command.args(["--encoding=UTF-8", "--date=raw", GIT_FORMAT, "HEAD", "--"]);
    // These variables would make git read another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
        command.env_remove(name);
    }
    let above = std::path::absolute(folder).ok().and_then(|folder| Some(folder.parent()?.to_owned()));
    command.envs(above.map(|above| ("GIT_CEILING_DIRECTORIES", above)));
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1");
    command.env("GIT_NO_REPLACE_OBJECTS", "1").env("LC_ALL", "C.UTF-8");
}

/// Reads the error output to its end, and keeps only its last part.
fn last_errors(mut stderr: ChildStderr) -> Vec<u8> {
    let (mut said, mut block) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stderr.read(&mut block) {
        said.extend_from_slice(&block[..length]);
        let surplus = said.len().saturating_sub(4 * MAX_SHOWN);
        said.drain(..surplus);
    }
    said
}

/// A commit of the clone.
enum Found {
    Commit(CommitRecord),
    /// Its object is malformed: the clone is read without it.
    Broken {
        node: CommitHash,
        reason: String,
        /// Commit time, seconds since the epoch, if it can be read.
        secs: Option<i64>,
    },
}

/// The part of a malformed commit that is needed to report it.
#[derive(serde::Deserialize)]
struct HasNode {
    node: CommitHash,
}

/// Splits the output of a log into parts.
struct Parts<'a> {
    log: &'a Log,
    reader: BufReader<ChildStdout>,
    part: Vec<u8>,
}

impl Parts<'_> {
    /// Reads the next part, without its terminator. False at the end of the output.
    fn next(&mut self) -> Result<bool, FetchCommitsError> {
        let delimiter = self.log.kind.delimiter();
        self.part.clear();
        let read = self.reader.by_ref().take(MAX_COMMIT_BYTES).read_until(delimiter, &mut self.part);
        if read.map_err(|source| self.log.pipe(source))? == 0 {
            return Ok(false);
        }
        if self.part.pop() != Some(delimiter) {
            return Err(self.log.unexpected("an unterminated commit"));
        }
        Ok(true)
    }

    fn hg_commit(&mut self) -> Result<Option<Found>, FetchCommitsError> {
        if !self.next()? {
            return Ok(None);
        }
        let error = match serde_json::from_slice(&self.part) {
            Ok(commit) => return Ok(Some(Found::Commit(commit))),
            Err(error) => error,
        };
        if let Ok(HasNode { node }) = serde_json::from_slice(&self.part) {
            return Ok(Some(Found::Broken { node, reason: error.to_string(), secs: None }));
        }
        let shown = String::from_utf8_lossy(&self.part[..self.part.len().min(400)]);
        Err(self.log.unexpected(&format!("{error} in {shown}")))
    }

    fn git_commit(&mut self) -> Result<Option<Found>, FetchCommitsError> {
        if !self.next()? {
            return Ok(None);
        }
        let node: CommitHash = self.text().parse().map_err(|error| self.log.unexpected(&format!("{error}")))?;
        let parents = self.expect()?.split_whitespace().map(str::parse).collect::<Result<Vec<CommitHash>, _>>();
        let mut parents = parents.map_err(|error| self.log.unexpected(&format!("{error}")))?;
        if parents.is_empty() {
            parents.push(CommitHash::null());
        }
        let said = self.expect()?;
        let message = self.expect()?;
        let Some(date) = git_date(&said) else {
            let secs = said.split_whitespace().next().and_then(|secs| secs.parse().ok());
            let reason = if said.is_empty() { "it has no date".to_owned() } else { format!("the date {said:?}") };
            return Ok(Some(Found::Broken { node, reason, secs }));
        };
        let desc = serde_json::to_string(message.trim_end()).and_then(|text| RawJson::parse(&text));
        let desc = desc.map_err(|error| self.log.unexpected(&error.to_string()))?;
        Ok(Some(Found::Commit(CommitRecord { node, desc, date, parents })))
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.part).into_owned()
    }

    fn expect(&mut self) -> Result<String, FetchCommitsError> {
        if self.next()? { Ok(self.text()) } else { Err(self.log.unexpected("an incomplete commit")) }
    }
}

/// Parses `1782864500 +0200`; Mercurial's zones have the opposite sign.
fn git_date(text: &str) -> Option<(i64, i64)> {
    let (secs, zone) = text.trim().split_once(' ')?;
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (-1, digits),
        ("-", digits) => (1, digits),
        _ => return None,
    };
    let minutes: i64 = digits.parse().ok().filter(|_| digits.len() == 4 && !digits.starts_with(['+', '-']))?;
    Some((secs.parse().ok()?, sign * (minutes / 100 * 3600 + minutes % 100 * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_of_git_become_those_of_mercurial() {
        assert_eq!(git_date("1782864500 +0200"), Some((1_782_864_500, -7200)));
        assert_eq!(git_date("-5 -0330"), Some((-5, 12_600)));
        for text in ["", "5", "5 0200", "5 +02", "5 ++200", "x +0200", "5 +é00"] {
            assert_eq!(git_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_folder_inside_a_repository_is_not_a_clone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join(".hg/inner")).unwrap();
        assert_eq!(kind_of(folder.path()).unwrap(), CloneKind::Mercurial);
        let inner = kind_of(&folder.path().join(".hg/inner")).unwrap_err();
        assert!(matches!(inner, FetchCommitsError::NotAClone { .. }) && inner.exit_code() == 2, "{inner}");
    }
}
