//! A moving clock: a server at a time serves the data of that time, whatever its clock did before.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use crate::answer::{Asked, answer};
use crate::view::View;
use crate::{AlertVersion, BackendConfig, GeneratorConfig, History, Simulator, SimulatorConfig, SimulatorHandle};

use super::{client, get};

const DAY: i64 = 86_400;
const SIGNATURES: &str = "/api/project/autoland/performance/signatures/";
const ALERTS: &str = "/api/performance/alertsummary/?limit=100";

fn generated() -> GeneratorConfig {
    let sizes = GeneratorConfig::default();
    GeneratorConfig { signatures: 40, data_per_signature: 60, pushes: 300, alerts: 300, largest_group: 8, ..sizes }
}

async fn start(history: History, from_end_days: i64) -> SimulatorHandle {
    let config = generated();
    let now = Some(config.end - from_end_days * DAY);
    let backend = BackendConfig::Generated(config);
    Simulator::start(SimulatorConfig { backend, now, history, ..SimulatorConfig::default() }).await.unwrap()
}

fn days(n: u64) -> Duration {
    Duration::from_hours(24 * n)
}

/// The body of an answer at the present time of the server.
fn body(simulator: &SimulatorHandle, path_and_query: &str) -> String {
    let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
    let asked = Asked { method: "GET", path, query, host: "x", user_agent: None, accept: None };
    String::from_utf8(answer(&View::of(&simulator.server().world), &asked).body).unwrap()
}

fn json(simulator: &SimulatorHandle, path_and_query: &str) -> Value {
    serde_json::from_str(&body(simulator, path_and_query)).unwrap()
}

fn summary(signature: u64) -> String {
    format!("{}{signature}", super::SUMMARY)
}

fn by_id(rows: &Value) -> BTreeMap<u64, Value> {
    rows.as_array().unwrap().iter().map(|row| (row["id"].as_u64().unwrap(), row.clone())).collect()
}

fn signatures(simulator: &SimulatorHandle, query: &str) -> BTreeSet<u64> {
    let list = json(simulator, &format!("{SIGNATURES}{query}"));
    list.as_object().unwrap().keys().map(|id| id.parse().unwrap()).collect()
}

fn data(simulator: &SimulatorHandle, signature: u64) -> BTreeMap<u64, Value> {
    by_id(&json(simulator, &summary(signature))[0]["data"])
}

fn all_data(simulator: &SimulatorHandle) -> BTreeMap<u64, BTreeMap<u64, Value>> {
    signatures(simulator, "").into_iter().map(|id| (id, data(simulator, id))).collect()
}

fn alerts(simulator: &SimulatorHandle) -> BTreeMap<u64, Value> {
    let mut rows = BTreeMap::new();
    for page in 1.. {
        let page = json(simulator, &format!("{ALERTS}&page={page}"));
        rows.extend(by_id(&page["results"]));
        if page["next"].is_null() {
            break;
        }
    }
    rows
}

fn jobs(simulator: &SimulatorHandle) -> BTreeMap<u64, Value> {
    let rows = by_id(&json(simulator, "/api/project/autoland/jobs/?count=2000")["results"]);
    assert!(rows.len() < 2000, "there may be more");
    rows
}

/// Whether every row of `before` is in `after`, with the same fields.
fn is_kept(before: &BTreeMap<u64, Value>, after: &BTreeMap<u64, Value>) -> bool {
    before.iter().all(|(id, row)| after.get(id) == Some(row))
}

#[tokio::test]
async fn the_clock_moves_by_handle_and_by_request_and_never_back() {
    let simulator = start(History::default(), 100).await;
    let began = simulator.now();
    assert_eq!(simulator.set_now(began + 10).unwrap(), began);
    simulator.advance(Duration::from_secs(5));
    assert_eq!(simulator.now(), began + 15);
    let error = simulator.set_now(began).unwrap_err().to_string();
    assert!(error.contains(&began.to_string()) && error.contains(&(began + 15).to_string()), "{error}");

    let url = format!("{}/__sim/now", simulator.url());
    let post = async |body: &'static str| {
        let response = client().post(&url).body(body).send().await.unwrap();
        (response.status().as_u16(), serde_json::from_str::<Value>(&response.text().await.unwrap()).unwrap())
    };
    let (status, moved) = post("+7d").await;
    assert_eq!((status, &moved["old_secs"]), (200, &(began + 15).into()));
    assert_eq!(moved["new_secs"], began + 15 + 7 * DAY);
    let (status, moved) = post("2026-11-22T00:00:00Z").await;
    assert_eq!((status, &moved["new"]), (200, &"2026-11-22T00:00:00Z".into()));
    assert_eq!(post("2026-11-21").await.0, 409);
    assert_eq!(post("soon").await.0, 400);
    assert_eq!(post("+9000years").await.0, 400);
    let shown: Value =
        serde_json::from_str(&get(&simulator, "/__sim/now").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!((&shown["now"], &shown["now_secs"]), (&"2026-11-22T00:00:00Z".into(), &simulator.now().into()));
    assert_eq!(get(&simulator, "/__sim/then").await.unwrap().status().as_u16(), 404);
    assert_eq!(simulator.served().total(), 0, "control requests are not arrivals");
}

#[tokio::test]
async fn a_growing_server_only_adds() {
    let simulator = start(History::growing(), 130).await;
    let (mut before, mut num_data) = (None, 0);
    for _ in 0..5 {
        let now = (all_data(&simulator), alerts(&simulator), jobs(&simulator), signatures(&simulator, ""));
        let listed = now.0.values().map(BTreeMap::len).sum::<usize>();
        assert!(listed > num_data, "{listed}");
        num_data = listed;
        for datum in now.0.values().flat_map(BTreeMap::values) {
            let pushed = crate::moment::parse(datum["push_timestamp"].as_str().unwrap()).unwrap();
            assert!(pushed <= (simulator.now() + 1) * 1_000_000);
        }
        if let Some((data, alerts, jobs, signatures)) = before.replace(now.clone()) {
            for (id, rows) in &data {
                assert!(is_kept(rows, &now.0[id]), "{id}");
            }
            assert!(is_kept(&alerts, &now.1) && alerts.len() < now.1.len());
            assert!(is_kept(&jobs, &now.2));
            assert!(signatures.is_subset(&now.3));
        }
        simulator.advance(days(26));
    }
    let pushes = json(&simulator, "/api/project/autoland/push/?count=1000");
    assert_eq!(pushes["results"].as_array().unwrap().len(), 300);
}

#[tokio::test]
async fn an_answer_depends_on_the_time_alone() {
    for history in [History::default(), History::growing(), History::forgetting()] {
        let (walked, jumped) = (start(history.clone(), 120).await, start(history, 100).await);
        for _ in 0..4 {
            walked.advance(days(5));
            let _ = (alerts(&walked), body(&walked, SIGNATURES));
        }
        assert_eq!(walked.now(), jumped.now());
        let lists =
            ["/api/project/autoland/jobs/?count=2000", "/api/project/autoland/push/?count=1000", SIGNATURES, ALERTS];
        let summaries: Vec<String> = signatures(&jumped, "").into_iter().map(summary).collect();
        for path in lists.into_iter().chain(summaries.iter().map(String::as_str)) {
            assert_eq!(body(&walked, path), body(&jumped, path), "{path}");
        }
    }
}

#[tokio::test]
async fn late_data_are_all_there_in_the_end() {
    let history = History { arrival_delay: days(1), late_share: 0.5, ..History::growing() };
    let (late, plain) = (start(history, 0).await, start(History::growing(), 0).await);
    let values = |simulator: &SimulatorHandle| -> BTreeMap<(u64, u64), (Value, Value)> {
        let of_signature = all_data(simulator).into_iter();
        let rows = of_signature.flat_map(|(id, rows)| rows.into_iter().map(move |(datum, row)| ((id, datum), row)));
        rows.map(|(key, row)| (key, (row["value"].clone(), row["job_id"].clone()))).collect()
    };
    let at_end = values(&late).len();
    late.advance(days(21));
    let (late, plain) = (values(&late), values(&plain));
    assert_eq!(late, plain);
    assert!(at_end < plain.len(), "{at_end}");
}

#[tokio::test]
async fn late_data_appear_on_old_pushes_and_leave_last_updated() {
    let simulator = start(History { late_share: 0.3, ..History::growing() }, 60).await;
    let (mut num_late, mut num_silent) = (0, 0);
    for _ in 0..8 {
        let before = all_data(&simulator);
        let since = simulator.now();
        simulator.advance(days(5));
        let mut start_date = Vec::new();
        crate::moment::write_iso(&mut start_date, (since + 1) * 1_000_000);
        let moved = signatures(&simulator, &format!("?start_date={}", String::from_utf8(start_date).unwrap()));
        for (id, rows) in all_data(&simulator) {
            let Some(known) = before.get(&id) else { continue };
            let pushed = |row: &Value| crate::moment::parse(row["push_timestamp"].as_str().unwrap()).unwrap();
            let late =
                rows.iter().filter(|(datum, row)| !known.contains_key(datum) && pushed(row) <= since * 1_000_000);
            let late = late.count();
            num_late += late;
            num_silent += usize::from(late > 0 && !moved.contains(&id));
        }
    }
    assert!(num_late > 50 && num_silent > 0, "{num_late} {num_silent}");
}

#[tokio::test]
async fn a_job_expires_with_the_job_fields_of_its_data() {
    let simulator = start(History::default(), 30).await;
    let (before, seen_jobs) = (all_data(&simulator), jobs(&simulator));
    simulator.advance(days(60));
    let (after, left_jobs) = (all_data(&simulator), jobs(&simulator));
    let mut num_expired = 0;
    for (id, rows) in &before {
        for (datum, row) in rows {
            let now = &after[id][datum];
            assert_eq!(now["value"], row["value"]);
            if row["job_id"].is_null() || !now["job_id"].is_null() {
                continue;
            }
            num_expired += 1;
            assert!(now["submit_time"].is_null() && now["machine_name"].is_null());
            assert!(!left_jobs.contains_key(&row["job_id"].as_u64().unwrap()));
        }
    }
    assert!(num_expired > 300 && seen_jobs.keys().any(|id| !left_jobs.contains_key(id)), "{num_expired}");
    let growing = start(History::growing(), 0).await;
    assert!(all_data(&growing).values().flat_map(BTreeMap::values).all(|row| !row["job_id"].is_null()));
}

#[tokio::test]
async fn unfinished_jobs_finish() {
    let history = History { jobs_finish_within: Some(days(1)), ..History::growing() };
    let (later, never) = (start(history, -30).await, start(History::growing(), -30).await);
    let (finished, mut unfinished) = (jobs(&later), jobs(&never));
    unfinished.retain(|_, job| job["state"] != "completed");
    assert!(finished.values().all(|job| job["state"] == "completed") && !unfinished.is_empty());
    for (id, job) in &unfinished {
        for field in ["job_guid", "task_id", "retry_id", "reason"] {
            assert_eq!(finished[id][field], job[field], "{field} of job {id}");
        }
    }
}

#[tokio::test]
async fn signatures_appear_and_vanish_with_their_subtests() {
    let history = History { new_signature_share: 0.5, vanishing_signature_share: 0.3, ..History::growing() };
    let simulator = start(history, 140).await;
    let mut seen = signatures(&simulator, "");
    let (mut num_new, mut gone) = (0, BTreeSet::new());
    for _ in 0..14 {
        simulator.advance(days(10));
        let listed = signatures(&simulator, "");
        num_new += listed.difference(&seen).count();
        seen.extend(&listed);
        gone = seen.difference(&listed).copied().collect();
        for id in &gone {
            assert_eq!(body(&simulator, &summary(*id)), "[]");
        }
        let records = json(&simulator, SIGNATURES);
        let hashes: BTreeSet<&str> =
            records.as_object().unwrap().values().map(|record| record["signature_hash"].as_str().unwrap()).collect();
        let mut parents =
            records.as_object().unwrap().values().filter_map(|record| record["parent_signature"].as_str());
        assert!(parents.all(|parent| hashes.contains(parent)));
    }
    assert!(num_new > 2 && gone.len() > 5, "{num_new} {}", gone.len());
}

#[tokio::test]
async fn alert_summaries_are_edited_reassigned_and_deleted_as_their_versions_say() {
    let history = History {
        edited_alert_share: 0.7,
        reassigned_alert_share: 0.3,
        deleted_alert_share: 0.2,
        ..History::growing()
    };
    let simulator = start(history, 150).await;
    let mut seen: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
    let (mut num_deleted, mut before) = (0, BTreeMap::new());
    for _ in 0..15 {
        let now = alerts(&simulator);
        num_deleted += before.keys().filter(|id| !now.contains_key(id)).count();
        for (id, record) in &now {
            if id % 16 == 0 {
                let detail = json(&simulator, &format!("/api/performance/alertsummary/{id}/"));
                assert_eq!(&detail, record);
            }
            seen.entry(*id).or_default().insert(record.to_string());
            let status = record["status"].as_u64().unwrap();
            assert!(status != 0 || before.get(id).is_none_or(|before: &Value| before["status"] == 0));
            let moved = record["alerts"][0]["related_summary_id"].as_u64().and_then(|target| now.get(&target));
            if let Some(target) = moved {
                assert!(target["related_alerts"].as_array().unwrap().contains(&record["alerts"][0]), "{id}");
            }
        }
        before = now;
        simulator.advance(days(10));
    }
    let mut versions: BTreeMap<u64, Vec<AlertVersion>> = BTreeMap::new();
    simulator.full_record().for_each_alert_version(|version| {
        versions.entry(version.id).or_default().push(version.clone());
    });
    let text = |version: &AlertVersion| {
        version.record.as_deref().map(|record| serde_json::from_str::<Value>(record).unwrap().to_string())
    };
    for (id, texts) in &seen {
        let of_summary: BTreeSet<String> = versions[id].iter().filter_map(text).collect();
        assert!(texts.is_subset(&of_summary), "{id}");
    }
    let num_edited = seen.values().filter(|texts| texts.len() > 1).count();
    let num_moved = before.values().filter(|row| row["alerts"][0]["related_summary_id"].is_u64()).count();
    assert!(num_deleted > 3 && num_edited > 20 && num_moved > 3, "{num_deleted} {num_edited} {num_moved}");
    assert!(versions.values().flatten().any(|version| version.record.is_none()));
}

#[tokio::test]
async fn the_full_record_is_everything_that_a_watcher_saw() {
    let simulator = start(History::forgetting(), 150).await;
    let began = simulator.now();
    let mut first_seen: BTreeMap<(u64, u64), Value> = BTreeMap::new();
    for _ in 0..22 {
        for (signature, rows) in all_data(&simulator) {
            for (datum, row) in rows {
                first_seen.entry((signature, datum)).or_insert(row);
            }
        }
        simulator.advance(days(7));
    }
    let record = simulator.full_record();
    let mut listed = BTreeMap::new();
    record.for_each_signature(|signature| {
        listed.insert(signature.id, (signature.repository, signature.gone));
    });
    let mut num_recorded = 0;
    for (signature, (repository, gone)) in &listed {
        record.for_each_datum(*repository, *signature, |datum| {
            // A watcher who comes once a week misses what appears and vanishes between two visits.
            let stays = gone.is_none_or(|gone| gone > datum.appeared + 7 * DAY);
            let Some(seen) = first_seen.remove(&(*signature, datum.id)) else {
                assert!(!stays || datum.appeared > simulator.now() - 7 * DAY, "{datum:?}");
                return;
            };
            num_recorded += 1;
            let mut value = Vec::new();
            crate::json_text::write_float(&mut value, datum.value);
            assert_eq!(seen["value"], serde_json::from_slice::<Value>(&value).unwrap());
            assert_eq!(seen["push_id"], datum.push_id);
            // It was first seen within a week.
            if datum.job_expires.is_none_or(|expires| expires > began.max(datum.appeared + 7 * DAY)) {
                assert_eq!(
                    (seen["job_id"].as_u64(), seen["machine_name"].as_str()),
                    (datum.job_id, datum.machine_name.as_deref())
                );
            }
        });
    }
    assert!(first_seen.is_empty() && num_recorded > 1000, "{} {num_recorded}", first_seen.len());
}

#[tokio::test]
async fn a_recording_is_rehearsed_up_to_its_time_and_beyond() {
    let recorded = Simulator::start(SimulatorConfig::default()).await.unwrap();
    let now = Some(recorded.now() - 60 * DAY);
    let simulator = Simulator::start(SimulatorConfig { now, ..SimulatorConfig::default() }).await.unwrap();
    let (early, early_alerts) = (all_data(&simulator), alerts(&simulator));
    let (all, all_alerts) = (all_data(&recorded), alerts(&recorded));
    let count = |data: &BTreeMap<u64, BTreeMap<u64, Value>>| data.values().map(BTreeMap::len).sum::<usize>();
    assert!(count(&early) > 100 && count(&early) < count(&all));
    assert!(early.iter().all(|(id, rows)| is_kept(rows, &all[id])));
    assert!(early_alerts.len() < all_alerts.len() && is_kept(&early_alerts, &all_alerts));
    let ids = early.values().flat_map(BTreeMap::values).filter_map(|row| row["job_id"].as_u64());
    let num_jobs = |simulator: &SimulatorHandle, ids: &[String]| {
        let list = json(simulator, &format!("/api/project/autoland/jobs/?count=2000&id__in={}", ids.join(",")));
        list["results"].as_array().unwrap().len()
    };
    let ids: Vec<String> = ids.take(200).map(|id| id.to_string()).collect();
    assert_eq!(num_jobs(&simulator, &ids), num_jobs(&recorded, &ids), "the jobs of the data are there");

    simulator.set_now(recorded.now()).unwrap();
    for path in [SIGNATURES, ALERTS, "/api/project/autoland/jobs/?count=2000", "/api/project/autoland/push/?count=1000"]
    {
        assert_eq!(body(&simulator, path), body(&recorded, path), "{path}");
    }
    assert_eq!(all_data(&simulator), all);
    simulator.advance(days(200));
    assert!(jobs(&simulator).is_empty());
    assert!(all_data(&simulator).values().flat_map(BTreeMap::values).all(|row| row["job_id"].is_null()));
}

#[tokio::test]
async fn a_share_above_one_is_refused() {
    let history = History { late_share: 1.5, ..History::default() };
    let refused = Simulator::start(SimulatorConfig { history, ..SimulatorConfig::default() }).await;
    assert!(refused.unwrap_err().to_string().contains("late_share 1.5"));
}
