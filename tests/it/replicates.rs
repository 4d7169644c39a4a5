//! Replicates: asked for beside the data, stored as lists of the data's ids, and never lost.

use std::collections::BTreeMap;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::model::{DatumId, Kind, SignatureId, Timestamp};
use perfharvest::pipeline::{self, RunOptions};
use perfharvest::store::{ReplicateReader, Row, Store, StoreError, archive};
use treeherder_sim::{Behaviour, Endpoint, History, ScriptedReply, SimulatorHandle};

use crate::living::{Living, generated, plain_artifacts};
use crate::support::{Crawl, assert_same_artifacts};

/// The bits of the values of each datum, by signature and id.
pub(crate) type Stored = BTreeMap<(u64, u64), Vec<u64>>;

pub(crate) fn stored_in(store: &Store) -> Stored {
    let mut stored = Stored::new();
    let mut signatures: BTreeMap<SignatureId, Vec<_>> = BTreeMap::new();
    let each = store.for_each_reading(true, |parts| {
        let of = signatures.entry(parts[0].signature).or_default();
        of.extend(parts.iter().map(perfharvest::store::SettledSummary::part));
        Ok::<_, StoreError>(())
    });
    each.unwrap();
    let mut reader = ReplicateReader::new(store);
    for (signature, parts) in signatures {
        let mut last: Option<(Timestamp, DatumId, u32)> = None;
        let read = reader.for_each_row(&parts, |row| {
            let Row::Regular(datum) = row.row else { panic!("{row:?}") };
            let place = (datum.push_timestamp, datum.id, row.ordinal);
            assert!(last.is_none_or(|last| last.0 < place.0 || last.1 != place.1 || last.2 + 1 == place.2));
            last = Some(place);
            let values = stored.entry((signature.0, datum.id.0)).or_default();
            assert_eq!(values.len(), row.ordinal as usize, "the rows of a datum stand together");
            values.push(datum.value.to_bits());
            Ok::<_, StoreError>(())
        });
        read.unwrap();
        if last.is_some() {
            let header = parts.iter().rev().find_map(|(request, _)| store.summary_header(request).unwrap());
            assert!(header.unwrap().as_str().contains("\"alert_threshold\""));
        }
    }
    stored
}

pub(crate) fn stored(crawl: &Crawl) -> Stored {
    stored_in(&Store::open_existing(&crawl.config.store).unwrap())
}

/// The rows that the server has of the data until `end`.
pub(crate) fn served(simulator: &SimulatorHandle, end: i64) -> Stored {
    let record = simulator.full_record();
    let mut ids = Vec::new();
    record.for_each_signature(|signature| ids.push((signature.repository, signature.id)));
    let mut rows = Stored::new();
    for (repository, signature) in ids {
        record.for_each_datum(repository, signature, |datum| {
            if datum.push_timestamp < end * 1_000_000 {
                let values = if datum.replicates.is_empty() { vec![datum.value] } else { datum.replicates.clone() };
                rows.insert((signature, datum.id), values.into_iter().map(f64::to_bits).collect());
            }
        });
    }
    rows
}

/// A number as the report shows it.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Requests for summaries, without and with replicates.
fn asked(simulator: &SimulatorHandle) -> [usize; 2] {
    let arrivals = simulator.arrivals();
    let summaries = || arrivals.iter().filter(|arrival| arrival.endpoint == Endpoint::Summary);
    ["&replicates=False", "&replicates=True"]
        .map(|flag| summaries().filter(|arrival| arrival.path_and_query.ends_with(flag)).count())
}

pub(crate) async fn living(behaviour: Behaviour) -> Living {
    let history = History { late_share: 0.2, new_signature_share: 0.3, ..History::growing() };
    let mut living = Living::start_with(generated(), history, 60, behaviour).await;
    living.crawl.config.scope.replicates = Some(true);
    living.crawl.config.retry.max_attempts = 20.try_into().unwrap();
    living
}

/// The artifacts that are made of replicates.
const OF_REPLICATES: [&str; 3] =
    ["per_revision_perf_data.jsonl", "per_sig_perf_data_info.jsonl", "per_sig_perf_data_replicates.jsonl"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_signature_is_asked_once_more_and_every_row_is_stored() {
    let mut living = living(Behaviour::default()).await;
    let summary = living.refresh().await;
    let [without, with] = asked(&living.simulator);
    assert!(with > 10 && with == without, "{with} of {without}");
    let rows = stored(&living.crawl);
    assert_eq!(rows, served(&living.simulator, living.simulator.now()));
    let has = |what: fn(&[u64]) -> bool| rows.values().any(|values| what(values));
    assert!(has(|values| values.len() == 1) && has(|values| values.len() > 5), "few and many");
    assert!(has(|values| values.contains(&(1 << 63))), "negative zeros");
    assert!(has(|values| values.len() > 1 && values[0] == values[1]), "equal ones");
    let counts = &summary.crawl.counts;
    let num_rows: usize = rows.values().map(Vec::len).sum();
    assert_eq!(counts.of(Kind::Replicates).records, num_rows as u64);
    living.store().find_damage(|damage| panic!("{damage}")).unwrap();

    // The artifacts of the data are those of a crawl without replicates, which asks for none.
    let (of_replicates, mut artifacts) = (with, plain_artifacts(&living.crawl));
    living.crawl.config.scope.replicates = None;
    let plain = living.one_crawl().await;
    artifacts.retain(|name, _| !OF_REPLICATES.contains(&name.as_str()));
    assert_eq!(asked(&living.simulator), [2 * without, of_replicates]);
    assert_same_artifacts(&plain_artifacts(&plain), &artifacts);
    assert!(stored(&plain).is_empty());
}

async fn grow(behaviour: Behaviour, steps: &[u64]) {
    let mut living = living(behaviour).await;
    living.refresh().await;
    for step in steps {
        living.advance_days(*step);
        let before = asked(&living.simulator);
        living.refresh().await;
        let now = asked(&living.simulator);
        assert!(now[1] > before[1]);
    }
    let once = living.one_crawl().await;
    let rows = stored(&living.crawl);
    assert_eq!(rows, stored(&once));
    assert_eq!(rows, served(&living.simulator, living.simulator.now()));
    assert_same_artifacts(&plain_artifacts(&once), &plain_artifacts(&living.crawl));
    living.store().find_damage(|damage| panic!("{damage}")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_come_to_the_rows_of_one_crawl() {
    grow(Behaviour::default(), &[7, 14, 8, 20]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refreshes_of_windows_in_parts_come_to_the_rows_of_one_crawl() {
    let kill = Behaviour { kill_over_data: Some(60), kill_after: Duration::ZERO, ..Behaviour::default() };
    grow(kill, &[7, 30, 9]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crawl_that_is_interrupted_again_and_again_comes_to_the_same_rows() {
    let living = living(Behaviour::default()).await;
    let mut crawl = living.crawl;
    crawl.config.window.data_end = Some(Timestamp::from_secs(living.simulator.now()));
    let mut runs = 0;
    while crawl.run_for(&living.simulator, 9).await.crawl.interrupted {
        runs += 1;
    }
    assert!(runs > 3, "{runs}");
    assert_eq!(stored(&crawl), served(&living.simulator, living.simulator.now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicates_may_be_switched_on_later_and_never_off() {
    let mut living = living(Behaviour::default()).await;
    living.crawl.config.scope.replicates = None;
    living.refresh().await;
    living.advance_days(9);
    living.refresh().await;
    let before = asked(&living.simulator);
    assert!(stored(&living.crawl).is_empty());
    let mut config = living.crawl.config.clone();
    config.window.data_end = None;
    config.scope.replicates = Some(true);
    let crawl = Crawl { folder: tempfile::tempdir().unwrap(), config };
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.is_complete() && summary.crawl.identity.scope.replicates);
    let now = asked(&living.simulator);
    assert!(now[0] == before[0] && now[1] > 10, "only what is missing is asked for: {before:?}, {now:?}");
    assert_eq!(stored(&crawl), served(&living.simulator, living.simulator.now()));

    let total = living.simulator.served().total();
    let mut off = crawl;
    off.config.scope.replicates = Some(false);
    let error = off.run().await.unwrap_err();
    assert!(
        error.exit_code() == 2 && error.to_string().contains("scope.replicates: stored true, asked false"),
        "{error}"
    );
    off.config.scope.replicates = None;
    assert!(off.run().await.unwrap().crawl.identity.scope.replicates, "it is pinned");
    assert_eq!(living.simulator.served().total(), total);

    living.advance_days(9);
    living.refresh().await;
    assert_eq!(stored(&living.crawl), served(&living.simulator, living.simulator.now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_without_rows_where_the_data_are_known_is_not_believed() {
    let mut living = living(Behaviour::default()).await;
    living.simulator.script(ScriptedReply::body("[]").containing("&replicates=True").times(3));
    living.refresh().await;
    assert_eq!(stored(&living.crawl), served(&living.simulator, living.simulator.now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_keeps_the_rows() {
    let mut living = living(Behaviour::default()).await;
    living.refresh().await;
    living.advance_days(20);
    living.refresh().await;
    let path = living.crawl.folder.path().join("archive");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    archive::write(&living.store(), &mut file, &Shutdown::new()).unwrap();
    let rows = stored(&living.crawl);
    living.crawl.config.store.path = living.crawl.folder.path().join("restored");
    archive::read(&path, &living.crawl.config.store, &Shutdown::new()).unwrap();
    assert_eq!(stored(&living.crawl), rows);
    living.store().find_damage(|damage| panic!("{damage}")).unwrap();
    living.advance_days(20);
    living.refresh().await;
    assert_eq!(stored(&living.crawl), served(&living.simulator, living.simulator.now()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plans_count_the_requests_for_replicates_exactly() {
    let mut living = living(Behaviour::default()).await;
    living.crawl.config.scope.replicates = None;
    living.refresh().await;
    let plan = |living: &Living, replicates: bool| {
        let mut program = assert_cmd::Command::cargo_bin("perfharvest").unwrap();
        program.current_dir(living.crawl.folder.path()).args(["plan", "--json", "-q", "--same-source"]);
        program.args(["--base-url", &living.simulator.url(), "--set", &format!("scope.replicates={replicates}")]);
        program.args(["--data-end", &living.now(), "--store"]).arg(&living.crawl.config.store.path);
        let output = program.output().unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        plan["kinds"].as_array().unwrap().iter().map(|kind| kind["requests"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(plan(&living, false).len(), 4);
    let wider = plan(&living, true);
    let before = asked(&living.simulator);
    let mut config = living.crawl.config.clone();
    config.window.data_end = None;
    config.scope.replicates = Some(true);
    let crawl = Crawl { folder: tempfile::tempdir().unwrap(), config };
    crawl.run().await.unwrap();
    let now = asked(&living.simulator);
    assert_eq!([wider[2], wider[4]], [0, (now[1] - before[1]) as u64]);

    living.advance_days(7);
    let mut config = crawl.config.clone();
    config.window.data_end = Some(living.now().parse().unwrap());
    let options = RunOptions { same_source: true, ..RunOptions::default() };
    let plan = pipeline::plan_refresh(&config, options, &Shutdown::new()).await.unwrap().unwrap();
    let before = asked(&living.simulator);
    living.refresh().await;
    let now = asked(&living.simulator);
    assert_eq!([plan.due.values().sum(), plan.replicates], [0, 1].map(|of| (now[of] - before[of]) as u64));
    assert!(plan.replicates > 0);
}
