//! The server's JSON, read tolerantly into strict records.
//!
//! A reply of another shape is [`SourceError::WrongShape`], never an empty answer. Each record in it is taken,
//! corrected or set aside by the acceptance test of `model`, so that an odd one costs only itself.

#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::SourceError;
use super::page::contradiction;
use super::reply::{Reply, SignatureSink};
use crate::model::{
    Accepted, AlertSummaryId, AskedPage, Batch, DatumRecord, Fault, FrameworkId, Job, JobId, MAX_RECORD_BYTES,
    OddRecord, Pieces, RawEntries, RawJson, Refusal, SignatureId, Sorted, Summary, Window, accept,
    bring_rows_to_api_order, bring_to_api_order, exact_id, printable, scan_data, stand_in,
};

/// Reject longer lists: each of their pages would become a request. All of Mozilla's alert summaries of ten years are
/// less than a tenth of this.
const MAX_ALERT_SUMMARIES: u64 = 1_000_000;

/// Maximum rows of a page: more than twenty times the largest page that is requested.
const MAX_ROWS: usize = 100_000;

/// Maximum signatures of a list: more than ten times those of the largest repository.
const MAX_SIGNATURES: usize = 2_000_000;

/// Maximum fields of a summary, which has about ten.
const MAX_FIELDS: usize = 1000;

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
        let broken = |reason| SourceError::BrokenJson { source: serde::de::Error::custom(reason) };
        match fault {
            Fault::OtherShape => self.wrong("a JSON value of another type"),
            Fault::EndsEarly => broken("EOF while parsing a reply"),
            Fault::Broken(reason) => broken(reason),
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
    let mut num = 0;
    while records.next().map_err(cut)? {
        num += 1;
        if num > MAX_ROWS {
            return Err(shape.wrong(format!("more than {MAX_ROWS} rows")));
        }
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
    let shape = Shape("performance/framework");
    let views: Vec<View> = shape.read(text)?;
    let list = RawJson::parse(text).map_err(|source| SourceError::BrokenJson { source })?;
    Ok(Reply::Frameworks { ids: views.into_iter().map(|view| view.id).collect(), list })
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

/// Hands each signature of a list, and its key, to `take` as it arrives: the list may hold 10^5. A key that is not a
/// number shows that the reply is something else, and must not make signatures look as if they had no data.
fn each_signature(
    body: impl Read,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), serde_json::Error>,
) -> Result<(), SourceError> {
    let shape = Shape("performance/signatures");
    let cut = |fault| shape.cannot_cut(fault);
    let list = Pieces::of_object(BufReader::with_capacity(LIST_BUFFER_BYTES, body)).map_err(cut)?;
    let mut list = list.of_at_most(MAX_RECORD_BYTES);
    let mut num = 0;
    while list.next().map_err(cut)? {
        num += 1;
        if num > MAX_SIGNATURES {
            return Err(shape.wrong(format!("more than {MAX_SIGNATURES} signatures")));
        }
        let key = String::from_utf8_lossy(&list.key);
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(shape.wrong(format!("the key {key:?} instead of a signature's id")));
        }
        let id = key.parse().unwrap_or(u64::MAX); // too large for an id
        take(id, &list.value).map_err(|source| SourceError::BrokenJson { source })?;
    }
    Ok(())
}

/// Reads `performance/summary` for `asked`, and keeps the data in `window`. A datum that cannot be read is set aside. A reply
/// with `replicates` has several rows of a datum.
pub(crate) fn summary(text: &[u8], asked: SignatureId, window: Window, replicates: bool) -> Result<Reply, SourceError> {
    let shape = Shape("performance/summary");
    let cut = match std::str::from_utf8(text).ok().and_then(cut_regular) {
        Some(cut) => Some(cut),
        None => cut_odd(shape, text)?,
    };
    let (header, Sorted { taken: mut data, mut odd }) = match cut {
        Some(cut) if cut.id == Some(asked) => (Some(accept_header(&cut.header, asked)?), cut.data),
        Some(cut) => return Err(shape.wrong(format!("signature {:?} instead of {asked}", cut.id))),
        None => (None, Sorted::default()),
    };
    data.retain(|record| window.contains(record.push_timestamp()));
    if replicates {
        bring_rows_to_api_order(&mut data);
    } else {
        bring_to_api_order(&mut data);
    }
    let header = header.map(|(header, of_header)| {
        odd.extend(of_header);
        header
    });
    Ok(Reply::Summary(Summary { signature_id: asked, header, data, odd }))
}

/// A summary, cut into its parts.
struct Cut {
    /// The object without its `data`; unchecked.
    header: String,
    id: Option<SignatureId>,
    data: Sorted<DatumRecord>,
}

/// Cuts a reply with only regular data, so that most of its text is read only once. `None` for any other text.
fn cut_regular(text: &str) -> Option<Cut> {
    const KEY: &str = "\"data\":";
    let at = text.find(KEY)? + KEY.len();
    let (data, len) = scan_data(&text.as_bytes()[at..])?;
    if text.len() - len > MAX_RECORD_BYTES {
        return None;
    }
    let rest = [&text[..at], "[]", &text[at + len..]].concat();
    let list: Vec<RawEntries<'_>> = serde_json::from_str(&rest).ok()?;
    let [RawEntries(entries)] = list.as_slice() else { return None };
    // The key may have been that of another object; of repeated keys, the last one counts.
    let (_, own) = entries.iter().rfind(|(key, _)| key == "data")?;
    if own.get().as_ptr().addr() != rest.as_ptr().addr() + at {
        return None;
    }
    let entries = entries.iter().map(|(key, raw)| Some((serde_json::to_string(key).ok()?, raw.get())));
    let (header, id) = header_of(entries.collect::<Option<Vec<_>>>()?.into_iter());
    Some(Cut { header, id, data: Sorted { taken: data, odd: Vec::new() } })
}

/// Cuts any reply; `None` for an empty list.
fn cut_odd(shape: Shape, text: &[u8]) -> Result<Option<Cut>, SourceError> {
    let cut = |fault| shape.cannot_cut(fault);
    let mut list = Pieces::of_list(text).map_err(cut)?;
    if !list.next().map_err(cut)? {
        return Ok(None);
    }
    let record = std::mem::take(&mut list.value);
    if list.next().map_err(cut)? {
        return Err(shape.wrong("several signatures instead of one"));
    }
    let mut entries = Vec::new();
    let mut listed = None;
    let mut fields = Pieces::of_object(record.as_slice()).map_err(cut)?;
    while fields.next().map_err(cut)? {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        match fields.key.as_slice() {
            b"data" => listed = Some(std::mem::take(&mut fields.value)),
            _ if entries.len() == MAX_FIELDS => return Err(shape.wrong(format!("more than {MAX_FIELDS} fields"))),
            key => entries.push((format!("\"{}\"", text(key)), text(&fields.value))),
        }
    }
    let listed = listed.ok_or_else(|| shape.wrong("no data field"))?;
    let mut data = Sorted::default();
    let mut texts = Pieces::of_list(listed.as_slice()).map_err(cut)?;
    let mut number = 0;
    while texts.next().map_err(cut)? {
        number += 1;
        data.add_datum(number, &texts.value).map_err(|source| SourceError::BrokenJson { source })?;
    }
    let (header, id) = header_of(entries.iter().map(|(key, text)| (key.as_str(), text.as_str())));
    Ok(Some(Cut { header, id, data }))
}

/// The object of the entries but `data`, and the signature that it names. Keys are in quotes.
fn header_of<'a>(entries: impl Iterator<Item = (impl AsRef<str>, &'a str)>) -> (String, Option<SignatureId>) {
    let mut header = String::from("{");
    let mut id = None;
    for (key, text) in entries {
        let key = key.as_ref();
        match key {
            "\"data\"" => continue,
            "\"signature_id\"" => id = exact_id(text).map(SignatureId),
            _ => {}
        }
        if header.len() > 1 {
            header.push(',');
        }
        header.push_str(key);
        header.push(':');
        header.push_str(text);
    }
    header.push('}');
    (header, id)
}

/// The header to store; of one that cannot be read only the id, and the record that it is set aside as.
fn accept_header(header: &str, id: SignatureId) -> Result<(RawJson, Option<OddRecord>), SourceError> {
    let text = header.as_bytes();
    match accept(text) {
        Ok(Accepted { raw, corrected }) => Ok((raw, corrected.then(|| OddRecord::corrected(stand_in(text), text)))),
        Err(Refusal::NotJson(source)) => Err(SourceError::BrokenJson { source }),
        Err(Refusal::Unreadable(reason)) => {
            let raw = RawJson::parse(&format!("{{\"signature_id\":{id}}}"));
            let odd = OddRecord::set_aside(stand_in(text), reason, text);
            raw.map(|raw| (raw, Some(odd))).map_err(|source| SourceError::BrokenJson { source })
        }
    }
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
