//! The content encoding of a reply's body, undone while the body arrives.
//!
//! In: chunks of the body as sent. Out: its bytes, in small pieces, at most `source.max_body_bytes` in all. A gzip body
//! may have several members, as some proxies and caches send it; a member that is corrupt or ends early is an error,
//! never a short body.

use std::io::{self, Write};

use flate2::write::MultiGzDecoder;

use super::error::SourceError;

/// The content encodings that a client asks for.
pub(super) const ACCEPTED_ENCODINGS: &str = "gzip";

/// Bytes of a plain body that are taken at once. A gzip decoder has a buffer of half this.
const PIECE_BYTES: usize = 64 << 10;

/// Undoes a body's content encoding.
pub(super) enum BodyDecoder {
    Plain(Limited),
    Gzip(Box<MultiGzDecoder<Limited>>),
}

/// Decoded bytes that nobody has taken yet.
pub(super) struct Limited {
    bytes: Vec<u8>,
    limit: u64,
    left: u64,
    is_over: bool,
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len() as u64) else {
            self.is_over = true;
            return Err(io::Error::other("the body is over the limit"));
        };
        self.left = left;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BodyDecoder {
    /// A decoder of `encoding`, the value of `Content-Encoding`, for a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`SourceError::BrokenEncoding`] for an encoding that was not asked for.
    pub(super) fn new(encoding: Option<&str>, limit: u64) -> Result<Self, SourceError> {
        let decoded = Limited { bytes: Vec::new(), limit, left: limit, is_over: false };
        match encoding.map(|encoding| encoding.trim().to_ascii_lowercase()).as_deref() {
            None | Some("" | "identity") => Ok(Self::Plain(decoded)),
            Some("gzip" | "x-gzip") => Ok(Self::Gzip(Box::new(MultiGzDecoder::new(decoded)))),
            Some(other) => {
                let found = format!("content encoding {other:?}, which was not asked for");
                Err(SourceError::BrokenEncoding { source: io::Error::new(io::ErrorKind::Unsupported, found) })
            }
        }
    }

    /// Consumes a part of `chunk`, the continuation of the last one, and returns the decoded bytes.
    pub(super) fn decode(&mut self, chunk: &mut &[u8]) -> Result<Vec<u8>, SourceError> {
        let written = match self {
            Self::Plain(decoded) => decoded.write(&chunk[..chunk.len().min(PIECE_BYTES)]),
            Self::Gzip(decoder) => decoder.write(chunk),
        };
        let len = self.check(written)?;
        *chunk = &chunk[len..];
        Ok(std::mem::take(&mut self.decoded().bytes))
    }

    /// The body has ended; returns its last bytes.
    pub(super) fn finish(&mut self) -> Result<Vec<u8>, SourceError> {
        let finished = match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish(),
        };
        self.check(finished)?;
        Ok(std::mem::take(&mut self.decoded().bytes))
    }

    /// Bytes decoded so far.
    pub(super) fn num_bytes(&mut self) -> u64 {
        let decoded = self.decoded();
        decoded.limit - decoded.left
    }

    fn decoded(&mut self) -> &mut Limited {
        match self {
            Self::Plain(decoded) => decoded,
            Self::Gzip(decoder) => decoder.get_mut(),
        }
    }

    fn check<T>(&mut self, written: io::Result<T>) -> Result<T, SourceError> {
        let decoded = self.decoded();
        let limit = decoded.is_over.then_some(decoded.limit);
        written.map_err(|source| match limit {
            Some(limit) => SourceError::TooLarge { limit },
            None => SourceError::BrokenEncoding { source },
        })
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    use super::*;

    fn member(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// The body that arrives as `sent`, in chunks of `size` bytes.
    fn decoded(encoding: Option<&str>, sent: &[u8], size: usize, limit: u64) -> Result<Vec<u8>, SourceError> {
        let mut decoder = BodyDecoder::new(encoding, limit)?;
        let mut body = Vec::new();
        for mut chunk in sent.chunks(size) {
            while !chunk.is_empty() {
                let piece = decoder.decode(&mut chunk)?;
                assert!(piece.len() <= PIECE_BYTES);
                body.extend(piece);
            }
        }
        body.extend(decoder.finish()?);
        assert_eq!(decoder.num_bytes(), body.len() as u64);
        Ok(body)
    }

    proptest! {
        #[test]
        fn any_members_in_any_chunks_give_the_whole_body(
            parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..5), size in 1_usize..400,
        ) {
            let sent: Vec<u8> = parts.iter().flat_map(|part| member(part)).collect();
            prop_assert_eq!(decoded(Some("gzip"), &sent, size, 2000).unwrap(), parts.concat());
            prop_assert_eq!(decoded(None, &sent, size, 1 << 20).unwrap(), sent);
        }

        #[test]
        fn a_body_cut_inside_a_member_is_an_error(len in 0_usize..300, cut in any::<prop::sample::Index>(), size in 1_usize..99) {
            let text: Vec<u8> = (0..=u8::MAX).cycle().take(len).map(|at| at.wrapping_mul(at)).collect();
            let (first, second) = (member(&text), member(&text));
            let sent = [&first[..], &second[..=cut.index(second.len() - 1)]].concat();
            let result = decoded(Some("gzip"), &sent, size, 2000);
            let is_whole = sent.len() == first.len() + second.len();
            let is_broken = matches!(result, Err(SourceError::BrokenEncoding { .. }));
            prop_assert_eq!(is_broken, !is_whole);
        }
    }

    #[test]
    fn corrupt_members_other_encodings_and_an_empty_body_are_errors() {
        let good = member(b"[1,2,3]");
        for at in [0, good.len() - 8, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            for sent in [bad.clone(), [&good[..], &bad].concat(), [&bad[..], &good].concat()] {
                assert!(matches!(decoded(Some("gzip"), &sent, 5, 99), Err(SourceError::BrokenEncoding { .. })), "{at}");
            }
        }
        for sent in [&b""[..], b"[1,2,3]", &[&good[..], b"junk"].concat()] {
            assert!(matches!(decoded(Some("gzip"), sent, 5, 99), Err(SourceError::BrokenEncoding { .. })));
        }
        for encoding in ["br", "deflate", "gzip, gzip"] {
            assert!(matches!(decoded(Some(encoding), &good, 5, 99), Err(SourceError::BrokenEncoding { .. })));
        }
        assert_eq!(decoded(Some(" X-GZip"), &good, 5, 99).unwrap(), b"[1,2,3]");
    }

    #[test]
    fn a_bomb_comes_in_pieces() {
        let sent = member(&vec![b' '; 5_000_000]);
        assert!(sent.len() < 10_000);
        assert_eq!(decoded(Some("gzip"), &sent, sent.len(), 5_000_000).unwrap().len(), 5_000_000);
    }

    #[test]
    fn the_limit_counts_decoded_bytes_of_all_members() {
        let sent = [member(&[b' '; 600]), member(&[b' '; 600])].concat();
        assert!(sent.len() < 100);
        assert!(matches!(decoded(Some("gzip"), &sent, 7, 1199), Err(SourceError::TooLarge { limit: 1199 })));
        assert_eq!(decoded(Some("gzip"), &sent, 7, 1200).unwrap().len(), 1200);
        assert!(matches!(decoded(None, &[b' '; 100], 7, 99), Err(SourceError::TooLarge { limit: 99 })));
    }
}
