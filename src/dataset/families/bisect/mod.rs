//! The artifacts of bisections: replays of a regression that look for its culprit.
//!
//! In: the alert summaries, the data of the failing signatures, the commits with their parents, and two files of predictions.
//! The window of these artifacts excludes its end, unlike that of all others. Three families share the failing signatures
//! (`failing`): their table, their data (`data`), and the regressions (`regressions`).

mod commit_graph;
mod data;
mod failing;
mod info;
mod inputs;
mod predictions;
mod regressions;
mod replicate_counts;
mod revisions;
mod rows;
mod samples;
mod series;
mod slice;

pub use self::inputs::check_bisect_inputs;

pub(in crate::dataset::families) use self::data::SignatureData;
pub(in crate::dataset::families) use self::failing::FilteredFailing;
pub(in crate::dataset::families) use self::regressions::Regressions;
