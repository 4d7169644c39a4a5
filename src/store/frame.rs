//! The frame of every value in the store: a checksum against damage, and compression.
//!
//! In: a value's bytes. Out: the framed bytes, and from these the value again, or the kind of damage. A flipped bit anywhere
//! is detected, and damaged bytes never decide how much memory is allocated.
//!
//! Layout, little-endian, 16 bytes beside the payload: magic `PH`, version, codec (0 = stored, 1 = zstd, 2 = zstd with the
//! dictionary), raw length (its low 32 bits), payload, XXH3-64 of all that precedes it.
//!
//! The dictionary is for the API's records: JSON objects of a few hundred bytes. zstd by itself compresses them little, since
//! each holds most of its texts only once. The dictionary is the same in every store and must never change; a new one needs
//! a new codec. `examples/train_dictionary.rs` made it from a crawl of the recorded corpus.

use std::cell::RefCell;
use std::io;
use std::sync::LazyLock;

use thiserror::Error;
use xxhash_rust::xxh3::xxh3_64;
use zstd::bulk::{Compressor, Decompressor};
use zstd::dict::{DecoderDictionary, EncoderDictionary};

const MAGIC: [u8; 2] = *b"PH";
const VERSION: u8 = 1;
const HEADER_LEN: usize = 8;
const CHECKSUM_LEN: usize = 8;
const STORED: u8 = 0;
const ZSTD: u8 = 1;
const ZSTD_WITH_DICTIONARY: u8 = 2;
const ZSTD_LEVEL: i32 = 3;
/// For [`seal_columns`].
const FAST_LEVEL: i32 = -1;

/// Bytes that [`seal`] adds to a value that compression does not shorten.
const FRAME_OVERHEAD_BYTES: usize = HEADER_LEN + CHECKSUM_LEN;

/// The longest value that is compressed; longer ones are stored as they are, so that no small frame can ask for much
/// memory.
const MAX_COMPRESSED_RAW_BYTES: usize = 64 << 20;

/// Shorter values are stored as they are: zstd's own header costs more than it saves.
const MIN_COMPRESSED_RAW_BYTES: usize = 64;

/// The kind of damage of a framed value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Shorter than a header.
    #[error("a framed value has at least {FRAME_OVERHEAD_BYTES} bytes, this one has {found}")]
    TooShort {
        /// Bytes.
        found: usize,
    },
    /// The first bytes are not the magic.
    #[error("the value does not begin with the magic bytes of a frame")]
    Magic,
    /// A newer program wrote the frame, or it is damaged.
    #[error("the frame has version {found}, but this program reads version {VERSION}")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// The bytes are not those that were sealed.
    #[error("the frame's checksum does not match its content")]
    Checksum,
    /// The payload has an unknown encoding.
    #[error("the frame has the unknown codec {found}")]
    Codec {
        /// The codec byte.
        found: u8,
    },
    /// The length differs from that of the payload, or exceeds 64 MiB.
    #[error("the frame announces an impossible length of {announced} bytes")]
    Length {
        /// Raw length in the header, bytes.
        announced: u32,
    },
    /// zstd cannot decompress the payload.
    #[error("failed to decompress the frame's payload")]
    Decompression(#[source] io::Error),
}

const DICTIONARY: &[u8] = include_bytes!("frame.dict");

static ENCODER: LazyLock<EncoderDictionary<'static>> =
    LazyLock::new(|| EncoderDictionary::copy(DICTIONARY, ZSTD_LEVEL));
static DECODER: LazyLock<DecoderDictionary<'static>> = LazyLock::new(|| DecoderDictionary::copy(DICTIONARY));

/// The ways to compress a value: without the dictionary, with it, and fast.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    WithDictionary,
    Fast,
}

impl Way {
    const fn codec(self) -> u8 {
        match self {
            Self::Plain | Self::Fast => ZSTD,
            Self::WithDictionary => ZSTD_WITH_DICTIONARY,
        }
    }

    fn compressor(self) -> io::Result<Compressor<'static>> {
        match self {
            Self::Plain => Compressor::new(ZSTD_LEVEL),
            Self::WithDictionary => Compressor::with_prepared_dictionary(&ENCODER),
            Self::Fast => Compressor::new(FAST_LEVEL),
        }
    }
}

type Compressors = [Option<Compressor<'static>>; 3];
type Decompressors = [Option<Decompressor<'static>>; 2];

thread_local! {
    /// By [`Way`].
    static COMPRESSORS: RefCell<Compressors> = const { RefCell::new([None, None, None]) };
    /// Without the dictionary, and with it.
    static DECOMPRESSORS: RefCell<Decompressors> = const { RefCell::new([None, None]) };
}

/// Frames a value, and compresses it where that makes it shorter. The same bytes give the same frame.
#[must_use]
pub fn seal(raw: &[u8]) -> Vec<u8> {
    seal_like(raw, raw)
}

/// As [`seal`], for bytes that hold records like `sample`.
#[must_use]
pub(super) fn seal_like(raw: &[u8], sample: &[u8]) -> Vec<u8> {
    seal_by(if is_json_object(sample) { Way::WithDictionary } else { Way::Plain }, raw)
}

/// As [`seal`], for columns, which are packed already: the fast level shortens them to 1.01 times the length, in a third of the
/// time.
#[must_use]
pub fn seal_columns(raw: &[u8]) -> Vec<u8> {
    seal_by(Way::Fast, raw)
}

fn seal_by(way: Way, raw: &[u8]) -> Vec<u8> {
    let compressed = if (MIN_COMPRESSED_RAW_BYTES..=MAX_COMPRESSED_RAW_BYTES).contains(&raw.len()) {
        compress(way, raw).filter(|compressed| compressed.len() < raw.len())
    } else {
        None
    };
    let (codec, payload) = compressed.as_deref().map_or((STORED, raw), |compressed| (way.codec(), compressed));
    let mut framed = Vec::with_capacity(payload.len() + FRAME_OVERHEAD_BYTES);
    framed.extend_from_slice(&MAGIC);
    framed.extend_from_slice(&[VERSION, codec]);
    framed.extend_from_slice(&low_32_bits(raw.len()).to_le_bytes());
    framed.extend_from_slice(payload);
    let checksum = xxh3_64(&framed);
    framed.extend_from_slice(&checksum.to_le_bytes());
    framed
}

#[expect(clippy::cast_possible_truncation, reason = "the frame keeps the low bits only")]
const fn low_32_bits(len: usize) -> u32 {
    len as u32
}

/// A guess, which only costs space where it is wrong: an object begins here, or after the two bytes with which the piece of
/// a record begins.
fn is_json_object(raw: &[u8]) -> bool {
    raw.first() == Some(&b'{') || raw.get(2) == Some(&b'{')
}

/// `None` when zstd fails, which only costs space.
fn compress(way: Way, raw: &[u8]) -> Option<Vec<u8>> {
    COMPRESSORS.with_borrow_mut(|slots| {
        let slot = &mut slots[way as usize];
        if slot.is_none() {
            *slot = way.compressor().ok();
        }
        slot.as_mut()?.compress(raw).ok()
    })
}

/// Takes a value out of its frame; it replaces the content of `out`.
///
/// # Errors
/// [`FrameError`] when [`seal`] did not make these bytes; `out` is empty then.
pub fn open(framed: &[u8], out: &mut Vec<u8>) -> Result<(), FrameError> {
    out.clear();
    let (codec, announced, payload) = checked(framed)?;
    match codec {
        STORED if low_32_bits(payload.len()) == announced => {
            out.extend_from_slice(payload);
            Ok(())
        }
        ZSTD | ZSTD_WITH_DICTIONARY => match usize::try_from(announced) {
            Ok(raw_len) if raw_len <= MAX_COMPRESSED_RAW_BYTES => {
                decompress(payload, codec == ZSTD_WITH_DICTIONARY, raw_len, announced, out)
            }
            _ => Err(FrameError::Length { announced }),
        },
        STORED => Err(FrameError::Length { announced }),
        found => Err(FrameError::Codec { found }),
    }
}

/// Whether [`seal`] made these bytes, which [`open`] would find out, too.
///
/// # Errors
/// [`FrameError`] when it did not.
pub(super) fn check(framed: &[u8]) -> Result<(), FrameError> {
    checked(framed).map(drop)
}

/// Codec, raw length and payload of an undamaged frame.
fn checked(framed: &[u8]) -> Result<(u8, u32, &[u8]), FrameError> {
    let too_short = FrameError::TooShort { found: framed.len() };
    let Some((checked, checksum)) = framed.split_last_chunk::<CHECKSUM_LEN>() else { return Err(too_short) };
    let Some((header, payload)) = checked.split_first_chunk::<HEADER_LEN>() else { return Err(too_short) };
    let [magic_0, magic_1, version, codec, len @ ..] = *header;
    if [magic_0, magic_1] != MAGIC {
        return Err(FrameError::Magic);
    }
    if version != VERSION {
        return Err(FrameError::Version { found: version });
    }
    if xxh3_64(checked) != u64::from_le_bytes(*checksum) {
        return Err(FrameError::Checksum);
    }
    Ok((codec, u32::from_le_bytes(len), payload))
}

fn decompress(
    payload: &[u8],
    with_dictionary: bool,
    raw_len: usize,
    announced: u32,
    out: &mut Vec<u8>,
) -> Result<(), FrameError> {
    let decompressed = DECOMPRESSORS.with_borrow_mut(|slots| {
        let decompressor = match &mut slots[usize::from(with_dictionary)] {
            Some(decompressor) => decompressor,
            slot if with_dictionary => slot.insert(Decompressor::with_prepared_dictionary(&DECODER)?),
            slot => slot.insert(Decompressor::new()?),
        };
        out.reserve(raw_len);
        decompressor.decompress_to_buffer(payload, out)
    });
    match decompressed {
        Ok(len) if len == raw_len => Ok(()),
        Ok(_) => {
            out.clear();
            Err(FrameError::Length { announced })
        }
        Err(error) => {
            out.clear();
            Err(FrameError::Decompression(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn resealed(mut framed: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        framed.truncate(framed.len() - CHECKSUM_LEN);
        change(&mut framed);
        let checksum = xxh3_64(&framed);
        framed.extend_from_slice(&checksum.to_le_bytes());
        framed
    }

    fn error_of(framed: &[u8]) -> FrameError {
        let mut out = b"before".to_vec();
        let error = open(framed, &mut out).unwrap_err();
        assert!(out.is_empty());
        error
    }

    #[test]
    fn each_kind_of_damage_has_its_name() {
        let framed = seal(&[7; 1000]);
        assert!(framed.len() < 60, "{}", framed.len());
        assert!(matches!(error_of(&framed[..15]), FrameError::TooShort { found: 15 }));
        assert!(matches!(error_of(&resealed(framed.clone(), |bytes| bytes[0] = 0)), FrameError::Magic));
        assert!(matches!(error_of(&resealed(framed.clone(), |bytes| bytes[2] = 2)), FrameError::Version { found: 2 }));
        assert!(matches!(error_of(&resealed(framed.clone(), |bytes| bytes[3] = 9)), FrameError::Codec { found: 9 }));
        assert!(matches!(error_of(&resealed(framed.clone(), |bytes| bytes[3] = 0)), FrameError::Length { .. }));
        assert!(matches!(error_of(&framed[..framed.len() - 1]), FrameError::Checksum));
        let broken = resealed(framed.clone(), |bytes| bytes.truncate(HEADER_LEN + 6));
        assert!(matches!(error_of(&broken), FrameError::Decompression(_)));
    }

    #[test]
    fn the_dictionary_never_changes() {
        assert_eq!((DICTIONARY.len(), xxh3_64(DICTIONARY)), (16_384, 2_194_539_850_313_612_971));
    }

    #[test]
    fn a_record_of_the_api_is_much_shorter_with_the_dictionary() {
        let list = include_str!("../../tests/corpus/golden/all_signatures.jsonl");
        let (mut with, mut without) = (0, 0);
        for record in list.lines() {
            let record = record.replace("\": ", "\":").replace(", \"", ",\""); // as the API writes it
            let framed = seal(record.as_bytes());
            assert_eq!(framed[3], ZSTD_WITH_DICTIONARY);
            let mut out = Vec::new();
            open(&framed, &mut out).unwrap();
            assert_eq!(out, record.as_bytes());
            with += framed.len();
            without += compress(Way::Plain, record.as_bytes()).unwrap().len() + FRAME_OVERHEAD_BYTES;
        }
        assert!(with * 5 < without * 3, "{with} and {without} bytes");
    }

    #[test]
    fn lying_lengths_are_refused() {
        let framed = seal(&[7; 1000]);
        for len in [999_u32, 1001, 0, (64 << 20) + 1, u32::MAX] {
            let lying = resealed(framed.clone(), |bytes| bytes[4..8].copy_from_slice(&len.to_le_bytes()));
            assert!(matches!(error_of(&lying), FrameError::Length { .. } | FrameError::Decompression(_)), "{len}");
        }
    }

    proptest! {
        #[test]
        fn values_come_back_within_the_overhead(raw in proptest::collection::vec(any::<u8>(), 0..500), repeats in 1_usize..20) {
            let raw = raw.repeat(repeats);
            let framed = seal(&raw);
            prop_assert!(framed.len() <= raw.len() + FRAME_OVERHEAD_BYTES);
            let mut out = b"before".to_vec();
            open(&framed, &mut out).unwrap();
            prop_assert_eq!(&out, &raw);
            let packed = seal_columns(&raw);
            prop_assert!(packed.len() <= raw.len() + FRAME_OVERHEAD_BYTES);
            open(&packed, &mut out).unwrap();
            prop_assert_eq!(out, raw);
        }

        #[test]
        fn every_flipped_bit_is_found(raw in proptest::collection::vec(0_u8..4, 0..200)) {
            let mut framed = seal(&raw);
            let mut out = Vec::new();
            for bit in 0..framed.len() * 8 {
                framed[bit / 8] ^= 1 << (bit % 8);
                prop_assert!(open(&framed, &mut out).is_err());
                framed[bit / 8] ^= 1 << (bit % 8);
            }
        }

        #[test]
        fn arbitrary_bytes_with_a_true_checksum_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), codec in 0_u8..4) {
            let framed = resealed(seal(b""), |framed| {
                framed[3] = codec;
                framed.extend_from_slice(&bytes);
            });
            let _ = open(&framed, &mut Vec::new());
        }
    }
}
