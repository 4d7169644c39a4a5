//! The recorded corpus that is compiled into the crate, compressed by `build.rs`.

use std::borrow::Cow;
use std::io::Read as _;
use std::sync::{Arc, OnceLock};

use crate::corpus::{Corpus, CorpusFiles};
use crate::error::SimulatorError;

macro_rules! recording {
    ($name:literal) => {
        ($name, include_bytes!(concat!(env!("OUT_DIR"), "/", $name, ".gz")).as_slice())
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
    let read = Arc::new(Corpus::read(&files()?)?);
    Ok(Arc::clone(CORPUS.get_or_init(|| read)))
}

fn files() -> Result<CorpusFiles<'static>, SimulatorError> {
    let mut files = CorpusFiles::default();
    for (name, packed) in [
        recording!("frameworks.json"),
        recording!("repository.json"),
        recording!("signatures_autoland.json"),
        recording!("signatures_mozilla-central.json"),
        recording!("signatures_variants.jsonl"),
        recording!("summary.jsonl"),
        recording!("variants.jsonl"),
        recording!("alertsummary_unfiltered_limit100.jsonl"),
        recording!("jobs.jsonl"),
        recording!("push.jsonl"),
    ] {
        let mut text = String::new();
        flate2::read::GzDecoder::new(packed).read_to_string(&mut text).map_err(|source| SimulatorError::File {
            verb: "unpack",
            path: name.into(),
            source,
        })?;
        files.insert(name, Cow::Owned(text));
    }
    Ok(files)
}
