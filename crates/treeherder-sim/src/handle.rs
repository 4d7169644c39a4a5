//! Starting, controlling and stopping a simulator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::alterations::{AlertChange, World};
use crate::arrival::{Arrival, ArrivalBook, ServedCounts};
use crate::config::{BackendConfig, SimulatorConfig};
use crate::corpus::{Corpus, CorpusFiles};
use crate::dataset::Dataset;
use crate::embedded;
use crate::error::SimulatorError;
use crate::fate::Fates;
use crate::generator::Generator;
use crate::history::seconds;
use crate::script::{Script, ScriptedReply};
use crate::server::{Server, accept};

/// Starts simulated Treeherders.
#[derive(Clone, Copy, Debug)]
pub struct Simulator;

impl Simulator {
    /// Loads the data and starts to serve on the current tokio runtime. The server stops with
    /// [`SimulatorHandle::shutdown`], or when the handle is dropped.
    ///
    /// # Errors
    /// The address is not a loopback address or not free, a number of the configuration is invalid, the corpus cannot
    /// be read, or the arrival log cannot be opened.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no server running; an empty arrival log may remain.
    pub async fn start(config: SimulatorConfig) -> Result<SimulatorHandle, SimulatorError> {
        let SimulatorConfig { bind, backend, behaviour, now, history, arrival_log, keep_arrivals, gzip_level } = config;
        if !bind.ip().is_loopback() {
            return Err(SimulatorError::NotLoopback { addr: bind });
        }
        behaviour.validate().map_err(|source| SimulatorError::Behaviour { source })?;
        history.validate()?;
        let dataset = tokio::task::spawn_blocking(move || load(&backend))
            .await
            .map_err(|_| SimulatorError::Task { task: "loading of the backend" })??;
        let listener = TcpListener::bind(bind).await.map_err(|source| SimulatorError::Listen { addr: bind, source })?;
        let addr = listener.local_addr().map_err(|source| SimulatorError::Listen { addr: bind, source })?;
        let world = World::new(dataset, history, now);
        let shutdown = CancellationToken::new();
        let server = Arc::new(Server {
            world,
            fates: Fates::new(behaviour),
            script: Script::default(),
            book: ArrivalBook::open(keep_arrivals, arrival_log)?,
            gzip_level,
            shutdown: shutdown.clone(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(Arc::clone(&server), listener, tasks.clone()));
        tracing::debug!(%addr, now = server.world.now(), "simulated Treeherder started");
        Ok(SimulatorHandle { addr, server, tasks, stop: shutdown.drop_guard() })
    }
}

fn load(backend: &BackendConfig) -> Result<Arc<dyn Dataset>, SimulatorError> {
    Ok(match backend {
        BackendConfig::Corpus(folder) => Arc::new(Corpus::read(&CorpusFiles::read(folder)?)?),
        BackendConfig::Embedded => embedded::corpus()?,
        BackendConfig::Generated(config) => Arc::new(Generator::new(config)?),
    })
}

/// A running simulator. Dropping the handle stops the server without waiting for it.
#[derive(Debug)]
pub struct SimulatorHandle {
    addr: SocketAddr,
    server: Arc<Server>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl SimulatorHandle {
    /// The base URL without a trailing slash, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// For the full record.
    pub(crate) fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server)
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server's clock, seconds since the epoch.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.server.world.now()
    }

    /// Moves the server's clock to a time, seconds since the epoch; returns its time before. A request is answered as of
    /// one time, also when the clock moves meanwhile.
    ///
    /// # Errors
    /// The clock is already past this time.
    pub fn set_now(&self, now: i64) -> Result<i64, SimulatorError> {
        self.server.world.set_now(now)
    }

    /// Moves the server's clock on by whole seconds.
    pub fn advance(&self, time: Duration) {
        self.server.world.advance(seconds(time));
    }

    /// The requests so far, in order of arrival: the first [`SimulatorConfig::keep_arrivals`].
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.server.book.arrivals()
    }

    /// The numbers of requests so far, by endpoint and outcome.
    #[must_use]
    pub fn served(&self) -> ServedCounts {
        self.server.book.served()
    }

    /// Scripts the replies to the next matching requests. Scripts apply in the order in which they were added and before
    /// the configured behaviour; a scripted request does not count against the capacity.
    pub fn script(&self, rule: ScriptedReply) {
        self.server.script.add(rule);
    }

    /// Changes the alert summaries once `num_alert_requests` requests for them have been answered with 200, counted from
    /// the start of the server; immediately if they already have.
    ///
    /// # Errors
    /// The record to create is not an alert summary.
    pub fn after(&self, num_alert_requests: u64, change: AlertChange) -> Result<(), SimulatorError> {
        self.server.world.after(num_alert_requests, change)
    }

    /// Deletes a job as its expiry does: its record is gone, and `job_id`, `submit_time` and `machine_name` of its data
    /// become null.
    pub fn delete_job(&self, id: u64) {
        self.server.world.delete_job(id);
    }

    /// Stops accepting connections, closes the open ones within a second, and flushes the arrival log.
    ///
    /// # Errors
    /// The arrival log could not be written.
    ///
    /// # Cancel safety
    /// The server stops in any case; the last lines of the arrival log may be missing.
    pub async fn shutdown(self) -> Result<ServedCounts, SimulatorError> {
        let Self { server, tasks, stop, .. } = self;
        stop.disarm().cancel();
        tasks.close();
        tasks.wait().await;
        let book = Arc::clone(&server.book);
        tokio::task::spawn_blocking(move || book.finish())
            .await
            .map_err(|_| SimulatorError::Task { task: "end of the arrival log" })??;
        Ok(server.book.served())
    }
}
