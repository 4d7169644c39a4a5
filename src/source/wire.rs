//! The server's JSON, read tolerantly into strict records.
//!
//! Only what the crawl needs to know of a record must be there and be of its type; everything else is kept as text. What
//! is not of an endpoint's shape is [`SourceError::WrongShape`], never an empty answer.

use std::fmt;
use std::io::{BufReader, Read};

use serde::Deserialize;
use serde::de::{self, DeserializeOwned, Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Reply, SignatureSink, SourceError};
use crate::model::{
    AlertSummary, AlertSummaryId, Batch, DatumRecord, FrameworkId, Job, JobId, JobTimes, RawEntries, RawJson,
    Signature, SignatureId, Summary, Timestamp, Window, bring_to_api_order, parse_datum, scan_data,
};

/// A list that claims to be longer is none: each of its pages would become a request. All of Mozilla's alert summaries, of
/// ten years, are less than a tenth of this.
const MAX_ALERT_SUMMARIES: u64 = 1_000_000;

/// What is read of a list at once.
const LIST_BUFFER_BYTES: usize = 64 << 10;

/// Signatures of a list that are handed on at once.
const SIGNATURES_PER_PORTION: usize = 4096;

/// Names the endpoint in errors.
#[derive(Clone, Copy)]
pub(super) struct Shape(pub(super) &'static str);

impl Shape {
    pub(super) fn wrong(self, found: impl fmt::Display) -> SourceError {
        SourceError::WrongShape { endpoint: self.0, found: printable(&found.to_string(), 200) }
    }

    /// Broken text and text of another shape are two errors: the first passes, the second hardly ever.
    pub(super) fn read<'a, T: Deserialize<'a>>(self, text: &'a str) -> Result<T, SourceError> {
        serde_json::from_str(text)
            .map_err(|source| if source.is_data() { self.wrong(source) } else { SourceError::BrokenJson { source } })
    }

    pub(super) fn view<T: DeserializeOwned>(self, raw: &RawValue) -> Result<T, SourceError> {
        serde_json::from_str(raw.get()).map_err(|source| self.wrong(format!("{source} in {}", raw.get())))
    }
}

/// `text` without control characters, on one line, cut to `most` characters: fit for a terminal and a log line.
pub(crate) fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') { ' ' } else { c })
        .take(most)
        .collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

/// Reads a page of `performance/alertsummary`.
pub(super) fn alert_page(text: &str) -> Result<Reply, SourceError> {
    #[derive(Deserialize)]
    struct Page<'a> {
        count: u64,
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
    Ok(Reply::AlertPage { count: page.count, records: records.collect::<Result<_, SourceError>>()? })
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

/// Reads the ids alone; what is no list of signatures must not make others look as if they had no data.
pub(super) fn updated_signatures(body: impl Read) -> Result<Reply, SourceError> {
    let mut ids = Vec::new();
    each_signature(body, |id, _, _| ids.push(id))?;
    Ok(Reply::UpdatedSignatures(ids))
}

/// Hands each signature of a list to `take` as it comes: the list may be of 10^5, and not all of each is needed.
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
    /// What is wrong with an entry.
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
                    return Err(de::Error::custom("a signature of another shape"));
                }
            }
        }
        Ok(())
    }
}

/// Reads data of which some are not of the documented form.
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

/// A reply whose data have been read and taken out, so that the bulk of it is read once.
struct Cut {
    /// The reply, with an empty list for data.
    rest: String,
    /// Where that list stands in it.
    at: usize,
    data: Vec<DatumRecord>,
}

/// Takes the first list under a key `data` out, if all in it are regular. Whether that key is the summary's own shows
/// when the rest is parsed.
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
        return Err(shape.wrong(format!("{} signatures in place of one", list.len())));
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
        return Err(shape.wrong(format!("signature {id:?} in place of {asked}")));
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

/// Reads `jobs` for the jobs of `batch`. A reply with a job that was not asked for shows that the filter was not
/// heeded; then what is missing cannot be called gone.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window { start: Timestamp::from_secs(0), end: "2027-01-01".parse().unwrap() }
    }

    fn datum(id: u64, at: &str) -> String {
        format!(
            r#"{{"job_id":null,"id":{id},"value":4.36e-05,"push_timestamp":"{at}","push_id":5,"revision":"{}","submit_time":null,"machine_name":null}}"#,
            "ab".repeat(20)
        )
    }

    fn summary_text(data: &[String]) -> String {
        format!(r#"[{{"signature_id":7,"suite":"s","tags":"a b","data":[{}],"alert_threshold":2.0}}]"#, data.join(","))
    }

    #[test]
    fn a_summary_keeps_its_header_verbatim_and_each_datum_of_the_window_once() {
        let inside = datum(3, "2026-07-02T00:00:00");
        let text =
            summary_text(&[inside.clone(), datum(2, "2026-07-01T00:00:00"), inside, datum(9, "2027-01-01T00:00:00")]);
        let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
        assert_eq!(
            summary.header.unwrap().as_str(),
            r#"{"signature_id":7,"suite":"s","tags":"a b","alert_threshold":2.0}"#
        );
        assert_eq!(summary.data.iter().map(|record| record.id().0).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn data_under_a_key_of_another_object_are_not_the_summarys() {
        let (nested, own) = (datum(5, "2026-07-03T00:00:00"), datum(3, "2026-07-02T00:00:00"));
        let irregular = own.replace("\"value\":4.36e-05,", "");
        for (own, num_regular) in [(&own, 1), (&irregular, 0)] {
            let text = format!(r#"[{{"signature_id":7,"more":{{"data":[{nested}]}},"data":[{own}]}}]"#);
            let Reply::Summary(summary) = summary(&text, SignatureId(7), window()).unwrap() else { panic!() };
            assert_eq!(summary.data.iter().map(|record| record.id().0).collect::<Vec<_>>(), [3]);
            let is_regular = |record: &&DatumRecord| matches!(record, DatumRecord::Regular(_));
            assert_eq!(summary.data.iter().filter(is_regular).count(), num_regular);
            let header = format!(r#"{{"signature_id":7,"more":{{"data":[{nested}]}}}}"#);
            assert_eq!(summary.header.unwrap().as_str(), header);
        }
        let twice = format!(r#"[{{"signature_id":7,"data":[{nested}],"data":[{own}]}}]"#);
        let Reply::Summary(twice) = summary(&twice, SignatureId(7), window()).unwrap() else { panic!() };
        assert_eq!(twice.data.len(), 1);
        let unfinished = format!(r#"[{{"signature_id":7,"data":[{own}]}}"#);
        assert!(matches!(summary(&unfinished, SignatureId(7), window()), Err(SourceError::BrokenJson { .. })));
    }

    #[test]
    fn an_unknown_signature_has_no_header_and_one_without_data_has_one() {
        let Reply::Summary(unknown) = summary("[]", SignatureId(7), window()).unwrap() else { panic!() };
        assert_eq!((unknown.header, unknown.data.len()), (None, 0));
        let Reply::Summary(empty) = summary(&summary_text(&[]), SignatureId(7), window()).unwrap() else { panic!() };
        assert!(empty.header.is_some() && empty.data.is_empty());
    }

    #[test]
    fn another_signature_a_map_and_two_signatures_are_wrong_shapes() {
        let two = format!("[{0},{0}]", r#"{"signature_id":7,"data":[]}"#);
        for text in [
            r#"[{"signature_id":8,"data":[]}]"#,
            "{}",
            &two,
            r#"[{"signature_id":7}]"#,
            r#"[{"signature_id":7,"data":{}}]"#,
            "null",
        ] {
            let error = summary(text, SignatureId(7), window()).unwrap_err();
            assert!(matches!(error, SourceError::WrongShape { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn text_that_ends_early_is_broken_json() {
        let whole = summary_text(&[datum(3, "2026-07-02T00:00:00")]);
        for cut in [0, 1, 20, whole.len() - 1] {
            let error = summary(&whole[..cut], SignatureId(7), window()).unwrap_err();
            assert!(matches!(error, SourceError::BrokenJson { .. }), "{cut}: {error}");
        }
    }

    #[test]
    fn signatures_are_read_whatever_their_fields_and_lower_is_better_stays_absent() {
        let text =
            r#"{"12":{"id":12,"framework_id":1,"new":1e+16},"3":{"id":3,"framework_id":2,"lower_is_better":false}}"#;
        let signatures = |text: &[u8]| {
            let (found, taken) = flume::bounded(1);
            let sink: SignatureSink = Box::new(move |portion| found.send(portion).unwrap());
            super::signatures(text, sink).map(|reply| (reply, taken.recv().unwrap()))
        };
        let (reply, found) = signatures(text.as_bytes()).unwrap();
        assert_eq!((reply, found.len()), (Reply::Signatures, 2));
        assert_eq!(found[0].raw.as_str(), r#"{"id":12,"framework_id":1,"new":1e+16}"#);
        assert_eq!(found[1].framework_id, FrameworkId(2));
        for wrong in ["[]", "null", r#"{"4":{"id":5,"framework_id":1}}"#, r#"{"4":{"id":4}}"#, r#"{"4":7}"#] {
            let error = signatures(wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, SourceError::WrongShape { .. }), "{wrong}: {error}");
        }
        for broken in ["", &text[..text.len() - 1], &text[..20], "{\"12\":{\"id\":\u{7f}}}", &format!("{text} 1")] {
            let error = signatures(broken.as_bytes()).unwrap_err();
            assert!(matches!(error, SourceError::BrokenJson { .. }), "{broken}: {error}");
        }
        assert!(signatures(&b"{\"4\":{\"id\":4,\"framework_id\":1,\"suite\":\"\xff\"}}"[..]).is_err());
        assert_eq!(
            updated_signatures(text.as_bytes()).unwrap(),
            Reply::UpdatedSignatures(vec![SignatureId(12), SignatureId(3)])
        );
        assert!(updated_signatures(&br#"{"4":{"id":5,"framework_id":1}}"#[..]).is_err());
    }

    #[test]
    fn jobs_are_matched_by_id_and_a_job_not_asked_for_spoils_the_reply() {
        let batch = Batch::of_jobs(vec![JobId(1), JobId(2), JobId(3)]).unwrap();
        let text = r#"{"results":[{"id":3,"end_timestamp":9,"x":1},{"id":1,"submit_timestamp":0}],"meta":{}}"#;
        let Reply::Jobs(found) = jobs(text, &batch).unwrap() else { panic!() };
        assert_eq!(
            found.iter().map(|job| (job.id.0, job.times.end_secs)).collect::<Vec<_>>(),
            [(1, None), (3, Some(9))]
        );
        assert!(matches!(jobs(r#"{"results":[{"id":4}]}"#, &batch), Err(SourceError::WrongShape { .. })));
        assert!(matches!(jobs("[]", &batch), Err(SourceError::WrongShape { .. })));
    }

    #[test]
    fn alert_pages_need_id_and_created() {
        let text = r#"{"count":2,"next":null,"results":[{"id":1,"created":"2026-11-17T04:52:10.000001","push_timestamp":5,"notes":"\u001b[31m"}]}"#;
        let Reply::AlertPage { count: 2, records } = alert_page(text).unwrap() else { panic!() };
        assert_eq!(records[0].push_timestamp, Some(Timestamp::from_secs(5)));
        assert!(alert_page(r#"{"count":1,"results":[{"id":1}]}"#).is_err());
        let endless = alert_page(r#"{"count":1000000000000,"results":[]}"#);
        assert!(matches!(endless, Err(SourceError::WrongShape { .. })));
        assert!(alert_page(r#"{"detail":"Invalid page."}"#).is_err());
    }

    #[test]
    fn what_is_shown_of_a_reply_has_no_control_characters() {
        let error = summary("[{\"signature_id\":\"\u{1b}[31mred\\u001b\\n\"}]", SignatureId(7), window()).unwrap_err();
        assert!(!error.to_string().chars().any(char::is_control), "{error:?}");
        assert_eq!(printable("a\u{1b}[2Jb\nc", 4), "a [2…");
    }
}
