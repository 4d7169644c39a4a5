//! What can go wrong before and around serving. A bad request is never an error here: it is answered.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a simulator could not start, be altered or shut down cleanly.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SimulatorError {
    /// The configured address is not a loopback address.
    #[error("refusing to serve on {addr}: a simulator binds to loopback only, such as 127.0.0.1:0")]
    NotLoopback {
        /// The address asked for.
        addr: SocketAddr,
    },
    /// The listening socket could not be made.
    #[error("failed to listen on {addr}")]
    Listen {
        /// The address asked for.
        addr: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file of the corpus, of the arrival log or of a dump could not be read or written.
    #[error("failed to {verb} {}", path.display())]
    File {
        /// What was tried: "read", "open", "write".
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A recorded reply is not the JSON it should be.
    #[error("failed to read a recording in {file}, line {line}")]
    Recording {
        /// Name of the file in the corpus.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A recorded reply is JSON but lacks something.
    #[error("{file} in the corpus {complaint}")]
    Corpus {
        /// Name of the file in the corpus.
        file: String,
        /// What is wrong with it.
        complaint: String,
    },
    /// A record given to an alteration is not an alert summary.
    #[error("the record is not an alert summary")]
    AlertRecord {
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// The generated backend's numbers contradict each other.
    #[error("the generated backend cannot be made: {complaint}")]
    Generator {
        /// Which numbers, and what to do.
        complaint: &'static str,
    },
    /// The behaviour holds a number that makes no sense.
    #[error("the simulator's behaviour is not usable")]
    Behaviour {
        /// Which number.
        #[source]
        source: BehaviourError,
    },
    /// A task of the server ended in a panic.
    #[error("the {task} of the simulator ended unexpectedly")]
    Task {
        /// Which task.
        task: &'static str,
    },
}

/// A text that describes no latency, fault or endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BehaviourError {
    /// The text is not a latency.
    #[error("\"{text}\" is no latency: write none, 50ms, 20ms..200ms or lognormal:80ms,0.5")]
    Latency {
        /// The text.
        text: String,
    },
    /// The text is not a fault rule.
    #[error("\"{text}\" is no fault rule: write KIND=RATE or KIND@ENDPOINT=RATE, such as 502@summary=0.05")]
    Fault {
        /// The text.
        text: String,
    },
    /// The kind of fault is not known.
    #[error(
        "\"{text}\" is no kind of fault: one of 500 502 503 504 429 403 404 reset cut hang html broken-json wrong-shape empty-body"
    )]
    FaultKind {
        /// The text.
        text: String,
    },
    /// The endpoint is not known.
    #[error("\"{text}\" is no endpoint: one of framework repository signatures summary alertsummary jobs push other")]
    Endpoint {
        /// The text.
        text: String,
    },
    /// The rate is not between 0 and 1.
    #[error("a fault's rate is {rate}, it must lie between 0 and 1")]
    Rate {
        /// The number, as text.
        rate: String,
    },
    /// The capacity is not a positive number.
    #[error("the capacity is {capacity} requests per second, it must be a positive number")]
    Capacity {
        /// The number, as text.
        capacity: String,
    },
}
