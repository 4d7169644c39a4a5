//! The server as a client sees it.

mod clock;
mod faults;
mod generated;
mod lists;
mod live;
mod reference;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{BackendConfig, Behaviour, Endpoint, Outcome, Simulator, SimulatorConfig, SimulatorError, SimulatorHandle};

const SUMMARY: &str = "/api/performance/summary/?repository=autoland&interval=99999999&all_data=True&signature=";

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

async fn start(behaviour: Behaviour) -> SimulatorHandle {
    Simulator::start(SimulatorConfig { behaviour, ..SimulatorConfig::default() }).await.unwrap()
}

async fn get(simulator: &SimulatorHandle, path: &str) -> Result<reqwest::Response, reqwest::Error> {
    client().get(format!("{}{path}", simulator.url())).send().await
}

async fn json(simulator: &SimulatorHandle, path: &str) -> Value {
    let response = get(simulator, path).await.unwrap();
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}: {text:.200}"))
}

/// Sends the bytes of a request, and returns the bytes of the reply.
async fn raw(simulator: &SimulatorHandle, request: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = tokio::net::TcpStream::connect(simulator.addr()).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).await?;
    Ok(reply)
}

#[tokio::test]
async fn it_refuses_to_serve_the_world() {
    let config = SimulatorConfig { bind: "0.0.0.0:0".parse().unwrap(), ..SimulatorConfig::default() };
    assert!(matches!(Simulator::start(config).await, Err(SimulatorError::NotLoopback { .. })));
}

#[tokio::test]
async fn a_folder_serves_what_the_embedded_corpus_serves() {
    let folder = format!("{}/corpus", env!("CARGO_MANIFEST_DIR"));
    let config = SimulatorConfig { backend: BackendConfig::Corpus(folder.into()), ..SimulatorConfig::default() };
    let (folder, embedded) = (Simulator::start(config).await.unwrap(), start(Behaviour::default()).await);
    assert_eq!(folder.now(), embedded.now());
    let path = format!("{SUMMARY}5400001");
    assert_eq!(json(&folder, &path).await, json(&embedded, &path).await);
}

#[tokio::test]
async fn a_connection_is_kept_unless_configured() {
    for (keep_alive, expected) in [(true, 2), (false, 1)] {
        let simulator = start(Behaviour { keep_alive, ..Behaviour::default() }).await;
        let request = "GET /api/repository/ HTTP/1.1\r\nHost: x\r\n\r\n";
        let last = "GET /api/repository/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let reply = String::from_utf8(raw(&simulator, &format!("{request}{last}")).await.unwrap()).unwrap();
        assert_eq!(reply.matches("HTTP/1.1 200").count(), expected);
    }
}

#[tokio::test]
async fn a_request_in_its_latency_is_pending_and_then_abandoned_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("arrivals.jsonl");
    let behaviour = Behaviour { latency: "1h".parse().unwrap(), ..Behaviour::default() };
    let config = SimulatorConfig { behaviour, arrival_log: Some(log.clone()), ..SimulatorConfig::default() };
    let simulator = Simulator::start(config).await.unwrap();
    let url = format!("{}/api/repository/?x=1", simulator.url());
    let waiting = tokio::spawn(async move { client().get(url).send().await });
    while simulator.arrivals().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(simulator.arrivals()[0].outcome, Outcome::Pending);
    let served = simulator.shutdown().await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!((served.total(), served.with_status(Endpoint::Repository, 200)), (1, 0));
    let line: Value = serde_json::from_str(std::fs::read_to_string(log).unwrap().trim()).unwrap();
    assert_eq!((&line["endpoint"], &line["outcome"]), (&"repository".into(), &"abandoned".into()));
}
