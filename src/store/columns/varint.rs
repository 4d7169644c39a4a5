//! Numbers of one to ten bytes, seven bits a byte, lowest first; and a reader of bounded bytes.

use super::error::{ColumnsError, malformed};

/// Appends a number.
pub(crate) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Appends a length or count.
pub(super) fn put_len(len: usize, out: &mut Vec<u8>) {
    put_varint(len as u64, out);
}

/// Bytes that [`put_varint`] appends.
pub(super) const fn varint_len(number: u64) -> u64 {
    let bits = 64 - (number | 1).leading_zeros() as u64;
    bits.div_ceil(7)
}

/// Signed words as unsigned ones, so that those near zero stay small.
pub(super) const fn zigzag(word: u64) -> u64 {
    (word << 1) ^ (word.cast_signed() >> 63).cast_unsigned()
}

/// The inverse of [`zigzag`].
pub(super) const fn unzigzag(word: u64) -> u64 {
    (word >> 1) ^ (word & 1).wrapping_neg()
}

/// The bytes that are not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, ColumnsError> {
        let (&first, rest) = self.rest.split_first().ok_or(ColumnsError::Truncated)?;
        self.rest = rest;
        Ok(first)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], ColumnsError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(ColumnsError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn word(&mut self) -> Result<u64, ColumnsError> {
        let (word, rest) = self.rest.split_first_chunk::<8>().ok_or(ColumnsError::Truncated)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*word))
    }

    pub(crate) fn varint(&mut self) -> Result<u64, ColumnsError> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(malformed("a number has more than 64 bits"))
    }

    /// A length or count that is at most `bound`.
    pub(super) fn len(&mut self, bound: usize) -> Result<usize, ColumnsError> {
        usize::try_from(self.varint()?)
            .ok()
            .filter(|&len| len <= bound)
            .ok_or_else(|| malformed("a length exceeds its bound"))
    }

    /// A length, and as many bytes.
    pub(super) fn section(&mut self) -> Result<Reader<'a>, ColumnsError> {
        let len = usize::try_from(self.varint()?).map_err(|_| ColumnsError::Truncated)?;
        self.bytes(len).map(Reader::new)
    }

    /// Checks that nothing is left.
    pub(super) fn finish(self) -> Result<(), ColumnsError> {
        if self.rest.is_empty() { Ok(()) } else { Err(malformed("a section is longer than its content")) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back_and_have_the_length_that_is_said(number: u64) {
            for number in [number, number >> 20, number >> 50, number >> 60, u64::MAX, 0] {
                let mut out = Vec::new();
                put_varint(number, &mut out);
                prop_assert_eq!(out.len() as u64, varint_len(number));
                let mut reader = Reader::new(&out);
                prop_assert_eq!(reader.varint().unwrap(), number);
                reader.finish().unwrap();
                prop_assert_eq!(unzigzag(zigzag(number)), number);
            }
        }
    }

    #[test]
    fn overlong_and_cut_numbers_are_refused() {
        assert!(Reader::new(&[0xff; 9]).varint().is_err());
        assert!(Reader::new(&[0xff; 11]).varint().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]).varint().is_err());
    }
}
