//! `GET /api/performance/summary/`: the data of signatures, or parallel lists of their values, jobs and submit times.

use std::fmt::Write as _;

use crate::dataset::{Datum, Ties, Window};
use crate::json_text::{write_float, write_moment, write_option, write_string};
use crate::moment::{self, SECOND, YEAR_ONE};
use crate::query::{Query, field_bool, field_int, python_int};
use crate::reply::Reply;
use crate::view::View;
use pytext::stats::round_half_even_2;

use super::separate;

const BAD_DATE: &str = "Datetime has wrong format. Use one of these formats instead: \
                        YYYY-MM-DDThh:mm[:ss[.uuuuuu]][+HH:MM|-HH:MM|Z].";
const BAD_INTEGER: &str = "A valid integer is required.";

/// The parameters, valid one by one.
#[expect(clippy::struct_excessive_bools, reason = "they are flags of a request, and independent")]
struct Parameters<'a> {
    repository: u64,
    start: Option<i64>,
    end: Option<i64>,
    revision: Option<&'a str>,
    frameworks: Vec<u64>,
    interval: Option<i128>,
    parent_signature: Option<&'a str>,
    signature: Option<&'a str>,
    no_subtests: bool,
    all_data: bool,
    no_retriggers: bool,
    replicates: bool,
}

pub(super) fn answer(view: &View<'_>, query: &Query) -> Reply {
    match Parameters::read(view, query).and_then(|parameters| list(view, &parameters)) {
        Ok(reply) | Err(reply) => reply,
    }
}

fn list(view: &View<'_>, parameters: &Parameters<'_>) -> Result<Reply, Reply> {
    let window = parameters.window(view)?;
    let ranks = parameters.select(view)?;
    // Several signatures may have one hash; each of them then carries the data of all.
    let shared = parameters.signature.is_some() && ranks.len() > 1;
    let with_data = parameters.all_data && parameters.signature.is_some();
    let mut out = Vec::with_capacity(if with_data { 16 * 1024 } else { 4 * 1024 });
    out.push(b'[');
    let start = out.len();
    let mut most_data = 0;
    for &rank in &ranks {
        separate(&mut out, start);
        let of: &[usize] = if shared { &ranks } else { std::slice::from_ref(&rank) };
        let frame = view.summary_frame(parameters.repository, rank);
        let mut lists = Lists::default();
        out.push(b'{');
        out.extend_from_slice(frame.head.as_bytes());
        let num_data = if with_data {
            out.extend_from_slice(b"\"values\":[],");
            out.extend_from_slice(frame.naming.as_bytes());
            out.extend_from_slice(b"\"job_ids\":[],");
            out.extend_from_slice(frame.place.as_bytes());
            out.extend_from_slice(b"\"data\":[");
            let num_data = write_data(view, parameters, &window, of, &mut out);
            out.extend_from_slice(b"],");
            num_data
        } else {
            lists = Lists::collect(view, parameters, &window, rank);
            out.extend_from_slice(b"\"values\":[");
            lists.write(&mut out, |out, row| write_float(out, round_half_even_2(row.value)));
            out.extend_from_slice(b"],");
            out.extend_from_slice(frame.naming.as_bytes());
            out.extend_from_slice(b"\"job_ids\":[");
            lists.write(&mut out, |out, row| write_option(out, row.job_id));
            out.extend_from_slice(b"],");
            out.extend_from_slice(frame.place.as_bytes());
            out.extend_from_slice(b"\"data\":[],");
            lists.0.len()
        };
        out.extend_from_slice(frame.tail.as_bytes());
        out.extend_from_slice(b"\"submit_times\":[");
        lists.write(&mut out, |out, row| write_moment(out, row.submit_time));
        out.extend_from_slice(b"]}");
        most_data = most_data.max(num_data);
    }
    out.push(b']');
    Ok(Reply { num_data: most_data, ..Reply::json(200, out) })
}

/// Writes the data of these signatures, and returns their number.
fn write_data(
    view: &View<'_>,
    parameters: &Parameters<'_>,
    window: &Window<'_>,
    ranks: &[usize],
    out: &mut Vec<u8>,
) -> usize {
    let alterations = view.alterations();
    let start = out.len();
    let mut num_data = 0;
    let mut newest_push = None;
    if ranks.len() == 1 && !alterations.has_deleted_jobs() && !parameters.replicates {
        for &rank in ranks {
            view.visit_data(parameters.repository, rank, window, &mut |datum| {
                if parameters.no_retriggers && newest_push.replace(datum.push_id) == Some(datum.push_id) {
                    return;
                }
                separate(out, start);
                datum.write(out);
                num_data += 1;
            });
        }
        return num_data;
    }
    // Data of several signatures, with deleted jobs, or with replicates must be sorted first.
    let mut rows: Vec<DataRow> = Vec::new();
    for &rank in ranks {
        view.visit_data(parameters.repository, rank, window, &mut |datum| {
            let datum = match datum.job_id {
                Some(job_id) if alterations.is_deleted(job_id) => datum.without_job(),
                _ => *datum,
            };
            let mut ordinal = 0;
            let mut add = |datum: &Datum<'_>| {
                let mut text = Vec::new();
                datum.write(&mut text);
                rows.push(DataRow { key: datum.sort_key(), ordinal, id: datum.id, push_id: datum.push_id, text });
                ordinal += 1;
            };
            if parameters.replicates { view.visit_rows(&datum, add) } else { add(&datum) }
        });
    }
    // The rows of data with the same push and job are mixed.
    rows.sort_by_key(|row| (row.key, row.ordinal));
    let mut newest_id = None;
    for DataRow { id, push_id, text, .. } in rows {
        if parameters.no_retriggers && newest_push.replace(push_id) == Some(push_id) && newest_id != Some(id) {
            continue;
        }
        newest_id = Some(id);
        separate(out, start);
        out.extend_from_slice(&text);
        num_data += 1;
    }
    num_data
}

/// A datum to be sorted.
struct DataRow {
    key: (i64, u64, u64),
    /// Number of the row among those of its datum.
    ordinal: u32,
    id: u64,
    push_id: u64,
    text: Vec<u8>,
}

/// A row of the three parallel lists.
#[derive(Clone, Copy)]
struct ListRow {
    id: u64,
    job_id: Option<u64>,
    value: f64,
    submit_time: Option<i64>,
}

/// The three parallel lists that replace the data, sorted by job; null jobs last.
#[derive(Default)]
struct Lists(Vec<ListRow>);

impl Lists {
    fn collect(view: &View<'_>, parameters: &Parameters<'_>, window: &Window<'_>, rank: usize) -> Self {
        let alterations = view.alterations();
        let mut rows = Vec::new();
        let mut newest_push = None;
        view.visit_data(parameters.repository, rank, window, &mut |datum: &Datum<'_>| {
            if parameters.no_retriggers && newest_push.replace(datum.push_id) == Some(datum.push_id) {
                return;
            }
            let datum = match datum.job_id {
                Some(job_id) if alterations.is_deleted(job_id) => datum.without_job(),
                _ => *datum,
            };
            let mut add = |datum: &Datum<'_>| {
                let Datum { id, job_id, value, submit_time, .. } = *datum;
                rows.push(ListRow { id, job_id, value, submit_time });
            };
            if parameters.replicates { view.visit_rows(&datum, add) } else { add(&datum) }
        });
        rows.sort_by_key(|row| (row.job_id.unwrap_or(u64::MAX), row.id));
        Self(rows)
    }

    fn write(&self, out: &mut Vec<u8>, mut write: impl FnMut(&mut Vec<u8>, &ListRow)) {
        let start = out.len();
        for row in &self.0 {
            separate(out, start);
            write(out, row);
        }
    }
}

impl<'a> Parameters<'a> {
    fn read(view: &View<'_>, query: &'a Query) -> Result<Self, Reply> {
        let mut errors = Errors::default();
        let date = |name: &str, errors: &mut Errors| {
            let moment = moment::parse(query.non_empty(name)?);
            if moment.is_none() {
                errors.add(name, BAD_DATE);
            }
            moment
        };
        let start = date("startday", &mut errors);
        let end = date("endday", &mut errors);
        let mut repository = 0;
        match query.get("repository") {
            None => errors.add("repository", "This field is required."),
            Some("") => errors.add("repository", "This field may not be blank."),
            Some(name) => match view.repository(name) {
                Some(found) => repository = found.id,
                None => errors.add("repository", &format!("{name} does not exist.")),
            },
        }
        let frameworks = read_frameworks(query, &mut errors);
        let interval = query.non_empty("interval").and_then(|text| {
            let interval = field_int(text);
            if interval.is_none() {
                errors.add("interval", BAD_INTEGER);
            }
            interval
        });
        let mut flag = |name: &str| {
            query.non_empty(name).is_some_and(|text| {
                let flag = field_bool(text);
                if flag.is_none() {
                    errors.add(name, "Must be a valid boolean.");
                }
                flag == Some(true)
            })
        };
        let no_subtests = flag("no_subtests");
        let all_data = flag("all_data");
        let no_retriggers = flag("no_retriggers");
        let replicates = flag("replicates");
        errors.into_result()?;

        let revision = query.non_empty("revision");
        if revision.is_none() && interval.is_none() && (start.is_none() || end.is_none()) {
            let mut errors = Errors::default();
            errors.add("non_field_errors", "Required: revision, startday and endday or interval.");
            errors.into_result()?;
        }
        Ok(Self {
            repository,
            start,
            end,
            revision,
            frameworks,
            interval,
            parent_signature: query.non_empty("parent_signature"),
            signature: query.non_empty("signature"),
            no_subtests,
            all_data,
            no_retriggers,
            replicates,
        })
    }

    /// `now - interval` as microseconds.
    fn interval_start(&self, view: &View<'_>) -> Result<Option<i64>, Reply> {
        let Some(interval) = self.interval else { return Ok(None) };
        let start = i128::from(view.now()).saturating_sub(interval);
        // The server fails on a range that begins earlier.
        if start < i128::from(YEAR_ONE) {
            return Err(Reply::server_error());
        }
        i64::try_from(start.saturating_mul(i128::from(SECOND))).map(Some).map_err(|_| Reply::server_error())
    }

    fn window(&self, view: &View<'_>) -> Result<Window<'a>, Reply> {
        let all = Window { replicates: self.replicates, ties: Ties::OnePlan, ..Window::ALL };
        if let Some(revision) = self.revision {
            return Ok(Window { revision: Some(revision), ..all });
        }
        match (self.interval_start(view)?, self.start, self.end) {
            (Some(after), None, None) => Ok(Window { after, ..all }),
            (_, Some(after), Some(before)) => Ok(Window { after, before, ties: Ties::OtherPlan, ..all }),
            _ => Err(Reply::server_error()),
        }
    }

    /// The ranks of the signatures that the request selects.
    fn select(&self, view: &View<'_>) -> Result<Vec<usize>, Reply> {
        let head = |rank: &usize| view.signature_head(self.repository, *rank);
        let every = 0..view.num_signatures(self.repository);
        let mut ranks: Vec<usize> = match self.signature {
            Some(hash) if hash.chars().count() == 40 => {
                every.filter(|rank| head(rank).is_some_and(|head| head.hash == hash)).collect()
            }
            Some(id) => {
                let id = python_int(id).ok_or_else(Reply::server_error)?;
                let id = u64::try_from(id).ok();
                id.and_then(|id| view.find_signature(self.repository, id)).into_iter().collect()
            }
            None => every
                .filter(|rank| head(rank).is_some_and(|head| head.parent_id.is_none() == self.no_subtests))
                .collect(),
        };
        if !self.frameworks.is_empty() {
            ranks.retain(|rank| head(rank).is_some_and(|head| self.frameworks.contains(&head.framework_id)));
        }
        if let Some(parent) = self.parent_signature {
            let parent = python_int(parent).ok_or_else(Reply::server_error)?;
            let parent = u64::try_from(parent).ok();
            ranks.retain(|rank| {
                let of = head(rank).and_then(|head| head.parent_id);
                of.is_some() && of == parent
            });
        }
        if !self.all_data
            && let Some(since) = self.interval_start(view)?
        {
            ranks.retain(|rank| head(rank).is_some_and(|head| head.last_updated >= since));
        }
        Ok(ranks)
    }
}

fn read_frameworks(query: &Query, errors: &mut Errors) -> Vec<u64> {
    let mut frameworks = Vec::new();
    let mut bad = String::new();
    for (n, text) in query.all("framework").enumerate() {
        if let Some(id) = field_int(text) {
            frameworks.push(u64::try_from(id).unwrap_or(u64::MAX));
        } else {
            let comma = if bad.is_empty() { "" } else { "," };
            let _ = write!(bad, "{comma}\"{n}\":[\"{BAD_INTEGER}\"]");
        }
    }
    if !bad.is_empty() {
        errors.add_text("framework", &format!("{{{bad}}}"));
    }
    frameworks
}

/// The errors of a request, by field, as JSON members.
#[derive(Default)]
struct Errors {
    members: String,
}

impl Errors {
    fn add(&mut self, field: &str, message: &str) {
        let mut text = Vec::from(*b"[");
        write_string(&mut text, message);
        text.push(b']');
        self.add_text(field, &String::from_utf8_lossy(&text));
    }

    fn add_text(&mut self, field: &str, text: &str) {
        let comma = if self.members.is_empty() { "" } else { "," };
        let _ = write!(self.members, "{comma}\"{field}\":{text}");
    }

    fn into_result(self) -> Result<(), Reply> {
        if self.members.is_empty() { Ok(()) } else { Err(Reply::json(400, format!("{{{}}}", self.members))) }
    }
}
