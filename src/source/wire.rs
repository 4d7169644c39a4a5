//! The server's JSON, read tolerantly into strict records.
//!
//! A reply of another shape is [`SourceError::WrongShape`], never an empty answer. Each record in it is taken, corrected or set
//! aside by the acceptance test of `model`, so that an odd one costs only itself.

mod pieces;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use self::pieces::{Fault, Pieces};
use super::error::SourceError;
use super::page::{AskedPage, contradiction};
use super::printable::printable;
use super::reply::{Reply, SignatureSink};
use crate::model::{
    AlertSummaryId, Batch, DatumRecord, FrameworkId, Job, JobId, RawEntries, RawJson, SignatureId, Sorted, Summary,
    Window, bring_to_api_order, parse_datum, scan_data,
};

/// Reject longer lists: each of their pages would become a request. All of Mozilla's alert summaries of ten years are less
/// than a tenth of this.
const MAX_ALERT_SUMMARIES: u64 = 1_000_000;

/// Read buffer for a list.
const LIST_BUFFER_BYTES: usize = 64 << 10;

/// Signatures of a list that are handed on together.
const SIGNATURES_PER_PORTION: usize = 4096;

/// Names the endpoint in errors.
#[derive(Clone, Copy)]
pub(super) struct Shape(pub(super) &'static str);

impl Shape {
    pub(super) fn wrong(self, found: impl fmt::Display) -> SourceError {
        SourceError::WrongShape { endpoint: self.0, found: printable(&found.to_string(), 200) }
    }

    /// Invalid JSON and JSON of another shape are two errors: the first may pass, the second hardly ever does.
    pub(super) fn read<'a, T: Deserialize<'a>>(self, text: &'a str) -> Result<T, SourceError> {
        serde_json::from_str(text)
            .map_err(|source| if source.is_data() { self.wrong(source) } else { SourceError::BrokenJson { source } })
    }

    fn cannot_cut(self, fault: Fault) -> SourceError {
        match fault {
            Fault::OtherShape => self.wrong("a JSON value of another type"),
            Fault::Broken(reason) => SourceError::BrokenJson { source: serde::de::Error::custom(reason) },
        }
    }

    pub(super) fn view<T: DeserializeOwned>(self, raw: &RawValue) -> Result<T, SourceError> {
        serde_json::from_str(raw.get()).map_err(|source| self.wrong(format!("{source} in {}", raw.get())))
    }
}

/// Reads a page of `performance/alertsummary`, which must agree with itself.
pub(super) fn alert_page(text: &[u8], asked: AskedPage) -> Result<Reply, SourceError> {
    let shape = Shape("performance/alertsummary");
    let mut records = Sorted::default();
    let page = results(shape, text, |record| records.add_alert_summary(record))?;
    let count: u64 = match page.count {
        Some(count) => serde_json::from_slice(&count).map_err(|source| shape.wrong(source))?,
        None => return Err(shape.wrong("no count")),
    };
    if count > MAX_ALERT_SUMMARIES {
        return Err(shape.wrong(format!("{count} alert summaries")));
    }
    let has_next = page.next.map(|next| next != b"null");
    let listed = records.taken.iter().map(|record| record.id);
    let set_aside = records.odd.iter().filter(|odd| !odd.taken).map(|odd| AlertSummaryId(odd.record));
    let ids: Vec<AlertSummaryId> = listed.chain(set_aside).collect();
    match contradiction(asked, count, has_next, &ids) {
        Some(why) => Err(SourceError::Contradictory { endpoint: shape.0, found: format!("itself: {why}") }),
        None => Ok(Reply::AlertPage { count, records }),
    }
}

/// The fields of a page beside its results, as text.
#[derive(Default)]
struct PageFields {
    count: Option<Vec<u8>>,
    next: Option<Vec<u8>>,
}

/// Hands each of the `results` of a page to `take`; returns the page's other fields.
fn results(
    shape: Shape,
    text: &[u8],
    mut take: impl FnMut(&[u8]) -> Result<(), serde_json::Error>,
) -> Result<PageFields, SourceError> {
    let cut = |fault| shape.cannot_cut(fault);
    let (mut fields, mut results) = (PageFields::default(), None);
    let mut page = Pieces::of_object(text).map_err(cut)?;
    while page.next().map_err(cut)? {
        match page.key.as_slice() {
            b"count" => fields.count = Some(std::mem::take(&mut page.value)),
            b"next" => fields.next = Some(std::mem::take(&mut page.value)),
            b"results" => results = Some(std::mem::take(&mut page.value)),
            _ => {}
        }
    }
    let results = results.ok_or_else(|| shape.wrong("no results"))?;
    let mut records = Pieces::of_list(results.as_slice()).map_err(cut)?;
    while records.next().map_err(cut)? {
        take(&records.value).map_err(|source| SourceError::BrokenJson { source })?;
    }
    Ok(fields)
}

/// Reads `performance/framework`.
pub(super) fn frameworks(text: &str) -> Result<Reply, SourceError> {
    #[derive(Deserialize)]
    struct View {
        id: FrameworkId,
    }
    let views: Vec<View> = Shape("performance/framework").read(text)?;
    Ok(Reply::Frameworks(views.into_iter().map(|view| view.id).collect()))
}

/// Reads `performance/signatures`: an object whose keys are the ids.
pub(super) fn signatures(body: impl Read, mut take: SignatureSink) -> Result<Reply, SourceError> {
    let mut sorted = Sorted::default();
    each_signature(body, |key, record| {
        sorted.add_signature(key, record)?;
        if sorted.taken.len() >= SIGNATURES_PER_PORTION {
            take(std::mem::take(&mut sorted.taken));
        }
        Ok(())
    })?;
    take(sorted.taken);
    Ok(Reply::Signatures { odd: sorted.odd })
}

/// Reads the ids alone. A record that is set aside has data too.
pub(super) fn updated_signatures(body: impl Read) -> Result<Reply, SourceError> {
    let mut ids = Vec::new();
    each_signature(body, |key, _| {
        ids.push(SignatureId(key));
        Ok(())
    })?;
    Ok(Reply::UpdatedSignatures(ids))
}

/// Hands each signature of a list, and its key, to `take` as it arrives: the list may hold 10^5. A key that is no number
/// shows that the reply is something else, and must not make signatures look as if they had no data.
fn each_signature(
    body: impl Read,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), serde_json::Error>,
) -> Result<(), SourceError> {
    let shape = Shape("performance/signatures");
    let cut = |fault| shape.cannot_cut(fault);
    let mut list = Pieces::of_object(BufReader::with_capacity(LIST_BUFFER_BYTES, body)).map_err(cut)?;
    while list.next().map_err(cut)? {
        let key = String::from_utf8_lossy(&list.key);
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(shape.wrong(format!("the key {key:?} instead of a signature's id")));
        }
        let id = key.parse().unwrap_or(u64::MAX); // too large for an id
        take(id, &list.value).map_err(|source| SourceError::BrokenJson { source })?;
    }
    Ok(())
}

/// Reads data one by one, when some are not of the documented form.
fn parse_each(shape: Shape, list: &RawValue) -> Result<Vec<DatumRecord>, SourceError> {
    let texts: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|source| shape.wrong(source))?;
    let parse =
        |text: &&RawValue| parse_datum(text.get()).map_err(|source| shape.wrong(format!("{source} in {}", text.get())));
    texts.iter().map(parse).collect()
}

/// Reads `performance/summary` for `asked`, and keeps the data in `window`.
pub(super) fn summary(text: &str, asked: SignatureId, window: Window) -> Result<Reply, SourceError> {
    let shape = Shape("performance/summary");
    if let Some(cut) = cut_out_data(text)
        && let Ok(Some(entries)) = only_entries(shape, &cut.rest)
        && entries.0.iter().any(|(key, raw)| key == "data" && offset_in(&cut.rest, raw) == cut.at)
    {
        return summary_of(shape, &entries, cut.data, asked, window);
    }
    let Some(entries) = only_entries(shape, text)? else {
        return Ok(Reply::Summary(Summary { signature_id: asked, header: None, data: Vec::new() }));
    };
    let raw_data = field(&entries, "data").ok_or_else(|| shape.wrong("no data field"))?;
    let data = parse_each(shape, raw_data)?;
    summary_of(shape, &entries, data, asked, window)
}

/// A reply whose data have been read and cut out, so that the bulk of it is read once.
struct Cut {
    /// The reply, with an empty list for data.
    rest: String,
    /// The offset of that list in it, bytes.
    at: usize,
    data: Vec<DatumRecord>,
}

/// Cuts out the first list under a key `data`, if all data in it are regular. The caller checks that the key is the
/// summary's own when it parses the rest.
fn cut_out_data(text: &str) -> Option<Cut> {
    const KEY: &str = "\"data\":";
    let at = text.find(KEY)? + KEY.len();
    let (data, len) = scan_data(&text.as_bytes()[at..])?;
    Some(Cut { rest: [&text[..at], "[]", &text[at + len..]].concat(), at, data })
}

fn offset_in(text: &str, raw: &RawValue) -> usize {
    raw.get().as_ptr().addr().wrapping_sub(text.as_ptr().addr())
}

/// The fields of the one signature in a reply; `None` for an empty list.
fn only_entries(shape: Shape, text: &str) -> Result<Option<RawEntries<'_>>, SourceError> {
    let mut list: Vec<RawEntries<'_>> = shape.read(text)?;
    if list.len() > 1 {
        return Err(shape.wrong(format!("{} signatures instead of one", list.len())));
    }
    Ok(list.pop())
}

fn field<'a>(entries: &RawEntries<'a>, name: &str) -> Option<&'a RawValue> {
    entries.0.iter().find(|(key, _)| key == name).map(|(_, raw)| *raw)
}

fn summary_of(
    shape: Shape,
    entries: &RawEntries<'_>,
    mut data: Vec<DatumRecord>,
    asked: SignatureId,
    window: Window,
) -> Result<Reply, SourceError> {
    let id: Option<SignatureId> = field(entries, "signature_id").map(|raw| shape.view(raw)).transpose()?;
    if id != Some(asked) {
        return Err(shape.wrong(format!("signature {id:?} instead of {asked}")));
    }
    data.retain(|record| window.contains(record.push_timestamp()));
    bring_to_api_order(&mut data);
    let mut header = String::from("{");
    for (key, raw) in entries.0.iter().filter(|(key, _)| key != "data") {
        if header.len() > 1 {
            header.push(',');
        }
        header.push_str(&serde_json::to_string(key).map_err(|source| SourceError::BrokenJson { source })?);
        header.push(':');
        header.push_str(raw.get());
    }
    header.push('}');
    let header = RawJson::parse(&header).map_err(|source| SourceError::BrokenJson { source })?;
    Ok(Reply::Summary(Summary { signature_id: asked, header: Some(header), data }))
}

/// Reads `jobs` for the jobs of `batch`. A job that was not asked for shows that the server ignored the filter, and one
/// whose id cannot be read may be any of them; then a missing job cannot be called gone.
pub(super) fn jobs(text: &[u8], batch: &Batch) -> Result<Reply, SourceError> {
    let shape = Shape("jobs");
    let mut jobs = Sorted::default();
    results(shape, text, |record| jobs.add_job(record))?;
    let asked: std::collections::BTreeSet<u64> = batch.job_ids().map(|id| id.0).collect();
    if let Some(job) = jobs.taken.iter().find(|job| !asked.contains(&job.id.0)) {
        return Err(shape.wrong(format!("job {}, which was not asked for", job.id)));
    }
    if let Some(odd) = jobs.odd.iter().find(|odd| !asked.contains(&odd.record)) {
        return Err(shape.wrong(format!("a job that cannot be identified: {}: {}", odd.reason, odd.text)));
    }
    // The last of several records of a job counts.
    let by_id: std::collections::BTreeMap<JobId, Job> = jobs.taken.into_iter().map(|job| (job.id, job)).collect();
    Ok(Reply::Jobs(Sorted { taken: by_id.into_values().collect(), odd: jobs.odd }))
}
