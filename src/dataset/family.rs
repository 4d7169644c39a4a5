//! Defines families, and runs them.
//!
//! A family makes the artifacts of one computation. One file or folder of `families/` owns its inputs, its computation,
//! its output and its options. [`Making`] starts the families of the wanted artifacts, and the families whose values they
//! need, each on its own thread; feeds the data of one [`Pass`] to those that read data; and waits for all of them. A
//! family that only serves another one computes its value, and writes only wanted artifacts.

use std::any::{Any, TypeId};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use crate::config::{ArtifactsConfig, Config};
use crate::store::{CrawlIdentity, Store};

use super::catalogue::{Artifact, Input};
use super::commits::Commits;
use super::error::DatasetError;
use super::output::{CsvFile, LineFile, Outputs, RowCounts, Written};
use super::pass::signatures::Signatures;
use super::pass::{Means, Pass, Reducer, first_reason, spawn_in};
use super::promise::{Promise, Promised, promise};
use super::write::csv::Dialect;
use super::write::plot::Histogram;

/// The maker of the artifacts of one computation.
pub(crate) trait Family: 'static {
    /// The result of the computation, for its artifacts and for other families.
    type Value: Send + Sync + 'static;

    /// The options that affect `artifact` beside its inputs and the semantics, with their values as text. The manifest lists
    /// them, and a change makes the artifact out of date.
    fn options(_artifact: Artifact, _config: &Config, _identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
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
        let output = written.complete(counts.clone())?;
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).add(output);
        Ok(())
    }

    /// Leaves `artifact` unmade, with the defect of an input that it needs. An earlier file stays.
    pub(crate) fn refuse(&self, artifact: Artifact, reason: String) {
        self.outputs.lock().unwrap_or_else(PoisonError::into_inner).refuse(artifact, reason);
    }

    /// Writes a whole document, if it is wanted and exists.
    pub(crate) fn put(&self, artifact: Artifact, bytes: Option<&[u8]>, counts: &RowCounts) -> Result<(), DatasetError> {
        let Some(bytes) = bytes.filter(|_| self.wants(artifact)) else { return Ok(()) };
        let mut file = LineFile::create(self.folder(), artifact)?;
        file.append(bytes)?;
        self.finish(file.written_whole(), counts)
    }

    /// Writes a plot as PNG, SVG and PDF, as far as they are wanted.
    pub(crate) fn put_plots(
        &self,
        [png, svg, pdf]: [Artifact; 3],
        histogram: &Histogram,
        counts: &RowCounts,
    ) -> Result<(), DatasetError> {
        if self.wants(png) {
            self.put(png, Some(&histogram.render()?), counts)?;
        }
        if self.wants(svg) {
            self.put(svg, Some(&histogram.render_svg()?), counts)?;
        }
        if self.wants(pdf) {
            self.put(pdf, Some(&histogram.render_pdf()?), counts)?;
        }
        Ok(())
    }
}

/// The running families of a reduction.
pub(crate) struct Making<'scope, 'env> {
    scope: &'scope Scope<'scope, 'env>,
    pub(crate) context: &'env Context<'env>,
    pass: Pass<'scope, 'env>,
    /// The promised value of each started family, by its type.
    started: HashMap<TypeId, Box<dyn Any>>,
    threads: Vec<ScopedJoinHandle<'scope, Result<(), DatasetError>>>,
    pass_ended: Promised<()>,
    end_pass: Promise<()>,
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
            let mut making =
                Making { scope, context, pass, started: HashMap::new(), threads: Vec::new(), pass_ended, end_pass };
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

    /// Starts a reducer of the pass; its thread calls `then` with the value. `then` may wait for the values of other families,
    /// but for none that waits for the end of the pass.
    ///
    /// # Errors
    /// [`DatasetError::Thread`].
    pub(crate) fn reduce<R, T>(
        &mut self,
        reducer: R,
        then: impl FnOnce(R::Value, &'env Context<'env>) -> Result<T, DatasetError> + Send + 'scope,
    ) -> Result<Promised<T>, DatasetError>
    where
        R: Reducer + 'scope,
        T: Send + Sync + 'static,
    {
        let context = self.context;
        self.pass.start(reducer, move |value| then(value, context))
    }

    /// Starts a family without a reducer, in parallel with the pass.
    ///
    /// # Errors
    /// [`DatasetError::Thread`].
    pub(crate) fn spawn<T: Send + Sync + 'static>(
        &mut self,
        work: impl FnOnce(&'env Context<'env>) -> Result<T, DatasetError> + Send + 'scope,
    ) -> Result<Promised<T>, DatasetError> {
        let (promise, promised) = promise();
        let context = self.context;
        self.threads.push(spawn_in(self.scope, move || {
            promise.keep(work(context)?);
            Ok(())
        })?);
        Ok(promised)
    }

    /// Fulfilled when the pass and all its reducers have ended. A family that needs another pass waits for it, so that only
    /// one pass uses the memory for sorting at a time.
    pub(crate) fn pass_ended(&self) -> Promised<()> {
        self.pass_ended.clone()
    }

    fn finish(self, started: Result<(), DatasetError>) -> Result<(), DatasetError> {
        let Self { pass, threads, end_pass, .. } = self;
        let mut result = match started {
            Ok(()) => pass.run("reading the data"),
            Err(error) => {
                pass.abandon();
                Err(error)
            }
        };
        if result.is_ok() {
            end_pass.keep(());
        } else {
            drop(end_pass);
        }
        for thread in threads {
            result = first_reason(result, thread.join().unwrap_or(Err(DatasetError::WorkerPanicked)));
        }
        result
    }
}

#[cfg(test)]
mod tests;
