//! The server's JSON, read tolerantly into strict records.
//!
//! Only the fields that the crawl uses must be present and of the right type; everything else is kept as text. A reply of
//! another shape is [`SourceError::WrongShape`], never an empty answer.

#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::error::SourceError;
use super::page::{AskedPage, contradiction};
use super::printable::printable;
use super::reply::{Reply, SignatureSink};
use crate::model::{
    AlertSummary, AlertSummaryId, Batch, DatumRecord, FrameworkId, Job, JobId, JobTimes, RawEntries, RawJson,
    Signature, SignatureId, Summary, Timestamp, Window, bring_to_api_order, parse_datum, scan_data,
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

    pub(super) fn view<T: DeserializeOwned>(self, raw: &RawValue) -> Result<T, SourceError> {
        serde_json::from_str(raw.get()).map_err(|source| self.wrong(format!("{source} in {}", raw.get())))
    }
}

/// Reads a page of `performance/alertsummary`, which must agree with itself.
pub(super) fn alert_page(text: &str, asked: AskedPage) -> Result<Reply, SourceError> {
    #[derive(Deserialize)]
    struct Page<'a> {
        count: u64,
        #[serde(default, deserialize_with = "is_some", rename = "next")]
        has_next: Option<bool>,
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct View {
        id: AlertSummaryId,
        created: String,
        #[serde(default)]
        push_timestamp: Option<i64>,
    }
    let shape = Shape("performance/alertsummary");
    let page: Page<'_> = shape.read(text)?;
    if page.count > MAX_ALERT_SUMMARIES {
        return Err(shape.wrong(format!("{} alert summaries", page.count)));
    }
    let records = page.results.into_iter().map(|raw| {
        let view: View = shape.view(raw)?;
        let created = Timestamp::parse_naive(&view.created)
            .or_else(|| view.created.parse().ok())
            .ok_or_else(|| shape.wrong(format!("created {:?}", view.created)))?;
        let push_timestamp = view.push_timestamp.map(Timestamp::from_secs);
        Ok(AlertSummary { id: view.id, created, push_timestamp, raw: raw.into() })
    });
    let records = records.collect::<Result<Vec<_>, SourceError>>()?;
    let ids: Vec<AlertSummaryId> = records.iter().map(|record| record.id).collect();
    match contradiction(asked, page.count, page.has_next, &ids) {
        Some(why) => Err(SourceError::Contradictory { endpoint: shape.0, found: format!("itself: {why}") }),
        None => Ok(Reply::AlertPage { count: page.count, records }),
    }
}

/// True for a value, false for null; a field that is absent has neither.
fn is_some<'de, D: de::Deserializer<'de>>(field: D) -> Result<Option<bool>, D::Error> {
    Option::<de::IgnoredAny>::deserialize(field).map(|value| Some(value.is_some()))
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
    let mut portion = Vec::new();
    each_signature(body, |id, framework_id, raw| {
        portion.push(Signature { id, framework_id, raw: raw.into() });
        if portion.len() >= SIGNATURES_PER_PORTION {
            take(std::mem::take(&mut portion));
        }
    })?;
    take(portion);
    Ok(Reply::Signatures)
}

/// Reads the ids alone, as strictly as [`signatures`]: a reply of another shape must not make signatures look as if they had
/// no data.
pub(super) fn updated_signatures(body: impl Read) -> Result<Reply, SourceError> {
    let mut ids = Vec::new();
    each_signature(body, |id, _, _| ids.push(id))?;
    Ok(Reply::UpdatedSignatures(ids))
}

/// Hands each signature of a list to `take` as it arrives: the list may hold 10^5, and only parts of each are needed.
fn each_signature(body: impl Read, take: impl FnMut(SignatureId, FrameworkId, &RawValue)) -> Result<(), SourceError> {
    let shape = Shape("performance/signatures");
    let mut refused = None;
    let list = SignatureList { shape, take, refused: &mut refused };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(LIST_BUFFER_BYTES, body));
    let read = json.deserialize_map(list).and_then(|()| json.end());
    match (read, refused) {
        (_, Some(error)) => Err(error),
        (Ok(()), None) => Ok(()),
        (Err(source), None) if source.is_data() => Err(shape.wrong(source)),
        (Err(source), None) => Err(SourceError::BrokenJson { source }),
    }
}

/// Reads a list of signatures entry by entry.
struct SignatureList<'a, T> {
    shape: Shape,
    take: T,
    /// The error of the first invalid entry.
    refused: &'a mut Option<SourceError>,
}

impl<'de, T: FnMut(SignatureId, FrameworkId, &RawValue)> Visitor<'de> for SignatureList<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of signatures")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        #[derive(Deserialize)]
        struct View {
            id: SignatureId,
            framework_id: FrameworkId,
        }
        while let Some((key, raw)) = map.next_entry::<String, Box<RawValue>>()? {
            let view = self.shape.view(&raw).and_then(|view: View| {
                let is_its_key = key.parse() == Ok(view.id.0);
                let wrong = || self.shape.wrong(format!("signature {} under the key {key}", view.id));
                if is_its_key { Ok(view) } else { Err(wrong()) }
            });
            match view {
                Ok(view) => (self.take)(view.id, view.framework_id, &raw),
                Err(error) => {
                    *self.refused = Some(error);
                    return Err(de::Error::custom("a signature of an unexpected shape"));
                }
            }
        }
        Ok(())
    }
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

/// Reads `jobs` for the jobs of `batch`. A job that was not asked for shows that the server ignored the filter; then a
/// missing job cannot be called gone.
pub(super) fn jobs(text: &str, batch: &Batch) -> Result<Reply, SourceError> {
    #[derive(Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct View {
        id: JobId,
        #[serde(default)]
        submit_timestamp: Option<i64>,
        #[serde(default)]
        start_timestamp: Option<i64>,
        #[serde(default)]
        end_timestamp: Option<i64>,
    }
    let shape = Shape("jobs");
    let page: Page<'_> = shape.read(text)?;
    let asked: std::collections::BTreeSet<JobId> = batch.job_ids().collect();
    let mut jobs = std::collections::BTreeMap::new();
    for raw in page.results {
        let view: View = shape.view(raw)?;
        if !asked.contains(&view.id) {
            return Err(shape.wrong(format!("job {}, which was not asked for", view.id)));
        }
        let times = JobTimes {
            submit_secs: view.submit_timestamp,
            start_secs: view.start_timestamp,
            end_secs: view.end_timestamp,
        };
        jobs.insert(view.id, Job { id: view.id, times, raw: raw.into() });
    }
    Ok(Reply::Jobs(jobs.into_values().collect()))
}
