//! The errors of starting, changing and stopping a simulator. A bad request is not one of them: it gets an answer.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A simulator could not start, change or shut down.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// The configured address is not a loopback address.
    #[error("cannot serve on {addr}: a simulator listens on a loopback address only, such as 127.0.0.1:0")]
    NotLoopback {
        /// The configured address.
        addr: SocketAddr,
    },
    /// The listening socket could not be opened.
    #[error("failed to listen on {addr}")]
    Listen {
        /// The configured address.
        addr: SocketAddr,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A file of the corpus, of the arrival log or of a dump could not be read or written.
    #[error("failed to {verb} {}", path.display())]
    File {
        /// "read", "unpack", "open", "create" or "write".
        verb: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A recording is not valid JSON, or not of its expected shape.
    #[error("invalid recording in {file}, line {line}")]
    Recording {
        /// The file's name in the corpus.
        file: String,
        /// The line's number, from 1.
        line: usize,
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A file of the corpus is missing or incomplete.
    #[error("{file} in the corpus {complaint}")]
    Corpus {
        /// The file's name in the corpus.
        file: String,
        /// A predicate, such as "is missing".
        complaint: String,
    },
    /// The record of an [`AlertChange::Create`](crate::AlertChange::Create) is not an alert summary.
    #[error("the record is not an alert summary")]
    AlertRecord {
        /// The parser's error.
        #[source]
        source: serde_json::Error,
    },
    /// A share of the [`History`](crate::History) is out of range.
    #[error("invalid {name} {share} of the simulator's history: use a number from 0 to 1")]
    Share {
        /// The field.
        name: &'static str,
        /// The invalid number.
        share: String,
    },
    /// The clock was to be moved back; times are seconds since the epoch.
    #[error("the simulator's clock is at {now} and cannot go back to {asked}: start another simulator")]
    ClockBack {
        /// The clock's time.
        now: i64,
        /// The earlier time.
        asked: i64,
    },
    /// The numbers of a [`GeneratorConfig`](crate::GeneratorConfig) contradict each other.
    #[error("invalid configuration of generated data: {complaint}")]
    Generator {
        /// The rule that the numbers break.
        complaint: &'static str,
    },
    /// A number of the [`Behaviour`](crate::Behaviour) is out of range.
    #[error("invalid behaviour of the simulator")]
    Behaviour {
        /// The number.
        #[source]
        source: BehaviourError,
    },
    /// A task of the server panicked.
    #[error("the {task} of the simulator ended unexpectedly")]
    Task {
        /// The task's name.
        task: &'static str,
    },
}

/// A latency, a fault, an endpoint or a number of a [`Behaviour`](crate::Behaviour) is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BehaviourError {
    /// The text is not a latency.
    #[error("invalid latency \"{text}\": use none, 50ms, 20ms..200ms or lognormal:80ms,0.5")]
    Latency {
        /// The invalid text.
        text: String,
    },
    /// The text is not a fault rule.
    #[error("invalid fault \"{text}\": use KIND=RATE or KIND@ENDPOINT=RATE, such as 502@summary=0.05")]
    Fault {
        /// The invalid text.
        text: String,
    },
    /// The kind of fault is not known.
    #[error(
        "unknown kind of fault \"{text}\": use one of 500 502 503 504 429 403 404 reset cut hang html broken-json wrong-shape empty-body gzip-members broken-gzip"
    )]
    FaultKind {
        /// The invalid text.
        text: String,
    },
    /// The endpoint is not known.
    #[error(
        "unknown endpoint \"{text}\": use one of framework repository signatures summary alertsummary jobs push other"
    )]
    Endpoint {
        /// The invalid text.
        text: String,
    },
    /// The rate is not between 0 and 1.
    #[error("invalid rate {rate} of a fault: use a number from 0 to 1")]
    Rate {
        /// The invalid number.
        rate: String,
    },
    /// The capacity is not a positive number.
    #[error("invalid capacity of {capacity} requests per second: use a positive number")]
    Capacity {
        /// The invalid number.
        capacity: String,
    },
}
