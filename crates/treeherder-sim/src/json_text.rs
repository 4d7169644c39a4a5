//! Writing and rewriting JSON as text.
//!
//! Recorded numbers keep their digits (`4.36e-05`, `1e+16`, `3.0`, `-0.0`), and objects keep the order of their keys.

use std::fmt;

use pytext::float::write_repr;
use pytext::json::{AsciiMode, write_str};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::moment::write_iso;

/// Writes a JSON string as the server does: raw UTF-8, but U+2028 and U+2029 escaped.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    if text.contains(['\u{2028}', '\u{2029}']) {
        let mut json = Vec::new();
        write_str(text, &mut json, AsciiMode::Keep);
        out.extend_from_slice(compact(&String::from_utf8_lossy(&json)).as_bytes());
    } else {
        write_str(text, out, AsciiMode::Keep);
    }
}

/// Writes an integer.
pub(crate) fn write_uint(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes an integer.
pub(crate) fn write_int(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes an integer or `null`.
pub(crate) fn write_option(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => write_uint(out, number),
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes a time as a string, or `null`; microseconds.
pub(crate) fn write_moment(out: &mut Vec<u8>, micros: Option<i64>) {
    match micros {
        Some(micros) => {
            out.push(b'"');
            write_iso(out, micros);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// Writes a finite double as Python's `repr` does; anything else as `null`.
pub(crate) fn write_float(out: &mut Vec<u8>, number: f64) {
    if number.is_finite() {
        write_repr(number, out);
    } else {
        out.extend_from_slice(b"null");
    }
}

/// Removes blanks between tokens and escapes U+2028 and U+2029, as the server does.
pub(crate) fn compact(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut inside = Inside::default();
    for c in json.chars() {
        let in_string = inside.advance(c);
        match c {
            ' ' | '\n' | '\r' | '\t' if !in_string => {}
            '\u{2028}' => out.push_str("\\u2028"),
            '\u{2029}' => out.push_str("\\u2029"),
            _ => out.push(c),
        }
    }
    out
}

/// Rewrites compact JSON in the form of Python's `json.dumps`: a blank after `,` and `:`, ASCII only.
pub(crate) fn write_as_python(out: &mut Vec<u8>, json: &str) {
    let mut inside = Inside::default();
    for c in json.chars() {
        let in_string = inside.advance(c);
        if c.is_ascii() {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            if !in_string && matches!(c, ',' | ':') {
                out.push(b' ');
            }
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write_escape(out, u32::from(*unit));
            }
        }
    }
}

fn write_escape(out: &mut Vec<u8>, unit: u32) {
    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
}

/// Tracks whether a position in JSON text is inside a string.
#[derive(Default)]
struct Inside {
    string: bool,
    escaped: bool,
}

impl Inside {
    /// Takes the next character; returns whether it belongs to a string or is one of its quotes.
    fn advance(&mut self, c: char) -> bool {
        if !self.string {
            self.string = c == '"';
            return self.string;
        }
        if self.escaped {
            self.escaped = false;
        } else if c == '\\' {
            self.escaped = true;
        } else if c == '"' {
            self.string = false;
        }
        true
    }
}

/// An object that keeps its values as text and its keys in order.
#[derive(Debug)]
pub(crate) struct OrderedObject<'a>(pub(crate) Vec<(String, &'a RawValue)>);

impl OrderedObject<'_> {
    /// The text of a value.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    /// The members from index `from` up to the key `until` (exclusive), each followed by a comma; and the index of
    /// `until`.
    pub(crate) fn members(&self, from: usize, until: &str) -> (String, usize) {
        let mut out = String::new();
        let mut next = from;
        for (name, value) in &self.0[from.min(self.0.len())..] {
            if name == until {
                break;
            }
            let mut key = Vec::new();
            write_string(&mut key, name);
            out.push_str(&String::from_utf8_lossy(&key));
            out.push(':');
            out.push_str(value.get());
            out.push(',');
            next += 1;
        }
        (out, next)
    }

    /// The whole object, compact, with some values replaced.
    pub(crate) fn with(&self, replacements: &[(&str, String)]) -> String {
        let mut out = Vec::from(*b"{");
        for (n, (name, value)) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            write_string(&mut out, name);
            out.push(b':');
            let replacement = replacements.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
            out.extend_from_slice(replacement.unwrap_or(value.get()).as_bytes());
        }
        out.push(b'}');
        String::from_utf8_lossy(&out).into_owned()
    }
}

impl<'de> Deserialize<'de> for OrderedObject<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = OrderedObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(map.size_hint().unwrap_or(24));
                while let Some(member) = map.next_entry::<String, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(OrderedObject(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn numbers_that_json_lacks_are_null() {
        let mut out = Vec::new();
        for number in [4.36e-5, f64::NAN, f64::NEG_INFINITY] {
            write_float(&mut out, number);
        }
        assert_eq!(out, b"4.36e-05nullnull");
    }

    #[test]
    fn python_text_has_blanks_between_tokens_only() {
        let mut out = Vec::new();
        write_as_python(&mut out, r#"{"a,b":[1,"c:\"d,é🚀"],"e":null}"#);
        assert_eq!(String::from_utf8(out).unwrap(), "{\"a,b\": [1, \"c:\\\"d,\\u00e9\\ud83d\\ude80\"], \"e\": null}");
    }

    #[test]
    fn a_replaced_member_leaves_the_others_alone() {
        let object: OrderedObject<'_> = serde_json::from_str(r#"{"b": 4.36e-05, "a": {"b": 1}}"#).unwrap();
        assert_eq!(object.with(&[("a", "7".to_owned())]), r#"{"b":4.36e-05,"a":7}"#);
        assert_eq!(object.members(0, "a"), (r#""b":4.36e-05,"#.to_owned(), 1));
    }

    proptest! {
        #[test]
        fn a_written_string_is_the_same_text(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&mut out, &text);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn compaction_undoes_python_spacing_of_ascii(text in "[ -~]{0,40}") {
            let compacted = serde_json::to_string(&(&text, 1, [&text])).unwrap();
            let mut spaced = Vec::new();
            write_as_python(&mut spaced, &compacted);
            prop_assert_eq!(compact(std::str::from_utf8(&spaced).unwrap()), compacted);
        }
    }
}
