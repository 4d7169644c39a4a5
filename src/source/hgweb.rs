//! An hgweb server: a repository's log, page by page.
//!
//! `json-log/REV?revcount=N` lists N changesets from REV on, each with a lower revision number than the one before;
//! REV is a number, a hash or `tip`. (`json-log?rev=…` is hgweb's search, which has no pages.)

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::SourceError;
use super::http::HttpServer;
use super::wire::Shape;
use crate::config::SourceConfig;
use crate::model::{CommitHash, CommitRecord};

/// A repository on an hgweb server, asked one request at a time. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Hgweb {
    http: HttpServer,
}

/// A page of a repository's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HgwebPage {
    /// Changesets in the repository.
    pub(crate) num_changesets: u64,
    /// The changesets of the page, each with a lower revision number than the one before.
    pub(crate) commits: Vec<CommitRecord>,
}

impl Hgweb {
    /// Prepares a client for the repository at `url`, such as `https://hg.mozilla.org/integration/autoland`, with the
    /// User-Agent, timeouts and limits of `source`. Nothing is sent.
    ///
    /// # Errors
    /// [`SourceError::Connect`] when TLS or the address cannot be set up.
    pub(crate) fn new(url: &str, source: &SourceConfig) -> Result<Self, SourceError> {
        Ok(Self { http: HttpServer::new(url, "inputs.commits_from", source)? })
    }

    /// Asks once for `count` changesets from `revision` (a number, a hash, `tip`) on.
    ///
    /// # Errors
    /// [`SourceError`]; nothing is retried here.
    ///
    /// # Cancel safety
    /// Dropping the future abandons the request.
    pub(crate) async fn page(&self, revision: &str, count: u64) -> Result<HgwebPage, SourceError> {
        let url = self.http.url(&format!("json-log/{revision}"), &format!("revcount={count}"));
        self.http.get_json(url, "application/json", parse).await.map_err(|error| match error {
            // hgweb's own page.
            SourceError::NotJson { status: status @ 404, .. } => {
                SourceError::Status { status, retry_after: None, excerpt: String::new() }
            }
            error => error,
        })
    }
}

fn parse(text: &str) -> Result<HgwebPage, SourceError> {
    #[derive(Deserialize)]
    struct Page<'a> {
        changeset_count: u64,
        #[serde(borrow)]
        changesets: Vec<&'a RawValue>,
    }
    let shape = Shape("hgweb's json-log");
    let page: Page<'_> = shape.read(text)?;
    let commits = page.changesets.into_iter().map(|raw| {
        let mut commit: CommitRecord = shape.view(raw)?;
        if commit.parents.is_empty() {
            commit.parents.push(CommitHash::null()); // hgweb leaves it out, `hg log` does not
        }
        Ok(commit)
    });
    Ok(HgwebPage { num_changesets: page.changeset_count, commits: commits.collect::<Result<Vec<_>, SourceError>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_as_hgweb_writes_it() {
        let (node, parent) = ("61deea5bf36e0edbf479e77362114e50d0082261", "f122e34d3b4c9fdcbb8d6dc75cb8530ea795aa2a");
        let text = format!(
            "{{\n  \"node\": \"{node}\",\n  \"changeset_count\": 5,\n  \"changesets\": [{{\n\"node\": \"{node}\",\n\
             \"date\": [1782864500.0, -7200],\n\"desc\": \"Bug 5 - caf\\u00e9 \\u001b[31mred\\nsecond line\",\n\
             \"branch\": \"default\",\n\"bookmarks\": [],\n\"tags\": [\"tip\"],\n\"user\": \"Dev \\u003cd@e\\u003e\",\n\
             \"phase\": \"draft\",\n\"parents\": [\"{parent}\"]\n}}, {{\"node\": \"{parent}\", \"date\": [1, 0], \
             \"desc\": \"\", \"parents\": []}}]\n}}\n"
        );
        let page = parse(&text).unwrap();
        assert_eq!(page.num_changesets, 5);
        assert_eq!(page.commits[0].date, (1_782_864_500, -7200));
        assert_eq!(page.commits[1].parents, [CommitHash::null()]);
    }

    #[test]
    fn a_search_result_and_a_list_are_wrong_shapes_and_half_a_page_is_broken() {
        for text in [r#"{"node":"x","query":"2","entries":[]}"#, "[]", r#"{"changeset_count":1,"changesets":[{}]}"#] {
            assert!(matches!(parse(text), Err(SourceError::WrongShape { .. })), "{text}");
        }
        assert!(matches!(parse(r#"{"changeset_count":1,"#), Err(SourceError::BrokenJson { .. })));
    }
}
