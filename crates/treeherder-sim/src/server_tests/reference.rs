//! Single records, lists of values, and reference data: with a corpus and with generated data.

use serde_json::Value;

use crate::{BackendConfig, Behaviour, GeneratorConfig, Simulator, SimulatorConfig, SimulatorHandle};

use super::{get, json, start};

async fn both() -> [SimulatorHandle; 2] {
    let backend = BackendConfig::Generated(GeneratorConfig { signatures: 20, ..GeneratorConfig::default() });
    let generated = Simulator::start(SimulatorConfig { backend, ..SimulatorConfig::default() }).await.unwrap();
    [start(Behaviour::default()).await, generated]
}

async fn not_found(simulator: &SimulatorHandle, path: &str) -> String {
    let response = get(simulator, path).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (404, &"application/json".parse().unwrap())
    );
    response.text().await.unwrap()
}

#[tokio::test]
async fn one_record_is_that_of_its_list() {
    for simulator in both().await {
        let pushes = json(&simulator, "/api/project/autoland/push/?count=3").await;
        let push = &pushes["results"][2];
        assert_eq!(&json(&simulator, &format!("/api/project/autoland/push/{}/", push["id"])).await, push);
        assert_eq!(
            not_found(&simulator, "/api/project/autoland/push/999999999/").await,
            "\"No push with id: 999999999\""
        );
        assert_eq!(not_found(&simulator, "/api/project/nope/push/1/").await, "\"No push with id: 1\"");
        assert_eq!(get(&simulator, "/api/project/autoland/push/abc/").await.unwrap().status(), 500);

        let alerts = json(&simulator, "/api/performance/alertsummary/?limit=3").await;
        let alert = &alerts["results"][2];
        let path = format!("/api/performance/alertsummary/{}/", alert["id"]);
        assert_eq!(&json(&simulator, &path).await, alert);
        let allowed = get(&simulator, &path).await.unwrap().headers()["allow"].clone();
        assert_eq!(allowed, "GET, PUT, PATCH, DELETE, HEAD, OPTIONS");
        let unknown = not_found(&simulator, "/api/performance/alertsummary/999999999/").await;
        assert_eq!(unknown, "{\"detail\":\"No PerformanceAlertSummary matches the given query.\"}");
    }
}

#[tokio::test]
async fn jobs_come_as_lists_of_values_with_their_names() {
    for simulator in both().await {
        let jobs = json(&simulator, "/api/project/autoland/jobs/?count=4").await;
        let lists = json(&simulator, "/api/project/autoland/jobs/?count=4&return_type=list").await;
        let names = lists["job_property_names"].as_array().unwrap();
        assert_eq!(jobs["meta"], lists["meta"]);
        for (job, list) in jobs["results"].as_array().unwrap().iter().zip(lists["results"].as_array().unwrap()) {
            let values = list.as_array().unwrap();
            assert_eq!((values.len(), names.len()), (job.as_object().unwrap().len(), values.len()));
            assert!(names.iter().zip(values).all(|(name, value)| &job[name.as_str().unwrap()] == value));
        }
        let none = json(&simulator, "/api/project/autoland/jobs/?id=1&return_type=list").await;
        assert_eq!(
            (&none["results"], &none["job_property_names"]),
            (&Value::Array(Vec::new()), &lists["job_property_names"])
        );
    }
}

#[tokio::test]
async fn reference_data_name_everything_that_the_records_do() {
    for simulator in both().await {
        let signatures = json(&simulator, "/api/project/autoland/performance/signatures/").await;
        let hashes = json(&simulator, "/api/optioncollectionhash/").await;
        let platforms = json(&simulator, "/api/machineplatforms/").await;
        let has = |list: &Value, key: &str, value: &Value| list.as_array().unwrap().iter().any(|of| of[key] == *value);
        for signature in signatures.as_object().unwrap().values() {
            assert!(has(&hashes, "option_collection_hash", &signature["option_collection_hash"]));
            assert!(has(&platforms, "platform", &signature["machine_platform"]));
        }
        assert!(hashes[0]["options"][0]["name"].is_string() && platforms[0]["id"] == 1);
        let tags = json(&simulator, "/api/performance/tag/").await;
        for alert in json(&simulator, "/api/performance/alertsummary/?limit=100").await["results"].as_array().unwrap() {
            assert!(alert["performance_tags"].as_array().unwrap().iter().all(|tag| has(&tags, "name", tag)));
        }
    }
}

#[tokio::test]
async fn every_other_path_gets_the_web_application() {
    for simulator in both().await {
        for path in
            ["/", "/api/", "/api/version/", "/api/performance/framework", "/api//performance/framework/", "/perf"]
        {
            let response = get(&simulator, path).await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["content-type"]),
                (200, &"text/html; charset=utf-8".parse().unwrap()),
                "{path}"
            );
        }
    }
}
