//! A page of alert summaries that is too much for one reply is read in smaller pages, down to the one row that the
//! server does not return.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::dataset::Manifest;
use perfharvest::model::Kind;
use perfharvest::pipeline::{self, RunOptions, RunSummary};
use perfharvest::store::Store;
use treeherder_sim::{AlertChange, Behaviour, Endpoint, ScriptedReply, SimulatorHandle};

use crate::faults::{MOST_ATTEMPTS, calm, ends_as_undisturbed};
use crate::faults_shown::{new_summary, perfharvest};
use crate::support::{Crawl, assert_same_artifacts, simulator};

const ALWAYS: usize = 1_000_000;

/// Ids of the alert summaries in the order of the list.
async fn ids() -> Vec<u64> {
    let table = &calm().await.artifacts["alert_summaries.csv"];
    let ids: Vec<u64> =
        csv::Reader::from_reader(table.as_slice()).records().map(|row| row.unwrap()[0].parse().unwrap()).collect();
    assert_eq!(ids.len(), 41);
    ids
}

fn killing(alerts: impl IntoIterator<Item = u64>) -> Behaviour {
    Behaviour { kill_alerts: alerts.into_iter().collect(), kill_after: Duration::ZERO, ..Behaviour::default() }
}

/// A crawl in pages of `alert_page` rows.
fn crawl_in_pages(simulator: &SimulatorHandle, alert_page: u32) -> Crawl {
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.batch.alert_page = alert_page.try_into().unwrap();
    crawl
}

fn listing(crawl: &Crawl) -> Vec<u64> {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    store.alert_listing().unwrap().into_iter().map(|id| id.0).collect()
}

async fn run_again(crawl: &Crawl, retry_set_aside: bool) -> RunSummary {
    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let options = RunOptions { same_source: true, retry_set_aside, ..RunOptions::default() };
    pipeline::run(live, options, &[], &Shutdown::new(), Arc::default()).await.unwrap()
}

fn manifest(summary: RunSummary) -> Manifest {
    summary.reduction.unwrap().manifest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_too_much_is_asked_in_halves_and_gives_the_same_dataset() {
    let statuses = [500, 502, 504].map(ScriptedReply::status);
    for fault in statuses.into_iter().chain([ScriptedReply::close(), ScriptedReply::body(vec![b' '; 3 << 20])]) {
        for refused in [&["limit=100&"][..], &["limit=100&", "limit=50&", "limit=25&"]] {
            let simulator = simulator(Behaviour::default()).await;
            for limit in refused {
                simulator.script(fault.clone().at(Endpoint::AlertSummary).containing(limit).times(ALWAYS));
            }
            let mut crawl = Crawl::of(&simulator.url());
            crawl.config.source.max_body_bytes = (2 << 20).try_into().unwrap();
            ends_as_undisturbed(&crawl).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_calm_server_is_asked_for_whole_pages_only() {
    for (alert_page, requests) in [(100, 1), (10, 5 + 1 + 3)] {
        let simulator = simulator(Behaviour::default()).await;
        ends_complete(&crawl_in_pages(&simulator, alert_page)).await;
        assert_eq!(simulator.served().of(Endpoint::AlertSummary), requests);
    }
}

async fn ends_complete(crawl: &Crawl) {
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.is_whole() && manifest(summary).complete);
}

/// Every place of a bad row: first and last of a page and of the list, in whole and in partly filled pages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_the_server_does_not_return_is_set_aside_and_costs_itself() {
    let ids = ids().await;
    for (alert_page, bad, most) in [
        (100, &[0][..], 32),
        (100, &[17], 32),
        (100, &[40], 32),
        (100, &[16, 17, 30], 60),
        (10, &[0], 32),
        (10, &[9], 32),
        (10, &[14], 32),
        (10, &[19], 32),
        (10, &[40], 32),
        (10, &[19, 20], 50),
        (7, &[20], 40),
        (1, &[0], 90),
        (1, &[20], 90),
    ] {
        let simulator = simulator(killing(bad.iter().map(|row| ids[*row]))).await;
        let crawl = crawl_in_pages(&simulator, alert_page);
        let first = crawl.run().await.unwrap();
        let case = format!("rows {bad:?} in pages of {alert_page}");
        let requests = simulator.served().of(Endpoint::AlertSummary);
        assert!(requests <= most, "{case}: {requests} requests");
        if (alert_page, bad) == (1, &[0][..]) {
            // Nothing says how long the list is.
            assert_eq!((first.crawl.counts.failed(), listing(&crawl).len()), (1, 0), "{case}");
            continue;
        }
        let counts = &first.crawl.counts;
        assert!(!first.crawl.alerts_moved && counts.is_complete() && !counts.is_whole(), "{case}: {counts:?}");
        assert_eq!(counts.of(Kind::Alerts).set_aside, bad.len() as u64, "{case}");
        assert_eq!(manifest(first).num_set_aside(), bad.len() as u64, "{case}");
        let others: Vec<u64> =
            ids.iter().enumerate().filter(|(row, _)| !bad.contains(row)).map(|(_, id)| *id).collect();
        assert_eq!(listing(&crawl), others, "{case}");
        {
            let store = Store::open_existing(&crawl.config.store).unwrap();
            let named: BTreeSet<String> = store.set_aside().map(|odd| odd.unwrap().2.text).collect();
            let expected = bad.iter().map(|row| format!("row {} of the list", row + 1)).collect();
            assert_eq!(named, expected, "{case}");
            store.find_damage(|damage| panic!("{damage}")).unwrap();
        }
        let before = simulator.served().total();
        run_again(&crawl, false).await;
        assert_eq!(simulator.served().total(), before, "{case}: it is settled");

        let still_bad = run_again(&crawl, true).await;
        assert_eq!(still_bad.crawl.counts.set_aside(), bad.len() as u64, "{case}");
        let asked = simulator.served().of(Endpoint::AlertSummary) - requests;
        assert!(asked > 0 && asked <= most, "{case}: {asked} requests to ask again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_well_again_is_there_after_it_is_asked_again() {
    let ids = ids().await;
    for (alert_page, bad) in [(100, 17), (10, 4), (10, 14), (10, 19)] {
        let broken = simulator(killing([ids[bad]])).await;
        let mut crawl = crawl_in_pages(&broken, alert_page);
        crawl.run().await.unwrap();
        let healthy = simulator(Behaviour::default()).await;
        crawl.config.source.base_url = healthy.url();
        let again = run_again(&crawl, true).await;
        assert!(again.crawl.counts.is_whole() && manifest(again).num_set_aside() == 0);
        assert_eq!(healthy.served().total(), healthy.served().of(Endpoint::AlertSummary));
        assert_eq!(listing(&crawl), ids);
        if alert_page == 100 {
            assert_same_artifacts(&crawl.artifacts(), &calm().await.artifacts);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alert_pages_that_fail_in_every_part_cost_a_few_requests() {
    let every_row = ids().await;
    let mut crawl_of_all = None;
    for behaviour in [killing(every_row.clone()), Behaviour::default()] {
        let is_scripted = behaviour.kill_alerts.is_empty();
        let simulator = simulator(behaviour).await;
        if is_scripted {
            simulator.script(ScriptedReply::status(502).at(Endpoint::AlertSummary).times(ALWAYS));
        }
        let crawl = Crawl::of(&simulator.url());
        for run in 1..=2 {
            let summary = crawl.run().await.unwrap();
            assert!(!summary.crawl.counts.is_complete());
            assert_eq!((summary.crawl.counts.failed(), summary.crawl.counts.set_aside()), (1, 0));
            assert!(simulator.served().of(Endpoint::AlertSummary) <= run * MOST_ATTEMPTS as u64);
            let data = "perf_jobs_by_signature.jsonl";
            assert!(crawl.artifacts()[data] == calm().await.artifacts[data], "the rest is there");
        }
        crawl_of_all = Some(crawl);
    }
    let mut crawl = crawl_of_all.unwrap();
    let healthy = simulator(Behaviour::default()).await;
    crawl.config.source.base_url = healthy.url();
    ends_as_undisturbed(&crawl).await;
    assert_eq!(healthy.served().total(), 1, "only the page that failed is asked");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_ends_within_a_page_in_parts_goes_on_to_the_same_dataset() {
    let ids = ids().await;
    let server = async || simulator(killing([ids[14], ids[33]])).await;
    let at_once = server().await;
    let reference = crawl_in_pages(&at_once, 10);
    reference.run().await.unwrap();
    let simulator = server().await;
    let crawl = crawl_in_pages(&simulator, 10);
    for more in [3, 7, 5, 9, 11, 6] {
        crawl.run_for(&simulator, more).await;
    }
    let summary = crawl.run().await.unwrap();
    assert_eq!((summary.crawl.counts.set_aside(), summary.crawl.counts.is_complete()), (2, true));
    assert_same_artifacts(&crawl.artifacts(), &reference.artifacts());
}

/// A row leaves and another comes while the parts of a page are read; counts and the page's last row stay the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_moves_between_the_parts_of_a_page_loses_nothing() {
    let ids = ids().await;
    let old = new_summary(99_003).replace("2026-11-21T12:00:00", "2026-01-01T12:00:00");
    for after in 1..=6 {
        let simulator = simulator(killing([ids[12]])).await;
        simulator.after(after, AlertChange::Leave(ids[2])).unwrap();
        simulator.after(after, AlertChange::Create(old.clone())).unwrap();
        let crawl = Crawl::of(&simulator.url());
        let summary = crawl.run().await.unwrap();
        assert!(summary.crawl.counts.is_complete() && !summary.crawl.alerts_moved, "{after}");
        let listed: BTreeSet<u64> = listing(&crawl).into_iter().collect();
        for id in ids.iter().filter(|id| ![ids[2], ids[12]].contains(id)) {
            assert!(listed.contains(id), "{id} is lost by a change after {after} answers");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_names_the_row_and_ends_with_exit_code_3() {
    let ids = ids().await;
    let simulator = simulator(killing([ids[17]])).await;
    let folder = tempfile::tempdir().unwrap();
    let run = perfharvest("run", &simulator.url(), folder.path(), &["-q"]).await;
    let said = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(3), "{said}");
    assert!(said.contains("1 record") && said.contains("perfharvest failures"), "{said}");
    let listed = perfharvest("failures", &simulator.url(), folder.path(), &[]).await;
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(listed.contains("row 18 of the list") && listed.contains("500"), "{listed}");
    assert_eq!(listed.lines().count(), 1, "{listed}");
}
