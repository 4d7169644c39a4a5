//! Replays every recorded request over HTTP: status, headers and body must be the recorded ones.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::json_text::compact;
use crate::{BackendConfig, Simulator, SimulatorConfig, SimulatorHandle};

/// The recordings that cannot be reproduced from the corpus: file, line, and why.
const EXCEPTIONS: [(&str, usize, &str); 4] = [
    ("errors.jsonl", 28, NO_APPLICATION),
    ("errors.jsonl", 41, NO_APPLICATION),
    ("errors.jsonl", 42, NO_APPLICATION),
    ("errors.jsonl", 43, NO_APPLICATION),
];

/// The recorded server had no web application to show for unknown paths.
const NO_APPLICATION: &str = "the web application answers";

/// As [`EXCEPTIONS`], of the corpus with replicates.
const BISECT_EXCEPTIONS: [(&str, usize, &str); 5] = [
    ("repository.json", 1, "the recorded list was cut"),
    ("variants.jsonl", 11, "the first job of the server is not in the corpus"),
    ("variants.jsonl", 13, "the first job of the server is not in the corpus"),
    ("variants.jsonl", 14, NO_APPLICATION),
    ("variants.jsonl", 15, NO_APPLICATION),
];

#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    request: Request<'a>,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
    #[serde(borrow)]
    query: Cow<'a, str>,
    #[serde(default)]
    headers: HashMap<String, Option<String>>,
}

struct Answered {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_gzip().no_proxy().build().unwrap()
}

fn corpus(name: &str) -> String {
    std::fs::read_to_string(format!("{}/corpus/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

async fn start() -> SimulatorHandle {
    Simulator::start(SimulatorConfig::default()).await.unwrap()
}

/// The second corpus, which has replicates.
fn bisect_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/bisect/api")
}

/// A simulator on the second corpus.
async fn start_bisect() -> SimulatorHandle {
    let config = SimulatorConfig { backend: BackendConfig::Corpus(bisect_folder()), ..SimulatorConfig::default() };
    Simulator::start(config).await.unwrap()
}

async fn ask(client: &reqwest::Client, url: &str, headers: &HashMap<String, Option<String>>) -> Answered {
    let mut request = client.get(url);
    for (name, value) in headers {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    let response = request.send().await.unwrap();
    Answered {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.unwrap().to_vec(),
    }
}

/// The recorded body as the server sent it: HTML is recorded as a JSON string.
fn wire_body(recording: &Recording<'_>) -> String {
    let is_html = recording.headers.get("Content-Type").is_some_and(|kind| kind.starts_with("text/html"));
    if is_html { serde_json::from_str(recording.body.get()).unwrap() } else { compact(recording.body.get()) }
}

/// Brings into order what the API leaves in no order: the keys of the signature list, the signatures of a summary,
/// the data of equal rank, the jobs.
fn in_order(path: &str, body: &str) -> String {
    fn sorted_array(text: &str, key: impl Fn(&Value) -> Vec<u64>) -> String {
        let mut records: Vec<&RawValue> = serde_json::from_str(text).unwrap();
        records.sort_by_key(|record| key(&serde_json::from_str(record.get()).unwrap()));
        records.iter().map(|record| record.get()).collect::<Vec<_>>().join("\n")
    }
    if path.ends_with("/performance/signatures/") && body.starts_with("{\"5") {
        let records: BTreeMap<String, &RawValue> = serde_json::from_str(body).unwrap();
        return records.iter().map(|(id, record)| format!("{id}:{record}")).collect::<Vec<_>>().join("\n");
    }
    if path.ends_with("/performance/summary/") && body.starts_with("[{") {
        let objects = sorted_array(body, |object| vec![object["signature_id"].as_u64().unwrap()]);
        return objects
            .lines()
            .map(|object| {
                let (head, tail) = object.split_once("\"data\":[").unwrap();
                let (data, tail) = tail.split_once(']').unwrap();
                let data = sorted_array(&format!("[{data}]"), |datum| {
                    // Push timestamps must already ascend; only ties may differ.
                    vec![
                        datum["push_id"].as_u64().unwrap(),
                        datum["job_id"].as_u64().unwrap_or(u64::MAX),
                        datum["id"].as_u64().unwrap(),
                    ]
                });
                format!("{head}{data}{tail}")
            })
            .collect::<Vec<_>>()
            .join("\n");
    }
    if path.ends_with("/jobs/") && body.starts_with("{\"results\"") {
        let (list, meta) = body.rsplit_once(",\"meta\":").unwrap();
        let list = list.strip_prefix("{\"results\":").unwrap();
        return format!("{}{meta}", sorted_array(list, |job| vec![job["id"].as_u64().unwrap()]));
    }
    body.to_owned()
}

/// Compares an answer with a recording; says what differs.
fn compare(recording: &Recording<'_>, answered: &Answered) -> Result<(), String> {
    if answered.status != recording.status {
        return Err(format!("status {} instead of {}", answered.status, recording.status));
    }
    for (name, value) in &recording.headers {
        let is_volatile = matches!(name.as_str(), "Date") || (name == "Content-Length" && value.is_empty());
        let found = answered.headers.get(name).and_then(|value| value.to_str().ok());
        if !is_volatile && found != Some(value) {
            return Err(format!("header {name} is {found:?} instead of {value}"));
        }
    }
    let body = String::from_utf8(answered.body.clone()).unwrap();
    let expected = wire_body(recording);
    let (found, expected) = (in_order(&recording.request.path, &body), in_order(&recording.request.path, &expected));
    if found == expected {
        return Ok(());
    }
    let at = found.bytes().zip(expected.bytes()).take_while(|(found, expected)| found == expected).count();
    let around = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(80).min(text.len())..(at + 80).min(text.len())])
            .into_owned()
    };
    Err(format!("body differs at {at}: …{}… instead of …{}…", around(&found), around(&expected)))
}

async fn replay(files: &[&str]) {
    let texts: Vec<(&str, String)> = files.iter().map(|file| (*file, corpus(file))).collect();
    replay_with(start().await, &texts, &EXCEPTIONS).await;
}

async fn replay_with(simulator: SimulatorHandle, files: &[(&str, String)], exceptions: &[(&str, usize, &str)]) {
    let client = client();
    let mut failures = Vec::new();
    let mut num_replayed = 0;
    for (file, text) in files {
        let lines: Vec<&str> = if file.contains(".jsonl") { text.lines().collect() } else { vec![text.as_str()] };
        for (n, line) in lines.into_iter().enumerate() {
            let recording: Recording<'_> = serde_json::from_str(line).unwrap();
            let query = full_query(&recording.request.query);
            let mark = if query.is_empty() { "" } else { "?" };
            let url = format!("{}{}{mark}{query}", simulator.url(), recording.request.path);
            let answered = ask(&client, &url, &recording.request.headers).await;
            let exception = exceptions.iter().find(|(of, line, _)| of == file && *line == n + 1);
            match (compare(&recording, &answered), exception) {
                (Ok(()), None) | (Err(_), Some(_)) => num_replayed += 1,
                (Ok(()), Some((.., why))) => failures.push(format!("{file}:{}: reproduced, although {why}", n + 1)),
                (Err(difference), None) => {
                    failures.push(format!("{file}:{}: {}?{:.100}: {difference}", n + 1, recording.request.path, query));
                }
            }
        }
    }
    simulator.shutdown().await.unwrap();
    assert!(
        failures.is_empty(),
        "{} of {} differ:\n{}",
        failures.len(),
        num_replayed + failures.len(),
        failures.join("\n")
    );
}

/// One query was recorded abridged, with the number of its ids.
fn full_query(recorded: &str) -> String {
    if !recorded.contains("...(600 ids)") {
        return recorded.to_owned();
    }
    let ids: Vec<String> = (0..600).map(|n| (560_000_006 + n).to_string()).collect();
    format!("id__in={}&count=2000", ids.join(","))
}

#[tokio::test]
async fn lists_and_alert_summaries_are_as_recorded() {
    replay(&[
        "frameworks.json",
        "signatures_autoland.json",
        "signatures_mozilla-central.json",
        "alertsummary_limit100.jsonl",
        "alertsummary_unfiltered_limit100.jsonl",
    ])
    .await;
}

#[tokio::test]
async fn every_recorded_summary_and_job_is_as_recorded() {
    replay(&["summary.jsonl", "jobs.jsonl"]).await;
}

#[tokio::test]
async fn every_recorded_variant_and_error_is_as_recorded() {
    replay(&["variants.jsonl", "signatures_variants.jsonl", "errors.jsonl"]).await;
}

#[tokio::test]
async fn every_recording_of_the_corpus_with_replicates_is_as_recorded() {
    let names = [
        "frameworks.json",
        "repository.json",
        "signatures_autoland.json",
        "signatures_mozilla-central.json",
        "alertsummary_limit100.jsonl",
        "alertsummary_unfiltered_limit100.jsonl",
        "summary.jsonl",
        "summary_replicates.jsonl",
        "jobs.jsonl",
        "variants.jsonl",
    ];
    let texts = names.map(|name| (name, std::fs::read_to_string(bisect_folder().join(name)).unwrap()));
    replay_with(start_bisect().await, &texts, &BISECT_EXCEPTIONS).await;
}

#[tokio::test]
async fn a_narrower_range_cuts_the_recorded_replicates() {
    let simulator = start_bisect().await;
    let base =
        format!("{}/api/performance/summary/?repository=autoland&signature=5401203&all_data=True", simulator.url());
    let values = async |query: &str| {
        let answered = ask(&client(), &format!("{base}&{query}"), &HashMap::new()).await;
        let body: Value = serde_json::from_slice(&answered.body).unwrap();
        let rows = body[0]["data"].as_array().unwrap().clone();
        rows.iter().map(|row| (row["id"].as_u64(), row["push_timestamp"].to_string())).collect::<Vec<_>>()
    };
    let whole = values("startday=2026-07-01&endday=2026-11-26&replicates=True").await;
    let from = whole[whole.len() / 2].1.trim_matches('"').to_owned();
    let cut = values(&format!("startday={from}&endday=2026-11-26&replicates=True")).await;
    let expected: Vec<_> =
        whole.iter().filter(|(_, pushed)| pushed.trim_matches('"') > from.as_str()).cloned().collect();
    assert!(!cut.is_empty() && cut == expected, "{cut:?}");
    let plain = values("startday=2026-07-01&endday=2026-11-26&replicates=False").await;
    let mut ids: Vec<_> = whole.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert!(plain.len() == ids.len() && plain.len() < whole.len(), "{} of {}", plain.len(), whole.len());
}

#[tokio::test]
async fn the_longest_request_line_is_the_recorded_one() {
    let text = corpus("jobs_id_in_limits.json");
    let limits: Value = serde_json::from_str(&text).unwrap();
    let over = limits["reply_over_the_limit"].to_string();
    let recording: Recording<'_> = serde_json::from_str(&over).unwrap();
    let simulator = start().await;
    let client = client();
    let url = |query: &str| format!("{}{}?{query}", simulator.url(), recording.request.path);
    let answered = ask(&client, &url(&recording.request.query), &HashMap::new()).await;
    compare(&recording, &answered).unwrap();
    // One id fewer fits, and every job comes.
    let fits = recording.request.query.replacen("560000006,", "", 1);
    let answered = ask(&client, &url(&fits), &HashMap::new()).await;
    let body: Value = serde_json::from_slice(&answered.body).unwrap();
    assert_eq!(body["results"].as_array().unwrap().len() as u64, limits["results_at_max"].as_u64().unwrap());
}

#[tokio::test]
async fn headers_and_uncompressed_bodies_are_as_recorded() {
    #[derive(Deserialize)]
    struct Observed {
        name: String,
        #[serde(default)]
        accept_encoding: Option<String>,
        #[serde(default)]
        method: Option<String>,
        #[serde(default)]
        path: Option<String>,
        #[serde(default)]
        query: Option<String>,
        status: u16,
        headers: BTreeMap<String, String>,
        sha256: Option<String>,
    }
    let simulator = start().await;
    let client = client();
    let mut url = String::new();
    for line in corpus("success_headers.jsonl").lines() {
        let observed: Observed = serde_json::from_str(line).unwrap();
        if let (Some(path), Some(query)) = (&observed.path, &observed.query) {
            let mark = if query.is_empty() { "" } else { "?" };
            url = format!("{}{path}{mark}{query}", simulator.url());
        }
        let is_head = observed.method.as_deref() == Some("HEAD");
        let mut request = if is_head { client.head(&url) } else { client.get(&url) };
        if let Some(encoding) = &observed.accept_encoding {
            request = request.header("Accept-Encoding", encoding);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status().as_u16(), observed.status);
        let is_compressed = observed.headers.contains_key("Content-Encoding");
        // Ten alert summaries a page have other task ids than the recorded hundred.
        let is_other_page = observed.name == "alertsummary";
        for (name, value) in &observed.headers {
            let is_volatile = name == "Date" || (name == "Content-Length" && (is_compressed || is_other_page));
            let found = response.headers().get(name).map(|value| value.to_str().unwrap());
            assert!(is_volatile || found == Some(value), "{}: {name} is {found:?}", observed.name);
        }
        assert_eq!(response.headers().contains_key("Content-Encoding"), is_compressed, "{}", observed.name);
        let body = response.bytes().await.unwrap();
        let is_ordered = !matches!(observed.name.as_str(), "signatures" | "alertsummary");
        if let Some(expected) = observed.sha256.filter(|_| is_ordered && !is_compressed) {
            let found: Vec<String> = Sha256::digest(&body).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(found.concat(), expected, "{}", observed.name);
        }
    }
}

#[tokio::test]
async fn interval_and_days_match_as_recorded() {
    let recorded: Value = serde_json::from_str(&corpus("interval_vs_startday.json")).unwrap();
    let simulator = start().await;
    let client = client();
    for row in recorded["comparison"].as_array().unwrap() {
        let base = format!(
            "{}/api/performance/summary/?repository=autoland&signature={}&all_data=True",
            simulator.url(),
            row["signature"]
        );
        for (range, expected) in [
            ("&interval=12614400", &row["interval_n"]),
            ("&startday=2026-07-01T00:00:00&endday=2026-11-05T00:00:00", &row["startday_window_n"]),
        ] {
            let answered = ask(&client, &format!("{base}{range}"), &HashMap::new()).await;
            let body: Value = serde_json::from_slice(&answered.body).unwrap();
            assert_eq!(body[0]["data"].as_array().unwrap().len() as u64, expected.as_u64().unwrap());
        }
    }
}

#[tokio::test]
async fn pushes_are_as_recorded_and_newest_first() {
    let simulator = start().await;
    let url = format!("{}/api/project/autoland/push/?count=1000", simulator.url());
    let answered = ask(&client(), &url, &HashMap::new()).await;
    let body = String::from_utf8(answered.body).unwrap();
    let recorded: Vec<String> = corpus("push.jsonl").lines().map(compact).collect();
    let meta = "{\"meta\":{\"count\":60,\"repository\":\"autoland\",\"filter_params\":{\"count\":\"1000\"}},";
    assert_eq!(body, format!("{meta}\"results\":[{}]}}", recorded.join(",")));
}
