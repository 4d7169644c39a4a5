use super::*;
use crate::model::{OddRecord, Signature, Timestamp};

const PAGE: AskedPage = AskedPage { page: 1, limit: 100 };

fn window() -> Window {
    Window { start: Timestamp::from_secs(0), end: "2027-01-01".parse().unwrap() }
}

fn datum(id: u64, at: &str) -> String {
    format!(
        r#"{{"job_id":null,"id":{id},"value":4.36e-05,"push_timestamp":"{at}","push_id":5,"revision":"{}","submit_time":null,"machine_name":null}}"#,
        "ab".repeat(20)
    )
}

fn summary(text: &str, asked: SignatureId, window: Window) -> Result<Reply, SourceError> {
    super::summary(text.as_bytes(), asked, window, false)
}

fn summary_text(data: &[String]) -> String {
    format!(r#"[{{"signature_id":7,"suite":"s","tags":"a b","data":[{}],"alert_threshold":2.0}}]"#, data.join(","))
}

#[test]
fn a_summary_keeps_its_header_verbatim_and_each_datum_of_the_window_once() {
    let inside = datum(3, "2026-07-02T00:00:00");
    let text =
        summary_text(&[inside.clone(), datum(2, "2026-07-01T00:00:00"), inside, datum(9, "2027-01-01T00:00:00")]);
    let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
    assert_eq!(
        summary.header.unwrap().as_str(),
        r#"{"signature_id":7,"suite":"s","tags":"a b","alert_threshold":2.0}"#
    );
    assert_eq!(summary.data.iter().map(|record| record.id().unwrap().0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn data_under_a_key_of_another_object_are_not_the_summarys() {
    let (nested, own) = (datum(5, "2026-07-03T00:00:00"), datum(3, "2026-07-02T00:00:00"));
    let irregular = own.replace("\"value\":4.36e-05,", "");
    for (own, num_regular) in [(&own, 1), (&irregular, 0)] {
        let text = format!(r#"[{{"signature_id":7,"more":{{"data":[{nested}]}},"data":[{own}]}}]"#);
        let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
        assert_eq!(summary.data.iter().map(|record| record.id().unwrap().0).collect::<Vec<_>>(), [3]);
        let is_regular = |record: &&DatumRecord| matches!(record, DatumRecord::Regular(_));
        assert_eq!(summary.data.iter().filter(is_regular).count(), num_regular);
        let header = format!(r#"{{"signature_id":7,"more":{{"data":[{nested}]}}}}"#);
        assert_eq!(summary.header.unwrap().as_str(), header);
    }
    let twice = format!(r#"[{{"signature_id":7,"data":[{nested}],"data":[{own}]}}]"#);
    let Reply::Summary(twice) = summary(&twice, SignatureId(7), window()).unwrap() else { panic!() };
    assert_eq!(twice.data.len(), 1);
    let unfinished = format!(r#"[{{"signature_id":7,"data":[{own}]}}"#);
    assert!(matches!(summary(&unfinished, SignatureId(7), window()), Err(SourceError::BrokenJson { .. })));
}

#[test]
fn a_datum_that_cannot_be_read_costs_itself_and_nothing_else() {
    let good = datum(3, "2026-07-02T00:00:00");
    for (odd, taken) in [
        (good.replace("\"2026-07-02T00:00:00\"", "null"), false),
        (good.replace("4.36e-05", "1e400"), false),
        (good.replace("\"id\":3", "\"id\":9223372036854775808"), false),
        (good.replace("4.36e-05", "NaN"), true),
        (good.replace("\"machine_name\":null", r#""machine_name":"\udc00""#), true),
        ("7".to_owned(), false),
    ] {
        let odd = odd.replace("\"id\":3", "\"id\":4");
        for threshold in ["2.0", "NaN", "-Infinity"] {
            let text = summary_text(&[good.clone(), odd.clone()]).replace(":2.0", &format!(":{threshold}"));
            let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
            assert_eq!(summary.data.len(), 1 + usize::from(taken), "{text}");
            let of_data: Vec<_> = summary.odd.iter().filter(|odd| odd.reason.starts_with("datum 2: ")).collect();
            assert!(of_data.len() == 1 && of_data[0].text == odd && of_data[0].taken == taken, "{text}: {of_data:?}");
            let header = summary.header.unwrap();
            let kept = if threshold == "2.0" { "2.0" } else { "null" };
            assert!(header.as_str().ends_with(&format!(r#""alert_threshold":{kept}}}"#)), "{header:?}");
            assert_eq!(summary.odd.len(), 1 + usize::from(kept == "null"));
            for cut in [text.len() - 1, text.len() / 2] {
                let error = super::summary(&text.as_bytes()[..cut], SignatureId(7), window(), false).unwrap_err();
                assert!(matches!(error, SourceError::BrokenJson { .. }), "{cut}: {error}");
            }
        }
    }
}

#[test]
fn a_header_that_cannot_be_read_costs_no_data() {
    let (good, irregular) =
        (datum(3, "2026-07-02T00:00:00"), datum(3, "2026-07-02T00:00:00").replace(",\"push_id\":5", ""));
    for datum in [good, irregular] {
        for (value, taken) in [("1e400", false), (r#""\ud800""#, true)] {
            let text = summary_text(std::slice::from_ref(&datum)).replace(":2.0", &format!(":{value}"));
            let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
            assert_eq!((summary.data.len(), summary.odd.len(), summary.odd[0].taken), (1, 1, taken));
            let header = summary.header.unwrap();
            assert_eq!(header.as_str() == r#"{"signature_id":7}"#, !taken, "{header:?}");
        }
    }
}

#[test]
fn an_unknown_signature_has_no_header_and_one_without_data_has_one() {
    let Reply::Summary(unknown) = summary("[]", SignatureId(7), window()).unwrap() else { panic!() };
    assert_eq!((unknown.header, unknown.data.len()), (None, 0));
    let Reply::Summary(empty) = summary(&summary_text(&[]), SignatureId(7), window()).unwrap() else { panic!() };
    assert!(empty.header.is_some() && empty.data.is_empty());
}

#[test]
fn another_signature_a_map_and_two_signatures_are_wrong_shapes() {
    let two = format!("[{0},{0}]", r#"{"signature_id":7,"data":[]}"#);
    for text in [
        r#"[{"signature_id":8,"data":[]}]"#,
        "{}",
        &two,
        r#"[{"signature_id":7}]"#,
        r#"[{"signature_id":7,"data":{}}]"#,
        "null",
    ] {
        let error = summary(text, SignatureId(7), window()).unwrap_err();
        assert!(matches!(error, SourceError::WrongShape { .. }), "{text}: {error}");
    }
}

#[test]
fn text_that_ends_early_is_broken_json() {
    let whole = summary_text(&[datum(3, "2026-07-02T00:00:00")]);
    for cut in [0, 1, 20, whole.len() - 1] {
        let error = summary(&whole[..cut], SignatureId(7), window()).unwrap_err();
        assert!(matches!(error, SourceError::BrokenJson { .. }), "{cut}: {error}");
    }
}

fn listed(text: &[u8]) -> Result<(Vec<OddRecord>, Vec<Signature>), SourceError> {
    let (found, taken) = flume::bounded(1);
    let sink: SignatureSink = Box::new(move |portion| found.send(portion).unwrap());
    let Reply::Signatures { odd } = signatures(text, sink)? else { panic!() };
    Ok((odd, taken.recv().unwrap()))
}

#[test]
fn signatures_are_read_whatever_their_fields_and_lower_is_better_stays_absent() {
    let text = r#"{"12":{"id":12,"framework_id":1,"new":1e+16},"3":{"id":3,"framework_id":2,"lower_is_better":false}}"#;
    let (odd, found) = listed(text.as_bytes()).unwrap();
    assert_eq!((odd.len(), found.len()), (0, 2));
    assert_eq!(found[0].raw.as_str(), r#"{"id":12,"framework_id":1,"new":1e+16}"#);
    for wrong in ["[]", "null", r#"{"detail":{"id":4}}"#, r#"{"":{}}"#, r#"{"-4":{}}"#] {
        let error = listed(wrong.as_bytes()).unwrap_err();
        assert!(matches!(error, SourceError::WrongShape { .. }), "{wrong}: {error}");
    }
    for broken in ["", &text[..text.len() - 1], &text[..20], "{\"12\":{\"id\":\u{7f}}}", &format!("{text} 1")] {
        let error = listed(broken.as_bytes()).unwrap_err();
        assert!(matches!(error, SourceError::BrokenJson { .. }), "{broken}: {error}");
    }
    assert_eq!(
        updated_signatures(text.as_bytes()).unwrap(),
        Reply::UpdatedSignatures(vec![SignatureId(12), SignatureId(3)])
    );
    assert!(updated_signatures(&br#"{"detail":{}}"#[..]).is_err());
}

#[test]
fn an_odd_signature_costs_only_itself() {
    let (odd, found) = listed(
        br#"{"1":{"id":1,"framework_id":null},"2":{"id":7,"framework_id":"2"},"3":{"id":3,"x":1e400},"4":{"id":4,"x":NaN},
            "5":{"id":5,"test":"\ud83d"},"6":7,"9223372036854775808":{},"99999999999999999999999":{},"8":{"id":8}}"#,
    )
    .unwrap();
    assert_eq!(found.iter().map(|signature| signature.id.0).collect::<Vec<_>>(), [1, 2, 4, 5, 8]);
    assert_eq!(found[3].raw.as_str(), r#"{"id":5,"test":"\ufffd"}"#);
    let (corrected, set_aside): (Vec<_>, Vec<_>) = odd.into_iter().partition(|odd| odd.taken);
    assert_eq!(corrected.iter().map(|odd| odd.record).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(corrected[0].text, r#"{"id":4,"x":NaN}"#);
    assert_eq!(set_aside.len(), 4);
    assert_eq!((set_aside[0].record, set_aside[1].record), (3, 6));
}

#[test]
fn jobs_are_matched_by_id_and_a_job_not_asked_for_spoils_the_reply() {
    let batch = Batch::of_jobs(vec![JobId(1), JobId(2), JobId(3)]).unwrap();
    let text = br#"{"results":[{"id":3,"end_timestamp":9,"x":1},{"id":1,"submit_timestamp":0}],"meta":{}}"#;
    let Reply::Jobs(found) = jobs(text, &batch).unwrap() else { panic!() };
    assert_eq!(found.taken.iter().map(|job| job.id.0).collect::<Vec<_>>(), [1, 3]);
    let odd = br#"{"results":[{"id":3,"end_timestamp":"soon"},{"id":1.0,"x":Infinity}]}"#;
    let Reply::Jobs(found) = jobs(odd, &batch).unwrap() else { panic!() };
    assert_eq!(found.taken.iter().map(|job| job.id.0).collect::<Vec<_>>(), [1]);
    assert_eq!(found.odd.iter().map(|odd| (odd.record, odd.taken)).collect::<Vec<_>>(), [(3, false), (1, true)]);
    for wrong in [r#"{"results":[{"id":4}]}"#, r#"{"results":[{"id":4,"x":1e400}]}"#, r#"{"results":[{}]}"#, "[]"] {
        assert!(matches!(jobs(wrong.as_bytes(), &batch), Err(SourceError::WrongShape { .. })), "{wrong}");
    }
}

#[test]
fn an_odd_alert_summary_costs_only_itself() {
    let text =
        br#"{"count":5,"next":null,"results":[{"id":1,"created":null,"notes":"\u001b[31m"},{"id":2,"amount":Infinity},
        {"id":3,"x":-1e999},{"created":""},{"id":4,"id":5}]}"#;
    let Reply::AlertPage { count: 5, records } = alert_page(text, PAGE).unwrap() else { panic!() };
    assert_eq!(records.taken.iter().map(|summary| summary.id.0).collect::<Vec<_>>(), [1, 2, 5]);
    assert_eq!(records.odd.iter().map(|odd| odd.taken).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!((records.odd[0].record, records.odd[1].record), (2, 3));
    let endless = alert_page(br#"{"count":1000000000000,"results":[]}"#, PAGE);
    assert!(matches!(endless, Err(SourceError::WrongShape { .. })));
    assert!(alert_page(br#"{"detail":"Invalid page."}"#, PAGE).is_err());
    assert!(alert_page(br#"{"results":[]}"#, PAGE).is_err());
}

#[test]
fn excerpts_of_replies_have_no_control_characters() {
    let error = summary("[{\"signature_id\":\"\u{1b}[31mred\\u001b\\n\"}]", SignatureId(7), window()).unwrap_err();
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
}

#[test]
fn replies_whose_records_would_take_many_times_their_length_in_memory_are_refused() {
    let list = |element: &str, num: usize| vec![element; num].join(",");
    let odd = format!(r#"[{{"signature_id":7,"data":[{}]}}]"#, list("{}", 200_001));
    assert!(matches!(summary(&odd, SignatureId(7), window()), Err(SourceError::BrokenJson { .. })));
    let fields = format!(r#"[{{{},"data":[{{}}]}}]"#, list(r#""a":1"#, MAX_FIELDS + 1));
    assert!(matches!(summary(&fields, SignatureId(7), window()), Err(SourceError::WrongShape { .. })));
    let rows = format!(r#"{{"results":[{}]}}"#, list(r#"{"id":1}"#, MAX_ROWS + 1));
    let batch = Batch::of(crate::model::Request::Job { id: JobId(1) });
    assert!(matches!(jobs(rows.as_bytes(), &batch), Err(SourceError::WrongShape { .. })));
    let long = format!(r#"{{"1":[{}]}}"#, list("1", MAX_RECORD_BYTES / 2 + 1));
    assert!(matches!(updated_signatures(long.as_bytes()), Err(SourceError::BrokenJson { .. })));
    let record = format!(r#"{{"results":[{{"id":1,"x":[{}]}}]}}"#, list("1", MAX_RECORD_BYTES / 2 + 1));
    let Reply::Jobs(found) = jobs(record.as_bytes(), &batch).unwrap() else { panic!() };
    assert!(found.taken.is_empty() && !found.odd[0].taken && found.odd[0].reason.contains("longer"));
}
