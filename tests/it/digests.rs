//! The bytes of the dataset, the tables and an archive of the recorded corpus do not change by accident.
//!
//! `digests.txt` lists a SHA-256 for each file. A deliberate change of a file also raises its schema version, and has
//! an entry in the changelog.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::dataset::tables::{Table, export};
use perfharvest::import::import_folder;
use perfharvest::store::{Store, archive};
use sha2::{Digest as _, Sha256};
use treeherder_sim::Behaviour;

use crate::support::{Crawl, proven_files, simulator};

/// Digests by name, each in a line of its own.
#[derive(Default)]
struct Digests(BTreeMap<String, String>);

impl Digests {
    fn add(&mut self, name: String, bytes: &[u8]) {
        let hex = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.insert(name, hex);
    }

    fn add_files(&mut self, prefix: &str, folder: &Path, except: &str) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                self.add_files(&format!("{prefix}/{name}"), &path, except);
            } else if name != except {
                self.add(format!("{prefix}/{name}"), &std::fs::read(path).unwrap());
            }
        }
    }

    fn text(&self) -> String {
        self.0.iter().fold(String::new(), |mut text, (name, hex)| {
            writeln!(text, "{hex}  {name}").unwrap();
            text
        })
    }
}

/// The entries of an archive without the store's id, which is random.
fn entries(archive: &[u8]) -> Vec<u8> {
    let zstd = archive.windows(4).position(|four| four == [0x28, 0xb5, 0x2f, 0xfd]).unwrap();
    let mut entries = zstd::decode_all(&archive[zstd..archive.len() - 16]).unwrap();
    let head = String::from_utf8_lossy(&archive[..zstd]).into_owned();
    let (_, id) = head.split_once("\"store_id\":\"").unwrap();
    let id = &id.as_bytes()[..id.find('"').unwrap()];
    while let Some(at) = entries.windows(id.len()).position(|window| window == id) {
        entries.drain(at..at + id.len());
    }
    entries
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn artifacts_tables_and_archives_keep_their_bytes() {
    let mut digests = Digests::default();
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    for semantics in [Semantics::Reference, Semantics::Corrected] {
        crawl.config.artifacts.semantics = semantics;
        crawl.config.artifacts.out = crawl.folder.path().join(semantics.name());
        crawl.run().await.unwrap();
        digests.add_files(semantics.name(), &crawl.config.artifacts.out, "manifest.json");
    }

    let tables = crawl.folder.path().join("tables");
    std::fs::create_dir(&tables).unwrap();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    export(&store, &crawl.config, &tables, &Table::ALL.into(), &Shutdown::new()).unwrap();
    drop(store);
    digests.add_files("tables", &tables, "export.json");

    // An archive of a crawl also says when each answer came; one of imported files does not.
    crawl.config.store.path = crawl.folder.path().join("imported");
    "https://treeherder.test".clone_into(&mut crawl.config.source.base_url);
    import_folder(proven_files(&crawl.config).path(), &crawl.config, &Shutdown::new()).unwrap();
    let archived = crawl.folder.path().join("archive");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&archived).unwrap();
    archive::write(&Store::open_existing(&crawl.config.store).unwrap(), &mut file, &Shutdown::new()).unwrap();
    digests.add("archive entries".to_owned(), &entries(&std::fs::read(&archived).unwrap()));
    simulator.shutdown().await.unwrap();

    let found = digests.text();
    assert!(found == include_str!("digests.txt"), "the digests are:\n{found}");
}
