//! A simulated Treeherder and a crawl of it, in temporary folders.

pub(crate) mod tamper;

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use perfharvest::Error;
use perfharvest::actor::Shutdown;
use perfharvest::config::{Config, InputsConfig, Semantics};
use perfharvest::import::{DATA_NAME, JOBS_NAME, SIGNATURES_NAME};
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, CrawlSummary, RunOptions, RunSummary};
use perfharvest::store::CrawlIdentity;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpSocket;
use treeherder_sim::{BackendConfig, Behaviour, Simulator, SimulatorConfig, SimulatorHandle};

/// The recorded corpus and the output of the reference scripts for it.
pub(crate) fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

/// The recorded replies.
pub(crate) fn recordings() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/treeherder-sim/corpus")
}

/// A simulator on the corpus.
pub(crate) async fn simulator(behaviour: Behaviour) -> SimulatorHandle {
    let config =
        SimulatorConfig { backend: BackendConfig::Corpus(recordings()), behaviour, ..SimulatorConfig::default() };
    Simulator::start(config).await.unwrap()
}

#[allow(dead_code, reason = "not every target that shares this file needs it")]
/// A suite's name and a machine's in [`hostile_simulator`].
pub(crate) const HOSTILE: [&str; 2] =
    ["<script>document.title='owned'</script>", "x\" onmouseover=\"owned()</script><img src=x onerror=owned()>"];

#[allow(dead_code, reason = "not every target that shares this file needs it")]
/// A simulator on the corpus, with the names of [`HOSTILE`] in place of a suite and of a machine.
pub(crate) async fn hostile_simulator(folder: &Path) -> SimulatorHandle {
    let api = folder.join("api");
    std::fs::create_dir_all(&api).unwrap();
    let quoted = HOSTILE.map(|name| serde_json::to_string(name).unwrap());
    for entry in std::fs::read_dir(recordings()).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("\"tsvgx\"", &quoted[0]).replace("\"t-nuc13-001\"", &quoted[1]);
        let mut file =
            std::fs::OpenOptions::new().write(true).create_new(true).open(api.join(entry.file_name())).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    }
    let config = SimulatorConfig { backend: BackendConfig::Corpus(folder.to_owned()), ..SimulatorConfig::default() };
    Simulator::start(config).await.unwrap()
}

#[allow(dead_code, reason = "the crash target shares this file and imports nothing")]
/// The scripts' own files, with a manifest that proves their data until the `data_end` of `config`.
pub(crate) fn proven_files(config: &Config) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in [DATA_NAME, SIGNATURES_NAME, JOBS_NAME] {
        std::fs::copy(corpus().join("golden").join(name), folder.path().join(name)).unwrap();
    }
    let data = Sha256::digest(std::fs::read(folder.path().join(DATA_NAME)).unwrap());
    let manifest = serde_json::json!({
        "crawl": CrawlIdentity::create(config, config.window.data_end.unwrap()),
        "complete": true,
        "artifacts": {DATA_NAME: {"sha256": data.iter().map(|byte| format!("{byte:02x}")).collect::<String>()}},
        "run": {"created_at": config.window.data_end},
    });
    let file = OpenOptions::new().create_new(true).write(true).open(folder.path().join("manifest.json")).unwrap();
    serde_json::to_writer(file, &manifest).unwrap();
    folder
}

/// A crawl of the corpus with its own folders.
pub(crate) struct Crawl {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) config: Config,
}

impl Crawl {
    /// A crawl of the corpus's window at `base_url`, by the reference semantics, without waiting where nothing is
    /// tested by it.
    pub(crate) fn of(base_url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        base_url.clone_into(&mut config.source.base_url);
        config.window.start = Some("2026-07-01T00:00:00Z".parse().unwrap());
        config.window.end = Some("2026-11-05T00:00:00Z".parse().unwrap());
        config.window.data_end = Some("2026-11-22T08:00:00Z".parse().unwrap());
        config.limiter.requests_per_second = NonZeroU32::new(100_000).unwrap().into();
        config.limiter.burst = NonZeroU32::new(1000).unwrap();
        config.limiter.adaptive = false;
        config.retry.initial_delay = Duration::from_millis(1);
        config.retry.max_delay = Duration::from_millis(2);
        config.store.path = folder.path().join("store");
        config.store.commit_interval = Duration::from_millis(1);
        config.store.min_free_bytes = 0; // a test may run on a small disk
        config.inputs.commits = Some(corpus().join("input/all_commits.jsonl"));
        config.inputs.perf_llm_struc = Some(corpus().join("input/perf_llm_struc.jsonl"));
        config.artifacts.out = folder.path().join("out");
        config.artifacts.semantics = Semantics::Reference;
        config.log.progress = false;
        Self { folder, config }
    }

    /// Runs it to its end.
    pub(crate) async fn run(&self) -> Result<RunSummary, Error> {
        self.run_until(&Shutdown::new()).await
    }

    /// Runs it to its end or until it is drained.
    pub(crate) async fn run_until(&self, shutdown: &Shutdown) -> Result<RunSummary, Error> {
        run_config(self.config.clone(), shutdown).await
    }

    #[allow(dead_code, reason = "not every target that shares this file needs it")]
    /// Brings the store and its artifacts up to `data_end`.
    pub(crate) async fn refresh(&self, data_end: &str) -> Result<RunSummary, Error> {
        self.refresh_with(data_end, RunOptions::default()).await
    }

    #[allow(dead_code, reason = "not every target that shares this file needs it")]
    pub(crate) async fn refresh_with(&self, data_end: &str, options: RunOptions) -> Result<RunSummary, Error> {
        let mut config = self.config.clone();
        config.window.data_end = Some(data_end.parse().unwrap());
        let (_keep, live) = pipeline::fixed_config(config);
        let options = RunOptions { same_source: true, ..options };
        pipeline::refresh(live, options, &[], &Shutdown::new(), Arc::new(Counters::default())).await
    }

    #[allow(dead_code, reason = "the crash target shares this file and ends its crawls by signals")]
    /// Runs it until `simulator` has served `more` requests, and ends it then.
    pub(crate) async fn run_for(&self, simulator: &SimulatorHandle, more: u32) -> RunSummary {
        let mut config = self.config.clone();
        limit_to(&mut config, more);
        let shutdown = Shutdown::new();
        let until = simulator.served().total() + u64::from(more);
        let ended = async {
            wait_until("the requests are served", || simulator.served().total() >= until).await;
            shutdown.drain();
            std::future::pending::<()>().await;
        };
        tokio::select! {
            summary = run_config(config, &shutdown) => summary.unwrap(),
            () = ended => unreachable!(),
        }
    }

    #[allow(dead_code, reason = "the crash target shares this file and needs no crawl by itself")]
    /// Crawls to the end, and makes no artifacts.
    pub(crate) async fn crawl_only(&self) -> Result<CrawlSummary, Error> {
        let (_keep, live) = pipeline::fixed_config(Config { inputs: InputsConfig::default(), ..self.config.clone() });
        let options = RunOptions { same_source: true, ..RunOptions::default() };
        pipeline::crawl(live, options, &Shutdown::new(), Arc::new(Counters::default())).await
    }

    /// The artifacts by name; of the manifest, what does not depend on when and how the crawl went.
    pub(crate) fn artifacts(&self) -> BTreeMap<String, Vec<u8>> {
        artifacts_in(&self.config.artifacts.out)
    }
}

async fn run_config(config: Config, shutdown: &Shutdown) -> Result<RunSummary, Error> {
    let (_keep, live) = pipeline::fixed_config(config);
    let options = RunOptions { same_source: true, ..RunOptions::default() };
    pipeline::run(live, options, &[], shutdown, Arc::new(Counters::default())).await
}

#[allow(dead_code, reason = "not every target that shares this file needs it")]
/// Lets a crawl send `requests` immediately, then one a second, so that it still runs when a test reacts to its
/// progress, even on a slow machine.
pub(crate) fn limit_to(config: &mut Config, requests: u32) {
    config.limiter.requests_per_second = NonZeroU32::MIN.into();
    config.limiter.burst = NonZeroU32::new(requests).unwrap();
}

/// Longer than anything takes on a machine that has other things to do, too.
const PATIENCE: Duration = Duration::from_mins(5);

#[allow(dead_code, reason = "not every target that shares this file needs it")]
/// Waits until `holds` returns true, and no longer; `what` names it where it never does. A test waits for what happens,
/// not for a time.
pub(crate) async fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = tokio::time::Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[allow(dead_code, reason = "not every target that shares this file needs it")]
/// An address that refuses connections and that nobody else gets, as long as the socket lives. A server may be started
/// on it meanwhile.
pub(crate) fn silent_port() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// See [`Crawl::artifacts`].
pub(crate) fn artifacts_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    if !folder.exists() {
        return files; // a refused run leaves none
    }
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(!name.starts_with('.'), "a temporary file was left: {name}");
        if entry.file_type().unwrap().is_dir() {
            continue; // the change feed
        }
        let mut bytes = std::fs::read(entry.path()).unwrap();
        if name == "manifest.json" {
            let mut manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
            let fields = manifest.as_object_mut().unwrap();
            fields.remove("run");
            fields["crawl"].as_object_mut().unwrap().remove("base_url");
            bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        }
        files.insert(name, bytes);
    }
    files
}

/// Asserts that two sets of artifacts are the same bytes, naming the first that differs.
pub(crate) fn assert_same_artifacts(one: &BTreeMap<String, Vec<u8>>, other: &BTreeMap<String, Vec<u8>>) {
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (name, bytes) in one {
        let other = &other[name];
        let same = bytes.iter().zip(other).take_while(|(one, other)| one == other).count();
        if same < bytes.len().max(other.len()) {
            let from = same.saturating_sub(300);
            let text = |bytes: &[u8]| String::from_utf8_lossy(&bytes[from..bytes.len().min(same + 300)]).into_owned();
            let (len, other_len) = (bytes.len(), other.len());
            panic!("{name} differs from byte {same} of {len} and {other_len}:\n{}\n---\n{}", text(bytes), text(other));
        }
    }
}
