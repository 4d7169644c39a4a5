//! The records of the other endpoints: an id, and the text that passed the acceptance test.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::accept::{Accepted, OddRecord, Refusal, accept, exact_id, exact_integer, stand_in};
use super::{AlertSummaryId, DatumRecord, JobId, RawJson, SignatureId, parse_datum};

/// One record of `performance/signatures`.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// Key in the store, and in the server's list.
    pub id: SignatureId,
    /// The accepted record.
    pub raw: RawJson,
}

/// A reply of `performance/summary` for one signature.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// The requested signature.
    pub signature_id: SignatureId,
    /// The reply's object without its `data`; `None` if the server does not know the signature (an empty list).
    pub header: Option<RawJson>,
    /// The data in the requested window, each id once, in the order of [`super::api_order`]; or the rows of a reply with
    /// replicates, those of a datum together, as they came.
    pub data: Vec<DatumRecord>,
    /// The records that were corrected or set aside: data, also outside the window, or the header.
    pub odd: Vec<OddRecord>,
}

/// One record of `performance/alertsummary`.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertSummary {
    /// Key in the store.
    pub id: AlertSummaryId,
    /// The accepted record.
    pub raw: RawJson,
}

/// Times of a job, seconds since the epoch. The API writes 0 for unknown times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobTimes {
    /// `submit_timestamp`
    pub submit_secs: Option<i64>,
    /// `start_timestamp`
    pub start_secs: Option<i64>,
    /// `end_timestamp`
    pub end_secs: Option<i64>,
}

/// One record of `jobs`.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Key in the store.
    pub id: JobId,
    /// The accepted record.
    pub raw: RawJson,
}

/// The records of a reply, after the acceptance test.
#[derive(Clone, Debug, PartialEq)]
pub struct Sorted<T> {
    /// The records to store.
    pub taken: Vec<T>,
    /// The records that were corrected or set aside.
    pub odd: Vec<OddRecord>,
}

impl<T> Default for Sorted<T> {
    fn default() -> Self {
        Self { taken: Vec::new(), odd: Vec::new() }
    }
}

/// Maximum of unreadable records in a list; a list with more is refused. Each takes some hundred bytes of any length.
const MAX_ODD_RECORDS: usize = 200_000;

impl<T> Sorted<T> {
    /// Adds the record with this text. `of` makes the record and its id from the accepted text, or gives the reason why it
    /// cannot be used; `known_id` is the one of a text that was refused.
    ///
    /// # Errors
    /// `serde_json`'s, when the text is not JSON. Then the whole reply is broken.
    fn add(
        &mut self,
        text: &[u8],
        known_id: impl FnOnce() -> Option<u64>,
        of: impl FnOnce(RawJson) -> Result<(u64, T), String>,
    ) -> Result<(), serde_json::Error> {
        let reason = match accept(text) {
            Err(Refusal::NotJson(error)) => return Err(error),
            Err(Refusal::Unreadable(reason)) => reason,
            Ok(Accepted { raw, .. }) if !raw.as_str().starts_with('{') => "it is not an object".to_owned(),
            Ok(Accepted { raw, corrected }) => match of(raw) {
                Ok((id, record)) => {
                    self.taken.push(record);
                    self.odd.extend(corrected.then(|| OddRecord::corrected(id, text)));
                    return Ok(());
                }
                Err(reason) => reason,
            },
        };
        if self.odd.len() >= MAX_ODD_RECORDS {
            return Err(serde::de::Error::custom(format!("more than {MAX_ODD_RECORDS} records cannot be read")));
        }
        let id = known_id().unwrap_or_else(|| stand_in(text));
        self.odd.push(OddRecord::set_aside(id, reason, text));
        Ok(())
    }

    /// As [`Sorted::add`], for a record that is stored under its own id.
    fn add_by_id(
        &mut self,
        text: &[u8],
        of: impl FnOnce(u64, RawJson) -> Result<T, String>,
    ) -> Result<(), serde_json::Error> {
        let of = |raw: RawJson| match id_in(raw.as_str().as_bytes()) {
            Some(id) => of(id, raw).map(|record| (id, record)),
            None => Err(NO_ID.to_owned()),
        };
        self.add(text, || id_in(text), of)
    }
}

const NO_ID: &str = "its id is not an integer from 1 to 2^63 - 1";

/// The id of a record; also of one that is not acceptable, if it can be read.
fn id_in(text: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        id: &'a RawValue,
    }
    let view: View<'_> = serde_json::from_slice(text).ok()?;
    exact_id(view.id.get())
}

impl Sorted<Signature> {
    /// Adds the record of a signature under its key in the server's list. The record's own id may be anything.
    ///
    /// # Errors
    /// `serde_json`'s, when the text is not JSON.
    pub fn add_signature(&mut self, key: u64, text: &[u8]) -> Result<(), serde_json::Error> {
        let id = exact_id(&key.to_string());
        let of = |raw| id.map(|id| (id, Signature { id: SignatureId(id), raw })).ok_or_else(|| NO_ID.to_owned());
        self.add(text, || id, of)
    }
}

impl Sorted<Signature> {
    /// Adds the record of a signature under its own id.
    ///
    /// # Errors
    /// `serde_json`'s, when the text is not JSON.
    pub fn add_own_signature(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        self.add_by_id(text, |id, raw| Ok(Signature { id: SignatureId(id), raw }))
    }
}

impl Sorted<AlertSummary> {
    /// Adds the record of an alert summary. Its other fields may be anything.
    ///
    /// # Errors
    /// `serde_json`'s, when the text is not JSON.
    pub fn add_alert_summary(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        self.add_by_id(text, |id, raw| Ok(AlertSummary { id: AlertSummaryId(id), raw }))
    }
}

impl Sorted<Job> {
    /// Adds the record of a job. Its times must be readable: a job without them would count as one that the server has not
    /// measured.
    ///
    /// # Errors
    /// `serde_json`'s, when the text is not JSON.
    pub fn add_job(&mut self, text: &[u8]) -> Result<(), serde_json::Error> {
        self.add_by_id(text, |id, raw| JobTimes::of(&raw).map(|_| Job { id: JobId(id), raw }))
    }
}

impl Sorted<DatumRecord> {
    /// Adds the datum with this text, the `number`th of its list, from 1. It needs the time of its push.
    ///
    /// # Errors
    /// `serde_json`'s, when the text is not JSON.
    pub fn add_datum(&mut self, number: usize, text: &[u8]) -> Result<(), serde_json::Error> {
        if let Ok(text) = std::str::from_utf8(text)
            && let Ok(regular @ DatumRecord::Regular(_)) = parse_datum(text)
        {
            self.taken.push(regular);
            return Ok(());
        }
        let num_odd = self.odd.len();
        let of = |raw: RawJson| match parse_datum(raw.as_str()) {
            // Several data of a list may have one id, or none.
            Ok(datum) => Ok((stand_in(text), datum)),
            Err(error) => Err(error.to_string()),
        };
        self.add(text, || None, of)?;
        for odd in &mut self.odd[num_odd..] {
            odd.reason = format!("datum {number}: {}", odd.reason);
        }
        Ok(())
    }
}

impl JobTimes {
    /// The times in the record of a job; an absent one may also be null.
    ///
    /// # Errors
    /// The field that is not an integer.
    pub fn of(record: &RawJson) -> Result<Self, String> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        #[expect(clippy::struct_field_names, reason = "the API's names")]
        struct View<'a> {
            #[serde(borrow)]
            submit_timestamp: Option<&'a RawValue>,
            #[serde(borrow)]
            start_timestamp: Option<&'a RawValue>,
            #[serde(borrow)]
            end_timestamp: Option<&'a RawValue>,
        }
        let view: View<'_> = record.view().map_err(|error| error.to_string())?;
        let secs = |name: &str, raw: Option<&RawValue>| match raw.map(RawValue::get) {
            None | Some("null") => Ok(None),
            Some(raw) => exact_integer(raw).map(Some).ok_or_else(|| format!("its {name} is not an integer")),
        };
        Ok(Self {
            submit_secs: secs("submit_timestamp", view.submit_timestamp)?,
            start_secs: secs("start_timestamp", view.start_timestamp)?,
            end_secs: secs("end_timestamp", view.end_timestamp)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn odd<T>(sorted: &Sorted<T>) -> Vec<(u64, bool)> {
        sorted.odd.iter().map(|odd| (odd.record, odd.taken)).collect()
    }

    #[test]
    fn a_job_needs_an_id_and_readable_times_and_nothing_else() {
        let mut jobs = Sorted::default();
        for text in [
            r#"{"id":1,"submit_timestamp":null,"start_timestamp":5.0,"end_timestamp":"6"}"#,
            r#"{"id":2.0,"name":7}"#,
            r#"{"id":3,"end_timestamp":"soon"}"#,
            r#"{"id":4,"start_timestamp":1.5}"#,
            r#"{"id":0}"#,
            r#"{"id":9223372036854775808}"#,
            r#"{"id":5,"x":1e400}"#,
            r#"{"id":6,"x":NaN}"#,
            "7",
        ] {
            jobs.add_job(text.as_bytes()).unwrap();
        }
        assert_eq!(jobs.taken.iter().map(|job| job.id.0).collect::<Vec<_>>(), [1, 2, 6]);
        let times = JobTimes { submit_secs: None, start_secs: Some(5), end_secs: Some(6) };
        assert_eq!(JobTimes::of(&jobs.taken[0].raw), Ok(times));
        let odd = odd(&jobs);
        assert_eq!(odd.len(), 7);
        assert_eq!((odd[0], odd[1], odd[4], odd[5]), ((3, false), (4, false), (5, false), (6, true)));
        assert!([2, 3, 6].iter().all(|at| odd[*at].0 > 1 << 63), "{odd:?}");
        assert!(jobs.add_job(b"{").is_err());
    }

    #[test]
    fn a_signature_is_stored_under_its_key_and_an_alert_summary_under_its_id() {
        let mut signatures = Sorted::default();
        for (key, text) in [(4, r#"{"id":5,"framework_id":null}"#), (6, r#"{"id":"6"}"#), (0, "{}"), (8, "[]")] {
            signatures.add_signature(key, text.as_bytes()).unwrap();
        }
        assert_eq!(signatures.taken.iter().map(|signature| signature.id.0).collect::<Vec<_>>(), [4, 6]);
        assert_eq!(odd(&signatures)[1], (8, false));
        let mut alerts = Sorted::default();
        for text in [r#"{"id":4,"created":null}"#, r#"{"id":null}"#, r#"{"id":1,"id":2}"#] {
            alerts.add_alert_summary(text.as_bytes()).unwrap();
        }
        assert_eq!(alerts.taken.iter().map(|summary| summary.id.0).collect::<Vec<_>>(), [4, 2]);
        assert_eq!(alerts.taken[1].raw.as_str(), r#"{"id":2}"#);
        assert_eq!(alerts.odd.len(), 2);
    }
}
