//! Tests relabelling against the reference's output and report, and with malformed lines.

use serde_json::Value;

use super::*;
use crate::dataset::corpus;

fn corpus_failing() -> FailingSignatures {
    let rows: Vec<FailingRow> = corpus::csv("golden/alert_summary_fail_perf_sigs.csv")
        .iter()
        .map(|row| FailingRow {
            summary_id: AlertSummaryId(row[0].parse().unwrap()),
            revision: row[1].clone(),
            signature_ids: serde_json::from_str(&row[2]).unwrap(),
        })
        .collect();
    FailingSignatures::from_rows(&rows)
}

fn corpus_frameworks() -> SignatureFrameworks {
    let id = |record: &Value, key: &str| record[key].as_u64().unwrap();
    corpus::jsonl("golden/all_signatures.jsonl")
        .iter()
        .map(|record| (SignatureId(id(record, "id")), FrameworkId(id(record, "framework_id"))))
        .collect()
}

fn run(input: &[u8], limit: u64) -> Result<(String, RelabelReport), RelabelError> {
    run_by(Semantics::Reference, input, limit)
}

fn run_by(semantics: Semantics, input: &[u8], limit: u64) -> Result<(String, RelabelReport), RelabelError> {
    let (failing, frameworks) = (corpus_failing(), corpus_frameworks());
    let excluded = [2, 6, 18].map(FrameworkId).into();
    let rules = RelabelRules {
        failing: &failing,
        frameworks: &frameworks,
        excluded: &excluded,
        limit: NonZeroU64::new(limit),
        semantics,
    };
    let name = |name: &str| format!("datasets/mozilla_perf/{name}");
    let inputs = RelabelInputs {
        alert_summary_fail_perf_sigs_csv: name("alert_summary_fail_perf_sigs.csv"),
        all_signatures_jsonl: name("all_signatures.jsonl"),
        excluded_framework_ids: Vec::new(),
        perf_llm_struc_jsonl: name("perf_llm_struc.jsonl"),
    };
    let mut output = Vec::new();
    let relabelled = relabel(input, &mut output, rules, inputs)?;
    Ok((String::from_utf8(output).unwrap(), relabelled))
}

#[test]
fn records_and_report_are_those_of_the_reference() {
    let input = corpus::text("input/perf_llm_struc.jsonl");
    let (output, relabelled) = run(input.as_bytes(), 0).unwrap();
    let golden = corpus::text("golden/perf_llm_struc_no_fw_2_6_18.jsonl");
    // Not `lines`: the texts contain a raw U+2028.
    for (line, expected) in output.split('\n').zip(golden.split('\n')) {
        assert_eq!(line, expected);
    }
    assert_eq!(output.len(), golden.len());
    assert_eq!(relabelled.to_json_text().unwrap(), corpus::text("golden/filter_report.json"));
}

const BOTH: [Semantics; 2] = [Semantics::Reference, Semantics::Corrected];

#[test]
fn a_malformed_line_is_named() {
    let input = b"{\"response\":\"0\"}\n\n{\"response\":\n\xff\n";
    let error = run(input, 0).unwrap_err();
    assert!(
        matches!(error, RelabelError::Malformed { line: 3, source: LineFault::NotJson(_), written: 1 }),
        "{error:?}"
    );
    assert!(error.to_string().contains("line 3"));
    let too_deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for malformed in [
        &b"\xff"[..],
        b"{\"prompt\":\"caf\xe9\"}",
        b"{\"a\":1",
        b"{nope",
        b"[\n{}\n]",
        b"{},\n{}",
        b"{\"commit_id\":7}",
        b"{\"commit_id\":NaN}",
        b"{\"commit_id\":[\"a\"]}",
        too_deep.as_bytes(),
    ] {
        for semantics in BOTH {
            let error = run_by(semantics, malformed, 0).unwrap_err();
            assert!(matches!(error, RelabelError::Malformed { line: 1, .. }), "{error:?}");
            assert!(check_records(malformed, semantics).is_err());
        }
    }
}

#[test]
fn records_are_written_as_python_writes_them() {
    let deep = format!("{{\"a\": {}{}}}", "[".repeat(500), "]".repeat(500));
    // Each expectation is what Python 3.13 prints for json.dumps(json.loads(text), ensure_ascii=False).
    for (text, expected) in [
        (
            r#"{"a":[1E5,1.50,1e22,-0,-0.0,1e16,12345678901234567890]}"#,
            r#"{"a": [100000.0, 1.5, 1e+22, 0, -0.0, 1e+16, 12345678901234567890]}"#,
        ),
        (r#"{"b":1,"a":[true,null],"b":{"c":1,"c":2}}"#, r#"{"b": {"c": 2}, "a": [true, null]}"#),
        ("{\"a\":\"\\u00e9\\u2028\\/\\u0007\"}", "{\"a\": \"é\u{2028}/\\u0007\"}"),
        (r#"{"commit_id":null}"#, r#"{"commit_id": null}"#),
        (r#"{"commit_id":[],"response":"1"}"#, r#"{"commit_id": [], "response": "1"}"#),
        (r#"{"commit_id":0.0,"response":1}"#, r#"{"commit_id": 0.0, "response": 1}"#),
        ("{\"a\":1}\r{\"b\":2}\r\n\r[1]\n\"x\"", "{\"a\": 1}\n{\"b\": 2}"),
        (&deep, &deep),
    ] {
        for semantics in BOTH {
            assert_eq!(run_by(semantics, text.as_bytes(), 0).unwrap().0, format!("{expected}\n"), "{text}");
        }
    }
}

#[test]
fn values_that_json_excludes_are_kept_or_replaced_and_counted() {
    let numbers = br#"{"a":[NaN,1e400,-Infinity,1.0]}"#;
    assert_eq!(run(numbers, 0).unwrap().0, "{\"a\": [NaN, Infinity, -Infinity, 1.0]}\n");
    let (output, report) = run_by(Semantics::Corrected, numbers, 0).unwrap();
    assert_eq!((output.as_str(), report.relabel.corrected_numbers), ("{\"a\": [null, null, null, 1.0]}\n", 3));

    let half = br#"{"a\ud800":"\udfff"}"#;
    let error = run(half, 0).unwrap_err();
    assert!(
        matches!(error, RelabelError::Malformed { line: 1, source: LineFault::HalfSurrogate, written: 0 }),
        "{error:?}"
    );
    let (output, report) = run_by(Semantics::Corrected, half, 0).unwrap();
    assert_eq!((output.as_str(), report.relabel.corrected_half_surrogates), ("{\"a\u{fffd}\": \"\u{fffd}\"}\n", 2));
    assert!(report.to_json_text().unwrap().contains("\"corrected_half_surrogates\": 2"));
}

#[test]
fn a_list_of_records_is_refused_by_the_corrected_semantics() {
    let list = br#"[{"commit_id":"a","response":"1"}]"#;
    assert_eq!(run(list, 0).unwrap().0, "");
    let error = run_by(Semantics::Corrected, list, 0).unwrap_err();
    assert!(matches!(error, RelabelError::NoRecord { lines: 1 }), "{error:?}");
    assert_eq!(run_by(Semantics::Corrected, b"\n", 0).unwrap().0, "");
}

#[test]
fn the_limit_counts_written_records() {
    let input = b"\n{\"a\":1}\n[]\n\n{\"a\":2}\nnonsense";
    let (output, relabelled) = run(input, 2).unwrap();
    assert_eq!(output, "{\"a\": 1}\n{\"a\": 2}\n");
    let counts = &relabelled.relabel;
    assert_eq!((counts.input_lines_total, counts.non_dict_records, counts.output_records_written), (3, 1, 2));
    assert!(relabelled.to_json_text().unwrap().contains("\"stopped_due_to_limit\": 1\n"));
    assert!(run(input, 0).is_err(), "0 means all");
}

#[test]
fn counts_that_never_counted_are_left_out_of_the_report() {
    let of = |input: &[u8]| serde_json::from_str::<Value>(&run(input, 0).unwrap().1.to_json_text().unwrap()).unwrap();
    assert_eq!(of(b"")["relabel"], serde_json::json!({}));
    let expected =
        serde_json::json!({"input_lines_total": 1, "non_regressor_records_total": 1, "output_records_written": 1});
    assert_eq!(of(b"{}")["relabel"], expected);
    let rows =
        [FailingRow { summary_id: AlertSummaryId(1), revision: "a".to_owned(), signature_ids: vec![SignatureId(1)] }];
    let failing = FailingSignatures::from_rows(&rows);
    let (frameworks, excluded) = (SignatureFrameworks::default(), BTreeSet::new());
    let rules = RelabelRules {
        failing: &failing,
        frameworks: &frameworks,
        excluded: &excluded,
        limit: None,
        semantics: Semantics::Reference,
    };
    let record = &br#"{"commit_id":"a","response":"1"}"#[..];
    let report = relabel(record, io::sink(), rules, RelabelInputs::default()).unwrap();
    assert!(report.to_json_text().unwrap().contains("\"regressor_fail_sig_removed_sum\": 0,"));
}

#[test]
fn only_a_regressor_whose_failing_signatures_are_all_excluded_is_flipped() {
    let row = |summary: u64, revision: &str, ids: &[u64]| FailingRow {
        summary_id: AlertSummaryId(summary),
        revision: revision.to_owned(),
        signature_ids: ids.iter().copied().map(SignatureId).collect(),
    };
    let rows =
        [row(1, "all", &[1]), row(2, "all", &[2]), row(3, "some", &[1]), row(4, "some", &[3]), row(5, "none", &[])];
    let rows = [rows.as_slice(), &[row(6, "unknown", &[1, 9]), row(7, "", &[1])]].concat();
    let failing = FailingSignatures::from_rows(&rows);
    let frameworks = [(1, 2), (2, 6), (3, 1)].map(|(id, framework)| (SignatureId(id), FrameworkId(framework)));
    let frameworks = frameworks.into_iter().collect();
    let excluded = [2, 6].map(FrameworkId).into();
    let flips = |record: &str| {
        let rules = RelabelRules {
            failing: &failing,
            frameworks: &frameworks,
            excluded: &excluded,
            limit: None,
            semantics: Semantics::Reference,
        };
        let mut output = Vec::new();
        relabel(record.as_bytes(), &mut output, rules, RelabelInputs::default()).unwrap();
        let record: Value = serde_json::from_slice(&output).unwrap();
        record["response"] == "0"
    };
    for (record, expected) in [
        (r#"{"commit_id":"all","response":"1"}"#, true),
        (r#"{"response":"0","response":" 1\t","commit_id":" all\u2003"}"#, true),
        (r#"{"commit_id":"all","response":1}"#, true),
        (r#"{"commit_id":"all","response":1.0}"#, false),
        (r#"{"commit_id":"all","response":true}"#, false),
        (r#"{"commit_id":"some","response":"1"}"#, false),
        (r#"{"commit_id":"none","response":"1"}"#, false),
        (r#"{"commit_id":"unknown","response":"1"}"#, false),
        (r#"{"commit_id":" ","response":"1"}"#, false),
        (r#"{"commit_id":"other","response":"1"}"#, false),
    ] {
        assert_eq!(flips(record), expected, "{record}");
    }
}

#[test]
fn the_report_is_ascii_whatever_the_paths_are() {
    let inputs = RelabelInputs { perf_llm_struc_jsonl: "é😀".to_owned(), ..RelabelInputs::default() };
    let text = RelabelReport { inputs, ..RelabelReport::default() }.to_json_text().unwrap();
    assert!(text.contains(r"\u00e9\ud83d\ude00") && text.ends_with("}\n"), "{text}");
}
