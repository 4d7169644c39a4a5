//! `GET /api/project/<repository>/push/`: the pushes of a repository, newest first.

use crate::dataset::PushHead;
use crate::json_text::write_string;
use crate::moment::{self, SECOND};
use crate::query::{Query, python_int};
use crate::reply::Reply;
use crate::view::View;

use super::{bare_string, separate};

const DEFAULT_COUNT: usize = 10;
const LARGEST_COUNT: usize = 1000;

/// The bounds of a request; all inclusive.
#[derive(Default)]
struct Bounds<'a> {
    ids: Option<Vec<u64>>,
    min_id: u64,
    max_id: u64,
    min_time: i64,
    max_time: i64,
    revision: Option<&'a str>,
}

pub(super) fn answer(view: &View<'_>, repository_name: &str, query: &Query) -> Reply {
    let Some(repository) = view.repository(repository_name).map(|repository| repository.id) else {
        return Reply::detail(404, &format!("No project with name {repository_name}"));
    };
    let count = match query.get("count").map(python_int) {
        None => DEFAULT_COUNT,
        Some(None) => return Reply::detail(400, "Valid count value required"),
        Some(Some(count)) if count > LARGEST_COUNT as i128 => {
            return Reply::detail(400, &format!("Specified count exceeds api limit: {LARGEST_COUNT}"));
        }
        Some(Some(count)) => match usize::try_from(count) {
            Ok(count @ 1..) => count,
            _ => return Reply::detail(400, &format!("count requires a positive integer, not: {count}")),
        },
    };
    let bounds = match Bounds::read(query) {
        Ok(bounds) => bounds,
        Err(detail) => return Reply::detail(400, &detail),
    };

    let mut results = Vec::new();
    let mut num_results = 0;
    for (rank, head) in view.pushes(repository) {
        if num_results == count {
            break;
        }
        if bounds.contain(&head) {
            separate(&mut results, 0);
            view.write_push(repository, rank, &mut results);
            num_results += 1;
        }
    }
    let mut out = format!("{{\"meta\":{{\"count\":{num_results},\"repository\":").into_bytes();
    write_string(&mut out, repository_name);
    out.extend_from_slice(b",\"filter_params\":{");
    let start = out.len();
    for (name, value) in query.pairs() {
        separate(&mut out, start);
        write_string(&mut out, name);
        out.push(b':');
        write_string(&mut out, value);
    }
    out.extend_from_slice(b"}},\"results\":[");
    out.extend_from_slice(&results);
    out.extend_from_slice(b"]}");
    Reply::json(200, out)
}

pub(super) fn answer_detail(view: &View<'_>, repository_name: &str, id: &str) -> Reply {
    let Some(number) = python_int(id) else { return Reply::server_error() };
    let repository = view.repository(repository_name).map(|repository| repository.id);
    let found = repository.and_then(|repository| {
        let (rank, _) = view.pushes(repository).find(|(_, head)| i128::from(head.id) == number)?;
        Some((repository, rank))
    });
    // An unknown repository has no such push either.
    let Some((repository, rank)) = found else { return bare_string(404, &format!("No push with id: {id}")) };
    let mut out = Vec::new();
    view.write_push(repository, rank, &mut out);
    Reply::json(200, out)
}

impl<'a> Bounds<'a> {
    /// The server's message for the first invalid bound.
    fn read(query: &'a Query) -> Result<Self, String> {
        let mut bounds = Self { max_id: u64::MAX, min_time: i64::MIN, max_time: i64::MAX, ..Self::default() };
        for (name, value) in query.pairs() {
            let wrong = || format!("Invalid timestamp specified for {name}"); // of ids, too
            let id = || python_int(value).map(|id| u64::try_from(id.max(0)).unwrap_or(u64::MAX)).ok_or_else(wrong);
            let seconds = || seconds(value).ok_or_else(wrong);
            match name {
                "id" => bounds.ids = Some(vec![id()?]),
                "id__in" => {
                    let ids: Option<Vec<i128>> = value.split(',').map(python_int).collect();
                    let ids = ids.ok_or("Invalid id__in specification")?;
                    bounds.ids = Some(ids.into_iter().filter_map(|id| u64::try_from(id).ok()).collect());
                }
                "id__lt" => bounds.max_id = bounds.max_id.min(id()?.saturating_sub(1)),
                "id__lte" => bounds.max_id = bounds.max_id.min(id()?),
                "id__gt" => bounds.min_id = bounds.min_id.max(id()?.saturating_add(1)),
                "id__gte" => bounds.min_id = bounds.min_id.max(id()?),
                "push_timestamp__lt" => bounds.max_time = bounds.max_time.min(seconds()?.saturating_sub(1)),
                "push_timestamp__lte" | "enddate" => bounds.max_time = bounds.max_time.min(seconds()?),
                "push_timestamp__gt" => bounds.min_time = bounds.min_time.max(seconds()?.saturating_add(1)),
                "push_timestamp__gte" | "startdate" => bounds.min_time = bounds.min_time.max(seconds()?),
                "revision" => bounds.revision = Some(value),
                _ => {}
            }
        }
        Ok(bounds)
    }

    fn contain(&self, head: &PushHead<'_>) -> bool {
        (self.min_id..=self.max_id).contains(&head.id)
            && (self.min_time..=self.max_time).contains(&head.push_timestamp)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&head.id))
            && self.revision.is_none_or(|revision| head.revision.starts_with(revision))
    }
}

/// Parses a time given as seconds since the epoch or as ISO text.
fn seconds(text: &str) -> Option<i64> {
    match text.trim().parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "whole seconds are meant; `as` saturates")]
        Ok(seconds) => Some(seconds as i64),
        Err(_) => moment::parse(text).map(|micros| micros.div_euclid(SECOND)),
    }
}
