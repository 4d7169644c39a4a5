//! A commit of the repository: a line of `all_commits.jsonl`.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::RawJson;

/// The hash of a commit: 40 lower-case hex digits, or 64 in a git repository with SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitHash(Box<str>);

/// The text is not the hash of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{text:?} is not the hash of a commit, 40 or 64 lower-case hex digits")]
pub struct ParseCommitHashError {
    text: String,
}

impl CommitHash {
    /// 40 zeros: Mercurial's parent of a commit without parents.
    #[must_use]
    pub fn null() -> Self {
        Self("0".repeat(40).into())
    }

    /// The hex digits.
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

/// A commit, in Mercurial's JSON form; other fields are ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    /// Its own hash.
    pub node: CommitHash,
    /// Its message as a JSON string, so that texts that UTF-8 cannot hold survive as escapes.
    #[serde(deserialize_with = "read_text")]
    pub desc: RawJson,
    /// Commit time, seconds since the epoch, and time zone, seconds **west** of UTC.
    #[serde(deserialize_with = "read_date")]
    pub date: (i64, i64),
    /// One or two, [`CommitHash::null`] for no parent; empty if unknown.
    pub parents: Vec<CommitHash>,
}

impl CommitRecord {
    /// Commit time, seconds since the epoch.
    #[must_use]
    pub fn committed_secs(&self) -> i64 {
        self.date.0
    }
}

fn read_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RawJson, D::Error> {
    let raw = RawJson::deserialize(deserializer)?;
    if raw.as_str().starts_with('"') { Ok(raw) } else { Err(de::Error::custom("desc is not a string")) }
}

/// Mercurial writes whole seconds as `5` or as `5.0`, depending on the template.
fn read_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(i64, i64), D::Error> {
    /// Later than any calendar, and exact as a float.
    const MOST: f64 = 1e15;
    let (secs, zone) = <(f64, f64)>::deserialize(deserializer)?;
    if secs.abs() > MOST || zone.abs() > MOST {
        return Err(de::Error::custom("date is out of range"));
    }
    #[expect(clippy::cast_possible_truncation, reason = "both are checked to be in range")]
    Ok((secs.floor() as i64, zone.floor() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_read_with_any_other_fields() {
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
    fn invalid_commits_are_refused() {
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
