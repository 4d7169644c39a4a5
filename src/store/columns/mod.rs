//! The data of one signature and window, column by column: without loss, and small.
//!
//! In: [`DatumRecord`](crate::model::DatumRecord)s in any order, which is kept. Out: chunks of bytes ([`encode`]) that
//! [`Columns`] decodes again, only the columns that are wanted, into buffers that are used over and over. The chunks
//! are neither compressed nor checked against damage: [`super::frame`] does both.
//!
//! Decoding trusts nothing: arbitrary bytes give an error or data, never a panic, and never more memory than a fixed
//! multiple of their length.
//!
//! # Format
//! A version byte, the number of data (varint), then ten sections, each behind its length (varint), then zero bytes
//! until there are as many bytes as data, so that the length bounds what decoding allocates. Integers are packed as `integers` describes;
//! 64-bit words wrap around.
//!
//! | section | content |
//! |---|---|
//! | flags | the distinct flag bytes (count, bytes), then which of them each datum has |
//! | job ids | of the data that have one |
//! | ids | of all |
//! | values | of regular data: decimal integers and their scale, or bits |
//! | push timestamps | of all: seconds, then microseconds of the second |
//! | push ids | of all |
//! | revisions | those kept inline: the distinct ones (count, 20 bytes each), then which of them |
//! | submit times | of the data that have one, since the push timestamp: seconds, then microseconds |
//! | machine names | of the data that have one: the distinct ones, sorted and front-coded, then which of them |
//! | irregular | lengths of the texts of irregular data, then the texts |

mod decode;
mod encode;
mod error;
mod flag;
mod format;
mod integers;
mod names;
mod records;
mod values;
mod varint;

pub use decode::{Columns, RevisionPlace};
pub use encode::{EncodedChunk, encode};
pub use error::ColumnsError;
pub use format::{ColumnSet, MAX_DATA_PER_CHUNK};
pub use records::PythonText;

#[cfg(test)]
mod tests;
