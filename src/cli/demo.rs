//! `demo`: runs the whole job offline. It starts a simulated Treeherder, crawls it and makes the artifacts.

use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use treeherder_sim::{BackendConfig, Behaviour, Latency, Simulator, SimulatorConfig};

use super::terminal::say;
use crate::Error;
use crate::config::{Config, Rate};
use crate::dataset::write::{ArtifactError, ArtifactFile, publish};
use crate::observe::counted;
use crate::pipeline::RunOptions;

/// The inputs that belong to the simulator's recordings.
const COMMITS: &str = include_str!("../../tests/corpus/input/all_commits.jsonl");
const PERF_LLM_STRUC: &str = include_str!("../../tests/corpus/input/perf_llm_struc.jsonl");

/// The window of the recordings, and the moment they were made.
const START: &str = "2026-07-01T00:00:00Z";
const END: &str = "2026-11-05T00:00:00Z";
const DATA_END: &str = "2026-11-22T08:00:00Z";

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Folder of the artifacts
    #[arg(long, value_name = "DIR", default_value = "datasets/demo")]
    out: PathBuf,
    /// Folder of the store [default: OUT/store]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Do not show progress
    #[arg(long)]
    no_progress: bool,
}

pub(super) async fn run(args: &DemoArgs) -> Result<u8, Error> {
    let mut config = Config::default();
    config.log.progress = !args.no_progress;
    crate::observe::init_logging(&config.log)?;
    config.artifacts.out.clone_from(&args.out);
    config.store.path = args.store.clone().unwrap_or_else(|| args.out.join("store"));
    crate::pipeline::check_owner(&config)?;
    let _made = crate::dataset::write::make_folder(&args.out)?;
    let inputs = args.out.join("input");
    std::fs::create_dir_all(&inputs).map_err(|source| ArtifactError::Folder { folder: inputs.clone(), source })?;
    config.inputs.commits = Some(put(&inputs, "all_commits.jsonl", COMMITS)?);
    config.inputs.perf_llm_struc = Some(put(&inputs, "perf_llm_struc.jsonl", PERF_LLM_STRUC)?);

    let behaviour = Behaviour { latency: Latency::Fixed(Duration::from_millis(20)), ..Behaviour::default() };
    let simulator =
        Simulator::start(SimulatorConfig { backend: BackendConfig::Embedded, behaviour, ..SimulatorConfig::default() })
            .await?;
    say(&format!("crawling a simulated Treeherder at {}", simulator.url()));
    config.source.base_url = simulator.url();
    config.limiter.requests_per_second = NonZeroU32::new(50).map_or(Rate::LEAST, Rate::from); // the server is our own
    for (setting, text) in
        [(&mut config.window.start, START), (&mut config.window.end, END), (&mut config.window.data_end, DATA_END)]
    {
        *setting = text.parse().ok();
    }
    let options = RunOptions { same_source: true, ..RunOptions::default() };
    let code = super::run::run_with(config, options, None, super::run::Command::Run, false).await?;
    let served = simulator.shutdown().await?;
    say(&format!("the simulated server answered {}", counted(served.total(), "request", "requests")));
    Ok(code)
}

fn put(folder: &std::path::Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let mut file = ArtifactFile::create(folder, name)?;
    let path = folder.join(name);
    file.write_all(text.as_bytes()).map_err(|source| ArtifactError::Write { path: path.clone(), source })?;
    publish(folder, vec![file.finish()?])?;
    Ok(path)
}
