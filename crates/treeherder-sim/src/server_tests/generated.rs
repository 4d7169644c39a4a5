//! The generated data, end to end: the shape and the variety of records, windows, dumps.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use serde_json::value::RawValue;

use crate::json_text::OrderedObject;
use crate::{BackendConfig, Behaviour, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle, dump, moment};

use super::{SUMMARY, get, json, raw, start};

async fn start_generated(config: &GeneratorConfig) -> SimulatorHandle {
    let backend = BackendConfig::Generated(config.clone());
    Simulator::start(SimulatorConfig { backend, ..SimulatorConfig::default() }).await.unwrap()
}

#[tokio::test]
async fn generated_replies_have_the_shape_of_recorded_ones() {
    fn keys(text: &str) -> Vec<String> {
        serde_json::from_str::<OrderedObject<'_>>(text).unwrap().0.into_iter().map(|(key, _)| key).collect()
    }
    let generated = start_generated(&GeneratorConfig { signatures: 100, ..GeneratorConfig::default() }).await;
    let recorded = start(Behaviour::default()).await;
    let first = async |simulator: &SimulatorHandle, path: &str, pointer: &[&str]| {
        let mut text = get(simulator, path).await.unwrap().text().await.unwrap();
        for step in pointer {
            text = if let Ok(index) = step.parse::<usize>() {
                let list: Vec<&RawValue> = serde_json::from_str(&text).unwrap();
                list[index].get().to_owned()
            } else {
                let object: OrderedObject<'_> = serde_json::from_str(&text).unwrap();
                object.text(step).unwrap().to_owned()
            };
        }
        keys(&text)
    };
    let summary = format!("{SUMMARY}5400001");
    for (path, pointer) in [
        (summary.as_str(), &["0"][..]),
        (summary.as_str(), &["0", "data", "0"]),
        ("/api/performance/alertsummary/", &["results", "0"]),
        ("/api/performance/alertsummary/", &["results", "0", "alerts", "0"]),
        ("/api/performance/alertsummary/", &["results", "0", "alerts", "0", "series_signature"]),
        ("/api/project/autoland/jobs/", &["results", "0"]),
        ("/api/project/autoland/push/", &["results", "0"]),
        ("/api/performance/framework/", &["0"]),
    ] {
        assert_eq!(first(&generated, path, pointer).await, first(&recorded, path, pointer).await, "{path} {pointer:?}");
    }
}

#[tokio::test]
async fn generated_data_hold_what_real_data_hold() {
    let config =
        GeneratorConfig { signatures: 400, data_per_signature: 120, pushes: 400, ..GeneratorConfig::default() };
    let simulator = start_generated(&config).await;
    let signatures = json(&simulator, "/api/project/autoland/performance/signatures/").await;
    assert_eq!(signatures.as_object().unwrap().len(), 400);
    let recent = json(&simulator, "/api/project/autoland/performance/signatures/?interval=1000000").await;
    assert!((300..400).contains(&recent.as_object().unwrap().len()), "some signatures have no recent data");

    let (mut nulls, mut ties, mut late, mut fractions, mut jobs, mut rows) = (0, 0, 0, 0, HashSet::new(), 0);
    let mut hashes = HashMap::new();
    for record in signatures.as_object().unwrap().values() {
        hashes.insert(record["signature_hash"].as_str().unwrap().to_owned(), record["id"].as_u64().unwrap());
    }
    for (id, record) in signatures.as_object().unwrap() {
        if let Some(parent) = record["parent_signature"].as_str() {
            assert!(hashes.contains_key(parent));
        }
        let body = json(&simulator, &format!("{SUMMARY}{id}")).await;
        let key = |datum: &Value| {
            let stamp = datum["push_timestamp"].as_str().unwrap().to_owned();
            (stamp, datum["push_id"].as_u64().unwrap(), datum["job_id"].as_u64().unwrap_or(u64::MAX))
        };
        let data = body[0]["data"].as_array().unwrap();
        rows += data.len();
        assert!(data.windows(2).all(|pair| key(&pair[0]) <= key(&pair[1])), "in the API's order");
        ties += data.windows(2).filter(|pair| key(&pair[0]) == key(&pair[1])).count();
        let ids: HashSet<u64> = data.iter().map(|datum| datum["id"].as_u64().unwrap()).collect();
        assert_eq!(ids.len(), data.len());
        for datum in data {
            let Some(submitted) = datum["submit_time"].as_str() else {
                nulls += 1;
                assert!(datum["job_id"].is_null() && datum["machine_name"].is_null());
                continue;
            };
            jobs.insert(datum["job_id"].as_u64().unwrap());
            fractions += usize::from(submitted.contains('.'));
            let moment = |text: &str| moment::parse(text).unwrap();
            let pushed = moment(datum["push_timestamp"].as_str().unwrap());
            late += usize::from(moment(submitted) - pushed > 600_000_000);
        }
    }
    assert!(nulls > 1000 && ties > 10 && late > 1000 && fractions > 20, "{nulls} {ties} {late} {fractions}");
    assert!((30_000..70_000).contains(&rows), "{rows}");

    let asked: Vec<u64> = jobs.iter().copied().take(300).collect();
    let list: Vec<String> = asked.iter().map(u64::to_string).collect();
    let reply = json(&simulator, &format!("/api/project/autoland/jobs/?id__in={}&count=2000", list.join(","))).await;
    let found: HashSet<u64> =
        reply["results"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
    assert!(found.len() > 290 && found.iter().all(|id| asked.contains(id)));
    let push = reply["results"][0]["push_id"].as_u64().unwrap();
    let of_push = json(&simulator, &format!("/api/project/autoland/jobs/?push_id={push}&count=2000")).await;
    assert!(of_push["results"].as_array().unwrap().iter().any(|job| job["id"] == reply["results"][0]["id"]));
    assert!(of_push["results"].as_array().unwrap().iter().all(|job| job["push_id"] == push));
}

#[tokio::test]
async fn a_window_of_generated_data_is_the_part_of_all_data_that_lies_in_it() {
    let config = GeneratorConfig { signatures: 80, data_per_signature: 300, pushes: 100, ..GeneratorConfig::default() };
    let simulator = start_generated(&config).await;
    let all = json(&simulator, &format!("{SUMMARY}5400001")).await;
    let rows = all[0]["data"].as_array().unwrap();
    for (from, to) in [(0, rows.len() - 1), (10, 50), (100, 101), (rows.len() / 2, rows.len() - 1)] {
        let stamp = |row: usize| rows[row]["push_timestamp"].as_str().unwrap();
        let path = format!(
            "/api/performance/summary/?repository=autoland&signature=5400001&all_data=True&startday={}&endday={}",
            stamp(from),
            stamp(to)
        );
        let part = json(&simulator, &path).await;
        let ids = |rows: &[Value]| -> HashSet<u64> { rows.iter().map(|row| row["id"].as_u64().unwrap()).collect() };
        let expected: Vec<Value> = rows
            .iter()
            .filter(|row| {
                let at = row["push_timestamp"].as_str().unwrap();
                at > stamp(from) && at < stamp(to)
            })
            .cloned()
            .collect();
        assert_eq!(ids(part[0]["data"].as_array().unwrap()), ids(&expected), "{path}");
    }
    let revision = rows[40]["revision"].as_str().unwrap();
    let of_push = json(
        &simulator,
        &format!("/api/performance/summary/?repository=autoland&signature=5400001&all_data=True&revision={revision}"),
    )
    .await;
    let expected = rows.iter().filter(|row| row["revision"] == revision).count();
    assert_eq!(of_push[0]["data"].as_array().unwrap().len(), expected);
}

#[tokio::test]
async fn a_dump_holds_the_records_that_are_served() {
    let config = GeneratorConfig { signatures: 70, data_per_signature: 25, ..GeneratorConfig::default() };
    let folder = tempfile::tempdir().unwrap();
    let report = dump(&config, folder.path()).unwrap();
    let simulator = start_generated(&config).await;
    let text = std::fs::read_to_string(folder.path().join("perf_jobs_by_signature.jsonl")).unwrap();
    let mut num_data = 0;
    for line in text.lines() {
        let dumped: Value = serde_json::from_str(line).unwrap();
        let served = json(&simulator, &format!("{SUMMARY}{}", dumped["signature_id"])).await;
        let by_id = |rows: &Value| -> HashMap<u64, Value> {
            rows.as_array().unwrap().iter().map(|row| (row["id"].as_u64().unwrap(), row.clone())).collect()
        };
        assert_eq!(by_id(&dumped["jobs"]), by_id(&served[0]["data"]));
        num_data += by_id(&dumped["jobs"]).len() as u64;
    }
    assert_eq!(num_data, report.num_data);
    let pushes = json(&simulator, "/api/project/autoland/push/?count=1000").await;
    let commits = std::fs::read_to_string(folder.path().join("all_commits.jsonl")).unwrap();
    assert_eq!(commits.lines().count() as u64, report.num_commits);
    assert!(commits.contains(pushes["results"][3]["revision"].as_str().unwrap()));
}

#[tokio::test]
async fn generated_records_keep_their_bytes() {
    let config = GeneratorConfig { signatures: 200, data_per_signature: 50, ..GeneratorConfig::default() };
    let simulator = start_generated(&config).await;
    let mut digests = Vec::new();
    for path in [
        "/api/performance/framework/",
        "/api/project/autoland/performance/signatures/",
        &format!("{SUMMARY}5400001"),
        "/api/performance/alertsummary/?limit=100",
        "/api/project/autoland/jobs/?count=500",
        "/api/project/autoland/push/?count=100",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let reply = String::from_utf8(raw(&simulator, &request).await.unwrap()).unwrap();
        let (_, body) = reply.split_once("\r\n\r\n").unwrap();
        digests.push(xxhash_rust::xxh3::xxh3_64(body.as_bytes()));
    }
    let expected: [u64; 6] = [
        0xefc7_0f83_a0c5_c66a,
        0x8049_f084_d596_6577,
        0x5b73_f789_06b9_f309,
        0x0304_6138_99de_8795,
        0x8005_5198_a874_fc12,
        0xc2ff_2b9d_b5c9_1afa,
    ];
    assert_eq!(digests, expected);
}

#[tokio::test]
async fn replicates_take_the_place_of_values() {
    let simulator = start_generated(&GeneratorConfig { signatures: 30, ..GeneratorConfig::default() }).await;
    let (mut several, mut equal, mut mixed, mut single) = (0, 0, 0, 0);
    let signatures = json(&simulator, "/api/project/autoland/performance/signatures/").await;
    for id in signatures.as_object().unwrap().keys() {
        let data = json(&simulator, &format!("{SUMMARY}{id}")).await[0]["data"].as_array().unwrap().clone();
        let reply = json(&simulator, &format!("{SUMMARY}{id}&replicates=True")).await;
        let rows = reply[0]["data"].as_array().unwrap();
        let mut by_id: HashMap<u64, Vec<&Value>> = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            let of_datum = by_id.entry(row["id"].as_u64().unwrap()).or_default();
            mixed += u64::from(!of_datum.is_empty() && rows[at - 1]["id"] != row["id"]);
            of_datum.push(row);
        }
        assert_eq!(by_id.len(), data.len());
        for datum in &data {
            let rows = &by_id[&datum["id"].as_u64().unwrap()];
            let without_value = |row: &Value| {
                let mut row = row.clone();
                row.as_object_mut().unwrap().remove("value");
                row
            };
            assert!(rows.iter().all(|row| without_value(row) == without_value(datum)));
            several += u64::from(rows.len() > 1);
            equal += u64::from(rows.len() > 1 && rows[0]["value"] == rows[1]["value"]);
            single += u64::from(rows.len() == 1 && rows[0]["value"] == datum["value"]);
        }
    }
    assert!(several > 100 && equal > 20 && single > 50 && mixed > 0, "{several} {equal} {single} {mixed}");
}
