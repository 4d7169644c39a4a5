//! Cuts a list or an object of JSON into the texts of its elements, as they arrive.
//!
//! In: bytes. Out: the text of one element after the other, unchecked. Only brackets, quotes and commas are looked at, so
//! that an element with a value that no reader takes does not cost its neighbours. Memory holds one element.

use std::io::{self, BufRead};

/// Why a text cannot be cut.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// It is another JSON value.
    OtherShape,
    /// It ends early.
    EndsEarly,
    /// It is not JSON.
    Broken(&'static str),
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Broken("it cannot be read")
    }
}

/// The elements of a list or an object that are not read yet.
#[derive(Debug)]
pub(crate) struct Pieces<R> {
    input: R,
    closing: u8,
    is_first: bool,
    /// Longest element, bytes.
    longest: usize,
    /// The text of the element that was read last.
    pub(crate) value: Vec<u8>,
    /// Its key, without quotes and with its escapes; empty in a list.
    pub(crate) key: Vec<u8>,
}

impl<R: BufRead> Pieces<R> {
    pub(crate) fn of_object(input: R) -> Result<Self, Fault> {
        Self::open(input, b'{', b'}')
    }

    pub(crate) fn of_list(input: R) -> Result<Self, Fault> {
        Self::open(input, b'[', b']')
    }

    /// Refuses elements of more than `bytes`.
    pub(crate) fn of_at_most(self, bytes: usize) -> Self {
        Self { longest: bytes, ..self }
    }

    fn open(input: R, opening: u8, closing: u8) -> Result<Self, Fault> {
        let mut pieces =
            Self { input, closing, is_first: true, longest: usize::MAX, value: Vec::new(), key: Vec::new() };
        match pieces.peek()? {
            Some(byte) if byte == opening => pieces.input.consume(1),
            Some(b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => return Err(Fault::OtherShape),
            Some(_) => return Err(Fault::Broken("expected value")),
            None => return Err(Fault::EndsEarly),
        }
        Ok(pieces)
    }

    /// Reads the next element; false behind the last one, where nothing may follow.
    pub(crate) fn next(&mut self) -> Result<bool, Fault> {
        match self.peek()?.ok_or(Fault::EndsEarly)? {
            byte if byte == self.closing => {
                self.input.consume(1);
                return match self.peek()? {
                    None => Ok(false),
                    Some(_) => Err(Fault::Broken("trailing characters")),
                };
            }
            b',' if !self.is_first => self.input.consume(1),
            _ if self.is_first => {}
            _ => return Err(Fault::Broken("expected a comma between two elements")),
        }
        self.is_first = false;
        self.key.clear();
        self.value.clear();
        if self.closing == b'}' {
            self.expect(b'"')?;
            let mut is_escaped = false;
            take_until(&mut self.input, &mut self.key, self.longest, |byte| {
                let ends = byte == b'"' && !is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                ends
            })?;
            self.input.consume(1);
            self.expect(b':')?;
        }
        self.peek()?;
        let mut depth = 0_u64;
        let (mut in_string, mut is_escaped) = (false, false);
        take_until(&mut self.input, &mut self.value, self.longest, |byte| {
            if in_string {
                in_string = byte != b'"' || is_escaped;
                is_escaped = byte == b'\\' && !is_escaped;
                return false;
            }
            match byte {
                b'"' => in_string = true,
                b'[' | b'{' => depth += 1,
                b']' | b'}' if depth > 0 => depth -= 1,
                b']' | b'}' | b',' if depth == 0 => return true,
                _ => {}
            }
            false
        })?;
        self.value.truncate(self.value.trim_ascii_end().len());
        Ok(true)
    }

    /// The next byte that is not blank.
    fn peek(&mut self) -> io::Result<Option<u8>> {
        loop {
            let chunk = self.input.fill_buf()?;
            let blanks = chunk.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
            let (found, is_end) = (chunk.get(blanks).copied(), chunk.is_empty());
            self.input.consume(blanks);
            if found.is_some() || is_end {
                return Ok(found);
            }
        }
    }

    fn expect(&mut self, expected: u8) -> Result<(), Fault> {
        if self.peek()?.ok_or(Fault::EndsEarly)? != expected {
            return Err(Fault::Broken(if expected == b':' { "expected `:`" } else { "key must be a string" }));
        }
        self.input.consume(1);
        Ok(())
    }
}

/// Appends the input to `out`, up to the first byte that `ends` it.
fn take_until(
    input: &mut impl BufRead,
    out: &mut Vec<u8>,
    longest: usize,
    mut ends: impl FnMut(u8) -> bool,
) -> Result<(), Fault> {
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Err(Fault::EndsEarly);
        }
        let end = chunk.iter().position(|byte| ends(*byte));
        let len = end.unwrap_or(chunk.len());
        if len > longest - out.len() {
            return Err(Fault::Broken("an element is too long"));
        }
        out.extend_from_slice(&chunk[..len]);
        input.consume(len);
        if end.is_some() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn pieces_of(text: &[u8], chunk: usize) -> Result<Vec<(String, String)>, Fault> {
        let input = BufReader::with_capacity(chunk, text);
        let is_object = text.trim_ascii_start().first() == Some(&b'{');
        let mut pieces = if is_object { Pieces::of_object(input)? } else { Pieces::of_list(input)? };
        let mut found = Vec::new();
        while pieces.next()? {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            found.push((text(&pieces.key), text(&pieces.value)));
        }
        Ok(found)
    }

    #[test]
    fn odd_elements_are_cut_out_as_they_are() {
        let list = br#" [ NaN , {"a":"],\"}","b":[1e999]},"\\", 7 ] "#;
        let found = pieces_of(list, 3).unwrap();
        let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["NaN", r#"{"a":"],\"}","b":[1e999]}"#, r#""\\""#, "7"]);
        let object = br#"{"a\"b" : -Infinity, "c":{}}"#;
        let found = pieces_of(object, 1).unwrap();
        assert_eq!(found, [("a\\\"b".to_owned(), "-Infinity".to_owned()), ("c".to_owned(), "{}".to_owned())]);
        assert_eq!(pieces_of(b"{}", 9).unwrap(), []);
    }

    #[test]
    fn an_element_that_is_too_long_is_not_gathered() {
        let mut pieces =
            Pieces::of_list(BufReader::with_capacity(7, &br#"["0123456789", "0123456789a"]"#[..])).unwrap();
        pieces = pieces.of_at_most(12);
        assert!(pieces.next().unwrap());
        assert!(matches!(pieces.next(), Err(Fault::Broken(_))));
        assert!(pieces.value.len() <= 12);
    }

    #[test]
    fn text_that_ends_early_or_goes_on_is_broken() {
        let whole = r#"{"a": [1, "x"], "b": 2}"#;
        for cut in 0..whole.len() {
            assert!(matches!(pieces_of(&whole.as_bytes()[..cut], 4), Err(Fault::EndsEarly)), "{cut}");
        }
        assert!(matches!(pieces_of(b"[\"a\"\"b\"", 4), Err(Fault::EndsEarly)));
        for text in ["[1] 2", "[1}", "[1]]", "{\"a\" 1}", "{a:1}", "\u{7f}"] {
            assert!(matches!(pieces_of(text.as_bytes(), 4), Err(Fault::Broken(_))), "{text}");
        }
        for text in ["null", "7", "\"a\"", "true"] {
            assert!(matches!(pieces_of(text.as_bytes(), 4), Err(Fault::OtherShape)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_elements_whatever_the_chunks(
            entries in prop::collection::btree_map("[a-z\"\\\\]{0,4}", ".{0,9}", 0..6), chunk in 1_usize..9,
        ) {
            let value: Value = entries.iter().map(|(key, text)| (key.clone(), serde_json::json!([text, {"x": text}]))).collect();
            let found = pieces_of(serde_json::to_string_pretty(&value).unwrap().as_bytes(), chunk).unwrap();
            prop_assert_eq!(found.len(), entries.len());
            for (key, text) in found {
                let key: String = serde_json::from_str(&format!("\"{key}\"")).unwrap();
                prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &value[&key]);
            }
        }
    }
}
