//! The predictions that divide the regressions into an evaluation and a final test: their commits bound each part.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use pytext::loads::{Document, Kind, Value};
use thiserror::Error;

use super::commit_graph::CommitGraph;
use crate::dataset::lines::{MAX_LINE_BYTES, python_strip};

/// A file of predictions that bounds nothing.
#[derive(Debug, Error)]
pub(super) enum PredictionsError {
    #[error("cannot read `{}`", .0.display())]
    Unreadable(PathBuf, #[source] std::io::Error),
    #[error("`{}` is longer than {MAX_LINE_BYTES} bytes", .0.display())]
    TooLong(PathBuf),
    #[error("`{}` is not JSON", .0.display())]
    Malformed(PathBuf),
    #[error("`{}` has no list \"samples\"; give a JSON object whose samples have a \"commit_id\"", .0.display())]
    NoSamples(PathBuf),
    #[error("no sample of `{}` has a \"commit_id\"", .0.display())]
    NoIds(PathBuf),
    #[error("inputs.commits lists no commit of `{}`, such as {id}; are both of the same repository?", path.display())]
    NoneKnown { path: PathBuf, id: String },
}

/// The commits of a file of predictions.
#[derive(Debug)]
pub(super) struct Predictions {
    path: PathBuf,
    ids: BTreeSet<String>,
    /// Samples without a usable id.
    pub(super) num_odd: u64,
}

/// The first and the last position of the commits of a file of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) first: u32,
    /// Included.
    pub(super) last: u32,
    /// Commits that the file of commits lacks.
    pub(super) num_unknown: u64,
}

impl Bounds {
    pub(super) fn contains(&self, position: u32) -> bool {
        (self.first..=self.last).contains(&position)
    }
}

impl Predictions {
    pub(super) fn read(path: &Path) -> Result<Self, PredictionsError> {
        let unreadable = |source| PredictionsError::Unreadable(path.to_owned(), source);
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_LINE_BYTES as u64 {
            return Err(PredictionsError::TooLong(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, PredictionsError> {
        let mut document = Document::default();
        let value = document.load(text).map_err(|_| PredictionsError::Malformed(path.to_owned()))?;
        let Some(Kind::Array(samples)) = value.get("samples").map(Value::kind) else {
            return Err(PredictionsError::NoSamples(path.to_owned()));
        };
        let mut predictions = Self { path: path.to_owned(), ids: BTreeSet::new(), num_odd: 0 };
        for sample in samples {
            let id = match sample.get("commit_id").map(Value::kind) {
                Some(Kind::Str(id)) => id.to_lossy().into_owned(),
                _ => String::new(),
            };
            match python_strip(&id) {
                "" => predictions.num_odd += 1,
                id => drop(predictions.ids.insert(id.to_owned())),
            }
        }
        if predictions.ids.is_empty() {
            return Err(PredictionsError::NoIds(path.to_owned()));
        }
        Ok(predictions)
    }

    pub(super) fn bounds(&self, graph: &CommitGraph) -> Result<Bounds, PredictionsError> {
        let known: Vec<u32> = self.ids.iter().filter_map(|id| graph.position(id)).collect();
        let num_unknown = (self.ids.len() - known.len()) as u64;
        let (Some(&first), Some(&last)) = (known.iter().min(), known.iter().max()) else {
            let id = self.ids.first().cloned().unwrap_or_default();
            return Err(PredictionsError::NoneKnown { path: self.path.clone(), id });
        };
        Ok(Bounds { first, last, num_unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Predictions, PredictionsError> {
        Predictions::parse(text, Path::new("p.json"))
    }

    #[test]
    fn odd_samples_are_counted_and_ids_are_trimmed() {
        let text = r#"{"samples": [{"commit_id": " a "}, "text", {}, {"commit_id": 7}, {"commit_id": ""}, {"commit_id": "a"},
            {"commit_id": "b", "x": NaN}]}"#;
        let read = parse(text).unwrap();
        assert_eq!((read.num_odd, read.ids), (4, ["a", "b"].map(str::to_owned).into()));
    }

    #[test]
    fn a_file_without_samples_or_ids_is_refused() {
        assert!(matches!(parse("{\"samples\": ["), Err(PredictionsError::Malformed(_))));
        for text in ["[]", "{}", "{\"samples\": {}}", "7"] {
            assert!(matches!(parse(text), Err(PredictionsError::NoSamples(_))), "{text}");
        }
        for text in ["{\"samples\": []}", "{\"samples\": [{\"commit_id\": null}, 7]}"] {
            assert!(matches!(parse(text), Err(PredictionsError::NoIds(_))), "{text}");
        }
        assert!(matches!(Predictions::read(Path::new("/nonexistent")), Err(PredictionsError::Unreadable(..))));
    }
}
