//! The endpoints, as observed on Treeherder: pure functions from a request and a [`View`] to a [`Reply`], one file each.
//!
//! An invalid request gets the answer that Treeherder gives, including its unhandled errors.

mod alert_summaries;
mod jobs;
mod pushes;
mod reference;
mod signatures;
mod summary;

use super::endpoint::Route;
use super::json_text::write_string;
use super::query::Query;
use super::reply::{Content, Reply};
use super::view::View;

/// The maximal length of a request line, bytes: gunicorn's default.
pub(super) const LONGEST_REQUEST_LINE: usize = 4094;

/// The parts of a request that an answer depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// The query as sent, without `?`.
    pub(super) query: &'a str,
    pub(super) host: &'a str,
    pub(super) user_agent: Option<&'a str>,
    pub(super) accept: Option<&'a str>,
}

/// Answers a request, without faults.
pub(super) fn answer(view: &View<'_>, asked: &Asked<'_>) -> Reply {
    if asked.user_agent.is_some_and(is_blocked) {
        return Reply::forbidden();
    }
    let line = asked.method.len() + asked.path.len() + asked.query.len() + " ? HTTP/1.1".len()
        - usize::from(asked.query.is_empty());
    if line > LONGEST_REQUEST_LINE {
        return Reply::line_too_long(line, LONGEST_REQUEST_LINE);
    }
    let route = Route::of(asked.path);
    if route == Route::Unknown {
        return Reply::index_page();
    }
    let reply = negotiate(asked).err().unwrap_or_else(|| {
        let query = Query::parse(asked.query);
        match route {
            Route::Framework => Reply::json(200, view.frameworks()),
            Route::Repository => list_repositories(view),
            Route::Signatures { repository } => signatures::answer(view, repository, &query),
            Route::Summary => summary::answer(view, &query),
            Route::AlertSummary => alert_summaries::answer(view, asked, &query),
            Route::AlertSummaryDetail { id } => alert_summaries::answer_detail(view, id),
            Route::OptionCollections => reference::option_collections(view),
            Route::PerformanceTags => reference::performance_tags(view),
            Route::MachinePlatforms => reference::machine_platforms(view),
            Route::Jobs { repository } => jobs::answer(view, repository, &query),
            Route::JobDetail { repository, id } => jobs::answer_detail(view, repository, id),
            Route::Push { repository } => pushes::answer(view, repository, &query),
            Route::PushDetail { repository, id } => pushes::answer_detail(view, repository, id),
            Route::Unknown => Reply::index_page(),
        }
    });
    match route {
        Route::AlertSummary => reply.allowing(Content::JsonWithPost),
        Route::AlertSummaryDetail { .. } => reply.allowing(Content::JsonWithPut),
        _ => reply,
    }
}

fn is_blocked(user_agent: &str) -> bool {
    ["python-requests/", "Python-urllib/", "libcurl/", "Go-http-client/", "Go 1.1 package http"]
        .iter()
        .any(|prefix| user_agent.starts_with(prefix))
}

/// Checks the method and the Accept header.
fn negotiate(asked: &Asked<'_>) -> Result<(), Reply> {
    if !matches!(asked.method, "GET" | "HEAD") {
        return Err(Reply::detail(405, &format!("Method \"{}\" not allowed.", asked.method)));
    }
    let mut is_acceptable = false;
    for media_range in asked.accept.unwrap_or("*/*").split(',') {
        let mut parts = media_range.split(';').map(str::trim);
        let acceptable = matches!(parts.next(), Some("application/json" | "application/*" | "*/*"));
        let version = parts.find_map(|parameter| parameter.strip_prefix("version="));
        if acceptable && version.is_some_and(|version| !matches!(version.trim_matches('"'), "1.0" | "1.1")) {
            return Err(Reply::detail(406, "Invalid version in \"Accept\" header."));
        }
        is_acceptable |= acceptable;
    }
    if is_acceptable { Ok(()) } else { Err(Reply::detail(406, "Could not satisfy the request Accept header.")) }
}

fn list_repositories(view: &View<'_>) -> Reply {
    let texts: Vec<&str> = view.repositories().iter().map(|repository| repository.text.as_str()).collect();
    Reply::json(200, format!("[{}]", texts.join(",")))
}

/// A JSON string without an object around it, as some errors are.
fn bare_string(status: u16, text: &str) -> Reply {
    let mut body = Vec::new();
    write_string(&mut body, text);
    Reply::json(status, body)
}

/// Adds a comma before every element except the first of a list that begins at `start`.
fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b',');
    }
}
