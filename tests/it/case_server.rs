//! Serves the recorded replies of a case as they are, also those that no real server gives and the simulator refuses.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, Uri, header::CONTENT_TYPE};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::recordings;

/// The replies of a case.
struct Replies {
    frameworks: String,
    repositories: String,
    signatures: String,
    /// By signature.
    summaries: BTreeMap<u64, String>,
    jobs: BTreeMap<u64, String>,
    alerts: Vec<String>,
}

#[derive(Deserialize)]
struct Recording<'a> {
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
}

/// Starts a server for the replies in `api`; returns its address.
pub(crate) async fn serve(api: &Path) -> String {
    let replies = Arc::new(Replies::read(api));
    let router = Router::new().fallback(move |uri: Uri| {
        let reply = replies.reply(&uri);
        async move {
            match reply {
                Some(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
                None => (StatusCode::NOT_FOUND, [(CONTENT_TYPE, "application/json")], "{\"detail\":\"Not found.\"}")
                    .into_response(),
            }
        }
    });
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn body(recording: &str) -> &str {
    serde_json::from_str::<Recording<'_>>(recording).unwrap().body.get()
}

/// The records of recorded lists, one a line.
fn records(lists: &str) -> Vec<String> {
    let lists = lists.lines().filter(|line| !line.trim().is_empty());
    lists
        .flat_map(|line| serde_json::from_str::<List<'_>>(body(line)).unwrap().results)
        .map(|raw| raw.get().to_owned())
        .collect()
}

impl Replies {
    fn read(api: &Path) -> Self {
        #[derive(Deserialize)]
        struct Job {
            id: u64,
        }
        #[derive(Deserialize)]
        struct Summary {
            signature_id: u64,
        }
        let id_of = |job: &str| serde_json::from_str::<Job>(job).unwrap().id;
        let summaries = text(&api.join("summary.jsonl"));
        let summaries = summaries.lines().filter(|line| !line.trim().is_empty()).map(body).filter_map(|body| {
            let [summary] = <[Summary; 1]>::deserialize(&mut serde_json::Deserializer::from_str(body)).ok()?;
            Some((summary.signature_id, body.to_owned()))
        });
        Self {
            frameworks: body(&text(&recordings().join("frameworks.json"))).to_owned(),
            repositories: text(&recordings().join("repository.json")),
            signatures: text(&api.join("signatures_autoland.json")),
            summaries: summaries.collect(),
            jobs: records(&text(&api.join("jobs.jsonl"))).into_iter().map(|job| (id_of(&job), job)).collect(),
            alerts: records(&text(&api.join("alertsummary_limit100.jsonl"))),
        }
    }

    fn reply(&self, uri: &Uri) -> Option<String> {
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let number = |key: &str| query.get(key).and_then(|text| text.parse::<usize>().ok());
        match uri.path() {
            "/api/performance/framework/" => Some(self.frameworks.clone()),
            "/api/repository/" => Some(self.repositories.clone()),
            "/api/project/autoland/performance/signatures/" => Some(self.signatures.clone()),
            "/api/performance/summary/" => {
                let signature = query.get("signature")?.parse().ok()?;
                Some(self.summaries.get(&signature).cloned().unwrap_or_else(|| "[]".to_owned()))
            }
            "/api/performance/alertsummary/" => {
                let (limit, page) = (number("limit")?, number("page").unwrap_or(1));
                let rows: Vec<&str> =
                    self.alerts.iter().map(String::as_str).skip((page - 1) * limit).take(limit).collect();
                let has_more = self.alerts.len() > page * limit;
                let next =
                    if has_more { format!("\"http://127.0.0.1/?page={}\"", page + 1) } else { "null".to_owned() };
                let (count, rows) = (self.alerts.len(), rows.join(","));
                Some(format!("{{\"count\":{count},\"next\":{next},\"previous\":null,\"results\":[{rows}]}}"))
            }
            "/api/project/autoland/jobs/" => {
                let ids = query.get("id__in").or_else(|| query.get("id"))?;
                let found = ids.split(',').filter_map(|id| self.jobs.get(&id.parse().ok()?));
                let results = found.map(String::as_str).collect::<Vec<_>>().join(",");
                let count = number("count").unwrap_or(10);
                Some(format!(
                    "{{\"results\":[{results}],\"meta\":{{\"repository\":\"autoland\",\"offset\":0,\"count\":{count}}}}}"
                ))
            }
            _ => None,
        }
    }
}
