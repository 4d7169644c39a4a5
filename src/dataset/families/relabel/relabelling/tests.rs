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

fn corpus_frameworks() -> HashMap<SignatureId, FrameworkId> {
    let id = |record: &Value, key: &str| record[key].as_u64().unwrap();
    corpus::jsonl("golden/all_signatures.jsonl")
        .iter()
        .map(|record| (SignatureId(id(record, "id")), FrameworkId(id(record, "framework_id"))))
        .collect()
}

fn run(input: &[u8], limit: Option<u64>) -> Result<(String, RelabelReport), RelabelError> {
    let (failing, frameworks) = (corpus_failing(), corpus_frameworks());
    let excluded = [2, 6, 18].map(FrameworkId).into();
    let rules = RelabelRules { failing: &failing, frameworks: &frameworks, excluded: &excluded, limit };
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
    let (output, relabelled) = run(input.as_bytes(), None).unwrap();
    let golden = corpus::text("golden/perf_llm_struc_no_fw_2_6_18.jsonl");
    // Not `lines`: the texts contain a raw U+2028.
    for (line, expected) in output.split('\n').zip(golden.split('\n')) {
        assert_eq!(line, expected);
    }
    assert_eq!(output.len(), golden.len());
    assert_eq!(relabelled.to_json_text().unwrap(), corpus::text("golden/filter_report.json"));
}

#[test]
fn a_malformed_line_is_named() {
    let input =
        b"{\"response\":\"0\"}\n\n{\"response\":\n\xff\n{\"response\":1,\"commit_id\":7}\n{\"a\":\"\\ud800\"}\n{}";
    let error = run(input, None).unwrap_err();
    assert!(matches!(error, RelabelError::Malformed { line: 3, source: LineFault::NotJson(_) }), "{error:?}");
    assert!(error.to_string().contains("line 3"));
    for malformed in [&b"\xff"[..], b"{\"response\":1,\"commit_id\":7}", b"{\"a\":\"\\ud800\"}"] {
        let error = run(malformed, None).unwrap_err();
        assert!(matches!(error, RelabelError::Malformed { line: 1, .. }), "{error:?}");
    }
}

#[test]
fn the_limit_counts_lines_that_are_not_blank() {
    let input = b"\n{\"a\":1}\n[]\n\n{\"a\":2}\nnonsense";
    let (output, relabelled) = run(input, Some(3)).unwrap();
    assert_eq!(output, "{\"a\": 1}\n{\"a\": 2}\n");
    let counts = relabelled.relabel;
    assert_eq!((counts.input_lines_total, counts.non_dict_records, counts.output_records_written), (3, 1, 2));
    assert_eq!(run(input, Some(0)).unwrap().0, "");
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
    let frameworks = [(1, 2), (2, 6), (3, 1)].map(|(id, framework)| (SignatureId(id), FrameworkId(framework))).into();
    let excluded = [2, 6].map(FrameworkId).into();
    let flips = |record: &str| {
        let rules = RelabelRules { failing: &failing, frameworks: &frameworks, excluded: &excluded, limit: None };
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
