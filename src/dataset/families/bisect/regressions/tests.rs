use super::*;
use crate::dataset::families::alerts::{AlertSummaryView, FailingRow};
use crate::dataset::families::bisect::commit_graph::CommitGraph;
use crate::dataset::families::bisect::predictions::Bounds;
use crate::model::RawJson;

/// A line of ten commits, and `s`, a branch from 1 that 6 merges; `x` is a branch that nothing merges.
const COMMITS: &[(&str, &[&str])] = &[
    ("0", &[]),
    ("1", &["0"]),
    ("2", &["1"]),
    ("s", &["1"]),
    ("3", &["2"]),
    ("x", &["2"]),
    ("4", &["3"]),
    ("5", &["4"]),
    ("6", &["5", "s"]),
    ("7", &["6"]),
];

fn inputs(eval: (u32, u32), final_test: (u32, u32)) -> RegressionInputs {
    let line = |(node, parents): &(&str, &[&str])| {
        format!("{{\"node\":\"{node}\",\"parents\":{}}}\n", serde_json::to_string(parents).unwrap())
    };
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let text: String = COMMITS.iter().map(line).collect();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
    let graph = CommitGraph::read(file.path(), Semantics::Corrected).unwrap();
    let bounds = |(first, last)| Bounds { first, last, num_unknown: 0 };
    RegressionInputs { graph, eval: bounds(eval), final_test: bounds(final_test), num_odd_samples: 0 }
}

fn summary(good: &str, bad: &str, culprit: &str) -> FailingSummary {
    let text = format!(
        r#"{{"id":7,"status":7,"bug_number":1,"repository":"autoland","original_prev_push_revision":"{good}",
            "original_revision":"{bad}","revision":"{culprit}","alerts":[]}}"#
    );
    let view = AlertSummaryView::read(&RawJson::parse(&text).unwrap()).unwrap();
    FailingSummary { row: FailingRow::of(&view).unwrap(), view }
}

const ALL: (u32, u32) = (0, 9);
const NONE: (u32, u32) = (9, 0);

fn skip(of: (&str, &str, &str), semantics: Semantics) -> Option<Skip> {
    let inputs = inputs(ALL, NONE);
    let rules = Rules { inputs: &inputs, semantics, repository: "autoland", excluded: HashSet::new() };
    rules.judge(&summary(of.0, of.1, of.2)).err()
}

#[test]
fn every_rule_skips_with_its_reason() {
    for (of, expected) in [
        (("1", "5", "3"), None),
        ((" 1 ", "5\\n", "5"), None),
        (("", "5", "3"), Some(Skip::WithoutRevision)),
        (("1", "5", "  "), Some(Skip::WithoutRevision)),
        (("1", "9", "3"), Some(Skip::UnknownRevision)),
        (("5", "1", "3"), Some(Skip::BadNotAfterGood)),
        (("5", "5", "5"), Some(Skip::BadNotAfterGood)),
        (("3", "4", "4"), Some(Skip::TooFewCandidates)),
        (("1", "5", "1"), Some(Skip::CulpritIsGood)),
        (("2", "6", "1"), Some(Skip::GoodNotBeforeCulprit)),
        (("2", "6", "s"), Some(Skip::GoodNotBeforeCulprit)),
        (("1", "6", "s"), None),
        (("1", "6", "x"), Some(Skip::CulpritNotBeforeBad)),
        (("1", "5", "7"), Some(Skip::CulpritNotBeforeBad)),
        (("x", "7", "6"), Some(Skip::GoodNotBeforeBad)),
    ] {
        for semantics in [Semantics::Reference, Semantics::Corrected] {
            assert_eq!(skip(of, semantics), expected, "{of:?} {semantics:?}");
        }
    }
    // Between 2 and 4 stand s, 3 and x in the file, and 3 alone in the graph.
    assert_eq!(skip(("2", "4", "4"), Semantics::Reference), None);
    assert_eq!(skip(("2", "4", "4"), Semantics::Corrected), Some(Skip::TooFewCandidates));
}

#[test]
fn candidates_count_by_position_in_the_reference_and_by_the_graph_in_the_corrected_semantics() {
    let inputs = inputs(ALL, NONE);
    for (semantics, expected) in [(Semantics::Reference, 6), (Semantics::Corrected, 5)] {
        let rules = Rules { inputs: &inputs, semantics, repository: "autoland", excluded: HashSet::new() };
        let (summary, of) = (summary("1", "6", "4"), "without x");
        assert_eq!(rules.judge(&summary).unwrap().num_candidates, expected, "{of}");
    }
}

#[test]
fn the_evaluation_has_precedence_and_both_ends_are_included() {
    let part = |eval, final_test| {
        let inputs = inputs(eval, final_test);
        let semantics = Semantics::Reference;
        let rules = Rules { inputs: &inputs, semantics, repository: "autoland", excluded: HashSet::new() };
        rules.judge(&summary("1", "5", "3")).map(|case| case.part)
    };
    assert_eq!(part((1, 7), (0, 9)), Ok(Part::Eval));
    assert_eq!(part((2, 7), (1, 7)), Ok(Part::FinalTest));
    assert_eq!(part((2, 9), (0, 6)), Err(Skip::OutsideBothParts));
}

#[test]
fn excluded_summaries_are_skipped_and_those_of_other_repositories_in_the_corrected_semantics() {
    let inputs = inputs(ALL, NONE);
    for (semantics, expected) in [(Semantics::Reference, None), (Semantics::Corrected, Some(Skip::OtherRepository))] {
        let mut rules = Rules { inputs: &inputs, semantics, repository: "mozilla-central", excluded: HashSet::new() };
        assert_eq!(rules.judge(&summary("1", "5", "3")).err(), expected);
        rules.excluded.insert(AlertSummaryId(7));
        assert_eq!(rules.judge(&summary("1", "5", "3")).err(), Some(Skip::Excluded));
    }
}

#[test]
fn the_first_regression_of_a_signature_counts_and_its_own_fields_replace_those_of_a_missing_header() {
    let alerts = r#"[{"is_regression":false,"series_signature":{"id":1}},
        {"is_regression":true,"prev_value":1.5,"new_value":1e+16,"series_signature":{"id":2,"machine_platform":"linux"}},
        {"is_regression":true,"prev_value":9.0,"series_signature":{"id":2}},
        {"is_regression":true,"series_signature":{}}, 7]"#;
    let raw = RawJson::parse(&format!("{{\"id\":7,\"alerts\":{alerts}}}")).unwrap();
    let view = AlertSummaryView::read(&raw).unwrap();
    let found = failing_alerts(&view.alerts);
    let [(signature, alert)] = found[..] else { panic!("{found:?}") };
    let written = |info: Option<&SignatureInfo>| {
        let mut out = Vec::new();
        write_failing(signature, alert, info, &mut out);
        String::from_utf8(out).unwrap()
    };
    let values = "{\"signature_id\": 2, \"Good_value\": 1.5, \"bad_value\": 1e+16, ";
    assert_eq!(written(None), format!("{values}\"alert_threshold\": null, \"platform\": \"linux\""));
    let info = SignatureInfo::of(None);
    assert_eq!(written(Some(&info)), format!("{values}\"alert_threshold\": 2, \"platform\": \"linux\""));
    let header = RawJson::parse("{\"alert_threshold\":0.25,\"platform\":\"mac\"}").unwrap();
    let info = SignatureInfo::of(Some(&header));
    assert_eq!(written(Some(&info)), format!("{values}\"alert_threshold\": 0.25, \"platform\": \"mac\""));
}
