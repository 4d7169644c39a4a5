//! Data of any form: whatever is taken, every artifact, table and report can be made of; whatever is not is named.

use std::path::Path;

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::dataset::tables::{Table, export};
use perfharvest::dataset::{ReduceOrder, read_commits, reduce};
use perfharvest::import::{EndProof, ImportSummary, import_folder};
use perfharvest::model::Timestamp;
use perfharvest::observe::Reducing;
use perfharvest::report::make_report;
use perfharvest::store::Store;

use crate::support::{Crawl, corpus};

const KEYS: [&str; 8] =
    ["job_id", "id", "value", "push_timestamp", "push_id", "revision", "submit_time", "machine_name"];

/// Values of every type, and those that some readers refuse.
fn values() -> Vec<String> {
    let deep = |depth: usize| format!("{}7{}", "[".repeat(depth), "]".repeat(depth));
    let fixed = [
        "null",
        "true",
        "0",
        "7",
        "-7",
        "7.0",
        "7.50",
        "1E5",
        "1e400",
        "-1e400",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551616",
        "NaN",
        "-Infinity",
        "[]",
        "{}",
        "{\"a\": [NaN]}",
        "\"\"",
        "\" \"",
        "\"7\"",
        "\"soon\"",
        "\"\\ud800\"",
        "\"\\ude00\\ud83d\"",
        "\"\\ud83d\\ude00\"",
        "\"\\u0000\"",
        "\"NaN\"",
        "\"2026-07-20T00:00:00Z\"",
        "\"2026-07-20T00:00:00.000000\"",
        "\"2026-07-20T02:00:00+02:00\"",
        "\"9999-12-31T23:59:59.999999\"",
        "\"0001-01-01T00:00:00\"",
        "\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
    ];
    let long = [
        "7".repeat(400),
        "7".repeat(5000),
        deep(100),
        deep(126),
        deep(127),
        deep(5000),
        format!("\"{}\"", "é".repeat(9000)),
    ];
    fixed.into_iter().map(str::to_owned).chain(long).collect()
}

/// A datum with a job, of a commit of the window.
fn regular() -> serde_json::Map<String, serde_json::Value> {
    let rows = std::fs::read_to_string(corpus().join("golden/perf_jobs_by_signature.jsonl")).unwrap();
    let data = rows.lines().flat_map(|line| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["jobs"].as_array().unwrap().clone()
    });
    let mut data = data.filter(|datum| datum["job_id"].is_u64());
    data.next().unwrap().as_object().unwrap().clone()
}

/// Keys and values of a datum as JSON.
type Entries = Vec<(String, String)>;

fn datum(entries: &[(String, String)]) -> String {
    let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    format!("{{{}}}", entries.join(", "))
}

/// For each key a row with a datum of each value, without the key, with it twice; among regular data.
fn odd_rows() -> (String, usize) {
    let regular = regular();
    let (mut rows, mut num_data) = (String::new(), 0);
    for (signature, changed) in KEYS.iter().copied().chain(["\\ud800", "more"]).enumerate() {
        let mut data = Vec::new();
        let mut add = |change: &dyn Fn(&mut Entries)| {
            let mut entries: Vec<_> =
                KEYS.iter().map(|key| (format!("\"{key}\""), regular[*key].to_string())).collect();
            entries[1].1 = (2_150_000_000 + data.len()).to_string();
            change(&mut entries);
            data.push(datum(&entries));
        };
        let quoted = format!("\"{changed}\"");
        add(&|_| {});
        for value in values() {
            add(&|entries| match entries.iter_mut().find(|(key, _)| *key == quoted) {
                Some(entry) => entry.1.clone_from(&value),
                None => entries.push((quoted.clone(), value.clone())),
            });
        }
        add(&|entries| entries.retain(|(key, _)| *key != quoted));
        add(&|entries| entries.push((quoted.clone(), "null".to_owned())));
        add(&|_| {});
        num_data += data.len();
        rows.push_str(&format!("{{\"signature_id\": {}, \"jobs\": [{}]}}\n", 5_400_001 + signature, data.join(", ")));
    }
    (rows, num_data)
}

fn put(folder: &Path, text: &str) {
    use std::io::Write as _;
    let path = folder.join("perf_jobs_by_signature.jsonl");
    std::fs::OpenOptions::new().create_new(true).write(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn import(text: &str) -> (Crawl, ImportSummary) {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), text);
    let mut crawl = Crawl::of("http://127.0.0.1:9");
    crawl.config.window.data_end = None;
    let summary = import_folder(folder.path(), &crawl.config, &Shutdown::new()).unwrap();
    (crawl, summary)
}

fn make_all(crawl: &Crawl) {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let commits = read_commits(&crawl.config, &store.identity().unwrap().unwrap()).unwrap();
    let (shutdown, reducing) = (Shutdown::new(), Reducing::default());
    let order = ReduceOrder {
        config: &crawl.config,
        commits: commits.as_ref(),
        artifacts: &[],
        shutdown: &shutdown,
        reducing: &reducing,
    };
    reduce(&store, order).unwrap();
}

#[test]
fn what_is_taken_of_odd_data_every_artifact_table_and_report_accepts() {
    let (rows, num_data) = odd_rows();
    let (mut crawl, summary) = import(&rows);
    let [(_, Some(report)), ..] = &summary.files else { panic!("{summary:?}") };
    assert_eq!((report.torn.count, report.taken), (0, 10), "{report:?}");
    assert!(report.set_aside.count > 50 && report.set_aside.count < 250, "{report:?}");
    for semantics in [Semantics::Corrected, Semantics::Reference] {
        crawl.config.artifacts.semantics = semantics;
        make_all(&crawl);
        let made = crawl.artifacts();
        let lines = String::from_utf8(made["perf_jobs_by_signature.jsonl"].clone()).unwrap();
        let mut num_written = 0;
        for line in lines.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            num_written += row["jobs"].as_array().unwrap().len();
        }
        assert!(num_written > num_data / 2 && num_written < num_data, "{num_written} of {num_data}");
    }
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let tables = tempfile::tempdir().unwrap();
    let exported = export(&store, &crawl.config, tables.path(), &Table::ALL.into(), &Shutdown::new()).unwrap();
    assert!(exported.unreadable[&Table::Data] > 5 && exported.data_with_nulls > 50, "{exported:?}");
    make_report(&store, &crawl.config, crawl.folder.path(), &Shutdown::new()).unwrap();
}

#[test]
fn a_job_id_written_as_a_float_or_as_text_is_that_job() {
    let regular = regular();
    let with = |id: &str| {
        let entry = |key: &&str| {
            (format!("\"{key}\""), if *key == "job_id" { id.to_owned() } else { regular[*key].to_string() })
        };
        datum(&KEYS.iter().map(entry).collect::<Vec<_>>())
    };
    let row = |signature: u64, id: &str| format!("{{\"signature_id\": {signature}, \"jobs\": [{}]}}\n", with(id));
    let (crawl, _) =
        import(&[row(5_400_001, "560000271.0"), row(5_400_002, "\"560000271\""), row(5_400_003, "true")].concat());
    make_all(&crawl);
    let made = crawl.artifacts();
    let index = "{\"job_id\": 560000271, \"signature_ids\": [5400001, 5400002]}\n";
    assert_eq!(String::from_utf8_lossy(&made["sigs_by_job_id.jsonl"]), index);
    let manifest: serde_json::Value = serde_json::from_slice(&made["manifest.json"]).unwrap();
    let counts = manifest["artifacts"]["sigs_by_job_id.jsonl"].to_string();
    assert!(counts.contains("\"data_with_an_unreadable_job_id\":1"), "{counts}");
}

#[test]
fn the_data_of_an_old_file_that_was_copied_end_with_its_newest_push() {
    let rows = std::fs::read_to_string(corpus().join("golden/perf_jobs_by_signature.jsonl")).unwrap();
    let (mut old, mut newest) = (String::new(), String::new());
    for line in rows.lines() {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["jobs"].as_array_mut().unwrap().retain(|datum| datum["push_timestamp"].as_str() < Some("2026-09-01"));
        let pushes = row["jobs"].as_array().unwrap().iter().map(|datum| datum["push_timestamp"].as_str().unwrap());
        newest = pushes.fold(newest, |newest, push| newest.max(push.to_owned()));
        old.push_str(&format!("{row}\n"));
    }
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &old);
    let mut imported = Crawl::of("http://127.0.0.1:9");
    imported.config.window.data_end = None;
    let summary = import_folder(folder.path(), &imported.config, &Shutdown::new()).unwrap();
    assert_eq!(summary.end_proof, EndProof::NewestPush);
    let newest: Timestamp = newest.parse().unwrap();
    assert_eq!(summary.identity.data_end, newest.plus_secs(1));
}
