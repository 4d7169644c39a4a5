//! The end of the data that the files of a folder prove.
//!
//! A copy of a file keeps its content, not its date. The dataset's manifest knows when the crawl was created; without one, the
//! data prove nothing beyond their newest push, and the next run fetches the data from there on.

use std::fmt;
use std::fs::File;
use std::path::Path;

use serde::Deserialize;

use super::ImportError;
use super::blocks::BlockReader;
use super::report::DATA_NAME;
use crate::actor::Shutdown;
use crate::model::Timestamp;

/// Written by `reduce` beside the files that it makes.
const MANIFEST_NAME: &str = "manifest.json";

const KEY: &str = "\"push_timestamp\":";

/// Longest text of a time, bytes.
const MAX_TIME_BYTES: usize = 40;

/// The source of `data_end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndProof {
    /// The configuration, or the command line.
    Configured,
    /// The manifest in the folder.
    Manifest,
    /// The newest push of the data.
    NewestPush,
    /// Nothing: the folder has no data.
    Nothing,
}

impl fmt::Display for EndProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Configured => f.write_str("as configured"),
            Self::Manifest => write!(f, "the end of the data in its {MANIFEST_NAME}"),
            Self::NewestPush => write!(f, "the newest push in {DATA_NAME}"),
            Self::Nothing => f.write_str("now, as the folder has no data"),
        }
    }
}

/// The end of the data in `folder`, whose data file is `data`; `now` if there is no proof.
pub(super) fn proven_end(
    folder: &Path,
    data: Option<&Path>,
    now: Timestamp,
    shutdown: &Shutdown,
) -> Result<(Timestamp, EndProof), ImportError> {
    let Some(data) = data else { return Ok((now, EndProof::Nothing)) };
    if let Some(end) = end_of_manifest(&folder.join(MANIFEST_NAME)) {
        return Ok((end.min(now), EndProof::Manifest));
    }
    let newest = newest_push(data, now, shutdown)?;
    Ok(newest.map_or((now, EndProof::Nothing), |push| (push.plus_secs(1), EndProof::NewestPush)))
}

fn end_of_manifest(path: &Path) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Manifest {
        crawl: Crawl,
    }
    #[derive(Deserialize)]
    struct Crawl {
        data_end: Timestamp,
    }
    let manifest: Manifest = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    Some(manifest.crawl.data_end)
}

/// The newest `push_timestamp` in a file, whole seconds; also of torn rows, which were fetched with the others. Times after
/// `now` are errors.
fn newest_push(path: &Path, now: Timestamp, shutdown: &Shutdown) -> Result<Option<Timestamp>, ImportError> {
    let failed = |source| ImportError::Read { path: path.to_owned(), source };
    let mut blocks = BlockReader::new(File::open(path).map_err(failed)?);
    let mut newest = None;
    let mut spare = Vec::new();
    while let Some(block) = blocks.next(spare).map_err(failed)? {
        if shutdown.is_draining() {
            return Err(ImportError::Interrupted);
        }
        let text = String::from_utf8_lossy(&block.bytes);
        let pushes = text.match_indices(KEY).filter_map(|(at, _)| time_at(&text[at + KEY.len()..]));
        newest = newest.max(pushes.filter(|push| *push <= now).max());
        spare = block.bytes;
    }
    Ok(newest.map(|push| Timestamp::from_secs(push.as_secs())))
}

/// The time in the string at the beginning of `text`.
fn time_at(text: &str) -> Option<Timestamp> {
    let text = text.trim_start_matches(' ').strip_prefix('"')?;
    let len = text.bytes().take(MAX_TIME_BYTES).position(|byte| byte == b'"')?;
    text.get(..len)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::write::MANIFEST_NAME as OF_THE_DATASET;

    fn put(path: &Path, text: &str) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn the_end_is_the_manifests_or_else_that_of_the_newest_push() {
        assert_eq!(MANIFEST_NAME, OF_THE_DATASET);
        let folder = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let of = |data: Option<&Path>| proven_end(folder.path(), data, now, &Shutdown::new()).unwrap();
        assert_eq!(of(None), (now, EndProof::Nothing));
        let data = folder.path().join(DATA_NAME);
        put(&data, "{\"signature_id\": 1, \"jobs\": []}\n");
        assert_eq!(of(Some(&data)), (now, EndProof::Nothing));
        put(
            &data,
            concat!(
                "{\"signature_id\": 1, \"jobs\": [{\"push_timestamp\": \"2026-07-03T00:00:07.5\", \"a\": \"\\\"push_timestamp\\\": \"}]}\n",
                "{\"signature_id\":2,\"jobs\":[{\"push_timestamp\":\"2026-07-02T00:00:00\"},{\"push_timestamp\":\"2099-01-01T00:00:00\"}]}\n",
                "{\"signature_id\": 3, \"jobs\": [{\"push_timestamp\": null}, {\"push_timestamp\": \"soon\"}, {\"push_time",
            ),
        );
        let newest = "2026-07-03T00:00:08Z".parse().unwrap();
        assert_eq!(of(Some(&data)), (newest, EndProof::NewestPush));
        let manifest = folder.path().join(MANIFEST_NAME);
        put(&manifest, "{}");
        assert_eq!(of(Some(&data)), (newest, EndProof::NewestPush));
        put(&manifest, r#"{"format":1,"crawl":{"data_end":"2026-10-01T00:00:00Z"}}"#);
        assert_eq!(of(Some(&data)), ("2026-10-01T00:00:00Z".parse().unwrap(), EndProof::Manifest));
    }
}
