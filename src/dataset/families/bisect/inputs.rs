//! The input files of the regressions, checked before a crawl that may take days.

use crate::config::Config;
use crate::dataset::error::with_causes;

use super::commit_graph::{CommitGraph, GraphError};
use super::predictions::{Bounds, Predictions, PredictionsError};

/// The commits with their graph, and the parts of the list that the two files of predictions bound.
pub(super) struct RegressionInputs {
    pub(super) graph: CommitGraph,
    pub(super) eval: Bounds,
    pub(super) final_test: Bounds,
    /// Samples without a usable id.
    pub(super) num_odd_samples: u64,
}

/// A defect of an input file.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Predictions(#[from] PredictionsError),
}

impl RegressionInputs {
    /// Reads the files; `None` if one of them is not configured.
    pub(super) fn read(config: &Config) -> Result<Option<Self>, InputError> {
        let inputs = &config.inputs;
        let (Some(commits), Some(eval), Some(final_test)) =
            (config.commits_file(), &inputs.eval_predictions, &inputs.final_test_predictions)
        else {
            return Ok(None);
        };
        let (eval, final_test) = (Predictions::read(eval)?, Predictions::read(final_test)?);
        let graph = CommitGraph::read(&commits, config.artifacts.semantics)?;
        if let Some(line) = graph.malformed_line {
            return Err(GraphError::Malformed { path: graph.path, line }.into());
        }
        let num_odd_samples = eval.num_odd + final_test.num_odd;
        let (eval, final_test) = (eval.bounds(&graph)?, final_test.bounds(&graph)?);
        Ok(Some(Self { graph, eval, final_test, num_odd_samples }))
    }
}

/// The defect of an input file that the regressions need; `None` if they can be made, or need a file that is not configured.
/// A file of commits that a run makes itself is not there yet.
#[must_use]
pub fn check_bisect_inputs(config: &Config) -> Option<String> {
    let inputs = &config.inputs;
    let is_made = inputs.commits_from.is_some() && config.commits_file().is_some_and(|file| !file.exists());
    if !is_made {
        return RegressionInputs::read(config).err().map(|error| with_causes(&error));
    }
    let predictions = [&inputs.eval_predictions, &inputs.final_test_predictions];
    let mut read = predictions.into_iter().flatten().map(|path| Predictions::read(path));
    read.find_map(Result::err).map(|error| with_causes(&error))
}
