//! Runs a crawl in a child process.

use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use perfharvest::config::{Config, StoreConfig};
use perfharvest::store::Store;

use crate::support::Crawl;
use crate::support::tamper::copy;

/// The program under test, under a name of its own: a build that runs meanwhile must not change it between two rounds.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_folder, program) = PROGRAM.get_or_init(|| {
        let built = Path::new(env!("CARGO_BIN_EXE_perfharvest"));
        let folder = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
        let program = folder.path().join("perfharvest");
        std::fs::hard_link(built, &program).unwrap();
        (folder, program)
    });
    program
}

/// How a child ended.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stderr: String,
    pub(crate) stdout: String,
}

impl Ended {
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// Writes the configuration of a crawl, and the command that runs `command` with it.
pub(crate) fn command(crawl: &Crawl, command: &[&str]) -> Command {
    let path = crawl.folder.path().join("config.toml");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    file.write_all(toml::to_string(&crawl.config).unwrap().as_bytes()).unwrap();
    let mut child = Command::new(program());
    child.args(command).arg("--config").arg(&path).current_dir(crawl.folder.path());
    // The program refuses variables that are not its own.
    child.env_remove("PERFHARVEST_CRASH_LONG").env_remove("PERFHARVEST_CRASH_SEED");
    child.env("RUST_BACKTRACE", "0").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    child
}

/// The main job, of a server that may have a new address.
pub(crate) fn run_command(crawl: &Crawl) -> Command {
    command(crawl, &["run", "--same-source", "--no-progress"])
}

pub(crate) fn wait(child: Child) -> Ended {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ended { status: output.status, stderr: text(&output.stderr), stdout: text(&output.stdout) }
}

pub(crate) fn finish(mut command: Command) -> Ended {
    wait(command.spawn().unwrap())
}

/// A child whose messages are read a line at a time while it runs.
pub(crate) struct Listened {
    child: Child,
    lines: BufReader<ChildStderr>,
    stderr: String,
}

impl Listened {
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap());
        Self { child, lines, stderr: String::new() }
    }

    pub(crate) fn child(&self) -> &Child {
        &self.child
    }

    /// Returns once the child has said a line with `text`.
    pub(crate) async fn wait_for(mut self, text: &'static str) -> Self {
        blocking(move || {
            loop {
                let before = self.stderr.len();
                let read = self.lines.read_line(&mut self.stderr).unwrap();
                assert!(read > 0, "it ended without saying `{text}`:\n{}", self.stderr);
                if self.stderr[before..].contains(text) {
                    return self;
                }
            }
        })
        .await
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Ended {
        blocking(move || {
            self.lines.read_to_string(&mut self.stderr).unwrap();
            Ended { stderr: self.stderr, ..wait(self.child) }
        })
        .await
    }
}

/// Blocking work beside the simulator, which ends long before this gives up.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::time::timeout(Duration::from_mins(5), tokio::task::spawn_blocking(work)).await.expect("it ends").unwrap()
}

/// Sends a signal to a child of this process, by its id.
pub(crate) fn signal(child: &Child, name: &str) {
    // The standard library sends SIGKILL only.
    let sent = Command::new("kill").arg(format!("-{name}")).arg(child.id().to_string()).status().unwrap();
    assert!(sent.success());
}

/// Opens a copy of the store that a killed process left, so that the store itself stays untouched.
pub(crate) fn opened_copy(config: &Config) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    copy(&config.store.path, &path);
    let store = Store::open(&StoreConfig { path, ..config.store.clone() }).unwrap();
    (folder, store)
}
