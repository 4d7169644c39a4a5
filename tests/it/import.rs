//! A run completes a store imported from the older scripts' files to the result of a crawl.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use perfharvest::actor::Shutdown;
use perfharvest::dataset::{ReduceOrder, read_commits, reduce};
use perfharvest::import::{EndProof, import_folder};
use perfharvest::model::Kind;
use perfharvest::observe::Reducing;
use perfharvest::store::{Store, verify_store};
use treeherder_sim::{BackendConfig, Behaviour, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle, dump};

use crate::support::{Crawl, assert_same_artifacts, corpus, proven_files, simulator};

fn generator() -> GeneratorConfig {
    GeneratorConfig { signatures: 150, data_per_signature: 40, pushes: 300, alerts: 30, ..GeneratorConfig::default() }
}

async fn generated() -> SimulatorHandle {
    let backend = BackendConfig::Generated(generator());
    Simulator::start(SimulatorConfig { backend, ..SimulatorConfig::default() }).await.unwrap()
}

fn put(path: &Path, text: &[u8]) {
    std::fs::remove_file(path).ok();
    OpenOptions::new().create_new(true).write(true).open(path).unwrap().write_all(text).unwrap();
}

/// The files of the dataset without the manifest, whose counts differ: a run after an import sends some requests that a
/// crawl skips; and without the detailed list of signatures, since the older files have no headers.
fn dataset(crawl: &Crawl) -> BTreeMap<String, Vec<u8>> {
    let mut artifacts = crawl.artifacts();
    let manifest: serde_json::Value = serde_json::from_slice(&artifacts.remove("manifest.json").unwrap()).unwrap();
    assert_eq!(manifest["complete"], true);
    artifacts.remove("all_signatures_detailed.jsonl").unwrap();
    artifacts
}

/// The signatures whose data were asked for.
fn summaries_asked(simulator: &SimulatorHandle) -> BTreeSet<u64> {
    let arrivals = simulator.arrivals();
    let of = |path: &str| path.split("signature=").nth(1)?.split('&').next()?.parse().ok();
    arrivals
        .iter()
        .filter(|it| it.path_and_query.contains("performance/summary"))
        .filter_map(|it| of(&it.path_and_query))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_that_is_imported_and_completed_equals_a_crawl_of_the_same_server() {
    let files = tempfile::tempdir().unwrap();
    dump(&generator(), files.path()).unwrap();
    // Of some rows: doubled, torn, glued to a fragment, an error recorded as an empty list, a part of the data only.
    let path = files.path().join("perf_jobs_by_signature.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let id_of = |line: &str| line["{\"signature_id\": ".len()..].split(',').next().unwrap().parse::<u64>().unwrap();
    let full: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].matches("\"job_id\"").count() > 4).collect();
    let [swallowed, cut, torn, behind, doubled, partial, ..] = full[..] else { panic!() };
    let mut damaged = String::new();
    for (at, line) in lines.iter().enumerate() {
        let id = id_of(line);
        if at == swallowed {
            damaged.push_str(&format!("{{\"signature_id\": {id}, \"jobs\": []}}\n"));
        } else if at == torn {
            damaged.push_str(&format!("{}{}\n", &line[..line.len() / 2], lines[behind]));
        } else if at == doubled {
            damaged.push_str(&format!("{line}\n{line}\n\n"));
        } else if at == partial {
            let data = line.find("}, {").unwrap();
            damaged.push_str(&format!("{}}}]}}\n{line}\n", &line[..data]));
        } else if at != behind && at != cut {
            damaged.push_str(&format!("{line}\n"));
        }
    }
    damaged.push_str(&lines[cut][..100]);
    put(&path, damaged.as_bytes());

    let two = generated().await;
    let mut imported = Crawl::of(&two.url());
    imported.config.inputs.commits = Some(files.path().join("all_commits.jsonl"));
    imported.config.inputs.perf_llm_struc = None;
    imported.config.window.data_end = None;
    let summary = import_folder(files.path(), &imported.config, &Shutdown::new()).unwrap();
    let [(_, Some(data)), (_, Some(signatures)), (_, None)] = &summary.files else { panic!("{summary:?}") };
    assert_eq!((data.torn.count, data.doubled, signatures.taken, signatures.torn.count), (2, 2, 150, 0));
    assert_eq!(data.torn.first[1].0, data.lines);
    assert!(data.outside > 0 || data.data > 1000, "{data:?}");

    imported.config.window.data_end = Some(summary.identity.data_end); // a run without it would go on up to now
    imported.run().await.unwrap();
    let one = generated().await;
    let mut crawled = Crawl::of(&one.url());
    crawled.config.inputs = imported.config.inputs.clone();
    crawled.config.window.data_end = Some(summary.identity.data_end);
    crawled.run().await.unwrap();
    assert_same_artifacts(&dataset(&crawled), &dataset(&imported));
    let asked = summaries_asked(&two);
    let empty = lines.iter().filter(|line| line.contains("\"jobs\": []")).map(|line| id_of(line));
    let allowed: BTreeSet<u64> = empty.chain([swallowed, cut, torn].map(|at| id_of(lines[at]))).collect();
    assert!(asked.is_subset(&allowed), "{asked:?} {allowed:?}");
    assert!([swallowed, cut, torn].iter().all(|&at| asked.contains(&id_of(lines[at]))));
    one.shutdown().await.unwrap();
    two.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reference_scripts_own_files_become_the_reference_artifacts() {
    let calm = simulator(Behaviour::default()).await;
    let crawled = Crawl::of(&calm.url());
    crawled.run().await.unwrap();

    let simulator = simulator(Behaviour::default()).await;
    let imported = Crawl::of(&simulator.url());
    let files = proven_files(&imported.config);
    let summary = import_folder(files.path(), &imported.config, &Shutdown::new()).unwrap();
    assert_eq!(summary.end_proof, EndProof::Manifest);
    for (name, report) in &summary.files {
        let report = report.as_ref().unwrap();
        assert_eq!((report.torn.count, report.doubled), (0, 0), "{name}");
        assert!(report.taken > 0, "{name}");
    }
    imported.run().await.unwrap();
    assert_same_artifacts(&dataset(&crawled), &dataset(&imported));
    assert!(summaries_asked(&simulator).len() < 50, "{:?}", summaries_asked(&simulator));
}

#[test]
fn what_was_imported_can_be_reduced_before_any_run() {
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    crawl.config.window.data_end = None;
    import_folder(&corpus().join("golden"), &crawl.config, &Shutdown::new()).unwrap();
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let commits = read_commits(&crawl.config, &store.identity().unwrap().unwrap()).unwrap();
    let order = ReduceOrder {
        config: &crawl.config,
        commits: commits.as_ref(),
        artifacts: &[],
        shutdown: &Shutdown::new(),
        reducing: &Reducing::default(),
    };
    let summary = reduce(&store, order).unwrap();
    assert!(!summary.manifest.complete);
    let made = crawl.artifacts();
    assert_eq!(made["alert_summaries.csv"], b"id\n");
    let golden = std::fs::read(corpus().join("golden/sig_groups.jsonl")).unwrap();
    assert_eq!(made["sig_groups.jsonl"], golden);
}

#[test]
fn an_end_that_the_files_do_not_prove_is_refused_and_an_import_without_it_is_not_called_complete_beyond_them() {
    let folder = tempfile::tempdir().unwrap();
    let golden = corpus().join("golden");
    let import = |more: &[&str], code: i32| {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.current_dir(folder.path()).arg("import").arg(&golden).args(["--start", "2026-07-01"]).args(more);
        String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap()
    };
    let said = import(&["--data-end", "2026-11-22"], 2);
    for part in ["2026-11-14T06:46:51Z", "2026-11-22T00:00:00Z", "without --data-end", "perfharvest refresh"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let said = import(&[], 0);
    assert!(said.contains("until 2026-11-14T06:46:51Z (the newest push in"), "{said}");
    let said = import(&["--data-end", "2026-09-01", "--store", "earlier"], 0);
    assert!(said.contains("until 2026-09-01T00:00:00Z (as configured)"), "{said}");
    assert!(said.contains("data outside the data window, left out"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dataset_of_a_complete_crawl_proves_the_window_of_the_crawl() {
    let simulator = simulator(Behaviour::default()).await;
    let crawled = Crawl::of(&simulator.url());
    crawled.run().await.unwrap();
    let identity = Store::open_existing(&crawled.config.store).unwrap().identity().unwrap().unwrap();
    let mut imported = Crawl::of(&simulator.url());
    simulator.shutdown().await.unwrap();
    imported.config.window.start = None;
    imported.config.window.end = None;
    imported.config.window.data_end = None;
    let summary = import_folder(&crawled.config.artifacts.out, &imported.config, &Shutdown::new()).unwrap();
    assert_eq!((&summary.identity, summary.end_proof), (&identity, EndProof::Manifest));
    assert!(summary.files.iter().all(|(_, report)| report.as_ref().is_some_and(|report| report.taken > 0)));
}

#[test]
fn a_folder_without_files_and_a_store_with_a_crawl_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |from: &Path, store: &str| {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        command.current_dir(folder.path()).arg("import").arg(from).args(["--store", store]).assert()
    };
    run(folder.path(), "store").code(2);
    assert!(!folder.path().join("store").exists());
    let golden = corpus().join("golden");
    let said = run(&golden, "store").code(0);
    let said = String::from_utf8_lossy(&said.get_output().stderr).into_owned();
    assert!(said.contains("150 lines") && said.contains("empty lists"), "{said}");
    run(&golden, "store").code(2);
}

#[test]
fn originals_of_corrected_records_are_stored_as_a_crawl_stores_them() {
    let files = tempfile::tempdir().unwrap();
    let datum = |id: u64, value: &str| {
        format!(
            "{{\"job_id\": {id}, \"id\": {id}, \"value\": {value}, \"push_timestamp\": \"2026-07-28T14:48:47\", \"push_id\": 7, \
             \"revision\": \"{}\", \"submit_time\": \"2026-07-28T14:50:00\", \"machine_name\": \"m\"}}",
            "a1".repeat(20)
        )
    };
    let row = |signature: u64, data: &[String]| {
        format!("{{\"signature_id\": {signature}, \"jobs\": [{}]}}\n", data.join(", "))
    };
    let rows = [
        row(5, &[datum(1, "1.5"), datum(2, "NaN")]),
        row(6, &[datum(3, "1.5")]),
        row(6, &[datum(4, "Infinity"), "{\"job_id\": 9}".to_owned()]), // joined with the row before
    ];
    put(&files.path().join("perf_jobs_by_signature.jsonl"), rows.concat().as_bytes());
    let jobs = b"{\"id\": 31, \"x\": NaN}\n{\"id\": 32, \"x\": \"\xff\"}\n{\"id\": 33}\n";
    put(&files.path().join("max_revision_jobs.jsonl"), jobs);
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    crawl.config.window.data_end = None;
    let summary = import_folder(files.path(), &crawl.config, &Shutdown::new()).unwrap();
    assert_eq!(summary.files[2].1.as_ref().unwrap().corrected, 2);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let odd =
        store.set_aside().map(|odd| odd.unwrap()).map(|(request, _, odd)| (request.kind(), odd.corrected, odd.text));
    let odd: Vec<_> = odd.collect();
    assert_eq!((store.counts().unwrap().corrected(), store.counts().unwrap().set_aside()), (4, 1), "{odd:?}");
    for (kind, corrected, part) in [
        (Kind::Summaries, true, "NaN"),
        (Kind::Summaries, true, "Infinity"),
        (Kind::Summaries, false, "{\"job_id\":9}"),
        (Kind::JobDetails, true, "NaN"),
        (Kind::JobDetails, true, "\u{fffd}"),
    ] {
        let is_it = |odd: &(Kind, bool, String)| (odd.0, odd.1) == (kind, corrected) && odd.2.contains(part);
        assert_eq!(odd.iter().filter(|odd| is_it(odd)).count(), 1, "{part}: {odd:?}");
    }
    drop(store);
    verify_store(&crawl.config.store, false, &mut |finding| panic!("{finding:?}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_after_an_import_asks_for_what_lies_behind_the_newest_push_of_the_files() {
    let files = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(corpus().join("golden/perf_jobs_by_signature.jsonl")).unwrap();
    let mut cut = String::new();
    for line in text.lines() {
        let (head, data) = line.split_once("\"jobs\": [").unwrap();
        let data = data.strip_suffix("]}").unwrap().split_inclusive('}').map(|datum| datum.trim_start_matches(", "));
        let pushed = |datum: &&str| datum.split("\"push_timestamp\": \"").nth(1).is_some_and(|at| at < "2026-09-01");
        let kept: Vec<&str> = data.filter(pushed).collect();
        cut.push_str(&format!("{head}\"jobs\": [{}]}}\n", kept.join(", ")));
    }
    put(&files.path().join("perf_jobs_by_signature.jsonl"), cut.as_bytes());
    let simulator = simulator(Behaviour::default()).await;
    let once = Crawl::of(&simulator.url());
    once.run().await.unwrap();

    let crawl = Crawl::of(&simulator.url());
    let mut config = crawl.config.clone();
    config.window.data_end = None; // the files prove theirs
    let summary = import_folder(files.path(), &config, &Shutdown::new()).unwrap();
    assert!(summary.identity.data_end.to_string().starts_with("2026-08-"), "{}", summary.identity.data_end);
    let run = crawl.run().await.unwrap();
    assert_eq!(Some(run.crawl.identity.data_end), crawl.config.window.data_end);
    assert!(run.crawl.counts.is_complete());
    let [once, crawl] = [&once, &crawl].map(|crawl| crawl.artifacts().remove("perf_jobs_by_signature.jsonl").unwrap());
    let files = |bytes| BTreeMap::from([("data".to_owned(), bytes)]);
    assert_same_artifacts(&files(once), &files(crawl));
}
