//! 5. ARTIFACTS: the files of the dataset, in the formats of the scripts that made them first.
//!
//! One format a file; `atomic` is the only one that creates outputs: a file appears whole or not at all. `manifest` is
//! written last and says what the others are.

mod atomic;
pub mod csv;
pub mod json;
mod json_scan;
pub mod json_value;
mod manifest;
pub mod parquet;
pub mod plot;
pub mod python_float;
pub mod python_literal;
mod python_printable;
mod redact;

pub use atomic::{
    ArtifactError, ArtifactFile, Completing, Finished, Publication, check_folder, leftovers_in, publish,
    remove_leftovers,
};
pub use json_scan::JsonTextError;
pub use manifest::{
    ArtifactEntry, KindEntry, MANIFEST_FORMAT, MANIFEST_NAME, Manifest, NotMadeEntry, RunEntry, ToolEntry,
};
pub use redact::redact_emails;
