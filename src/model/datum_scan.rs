//! A scanner for the text of regular data, in the server's spacing or in Python's: one pass, directly to typed fields.
//!
//! It accepts a text if and only if the typed form gives the same bytes again: keys are literal and in order; integers, times,
//! revisions and names have only one text; a float is either short enough to be its own shortest text, or rendered again
//! and compared. Refused texts may still be JSON: `datum_parse` decides.

use std::cell::RefCell;

use pytext::float::write_repr;

use super::datum_fields::IDS_END;
use super::datum_text::{COMPACT, DatumView, PYTHON, Template, is_plain};
use super::{DatumId, DatumRecord, JobId, PushId, Revision, Timestamp};

/// The spaces between the tokens of a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// The server's: `{"a":1,"b":2}`.
    Compact,
    /// That of Python's `json.dumps`: `{"a": 1, "b": 2}`.
    Python,
}

/// Reads the regular datum at the beginning of `text`; also returns its length, bytes. `None` for any other text.
#[must_use]
pub fn scan_datum(text: &[u8], spacing: Spacing) -> Option<(DatumView<'_>, usize)> {
    // The template is a constant in either call, so that its texts are compared by words.
    match spacing {
        Spacing::Compact => scan_as(&COMPACT, text),
        Spacing::Python => scan_as(&PYTHON, text),
    }
}

#[expect(clippy::inline_always, reason = "the template is a constant only where this is inlined")]
#[inline(always)]
fn scan_as<'a>(template: &Template, text: &'a [u8]) -> Option<(DatumView<'a>, usize)> {
    let mut scan = Scan { text, at: 0 };
    scan.literal(template.job_id)?;
    let job_id = if scan.null() { None } else { Some(JobId(scan.integer()?)) };
    scan.literal(template.id)?;
    let id = DatumId(scan.integer()?);
    scan.literal(template.value)?;
    let value = scan.float()?;
    scan.literal(template.push_timestamp)?;
    let push_timestamp = scan.time()?;
    scan.literal(template.push_id)?;
    let push_id = PushId(scan.integer()?);
    scan.literal(template.revision)?;
    let revision = scan.revision()?;
    scan.literal(template.submit_time)?;
    let submit_time = if scan.null() {
        None
    } else {
        scan.literal(b"\"")?;
        let time = scan.time()?;
        scan.literal(b"\"")?;
        Some(time)
    };
    scan.literal(template.machine_name)?;
    let machine_name = if scan.null() { None } else { Some(scan.name()?) };
    scan.literal(b"}")?;
    let view = DatumView { job_id, id, value, push_timestamp, push_id, revision, submit_time, machine_name };
    Some((view, scan.at))
}

/// Reads the list of regular data, in the server's spacing, at the beginning of `text`; also returns its length, bytes. `None`
/// for any other text, which may still hold data.
#[must_use]
pub fn scan_data(text: &[u8]) -> Option<(Vec<DatumRecord>, usize)> {
    let mut data = Vec::new();
    let mut rest = text.strip_prefix(b"[")?;
    loop {
        let (view, len) = scan_datum(rest, Spacing::Compact)?;
        data.push(DatumRecord::Regular(view.into()));
        match rest.get(len..)? {
            [b']', behind @ ..] => return Some((data, text.len() - behind.len())),
            [b',', next @ ..] => rest = next,
            _ => return None,
        }
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    #[expect(clippy::inline_always, reason = "as for `scan_as`")]
    #[inline(always)]
    fn literal(&mut self, expected: &[u8]) -> Option<()> {
        self.text.get(self.at..)?.starts_with(expected).then(|| self.at += expected.len())
    }

    fn null(&mut self) -> bool {
        self.literal(b"null").is_some()
    }

    /// An id without leading zeros, of at most 19 digits, which fit into 64 bits.
    fn integer(&mut self) -> Option<u64> {
        let rest = &self.text[self.at..];
        let (mut number, mut len) = (0, 0);
        for &byte in rest.iter().take(20) {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            len += 1;
            if len == 20 {
                return None;
            }
            number = number * 10 + u64::from(digit);
        }
        if len == 0 || (rest[0] == b'0' && len > 1) {
            return None;
        }
        self.at += len;
        Some(number).filter(|id| *id < IDS_END)
    }

    fn float(&mut self) -> Option<f64> {
        let start = self.at;
        let rest = &self.text[start..];
        let len = rest.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e'))?;
        let text = &rest[..len];
        self.at += len;
        short_decimal(text).or_else(|| other_float(text))
    }

    fn time(&mut self) -> Option<Timestamp> {
        let rest = self.text.get(self.at..)?;
        let len = if rest.get(19) == Some(&b'.') { 26 } else { 19 };
        let time = Timestamp::parse_naive_bytes(rest.get(..len)?)?;
        if len == 26 && time.subsec_micros() == 0 {
            return None; // the server writes it without a fraction
        }
        self.at += len;
        Some(time)
    }

    fn revision(&mut self) -> Option<Revision> {
        const NO_DIGIT: u8 = 0xff;
        const DIGITS: [u8; 256] = {
            let mut digits = [NO_DIGIT; 256];
            let mut value = 0;
            while value < 16 {
                digits[b"0123456789abcdef"[value as usize] as usize] = value;
                value += 1;
            }
            digits
        };
        let text: &[u8; 40] = self.text.get(self.at..)?.first_chunk()?;
        let mut bytes = [0_u8; 20];
        let mut wrong = 0;
        for (byte, pair) in bytes.iter_mut().zip(text.as_chunks::<2>().0) {
            let (high, low) = (DIGITS[usize::from(pair[0])], DIGITS[usize::from(pair[1])]);
            wrong |= high | low;
            *byte = high << 4 | low & 15;
        }
        self.at += 40;
        (wrong < 16).then_some(Revision(bytes))
    }

    fn name(&mut self) -> Option<&'a str> {
        self.literal(b"\"")?;
        let rest = &self.text[self.at..];
        let len = rest.iter().position(|&byte| byte == b'"')?;
        let name = std::str::from_utf8(&rest[..len]).ok()?;
        self.at += len + 1;
        is_plain(name).then_some(name)
    }
}

/// Powers of ten that are exact floats.
const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Reads a number in fixed notation with at most 15 digits. No two such decimals are one float, so the text is the
/// shortest of its value; and integer and power are exact, so the quotient is the nearest float.
fn short_decimal(text: &[u8]) -> Option<f64> {
    let (negative, unsigned) = match text {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, text),
    };
    if unsigned.len() > 16 {
        return None;
    }
    let point = unsigned.iter().position(|&byte| byte == b'.')?;
    let (whole, fraction) = (&unsigned[..point], &unsigned[point + 1..]);
    if whole.is_empty() || fraction.is_empty() || (whole[0] == b'0' && whole.len() > 1) {
        return None;
    }
    if fraction.len() > 1 && fraction.ends_with(b"0") {
        return None;
    }
    let mut mantissa = 0_u64;
    for byte in whole.iter().chain(fraction) {
        if !byte.is_ascii_digit() {
            return None;
        }
        mantissa = mantissa * 10 + u64::from(byte - b'0');
    }
    #[expect(clippy::cast_precision_loss, reason = "below 10^15")]
    let value = mantissa as f64 / POWERS[fraction.len()];
    if mantissa != 0 && value < 1e-4 {
        return None; // the server writes it with an exponent
    }
    Some(if negative { -value } else { value })
}

fn other_float(text: &[u8]) -> Option<f64> {
    thread_local! {
        static AGAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    AGAIN.with_borrow_mut(|again| {
        again.clear();
        write_repr(value, again);
        (value.is_finite() && again == text).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Datum, DatumRecord, parse_datum};

    fn scanned(text: &[u8], spacing: Spacing) -> Option<(Datum, usize)> {
        scan_datum(text, spacing).map(|(view, len)| (Datum::from(view), len))
    }

    #[test]
    fn numbers_have_one_text() {
        for text in ["0.0", "-0.0", "586.85", "12.0", "0.0001", "0.1", "99999999999999.5", "-3.25", "1e+16", "4.36e-05"]
        {
            let value = short_decimal(text.as_bytes()).or_else(|| other_float(text.as_bytes())).unwrap();
            assert_eq!(value.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        }
        for text in [
            "", ".", "1", "1.", ".5", "01.5", "1.50", "1e16", "--1.0", "1.0.0", "+1.0", "0.00001", "-", "1e400", "1.-5",
        ] {
            assert_eq!(short_decimal(text.as_bytes()).or_else(|| other_float(text.as_bytes())), None, "{text}");
        }
    }

    #[test]
    fn a_list_is_scanned_when_all_of_it_is_regular_and_in_the_servers_spacing() {
        let datum = |id: u64| {
            format!(
                r#"{{"job_id":null,"id":{id},"value":1.5,"push_timestamp":"2026-07-01T00:00:00","push_id":3,"revision":"{:040}","submit_time":null,"machine_name":"m"}}"#,
                7
            )
        };
        let list = format!("[{},{}]", datum(1), datum(2));
        let parsed: Vec<_> = [1, 2].iter().map(|id| parse_datum(&datum(*id)).unwrap()).collect();
        assert!(matches!(parsed[0], DatumRecord::Regular(_)));
        for behind in ["", " ", "]", ",\"more\":[]"] {
            assert_eq!(scan_data(format!("{list}{behind}").as_bytes()), Some((parsed.clone(), list.len())));
        }
        for end in 0..list.len() {
            assert_eq!(scan_data(&list.as_bytes()[..end]), None);
        }
        let unlike = list.replacen("1.5", "\"1.5\"", 1);
        for other in [format!(" {list}"), list.replace("},{", "}, {"), unlike, "[]".to_owned()] {
            assert_eq!(scan_data(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn a_decimal_that_is_accepted_as_short_is_its_own_shortest_text(whole in 0_u64..1_000_000_000, fraction in "[0-9]{1,8}") {
            let text = format!("{whole}.{fraction}");
            let mut again = Vec::new();
            write_repr(text.parse().unwrap(), &mut again);
            let accepted = short_decimal(text.as_bytes()).or_else(|| other_float(text.as_bytes()));
            prop_assert_eq!(accepted.is_some(), again == text.as_bytes());
            let value: f64 = text.parse().unwrap();
            prop_assert_eq!(accepted.unwrap_or(value).to_bits(), value.to_bits());
        }

        #[test]
        fn a_regular_datum_is_scanned_in_both_spacings_and_no_prefix_of_it_is(
            (job_id, id, push_id) in (proptest::option::of(0_u64..1 << 60), 0_u64..1 << 60, 0_u64..1 << 60),
            bits: u64,
            push_micros in 0_i64..250_000_000_000_000_000,
            submit_secs in proptest::option::of(0_i64..250_000_000_000),
            revision: [u8; 20],
            machine_name in proptest::option::of("[ !#-\\[\\]-~]{0,40}"),
            flip: prop::sample::Index,
            to: u8,
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
                submit_time: submit_secs.map(Timestamp::from_secs),
                machine_name: machine_name.map(Into::into),
            };
            let (mut compact, mut python) = (Vec::new(), Vec::new());
            datum.write_compact(&mut compact);
            datum.write_python(&mut python);
            for (text, spacing) in [(&compact, Spacing::Compact), (&python, Spacing::Python)] {
                prop_assert_eq!(scanned(text, spacing), Some((datum.clone(), text.len())));
                for end in 0..text.len() {
                    prop_assert_eq!(scanned(&text[..end], spacing), None);
                }
            }
            // After any change of one byte, the scanned datum reproduces its text.
            let at = flip.index(compact.len());
            compact[at] = to;
            if let Some((datum, len)) = scanned(&compact, Spacing::Compact) {
                let mut again = Vec::new();
                datum.write_compact(&mut again);
                prop_assert_eq!(&again, &compact[..len]);
                if len == compact.len() {
                    let parsed = parse_datum(std::str::from_utf8(&compact).unwrap()).unwrap();
                    prop_assert_eq!(parsed, DatumRecord::Regular(datum));
                }
            }
        }
    }
}
