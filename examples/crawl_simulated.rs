//! Uses perfharvest as a library: starts a simulated Treeherder, runs a crawl against it, and lists the artifacts.
//!
//! ```text
//! cargo run --example crawl_simulated
//! ```

use std::sync::Arc;

use anyhow::Context as _;
use perfharvest::actor::Shutdown;
use perfharvest::config::Config;
use perfharvest::model::Kind;
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions};
use treeherder_sim::{Simulator, SimulatorConfig};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let simulator = Simulator::start(SimulatorConfig::default()).await?;

    let mut config = Config::default();
    config.source.base_url = simulator.url();
    config.window.start = Some("2026-07-01T00:00:00Z".parse()?);
    config.window.end = Some("2026-11-05T00:00:00Z".parse()?);
    config.window.data_end = Some("2026-11-22T08:00:00Z".parse()?);
    config.limiter.requests_per_second = 500.0.try_into()?;
    config.store.path = folder.path().join("store");
    config.inputs.commits = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/input/all_commits.jsonl").into());
    config.artifacts.out = folder.path().join("dataset");
    config.log.progress = false;

    let (_keep, live) = pipeline::fixed_config(config);
    let summary =
        pipeline::run(live, RunOptions::default(), &[], &Shutdown::new(), Arc::new(Counters::default())).await?;
    let data = summary.crawl.counts.of(Kind::Summaries).records;
    let reduction = summary.reduction.context("the run was not interrupted")?;
    anyhow::ensure!(reduction.manifest.complete, "nothing failed");

    let mut lines = format!("{data} data by {} requests\n", summary.crawl.requests_made);
    for (name, artifact) in &reduction.manifest.artifacts {
        lines.push_str(&format!("{:>9} bytes  {name}\n", artifact.bytes));
    }
    std::io::Write::write_all(&mut std::io::stdout(), lines.as_bytes())?;
    simulator.shutdown().await?;
    Ok(())
}
