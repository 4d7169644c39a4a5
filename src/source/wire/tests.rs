use super::*;

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
    assert_eq!(summary.data.iter().map(|record| record.id().0).collect::<Vec<_>>(), [2, 3]);
}

#[test]
fn data_under_a_key_of_another_object_are_not_the_summarys() {
    let (nested, own) = (datum(5, "2026-07-03T00:00:00"), datum(3, "2026-07-02T00:00:00"));
    let irregular = own.replace("\"value\":4.36e-05,", "");
    for (own, num_regular) in [(&own, 1), (&irregular, 0)] {
        let text = format!(r#"[{{"signature_id":7,"more":{{"data":[{nested}]}},"data":[{own}]}}]"#);
        let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
        assert_eq!(summary.data.iter().map(|record| record.id().0).collect::<Vec<_>>(), [3]);
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

#[test]
fn signatures_are_read_whatever_their_fields_and_lower_is_better_stays_absent() {
    let text = r#"{"12":{"id":12,"framework_id":1,"new":1e+16},"3":{"id":3,"framework_id":2,"lower_is_better":false}}"#;
    let signatures = |text: &[u8]| {
        let (found, taken) = flume::bounded(1);
        let sink: SignatureSink = Box::new(move |portion| found.send(portion).unwrap());
        super::signatures(text, sink).map(|reply| (reply, taken.recv().unwrap()))
    };
    let (reply, found) = signatures(text.as_bytes()).unwrap();
    assert_eq!((reply, found.len()), (Reply::Signatures, 2));
    assert_eq!(found[0].raw.as_str(), r#"{"id":12,"framework_id":1,"new":1e+16}"#);
    assert_eq!(found[1].framework_id, FrameworkId(2));
    for wrong in ["[]", "null", r#"{"4":{"id":5,"framework_id":1}}"#, r#"{"4":{"id":4}}"#, r#"{"4":7}"#] {
        let error = signatures(wrong.as_bytes()).unwrap_err();
        assert!(matches!(error, SourceError::WrongShape { .. }), "{wrong}: {error}");
    }
    for broken in ["", &text[..text.len() - 1], &text[..20], "{\"12\":{\"id\":\u{7f}}}", &format!("{text} 1")] {
        let error = signatures(broken.as_bytes()).unwrap_err();
        assert!(matches!(error, SourceError::BrokenJson { .. }), "{broken}: {error}");
    }
    assert!(signatures(&b"{\"4\":{\"id\":4,\"framework_id\":1,\"suite\":\"\xff\"}}"[..]).is_err());
    assert_eq!(
        updated_signatures(text.as_bytes()).unwrap(),
        Reply::UpdatedSignatures(vec![SignatureId(12), SignatureId(3)])
    );
    assert!(updated_signatures(&br#"{"4":{"id":5,"framework_id":1}}"#[..]).is_err());
}

#[test]
fn jobs_are_matched_by_id_and_a_job_not_asked_for_spoils_the_reply() {
    let batch = Batch::of_jobs(vec![JobId(1), JobId(2), JobId(3)]).unwrap();
    let text = r#"{"results":[{"id":3,"end_timestamp":9,"x":1},{"id":1,"submit_timestamp":0}],"meta":{}}"#;
    let Reply::Jobs(found) = jobs(text, &batch).unwrap() else { panic!() };
    assert_eq!(found.iter().map(|job| (job.id.0, job.times.end_secs)).collect::<Vec<_>>(), [(1, None), (3, Some(9))]);
    assert!(matches!(jobs(r#"{"results":[{"id":4}]}"#, &batch), Err(SourceError::WrongShape { .. })));
    assert!(matches!(jobs("[]", &batch), Err(SourceError::WrongShape { .. })));
}

#[test]
fn alert_pages_need_id_and_created() {
    let text = r#"{"count":1,"next":null,"results":[{"id":1,"created":"2026-11-17T04:52:10.000001","push_timestamp":5,"notes":"\u001b[31m"}]}"#;
    let Reply::AlertPage { count: 1, records } = alert_page(text, PAGE).unwrap() else { panic!() };
    assert_eq!(records[0].push_timestamp, Some(Timestamp::from_secs(5)));
    assert!(alert_page(r#"{"count":1,"results":[{"id":1}]}"#, PAGE).is_err());
    let endless = alert_page(r#"{"count":1000000000000,"results":[]}"#, PAGE);
    assert!(matches!(endless, Err(SourceError::WrongShape { .. })));
    assert!(alert_page(r#"{"detail":"Invalid page."}"#, PAGE).is_err());
}

#[test]
fn excerpts_of_replies_have_no_control_characters() {
    let error = summary("[{\"signature_id\":\"\u{1b}[31mred\\u001b\\n\"}]", SignatureId(7), window()).unwrap_err();
    assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
}
