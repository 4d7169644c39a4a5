//! The recorded corpus that is compiled into the crate.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::corpus::{Corpus, CorpusFiles};
use crate::error::SimulatorError;

macro_rules! recording {
    ($name:literal) => {
        include_str!(concat!("../corpus/", $name))
    };
}

/// The embedded corpus, parsed once per process.
///
/// # Errors
/// A recording is invalid; a test excludes it.
pub(crate) fn corpus() -> Result<Arc<Corpus>, SimulatorError> {
    static CORPUS: OnceLock<Arc<Corpus>> = OnceLock::new();
    if let Some(corpus) = CORPUS.get() {
        return Ok(Arc::clone(corpus));
    }
    let read = Arc::new(Corpus::read(&files())?);
    Ok(Arc::clone(CORPUS.get_or_init(|| read)))
}

fn files() -> CorpusFiles<'static> {
    let mut files = CorpusFiles::default();
    for (name, text) in [
        ("frameworks.json", recording!("frameworks.json")),
        ("repository.json", recording!("repository.json")),
        ("signatures_autoland.json", recording!("signatures_autoland.json")),
        ("signatures_mozilla-central.json", recording!("signatures_mozilla-central.json")),
        ("signatures_variants.jsonl", recording!("signatures_variants.jsonl")),
        ("summary.jsonl", recording!("summary.jsonl")),
        ("variants.jsonl", recording!("variants.jsonl")),
        ("alertsummary_unfiltered_limit100.jsonl", recording!("alertsummary_unfiltered_limit100.jsonl")),
        ("jobs.jsonl", recording!("jobs.jsonl")),
        ("push.jsonl", recording!("push.jsonl")),
    ] {
        files.insert(name, Cow::Borrowed(text));
    }
    files
}
