//! Starting a simulator, and holding one.

use std::net::SocketAddr;
use std::sync::Arc;

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
use crate::script::{Script, ScriptedReply};
use crate::server::{Server, accept, date_header};

/// A simulated Treeherder.
#[derive(Clone, Copy, Debug)]
pub struct Simulator;

impl Simulator {
    /// Loads the backend and begins to serve, on the runtime that it is called on. The server ends with
    /// [`SimulatorHandle::shutdown`], or when the handle is dropped.
    ///
    /// # Errors
    /// The address is not loopback or not free, a number of the configuration makes no sense, the corpus cannot be
    /// read, or the arrival log cannot be opened.
    ///
    /// # Cancel safety
    /// Dropping the future before it is ready leaves nothing behind but, perhaps, an empty arrival log.
    pub async fn start(config: SimulatorConfig) -> Result<SimulatorHandle, SimulatorError> {
        let SimulatorConfig { bind, backend, behaviour, now, arrival_log, keep_arrivals, gzip_level } = config;
        if !bind.ip().is_loopback() {
            return Err(SimulatorError::NotLoopback { addr: bind });
        }
        behaviour.validate().map_err(|source| SimulatorError::Behaviour { source })?;
        let dataset = tokio::task::spawn_blocking(move || load(&backend))
            .await
            .map_err(|_| SimulatorError::Task { task: "loading of the backend" })??;
        let listener = TcpListener::bind(bind).await.map_err(|source| SimulatorError::Listen { addr: bind, source })?;
        let addr = listener.local_addr().map_err(|source| SimulatorError::Listen { addr: bind, source })?;
        let world = World::new(dataset, now);
        let shutdown = CancellationToken::new();
        let server = Arc::new(Server {
            date: date_header(world.now),
            world,
            fates: Fates::new(behaviour),
            script: Script::default(),
            book: ArrivalBook::open(keep_arrivals, arrival_log)?,
            gzip_level,
            shutdown: shutdown.clone(),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(accept(Arc::clone(&server), listener, tasks.clone()));
        tracing::info!(%addr, now = server.world.now, "simulated Treeherder started");
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

/// A running simulator. Dropping it stops the server without waiting.
#[derive(Debug)]
pub struct SimulatorHandle {
    addr: SocketAddr,
    server: Arc<Server>,
    tasks: TaskTracker,
    stop: DropGuard,
}

impl SimulatorHandle {
    /// The base URL, without a slash at its end: `http://127.0.0.1:40123`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The server's clock, seconds since the epoch. It stands still.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.server.world.now
    }

    /// The requests so far, in order of arrival; at most [`SimulatorConfig::keep_arrivals`].
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.server.book.arrivals()
    }

    /// How many requests had which outcome so far.
    #[must_use]
    pub fn served(&self) -> ServedCounts {
        self.server.book.served()
    }

    /// Scripts the next matching requests. Scripts are matched in the order in which they were given, before the
    /// configured behaviour, and spare a request from capacity.
    pub fn script(&self, rule: ScriptedReply) {
        self.server.script.add(rule);
    }

    /// Changes the alert summaries once `num_alert_requests` requests for them were answered with 200, counted from
    /// the start; at once if they were.
    ///
    /// # Errors
    /// The record to create is not an alert summary.
    pub fn after(&self, num_alert_requests: u64, change: AlertChange) -> Result<(), SimulatorError> {
        self.server.world.after(num_alert_requests, change)
    }

    /// Deletes a job, as its expiry does: its details are gone, and the data have no job any more.
    pub fn delete_job(&self, id: u64) {
        self.server.world.delete_job(id);
    }

    /// Stops accepting, ends the connections (within a second), flushes the arrival log.
    ///
    /// # Errors
    /// The arrival log could not be written.
    ///
    /// # Cancel safety
    /// The server stops in any case; the arrival log may miss its end.
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
