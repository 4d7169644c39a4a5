//! Rows of `perf_jobs_by_signature.jsonl`: from the text of a line to a signature with its data.
//!
//! A row of the usual form is scanned in one pass; any other goes through `serde_json`. A line may begin with the fragment of a
//! row that was torn when the script was killed: the script then appended the next row to the same line.

use std::fmt;

use serde_json::value::RawValue;

use super::compact::compact;
use crate::model::{
    DatumRecord, Fault, Pieces, Refusal, SignatureId, Sorted, Spacing, accept, exact_id, printable, scan_datum,
};

/// A complete row.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    pub(super) signature: SignatureId,
    pub(super) data: Sorted<DatumRecord>,
}

/// The content of a line.
#[derive(Debug, PartialEq)]
pub(super) enum RowLine {
    /// Exactly one row.
    Whole(Row),
    /// A row after the fragment of another.
    BehindFragment(Row),
    /// Not a row, with the error.
    Torn(String),
    Blank,
}

/// The texts around the data of a row.
struct Frame {
    spacing: Spacing,
    head: &'static [u8],
    jobs: &'static [u8],
    comma: &'static [u8],
}

const FRAMES: [Frame; 2] = [
    Frame { spacing: Spacing::Python, head: b"{\"signature_id\": ", jobs: b", \"jobs\": [", comma: b", " },
    Frame { spacing: Spacing::Compact, head: b"{\"signature_id\":", jobs: b",\"jobs\":[", comma: b"," },
];

/// The first bytes of every row.
const BEGINNING: &[u8] = b"{\"signature_id\"";

/// Some editors put it before the first line.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The data that are taken from one line.
pub(crate) fn read_data(line: &[u8]) -> Vec<DatumRecord> {
    match read_line(line) {
        (RowLine::Whole(row) | RowLine::BehindFragment(row), _) => row.data.taken,
        (RowLine::Torn(_) | RowLine::Blank, _) => Vec::new(),
    }
}

/// Reads the line at the beginning of `text`; also returns its length with the line end.
pub(super) fn read_line(text: &[u8]) -> (RowLine, usize) {
    if let Some((row, len)) = scan_row(text) {
        return (RowLine::Whole(row), len);
    }
    let end = text.iter().position(|&byte| byte == b'\n');
    let len = end.map_or(text.len(), |end| end + 1);
    (read_unusual(text[..end.unwrap_or(text.len())].trim_ascii()), len)
}

fn read_unusual(line: &[u8]) -> RowLine {
    if line.is_empty() {
        return RowLine::Blank;
    }
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    match parse_row(line) {
        Ok(row) => RowLine::Whole(row),
        Err(error) => {
            let behind = line.windows(BEGINNING.len()).rposition(|bytes| bytes == BEGINNING).filter(|&at| at > 0);
            let row = behind.and_then(|at| {
                let text = &line[at..];
                scan_row(text)
                    .filter(|(_, len)| *len == text.len())
                    .map(|(row, _)| row)
                    .or_else(|| parse_row(text).ok())
            });
            row.map_or_else(|| RowLine::Torn(error.to_string()), RowLine::BehindFragment)
        }
    }
}

/// Reads a row of the usual form and its line end; `None` for other text.
fn scan_row(text: &[u8]) -> Option<(Row, usize)> {
    let frame = FRAMES.iter().find(|frame| text.starts_with(frame.head))?;
    let mut at = frame.head.len();
    let digits = text[at..].iter().take(20).take_while(|byte| byte.is_ascii_digit()).count();
    let signature = SignatureId(std::str::from_utf8(&text[at..at + digits]).ok()?.parse().ok()?);
    at += digits;
    let literal = |at: usize, expected: &[u8]| text[at..].starts_with(expected).then(|| at + expected.len());
    at = literal(at, frame.jobs)?;
    let mut data = Sorted::default();
    let mut line: Option<&str> = None;
    if literal(at, b"]").is_none() {
        for number in 1.. {
            if let Some((view, len)) = scan_datum(&text[at..], frame.spacing) {
                data.taken.push(DatumRecord::Regular(view.into()));
                at += len;
            } else {
                let whole = match line {
                    Some(line) => line,
                    None => *line.insert(line_of(text)?),
                };
                at += add_irregular(number, whole.get(at..)?, &mut data)?;
            }
            match literal(at, frame.comma) {
                Some(behind) => at = behind,
                None => break,
            }
        }
    }
    at = literal(at, b"]}")?;
    match text.get(at) {
        None => Some((Row { signature, data }, at)),
        Some(b'\n') => Some((Row { signature, data }, at + 1)),
        Some(_) => None,
    }
}

/// The first line of `text`, if it is UTF-8.
fn line_of(text: &[u8]) -> Option<&str> {
    let end = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    std::str::from_utf8(&text[..end]).ok()
}

/// Adds the datum at the beginning of `text`; returns its length.
fn add_irregular(number: usize, text: &str, data: &mut Sorted<DatumRecord>) -> Option<usize> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    let raw = values.next()?.ok()?;
    data.add_datum(number, compact(raw.get()).as_bytes()).ok()?;
    Some(values.byte_offset())
}

/// Reads a row of any form; a datum that cannot be read is set aside.
fn parse_row(line: &[u8]) -> Result<Row, RowError> {
    let (mut signature, mut jobs) = (None, None);
    let mut row = Pieces::of_object(line)?;
    while row.next()? {
        match row.key.as_slice() {
            b"signature_id" => signature = Some(std::mem::take(&mut row.value)),
            b"jobs" => jobs = Some(std::mem::take(&mut row.value)),
            _ => match accept(&row.value) {
                Err(Refusal::NotJson(error)) => return Err(error.into()),
                Ok(_) | Err(Refusal::Unreadable(_)) => {} // not stored
            },
        }
    }
    let missing = |name: &str| RowError::Other(format!("no {name}"));
    let signature = signature.ok_or_else(|| missing("signature_id"))?;
    let signature = String::from_utf8_lossy(&signature);
    let not_an_id = || RowError::Other(format!("signature_id {signature} is not an id"));
    let signature = SignatureId(exact_id(&signature).ok_or_else(not_an_id)?);
    let jobs = jobs.ok_or_else(|| missing("jobs"))?;
    let mut jobs = Pieces::of_list(jobs.as_slice())?;
    let mut data = Sorted::default();
    let mut number = 0;
    while jobs.next()? {
        number += 1;
        match std::str::from_utf8(&jobs.value) {
            Ok(text) => data.add_datum(number, compact(text).as_bytes())?,
            Err(_) => data.add_datum(number, &jobs.value)?, // corrected, and counted
        }
    }
    Ok(Row { signature, data })
}

/// Why a line is not a row.
enum RowError {
    CutOff,
    Other(String),
}

impl From<Fault> for RowError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::EndsEarly => Self::CutOff,
            Fault::OtherShape => Self::Other("not an object with a list of jobs".to_owned()),
            Fault::Broken(reason) => Self::Other(reason.to_owned()),
        }
    }
}

impl From<serde_json::Error> for RowError {
    fn from(error: serde_json::Error) -> Self {
        if error.is_eof() { Self::CutOff } else { Self::Other(error.to_string()) }
    }
}

impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff => f.write_str("cut off"),
            Self::Other(reason) => f.write_str(&printable(reason, 120)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::write::json::{AsciiMode, dumps};
    use crate::model::parse_datum;

    const REGULAR: &str = concat!(
        r#"{"job_id":5,"id":2,"value":586.85,"push_timestamp":"2026-07-28T14:48:47","push_id":1800028,"#,
        r#""revision":"4a0848c8a72f6b814209205af46df1dbc1688697","submit_time":"2026-07-28T14:50:00","machine_name":"m"}"#
    );
    const IRREGULAR: &str = r#"{"id":3,"push_timestamp":"2026-07-28T14:48:47Z","note":"é, x: [1]"}"#;

    fn python(text: &str) -> String {
        let mut out = Vec::new();
        dumps(text, &mut out, AsciiMode::Escape).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn row_of(line: &str) -> Row {
        match read_line(line.as_bytes()) {
            (RowLine::Whole(row), len) if len == line.len() => row,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn both_spacings_and_any_form_give_the_same_data() {
        let expected = [parse_datum(REGULAR).unwrap(), parse_datum(IRREGULAR).unwrap(), parse_datum(REGULAR).unwrap()];
        let compact = format!(r#"{{"signature_id":7,"jobs":[{REGULAR},{IRREGULAR},{REGULAR}]}}"#);
        let other = format!(r#"{{ "jobs" : [{REGULAR} ,{IRREGULAR}, {REGULAR}], "more": 1, "signature_id": 7 }}"#);
        for line in [&compact, &python(&compact), &other] {
            for end in ["", "\n", "\r\n"] {
                let row = row_of(&format!("{line}{end}"));
                assert_eq!((row.signature, row.data.taken.as_slice()), (SignatureId(7), expected.as_slice()));
            }
        }
        assert_eq!(row_of("{\"signature_id\": 7, \"jobs\": []}\n").data.taken, []);
    }

    #[test]
    fn a_datum_that_cannot_be_read_costs_itself() {
        let odd = REGULAR.replace("586.85", "NaN").replace("\"m\"", r#""\ud83d""#);
        let line = python(&format!(r#"{{"signature_id":7,"jobs":[{REGULAR},{{"job_id":1}},0,{REGULAR}]}}"#));
        let line = line.replace(" 0, ", &format!("{odd}, "));
        let row = row_of(&line);
        let corrected = odd.replace("NaN", "null").replace("d83d", "fffd");
        let expected = [REGULAR, &corrected, REGULAR].map(|text| parse_datum(text).unwrap());
        assert_eq!(row.data.taken, expected);
        let named: Vec<_> = row.data.odd.iter().map(|odd| (&odd.reason[..7], odd.text.as_str())).collect();
        assert_eq!(named, [("datum 2", r#"{"job_id":1}"#), ("datum 3", odd.as_str())]);
    }

    #[test]
    fn a_datum_with_invalid_utf_8_is_corrected_and_named() {
        let row = python(&format!(r#"{{"signature_id":7,"jobs":[{REGULAR},{REGULAR}]}}"#)).into_bytes();
        let at = row.windows(3).rposition(|bytes| bytes == b"\"m\"").unwrap() + 1;
        for fragment in ["", "{\"signature_id\": 7, \"jobs\": [{"] {
            let mut line = [fragment.as_bytes(), &row].concat();
            line[fragment.len() + at] = 0xff;
            let (RowLine::Whole(row) | RowLine::BehindFragment(row), _) = read_line(&line) else { panic!() };
            let expected = [REGULAR, &REGULAR.replace("\"m\"", "\"\u{fffd}\"")].map(|text| parse_datum(text).unwrap());
            assert_eq!(row.data.taken, expected);
            assert!(matches!(row.data.odd.as_slice(), [odd] if odd.taken && odd.reason.starts_with("datum 2")));
        }
    }

    #[test]
    fn ids_as_other_tools_write_them_and_a_byte_order_mark_are_read() {
        let plain = python(&format!(r#"{{"signature_id":7,"jobs":[{REGULAR}]}}"#));
        for line in [
            plain.replacen('7', "\"7\"", 1),
            plain.replacen('7', "7.0", 1),
            format!("\u{feff}{plain}"),
            format!("\u{feff}{}", plain.replacen('7', "7.0", 1)),
        ] {
            assert_eq!(row_of(&line), row_of(&plain));
        }
        let float = plain.replacen("\"job_id\": 5", "\"job_id\": 5.0", 1);
        assert_eq!(row_of(&float).data.taken[0].job_id(), Some(crate::model::JobId(5)));
    }

    #[test]
    fn a_row_after_a_fragment_is_imported_and_a_fragment_is_not() {
        let row = python(&format!(r#"{{"signature_id":7,"jobs":[{REGULAR}]}}"#));
        for cut in 1..row.len() {
            let (line, _) = read_line(&row.as_bytes()[..cut]);
            assert!(matches!(line, RowLine::Torn(_)), "{cut}: {line:?}");
            let glued = format!("{}{row}\n", &row[..cut]);
            let (line, len) = read_line(glued.as_bytes());
            assert!(matches!(line, RowLine::BehindFragment(_)) && len == glued.len(), "{cut}: {line:?}");
        }
        assert_eq!(read_line(b"  \n{"), (RowLine::Blank, 3));
        for torn in
            ["[]", "7", "null", "{}", r#"{"signature_id": 7}"#, r#"{"signature_id": -7, "jobs": []}"#, "\u{1b}[31m"]
        {
            let (RowLine::Torn(what), _) = read_line(torn.as_bytes()) else { panic!("{torn}") };
            assert!(!what.chars().any(char::is_control));
        }
        assert!(matches!(read_line(b"\xff\xfe{\"signature_id\": 7, \"jobs\": []}").0, RowLine::BehindFragment(_)));
    }
}
