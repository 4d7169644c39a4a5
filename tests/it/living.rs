//! A small generated server whose clock moves, and a crawl that follows it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use perfharvest::actor::Shutdown;
use perfharvest::config::Semantics;
use perfharvest::dataset::Artifact;
use perfharvest::model::Timestamp;
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions, RunSummary};
use perfharvest::store::Store;
use serde_json::Value;
use treeherder_sim::{
    BackendConfig, Behaviour, GeneratorConfig, History, Simulator, SimulatorConfig, SimulatorHandle, dump,
};

use crate::support::Crawl;

pub(crate) const DAY: i64 = 86_400;

/// The data of five months.
pub(crate) fn generated() -> GeneratorConfig {
    GeneratorConfig {
        signatures: 24,
        data_per_signature: 60,
        pushes: 300,
        alerts: 400,
        largest_group: 6,
        ..GeneratorConfig::default()
    }
}

/// Rows by signature, then id.
pub(crate) type Rows = BTreeMap<u64, BTreeMap<u64, Value>>;

/// A server, and the ends of the harvests that followed it, in seconds.
pub(crate) struct Living {
    pub(crate) simulator: SimulatorHandle,
    pub(crate) crawl: Crawl,
    pub(crate) ends: Vec<i64>,
    generated: GeneratorConfig,
}

impl Living {
    /// A server whose clock stands `from_start_days` after the start of its data.
    pub(crate) async fn start(history: History, from_start_days: i64, behaviour: Behaviour) -> Self {
        Self::start_with(generated(), history, from_start_days, behaviour).await
    }

    pub(crate) async fn start_with(
        config: GeneratorConfig,
        history: History,
        from_start_days: i64,
        behaviour: Behaviour,
    ) -> Self {
        let now = Some(config.start + from_start_days * DAY);
        let generated = config.clone();
        let backend = BackendConfig::Generated(config);
        let config = SimulatorConfig { backend, now, history, behaviour, ..SimulatorConfig::default() };
        let simulator = Simulator::start(config).await.unwrap();
        let crawl = crawl_of(&simulator.url(), &generated);
        Self { simulator, crawl, ends: Vec::new(), generated }
    }

    pub(crate) fn set_concurrency(&mut self, concurrency: usize) {
        set_concurrency(&mut self.crawl, concurrency);
    }

    pub(crate) fn advance_days(&self, days: u64) {
        self.simulator.advance(Duration::from_hours(24 * days));
    }

    /// Brings the store up to the server's clock.
    pub(crate) async fn refresh(&mut self) -> RunSummary {
        self.refresh_with(RunOptions::default()).await
    }

    pub(crate) async fn refresh_with(&mut self, options: RunOptions) -> RunSummary {
        self.refresh_making(options, &[]).await
    }

    /// As [`Living::refresh_with`], and makes `artifacts` only: the others are not looked at.
    pub(crate) async fn refresh_making(&mut self, options: RunOptions, artifacts: &[Artifact]) -> RunSummary {
        let mut config = self.crawl.config.clone();
        config.window.data_end = Some(self.now().parse().unwrap());
        let (_keep, live) = pipeline::fixed_config(config);
        let (counters, options) = (Arc::new(Counters::default()), RunOptions { same_source: true, ..options });
        let summary = pipeline::refresh(live, options, artifacts, &Shutdown::new(), counters).await.unwrap();
        let counts = &summary.crawl.counts;
        if !counts.is_complete() {
            let failures: Vec<_> = self.store().failures().map(Result::unwrap).collect();
            panic!("{} pending, failed: {failures:?}", counts.pending());
        }
        assert_eq!(summary.crawl.identity.data_end.to_string(), self.now());
        self.ends.push(self.simulator.now());
        summary
    }

    /// One crawl up to the last harvest, of the alert summaries since that of the first one.
    pub(crate) async fn one_crawl(&self) -> Crawl {
        let mut crawl = crawl_of(&self.simulator.url(), &self.generated);
        crawl.config.retry = self.crawl.config.retry.clone();
        crawl.config.scope = self.crawl.config.scope.clone();
        crawl.config.jobs = self.crawl.config.jobs.clone();
        crawl.config.window.alerts_lookback = self.crawl.config.window.alerts_lookback;
        let (first, last) = (self.ends[0], *self.ends.last().unwrap());
        crawl.config.window.alerts_lookback += Duration::from_secs(u64::try_from(last - first).unwrap());
        crawl.config.window.data_end = Some(Timestamp::from_secs(last));
        assert!(crawl.run().await.unwrap().crawl.counts.is_complete());
        crawl
    }

    /// The server's clock.
    pub(crate) fn now(&self) -> String {
        Timestamp::from_secs(self.simulator.now()).to_string()
    }

    pub(crate) fn store(&self) -> Store {
        Store::open_existing(&self.crawl.config.store).unwrap()
    }
}

pub(crate) fn set_concurrency(crawl: &mut Crawl, concurrency: usize) {
    let concurrency = NonZeroUsize::new(concurrency).unwrap();
    let pools = &mut crawl.config.concurrency;
    (pools.alerts, pools.signatures, pools.summaries, pools.job_details) =
        (concurrency, concurrency, concurrency, concurrency);
}

/// A crawl of the whole of the generated data, up to an open end.
fn crawl_of(url: &str, config: &GeneratorConfig) -> Crawl {
    let mut crawl = Crawl::of(url);
    dump(config, crawl.folder.path()).unwrap();
    crawl.config.inputs.commits = Some(crawl.folder.path().join("all_commits.jsonl"));
    crawl.config.inputs.perf_llm_struc = None;
    crawl.config.window.start = Some(Timestamp::from_secs(config.start));
    crawl.config.window.end = None;
    crawl.config.window.data_end = None;
    crawl.config.artifacts.semantics = Semantics::Corrected;
    crawl
}

/// The lines of a file, as JSON.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The lines of an artifact.
pub(crate) fn artifact(crawl: &Crawl, name: &str) -> Vec<Value> {
    lines(&crawl.config.artifacts.out.join(name))
}

pub(crate) fn by_id<'a>(rows: impl IntoIterator<Item = &'a Value>) -> BTreeMap<u64, Value> {
    rows.into_iter().map(|row| (row["id"].as_u64().unwrap(), row.clone())).collect()
}

/// The data of the dataset.
pub(crate) fn data_of(crawl: &Crawl) -> Rows {
    let by_signature = |row: &Value| (row["signature_id"].as_u64().unwrap(), by_id(row["jobs"].as_array().unwrap()));
    let rows: Rows = artifact(crawl, "perf_jobs_by_signature.jsonl").iter().map(by_signature).collect();
    rows.into_iter().filter(|(_, data)| !data.is_empty()).collect()
}

/// The artifacts that do not tell of harvests.
pub(crate) fn plain_artifacts(crawl: &Crawl) -> BTreeMap<String, Vec<u8>> {
    let mut artifacts = crawl.artifacts();
    artifacts.retain(|name, _| !matches!(name.as_str(), "manifest.json" | "alert_summary_history.jsonl"));
    artifacts
}
