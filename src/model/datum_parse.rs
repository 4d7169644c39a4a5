//! A datum's text to its typed form.
//!
//! A datum is [`DatumRecord::Regular`] if and only if its typed form gives the same bytes again, so that typed data are
//! stored without loss. Every other datum keeps its text.

use serde::de;
use serde_json::value::RawValue;

use super::datum_fields::{DatumFields, IDS_END, Submission};
use super::datum_scan::{Spacing, scan_datum};
use super::datum_text::{DatumView, USUAL_TEXT_BYTES, is_plain};
use super::{Datum, DatumId, DatumRecord, IrregularDatum, JobId, PushId, RawJson, Timestamp};

/// Reads the text of one datum.
///
/// It needs a `push_timestamp`, a string with a time. If other fields are missing, added or of another type, the datum is
/// irregular. It is regular if [`Datum::write_compact`] gives the same bytes. Text from a server or a file goes through
/// [`super::Sorted::add_datum`], because JSON may hold what readers of the dataset cannot take.
///
/// # Errors
/// `serde_json`'s, when the text is not one JSON object, `push_timestamp` is missing or invalid, or an id is 2^63 or more.
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

/// Most digits of an id in an error, characters.
const MAX_SHOWN: usize = 40;

/// The documented form. Strings with escapes cannot be borrowed, so they fail here: such data are irregular.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct StrictDatum<'a> {
    job_id: Option<u64>,
    id: u64,
    // As text, since serde_json's float may differ in the last bit.
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
    let ids = [strict.job_id.unwrap_or_default(), strict.id, strict.push_id];
    if !view.machine_name.is_none_or(is_plain) || ids.iter().any(|id| *id >= IDS_END) {
        return None;
    }
    let mut again = Vec::with_capacity(USUAL_TEXT_BYTES);
    view.write_compact(&mut again);
    (again == raw.as_bytes()).then(|| view.into())
}

fn parse_irregular(raw: &str) -> Result<IrregularDatum, serde_json::Error> {
    let fields = DatumFields::read(raw)?;
    let landed = fields.push_timestamp.ok_or_else(|| de::Error::missing_field("push_timestamp"))?;
    let landed: String = serde_json::from_str(landed.get())?;
    if let Some((name, text)) = fields.too_large() {
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        return Err(de::Error::custom(format!("{name} {shown} is not below 2^63")));
    }
    Ok(IrregularDatum {
        job_id: fields.job_id(),
        id: fields.id(),
        push_timestamp: landed.parse().map_err(de::Error::custom)?,
        push_id: fields.push_id().unwrap_or_default(),
        revision: fields.revision(),
        submit_time: match fields.submission() {
            Submission::At(time) => Some(time),
            Submission::Deleted | Submission::Unreadable => None,
        },
        raw: RawJson::parse(raw)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Revision, Sorted};

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
        assert_eq!(datum.id, Some(DatumId(2_150_001_859)));
        assert_eq!(datum.push_timestamp, "2026-07-28T14:48:47".parse().unwrap());
        assert_eq!(datum.push_id, PushId(1_800_028));
        assert_eq!(datum.revision.unwrap().to_string(), "4a0848c8a72f6b814209205af46df1dbc1688697");
        assert_eq!(datum.submit_time, Some("2026-07-31T19:43:55.323121".parse().unwrap()));
        let least = irregular(r#"{"push_timestamp":"2026-07-28","id":3,"id":4,"submit_time":7,"revision":"no"}"#);
        assert_eq!((least.id, least.job_id, least.push_id), (Some(DatumId(4)), None, PushId(0)));
        assert_eq!((least.revision, least.submit_time), (None, None));
    }

    #[test]
    fn a_datum_without_a_usable_id_is_taken() {
        for id in ["null", "\"seven\"", "7.5", "-7", "true", "{}"] {
            let datum = irregular(&REGULAR.replacen("2150001859", id, 1));
            assert_eq!((datum.id, datum.job_id), (None, Some(JobId(560_000_479))), "{id}");
        }
        assert_eq!(irregular(&REGULAR.replacen("\"id\":2150001859,", "", 1)).id, None);
        assert_eq!(irregular(&REGULAR.replacen("2150001859", "2150001859.0", 1)).id, Some(DatumId(2_150_001_859)));
    }

    #[test]
    fn a_datum_that_no_reader_could_take_is_set_aside() {
        let deep = format!("{}7{}", "[".repeat(120), "]".repeat(120));
        let long = "7".repeat(400);
        for (from, to) in [
            ("560000479", "9223372036854775808"),
            ("2150001859", "18446744073709551615"),
            ("1800028", "99999999999999999999"),
            ("825817.8979898616", "1e400"),
            ("825817.8979898616", "-1e400"),
            ("825817.8979898616", &long),
            ("825817.8979898616", &deep),
            ("2026-07-28T14:48:47", "soon"),
            ("\"2026-07-28T14:48:47\"", "{\"a\":\"2026-07-28T14:48:47\"}"),
            ("\"2026-07-28T14:48:47\"", "1785250127"),
            ("\"push_timestamp\":\"2026-07-28T14:48:47\",", ""),
        ] {
            let raw = REGULAR.replacen(from, to, 1);
            assert_ne!(raw, REGULAR);
            let mut data = Sorted::<DatumRecord>::default();
            data.add_datum(3, raw.as_bytes()).unwrap();
            let [odd] = data.odd.as_slice() else { panic!("{raw}") };
            assert!(data.taken.is_empty() && !odd.taken, "{raw}");
            assert!(odd.reason.starts_with("datum 3: ") && odd.reason.len() < 120, "{}", odd.reason);
        }
        for (from, to, corrected) in [
            ("825817.8979898616", "[NaN,-Infinity,1]", "[null,null,1]"),
            ("t-linux64-ms-010", "a\\ud83d b\\ude00 \\ud83d\\ude00", "a\\ufffd b\\ufffd \\ud83d\\ude00"),
            ("submit_time", "\\ud83d", "\u{fffd}"),
        ] {
            let mut data = Sorted::<DatumRecord>::default();
            let raw = REGULAR.replacen(from, to, 1);
            data.add_datum(3, raw.as_bytes()).unwrap();
            assert_eq!(data.taken, [parse_datum(&REGULAR.replacen(from, corrected, 1)).unwrap()]);
            assert_eq!((data.odd[0].taken, data.odd[0].text.as_str()), (true, raw.as_str()));
        }
        let regular = format!("[null,1,1.0,{REGULAR}]");
        for raw in ["", "null", "[null,1]", &format!("{REGULAR} 2"), &regular] {
            assert!(parse_datum(raw).is_err(), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn every_datum_of_the_documented_form_is_read_as_it_was_written(
            job_id in proptest::option::of(0..IDS_END),
            id in 0..IDS_END,
            bits: u64,
            push_micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000,
            push_id in 0..IDS_END,
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
