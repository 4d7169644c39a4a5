//! A published folder: its files, what they say, and what a refresh changes in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::path::Path;

use parquet::basic::Type as PhysicalType;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use perfharvest::actor::Shutdown;
use perfharvest::config::{Config, Semantics};
use perfharvest::dataset::Artifact;
use perfharvest::dataset::tables::{Table, export};
use perfharvest::publish::{PublishError, PublishSummary, publish};
use perfharvest::store::Store;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use treeherder_sim::{BackendConfig, Behaviour, History, Simulator, SimulatorConfig, SimulatorHandle};

use crate::living::Living;
use crate::support::tamper::put;
use crate::support::{Crawl, corpus, recordings, simulator};

type Files = BTreeMap<String, Vec<u8>>;

fn published(config: &Config, folder: &Path, keep_emails: bool) -> Result<PublishSummary, PublishError> {
    let store = Store::open_existing(&config.store).unwrap();
    publish(&store, config, folder, keep_emails, &Shutdown::new())
}

/// All files under a folder, by their path.
fn files_in(folder: &Path) -> Files {
    let (mut files, mut left) = (Files::new(), vec![folder.to_owned()]);
    while let Some(inner) = left.pop() {
        for entry in std::fs::read_dir(&inner).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            assert!(!path.file_name().unwrap().to_str().unwrap().starts_with('.'), "left behind: {name}");
            if path.is_dir() {
                left.push(path);
            } else {
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

fn json(files: &Files, name: &str) -> Value {
    serde_json::from_slice(&files[name]).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn reader(bytes: &[u8]) -> SerializedFileReader<std::fs::File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    SerializedFileReader::new(file).unwrap()
}

/// The text of a file: of a compressed one that before compression, of a table its rows.
fn text_of(name: &str, bytes: &[u8]) -> String {
    let mut text = String::new();
    if Path::new(name).extension().is_some_and(|extension| extension == "gz") {
        flate2::read::GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    } else if name.ends_with(".parquet") {
        let reader = reader(bytes);
        for row in reader.get_row_iter(None).unwrap() {
            text.push_str(&format!("{}\n", row.unwrap()));
        }
    } else {
        text = String::from_utf8_lossy(bytes).into_owned();
    }
    text
}

/// A crawl of recordings that also have an address within a note, and one in a record to relabel.
async fn crawl_with_addresses() -> (Crawl, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let api = folder.path().join("api");
    std::fs::create_dir_all(&api).unwrap();
    for entry in std::fs::read_dir(recordings()).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        put(
            &api.join(entry.file_name()),
            text.replace("\"plain note\"", "\"ask (noted@example.org), bye\"").as_bytes(),
        );
    }
    let config =
        SimulatorConfig { backend: BackendConfig::Corpus(folder.path().to_owned()), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    let records = std::fs::read_to_string(corpus().join("input/perf_llm_struc.jsonl")).unwrap();
    let records =
        format!("{records}{{\"commit_id\": \"x\", \"prompt\": \"by <prompted@example.org>\", \"response\": \"0\"}}\n");
    let input = folder.path().join("perf_llm_struc.jsonl");
    put(&input, records.as_bytes());
    crawl.config.inputs.perf_llm_struc = Some(input);
    crawl.run().await.unwrap();
    (crawl, folder)
}

async fn corpus_crawl() -> (Crawl, SimulatorHandle) {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.crawl_only().await.unwrap();
    (crawl, simulator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_published_folder_has_every_table_and_artifact_and_its_digests_are_right() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.run().await.unwrap();
    let root = crawl.folder.path().join("published");
    let summary = published(&crawl.config, &root, true).unwrap();
    assert!(summary.whole && summary.removed.is_empty() && summary.redacted.is_none());
    let files = files_in(&root);
    assert_eq!((summary.num_files, summary.num_written), (files.len(), files.len()));

    let manifest = json(&files, "manifest.json");
    let listed: BTreeSet<&str> = manifest["files"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(listed, files.keys().map(String::as_str).filter(|name| *name != "manifest.json").collect());
    for (name, entry) in manifest["files"].as_object().unwrap() {
        assert_eq!(entry["sha256"], sha256(&files[name]), "{name}");
        assert_eq!(entry["bytes"], files[name].len(), "{name}");
    }
    let sums = String::from_utf8(files["SHA256SUMS"].clone()).unwrap();
    for line in sums.lines() {
        let (digest, name) = line.split_once("  ").unwrap();
        assert_eq!(digest, sha256(&files[name]), "{name}");
    }
    assert_eq!(sums.lines().count(), files.len() - 2);

    // The artifacts are those of the run.
    let out = &crawl.config.artifacts.out;
    for (name, bytes) in crawl.artifacts() {
        let Ok(artifact) = name.parse::<Artifact>() else { continue };
        let copy = format!("artifacts/{artifact}");
        let found = files.get(&copy).or_else(|| files.get(&format!("{copy}.gz"))).unwrap_or_else(|| panic!("{copy}"));
        if files.contains_key(&copy) {
            assert!(*found == bytes, "{copy}");
        } else {
            assert_eq!(text_of(&format!("{copy}.gz"), found).as_bytes(), bytes, "{copy}");
        }
    }
    let changes = std::fs::read_to_string(out.join("changes/0001.jsonl")).unwrap();
    assert_eq!(text_of("x.gz", &files["artifacts/changes/0001.jsonl.gz"]), changes);

    // The tables are those of an export, but for the months and `last_seen`.
    let tables = crawl.folder.path().join("tables");
    let store = Store::open_existing(&crawl.config.store).unwrap();
    export(&store, &crawl.config, &tables, &Table::ALL.into(), &Shutdown::new()).unwrap();
    // Replicates were not asked for.
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Replicates) {
        let exported = std::fs::read(tables.join(table.schema().file_name())).unwrap();
        let lines = |text: String| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let seen = |line: &str| line.replace("last_seen: 1", "last_seen: null");
        let without_harvest = |text: String| if table == Table::Jobs { text } else { seen(&text) };
        let mut rows = BTreeSet::new();
        for (name, bytes) in files.iter().filter(|(name, _)| name.starts_with(&format!("{table}/"))) {
            rows.extend(lines(text_of(name, bytes)));
        }
        assert_eq!(rows, lines(without_harvest(text_of("x.parquet", &exported))), "{table}");
    }
    assert!(files.keys().filter(|name| name.starts_with("data/month=2026-")).count() > 3, "more than one pass");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_store_gives_the_same_bytes_and_a_second_time_nothing_is_written() {
    let (crawl, _simulator) = corpus_crawl().await;
    let [first, second] = ["first", "second"].map(|name| crawl.folder.path().join(name));
    published(&crawl.config, &first, false).unwrap();
    published(&crawl.config, &second, false).unwrap();
    let (mut before, mut other) = (files_in(&first), files_in(&second));
    let again = published(&crawl.config, &first, false).unwrap();
    assert_eq!((again.num_written, again.removed.len()), (0, 0));
    assert_eq!(files_in(&first), before);
    for files in [&mut before, &mut other] {
        files.remove("manifest.json"); // has the time of writing
    }
    assert_eq!(before, other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_are_replaced_in_every_file_and_counted_unless_they_are_to_be_kept() {
    let (crawl, _keep) = crawl_with_addresses().await;
    let root = crawl.folder.path().join("published");
    let summary = published(&crawl.config, &root, true).unwrap();
    let has = |files: &Files, what: &str| -> BTreeSet<String> {
        let found = files.iter().filter(|(name, bytes)| text_of(name, bytes).contains(what));
        found.map(|(name, _)| name.clone()).collect()
    };
    let kept = files_in(&root);
    assert!(summary.redacted.is_none() && text_of("README.md", &kept["README.md"]).contains("were kept"));
    let addresses = has(&kept, "@example.");
    for (what, places) in [
        ("noted@example.org", &["artifacts/alert_summaries.csv.gz", "alert_summaries/part-0.parquet"][..]),
        ("prompted@example.org", &["artifacts/perf_llm_struc_no_fw_2_6_18.jsonl.gz"]),
        ("@example.", &["alerts/part-0.parquet", "jobs/part-0.parquet"]),
        ("@example.", &["artifacts/alert_summaries_all.jsonl.gz", "artifacts/alert_summary_history.jsonl.gz"]),
    ] {
        let found = has(&kept, what);
        assert!(places.iter().all(|place| found.contains(*place)), "{what}: {found:?}");
    }

    let summary = published(&crawl.config, &root, false).unwrap();
    let files = files_in(&root);
    assert_eq!(has(&files, "@example."), BTreeSet::new());
    let places = summary.redacted.unwrap();
    assert!(places["tables"] > 0 && places["alert_summaries.csv"] > 0);
    assert_eq!(places["perf_llm_struc_no_fw_2_6_18.jsonl"], 1);
    assert_eq!(json(&files, "manifest.json")["addresses_redacted"]["tables"], places["tables"]);
    let card = text_of("README.md", &files["README.md"]);
    assert!(card.contains(&format!("{} e-mail addresses were replaced", places.values().sum::<u64>())), "{card}");
    let notes = text_of("x.gz", &files["artifacts/alert_summaries.csv.gz"]);
    assert!(notes.contains("ask (redacted), bye"), "the rest of a note stays");
    // Files without addresses are as before.
    for (name, bytes) in kept.iter().filter(|(name, _)| name.ends_with(".parquet") && !addresses.contains(*name)) {
        assert_eq!(Some(bytes), files.get(name), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refresh_months_without_changes_keep_their_bytes() {
    let mut living = Living::start(History::growing(), 100, Behaviour::default()).await;
    living.refresh().await;
    let root = living.crawl.folder.path().join("published");
    published(&living.crawl.config, &root, false).unwrap();
    let before = files_in(&root);
    let written = |name: &str| std::fs::metadata(root.join(name)).unwrap().modified().unwrap();
    let times: BTreeMap<_, _> = before.keys().map(|name| (name.clone(), written(name))).collect();

    living.advance_days(21);
    living.refresh().await;
    let summary = published(&living.crawl.config, &root, false).unwrap();
    let after = files_in(&root);
    let months =
        |files: &Files| -> Vec<String> { files.keys().filter(|name| name.starts_with("data/")).cloned().collect() };
    let (old, new) = (months(&before), months(&after));
    assert!(new.len() >= old.len() && old.len() > 2, "{old:?} {new:?}");
    let (same, changed): (Vec<_>, Vec<_>) = new.iter().partition(|name| before.get(*name) == after.get(*name));
    assert!(same.len() >= old.len() - 2, "the overlap was asked again, and its data are the same: {changed:?}");
    assert!(!changed.is_empty());
    for name in same {
        assert_eq!(times[name], written(name), "{name} was left alone");
    }
    assert!(summary.num_written < after.len());
    assert!(after.contains_key("artifacts/changes/0002.jsonl.gz"));
    assert_eq!(before["artifacts/changes/0001.jsonl.gz"], after["artifacts/changes/0001.jsonl.gz"]);

    // As if there had been no publication before.
    let other = living.crawl.folder.path().join("other");
    published(&living.crawl.config, &other, false).unwrap();
    let mut fresh = files_in(&other);
    fresh.remove("manifest.json");
    assert!(fresh.iter().all(|(name, bytes)| after.get(name) == Some(bytes)) && fresh.len() + 1 == after.len());
}

/// The type of a column in the words of Croissant, and whether it is a list.
fn croissant_type(schema: &parquet::schema::types::Type) -> (&'static str, bool) {
    if schema.is_group() {
        return ("sc:Text", true);
    }
    let kind = match schema.get_physical_type() {
        PhysicalType::INT64 if schema.get_basic_info().logical_type_ref().is_some() => "sc:DateTime",
        PhysicalType::INT64 => "sc:Integer",
        PhysicalType::DOUBLE => "sc:Float",
        PhysicalType::BOOLEAN => "sc:Boolean",
        PhysicalType::BYTE_ARRAY => "sc:Text",
        other => panic!("{other}"),
    };
    (kind, false)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn croissant_and_the_data_package_have_the_columns_of_the_files() {
    let (mut crawl, _simulator) = corpus_crawl().await;
    let publish = &mut crawl.config.publish;
    publish.license = Some("CC-BY-4.0".to_owned().try_into().unwrap());
    publish.authors = vec!["Lovelace, Ada <0000-0002-1825-0097>".parse().unwrap(), "The Group".parse().unwrap()];
    publish.doi = Some("10.5281/zenodo.1234567".to_owned().try_into().unwrap());
    publish.title = Some("A \"title\": of ours".to_owned());
    let root = crawl.folder.path().join("published");
    published(&crawl.config, &root, false).unwrap();
    let files = files_in(&root);
    let (croissant, package) = (json(&files, "croissant.json"), json(&files, "datapackage.json"));
    for object in croissant["distribution"].as_array().unwrap() {
        match object["@type"].as_str().unwrap() {
            "cr:FileSet" => assert_eq!(object["includes"], "data/month=*/*.parquet"),
            _ => assert_eq!(object["sha256"], sha256(&files[object["contentUrl"].as_str().unwrap()])),
        }
    }
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Replicates) {
        let (name, bytes) = files.iter().find(|(name, _)| name.starts_with(&format!("{table}/"))).unwrap();
        let reader = reader(bytes);
        let root = reader.metadata().file_metadata().schema().clone();
        let columns: Vec<_> = root.get_fields().iter().map(|field| (field.name(), croissant_type(field))).collect();
        let sets = croissant["recordSet"].as_array().unwrap();
        let fields = sets.iter().find(|set| set["@id"] == table.name()).unwrap()["field"].as_array().unwrap();
        let found: Vec<_> = fields
            .iter()
            .map(|field| {
                assert!(!field["description"].as_str().unwrap_or_default().contains('`'));
                let column = field["source"]["extract"]["column"].as_str().unwrap();
                assert_eq!(field["@id"], format!("{table}/{column}"));
                (column, (field["dataType"].as_str().unwrap(), field["isArray"] == true))
            })
            .collect();
        assert_eq!(found, columns, "{table}");
        let resources = package["resources"].as_array().unwrap();
        let resource = resources.iter().find(|resource| resource["path"] == name.as_str()).unwrap();
        let fields = resource["schema"]["fields"].as_array().unwrap();
        assert!(fields.iter().map(|field| field["name"].as_str().unwrap()).eq(columns.iter().map(|(name, _)| *name)));
    }
    assert_eq!(package["resources"].as_array().unwrap().len(), croissant["distribution"].as_array().unwrap().len() - 1);
    let citation = text_of("CITATION.cff", &files["CITATION.cff"]);
    for part in [
        "family-names: \"Lovelace\"",
        "orcid.org/0000-0002-1825-0097",
        "license: CC-BY-4.0",
        "- name: \"The Group\"",
        "doi: \"10.5281/zenodo.1234567\"",
        "title: \"A \\\"title\\\": of ours\"",
    ] {
        assert!(citation.contains(part), "{part}: {citation}");
    }
    let card = text_of("README.md", &files["README.md"]);
    for part in [
        "license: cc-by-4.0\n",
        "data_files: data/month=*/*.parquet",
        "- config_name: sig_groups",
        "| 2026-08-12 | alerts |",
        "## Conventions",
    ] {
        assert!(card.contains(part), "{part}");
    }
    // Before the data, and not of the alerts, whose window begins earlier.
    assert!(!card.contains("| 2026-05-28 |"), "outside of the window");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_other_origin_is_refused_and_stays_as_it_is() {
    let (crawl, _simulator) = corpus_crawl().await;
    let folder = |name: &str| crawl.folder.path().join(name);
    let refused = |root: &Path| {
        let before = files_in(root);
        let error = perfharvest::Error::from(published(&crawl.config, root, false).unwrap_err());
        assert_eq!(error.exit_code(), 2, "{error}");
        assert_eq!(files_in(root), before);
        error.to_string()
    };
    std::fs::create_dir_all(folder("site/data/month=2026-07")).unwrap();
    put(&folder("site/notes.txt"), b"kept");
    put(&folder("site/data/month=2026-07/part-0.parquet"), b"of another program");
    assert!(refused(&folder("site")).contains("data/month=2026-07/part-0.parquet"));
    std::fs::remove_file(folder("site/data/month=2026-07/part-0.parquet")).unwrap();
    put(&folder("site/README.md"), b"of another project");
    assert!(refused(&folder("site")).contains("README.md"));
    std::fs::remove_file(folder("site/README.md")).unwrap();
    published(&crawl.config, &folder("site"), false).unwrap();
    assert_eq!(std::fs::read(folder("site/notes.txt")).unwrap(), b"kept", "files of other names do not matter");

    // The folder of the artifacts, in which manifest.json has another form; and the other way round.
    crawl.run().await.unwrap();
    assert!(refused(&crawl.config.artifacts.out).contains("manifest.json"));
    let (mut into, _other_simulator) = corpus_crawl().await;
    into.config.store.path = crawl.config.store.path.clone();
    into.config.artifacts.out = folder("site");
    let before = files_in(&folder("site"));
    assert_eq!(into.run().await.unwrap_err().exit_code(), 2);
    assert_eq!(files_in(&folder("site")), before);

    // Another store.
    let (other, _third_simulator) = corpus_crawl().await;
    let error = published(&other.config, &folder("site"), false).unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
    assert_eq!(files_in(&folder("site")), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_no_longer_belong_to_the_dataset_are_removed() {
    let (mut crawl, _simulator) = corpus_crawl().await;
    let root = crawl.folder.path().join("published");
    published(&crawl.config, &root, false).unwrap();
    put(&root.join("mine.txt"), b"mine");
    crawl.config.inputs.perf_llm_struc = None;
    let summary = published(&crawl.config, &root, false).unwrap();
    assert_eq!(summary.removed, ["artifacts/filter_report.json", "artifacts/perf_llm_struc_no_fw_2_6_18.jsonl.gz"]);
    let files = files_in(&root);
    assert!(!summary.removed.iter().any(|path| files.contains_key(path)) && files.contains_key("mine.txt"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incomplete_dataset_says_so_and_an_interrupted_publication_leaves_nothing() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.run_for(&simulator, 60).await;
    let root = crawl.folder.path().join("published");
    let ended = Shutdown::new();
    ended.drain();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let error = publish(&store, &crawl.config, &root, false, &ended).unwrap_err();
    assert_eq!(perfharvest::Error::from(error).exit_code(), 130);
    assert!(!root.exists() || files_in(&root).is_empty());
    drop(store);

    let summary = published(&crawl.config, &root, false).unwrap();
    assert!(!summary.whole);
    let files = files_in(&root);
    assert_eq!(json(&files, "manifest.json")["complete"], false);
    assert!(text_of("README.md", &files["README.md"]).contains("**This dataset is incomplete.**"));
    assert!(json(&files, "croissant.json")["rai:dataLimitations"].to_string().contains("incomplete"));
}
