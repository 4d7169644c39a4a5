//! Writes generated data to files, in the format of the reference scripts.

use std::io::{BufWriter, Write};
use std::path::Path;

use crate::dataset::{Dataset, Window};
use crate::error::SimulatorError;
use crate::history::{AsOf, History};
use crate::json_text::{write_as_python, write_uint};

use super::backend::Generator;
use super::commit::commits_jsonl;
use super::config::GeneratorConfig;
use super::signature::id_of;

/// The size of a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpReport {
    /// Lines of `all_signatures.jsonl` and of `perf_jobs_by_signature.jsonl`.
    pub num_signatures: u64,
    /// Data in `perf_jobs_by_signature.jsonl`.
    pub num_data: u64,
    /// Lines of `all_commits.jsonl`.
    pub num_commits: u64,
}

/// Writes the generated data to `all_signatures.jsonl`, `perf_jobs_by_signature.jsonl` and `all_commits.jsonl` in a
/// folder, in the form of Python's `json.dumps`, signatures by ascending id. The records are those that a simulator with
/// the same data and the default [`History`] serves when its clock is at their end. Memory holds one signature at a time, and
/// each file appears whole.
///
/// # Errors
/// The numbers of the configuration contradict each other, or a file cannot be written.
pub fn dump(config: &GeneratorConfig, dir: &Path) -> Result<DumpReport, SimulatorError> {
    let generator = Generator::new(config)?;
    std::fs::create_dir_all(dir).map_err(|source| SimulatorError::File {
        verb: "create",
        path: dir.to_owned(),
        source,
    })?;
    let repository = generator.repository_id();
    let history = History::default();
    let as_of = AsOf { now: generator.now(), history: &history, keeps_jobs: false };
    let num_signatures = generator.num_signatures(repository);
    let mut report = DumpReport { num_signatures: num_signatures as u64, ..DumpReport::default() };

    write_file(&dir.join("all_signatures.jsonl"), |out| {
        let (mut compact, mut line) = (Vec::new(), Vec::new());
        for rank in 0..num_signatures {
            compact.clear();
            generator.write_signature(repository, rank, &mut compact);
            write_line(out, &compact, &mut line)?;
        }
        Ok(())
    })?;
    write_file(&dir.join("perf_jobs_by_signature.jsonl"), |out| {
        let (mut compact, mut line) = (Vec::new(), Vec::new());
        for rank in 0..num_signatures {
            compact.clear();
            compact.extend_from_slice(b"{\"signature_id\":");
            write_uint(&mut compact, id_of(rank));
            compact.extend_from_slice(b",\"jobs\":[");
            let start = compact.len();
            generator.visit_data(repository, rank, &Window::ALL, &as_of, &mut |datum| {
                if compact.len() > start {
                    compact.push(b',');
                }
                datum.write(&mut compact);
                report.num_data += 1;
            });
            compact.extend_from_slice(b"]}");
            write_line(out, &compact, &mut line)?;
        }
        Ok(())
    })?;
    write_file(&dir.join("all_commits.jsonl"), |out| {
        report.num_commits = commits_jsonl(config, out)?;
        Ok(())
    })?;
    Ok(report)
}

fn write_line(out: &mut impl Write, compact: &[u8], line: &mut Vec<u8>) -> std::io::Result<()> {
    line.clear();
    write_as_python(line, &String::from_utf8_lossy(compact));
    line.push(b'\n');
    out.write_all(line)
}

/// Writes a temporary file and renames it once it is complete.
fn write_file(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut std::fs::File>) -> std::io::Result<()>,
) -> Result<(), SimulatorError> {
    let attempt = || {
        let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
        let mut out = BufWriter::with_capacity(1 << 16, file.as_file_mut());
        write(&mut out)?;
        out.flush()?;
        drop(out);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    attempt().map_err(|source| SimulatorError::File { verb: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::Value;

    use super::*;

    #[test]
    fn a_dump_has_the_shape_of_the_scripts_files_and_is_the_same_twice() {
        let config = GeneratorConfig { signatures: 120, data_per_signature: 30, ..GeneratorConfig::default() };
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let report = dump(&config, one.path()).unwrap();
        assert_eq!(report, dump(&config, two.path()).unwrap());
        for name in ["all_signatures.jsonl", "perf_jobs_by_signature.jsonl", "all_commits.jsonl"] {
            let text = std::fs::read_to_string(one.path().join(name)).unwrap();
            assert!(text.is_ascii());
            assert_eq!(text, std::fs::read_to_string(two.path().join(name)).unwrap());
        }
        let text = std::fs::read_to_string(one.path().join("perf_jobs_by_signature.jsonl")).unwrap();
        assert!(text.starts_with("{\"signature_id\": 5400001, \"jobs\": [{\"job_id\": "), "{}", &text[..80]);
        let mut num_data = 0;
        let mut jobs_of: HashMap<u64, Vec<u64>> = HashMap::new();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            let data = line["jobs"].as_array().unwrap();
            num_data += data.len() as u64;
            let ids = data.iter().filter_map(|datum| datum["job_id"].as_u64()).collect();
            jobs_of.insert(line["signature_id"].as_u64().unwrap(), ids);
        }
        assert_eq!((jobs_of.len(), num_data), (120, report.num_data));
        assert!(!jobs_of[&id_of(0)].is_empty());
        assert_eq!(jobs_of[&id_of(0)], jobs_of[&id_of(63)], "one group, the same jobs");
        assert_ne!(jobs_of[&id_of(0)], jobs_of[&id_of(64)]);
    }
}
