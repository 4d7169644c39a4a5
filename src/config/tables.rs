//! The tables of `config.toml`: every key with its unit and reason.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{CommitsFrom, JobDetails, JobsConfig, PublishConfig, Rate, Scope, ScopeConfig, ScopeError};
use crate::model::{GivenTime, Kind, Timestamp};

/// Days after which the server deletes a job; older data have lost theirs.
pub const JOB_LIFE_DAYS: i64 = 120;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[source]`
    pub source: SourceConfig,
    /// `[window]`
    pub window: WindowConfig,
    /// `[scope]`
    pub scope: ScopeConfig,
    /// `[jobs]`
    pub jobs: JobsConfig,
    /// `[sample]`
    pub sample: SampleConfig,
    /// `[limiter]`
    pub limiter: LimiterConfig,
    /// `[concurrency]`
    pub concurrency: ConcurrencyConfig,
    /// `[retry]`
    pub retry: RetryConfig,
    /// `[batch]`
    pub batch: BatchConfig,
    /// `[store]`
    pub store: StoreConfig,
    /// `[inputs]`
    pub inputs: InputsConfig,
    /// `[reduce]`
    pub reduce: ReduceConfig,
    /// `[artifacts]`
    pub artifacts: ArtifactsConfig,
    /// `[bisect]`
    pub bisect: BisectConfig,
    /// `[publish]`
    pub publish: PublishConfig,
    /// `[shutdown]`
    pub shutdown: ShutdownConfig,
    /// `[metrics]`
    pub metrics: MetricsConfig,
    /// `[log]`
    pub log: LogConfig,
}

impl Config {
    /// Path of the file of commits: the configured one, or else the one that a run makes in the store's folder; `None`
    /// if neither is configured.
    #[must_use]
    pub fn commits_file(&self) -> Option<PathBuf> {
        let own = || self.inputs.commits_from.as_ref().map(|_| self.store.path.join("all_commits.jsonl"));
        self.inputs.commits.clone().or_else(own)
    }

    /// The configured scope; unset keys are as in `pinned`.
    ///
    /// # Errors
    /// [`ScopeError`] if the file of ids cannot be read, or a list is empty.
    pub fn scope_over(&self, pinned: &Scope) -> Result<Scope, ScopeError> {
        let all_jobs = self.jobs.details.map_or(pinned.all_jobs, |details| details == JobDetails::All);
        Ok(Scope { all_jobs, ..self.scope.over(pinned)? })
    }

    /// Number of fetchers of a kind.
    #[must_use]
    pub fn concurrency_of(&self, kind: Kind) -> usize {
        let concurrency = &self.concurrency;
        match kind {
            Kind::Alerts => concurrency.alerts,
            Kind::Signatures => concurrency.signatures,
            Kind::Summaries | Kind::Replicates => concurrency.summaries,
            Kind::JobDetails => concurrency.job_details,
        }
        .get()
    }
}

/// The `[source]` table: the Treeherder server, and the settings of a single request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SourceConfig {
    /// Root of the server, without `/api`.
    pub base_url: String,
    /// Name of the repository whose signatures, data and jobs are harvested.
    pub repository: String,
    /// Repositories that are harvested one after the other, each into a store and a dataset of its own; they take the place of
    /// `repository`, which selects one of them if a flag or the environment sets it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// True for the configuration of one of `repositories` ([`Config::of_repository`]), which names the folders of that one.
    #[serde(skip)]
    pub is_one_of_several: bool,
    /// Numeric id of the only repository whose alert summaries are fetched. Unset: all repositories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alerts_repository_id: Option<u64>,
    /// The `User-Agent` header. Treeherder's owners ask for a name and a contact, and block clients without them.
    pub user_agent: String,
    /// Longest wait for a whole reply. The server itself gives up after 30 s; a longer wait receives its error.
    #[serde(with = "super::duration")]
    pub timeout: Duration,
    /// Longest wait for a connection.
    #[serde(with = "super::duration")]
    pub connect_timeout: Duration,
    /// Longest accepted body, bytes after decompression.
    pub max_body_bytes: NonZeroU64,
    /// Memory of all bodies in flight, bytes after decompression. A body that is held as a whole (all but the signature
    /// lists) may have a twelfth of it.
    pub max_total_bytes: NonZeroU64,
}

/// The `[window]` table: the times of the dataset. Unset keys are fixed when a crawl is created. A time may be given
/// relative to now ([`GivenTime`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WindowConfig {
    /// First commit date of the revision table. Unset: 120 days (the life of a job) before `data_end`, at midnight.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub start: Option<Timestamp>,
    /// Last commit date of the revision table, included. Unset: `data_end`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub end: Option<Timestamp>,
    /// Data are fetched from this long before `start`, since a commit's data have the time of its push, which may be
    /// earlier.
    #[serde(with = "super::duration")]
    pub lookback: Duration,
    /// Only data with a push time before this are fetched. Unset: the creation time of the crawl.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub data_end: Option<Timestamp>,
    /// The dataset has alert summaries whose push is at most this much older than the `data_end` of the first harvest.
    #[serde(with = "super::duration")]
    pub alerts_lookback: Duration,
    /// A refresh asks for the data of a signature from this long before its newest known push on: data may arrive late for
    /// old pushes (retriggers, backfills), and the server does not tell.
    #[serde(with = "super::duration")]
    pub overlap: Duration,
    /// A refresh asks again for a signature without newer data once this has passed since its data were last asked for, if it
    /// had data within `overlap` before that.
    #[serde(with = "super::duration")]
    pub late_check: Duration,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<GivenTime>::deserialize(deserializer)?.map(|given| given.at))
}

/// The `[sample]` table: a crawl of only some signatures, as a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SampleConfig {
    /// Number of signatures. Unset: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signatures: Option<NonZeroU32>,
    /// The same seed draws the same signatures from the same list.
    pub seed: u64,
}

/// The `[limiter]` table: the load on the API.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimiterConfig {
    /// Sustained rate over **all** fetchers, requests per second, retries included. It may be below 1.
    pub requests_per_second: Rate,
    /// Bucket capacity, requests: in any T seconds at most `requests_per_second x T + burst` are sent. 1 spaces them
    /// evenly and loses the delay of each timer (a millisecond, more on a busy machine); 2 compensates for it, above
    /// 100/s a fiftieth of the rate does; more lets a run start with a burst.
    pub burst: NonZeroU32,
    /// Longest `Retry-After` that is obeyed; a longer one ends the run, which can be resumed.
    #[serde(with = "super::duration")]
    pub max_retry_after: Duration,
    /// Lower the rate when the server shows strain, and raise it again when it is calm.
    pub adaptive: bool,
    /// Lowest adaptive rate, requests per second; `requests_per_second` where that is lower.
    pub min_requests_per_second: Rate,
}

/// The `[concurrency]` table: numbers of fetchers. Rate x latency (in seconds) = concurrency needed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConcurrencyConfig {
    /// Fetchers of pages of alert summaries.
    pub alerts: NonZeroUsize,
    /// Fetchers of signature lists.
    pub signatures: NonZeroUsize,
    /// Fetchers of summaries, the data of one signature each: nearly all requests of a crawl. As many fetch those with
    /// replicates.
    pub summaries: NonZeroUsize,
    /// Fetchers of batches of job details.
    pub job_details: NonZeroUsize,
}

/// The `[retry]` table: retries after temporary failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryConfig {
    /// Attempts including the first. Then the failure is recorded, and the next run asks again.
    pub max_attempts: NonZeroU32,
    /// Mean wait before the second attempt; it doubles from attempt to attempt, with jitter.
    #[serde(with = "super::duration")]
    pub initial_delay: Duration,
    /// Longest wait between attempts.
    #[serde(with = "super::duration")]
    pub max_delay: Duration,
    /// How long a source without any answer is probed before the run ends.
    #[serde(with = "super::duration")]
    pub give_up_after: Duration,
}

/// The `[batch]` table: the sizes of requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchConfig {
    /// Job ids per request of job details. The server's request line holds 403 ids of nine digits.
    pub job_ids: NonZeroUsize,
    /// Alert summaries per page. The server returns at most 100.
    pub alert_page: NonZeroU32,
    /// Commits per page of an hgweb server.
    pub commits: NonZeroU32,
    /// Fetch the signature list by framework, if the whole list is too large or too slow for one reply.
    pub signatures_by_framework: bool,
}

/// The `[store]` table: the store of the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Folder of the store. Each crawl needs its own.
    pub path: PathBuf,
    /// Page cache of the index, bytes as on the disk; in memory they take several times as many. A crawl writes each page about
    /// once, so a larger cache hardly makes it faster. At least 256 are used.
    pub cache_bytes: u64,
    /// Most answers per commit.
    pub commit_records: NonZeroUsize,
    /// Longest time an answer waits for others to share its commit (one fsync each).
    #[serde(with = "super::duration")]
    pub commit_interval: Duration,
    /// Free space of the store's disk, bytes, below which a crawl ends in order. 0: it ends when the disk is full.
    pub min_free_bytes: u64,
}

/// The `[inputs]` table: input files besides the API.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InputsConfig {
    /// `all_commits.jsonl`: the commits of the repository with their dates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits: Option<PathBuf>,
    /// Source from which a run makes the file of commits: `clone:DIR`, `hgweb:URL` or `pushes`. Unset: `commits` must
    /// exist.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commits_from: Option<CommitsFrom>,
    /// `perf_llm_struc.jsonl`, the input of relabelling. Unset: that artifact is not made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perf_llm_struc: Option<PathBuf>,
    /// The predictions whose commits bound the regressions of `perf_bisect_regressions_eval.jsonl`. Unset: neither file of
    /// regressions is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_predictions: Option<PathBuf>,
    /// As `eval_predictions`, for `perf_bisect_regressions_final_test.jsonl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_test_predictions: Option<PathBuf>,
}

/// The `[reduce]` table: resources for making the artifacts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReduceConfig {
    /// Memory for sorting, bytes; the rest is sorted in temporary files beside the artifacts.
    pub memory_bytes: NonZeroUsize,
    /// Worker threads. 0: one per core.
    pub workers: usize,
}

/// The definitions that the artifacts follow; `datasets/README.md` lists the differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Semantics {
    /// The definitions of the reference scripts, without their errors.
    #[default]
    Corrected,
    /// The exact results of the reference scripts.
    Reference,
}

impl Semantics {
    /// The text in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Corrected => "corrected",
            Self::Reference => "reference",
        }
    }
}

/// The `[artifacts]` table: the dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArtifactsConfig {
    /// Folder of the artifacts.
    pub out: PathBuf,
    /// `corrected` or `reference`.
    pub semantics: Semantics,
    /// Frameworks excluded from the rectified coverage, from relabelling and from the artifacts of bisections.
    pub excluded_framework_ids: Vec<u64>,
    /// Fields of signatures that are never common features.
    pub exclude_fields: Vec<String>,
    /// Replace every e-mail address with `redacted`, also within texts. `publish` does so in any case, unless it is told to
    /// keep them.
    pub redact_emails: bool,
    /// Fail when a signature of a revision is in no group, instead of counting and skipping it.
    pub strict: bool,
}

/// The `[bisect]` table: what the artifacts of bisections leave out.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BisectConfig {
    /// Alert summaries created before this are left out. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_cutoff: Option<Timestamp>,
    /// Alert summaries that are in neither file of regressions.
    pub excluded_alert_summary_ids: Vec<u64>,
}

/// The `[shutdown]` table: Ctrl-C.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// Time for requests in flight to finish after Ctrl-C.
    #[serde(with = "super::duration")]
    pub grace: Duration,
}

/// The `[metrics]` table: Prometheus.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsConfig {
    /// Loopback address of the metrics, such as `127.0.0.1:9464`. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind: Option<SocketAddr>,
    /// File for the textfile collector of the node exporter; its name must end in `.prom`. Unset: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub textfile: Option<PathBuf>,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The `[log]` table: output on stderr.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `off`, `error`, `warn`, `info`, `debug`, `trace`, or filter directives of `tracing`.
    pub level: String,
    /// `text` or `json`.
    pub format: LogFormat,
    /// Show progress on stderr.
    pub progress: bool,
}
