//! The identity of a crawl: its server, repository and time. Fixed when the store is created.
//!
//! Settings that the configuration leaves open (above all `data_end`) are decided once, so that a resumed crawl asks for the
//! same ranges as on its first day.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::config::{Config, JOB_LIFE_DAYS, Scope, duration_text};
use crate::model::{SignatureId, Timestamp, Window};

/// The identity of a crawl, pinned in its store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrawlIdentity {
    /// Root of the server, without `/api`, and without the login that a store of an earlier version may hold.
    #[serde(deserialize_with = "without_login")]
    pub base_url: String,
    /// Name, such as `autoland`.
    pub repository: String,
    /// Only alert summaries of this repository are fetched; those of all repositories when `None`.
    pub alerts_repository_id: Option<u64>,
    /// First commit date of the revision table.
    pub window_start: Timestamp,
    /// Last commit date of the revision table, included.
    pub window_end: Timestamp,
    /// Seconds before `window_start` from which data are fetched.
    pub lookback_secs: u64,
    /// True if `window_end` was left open, so that it moves with `data_end`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub window_end_moves: bool,
    /// Only data with a push time before this are fetched: that of the newest harvest.
    pub data_end: Timestamp,
    /// The `data_end` of the first harvest; `None` while there is no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_data_end: Option<Timestamp>,
    /// Seconds before the `data_end` of the first harvest from which alert summaries are fetched.
    pub alerts_lookback_secs: u64,
    /// The signatures whose data are fetched.
    #[serde(default, skip_serializing_if = "Scope::is_all")]
    pub scope: Scope,
    /// Number of signatures of a sampled crawl; all of the scope when `None`.
    pub sample_signatures: Option<u32>,
    /// Seed of the sample; 0 without a sample.
    pub sample_seed: u64,
}

impl CrawlIdentity {
    /// The identity of a crawl of all signatures that is created at `now`. The caller sets the scope, which may be in a file.
    #[must_use]
    pub fn create(config: &Config, now: Timestamp) -> Self {
        let data_end = config.window.data_end.unwrap_or(now);
        let start = config.window.start.unwrap_or_else(|| data_end.plus_secs(-JOB_LIFE_DAYS * 86_400).midnight());
        Self {
            base_url: config.source.base_url.trim_end_matches('/').to_owned(),
            repository: config.source.repository.clone(),
            alerts_repository_id: config.source.alerts_repository_id,
            window_start: start,
            window_end: config.window.end.unwrap_or(data_end),
            window_end_moves: config.window.end.is_none(),
            lookback_secs: config.window.lookback.as_secs(),
            data_end,
            first_data_end: None,
            alerts_lookback_secs: config.window.alerts_lookback.as_secs(),
            scope: Scope::default(),
            sample_signatures: config.sample.signatures.map(Into::into),
            sample_seed: if config.sample.signatures.is_some() { config.sample.seed } else { 0 },
        }
    }

    /// The window in which data are fetched, without its end.
    #[must_use]
    pub fn data_window(&self) -> Window {
        let lookback = i64::try_from(self.lookback_secs).unwrap_or(i64::MAX);
        Window { start: self.window_start.plus_secs(lookback.saturating_neg()), end: self.data_end }
    }

    /// Alert summaries of pushes at or after this belong to the dataset.
    #[must_use]
    pub fn alerts_since(&self) -> Timestamp {
        let lookback = i64::try_from(self.alerts_lookback_secs).unwrap_or(i64::MAX);
        self.first_data_end.unwrap_or(self.data_end).plus_secs(lookback.saturating_neg())
    }

    /// The identity of a later harvest, up to `data_end`.
    pub(crate) fn extended_to(self, data_end: Timestamp) -> Self {
        Self {
            window_end: if self.window_end_moves { data_end } else { self.window_end },
            first_data_end: self.first_data_end.or(Some(self.data_end)),
            data_end,
            ..self
        }
    }

    /// True for an alert summary of a push at `pushed`. One without a readable time belongs to the dataset too.
    #[must_use]
    pub fn has_alert_of(&self, pushed: Option<Timestamp>) -> bool {
        pushed.is_none_or(|at| at >= self.alerts_since() && at <= self.data_end)
    }

    /// The crawl's sample of `ids`, ascending; all of them without a sample.
    #[must_use]
    pub fn sample_of(&self, mut ids: Vec<SignatureId>) -> Vec<SignatureId> {
        if let Some(size) = self.sample_signatures {
            ids.sort_by_cached_key(|id| (xxh3_64_with_seed(&id.0.to_be_bytes(), self.sample_seed), *id));
            ids.truncate(size as usize);
            ids.sort_unstable();
        }
        ids
    }

    /// The keys in which `config` describes another crawl: `(key, stored, asked)`. A key that `config` leaves open is never
    /// different. With `same_source`, neither is the address of the server.
    #[must_use]
    pub fn differences(&self, config: &Config, same_source: bool) -> Vec<(&'static str, String, String)> {
        let asked = Self::create(config, self.data_end);
        let length = |secs: u64| duration_text(Duration::from_secs(secs));
        let show = |sample: Option<u32>| sample.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let id = |repository: Option<u64>| repository.map_or_else(|| "all".to_owned(), |n| n.to_string());
        let mut rows: Vec<(&'static str, String, String)> = vec![
            ("source.repository", self.repository.clone(), asked.repository),
            ("source.alerts_repository_id", id(self.alerts_repository_id), id(asked.alerts_repository_id)),
            ("window.lookback", length(self.lookback_secs), length(asked.lookback_secs)),
            ("window.alerts_lookback", length(self.alerts_lookback_secs), length(asked.alerts_lookback_secs)),
            ("sample.signatures", show(self.sample_signatures), show(asked.sample_signatures)),
            ("sample.seed", self.sample_seed.to_string(), asked.sample_seed.to_string()),
        ];
        if !same_source {
            rows.push(("source.base_url", self.base_url.clone(), asked.base_url));
        }
        rows.retain(|(_, stored, asked)| stored != asked);
        rows.extend(self.window_differences(config));
        rows
    }

    /// As [`CrawlIdentity::differences`], of the window alone; what `config` leaves open is not compared.
    #[must_use]
    pub fn window_differences(&self, config: &Config) -> Vec<(&'static str, String, String)> {
        let rows = [
            ("window.start", self.window_start, config.window.start),
            ("window.end", self.window_end, config.window.end),
            ("window.data_end", self.data_end, config.window.data_end),
        ];
        let differs = |(key, stored, given): (_, Timestamp, Option<Timestamp>)| {
            let given = given.filter(|given| *given != stored)?;
            Some((key, stored.to_string(), given.to_string()))
        };
        rows.into_iter().filter_map(differs).collect()
    }
}

/// Leaves out the user, password, query and fragment of an address, which may be secrets.
fn without_login<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let mut address = String::deserialize(deserializer)?;
    address.truncate(address.find(['?', '#']).unwrap_or(address.len()));
    let host = address.find("://").map_or(0, |at| at + 3);
    let path = address[host..].find('/').map_or(address.len(), |at| host + at);
    if let Some(at) = address[host..path].rfind('@') {
        address.replace_range(host..=host + at, "");
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_open_is_pinned_when_the_crawl_is_created() {
        let now: Timestamp = "2026-11-22T08:03:00".parse().unwrap();
        let identity = CrawlIdentity::create(&Config::default(), now);
        assert_eq!(identity.data_end, now);
        assert_eq!(identity.window_start.to_string(), "2026-07-25T00:00:00Z");
        assert_eq!(identity.data_window().start.to_string(), "2026-07-23T00:00:00Z");
        assert!(identity.differences(&Config::default(), false).is_empty());
    }

    #[test]
    fn another_repository_window_or_address_is_another_crawl() {
        let identity = CrawlIdentity::create(&Config::default(), Timestamp::from_secs(1_790_000_000));
        let mut config = Config::default();
        config.source.repository = "mozilla-central".to_owned();
        config.source.base_url = "http://127.0.0.1:9".to_owned();
        config.window.end = Some(Timestamp::from_secs(5));
        let keys = |same| identity.differences(&config, same).into_iter().map(|row| row.0).collect::<Vec<_>>();
        assert_eq!(keys(false), ["source.repository", "source.base_url", "window.end"]);
        assert_eq!(keys(true), ["source.repository", "window.end"]);
    }

    #[test]
    fn a_login_in_a_stored_address_is_left_out() {
        let identity = CrawlIdentity::create(&Config::default(), Timestamp::from_secs(1_790_000_000));
        for (stored, kept) in [
            ("https://user:s3cret@a.example/th", "https://a.example/th"),
            ("https://s3cret@a.example", "https://a.example"),
            ("https://us@er:s3cret@a.example:8080/@x", "https://a.example:8080/@x"),
            ("https://a.example/?key=s3cret", "https://a.example/"),
            ("https://treeherder.mozilla.org", "https://treeherder.mozilla.org"),
        ] {
            let stored = CrawlIdentity { base_url: stored.to_owned(), ..identity.clone() };
            let read: CrawlIdentity = serde_json::from_slice(&serde_json::to_vec(&stored).unwrap()).unwrap();
            assert_eq!(read.base_url, kept);
        }
    }
}
