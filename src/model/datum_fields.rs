//! The fields of a datum that does not have the documented form.
//!
//! A field is read as widely as its meaning is certain: pandas writes an integer of a column with nulls as `560000271.0`,
//! and other tools write ids as text. [`DatumFields`] tells a field that the server left out or set to null from one that
//! cannot be read, because only the former means that the job was deleted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::{DatumId, JobId, PushId, Revision, Timestamp, exact_integer};

/// Ids are below this: the server's are signed, and so are those of Parquet and of most readers.
pub(super) const IDS_END: u64 = 1 << 63;

/// The fields of a datum as text. The last one of repeated keys counts, as in Python.
#[derive(Clone, Copy, Debug, Default)]
pub struct DatumFields<'a> {
    job_id: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    pub(super) push_timestamp: Option<&'a RawValue>,
    push_id: Option<&'a RawValue>,
    revision: Option<&'a RawValue>,
    submit_time: Option<&'a RawValue>,
    value: Option<&'a RawValue>,
    machine_name: Option<&'a RawValue>,
}

/// The submission of a datum's job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submission {
    /// Null or absent: the server has deleted the job.
    Deleted,
    /// The time.
    At(Timestamp),
    /// A value that is not a time.
    Unreadable,
}

impl<'a> DatumFields<'a> {
    /// Reads the fields of an object.
    ///
    /// # Errors
    /// `serde_json`'s, when `raw` is not one JSON object.
    pub fn read(raw: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(raw)
    }

    /// See [`super::Datum::job_id`].
    #[must_use]
    pub fn job_id(&self) -> Option<JobId> {
        self.job_id.and_then(id_of).map(JobId)
    }

    /// True if there is a job id that cannot be read.
    #[must_use]
    pub fn has_unreadable_job_id(&self) -> bool {
        is_there(self.job_id) && self.job_id().is_none()
    }

    /// True if a field has a value that a typed table cannot hold, so that it must be null there.
    #[must_use]
    pub fn has_unreadable(&self) -> bool {
        self.has_unreadable_job_id()
            || (is_there(self.id) && self.id().is_none())
            || (is_there(self.push_id) && self.push_id().is_none())
            || (is_there(self.revision) && self.revision().is_none())
            || (is_there(self.value) && self.value().is_none())
            || (is_there(self.machine_name) && self.machine_name().is_none())
            || self.submission() == Submission::Unreadable
    }

    /// See [`super::Datum::value`]; the nearest float to a number.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        let text = self.value?.get();
        let is_number = text.starts_with(|first: char| first.is_ascii_digit() || first == '-');
        text.parse().ok().filter(|value: &f64| is_number && value.is_finite())
    }

    /// See [`super::Datum::machine_name`].
    #[must_use]
    pub fn machine_name(&self) -> Option<SmolStr> {
        self.machine_name.and_then(string).map(Into::into)
    }

    /// The job under which a datum without the key `job_id` is listed: its own id, as in the reference scripts.
    #[must_use]
    pub fn job_without_key(&self) -> Option<JobId> {
        self.id.filter(|_| self.job_id.is_none()).and_then(id_of).map(JobId)
    }

    /// See [`super::Datum::id`]; `None` for 0 too, which the columns store for data without an id.
    #[must_use]
    pub fn id(&self) -> Option<DatumId> {
        self.id.and_then(id_of).filter(|id| *id != 0).map(DatumId)
    }

    /// See [`super::Datum::push_id`].
    #[must_use]
    pub fn push_id(&self) -> Option<PushId> {
        self.push_id.and_then(id_of).map(PushId)
    }

    /// `None` if it is not a hash.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.revision.and_then(string)?.parse().ok()
    }

    /// The submission of the job; any notation of a time counts.
    #[must_use]
    pub fn submission(&self) -> Submission {
        let Some(raw) = self.submit_time.filter(|raw| !is_null(raw)) else { return Submission::Deleted };
        let read = |text: String| text.parse().ok().or_else(|| strptime_secs(&text).map(Timestamp::from_secs));
        string(raw).and_then(read).map_or(Submission::Unreadable, Submission::At)
    }

    /// Time from the push to the submission, seconds, as the reference scripts read both: whole seconds without an offset,
    /// and no other notation. [`Submission::Deleted`] for every empty value of `submit_time`.
    ///
    /// # Errors
    /// [`Submission`] when there is no such time.
    pub fn scripts_delay_secs(&self) -> Result<i64, Submission> {
        let submitted = self.submit_time.filter(|raw| !is_empty(raw)).ok_or(Submission::Deleted)?;
        let read = |raw: &RawValue| string(raw).and_then(|text| strptime_secs(&text));
        match (self.push_timestamp.and_then(read), read(submitted)) {
            (Some(pushed), Some(submitted)) => Ok(submitted - pushed),
            _ => Err(Submission::Unreadable),
        }
    }

    /// The name and text of the first id that no reader of signed integers can hold.
    pub(super) fn too_large(&self) -> Option<(&'static str, &'a str)> {
        let ids = [("job_id", self.job_id), ("id", self.id), ("push_id", self.push_id)];
        let mut texts = ids.into_iter().filter_map(|(name, raw)| Some((name, raw?.get())));
        texts.find(|(_, text)| text.bytes().all(|byte| byte.is_ascii_digit()) && exact_integer(text).is_none())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for DatumFields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = DatumFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a datum, an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<DatumFields<'de>, A::Error> {
                let mut fields = DatumFields::default();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    match &*key {
                        "job_id" => fields.job_id = Some(value),
                        "id" => fields.id = Some(value),
                        "push_timestamp" => fields.push_timestamp = Some(value),
                        "push_id" => fields.push_id = Some(value),
                        "revision" => fields.revision = Some(value),
                        "submit_time" => fields.submit_time = Some(value),
                        "value" => fields.value = Some(value),
                        "machine_name" => fields.machine_name = Some(value),
                        _ => {}
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// An id, which may be 0; see [`exact_integer`].
fn id_of(raw: &RawValue) -> Option<u64> {
    u64::try_from(exact_integer(raw.get())?).ok()
}

pub(super) fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn is_there(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| !is_null(raw))
}

fn is_null(raw: &RawValue) -> bool {
    raw.get() == "null"
}

/// True for a value that Python takes for false.
fn is_empty(raw: &RawValue) -> bool {
    match serde_json::from_str(raw.get()) {
        Ok(Value::Null | Value::Bool(false)) => true,
        Ok(Value::Number(number)) => number.as_f64() == Some(0.0),
        Ok(Value::String(text)) => text.is_empty(),
        Ok(Value::Array(values)) => values.is_empty(),
        Ok(Value::Object(entries)) => entries.is_empty(),
        Ok(Value::Bool(true)) | Err(_) => false,
    }
}

/// Reads a time as Python's `strptime` does with `%Y-%m-%dT%H:%M:%S`: fields of one digit are allowed, nothing else.
fn strptime_secs(text: &str) -> Option<i64> {
    let (date, time) = text.split_once(['T', 't'])?;
    let fields = |text: &str, separator| -> Option<[String; 3]> {
        let mut fields = text.split(separator);
        let fields = [fields.next()?, fields.next()?, fields.next().filter(|_| fields.next().is_none())?];
        fields.iter().all(|field| !field.is_empty()).then(|| fields.map(|field| format!("{field:0>2}")))
    };
    let ([year, month, day], [hour, minute, second]) = (fields(date, '-')?, fields(time, ':')?);
    // The day is the only field that may begin with a blank.
    let day = day.strip_prefix(' ').map(|digit| format!("0{digit}")).unwrap_or(day);
    let padded = format!("{year}-{month}-{day}T{hour}:{minute}:{second}");
    Timestamp::parse_naive(&padded).filter(|_| padded.len() == 19 && year != "0000").map(Timestamp::as_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(raw: &str) -> DatumFields<'_> {
        DatumFields::read(raw).unwrap()
    }

    #[test]
    fn ids_are_read_from_every_notation_that_has_one_meaning() {
        for (text, id) in [
            ("560000271", Some(560_000_271)),
            ("560000271.0", Some(560_000_271)),
            ("5.6e8", Some(560_000_000)),
            ("\"560000271\"", Some(560_000_271)),
            ("\" 7 \"", Some(7)),
            ("0", Some(0)),
            ("9223372036854775807", Some(i64::MAX.unsigned_abs())),
            ("9223372036854775808", None),
            ("1e400", None),
            ("5.5", None),
            ("-5", None),
            ("-5.0", None),
            ("1e18", None),
            ("\"\"", None),
            ("\"+5\"", None),
            ("\"0x5\"", None),
            ("true", None),
            ("null", None),
            ("[5]", None),
        ] {
            let raw = format!("{{\"job_id\":{text}}}");
            let fields = fields(&raw);
            assert_eq!(fields.job_id(), id.map(JobId), "{text}");
            assert_eq!(fields.has_unreadable_job_id(), id.is_none() && text != "null", "{text}");
        }
    }

    #[test]
    fn a_value_of_another_type_is_unreadable_and_null_is_not() {
        for (key, readable, unreadable) in [
            ("value", ["1", "-1.5e3"], ["\"1\"", "true"]),
            ("machine_name", ["\"m\"", "\"\\u0000\""], ["7", "[]"]),
            ("push_id", ["7", "7.0"], ["-7", "\"\""]),
            ("submit_time", ["\"2026-07-28\"", "\"2026-07-28T00:00:00Z\""], ["\"soon\"", "0"]),
        ] {
            let has = |value: &str| fields(&format!("{{\"{key}\":{value}}}")).has_unreadable();
            assert!(readable.into_iter().chain(["null"]).all(|value| !has(value)), "{key}");
            assert!(unreadable.into_iter().all(has), "{key}");
        }
    }

    #[test]
    fn a_datum_is_listed_under_its_own_id_only_without_the_key_of_a_job() {
        assert_eq!(fields("{\"id\":7}").job_without_key(), Some(JobId(7)));
        assert_eq!(fields("{\"id\":7,\"job_id\":null}").job_without_key(), None);
        assert_eq!(fields("{\"id\":null}").job_without_key(), None);
    }

    #[test]
    fn only_null_and_absent_mean_a_deleted_job() {
        let of = |value: &str| fields(&format!("{{\"submit_time\":{value}}}")).submission();
        assert_eq!(of("null"), Submission::Deleted);
        assert_eq!(fields("{}").submission(), Submission::Deleted);
        let at = Submission::At("2026-07-17T19:04:21".parse().unwrap());
        for time in
            ["2026-07-17T19:04:21", "2026-07-17T19:04:21.000000", "2026-07-17T19:04:21Z", "2026-07-17T21:04:21+02:00"]
        {
            assert_eq!(of(&format!("\"{time}\"")), at, "{time}");
        }
        for value in ["\"\"", "\"soon\"", "7", "true", "[]", "\"\\ud800\""] {
            assert_eq!(of(value), Submission::Unreadable, "{value}");
        }
    }

    #[test]
    fn the_scripts_read_whole_seconds_without_an_offset_and_nothing_else() {
        let delay = |pushed: &str, submitted: &str| {
            fields(&format!("{{\"push_timestamp\":{pushed},\"submit_time\":{submitted}}}")).scripts_delay_secs()
        };
        let push = "\"2026-07-01T09:04:20\"";
        for (submitted, expected) in [
            ("\"2026-07-01T09:04:21\"", Ok(1)),
            ("\"2026-7-1T9:4:20\"", Ok(0)),
            ("\"2026-07- 1t09:04:20\"", Ok(0)),
            ("\"2026-07-01T09:04:21.000000\"", Err(Submission::Unreadable)),
            ("\"2026-07-01T09:04:21Z\"", Err(Submission::Unreadable)),
            ("\"2026-07-01T09:04:21+00:00\"", Err(Submission::Unreadable)),
            ("\"2026-07-01 09:04:21\"", Err(Submission::Unreadable)),
            ("\"2026-07-01T09:04:60\"", Err(Submission::Unreadable)),
            ("\"2026-07-1 T09:04:20\"", Err(Submission::Unreadable)),
            ("\"2026-07-01T:04:20\"", Err(Submission::Unreadable)),
            ("\"2026-007-01T09:04:20\"", Err(Submission::Unreadable)),
            ("\"26-07-01T09:04:20\"", Err(Submission::Unreadable)),
            ("\"0000-07-01T09:04:20\"", Err(Submission::Unreadable)),
            ("\"2026-07-01\"", Err(Submission::Unreadable)),
            ("true", Err(Submission::Unreadable)),
            ("7", Err(Submission::Unreadable)),
            ("null", Err(Submission::Deleted)),
            ("\"\"", Err(Submission::Deleted)),
            ("0.0", Err(Submission::Deleted)),
            ("false", Err(Submission::Deleted)),
            ("{}", Err(Submission::Deleted)),
        ] {
            assert_eq!(delay(push, submitted), expected, "{submitted}");
        }
        assert_eq!(delay("\"2026-07-01T09:04:20Z\"", "\"2026-07-01T09:04:21\""), Err(Submission::Unreadable));
        assert_eq!(delay("\"2026-07-01T09:04:20Z\"", "null"), Err(Submission::Deleted));
    }
}
