//! The data that the files of a folder prove.
//!
//! A copy of a file keeps its content, not its date. The manifest of a complete dataset knows the window of its crawl; without
//! one, the data prove nothing beyond their newest push. Later data count as not fetched, whatever the configuration says.

use std::path::Path;

use memchr::memmem;

use super::ImportError;
use super::blocks::fold_blocks;
use super::manifest::Manifest;
use super::report::EndProof;
use crate::actor::Shutdown;
use crate::config::Config;
use crate::model::{Timestamp, Window};
use crate::store::CrawlIdentity;

const KEY: &[u8] = b"\"push_timestamp\":";

/// Longest text of a time, bytes.
const MAX_TIME_BYTES: usize = 40;

/// The identity of a crawl of `config` that has fetched no more than the files in `folder` prove, and the source of its
/// `data_end`. `data` is the folder's data file.
///
/// # Errors
/// [`ImportError`] for files of another server or repository, and for a configured window that they do not prove.
pub(super) fn proven_crawl(
    folder: &Path,
    data: Option<&Path>,
    config: &Config,
    shutdown: &Shutdown,
) -> Result<(CrawlIdentity, EndProof), ImportError> {
    let manifest = Manifest::of(folder);
    if let Some(manifest) = &manifest {
        manifest.check_source(folder, config)?;
    }
    let now = Timestamp::now();
    let nothing = || (CrawlIdentity::create(config, now), EndProof::Nothing);
    let Some(data) = data else { return Ok(nothing()) };
    if let Some(manifest) = manifest
        && let Some(end) = manifest.proven_end(data, shutdown)?
    {
        let proven = Window { start: manifest.crawl.data_window().start, end };
        let mut config = config.clone();
        let data_end = config.window.data_end.unwrap_or(end);
        config.window.start.get_or_insert(manifest.crawl.window_start);
        if !manifest.crawl.window_end_moves {
            config.window.end.get_or_insert(manifest.crawl.window_end.min(data_end));
        }
        return within(&config, proven, EndProof::Manifest);
    }
    let Some(newest) = newest_push(data, now, shutdown)? else { return Ok(nothing()) };
    // Pushes have whole seconds: in the next one may be another push.
    let proven = Window { start: Timestamp::from_micros(i64::MIN), end: newest.plus_secs(1) };
    within(config, proven, EndProof::NewestPush)
}

/// The crawl of `config`, whose data must be within `proven`.
fn within(config: &Config, proven: Window, by: EndProof) -> Result<(CrawlIdentity, EndProof), ImportError> {
    let crawl = CrawlIdentity::create(config, proven.end);
    let asked = crawl.data_window();
    if asked.end > proven.end {
        return Err(ImportError::EndNotProven { asked: asked.end, proven: proven.end, by });
    }
    if asked.start < proven.start {
        return Err(ImportError::StartNotProven { asked: asked.start, proven: proven.start });
    }
    if asked.end <= crawl.window_start {
        return Err(ImportError::NoData { start: crawl.window_start, proven: proven.end, by });
    }
    let by = if asked.end < proven.end { EndProof::Configured } else { by };
    Ok((crawl, by))
}

/// The newest `push_timestamp` in a file, whole seconds; also of torn rows, which were fetched with the others. Times after
/// `now` are errors.
fn newest_push(path: &Path, now: Timestamp, shutdown: &Shutdown) -> Result<Option<Timestamp>, ImportError> {
    let key = memmem::Finder::new(KEY);
    let newest_of = |block: &[u8]| {
        let pushes = key.find_iter(block).filter_map(|at| time_at(&block[at + KEY.len()..]));
        pushes.filter(|push| *push <= now).max()
    };
    let newest = fold_blocks(path, shutdown, newest_of, Option::max)?;
    Ok(newest.map(|push| Timestamp::from_secs(push.as_secs())))
}

/// The time in the string at the beginning of `text`.
fn time_at(text: &[u8]) -> Option<Timestamp> {
    let text = text.trim_ascii_start().strip_prefix(b"\"")?;
    let len = text.iter().take(MAX_TIME_BYTES).position(|&byte| byte == b'"')?;
    std::str::from_utf8(&text[..len]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::report::{DATA_NAME, MANIFEST_NAME};
    use super::*;
    use crate::dataset::write::MANIFEST_NAME as OF_THE_DATASET;

    const ROWS: &str = concat!(
        "{\"signature_id\": 1, \"jobs\": [{\"push_timestamp\": \"2026-07-03T00:00:07.5\", \"a\": \"\\\"push_timestamp\\\": \"}]}\n",
        "{\"signature_id\":2,\"jobs\":[{\"push_timestamp\":\"2026-07-02T00:00:00\"},{\"push_timestamp\":\"2099-01-01T00:00:00\"}]}\n",
        "{\"signature_id\": 3, \"jobs\": [{\"push_timestamp\": null}, {\"push_timestamp\": \"soon\"}, {\"push_time",
    );

    fn put(path: &Path, content: impl AsRef<[u8]>) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).open(path).unwrap();
        file.write_all(content.as_ref()).unwrap();
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// A folder with a data file, and a configuration of the test.
    fn folder_of(rows: impl AsRef<[u8]>) -> (tempfile::TempDir, Config) {
        let folder = tempfile::tempdir().unwrap();
        put(&folder.path().join(DATA_NAME), rows);
        let mut config = Config::default();
        config.window.start = Some(at("2026-07-01"));
        (folder, config)
    }

    fn proven(folder: &tempfile::TempDir, config: &Config) -> Result<(CrawlIdentity, EndProof), ImportError> {
        proven_crawl(folder.path(), Some(&folder.path().join(DATA_NAME)), config, &Shutdown::new())
    }

    fn end_of(folder: &tempfile::TempDir, config: &Config) -> (Timestamp, EndProof) {
        proven(folder, config).map(|(crawl, by)| (crawl.data_end, by)).unwrap()
    }

    /// A manifest for `rows`, of a crawl of `config` until 2026-10-01.
    fn put_manifest(folder: &tempfile::TempDir, config: &Config, rows: &str, change: impl Fn(&mut serde_json::Value)) {
        use sha2::Digest as _;
        let digest = sha2::Sha256::digest(rows).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut manifest = serde_json::json!({
            "format": 1,
            "crawl": CrawlIdentity::create(config, at("2026-10-01")),
            "complete": true,
            "artifacts": {DATA_NAME: {"sha256": digest, "bytes": rows.len()}},
            "run": {"created_at": "2026-10-01T02:00:00Z"},
        });
        change(&mut manifest);
        put(&folder.path().join(MANIFEST_NAME), manifest.to_string());
    }

    #[test]
    fn without_a_manifest_the_newest_push_proves_the_end_and_without_data_nothing_does() {
        let (folder, config) = folder_of(ROWS);
        assert_eq!(end_of(&folder, &config), (at("2026-07-03T00:00:08"), EndProof::NewestPush));
        let (folder, mut config) = folder_of("{\"signature_id\": 1, \"jobs\": []}\n");
        assert_eq!(end_of(&folder, &config).1, EndProof::Nothing);
        config.window.data_end = Some(at("2026-11-01"));
        assert_eq!(end_of(&folder, &config), (at("2026-11-01"), EndProof::Nothing));
        assert_eq!(proven_crawl(folder.path(), None, &config, &Shutdown::new()).unwrap().1, EndProof::Nothing);
    }

    #[test]
    fn the_newest_push_may_be_in_any_block_beside_bytes_that_are_not_utf_8() {
        let row = |id: u32, day: u32| {
            format!("{{\"signature_id\": {id}, \"jobs\": [{{\"push_timestamp\":  \"2026-07-{day:02}T00:00:00\"}}]}}\n")
        };
        let filler = format!("{}\n", "x".repeat(1 << 19));
        for newest in 0..6 {
            let rows: String = (0..6).map(|id| row(id, if id == newest { 20 } else { 3 + id }) + &filler).collect();
            let mut rows = rows.into_bytes();
            let first = rows.iter().position(|&byte| byte == b'x').unwrap();
            rows[first] = 0xff;
            let (folder, config) = folder_of(rows);
            assert_eq!(end_of(&folder, &config).0, at("2026-07-20T00:00:01"), "{newest}");
        }
    }

    #[test]
    fn a_configured_end_may_be_earlier_than_the_proven_one_but_not_later() {
        let (folder, mut config) = folder_of(ROWS);
        let newest = at("2026-07-03T00:00:08");
        config.window.data_end = Some(newest);
        assert_eq!(end_of(&folder, &config), (newest, EndProof::NewestPush));
        config.window.data_end = Some(at("2026-07-02"));
        assert_eq!(end_of(&folder, &config), (at("2026-07-02"), EndProof::Configured));
        config.window.data_end = Some(at("2026-07-03T00:00:09"));
        let refused = proven(&folder, &config).unwrap_err();
        assert!(matches!(&refused, ImportError::EndNotProven { proven, .. } if *proven == newest), "{refused:?}");
        let said = refused.to_string();
        assert!(
            ["2026-07-03T00:00:08Z", "2026-07-03T00:00:09Z", "perfharvest refresh"]
                .iter()
                .all(|part| said.contains(part))
        );
        config.window = crate::config::WindowConfig { start: Some(at("2026-07-04")), data_end: None, ..config.window };
        assert!(matches!(proven(&folder, &config), Err(ImportError::NoData { .. })));
    }

    #[test]
    fn a_manifest_counts_if_it_is_of_a_complete_crawl_and_of_these_data() {
        assert_eq!(MANIFEST_NAME, OF_THE_DATASET);
        let (folder, config) = folder_of(ROWS);
        let newest = (at("2026-07-03T00:00:08"), EndProof::NewestPush);
        put(&folder.path().join(MANIFEST_NAME), "{}");
        assert_eq!(end_of(&folder, &config), newest);
        put_manifest(&folder, &config, ROWS, |_| {});
        assert_eq!(end_of(&folder, &config), (at("2026-10-01"), EndProof::Manifest));
        put_manifest(&folder, &config, ROWS, |manifest| manifest["run"]["created_at"] = "2026-09-30T00:00:00Z".into());
        assert_eq!(end_of(&folder, &config), (at("2026-09-30"), EndProof::Manifest));
        put_manifest(&folder, &config, ROWS, |manifest| manifest["complete"] = false.into());
        assert_eq!(end_of(&folder, &config), newest);
        put_manifest(&folder, &config, "another file", |_| {});
        assert_eq!(end_of(&folder, &config), newest);
    }

    #[test]
    fn the_window_and_the_source_are_those_of_the_manifest() {
        let (folder, mut config) = folder_of(ROWS);
        config.window.end = Some(at("2026-09-01"));
        put_manifest(&folder, &config, ROWS, |_| {});
        config.window.start = None;
        config.window.end = None;
        let (crawl, _) = proven(&folder, &config).unwrap();
        assert_eq!((crawl.window_start, crawl.window_end), (at("2026-07-01"), at("2026-09-01")));
        assert!(!crawl.window_end_moves);
        config.window.start = Some(at("2026-06-30"));
        assert!(matches!(proven(&folder, &config), Err(ImportError::StartNotProven { .. })));
        config.window.start = None;
        put_manifest(&folder, &config, ROWS, |manifest| manifest["crawl"]["window_end_moves"] = true.into());
        let (crawl, _) = proven(&folder, &config).unwrap();
        assert!(crawl.window_end_moves && crawl.window_end == at("2026-10-01"));
        config.source.repository = "mozilla-central".to_owned();
        let said = proven(&folder, &config).unwrap_err().to_string();
        assert!(said.contains("autoland from ") && said.contains("mozilla-central from "), "{said}");
    }
}
