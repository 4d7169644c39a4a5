//! Statistics documents as Python's `json.dump(…, indent=…)` writes them.
//!
//! In: a [`Json`] value built in code. Out: its text. Promises: keys in the order given (or sorted, if asked), floats
//! by Python's `repr`, `NaN` and `Infinity` as Python spells them, ASCII only, and no final newline unless asked for.

use crate::float;
use crate::json::{AsciiMode, write_str};

/// A JSON value that keeps the order of its keys, and integers apart from floats.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// An integer, written without a fraction.
    Int(i64),
    /// A float, written by Python's `repr`: `3.0`, `1e+16`, `NaN`.
    Float(f64),
    /// A string.
    Str(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, in writing order.
    Object(Vec<(String, Json)>),
}

/// How a document is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Blanks per level; the artifacts use 2 and 4.
    pub indent: usize,
    /// Whether keys are sorted by code point instead of kept in order.
    pub sort_keys: bool,
    /// Whether the text ends with a newline.
    pub final_newline: bool,
}

impl Json {
    /// An object of these entries, in this order.
    pub fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Json)>) -> Self {
        Self::Object(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }

    /// The text of this value.
    #[must_use]
    pub fn to_bytes(&self, layout: Layout) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(layout, 0, &mut out);
        if layout.final_newline {
            out.push(b'\n');
        }
        out
    }

    fn write(&self, layout: Layout, depth: usize, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Int(value) => out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Self::Float(value) if value.is_nan() => out.extend_from_slice(b"NaN"),
            Self::Float(f64::INFINITY) => out.extend_from_slice(b"Infinity"),
            Self::Float(f64::NEG_INFINITY) => out.extend_from_slice(b"-Infinity"),
            Self::Float(value) => float::write_repr(*value, out),
            Self::Str(text) => write_str(text, out, AsciiMode::Escape),
            Self::Array(values) => {
                write_block([b'[', b']'], values, layout, depth, out, |value, out| value.write(layout, depth + 1, out));
            }
            Self::Object(entries) => {
                let mut entries: Vec<&(String, Json)> = entries.iter().collect();
                if layout.sort_keys {
                    entries.sort_by(|a, b| a.0.cmp(&b.0));
                }
                write_block([b'{', b'}'], &entries, layout, depth, out, |(key, value), out| {
                    write_str(key, out, AsciiMode::Escape);
                    out.extend_from_slice(b": ");
                    value.write(layout, depth + 1, out);
                });
            }
        }
    }
}

/// Writes brackets with one element a line between them; Python keeps empty ones together.
fn write_block<T>(
    [open, close]: [u8; 2],
    elements: &[T],
    layout: Layout,
    depth: usize,
    out: &mut Vec<u8>,
    mut write: impl FnMut(&T, &mut Vec<u8>),
) {
    let break_line = |depth: usize, out: &mut Vec<u8>| {
        out.push(b'\n');
        out.resize(out.len() + depth * layout.indent, b' ');
    };
    out.push(open);
    for (index, element) in elements.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        break_line(depth + 1, out);
        write(element, out);
    }
    if !elements.is_empty() {
        break_line(depth, out);
    }
    out.push(close);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(value: &Json, indent: usize, sort_keys: bool) -> String {
        String::from_utf8(value.to_bytes(Layout { indent, sort_keys, final_newline: false })).unwrap()
    }

    #[test]
    fn documents_are_laid_out_as_by_python() {
        let floats = [Json::Float(f64::NAN), Json::Float(f64::NEG_INFINITY)];
        let array = [Json::Int(1), Json::Float(2.5), Json::Null, Json::Bool(true)].into_iter().chain(floats);
        let value = Json::object([
            ("a", Json::Array(vec![])),
            ("b", Json::Object(vec![])),
            ("c", Json::Array(array.collect())),
            ("é", Json::Str("x\u{2028}".to_owned())),
            ("d", Json::object([("z", Json::Float(-0.0)), ("y", Json::Float(1e16))])),
        ]);
        let expected = r#"{
    "a": [],
    "b": {},
    "c": [
        1,
        2.5,
        null,
        true,
        NaN,
        -Infinity
    ],
    "\u00e9": "x\u2028",
    "d": {
        "z": -0.0,
        "y": 1e+16
    }
}"#;
        assert_eq!(written(&value, 4, false), expected);
    }

    #[test]
    fn keys_are_sorted_on_every_level_if_asked_for() {
        let inner = Json::object([("d", Json::Array(vec![])), ("c", Json::Str("/".to_owned()))]);
        let value = Json::object([("b", Json::Int(1)), ("a", inner)]);
        let expected = "{\n  \"a\": {\n    \"c\": \"/\",\n    \"d\": []\n  },\n  \"b\": 1\n}";
        assert_eq!(written(&value, 2, true), expected);
    }

    #[test]
    fn the_final_newline_is_an_option() {
        let layout = Layout { indent: 2, sort_keys: false, final_newline: true };
        assert_eq!(Json::Null.to_bytes(layout), b"null\n");
    }
}
