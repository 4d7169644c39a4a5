//! Compares both backends with recorded replies of a real server: status, headers and the form of the bodies. The data are
//! others.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::json_text::OrderedObject;
use crate::{BackendConfig, Behaviour, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle};

use super::{get, json, start};

#[derive(Deserialize)]
struct Recording {
    request: String,
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

/// The form of a body: text that is not of the data, or the keys of its first objects in their order.
fn form_of(body: &str) -> Vec<String> {
    let keys = |object: &str| -> Vec<String> {
        let object: OrderedObject<'_> = serde_json::from_str(object).unwrap();
        object.0.into_iter().map(|(key, _)| key).collect()
    };
    match serde_json::from_str::<Value>(body) {
        Ok(Value::Array(list)) if list.is_empty() => vec!["[]".to_owned()],
        Ok(Value::Array(_)) => {
            let list: Vec<&serde_json::value::RawValue> = serde_json::from_str(body).unwrap();
            keys(list[0].get())
        }
        Ok(Value::Object(object)) if object.contains_key("results") => {
            let envelope: OrderedObject<'_> = serde_json::from_str(body).unwrap();
            let mut form: Vec<String> = envelope.0.iter().map(|(key, _)| key.clone()).collect();
            form.extend(form_of(envelope.text("results").unwrap()));
            form
        }
        // Errors: the text is the form. An object with ids for keys has the data's.
        Ok(Value::Object(object)) if object.keys().all(|key| key.parse::<u64>().is_err()) => vec![body.to_owned()],
        Ok(_) => vec!["object by id".to_owned()],
        Err(_) => vec![],
    }
}

/// The ids of `simulator` in place of the recorded ones.
async fn with_own_ids(simulator: &SimulatorHandle, request: &str) -> String {
    let list = json(simulator, "/api/project/autoland/performance/signatures/").await;
    let mut ids: Vec<u64> = list.as_object().unwrap().keys().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    let replaced = [("5600310", ids[0]), ("5600311", ids[0]), ("5600357", ids[1])];
    replaced.iter().fold(request.to_owned(), |request, (recorded, own)| request.replace(recorded, &own.to_string()))
}

async fn assert_as_live(simulator: SimulatorHandle) {
    let recordings = std::fs::read_to_string(format!("{}/corpus/live.jsonl", env!("CARGO_MANIFEST_DIR"))).unwrap();
    // The recorded server failed over its data of this framework, not over the request.
    for line in recordings.lines().filter(|line| !line.contains("framework=13")) {
        let recording: Recording = serde_json::from_str(line).unwrap();
        let path = with_own_ids(&simulator, &recording.request).await;
        let response = get(&simulator, &path).await.unwrap();
        assert_eq!(response.status().as_u16(), recording.status, "{path}");
        for (name, value) in
            recording.headers.iter().filter(|(name, _)| !matches!(name.as_str(), "Date" | "Content-Length"))
        {
            let found = response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(found, Some(value.as_str()), "{path}: {name}");
        }
        assert!(response.headers().contains_key("date"), "{path}");
        let body = response.text().await.unwrap();
        let is_cut = serde_json::from_str::<Value>(&recording.body).is_err();
        if recording.headers["Content-Type"] == "application/json" && !is_cut {
            assert_eq!(form_of(&body), form_of(&recording.body), "{path}");
        } else if recording.status == 500 {
            assert_eq!(body, recording.body, "{path}");
        } else {
            assert_eq!(body.starts_with('<'), recording.body.starts_with('<'), "{path}");
        }
    }
}

#[tokio::test]
async fn a_corpus_is_served_as_a_real_server_answers() {
    assert_as_live(start(Behaviour::default()).await).await;
}

#[tokio::test]
async fn generated_data_are_served_as_a_real_server_answers() {
    let backend = BackendConfig::Generated(GeneratorConfig { signatures: 20, ..GeneratorConfig::default() });
    assert_as_live(Simulator::start(SimulatorConfig { backend, ..SimulatorConfig::default() }).await.unwrap()).await;
}
