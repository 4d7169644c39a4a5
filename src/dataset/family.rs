//! Defines families, and runs them.
//!
//! A family makes the artifacts of one computation. One file or folder of `families/` owns its inputs, its computation,
//! its output and its options. [`Making`] starts the families of the wanted artifacts, and the families whose values they
//! need, each on its own thread; feeds the data of one [`Pass`] to those that read data; and waits for all of them. A
//! family that only serves another one computes its value, and writes only wanted artifacts.

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

/// The maker of the artifacts of one computation.
pub(crate) trait Family: 'static {
    /// The result of the computation, for its artifacts and for other families.
    type Value: Send + Sync + 'static;

    /// The options that affect `artifact` beside its inputs and the semantics, with their values as text. The manifest lists
    /// them, and a change makes the artifact out of date.
    fn options(_artifact: Artifact, _config: &ArtifactsConfig) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Starts the threads of the family.
    ///
    /// # Errors
    /// [`DatasetError`] if a file cannot be created.
    fn start(making: &mut Making<'_, '_>) -> Result<Promised<Self::Value>, DatasetError>;
}

/// The state that all families of a reduction share.
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) identity: &'a CrawlIdentity,
    pub(crate) config: &'a Config,
    /// The commits of the window; `None` if none are configured.
    pub(crate) commits: Option<&'a Commits>,
    /// The signatures with complete data.
    pub(crate) signatures: &'a Signatures,
    pub(crate) means: Means<'a>,
    pub(crate) wanted: &'a BTreeSet<Artifact>,
    pub(crate) outputs: Mutex<Outputs>,
}

impl<'a> Context<'a> {
    pub(crate) fn wants(&self, artifact: Artifact) -> bool {
        self.wanted.contains(&artifact)
    }

    /// The commits of the window, as an input of `artifact`.
    ///
    /// # Errors
    /// [`DatasetError::NotConfigured`].
    pub(crate) fn commits_for(&self, artifact: Artifact) -> Result<&'a Commits, DatasetError> {
        self.commits.ok_or_else(|| DatasetError::not_configured(artifact, Input::Commits))
    }

    pub(crate) fn options(&self) -> &'a ArtifactsConfig {
        &self.config.artifacts
    }

    pub(crate) fn folder(&self) -> &'a Path {
        &self.config.artifacts.out
    }

    /// Creates a file of lines; `None` if the artifact is not wanted.
    pub(crate) fn line_file(&self, artifact: Artifact) -> Result<Option<LineFile>, DatasetError> {
        self.wants(artifact).then(|| LineFile::create(self.folder(), artifact)).transpose()
    }

    /// Creates a CSV file; `None` if the artifact is not wanted.
    pub(crate) fn csv_file(
        &self,
        artifact: Artifact,
        dialect: Dialect,
        header: &[&str],
    ) -> Result<Option<CsvFile>, DatasetError> {
        self.wants(artifact).then(|| CsvFile::create(self.folder(), artifact, dialect, header)).transpose()
    }

    /// Hands over a file whose rows are all written, with its counts for the manifest.
    pub(crate) fn finish(&self, written: Written, counts: &RowCounts) -> Result<(), DatasetError> {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).add(written, counts.clone())
    }

    /// Writes a whole document, if it is wanted and exists.
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
    /// [`DatasetError::Abandoned`] if the family failed.
    pub(crate) fn wait(&self) -> Result<&T, DatasetError> {
        let _closed = self.ended.recv();
        self.value.get().ok_or(DatasetError::Abandoned)
    }
}

/// The running families of a reduction.
pub(crate) struct Making<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    pub(crate) context: &'env Context<'env>,
    pass: Pass<'scope, 'env>,
    reads_data: bool,
    /// The promised value of each started family, by its type.
    started: HashMap<TypeId, Box<dyn Any>>,
    threads: Vec<ScopedJoinHandle<'scope, Result<(), DatasetError>>>,
    pass_ended: Promised<()>,
    end_pass: Promise<()>,
}

/// The other end of a [`Promised`] value.
struct Promise<T> {
    value: Arc<OnceLock<T>>,
    /// Never sends; the thread drops it at its end.
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
    /// Makes the wanted artifacts of `context` with the families that `start` starts, without publishing them.
    ///
    /// # Errors
    /// The first error of a family or of the pass.
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

    /// The value of family `F`; starts the family on first use.
    pub(crate) fn value_of<F: Family>(&mut self) -> Result<Promised<F::Value>, DatasetError> {
        if let Some(started) = self.started.get(&TypeId::of::<F>()).and_then(|any| any.downcast_ref()) {
            return Ok(Promised::clone(started));
        }
        let promised = F::start(self)?;
        self.started.insert(TypeId::of::<F>(), Box::new(promised.clone()));
        Ok(promised)
    }

    /// Starts a reducer of the pass; its thread calls `then` with the value.
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

    /// Starts a family without a reducer, in parallel with the pass.
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

    /// Fulfilled when the pass has handed on all data. A family that needs another pass waits for it, so that only one pass
    /// runs at a time.
    pub(crate) fn pass_ended(&self) -> Promised<()> {
        self.pass_ended.clone()
    }

    fn finish(self, started: Result<(), DatasetError>) -> Result<(), DatasetError> {
        let Self { context, pass, reads_data, threads, end_pass, .. } = self;
        let mut result = started;
        if result.is_ok() && reads_data {
            result = pass.run("reading the data");
        } else {
            drop(pass); // ends its reducers, if any, without their data
        }
        if result.is_ok() {
            end_pass.keep(());
            context.means.reducing.enter("computing and writing the artifacts");
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

/// The first error of the two, except that [`DatasetError::Abandoned`] yields to its cause.
fn first_reason(one: Result<(), DatasetError>, other: Result<(), DatasetError>) -> Result<(), DatasetError> {
    match (one, other) {
        (Ok(()) | Err(DatasetError::Abandoned), Err(error)) => Err(error),
        (one, _) => one,
    }
}
