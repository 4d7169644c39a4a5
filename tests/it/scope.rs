//! The scope of a crawl: which signatures it asks for, how it is widened, and that it is never narrowed.

use std::collections::BTreeSet;

use perfharvest::config::ScopeConfig;
use perfharvest::model::Kind;
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, ScriptedReply, SimulatorHandle};

use crate::support::tamper::put;
use crate::support::{Crawl, artifacts_in, assert_same_artifacts, recordings, simulator};

fn of(text: &str) -> ScopeConfig {
    toml::from_str(text).unwrap()
}

/// The signatures whose data were asked for; each once.
fn asked(simulator: &SimulatorHandle) -> BTreeSet<u64> {
    let mut asked = BTreeSet::new();
    for arrival in simulator.arrivals() {
        if arrival.endpoint == Endpoint::Summary {
            let id = arrival.path_and_query.split("signature=").nth(1).unwrap().split('&').next().unwrap();
            assert!(asked.insert(id.parse().unwrap()), "{} was asked twice", arrival.path_and_query);
        }
    }
    asked
}

fn listed() -> Vec<Value> {
    let text = std::fs::read_to_string(recordings().join("signatures_autoland.json")).unwrap();
    let recorded: Value = serde_json::from_str(&text).unwrap();
    recorded["body"].as_object().unwrap().values().cloned().collect()
}

/// The ids of the listed signatures that pass.
fn passing(passes: impl Fn(&Value) -> bool) -> BTreeSet<u64> {
    listed().iter().filter(|signature| passes(signature)).map(|signature| signature["id"].as_u64().unwrap()).collect()
}

/// The ids that the recorded alert summaries name, in their own alerts and in related ones.
fn named_by_alerts() -> BTreeSet<u64> {
    let mut named = BTreeSet::new();
    for line in std::fs::read_to_string(recordings().join("alertsummary_limit100.jsonl")).unwrap().lines() {
        let reply: Value = serde_json::from_str(line).unwrap();
        for summary in reply["body"]["results"].as_array().unwrap() {
            for key in ["alerts", "related_alerts"] {
                let alerts = summary[key].as_array().unwrap();
                named.extend(alerts.iter().map(|alert| alert["series_signature"]["id"].as_u64().unwrap()));
            }
        }
    }
    named
}

/// All signatures of the crawl: those whose data were asked for, and those without data in the window.
fn chosen(crawl: &Crawl) -> BTreeSet<u64> {
    let store = Store::open_existing(&crawl.config.store).unwrap();
    store.settled_summaries().map(|summary| summary.unwrap().signature.0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alerted_signatures_are_asked_once_and_a_wider_scope_asks_only_for_the_others() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.scope = of("signatures = \"alerted\"");
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.is_complete());
    let ours = passing(|_| true);
    let alerted: BTreeSet<u64> = named_by_alerts().intersection(&ours).copied().collect();
    assert_eq!((alerted.len(), chosen(&crawl)), (100, alerted.clone()));
    let first = asked(&simulator);
    assert!(first.is_subset(&alerted));
    let manifest: Value = serde_json::from_slice(&crawl.artifacts()["manifest.json"]).unwrap();
    assert_eq!(manifest["crawl"]["scope"]["signatures"], "alerted");

    // A run that says nothing of the scope keeps it, and has nothing to do.
    let before = simulator.served().total();
    crawl.config.scope = ScopeConfig::default();
    assert!(crawl.run().await.unwrap().crawl.identity.scope.to_string().contains("alerted"));
    assert_eq!(simulator.served().total(), before);

    crawl.config.scope = of("signatures = \"all\"");
    let wider = crawl.run_for(&simulator, 7).await;
    assert!(wider.crawl.interrupted);
    crawl.config.scope = ScopeConfig::default();
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    let lists = |endpoint| simulator.arrivals().iter().filter(|arrival| arrival.endpoint == endpoint).count();
    assert_eq!(lists(Endpoint::Signatures), 2, "the lists are not asked again");
    assert!(asked(&simulator).len() > first.len(), "the others are asked for");
    let whole = Crawl::of(&simulator.url());
    whole.run().await.unwrap();
    assert_same_artifacts(&crawl.artifacts(), &whole.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frameworks_platforms_suites_and_ids_combine_with_and() {
    let simulator = simulator(Behaviour::default()).await;
    let is = |signature: &Value, key: &str, start: &str| signature[key].as_str().unwrap().starts_with(start);
    let of_framework = |signature: &Value, ids: &[u64]| ids.contains(&signature["framework_id"].as_u64().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    let some: Vec<u64> = passing(|_| true).into_iter().step_by(3).collect();
    let text: String = some.iter().map(|id| format!("{id}\n")).collect();
    put(file.path(), format!("# of a study\n{text}999999\n").as_bytes());
    let by_file = format!("signatures = {:?}\nplatforms = \"linux*\"", file.path());
    for (scope, expected) in [
        (
            "frameworks = [\"talos\", 13]\nplatforms = [\"linux*\"]",
            passing(|of| of_framework(of, &[1, 13]) && is(of, "machine_platform", "linux")),
        ),
        ("suites = [\"tsvgx\", \"Perf?trip\"]", passing(|of| is(of, "suite", "tsvgx") || is(of, "suite", "PerfStrip"))),
        (
            by_file.as_str(),
            passing(|of| some.contains(&of["id"].as_u64().unwrap()) && is(of, "machine_platform", "linux")),
        ),
    ] {
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.scope = of(scope);
        assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
        assert!(!expected.is_empty());
        assert_eq!(chosen(&crawl), expected, "{scope}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_narrower_or_another_scope_is_refused_before_anything_is_asked_and_the_dataset_stays() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.scope = of("platforms = [\"linux*\"]\nframeworks = 6");
    crawl.run().await.unwrap();
    let before = (simulator.served().total(), artifacts_in(&crawl.config.artifacts.out));
    for (scope, said) in [
        ("platforms = [\"linux64\"]", "scope.platforms: stored linux*, asked linux64"),
        ("signatures = \"alerted\"", "scope.signatures: stored all, asked alerted"),
        ("frameworks = [\"awsy\"]", "scope.frameworks: stored 6, asked awsy"),
    ] {
        crawl.config.scope = of(scope);
        let error = crawl.run().await.unwrap_err();
        let text = error.to_string();
        assert!(error.exit_code() == 2 && text.contains(said) && text.contains("use another --store"), "{text}");
    }
    assert_eq!(before, (simulator.served().total(), artifacts_in(&crawl.config.artifacts.out)));
    crawl.config.scope = of("frameworks = [6, \"awsy\"]");
    crawl.run().await.unwrap();
    let linux = |of: &Value| of["machine_platform"].as_str().unwrap().starts_with("linux");
    assert_eq!(chosen(&crawl), passing(|of| linux(of) && [4, 6].contains(&of["framework_id"].as_u64().unwrap())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_matches_nothing_is_an_error_with_the_nearest_names_and_can_be_corrected() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    let file = tempfile::NamedTempFile::new().unwrap();
    put(file.path(), b"999998\n999999\n");
    let foreign = format!("signatures = {:?}", file.path());
    for (scope, said) in [
        ("frameworks = [\"brosertime\"]", "no framework `brosertime`; did you mean `browsertime`?"),
        ("frameworks = [17]", "scope.frameworks: `17` matches none of the 150 signatures of autoland"),
        ("platforms = [\"linx1804*\"]", "did you mean `linux1804-64-shippable-qr`?"),
        ("suites = [\"tsvgx\", \"zzz*\"]", "scope.suites: `zzz*` matches none of the 150 signatures"),
        ("frameworks = [\"awsy\"]\nsuites = [\"tsvgx\"]", "no signature passes all keys"),
        (foreign.as_str(), "autoland lists none of the 2 ids"),
    ] {
        crawl.config.scope = of("signatures = \"all\"\nframeworks = \"*\"\nplatforms = \"*\"\nsuites = \"*\"");
        let scope = of(scope);
        crawl.config.scope.frameworks = scope.frameworks.or(crawl.config.scope.frameworks);
        crawl.config.scope.platforms = scope.platforms.or(crawl.config.scope.platforms);
        crawl.config.scope.suites = scope.suites.or(crawl.config.scope.suites);
        crawl.config.scope.signatures = scope.signatures.or(crawl.config.scope.signatures);
        let error = crawl.run().await.unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains(said), "{error}");
    }
    assert!(asked(&simulator).is_empty() && !crawl.config.artifacts.out.join("manifest.json").exists());
    let lists = |simulator: &SimulatorHandle| {
        let lists = |arrival: &&treeherder_sim::Arrival| arrival.endpoint == Endpoint::Signatures;
        simulator.arrivals().iter().filter(lists).count()
    };
    assert_eq!(lists(&simulator), 2);
    crawl.config.scope = of("signatures = \"all\"\nframeworks = \"awsy\"\nplatforms = \"*\"\nsuites = \"*\"");
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    assert_eq!((chosen(&crawl).len(), lists(&simulator)), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_the_scope_saves_and_what_a_wider_one_adds() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&simulator.url());
    let url = simulator.url();
    let plan = move |crawl: &Crawl, scope: &str| -> Value {
        let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        program.current_dir(crawl.folder.path()).args(["plan", "--json", "-q", "--base-url", &url, "--set", scope]);
        program.args(["--start", "2026-07-01", "--end", "2026-11-05T00:00:00Z", "--data-end", "2026-11-22T08:00:00Z"]);
        let output = program.arg("--store").arg(&crawl.config.store.path).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    };
    let planned = plan.clone();
    let (all, mut crawl, alerted) = tokio::task::spawn_blocking(move || {
        let all = planned(&Crawl::of("http://127.0.0.1:9"), "scope.signatures=all");
        let alerted = planned(&crawl, "scope.signatures=alerted");
        (all, crawl, alerted)
    })
    .await
    .unwrap();
    let to_do = |plan: &Value| plan["kinds"][2]["to_do"].as_u64().unwrap();
    let saved = |plan: &Value| plan["saved_by_scope"].as_u64().unwrap();
    assert_eq!(saved(&all), 0);
    assert!(saved(&alerted) > 30 && alerted["scope"]["signatures"] == "alerted", "{alerted}");

    crawl.config.scope = of("signatures = \"alerted\"");
    let summary = crawl.run().await.unwrap();
    assert_eq!(asked(&simulator).len() as u64, to_do(&alerted));
    // Signatures of alerts are asked for their headers too.
    let num_empty = summary.crawl.counts.of(Kind::Summaries).empty;
    assert!(num_empty > 0);
    assert_eq!(to_do(&all) + num_empty, to_do(&alerted) + saved(&alerted));
    let wider = tokio::task::spawn_blocking(move || {
        let wider = plan(&crawl, "scope.signatures=all");
        (wider, chosen(&crawl).len() as u64)
    });
    let (wider, num_chosen) = wider.await.unwrap();
    assert_eq!((to_do(&wider), saved(&wider)), (saved(&alerted), 0));
    assert_eq!(num_chosen, summary.crawl.counts.of(Kind::Summaries).settled(), "a plan widens nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_drawn_from_the_scope_which_cannot_change_then() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.scope = of("signatures = \"alerted\"");
    crawl.config.sample.signatures = Some(9.try_into().unwrap());
    crawl.run().await.unwrap();
    let sample = chosen(&crawl);
    assert!(sample.len() == 9 && sample.is_subset(&named_by_alerts()));
    crawl.config.scope = of("signatures = \"all\"");
    let error = crawl.run().await.unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("holds a sample"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_signatures_of_a_page_of_alerts_that_failed_are_asked_for_in_the_next_run() {
    let failing = simulator(Behaviour::default()).await;
    failing.script(ScriptedReply::status(404).at(Endpoint::AlertSummary).containing("?page=2&").times(1000));
    let mut crawl = Crawl::of(&failing.url());
    crawl.config.batch.alert_page = 20.try_into().unwrap();
    crawl.config.scope = of("signatures = \"alerted\"");
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.failed() > 0 && !summary.crawl.counts.is_complete());
    let first = asked(&failing);
    assert!(!first.is_empty());

    let calm = simulator(Behaviour::default()).await;
    crawl.config.source.base_url = calm.url();
    assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
    let then = asked(&calm);
    assert!(!then.is_empty() && then.is_disjoint(&first));
    let ours = passing(|_| true);
    assert_eq!(chosen(&crawl), named_by_alerts().intersection(&ours).copied().collect());
}
