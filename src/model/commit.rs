//! A commit of the repository, as a line of `all_commits.jsonl` has it.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::RawJson;

/// The hash of a commit: 40 hex digits, or 64 of a git repository with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitHash(Box<str>);

/// The text is no hash of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is no hash of a commit")]
pub struct ParseCommitHashError {
    text: String,
}

impl CommitHash {
    /// The parent of a commit that has none, as Mercurial writes it.
    #[must_use]
    pub fn null() -> Self {
        Self("0".repeat(40).into())
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CommitHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for CommitHash {
    type Err = ParseCommitHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_hex = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if is_hex && matches!(text.len(), 40 | 64) {
            Ok(Self(text.into()))
        } else {
            Err(ParseCommitHashError { text: text.chars().take(80).collect() })
        }
    }
}

impl TryFrom<String> for CommitHash {
    type Error = ParseCommitHashError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CommitHash> for String {
    fn from(hash: CommitHash) -> Self {
        hash.0.into()
    }
}

/// A commit. Reads what Mercurial writes of one, whatever other fields there are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Its hash.
    pub node: CommitHash,
    /// Its message, as the JSON string that came: what no UTF-8 can hold survives as escapes.
    #[serde(deserialize_with = "read_text")]
    pub desc: RawJson,
    /// When it was committed, seconds since the epoch, and its zone, seconds **west** of UTC.
    #[serde(deserialize_with = "read_date")]
    pub date: (i64, i64),
    /// Its parents: one or two, the null hash where there is none; nothing where they are not known.
    pub parents: Vec<CommitHash>,
}

impl CommitRecord {
    /// When it was committed, seconds since the epoch.
    #[must_use]
    pub fn committed_secs(&self) -> i64 {
        self.date.0
    }
}

fn read_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawJson, D::Error> {
    let raw = RawJson::deserialize(deserializer)?;
    if raw.as_str().starts_with('"') { Ok(raw) } else { Err(de::Error::custom("desc is no text")) }
}

/// Mercurial writes whole seconds as `5` or as `5.0`, as the template has it.
fn read_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(i64, i64), D::Error> {
    /// Beyond every calendar, and exact in a float.
    const MOST: f64 = 1e15;
    let (secs, zone) = <(f64, f64)>::deserialize(deserializer)?;
    if secs.abs() > MOST || zone.abs() > MOST {
        return Err(de::Error::custom("date is no time"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "both are checked to be in range")]
    Ok((secs.floor() as i64, zone.floor() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_whatever_else_stands_beside_it() {
        let node = "ab".repeat(20);
        let text = format!(
            r#"{{"node":"{node}","date":[1782864500.0,-7200],"desc":"caf\u00e9 \ud800","user":"x","parents":["{node}"]}}"#
        );
        let commit: CommitRecord = serde_json::from_str(&text).unwrap();
        assert_eq!((commit.date, commit.desc.as_str()), ((1_782_864_500, -7200), r#""caf\u00e9 \ud800""#));
        let again: CommitRecord = serde_json::from_str(&serde_json::to_string(&commit).unwrap()).unwrap();
        assert_eq!(again, commit);
    }

    #[test]
    fn what_is_no_commit_is_refused() {
        let node = "ab".repeat(20);
        for (node, date, desc) in [
            ("tip", "[1,0]", "\"\""),
            (&*node.to_uppercase(), "[1,0]", "\"\""),
            (&*node, "[1]", "\"\""),
            (&*node, "[1e300,0]", "\"\""),
            (&*node, "null", "\"\""),
            (&*node, "[1,0]", "7"),
        ] {
            let text = format!(r#"{{"node":"{node}","date":{date},"desc":{desc},"parents":[]}}"#);
            assert!(serde_json::from_str::<CommitRecord>(&text).is_err(), "{text}");
        }
    }
}
