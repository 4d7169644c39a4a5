//! How much disk space a crawl will take: `plan` ends with it.

use serde::Serialize;

use crate::model::Kind;
use crate::observe::human_bytes;
use crate::store::Tally;

/// JSON of a signature's data, bytes, as long as no answer is known: a datum a day for 120 days, 258 bytes each.
const SUMMARY_BYTES: u64 = 31_000;
/// JSON of a job's details, bytes: the mean of recorded answers.
const JOB_BYTES: u64 = 1_400;
/// The JSON of a crawl is that many times as large as its store once it is compacted (`docs/performance.md`).
const JSON_PER_STORE: u64 = 15;

/// Disk space at the end, of all that is stored and all that is still to fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Sizes {
    pub(super) store_bytes: u64,
    /// Most of it is `perf_jobs_by_signature.jsonl`, which holds every datum.
    pub(super) artifact_bytes: u64,
    /// No answer tells yet how many data the signatures have.
    pub(super) is_guess: bool,
}

/// `summaries` and `jobs` are the numbers still to fetch; `expected` the bytes of both, where answers tell.
pub(super) fn sizes(counts: &Tally, summaries: u64, jobs: u64, expected: [Option<u64>; 2]) -> Sizes {
    let [data, details] = expected;
    let data = counts.of(Kind::Summaries).body_bytes + data.unwrap_or(summaries * SUMMARY_BYTES);
    let details = counts.of(Kind::JobDetails).body_bytes + details.unwrap_or(jobs * JOB_BYTES);
    let lists: u64 = [Kind::Alerts, Kind::Signatures].iter().map(|kind| counts.of(*kind).body_bytes).sum();
    Sizes {
        store_bytes: (data + details + lists) / JSON_PER_STORE,
        artifact_bytes: data + details + lists,
        is_guess: expected[0].is_none() && summaries > 0,
    }
}

/// The line for people.
pub(super) fn size_line(sizes: &Sizes) -> String {
    format!(
        "disk space at the end: about {} for the store, {} for the artifacts{}\n",
        human_bytes(sizes.store_bytes),
        human_bytes(sizes.artifact_bytes),
        if sizes.is_guess { " (if a signature has 120 data; the first answers will tell)" } else { "" },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_from_the_answers_or_from_a_typical_signature() {
        let autoland = sizes(&Tally::default(), 31_547, 3 * 31_547, [None, None]);
        assert_eq!(
            size_line(&autoland).split(" (if").next().unwrap(),
            "disk space at the end: about 74.0 MB for the store, 1.1 GB for the artifacts"
        );
        assert!(autoland.is_guess);
        let known = sizes(&Tally::default(), 10, 30, [Some(15_000), Some(0)]);
        assert_eq!(known, Sizes { store_bytes: 1_000, artifact_bytes: 15_000, is_guess: false });
    }
}
