//! The data of one signature and window, column by column: without loss, and small.
//!
//! In: [`DatumRecord`](crate::model::DatumRecord)s in any order, which is kept, with the harvests that saw them or without. Out: chunks of bytes ([`encode`]) from which
//! [`Columns`] decodes only the wanted columns, into buffers that are used again. The chunks have neither compression nor
//! checksum: [`super::frame`] adds both.
//!
//! Decoding is safe on arbitrary bytes: they give an error or data, never a panic, and never use more memory than a fixed
//! multiple of their length.
//!
//! # Format
//! A version byte, the number of data (varint), eleven sections, each after its length (varint), twelve in an answer with
//! replicates, then zero bytes until there are as many bytes as data, or rows, so that the length limits the allocation. `integers` describes how integers are packed; 64-bit
//! words wrap around.
//!
//! | section | content |
//! |---|---|
//! | flags | the distinct flag bytes (count, bytes), then the index of each datum's |
//! | job ids | of the data with a job |
//! | ids | of all; 0 for irregular data without one |
//! | values | of regular data: decimal integers and their scale, or bits |
//! | push timestamps | of all: seconds, then microseconds of the second |
//! | push ids | of all |
//! | revisions | those kept inline: the distinct ones (count, 20 bytes each), then indexes |
//! | submit times | of the data with one, since the push timestamp: seconds, then microseconds |
//! | machine names | of the data with one: the distinct ones, sorted and front-coded, then indexes |
//! | irregular | lengths of the texts of irregular data, then the texts |
//! | harvests | the first that saw each datum, then how many later the last; empty in an answer as it came |
//! | replicates | of rows of one datum: how many more rows each datum has, then their values |

mod decode;
mod encode;
mod error;
mod flag;
mod format;
mod integers;
mod names;
mod records;
mod replicates;
mod values;
mod varint;

pub use decode::{Columns, RevisionPlace};
pub use encode::{EncodedChunk, encode, encode_rows};
pub use error::ColumnsError;
pub use format::{ColumnSet, DATA_PER_CHUNK};
pub use records::PythonText;
pub(super) use replicates::leading_run;
pub(crate) use varint::{Reader as VarintReader, put_varint};

#[cfg(test)]
mod tests;
