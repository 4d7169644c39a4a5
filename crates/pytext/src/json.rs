//! JSON text as Python's `json.dumps` writes it.
//!
//! In: the text of a JSON value as a server sent it, or a plain string. Out: the same value with the separators `", "`
//! and `": "` and Python's escapes, appended to a byte buffer. Promises: numbers keep their text (`4.36e-05`, `1e+16`,
//! `-0.0`), keys their order; a lone surrogate stays the escape it was, in both modes; nothing is recursed into or
//! copied twice. A key that occurs twice in one object is written twice (Python would keep the last).

use crate::json_scan::{Dialect, Escaped, NumberText, plain_run, read_escape, transcode};

pub use crate::json_scan::{JsonTextError, MAX_DEPTH};

/// Python's `ensure_ascii`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AsciiMode {
    /// `ensure_ascii=True`, Python's default: all but printable ASCII is written as `\uXXXX`.
    #[default]
    Escape,
    /// `ensure_ascii=False`: only quotes, backslashes and control characters are escaped.
    Keep,
}

/// Appends `json.dumps(json.loads(raw))` to `out`, with the numbers' text as it is in `raw`.
///
/// # Errors
/// If `raw` is not one JSON value or nests deeper than [`MAX_DEPTH`]; `out` is then as before.
pub fn dumps(raw: &str, out: &mut Vec<u8>, mode: AsciiMode) -> Result<(), JsonTextError> {
    match mode {
        AsciiMode::Escape => transcode(raw, &mut Dumps::<true>, out),
        AsciiMode::Keep => transcode(raw, &mut Dumps::<false>, out),
    }
}

/// Appends `json.dumps(text)` to `out`: `text` between quotes, escaped.
pub fn write_str(text: &str, out: &mut Vec<u8>, mode: AsciiMode) {
    match mode {
        AsciiMode::Escape => write_quoted::<true>(text, out),
        AsciiMode::Keep => write_quoted::<false>(text, out),
    }
}

struct Dumps<const ASCII: bool>;

impl<const ASCII: bool> Dialect for Dumps<ASCII> {
    const TRUE: &'static [u8] = b"true";
    const FALSE: &'static [u8] = b"false";
    const NULL: &'static [u8] = b"null";

    fn string(&mut self, raw: &str, mut at: usize, out: &mut Vec<u8>) -> Result<usize, JsonTextError> {
        let bytes = raw.as_bytes();
        out.push(b'"');
        loop {
            let run = plain_run::<ASCII>(&bytes[at..]);
            out.extend_from_slice(&bytes[at..at + run]);
            at += run;
            match bytes.get(at) {
                Some(b'"') => {
                    out.push(b'"');
                    return Ok(at + 1);
                }
                Some(b'\\') => {
                    let (escaped, next) = read_escape(bytes, at)?;
                    match escaped {
                        Escaped::Char(ch) => write_char::<ASCII>(ch, out),
                        Escaped::LoneSurrogate(unit) => write_unit(unit, out),
                    }
                    at = next;
                }
                Some(0x7f..) => at += write_beyond_ascii::<ASCII>(raw, at, out),
                _ => return Err(JsonTextError::Malformed { at, expected: "the rest of a string" }),
            }
        }
    }

    fn number(&mut self, number: NumberText<'_>, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
        out.extend_from_slice(number.text.as_bytes());
        Ok(())
    }
}

fn write_quoted<const ASCII: bool>(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    let mut at = 0;
    while at < bytes.len() {
        let run = plain_run::<ASCII>(&bytes[at..]);
        out.extend_from_slice(&bytes[at..at + run]);
        at += run;
        match bytes.get(at) {
            Some(0x7f..) => at += write_beyond_ascii::<ASCII>(text, at, out),
            Some(&byte) => {
                write_char::<ASCII>(char::from(byte), out);
                at += 1;
            }
            None => {}
        }
    }
    out.push(b'"');
}

/// Writes the run of characters from DEL on that starts at `at`; returns its length in bytes, at least 1.
fn write_beyond_ascii<const ASCII: bool>(text: &str, at: usize, out: &mut Vec<u8>) -> usize {
    let rest = &text.as_bytes()[at..];
    let run = rest.iter().position(|&byte| byte < 0x7f).unwrap_or(rest.len());
    for ch in text[at..at + run].chars() {
        write_char::<ASCII>(ch, out);
    }
    run
}

fn write_char<const ASCII: bool>(ch: char, out: &mut Vec<u8>) {
    match ch {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        ' '..='~' => out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes()),
        '\0'..' ' => write_unit(u16::from(ch as u8), out),
        _ if ASCII => {
            for unit in ch.encode_utf16(&mut [0; 2]) {
                write_unit(*unit, out);
            }
        }
        _ => out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Writes `\uXXXX`, lower case.
pub(crate) fn write_unit(unit: u16, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digit = |shift: u16| HEX[usize::from(unit >> shift & 0xf)];
    out.extend_from_slice(&[b'\\', b'u', digit(12), digit(8), digit(4), digit(0)]);
}

/// Writes `[1, 2]`.
pub fn write_ids(line: &mut Vec<u8>, ids: impl Iterator<Item = u64>) {
    let mut buffer = itoa::Buffer::new();
    line.push(b'[');
    for (number, id) in ids.enumerate() {
        if number > 0 {
            line.extend_from_slice(b", ");
        }
        line.extend_from_slice(buffer.format(id).as_bytes());
    }
    line.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn dumped(raw: &str, mode: AsciiMode) -> String {
        let mut out = b"before".to_vec();
        dumps(raw, &mut out, mode).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("before").unwrap().to_owned()
    }

    // Each expectation is what Python 3.13 prints.
    #[rstest]
    #[case(r#"{"a":1,"b":[true,false,null]}"#, r#"{"a": 1, "b": [true, false, null]}"#)]
    #[case(" [ ] ", "[]")]
    #[case("{\t\"a\" :\r\n{ } , \"b\":[[],{}]}", r#"{"a": {}, "b": [[], {}]}"#)]
    #[case("[4.36e-05,1e+16,3.0,-0.0,12345678901234567890]", "[4.36e-05, 1e+16, 3.0, -0.0, 12345678901234567890]")]
    #[case(r#""é漢\u00E9""#, r#""\u00e9\u6f22\u00e9""#)]
    #[case("\"😀\"", r#""\ud83d\ude00""#)]
    #[case(r#""\uD83D\uDE00\u0041""#, r#""\ud83d\ude00A""#)]
    #[case(r#""\ud800 \udfff\ud800\u0041""#, r#""\ud800 \udfff\ud800A""#)]
    #[case(r#""\/a\u002fb""#, r#""/a/b""#)]
    #[case(r#""\u000a\u0008\u001F\u0022\u005c""#, r#""\n\b\u001f\"\\""#)]
    #[case("\"\u{7f}\u{2028}\"", r#""\u007f\u2028""#)]
    fn json_is_written_as_python_writes_it(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(dumped(raw, AsciiMode::Escape), expected);
    }

    #[rstest]
    #[case(r#""é\u00e9\ud83d\ude00\u2028""#, "\"éé😀\u{2028}\"")]
    #[case("\"\u{7f}\\u007f\"", "\"\u{7f}\u{7f}\"")]
    #[case(r#""\ud800\n""#, r#""\ud800\n""#)]
    fn text_beyond_ascii_is_kept_if_asked_for(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(dumped(raw, AsciiMode::Keep), expected);
    }

    #[rstest]
    #[case("")]
    #[case("  ")]
    #[case("[1,]")]
    #[case("[1 2]")]
    #[case("{\"a\"}")]
    #[case("{\"a\":}")]
    #[case("{\"a\":1,}")]
    #[case("{1:2}")]
    #[case("[1}")]
    #[case("[")]
    #[case("1 2")]
    #[case("01")]
    #[case("-")]
    #[case("1.")]
    #[case(".5")]
    #[case("1e")]
    #[case("+1")]
    #[case("tru")]
    #[case("nulll")]
    #[case("NaN")]
    #[case("\"")]
    #[case("\"\\")]
    #[case("\"\\x\"")]
    #[case("\"\\u12\"")]
    #[case("\"\\u12g4\"")]
    #[case("\"a\nb\"")]
    #[case("\"a\u{1}b\"")]
    fn malformed_text_is_refused_and_leaves_no_trace(#[case] raw: &str) {
        for mode in [AsciiMode::Escape, AsciiMode::Keep] {
            let mut out = b"kept".to_vec();
            assert!(matches!(dumps(raw, &mut out, mode), Err(JsonTextError::Malformed { .. })));
            assert_eq!(out, b"kept");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let limit = MAX_DEPTH as usize;
        assert_eq!(dumped(&nested(limit), AsciiMode::Escape), nested(limit));
        let refused = dumps(&nested(limit + 1), &mut Vec::new(), AsciiMode::Escape);
        assert_eq!(refused, Err(JsonTextError::TooDeep { at: limit, levels: MAX_DEPTH }));
    }

    /// The plainest way to escape: one UTF-16 unit after the other.
    fn escaped_naively(text: &str) -> String {
        let escape = |unit: u16| match u8::try_from(unit).map(char::from) {
            Ok('"') => "\\\"".to_owned(),
            Ok('\\') => "\\\\".to_owned(),
            Ok('\n') => "\\n".to_owned(),
            Ok('\r') => "\\r".to_owned(),
            Ok('\t') => "\\t".to_owned(),
            Ok('\u{8}') => "\\b".to_owned(),
            Ok('\u{c}') => "\\f".to_owned(),
            Ok(ch @ ' '..='~') => ch.to_string(),
            _ => format!("\\u{unit:04x}"),
        };
        format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>())
    }

    proptest! {
        #[test]
        fn strings_are_escaped_as_by_the_naive_version(text in "(?s).{0,40}|[ -~\"\\\\\u{1}\u{7f}é]{0,60}") {
            let mut ascii = Vec::new();
            write_str(&text, &mut ascii, AsciiMode::Escape);
            let ascii = String::from_utf8(ascii).unwrap();
            prop_assert_eq!(&ascii, &escaped_naively(&text));
            prop_assert_eq!(dumped(&serde_json::to_string(&text).unwrap(), AsciiMode::Escape), ascii.clone());
            let mut kept = Vec::new();
            write_str(&text, &mut kept, AsciiMode::Keep);
            let kept = String::from_utf8(kept).unwrap();
            prop_assert_eq!(serde_json::from_str::<String>(&kept).unwrap(), text.clone());
            prop_assert_eq!(dumped(&ascii, AsciiMode::Keep), kept);
        }

        #[test]
        fn any_text_is_either_refused_or_written_as_the_same_value(raw in "[\\[\\]{}\",:0-9a-fu\\\\ .eE+tn-]{0,24}") {
            let mut out = Vec::new();
            let ours = dumps(&raw, &mut out, AsciiMode::Escape);
            if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&raw) {
                prop_assert!(ours.is_ok());
                prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), theirs);
            } else if ours.is_err() {
                prop_assert!(out.is_empty());
            }
        }
    }
}
