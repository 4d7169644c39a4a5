//! Python's text of floats, strings, lists and JSON, and Python's `statistics`, to the last byte and digit.
//!
//! For programs that replace Python scripts, and whose output must be the bytes of before. Checked against Python 3.13.
//!
//! * [`float`]: `repr(x)` and `f"{x:.2f}"`.
//! * [`json`]: `json.dumps`, from JSON text to JSON text without a tree between, so that numbers keep their text.
//! * [`loads`]: `json.loads`, with `NaN`, half surrogates and deep nesting, and `json.dumps` of what it read.
//! * [`json_value`]: a small tree with `json.dumps(indent=…, sort_keys=…)`.
//! * [`literal`]: `repr` of strings, lists and dictionaries, from JSON text.
//! * [`stats`] and [`counts`]: means, medians, deviations and percentiles, with Python's rounding; `counts` works on tallies
//!   of integers, in memory that grows with the distinct values.
//!
//! ```
//! use pytext::json::{AsciiMode, dumps};
//! use pytext::{float, literal, stats};
//!
//! assert_eq!(float::repr(1e16), "1e+16");
//! assert_eq!(float::repr(0.1 + 0.2), "0.30000000000000004");
//!
//! let mut text = Vec::new();
//! dumps(r#"{"name":"é","value":4.36e-05}"#, &mut text, AsciiMode::Escape)?;
//! assert_eq!(text, br#"{"name": "\u00e9", "value": 4.36e-05}"#);
//!
//! let mut text = Vec::new();
//! literal::write_literal(r#"["it's", null, true]"#, &mut text)?;
//! assert_eq!(text, br#"["it's", None, True]"#);
//!
//! assert_eq!(stats::round_half_even_2(2.675), 2.67);
//! assert_eq!(stats::fsum(&[0.1; 10]), 1.0);
//! # Ok::<(), pytext::JsonTextError>(())
//! ```
//!
//! JSON text is untrusted: what is not JSON, or nests deeper than [`json::MAX_DEPTH`] ([`loads::MAX_NESTING`] for
//! `loads`), is an error, and leaves the output as it was. `json` and `literal` keep the text of numbers beyond the
//! range of doubles, where Python writes `inf`.

pub mod counts;
mod exact;
pub mod float;
pub mod json;
mod json_scan;
pub mod json_value;
pub mod literal;
pub mod loads;
mod printable;
pub mod stats;
mod strip;

pub use json_scan::JsonTextError;
pub use strip::strip;
