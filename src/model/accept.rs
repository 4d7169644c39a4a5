//! The acceptance test: what may be stored, so that every reducer, export and report can read what is stored.
//!
//! In: the text of one record, as a server or a file has it. Out: the same text, a corrected one, or a refusal. A correction
//! changes only what no reader of strict JSON accepts: half of a surrogate pair and invalid UTF-8 become U+FFFD, `NaN` and
//! `Infinity` become null, and of duplicate keys the last one counts, as in Python. Who stores a record keeps the original
//! text of one that was corrected or refused ([`OddRecord`]).

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use foldhash::fast::RandomState;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use thiserror::Error;

use super::{RawEntries, RawJson};

/// Deepest nesting of a record: less than `serde_json` reads (127), because replies and artifacts wrap it.
pub const MAX_RECORD_DEPTH: u8 = 120;

/// The longest record, bytes: reading one may take ten times as much memory. The largest alert summaries have a tenth of it.
pub(crate) const MAX_RECORD_BYTES: usize = 4 << 20;

/// Longest text that is kept of an odd record, bytes.
const MAX_KEPT_BYTES: usize = 64 << 10;

/// A text that may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The text.
    pub raw: RawJson,
    /// True if it differs from the text that came.
    pub corrected: bool,
}

/// A text that may not be stored.
#[derive(Debug, Error)]
pub enum Refusal {
    /// It is not JSON, also without the deviations that can be corrected.
    #[error(transparent)]
    NotJson(serde_json::Error),
    /// It is JSON, with a value that readers cannot take.
    #[error("{0}")]
    Unreadable(String),
}

/// A record that was corrected or set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OddRecord {
    /// Its id, or [`stand_in`] if it has none.
    pub record: u64,
    /// The correction, or the reason for which it was set aside.
    pub reason: String,
    /// The original text, up to 64 KiB.
    pub text: String,
    /// True if it was stored with a correction; false if it was set aside.
    pub taken: bool,
}

impl OddRecord {
    /// A record whose `text` was corrected before it was taken.
    #[must_use]
    pub fn corrected(record: u64, text: &[u8]) -> Self {
        let reason = "replaced values that are not valid JSON".to_owned();
        Self { record, reason, text: kept(text), taken: true }
    }

    /// A record that was set aside.
    #[must_use]
    pub fn set_aside(record: u64, reason: String, text: &[u8]) -> Self {
        Self { record, reason, text: kept(text), taken: false }
    }
}

fn kept(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(MAX_KEPT_BYTES)]).into_owned()
}

/// A number for a record without a usable id; it is outside the range of ids, and the same whenever the record comes.
#[must_use]
pub fn stand_in(text: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text) | 1 << 63
}

/// Decides whether the text of a record may be stored.
///
/// # Errors
/// [`Refusal`]
pub fn accept(text: &[u8]) -> Result<Accepted, Refusal> {
    if text.len() > MAX_RECORD_BYTES {
        return Err(Refusal::Unreadable("it is longer than 4 MB".to_owned()));
    }
    if let Ok(text) = std::str::from_utf8(text)
        && check(text).is_ok()
    {
        return Ok(Accepted { raw: RawJson::checked(text), corrected: false });
    }
    let (corrected, depth) = correct(&String::from_utf8_lossy(text));
    let raw: &RawValue = serde_json::from_str(&corrected).map_err(Refusal::NotJson)?;
    if depth > usize::from(MAX_RECORD_DEPTH) {
        return Err(Refusal::Unreadable(TOO_DEEP.to_owned()));
    }
    let mut text = String::with_capacity(corrected.len());
    keep_last_keys(raw, &mut text).map_err(Refusal::NotJson)?;
    match check(&text) {
        Ok(()) => Ok(Accepted { raw: RawJson::checked(&text), corrected: true }),
        Err(error) => Err(Refusal::Unreadable(error.to_string())),
    }
}

/// The integer that a JSON value is: an integer, a float with an integral value that it represents exactly, or a text of
/// one. Some tools write integers in these ways.
#[must_use]
pub fn exact_integer(raw: &str) -> Option<i64> {
    const LARGEST_EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
    let text = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(raw);
    if let Ok(integer) = serde_json::from_str(text) {
        return Some(integer);
    }
    let float: f64 = serde_json::from_str(text).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a whole number within 2^53")]
    (float.fract() == 0.0 && float.abs() <= LARGEST_EXACT).then_some(float as i64)
}

/// The id that a JSON value is: an integer from 1 to 2^63 - 1, which every format of the dataset can hold.
#[must_use]
pub fn exact_id(raw: &str) -> Option<u64> {
    exact_integer(raw).and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0)
}

/// Reads all of a text in the strict way: `serde_json` refuses what is not JSON, lone surrogates and numbers out of range.
fn check(text: &str) -> Result<(), serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    Check { depth: 0 }.deserialize(&mut json)?;
    json.end()
}

#[derive(Clone, Copy)]
struct Check {
    depth: u8,
}

impl Check {
    fn within<E: de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_RECORD_DEPTH {
            Err(de::Error::custom(TOO_DEEP))
        } else {
            Ok(Self { depth: self.depth + 1 })
        }
    }
}

const TOO_DEEP: &str = "nested deeper than 120 levels";

#[derive(Deserialize, PartialEq, Eq, Hash)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> DeserializeSeed<'de> for Check {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let within = self.within()?;
        while list.next_element_seed(within)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let within = self.within()?;
        let mut keys: HashSet<Key<'de>, RandomState> = HashSet::default();
        while let Some(key) = map.next_key::<Key<'de>>()? {
            map.next_value_seed(within)?;
            if !keys.insert(key) {
                return Err(de::Error::custom("a duplicate key"));
            }
        }
        Ok(())
    }
}

/// Replaces what Python writes and JSON does not have: `NaN` and `Infinity`, and halves of surrogate pairs. Also returns the
/// depth of the nesting. The text need not be JSON.
fn correct(text: &str) -> (String, usize) {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let (mut at, mut copied) = (0, 0);
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut in_string = false;
    while at < bytes.len() {
        let (len, replacement) = match bytes[at] {
            b'"' => {
                in_string = !in_string;
                (1, None)
            }
            b'\\' if in_string => match surrogates_at(&bytes[at..]) {
                Surrogates::None => (2, None),
                Surrogates::Pair => (12, None),
                Surrogates::Half => (6, Some("\\ufffd")),
            },
            _ if in_string => (1, None),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
                (1, None)
            }
            b']' | b'}' => {
                depth = depth.saturating_sub(1);
                (1, None)
            }
            b'N' | b'I' | b'-' => {
                let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| text[at..].starts_with(word));
                word.map_or((1, None), |word| (word.len(), Some("null")))
            }
            _ => (1, None),
        };
        if let Some(replacement) = replacement {
            out.push_str(&text[copied..at]);
            out.push_str(replacement);
            copied = at + len;
        }
        at += len;
    }
    out.push_str(&text[copied..]);
    (out, deepest)
}

enum Surrogates {
    None,
    Pair,
    Half,
}

/// The surrogates in the escape sequences at the beginning of `bytes`.
fn surrogates_at(bytes: &[u8]) -> Surrogates {
    let unit_at = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    };
    match unit_at(0) {
        Some(0xd800..=0xdbff) if matches!(unit_at(6), Some(0xdc00..=0xdfff)) => Surrogates::Pair,
        Some(0xd800..=0xdfff) => Surrogates::Half,
        _ => Surrogates::None,
    }
}

/// Appends `raw`, with the last value of each key at the place of the first one, as a Python dictionary has it. The nesting
/// must be bounded.
fn keep_last_keys(raw: &RawValue, out: &mut String) -> Result<(), serde_json::Error> {
    match raw.get().as_bytes()[0] {
        b'{' => {
            let entries: RawEntries<'_> = serde_json::from_str(raw.get())?;
            let mut places: HashMap<&str, usize, RandomState> = HashMap::default();
            let mut kept: Vec<(&str, &RawValue)> = Vec::with_capacity(entries.0.len());
            for (key, value) in &entries.0 {
                let place = *places.entry(key).or_insert(kept.len());
                if place == kept.len() {
                    kept.push((key, value));
                } else {
                    kept[place].1 = value;
                }
            }
            for (number, (key, value)) in kept.into_iter().enumerate() {
                out.push(if number == 0 { '{' } else { ',' });
                out.push_str(&serde_json::to_string(key)?);
                out.push(':');
                keep_last_keys(value, out)?;
            }
            out.push_str(if entries.0.is_empty() { "{}" } else { "}" });
        }
        b'[' => {
            let list: Vec<&RawValue> = serde_json::from_str(raw.get())?;
            for (number, value) in list.iter().enumerate() {
                out.push(if number == 0 { '[' } else { ',' });
                keep_last_keys(value, out)?;
            }
            out.push_str(if list.is_empty() { "[]" } else { "]" });
        }
        _ => out.push_str(raw.get()),
    }
    Ok(())
}
