//! Kills publications: the next one succeeds, and gives what one that was never killed gives.

use std::collections::BTreeMap;
use std::path::Path;

use treeherder_sim::Behaviour;

use crate::child::{command, finish};
use crate::support::{Crawl, simulator};

/// All files under a folder by path, but the manifest, which has the time of writing.
fn files_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut left) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(inner) = left.pop() {
        for entry in std::fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                left.push(path);
            } else if name != "manifest.json" {
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_is_killed_is_made_whole_by_the_next() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let publish = |to: &str, more: &[&str]| command(&crawl, &[&["publish", "--output", to], more].concat());
    let folder = |name: &str| crawl.folder.path().join(name);
    assert_eq!(finish(publish("clean", &[])).code(), Some(0));
    let clean = files_in(&folder("clean"));
    // The first places are those of the staging folder, the last ones those of the published folder.
    let mut kills = 0;
    for point in
        ["artifact.before_fsync", "artifact.before_rename", "artifact.before_manifest", "artifact.after_renames"]
    {
        for passes in [1, 4, 5, 30, 50] {
            assert_eq!(finish(publish("killed", &["--keep-emails"])).code(), Some(0)); // other bytes than those to come
            let mut killed = publish("killed", &[]);
            killed.env("PERFHARVEST_FAIL_POINT", format!("{point}:{passes}"));
            let killed = finish(killed);
            if killed.code().is_some() {
                break; // it does not pass there so often
            }
            kills += 1;
            let ended = finish(publish("killed", &[]));
            assert_eq!(ended.code(), Some(0), "{point}:{passes}: {}", ended.stderr);
            assert_eq!(files_in(&folder("killed")), clean, "{point}:{passes}");
        }
    }
    assert!(kills > 10, "{kills}");
}
