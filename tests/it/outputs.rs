//! The outputs of commands: links are followed, pipes and devices are refused, `-` is standard output.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use treeherder_sim::{Behaviour, ScriptedReply};

use crate::support::{Crawl, simulator};

fn perfharvest(folder: &Path, arguments: &[&str], input: Stdio) -> Output {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin("perfharvest"));
    command.current_dir(folder).args(arguments).stdin(input).output().unwrap()
}

fn mkfifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_configuration_goes_to_standard_output_or_behind_a_link_and_never_into_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let init = |output: &str| perfharvest(folder.path(), &["config", "init", output], Stdio::null());
    let commented = init("-");
    assert!(commented.status.success() && commented.stdout.starts_with(b"#"), "{commented:?}");
    std::fs::create_dir(folder.path().join("disk")).unwrap();
    std::os::unix::fs::symlink("disk/made.toml", folder.path().join("link.toml")).unwrap();
    assert!(init("link.toml").status.success());
    assert_eq!(std::fs::read(folder.path().join("disk/made.toml")).unwrap(), commented.stdout);
    mkfifo(&folder.path().join("pipe"));
    std::os::unix::fs::symlink("pipe", folder.path().join("to_pipe")).unwrap();
    for output in ["pipe", "to_pipe", "/dev/null", "disk"] {
        assert_eq!(init(output).status.code(), Some(2), "{output}");
    }
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["disk", "link.toml", "pipe", "to_pipe"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_passes_through_pipes_and_reports_and_records_follow_the_same_rules() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let folder = crawl.folder.path();
    let archive = perfharvest(folder, &["export", "--format", "archive", "-o", "-", "--store", "store"], Stdio::null());
    assert!(archive.status.success() && archive.stdout.starts_with(b"PHSTORE\n"), "{:?}", archive.status);
    let path = folder.join("copy.phar");
    let mut copy = std::fs::File::options().write(true).create_new(true).open(&path).unwrap();
    std::io::Write::write_all(&mut copy, &archive.stdout).unwrap();
    let input = Stdio::from(std::fs::File::open(&path).unwrap());
    let imported = perfharvest(folder, &["import", "-", "--store", "other"], input);
    assert!(imported.status.success(), "{imported:?}");
    let again = perfharvest(folder, &["export", "--format", "archive", "-o", "-", "--store", "other"], Stdio::null());
    assert!(again.status.success() && again.stdout.len() > 1000);

    let report = perfharvest(folder, &["report", "-o", "-", "--store", "store", "--out", "out"], Stdio::null());
    assert!(report.status.success() && report.stdout.starts_with(b"<!DOCTYPE html>"), "{:?}", report.status);
    let records = crawl.config.inputs.perf_llm_struc.as_deref().unwrap();
    let input = Stdio::from(std::fs::File::open(records).unwrap());
    let arguments = ["relabel", "--input", "-", "--output", "-", "--store", "store"];
    let relabelled = perfharvest(folder, &arguments, input);
    assert!(relabelled.status.success() && relabelled.stdout.starts_with(b"{"), "{relabelled:?}");
    mkfifo(&folder.join("pipe"));
    for arguments in [
        &["report", "-o", "pipe", "--store", "store", "--out", "out"][..],
        &["relabel", "--input", "copy.phar", "--output", "pipe", "--store", "store"],
        &["export", "--format", "archive", "-o", "pipe", "--store", "store"],
        &["export", "--format", "parquet", "-o", "-", "--store", "store"],
        &["commits", "--from", "pushes", "-o", "pipe"],
    ] {
        let refused = perfharvest(folder, arguments, Stdio::null());
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_makes_no_artifacts_leaves_no_folder_for_them() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let parent = crawl.folder.path().join("new");
    crawl.config.artifacts.out = parent.join("out");
    simulator.script(ScriptedReply::status(403).times(1_000_000));
    assert_eq!(crawl.run().await.unwrap_err().exit_code(), 5, "the server refuses");
    assert!(!parent.exists());
    let end = crawl.config.window.end.replace("2026-11-06T00:00:00Z".parse().unwrap());
    assert_eq!(crawl.run().await.unwrap_err().exit_code(), 2, "the store refuses");
    assert!(!parent.exists());
    crawl.config.window.end = end;
    crawl.config.inputs.perf_llm_struc = Some(crawl.folder.path().join("missing"));
    assert_eq!(crawl.run().await.unwrap_err().exit_code(), 2, "an input is missing");
    assert!(!parent.exists());
}
