//! Query strings and their values, parsed as Django does.

use std::borrow::Cow;
use std::fmt::Write as _;

/// A parsed query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
}

impl Query {
    pub(crate) fn parse(raw: &str) -> Self {
        let pairs = raw
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decode(name), decode(value))
            })
            .collect();
        Self { pairs }
    }

    /// The last value of the name, like `QueryDict.get`.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The last value of the name, unless it is empty.
    pub(crate) fn non_empty(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every value of the name, in order.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.pairs.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The query with one parameter replaced or removed, sorted by name, as in the paging links.
    pub(crate) fn sorted_with(&self, name: &str, value: Option<&str>) -> String {
        let mut pairs: Vec<(&str, &str)> = self.pairs().filter(|(key, _)| *key != name).collect();
        pairs.extend(value.map(|value| (name, value)));
        pairs.sort_by_key(|(key, _)| *key);
        let mut out = String::new();
        for (n, (key, value)) in pairs.into_iter().enumerate() {
            let _ = write!(out, "{}{}={}", if n > 0 { "&" } else { "" }, encode(key), encode(value));
        }
        out
    }
}

/// Parses an integer as Python's `int()` does; values beyond 128 bits saturate.
pub(crate) fn python_int(text: &str) -> Option<i128> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let well_formed = digits.split('_').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !well_formed {
        return None;
    }
    let digits: Cow<'_, str> = if digits.contains('_') { digits.replace('_', "").into() } else { digits.into() };
    let magnitude = digits.parse::<i128>().unwrap_or(i128::MAX);
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses an integer as a field of Django REST framework does: a fraction of zeros is dropped.
pub(crate) fn field_int(text: &str) -> Option<i128> {
    let text = text.trim();
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        _ => text,
    };
    python_int(whole)
}

/// Parses a boolean as a field of Django REST framework does.
pub(crate) fn field_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "t" | "y" | "yes" | "true" | "on" | "1" => Some(true),
        "f" | "n" | "no" | "false" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// Parses a boolean as a filter of django-filter does.
pub(crate) fn filter_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let hex = |offset: usize| bytes.get(at + offset).and_then(|&byte| char::from(byte).to_digit(16));
        match bytes[at] {
            b'+' => out.push(b' '),
            b'%' => {
                if let (Some(high), Some(low)) = (hex(1), hex(2)) {
                    out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                    at += 2;
                } else {
                    out.push(b'%');
                }
            }
            byte => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Python's `quote_plus`.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    #[test]
    fn the_last_of_repeated_values_wins() {
        let query = Query::parse("id=1&id=2&empty=&flag");
        assert_eq!(query.get("id"), Some("2"));
        assert_eq!(query.all("id").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!((query.get("empty"), query.non_empty("empty"), query.get("flag")), (Some(""), None, Some("")));
    }

    #[test]
    fn links_are_sorted_by_name() {
        let query = Query::parse("page=1&timerange=5&hide_related_and_invalid=True");
        assert_eq!(query.sorted_with("page", Some("2")), "hide_related_and_invalid=True&page=2&timerange=5");
        assert_eq!(query.sorted_with("page", None), "hide_related_and_invalid=True&timerange=5");
    }

    #[test]
    fn integers_are_read_as_python_reads_them() {
        assert_eq!(python_int(" -12 "), Some(-12));
        assert_eq!(python_int("1_000"), Some(1000));
        assert_eq!(python_int(&"9".repeat(60)), Some(i128::MAX));
        for text in ["", "abc", "1.5", "1__0", "_1", "0x10"] {
            assert_eq!(python_int(text), None, "{text}");
        }
        assert_eq!(field_int("12.00"), Some(12));
    }

    proptest! {
        #[test]
        fn an_encoded_value_is_read_back(name in "[a-m]{1,5}", value in any::<String>()) {
            let query = Query { pairs: vec![(name.clone(), value.clone())] };
            let again = Query::parse(&query.sorted_with("none", None));
            prop_assert_eq!(again.get(&name), Some(value.as_str()));
        }
    }
}
