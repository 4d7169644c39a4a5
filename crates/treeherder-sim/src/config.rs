//! What a simulator is made of. Plain data; `Default` serves the embedded corpus on a free port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::behaviour::Behaviour;
use crate::generator::GeneratorConfig;

/// How to serve a simulated Treeherder.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// Where to listen; must be loopback. Port 0 takes a free one.
    pub bind: SocketAddr,
    /// What the server knows.
    pub backend: BackendConfig,
    /// How badly it behaves; the default is a good day.
    pub behaviour: Behaviour,
    /// The server's clock, seconds since the epoch; it stands still, so that `interval` and `timerange` mean the
    /// same in every run. `None` takes the moment of the recording, or the end of the generated data.
    pub now: Option<i64>,
    /// A file to which every arrival is appended, one JSON object a line: `at_ms`, `endpoint`, `path_and_query`,
    /// `outcome`.
    pub arrival_log: Option<PathBuf>,
    /// How many arrivals are kept in memory for [`arrivals`](crate::SimulatorHandle::arrivals); later ones are only
    /// counted (and logged), so that a long rehearsal stays small.
    pub keep_arrivals: usize,
    /// Effort of gzip, 1 to 9, for clients that accept it; 0 never compresses. 1, since the server's processor time
    /// is the client's waiting time.
    pub gzip_level: u32,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            backend: BackendConfig::default(),
            behaviour: Behaviour::default(),
            now: None,
            arrival_log: None,
            keep_arrivals: 100_000,
            gzip_level: 1,
        }
    }
}

/// Where the simulated server's data come from.
#[derive(Clone, Debug, Default)]
pub enum BackendConfig {
    /// Recorded replies in a folder (or in its subfolder `api`).
    Corpus(PathBuf),
    /// The small recorded corpus that is compiled into the binary.
    #[default]
    Embedded,
    /// Computed from a seed, as large as wanted.
    Generated(GeneratorConfig),
}
