//! Transient faults do not change the result of a run. Faults that end a run lose no fetched data.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use perfharvest::Error;
use perfharvest::fetch::FetchError;
use perfharvest::model::Timestamp;
use perfharvest::observe::Counters;
use perfharvest::pipeline::{self, RunOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OnceCell;
use treeherder_sim::{
    BackendConfig, Behaviour, Endpoint, Outcome, ScriptedReply, Simulator, SimulatorConfig, SimulatorHandle,
};

use crate::support::{Crawl, assert_same_artifacts, recordings, silent_port, simulator, wait_until};

/// Attempts at a signature or a page of alert summaries that always fails: after 16 failures in a row no more is asked. Every
/// sixth in a row may be taken for an outage, and then does not count.
pub(crate) const MOST_ATTEMPTS: usize = 19;

pub(crate) const DATA_ENDPOINTS: [Endpoint; 4] =
    [Endpoint::AlertSummary, Endpoint::Signatures, Endpoint::Summary, Endpoint::Jobs];

/// A run that nothing disturbs.
pub(crate) struct Calm {
    pub(crate) artifacts: BTreeMap<String, Vec<u8>>,
    /// Paths of the summaries that were asked, sorted.
    pub(crate) summaries: Vec<String>,
    /// Ids of the jobs that were asked, sorted.
    pub(crate) jobs: Vec<u64>,
}

/// The undisturbed run that all others are held against; made once.
pub(crate) async fn calm() -> &'static Calm {
    static CALM: OnceCell<Calm> = OnceCell::const_new();
    CALM.get_or_init(|| async {
        let simulator = simulator(Behaviour::default()).await;
        let crawl = Crawl::of(&simulator.url());
        crawl.run().await.unwrap();
        let of = |endpoint| {
            let arrivals = simulator.arrivals().into_iter().filter(move |arrival| arrival.endpoint == endpoint);
            arrivals.map(|arrival| arrival.path_and_query)
        };
        let mut summaries: Vec<String> = of(Endpoint::Summary).collect();
        summaries.sort();
        let mut jobs: Vec<u64> = of(Endpoint::Jobs).flat_map(|path| job_ids(&path)).collect();
        jobs.sort_unstable();
        Calm { artifacts: crawl.artifacts(), summaries, jobs }
    })
    .await
}

/// The jobs that a path asks for.
pub(crate) fn job_ids(path: &str) -> Vec<u64> {
    let (_, ids) = path.split_once("id__in=").unwrap();
    ids.split('&').next().unwrap().split(',').map(|id| id.parse().unwrap()).collect()
}

/// `signature=5400001&`, which only requests for one signature contain.
pub(crate) fn signature_of(path: &str) -> String {
    path.split('?').nth(1).unwrap().split('&').find(|part| part.starts_with("signature=")).unwrap().to_owned() + "&"
}

/// Runs `crawl` and holds it against the undisturbed run.
pub(crate) async fn ends_as_undisturbed(crawl: &Crawl) {
    let summary = crawl.run().await.unwrap();
    assert_eq!((summary.crawl.counts.failed(), summary.crawl.counts.pending()), (0, 0));
    assert!(summary.reduction.unwrap().manifest.complete);
    assert_same_artifacts(&calm().await.artifacts, &crawl.artifacts());
}

/// Answered requests are not repeated, except for alert pages, whose list is read twice.
pub(crate) fn asks_nothing_twice(simulator: &SimulatorHandle) {
    let mut answered = HashSet::new();
    for arrival in simulator.arrivals() {
        let once = matches!(arrival.endpoint, Endpoint::Signatures | Endpoint::Summary | Endpoint::Jobs);
        if once && arrival.outcome == Outcome::Status(200) {
            assert!(answered.insert(arrival.path_and_query.clone()), "{} was asked twice", arrival.path_and_query);
        }
    }
}

/// A fault of a few requests of each endpoint changes nothing; each fault costs one attempt.
async fn passes(fault: ScriptedReply, change: impl FnOnce(&mut Crawl)) {
    let simulator = simulator(Behaviour::default()).await;
    for (endpoint, times) in DATA_ENDPOINTS.into_iter().zip([1, 1, 3, 1]) {
        simulator.script(fault.clone().at(endpoint).times(times));
    }
    let mut crawl = Crawl::of(&simulator.url());
    change(&mut crawl);
    ends_as_undisturbed(&crawl).await;
    let struck = simulator.arrivals().into_iter().filter(|arrival| arrival.outcome != Outcome::Status(200)).count();
    let replaced = simulator.served().total().saturating_sub(calm().await.num_requests_at_least());
    assert!(struck >= 6 || replaced >= 6, "{struck} attempts were struck, {replaced} were repeated");
}

impl Calm {
    fn num_requests_at_least(&self) -> u64 {
        (self.summaries.len() + self.jobs.len().div_ceil(300)) as u64
    }
}

macro_rules! passing_faults {
    ($($name:ident: $fault:expr, $change:expr;)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            passes($fault, $change).await;
        }
    )*};
}

fn impatient(crawl: &mut Crawl) {
    crawl.config.source.timeout = Duration::from_millis(400);
    crawl.config.retry.max_attempts = 20.try_into().unwrap(); // allows late answers on a slow machine
}

fn small_bodies(crawl: &mut Crawl) {
    crawl.config.source.max_body_bytes = NonZeroU64::new(2 << 20).unwrap();
}

/// A twelfth of it is the largest body, and fetchers wait for each other.
fn little_memory(crawl: &mut Crawl) {
    crawl.config.source.max_total_bytes = NonZeroU64::new(3 << 19).unwrap();
    crawl.config.concurrency.summaries = 32.try_into().unwrap();
}

fn in_a_second() -> String {
    let at = jiff::Timestamp::from_second(Timestamp::now().as_secs() + 1).unwrap();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap()
}

pub(crate) fn gzip_bomb() -> ScriptedReply {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, &vec![b' '; 8 << 20]).unwrap();
    ScriptedReply::body(encoder.finish().unwrap()).header("content-encoding", "gzip")
}

/// Half of a complete reply.
pub(crate) fn broken_gzip() -> ScriptedReply {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, b"[]").unwrap();
    let mut body = encoder.finish().unwrap();
    body.truncate(body.len() - 4);
    ScriptedReply::body(body).header("content-encoding", "gzip")
}

pub(crate) fn html() -> ScriptedReply {
    ScriptedReply::body("<!doctype html><title>Treeherder</title>").header("content-type", "text/html")
}

passing_faults! {
    a_reset_before_the_body_passes: ScriptedReply::reset(), |_| {};
    a_connection_closed_before_the_body_passes: ScriptedReply::close(), |_| {};
    a_cut_body_passes: ScriptedReply::cut(5000, "[{\"signature_id\""), |_| {};
    a_hang_passes: ScriptedReply::hang(), impatient;
    too_many_requests_without_a_wait_passes: ScriptedReply::status(429), |_| {};
    too_many_requests_with_no_seconds_to_wait_passes: ScriptedReply::status(429).header("retry-after", "0"), |_| {};
    too_many_requests_with_a_second_to_wait_passes: ScriptedReply::status(429).header("retry-after", "1"), |_| {};
    too_many_requests_with_a_date_passes: ScriptedReply::status(429).header("retry-after", &in_a_second()), |_| {};
    an_internal_error_passes: ScriptedReply::status(500), |_| {};
    a_bad_gateway_passes: ScriptedReply::status(502), |_| {};
    an_unavailable_service_passes: ScriptedReply::status(503).header("retry-after", "0"), |_| {};
    a_gateway_timeout_passes: ScriptedReply::status(504), |_| {};
    html_in_place_of_json_passes: html(), |_| {};
    broken_json_passes: ScriptedReply::body("[{\"signature_id\": 5400"), |_| {};
    valid_json_of_another_shape_passes: ScriptedReply::body("{\"unexpected\": true}"), |_| {};
    a_list_where_a_map_belongs_passes: ScriptedReply::body("[[1, 2, 3]]"), |_| {};
    null_in_place_of_everything_passes: ScriptedReply::body("null"), |_| {};
    bytes_that_are_no_text_pass: ScriptedReply::body(b"\xff\xfe[]\x80".as_slice()), |_| {};
    an_empty_body_passes: ScriptedReply::body(""), |_| {};
    a_body_over_the_limit_passes: ScriptedReply::body(vec![b' '; 3 << 20]), small_bodies;
    a_gzip_bomb_passes: gzip_bomb(), small_bodies;
    bodies_for_which_there_is_little_memory_pass: gzip_bomb(), little_memory;
    broken_gzip_passes: broken_gzip(), |_| {};
    an_encoding_not_asked_for_passes: ScriptedReply::body("[]").header("content-encoding", "br"), |_| {};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_that_holds_other_ids_than_asked_passes() {
    let simulator = simulator(Behaviour::default()).await;
    let (signature, job) = (r#"[{"signature_id": 1, "data": []}]"#, r#"{"results": [{"id": 1}], "meta": {}}"#);
    simulator.script(ScriptedReply::body(signature).at(Endpoint::Summary).times(3));
    simulator.script(ScriptedReply::body(job).at(Endpoint::Jobs));
    simulator.script(ScriptedReply::body(r#"{"x": {"id": 8, "framework_id": 1}}"#).at(Endpoint::Signatures));
    ends_as_undisturbed(&Crawl::of(&simulator.url())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_every_kind_at_once_pass() {
    let rules = ["502=0.05", "429=0.03", "reset=0.03", "cut=0.02", "html=0.01", "broken-json=0.01", "broken-gzip=0.03"];
    let faults = rules.iter().map(|rule| rule.parse().unwrap()).collect();
    let simulator = simulator(Behaviour { faults, seed: 7, ..Behaviour::default() }).await;
    ends_as_undisturbed(&Crawl::of(&simulator.url())).await;
    asks_nothing_twice(&simulator);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_in_several_members_costs_nothing() {
    let faults = vec!["gzip-members=1".parse().unwrap()];
    let simulator = simulator(Behaviour { faults, ..Behaviour::default() }).await;
    ends_as_undisturbed(&Crawl::of(&simulator.url())).await;
    assert!(simulator.arrivals().iter().all(|arrival| arrival.outcome == Outcome::Fault("gzip-members")));
    for endpoint in [Endpoint::Signatures, Endpoint::Summary] {
        let asked: Vec<_> = simulator.arrivals().into_iter().filter(|arrival| arrival.endpoint == endpoint).collect();
        let different: HashSet<_> = asked.iter().map(|arrival| &arrival.path_and_query).collect();
        assert_eq!(asked.len(), different.len(), "no reply was short or refused");
    }
}

/// How a server beside the simulator treats its first connections; later ones are passed on.
#[derive(Clone, Copy)]
enum Mangling {
    /// The body comes byte by byte and never ends in time.
    Slow,
    /// The connection is reset in the middle of the body.
    ResetInside,
}

/// A server that mangles the first `num` connections and passes the others on to `target`.
async fn mangler(mangling: Mangling, num: usize, target: std::net::SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut number = 0;
        while let Ok((client, _)) = listener.accept().await {
            number += 1;
            tokio::spawn(async move {
                if number > num {
                    let (mut client, mut server) = (client, TcpStream::connect(target).await.unwrap());
                    let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                } else {
                    mangle(client, mangling).await;
                }
            });
        }
    });
    url
}

async fn mangle(mut client: TcpStream, mangling: Mangling) {
    let mut request = vec![0; 8192];
    let _read = client.read(&mut request).await;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n[{";
    let _written = client.write_all(head.as_bytes()).await;
    match mangling {
        Mangling::ResetInside => client.set_zero_linger().unwrap(),
        Mangling::Slow => {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            while client.write_all(b" ").await.is_ok() {
                pace.tick().await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_body_passes() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&mangler(Mangling::Slow, 5, simulator.addr()).await);
    impatient(&mut crawl);
    ends_as_undisturbed(&crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_inside_a_body_passes() {
    let simulator = simulator(Behaviour::default()).await;
    let crawl = Crawl::of(&mangler(Mangling::ResetInside, 5, simulator.addr()).await);
    ends_as_undisturbed(&crawl).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_refuses_connections_for_a_while_passes() {
    // A port that nobody listens on, until enough attempts have been refused.
    let (_port, unused) = silent_port();
    let crawl = Crawl::of(&format!("http://{unused}"));
    let counters = Arc::new(Counters::default());
    let served = async {
        wait_until("20 attempts are refused", || counters.attempts() >= 20).await;
        let backend = BackendConfig::Corpus(recordings());
        Simulator::start(SimulatorConfig { bind: unused, backend, ..SimulatorConfig::default() }).await.unwrap()
    };
    let (_keep, live) = pipeline::fixed_config(crawl.config.clone());
    let shutdown = perfharvest::actor::Shutdown::new();
    let run = pipeline::run(live, RunOptions::default(), &[], &shutdown, Arc::clone(&counters));
    let (summary, _simulator) = tokio::join!(run, served);
    assert_eq!(summary.unwrap().crawl.counts.failed(), 0);
    assert_same_artifacts(&calm().await.artifacts, &crawl.artifacts());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_in_the_middle_costs_no_request_its_attempts() {
    for concurrency in [1, 8] {
        let simulator = simulator(Behaviour::default()).await;
        simulator.script(ScriptedReply::answer().times(60));
        simulator.script(ScriptedReply::reset().times(60));
        let mut crawl = Crawl::of(&simulator.url());
        crawl.config.concurrency.summaries = concurrency.try_into().unwrap();
        ends_as_undisturbed(&crawl).await;
        let resets = simulator.arrivals().into_iter().filter(|arrival| arrival.outcome == Outcome::Fault("reset"));
        let probes = resets.filter(|arrival| arrival.endpoint == Endpoint::Framework).count();
        assert!(probes > 15, "only {probes} of 60 attempts in the outage were probes");
        asks_nothing_twice(&simulator);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_lasts_is_exit_5_and_everything_is_kept() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::answer().times(60));
    simulator.script(ScriptedReply::reset().times(1_000_000).containing("/api/"));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.retry.give_up_after = Duration::from_millis(100);
    let error = crawl.run().await.unwrap_err();
    assert!(matches!(error, Error::Fetch(FetchError::Unreachable { .. })), "{error}");
    assert_eq!(error.exit_code(), 5);
    let answered = simulator.served().iter().filter(|(_, outcome, _)| **outcome == Outcome::Status(200)).count();
    assert!(answered > 0);

    let healthy = crate::support::simulator(Behaviour::default()).await;
    crawl.config.source.base_url = healthy.url();
    ends_as_undisturbed(&crawl).await;
    let asked_before: HashSet<_> = simulator
        .arrivals()
        .into_iter()
        .filter(|arrival| arrival.outcome == Outcome::Status(200) && arrival.endpoint == Endpoint::Summary)
        .map(|arrival| arrival.path_and_query)
        .collect();
    assert!(!asked_before.is_empty());
    assert!(healthy.arrivals().iter().all(|arrival| !asked_before.contains(&arrival.path_and_query)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_port_is_exit_5() {
    let (_port, unused) = silent_port();
    let mut crawl = Crawl::of(&format!("http://{unused}"));
    crawl.config.retry.give_up_after = Duration::from_millis(50);
    let error = crawl.run().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert!(error.to_string().contains("has not answered"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_byte_order_mark_before_a_reply_costs_nothing() {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::body("\u{feff}[]").at(Endpoint::Framework).times(9));
    let recorded = std::fs::read_to_string(crate::support::recordings().join("signatures_autoland.json")).unwrap();
    let recorded: serde_json::Value = serde_json::from_str(&recorded).unwrap();
    let list = recorded["body"].as_str().map_or_else(|| recorded["body"].to_string(), str::to_owned);
    simulator.script(ScriptedReply::body(format!("\u{feff}{list}")).at(Endpoint::Signatures).times(9));
    let crawl = Crawl::of(&simulator.url());
    let summary = crawl.crawl_only().await.unwrap();
    assert_eq!((summary.counts.failed(), summary.counts.pending()), (0, 0));
    let lists = simulator.arrivals().into_iter().filter(|arrival| arrival.endpoint == Endpoint::Signatures).count();
    assert!((1..=2).contains(&lists), "{lists} requests");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_page_in_place_of_the_server_is_waited_out() {
    let redirect = ScriptedReply::status(302).header("location", "http://127.0.0.1:1/login");
    let not_found = ScriptedReply::status(404).header("content-type", "text/html");
    for portal in
        [redirect, ScriptedReply::status(401), ScriptedReply::status(407), ScriptedReply::status(204), not_found]
    {
        for answered in [0, 20] {
            let simulator = simulator(Behaviour::default()).await;
            simulator.script(ScriptedReply::answer().times(answered));
            simulator.script(portal.clone().times(40));
            ends_as_undisturbed(&Crawl::of(&simulator.url())).await;
            asks_nothing_twice(&simulator);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_not_treeherder_is_exit_5_after_few_requests() {
    let redirect = ScriptedReply::status(302).header("location", "http://127.0.0.1:1/login");
    for (portal, word) in [
        (redirect, "moved"),
        (html(), "root of a Treeherder"),
        (ScriptedReply::status(401), "login"),
        (ScriptedReply::status(407), "proxy"),
        (ScriptedReply::status(451), "blocks"),
    ] {
        for answered in [0, 20] {
            let simulator = simulator(Behaviour::default()).await;
            simulator.script(ScriptedReply::answer().times(answered));
            simulator.script(portal.clone().times(1_000_000));
            let mut crawl = Crawl::of(&simulator.url());
            crawl.config.retry.give_up_after = Duration::from_millis(50);
            let error = crawl.run().await.unwrap_err();
            assert!(matches!(error, Error::Fetch(FetchError::NotTreeherder { .. })), "{error}");
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(error.exit_code(), 5);
            crawl.config.retry.give_up_after = Duration::from_mins(5);
            let healed = crate::support::simulator(Behaviour::default()).await;
            crawl.config.source.base_url = healed.url();
            ends_as_undisturbed(&crawl).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_repository_is_exit_5_after_few_requests() {
    let simulator = simulator(Behaviour::default()).await;
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.source.repository = "autolamd".to_owned();
    let error = crawl.run().await.unwrap_err();
    assert!(matches!(error, Error::Fetch(FetchError::UnknownRepository { .. })), "{error}");
    assert!(error.to_string().contains("did you mean `autoland`?"), "{error}");
    assert!(error.to_string().contains("source.repository"), "{error}");
    assert_eq!(error.exit_code(), 5);
    assert!(simulator.served().total() < 40);
}

/// A run that the server ends keeps everything, and the next one ends as undisturbed without asking anything twice.
async fn ends_at_once(last_words: ScriptedReply) -> (Error, SimulatorHandle) {
    let simulator = simulator(Behaviour::default()).await;
    simulator.script(ScriptedReply::answer().at(Endpoint::Summary).times(40));
    simulator.script(last_words.at(Endpoint::Summary));
    let mut crawl = Crawl::of(&simulator.url());
    crawl.config.concurrency.summaries = 1.try_into().unwrap();
    let error = crawl.run().await.unwrap_err();
    assert_eq!(error.exit_code(), 5);
    assert_eq!(simulator.served().of(Endpoint::Summary), 41, "nothing more is asked");
    ends_as_undisturbed(&crawl).await;
    asks_nothing_twice(&simulator);
    (error, simulator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forbidden_ends_the_run_with_the_reason() {
    let (error, simulator) = ends_at_once(ScriptedReply::status(403)).await;
    assert!(matches!(error, Error::Fetch(FetchError::Refused { .. })));
    let text = error.to_string();
    assert!(text.contains("User-Agent") && text.contains("perfharvest/") && text.contains("kept"), "{text}");
    assert_eq!(simulator.served().with_status(Endpoint::Summary, 403), 1, "asked once, never again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_longer_than_allowed_ends_the_run_in_both_forms() {
    let date = "Fri, 01 Jan 2100 00:00:00 GMT";
    for wait in ["86400", "99999999999999999999999999", date] {
        let (error, _) = ends_at_once(ScriptedReply::status(429).header("retry-after", wait)).await;
        assert!(matches!(error, Error::Fetch(FetchError::AskedToWait { .. })), "{error}");
    }
}
