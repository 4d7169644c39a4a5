//! 5. ARTIFACTS: the files of the dataset, in the formats of the original scripts.
//!
//! Each file of this folder owns one format. Only `atomic` creates output files, which appear whole or not at all.

mod atomic;
pub mod csv;
mod digest;
mod error;
mod manifest;
pub mod parquet;
mod place;
pub mod plot;
mod redact;

pub use atomic::{
    ArtifactFile, Completing, Finished, Publication, leftovers_in, publish, remove_leftovers, remove_leftovers_of,
};
pub(crate) use digest::file_digest;
pub use error::ArtifactError;
pub use manifest::{
    ArtifactEntry, KindEntry, MANIFEST_FORMAT, MANIFEST_NAME, Manifest, NotMadeEntry, RunEntry, ToolEntry,
};
pub use place::{MadeFolders, folder_of, make_folder, resolve};
pub use pytext::json::JsonTextError;
pub use pytext::{float as python_float, json, json_value, literal as python_literal};
pub use redact::{ADDRESSES_REDACTED, REDACTION, Redaction};

#[cfg(test)]
mod tests {
    use super::json::{AsciiMode, dumps};

    fn dumped(raw: &str, mode: AsciiMode) -> String {
        let mut out = Vec::new();
        dumps(raw, &mut out, mode).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn golden_lines_are_fixed_points() {
        for (name, mode) in [
            ("all_signatures.jsonl", AsciiMode::Escape),
            ("sigs_by_job_id_detailed.jsonl", AsciiMode::Escape),
            ("max_revision_jobs.jsonl", AsciiMode::Escape),
        ] {
            let path = format!("{}/tests/corpus/golden/{name}", env!("CARGO_MANIFEST_DIR"));
            for line in std::fs::read_to_string(path).unwrap().lines() {
                assert_eq!(dumped(line, mode), line);
                let compact: serde_json::Value = serde_json::from_str(line).unwrap();
                assert_eq!(
                    serde_json::from_str::<serde_json::Value>(&dumped(&compact.to_string(), mode)).unwrap(),
                    compact
                );
            }
        }
    }
}
