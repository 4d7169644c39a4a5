//! What a family is, and how families run.
//!
//! A family makes the artifacts that follow from one computation. It lives in one file or folder of `families/`: what it
//! reads, computes and writes, and which options it depends on. [`Making`] starts the families of the wanted artifacts, and
//! with them those whose values they need, each on a thread of its own; feeds those that read data by the one
//! [`Pass`]; and waits for all of them. A family that another one needs computes its value, and writes only what is wanted.

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use crate::config::{ArtifactsConfig, Config};
use crate::store::{CrawlIdentity, Store};

use super::catalogue::{Artifact, Input};
use super::commits::Commits;
use super::error::DatasetError;
use super::output::{CsvFile, LineFile, Outputs, RowCounts, Written};
use super::pass::signatures::Signatures;
use super::pass::{Means, Pass, Reducer};
use super::write::csv::Dialect;

/// The artifacts that follow from one computation.
pub(crate) trait Family: 'static {
    /// What it computes: for its artifacts, and for other families.
    type Value: Send + Sync + 'static;

    /// The options that shape `artifact` beside its inputs and the semantics, with their values as texts. The manifest names
    /// them, and the artifact is made anew when they change.
    fn options(_artifact: Artifact, _config: &ArtifactsConfig) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Starts its threads.
    ///
    /// # Errors
    /// [`DatasetError`] when a file cannot be created.
    fn start(making: &mut Making<'_, '_>) -> Result<Promised<Self::Value>, DatasetError>;
}

/// What all families of a reduction share.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) identity: &'a CrawlIdentity,
    pub(crate) config: &'a Config,
    /// The commits of the window; `None` when none are configured.
    pub(crate) commits: Option<&'a Commits>,
    /// The signatures whose data are all there.
    pub(crate) signatures: &'a Signatures,
    pub(crate) means: Means<'a>,
    pub(crate) wanted: &'a BTreeSet<Artifact>,
    pub(crate) outputs: Mutex<Outputs>,
}

impl<'a> Context<'a> {
    pub(crate) fn wants(&self, artifact: Artifact) -> bool {
        self.wanted.contains(&artifact)
    }

    /// The commits of the window, which `artifact` is made from.
    ///
    /// # Errors
    /// [`DatasetError::NotConfigured`].
    pub(crate) fn commits_for(&self, artifact: Artifact) -> Result<&'a Commits, DatasetError> {
        self.commits.ok_or_else(|| DatasetError::not_configured(artifact, Input::Commits))
    }

    /// The options of the artifacts.
    pub(crate) fn options(&self) -> &'a ArtifactsConfig {
        &self.config.artifacts
    }

    /// The folder of the artifacts.
    pub(crate) fn folder(&self) -> &'a Path {
        &self.config.artifacts.out
    }

    /// Begins a file of lines; `None` when the artifact is not wanted.
    pub(crate) fn line_file(&self, artifact: Artifact) -> Result<Option<LineFile>, DatasetError> {
        self.wants(artifact).then(|| LineFile::create(self.folder(), artifact)).transpose()
    }

    /// Begins a table; `None` when the artifact is not wanted.
    pub(crate) fn csv_file(
        &self,
        artifact: Artifact,
        dialect: Dialect,
        header: &[&str],
    ) -> Result<Option<CsvFile>, DatasetError> {
        self.wants(artifact).then(|| CsvFile::create(self.folder(), artifact, dialect, header)).transpose()
    }

    /// Takes in a file whose rows are all written, with what the manifest says of its rows.
    pub(crate) fn finish(&self, written: Written, counts: &RowCounts) -> Result<(), DatasetError> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).add(written, counts.clone())
    }

    /// Writes a small artifact at once, if it is wanted and there is something to write.
    pub(crate) fn put(&self, artifact: Artifact, bytes: Option<&[u8]>, counts: &RowCounts) -> Result<(), DatasetError> {
        let Some(bytes) = bytes.filter(|_| self.wants(artifact)) else { return Ok(()) };
        let mut file = LineFile::create(self.folder(), artifact)?;
        file.append(bytes)?;
        self.finish(file.written_whole(), counts)
    }
}

/// A value that a family computes on its own thread.
#[derive(Debug)]
pub(crate) struct Promised<T> {
    value: Arc<OnceLock<T>>,
    /// Closed when the family's thread ends, with or without a value.
    ended: flume::Receiver<()>,
}

impl<T> Clone for Promised<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), ended: self.ended.clone() }
    }
}

impl<T> Promised<T> {
    /// Waits for the value.
    ///
    /// # Errors
    /// [`DatasetError::Abandoned`] when the family failed.
    pub(crate) fn wait(&self) -> Result<&T, DatasetError> {
        let _closed = self.ended.recv();
        self.value.get().ok_or(DatasetError::Abandoned)
    }
}

/// Families at work.
pub(crate) struct Making<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    pub(crate) context: &'env Context<'env>,
    pass: Pass<'scope, 'env>,
    reads_data: bool,
    /// The promised value of each family that was started, by its type.
    started: HashMap<TypeId, Box<dyn Any>>,
    threads: Vec<ScopedJoinHandle<'scope, Result<(), DatasetError>>>,
    pass_ended: Promised<()>,
    end_pass: Promise<()>,
}

/// The other end of a [`Promised`] value.
struct Promise<T> {
    value: Arc<OnceLock<T>>,
    /// Dropped at the end of the thread; nothing is ever sent.
    _ended: flume::Sender<()>,
}

fn promise<T>() -> (Promise<T>, Promised<T>) {
    let value = Arc::new(OnceLock::new());
    let (sender, ended) = flume::bounded(1);
    (Promise { value: Arc::clone(&value), _ended: sender }, Promised { value, ended })
}

impl<T> Promise<T> {
    fn keep(self, value: T) {
        let _first = self.value.set(value);
    }
}

impl<'scope, 'env> Making<'scope, 'env> {
    /// Makes the wanted artifacts of `context` by the families that `start` starts; nothing appears yet.
    ///
    /// # Errors
    /// The first that a family, or the pass, meets.
    pub(crate) fn make(
        context: &Context<'_>,
        start: impl Fn(Artifact, &mut Making<'_, '_>) -> Result<(), DatasetError>,
    ) -> Result<(), DatasetError> {
        std::thread::scope(|scope| {
            let pass = Pass::new(scope, context.store, context.signatures, context.means);
            let (end_pass, pass_ended) = promise();
            let mut making = Making {
                scope,
                context,
                pass,
                reads_data: false,
                started: HashMap::new(),
                threads: Vec::new(),
                pass_ended,
                end_pass,
            };
            let started = context.wanted.iter().try_for_each(|artifact| start(*artifact, &mut making));
            making.finish(started)
        })
    }

    /// The value of family `F`, which is started unless it was before.
    pub(crate) fn value_of<F: Family>(&mut self) -> Result<Promised<F::Value>, DatasetError> {
        if let Some(started) = self.started.get(&TypeId::of::<F>()).and_then(|any| any.downcast_ref()) {
            return Ok(Promised::clone(started));
        }
        let promised = F::start(self)?;
        self.started.insert(TypeId::of::<F>(), Box::new(promised.clone()));
        Ok(promised)
    }

    /// Starts a reducer of the pass, and `then` with its value on the reducer's thread.
    pub(crate) fn reduce<R, T>(
        &mut self,
        reducer: R,
        then: impl FnOnce(R::Value, &'env Context<'env>) -> Result<T, DatasetError> + Send + 'scope,
    ) -> Promised<T>
    where
        R: Reducer + 'scope,
        T: Send + Sync + 'static,
    {
        let (promise, promised) = promise();
        let context = self.context;
        self.reads_data = true;
        let thread = self.pass.start(reducer, move |value| {
            context.means.check_interrupted()?;
            promise.keep(then(value, context)?);
            Ok(())
        });
        self.threads.push(thread);
        promised
    }

    /// Starts a family that reads no data, beside the pass.
    pub(crate) fn spawn<T: Send + Sync + 'static>(
        &mut self,
        work: impl FnOnce(&'env Context<'env>) -> Result<T, DatasetError> + Send + 'scope,
    ) -> Promised<T> {
        let (promise, promised) = promise();
        let context = self.context;
        self.threads.push(self.scope.spawn(move || {
            promise.keep(work(context)?);
            Ok(())
        }));
        promised
    }

    /// Fulfilled when the pass has handed on all data: for a family that needs another pass, so that only one runs at a
    /// time.
    pub(crate) fn pass_ended(&self) -> Promised<()> {
        self.pass_ended.clone()
    }

    fn finish(self, started: Result<(), DatasetError>) -> Result<(), DatasetError> {
        let Self { context, pass, reads_data, threads, end_pass, .. } = self;
        let mut result = started;
        if result.is_ok() && reads_data {
            result = pass.run("reading the data");
        } else {
            drop(pass); // its reducers, if any, end without their data
        }
        if result.is_ok() {
            end_pass.keep(());
            context.means.reducing.enter("computing, and writing the artifacts");
        } else {
            drop(end_pass);
        }
        for thread in threads {
            let ended = thread.join().unwrap_or(Err(DatasetError::WorkerPanicked));
            result = first_reason(result, ended);
        }
        result
    }
}

/// The first error of the two; one that only says that something else failed gives way to the reason.
fn first_reason(one: Result<(), DatasetError>, other: Result<(), DatasetError>) -> Result<(), DatasetError> {
    match (one, other) {
        (Ok(()) | Err(DatasetError::Abandoned), Err(error)) => Err(error),
        (one, _) => one,
    }
}
