//! `GET /api/project/<repository>/performance/signatures/`: the signatures of a repository, by id, in no particular order.

use std::collections::HashSet;

use crate::dataset::SignatureHead;
use crate::json_text::write_uint;
use crate::moment::{self, SECOND};
use crate::query::{Query, python_int};
use crate::reply::Reply;
use crate::view::View;

use super::separate;

/// The filters of a request, all of which must hold.
struct Filters<'a> {
    ids: Option<Vec<u64>>,
    hashes: HashSet<&'a str>,
    parents: HashSet<&'a str>,
    frameworks: HashSet<u64>,
    platform: Option<&'a str>,
    roots_only: bool,
    /// Bounds of `last_updated`, inclusive, microseconds.
    since: Option<i64>,
    until: Option<i64>,
}

pub(super) fn answer(view: &View<'_>, repository: &str, query: &Query) -> Reply {
    let Some(repository) = view.repository(repository).map(|repository| repository.id) else {
        return Reply::server_error();
    };
    let filters = match Filters::read(view, query) {
        Ok(filters) => filters,
        Err(reply) => return reply,
    };
    let mut out = Vec::from(*b"{");
    let start = out.len();
    let mut write = |rank: usize| {
        if let Some(head) = view.signature_head(repository, rank).filter(|head| filters.accept(head)) {
            separate(&mut out, start);
            out.push(b'"');
            write_uint(&mut out, head.id);
            out.extend_from_slice(b"\":");
            view.write_signature(repository, rank, &mut out);
        }
    };
    let num_signatures = view.num_signatures(repository);
    match &filters.ids {
        Some(ids) => ids.iter().filter_map(|id| view.find_signature(repository, *id)).for_each(&mut write),
        None => scattered(num_signatures).for_each(&mut write),
    }
    out.push(b'}');
    Reply::json(200, out)
}

/// Every number below `n` once, scattered: the server does not define an order.
fn scattered(n: usize) -> impl Iterator<Item = usize> {
    // A step that is prime and does not divide n visits every residue.
    let step = [7919, 104_729, 1_299_709].into_iter().find(|prime| !n.is_multiple_of(*prime)).unwrap_or(1);
    (0..n).map(move |k| (k * step + n / 3) % n)
}

impl<'a> Filters<'a> {
    fn read(view: &View<'_>, query: &'a Query) -> Result<Self, Reply> {
        let message = |text: &str| Reply::json(400, format!("{{\"message\":\"{text}\"}}"));
        let mut ids: Vec<u64> = Vec::new();
        let mut some_ids = false;
        for text in query.all("id") {
            let id = python_int(text).ok_or_else(|| message("One or more id values invalid (must be integer)"))?;
            some_ids = true;
            ids.extend(u64::try_from(id).ok());
        }
        ids.sort_unstable();
        ids.dedup();

        let mut frameworks = HashSet::new();
        for text in query.all("framework") {
            let id = python_int(text).ok_or_else(Reply::server_error)?;
            frameworks.insert(u64::try_from(id).unwrap_or(u64::MAX));
        }
        let roots_only = match query.get("subtests") {
            None => false,
            Some(text) => python_int(text).ok_or_else(Reply::server_error)? == 0,
        };

        let (start_date, end_date) = (query.non_empty("start_date"), query.non_empty("end_date"));
        let mut since = None;
        if let Some(interval) = query.non_empty("interval") {
            if start_date.is_some() || end_date.is_some() {
                return Err(message("Provide either interval only -or- start (and end) date"));
            }
            let interval = python_int(interval).ok_or_else(Reply::server_error)?;
            let start = i128::from(view.now()) - interval;
            since = Some(i64::try_from(start * i128::from(SECOND)).map_err(|_| Reply::server_error())?);
        }
        let date =
            |text: Option<&str>| text.map(|text| moment::parse(text).ok_or_else(Reply::server_error)).transpose();
        since = since.or(date(start_date)?);
        let until = date(end_date)?;

        Ok(Self {
            ids: some_ids.then_some(ids),
            hashes: query.all("signature").collect(),
            parents: query.all("parent_signature").collect(),
            frameworks,
            platform: query.non_empty("platform"),
            roots_only,
            since,
            until,
        })
    }

    fn accept(&self, head: &SignatureHead<'_>) -> bool {
        (self.frameworks.is_empty() || self.frameworks.contains(&head.framework_id))
            && (self.hashes.is_empty() || self.hashes.contains(&*head.hash))
            && (self.parents.is_empty() || head.parent_hash.as_ref().is_some_and(|hash| self.parents.contains(&**hash)))
            && self.platform.is_none_or(|platform| platform == head.platform)
            && !(self.roots_only && head.parent_id.is_some())
            && self.since.is_none_or(|since| head.last_updated >= since)
            && self.until.is_none_or(|until| head.last_updated <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scattered_order_visits_everything_once() {
        for n in [0, 1, 2, 7919, 15838, 1000] {
            let seen: HashSet<usize> = scattered(n).collect();
            assert_eq!(seen.len(), n);
        }
    }
}
