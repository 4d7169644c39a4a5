//! One pass over the data in key order: rows of `data`, and what `revisions` and `sig_groups` are made from.
//!
//! Chunks are decoded one at a time; beside them, a number for each push and a fingerprint for each signature are held.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ExportError;
use super::reading::{Field, Reading, Record};
use crate::actor::Shutdown;
use crate::dataset::families::groups::GroupBuilder;
use crate::dataset::pass::damaged;
use crate::dataset::pass::signatures::Signatures;
use crate::dataset::write::parquet::{Cell, TableWriter};
use crate::model::{PushId, PushRevisions, Revision, SignatureId, Timestamp};
use crate::store::Store;
use crate::store::columns::{ColumnSet, Columns};

/// What an irregular datum's text is read for; all else of it stands in the columns.
const IRREGULAR: &[Field] = &[Field::nullable("value", Reading::Float), Field::nullable("machine_name", Reading::Text)];

/// The earliest push of each revision that has data: when it landed, and its id.
pub(super) type Heads = HashMap<Revision, (Timestamp, Option<PushId>)>;

/// What is wanted of the pass.
pub(super) struct Pass<'a> {
    pub(super) store: &'a Store,
    pub(super) signatures: &'a Signatures,
    pub(super) shutdown: &'a Shutdown,
    /// Rows of `data`.
    pub(super) rows: Option<&'a mut TableWriter>,
    pub(super) heads: Option<&'a mut Heads>,
    pub(super) groups: Option<&'a mut GroupBuilder>,
}

impl Pass<'_> {
    fn columns(&self) -> ColumnSet {
        let mut columns = ColumnSet::NONE;
        if self.rows.is_some() {
            return ColumnSet::ALL;
        }
        if self.heads.is_some() {
            columns = columns | ColumnSet::PUSH_IDS | ColumnSet::REVISIONS | ColumnSet::PUSH_TIMESTAMPS;
        }
        if self.groups.is_some() {
            columns = columns | ColumnSet::JOB_IDS;
        }
        columns
    }

    /// Passes over all signatures.
    pub(super) fn run(mut self) -> Result<(), ExportError> {
        let wanted = self.columns();
        if wanted == ColumnSet::NONE {
            return Ok(());
        }
        let revisions = self.store.push_revisions();
        let (mut columns, mut raw, mut jobs) = (Columns::default(), Vec::new(), Vec::new());
        for parts in self.signatures.iter() {
            if self.shutdown.is_draining() {
                return Err(ExportError::Interrupted);
            }
            let signature = parts[0].signature;
            jobs.clear();
            for part in parts {
                for number in 0..part.num_chunks {
                    self.store.chunk(&part.request(), number, &mut raw)?;
                    columns.decode(&raw, wanted).map_err(|source| damaged(part, &source))?;
                    if let Some(rows) = self.rows.as_deref_mut() {
                        write_rows(signature, &columns, &revisions, rows)?;
                    }
                    if let Some(heads) = self.heads.as_deref_mut() {
                        find_heads(&columns, &revisions, heads);
                    }
                    if self.groups.is_some() {
                        jobs.extend((0..columns.len()).filter_map(|at| columns.job_id(at)).map(|job| job.0));
                    }
                }
            }
            if let Some(groups) = self.groups.as_deref_mut() {
                jobs.sort_unstable();
                jobs.dedup();
                groups.push(signature, &jobs);
            }
        }
        Ok(())
    }
}

fn write_rows(
    signature: SignatureId,
    columns: &Columns,
    revisions: &PushRevisions,
    rows: &mut TableWriter,
) -> Result<(), ExportError> {
    for at in 0..columns.len() {
        let revision = columns.revision(at, |push| revisions.get(&push).copied()).map(Revision::to_hex);
        let (value, machine) = match columns.irregular(at) {
            None => (columns.value(at).map_or(Cell::Null, Cell::Float), columns.machine_name(at).map(Cow::Borrowed)),
            Some(text) => read_irregular(text),
        };
        rows.write_row(&[
            Cell::Id(signature.0),
            Cell::Id(columns.id(at).0),
            columns.job_id(at).map_or(Cell::Null, |job| Cell::Id(job.0)),
            push_id(columns, at).map_or(Cell::Null, |push| Cell::Id(push.0)),
            Cell::Time(columns.push_timestamp(at)),
            text(revision.as_ref().and_then(|hex| std::str::from_utf8(hex).ok()).map(Cow::Borrowed)),
            columns.submit_time(at).map_or(Cell::Null, Cell::Time),
            value,
            text(machine),
        ])?;
    }
    Ok(())
}

/// The push; an irregular datum may name none, which the columns keep as 0.
fn push_id(columns: &Columns, at: usize) -> Option<PushId> {
    Some(columns.push_id(at)).filter(|push| columns.is_regular(at) || push.0 != 0)
}

fn read_irregular(text: &str) -> (Cell<'static>, Option<Cow<'static, str>>) {
    let mut cells = Vec::new();
    if let Some(record) = Record::read(text) {
        record.append_cells(IRREGULAR, &mut cells);
    }
    let mut cells = cells.into_iter();
    let value = cells.next().unwrap_or(Cell::Null);
    let machine = cells.next().and_then(|cell| if let Cell::Text(name) = cell { Some(name) } else { None });
    (value, machine)
}

pub(super) fn text(text: Option<Cow<'_, str>>) -> Cell<'_> {
    text.map_or(Cell::Null, Cell::Text)
}

fn find_heads(columns: &Columns, revisions: &PushRevisions, heads: &mut Heads) {
    let mut last = None;
    for at in 0..columns.len() {
        let push = push_id(columns, at);
        // The data of one push stand side by side, and all landed with it.
        let same = (push, columns.push_timestamp(at), columns.inline_revision(at));
        if last == Some(same) && columns.is_regular(at) {
            continue;
        }
        last = Some(same);
        let Some(revision) = columns.revision(at, |push| revisions.get(&push).copied()) else { continue };
        // A push that is known comes before none at the same instant.
        let order = |(landed, push): (Timestamp, Option<PushId>)| (landed, push.is_none(), push);
        let found = (columns.push_timestamp(at), push);
        let head = heads.entry(revision).or_insert(found);
        if order(found) < order(*head) {
            *head = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field as Read;
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::tables::Table;
    use crate::dataset::write::parquet::Limits;
    use crate::dataset::write::publish;
    use crate::model::{Datum, DatumId, DatumRecord, IrregularDatum, JobId, RawJson};
    use crate::store::columns::encode;

    fn id() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..1 << 63, 1_u64..5]
    }

    /// A record, and the value and the machine that its row is to have.
    fn record() -> impl Strategy<Value = (DatumRecord, Option<f64>, Option<String>)> {
        use prop::option::of;
        let at = || any::<i64>().prop_map(Timestamp::from_micros);
        let common = (of(id().prop_map(JobId)), id().prop_map(DatumId), at(), id().prop_map(PushId), of(at()));
        let revision = (0_u8..3).prop_map(|byte| Revision([byte; 20]));
        let number = any::<f64>().prop_filter("JSON has none", |number| number.is_finite());
        let machine = of("[a-z]{0,3}");
        (common, of(revision), of(number), machine, any::<bool>()).prop_map(
            |(common, revision, number, machine, regular)| {
                let (job_id, id, push_timestamp, push_id, submit_time) = common;
                if let (true, Some(revision), Some(value)) = (regular, revision, number) {
                    let machine_name = machine.clone().map(Into::into);
                    let datum =
                        Datum { job_id, id, value, push_timestamp, push_id, revision, submit_time, machine_name };
                    return (DatumRecord::Regular(datum), number, machine);
                }
                let raw = serde_json::json!({ "value": number, "machine_name": machine, "more": [1] }).to_string();
                let raw = RawJson::parse(&raw).unwrap();
                let datum = IrregularDatum { raw, job_id, id, push_timestamp, push_id, revision, submit_time };
                (DatumRecord::Irregular(Box::new(datum)), number, machine)
            },
        )
    }

    fn long(cell: Option<u64>) -> Read {
        cell.map_or(Read::Null, |id| Read::Long(id.cast_signed()))
    }

    fn time(at: Option<Timestamp>) -> Read {
        at.map_or(Read::Null, |at| Read::TimestampMicros(at.as_micros()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_are_the_data_whatever_form_they_have(data in prop::collection::vec(record(), 0..30)) {
            let records: Vec<DatumRecord> = data.iter().map(|(record, ..)| record.clone()).collect();
            let mut revisions = PushRevisions::default();
            let mut interned = |push, revision| *revisions.entry(push).or_insert(revision) == revision;
            let chunks = encode(&records, &mut interned, 7);

            let folder = tempfile::tempdir().unwrap();
            let mut rows = TableWriter::create(folder.path(), Table::Data.schema(), &[], Limits::default()).unwrap();
            let (mut columns, mut heads) = (Columns::default(), Heads::new());
            for chunk in &chunks {
                columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
                write_rows(SignatureId(7), &columns, &revisions, &mut rows).unwrap();
                find_heads(&columns, &revisions, &mut heads);
            }
            publish(folder.path(), vec![rows.finish().unwrap().file]).unwrap();
            let file = std::fs::File::open(folder.path().join("data.parquet")).unwrap();
            let found: Vec<Vec<Read>> = SerializedFileReader::new(file).unwrap().get_row_iter(None).unwrap()
                .map(|row| row.unwrap().get_column_iter().map(|(_, field)| field.clone()).collect())
                .collect();

            let mut expected_heads = Heads::new();
            let expected: Vec<Vec<Read>> = data.iter().map(|(record, value, machine)| {
                let (push_id, irregular) = match record {
                    DatumRecord::Regular(datum) => (datum.push_id, false),
                    DatumRecord::Irregular(datum) => (datum.push_id, true),
                };
                let push = Some(push_id).filter(|push| !irregular || push.0 != 0);
                if let Some(revision) = record.revision() {
                    let head = expected_heads.entry(revision).or_insert((record.push_timestamp(), push));
                    let order = |(at, push): (Timestamp, Option<PushId>)| (at, push.is_none(), push);
                    *head = std::cmp::min_by_key(*head, (record.push_timestamp(), push), |one| order(*one));
                }
                vec![
                    Read::Long(7),
                    long(Some(record.id().0)),
                    long(record.job_id().map(|job| job.0)),
                    long(push.map(|push| push.0)),
                    time(Some(record.push_timestamp())),
                    record.revision().map_or(Read::Null, |revision| Read::Str(revision.to_string())),
                    time(record.submit_time()),
                    value.map_or(Read::Null, Read::Double),
                    machine.clone().map_or(Read::Null, Read::Str),
                ]
            }).collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(heads, expected_heads);
        }
    }
}
