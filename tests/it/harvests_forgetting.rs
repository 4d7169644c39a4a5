//! A server that changes and forgets: everything that a harvest could have seen is in the dataset, as it was first seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use perfharvest::dataset::Artifact;
use perfharvest::model::AlertStatus;
use perfharvest::pipeline::RunOptions;
use serde_json::{Value, json};
use treeherder_sim::{Behaviour, History};

use crate::living::{DAY, Living, Rows, artifact, data_of};

/// Statuses that the list of alert summaries leaves out.
const HIDDEN: [u64; 3] = [1, 2, 3];

/// The default of `window.alerts_lookback`.
const ALERTS_LOOKBACK_DAYS: i64 = 1095;

fn after(secs: i64) -> Duration {
    Duration::from_secs(u64::try_from(secs).unwrap())
}

impl Living {
    /// The data that the harvests could see, with the job fields that the first of them saw.
    fn visible_data(&self) -> Rows {
        let record = self.simulator.full_record();
        let mut listed = Vec::new();
        record.for_each_signature(|signature| listed.push((signature.repository, signature.id, signature.gone)));
        let mut rows = Rows::new();
        for (repository, signature, gone) in listed {
            record.for_each_datum(repository, signature, |datum| {
                let could_see = |end: &&i64| {
                    datum.appeared <= **end
                        && gone.is_none_or(|gone| **end < gone)
                        && datum.push_timestamp < **end * 1_000_000
                };
                let Some(first) = self.ends.iter().find(could_see) else { return };
                let has_job = datum.job_expires.is_none_or(|expires| *first < expires);
                let row = json!({
                    "value": as_read(datum.value), "push_id": datum.push_id, "revision": datum.revision,
                    "job_id": has_job.then_some(datum.job_id), "machine_name": has_job.then_some(&datum.machine_name),
                    "submitted": has_job && datum.submit_time.is_some(),
                });
                rows.entry(signature).or_default().insert(datum.id, row);
            });
        }
        rows
    }

    fn assert_has_all_data(&self) {
        let (expected, mut made) = (self.visible_data(), data_of(&self.crawl));
        for row in made.values_mut().flat_map(BTreeMap::values_mut) {
            *row = json!({
                "value": row["value"], "push_id": row["push_id"], "revision": row["revision"],
                "job_id": row["job_id"], "machine_name": row["machine_name"], "submitted": !row["submit_time"].is_null(),
            });
        }
        for (signature, rows) in &expected {
            let none = BTreeMap::new();
            let made = made.get(signature).unwrap_or(&none);
            for (id, row) in rows {
                assert_eq!(made.get(id), Some(row), "datum {id} of signature {signature}");
            }
            assert_eq!(made.len(), rows.len(), "signature {signature}");
        }
        assert_eq!(made.len(), expected.len());
    }

    /// The versions of the alert summaries that the harvests could see, by id and the first harvest that saw each.
    fn visible_alert_versions(&self) -> BTreeMap<(u64, u64), Value> {
        let mut versions: BTreeMap<u64, Vec<(i64, Option<String>)>> = BTreeMap::new();
        self.simulator.full_record().for_each_alert_version(|version| {
            versions.entry(version.id).or_default().push((version.since, version.record.clone()));
        });
        let mut visible = BTreeMap::new();
        for (id, versions) in versions {
            let mut before: Option<&String> = None;
            for (end, harvest) in self.ends.iter().zip(1..) {
                let at = versions.iter().rev().find(|(since, _)| since <= end);
                let Some(record) = at.and_then(|(_, record)| record.as_ref()) else { continue };
                let fields: Value = serde_json::from_str(record).unwrap();
                let status = fields["status"].as_u64().unwrap();
                let since = self.ends[0] - ALERTS_LOOKBACK_DAYS * DAY;
                if HIDDEN.contains(&status)
                    || fields["push_timestamp"].as_i64().unwrap() < since
                    || before == Some(record)
                {
                    continue;
                }
                before = Some(record);
                let status = AlertStatus::of(i64::try_from(status).unwrap()).map(AlertStatus::name);
                visible.insert((id, harvest), json!([status, fields["bug_number"]]));
            }
        }
        visible
    }

    fn assert_has_all_alert_versions(&self) {
        let rows = artifact(&self.crawl, "alert_summary_history.jsonl").into_iter().map(|row| {
            let key = (row["id"].as_u64().unwrap(), row["harvest"].as_u64().unwrap());
            (key, json!([row["status"], row["bug_number"]]))
        });
        let (expected, made): (_, BTreeMap<_, _>) = (self.visible_alert_versions(), rows.collect());
        let missing: Vec<_> = expected.iter().filter(|(key, row)| made.get(key) != Some(row)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let surplus: Vec<_> = made.keys().filter(|key| !expected.contains_key(key)).collect();
        assert!(surplus.is_empty(), "{surplus:?}");
        assert!(made.keys().filter(|(_, harvest)| *harvest > 1).count() > 20, "{}", made.len());
    }

    fn assert_has_all_signatures(&self) {
        let mut listed = BTreeSet::new();
        let mut num_gone = 0;
        self.simulator.full_record().for_each_signature(|signature| {
            let is_listed =
                |end: &i64| signature.appeared.is_none_or(|at| at <= *end) && signature.gone.is_none_or(|at| *end < at);
            if self.ends.iter().any(is_listed) {
                listed.insert(signature.id);
                num_gone += usize::from(!is_listed(self.ends.last().unwrap()));
            }
        });
        let made = artifact(&self.crawl, "all_signatures.jsonl").into_iter().map(|row| row["id"].as_u64().unwrap());
        let made: BTreeSet<u64> = made.collect();
        assert_eq!(made, listed);
        assert!(num_gone > 0, "no signature vanished");
    }

    /// The stored jobs with their records.
    fn jobs(&self) -> BTreeMap<u64, String> {
        let store = self.store();
        let ids: Vec<_> = store.stored_jobs().unwrap().into_keys().collect();
        ids.into_iter().map(|id| (id.0, store.job(id).unwrap().unwrap().as_str().to_owned())).collect()
    }
}

/// The number that a reader of its text gets: `serde_json` may be off in the last bit.
fn as_read(value: f64) -> Value {
    serde_json::from_str(&serde_json::to_string(&value).unwrap()).unwrap()
}

/// Weekly refreshes; every `full_every`th one reads everything again.
async fn follow(history: History, concurrency: usize, full_every: usize) {
    let mut living = Living::start(history, 54, Behaviour::default()).await;
    living.set_concurrency(concurrency);
    let mut jobs: BTreeMap<u64, String> = BTreeMap::new();
    let last = 15;
    for week in 1..=last {
        let options = RunOptions { full: week % full_every == 0, ..RunOptions::default() };
        living.refresh_making(options, if week == last { &[] } else { &[Artifact::AllSignatures] }).await;
        let now = living.jobs();
        for (id, before) in &jobs {
            let now = now.get(id).unwrap_or_else(|| panic!("job {id} is lost in week {week}"));
            assert!(now == before || !before.contains("\"completed\""), "a completed job changed: {before} {now}");
        }
        jobs = now;
        living.advance_days(7);
    }
    living.assert_has_all_data();
    living.assert_has_all_alert_versions();
    living.assert_has_all_signatures();
    living.store().find_damage(|damage| panic!("{damage}")).unwrap();
    assert!(jobs.len() > 50, "{}", jobs.len());
}

fn forgetting() -> History {
    History { vanishing_signature_share: 0.3, late_share: 0.2, ..History::forgetting() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_forgets_stays_as_it_was_first_seen() {
    follow(forgetting(), 8, 6).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_server_forgets_stays_when_one_request_is_made_at_a_time() {
    follow(forgetting(), 1, 5).await;
}

/// The overlap of a refresh holds data whose jobs were known, and have expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn known_jobs_stay_when_a_refresh_reads_their_data_again_without_them() {
    follow(History { job_expiry: Some(after(16 * DAY)), ..forgetting() }, 3, 7).await;
}

impl Living {
    /// Data that the harvests could have seen, and that the dataset lacks.
    fn num_missing(&self) -> usize {
        let made = data_of(&self.crawl);
        let is_missing = |signature: &u64, id: &u64| !made.get(signature).is_some_and(|rows| rows.contains_key(id));
        let visible = self.visible_data();
        visible.iter().map(|(signature, rows)| rows.keys().filter(|id| is_missing(signature, id)).count()).sum()
    }
}

/// Nothing tells of data that come late for old pushes of a signature that did not move.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_data_are_found_by_the_late_check_or_by_a_full_refresh() {
    for is_full in [false, true] {
        let history = History { late_share: 0.5, ..History::growing() };
        // At the end of the data, so that no signature moves.
        let mut living = Living::start(history, 151, Behaviour::default()).await;
        living.refresh().await;
        living.advance_days(2);
        living.refresh().await;
        assert!(living.num_missing() > 0, "no datum was late");
        if is_full {
            living.simulator.advance(Duration::from_secs(1));
        } else {
            living.advance_days(7);
        }
        living.refresh_with(RunOptions { full: is_full, ..RunOptions::default() }).await;
        assert_eq!(living.num_missing(), 0);
        living.assert_has_all_data();
    }
}
