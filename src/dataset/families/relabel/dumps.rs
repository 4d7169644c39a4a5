//! Rewrites JSON text as Python's `json.dumps(value, ensure_ascii=False)` does.
//!
//! Values keep their meaning and numbers their text. Spacing, escapes and duplicate keys change: as in a Python dict, the
//! last value wins and the first position stays.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use thiserror::Error;

/// Maximum nesting of lists and objects, because deeper input would exhaust the stack.
pub(super) const MAX_DEPTH: usize = 128;

/// A text that cannot be rewritten.
#[derive(Debug, Error)]
pub(super) enum DumpsError {
    /// The text is not JSON, or a string in it has half of a surrogate pair.
    #[error("not JSON")]
    NotJson(#[from] serde_json::Error),
    /// See [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
}

/// The keys of an object in order, with the text of their values.
pub(super) struct Object<'a> {
    entries: Vec<(String, &'a str)>,
    places: HashMap<String, usize>,
}

impl<'a> Object<'a> {
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.places.get(key).map(|&place| self.entries[place].1)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), *value))
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor;
        impl<'de> Visitor<'de> for ObjectVisitor {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut object = Object { entries: Vec::new(), places: HashMap::new() };
                while let Some((key, raw)) = map.next_entry::<String, &'de RawValue>()? {
                    match object.places.entry(key) {
                        Entry::Occupied(place) => object.entries[*place.get()].1 = raw.get(),
                        Entry::Vacant(place) => {
                            object.entries.push((place.key().clone(), raw.get()));
                            place.insert(object.entries.len() - 1);
                        }
                    }
                }
                Ok(object)
            }
        }
        deserializer.deserialize_map(ObjectVisitor)
    }
}

/// Appends the JSON value `text` to `out`, as Python writes it.
pub(super) fn dumps_utf8(text: &str, out: &mut Vec<u8>) -> Result<(), DumpsError> {
    dumps_nested(text, out, MAX_DEPTH)
}

fn dumps_nested(text: &str, out: &mut Vec<u8>, levels_left: usize) -> Result<(), DumpsError> {
    let text = text.trim();
    match text.as_bytes().first() {
        Some(b'"') => dumps_text(&serde_json::from_str::<String>(text)?, out),
        Some(b'{') => {
            let levels_left = levels_left.checked_sub(1).ok_or(DumpsError::TooDeep)?;
            let object: Object<'_> = serde_json::from_str(text)?;
            out.push(b'{');
            for (index, (key, value)) in object.entries().enumerate() {
                separate(index, out);
                dumps_text(key, out);
                out.extend_from_slice(b": ");
                dumps_nested(value, out, levels_left)?;
            }
            out.push(b'}');
        }
        Some(b'[') => {
            let levels_left = levels_left.checked_sub(1).ok_or(DumpsError::TooDeep)?;
            let list: Vec<&RawValue> = serde_json::from_str(text)?;
            out.push(b'[');
            for (index, value) in list.into_iter().enumerate() {
                separate(index, out);
                dumps_nested(value.get(), out, levels_left)?;
            }
            out.push(b']');
        }
        // A number, true, false or null keeps its text.
        _ => out.extend_from_slice(text.as_bytes()),
    }
    Ok(())
}

fn separate(index: usize, out: &mut Vec<u8>) {
    if index > 0 {
        out.extend_from_slice(b", ");
    }
}

/// Appends a string in quotes; escapes only the quote, the backslash and control characters below U+0020.
pub(super) fn dumps_text(text: &str, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn dumps(text: &str) -> Result<String, DumpsError> {
        let mut out = Vec::new();
        dumps_utf8(text, &mut out).map(|()| String::from_utf8(out).unwrap())
    }

    #[test]
    fn the_text_is_that_of_python() {
        for (text, expected) in [
            (
                r#"{"b":1,"a":[1e+16,4.36e-05,-0.0,3.0],"c":{}}"#,
                r#"{"b": 1, "a": [1e+16, 4.36e-05, -0.0, 3.0], "c": {}}"#,
            ),
            (r#"["\u00e9\u2028\/\u0007\u007f\ud83d\ude00"]"#, "[\"é\u{2028}/\\u0007\u{7f}😀\"]"),
            ("\"\\b\\f\\n\\r\\t\\u001f\\\\\\\"\"", "\"\\b\\f\\n\\r\\t\\u001f\\\\\\\"\""),
            ("[ ]", "[]"),
            (" [ true , null , [ ] ] ", "[true, null, []]"),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a": 3, "b": 2}"#),
        ] {
            assert_eq!(dumps(text).unwrap(), expected);
        }
    }

    #[test]
    fn deep_nesting_and_half_a_surrogate_pair_are_errors() {
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(dumps(&deep(MAX_DEPTH)).is_ok());
        assert!(matches!(dumps(&deep(MAX_DEPTH + 1)), Err(DumpsError::TooDeep)));
        assert!(matches!(dumps(&deep(100_000)), Err(DumpsError::TooDeep)));
        assert!(matches!(dumps(r#"["\ud800"]"#), Err(DumpsError::NotJson(_))));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_value_survives_and_a_second_pass_changes_nothing(value in values()) {
            let once = dumps(&value.to_string()).unwrap();
            prop_assert_eq!(&serde_json::from_str::<Value>(&once).unwrap(), &value);
            prop_assert_eq!(dumps(&once).unwrap(), once);
        }
    }
}
