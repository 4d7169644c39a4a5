//! The Parquet tables have the same content as the artifacts, with types.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::Field;
use perfharvest::actor::Shutdown;
use perfharvest::config::{Config, Semantics};
use perfharvest::dataset::tables::{Description, EXPORT_NAME, ExportError, ExportSummary, Table, export};
use perfharvest::model::JobId;
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::Behaviour;

use crate::support::{Crawl, simulator};

pub(crate) type Row = BTreeMap<String, Field>;

fn open(folder: &Path, table: Table) -> SerializedFileReader<std::fs::File> {
    let path = folder.join(table.schema().file_name());
    SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap()
}

pub(crate) fn rows(folder: &Path, table: Table) -> Vec<Row> {
    let row =
        |row: parquet::record::Row| row.get_column_iter().map(|(name, field)| (name.clone(), field.clone())).collect();
    open(folder, table).get_row_iter(None).unwrap().map(|read| row(read.unwrap())).collect()
}

pub(crate) fn jsonl(folder: &Path, name: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join(name)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn all() -> BTreeSet<Table> {
    Table::ALL.into()
}

fn export_all(config: &Config, folder: &Path) -> Result<ExportSummary, ExportError> {
    let store = Store::open_existing(&config.store).unwrap();
    export(&store, config, folder, &all(), &Shutdown::new())
}

/// Exact, as Rust reads the text of a number; what `serde_json` reads may be the float beside it.
fn double(value: &Value) -> Field {
    if value.is_null() { Field::Null } else { Field::Double(value.to_string().parse().unwrap()) }
}

fn long(value: &Value) -> Field {
    value.as_i64().map_or(Field::Null, Field::Long)
}

pub(crate) fn text(value: &Value) -> Field {
    value.as_str().map_or(Field::Null, |text| Field::Str(text.to_owned()))
}

fn time(value: &Value) -> Field {
    let at = |text: &str| text.parse::<perfharvest::model::Timestamp>().unwrap().as_micros();
    value.as_str().map_or(Field::Null, |text| Field::TimestampMicros(at(text)))
}

fn epoch(value: &Value) -> Field {
    value.as_i64().filter(|secs| *secs != 0).map_or(Field::Null, |secs| Field::TimestampMicros(secs * 1_000_000))
}

fn texts(field: &Field) -> Vec<String> {
    let Field::ListInternal(list) = field else { panic!("{field:?}") };
    list.elements().iter().map(|text| if let Field::Str(text) = text { text.clone() } else { panic!() }).collect()
}

pub(crate) fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A whole crawl of the corpus with its artifacts and its tables, each in a folder of the crawl's.
pub(crate) async fn exported() -> Crawl {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.run().await.unwrap();
    let summary = export_all(&crawl.config, &crawl.folder.path().join("tables")).unwrap();
    assert!(summary.description.complete && summary.unreadable.is_empty() && summary.removed.is_empty());
    crawl
}

/// The sort key of a column, with nulls last.
fn sort_key(field: &Field) -> (bool, i64, String) {
    match field {
        Field::Null => (true, 0, String::new()),
        Field::Long(value) | Field::TimestampMicros(value) => (false, *value, String::new()),
        Field::Bool(value) => (false, i64::from(*value), String::new()),
        Field::Str(text) => (false, 0, text.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_datum_and_every_signature_is_that_of_the_artifacts() {
    let crawl = exported().await;
    let (tables, out) = (crawl.folder.path().join("tables"), &crawl.config.artifacts.out);
    let mut expected = Vec::new();
    for record in jsonl(out, "perf_jobs_by_signature.jsonl") {
        for datum in record["jobs"].as_array().unwrap() {
            expected.push(Row::from([
                ("signature_id".to_owned(), long(&record["signature_id"])),
                ("id".to_owned(), long(&datum["id"])),
                ("job_id".to_owned(), long(&datum["job_id"])),
                ("push_id".to_owned(), long(&datum["push_id"])),
                ("push_timestamp".to_owned(), time(&datum["push_timestamp"])),
                ("revision".to_owned(), text(&datum["revision"])),
                ("submit_time".to_owned(), time(&datum["submit_time"])),
                ("value".to_owned(), Field::Null),
                ("machine_name".to_owned(), text(&datum["machine_name"])),
                ("first_seen".to_owned(), Field::Long(1)),
                ("last_seen".to_owned(), Field::Long(1)),
                ("repository".to_owned(), Field::Str("autoland".to_owned())),
            ]));
        }
    }
    // The values by their text in the artifact, so that nothing else reads them.
    let artifact = std::fs::read_to_string(out.join("perf_jobs_by_signature.jsonl")).unwrap();
    let values = artifact.split("\"value\": ").skip(1).map(|rest| rest.split([',', '}']).next().unwrap());
    let values: Vec<f64> = values.map(|text| text.parse().unwrap()).collect();
    assert_eq!(values.len(), expected.len());
    for (row, value) in expected.iter_mut().zip(values) {
        row.insert("value".to_owned(), Field::Double(value));
    }
    let found = rows(&tables, Table::Data);
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected);
    }
    assert!(found.iter().any(|row| row["job_id"] == Field::Null) && found.len() > 7000);

    let signatures = rows(&tables, Table::Signatures);
    let records = jsonl(out, "all_signatures.jsonl");
    assert_eq!(signatures.len(), records.len());
    for (row, record) in signatures.iter().zip(&records) {
        for key in ["id", "framework_id"] {
            assert_eq!(row[key], long(&record[key]));
        }
        for key in [
            "signature_hash",
            "machine_platform",
            "suite",
            "test",
            "application",
            "measurement_unit",
            "parent_signature",
        ] {
            assert_eq!(row[key], text(&record[key]), "{key}");
        }
        assert_eq!(row["lower_is_better"], Field::Bool(record["lower_is_better"] != false));
        assert_eq!(row["has_subtests"], Field::Bool(record["has_subtests"] == true));
        assert_eq!(row["should_alert"], record["should_alert"].as_bool().map_or(Field::Null, Field::Bool));
        for key in ["tags", "extra_options"] {
            assert_eq!(texts(&row[key]), strings(&record[key]));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revisions_and_groups_are_those_of_the_artifacts() {
    let crawl = exported().await;
    let (tables, out) = (crawl.folder.path().join("tables"), &crawl.config.artifacts.out);
    let mut groups: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in rows(&tables, Table::SigGroups) {
        let (Field::Long(group), Field::Long(signature)) = (&row["sig_group_id"], &row["signature_id"]) else {
            panic!()
        };
        groups.entry(*group).or_default().push(*signature);
    }
    let members = |value: &Value| value.as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect::<Vec<_>>();
    let lines = jsonl(out, "sig_groups.jsonl");
    let expected =
        lines.iter().map(|line| (line["Sig_group_id"].as_i64().unwrap(), members(&line["signatures"]))).collect();
    assert_eq!(groups, expected);

    // Each revision of the window with its date, and with the push that its data name.
    let revisions = rows(&tables, Table::Revisions);
    let mut pushes: BTreeMap<String, BTreeSet<(i64, i64)>> = BTreeMap::new();
    for row in rows(&tables, Table::Data) {
        if let (Field::Str(revision), Field::TimestampMicros(at), Field::Long(push)) =
            (&row["revision"], &row["push_timestamp"], &row["push_id"])
        {
            pushes.entry(revision.clone()).or_default().insert((*at, *push));
        }
    }
    let mut dates = BTreeMap::new();
    for row in &revisions {
        let Field::Str(revision) = &row["revision"] else { panic!() };
        let push = pushes.remove(revision).map(|pushes| *pushes.first().unwrap());
        assert_eq!(row["push_id"], push.map_or(Field::Null, |(_, id)| Field::Long(id)), "{revision}");
        assert_eq!(row["push_timestamp"], push.map_or(Field::Null, |(at, _)| Field::TimestampMicros(at)));
        assert!(push.is_some() || row["commit_date"] != Field::Null, "{revision} is known by something");
        dates.insert(revision.clone(), row["commit_date"].clone());
    }
    assert!(pushes.is_empty() && dates.len() == revisions.len());
    dates.retain(|_, date| *date != Field::Null);
    let details = jsonl(out, "perf_jobs_per_revision_details.jsonl");
    let expected: BTreeMap<String, Field> = details
        .iter()
        .map(|row| (row["revision"].as_str().unwrap().to_owned(), time(&row["submit_time_iso"])))
        .collect();
    assert_eq!(dates, expected);
    assert!(revisions.iter().any(|row| row["push_id"] == Field::Null));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jobs_and_alerts_are_the_records_of_the_store() {
    let crawl = exported().await;
    let (tables, out) = (crawl.folder.path().join("tables"), &crawl.config.artifacts.out);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let jobs = rows(&tables, Table::Jobs);
    let ids: Vec<&Field> = jobs.iter().map(|row| &row["id"]).collect();
    let busiest = jsonl(out, "max_revision_jobs.jsonl");
    assert!(!busiest.is_empty() && busiest.iter().all(|record| ids.contains(&&long(&record["id"]))));
    let mut num_unknown = 0;
    for row in &jobs {
        let Field::Long(id) = row["id"] else { panic!() };
        let record: Value = store.job(JobId(id.cast_unsigned())).unwrap().unwrap().view().unwrap();
        for key in ["submit_timestamp", "start_timestamp", "end_timestamp"] {
            assert_eq!(row[key], epoch(&record[key]));
            num_unknown += usize::from(row[key] == Field::Null);
        }
        for key in ["job_guid", "machine_name", "result", "who", "task_id", "platform_option", "job_group_description"]
        {
            assert_eq!(row[key], text(&record[key]), "{key}");
        }
        assert_eq!((&row["last_modified"], &row["tier"]), (&time(&record["last_modified"]), &long(&record["tier"])));
    }
    assert!(num_unknown > 0, "the corpus has times that are not known");

    let mut listing = store.alert_listing().unwrap();
    listing.sort_unstable();
    let (summaries, mut alerts) = (rows(&tables, Table::AlertSummaries), rows(&tables, Table::Alerts).into_iter());
    assert_eq!(summaries.len(), listing.len());
    for (row, id) in summaries.iter().zip(listing) {
        let record: Value = store.alert_summary(id).unwrap().unwrap().view().unwrap();
        for key in ["id", "push_id", "prev_push_id", "framework", "status", "bug_number", "bug_status", "issue_tracker"]
        {
            assert_eq!(row[key], long(&record[key]), "{key}");
        }
        for key in ["created", "first_triaged", "bug_updated", "bug_due_date", "triage_due_date"] {
            assert_eq!(row[key], time(&record[key]), "{key}");
        }
        for key in ["repository", "revision", "original_revision", "notes", "assignee_username", "assignee_email"] {
            assert_eq!(row[key], text(&record[key]), "{key}");
        }
        assert_eq!(row["push_timestamp"], epoch(&record["push_timestamp"]));
        assert_eq!(texts(&row["performance_tags"]), strings(&record["performance_tags"]));
        for (related, key) in [(false, "alerts"), (true, "related_alerts")] {
            let mut expected = record[key].as_array().unwrap().clone();
            expected.sort_by_key(|alert| alert["id"].as_i64());
            for alert in expected {
                let row = alerts.next().unwrap();
                let signature = &alert["series_signature"];
                assert_eq!((&row["alert_summary_id"], &row["related"]), (&long(&record["id"]), &Field::Bool(related)));
                for key in ["id", "status", "summary_id", "related_summary_id"] {
                    assert_eq!(row[key], long(&alert[key]), "{key}");
                }
                for key in ["prev_value", "new_value", "amount_abs", "amount_pct", "t_value"] {
                    assert_eq!(row[key], double(&alert[key]), "{key}");
                }
                assert_eq!(row["is_regression"], Field::Bool(alert["is_regression"] == true));
                assert_eq!(
                    (&row["signature_id"], &row["suite"]),
                    (&long(&signature["id"]), &text(&signature["suite"]))
                );
                assert_eq!(
                    row["test"],
                    Some(text(&signature["test"]))
                        .filter(|test| *test != Field::Str(String::new()))
                        .unwrap_or(Field::Null)
                );
                assert_eq!(row["prev_task_id"], text(&alert["prev_taskcluster_metadata"]["task_id"]));
                assert_eq!(texts(&row["tags"]), strings(&signature["tags"]));
            }
        }
    }
    assert!(alerts.next().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_sorted_bounded_have_statistics_and_are_the_same_bytes_again() {
    let crawl = exported().await;
    let tables = crawl.folder.path().join("tables");
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Replicates) {
        let rows = rows(&tables, table);
        assert!(!rows.is_empty(), "{table}");
        let key = |row: &Row| table.schema().sorted_by.iter().map(|name| sort_key(&row[*name])).collect::<Vec<_>>();
        assert!(rows.is_sorted_by_key(key), "{table}");
        let metadata = open(&tables, table).metadata().clone();
        let notes = metadata.file_metadata().key_value_metadata().unwrap();
        assert!(
            notes.iter().any(|note| note.key == "perfharvest.schema_version" && note.value.as_deref() == Some("1"))
        );
        for group in metadata.row_groups() {
            assert!(group.num_rows() <= 1 << 17);
            assert!(group.columns().iter().all(|column| column.statistics().is_some()), "{table}");
            if table == Table::Data {
                let Some(Statistics::Int64(ids)) = group.column(0).statistics() else { panic!() };
                let edges = [&rows[0], rows.last().unwrap()].map(|row| row["signature_id"].clone());
                assert_eq!([ids.min_opt(), ids.max_opt()].map(|id| Field::Long(*id.unwrap())), edges);
            }
        }
    }
    let again = crawl.folder.path().join("again");
    export_all(&crawl.config, &again).unwrap();
    let names = |folder: &Path| -> BTreeMap<_, _> {
        let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
        entries.map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())).collect()
    };
    let (one, two) = (names(&tables), names(&again));
    assert_eq!(one.keys().collect::<Vec<_>>(), two.keys().collect::<Vec<_>>());
    assert_eq!(one.len(), Table::ALL.len(), "and export.json instead of replicates, which nobody asked for");
    for (name, bytes) in &one {
        assert!(*bytes == two[name], "{name} differs");
    }
    let description: Description = serde_json::from_slice(&one[EXPORT_NAME]).unwrap();
    for (name, entry) in &description.tables {
        assert_eq!(entry.bytes, one[&format!("{name}.parquet")].len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_crawl_is_exported_as_far_as_it_is_settled_and_says_so() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let summary = crawl.run_for(&simulator, 60).await;
    assert!(summary.crawl.interrupted && summary.crawl.counts.pending() > 0);
    let tables = crawl.folder.path().join("tables");
    let store = crawl.config.store.path.clone();
    let said = assert_cmd::Command::cargo_bin("perfharvest")
        .unwrap()
        .current_dir(crawl.folder.path())
        .args(["export", "--format", "parquet", "--output", "tables", "--store", store.to_str().unwrap()])
        .assert()
        .code(3);
    let said = String::from_utf8(said.get_output().stderr.clone()).unwrap();
    assert!(said.contains("requests pending, 0 failed") && said.contains("run `perfharvest run --store"), "{said}");
    assert!(said.contains("no commits are given (--commits)"), "{said}");
    let before = std::fs::read_to_string(tables.join(EXPORT_NAME)).unwrap();
    assert!(before.contains("\"complete\": false"));
    let incomplete = rows(&tables, Table::Data);

    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl.run().await.unwrap();
    let summary = export_all(&crawl.config, &tables).unwrap();
    assert!(summary.description.complete);
    let complete = rows(&tables, Table::Data);
    assert!(incomplete.len() < complete.len());
    // A signature has all of its data, or none.
    let num_by_signature = |rows: &[Row]| {
        let mut numbers = BTreeMap::<_, usize>::new();
        for row in rows {
            *numbers.entry(row["signature_id"].to_string()).or_default() += 1;
        }
        numbers
    };
    let complete = num_by_signature(&complete);
    for (id, num) in num_by_signature(&incomplete) {
        assert_eq!(complete[&id], num);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_of_the_tables_is_added_to_its_own_export_and_replaces_another() {
    let crawl = exported().await;
    let (config, tables) = (&crawl.config, crawl.folder.path().join("tables"));
    let whole = std::fs::read(tables.join(EXPORT_NAME)).unwrap();
    let store = Store::open_existing(&config.store).unwrap();
    let export_some = |config: &Config, some: &[Table]| {
        export(&store, config, &tables, &some.iter().copied().collect(), &Shutdown::new())
    };
    let summary = export_some(config, &[Table::Jobs]).unwrap();
    assert_eq!((summary.removed.len(), std::fs::read(tables.join(EXPORT_NAME)).unwrap() == whole), (0, true));

    let mut other = config.clone();
    other.inputs.commits = None;
    other.artifacts.redact_emails = true;
    let redacted = |rows: &[Row]| {
        rows.iter().flat_map(Row::values).any(|field| matches!(field, Field::Str(text) if text == "redacted"))
    };
    assert!(!redacted(&rows(&tables, Table::Jobs)));
    let summary = export_some(&other, &[Table::Revisions, Table::Jobs]).unwrap();
    assert_eq!(summary.removed.len(), 5);
    assert_eq!(summary.description.tables.keys().collect::<Vec<_>>(), ["jobs", "revisions"]);
    assert!(rows(&tables, Table::Revisions).iter().all(|row| row["commit_date"] == Field::Null));
    assert!(!tables.join("data.parquet").exists());
    assert!(redacted(&rows(&tables, Table::Jobs)));

    // Interrupted, it leaves everything as it was and nothing half-written.
    let drained = Shutdown::new();
    drained.drain();
    let interrupted = export(&store, config, &tables, &all(), &drained);
    assert!(matches!(interrupted, Err(ExportError::Interrupted)));
    let mut names: Vec<_> = std::fs::read_dir(&tables).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["export.json", "jobs.parquet", "revisions.parquet"]);
}

#[test]
fn refusals_have_their_exit_codes_and_write_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        let assert = command.current_dir(folder.path()).args(["export", "--format"]).args(arguments).assert();
        let said = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        (assert.get_output().status.code(), said)
    };
    let (code, said) = run(&["parquet", "--store", "none"]);
    assert_eq!(code, Some(2), "{said}");
    let crawl = Crawl::of("http://127.0.0.1:9");
    let store = perfharvest::config::StoreConfig { path: folder.path().join("store"), ..crawl.config.store.clone() };
    drop(Store::open(&store).unwrap());
    let (code, said) = run(&["parquet", "--store", "store", "--output", "tables"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("the store is empty") && said.contains("perfharvest crawl"), "{said}");
    assert!(!folder.path().join("tables").exists());
    let (code, said) = run(&["parquet", "--store", "store", "--output", "store/ledger.json"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("is not a folder") && said.contains("--output"), "{said}");
    let (code, said) = run(&["archive", "--store", "store", "--tables", "jobs"]);
    assert_eq!(code, Some(2), "{said}");
    let (code, said) = run(&["parquet", "--store", "store", "--tables", "job"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("sig_groups"), "{said}");
}
