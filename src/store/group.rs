//! The head of a group in the log, which makes the log readable by itself.
//!
//! A group is one commit: head, operations, values, and head and operations once more. The head is checked by itself, the
//! values and the operations by their checksums in the head. Damage in one place costs only the values that it hits, unless
//! it reaches from one copy to the other; a reader then continues at the next magic with an intact head and operations.
//!
//! | bytes | content, little-endian |
//! |---|---|
//! | 8 | magic |
//! | 8 | kind |
//! | 8 | random number of this log, so that no bytes of another one can pass for a group |
//! | 8 | number: groups are counted from 1, without gaps |
//! | 8 | place of the group in the file, which tells the first head from the second |
//! | 8 | length of the values |
//! | 8 | XXH3-64 of the values |
//! | 8 | length of the operations, sealed in a frame |
//! | 8 | XXH3-64 of the sealed operations |
//! | 8 | XXH3-64 of the bytes before |
//! | … | the operations |
//! | … | the values, each in a frame of its own |
//! | … | the head and the operations again |

use xxhash_rust::xxh3::xxh3_64;

/// The first bytes of a group; they are not UTF-8, and no frame begins with them.
pub(super) const MAGIC: [u8; 8] = *b"\xf5PHLOG\r\n";

/// A place between two groups, and the number of the group before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) number: u64,
    pub(super) end: u64,
}

/// The kind of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Changes after those of the group before.
    Commit,
    /// The first group of a checkpoint: entries of all trees, without the history that led to them.
    CheckpointBegin,
    /// More entries of the checkpoint.
    CheckpointPart,
    /// The last group of the checkpoint. Only with it does the checkpoint hold.
    CheckpointEnd,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Commit, Self::CheckpointBegin, Self::CheckpointPart, Self::CheckpointEnd];
}

/// The head of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) kind: Kind,
    pub(super) log_id: u64,
    pub(super) number: u64,
    pub(super) start: u64,
    pub(super) values_len: u64,
    pub(super) values_check: u64,
    pub(super) operations_len: u64,
    pub(super) operations_check: u64,
}

impl Head {
    pub(super) const BYTES: usize = 10 * 8;

    const CHECKED_BYTES: usize = Self::BYTES - 8;

    /// Where the values begin.
    pub(super) const fn values_at(&self) -> u64 {
        self.start.saturating_add(Self::BYTES as u64).saturating_add(self.operations_len)
    }

    /// Where the second head is.
    pub(super) const fn second_at(&self) -> u64 {
        self.values_at().saturating_add(self.values_len)
    }

    /// Where the next group begins.
    pub(super) const fn end(&self) -> u64 {
        self.second_at().saturating_add(Self::BYTES as u64).saturating_add(self.operations_len)
    }

    /// Behind the group.
    pub(super) const fn position(&self) -> Position {
        Position { number: self.number, end: self.end() }
    }

    pub(super) fn to_bytes(self) -> [u8; Self::BYTES] {
        let kind = Kind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or_default() as u64;
        let fields = [
            kind,
            self.log_id,
            self.number,
            self.start,
            self.values_len,
            self.values_check,
            self.operations_len,
            self.operations_check,
        ];
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        for (at, field) in fields.iter().enumerate() {
            bytes[8 * (at + 1)..8 * (at + 2)].copy_from_slice(&field.to_le_bytes());
        }
        let check = xxh3_64(&bytes[..Self::CHECKED_BYTES]);
        bytes[Self::CHECKED_BYTES..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// `None` for bytes that are not a head.
    pub(super) fn from_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let field = |at: usize| bytes[8 * at..].first_chunk::<8>().map_or(0, |field| u64::from_le_bytes(*field));
        if bytes[..8] != MAGIC || xxh3_64(&bytes[..Self::CHECKED_BYTES]) != field(9) {
            return None;
        }
        Some(Self {
            kind: *Kind::ALL.get(usize::try_from(field(1)).ok()?)?,
            log_id: field(2),
            number: field(3),
            start: field(4),
            values_len: field(5),
            values_check: field(6),
            operations_len: field(7),
            operations_check: field(8),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_comes_back_and_every_flipped_bit_is_seen() {
        for kind in Kind::ALL {
            let head = Head {
                kind,
                log_id: 5,
                number: 7,
                start: 1 << 50,
                values_len: 1 << 40,
                values_check: u64::MAX,
                operations_len: 3,
                operations_check: 9,
            };
            let mut bytes = head.to_bytes();
            assert_eq!(Head::from_bytes(&bytes), Some(head));
            for bit in 0..Head::BYTES * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Head::from_bytes(&bytes), None);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }
}
