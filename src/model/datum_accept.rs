//! Decides for each datum: taken, taken with a correction, or set aside.
//!
//! One datum that cannot be read costs itself, never the others of its reply or row. Python writes two texts that are not
//! JSON: `NaN`, `Infinity` and `-Infinity`, and half a surrogate pair. [`readable`] gives a text of the same length without
//! them, in which the places of all data stay the same.

use std::borrow::Cow;

use super::accept::stand_in;
use super::{DatumRecord, OddRecord, parse_datum};

/// A part of an answer that is not used, or not as it was sent. It is kept verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddDatum {
    /// The part, such as `datum 3`, counted from 1.
    pub what: String,
    /// The reason, a sentence fragment.
    pub reason: String,
    /// The text as it was sent.
    pub text: String,
    /// True if it was taken with a correction; false if it was set aside.
    pub taken: bool,
}

impl From<&OddDatum> for OddRecord {
    fn from(odd: &OddDatum) -> Self {
        let text = odd.text.as_bytes();
        let set_aside = Self::set_aside(stand_in(text), format!("{}: {}", odd.what, odd.reason), text);
        Self { taken: odd.taken, ..set_aside }
    }
}

const CORRECTED: &str = "taken with U+FFFD instead of half a surrogate pair, and null instead of NaN or Infinity";

/// Takes the datum whose text is `sent`, the `number`th of its list. Adds it to `set_aside` if it cannot be taken, or not as
/// it was sent.
pub fn accept_datum(sent: &str, number: usize, set_aside: &mut Vec<OddDatum>) -> Option<DatumRecord> {
    let error = match parse_datum(sent) {
        Ok(datum) => return Some(datum),
        Err(error) => error,
    };
    let whole = with_whole_surrogates(sent);
    let json = replace_words(&whole, |_| "null");
    let corrected = (json != sent).then(|| parse_datum(&json).ok()).flatten();
    let reason = match &corrected {
        Some(_) => CORRECTED.to_owned(),
        None => error.to_string(),
    };
    let taken = corrected.is_some();
    set_aside.push(OddDatum { what: format!("datum {number}"), reason, text: sent.to_owned(), taken });
    corrected
}

/// `text` with `0` and blanks instead of Python's words for numbers that JSON lacks, and the escape of U+FFFD instead of half
/// a surrogate pair; of the same length. Text that is JSON stays JSON.
#[must_use]
pub fn readable(text: &str) -> Cow<'_, str> {
    match with_whole_surrogates(text) {
        Cow::Borrowed(text) => replace_words(text, |word| &ZERO[..word.len()]),
        Cow::Owned(text) => Cow::Owned(replace_words(&text, |word| &ZERO[..word.len()]).into_owned()),
    }
}

/// As long as the longest word.
const ZERO: &str = "0        ";

/// `text` with replacements of `NaN`, `Infinity` and `-Infinity` outside of strings.
fn replace_words(text: &str, replacement: impl Fn(&str) -> &'static str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        let word = match byte {
            b'N' | b'I' | b'-' => {
                ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| bytes[at..].starts_with(word.as_bytes()))
            }
            _ => None,
        };
        if let Some(word) = word {
            out.push_str(&text[copied..at]);
            out.push_str(replacement(word));
            copied = at + word.len();
        }
        at = if byte == b'"' { end_of_string(bytes, at) } else { at + word.map_or(1, str::len) };
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(&text[copied..]);
    Cow::Owned(out)
}

/// The offset behind the string that begins at `at`; the text's length if the string does not end.
fn end_of_string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `text` with the escape of U+FFFD instead of each escape of half a surrogate pair.
fn with_whole_surrogates(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut out: Option<Vec<u8>> = None;
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\')) {
        let escape = at + found;
        at = escape + 2;
        match (unit_at(bytes, escape), unit_at(bytes, escape + 6)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => at = escape + 12,
            (Some(0xd800..=0xdfff), _) => {
                out.get_or_insert_with(|| bytes.to_vec())[escape..escape + 6].copy_from_slice(b"\\ufffd");
                at = escape + 6;
            }
            _ => {}
        }
    }
    match out.map(String::from_utf8) {
        Some(Ok(out)) => Cow::Owned(out),
        _ => Cow::Borrowed(text),
    }
}

/// The code unit of the escape `\uXXXX` at `at`.
fn unit_at(bytes: &[u8], at: usize) -> Option<u16> {
    let hex = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    let text = std::str::from_utf8(hex).ok().filter(|_| hex.iter().all(u8::is_ascii_hexdigit))?;
    u16::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DATUM: &str = r#"{"id":7,"push_timestamp":"2026-07-28T14:48:47","machine_name":"m"}"#;

    fn accepted(text: &str) -> (Option<DatumRecord>, Vec<OddDatum>) {
        let mut set_aside = Vec::new();
        (accept_datum(text, 3, &mut set_aside), set_aside)
    }

    #[test]
    fn a_datum_is_taken_corrected_or_set_aside_with_its_text() {
        assert_eq!(accepted(DATUM), (Some(parse_datum(DATUM).unwrap()), Vec::new()));
        let half = DATUM.replace("\"m\"", r#""a\ud83d b\ude00 \ud83d\ude00 \\ud800""#);
        let (taken, set_aside) = accepted(&half);
        let whole = DATUM.replace("\"m\"", r#""a\ufffd b\ufffd \ud83d\ude00 \\ud800""#);
        assert_eq!(taken, Some(parse_datum(&whole).unwrap()));
        assert_eq!((set_aside[0].what.as_str(), set_aside[0].text.as_str()), ("datum 3", half.as_str()));
        let (taken, set_aside) = accepted(&DATUM.replace("\"m\"", "[NaN,-Infinity,1]"));
        assert_eq!(taken, Some(parse_datum(&DATUM.replace("\"m\"", "[null,null,1]")).unwrap()));
        assert!(set_aside.len() == 1 && set_aside[0].text.contains("NaN"));
        let (taken, set_aside) = accepted(&DATUM.replace("\"2026-07-28T14:48:47\"", "NaN"));
        assert!(taken.is_none() && set_aside.len() == 1 && set_aside[0].text.contains("NaN"));
    }

    #[test]
    fn words_of_python_are_replaced_between_strings_only_and_the_length_stays() {
        for (text, expected) in [
            (r#"{"a":NaN,"NaN":[-Infinity,Infinity,-1]}"#, r#"{"a":0  ,"NaN":[0        ,0       ,-1]}"#),
            (r#""NaN \" NaN""#, r#""NaN \" NaN""#),
            (r#"["\ud800",NaN]"#, r#"["\ufffd",0  ]"#),
            ("\"unfinished \\", "\"unfinished \\"),
        ] {
            assert_eq!(readable(text), expected);
            assert_eq!(readable(text).len(), text.len());
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_json_stays_as_it_is(text in "[\"\\\\ud8c-eNaInfity{}\\[\\]:,0-9 é-]{0,60}") {
            let made = readable(&text);
            prop_assert_eq!(made.len(), text.len());
            if serde_json::from_str::<serde_json::Value>(&text).is_ok() {
                prop_assert_eq!(made, text.as_str());
            }
            accepted(&text);
        }
    }
}
