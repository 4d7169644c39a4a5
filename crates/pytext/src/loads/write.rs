//! Writes the values of a [`Document`](super::Document) as `json.dumps` does.

use super::value::{Kind, PyStr, Token, Value};
use crate::float;
use crate::json::{AsciiMode, write_str, write_unit};

/// How to write the values that the JSON standard excludes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// As Python: `NaN`, `Infinity`, and halves of surrogate pairs, which are escaped in both modes.
    Python,
    /// As every reader accepts them: `null` for a number that is not finite, U+FFFD for half of a surrogate pair.
    Standard,
}

/// The values that the JSON standard excludes, which [`Notation::Standard`] replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Numbers that are not finite.
    pub numbers: u64,
    /// Halves of surrogate pairs.
    pub surrogates: u64,
}

struct Open {
    end: usize,
    is_object: bool,
    num_written: usize,
}

impl Value<'_> {
    /// Appends `json.dumps(value)`; adds the values that the standard excludes to `replaced`, in both notations.
    pub fn dumps(self, out: &mut Vec<u8>, mode: AsciiMode, notation: Notation, replaced: &mut Replaced) {
        let mut open: Vec<Open> = Vec::new();
        let (mut value, end) = (self, self.end());
        loop {
            while let Some(closed) = open.pop_if(|top| top.end == value.at) {
                out.push(if closed.is_object { b'}' } else { b']' });
            }
            if value.at == end {
                return;
            }
            if let Some(top) = open.last_mut() {
                match top.num_written {
                    num if top.is_object && num % 2 == 1 => out.extend_from_slice(b": "),
                    0 => {}
                    _ => out.extend_from_slice(b", "),
                }
                top.num_written += 1;
            }
            match value.token() {
                Token::Array(_) | Token::Object(_) => {
                    let is_object = matches!(value.token(), Token::Object(_));
                    out.push(if is_object { b'{' } else { b'[' });
                    open.push(Open { end: value.end(), is_object, num_written: 0 });
                }
                _ => value.write_scalar(out, mode, notation, replaced),
            }
            value.at += 1;
        }
    }

    fn write_scalar(self, out: &mut Vec<u8>, mode: AsciiMode, notation: Notation, replaced: &mut Replaced) {
        match self.kind() {
            Kind::Bool(true) => out.extend_from_slice(b"true"),
            Kind::Bool(false) => out.extend_from_slice(b"false"),
            Kind::Int(digits) => out.extend_from_slice(digits.as_bytes()),
            Kind::Float(value) if value.is_finite() => float::write_repr(value, out),
            Kind::Float(value) => {
                replaced.numbers += 1;
                out.extend_from_slice(match value {
                    _ if notation == Notation::Standard => b"null",
                    f64::INFINITY => b"Infinity",
                    f64::NEG_INFINITY => b"-Infinity",
                    _ => b"NaN",
                });
            }
            Kind::Str(text) => text.dumps(out, mode, notation, replaced),
            Kind::Null | Kind::Array(_) | Kind::Object(_) => out.extend_from_slice(b"null"),
        }
    }
}

impl PyStr<'_> {
    /// Appends `json.dumps(text)`; adds to `replaced` as for a value.
    pub fn dumps(self, out: &mut Vec<u8>, mode: AsciiMode, notation: Notation, replaced: &mut Replaced) {
        if let Some(text) = self.to_str() {
            return write_str(text, out, mode);
        }
        replaced.surrogates += self.num_surrogates();
        if notation == Notation::Standard {
            return write_str(&self.to_lossy(), out, mode);
        }
        let mut quoted = Vec::new();
        out.push(b'"');
        for unit in self.chars() {
            match char::from_u32(unit) {
                Some(ch) => {
                    quoted.clear();
                    write_str(ch.encode_utf8(&mut [0; 4]), &mut quoted, mode);
                    out.extend_from_slice(&quoted[1..quoted.len() - 1]);
                }
                None => write_unit(u16::try_from(unit).unwrap_or_default(), out),
            }
        }
        out.push(b'"');
    }

    fn num_surrogates(self) -> u64 {
        self.chars().filter(|unit| char::from_u32(*unit).is_none()).count() as u64
    }
}
