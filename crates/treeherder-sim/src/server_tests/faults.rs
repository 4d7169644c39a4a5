//! Faults, scripts, the capacity and the time limit, as a client sees them.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::Value;

use crate::{Behaviour, Endpoint, FaultKind, Outcome, ScriptedReply};

use super::{SUMMARY, client, get, json, raw, start};

fn fault(rule: &str) -> Behaviour {
    Behaviour { faults: vec![rule.parse().unwrap()], ..Behaviour::default() }
}

#[tokio::test]
async fn a_fault_of_every_kind_looks_like_itself() {
    for (kind, status) in [
        ("500", 500),
        ("502", 502),
        ("503", 503),
        ("504", 504),
        ("429", 429),
        ("403", 403),
        ("404", 404),
        ("html", 200),
        ("broken-json", 200),
        ("wrong-shape", 200),
        ("empty-body", 200),
    ] {
        let simulator = start(fault(&format!("{kind}@summary=1"))).await;
        let response = get(&simulator, &format!("{SUMMARY}5400001")).await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{kind}");
        let text = response.text().await.unwrap();
        let parsed: Result<Vec<Value>, _> = serde_json::from_str(&text);
        assert!(parsed.is_err(), "{kind}: {text:.100}");
        assert_eq!(get(&simulator, "/api/performance/framework/").await.unwrap().status(), 200);
        let outcome = simulator.arrivals()[0].outcome.clone();
        assert_eq!(outcome.to_string(), kind);
    }
    for kind in ["reset", "cut"] {
        let simulator = start(fault(&format!("{kind}=1"))).await;
        let result = match get(&simulator, &format!("{SUMMARY}5400001")).await {
            Ok(response) => response.bytes().await.map(|_| ()),
            Err(error) => Err(error),
        };
        assert!(result.is_err(), "{kind}");
        assert_eq!(simulator.served().iter().next().unwrap().1, &Outcome::Fault(kind));
    }
}

#[tokio::test]
async fn a_hanging_request_ends_with_the_server() {
    let simulator = start(fault("hang=1")).await;
    let url = format!("{}/api/repository/", simulator.url());
    let waiting = tokio::spawn(async move { client().get(url).send().await });
    while simulator.arrivals().is_empty() {
        tokio::task::yield_now().await;
    }
    let served = simulator.shutdown().await.unwrap();
    assert!(waiting.await.unwrap().is_err());
    assert_eq!(served.of(Endpoint::Repository), 1);
}

#[tokio::test]
async fn a_cut_reply_sends_its_head_and_too_few_bytes() {
    let simulator = start(Behaviour::default()).await;
    simulator.script(ScriptedReply::cut(1000, "[{\"signature_id\"").at(Endpoint::Summary));
    let request = format!("GET {SUMMARY}5400001 HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = String::from_utf8(raw(&simulator, &request).await.unwrap()).unwrap();
    assert!(reply.contains("content-length: 1000"), "{reply}");
    assert!(reply.ends_with("\r\n\r\n[{\"signature_id\""), "{reply}");

    simulator.script(ScriptedReply::close().times(1));
    assert!(raw(&simulator, &request).await.unwrap().is_empty(), "closed before any byte");
    simulator.script(ScriptedReply::reset());
    let error = raw(&simulator, &request).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_scripted_reply_has_its_status_headers_body_and_number() {
    let simulator = start(Behaviour::default()).await;
    simulator.script(
        ScriptedReply::status(503)
            .header("Retry-After", "7")
            .with_body("later")
            .at(Endpoint::Jobs)
            .containing("id=5")
            .times(2),
    );
    let path = "/api/project/autoland/jobs/?id=560000006";
    for _ in 0..2 {
        let response = get(&simulator, path).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (503, "7"));
        assert_eq!(response.text().await.unwrap(), "later");
    }
    assert_eq!(json(&simulator, path).await["results"][0]["id"], 560_000_006);
    assert_eq!(simulator.served().with_status(Endpoint::Jobs, 503), 2);
}

#[tokio::test]
async fn above_its_capacity_it_answers_429_with_retry_after() {
    let behaviour =
        Behaviour { capacity: Some(0.001), retry_after: Some(Duration::from_millis(1500)), ..Behaviour::default() };
    let simulator = start(behaviour).await;
    assert_eq!(get(&simulator, "/api/repository/").await.unwrap().status(), 200);
    let response = get(&simulator, "/api/repository/").await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["retry-after"].to_str().unwrap()), (429, "2"));
}

#[tokio::test]
async fn a_window_with_too_many_data_is_killed_and_half_of_it_is_answered() {
    let behaviour =
        Behaviour { kill_over_data: Some(40), kill_after: Duration::ZERO, kill_hangs_up: true, ..Behaviour::default() };
    let simulator = start(behaviour).await;
    assert!(get(&simulator, &format!("{SUMMARY}5400001")).await.is_err());
    let half = "/api/performance/summary/?repository=autoland&signature=5400001&all_data=True&startday=2026-07-01&endday=2026-09-20";
    assert_eq!(get(&simulator, half).await.unwrap().status(), 200);
    assert_eq!(simulator.arrivals()[0].outcome, Outcome::Fault("killed"));
}

#[tokio::test]
async fn a_page_with_a_certain_alert_is_killed_and_the_pages_beside_it_are_answered() {
    let list = "/api/performance/alertsummary/?limit=2&page=";
    let still = start(Behaviour::default()).await;
    let page = get(&still, &format!("{list}2")).await.unwrap().text().await.unwrap();
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let kill_alerts = vec![page["results"][1]["id"].as_u64().unwrap()];
    let simulator = start(Behaviour { kill_alerts, kill_after: Duration::ZERO, ..Behaviour::default() }).await;
    for (page, status) in [(1, 200), (2, 500), (3, 200)] {
        assert_eq!(get(&simulator, &format!("{list}{page}")).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn a_killed_request_is_answered_with_the_recorded_page() {
    let behaviour = Behaviour { kill_over_data: Some(40), kill_after: Duration::ZERO, ..Behaviour::default() };
    let simulator = start(behaviour).await;
    let request = format!("GET {SUMMARY}5400001 HTTP/1.1\r\nHost: x\r\n\r\n");
    let reply = String::from_utf8(raw(&simulator, &request).await.unwrap()).unwrap().to_lowercase();
    let recorded = "http/1.1 500 internal server error\r\nconnection: close\r\ncontent-type: text/html\r\n\
                    content-length: 141\r\n\r\n<html>\n  <head>\n    <title>internal server error</title>\n  </head>\n  \
                    <body>\n    <h1><p>internal server error</p></h1>\n    \n  </body>\n</html>\n";
    assert_eq!(reply, recorded);
    assert_eq!(simulator.arrivals()[0].outcome, Outcome::Fault("killed"));
}

#[tokio::test]
async fn the_date_is_the_real_time_and_the_configured_skew() {
    let date = async |date_skew_secs| {
        let simulator = start(Behaviour { date_skew_secs, ..Behaviour::default() }).await;
        let response = get(&simulator, "/api/repository/").await.unwrap();
        crate::moment::parse_http_date(response.headers()["date"].to_str().unwrap()).unwrap()
    };
    let (real, ahead) = (date(0).await, date(86_400).await);
    assert!((real - jiff::Timestamp::now().as_second()).abs() < 600);
    assert!((ahead - real - 86_400).abs() < 600);
}

#[test]
fn every_kind_of_fault_has_a_name_of_its_own() {
    let names: HashSet<String> = [
        "500",
        "502",
        "503",
        "504",
        "429",
        "403",
        "404",
        "reset",
        "cut",
        "hang",
        "html",
        "broken-json",
        "wrong-shape",
        "empty-body",
        "gzip-members",
        "broken-gzip",
    ]
    .iter()
    .map(|name| name.parse::<FaultKind>().unwrap().to_string())
    .collect();
    assert_eq!(names.len(), 16);
}

#[tokio::test]
async fn gzip_comes_in_members_or_broken() {
    use std::io::Read as _;
    let url = format!("{SUMMARY}5400001");
    let sent = async |simulator: &crate::SimulatorHandle| {
        let plain = reqwest::Client::builder().no_gzip().no_proxy().build().unwrap();
        let request = plain.get(format!("{}{url}", simulator.url())).header("accept-encoding", "gzip");
        request.send().await.unwrap().bytes().await.unwrap().to_vec()
    };
    let whole = get(&start(Behaviour::default()).await, &url).await.unwrap().bytes().await.unwrap();
    let members = sent(&start(fault("gzip-members=1")).await).await;
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(&members[..]).read_to_end(&mut body).unwrap();
    assert_eq!(body, whole[..whole.len() / 2], "the first member");
    body.clear();
    flate2::read::MultiGzDecoder::new(&members[..]).read_to_end(&mut body).unwrap();
    assert_eq!(body, whole);
    let broken = sent(&start(fault("broken-gzip=1")).await).await;
    assert!(flate2::read::MultiGzDecoder::new(&broken[..]).read_to_end(&mut body).is_err());
}
