//! `status --check`: is the stored dataset fresh? Decided from the files beside the store, so that it works while a crawl runs,
//! and before the first one.

use std::time::Duration;

use crate::config::JOB_LIFE_DAYS;
use crate::model::Timestamp;
use crate::observe::{RunPhase, RunState, counted, human_duration};
use crate::store::Ledger;

const DAY_SECS: i64 = 86_400;

/// The limits of a check.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Longest time since the end of the data of the newest finished harvest.
    pub(super) max_age: Duration,
    /// Jobs that nobody has asked for must not be deleted by the server within this time.
    pub(super) job_horizon: Option<Duration>,
}

/// One sentence: why the dataset is fresh, or as the error, why it is not.
pub(super) fn check(ledger: &Ledger, run: Option<&RunState>, limits: Limits, now: Timestamp) -> Result<String, String> {
    let finished = ledger.harvests.iter().rev().find(|harvest| harvest.finished_at.is_some());
    let Some(finished) = finished else {
        let running = if is_running(run) { "; the first one is running" } else { "; run `perfharvest run`" };
        return Err(format!("no harvest has finished{running}"));
    };
    let age = Duration::from_secs(u64::try_from(now.as_secs() - finished.data_end.as_secs()).unwrap_or_default());
    let mut reasons = Vec::new();
    if age > limits.max_age {
        reasons.push(format!("which is more than {}", human_duration(limits.max_age)));
    }
    reasons.extend(incomplete(ledger, run));
    reasons.extend(limits.job_horizon.and_then(|horizon| expiring(finished.data_end, run, horizon, now)));
    let dataset =
        format!("the newest finished harvest has data up to {}, {} ago", finished.data_end, human_duration(age));
    if reasons.is_empty() { Ok(format!("fresh: {dataset}")) } else { Err(format!("{dataset}, {}", reasons.join(", "))) }
}

fn is_running(run: Option<&RunState>) -> bool {
    run.is_some_and(|run| matches!(run.phase, RunPhase::Running | RunPhase::Reducing))
}

/// Why the newest attempt is incomplete. One that is running may still become complete; one that hangs makes the data old.
fn incomplete(ledger: &Ledger, run: Option<&RunState>) -> Option<String> {
    if is_running(run) {
        return None;
    }
    let failed = ledger.counts.failed();
    let number = ledger.harvests.last().map_or(0, |newest| newest.number);
    if failed > 0 {
        let failed = counted(failed, "request", "requests");
        return Some(format!("and {failed} of harvest {number} failed (`perfharvest failures` lists them)"));
    }
    let ended = match run.map(|run| run.phase) {
        Some(RunPhase::Killed) => "was killed",
        Some(RunPhase::Interrupted) => "did not come to its end",
        _ if !ledger.counts.is_complete() => "did not come to its end",
        _ => return None,
    };
    Some(format!("and the newest run {ended} (harvest {number}; `perfharvest refresh` finishes it)"))
}

/// Jobs that the server deletes within `horizon`: those that are pending, and those of the data since `data_end`.
fn expiring(data_end: Timestamp, run: Option<&RunState>, horizon: Duration, now: Timestamp) -> Option<String> {
    let life = JOB_LIFE_DAYS * DAY_SECS;
    let limit = now.plus_secs(i64::try_from(horizon.as_secs()).unwrap_or(i64::MAX));
    let oldest_pending =
        run.and_then(|run| run.pending_jobs_by_day.keys().next()).map(|day| Timestamp::from_secs(day * DAY_SECS));
    let oldest = oldest_pending.map_or(data_end, |pending| pending.min(data_end));
    let deleted = oldest.plus_secs(life);
    (deleted <= limit).then(|| {
        let jobs = if deleted <= now {
            format!("has been deleting jobs that were not asked for since {deleted}")
        } else {
            format!("will delete jobs that were not asked for from {deleted} on")
        };
        format!("and the server {jobs}, {JOB_LIFE_DAYS} days after their push")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Harvest, Tally};

    const END: &str = "2026-08-02T00:00:00Z";

    fn harvest(number: u16, finished: bool) -> Harvest {
        let at: Timestamp = END.parse().unwrap();
        let finished_at = finished.then_some(at);
        serde_json::from_value(serde_json::json!({
            "number": number, "data_end": at.plus_secs(7 * DAY_SECS * i64::from(number - 1)), "began_at": at,
            "overlap_secs": 0, "late_check_secs": 0, "attempts_before": 0, "data_before": 0, "joined_at": finished_at,
            "finished_at": finished_at, "requests": 0, "data_added": 0, "num_alerts": 0
        }))
        .unwrap()
    }

    fn ledger(harvests: Vec<Harvest>, counts: &serde_json::Value) -> Ledger {
        Ledger {
            format: 3,
            store_id: "s".to_owned(),
            identity: None,
            harvests,
            log_id: 0,
            last_commit: 0,
            log_end: 0,
            counts: serde_json::from_value::<Tally>(counts.clone()).unwrap(),
            written_at: Timestamp::default(),
            check: String::new(),
        }
    }

    fn counts(failed: u64, finished: bool) -> serde_json::Value {
        let kind = |failed: u64| {
            serde_json::json!({"pending": 0, "data": 1, "empty": 0, "gone": 0, "skipped": 0,
            "failed": failed, "records": 1, "body_bytes": 5, "attempts": 1})
        };
        serde_json::json!({"commits": 1, "kinds": [kind(0), kind(0), kind(failed), kind(0)], "digests": [0, 0, 0, 0],
            "finished": finished})
    }

    fn ended(phase: RunPhase) -> RunState {
        let at = Timestamp::default();
        serde_json::from_value(serde_json::json!({
            "phase": phase, "pid": 1, "started_at": at, "updated_at": at, "requests": 0, "retries": 0,
            "allowed_per_second": 0.0, "reached_per_second": 0.0, "reached_lately_per_second": 0.0,
            "mean_latency_ms": 0.0, "requests_left": 0, "limit": "none", "settled": 0, "failed": 0, "errors": {},
            "disk_bytes": 0, "pending_jobs_by_day": {}
        }))
        .unwrap()
    }

    const WEEKLY: Limits = Limits { max_age: Duration::from_hours(24 * 8), job_horizon: None };

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_dataset_is_fresh_until_the_clock_has_moved_on() {
        let ledger = ledger(vec![harvest(1, true)], &counts(0, true));
        let run = ended(RunPhase::Finished);
        let said = check(&ledger, Some(&run), WEEKLY, at("2026-08-10T00:00:00Z")).unwrap();
        assert_eq!(said, format!("fresh: the newest finished harvest has data up to {END}, 8 d 0 h ago"));
        let said = check(&ledger, Some(&run), WEEKLY, at("2026-08-10T00:00:01Z")).unwrap_err();
        assert!(said.ends_with("ago, which is more than 8 d 0 h") && said.lines().count() == 1, "{said}");
        check(&ledger, None, WEEKLY, at("2026-08-01T00:00:00Z")).unwrap(); // a clock that goes wrong
    }

    #[test]
    fn an_attempt_that_did_not_come_to_its_end_is_not_fresh() {
        let now = at("2026-08-10T00:00:00Z");
        let stopped = ledger(vec![harvest(1, true), harvest(2, false)], &counts(0, false));
        for phase in [RunPhase::Interrupted, RunPhase::Killed, RunPhase::Finished] {
            let said = check(&stopped, Some(&ended(phase)), WEEKLY, now).unwrap_err();
            assert!(said.contains("the newest run ") && said.contains("harvest 2"), "{said}");
        }
        check(&stopped, None, WEEKLY, now).unwrap_err();
        check(&stopped, Some(&ended(RunPhase::Running)), WEEKLY, now).unwrap();
        let failed = ledger(vec![harvest(1, true), harvest(2, false)], &counts(3, false));
        let said = check(&failed, Some(&ended(RunPhase::Finished)), WEEKLY, now).unwrap_err();
        assert!(said.contains("3 requests of harvest 2 failed"), "{said}");
        // Its artifacts may be old.
        let whole = ledger(vec![harvest(1, true)], &counts(0, true));
        check(&whole, Some(&ended(RunPhase::Killed)), WEEKLY, now).unwrap_err();
    }

    #[test]
    fn a_first_harvest_that_has_not_finished_is_not_fresh() {
        for harvests in [vec![], vec![harvest(1, false)]] {
            let said = check(&ledger(harvests, &counts(0, false)), None, WEEKLY, at(END)).unwrap_err();
            assert!(said.starts_with("no harvest has finished; run"), "{said}");
        }
    }

    #[test]
    fn jobs_that_expire_before_they_are_asked_for_are_not_fresh() {
        let ledger = ledger(vec![harvest(1, true)], &counts(0, true));
        let limits =
            Limits { max_age: Duration::from_hours(24 * 1000), job_horizon: Some(Duration::from_hours(24 * 20)) };
        let mut run = ended(RunPhase::Finished);
        // Jobs pushed at the end of the data expire 120 days later.
        check(&ledger, Some(&run), limits, at("2026-11-09T23:59:59Z")).unwrap();
        let said = check(&ledger, Some(&run), limits, at("2026-11-10T00:00:00Z")).unwrap_err();
        assert!(said.contains("will delete jobs") && said.contains("2026-11-30T00:00:00Z"), "{said}");
        let said = check(&ledger, Some(&run), limits, at("2026-12-24T00:00:00Z")).unwrap_err();
        assert!(said.contains("has been deleting jobs"), "{said}");
        // Jobs that are known and pending may be older.
        run.pending_jobs_by_day.insert(at("2026-07-01").as_secs() / DAY_SECS, 4);
        check(&ledger, Some(&run), limits, at("2026-10-08T00:00:00Z")).unwrap();
        check(&ledger, Some(&run), limits, at("2026-10-09T00:00:00Z")).unwrap_err();
    }
}
