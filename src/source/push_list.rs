//! Treeherder's push list: the pushes of a time range, with the newest commits of each.
//!
//! `project/REPO/push/?push_timestamp__gte=A&push_timestamp__lt=B&count=N` lists the newest N pushes (1000 at most)
//! with A <= time < B, newest first; pushes of one second in no defined order. Of each push it holds the newest 20
//! commits and their number: no commit date, no parents.

use serde::Deserialize;

use super::error::SourceError;
use super::http::HttpServer;
use super::treeherder::ACCEPT;
use super::wire::Shape;
use crate::config::SourceConfig;
use crate::model::{CommitHash, PushId, RawJson};

/// Maximum of pushes in one reply; the server refuses a larger count.
pub(crate) const MOST_PUSHES: usize = 1000;

/// A repository's push list, asked one request at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct PushList {
    http: HttpServer,
    repository: String,
}

/// A push, as listed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "field names match the API")]
pub(crate) struct Push {
    /// Its id.
    pub(crate) id: PushId,
    /// Its head.
    pub(crate) revision: CommitHash,
    /// When it was pushed, seconds since the epoch.
    pub(crate) push_timestamp: i64,
    /// Its newest commits with their messages (a JSON string each), newest first.
    pub(crate) commits: Vec<(CommitHash, RawJson)>,
    /// How many commits it has.
    pub(crate) num_commits: u64,
}

impl PushList {
    /// Prepares a client for the push list of the repository that `source` names. Nothing is sent.
    ///
    /// # Errors
    /// [`SourceError::Connect`] when TLS or the address cannot be set up.
    pub(crate) fn new(source: &SourceConfig) -> Result<Self, SourceError> {
        let http = HttpServer::new(&source.base_url, "source.base_url", source)?;
        Ok(Self { http, repository: source.repository.clone() })
    }

    /// Asks once for the newest pushes (1000 at most) with `since <= push_timestamp < before`, seconds since the epoch.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is retried here.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub(crate) async fn between(&self, since: i64, before: i64) -> Result<Vec<Push>, SourceError> {
        let path = format!("api/project/{}/push/", self.repository);
        let query = format!("push_timestamp__gte={since}&push_timestamp__lt={before}&count={MOST_PUSHES}");
        let pushes = self.http.get_json(self.http.url(&path, &query), ACCEPT, move |text| parse(text, since, before));
        pushes.await.map_err(|error| error.about(&self.repository))
    }
}

fn parse(text: &str, since: i64, before: i64) -> Result<Vec<Push>, SourceError> {
    #[derive(Deserialize)]
    struct Page {
        results: Vec<PushView>,
    }
    #[derive(Deserialize)]
    struct PushView {
        id: PushId,
        revision: CommitHash,
        push_timestamp: i64,
        revisions: Vec<CommitView>,
        revision_count: u64,
    }
    #[derive(Deserialize)]
    struct CommitView {
        revision: CommitHash,
        comments: String,
    }
    let shape = Shape("push");
    let page: Page = shape.read(text)?;
    if page.results.len() > MOST_PUSHES {
        return Err(shape.wrong(format!("{} pushes, more than the {MOST_PUSHES} asked for", page.results.len())));
    }
    let mut pushes = Vec::with_capacity(page.results.len());
    for push in page.results {
        if !(since..before).contains(&push.push_timestamp) {
            return Err(shape.wrong(format!("push {} outside the time range asked for", push.id)));
        }
        let read = |commit: CommitView| {
            let text = serde_json::to_string(&commit.comments).and_then(|text| RawJson::parse(&text));
            Ok((commit.revision, text.map_err(|source| SourceError::BrokenJson { source })?))
        };
        pushes.push(Push {
            id: push.id,
            revision: push.revision,
            push_timestamp: push.push_timestamp,
            num_commits: push.revision_count.max(push.revisions.len() as u64),
            commits: push.revisions.into_iter().map(read).collect::<Result<_, SourceError>>()?,
        });
    }
    Ok(pushes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(push_timestamp: i64) -> String {
        let node = "ab".repeat(20);
        format!(
            r#"{{"meta":{{}},"results":[{{"id":7,"revision":"{node}","author":"a","revisions":[{{"revision":"{node}","comments":"caf\u00e9"}}],"revision_count":23,"push_timestamp":{push_timestamp},"repository_id":77}}]}}"#
        )
    }

    #[test]
    fn a_push_has_its_newest_commits_and_their_number() {
        let pushes = parse(&page(5), 5, 6).unwrap();
        assert_eq!((pushes[0].id, pushes[0].num_commits, pushes[0].commits.len()), (PushId(7), 23, 1));
        assert_eq!(pushes[0].commits[0].1.as_str(), "\"café\"");
    }

    #[test]
    fn a_push_of_another_time_and_another_shape_are_refused() {
        for (text, since, before) in
            [(page(5), 6, 9), (page(5), 1, 5), ("{}".to_owned(), 1, 9), ("[]".to_owned(), 1, 9)]
        {
            assert!(matches!(parse(&text, since, before), Err(SourceError::WrongShape { .. })), "{text}");
        }
    }
}
