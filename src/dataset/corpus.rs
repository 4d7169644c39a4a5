//! The recorded replies and the reference artifacts, for the tests of the reducers.

use serde_json::Value;

/// Maps `api/` to the corpus of the simulator, and other names to that of the tests.
pub(crate) fn path(name: &str) -> String {
    let folder = if name.starts_with("api/") { "crates/treeherder-sim/corpus" } else { "tests/corpus" };
    format!("{}/{folder}/{}", env!("CARGO_MANIFEST_DIR"), name.trim_start_matches("api/"))
}

pub(crate) fn text(name: &str) -> String {
    std::fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

pub(crate) fn jsonl(name: &str) -> Vec<Value> {
    text(name).lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of a CSV file, without the header.
pub(crate) fn csv(name: &str) -> Vec<Vec<String>> {
    let text = text(name);
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

pub(crate) fn ids(list: &Value) -> Vec<u64> {
    list.as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect()
}
