//! Alert summaries that change between pages, deleted jobs, lists of jobs and pushes.

use serde_json::Value;

use crate::{AlertChange, Behaviour};

use super::{SUMMARY, get, json, start};

#[tokio::test]
async fn pages_shift_when_a_summary_is_created_or_leaves() {
    let simulator = start(Behaviour::default()).await;
    let page = |n: usize| format!("/api/performance/alertsummary/?page={n}&hide_related_and_invalid=True");
    let ids = |page: &Value| -> Vec<u64> {
        page["results"].as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect()
    };
    let first = json(&simulator, &page(1)).await;
    assert_eq!((first["count"].as_u64(), first["previous"].is_null()), (Some(41), true));
    assert_eq!(
        first["next"],
        format!("{}/api/performance/alertsummary/?hide_related_and_invalid=True&page=2", simulator.url())
    );
    let mut record = first["results"][0].clone();
    record["id"] = 99_999.into();
    record["created"] = "2026-11-20T00:00:00.5".into();
    simulator.after(1, AlertChange::Create(record.to_string())).unwrap();
    simulator.after(3, AlertChange::Leave(ids(&first)[0])).unwrap();
    assert!(simulator.after(0, AlertChange::Create("{}".to_owned())).is_err());

    let second = json(&simulator, &page(2)).await;
    assert_eq!(ids(&second)[0], ids(&first)[9], "the last row of page 1 comes again");
    let first_again = json(&simulator, &page(1)).await;
    assert_eq!((ids(&first_again)[0], first_again["count"].as_u64()), (99_999, Some(42)));
    let after_leaving = json(&simulator, &page(1)).await;
    assert_eq!(ids(&after_leaving)[..2], [99_999, ids(&first)[1]]);
    let left = json(&simulator, &format!("/api/performance/alertsummary/?id={}", ids(&first)[0])).await;
    assert_eq!(left["results"][0]["status"], 3);
    assert_eq!(json(&simulator, &page(9)).await["detail"], "Invalid page.");
}

#[tokio::test]
async fn pages_have_caps_filters_and_an_order() {
    let simulator = start(Behaviour::default()).await;
    let page_of = async |query: &str| json(&simulator, &format!("/api/performance/alertsummary/?{query}")).await;
    let size = |page: &Value| page["results"].as_array().unwrap().len();
    for (limit, expected) in [("limit=101", 54), ("limit=20", 20), ("limit=0", 10), ("limit=-3", 10), ("limit=x", 10)] {
        assert_eq!(size(&page_of(limit).await), expected, "{limit}");
    }
    let last = page_of("page=last&limit=20").await;
    assert_eq!((size(&last), last["next"].is_null()), (14, true));
    assert!(last["previous"].as_str().unwrap().ends_with("?limit=20&page=2"));
    for (query, expected) in [
        ("hide_related_and_invalid=False", 41),
        ("hide_related_and_invalid=banana", 54),
        ("repository=77", 49),
        ("status=6&repository=1", 1),
        ("id=52057", 1),
        ("monitored_alerts=1", 0),
        ("timerange=604800", 0),
        ("timerange=99999999", 54),
        ("alerts__series_signature=5400005&limit=100", 1),
    ] {
        let count = page_of(query).await["count"].as_u64().unwrap();
        if query.starts_with("alerts__") { assert!(count >= expected) } else { assert_eq!(count, expected, "{query}") }
    }
    let ascending = page_of("ordering=id&limit=100").await;
    assert_eq!(ascending["results"][0]["id"], 52001);
}

#[tokio::test]
async fn a_deleted_job_is_gone_from_jobs_and_data() {
    let simulator = start(Behaviour::default()).await;
    let data = json(&simulator, &format!("{SUMMARY}5400001")).await;
    let rows = data[0]["data"].as_array().unwrap().clone();
    let with_job = rows.iter().find(|row| !row["job_id"].is_null()).unwrap();
    let (job, datum) = (with_job["job_id"].as_u64().unwrap(), with_job["id"].as_u64().unwrap());
    simulator.delete_job(job);
    let jobs = json(&simulator, &format!("/api/project/autoland/jobs/?id={job}")).await;
    assert!(jobs["results"].as_array().unwrap().is_empty());
    let data = json(&simulator, &format!("{SUMMARY}5400001")).await;
    let after = data[0]["data"].as_array().unwrap();
    assert_eq!(after.len(), rows.len());
    let row = after.iter().find(|row| row["id"] == datum).unwrap();
    assert!(row["job_id"].is_null() && row["submit_time"].is_null() && row["machine_name"].is_null());
    assert_eq!(row["value"], with_job["value"]);
}

#[tokio::test]
async fn jobs_of_an_id_list_come_in_no_order_and_no_more_than_requested() {
    let simulator = start(Behaviour::default()).await;
    let all = json(&simulator, "/api/project/autoland/jobs/?count=2000").await;
    let ids: Vec<u64> = all["results"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect();
    let asked: Vec<String> = ids.iter().take(25).map(u64::to_string).collect();
    let list = |reply: &Value| -> Vec<u64> {
        reply["results"].as_array().unwrap().iter().map(|job| job["id"].as_u64().unwrap()).collect()
    };
    let path = format!("/api/project/autoland/jobs/?id__in={}", asked.join(","));
    assert_eq!(list(&json(&simulator, &path).await).len(), 10);
    let found = list(&json(&simulator, &format!("{path},1&count=2000")).await);
    assert_ne!(found, ids[..25]);
    let mut sorted = found;
    sorted.sort_unstable();
    assert_eq!(sorted, ids[..25]);
    assert!(list(&json(&simulator, "/api/project/mozilla-central/jobs/?id=560000006").await).is_empty());
}

#[tokio::test]
async fn pushes_are_bounded_by_time_and_id_and_an_invalid_bound_gets_the_servers_message() {
    let simulator = start(Behaviour::default()).await;
    let path = |query: &str| format!("/api/project/autoland/push/?{query}");
    let all = json(&simulator, &path("count=1000")).await;
    let all = all["results"].as_array().unwrap();
    let (newest, third) = (&all[0], &all[2]);
    let bounds = format!(
        "count=1000&push_timestamp__gte={}&push_timestamp__lt={}",
        third["push_timestamp"], newest["push_timestamp"]
    );
    let between = json(&simulator, &path(&bounds)).await;
    assert_eq!(between["results"].as_array().unwrap()[..], all[1..3]);
    assert_eq!(between["meta"]["count"], 2);
    let below = json(&simulator, &path(&format!("count=1000&id__lt={}", third["id"]))).await;
    assert_eq!(below["results"].as_array().unwrap()[..], all[3..]);
    for (query, detail) in [
        ("count=1001", "Specified count exceeds api limit: 1000"),
        ("count=0", "count requires a positive integer, not: 0"),
        ("count=-3", "count requires a positive integer, not: -3"),
        ("count=x", "Valid count value required"),
        ("push_timestamp__lt=x", "Invalid timestamp specified for push_timestamp__lt"),
        ("id__lt=x", "Invalid timestamp specified for id__lt"),
        ("id__in=1,x", "Invalid id__in specification"),
    ] {
        let response = get(&simulator, &path(query)).await.unwrap();
        assert_eq!(response.status().as_u16(), 400, "{query}");
        let text = response.text().await.unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["detail"], detail, "{query}");
    }
}
