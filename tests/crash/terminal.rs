//! The terminal of a crawl is closed: the drawing ends, the crawl does not.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use treeherder_sim::{Behaviour, Endpoint, Latency};

use crate::child::{blocking, command, wait};
use crate::support::{Crawl, assert_same_artifacts, simulator};

/// Both ends of a new terminal: the window's and the program's.
fn terminal(columns: u16) -> (File, File) {
    let window = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&window).unwrap();
    unlockpt(&window).unwrap();
    let name = ptsname(&window, Vec::new()).unwrap().into_string().unwrap();
    let mut options = OpenOptions::new();
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OpenptFlags::NOCTTY.bits().cast_signed());
    let program = options.read(true).write(true).open(name).unwrap();
    tcsetwinsize(&program, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(window), program)
}

/// `inner`, as the first program of the terminal: the system sends it SIGHUP when the window closes.
fn on_terminal(inner: &Command, program: &File) -> Command {
    let mut command = Command::new("setsid");
    command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
    command.current_dir(inner.get_current_dir().unwrap()).env("RUST_BACKTRACE", "0");
    let end = || Stdio::from(OwnedFd::from(program.try_clone().unwrap()));
    command.stdin(end()).stdout(end()).stderr(end());
    command
}

/// Reads what is drawn until `is_enough`; then the window closes.
fn close_when(mut window: File, is_enough: impl Fn() -> bool) -> String {
    let mut drawn = Vec::new();
    let mut block = [0; 4096];
    while drawn.is_empty() || !is_enough() {
        match window.read(&mut block) {
            Ok(read) => drawn.extend_from_slice(&block[..read]),
            Err(error) => panic!("it ended before: {error}\n{}", String::from_utf8_lossy(&drawn)),
        }
    }
    String::from_utf8_lossy(&drawn).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_survives_its_terminal() {
    let latency = Latency::Fixed(Duration::from_millis(40));
    let mut calm = None;
    for (columns, term) in [(40, "xterm"), (80, "xterm"), (140, "xterm"), (80, "dumb")] {
        let simulator = simulator(Behaviour { latency, ..Behaviour::default() }).await;
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.log.progress = true;
        let (window, program) = terminal(columns);
        crawl.config.limiter.requests_per_second = NonZeroU32::new(30).unwrap().into(); // seconds of crawling after the close
        crawl.config.limiter.burst = NonZeroU32::MIN;
        // The command holds the program's end too.
        let child = on_terminal(&command(&crawl, &["run", "--same-source", "-v"]), &program).env("TERM", term).spawn();
        let child = child.unwrap();
        drop(program);
        let simulator = Arc::new(simulator);
        let serving = Arc::clone(&simulator);
        let drawn = blocking(move || close_when(window, || serving.served().of(Endpoint::Summary) >= 10)).await;
        let before = simulator.served().of(Endpoint::Summary);
        let ended = blocking(|| wait(child)).await;
        assert_eq!(ended.status.code(), Some(0), "{columns} columns, {}, after: {drawn}", ended.status);
        assert!(before < simulator.served().of(Endpoint::Summary), "the window was closed after the crawl");
        assert_eq!(drawn.contains('\u{1b}'), term != "dumb", "{drawn:?}");
        let artifacts = crawl.artifacts();
        assert_same_artifacts(calm.get_or_insert_with(|| artifacts.clone()), &artifacts);
    }
}
