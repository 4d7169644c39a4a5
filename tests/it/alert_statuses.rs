//! Alert summaries of other statuses than the older scripts fetch.

use std::collections::{BTreeMap, BTreeSet};

use parquet::record::Field;
use perfharvest::actor::Shutdown;
use perfharvest::config::AlertStatuses;
use perfharvest::dataset::tables::{Table, export};
use perfharvest::report::make_report;
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::{Behaviour, Endpoint, SimulatorHandle};

use crate::parquet::{jsonl, rows};
use crate::support::{Crawl, assert_same_artifacts, recordings, simulator};

const ALL: &str = "alert_summaries_all.jsonl";

fn of(text: &str) -> AlertStatuses {
    serde_json::from_str(text).unwrap()
}

/// The status of each recorded alert summary.
fn recorded() -> BTreeMap<i64, i64> {
    let text = std::fs::read_to_string(recordings().join("alertsummary_unfiltered_limit100.jsonl")).unwrap();
    let replies = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let summaries = replies.flat_map(|reply| reply["body"]["results"].as_array().unwrap().clone());
    summaries.map(|summary| (summary["id"].as_i64().unwrap(), summary["status"].as_i64().unwrap())).collect()
}

fn alert_requests(simulator: &SimulatorHandle) -> Vec<String> {
    let arrivals = simulator.arrivals();
    let alerts = arrivals.into_iter().filter(|arrival| arrival.endpoint == Endpoint::AlertSummary);
    alerts.map(|arrival| arrival.path_and_query).collect()
}

/// The artifacts that the older scripts define: all but the two with the records of other statuses.
fn of_the_scripts(crawl: &Crawl) -> BTreeMap<String, Vec<u8>> {
    let mut files = crawl.artifacts();
    files.retain(|name, _| ![ALL, "alert_summary_history.jsonl", "manifest.json"].contains(&name.as_str()));
    files
}

fn ids_and_names(lines: &[Value]) -> BTreeMap<i64, String> {
    let name = |line: &Value| line["status_name"].as_str().unwrap().to_owned();
    lines.iter().map(|line| (line["id"].as_i64().unwrap(), name(line))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_statuses_are_fetched_by_name_and_the_scripts_artifacts_keep_their_bytes() {
    let simulator = simulator(Behaviour::default()).await;
    let usual = Crawl::of(&simulator.url());
    usual.run().await.unwrap();
    assert!(alert_requests(&simulator).iter().all(|asked| asked.contains("hide_related_and_invalid=True")));
    let statuses = recorded();
    let usual_rows = ids_and_names(&jsonl(&usual.config.artifacts.out, ALL));
    let shown = |numbers: &[i64]| statuses.iter().filter(|(_, status)| !numbers.contains(status)).count();
    assert_eq!(usual_rows.len(), shown(&[1, 2, 3]));

    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.scope.alert_statuses = Some(of("[\"invalid\", \"fixed\"]"));
    let before = alert_requests(&simulator).len();
    crawl.run().await.unwrap();
    assert!(alert_requests(&simulator)[before..].iter().all(|asked| !asked.contains("hide_related_and_invalid")));
    let invalid = ids_and_names(&jsonl(&crawl.config.artifacts.out, ALL));
    assert_eq!(invalid.len(), shown(&[1, 2]));
    assert!(invalid.iter().all(|(id, name)| (statuses[id] == 3) == (name == "invalid")));
    assert_same_artifacts(&of_the_scripts(&usual), &of_the_scripts(&crawl));

    // More of them: the list that is stored has them already.
    crawl.config.scope.alert_statuses = Some(of("\"all\""));
    let before = simulator.served().total();
    crawl.run().await.unwrap();
    assert_eq!((simulator.served().total(), jsonl(&crawl.config.artifacts.out, ALL).len()), (before, statuses.len()));
    assert_same_artifacts(&of_the_scripts(&usual), &of_the_scripts(&crawl));

    let tables = crawl.folder.path().join("tables");
    let store = Store::open_existing(&crawl.config.store).unwrap();
    let wanted = BTreeSet::from([Table::AlertSummaries, Table::Alerts]);
    export(&store, &crawl.config, &tables, &wanted, &Shutdown::new()).unwrap();
    for row in rows(&tables, Table::AlertSummaries) {
        let (Field::Long(id), Field::Str(name)) = (&row["id"], &row["status_name"]) else { panic!("{row:?}") };
        assert_eq!(statuses[id] == 1, name == "downstream");
    }
    assert_eq!(rows(&tables, Table::AlertSummaries).len(), statuses.len());

    let html = make_report(&store, &crawl.config, crawl.folder.path(), &Shutdown::new()).unwrap().html;
    let chart = html.split("Alert summaries by status, starting").nth(1).unwrap().split('"').next().unwrap();
    let num_invalid = statuses.values().filter(|status| **status == 3).count();
    assert!(num_invalid > 0 && chart.contains(&format!(": invalid: {num_invalid}, ")), "{chart}");
    let table =
        html.split("<caption>Alert summaries by status</caption>").nth(1).unwrap().split("</table>").next().unwrap();
    let distinct: BTreeSet<i64> = statuses.values().copied().collect();
    assert_eq!(table.matches("<tr>").count(), distinct.len() + 1, "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_that_are_added_later_cost_the_list_alone_and_are_never_taken_away() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.scope = toml::from_str("signatures = \"alerted\"").unwrap();
    crawl.run().await.unwrap();
    let usual = of_the_scripts(&crawl);
    let before = simulator.served();
    crawl.config.scope = toml::from_str("alert_statuses = \"all\"").unwrap();
    let summary = crawl.run().await.unwrap();
    assert!(summary.crawl.counts.is_complete());
    let after = simulator.served();
    assert_eq!(after.of(Endpoint::Signatures), before.of(Endpoint::Signatures));
    assert!(after.of(Endpoint::AlertSummary) > before.of(Endpoint::AlertSummary));
    assert_eq!(jsonl(&crawl.config.artifacts.out, ALL).len(), recorded().len());
    assert_eq!(usual["alert_summaries.csv"], of_the_scripts(&crawl)["alert_summaries.csv"]);

    let mut at_once = Crawl::of(&simulator.url());
    at_once.config.scope = toml::from_str("signatures = \"alerted\"\nalert_statuses = \"all\"").unwrap();
    at_once.run().await.unwrap();
    assert_same_artifacts(&of_the_scripts(&crawl), &of_the_scripts(&at_once));

    crawl.config.scope = toml::from_str("alert_statuses = [\"invalid\"]").unwrap();
    let error = crawl.run().await.unwrap_err();
    let said = "scope.alert_statuses: stored default and downstream, reassigned, invalid, asked default and invalid";
    assert!(error.exit_code() == 2 && error.to_string().contains(said), "{error}");
}
