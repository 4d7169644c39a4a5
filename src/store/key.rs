//! Keys of the records: a letter for the kind, then the API's own id, big-endian, so that keys sort as ids.

use crate::model::{AlertSummaryId, JobId, PushId, Request, SignatureId};

/// Longest piece of a record, bytes before compression.
const PIECE_BYTES: usize = 64 << 10;

/// Letters of the records of which earlier versions are kept.
pub(super) const ALERT: u8 = b'A';
pub(super) const SIGNATURE: u8 = b'G';
pub(super) const JOB: u8 = b'J';

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
    keyed(ALERT, id.0)
}

/// The key of the record that a piece belongs to, if its earlier versions are kept.
pub(super) fn versioned(piece: &[u8]) -> Option<&[u8]> {
    let is_record = matches!(piece.first(), Some(&(ALERT | SIGNATURE | JOB))) && piece.len() == 1 + 8 + 2;
    is_record.then(|| &piece[..9])
}

/// The key of the record with this letter and id.
pub(super) fn record(letter: u8, id: u64) -> Vec<u8> {
    keyed(letter, id)
}

pub(super) fn signature(id: SignatureId) -> Vec<u8> {
    keyed(SIGNATURE, id.0)
}

pub(super) fn job(id: JobId) -> Vec<u8> {
    keyed(JOB, id.0)
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

/// A record, with its own key `key`, as it was before harvest `harvest` changed it; empty if that harvest was the first to
/// see it.
pub(super) fn version(key: &[u8], harvest: u16) -> Vec<u8> {
    let mut version = vec![b'V'];
    version.extend_from_slice(key);
    version.extend_from_slice(&harvest.to_be_bytes());
    version
}

/// Common prefix of the keys of the earlier versions of records of one kind, or of one record.
pub(super) fn versions_prefix(key: &[u8]) -> Vec<u8> {
    let mut prefix = vec![b'V'];
    prefix.extend_from_slice(key);
    prefix
}

/// Id and harvest in the key of the first piece of a version; `None` for other keys.
pub(super) fn read_version(key: &[u8]) -> Option<(u64, u16)> {
    let (id, rest) = key.get(2..)?.split_first_chunk::<8>()?;
    let (harvest, number) = rest.split_first_chunk::<2>()?;
    (number == [0, 0]).then_some((u64::from_be_bytes(*id), u16::from_be_bytes(*harvest)))
}

/// The alert summaries of the dataset, in the order of the server's list, as of the last harvest that came to its end.
pub(super) const ALERT_LISTING: &[u8] = b"L";

/// Lines of the change feed of a harvest, of one kind of record, from id `first` on.
pub(super) fn feed(harvest: u16, kind: u8, first: u64) -> Vec<u8> {
    let mut key = feed_prefix(harvest);
    key.push(kind);
    key.extend_from_slice(&first.to_be_bytes());
    key
}

/// Common prefix of the keys of the change feed of a harvest.
pub(super) fn feed_prefix(harvest: u16) -> Vec<u8> {
    let mut prefix = vec![b'F'];
    prefix.extend_from_slice(&harvest.to_be_bytes());
    prefix
}

/// First bytes of the keys of records that belong to no settled request.
pub(super) const HISTORY_PREFIXES: [&[u8]; 3] = [b"F", b"L", b"V"];

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
