//! Tests with real clones by `hg` and `git`, and a real `hg serve`. Requires both programs (feature `mercurial-tests`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test may panic and talk")]

mod repository;

use std::path::Path;
use std::process::Output;

use self::repository::{Git, Mercurial, Served, at};

/// Makes `all_commits.jsonl` in `folder` by the program, of revisions 0 to 40 unless the arguments say otherwise.
fn commits(folder: &Path, from: &str, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    command.current_dir(folder).args(["commits", "--from", from, "--start", &at(0), "--end", &at(40)]);
    command.args(["--requests-per-second", "1000", "--set", "batch.commits=5", "--set", "retry.max_attempts=2"]);
    command.args(["--set", "retry.initial_delay=1ms"]).args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn read(folder: &Path) -> String {
    std::fs::read_to_string(folder.join("all_commits.jsonl")).unwrap()
}

fn nodes(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.map(|line| line["node"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_mercurial_clone_and_its_hgweb_make_the_same_file_which_holds_what_hg_says() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Mercurial::create(&folder.path().join("repo"));
    repository.commit_range(0..15);
    repository.merge(15);
    let output = commits(folder.path(), "clone:repo", &[]);
    assert!(output.status.success(), "{}", said(&output));
    let of_clone = read(folder.path());
    let listed: Vec<serde_json::Value> =
        serde_json::from_str(&repository.hg(&["log", "--rev", "0:tip", "-Tjson"])).unwrap();
    let fields = ["node", "desc", "date", "parents"];
    let listed: Vec<_> = listed.iter().map(|commit| fields.map(|field| commit[field].clone())).collect();
    let lines = of_clone.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let written: Vec<_> = lines.map(|commit| fields.map(|field| commit[field].clone())).collect();
    assert_eq!(written, listed);
    assert_eq!(written.len(), 17);
    assert_eq!(written[16][3].as_array().unwrap().len(), 2, "a merge has two parents");
    assert!(of_clone.is_ascii() && of_clone.contains("\\u001b[31m") && of_clone.contains("caf\\u00e9"));

    std::fs::remove_file(folder.path().join("all_commits.jsonl")).unwrap();
    let served = Served::start(&repository);
    let output = commits(folder.path(), &format!("hgweb:{}", served.url()), &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(folder.path()), of_clone);
}

#[test]
fn the_window_counts_both_ends_and_a_second_run_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Mercurial::create(&folder.path().join("repo"));
    repository.commit_range(0..30);
    let served = Served::start(&repository);
    for from in ["clone:repo".to_owned(), format!("hgweb:{}", served.url())] {
        let window = ["--start", &at(10), "--end", &at(20)];
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.current_dir(folder.path()).args(["commits", "--from", &from, "--requests-per-second", "1000"]);
        let output = command.args(window).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        let expected = repository.log("10:20", "{node}\\n");
        assert_eq!(nodes(&read(folder.path())), expected.lines().collect::<Vec<_>>());
        let again = command.output().unwrap();
        assert!(again.status.success() && said(&again).contains("the file was up to date"), "{}", said(&again));
    }
}

#[test]
fn commits_that_are_pushed_later_are_added_and_hidden_ones_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Mercurial::create(&folder.path().join("repo"));
    repository.commit_range(0..23);
    let served = Served::start(&repository);
    let from = format!("hgweb:{}", served.url());
    assert!(commits(folder.path(), &from, &[]).status.success());
    repository.commit_range(23..36);
    repository.hide("35");
    repository.hide("34");
    let output = commits(folder.path(), &from, &[]);
    assert!(output.status.success(), "{}", said(&output));
    let of_hgweb = read(folder.path());
    assert_eq!(nodes(&of_hgweb), repository.log("all()", "{node}\\n").lines().collect::<Vec<_>>());
    assert_eq!(nodes(&of_hgweb).len(), 34);
    assert!(commits(folder.path(), "clone:repo", &[]).status.success());
    assert_eq!(read(folder.path()), of_hgweb);
}

#[test]
fn settings_of_the_person_and_odd_names_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plain = Mercurial::create(&folder.path().join("plain"));
    plain.commit_range(0..5);
    assert!(commits(folder.path(), "clone:plain", &[]).status.success());
    let expected = read(folder.path());
    let odd = folder.path().join("--config=alias.log=!touch owned");
    std::fs::rename(folder.path().join("plain"), &odd).unwrap();

    let hgrc = folder.path().join("hgrc");
    put(&hgrc, "[alias]\nlog = !touch owned\n[defaults]\nlog = --limit 1\n[ui]\nverbose = yes\ncolor = always\n");
    let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    command.current_dir(folder.path()).env("HGRCPATH", &hgrc).env("HGPLAINEXCEPT", "alias,color");
    command.args(["commits", "--from", "clone:--config=alias.log=!touch owned", "--start", &at(0), "--end", &at(40)]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(read(folder.path()), expected);
    assert!(!folder.path().join("owned").exists() && !odd.join("owned").exists());
}

#[test]
fn a_damaged_clone_is_exit_5_with_what_hg_says_and_leaves_the_file_alone() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Mercurial::create(&folder.path().join("repo"));
    repository.commit_range(0..12);
    assert!(commits(folder.path(), "clone:repo", &[]).status.success());
    let before = read(folder.path());
    let changelog = folder.path().join("repo/.hg/store/00changelog.i");
    let mut bytes = std::fs::read(&changelog).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].fill(0x5a);
    std::fs::remove_file(&changelog).unwrap();
    put(&changelog, bytes);
    let output = commits(folder.path(), "clone:repo", &[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert!(said(&output).contains("`hg log` in repo"), "{}", said(&output));
    assert_eq!(read(folder.path()), before);
}

#[test]
fn a_git_clone_gives_its_commits_oldest_first_with_zones_as_mercurial_counts_them() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Git::create(&folder.path().join("-repo"));
    repository.commit_range(0..12);
    let output = commits(folder.path(), "clone:-repo", &[]);
    assert!(output.status.success(), "{}", said(&output));
    let text = read(folder.path());
    let log = repository.git(&["log", "--reverse", "--format=%H"]);
    assert_eq!(nodes(&text), log.lines().collect::<Vec<_>>());
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["date"], serde_json::json!([repository::secs(0), -7200]));
    assert_eq!(first["parents"], serde_json::json!(["0".repeat(40)]));
    assert_eq!(first["desc"], repository::message(0));
    let second: serde_json::Value = serde_json::from_str(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(second["parents"], serde_json::json!([first["node"]]));

    // A person's settings that change what `git log` prints.
    repository.git(&["config", "log.showSignature", "true"]);
    repository.git(&["config", "alias.log", "!touch owned"]);
    repository.git(&["config", "color.ui", "always"]);
    let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
    command.current_dir(folder.path()).env("GIT_DIR", "/nowhere").env("GIT_CONFIG_COUNT", "0");
    let output =
        command.args(["commits", "--from", "clone:-repo", "--start", &at(0), "--end", &at(40)]).output().unwrap();
    assert!(output.status.success() && said(&output).contains("the file was up to date"), "{}", said(&output));

    let origin = format!("file://{}", folder.path().join("-repo").display());
    repository.git(&["clone", "--quiet", "--depth", "1", &origin, "../shallow"]);
    let output = commits(folder.path(), "clone:shallow", &["--output", "shallow.jsonl"]);
    assert!(output.status.success() && said(&output).contains("git fetch --unshallow"), "{}", said(&output));

    let empty = Git::create(&folder.path().join("empty"));
    drop(empty);
    let output = commits(folder.path(), "clone:empty", &[]);
    assert_eq!(output.status.code(), Some(5), "{}", said(&output));
    assert_eq!(read(folder.path()), text);
}

#[test]
fn a_missing_program_is_exit_2_and_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    Mercurial::create(&folder.path().join("mercurial"));
    Git::create(&folder.path().join("git"));
    for (kind, words) in [("mercurial", "cannot start `hg`"), ("git", "cannot start `git`")] {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.current_dir(folder.path()).env("PATH", folder.path());
        let output = command.args(["commits", "--from", &format!("clone:{kind}")]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", said(&output));
        assert!(said(&output).contains(words) && said(&output).contains("install"), "{}", said(&output));
        assert!(!folder.path().join("all_commits.jsonl.pages").exists());
    }
}

fn put(path: &Path, content: impl AsRef<[u8]>) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(path).unwrap();
    std::io::Write::write_all(&mut file, content.as_ref()).unwrap();
}

#[test]
fn malformed_commits_of_a_clone_are_named_and_counted_and_cost_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Git::create(&folder.path().join("repo"));
    repository.commit_range(0..3);
    let in_window = repository::secs(5);
    let broken: Vec<String> = [
        format!("Dev <dev@example.org> {in_window} +051800"), // as some conversions of old repositories wrote it
        format!("Dev <dev@example.org> {in_window}"),
        "Dev <dev@example.org>".to_owned(),
        "Dev <dev@example.org> 5 +051800".to_owned(), // in 1970: not asked for
    ]
    .iter()
    .map(|committer| repository.commit_by(committer))
    .collect();
    repository.commit_range(6..9);
    let output = commits(folder.path(), "clone:repo", &[]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(nodes(&read(folder.path())).len(), 6);
    assert!(said(&output).contains("3 commits were left out: malformed in the clone"), "{}", said(&output));
    for (number, node) in broken.iter().enumerate() {
        assert_eq!(said(&output).contains(node), number < 3, "{}", said(&output));
    }
}

#[cfg(unix)]
#[test]
fn behind_a_link_is_the_file_alone_and_the_pages_are_beside_the_link() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Git::create(&folder.path().join("repo"));
    repository.commit_range(0..3);
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    std::os::unix::fs::symlink("disk/made.jsonl", folder.path().join("link.jsonl")).unwrap();
    for _ in 0..2 {
        let output = commits(folder.path(), "clone:repo", &["--output", "link.jsonl"]);
        assert!(output.status.success(), "{}", said(&output));
    }
    let names =
        |path: &Path| std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(&folder.path().join("disk")), ["made.jsonl"]);
    assert!(folder.path().join("link.jsonl").is_symlink() && folder.path().join("link.jsonl.pages").is_file());
}
