//! The configuration of a simulator. The default serves the embedded corpus on a free port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::behaviour::Behaviour;
use crate::generator::GeneratorConfig;
use crate::history::History;

/// The configuration of a simulator. The default serves the embedded corpus on a free port, without faults.
#[derive(Clone, Debug)]
pub struct SimulatorConfig {
    /// The address to listen on, which must be a loopback address. Port 0 picks a free port.
    pub bind: SocketAddr,
    /// The data to serve.
    pub backend: BackendConfig,
    /// Latency, capacity and faults; none by default.
    pub behaviour: Behaviour,
    /// The server's clock at the start, seconds since the epoch. Later records are not there yet. It moves by
    /// [`set_now`](crate::SimulatorHandle::set_now) only, so that `interval` and `timerange` select the same data in
    /// every run. `None` is the time of the recording, or the end of the generated data.
    pub now: Option<i64>,
    /// How the data change as the clock advances.
    pub history: History,
    /// A file to which every arrival is appended, one JSON object per line: `at_ms`, `endpoint`, `path_and_query`,
    /// `outcome`. It is created if it does not exist.
    pub arrival_log: Option<PathBuf>,
    /// The number of arrivals kept in memory for [`arrivals`](crate::SimulatorHandle::arrivals). Later ones are only
    /// counted and logged, so that memory stays bounded.
    pub keep_arrivals: usize,
    /// Compression level of gzip, 1 to 9, for clients that accept it; 0 disables compression. 1 by default: a test
    /// waits for the server's CPU.
    pub gzip_level: u32,
}

impl Default for SimulatorConfig {
    fn default() -> Self {
        Self {
            bind: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            backend: BackendConfig::default(),
            behaviour: Behaviour::default(),
            now: None,
            history: History::default(),
            arrival_log: None,
            keep_arrivals: 100_000,
            gzip_level: 1,
        }
    }
}

/// The source of the data.
#[derive(Clone, Debug, Default)]
pub enum BackendConfig {
    /// Recorded replies in a folder or in its subfolder `api`. The crate's `corpus/README.md` lists the files.
    Corpus(PathBuf),
    /// The small recorded corpus in the crate.
    #[default]
    Embedded,
    /// Data of any size, computed from a seed.
    Generated(GeneratorConfig),
}
