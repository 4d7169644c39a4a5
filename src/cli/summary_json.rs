//! `--json` of `run`, `refresh` and `crawl`: the closing summary for programs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::counts::CountsView;
use crate::Error;
use crate::config::Config;
use crate::dataset::{Artifact, ReduceSummary};
use crate::pipeline::CrawlSummary;
use crate::store::{CrawlIdentity, Harvest, StoreError};

#[derive(Debug, Serialize)]
struct View<'a> {
    exit_code: u8,
    interrupted: bool,
    /// Nothing is left to ask; records may have been set aside.
    complete: bool,
    store: &'a Path,
    identity: &'a CrawlIdentity,
    /// The newest harvest of the artifacts; absent if none were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    harvest: Option<&'a Harvest>,
    /// HTTP requests of this run.
    requests: u64,
    elapsed_secs: f64,
    counts: CountsView<'a>,
    set_aside: u64,
    corrected: u64,
    /// Requests whose stored answers were damaged, and which the server no longer has.
    lost: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    artifacts: Option<ArtifactsView<'a>>,
}

#[derive(Debug, Serialize)]
struct ArtifactsView<'a> {
    out: &'a Path,
    complete: bool,
    written: Vec<&'static str>,
    unchanged: Vec<&'static str>,
    /// With the defect of the input.
    not_made: BTreeMap<&'static str, &'a str>,
}

/// One object, and a line feed.
pub(super) fn summary_json(
    config: &Config,
    crawl: &CrawlSummary,
    reduction: Option<&ReduceSummary>,
    exit_code: u8,
) -> Result<String, Error> {
    let names = |artifacts: &[Artifact]| artifacts.iter().map(|artifact| artifact.file_name()).collect();
    let view = View {
        exit_code,
        interrupted: crawl.interrupted,
        complete: crawl.counts.is_complete(),
        store: &config.store.path,
        identity: &crawl.identity,
        harvest: reduction.and_then(|reduction| reduction.manifest.run.harvests.last()),
        requests: crawl.requests_made,
        elapsed_secs: crawl.elapsed.as_secs_f64(),
        counts: CountsView::of(&crawl.counts),
        set_aside: crawl.counts.set_aside(),
        corrected: crawl.counts.corrected(),
        lost: &crawl.lost,
        artifacts: reduction.map(|reduction| ArtifactsView {
            out: &config.artifacts.out,
            complete: reduction.complete,
            written: names(&reduction.written),
            unchanged: names(&reduction.unchanged),
            not_made: reduction.refused.iter().map(|(one, why)| (one.file_name(), why.as_str())).collect(),
        }),
    };
    Ok(serde_json::to_string_pretty(&view).map_err(|source| StoreError::Encode { source })? + "\n")
}
