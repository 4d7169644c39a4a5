//! The simulator on the wire: bad days, scripts, alterations, paging, and the generated backend end to end.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    AlertChange, BackendConfig, Behaviour, Endpoint, FaultKind, GeneratorConfig, Outcome, ScriptedReply, Simulator,
    SimulatorConfig, SimulatorError, SimulatorHandle, dump,
};

const SUMMARY: &str = "/api/performance/summary/?repository=autoland&interval=99999999&all_data=True&signature=";

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn start(behaviour: Behaviour) -> SimulatorHandle {
    Simulator::start(SimulatorConfig { behaviour, ..SimulatorConfig::default() }).await.unwrap()
}

async fn start_generated(config: &GeneratorConfig) -> SimulatorHandle {
    let backend = BackendConfig::Generated(config.clone());
    Simulator::start(SimulatorConfig { backend, ..SimulatorConfig::default() }).await.unwrap()
}

async fn get(simulator: &SimulatorHandle, path: &str) -> Result<reqwest::Response, reqwest::Error> {
    client().get(format!("{}{path}", simulator.url())).send().await
}

async fn json(simulator: &SimulatorHandle, path: &str) -> Value {
    let response = get(simulator, path).await.unwrap();
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text:.200}"))
}

/// Sends a request by hand and gives every byte of the reply.
async fn raw(simulator: &SimulatorHandle, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(simulator.addr()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(reply)
}

fn fault(rule: &str) -> Behaviour {
    Behaviour { faults: vec![rule.parse().unwrap()], ..Behaviour::default() }
}

#[tokio::test]
async fn it_refuses_to_serve_the_world() {
    let config = SimulatorConfig { bind: "0.0.0.0:0".parse().unwrap(), ..SimulatorConfig::default() };
    assert!(matches!(Simulator::start(config).await, Err(SimulatorError::NotLoopback { .. })));
}

#[tokio::test]
async fn a_folder_serves_what_the_embedded_corpus_serves() {
    let folder = format!("{}/corpus", env!("CARGO_MANIFEST_DIR"));
    let config = SimulatorConfig { backend: BackendConfig::Corpus(folder.into()), ..SimulatorConfig::default() };
    let (folder, embedded) = (Simulator::start(config).await.unwrap(), start(Behaviour::default()).await);
    assert_eq!(folder.now(), embedded.now());
    let path = format!("{SUMMARY}5400001");
    assert_eq!(json(&folder, &path).await, json(&embedded, &path).await);
}

#[tokio::test]
async fn a_fault_of_every_kind_looks_like_itself() {
    for (kind, status) in [
        ("500", 500),
        ("502", 502),
        ("503", 503),
        ("504", 504),
        ("429", 429),
        ("403", 403),
        ("404", 404),
        ("html", 200),
        ("broken-json", 200),
        ("wrong-shape", 200),
        ("empty-body", 200),
    ] {
        let simulator = start(fault(&format!("{kind}@summary=1"))).await;
        let response = get(&simulator, &format!("{SUMMARY}5400001")).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{kind}");
        let text = response.text().await.unwrap();
        let parsed: Result<Vec<Value>, _> = serde_json::from_str(&text);
        assert!(parsed.is_err(), "{kind}: {text:.100}");
        assert_eq!(get(&simulator, "/api/performance/framework/").await.unwrap().status(), 200);
        let outcome = simulator.arrivals()[0].outcome.clone();
        assert_eq!(outcome.to_string(), kind);
    }
    for kind in ["reset", "cut"] {
        let simulator = start(fault(&format!("{kind}=1"))).await;
        let result = match get(&simulator, &format!("{SUMMARY}5400001")).await {
            Ok(response) => response.bytes().await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(result.is_err(), "{kind}");
        assert_eq!(simulator.served().iter().next().unwrap().1, &Outcome::Fault(kind));
    }
}

#[tokio::test]
async fn a_hanging_request_ends_with_the_server() {
    let simulator = start(fault("hang=1")).await;
    let url = format!("{}/api/repository/", simulator.url());
    let waiting = tokio::spawn(async move { client().get(url).send().await });
    while simulator.arrivals().is_empty() {
        tokio::task::yield_now().await;
    }
    let served = simulator.shutdown().await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(served.of(Endpoint::Repository), 1);
}

#[tokio::test]
async fn a_cut_reply_sends_its_head_and_too_few_bytes() {
    let simulator = start(Behaviour::default()).await;
    simulator.script(ScriptedReply::cut(1000, "[{\"signature_id\"").at(Endpoint::Summary));
    let request = format!("GET {SUMMARY}5400001 HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = String::from_utf8(raw(&simulator, &request).await.unwrap()).unwrap();
    assert!(reply.contains("content-length: 1000"), "{reply}");
    assert!(reply.ends_with("\r\n\r\n[{\"signature_id\""), "{reply}");

    simulator.script(ScriptedReply::close().times(1));
    assert!(raw(&simulator, &request).await.unwrap().is_empty(), "closed before any byte");
    simulator.script(ScriptedReply::reset());
    let error = raw(&simulator, &request).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_scripted_reply_has_its_status_headers_body_and_number() {
    let simulator = start(Behaviour::default()).await;
    simulator.script(
        ScriptedReply::status(503)
            .header("Retry-After", "7")
            .with_body("later")
            .at(Endpoint::Jobs)
            .containing("id=5")
            .times(2),
    );
    let path = "/api/project/autoland/jobs/?id=560000006";
    for _ in 0..2 {
        let response = get(&simulator, path).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "7"));
        assert_eq!(response.text().await.unwrap(), "later");
    }
    assert_eq!(json(&simulator, path).await["results"][0]["id"], 560_000_006);
    assert_eq!(simulator.served().with_status(Endpoint::Jobs, 503), 2);
}

#[tokio::test]
async fn above_its_capacity_it_answers_429_with_retry_after() {
    let behaviour =
        Behaviour { capacity: Some(0.001), retry_after: Some(Duration::from_millis(1500)), ..Behaviour::default() };
    let simulator = start(behaviour).await;
    assert_eq!(get(&simulator, "/api/repository/").await.unwrap().status(), 200);
    let response = get(&simulator, "/api/repository/").await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "2"));
}

#[tokio::test]
async fn a_window_with_too_many_data_is_killed_and_half_of_it_passes() {
    let behaviour = Behaviour { kill_over_data: Some(40), kill_after: Duration::ZERO, ..Behaviour::default() };
    let simulator = start(behaviour).await;
    assert!(get(&simulator, &format!("{SUMMARY}5400001")).await.is_err());
    let half = "/api/performance/summary/?repository=autoland&signature=5400001&all_data=True&startday=2026-07-01&endday=2026-09-20";
    assert_eq!(get(&simulator, half).await.unwrap().status(), 200);
    assert_eq!(simulator.arrivals()[0].outcome, Outcome::Fault("killed"));
}

#[tokio::test]
async fn pages_shift_when_a_summary_is_created_or_leaves() {
    let simulator = start(Behaviour::default()).await;
    let page = |n: usize| format!("/api/performance/alertsummary/?page={n}&hide_related_and_invalid=True");
    let ids = |page: &Value| -> Vec<u64> {
        page["results"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    };
    let first = json(&simulator, &page(1)).await;
    assert_eq!((first["count"].as_u64(), first["previous"].is_null()), (Some(41), true));
    assert_eq!(
        first["next"],
        format!("{}/api/performance/alertsummary/?hide_related_and_invalid=True&page=2", simulator.url())
    );
    let mut record = first["results"][0].clone();
    record["id"] = 99_999.into();
    record["created"] = "2026-11-20T00:00:00.5".into();
    simulator.after(1, AlertChange::Create(record.to_string())).unwrap();
    simulator.after(3, AlertChange::Leave(ids(&first)[0])).unwrap();
    assert!(simulator.after(0, AlertChange::Create("{}".to_owned())).is_err());

    let second = json(&simulator, &page(2)).await;
    assert_eq!(ids(&second)[0], ids(&first)[9], "the last row of page 1 comes again");
    let first_again = json(&simulator, &page(1)).await;
    assert_eq!((ids(&first_again)[0], first_again["count"].as_u64()), (99_999, Some(42)));
    let after_leaving = json(&simulator, &page(1)).await;
    assert_eq!(ids(&after_leaving)[..2], [99_999, ids(&first)[1]]);
    let left = json(&simulator, &format!("/api/performance/alertsummary/?id={}", ids(&first)[0])).await;
    assert_eq!(left["results"][0]["status"], 3);
    assert_eq!(json(&simulator, &page(9)).await["detail"], "Invalid page.");
}

#[tokio::test]
async fn pages_have_caps_filters_and_an_order() {
    let simulator = start(Behaviour::default()).await;
    let page_of = async |query: &str| json(&simulator, &format!("/api/performance/alertsummary/?{query}")).await;
    let size = |page: &Value| page["results"].as_array().unwrap().len();
    for (limit, expected) in [("limit=101", 54), ("limit=20", 20), ("limit=0", 10), ("limit=-3", 10), ("limit=x", 10)] {
        assert_eq!(size(&page_of(limit).await), expected, "{limit}");
    }
    let last = page_of("page=last&limit=20").await;
    assert_eq!((size(&last), last["next"].is_null()), (14, true));
    assert!(last["previous"].as_str().unwrap().ends_with("?limit=20&page=2"));
    for (query, expected) in [
        ("hide_related_and_invalid=False", 41),
        ("hide_related_and_invalid=banana", 54),
        ("repository=77", 49),
        ("status=6&repository=1", 1),
        ("id=52057", 1),
        ("monitored_alerts=1", 0),
        ("timerange=604800", 0),
        ("timerange=99999999", 54),
        ("alerts__series_signature=5400005&limit=100", 1),
    ] {
        let count = page_of(query).await["count"].as_u64().unwrap();
        if query.starts_with("alerts__") { assert!(count >= expected) } else { assert_eq!(count, expected, "{query}") }
    }
    let ascending = page_of("ordering=id&limit=100").await;
    assert_eq!(ascending["results"][0]["id"], 52001);
}

#[tokio::test]
async fn a_deleted_job_is_gone_from_jobs_and_data() {
    let simulator = start(Behaviour::default()).await;
    let data = json(&simulator, &format!("{SUMMARY}5400001")).await;
    let rows = data[0]["data"].as_array().unwrap().clone();
    let with_job = rows.iter().find(|row| !row["job_id"].is_null()).unwrap();
    let (job, datum) = (with_job["job_id"].as_u64().unwrap(), with_job["id"].as_u64().unwrap());
    simulator.delete_job(job);
    let jobs = json(&simulator, &format!("/api/project/autoland/jobs/?id={job}")).await;
    assert!(jobs["results"].as_array().unwrap().is_empty());
    let data = json(&simulator, &format!("{SUMMARY}5400001")).await;
    let after = data[0]["data"].as_array().unwrap();
    assert_eq!(after.len(), rows.len());
    let row = after.iter().find(|row| row["id"] == datum).unwrap();
    assert!(row["job_id"].is_null() && row["submit_time"].is_null() && row["machine_name"].is_null());
    assert_eq!(row["value"], with_job["value"]);
}

#[tokio::test]
async fn jobs_of_an_id_list_come_in_nobodys_order_and_no_more_than_asked() {
    let simulator = start(Behaviour::default()).await;
    let all = json(&simulator, "/api/project/autoland/jobs/?count=2000").await;
    let ids: Vec<u64> = all["results"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
    let asked: Vec<String> = ids.iter().take(25).map(u64::to_string).collect();
    let list = |reply: &Value| -> Vec<u64> {
        reply["results"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    let path = format!("/api/project/autoland/jobs/?id__in={}", asked.join(","));
    assert_eq!(list(&json(&simulator, &path).await).len(), 10);
    let found = list(&json(&simulator, &format!("{path},1&count=2000")).await);
    assert_ne!(found, ids[..25]);
    let mut sorted = found;
    sorted.sort_unstable();
    assert_eq!(sorted, ids[..25]);
    assert!(list(&json(&simulator, "/api/project/mozilla-central/jobs/?id=560000006").await).is_empty());
}

#[tokio::test]
async fn a_connection_is_kept_unless_configured() {
    for (keep_alive, expected) in [(true, 2), (false, 1)] {
        let simulator = start(Behaviour { keep_alive, ..Behaviour::default() }).await;
        let request = "GET /api/repository/ HTTP/1.1\r\nHost: x\r\n\r\n";
        let last = "GET /api/repository/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let reply = String::from_utf8(raw(&simulator, &format!("{request}{last}")).await.unwrap()).unwrap();
        assert_eq!(reply.matches("HTTP/1.1 200").count(), expected);
    }
}

#[tokio::test]
async fn a_request_in_its_latency_is_pending_and_then_abandoned_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("arrivals.jsonl");
    let behaviour = Behaviour { latency: "1h".parse().unwrap(), ..Behaviour::default() };
    let config = SimulatorConfig { behaviour, arrival_log: Some(log.clone()), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let url = format!("{}/api/repository/?x=1", simulator.url());
    let waiting = tokio::spawn(async move { client().get(url).send().await });
    while simulator.arrivals().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(simulator.arrivals()[0].outcome, Outcome::Pending);
    let served = simulator.shutdown().await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!((served.total(), served.with_status(Endpoint::Repository, 200)), (1, 0));
    let line: Value = serde_json::from_str(std::fs::read_to_string(log).unwrap().trim()).unwrap();
    assert_eq!((&line["endpoint"], &line["outcome"]), (&"repository".into(), &"abandoned".into()));
}

#[tokio::test]
async fn generated_replies_have_the_shape_of_recorded_ones() {
    fn keys(text: &str) -> Vec<String> {
        serde_json::from_str::<crate::json_text::OrderedObject<'_>>(text)
            .unwrap()
            .0
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    }
    let generated = start_generated(&GeneratorConfig { signatures: 100, ..GeneratorConfig::default() }).await;
    let recorded = start(Behaviour::default()).await;
    let first = async |simulator: &SimulatorHandle, path: &str, pointer: &[&str]| {
        let mut text = get(simulator, path).await.unwrap().text().await.unwrap();
        for step in pointer {
            text = if let Ok(index) = step.parse::<usize>() {
                let list: Vec<&serde_json::value::RawValue> = serde_json::from_str(&text).unwrap();
                list[index].get().to_owned()
            } else {
                let object: crate::json_text::OrderedObject<'_> = serde_json::from_str(&text).unwrap();
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
            let moment = |text: &str| crate::moment::parse(text).unwrap();
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

#[test]
fn every_kind_of_fault_has_a_name_of_its_own() {
    let names: HashSet<String> = [
        "500",
        "502",
        "503",
        "504",
        "429",
        "403",
        "404",
        "reset",
        "cut",
        "hang",
        "html",
        "broken-json",
        "wrong-shape",
        "empty-body",
    ]
    .iter()
    .map(|name| name.parse::<FaultKind>().unwrap().to_string())
    .collect();
    assert_eq!(names.len(), 14);
}

#[tokio::test]
async fn pushes_are_bounded_by_time_and_id_and_a_bound_that_is_none_is_refused_in_the_server_s_words() {
    let simulator = start(Behaviour::default()).await;
    let path = |query: &str| format!("/api/project/autoland/push/?{query}");
    let all = json(&simulator, &path("count=1000")).await;
    let all = all["results"].as_array().unwrap();
    let (newest, third) = (&all[0], &all[2]);
    let bounds = format!(
        "count=1000&push_timestamp__gte={}&push_timestamp__lt={}",
        third["push_timestamp"], newest["push_timestamp"]
    );
    let between = json(&simulator, &path(&bounds)).await;
    assert_eq!(between["results"].as_array().unwrap()[..], all[1..3]);
    assert_eq!(between["meta"]["count"], 2);
    let below = json(&simulator, &path(&format!("count=1000&id__lt={}", third["id"]))).await;
    assert_eq!(below["results"].as_array().unwrap()[..], all[3..]);
    for (query, detail) in [
        ("count=1001", "Specified count exceeds api limit: 1000"),
        ("count=0", "count requires a positive integer, not: 0"),
        ("count=-3", "count requires a positive integer, not: -3"),
        ("count=x", "Valid count value required"),
        ("push_timestamp__lt=x", "Invalid timestamp specified for push_timestamp__lt"),
        ("id__lt=x", "Invalid timestamp specified for id__lt"),
        ("id__in=1,x", "Invalid id__in specification"),
    ] {
        let response = get(&simulator, &path(query)).await.unwrap();
        assert_eq!(response.status().as_u16(), 400, "{query}");
        let text = response.text().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["detail"], detail, "{query}");
    }
}
