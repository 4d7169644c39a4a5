//! `status`: how far a crawl is, read from what stands beside the store, which a running crawl has locked.

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::plan::due_line;
use super::{Common, StatusArgs, print};
use crate::model::{Kind, Timestamp};
use crate::observe::{DueJobs, RunPhase, RunState, human_bytes, human_duration};
use crate::store::{Ledger, StoreError};
use crate::{EXIT_INCOMPLETE, Error};

/// How often `--watch` draws.
const REDRAW: Duration = Duration::from_secs(1);

/// The JSON: the ledger's fields, then what the last crawl says of itself.
#[derive(Debug, Serialize)]
struct Status {
    #[serde(flatten)]
    ledger: Ledger,
    run: Option<RunState>,
    jobs_due: DueJobs,
}

impl Status {
    fn read(store: &Path) -> Result<Self, StoreError> {
        let ledger = Ledger::read(store)?.ok_or_else(|| StoreError::Missing { path: store.to_owned() })?;
        let run = RunState::read(store);
        let by_day = run.as_ref().map(|run| run.pending_jobs_by_day.clone()).unwrap_or_default();
        Ok(Self { ledger, run, jobs_due: DueJobs::count(&by_day, Timestamp::now()) })
    }

    fn show(&self, json: bool) -> Result<String, Error> {
        if !json {
            return Ok(table(self));
        }
        let text = serde_json::to_string_pretty(self).map_err(|source| StoreError::Encode { source })?;
        Ok(text + "\n")
    }
}

pub(super) async fn run(common: &Common<StatusArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let path = &config.store.path;
    let mut status = Status::read(path)?;
    print(&status.show(common.own.json)?)?;
    let watched = common.own.watch;
    loop {
        if !watched {
            break;
        }
        tokio::select! {
            () = crate::actor::wait_for_signal() => break,
            () = tokio::time::sleep(REDRAW) => {}
        }
        status = Status::read(path)?;
        let shown = status.show(common.own.json)?;
        // From the top left, over what was there.
        print(&if common.own.json { shown } else { format!("\x1b[H\x1b[2J{shown}") })?;
    }
    Ok(if status.ledger.counts.is_complete() { 0 } else { EXIT_INCOMPLETE })
}

fn table(status: &Status) -> String {
    let ledger = &status.ledger;
    let mut text = String::new();
    if let Some(crawl) = &ledger.identity {
        text.push_str(&format!(
            "{} of {}, commits {} to {}, data until {}\n\n",
            crawl.repository, crawl.base_url, crawl.window_start, crawl.window_end, crawl.data_end
        ));
    }
    text.push_str("                 done    total  pending   failed\n");
    for kind in Kind::ALL {
        let counts = ledger.counts.of(kind);
        text.push_str(&format!(
            "{:>12} {:>8} {:>8} {:>8} {:>8}\n",
            kind.name().replace('_', " "),
            counts.settled(),
            counts.total(),
            counts.pending,
            counts.failed
        ));
    }
    text.push('\n');
    if let Some(run) = &status.run {
        text.push_str(&run_lines(run));
        text.push_str(&due_line(&status.jobs_due));
    }
    text.push_str(&format!("as of {}\n", ledger.written_at));
    text
}

fn run_lines(run: &RunState) -> String {
    let mut text = match run.phase {
        RunPhase::Running => {
            let eta = run.eta_secs.map_or_else(
                || "no answer yet".to_owned(),
                |secs| format!("{} left", human_duration(Duration::from_secs(secs))),
            );
            format!(
                "running (process {}): {:.1} requests/s of {:.1}, {} requests known, {eta}\n",
                run.pid, run.reached_per_second, run.allowed_per_second, run.requests_left
            )
        }
        RunPhase::Reducing => {
            let stage = run.reducing.as_ref().map_or_else(String::new, |now| match now.total {
                0 => format!(": {}", now.stage),
                total => format!(": {}, {} of {total} signatures", now.stage, now.done),
            });
            format!("working through the data (process {}){stage}\n", run.pid)
        }
        RunPhase::Finished => format!("the last crawl came to its end at {}\n", run.updated_at),
        RunPhase::Interrupted => format!("the last crawl was ended at {}; run it again to go on\n", run.updated_at),
        RunPhase::Killed => format!("the last crawl was killed after {}; run it again to go on\n", run.updated_at),
    };
    let errors: Vec<_> = run.errors.iter().map(|(label, num)| format!("{label} {num}")).collect();
    text.push_str(&format!(
        "{} requests, {} retries, {} on disk",
        run.requests,
        run.retries,
        human_bytes(run.disk_bytes)
    ));
    if !errors.is_empty() {
        text.push_str(&format!("; failed attempts: {}", errors.join(", ")));
    }
    text.push('\n');
    if let Some(error) = &run.last_error {
        text.push_str(&format!("last error: {error}\n"));
    }
    if let (RunPhase::Running, Some(hint)) = (run.phase, &run.hint) {
        text.push_str(&format!("{hint}\n"));
    }
    text
}
