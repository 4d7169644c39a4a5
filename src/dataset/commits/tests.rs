use super::*;
use crate::dataset::corpus;

const START: Timestamp = Timestamp::from_secs(1_782_864_000);
const END: Timestamp = Timestamp::from_secs(1_793_836_800);

fn read(text: impl AsRef<[u8]>) -> Result<Commits, CommitsError> {
    Commits::read_from(text.as_ref(), Path::new("commits.jsonl"), START, END)
}

#[test]
fn the_window_of_the_corpus_holds_the_revisions_of_the_reference() {
    let commits = Commits::read(Path::new(&corpus::path("input/all_commits.jsonl")), START, END).unwrap();
    let mut rows: Vec<(String, String)> =
        commits.in_window.iter().map(|commit| (commit.node.clone(), isoformat(commit.date))).collect();
    let golden = corpus::csv("golden/perf_jobs_per_revision.csv");
    let mut expected: Vec<(String, String)> = golden.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    rows.sort();
    expected.sort();
    assert_eq!(rows, expected);
    assert!(commits.in_window.is_sorted_by_key(|commit| commit.file_order));
    let report = &commits.report;
    assert_eq!((report.lines, report.commits, report.in_window), (172, 169, 115));
    assert_eq!(report.skipped.first_lines(SkipReason::Blank), [57, 91]);
    assert_eq!(report.skipped.first_lines(SkipReason::Malformed), [86]);
    assert_eq!(report.skipped.total_not_blank(), 1);
    assert_eq!(report.digest_hex().len(), 64);
}

#[test]
fn each_unusable_line_is_counted_under_its_reason() {
    let mut text = b"\xff\xfe{}\n".to_vec();
    for line in [
        "{\"node\":\"n\",\"date\":null}",
        "{\"node\":\"n\",\"date\":[null,1782864000]}",
        "{\"node\":\"n\",\"date\":[]}",
        "{\"node\":\"n\",\"date\":[\"1782864000\",0]}",
        "{\"node\":\"n\",\"date\":\"2026-07-01\"}",
        "{\"node\":\"n\",\"date\":[1e300,0]}",
        "{\"node\":\"n\",\"date\":[99999999999999,0]}",
        "{\"node\":\"n\"}",
        "{\"node\":[7],\"date\":[1782864000,0]}",
        "{\"date\":[1782864000,0]}",
        "[1,2]",
        "nonsense",
        " \u{2028}\t",
        "{\"node\":\"kept\",\"desc\":\"\\ud800\",\"date\":[1782864000,0]}",
        "{\"node\":\"half\",\"da",
    ] {
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }
    text.pop();
    let commits = read(&text).unwrap();
    let skipped = &commits.report.skipped;
    assert_eq!(skipped.count(SkipReason::Undated), 8);
    assert_eq!(skipped.first_lines(SkipReason::Undated), [2, 3, 4, 5, 6]);
    assert_eq!(skipped.first_lines(SkipReason::WithoutNode), [10, 11]);
    assert_eq!(skipped.first_lines(SkipReason::NotObject), [12]);
    assert_eq!(skipped.first_lines(SkipReason::Malformed), [1, 13]);
    assert_eq!(skipped.first_lines(SkipReason::Blank), [14]);
    assert_eq!(skipped.first_lines(SkipReason::Torn), [16]);
    assert_eq!(skipped.total(), 15);
    assert_eq!(commits.in_window.len(), 1);
    assert_eq!(
        skipped.to_string(),
        "1 blank (line 14), 2 malformed (lines 1, 13), 1 torn (line 16), 1 not an object (line 12), \
         2 without a node (lines 10, 11), 8 without a date (lines 2, 3, 4, 5, 6, …)"
    );
}

#[test]
fn the_last_date_of_a_node_in_the_window_wins_and_its_first_place_there_stays() {
    let commits = read(
        "{\"node\":\"a\",\"date\":[1782864000,0]}\n{\"node\":\"b\",\"date\":[1782864000,-3600]}\n\
         {\"node\":\"c\",\"date\":[1782864000,0]}\n{\"node\":\"c\",\"date\":[5,0]}\n\
         {\"node\":\"a\",\"date\":[1,0],\"date\":[1782864001,0]}",
    )
    .unwrap();
    let rows: Vec<_> = commits.in_window.iter().map(|c| (c.node.as_str(), c.date.as_secs(), c.file_order)).collect();
    assert_eq!(rows, [("a", 1_782_864_001, 0), ("b", 1_782_864_000, 1), ("c", 1_782_864_000, 2)]);
    assert_eq!((commits.report.commits, commits.report.repeated), (3, 2));
    let commits = read(
        "{\"node\":\"out\",\"date\":[5,0]}\n{\"node\":\"late\",\"date\":[5,0]}\n{\"node\":\"a\",\"date\":[1782864000]}\n\
         {\"node\":\"late\",\"date\":[1782864000]}",
    )
    .unwrap();
    let rows: Vec<_> = commits.in_window.iter().map(|c| (c.node.as_str(), c.file_order)).collect();
    assert_eq!(rows, [("a", 0), ("late", 1)]);
}

#[test]
fn both_ends_belong_to_the_window() {
    let at = |secs: &str| {
        let text = format!("{{\"node\":\"a\",\"date\":[{secs},0]}}");
        read(text).unwrap().in_window.len()
    };
    assert_eq!((at("1782864000"), at("1793836800")), (1, 1));
    assert_eq!((at("1782863999.999999"), at("1793836800.000001"), at("1793836800.0000001")), (0, 0, 1));
}

#[test]
fn fractions_are_rounded_as_python_rounds_them() {
    // Expected texts from datetime.fromtimestamp(x, tz=timezone.utc).isoformat().
    for (text, expected) in [
        ("1782864000.5", "2026-07-01T00:00:00.500000+00:00"),
        ("1782864000.0", "2026-07-01T00:00:00+00:00"),
        ("1.7828640005e9", "2026-07-01T00:00:00.500000+00:00"),
        ("1782864000.9999999", "2026-07-01T00:00:01+00:00"),
        ("-0.5", "1969-12-31T23:59:59.500000+00:00"),
        ("0.0000005", "1970-01-01T00:00:00+00:00"),
        ("0.0000015", "1970-01-01T00:00:00.000002+00:00"),
        ("-1.25", "1969-12-31T23:59:58.750000+00:00"),
        ("-62135596800", "0001-01-01T00:00:00+00:00"),
    ] {
        let date = read_date(Document::default().load(&format!("[{text}, 0]")).unwrap()).unwrap();
        assert_eq!(isoformat(date), expected, "{text}");
    }
}

#[test]
fn everything_is_taken_that_python_takes() {
    let hash = "B48C4D7FC2C9971A780EF9C29619C44CE3E97935";
    for (line, node, json) in [
        (r#"{"node":"n","date":[1782864000]}"#, "n", None),
        (r#"{"node":"n","date":[1782864000,NaN,{}]}"#, "n", None),
        (r#"{"node":"n","date":[1782864000.0,"x"]}"#, "n", None),
        (r#"{"node":"n","date":[1.782864E9]}"#, "n", None),
        (r#"{"date":[1782864000],"node":"n","x":NaN,"y":[-Infinity,1e400]}"#, "n", None),
        (r#"{"node":"n","date":[1782864000],"\ud800":"\udfff"}"#, "n", None),
        (r#"{"node":7,"date":[1782864000]}"#, "7", Some("7")),
        (r#"{"node":true,"date":[1782864000]}"#, "True", Some("true")),
        (r#"{"node":1.50,"date":[1782864000]}"#, "1.5", Some("1.5")),
        (r#"{"node":NaN,"date":[1782864000]}"#, "nan", Some("NaN")),
        (r#"{"node":" x ","date":[1782864000]}"#, " x ", None),
        (&format!(r#"{{"node":"{hash}","date":[1782864000]}}"#), hash, None),
        (r#" [{"node":"n","date":[1782864000]}, "#, "n", None),
        (r#"{"node":"n","date":[1782864000]},"#, "n", None),
        (r#"{"node":"n","date":[1782864000]}]"#, "n", None),
    ] {
        let commits = read(line).unwrap();
        let [commit] = commits.in_window.as_slice() else { panic!("{line}") };
        assert_eq!((commit.node.as_str(), commit.json.as_deref(), commit.date), (node, json, START), "{line}");
    }
    let deep = format!("{{\"node\":\"n\",\"date\":[1782864000],\"x\":{}{}}}", "[".repeat(500), "]".repeat(500));
    assert_eq!(read(deep).unwrap().in_window.len(), 1);
}

#[test]
fn dates_that_python_cannot_read_are_skipped() {
    for date in [
        "null",
        "7",
        "\"x\"",
        "{}",
        "{\"0\":1782864000}",
        "[]",
        "[null]",
        "[\"1782864000\"]",
        "[[1782864000]]",
        "[{}]",
        "[NaN]",
        "[Infinity]",
        "[1e400]",
        "[99999999999999999999999]",
        "[253402300800]",
        "[-62135596801]",
    ] {
        let error = read(format!("{{\"node\":\"n\",\"date\":{date}}}")).unwrap_err();
        let CommitsError::NoCommit(_, report) = error else { panic!("{date}") };
        assert_eq!(report.skipped.count(SkipReason::Undated), 1, "{date}");
    }
    let report = read("{\"node\":\"n\",\"date\":[true]}").unwrap().report;
    assert_eq!((report.commits, report.in_window), (1, 0), "one second after the epoch");
}

#[test]
fn lists_and_other_line_ends_are_read_as_a_whole() {
    let commit = |node: u32| format!("{{\"node\":\"n{node}\",\"date\":[1782864000]}}");
    let (one, two) = (commit(1), commit(2));
    for text in [
        format!("[{one},{two}]"),
        format!("[\n{one},\n{two}\n]\n"),
        format!("[{one},\n{two}]"),
        format!("{one},\n{two},\n"),
        format!("{one}\r{two}\r"),
        format!("{one}\r\n{two}"),
    ] {
        let commits = read(&text).unwrap();
        assert_eq!((commits.in_window.len(), commits.report.skipped.total_not_blank()), (2, 0), "{text:?}");
    }
}

/// The output of `hg log -Tjson`, Mercurial 6.3.
const HG_JSON: &str = r#"[
 {
  "bookmarks": [],
  "branch": "default",
  "date": [1783036800, 0],
  "desc": "Bug 3\n\n{\n}",
  "node": "c6c78a49213b7a25d10a91fcf38f25d33d1f387b",
  "parents": ["4490a88808672653f238bf6d6e02d3ee1a9f42d1"],
  "phase": "draft",
  "rev": 2,
  "tags": ["tip"],
  "user": "me"
 },
 {
  "date": [1782950400, 0],
  "desc": "Bug 2",
  "node": "4490a88808672653f238bf6d6e02d3ee1a9f42d1",
  "parents": []
 }
]
"#;

#[test]
fn commits_that_spread_over_several_lines_are_read() {
    let python =
        "[{\n \"node\": \"n1\",\n \"date\": [\n  1782864000,\n  0\n ],\n \"x\": [\n  {\"a\": 1},\n  {\n  }\n ]\n}]";
    for (text, nodes) in [
        (HG_JSON, &["c6c78a49213b7a25d10a91fcf38f25d33d1f387b", "4490a88808672653f238bf6d6e02d3ee1a9f42d1"][..]),
        (
            &HG_JSON.replace('\n', "\r\n"),
            &["c6c78a49213b7a25d10a91fcf38f25d33d1f387b", "4490a88808672653f238bf6d6e02d3ee1a9f42d1"],
        ),
        (python, &["n1"]),
    ] {
        let commits = read(text).unwrap();
        assert_eq!(commits.in_window.iter().map(|commit| commit.node.as_str()).collect::<Vec<_>>(), nodes);
        assert_eq!(commits.report.skipped.total_not_blank(), 0, "{text}: {}", commits.report.skipped);
    }
}

#[test]
fn a_commit_over_several_lines_that_is_not_whole_costs_itself() {
    let good = "{\"node\":\"n1\",\"date\":[1782864000]}";
    let begun = "{\n\"node\":\"n2\",\n";
    let undated = "{\n\"node\":\"n3\"\n}\n";
    let commits = read(format!("{begun}{good}\n{undated}{good}\n{begun}")).unwrap();
    assert_eq!(commits.in_window.len(), 1);
    let skipped = commits.report.skipped;
    for (reason, line) in [(SkipReason::Malformed, 1), (SkipReason::Undated, 4), (SkipReason::Torn, 8)] {
        assert_eq!(skipped.first_lines(reason), [line], "{skipped}");
    }
    assert_eq!(skipped.total(), 3);
}

#[test]
fn folded_nodes_are_one_text_each() {
    let hash = "b48c4d7fc2c9971a780ef9c29619c44ce3e97935";
    let line = |node: &str, secs: u32| format!("{{\"node\":{node},\"date\":[{secs}]}}\n");
    let text = line(&format!("\" {} \"", hash.to_uppercase()), 1_782_864_000)
        + &line("7", 1_782_864_000)
        + &line(&format!("\"{hash}\""), 1_782_864_001)
        + &line("\"7\"", 1_782_864_002);
    let commits = read(text).unwrap();
    assert_eq!(commits.in_window.len(), 4);
    let folded = commits.folded();
    let rows: Vec<_> = folded.iter().map(|c| (c.node.as_str(), c.json.is_none(), c.date.as_secs())).collect();
    assert_eq!(rows, [(hash, true, 1_782_864_001), ("7", true, 1_782_864_002)]);
}

#[test]
fn a_file_without_a_commit_says_what_it_should_hold() {
    let message = read("\n[]\nx\n").unwrap_err().to_string();
    for part in ["commits.jsonl", "3 lines", "1 malformed (line 3)", "\"node\"", "\"date\""] {
        assert!(message.contains(part), "{message}");
    }
    assert!(matches!(read(""), Err(CommitsError::NoCommit(..))));
    let missing = Commits::read(Path::new("no/such/file"), START, END).unwrap_err();
    assert!(missing.to_string().contains("no/such/file"));
}
