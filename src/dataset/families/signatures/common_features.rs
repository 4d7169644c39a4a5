//! Common features: the metadata fields that all signatures of a job share.
//!
//! In: signature records, each read once and turned into integers, one for each field with its value. Out: the sorted names
//! of the fields that every signature of a job has with equal values. A signature without metadata has no field in common
//! with others. All records are in memory, because a job may measure any signatures; a record takes some bytes, because most
//! of its integers are small: the values that many records share are met, and numbered, first.
//!
//! Values are compared as JSON values: the order of an object's keys does not matter, and `1` equals `1.0`; in the reference
//! semantics as Python values, where it equals `true` too. A 128-bit hash represents each value, and each set of signatures
//! that was compared before, so memory does not grow with their length.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde_json::Value;
use serde_json::value::RawValue;
use thiserror::Error;
use xxhash_rust::xxh3::xxh3_128;

use crate::model::{RawJson, SignatureId};
use crate::store::columns::{VarintReader, put_varint};

/// Sorted names of fields.
pub(super) type FeatureNames = Arc<[Arc<str>]>;

/// Maximum number of sets in the cache: some 3 MB.
const MAX_CACHED_SETS: usize = 100_000;

/// A signature record that cannot be compared with others.
#[derive(Debug, Error)]
pub(super) enum SignatureFieldsError {
    /// The record is not a JSON object, or is nested too deeply.
    #[error("record of signature {signature} is not a JSON object")]
    NotObject {
        /// The id of the record.
        signature: SignatureId,
        /// The error of the JSON parser.
        #[source]
        source: serde_json::Error,
    },
    /// There are more than 2^32 - 1 distinct fields and values, or the numbers of those of all records take 4 GiB.
    #[error("too many fields and values in the signature records")]
    TooMany,
}

/// A field with its value, hashed.
type CellHash = [u8; 16];

/// When two values are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Equality {
    /// `true` is not a number.
    #[default]
    Json,
    /// `true` is 1, and `false` is 0.
    Python,
}

/// Collects signature records.
#[derive(Debug, Default)]
pub(super) struct SignatureFieldsBuilder {
    excluded: BTreeSet<String>,
    equality: Equality,
    fields: BTreeMap<String, u32>,
    /// The number of each cell: most records share most of their cells.
    cells: HashMap<CellHash, u32, RandomState>,
    /// The field of each cell.
    field_of_cell: Vec<u32>,
    /// The numbers of the cells of one record after the other, as varints.
    records: Vec<u8>,
    spans: Vec<Span>,
    canonical: String,
}

/// The place of one record in the bytes of all records.
#[derive(Clone, Copy, Debug)]
struct Span {
    signature: SignatureId,
    start: u32,
    len: u32,
}

impl SignatureFieldsBuilder {
    /// `excluded`: fields that never count as common, such as `id`.
    #[must_use]
    pub(super) fn new(excluded: impl IntoIterator<Item = String>, equality: Equality) -> Self {
        Self { excluded: excluded.into_iter().collect(), equality, ..Self::default() }
    }

    /// Adds a signature's record; a later record of the same signature replaces it.
    ///
    /// # Errors
    /// If the record is not an object.
    pub(super) fn add(&mut self, signature: SignatureId, record: &RawJson) -> Result<(), SignatureFieldsError> {
        let not_object = |source| SignatureFieldsError::NotObject { signature, source };
        let record: BTreeMap<String, &RawValue> = record.view().map_err(not_object)?;
        let start = self.records.len();
        for (name, value) in &record {
            if !self.excluded.contains(name) {
                let cell = self.cell(name, value.get()).map_err(not_object)?;
                let next = number_of(self.cells.len())?;
                let number = *self.cells.entry(cell.0).or_insert(next);
                if number == next {
                    self.field_of_cell.push(cell.1);
                }
                put_varint(u64::from(number), &mut self.records);
            }
        }
        let (start, end) = (number_of(start)?, number_of(self.records.len())?);
        self.spans.push(Span { signature, start, len: end - start });
        Ok(())
    }

    /// The cell of a field with the JSON text of its value, and the field's number.
    fn cell(&mut self, name: &str, value: &str) -> Result<(CellHash, u32), serde_json::Error> {
        let field = if let Some(&known) = self.fields.get(name) {
            known
        } else {
            let next = u32::try_from(self.fields.len()).unwrap_or(u32::MAX);
            *self.fields.entry(name.to_owned()).or_insert(next)
        };
        self.canonical.clear();
        let _ = write!(self.canonical, "{field} "); // writing to a String cannot fail
        if is_canonical(value) && !(self.equality == Equality::Python && matches!(value, "true" | "false")) {
            self.canonical.push_str(value);
        } else {
            write_canonical(&serde_json::from_str(value)?, self.equality, &mut self.canonical);
        }
        Ok((xxh3_128(self.canonical.as_bytes()).to_le_bytes(), field))
    }

    /// Ends the input, and prepares the records for comparison.
    #[must_use]
    pub(super) fn finish(mut self) -> SignatureFields {
        drop(self.cells);
        // Fields are renumbered in the order of their names, which is that of the cells of each record.
        let renumbered = renumber(self.fields.values().copied());
        let names = self.fields.into_keys().map(Arc::from).collect();
        for field in &mut self.field_of_cell {
            *field = renumbered[*field as usize];
        }
        // The last record of a signature counts: the sort is stable, and the first of equals stays.
        self.spans.reverse();
        self.spans.sort_by_key(|span| span.signature);
        self.spans.dedup_by_key(|span| span.signature);
        self.spans.shrink_to_fit();
        self.records.shrink_to_fit();
        SignatureFields { names, field_of_cell: self.field_of_cell, records: self.records, spans: self.spans }
    }
}

fn number_of(at: usize) -> Result<u32, SignatureFieldsError> {
    u32::try_from(at).map_err(|_| SignatureFieldsError::TooMany)
}

/// True if [`write_canonical`] would not change the text, which holds for most texts.
fn is_canonical(value: &str) -> bool {
    match value.as_bytes() {
        [b'"', .., b'"'] => !value.contains('\\'),
        [b'1'..=b'9', digits @ ..] if digits.len() < 18 => digits.iter().all(u8::is_ascii_digit),
        _ => matches!(value, "0" | "null" | "true" | "false"),
    }
}

/// Maps old numbers to new ones, given the old numbers in the new order.
fn renumber(old: impl ExactSizeIterator<Item = u32>) -> Vec<u32> {
    let mut new = vec![0; old.len()];
    for (number, old) in (0..).zip(old) {
        new[old as usize] = number;
    }
    new
}

/// Writes a text that is equal for equal values, and only for those.
fn write_canonical(value: &Value, equality: Equality, out: &mut String) {
    match value {
        Value::Bool(flag) if equality == Equality::Python => out.push(if *flag { '1' } else { '0' }),
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| !number.is_i64() && !number.is_u64() && float.fract() == 0.0);
            let _ = match whole {
                Some(float) => write!(out, "{float:.0}"),
                None => write!(out, "{number}"),
            };
            if out.ends_with("-0") && whole == Some(0.0) {
                out.truncate(out.len() - 2);
                out.push('0');
            }
        }
        Value::Array(list) => {
            out.push('[');
            for element in list {
                write_canonical(element, equality, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(object) => {
            let sorted: BTreeMap<&String, &Value> = object.iter().collect();
            out.push('{');
            for (key, element) in sorted {
                let _ = write!(out, "{}:", Value::from(key.as_str()));
                write_canonical(element, equality, out);
                out.push(',');
            }
            out.push('}');
        }
        _ => {
            let _ = write!(out, "{value}");
        }
    }
}

/// The metadata of all signatures as integers, shared by the comparing threads.
#[derive(Debug)]
pub(crate) struct SignatureFields {
    names: Vec<Arc<str>>,
    /// The field of each cell, as an index into `names`.
    field_of_cell: Vec<u32>,
    /// See [`SignatureFieldsBuilder::records`]; each record's cells are in the order of their fields.
    records: Vec<u8>,
    /// Ascending by signature.
    spans: Vec<Span>,
}

impl SignatureFields {
    /// The sorted names of the fields that all `signatures` have with equal values; empty without signatures.
    #[must_use]
    pub(crate) fn common(&self, signatures: &[SignatureId]) -> FeatureNames {
        let mut rest = signatures.iter().map(|signature| self.cells_of(*signature));
        let Some(Some(first)) = rest.next() else { return Arc::default() };
        let mut common: Vec<u32> = first.collect();
        for cells in rest {
            let Some(cells) = cells else { return Arc::default() };
            let mut others = cells.peekable();
            common.retain(|cell| {
                while others.next_if(|other| other != cell && self.field_of(*other) < self.field_of(*cell)).is_some() {}
                others.peek() == Some(cell)
            });
            if common.is_empty() {
                break;
            }
        }
        common.iter().map(|cell| Arc::clone(&self.names[self.field_of(*cell)])).collect()
    }

    fn field_of(&self, cell: u32) -> usize {
        self.field_of_cell[cell as usize] as usize
    }

    fn cells_of(&self, signature: SignatureId) -> Option<impl Iterator<Item = u32>> {
        let at = self.spans.binary_search_by_key(&signature, |span| span.signature).ok()?;
        let Span { start, len, .. } = self.spans[at];
        let mut cells = VarintReader::new(&self.records[start as usize..][..len as usize]);
        Some(std::iter::from_fn(move || cells.varint().ok().and_then(|cell| u32::try_from(cell).ok())))
    }
}

/// Compares the signatures of one job after the other; caches results, because many jobs measure the same signatures.
#[derive(Debug)]
pub(crate) struct CommonFeatures<'a> {
    fields: &'a SignatureFields,
    /// By the hash of the signatures: a place in `lists`.
    cache: HashMap<[u8; 16], u32, RandomState>,
    /// Each list of names that is in the cache, once: they are few.
    lists: Vec<FeatureNames>,
    places: HashMap<FeatureNames, u32, RandomState>,
    ids: Vec<u8>,
}

impl<'a> CommonFeatures<'a> {
    /// With an empty cache; each thread has its own.
    #[must_use]
    pub(crate) fn new(fields: &'a SignatureFields) -> Self {
        Self { fields, cache: HashMap::default(), lists: Vec::new(), places: HashMap::default(), ids: Vec::new() }
    }

    /// As [`SignatureFields::common`].
    pub(crate) fn of(&mut self, signatures: &[SignatureId]) -> FeatureNames {
        self.ids.clear();
        self.ids.extend(signatures.iter().flat_map(|signature| signature.0.to_le_bytes()));
        let set = xxh3_128(&self.ids).to_le_bytes();
        if let Some(place) = self.cache.get(&set) {
            return Arc::clone(&self.lists[*place as usize]);
        }
        if self.cache.len() >= MAX_CACHED_SETS {
            self.cache.clear();
            self.lists.clear();
            self.places.clear();
        }
        let names = self.fields.common(signatures);
        let next = u32::try_from(self.lists.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(Arc::clone(&names)).or_insert(next);
        if place == next {
            self.lists.push(Arc::clone(&names));
        }
        self.cache.insert(set, place);
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::corpus;

    fn fields(excluded: &[&str], records: &[&str]) -> SignatureFields {
        fields_by(Equality::Json, excluded, records)
    }

    fn fields_by(equality: Equality, excluded: &[&str], records: &[&str]) -> SignatureFields {
        let mut builder = SignatureFieldsBuilder::new(excluded.iter().map(|&name| name.to_owned()), equality);
        for (id, record) in (1..).zip(records) {
            builder.add(SignatureId(id), &RawJson::parse(record).unwrap()).unwrap();
        }
        builder.finish()
    }

    fn names(names: &FeatureNames) -> Vec<&str> {
        names.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn features_are_those_of_the_reference() {
        let mut builder = SignatureFieldsBuilder::new(["id".to_owned()], Equality::Python);
        for record in corpus::jsonl("golden/all_signatures.jsonl") {
            let id = SignatureId(record["id"].as_u64().unwrap());
            builder.add(id, &RawJson::parse(&record.to_string()).unwrap()).unwrap();
        }
        let fields = builder.finish();
        let mut common = CommonFeatures::new(&fields);
        let golden = corpus::jsonl("golden/sigs_by_job_id_detailed.jsonl");
        assert_eq!(golden.len(), 1386);
        for line in &golden {
            let signatures: Vec<SignatureId> =
                corpus::ids(&line["signature_ids"]).into_iter().map(SignatureId).collect();
            let expected: Vec<&str> =
                line["common_sig_features"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
            assert_eq!(names(&common.of(&signatures)), expected, "{line}");
        }
        assert!(common.cache.len() < golden.len(), "jobs share their sets of signatures");
    }

    #[test]
    fn values_are_equal_as_json_values() {
        let fields = fields(
            &["id"],
            &[
                r#"{"id":1,"z":null,"n":1,"o":{"a":1,"b":[2]},"l":["x","y"],"s":"1","m":-0.0,"u":18446744073709551615}"#,
                r#"{"o":{"b":[2.0],"a":1},"n":1.0,"z":null,"l":["y","x"],"s":1,"id":1,"m":0,"u":18446744073709551615}"#,
                r#"{"n":1.5}"#,
            ],
        );
        let ids = [1, 2, 3].map(SignatureId);
        assert_eq!(names(&fields.common(&ids[..2])), ["m", "n", "o", "u", "z"]);
        assert_eq!(names(&fields.common(&ids[..1])), ["l", "m", "n", "o", "s", "u", "z"]);
        assert!(fields.common(&ids).is_empty());
    }

    #[test]
    fn true_equals_one_in_python_alone() {
        let records = [
            r#"{"a":1,"b":0.0,"c":[true,{"x":false}],"d":true,"e":"true"}"#,
            r#"{"a":true,"b":false,"c":[1,{"x":0}],"d":true,"e":1}"#,
        ];
        let ids = [1, 2].map(SignatureId);
        assert_eq!(names(&fields_by(Equality::Python, &[], &records).common(&ids)), ["a", "b", "c", "d"]);
        assert_eq!(names(&fields_by(Equality::Json, &[], &records).common(&ids)), ["d"]);
    }

    #[test]
    fn a_signature_without_metadata_leaves_nothing_in_common() {
        let fields = fields(&[], &[r#"{"id":1}"#]);
        assert_eq!(names(&fields.common(&[SignatureId(1)])), ["id"]);
        for signatures in [&[SignatureId(1), SignatureId(9)][..], &[SignatureId(9), SignatureId(1)], &[]] {
            assert!(fields.common(signatures).is_empty());
        }
    }

    #[test]
    fn more_sets_than_are_remembered_have_the_same_names() {
        let fields = fields(&["id"], &[r#"{"id":1,"a":1,"b":2}"#, r#"{"id":2,"a":1}"#]);
        let mut common = CommonFeatures::new(&fields);
        for other in 0..=MAX_CACHED_SETS as u64 {
            assert!(common.of(&[SignatureId(1), SignatureId(10 + other)]).is_empty());
            assert!(common.cache.len() <= MAX_CACHED_SETS && common.lists.len() <= 3);
            if other % 1000 == 0 {
                assert_eq!(names(&common.of(&[SignatureId(1)])), ["a", "b"]);
                assert_eq!(names(&common.of(&[SignatureId(1), SignatureId(2)])), ["a"]);
            }
        }
    }

    #[test]
    fn a_field_absent_in_both_is_not_common_and_the_last_record_counts() {
        let mut builder = SignatureFieldsBuilder::new([], Equality::Json);
        for (id, record) in [(1, r#"{"a":1,"b":2}"#), (2, r#"{"a":1}"#), (1, r#"{"a":1,"c":3}"#)] {
            builder.add(SignatureId(id), &RawJson::parse(record).unwrap()).unwrap();
        }
        let error = builder.add(SignatureId(3), &RawJson::parse("[]").unwrap()).unwrap_err();
        assert!(error.to_string().contains("signature 3"));
        let fields = builder.finish();
        let mut common = CommonFeatures::new(&fields);
        for _ in 0..2 {
            assert_eq!(names(&common.of(&[SignatureId(1), SignatureId(2)])), ["a"]);
        }
    }
}
