//! The node of a commit and the revision of a datum, which are compared as the older scripts compare them.

use std::borrow::Cow;

use pytext::json::AsciiMode;
use pytext::loads::{Kind, Notation, Replaced, Value};
use pytext::{float, strip};

use crate::model::Revision;

/// A node as a key of a Python dict: `7`, `7.0` and, for 1, `true` are one key, `"7"` is another. A hash takes 20 bytes,
/// because a repository has a million of them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum NodeKey {
    Hash(Revision),
    Text(Box<str>),
    /// The shortest text of an equal number.
    Number(Box<str>),
}

impl NodeKey {
    pub(crate) fn of_text(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Text(text.into()), Self::Hash)
    }

    /// The key of a value that Python takes for true; `None` for others, for lists and objects, and for text with half of a
    /// surrogate pair, which no table can hold.
    pub(crate) fn of_value(value: Value<'_>) -> Option<Self> {
        if !value.is_truthy() {
            return None;
        }
        match value.kind() {
            Kind::Str(text) => text.to_str().map(Self::of_text),
            Kind::Bool(_) => Some(Self::Number("1".into())),
            Kind::Int(digits) => Some(Self::Number(digits.into())),
            Kind::Float(value) if value.is_finite() && value.fract() == 0.0 => {
                Some(Self::Number(format!("{value:.0}").into()))
            }
            Kind::Float(value) => Some(Self::Number(float::repr(value).into())),
            Kind::Null | Kind::Array(_) | Kind::Object(_) => None,
        }
    }

    /// The key without differences that mean nothing: surrounding white space, upper-case hex digits, and whether a number
    /// is text.
    pub(crate) fn folded(self) -> Self {
        match self {
            Self::Hash(_) => self,
            Self::Text(text) | Self::Number(text) => Self::of_text(&fold(&text)),
        }
    }
}

/// `node` without surrounding white space, hex digits in lower case.
pub(crate) fn fold(node: &str) -> Cow<'_, str> {
    let node = strip(node);
    let is_hex = node.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && node.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(node.to_ascii_lowercase())
    } else {
        Cow::Borrowed(node)
    }
}

/// Python's `str(value)` and `json.dumps(value)` of a node; the latter is `None` for text.
pub(super) fn texts_of(value: Value<'_>) -> (String, Option<Box<str>>) {
    let mut json = Vec::new();
    value.dumps(&mut json, AsciiMode::Escape, Notation::Python, &mut Replaced::default());
    let json = String::from_utf8_lossy(&json).into_owned();
    let text = match value.kind() {
        Kind::Str(text) => return (text.to_lossy().into_owned(), None),
        Kind::Bool(true) => "True".to_owned(),
        Kind::Bool(false) => "False".to_owned(),
        Kind::Float(value) => float::repr(value),
        _ => json.clone(),
    };
    (text, Some(json.into()))
}

#[cfg(test)]
mod tests {
    use pytext::loads::Document;

    use super::*;

    fn key(text: &str) -> Option<NodeKey> {
        NodeKey::of_value(Document::default().load(text).unwrap())
    }

    #[test]
    fn keys_are_equal_as_in_a_dict() {
        for equal in [["7", "7.0"], ["1", "true"], ["1.0", "true"], ["1e22", "10000000000000000000000"], ["NaN", "NaN"]]
        {
            assert_eq!(key(equal[0]), key(equal[1]), "{equal:?}");
        }
        for other in [["7", "\"7\""], ["1.5", "1"], ["1e23", "100000000000000000000000"], ["Infinity", "-Infinity"]] {
            assert_ne!(key(other[0]), key(other[1]), "{other:?}");
        }
        for none in ["null", "false", "0", "-0.0", "\"\"", "[]", "[1]", "{}", "{\"a\":1}", "\"\\ud800\""] {
            assert_eq!(key(none), None, "{none}");
        }
    }

    #[test]
    fn a_number_is_named_as_python_names_it() {
        let texts = |text: &str| {
            let (python, json) = texts_of(Document::default().load(text).unwrap());
            (python, json.map(String::from))
        };
        for (text, python, json) in [
            ("7", "7", "7"),
            ("true", "True", "true"),
            ("1.50", "1.5", "1.5"),
            ("1E5", "100000.0", "100000.0"),
            ("NaN", "nan", "NaN"),
            ("-1e400", "-inf", "-Infinity"),
        ] {
            assert_eq!(texts(text), (python.to_owned(), Some(json.to_owned())), "{text}");
        }
        assert_eq!(texts("\"a\\u00e9\""), ("aé".to_owned(), None));
    }

    #[test]
    fn blanks_and_case_fold() {
        assert_eq!(fold(" AbCdEf0123\u{a0}\n"), "abcdef0123");
        assert_eq!(fold("Tip"), "Tip");
        let folded = |text: &str| key(text).unwrap().folded();
        let hash = "B48C4D7FC2C9971A780EF9C29619C44CE3E97935";
        assert_eq!(folded(&format!("\" {hash}\"")), NodeKey::Hash(hash.to_lowercase().parse().unwrap()));
        assert_eq!(folded("7.0"), NodeKey::Text("7".into()));
    }
}
