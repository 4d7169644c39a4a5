//! Walks JSON text once, token by token, and lets a [`Dialect`] write each token anew.
//!
//! In: the text of one JSON value, as a server sent it. Out: the same value in another notation, appended to a byte
//! buffer. The walk checks the whole grammar of RFC 8259, never recurses and never panics; on an error the buffer is
//! as it was before. It keeps what a parsed value would lose: the text of numbers, key order, lone surrogates.

/// Deepest nesting accepted: what `serde_json` accepts, and less than the 200 brackets that Python's `ast` accepts.
pub const MAX_DEPTH: u32 = 128;

/// Why a JSON text cannot be written in another notation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonTextError {
    /// The text breaks the JSON grammar.
    #[error("malformed JSON text: expected {expected} at byte {at}")]
    Malformed {
        /// Offset in the text, bytes.
        at: usize,
        /// The tokens that the grammar allows there.
        expected: &'static str,
    },
    /// Arrays and objects nest too deeply.
    #[error("JSON text nests deeper than {levels} levels at byte {at}")]
    TooDeep {
        /// Offset of the bracket that is one too many, bytes.
        at: usize,
        /// The deepest nesting that is accepted.
        levels: u32,
    },
    /// An integer has more digits than Python converts.
    #[error("integer of {digits} digits at byte {at} is longer than Python reads")]
    IntegerTooLong {
        /// Offset of the integer, bytes.
        at: usize,
        /// Its length, digits.
        digits: usize,
    },
}

/// A number in the notation of the text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NumberText<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
    /// Whether it has a fraction or an exponent.
    pub(crate) is_float: bool,
}

/// A notation that a JSON value can be written in.
pub(crate) trait Dialect {
    const TRUE: &'static [u8];
    const FALSE: &'static [u8];
    const NULL: &'static [u8];

    /// Writes the string whose opening quote is just before `at`; returns the offset behind the closing one.
    fn string(&mut self, raw: &str, at: usize, out: &mut Vec<u8>) -> Result<usize, JsonTextError>;

    fn number(&mut self, number: NumberText<'_>, out: &mut Vec<u8>) -> Result<(), JsonTextError>;
}

/// Appends the value in `raw` to `out`, in another notation.
pub(crate) fn transcode<D: Dialect>(raw: &str, dialect: &mut D, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
    let before = out.len();
    out.reserve(raw.len() + raw.len() / 8);
    let walked = Walk { cursor: Cursor::new(raw), depth: 0, objects: 0 }.run(dialect, out);
    if walked.is_err() {
        out.truncate(before);
    }
    walked
}

/// A place in JSON text.
pub(crate) struct Cursor<'a> {
    pub(crate) raw: &'a str,
    pub(crate) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(raw: &'a str) -> Self {
        Self { raw, bytes: raw.as_bytes(), at: 0 }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(crate) fn expected(&self, expected: &'static str) -> JsonTextError {
        JsonTextError::Malformed { at: self.at, expected }
    }

    pub(crate) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }
}

/// One walk; the open brackets are bits, 1 for an object.
struct Walk<'a> {
    cursor: Cursor<'a>,
    depth: u32,
    objects: u128,
}

impl Walk<'_> {
    fn run<D: Dialect>(&mut self, dialect: &mut D, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
        loop {
            self.cursor.skip_blanks();
            let opened = match self.cursor.peek() {
                Some(b'"') => {
                    self.cursor.at = dialect.string(self.cursor.raw, self.cursor.at + 1, out)?;
                    false
                }
                Some(b'{') => self.open(true, b'}', dialect, out)?,
                Some(b'[') => self.open(false, b']', dialect, out)?,
                Some(b't') => self.word(b"true", D::TRUE, out)?,
                Some(b'f') => self.word(b"false", D::FALSE, out)?,
                Some(b'n') => self.word(b"null", D::NULL, out)?,
                Some(b'-' | b'0'..=b'9') => {
                    let start = self.cursor.at;
                    let is_float = self.scan_number()?;
                    let text = &self.cursor.raw[start..self.cursor.at];
                    dialect.number(NumberText { text, at: start, is_float }, out)?;
                    false
                }
                _ => return Err(self.cursor.expected("a value")),
            };
            if !opened && self.close(dialect, out)? {
                return Ok(());
            }
        }
    }

    fn in_object(&self) -> bool {
        self.objects & 1 == 1
    }

    /// Enters an array or object; false if it was empty and is thus already closed.
    fn open<D: Dialect>(
        &mut self,
        is_object: bool,
        closing: u8,
        dialect: &mut D,
        out: &mut Vec<u8>,
    ) -> Result<bool, JsonTextError> {
        if self.depth == MAX_DEPTH {
            return Err(JsonTextError::TooDeep { at: self.cursor.at, levels: MAX_DEPTH });
        }
        out.push(self.cursor.bytes[self.cursor.at]);
        self.cursor.at += 1;
        self.cursor.skip_blanks();
        if self.cursor.peek() == Some(closing) {
            out.push(closing);
            self.cursor.at += 1;
            return Ok(false);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(is_object);
        if is_object {
            self.key(dialect, out)?;
        }
        Ok(true)
    }

    /// Behind a value: passes closing brackets up to the next comma; true at the end of the text.
    fn close<D: Dialect>(&mut self, dialect: &mut D, out: &mut Vec<u8>) -> Result<bool, JsonTextError> {
        loop {
            self.cursor.skip_blanks();
            if self.depth == 0 {
                return if self.cursor.at == self.cursor.bytes.len() {
                    Ok(true)
                } else {
                    Err(self.cursor.expected("the end of the text"))
                };
            }
            let closing = if self.in_object() { b'}' } else { b']' };
            match self.cursor.peek() {
                Some(b',') => {
                    self.cursor.at += 1;
                    out.extend_from_slice(b", ");
                    if self.in_object() {
                        self.cursor.skip_blanks();
                        self.key(dialect, out)?;
                    }
                    return Ok(false);
                }
                Some(byte) if byte == closing => {
                    self.cursor.at += 1;
                    out.push(closing);
                    self.depth -= 1;
                    self.objects >>= 1;
                }
                _ => return Err(self.cursor.expected("a comma or a closing bracket")),
            }
        }
    }

    fn key<D: Dialect>(&mut self, dialect: &mut D, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
        if self.cursor.peek() != Some(b'"') {
            return Err(self.cursor.expected("a key"));
        }
        self.cursor.at = dialect.string(self.cursor.raw, self.cursor.at + 1, out)?;
        self.cursor.skip_blanks();
        if self.cursor.peek() != Some(b':') {
            return Err(self.cursor.expected("a colon"));
        }
        self.cursor.at += 1;
        out.extend_from_slice(b": ");
        Ok(())
    }

    fn word(&mut self, word: &[u8], written: &[u8], out: &mut Vec<u8>) -> Result<bool, JsonTextError> {
        if !self.cursor.bytes[self.cursor.at..].starts_with(word) {
            return Err(self.cursor.expected("a value"));
        }
        self.cursor.at += word.len();
        out.extend_from_slice(written);
        Ok(false)
    }

    /// Passes a number; true if it has a fraction or an exponent.
    fn scan_number(&mut self) -> Result<bool, JsonTextError> {
        let (end, is_float) = number_end(self.cursor.bytes, self.cursor.at)?;
        self.cursor.at = end;
        Ok(is_float)
    }
}

/// The offset behind the number that starts at `at`, and whether it has a fraction or an exponent.
pub(crate) fn number_end(bytes: &[u8], mut at: usize) -> Result<(usize, bool), JsonTextError> {
    let is_at = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let digits = |from: usize| match bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count() {
        0 => Err(JsonTextError::Malformed { at: from, expected: "a digit" }),
        num => Ok(from + num),
    };
    at += usize::from(is_at(at, b"-"));
    // No digit may follow a leading 0: it would be taken for what stands behind the number, and refused.
    at = if is_at(at, b"0") { at + 1 } else { digits(at)? };
    let mut is_float = false;
    if is_at(at, b".") {
        is_float = true;
        at = digits(at + 1)?;
    }
    if is_at(at, b"eE") {
        is_float = true;
        at += 1;
        at = digits(at + usize::from(is_at(at, b"+-")))?;
    }
    Ok((at, is_float))
}

/// The meaning of an escape sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Escaped {
    Char(char),
    /// Half of a surrogate pair, alone: legal in JSON and in Python, not in Unicode text.
    LoneSurrogate(u16),
}

/// Reads the escape sequence whose backslash is at `at`; also returns the offset behind it.
pub(crate) fn read_escape(bytes: &[u8], at: usize) -> Result<(Escaped, usize), JsonTextError> {
    let malformed = |at| JsonTextError::Malformed { at, expected: "an escape sequence" };
    let plain = match bytes.get(at + 1) {
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let unit = read_hex4(bytes, at + 2).ok_or_else(|| malformed(at))?;
            if let 0xd800..=0xdbff = unit
                && bytes.get(at + 6..at + 8) == Some(br"\u")
                && let Some(low @ 0xdc00..=0xdfff) = read_hex4(bytes, at + 8)
            {
                let code = 0x1_0000 + (u32::from(unit - 0xd800) << 10) + u32::from(low - 0xdc00);
                return char::from_u32(code).map(|pair| (Escaped::Char(pair), at + 12)).ok_or_else(|| malformed(at));
            }
            let escaped = char::from_u32(u32::from(unit)).map_or(Escaped::LoneSurrogate(unit), Escaped::Char);
            return Ok((escaped, at + 6));
        }
        _ => return Err(malformed(at)),
    };
    Ok((Escaped::Char(plain), at + 2))
}

fn read_hex4(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 4)?.iter().try_fold(0_u16, |unit, &byte| {
        let digit = char::from(byte).to_digit(16)?;
        Some(unit << 4 | u16::try_from(digit).ok()?)
    })
}

/// Number of bytes at the front of `bytes` that stand for themselves within a string: none of `"`, `\` and the control
/// characters; with `ASCII`, no DEL and nothing beyond it either. Eight bytes at a time.
pub(crate) fn plain_run<const ASCII: bool>(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = ONES << 7;
    // Sets the high bit of the first byte that is zero; those behind it may be set wrongly, which nobody looks at.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word;
    let (words, tail) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let mut special = zeros(word ^ (ONES * u64::from(b'"')))
            | zeros(word ^ (ONES * u64::from(b'\\')))
            | (word.wrapping_sub(ONES * 0x20) & !word);
        if ASCII {
            special |= word | zeros(word ^ (ONES * 0x7f));
        }
        special &= HIGH;
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20) || ASCII && *byte >= 0x7f;
    words.len() * 8 + tail.iter().position(is_special).unwrap_or(tail.len())
}
