//! The headers of the data: in the tables, and in the detailed list of signatures.

use std::collections::{BTreeMap, BTreeSet};

use parquet::record::Field;
use perfharvest::dataset::tables::Table;
use serde_json::Value;

use crate::parquet::{exported, jsonl, rows, strings, text};
use crate::support::recordings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_have_the_headers_of_their_data() {
    let crawl = exported().await;
    let (tables, out) = (crawl.folder.path().join("tables"), &crawl.config.artifacts.out);
    let mut headers = BTreeMap::new();
    for line in std::fs::read_to_string(recordings().join("summary.jsonl")).unwrap().lines() {
        let reply: Value = serde_json::from_str(line).unwrap();
        let header = reply["body"][0].clone();
        headers.insert(header["signature_id"].as_i64(), header);
    }
    let asked: BTreeSet<i64> = rows(&tables, Table::Data)
        .iter()
        .map(|row| if let Field::Long(id) = row["signature_id"] { id } else { panic!() })
        .collect();
    let records = jsonl(out, "all_signatures_detailed.jsonl");
    let signatures = rows(&tables, Table::Signatures);
    assert_eq!((signatures.len(), jsonl(out, "all_signatures.jsonl").len()), (records.len(), records.len()));
    let mut options = BTreeSet::new();
    for (row, record) in signatures.iter().zip(&records) {
        let id = record["id"].as_i64();
        let header = if asked.contains(&id.unwrap()) { headers[&id].clone() } else { Value::Null };
        let threshold = header["alert_threshold"].as_f64();
        assert_eq!(row["alert_threshold"], threshold.map_or(Field::Null, Field::Double));
        assert_eq!(record["alert_threshold"], header["alert_threshold"]);
        for (key, of_header) in
            [("parent_signature_id", "parent_signature"), ("alert_change_type", "alert_change_type")]
        {
            assert_eq!(row[key], header[of_header].as_i64().map_or(Field::Null, Field::Long), "{key}");
            assert_eq!(record[key], header[of_header], "{key}");
        }
        assert_eq!((&row["in_scope"], &record["in_scope"]), (&Field::Bool(true), &Value::from(true)));
        assert_eq!(row["option_name"], text(&record["option_name"]));
        options.insert(record["option_name"].as_str().map(str::to_owned));
        if !header.is_null() {
            let tags = header["tags"].as_str().unwrap().split_whitespace();
            assert_eq!(strings(&record["tags"]), tags.collect::<Vec<_>>());
            assert_eq!(record["has_subtests"], header["has_subtests"]);
            assert!(record["option_name"].is_string(), "{record}");
        }
    }
    assert!(options.contains(&Some("opt".to_owned())) && options.contains(&None) && options.len() == 3, "{options:?}");
}
