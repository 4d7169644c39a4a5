//! Faults: their kinds, the rules that apply them, and the text form of both.

use std::fmt;
use std::str::FromStr;

use crate::arrival::Outcome;
use crate::endpoint::Endpoint;
use crate::error::BehaviourError;

/// A kind of fault. Written `500`, `502`, `503`, `504`, `429`, `403`, `404`, `reset`, `cut`, `hang`, `html`,
/// `broken-json`, `wrong-shape`, `empty-body`, `gzip-members` or `broken-gzip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// An error page or a JSON error with this status, in the form that Treeherder sends.
    Status(u16),
    /// The connection is reset before any byte.
    Reset,
    /// The connection closes in the middle of the body.
    Cut,
    /// No reply; the connection stays open.
    Hang,
    /// 200 with the HTML page that production serves for unknown paths.
    Html,
    /// 200 with truncated JSON and a matching Content-Length.
    BrokenJson,
    /// 200 with valid JSON of an unexpected shape.
    WrongShape,
    /// 200 with an empty body.
    EmptyBody,
    /// The answer, compressed in several gzip members, as some proxies send it. Not an error.
    GzipMembers,
    /// 200 with a gzip body that ends in the middle and a matching Content-Length.
    BrokenGzip,
}

impl FaultKind {
    const ALL: [Self; 16] = [
        Self::Status(500),
        Self::Status(502),
        Self::Status(503),
        Self::Status(504),
        Self::Status(429),
        Self::Status(403),
        Self::Status(404),
        Self::Reset,
        Self::Cut,
        Self::Hang,
        Self::Html,
        Self::BrokenJson,
        Self::WrongShape,
        Self::EmptyBody,
        Self::GzipMembers,
        Self::BrokenGzip,
    ];

    /// How the arrival log records a request with this fault.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Status(status) => Outcome::Status(status),
            Self::Reset => Outcome::Fault("reset"),
            Self::Cut => Outcome::Fault("cut"),
            Self::Hang => Outcome::Fault("hang"),
            Self::Html => Outcome::Fault("html"),
            Self::BrokenJson => Outcome::Fault("broken-json"),
            Self::WrongShape => Outcome::Fault("wrong-shape"),
            Self::EmptyBody => Outcome::Fault("empty-body"),
            Self::GzipMembers => Outcome::Fault("gzip-members"),
            Self::BrokenGzip => Outcome::Fault("broken-gzip"),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome().fmt(f)
    }
}

impl FromStr for FaultKind {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| BehaviourError::FaultKind { text: text.to_owned() })
    }
}

/// Makes a share of the requests fail. Written `KIND=RATE` or `KIND@ENDPOINT=RATE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaultRule {
    /// How they fail.
    pub kind: FaultKind,
    /// The affected endpoint; `None` affects all.
    pub endpoint: Option<Endpoint>,
    /// Share of the attempts that fail, 0 to 1.
    pub rate: f64,
}

impl FaultRule {
    /// Checks the rate.
    ///
    /// # Errors
    /// The rate is not between 0 and 1.
    pub(crate) fn validate(&self) -> Result<(), BehaviourError> {
        if (0.0..=1.0).contains(&self.rate) {
            Ok(())
        } else {
            Err(BehaviourError::Rate { rate: self.rate.to_string() })
        }
    }
}

impl fmt::Display for FaultRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.endpoint {
            Some(endpoint) => write!(f, "{}@{endpoint}={}", self.kind, self.rate),
            None => write!(f, "{}={}", self.kind, self.rate),
        }
    }
}

impl FromStr for FaultRule {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || BehaviourError::Fault { text: text.to_owned() };
        let (target, rate) = text.trim().split_once('=').ok_or_else(malformed)?;
        let (kind, endpoint) = match target.split_once('@') {
            Some((kind, endpoint)) => (kind, Some(endpoint.trim().parse()?)),
            None => (target, None),
        };
        let rule = Self { kind: kind.trim().parse()?, endpoint, rate: rate.trim().parse().map_err(|_| malformed())? };
        rule.validate()?;
        Ok(rule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_back_as_written() {
        for text in ["502@summary=0.05", "reset=1", "broken-json@jobs=0.5", "empty-body=0"] {
            assert_eq!(text.parse::<FaultRule>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused() {
        for text in ["502", "502=", "999=0.1", "502@nowhere=0.1", "502=1.5", "502=NaN", "cut=-0.1"] {
            assert!(text.parse::<FaultRule>().is_err(), "{text}");
        }
    }
}
