//! A request that fails repeatedly is split, and request sizes that succeeded are remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use perfharvest::model::{Batch, Request};
use perfharvest::source::{Split, split};
use perfharvest::store::Store;
use treeherder_sim::{Behaviour, Endpoint, Outcome, ScriptedReply, SimulatorHandle};

use crate::faults::{MOST_ATTEMPTS, asks_nothing_twice, calm, ends_as_undisturbed, job_ids, signature_of};
use crate::support::{Crawl, simulator};

const ALWAYS: usize = 1_000_000;

/// The dates in the paths of the summaries asked for, by signature, in order of arrival.
fn windows(simulator: &SimulatorHandle) -> BTreeMap<String, Vec<(String, Outcome)>> {
    let mut windows: BTreeMap<String, Vec<(String, Outcome)>> = BTreeMap::new();
    for arrival in simulator.arrivals().into_iter().filter(|arrival| arrival.endpoint == Endpoint::Summary) {
        let path = &arrival.path_and_query;
        let dates = path.split("&startday=").nth(1).unwrap().split("&all_data").next().unwrap().to_owned();
        windows.entry(signature_of(path)).or_default().push((dates, arrival.outcome));
    }
    windows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_hold_too_much_are_asked_in_parts_and_merge_to_the_whole() {
    for (kill_over_data, kill_hangs_up) in [(70, false), (9, false), (9, true)] {
        let kill = Behaviour {
            kill_over_data: Some(kill_over_data),
            kill_after: Duration::ZERO,
            kill_hangs_up,
            ..Behaviour::default()
        };
        let simulator = simulator(kill).await;
        ends_as_undisturbed(&Crawl::of(&simulator.url())).await;
        let most = windows(&simulator).values().map(Vec::len).max().unwrap();
        assert!(most > if kill_over_data == 9 { 10 } else { 3 }, "{most} requests for a signature");
        asks_nothing_twice(&simulator);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_window_that_times_out_or_meets_a_gateway_error_is_halved() {
    let path = &calm().await.summaries[75];
    let dates = path.split("&startday=").nth(1).unwrap();
    let statuses = [500, 502, 503, 504].map(|status| (ScriptedReply::status(status), 60));
    for (fault, timeout) in [(ScriptedReply::hang(), 2)].into_iter().chain(statuses) {
        let simulator = simulator(Behaviour::default()).await;
        simulator.script(fault.containing(&path[path.find("signature=").unwrap()..]).times(ALWAYS));
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.source.timeout = Duration::from_secs(timeout);
        ends_as_undisturbed(&crawl).await;
        let asked = &windows(&simulator)[&signature_of(path)];
        let whole = asked.iter().filter(|(window, _)| dates.starts_with(window)).count();
        assert_eq!((whole, asked.len()), (2, 4), "twice as a whole, then its halves");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_length_that_worked_is_taken_at_once_for_the_next_signature() {
    let kill = Behaviour { kill_over_data: Some(14), kill_after: Duration::ZERO, ..Behaviour::default() };
    let simulator = simulator(kill).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.concurrency.summaries = 1.try_into().unwrap();
    ends_as_undisturbed(&crawl).await;
    let windows = windows(&simulator);
    let killed: Vec<usize> = windows
        .values()
        .map(|asked| asked.iter().filter(|(_, outcome)| *outcome != Outcome::Status(200)).count())
        .collect();
    let learned = killed.iter().filter(|&&killed| killed == 2).count();
    // The others have more data in some part than those before them.
    assert!(learned >= 60, "{learned} of {} signatures were cut to the right length at once: {killed:?}", killed.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_is_broken_on_one_day_fails_for_that_day_alone() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl_of = |url: &str| {
        let mut crawl = Crawl::of(url);
        crawl.config.concurrency.summaries = 1.try_into().unwrap();
        crawl
    };
    let mut crawl = crawl_of(&simulator.url());
    let path = &calm().await.summaries[75];
    let id = signature_of(path).trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
    let identity = perfharvest::store::CrawlIdentity::create(&crawl.config, perfharvest::model::Timestamp::now());
    // Every window that halving makes around the broken day.
    let mut window = identity.data_window();
    let day = window.start.plus_secs(60 * 86_400);
    loop {
        let naive = |at: i64| perfharvest::model::Timestamp::from_secs(at).to_naive_string().replace(':', "%3A");
        let (start, end) = (naive(window.start.as_secs() - 1), naive(window.end.as_secs() + 1));
        let fragment = format!("signature={id}&startday={start}&endday={end}&");
        simulator.script(ScriptedReply::status(504).containing(&fragment).times(ALWAYS));
        let request =
            Request::Summary { signature: perfharvest::model::SignatureId(id), harvest: 1, window, replicates: false };
        let Split::Requests(parts) = split(&Batch::of(request), None) else { break };
        let containing = |request: &Request| match request {
            Request::Summary { window, .. } if window.contains(day) => Some(*window),
            _ => None,
        };
        window = parts.iter().find_map(containing).unwrap();
    }
    assert!((86_400..2 * 86_400).contains(&window.secs()));

    let summary = crawl.run().await.unwrap();
    assert!(!summary.reduction.unwrap().manifest.complete);
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let failures: Vec<_> = store.failures().map(Result::unwrap).collect();
    drop(store);
    let [(Request::Summary { signature, window: failed, .. }, failure)] = failures.as_slice() else {
        panic!("{failures:?}")
    };
    assert_eq!((signature.0, *failed, failure.status), (id, window, Some(504)));

    let healthy = crate::support::simulator(Behaviour::default()).await;
    crawl.config.source.base_url = healthy.url();
    ends_as_undisturbed(&crawl).await;
    assert_eq!(healthy.served().of(Endpoint::Summary), 1, "only that day is requested");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_that_fails_in_every_part_costs_a_few_requests_and_fewer_in_later_runs() {
    let path = &calm().await.summaries[75];
    let fragment = signature_of(path);
    for fault in [ScriptedReply::status(500), ScriptedReply::status(502), ScriptedReply::close()] {
        let simulator = simulator(Behaviour::default()).await;
        simulator.script(fault.containing(&fragment).times(ALWAYS));
        let mut crawl = Crawl::of(&simulator.url());
        let mut asked_before = 0;
        for most in [MOST_ATTEMPTS, 2, 2] {
            let probes_before = simulator.served().of(Endpoint::Framework);
            let summary = crawl.run().await.unwrap();
            assert!(summary.crawl.counts.failed() > 2 && !summary.reduction.unwrap().manifest.complete);
            let asked = windows(&simulator)[&fragment].len();
            let probes = simulator.served().of(Endpoint::Framework) - probes_before;
            assert!((1..=most).contains(&(asked - asked_before)), "{asked_before} requests, then {asked}");
            assert!(usize::try_from(probes).unwrap() <= most + 4, "{probes} probes");
            asked_before = asked;
        }
        let healthy = crate::support::simulator(Behaviour::default()).await;
        crawl.config.source.base_url = healthy.url();
        ends_as_undisturbed(&crawl).await;
    }
}

/// Many signatures that never answer do not keep the others from being fetched.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_that_fail_in_every_part_leave_the_others_complete() {
    let simulator = simulator(Behaviour::default()).await;
    let broken: Vec<String> = calm().await.summaries.iter().step_by(10).map(|path| signature_of(path)).collect();
    for fragment in &broken {
        simulator.script(ScriptedReply::status(500).containing(fragment).times(ALWAYS));
    }
    let mut crawl = Crawl::of(&simulator.url());
    crawl.run().await.unwrap();
    let windows = windows(&simulator);
    for (signature, asked) in &windows {
        let most = if broken.contains(signature) { 40 } else { 1 };
        assert!(asked.len() <= most, "{} requests for {signature}", asked.len());
    }
    assert_eq!(windows.len(), calm().await.summaries.len());
    let healthy = crate::support::simulator(Behaviour::default()).await;
    crawl.config.source.base_url = healthy.url();
    ends_as_undisturbed(&crawl).await;
}

/// Runs with job batches of 64, of which the server bears at most `bears`; gives the sizes asked, with their number.
async fn job_batches(refusal: ScriptedReply, refused: &[usize]) -> BTreeMap<usize, usize> {
    let simulator = simulator(Behaviour::default()).await;
    for size in refused {
        simulator.script(refusal.clone().at(Endpoint::Jobs).containing(&format!("&count={size}")).times(ALWAYS));
    }
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.batch.job_ids = 64.try_into().unwrap();
    crawl.config.concurrency.job_details = 1.try_into().unwrap();
    ends_as_undisturbed(&crawl).await;
    let mut sizes = BTreeMap::new();
    for arrival in simulator.arrivals().into_iter().filter(|arrival| arrival.endpoint == Endpoint::Jobs) {
        *sizes.entry(job_ids(&arrival.path_and_query).len()).or_insert(0) += 1;
    }
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_jobs_that_fails_is_halved_and_later_batches_are_no_larger_than_what_worked() {
    let foreign = ScriptedReply::body(r#"{"results": [{"id": 1}], "meta": {}}"#);
    let (failing, refused) = (ScriptedReply::status(502), ScriptedReply::status(400));
    for (refusal, attempts) in [(failing, 2), (refused, 1), (foreign, 2)] {
        let sizes = job_batches(refusal, &[64]).await;
        assert_eq!(sizes[&64], attempts, "the first full batch alone: {sizes:?}");
        assert!(sizes[&32] >= 4, "{sizes:?}");
    }
    let sizes = job_batches(ScriptedReply::status(504), &[64, 32]).await;
    assert_eq!((sizes[&64], sizes[&32]), (2, 2), "{sizes:?}");
    assert!(sizes[&16] >= 8, "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_list_that_fails_is_asked_by_framework() {
    let signatures = "performance/signatures/";
    for whole in [vec![signatures.to_owned(), "signatures/?start_date".to_owned()], vec!["start_date".to_owned()]] {
        let simulator = simulator(Behaviour::default()).await;
        // By framework they are answered: such scripts come first.
        simulator.script(ScriptedReply::answer().containing("framework=").times(ALWAYS));
        for fragment in &whole {
            simulator.script(ScriptedReply::status(504).at(Endpoint::Signatures).containing(fragment).times(ALWAYS));
        }
        ends_as_undisturbed(&Crawl::of(&simulator.url())).await;
        let asked: BTreeSet<String> = simulator
            .arrivals()
            .into_iter()
            .filter(|arrival| arrival.endpoint == Endpoint::Signatures && arrival.path_and_query.contains("framework="))
            .map(|arrival| arrival.path_and_query)
            .collect();
        assert!(asked.len() >= 20, "{asked:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_framework_whose_list_fails_leaves_the_others_complete() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::status(500).containing("signatures/?framework=1").times(ALWAYS));
    simulator.script(ScriptedReply::answer().containing("framework=").times(ALWAYS));
    simulator.script(ScriptedReply::status(500).at(Endpoint::Signatures).times(ALWAYS));
    let mut crawl = Crawl::of(&simulator.url());
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.failed() > 0 && !summary.reduction.unwrap().manifest.complete);
    let (asked, all) = (windows(&simulator).len(), calm().await.summaries.len());
    assert!(asked > 0 && asked < all, "the data of {asked} signatures of {all}");
    let healthy = crate::support::simulator(Behaviour::default()).await;
    crawl.config.source.base_url = healthy.url();
    let summary = crawl.run().await.unwrap();
    assert!(summary.reduction.unwrap().manifest.complete);
    assert_eq!(healthy.served().of(Endpoint::Summary), (all - asked) as u64, "only those of that list");
}
