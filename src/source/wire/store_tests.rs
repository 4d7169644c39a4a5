//! Everything that reads a store can read the records that are taken from a reply: the reducers in both semantics, the
//! tables, the report and the search for damage.

use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::actor::Shutdown;
use crate::config::{Config, Semantics};
use crate::dataset::tables::{Table, export};
use crate::dataset::{ReduceOrder, read_commits, reduce};
use crate::model::{Request, Timestamp};
use crate::observe::Reducing;
use crate::report::make_report;
use crate::store::{Change, CrawlIdentity, Settlement, SignatureListing, Store};

const REVISION: &str = "4a0848c8a72f6b814209205af46df1dbc1688697";

/// Any value that a server may send in place of the documented one.
fn odd_value() -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        prop::sample::select(vec![
            "null",
            "true",
            "false",
            "0",
            "-1",
            "1.0",
            "1.5",
            "7",
            "-0.0",
            "1e400",
            "-1e999",
            "NaN",
            "Infinity",
            "1e-400",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551616",
            "9007199254740993.0",
            "\"\"",
            "\"7\"",
            "\"NaN\"",
            "\"x, \\\"y\\\"\\n\"",
            "\"\\ud83d\"",
            "\"\\ud83d\\ude00\"",
            "\"a@b.org\"",
            "\"2026-07-28T14:48:47\"",
            "\"2026-07-28T14:48:47Z\"",
            "\"\\u0000\"",
            "[]",
            "{}",
            "{\"a\":1,\"a\":2}",
        ])
        .prop_map(str::to_owned),
        "[1-9][0-9]{0,24}",
        Just("7".repeat(400)),
        (0_usize..140).prop_map(|depth| format!("{}{}", "[".repeat(depth + 1), "]".repeat(depth + 1))),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..3).prop_map(|list| format!("[{}]", list.join(","))),
            prop::collection::vec((prop::sample::select(vec!["a", "b", "\\udc00"]), inner), 1..3).prop_map(|entries| {
                let entries: Vec<String> =
                    entries.into_iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
                format!("{{{}}}", entries.join(","))
            }),
        ]
    })
    .boxed()
}

/// An object with these fields, of which some are odd, missing or doubled.
fn object(fields: &'static [(&'static str, &'static str)]) -> BoxedStrategy<String> {
    let of = |&(key, usual): &(&'static str, &'static str)| {
        let entry = move |value: String| format!("\"{key}\":{value}");
        prop_oneof![
            12 => Just(entry(usual.to_owned())),
            2 => odd_value().prop_map(entry),
            1 => Just(String::new()),
            1 => odd_value().prop_map(move |value| format!("{},{}", entry(value), entry(usual.to_owned()))),
        ]
    };
    let entries: Vec<_> = fields.iter().map(of).collect();
    entries
        .prop_map(|entries| {
            let there: Vec<String> = entries.into_iter().filter(|entry| !entry.is_empty()).collect();
            format!("{{{}}}", there.join(","))
        })
        .boxed()
}

fn signature() -> BoxedStrategy<String> {
    object(&[
        ("id", "5"),
        ("signature_hash", "\"e29e2e7ab9ce86f8d5e448db67468c7a4523c96e\""),
        ("framework_id", "2"),
        ("machine_platform", "\"linux\""),
        ("suite", "\"kraken\""),
        ("test", "\"score\""),
        ("should_alert", "null"),
        ("has_subtests", "true"),
        ("tags", "[\"a\"]"),
        ("extra_options", "[]"),
    ])
}

fn alert_summary() -> BoxedStrategy<String> {
    let summary = object(&[
        ("id", "52001"),
        ("push_id", "5"),
        ("created", "\"2026-11-21T00:51:30.987460\""),
        ("push_timestamp", "1786371760"),
        ("status", "7"),
        ("bug_number", "1999002"),
        ("revision", "\"4a0848c8a72f6b814209205af46df1dbc1688697\""),
        ("framework", "1"),
        ("performance_tags", "[\"x\"]"),
        ("related_alerts", "[]"),
    ]);
    let series =
        object(&[("id", "5"), ("test", "\"score\""), ("machine_platform", "\"linux\""), ("framework_id", "2")]);
    let alert = object(&[("id", "9"), ("is_regression", "true"), ("prev_value", "1.5"), ("amount_pct", "0.1")]);
    (summary, alert, series)
        .prop_map(|(summary, alert, series)| {
            let alert = format!("{},\"series_signature\":{series}}}", &alert[..alert.len() - 1]);
            let alert = alert.replacen("{,", "{", 1);
            format!("{},\"alerts\":[{alert}]}}", &summary[..summary.len() - 1]).replacen("{,", "{", 1)
        })
        .boxed()
}

fn job() -> BoxedStrategy<String> {
    object(&[
        ("id", "11"),
        ("submit_timestamp", "1784315031"),
        ("start_timestamp", "1784315041"),
        ("end_timestamp", "1784315951"),
        ("job_type_name", "\"test-linux\""),
        ("platform", "\"linux\""),
        ("machine_name", "\"m\""),
        ("result", "\"success\""),
    ])
}

/// Stores the replies as a crawl does. A summary of another shape is left out.
fn fill(store: &Store, identity: &CrawlIdentity, signatures: &[String], alerts: &[String], jobs: &[String]) {
    let commit = |settlement| store.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
    let entries: Vec<String> =
        signatures.iter().enumerate().map(|(at, text)| format!("\"{}\":{text}", 5 + at)).collect();
    let (found, taken) = flume::bounded(4);
    let body = format!("{{{}}}", entries.join(","));
    let sink: SignatureSink = Box::new(move |portion| found.send(portion).unwrap());
    let Reply::Signatures { odd } = super::signatures(body.as_bytes(), sink).unwrap() else { panic!() };
    let mut listing = SignatureListing::default();
    taken.into_iter().for_each(|portion| listing.add(&portion));
    commit(listing.settle(Request::Signatures { framework: None }, odd));

    let page = format!("{{\"count\":{},\"results\":[{}]}}", alerts.len(), alerts.join(","));
    let Reply::AlertPage { count, records } = alert_page(page.as_bytes(), AskedPage { page: 1, limit: 100 }).unwrap()
    else {
        panic!()
    };
    commit(Settlement::of_alert_page(Request::AlertPage { pass: 0, page: 1 }, count, records).unwrap());

    let batch = Batch::of_jobs(vec![JobId(11)]).unwrap();
    let reply = super::jobs(format!("{{\"results\":[{}]}}", jobs.join(",")).as_bytes(), &batch);
    let found = if let Ok(Reply::Jobs(found)) = reply { found } else { Sorted::default() };
    commit(Settlement::of_jobs(batch.requests(), &found));

    let window = identity.data_window();
    for id in (5..).take(signatures.len()).map(SignatureId) {
        let datum = format!(
            r#"{{"job_id":11,"id":{id},"value":4.36e-05,"push_timestamp":"2026-07-28T14:48:47","push_id":5,"revision":"{REVISION}","submit_time":null,"machine_name":null}}"#
        );
        let text = format!(r#"[{{"signature_id":{id},"data":[{datum}]}}]"#);
        let Reply::Summary(summary) = super::summary(text.as_bytes(), id, window, false).unwrap() else { panic!() };
        let request = Request::Summary { signature: id, harvest: 1, window, replicates: false };
        commit(Settlement::of_summary(store, request, true, &summary));
    }
}

fn config_in(folder: &Path) -> Config {
    let mut config = Config::default();
    config.store.path = folder.join("store");
    config.window.start = Some("2026-07-01T00:00:00Z".parse().unwrap());
    config.window.end = Some("2026-11-05T00:00:00Z".parse().unwrap());
    config.window.data_end = Some("2026-11-20T00:00:00Z".parse().unwrap());
    config.inputs.commits = Some(folder.join("commits.jsonl"));
    let commit = format!("{{\"node\":\"{REVISION}\",\"date\":[1785250127,0]}}\n");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(folder.join("commits.jsonl")).unwrap();
    std::io::Write::write_all(&mut file, commit.as_bytes()).unwrap();
    config
}

/// Reads the store in every way.
fn read_all(store: &Store, identity: &CrawlIdentity, mut config: Config, folder: &Path) {
    store.find_damage(|damage| panic!("{damage}")).unwrap();
    let shutdown = Shutdown::new();
    let commits = read_commits(&config, identity).unwrap();
    for semantics in [Semantics::Reference, Semantics::Corrected] {
        config.artifacts.semantics = semantics;
        config.artifacts.out = folder.join(format!("{semantics:?}"));
        let reducing = Reducing::default();
        let (commits, shutdown, reducing) = (commits.as_ref(), &shutdown, &reducing);
        reduce(store, ReduceOrder { config: &config, commits, artifacts: &[], shutdown, reducing }).unwrap();
        for name in ["all_signatures.jsonl", "sigs_by_job_id_detailed.jsonl", "max_revision_jobs.jsonl"] {
            let Ok(text) = std::fs::read_to_string(config.artifacts.out.join(name)) else { continue };
            for line in text.lines() {
                serde_json::from_str::<serde_json::Value>(line)
                    .unwrap_or_else(|error| panic!("{name}: {error}: {line}"));
            }
        }
    }
    export(store, &config, &folder.join("tables"), &BTreeSet::from(Table::ALL), &shutdown).unwrap();
    make_report(store, &config, folder, &shutdown).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn everything_that_reads_a_store_can_read_what_was_taken(
        signatures in prop::collection::vec(prop_oneof![9 => signature(), 1 => odd_value()], 1..4),
        alerts in prop::collection::vec(prop_oneof![9 => alert_summary(), 1 => odd_value()], 1..4),
        jobs in prop::collection::vec(job(), 0..2),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let config = config_in(folder.path());
        let store = Store::open(&config.store).unwrap();
        let identity = CrawlIdentity::create(&config, Timestamp::from_secs(1_790_000_000));
        store.pin_identity(&identity).unwrap();
        fill(&store, &identity, &signatures, &alerts, &jobs);
        let counts = store.counts().unwrap();
        let num_odd = store.set_aside().count() as u64;
        prop_assert_eq!(counts.set_aside() + counts.corrected(), num_odd);
        read_all(&store, &identity, config, folder.path());
    }
}
