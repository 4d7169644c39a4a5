//! The values that were read, in one flat list.

use std::borrow::Cow;

/// Deepest nesting that `CPython` 3.13 reads and writes.
pub const MAX_NESTING: u32 = 9998;

/// A value that was read; its memory serves for the next one.
#[derive(Debug, Default)]
pub struct Document {
    /// The values in the order of the text; those of an object alternate with its keys.
    pub(super) tokens: Vec<Token>,
    /// Integers, and strings without escapes, one behind the other.
    pub(super) text: Vec<u8>,
}

/// A value of the flat list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Token {
    Null,
    Bool(bool),
    /// A part of the text.
    Int {
        start: usize,
        len: usize,
    },
    Float(f64),
    /// A part of the text.
    Str {
        start: usize,
        len: usize,
    },
    /// The number of tokens, with this one.
    Array(usize),
    /// The number of tokens, with this one.
    Object(usize),
}

impl Token {
    pub(super) fn num_tokens(self) -> usize {
        match self {
            Self::Array(num) | Self::Object(num) => num,
            _ => 1,
        }
    }
}

/// A value in a [`Document`].
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    pub(super) document: &'a Document,
    pub(super) at: usize,
}

/// A value by its Python type.
#[derive(Clone, Debug)]
pub enum Kind<'a> {
    /// `None`
    Null,
    /// `bool`
    Bool(bool),
    /// `int`: its digits, as Python writes them.
    Int(&'a str),
    /// `float`, also `NaN` and the infinities.
    Float(f64),
    /// `str`
    Str(PyStr<'a>),
    /// `list`
    Array(Elements<'a>),
    /// `dict`
    Object(Entries<'a>),
}

/// A Python string, which may hold halves of surrogate pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PyStr<'a>(&'a [u8]);

impl<'a> PyStr<'a> {
    /// The text; `None` if it holds half of a surrogate pair.
    #[must_use]
    pub fn to_str(self) -> Option<&'a str> {
        std::str::from_utf8(self.0).ok()
    }

    /// The text, with U+FFFD in place of each half of a surrogate pair.
    #[must_use]
    pub fn to_lossy(self) -> Cow<'a, str> {
        match self.to_str() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(self.chars().map(|unit| char::from_u32(unit).unwrap_or('\u{fffd}')).collect()),
        }
    }

    /// True for `""`.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// The code points, among them halves of surrogate pairs.
    pub(super) fn chars(self) -> impl Iterator<Item = u32> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (&first, more) = rest.split_first()?;
            let (mut code, num_more) = match first {
                0..0x80 => (u32::from(first), 0),
                0x80..0xe0 => (u32::from(first & 0x1f), 1),
                0xe0..0xf0 => (u32::from(first & 0x0f), 2),
                0xf0.. => (u32::from(first & 0x07), 3),
            };
            let (tail, more) = more.split_at_checked(num_more)?;
            for byte in tail {
                code = code << 6 | u32::from(byte & 0x3f);
            }
            rest = more;
            Some(code)
        })
    }
}

/// The elements of a list.
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    document: &'a Document,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let value = Value { document: self.document, at: self.at };
        (self.at < self.end).then(|| {
            self.at = value.end();
            value
        })
    }
}

/// The entries of a dict, in its order.
#[derive(Clone, Debug)]
pub struct Entries<'a>(Elements<'a>);

impl<'a> Iterator for Entries<'a> {
    type Item = (PyStr<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, value) = (self.0.next()?, self.0.next()?);
        match key.kind() {
            Kind::Str(key) => Some((key, value)),
            _ => None, // the reader takes only strings for keys
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn token(self) -> Token {
        self.document.tokens[self.at]
    }

    /// The place behind the value and all that it holds.
    pub(super) fn end(self) -> usize {
        self.at + self.token().num_tokens()
    }

    fn elements(self) -> Elements<'a> {
        Elements { document: self.document, at: self.at + 1, end: self.end() }
    }

    /// The value by its type.
    #[must_use]
    pub fn kind(self) -> Kind<'a> {
        let text = |start: usize, len: usize| &self.document.text[start..start + len];
        match self.token() {
            Token::Null => Kind::Null,
            Token::Bool(value) => Kind::Bool(value),
            // Digits are UTF-8.
            Token::Int { start, len } => Kind::Int(std::str::from_utf8(text(start, len)).unwrap_or_default()),
            Token::Float(value) => Kind::Float(value),
            Token::Str { start, len } => Kind::Str(PyStr(text(start, len))),
            Token::Array(_) => Kind::Array(self.elements()),
            Token::Object(_) => Kind::Object(Entries(self.elements())),
        }
    }

    /// The value under `key`; `None` if the value is not a dict, or lacks the key.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Self> {
        let Kind::Object(mut entries) = self.kind() else { return None };
        entries.find(|(name, _)| name.0 == key.as_bytes()).map(|(_, value)| value)
    }

    /// Python's `bool(value)`.
    #[must_use]
    pub fn is_truthy(self) -> bool {
        match self.kind() {
            Kind::Null => false,
            Kind::Bool(value) => value,
            Kind::Int(digits) => digits != "0",
            Kind::Float(value) => value != 0.0,
            Kind::Str(text) => !text.is_empty(),
            Kind::Array(mut elements) => elements.next().is_some(),
            Kind::Object(mut entries) => entries.next().is_some(),
        }
    }
}
