//! The closing summaries of `run`, `crawl` and `reduce`.

use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::advice::advice;
use super::counts::count_table;
use crate::config::{Config, Scope};
use crate::dataset::commits::check::share_of;
use crate::dataset::{Artifact, Input, ReduceSummary, changes_file};
use crate::model::{Kind, Timestamp};
use crate::observe::{Counters, counted, form, human_bytes, human_duration};
use crate::pipeline::{CrawlSummary, RunSummary};
use crate::store::{Harvest, KindTally};
use crate::{EXIT_INCOMPLETE, EXIT_INTERRUPTED};

pub(super) fn exit_code(crawl: &CrawlSummary) -> u8 {
    if crawl.interrupted {
        EXIT_INTERRUPTED
    } else if !crawl.counts.is_whole() || !crawl.lost.is_empty() {
        EXIT_INCOMPLETE
    } else {
        0
    }
}

pub(super) fn closing_summary(config: &Config, summary: &RunSummary, counters: &Counters) -> String {
    let mut text = crawl_lines(config, &summary.crawl, counters);
    if let Some(reduction) = &summary.reduction {
        text.push_str(&harvest_line(config, &summary.crawl, &reduction.manifest.run.harvests));
        text.push_str(&reduction_lines(config, &[], reduction));
        text.push_str(&format!("for an overview, run:\n  {}\n", advice(config, "perfharvest report")));
    }
    text
}

/// Names the newest harvest, if it is a later one and this run asked for anything.
fn harvest_line(config: &Config, crawl: &CrawlSummary, harvests: &[Harvest]) -> String {
    match harvests {
        [_, .., newest] if crawl.requests_made > 0 && !newest.is_open() => format!(
            "harvest {}, up to {}, added {}; {} lists its changes\n",
            newest.number,
            newest.data_end,
            counted(newest.data_added, "datum", "data"),
            config.artifacts.out.join(changes_file(newest.number)).display(),
        ),
        _ => String::new(),
    }
}

/// The result of a crawl, in less than a screen.
pub(super) fn crawl_lines(config: &Config, crawl: &CrawlSummary, counters: &Counters) -> String {
    let mut text = format!("\n{}", count_table(&crawl.counts));
    let sum = |of: fn(&KindTally) -> u64| Kind::ALL.iter().map(|kind| of(crawl.counts.of(*kind))).sum::<u64>();
    // A run that was killed counts only as far as it stored its answers.
    let requests = sum(|counts| counts.attempts).max(crawl.requests_made);
    text.push_str(&format!(
        "this run: {} in {}\nall runs: {} for {} of JSON\n",
        counted(crawl.requests_made, "request", "requests"),
        human_duration(crawl.elapsed),
        counted(requests, "request", "requests"),
        human_bytes(sum(|counts| counts.body_bytes)),
    ));
    // Later harvests ask for the same again.
    if crawl.identity.first_data_end.is_none() {
        let one_by_one = one_by_one(crawl);
        text.push_str(&format!(
            "one item per request would take {} ({} saved)\n",
            counted(one_by_one, "request", "requests"),
            one_by_one.saturating_sub(requests),
        ));
    }
    text.push_str(&format!("store: {}\n", config.store.path.display()));
    if !crawl.identity.scope.is_all() {
        text.push_str(&format!("scope: {}\n", crawl.identity.scope));
    }
    if crawl.counts.corrected() > 0 {
        text.push_str(&format!(
            "corrected: {} with values that are not valid JSON; `{}` lists them\n",
            counted(crawl.counts.corrected(), "record", "records"),
            advice(config, "perfharvest failures --corrected"),
        ));
    }
    for request in &crawl.lost {
        text.push_str(&format!(
            "lost: {request}: the stored answer was damaged or missing, and the server no longer has it\n"
        ));
    }
    if let Some(hint) = counters.limit_hint() {
        text.push_str(&format!("{hint}\n"));
    }
    if crawl.interrupted {
        text.push_str("interrupted: everything fetched is stored. Run the same command again to resume.\n");
    } else if exit_code(crawl) == 0 {
        text.push_str(&complete_line(config, crawl, Timestamp::now()));
    } else {
        text.push_str(&missing_line(config, crawl));
        text.push('\n');
    }
    text
}

/// For a complete crawl. If there was nothing to do, a refresh may have.
fn complete_line(config: &Config, crawl: &CrawlSummary, now: Timestamp) -> String {
    if crawl.requests_made > 0 {
        return "complete: nothing left to fetch\n".to_owned();
    }
    let data_end = crawl.identity.data_end;
    if config.window.data_end == Some(data_end) {
        return format!(
            "complete: up to date as of {data_end}{}, the configured window.data_end\n",
            age_of(data_end, now)
        );
    }
    format!(
        "complete: up to date as of {data_end}{}; `{}` fetches what came since\n",
        age_of(data_end, now),
        advice(config, "perfharvest refresh"),
    )
}

/// `, 8 days ago`; nothing for a time in the future.
pub(super) fn age_of(at: Timestamp, now: Timestamp) -> String {
    let secs = u64::try_from(now.as_secs().saturating_sub(at.as_secs())).unwrap_or_default();
    if secs == 0 { String::new() } else { format!(", {} ago", human_duration(Duration::from_secs(secs))) }
}

/// The missing data of a crawl that ended by itself, and the remedy.
pub(super) fn missing_line(config: &Config, crawl: &CrawlSummary) -> String {
    let failed = crawl.counts.failed();
    if failed > 0 {
        let them = form(failed, "it", "them");
        let list = advice(config, "perfharvest failures");
        format!(
            "incomplete: {} failed. `{list}` lists {them}; the next run tries {them} again.",
            counted(failed, "request", "requests")
        )
    } else if crawl.counts.pending() > 0 {
        // Only a run with a limit of job details leaves any.
        "incomplete: some job details are still to fetch; the next run fetches them".to_owned()
    } else if crawl.alerts_moved {
        "incomplete: the list of alert summaries changed each time it was read, so some may be missing; the next run reads \
         it again"
            .to_owned()
    } else if crawl.lost.is_empty() && crawl.counts.is_complete() {
        format!("complete, {}", set_aside_line(config, crawl.counts.set_aside()))
    } else if crawl.lost.is_empty() {
        "incomplete: the next run determines what is still to fetch".to_owned()
    } else {
        format!("incomplete: {} lost for good", counted(crawl.lost.len() as u64, "answer is", "answers are"))
    }
}

/// Says how many records were set aside, and which command lists them.
pub(super) fn set_aside_line(config: &Config, num: u64) -> String {
    format!(
        "{} set aside: no artifact has {}, since {} cannot be read; `{}` lists {}",
        counted(num, "record", "records"),
        form(num, "it", "them"),
        form(num, "it", "they"),
        advice(config, "perfharvest failures"),
        form(num, "it", "them"),
    )
}

/// Requests needed for the same answers one by one: each signature's record and data, each job, ten alerts per page.
fn one_by_one(crawl: &CrawlSummary) -> u64 {
    let of = |kind: Kind| crawl.counts.of(kind);
    let signatures = of(Kind::Summaries).settled();
    let lists = of(Kind::Alerts).records.div_ceil(10).max(1) + 1;
    lists + 2 * signatures + of(Kind::Replicates).settled() + of(Kind::JobDetails).settled()
}

pub(super) fn reduction_lines(config: &Config, asked: &[Artifact], reduction: &ReduceSummary) -> String {
    let mut text = format!(
        "{} written, {} unchanged, in {}\n",
        counted(reduction.written.len() as u64, "artifact", "artifacts"),
        reduction.unchanged.len(),
        config.artifacts.out.display()
    );
    if let Some((listed, with_data)) = share_of(&reduction.manifest.commits) {
        let others =
            if listed < with_data { "; the others lie outside the window, or the file lacks them" } else { "" };
        text.push_str(&format!("revisions with data: {listed} of {with_data} are in the commits file{others}\n"));
    }
    if asked.is_empty() {
        let scope = &reduction.manifest.crawl.scope;
        text.push_str(&not_made_lines(config, scope, LevelFilter::current() >= LevelFilter::DEBUG));
    }
    for (artifact, reason) in &reduction.refused {
        text.push_str(&format!("not made: {artifact}: {reason}\n"));
    }
    if !reduction.complete && reduction.refused.is_empty() {
        text.push_str(&format!(
            "the dataset is incomplete: rows are missing (manifest.json: \"complete\": false); `{}` fetches them\n",
            advice(config, "perfharvest run"),
        ));
    } else if reduction.manifest.num_set_aside() > 0 {
        text.push_str(&set_aside_line(config, reduction.manifest.num_set_aside()));
        text.push('\n');
    } else if reduction.complete && !reduction.manifest.complete {
        text.push_str(&format!(
            "other artifacts in this folder were made before the crawl was complete (manifest.json: \"complete\": false); \
             `{}` makes them again\n",
            advice(config, "perfharvest reduce"),
        ));
    }
    text
}

/// The artifacts that are left out because an input is not configured. Few people have records to relabel or
/// predictions, or ask for more than the usual answers, so that their absence is only a detail.
fn not_made_lines(config: &Config, scope: &Scope, with_details: bool) -> String {
    let has_commits = config.commits_file().is_some_and(|file| config.inputs.commits.is_some() || file.exists());
    let mut text = String::new();
    let has_records = config.inputs.perf_llm_struc.is_some() || !with_details;
    let predictions = [&config.inputs.eval_predictions, &config.inputs.final_test_predictions];
    let has_predictions = predictions.iter().all(|path| path.is_some()) || !with_details;
    for (input, is_there, key) in [
        (Input::Commits, has_commits, "--commits (inputs.commits); see `perfharvest commits --help`"),
        (Input::PerfLlmStruc, has_records, "inputs.perf_llm_struc, the records to relabel"),
        (Input::Replicates, scope.replicates || !with_details, "scope.replicates = true"),
        (Input::AllJobs, scope.all_jobs || !with_details, "jobs.details = \"all\""),
        (Input::EvalPredictions, has_predictions, "inputs.eval_predictions and inputs.final_test_predictions"),
    ] {
        let lacking = Artifact::ALL.iter().filter(|artifact| artifact.inputs().contains(&input)).count() as u64;
        if !is_there && lacking > 0 {
            text.push_str(&format!("not made: {} {key}\n", counted(lacking, "artifact needs", "artifacts need")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{CrawlIdentity, Tally};

    /// A crawl whose tally is that of `counts`.
    fn crawl(counts: &str) -> CrawlSummary {
        let counts: Tally = serde_json::from_str(counts).unwrap();
        CrawlSummary {
            identity: CrawlIdentity::create(&Config::default(), Timestamp::default()),
            counts,
            requests_made: 1,
            elapsed: Duration::from_secs(108),
            lost: Vec::new(),
            interrupted: false,
            alerts_moved: false,
        }
    }

    fn tally(failed: u64, finished: bool) -> String {
        let kind = |data: u64, failed: u64, attempts: u64| {
            format!(
                "{{\"pending\":0,\"data\":{data},\"empty\":0,\"gone\":0,\"skipped\":0,\"failed\":{failed},\"records\":{data},\
                 \"body_bytes\":500,\"attempts\":{attempts}}}"
            )
        };
        let kinds = [kind(1, 0, 1), kind(1, 0, 1), kind(20, failed, 22), kind(600, 0, 2)].join(",");
        format!("{{\"commits\":1,\"kinds\":[{kinds}],\"digests\":[0,0,0,0],\"finished\":{finished}}}")
    }

    #[test]
    fn a_summary_separates_this_run_from_all_runs_and_says_how_many_requests_were_saved() {
        let text = crawl_lines(&Config::default(), &crawl(&tally(0, true)), &Counters::default());
        assert!(text.contains("this run: 1 request in 1 min 48 s\n"), "{text}");
        assert!(
            text.contains(
                "all runs: 26 requests for 2.0 kB of JSON\none item per request would take 642 requests (616 saved)\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("complete: nothing left to fetch\n") && text.lines().count() < 20, "{text}");
    }

    #[test]
    fn a_later_harvest_is_named_with_the_file_of_its_changes() {
        let mut crawl = crawl(&tally(0, true));
        let data_end: Timestamp = "2026-08-09T00:00:00Z".parse().unwrap();
        crawl.identity = crawl.identity.extended_to(data_end);
        let harvest = |number: u16| Harvest {
            number,
            joined_at: Some(data_end),
            data_added: 2,
            ..serde_json::from_value(serde_json::json!({
                "number": 1, "data_end": data_end, "began_at": data_end, "overlap_secs": 0, "late_check_secs": 0,
                "attempts_before": 0, "data_before": 0, "requests": 0, "data_added": 0, "num_alerts": 0
            }))
            .unwrap()
        };
        let line = harvest_line(&Config::default(), &crawl, &[harvest(1), harvest(2)]);
        let file = "datasets/mozilla_perf/changes/0002.jsonl";
        assert_eq!(line, format!("harvest 2, up to {data_end}, added 2 data; {file} lists its changes\n"));
        assert_eq!(harvest_line(&Config::default(), &crawl, &[harvest(1)]), "");
        let text = crawl_lines(&Config::default(), &crawl, &Counters::default());
        assert!(!text.contains("one item per request"), "{text}");
        crawl.requests_made = 0;
        assert_eq!(harvest_line(&Config::default(), &crawl, &[harvest(1), harvest(2)]), "");
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_lists_it() {
        let mut config = Config::default();
        config.store.path = "a store".into();
        let line = missing_line(&config, &crawl(&tally(1, false)));
        let list = "`perfharvest failures --store 'a store'`";
        assert_eq!(line, format!("incomplete: 1 request failed. {list} lists it; the next run tries it again."));
        let line = missing_line(&config, &crawl(&tally(3, false)));
        assert!(line.starts_with("incomplete: 3 requests failed. ") && line.contains("lists them"), "{line}");
    }

    #[test]
    fn a_crawl_with_records_set_aside_is_complete_and_not_whole() {
        let counts = tally(0, true).replacen("\"attempts\":1}", "\"attempts\":1,\"set_aside\":2,\"corrected\":1}", 1);
        let crawl = crawl(&counts);
        assert_eq!(exit_code(&crawl), EXIT_INCOMPLETE);
        let text = crawl_lines(&Config::default(), &crawl, &Counters::default());
        assert!(
            text.contains("\ncomplete, 2 records set aside: no artifact has them, since they cannot be read; "),
            "{text}"
        );
        assert!(text.contains("\ncorrected: 1 record with "), "{text}");
    }

    #[test]
    fn artifacts_that_lack_an_input_are_listed() {
        let mut config = Config::default();
        assert_eq!(not_made_lines(&config, &Scope::default(), false).lines().count(), 1);
        let text = not_made_lines(&config, &Scope::default(), true);
        assert!(text.contains("not made: 12 artifacts need --commits (inputs.commits)"), "{text}");
        assert!(text.contains("not made: 2 artifacts need inputs.perf_llm_struc"), "{text}");
        config.inputs.commits = Some("all_commits.jsonl".into());
        config.inputs.perf_llm_struc = Some("perf_llm_struc.jsonl".into());
        config.inputs.eval_predictions = Some("eval.json".into());
        config.inputs.final_test_predictions = Some("final_test.json".into());
        let scope = Scope { replicates: true, all_jobs: true, ..Scope::default() };
        assert_eq!(not_made_lines(&config, &scope, true), "");
    }
}
