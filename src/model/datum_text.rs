//! The JSON text of a datum: read into its typed form, and made again from it.
//!
//! The server's compact text goes in; a datum is [`DatumRecord::Regular`] if and only if its typed form makes the
//! same bytes again, so that what is stored typed is stored without loss. Everything else keeps its text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::datum_scan::{Spacing, scan_datum};
use super::{Datum, DatumId, DatumRecord, IrregularDatum, JobId, PushId, RawJson, Revision, Timestamp, write_float};

/// A datum of the documented form that borrows its machine's name: what its text is made from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatumView<'a> {
    /// See [`Datum::job_id`].
    pub job_id: Option<JobId>,
    /// See [`Datum::id`].
    pub id: DatumId,
    /// See [`Datum::value`].
    pub value: f64,
    /// See [`Datum::push_timestamp`].
    pub push_timestamp: Timestamp,
    /// See [`Datum::push_id`].
    pub push_id: PushId,
    /// See [`Datum::revision`].
    pub revision: Revision,
    /// See [`Datum::submit_time`].
    pub submit_time: Option<Timestamp>,
    /// See [`Datum::machine_name`].
    pub machine_name: Option<&'a str>,
}

/// What stands before each value of a datum's object, and after the last.
pub(super) struct Template {
    pub(super) job_id: &'static [u8],
    pub(super) id: &'static [u8],
    pub(super) value: &'static [u8],
    pub(super) push_timestamp: &'static [u8],
    pub(super) push_id: &'static [u8],
    pub(super) revision: &'static [u8],
    pub(super) submit_time: &'static [u8],
    pub(super) machine_name: &'static [u8],
    /// Python escapes what is not ASCII, the server does not.
    ascii_only: bool,
}

pub(super) const COMPACT: Template = Template {
    job_id: br#"{"job_id":"#,
    id: br#","id":"#,
    value: br#","value":"#,
    push_timestamp: br#","push_timestamp":""#,
    push_id: br#"","push_id":"#,
    revision: br#","revision":""#,
    submit_time: br#"","submit_time":"#,
    machine_name: br#","machine_name":"#,
    ascii_only: false,
};

pub(super) const PYTHON: Template = Template {
    job_id: br#"{"job_id": "#,
    id: br#", "id": "#,
    value: br#", "value": "#,
    push_timestamp: br#", "push_timestamp": ""#,
    push_id: br#"", "push_id": "#,
    revision: br#", "revision": ""#,
    submit_time: br#"", "submit_time": "#,
    machine_name: br#", "machine_name": "#,
    ascii_only: true,
};

/// Longer than a datum's text with a machine's name of usual length.
const USUAL_TEXT_BYTES: usize = 320;

impl DatumView<'_> {
    /// Appends the server's compact JSON, `{"job_id":560000479,"id":…}`.
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        self.write(&COMPACT, out);
    }

    /// Appends the JSON of Python's `json.dumps`, `{"job_id": 560000479, "id": …}`.
    pub fn write_python(&self, out: &mut Vec<u8>) {
        self.write(&PYTHON, out);
    }

    #[inline]
    fn write(&self, template: &Template, out: &mut Vec<u8>) {
        out.reserve(USUAL_TEXT_BYTES);
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(template.job_id);
        match self.job_id {
            Some(job_id) => out.extend_from_slice(digits.format(job_id.0).as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(template.id);
        out.extend_from_slice(digits.format(self.id.0).as_bytes());
        out.extend_from_slice(template.value);
        write_float(self.value, out);
        out.extend_from_slice(template.push_timestamp);
        self.push_timestamp.write_naive(out);
        out.extend_from_slice(template.push_id);
        out.extend_from_slice(digits.format(self.push_id.0).as_bytes());
        out.extend_from_slice(template.revision);
        out.extend_from_slice(&self.revision.to_hex());
        out.extend_from_slice(template.submit_time);
        match self.submit_time {
            Some(submit_time) => {
                out.push(b'"');
                submit_time.write_naive(out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(template.machine_name);
        match self.machine_name {
            Some(name) => write_string(name, template.ascii_only, out),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}

impl Datum {
    /// The datum, borrowed.
    #[must_use]
    pub fn view(&self) -> DatumView<'_> {
        DatumView {
            job_id: self.job_id,
            id: self.id,
            value: self.value,
            push_timestamp: self.push_timestamp,
            push_id: self.push_id,
            revision: self.revision,
            submit_time: self.submit_time,
            machine_name: self.machine_name.as_deref(),
        }
    }

    /// See [`DatumView::write_compact`].
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        self.view().write_compact(out);
    }

    /// See [`DatumView::write_python`].
    pub fn write_python(&self, out: &mut Vec<u8>) {
        self.view().write_python(out);
    }
}

impl From<DatumView<'_>> for Datum {
    fn from(view: DatumView<'_>) -> Self {
        Self {
            job_id: view.job_id,
            id: view.id,
            value: view.value,
            push_timestamp: view.push_timestamp,
            push_id: view.push_id,
            revision: view.revision,
            submit_time: view.submit_time,
            machine_name: view.machine_name.map(SmolStr::new),
        }
    }
}

/// True for text that stands between quotes as it is, in every JSON.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}

/// Appends a JSON string. Names read from the server are plain ([`parse_datum`]); a name made by hand need not be.
fn write_string(text: &str, ascii_only: bool, out: &mut Vec<u8>) {
    out.push(b'"');
    if is_plain(text) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for char in text.chars() {
            match char {
                '"' | '\\' => out.extend_from_slice(&[b'\\', char as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                _ if char < ' ' || (ascii_only && char > '~') => {
                    for unit in char.encode_utf16(&mut [0; 2]) {
                        out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                    }
                }
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

/// Reads one datum's text.
///
/// Needed are an `id`, an integer that is not negative, and a `push_timestamp`, a string that is a time. Other fields
/// may be missing, be more or be of another type: the datum is then irregular. Regular is what
/// [`Datum::write_compact`] writes again byte for byte.
///
/// # Errors
/// When the text is not one JSON object, or `id` or `push_timestamp` is missing or of another form.
pub fn parse_datum(raw: &str) -> Result<DatumRecord, serde_json::Error> {
    if let Some((view, len)) = scan_datum(raw.as_bytes(), Spacing::Compact)
        && len == raw.len()
    {
        return Ok(DatumRecord::Regular(view.into()));
    }
    match parse_regular(raw) {
        Some(datum) => Ok(DatumRecord::Regular(datum)),
        None => parse_irregular(raw).map(|datum| DatumRecord::Irregular(Box::new(datum))),
    }
}

/// The documented form. Strings with an escape cannot be borrowed, so they fail here, as they should.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictDatum<'a> {
    job_id: Option<u64>,
    id: u64,
    // Its text, since serde_json's own reading may be off by the last bit.
    #[serde(borrow)]
    value: &'a RawValue,
    push_timestamp: &'a str,
    push_id: u64,
    revision: &'a str,
    submit_time: Option<&'a str>,
    machine_name: Option<&'a str>,
}

fn parse_regular(raw: &str) -> Option<Datum> {
    let strict: StrictDatum<'_> = serde_json::from_str(raw).ok()?;
    let view = DatumView {
        job_id: strict.job_id.map(JobId),
        id: DatumId(strict.id),
        value: strict.value.get().parse().ok()?,
        push_timestamp: Timestamp::parse_naive(strict.push_timestamp)?,
        push_id: PushId(strict.push_id),
        revision: strict.revision.parse().ok()?,
        submit_time: match strict.submit_time {
            Some(text) => Some(Timestamp::parse_naive(text)?),
            None => None,
        },
        machine_name: strict.machine_name,
    };
    if !view.machine_name.is_none_or(is_plain) {
        return None;
    }
    let mut again = Vec::with_capacity(USUAL_TEXT_BYTES);
    view.write_compact(&mut again);
    (again == raw.as_bytes()).then(|| view.into())
}

/// The fields that are made use of, each still text. Of a key that comes twice the last counts, as in Python.
#[derive(Default)]
struct LooseDatum<'a> {
    job_id: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    push_timestamp: Option<&'a RawValue>,
    push_id: Option<&'a RawValue>,
    revision: Option<&'a RawValue>,
    submit_time: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for LooseDatum<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LooseVisitor;
        impl<'de> Visitor<'de> for LooseVisitor {
            type Value = LooseDatum<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a datum, an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<LooseDatum<'de>, A::Error> {
                let mut datum = LooseDatum::default();
                while let Some((key, value)) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    match &*key {
                        "job_id" => datum.job_id = Some(value),
                        "id" => datum.id = Some(value),
                        "push_timestamp" => datum.push_timestamp = Some(value),
                        "push_id" => datum.push_id = Some(value),
                        "revision" => datum.revision = Some(value),
                        "submit_time" => datum.submit_time = Some(value),
                        _ => {}
                    }
                }
                Ok(datum)
            }
        }
        deserializer.deserialize_map(LooseVisitor)
    }
}

fn parse_irregular(raw: &str) -> Result<IrregularDatum, serde_json::Error> {
    let loose: LooseDatum<'_> = serde_json::from_str(raw)?;
    let id = loose.id.ok_or_else(|| de::Error::missing_field("id"))?;
    let landed = loose.push_timestamp.ok_or_else(|| de::Error::missing_field("push_timestamp"))?;
    let landed: String = serde_json::from_str(landed.get())?;
    Ok(IrregularDatum {
        job_id: integer(loose.job_id).map(JobId),
        id: DatumId(serde_json::from_str(id.get())?),
        push_timestamp: landed.parse().map_err(de::Error::custom)?,
        push_id: PushId(integer(loose.push_id).unwrap_or_default()),
        revision: string(loose.revision).and_then(|text| text.parse().ok()),
        submit_time: string(loose.submit_time).and_then(|text| text.parse().ok()),
        raw: RawJson::parse(raw)?,
    })
}

fn integer(raw: Option<&RawValue>) -> Option<u64> {
    serde_json::from_str(raw?.get()).ok()
}

fn string(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REGULAR: &str = concat!(
        r#"{"job_id":560000479,"id":2150001859,"value":825817.8979898616,"push_timestamp":"2026-07-28T14:48:47","#,
        r#""push_id":1800028,"revision":"4a0848c8a72f6b814209205af46df1dbc1688697","#,
        r#""submit_time":"2026-07-31T19:43:55.323121","machine_name":"t-linux64-ms-010"}"#
    );

    fn irregular(raw: &str) -> IrregularDatum {
        match parse_datum(raw).unwrap() {
            DatumRecord::Irregular(datum) => *datum,
            DatumRecord::Regular(_) => panic!("regular: {raw}"),
        }
    }

    #[test]
    fn documented_form_is_regular_and_comes_out_in_both_spacings() {
        let expired = concat!(
            r#"{"job_id":null,"id":1,"value":4.36e-05,"push_timestamp":"2026-07-28T14:48:47","push_id":0,"#,
            r#""revision":"4a0848c8a72f6b814209205af46df1dbc1688697","submit_time":null,"machine_name":null}"#
        );
        for raw in [REGULAR, expired] {
            let DatumRecord::Regular(datum) = parse_datum(raw).unwrap() else { panic!("irregular: {raw}") };
            let mut out = Vec::new();
            datum.write_compact(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), raw);
            let mut out = Vec::new();
            datum.write_python(&mut out);
            let spaced = raw.replace(r#"":"#, r#"": "#).replace(r#",""#, r#", ""#);
            assert_eq!(String::from_utf8(out).unwrap(), spaced);
        }
    }

    #[test]
    fn any_other_text_is_kept() {
        for (from, to) in [
            ("560000479", "-1"),
            ("560000479", "5.0"),
            ("560000479", "\"5\""),
            ("825817.8979898616", "825817.89798986160"),
            ("825817.8979898616", "825817"),
            ("825817.8979898616", "\"high\""),
            ("825817.8979898616", "null"),
            ("825817.8979898616", "1e16"),
            ("825817.8979898616", "1e999"),
            ("2026-07-28T14:48:47", "2026-07-28T14:48:47Z"),
            ("2026-07-28T14:48:47", "2026-07-28T14:48:47.000000"),
            ("2026-07-31T19:43:55.323121", "soon"),
            ("4a0848c8", "4A0848C8"),
            ("4a0848c8", ""),
            ("t-linux64-ms-010", "t-lin\\u0075x"),
            ("t-linux64-ms-010", "t-lin\\\"x"),
            ("t-linux64-ms-010", "é"),
            ("\"push_id\":1800028,", ""),
            (",\"machine_name\"", ",\"os\":[{}],\"machine_name\""),
            (",\"push_id\"", ", \"push_id\""),
        ] {
            let raw = REGULAR.replacen(from, to, 1);
            assert_ne!(raw, REGULAR);
            assert_eq!(irregular(&raw).raw.as_str(), raw);
        }
    }

    #[test]
    fn irregular_datum_gives_what_can_be_read() {
        let raw = REGULAR.replacen("2026-07-28T14:48:47", "2026-07-28T16:48:47+02:00", 1);
        let datum = irregular(&raw);
        assert_eq!(datum.job_id, Some(JobId(560_000_479)));
        assert_eq!(datum.id, DatumId(2_150_001_859));
        assert_eq!(datum.push_timestamp, "2026-07-28T14:48:47".parse().unwrap());
        assert_eq!(datum.push_id, PushId(1_800_028));
        assert_eq!(datum.revision.unwrap().to_string(), "4a0848c8a72f6b814209205af46df1dbc1688697");
        assert_eq!(datum.submit_time, Some("2026-07-31T19:43:55.323121".parse().unwrap()));
        let least = irregular(r#"{"push_timestamp":"2026-07-28","id":3,"id":4,"submit_time":7,"revision":"no"}"#);
        assert_eq!((least.id, least.job_id, least.push_id), (DatumId(4), None, PushId(0)));
        assert_eq!((least.revision, least.submit_time), (None, None));
    }

    #[test]
    fn datum_without_identity_or_time_is_an_error() {
        for raw in [
            "",
            "null",
            "[null,1]",
            r#"{"id":1}"#,
            r#"{"push_timestamp":"2026-07-28T14:48:47"}"#,
            r#"{"id":-1,"push_timestamp":"2026-07-28T14:48:47"}"#,
            r#"{"id":"1","push_timestamp":"2026-07-28T14:48:47"}"#,
            r#"{"id":1,"push_timestamp":"soon"}"#,
            r#"{"id":1,"push_timestamp":{"a":"2026-07-28T14:48:47"}}"#,
            r#"{"id":1,"push_timestamp":1785250127}"#,
            r#"{"id":1,"push_timestamp":"2026-07-28T14:48:47"} 2"#,
            r#"[null,1,1.0,"2026-07-28T14:48:47",1,"4a0848c8a72f6b814209205af46df1dbc1688697",null,null]"#,
        ] {
            assert!(parse_datum(raw).is_err(), "{raw}");
        }
    }

    #[test]
    fn names_that_are_not_plain_are_escaped() {
        let mut out = Vec::new();
        write_string("a\"\\\n\u{1}é😀", true, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"a\\\"\\\\\\n\\u0001\\u00e9\\ud83d\\ude00\"");
        let mut out = Vec::new();
        write_string("é\u{1}", false, &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "\"é\\u0001\"");
    }

    proptest! {
        #[test]
        fn every_datum_of_the_documented_form_is_read_as_it_was_written(
            job_id in proptest::option::of(any::<u64>()),
            id: u64,
            bits: u64,
            push_micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000,
            push_id: u64,
            revision: [u8; 20],
            submit_micros in proptest::option::of(-60_000_000_000_000_000_i64..250_000_000_000_000_000),
            machine_name in proptest::option::of("[ !#-\\[\\]-~]{0,40}"),
        ) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let datum = Datum {
                job_id: job_id.map(JobId),
                id: DatumId(id),
                value,
                push_timestamp: Timestamp::from_micros(push_micros),
                push_id: PushId(push_id),
                revision: Revision(revision),
                submit_time: submit_micros.map(Timestamp::from_micros),
                machine_name: machine_name.map(Into::into),
            };
            let mut text = Vec::new();
            datum.write_compact(&mut text);
            let DatumRecord::Regular(again) = parse_datum(std::str::from_utf8(&text).unwrap()).unwrap() else {
                return Err(TestCaseError::fail("irregular"));
            };
            prop_assert_eq!(again.value.to_bits(), bits);
            prop_assert_eq!(again, datum);
        }
    }
}
