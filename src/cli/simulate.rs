//! `simulate`: serves a simulated Treeherder on a loopback address, or writes generated data to files.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use treeherder_sim::{BackendConfig, Behaviour, FaultRule, GeneratorConfig, Latency, Simulator, SimulatorConfig, dump};

use super::{print, say};
use crate::Error;
use crate::model::Timestamp;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    perfharvest simulate  # the corpus that is built in\n  \
    perfharvest simulate --signatures 1000 --latency lognormal:80ms,0.5\n  \
    perfharvest simulate --fault 502@summary=0.05 --fault cut=0.01\n  \
    perfharvest simulate --signatures 20000 --dump data  # write it, serve nothing\n\n\
    It prints its URL on stdout, and on Ctrl-C what it served.")]
pub(super) struct SimulateArgs {
    /// Serve the recorded replies of this folder [default: the corpus that is built in]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["signatures"])]
    corpus: Option<PathBuf>,
    /// Listen here; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// The server's clock [default: the moment of the recording, or of the generated data's end]
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Write every request that arrives to this file, a JSON object a line
    #[arg(long, value_name = "FILE")]
    arrival_log: Option<PathBuf>,

    /// Serve generated data of that many signatures
    #[arg(long, value_name = "N", help_heading = "Generated data")]
    signatures: Option<NonZeroUsize>,
    /// Mean number of data of a signature
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    data_per_signature: Option<usize>,
    /// Alert summaries
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    alerts: Option<usize>,
    /// Pushes
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    pushes: Option<usize>,
    /// Which data; also draws latencies and faults
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Generated data")]
    seed: u64,
    /// Write the generated data as the older scripts' files into this folder, and serve nothing
    #[arg(long, value_name = "DIR", requires = "signatures", help_heading = "Generated data")]
    dump: Option<PathBuf>,

    /// Time until an answer: 50ms, 20ms..200ms, lognormal:80ms,0.5
    #[arg(long, value_name = "LATENCY", help_heading = "A bad day")]
    latency: Option<Latency>,
    /// Requests a second that are served; more are answered 429
    #[arg(long, value_name = "N", help_heading = "A bad day")]
    capacity: Option<f64>,
    /// Retry-After of those answers
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, help_heading = "A bad day")]
    retry_after: Option<Duration>,
    /// KIND[@ENDPOINT]=RATE: a status, reset, cut, hang, html, broken-json, wrong-shape, empty-body; many times
    #[arg(long, value_name = "FAULT", help_heading = "A bad day")]
    fault: Vec<FaultRule>,
    /// Drop the connection of a summary request for more than N data
    #[arg(long, value_name = "N", help_heading = "A bad day")]
    kill_over_data: Option<usize>,
    /// … after this long
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "30s", help_heading = "A bad day")]
    kill_after: Duration,
}

impl SimulateArgs {
    fn generator(&self, signatures: NonZeroUsize) -> GeneratorConfig {
        let mut config =
            GeneratorConfig { signatures: signatures.get(), seed: self.seed, ..GeneratorConfig::default() };
        if let Some(data) = self.data_per_signature {
            config.data_per_signature = data;
        }
        if let Some(alerts) = self.alerts {
            config.alerts = alerts;
        }
        if let Some(pushes) = self.pushes {
            config.pushes = pushes;
        }
        config
    }

    fn backend(&self) -> BackendConfig {
        match (&self.corpus, self.signatures) {
            (Some(folder), _) => BackendConfig::Corpus(folder.clone()),
            (None, Some(signatures)) => BackendConfig::Generated(self.generator(signatures)),
            (None, None) => BackendConfig::Embedded,
        }
    }
}

pub(super) async fn run(args: &SimulateArgs) -> Result<u8, Error> {
    if let (Some(folder), Some(signatures)) = (&args.dump, args.signatures) {
        let (config, folder) = (args.generator(signatures), folder.clone());
        let dumped = tokio::task::spawn_blocking(move || dump(&config, &folder)).await;
        let report = dumped.map_err(|_| Error::Broken { part: "the generator" })??;
        say(&format!(
            "{} signatures, {} data, {} commits written",
            report.num_signatures, report.num_data, report.num_commits
        ));
        return Ok(0);
    }
    let behaviour = Behaviour {
        latency: args.latency.unwrap_or(Latency::None),
        capacity: args.capacity,
        retry_after: args.retry_after,
        faults: args.fault.clone(),
        kill_over_data: args.kill_over_data,
        kill_after: args.kill_after,
        seed: args.seed,
        ..Behaviour::default()
    };
    let config = SimulatorConfig {
        bind: args.bind,
        backend: args.backend(),
        behaviour,
        now: args.now.map(Timestamp::as_secs),
        arrival_log: args.arrival_log.clone(),
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await?;
    print(&format!("{}\n", simulator.url()))?;
    crate::actor::Signals::listen().next().await;
    let served = simulator.shutdown().await?;
    say(&served.to_string());
    Ok(0)
}
