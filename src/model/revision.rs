//! A revision: the 40 hex digits that name a commit.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::PushId;

/// A commit's hash, 20 bytes; written as 40 lower-case hex digits.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub [u8; 20]);

/// The head revision of each push. Every datum looks one up, so the hash is a fast one.
pub type PushRevisions = HashMap<PushId, Revision, foldhash::fast::RandomState>;

/// The text is not 40 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not a revision, 40 lower-case hex digits")]
pub struct ParseRevisionError;

impl Revision {
    /// The 40 hex digits.
    #[must_use]
    pub fn to_hex(self) -> [u8; 40] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 40];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl FromStr for Revision {
    type Err = ParseRevisionError;

    /// Accepts only lower-case digits, so that the bytes give the same text again.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(ParseRevisionError),
        };
        if text.len() != 40 {
            return Err(ParseRevisionError);
        }
        let mut bytes = [0_u8; 20];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.to_hex();
        f.pad(std::str::from_utf8(&hex).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_goes_in_and_comes_out() {
        let text = "0123456789abcdef0123456789abcdeffedcba98";
        assert_eq!(text.parse::<Revision>().unwrap().to_string(), text);
    }

    #[test]
    fn upper_case_short_and_foreign_text_is_refused() {
        for text in ["", "ABCDEF", &"g".repeat(40), &"A".repeat(40), &"é".repeat(20)] {
            assert!(text.parse::<Revision>().is_err(), "{text}");
        }
    }
}
