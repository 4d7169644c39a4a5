//! Reads JSON text into a [`Document`].

use std::collections::{HashMap, HashSet};

use super::value::{Document, MAX_NESTING, Token, Value};
use crate::json_scan::{Cursor, Escaped, JsonTextError, number_end, plain_run, read_escape};
use crate::literal::MAX_INT_DIGITS;

/// Objects with more keys are searched for repeated ones with a hash table.
const FEW_KEYS: usize = 8;

impl Document {
    /// Reads `text` as `json.loads` does.
    ///
    /// # Errors
    /// If `text` is not a JSON value, nests deeper than [`MAX_NESTING`], or holds an integer that Python refuses to
    /// read.
    pub fn load(&mut self, text: &str) -> Result<Value<'_>, JsonTextError> {
        self.tokens.clear();
        self.text.clear();
        Reader { cursor: Cursor::new(text), document: self, open: Vec::new() }.run()?;
        Ok(Value { document: self, at: 0 })
    }

    fn key_of(&self, at: usize) -> &[u8] {
        match self.tokens[at] {
            Token::Str { start, len } => &self.text[start..start + len],
            _ => &[],
        }
    }

    /// Sets the length of the object at `at`, which ends the list, and drops the earlier values of repeated keys.
    fn close_object(&mut self, at: usize) {
        let mut keys = Vec::new();
        let mut next = at + 1;
        while next < self.tokens.len() {
            keys.push(next);
            next += 1 + self.tokens[next + 1].num_tokens();
        }
        if self.has_repeated(&keys) {
            let mut last: HashMap<&[u8], usize> = HashMap::with_capacity(keys.len());
            last.extend(keys.iter().map(|&key| (self.key_of(key), key)));
            let mut kept = Vec::with_capacity(self.tokens.len() - at);
            for &key in &keys {
                if let Some(from) = last.remove(self.key_of(key)) {
                    kept.extend_from_slice(&self.tokens[from..=from + self.tokens[from + 1].num_tokens()]);
                }
            }
            self.tokens.truncate(at + 1);
            self.tokens.append(&mut kept);
        }
        self.tokens[at] = Token::Object(self.tokens.len() - at);
    }

    fn has_repeated(&self, keys: &[usize]) -> bool {
        if keys.len() <= FEW_KEYS {
            let is_repeated = |at: usize| keys[..at].iter().any(|&key| self.key_of(key) == self.key_of(keys[at]));
            return (1..keys.len()).any(is_repeated);
        }
        let mut seen = HashSet::with_capacity(keys.len());
        !keys.iter().all(|&key| seen.insert(self.key_of(key)))
    }
}

struct Reader<'t, 'd> {
    cursor: Cursor<'t>,
    document: &'d mut Document,
    /// The places of the lists and objects that are not closed yet.
    open: Vec<usize>,
}

impl Reader<'_, '_> {
    fn run(&mut self) -> Result<(), JsonTextError> {
        loop {
            self.cursor.skip_blanks();
            let is_complete = match self.cursor.peek() {
                Some(b'{') => self.open(Token::Object(1), b'}')?,
                Some(b'[') => self.open(Token::Array(1), b']')?,
                _ => {
                    let token = self.scalar()?;
                    self.document.tokens.push(token);
                    true
                }
            };
            if is_complete && self.close()? {
                return Ok(());
            }
        }
    }

    /// Enters a list or an object; true if it is empty, and thus complete.
    fn open(&mut self, token: Token, closing: u8) -> Result<bool, JsonTextError> {
        if self.open.len() == MAX_NESTING as usize {
            return Err(JsonTextError::TooDeep { at: self.cursor.at, levels: MAX_NESTING });
        }
        self.document.tokens.push(token);
        self.cursor.at += 1;
        self.cursor.skip_blanks();
        if self.cursor.peek() == Some(closing) {
            self.cursor.at += 1;
            return Ok(true);
        }
        self.open.push(self.document.tokens.len() - 1);
        if closing == b'}' {
            self.key()?;
        }
        Ok(false)
    }

    /// Behind a value: passes closing brackets up to the next comma; true at the end of the text.
    fn close(&mut self) -> Result<bool, JsonTextError> {
        loop {
            self.cursor.skip_blanks();
            let Some(&at) = self.open.last() else {
                return if self.cursor.at == self.cursor.bytes.len() {
                    Ok(true)
                } else {
                    Err(self.cursor.expected("the end of the text"))
                };
            };
            let is_object = matches!(self.document.tokens[at], Token::Object(_));
            match self.cursor.peek() {
                Some(b',') => {
                    self.cursor.at += 1;
                    if is_object {
                        self.cursor.skip_blanks();
                        self.key()?;
                    }
                    return Ok(false);
                }
                Some(b'}') if is_object => self.document.close_object(at),
                Some(b']') if !is_object => {
                    self.document.tokens[at] = Token::Array(self.document.tokens.len() - at);
                }
                _ => return Err(self.cursor.expected("a comma or a closing bracket")),
            }
            self.cursor.at += 1;
            self.open.pop();
        }
    }

    fn key(&mut self) -> Result<(), JsonTextError> {
        if self.cursor.peek() != Some(b'"') {
            return Err(self.cursor.expected("a key"));
        }
        let key = self.string()?;
        self.document.tokens.push(key);
        self.cursor.skip_blanks();
        if self.cursor.peek() != Some(b':') {
            return Err(self.cursor.expected("a colon"));
        }
        self.cursor.at += 1;
        Ok(())
    }

    fn scalar(&mut self) -> Result<Token, JsonTextError> {
        const WORDS: [(&[u8], Token); 6] = [
            (b"null", Token::Null),
            (b"true", Token::Bool(true)),
            (b"false", Token::Bool(false)),
            (b"NaN", Token::Float(f64::NAN)),
            (b"Infinity", Token::Float(f64::INFINITY)),
            (b"-Infinity", Token::Float(f64::NEG_INFINITY)),
        ];
        let rest = &self.cursor.bytes[self.cursor.at..];
        match rest.first() {
            Some(b'"') => return self.string(),
            Some(b'-' | b'0'..=b'9') if rest.get(1) != Some(&b'I') => return self.number(),
            _ => {}
        }
        let word = WORDS.iter().find(|(word, _)| rest.starts_with(word));
        let (word, token) = word.ok_or_else(|| self.cursor.expected("a value"))?;
        self.cursor.at += word.len();
        Ok(*token)
    }

    fn number(&mut self) -> Result<Token, JsonTextError> {
        let (end, is_float) = number_end(self.cursor.bytes, self.cursor.at)?;
        let (at, text) = (self.cursor.at, &self.cursor.raw[self.cursor.at..end]);
        self.cursor.at = end;
        if is_float {
            // JSON's numbers are a part of what Rust reads, so this cannot fail.
            return text.parse().map(Token::Float).map_err(|_| JsonTextError::Malformed { at, expected: "a number" });
        }
        let digits = text.trim_start_matches('-').len();
        if digits > MAX_INT_DIGITS {
            return Err(JsonTextError::IntegerTooLong { at, digits });
        }
        let text = if text == "-0" { "0" } else { text };
        let start = self.document.text.len();
        self.document.text.extend_from_slice(text.as_bytes());
        Ok(Token::Int { start, len: text.len() })
    }

    fn string(&mut self) -> Result<Token, JsonTextError> {
        let text = &mut self.document.text;
        let start = text.len();
        self.cursor.at += 1;
        loop {
            let run = plain_run::<false>(&self.cursor.bytes[self.cursor.at..]);
            text.extend_from_slice(&self.cursor.bytes[self.cursor.at..self.cursor.at + run]);
            self.cursor.at += run;
            match self.cursor.bytes.get(self.cursor.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    let (escaped, next) = read_escape(self.cursor.bytes, self.cursor.at)?;
                    match escaped {
                        Escaped::Char(ch) => text.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes()),
                        Escaped::LoneSurrogate(unit) => text.extend_from_slice(&wtf8(unit)),
                    }
                    self.cursor.at = next;
                }
                _ => return Err(JsonTextError::Malformed { at: self.cursor.at, expected: "the rest of a string" }),
            }
        }
        self.cursor.at += 1;
        Ok(Token::Str { start, len: text.len() - start })
    }
}

/// Half of a surrogate pair in the form of UTF-8, which UTF-8 excludes.
fn wtf8(unit: u16) -> [u8; 3] {
    let bits = |shift: u16, mask: u16| (unit >> shift & mask).to_le_bytes()[0];
    [0xe0 | bits(12, 0x0f), 0x80 | bits(6, 0x3f), 0x80 | bits(0, 0x3f)]
}
