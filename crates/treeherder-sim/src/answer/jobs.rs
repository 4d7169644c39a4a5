//! `GET /api/project/<repository>/jobs/`, which ignores invalid filters and returns jobs in no particular order.

use crate::draw::mix;
use crate::json_text::{OrderedObject, write_string};
use crate::moment;
use crate::query::{Query, python_int};
use crate::reply::Reply;
use crate::view::View;

use super::{bare_string, separate};

const DEFAULT_COUNT: i128 = 10;
const LARGEST_COUNT: i128 = 2000;

pub(super) fn answer(view: &View<'_>, repository_name: &str, query: &Query) -> Reply {
    let bad_date = query
        .pairs()
        .filter(|(name, _)| name.starts_with("last_modified"))
        .find(|(_, value)| moment::parse(value).is_none());
    if let Some((_, value)) = bad_date {
        return bare_string(400, &format!("Invalid date value for `last_modified`: {value}"));
    }
    let number = |name: &str, default: i128| query.get(name).map_or(Some(default), python_int);
    let (Some(offset), Some(count)) = (number("offset", 0), number("count", DEFAULT_COUNT)) else {
        return bare_string(400, "Invalid value for offset or count");
    };
    if count > LARGEST_COUNT {
        return Reply::detail(400, &format!("Specified count exceeds API MAX_JOBS_COUNT value: {LARGEST_COUNT}"));
    }
    let Some(repository) = view.repository(repository_name).map(|repository| repository.id) else {
        return Reply::detail(404, &format!("No project with name {repository_name}"));
    };
    let (Ok(skip), Ok(take)) = (usize::try_from(offset), usize::try_from(count)) else {
        return Reply::server_error();
    };

    let mut results = vec![b'['];
    write_jobs(view, repository, query, skip, take, &mut results);
    results.push(b']');
    // Any other type but "dict" gives lists, too; only "list" gives their names.
    let return_type = query.get("return_type").unwrap_or("dict").to_lowercase();
    if return_type != "dict" {
        results = as_lists(&results);
    }
    let mut out = Vec::from(*b"{\"results\":");
    out.append(&mut results);
    if return_type == "list" {
        out.extend_from_slice(b",\"job_property_names\":");
        out.extend_from_slice(&property_names(view, repository));
    }
    out.extend_from_slice(b",\"meta\":{\"repository\":");
    write_string(&mut out, repository_name);
    out.extend_from_slice(format!(",\"offset\":{offset},\"count\":{count}}}}}").as_bytes());
    Reply::json(200, out)
}

pub(super) fn answer_detail(view: &View<'_>, repository_name: &str, id: &str) -> Reply {
    let Some(id) = python_int(id) else { return Reply::server_error() };
    let Some(repository) = view.repository(repository_name).map(|repository| repository.id) else {
        return Reply::detail(404, &format!("No project with name {repository_name}"));
    };
    let mut out = Vec::new();
    match u64::try_from(id) {
        Ok(id) if !view.alterations().is_deleted(id) && view.write_job(repository, id, &mut out) => {
            Reply::json(200, out)
        }
        _ => bare_string(404, &format!("No job with id: {id}")),
    }
}

fn write_jobs(view: &View<'_>, repository: u64, query: &Query, skip: usize, take: usize, out: &mut Vec<u8>) {
    let start = out.len();
    let alterations = view.alterations();
    let pushes = read_ids(query, "push_id").or_else(|| read_ids(query, "result_set_id"));
    let pushes = pushes.or_else(|| read_id_list(query, "push_id__in"));
    let mut wanted = read_ids(query, "id");
    if let Some(listed) = read_id_list(query, "id__in") {
        wanted = Some(match wanted {
            Some(ids) => ids.into_iter().filter(|id| listed.contains(id)).collect(),
            None => listed,
        });
    }
    let (ids, skip) = match wanted {
        Some(mut ids) => {
            ids.sort_unstable();
            ids.dedup();
            // The server sorts neither by id nor in the order of the request.
            ids.sort_by_key(|id| mix(*id));
            if let Some(pushes) = &pushes {
                let of_pushes = view.job_ids(repository, Some(pushes), 0, usize::MAX);
                ids.retain(|id| of_pushes.binary_search(id).is_ok());
            }
            (ids, skip)
        }
        None if alterations.has_deleted_jobs() => (view.job_ids(repository, pushes.as_deref(), 0, usize::MAX), skip),
        None => (view.job_ids(repository, pushes.as_deref(), skip, take), 0),
    };
    let mut num_written = 0;
    let mut num_skipped = 0;
    for id in ids {
        if num_written == take {
            break;
        }
        if alterations.is_deleted(id) {
            continue;
        }
        let before = out.len();
        separate(out, start);
        if !view.write_job(repository, id, out) {
            out.truncate(before);
        } else if num_skipped < skip {
            num_skipped += 1;
            out.truncate(before);
        } else {
            num_written += 1;
        }
    }
}

/// The records as lists of their values.
fn as_lists(records: &[u8]) -> Vec<u8> {
    let records: Vec<OrderedObject<'_>> = serde_json::from_slice(records).unwrap_or_default();
    let mut out = vec![b'['];
    for record in records {
        separate(&mut out, 1);
        let values: Vec<&str> = record.0.iter().map(|(_, value)| value.get()).collect();
        out.extend_from_slice(format!("[{}]", values.join(",")).as_bytes());
    }
    out.push(b']');
    out
}

/// The names of the values, which are the same for all jobs.
fn property_names(view: &View<'_>, repository: u64) -> Vec<u8> {
    let mut record = Vec::new();
    if let Some(id) = view.job_ids(repository, None, 0, 1).first() {
        view.write_job(repository, *id, &mut record);
    }
    let names = serde_json::from_slice::<OrderedObject<'_>>(&record).map(|record| record.0).unwrap_or_default();
    let mut out = vec![b'['];
    for (name, _) in names {
        separate(&mut out, 1);
        write_string(&mut out, &name);
    }
    out.push(b']');
    out
}

/// The ids of a filter on one id; `None` if it is absent, empty or invalid, in which case the server ignores it.
fn read_ids(query: &Query, name: &str) -> Option<Vec<u64>> {
    let id = python_int(query.non_empty(name)?)?;
    Some(u64::try_from(id).into_iter().collect())
}

/// The ids of a filter on a list of ids; one invalid id makes the whole filter invalid.
fn read_id_list(query: &Query, name: &str) -> Option<Vec<u64>> {
    let ids: Option<Vec<i128>> = query.non_empty(name)?.split(',').map(python_int).collect();
    Some(ids?.into_iter().filter_map(|id| u64::try_from(id).ok()).collect())
}
