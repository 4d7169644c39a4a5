//! The recorded replies and the reference artifacts, for the tests of the reducers.

use serde_json::Value;

use crate::config::StoreConfig;
use crate::model::{Datum, DatumId, DatumRecord, JobId, PushId, Revision, SignatureId, Sorted, Timestamp, Window};
use crate::store::{BulkWriter, Settlement, Store};

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

/// A store with complete data of the signatures 1 to `num_signatures`: 60 data each, in blocks of some 34 signatures.
pub(crate) fn store_of(num_signatures: u64) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { path: folder.path().join("store"), ..StoreConfig::default() };
    let store = Store::open(&config).unwrap();
    let window = Window { start: Timestamp::from_secs(0), end: Timestamp::from_secs(1000) };
    let datum = |signature: u64, number: u64| {
        let pushed = Timestamp::from_secs(number.cast_signed());
        DatumRecord::Regular(Datum {
            job_id: Some(JobId(number)),
            id: DatumId(100 * signature + number),
            value: 1.0,
            push_timestamp: pushed,
            push_id: PushId(number),
            revision: Revision([u8::try_from(number).unwrap(); 20]),
            submit_time: Some(pushed),
            machine_name: None,
        })
    };
    let mut writer = BulkWriter::new(&store).unwrap();
    for signature in 1..=num_signatures {
        let data = Sorted { taken: (1..=60).map(|number| datum(signature, number)).collect(), odd: Vec::new() };
        let settlement = Settlement::of_imported_data(&store, SignatureId(signature), window, &data);
        writer.settle([settlement]).unwrap();
    }
    writer.finish().unwrap();
    (folder, store)
}
