//! Limits of the system: the program works with the threads, addresses and files that it gets, or says in one sentence
//! which limit to raise.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Output};

use treeherder_sim::Behaviour;

use crate::support::{Crawl, simulator};

/// A user who runs no other processes, also while other runs of this test go on. Root is not limited in its number of
/// processes.
fn user() -> u32 {
    1_000_000_000 + std::process::id()
}

/// The program and the commits in the folder of the crawl: another user may not see the folder of the build.
fn copy_files(crawl: &mut Crawl) {
    std::fs::copy(assert_cmd::cargo::cargo_bin("perfharvest"), crawl.folder.path().join("perfharvest")).unwrap();
    let commits = crawl.folder.path().join("commits.jsonl");
    std::fs::copy(crawl.config.inputs.commits.as_deref().unwrap(), &commits).unwrap();
    crawl.config.inputs.commits = Some(commits);
}

/// `reduce` into a folder of its own, by a shell that first sets the limit (not every `sh` knows them all).
fn reduce(crawl: &Crawl, limit: &str, user: Option<u32>) -> Output {
    let binary = crawl.folder.path().join("perfharvest");
    let mut command = Command::new("bash");
    command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]).arg(binary).arg("reduce");
    command.arg("--store").arg(&crawl.config.store.path);
    command.arg("--out").arg(crawl.folder.path().join(limit.replace(' ', "")));
    command.arg("--commits").arg(crawl.config.inputs.commits.as_deref().unwrap());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    command.current_dir(crawl.folder.path()).output().unwrap()
}

/// Returns whether it worked.
fn assert_works_or_explains(output: &Output, limit: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stderr);
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(!said.contains("panicked") && !said.contains("this is a bug"), "ulimit {limit}: {said}");
    match output.status.code() {
        Some(0) => assert!(errors.is_empty(), "ulimit {limit}: {said}"),
        code => {
            assert_eq!((code, errors.len()), (Some(4), 1), "ulimit {limit}: {:?} {said}", output.status);
            assert!(errors[0].contains("ulimit "), "ulimit {limit}: {said}");
        }
    }
    output.status.success()
}

fn is_root(folder: &Path) -> bool {
    std::os::unix::fs::MetadataExt::uid(&folder.metadata().unwrap()) == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn with_few_threads_addresses_or_files_it_works_or_says_which_limit_to_raise() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    copy_files(&mut crawl);
    crawl.run().await.unwrap();
    for kilobytes in [200_000, 600_000, 1_000_000, 1_500_000, 2_000_000] {
        let limit = format!("-v {kilobytes}");
        assert_works_or_explains(&reduce(&crawl, &limit, None), &limit);
    }
    let unlimited = reduce(&crawl, "-v unlimited", None);
    assert!(assert_works_or_explains(&unlimited, "-v unlimited"));
    for files in [64, 1024] {
        let limit = format!("-n {files}");
        assert!(assert_works_or_explains(&reduce(&crawl, &limit, None), &limit));
    }
    if !is_root(crawl.folder.path()) {
        let refused = reduce(&crawl, "-u 1", None);
        assert!(!assert_works_or_explains(&refused, "-u 1"));
        return;
    }
    let opened = Command::new("chmod").args(["-R", "a+rwX"]).arg(crawl.folder.path()).status().unwrap();
    assert!(opened.success());
    // How many threads live at once depends on the machine, so only the ends are sure.
    let mut worked = Vec::new();
    for threads in [1, 3, 6, 10, 20, 30, 38, 39, 40, 41, 43, 46, 64, 1000] {
        let limit = format!("-u {threads}");
        worked.push(assert_works_or_explains(&reduce(&crawl, &limit, Some(user())), &limit));
    }
    assert!(!worked[0] && worked[worked.len() - 1], "{worked:?}");
}
