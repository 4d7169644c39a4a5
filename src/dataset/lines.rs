//! Reads an untrusted file line by line, and hashes it on the way.
//!
//! In: bytes. Out: lines without their line end, which is LF, CR LF or CR, as Python reads text. Promises: memory is bounded by [`MAX_LINE_BYTES`] for any file, and the
//! digest covers every byte.

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

/// Longest line that is kept, in bytes. The line of a commit holds its message and parents, and a record to relabel holds
/// the text of a patch; a file without line ends must not be read into memory as a whole.
pub(crate) const MAX_LINE_BYTES: usize = 64 << 20;

/// Position and state of a line; the caller's buffer holds its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// False for a last line without its line end, whose writer may have been stopped midway.
    pub(crate) ended: bool,
    /// The line was longer than the limit; only its beginning was kept.
    pub(crate) too_long: bool,
}

/// Reads lines, and hashes all bytes that it reads.
#[derive(Debug)]
pub(crate) struct Lines<R> {
    reader: R,
    number: u64,
    limit: usize,
    /// The last line ended with CR, so that LF at the start of the next one belongs to it.
    after_cr: bool,
    hasher: Sha256,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self { reader, number: 0, limit: MAX_LINE_BYTES, after_cr: false, hasher: Sha256::new() }
    }

    /// Reads the next line into `bytes`, without its line end and without a byte order mark at the start of the file.
    pub(crate) fn read(&mut self, bytes: &mut Vec<u8>) -> io::Result<Option<Line>> {
        bytes.clear();
        let mut line = Line { number: self.number + 1, ended: false, too_long: false };
        let mut any = false;
        while !line.ended {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if chunk.is_empty() {
                break;
            }
            if std::mem::take(&mut self.after_cr) && chunk[0] == b'\n' {
                self.hasher.update(b"\n");
                self.reader.consume(1);
                continue;
            }
            any = true;
            let end = chunk.iter().position(|&byte| matches!(byte, b'\n' | b'\r'));
            line.ended = end.is_some();
            self.after_cr = end.is_some_and(|end| chunk[end] == b'\r');
            let used = end.map_or(chunk.len(), |end| end + 1);
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = self.limit.saturating_sub(bytes.len());
            line.too_long |= text.len() > room;
            bytes.extend_from_slice(&text[..text.len().min(room)]);
            self.hasher.update(&chunk[..used]);
            self.reader.consume(used);
        }
        if !any {
            return Ok(None);
        }
        self.number = line.number;
        if line.number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        Ok(Some(line))
    }

    /// The SHA-256 of all bytes read so far.
    pub(crate) fn digest(self) -> [u8; 32] {
        self.hasher.finalize().into()
    }
}

pub(crate) use pytext::strip as python_strip;

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8], limit: usize) -> Vec<(String, Line)> {
        // A buffer of three bytes, so that lines straddle it.
        let mut lines = Lines { limit, ..Lines::new(io::BufReader::with_capacity(3, bytes)) };
        let mut buffer = Vec::new();
        let mut out = Vec::new();
        while let Some(line) = lines.read(&mut buffer).unwrap() {
            out.push((String::from_utf8_lossy(&buffer).into_owned(), line));
        }
        assert_eq!(lines.digest(), <[u8; 32]>::from(Sha256::digest(bytes)));
        out
    }

    #[test]
    fn every_line_is_read_and_every_byte_is_hashed() {
        let out = read_all(b"\xef\xbb\xbfone\r\n\ntwo\nlast", 100);
        let texts: Vec<&str> = out.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["one", "", "two", "last"]);
        assert_eq!(out.iter().map(|(_, line)| line.ended).collect::<Vec<_>>(), [true, true, true, false]);
        assert_eq!(out.last().unwrap().1.number, 4);
        assert!(read_all(b"", 100).is_empty());
    }

    #[test]
    fn lines_end_as_in_python() {
        for (text, expected) in [
            ("a\rb\r\nc\nd", &["a", "b", "c", "d"][..]),
            ("a\r\rb\n\rc\r", &["a", "", "b", "", "c"]),
            ("ab\r\n\r\nc\r\n", &["ab", "", "c"]),
            ("\r\n", &[""]),
            ("\r", &[""]),
            ("a\u{b}\u{85}\u{2028}b", &["a\u{b}\u{85}\u{2028}b"]),
        ] {
            let out = read_all(text.as_bytes(), 100);
            assert_eq!(out.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(), expected, "{text:?}");
            let is_last_ended = text.ends_with(['\r', '\n']);
            assert_eq!(out.last().unwrap().1.ended, is_last_ended, "{text:?}");
        }
    }

    #[test]
    fn a_line_beyond_the_limit_is_cut_and_the_next_one_is_whole() {
        let out = read_all(b"0123456789\nok\n", 4);
        assert_eq!(out[0].0, "0123");
        assert!(out[0].1.too_long && !out[1].1.too_long);
        assert_eq!(out[1].0, "ok");
    }
}
