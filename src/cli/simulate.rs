//! `simulate`: serves a simulated Treeherder on a loopback address, or writes generated data to files.

mod history;

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use treeherder_sim::{BackendConfig, Behaviour, FaultRule, GeneratorConfig, Latency, Simulator, SimulatorConfig, dump};

use history::HistoryArgs;

use super::flags::given_time;
use super::terminal::{print, say};
use crate::Error;
use crate::actor::blocking;
use crate::model::Timestamp;
use crate::observe::counted;

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// Serve the recorded replies in this folder [default: the built-in corpus]
    #[arg(long, value_name = "DIR", conflicts_with_all = ["signatures"])]
    corpus: Option<PathBuf>,
    /// Loopback address to listen on; port 0 picks a free port
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    bind: SocketAddr,
    /// Time of the server's clock at the start (UTC); later records are not there yet
    /// [default: the time of the recording, or the end of the generated data]
    #[arg(long, value_name = "TIME", value_parser = given_time)]
    now: Option<Timestamp>,
    /// Log every request to this file, one JSON object per line [default: none]
    #[arg(long, value_name = "FILE")]
    arrival_log: Option<PathBuf>,

    /// Serve generated data with this many signatures [default: the built-in corpus]
    #[arg(long, value_name = "N", help_heading = "Generated data")]
    signatures: Option<NonZeroUsize>,
    /// Mean number of data per signature [default: 200]
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    data_per_signature: Option<usize>,
    /// Number of alert summaries [default: 400]
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    alerts: Option<usize>,
    /// Number of pushes [default: 1000]
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    pushes: Option<usize>,
    /// Length of the generated data, which end at 2026-11-22T00:00:00Z [default: 151 days]
    #[arg(long, value_name = "N", requires = "signatures", help_heading = "Generated data")]
    weeks: Option<NonZeroU16>,
    /// Seed of the generated data, of their history, and of latencies and faults
    #[arg(long, value_name = "S", default_value_t = 0, help_heading = "Generated data")]
    seed: u64,
    /// Write the generated data to this folder as the older scripts' files, instead of serving it [default: none]
    #[arg(long, value_name = "DIR", requires = "signatures", help_heading = "Generated data")]
    dump: Option<PathBuf>,

    #[command(flatten)]
    history: HistoryArgs,

    /// Response time, such as 50ms, 20ms..200ms or lognormal:80ms,0.5 [default: none]
    #[arg(long, value_name = "LATENCY", help_heading = "Faults and limits")]
    latency: Option<Latency>,
    /// Highest request rate, in requests per second; requests beyond it get status 429 [default: unlimited]
    #[arg(long, value_name = "N", help_heading = "Faults and limits")]
    capacity: Option<f64>,
    /// Retry-After header of these replies, such as 2s [default: none]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, help_heading = "Faults and limits")]
    retry_after: Option<Duration>,
    /// Inject faults, as KIND[@ENDPOINT]=RATE; KIND is a status code, reset, cut, hang, html, broken-json, wrong-shape,
    /// empty-body, gzip-members or broken-gzip, RATE a share from 0 to 1; can be given several times
    #[arg(long, value_name = "FAULT", help_heading = "Faults and limits")]
    fault: Vec<FaultRule>,
    /// Answer summary requests for more than N data with gunicorn's page and status 500, as the real server does
    /// [default: no limit]
    #[arg(long, value_name = "N", help_heading = "Faults and limits")]
    kill_over_data: Option<usize>,
    /// Answer requests for a page with this alert summary in the same way; can be given several times
    #[arg(long, value_name = "ID", help_heading = "Faults and limits")]
    kill_alert: Vec<u64>,
    /// Time after which --kill-over-data and --kill-alert end a request
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "30s", help_heading = "Faults and limits")]
    kill_after: Duration,
    /// Let --kill-over-data and --kill-alert close the connection instead
    #[arg(long, help_heading = "Faults and limits")]
    kill_hangs_up: bool,
    /// Seconds by which the Date header is ahead of the real time; negative if it is behind
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        allow_negative_numbers = true,
        help_heading = "Faults and limits"
    )]
    date_skew: i64,
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
        if let Some(weeks) = self.weeks {
            config.start = config.end - i64::from(weeks.get()) * 7 * 86_400;
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
        let dumped = blocking(move || dump(&config, &folder)).await;
        let report = dumped.map_err(|error| Error::of_thread("the generator", error))??;
        say(&format!(
            "wrote {}, {} and {}",
            counted(report.num_signatures, "signature", "signatures"),
            counted(report.num_data, "datum", "data"),
            counted(report.num_commits, "commit", "commits")
        ));
        return Ok(0);
    }
    let behaviour = Behaviour {
        latency: args.latency.unwrap_or(Latency::None),
        capacity: args.capacity,
        retry_after: args.retry_after,
        faults: args.fault.clone(),
        kill_over_data: args.kill_over_data,
        kill_alerts: args.kill_alert.clone(),
        kill_after: args.kill_after,
        kill_hangs_up: args.kill_hangs_up,
        date_skew_secs: args.date_skew,
        seed: args.seed,
        ..Behaviour::default()
    };
    let config = SimulatorConfig {
        bind: args.bind,
        backend: args.backend(),
        behaviour,
        now: args.now.map(Timestamp::as_secs),
        history: args.history.history(args.seed),
        arrival_log: args.arrival_log.clone(),
        ..SimulatorConfig::default()
    };
    let simulator = Simulator::start(config).await?;
    print(&format!("{}\n", simulator.url()))?;
    super::signals::Signals::listen().next().await;
    let served = simulator.shutdown().await?;
    say(&served.to_string());
    Ok(0)
}
