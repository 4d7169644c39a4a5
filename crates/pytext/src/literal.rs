//! JSON values as Python literals: what `str()` of the parsed value gives, as in the nested columns of
//! `alert_summaries.csv`.
//!
//! In: the text of a JSON value as a server sent it, or a plain string. Out: Python's `repr`, appended to a byte
//! buffer. Promises: `ast.literal_eval` reads it back as the value that `json.loads` reads from the JSON text. Where
//! Python's own `repr` could not be read back, it differs: a float beyond the range of doubles is written `1e309`
//! instead of `inf`. A key that occurs twice in one object is written twice; a reader keeps the last, as with the JSON
//! text.

use crate::float;
use crate::json_scan::{Dialect, Escaped, JsonTextError, NumberText, plain_run, read_escape, transcode};
use crate::printable::is_printable;

/// Longest integer that Python converts from text, digits (`sys.get_int_max_str_digits()`).
pub(crate) const MAX_INT_DIGITS: usize = 4300;

/// Appends `repr(json.loads(raw))` to `out`.
///
/// # Errors
/// If `raw` is not one JSON value, nests deeper than [`MAX_DEPTH`](crate::json::MAX_DEPTH) or holds an integer that
/// Python refuses to read; `out` is then as before.
pub fn write_literal(raw: &str, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
    transcode(raw, &mut Literal::default(), out)
}

/// Appends `repr(text)` to `out`: quoted with `'`, or with `"` if that saves escapes.
pub fn write_str(text: &str, out: &mut Vec<u8>) {
    write_units(|| text.chars().map(u32::from), out);
}

/// Writes literals; keeps a buffer for strings that need escapes.
#[derive(Default)]
struct Literal {
    units: Vec<u32>,
}

impl Dialect for Literal {
    const TRUE: &'static [u8] = b"True";
    const FALSE: &'static [u8] = b"False";
    const NULL: &'static [u8] = b"None";

    fn string(&mut self, raw: &str, at: usize, out: &mut Vec<u8>) -> Result<usize, JsonTextError> {
        let bytes = raw.as_bytes();
        let run = plain_run::<true>(&bytes[at..]);
        if bytes.get(at + run) == Some(&b'"') {
            let plain = &bytes[at..at + run]; // no `"` in it, thus nothing to escape
            let quote = if plain.contains(&b'\'') { b'"' } else { b'\'' };
            out.push(quote);
            out.extend_from_slice(plain);
            out.push(quote);
            return Ok(at + run + 1);
        }
        let end = self.decode(raw, at)?;
        write_units(|| self.units.iter().copied(), out);
        Ok(end)
    }

    fn number(&mut self, number: NumberText<'_>, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
        if number.is_float {
            // JSON's numbers are a part of what Rust reads, so this cannot fail.
            let value = number
                .text
                .parse::<f64>()
                .map_err(|_| JsonTextError::Malformed { at: number.at, expected: "a number" })?;
            match value {
                f64::INFINITY => out.extend_from_slice(b"1e309"),
                f64::NEG_INFINITY => out.extend_from_slice(b"-1e309"),
                _ => float::write_repr(value, out),
            }
            return Ok(());
        }
        let digits = number.text.trim_start_matches('-').len();
        if digits > MAX_INT_DIGITS {
            return Err(JsonTextError::IntegerTooLong { at: number.at, digits });
        }
        let text = if number.text == "-0" { "0" } else { number.text };
        out.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl Literal {
    /// Decodes the string that starts at `at` into code points; returns the offset behind its closing quote.
    fn decode(&mut self, raw: &str, mut at: usize) -> Result<usize, JsonTextError> {
        let bytes = raw.as_bytes();
        self.units.clear();
        loop {
            let run = plain_run::<false>(&bytes[at..]);
            self.units.extend(raw[at..at + run].chars().map(u32::from));
            at += run;
            match bytes.get(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => {
                    let (escaped, next) = read_escape(bytes, at)?;
                    self.units.push(match escaped {
                        Escaped::Char(ch) => u32::from(ch),
                        Escaped::LoneSurrogate(unit) => u32::from(unit),
                    });
                    at = next;
                }
                _ => return Err(JsonTextError::Malformed { at, expected: "the rest of a string" }),
            }
        }
    }
}

/// Writes code points, which may be lone surrogates, as Python's `repr` of a string.
fn write_units<I: Iterator<Item = u32>>(units: impl Fn() -> I, out: &mut Vec<u8>) {
    let has = |quote: u8| units().any(|unit| unit == u32::from(quote));
    let quote = if has(b'\'') && !has(b'"') { b'"' } else { b'\'' };
    out.push(quote);
    for unit in units() {
        match unit {
            0x09 => out.extend_from_slice(b"\\t"),
            0x0a => out.extend_from_slice(b"\\n"),
            0x0d => out.extend_from_slice(b"\\r"),
            0x5c => out.extend_from_slice(b"\\\\"),
            _ if unit == u32::from(quote) => out.extend_from_slice(&[b'\\', quote]),
            _ => match char::from_u32(unit) {
                Some(ch) if is_printable(unit) => out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes()),
                _ => write_escape(unit, out),
            },
        }
    }
    out.push(quote);
}

/// Writes `\xNN`, `\uNNNN` or `\UNNNNNNNN`, the shortest that holds the code point.
fn write_escape(unit: u32, out: &mut Vec<u8>) {
    let (letter, num_digits) = match unit {
        0..=0xff => (b'x', 2),
        0x100..=0xffff => (b'u', 4),
        _ => (b'U', 8),
    };
    out.extend_from_slice(&[b'\\', letter]);
    for place in (0..num_digits).rev() {
        out.push(b"0123456789abcdef"[(unit >> (4 * place) & 0xf) as usize]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn literal(raw: &str) -> String {
        let mut out = Vec::new();
        write_literal(raw, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    // Each expectation is what Python 3.13 prints.
    #[rstest]
    #[case(r#"{"a":1,"b":[true,false,null,[],{}]}"#, "{'a': 1, 'b': [True, False, None, [], {}]}")]
    #[case(
        "[1.50,1E5,4.36e-05,-0.0,-0,12345678901234567890123]",
        "[1.5, 100000.0, 4.36e-05, -0.0, 0, 12345678901234567890123]"
    )]
    #[case("\"it's\"", "\"it's\"")]
    #[case(r#""say \"x\"""#, r#"'say "x"'"#)]
    #[case(r#""both ' and \"""#, r#"'both \' and "'"#)]
    #[case(r#""\u0027""#, r#""'""#)]
    #[case(r#""\t\n\r\\\b\/""#, r"'\t\n\r\\\x08/'")]
    #[case("\"\u{7f}\u{a0}\u{ad}\"", r"'\x7f\xa0\xad'")]
    #[case("\"\u{200d}\u{2028}\u{378}\"", r"'\u200d\u2028\u0378'")]
    #[case("\"é漢😀\u{e0001}\"", r"'é漢😀\U000e0001'")]
    #[case(r#""\ud800""#, r"'\ud800'")]
    // Assigned since Unicode 16, which Python 3.13 does not know.
    #[case("\"\u{1fae9}\u{1c89}\"", r"'\U0001fae9\u1c89'")]
    fn json_is_written_as_python_literals(#[case] raw: &str, #[case] expected: &str) {
        assert_eq!(literal(raw), expected);
    }

    #[test]
    fn floats_beyond_the_range_stay_readable() {
        assert_eq!(literal("[1e400,-1e400,1e-400]"), "[1e309, -1e309, 0.0]");
    }

    #[test]
    fn integers_that_python_refuses_are_refused() {
        let digits = |num: usize| format!("-{}", "7".repeat(num));
        assert_eq!(literal(&digits(MAX_INT_DIGITS)), digits(MAX_INT_DIGITS));
        let mut out = Vec::new();
        let refused = write_literal(&format!("[1,{}]", digits(MAX_INT_DIGITS + 1)), &mut out);
        assert_eq!(refused, Err(JsonTextError::IntegerTooLong { at: 3, digits: MAX_INT_DIGITS + 1 }));
        assert!(out.is_empty());
    }

    #[rstest]
    #[case("[1,")]
    #[case("\"abc")]
    #[case("\"\\q\"")]
    #[case("\"é")]
    #[case("1.e5")]
    fn malformed_text_is_refused(#[case] raw: &str) {
        let mut out = Vec::new();
        assert!(matches!(write_literal(raw, &mut out), Err(JsonTextError::Malformed { .. })));
        assert!(out.is_empty());
    }

    /// Reads a quoted Python string back.
    fn read_str(literal: &str) -> Option<String> {
        let quote = literal.chars().next()?;
        let mut rest = literal.strip_prefix(quote)?.strip_suffix(quote)?.chars();
        let mut text = String::new();
        while let Some(ch) = rest.next() {
            assert_ne!(ch, quote);
            let escaped = if ch == '\\' { rest.next()? } else { '\0' };
            let num_digits = match escaped {
                'x' => 2,
                'u' => 4,
                'U' => 8,
                _ => 0,
            };
            text.push(match escaped {
                '\0' => ch,
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'x' | 'u' | 'U' => {
                    let digits: String = rest.by_ref().take(num_digits).collect();
                    char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
                }
                _ => escaped,
            });
        }
        Some(text)
    }

    proptest! {
        #[test]
        fn strings_read_back_as_they_were(text in "(?s).{0,30}|[ -~'\"\\\\\n\u{ad}]{0,30}") {
            let mut out = Vec::new();
            write_str(&text, &mut out);
            let written = String::from_utf8(out).unwrap();
            prop_assert_eq!(literal(&serde_json::to_string(&text).unwrap()), written.clone());
            prop_assert!(written.chars().all(|ch| is_printable(u32::from(ch))));
            prop_assert_eq!(read_str(&written), Some(text));
        }
    }
}
