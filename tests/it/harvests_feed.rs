//! The change feed of each harvest, applied to the rows before it, gives the rows after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use perfharvest::model::{AlertSummaryId, SignatureId, Timestamp};
use perfharvest::pipeline::RunOptions;
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, History, ScriptedReply};

use crate::living::{Living, Rows, data_of, lines};
use crate::replicates::{Stored, stored_in};

/// Everything that a feed tells of.
#[derive(Clone, Debug, Default, PartialEq)]
struct State {
    data: Rows,
    replicates: Stored,
    alerts: BTreeMap<u64, Value>,
    signatures: BTreeMap<u64, Value>,
    jobs: BTreeMap<u64, Value>,
    /// Kind and id.
    unlisted: BTreeSet<(String, u64)>,
}

impl State {
    fn of(living: &Living) -> Self {
        let store = living.store();
        let mut state = Self { data: data_of(&living.crawl), replicates: stored_in(&store), ..Self::default() };
        for id in store.alert_listing().unwrap() {
            state.alerts.insert(id.0, json(store.alert_summary(id).unwrap().unwrap().as_str()));
        }
        for id in store.signature_ids().unwrap() {
            state.signatures.insert(id.0, without_time(json(store.signature(id).unwrap().unwrap().as_str())));
        }
        for id in store.stored_jobs().unwrap().into_keys() {
            state.jobs.insert(id.0, json(store.job(id).unwrap().unwrap().as_str()));
        }
        state.unlisted = unlisted(&store, &state);
        state
    }

    /// Applies a feed; new records without a text are taken from `after`.
    fn apply(&mut self, feed: &[Value], after: &Self) {
        for line in feed {
            let kind = line["kind"].as_str().unwrap();
            if kind == "data" {
                self.apply_to_data(line, after);
                continue;
            }
            if kind == "replicates" {
                self.apply_to_replicates(line, after);
                continue;
            }
            let id = line["id"].as_u64().unwrap();
            let (records, made) = match kind {
                "alert_summary" => (&mut self.alerts, &after.alerts),
                "signature" => (&mut self.signatures, &after.signatures),
                "job" => (&mut self.jobs, &after.jobs),
                other => panic!("{other}"),
            };
            let text = |name: &str| {
                let record = line.get(name)?.clone();
                Some(if kind == "signature" { without_time(record) } else { record })
            };
            match line["change"].as_str().unwrap() {
                "added" => {
                    let record = text("after").unwrap_or_else(|| made[&id].clone());
                    assert_eq!(records.insert(id, record), None, "{line} was there before");
                }
                "changed" => assert_eq!(records.insert(id, text("after").unwrap()), text("before"), "{line}"),
                "unlisted" => assert!(self.unlisted.insert((kind.to_owned(), id)), "{line}"),
                "listed_again" => assert!(self.unlisted.remove(&(kind.to_owned(), id)), "{line}"),
                other => panic!("{other}"),
            }
        }
    }

    fn apply_to_replicates(&mut self, line: &Value, after: &Self) {
        let signature = line["signature_id"].as_u64().unwrap();
        for id in ids(line, "added") {
            let key = (signature, id);
            assert_eq!(self.replicates.insert(key, after.replicates[&key].clone()), None, "{key:?} was there before");
        }
        for change in line["changed"].as_array().into_iter().flatten() {
            let key = (signature, change["id"].as_u64().unwrap());
            let [before, after] = ["before", "after"].map(|name| values(&change[name]));
            assert_ne!(before, after, "{change}");
            assert_eq!(self.replicates.insert(key, after), Some(before), "{change}");
        }
    }

    fn apply_to_data(&mut self, line: &Value, after: &Self) {
        let signature = line["signature_id"].as_u64().unwrap();
        let rows = self.data.entry(signature).or_default();
        for id in ids(line, "added") {
            assert_eq!(rows.insert(id, after.data[&signature][&id].clone()), None, "datum {id} was there before");
        }
        for change in line["changed"].as_array().into_iter().flatten() {
            let id = change["id"].as_u64().unwrap();
            assert_eq!(rows.insert(id, change["after"].clone()).as_ref(), Some(&change["before"]), "datum {id}");
        }
        for list in ["expired", "job_returned", "unlisted", "listed_again"] {
            for id in ids(line, list) {
                assert!(rows.contains_key(&id), "{list} {id}");
            }
        }
        for id in ids(line, "expired") {
            assert!(!rows[&id]["job_id"].is_null(), "{id}");
        }
    }
}

fn unlisted(store: &Store, state: &State) -> BTreeSet<(String, u64)> {
    let mut unlisted = BTreeSet::new();
    for id in state.alerts.keys() {
        if store.alert_last_seen(AlertSummaryId(*id)).unwrap().is_some() {
            unlisted.insert(("alert_summary".to_owned(), *id));
        }
    }
    for id in state.signatures.keys() {
        if store.signature_last_seen(SignatureId(*id)).unwrap().is_some() {
            unlisted.insert(("signature".to_owned(), *id));
        }
    }
    unlisted
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The feed leaves out how a signature moves with its data.
fn without_time(mut signature: Value) -> Value {
    signature.as_object_mut().unwrap().remove("last_updated");
    signature
}

fn ids(line: &Value, list: &str) -> Vec<u64> {
    line[list].as_array().into_iter().flatten().map(|id| id.as_u64().unwrap()).collect()
}

/// The bits of a list of values.
fn values(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|value| value.as_f64().unwrap().to_bits()).collect()
}

fn feed_path(living: &Living, harvest: usize) -> PathBuf {
    living.crawl.config.artifacts.out.join(format!("changes/{harvest:04}.jsonl"))
}

/// Asserts what each line says of itself, and that the data told as late are those pushed before the last harvest's end.
fn check_lines(feed: &[Value], harvest: usize, ends: &[i64], after: &State) {
    let end = |number: usize| Timestamp::from_secs(ends[number - 1]).to_string();
    assert_eq!(feed[0]["kind"], "harvest");
    assert_eq!(feed[0]["harvest"].as_u64(), Some(harvest as u64));
    assert_eq!(feed[0]["data_end"], end(harvest));
    let before = (harvest > 1).then(|| Timestamp::from_secs(ends[harvest - 2]));
    assert_eq!(feed[0]["previous_data_end"], before.map_or(Value::Null, |at| at.to_string().into()));
    assert!(
        feed.chunk_by(|one, other| one["kind"] == other["kind"]).count() <= 6,
        "the lines of a kind stand together"
    );
    for line in feed.iter().filter(|line| ["data", "replicates"].contains(&line["kind"].as_str().unwrap())) {
        for list in ["added", "late", "changed", "expired", "unlisted"] {
            let len = line[list].as_array().map_or(0, Vec::len) as u64;
            assert_eq!(line.get(format!("num_{list}")).map_or(0, |num| num.as_u64().unwrap()), len, "{list}");
        }
    }
    for line in feed.iter().filter(|line| line["kind"] == "data") {
        let rows = &after.data[&line["signature_id"].as_u64().unwrap()];
        let is_late = |id: &u64| {
            let pushed: Timestamp = rows[id]["push_timestamp"].as_str().unwrap().parse().unwrap();
            before.is_some_and(|before| pushed < before)
        };
        let late: Vec<u64> = ids(line, "added").into_iter().filter(is_late).collect();
        assert_eq!(ids(line, "late"), late);
    }
}

/// Counts of what the feeds told.
#[derive(Default)]
struct Told(BTreeMap<String, usize>);

impl Told {
    fn add(&mut self, feed: &[Value]) {
        for line in feed {
            let kind = line["kind"].as_str().unwrap();
            if let Some(change) = line["change"].as_str() {
                *self.0.entry(format!("{kind} {change}")).or_default() += 1;
            }
            for list in ["added", "late", "changed", "expired", "job_returned", "unlisted", "listed_again"] {
                if let (None, Some(list_of)) = (line.get("change"), line.get(list)) {
                    *self.0.entry(format!("{kind} {list}")).or_default() += list_of.as_array().unwrap().len();
                }
            }
        }
    }

    fn assert_all_of(&self, kinds: &[&str]) {
        for kind in kinds {
            assert!(self.0.get(*kind).is_some_and(|num| *num > 0), "no `{kind}` in {:?}", self.0);
        }
    }
}

async fn replay(history: History, concurrency: usize, full_every: usize) -> Told {
    let mut living = Living::start(history, 90, Behaviour::default()).await;
    living.set_concurrency(concurrency);
    living.crawl.config.scope.replicates = Some(true);
    let (mut told, mut state, mut feeds) = (Told::default(), State::default(), Vec::new());
    for harvest in 1..=9 {
        let options = RunOptions { full: harvest % full_every == 0, ..RunOptions::default() };
        living.refresh_with(options).await;
        let after = State::of(&living);
        let feed = lines(&feed_path(&living, harvest));
        check_lines(&feed, harvest, &living.ends, &after);
        state.apply(&feed[1..], &after);
        state.data.retain(|_, rows| !rows.is_empty());
        assert_eq!(state.alerts, after.alerts, "harvest {harvest}");
        assert_eq!(state.signatures, after.signatures, "harvest {harvest}");
        assert_eq!(state.jobs, after.jobs, "harvest {harvest}");
        assert_eq!(state.unlisted, after.unlisted, "harvest {harvest}");
        assert!(state.replicates == after.replicates, "the replicates of harvest {harvest} are not those of its feed");
        assert!(state.data == after.data, "the data of harvest {harvest} are others than those that its feed gives");
        state = after;
        told.add(&feed);
        feeds.push(feed);
        for (before, number) in feeds.iter().zip(1..) {
            assert!(*before == lines(&feed_path(&living, number)), "the feed of harvest {number} changed later");
        }
        living.advance_days(7);
    }
    told
}

fn forgetting() -> History {
    History {
        vanishing_signature_share: 0.3,
        late_share: 0.2,
        new_signature_share: 0.3,
        job_expiry: Some(Duration::from_hours(24 * 16)),
        ..History::forgetting()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_applied_to_the_rows_before_gives_those_after() {
    let told = replay(forgetting(), 8, 100).await;
    told.assert_all_of(&[
        "data added",
        "data late",
        "data expired",
        "replicates added",
        "alert_summary added",
        "alert_summary changed",
        "alert_summary unlisted",
        "signature added",
        "signature unlisted",
        "job added",
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_of_full_readings_gives_the_rows_after_too() {
    let told = replay(History { job_expiry: Some(Duration::from_hours(24 * 30)), ..forgetting() }, 1, 3).await;
    told.assert_all_of(&["data added", "data expired", "replicates added"]);
}

/// The first harvest of data and replicates.
async fn harvested_with_replicates() -> (Living, State) {
    let mut living = Living::start(History::growing(), 150, Behaviour::default()).await;
    living.crawl.config.scope.replicates = Some(true);
    living.refresh().await;
    let first = State::of(&living);
    (living, first)
}

/// The signature with most data, and its data by the time of their pushes.
fn longest_series(state: &State) -> (u64, Vec<&Value>) {
    let (signature, rows) = state.data.iter().max_by_key(|(_, rows)| rows.len()).unwrap();
    let mut rows: Vec<&Value> = rows.values().collect();
    rows.sort_by_key(|row| row["push_timestamp"].as_str().unwrap().to_owned());
    (*signature, rows)
}

/// The server gives another value, leaves a datum out, and lists it again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_change_and_data_that_come_back_are_in_the_feed() {
    let (mut living, first) = harvested_with_replicates().await;
    let (signature, newest) = longest_series(&first);
    let (left_out, altered) = (newest[newest.len() - 1].clone(), newest[newest.len() - 2].clone());
    let fragment = format!("signature={signature}&");
    let mut state = first.clone();
    let mut expect = async |step: usize, reply: Option<ScriptedReply>, told: &[&str]| {
        living.advance_days(7);
        if let Some(reply) = reply {
            let reply = reply.at(Endpoint::Summary).containing(&fragment).containing("&replicates=False");
            living.simulator.script(reply);
        }
        living.refresh().await;
        let after = State::of(&living);
        let feed = lines(&feed_path(&living, step));
        state.apply(&feed[1..], &after);
        assert!(state == after, "harvest {step}");
        let mut counts = Told::default();
        counts.add(&feed);
        counts.assert_all_of(told);
        (feed, after)
    };
    let mut changed = altered.clone();
    changed["value"] = 12345.5.into();
    let body = reply_with(&first, signature, &[left_out["id"].as_u64().unwrap()], Some(&changed));
    let (_, after) = expect(2, Some(ScriptedReply::body(body)), &["data changed", "data unlisted"]).await;
    let (left_out_id, altered_id) = (left_out["id"].as_u64().unwrap(), altered["id"].as_u64().unwrap());
    assert_eq!(after.data[&signature][&left_out_id], left_out, "it stays");
    assert_eq!(after.data[&signature][&altered_id]["value"], 12345.5);
    let (_, after) = expect(3, None, &["data changed", "data listed_again"]).await;
    assert_eq!(after.data[&signature][&altered_id], altered);
}

/// A job that is ingested again doubles the replicates of its data, and the server may list them in another order at any time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicates_that_change_are_in_the_feed_and_another_order_is_no_change() {
    let (mut living, first) = harvested_with_replicates().await;
    let (signature, mut newest) = longest_series(&first);
    let key = |row: &Value| (signature, row["id"].as_u64().unwrap());
    newest.retain(|row| first.replicates[&key(row)].iter().collect::<BTreeSet<_>>().len() > 1);
    let [.., turned, doubled] = newest.as_slice() else { panic!("{newest:?}") };
    let lists = [(*turned, 1), (*doubled, 2)].map(|(row, times)| {
        let mut list = first.replicates[&key(row)].repeat(times);
        if times == 1 {
            list.reverse();
        }
        (row, list)
    });
    let row_with = |row: &Value, value: f64| {
        let fields = ["job_id", "id", "value", "push_timestamp", "push_id", "revision", "submit_time", "machine_name"];
        let field = |name: &&str| match *name {
            "value" => format!("\"value\":{value:?}"),
            name => format!("\"{name}\":{}", row[name]),
        };
        format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
    };
    let rows = lists.iter().flat_map(|(row, list)| list.iter().map(|bits| row_with(row, f64::from_bits(*bits))));
    living.advance_days(7);
    let fragment = format!("signature={signature}&");
    let reply = ScriptedReply::body(reply_of(&first, signature, &rows.collect::<Vec<_>>()));
    let reply = reply.at(Endpoint::Summary).containing(&fragment).containing("&replicates=True");
    living.simulator.script(reply);
    living.refresh().await;
    let after = State::of(&living);
    let feed = lines(&feed_path(&living, 2));
    let changes: Vec<&Value> = feed.iter().filter(|line| line["changed"].is_array()).collect();
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((&changes[0]["kind"], &changes[0]["changed"][0]["id"]), (&"replicates".into(), &doubled["id"]));
    let mut state = first.clone();
    state.apply(&feed[1..], &after);
    assert!(state == after);
    assert_eq!(after.replicates[&key(turned)], first.replicates[&key(turned)]);
    assert_eq!(after.replicates[&key(doubled)].len(), 2 * first.replicates[&key(doubled)].len());
}

/// The answer for a signature, without some data, and with one of another form.
fn reply_with(state: &State, signature: u64, without: &[u64], changed: Option<&Value>) -> String {
    let mut rows: Vec<Value> = Vec::new();
    for (id, row) in &state.data[&signature] {
        if !without.contains(id) {
            rows.push(changed.filter(|changed| changed["id"] == row["id"]).unwrap_or(row).clone());
        }
    }
    rows.sort_by_key(|row| (row["push_timestamp"].as_str().unwrap().to_owned(), row["id"].as_u64()));
    reply_of(state, signature, &rows.iter().map(Value::to_string).collect::<Vec<_>>())
}

/// The answer for a signature with these rows.
fn reply_of(state: &State, signature: u64, rows: &[String]) -> String {
    let record = &state.signatures[&signature];
    let summary = serde_json::json!({
        "signature_id": signature, "framework_id": record["framework_id"], "signature_hash": record["signature_hash"],
        "platform": record["machine_platform"], "test": record["test"], "suite": record["suite"],
        "lower_is_better": true, "has_subtests": false, "tags": "", "values": [], "name": "", "parent_signature": null,
        "job_ids": [], "repository_name": "autoland", "repository_id": 77, "measurement_unit": null, "application": "",
        "should_alert": null, "alert_threshold": null,
    });
    let summary = summary.to_string();
    format!("[{},\"data\":[{}]}}]", summary.trim_end_matches('}'), rows.join(","))
}
