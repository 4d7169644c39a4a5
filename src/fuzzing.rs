//! Entry points of the fuzz targets in `fuzz/`, which feed them arbitrary bytes. They are compiled and tested with everything
//! else, so that the inputs in `fuzz/inputs` stay tests.
//!
//! Each function panics if a promise is broken. None is part of the public interface.

use crate::model::{DatumRecord, PushId, RawJson, Revision, SignatureId, Timestamp, Window, parse_datum, scan_data};
use crate::source::{Reply, read_summary};
use crate::store::columns::{ColumnSet, Columns, PythonText, encode};

/// A reply of `performance/summary`: what is taken can be stored and read.
pub fn reply(bytes: &[u8]) {
    let window = Window { start: Timestamp::from_micros(i64::MIN), end: Timestamp::from_micros(i64::MAX) };
    for replicates in [false, true] {
        let Ok(Reply::Summary(summary)) = read_summary(bytes, SignatureId(7), window, replicates) else { continue };
        check_taken(&summary.data);
        if let Some(header) = summary.header {
            assert!(RawJson::parse(header.as_str()).is_ok(), "{header:?}");
        }
    }
}

/// A line of `perf_jobs_by_signature.jsonl`: what is taken can be stored and read.
pub fn row(bytes: &[u8]) {
    check_taken(&crate::import::read_data(bytes));
}

/// The bytes of a chunk: an error or data, never a panic, and memory within a multiple of their length.
pub fn columns(bytes: &[u8]) {
    let mut columns = Columns::default();
    if columns.decode(bytes, ColumnSet::ALL).is_err() {
        assert!(columns.is_empty());
        return;
    }
    assert!(columns.len() <= bytes.len());
    let mut out = Vec::new();
    for at in 0..columns.len() {
        let _ = columns.write_python(at, |_| Some(Revision::default()), &mut out);
        let _ = (columns.listed_job(at), columns.aged_job(at), columns.id(at), columns.fields(at), columns.seen(at));
        let _ = columns.add_rows(at, |_| Some(Revision::default()), &mut Vec::new());
    }
}

/// A list of data: what the scanner reads, `serde_json` reads too, to the same data.
pub fn scan(bytes: &[u8]) {
    let Some((data, len)) = scan_data(bytes) else { return };
    let Ok(texts) = serde_json::from_slice::<Vec<RawJson>>(&bytes[..len]) else {
        panic!("the scanner read {:?}", String::from_utf8_lossy(&bytes[..len]));
    };
    let parsed: Vec<_> = texts.iter().filter_map(|text| parse_datum(text.as_str()).ok()).collect();
    assert_eq!(format!("{data:?}"), format!("{parsed:?}"));
    check_taken(&data);
}

/// The body of an archive: its entries are written as they were read.
pub fn archive_entries(bytes: &[u8]) {
    crate::store::archive::check_entries(bytes);
}

/// The columns give the exact text of each datum again, and every reader of the dataset can take it.
fn check_taken(data: &[DatumRecord]) {
    let chunks = encode(data, None, &mut |_, _| false, usize::MAX);
    let mut columns = Columns::default();
    let mut records = data.iter();
    for chunk in &chunks {
        assert!(columns.decode(&chunk.bytes, ColumnSet::ALL).is_ok());
        for (at, record) in (0..columns.len()).zip(&mut records) {
            let ids = [columns.id(at).map(|id| id.0), columns.job_id(at).map(|id| id.0), Some(columns.push_id(at).0)];
            assert!(ids.iter().flatten().all(|id| i64::try_from(*id).is_ok()), "{record:?}");
            assert_eq!(columns.id(at), record.id());
            assert!(columns.record(at, |_| None).is_ok_and(|again| again == *record), "{record:?}");
            check_text(&columns, at, record);
        }
    }
    assert!(records.next().is_none());
}

fn check_text(columns: &Columns, at: usize, record: &DatumRecord) {
    let mut out = Vec::new();
    match (columns.write_python(at, |_: PushId| None, &mut out), record) {
        (PythonText::Written, DatumRecord::Regular(datum)) => {
            let mut expected = Vec::new();
            datum.write_python(&mut expected);
            assert_eq!(out, expected);
        }
        (PythonText::Irregular(text), DatumRecord::Irregular(datum)) => {
            assert_eq!(text, datum.raw.as_str());
            let read = serde_json::from_str::<serde_json::Value>(text);
            assert!(read.is_ok_and(|value| value.is_object()), "{text}");
            assert!(columns.fields(at).is_some(), "{text}");
            assert!(pytext::json::dumps(text, &mut out, pytext::json::AsciiMode::Escape).is_ok(), "{text}");
            assert_eq!(parse_datum(text).ok().as_ref(), Some(record));
        }
        _ => panic!("{record:?} came back in another form"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATUM: &str = concat!(
        r#"{"job_id":560000479,"id":2150001859,"value":825817.8979898616,"push_timestamp":"2026-07-28T14:48:47","#,
        r#""push_id":1800028,"revision":"4a0848c8a72f6b814209205af46df1dbc1688697","#,
        r#""submit_time":"2026-07-31T19:43:55.323121","machine_name":"t-linux64-ms-010"}"#
    );
    /// Texts that stand for themselves in some places, and break the form in others.
    const TOKENS: [&str; 24] = [
        "null",
        "true",
        "NaN",
        "-Infinity",
        "1e400",
        "7.0",
        "-0.0",
        "1e16",
        "9223372036854775808",
        "\"7\"",
        "\"\"",
        "[]",
        "{}",
        "\\ud800",
        "\\ude00",
        "\\u0000",
        "\\\"",
        "\"id\":",
        "\"job_id\":",
        "Z\"",
        ".000000",
        "é",
        ",",
        "}",
    ];

    #[derive(Clone, Debug)]
    enum Edit {
        Byte(u8),
        Insert(&'static str),
        Replace(usize, &'static str),
        Remove(usize),
        Double(usize),
    }

    fn edits() -> impl Strategy<Value = Vec<(prop::sample::Index, Edit)>> {
        let token = || prop::sample::select(TOKENS.to_vec());
        let edit = prop_oneof![
            any::<u8>().prop_map(Edit::Byte),
            token().prop_map(Edit::Insert),
            (1_usize..20, token()).prop_map(|(len, token)| Edit::Replace(len, token)),
            (1_usize..40).prop_map(Edit::Remove),
            (1_usize..400).prop_map(Edit::Double),
        ];
        prop::collection::vec((any::<prop::sample::Index>(), edit), 1..5)
    }

    fn edited(text: &str, edits: &[(prop::sample::Index, Edit)]) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        for (place, edit) in edits {
            let at = place.index(bytes.len() + 1);
            let end = |len: usize| (at + len).min(bytes.len());
            match edit {
                Edit::Byte(byte) => drop(bytes.splice(at..end(1), [*byte])),
                Edit::Insert(token) => drop(bytes.splice(at..at, token.bytes())),
                Edit::Replace(len, token) => drop(bytes.splice(at..end(*len), token.bytes())),
                Edit::Remove(len) => drop(bytes.drain(at..end(*len))),
                Edit::Double(len) => {
                    let part = bytes[at..end(*len)].to_vec();
                    bytes.splice(at..at, part);
                }
            }
        }
        bytes
    }

    proptest! {
        #[test]
        fn edited_replies_and_rows_keep_the_promises(edits in edits()) {
            scan(&edited(&format!("[{DATUM},{DATUM}]"), &edits));
            reply(&edited(&format!(r#"[{{"signature_id":7,"data":[{DATUM},{DATUM}],"alert_threshold":2.0}}]"#), &edits));
            row(&edited(&format!(r#"{{"signature_id":7,"jobs":[{DATUM},{DATUM}]}}"#), &edits));
            row(&edited(&format!(r#"{{"signature_id": 7, "jobs": [{}]}}"#, DATUM.replace(":\"", ": \"")), &edits));
        }
    }
}
