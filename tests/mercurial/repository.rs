//! Repositories in temporary folders, and a server of one.

use std::io::BufRead as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// When a commit is made, seconds since the epoch.
pub(crate) fn secs(number: i64) -> i64 {
    1_782_864_000 + 60 * number
}

/// The same as text.
pub(crate) fn at(number: i64) -> String {
    perfharvest::model::Timestamp::from_secs(secs(number)).to_string()
}

/// A message with all that a message can have.
pub(crate) fn message(number: i64) -> String {
    format!(
        "Bug {number} - caf\u{e9} \u{1f980} \"x\" \\ \u{1b}[31mred\u{2028}\n\nDifferential Revision: https://x/D{number}"
    )
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A Mercurial repository.
pub(crate) struct Mercurial {
    folder: PathBuf,
}

impl Mercurial {
    pub(crate) fn create(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let repository = Self { folder: folder.to_owned() };
        repository.hg(&["init"]);
        repository
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("hg");
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("HGPLAIN", "1")
            .env("HGRCPATH", "")
            .env("HGENCODING", "utf-8");
        command.args(["--config", "ui.username=Dev \u{1b}]0;x\u{7} <dev@example.org>"]);
        command
    }

    pub(crate) fn hg(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments))
    }

    /// Commits numbers upon the tip, by one process.
    pub(crate) fn commit_range(&self, numbers: Range<i64>) {
        let patches = numbers.map(|number| {
            format!(
                "# HG changeset patch\n# User Dev <dev@example.org>\n# Date {} -7200\n{}\n\n\
                 diff --git a/file{number} b/file{number}\nnew file mode 100644\n--- /dev/null\n+++ b/file{number}\n\
                 @@ -0,0 +1,1 @@\n+x\n",
                secs(number),
                message(number)
            )
        });
        let text: String = patches.collect();
        let mut child = self.command(&["import", "--quiet", "--bypass", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }

    /// Commits a number beside the tip, and the next one as the merge of both.
    pub(crate) fn merge(&self, number: i64) {
        let commit = |number: i64| {
            let (date, message) = (format!("{} -7200", secs(number)), message(number));
            self.hg(&["commit", "--quiet", "--date", &date, "--message", &message]);
        };
        self.hg(&["update", "--quiet", "--rev", "tip^"]);
        self.hg(&["branch", "--quiet", "beside"]);
        commit(number);
        self.hg(&["merge", "--quiet", "--rev", "default"]);
        commit(number + 1);
    }

    /// Makes a revision obsolete, and so hidden.
    pub(crate) fn hide(&self, revision: &str) {
        self.hg(&["update", "--quiet", "--rev", &format!("{revision}^")]);
        let node = self.log(revision, "{node}");
        self.hg(&["--config", "experimental.evolution=all", "debugobsolete", &node]);
    }

    pub(crate) fn log(&self, revisions: &str, template: &str) -> String {
        self.hg(&["log", "--rev", revisions, "--template", template])
    }
}

/// A real `hg serve` on loopback; it ends with the test.
pub(crate) struct Served {
    child: Child,
    url: String,
}

impl Served {
    pub(crate) fn start(repository: &Mercurial) -> Self {
        let mut command = repository.command(&["serve", "--address", "127.0.0.1", "--port", "0", "--print-url"]);
        // Its log would end it with the pipe.
        command.args(["--accesslog", "../access.log", "--errorlog", "../error.log"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut url = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        // It names the host as it likes; its port is what matters.
        let port = url.trim().trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
        Self { child, url: format!("http://127.0.0.1:{port}") }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A git repository.
pub(crate) struct Git {
    folder: PathBuf,
}

impl Git {
    pub(crate) fn create(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap();
        let repository = Self { folder: folder.to_owned() };
        repository.git(&["init", "--quiet"]);
        repository
    }

    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        let mut command = Command::new("git");
        command.args(arguments).current_dir(&self.folder);
        command.envs(["GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"].map(|name| (name, "Dev")));
        command.envs(["GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"].map(|name| (name, "dev@example.org")));
        run(&mut command)
    }

    pub(crate) fn commit_range(&self, numbers: Range<i64>) {
        for number in numbers {
            let mut command = Command::new("git");
            command.current_dir(&self.folder).env("GIT_COMMITTER_DATE", format!("{} +0200", secs(number)));
            command.args(["-c", "user.name=Dev", "-c", "user.email=dev@example.org", "commit", "--quiet"]);
            run(command.args(["--allow-empty", "--message", &message(number)]));
        }
    }

    /// A commit with this text as its committer, whatever git thinks of it. Returns its node.
    pub(crate) fn commit_by(&self, committer: &str) -> String {
        let [tree, parent] = ["HEAD^{tree}", "HEAD"].map(|name| self.git(&["rev-parse", name]));
        let author = "author Dev <dev@example.org> 1 +0000";
        let object = format!("tree {tree}parent {parent}{author}\ncommitter {committer}\n\nx\n");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), object.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let node = self.git(&["hash-object", "-t", "commit", "-w", "--literally", path]);
        self.git(&["update-ref", "HEAD", node.trim()]);
        node.trim().to_owned()
    }
}
