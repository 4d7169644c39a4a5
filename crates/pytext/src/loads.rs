//! Values as Python's `json.loads` reads them, and `json.dumps` of them.
//!
//! In: the text of a JSON value, with what Python accepts beyond the standard: `NaN`, `Infinity`, `-Infinity`, halves
//! of surrogate pairs, nesting down to [`MAX_NESTING`]. Out: a tree in one flat list, to look at or to write again. As
//! in a Python dict, the last value of a repeated key counts, at the place of the first. Nothing recurses, so no text
//! exhausts the stack.

mod read;
mod value;
mod write;

pub use self::value::{Document, Elements, Entries, Kind, MAX_NESTING, PyStr, Value};
pub use self::write::{Notation, Replaced};

#[cfg(test)]
mod tests;
