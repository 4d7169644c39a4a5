//! Python's text of floats, strings, lists and JSON, and Python's `statistics`, to the last byte and digit.

pub mod counts;
mod exact;
pub mod float;
pub mod json;
mod json_scan;
pub mod json_value;
pub mod literal;
mod printable;
pub mod stats;
mod strip;

pub use strip::strip;
