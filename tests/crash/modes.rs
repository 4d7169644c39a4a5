//! The umask decides who may read and write the files of a store and of a dataset.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use treeherder_sim::Behaviour;

use crate::child::{blocking, command, finish};
use crate::support::{Crawl, simulator};

/// Asserts the permissions of every file in `folder` and its folders.
fn assert_modes(folder: &Path, expected: u32) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            assert_modes(&entry.path(), expected);
        } else {
            let mode = metadata.permissions().mode() & 0o777;
            assert_eq!(mode, expected, "{} has {mode:o}", entry.path().display());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_files_have_the_permissions_that_the_umask_leaves() {
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let simulator = simulator(Behaviour::default()).await;
        let crawl = Crawl::of(&simulator.url());
        let run = command(&crawl, &["run", "--same-source", "--no-progress"]);
        let mut masked = Command::new("sh");
        masked.args(["-c", "umask \"$0\"; exec \"$@\"", umask]).arg(run.get_program()).args(run.get_args());
        masked.current_dir(run.get_current_dir().unwrap());
        masked.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        let ended = blocking(|| finish(masked)).await;
        assert_eq!(ended.code(), Some(0), "{}", ended.stderr);
        assert_modes(&crawl.config.store.path, expected);
        assert_modes(&crawl.config.artifacts.out, expected);
    }
}
