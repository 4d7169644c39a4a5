//! Keys of the records: a letter for the kind, then the API's own id, big-endian, so that keys sort as ids.

use crate::model::{AlertSummaryId, JobId, PushId, Request, SignatureId};

/// Longest piece of a record, bytes before compression.
const PIECE_BYTES: usize = 64 << 10;

fn keyed(letter: u8, id: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(11);
    key.push(letter);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

fn of_request(letter: u8, request: &Request) -> Vec<u8> {
    let mut key = vec![letter];
    key.extend_from_slice(&request.key());
    key
}

pub(super) fn alert(id: AlertSummaryId) -> Vec<u8> {
    keyed(b'A', id.0)
}

pub(super) fn signature(id: SignatureId) -> Vec<u8> {
    keyed(b'G', id.0)
}

pub(super) fn job(id: JobId) -> Vec<u8> {
    keyed(b'J', id.0)
}

pub(super) fn push(id: PushId) -> [u8; 8] {
    id.0.to_be_bytes()
}

pub(super) fn page(request: &Request) -> Vec<u8> {
    of_request(b'P', request)
}

pub(super) fn id_list(request: &Request) -> Vec<u8> {
    of_request(b'I', request)
}

pub(super) fn header(request: &Request) -> Vec<u8> {
    of_request(b'H', request)
}

pub(super) fn chunk(request: &Request, number: usize) -> Vec<u8> {
    let mut key = of_request(b'C', request);
    key.extend_from_slice(&u16::try_from(number).unwrap_or(u16::MAX).to_be_bytes());
    key
}

/// The key of a record that was not stored as it came, in the tree `set_aside`.
pub(super) fn odd(request: &Request, record: u64) -> Vec<u8> {
    let mut key = request.key();
    key.extend_from_slice(&record.to_be_bytes());
    key
}

/// The request and the record of such a key.
pub(super) fn read_odd(key: &[u8]) -> Option<(Request, u64)> {
    let (request, record) = key.split_last_chunk::<8>()?;
    Some((Request::from_key(request)?, u64::from_be_bytes(*record)))
}

/// The key of piece `number` of the record at `key`.
pub(super) fn piece(key: &[u8], number: u16) -> Vec<u8> {
    let mut piece_key = key.to_vec();
    piece_key.extend_from_slice(&number.to_be_bytes());
    piece_key
}

/// Cuts a record into pieces; each begins with the number of pieces, two bytes.
pub(super) fn pieces(key: &[u8], raw: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let num_pieces = u16::try_from(raw.len().div_ceil(PIECE_BYTES).max(1)).unwrap_or(u16::MAX);
    (0..num_pieces).map(move |number| {
        let start = usize::from(number) * PIECE_BYTES;
        // The last piece holds the rest, also of a record of more than 65,535 pieces.
        let end = if number + 1 == num_pieces { raw.len() } else { start + PIECE_BYTES };
        let mut value = num_pieces.to_be_bytes().to_vec();
        value.extend_from_slice(&raw[start..end]);
        (piece(key, number), value)
    })
}

/// A key for messages: the request where it belongs to one, else hex digits.
pub(super) fn describe(key: &[u8]) -> String {
    Request::from_key(key).map_or_else(
        || key.iter().fold(String::from("key "), |text, byte| text + &format!("{byte:02x}")),
        |request| request.to_string(),
    )
}
