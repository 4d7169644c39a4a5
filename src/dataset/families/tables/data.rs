//! Makes the tables from the data: the rows of `data`, and the pushes that `revisions` needs.

use std::borrow::Cow;
use std::collections::HashMap;

use smol_str::SmolStr;

use super::reading::{Field, Reading, Record};
use crate::dataset::error::DatasetError;
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Chunk, Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::write::parquet::{Cell, TableError, TableWriter};
use crate::model::{DatumId, JobId, PushId, Revision, SignatureId, Timestamp};
use crate::store::columns::{ColumnSet, Columns};

/// The fields that are read from the text of an irregular datum; the columns hold its other fields.
const IRREGULAR: &[Field] = &[Field::nullable("value", Reading::Float), Field::nullable("machine_name", Reading::Text)];

/// The time of a push, and its id.
pub(super) type Head = (Timestamp, Option<PushId>);

/// The earliest push of each revision that has data.
pub(super) type Heads = HashMap<Revision, Head>;

/// A row of `data`.
#[derive(Clone, Debug)]
pub(super) struct DataRow {
    signature: SignatureId,
    id: DatumId,
    job: Option<JobId>,
    push: Option<PushId>,
    pushed: Timestamp,
    revision: Option<Revision>,
    submitted: Option<Timestamp>,
    value: Option<f64>,
    machine: Option<SmolStr>,
}

impl DataRow {
    fn write(&self, rows: &mut TableWriter) -> Result<(), TableError> {
        let revision = self.revision.map(Revision::to_hex);
        rows.write_row(&[
            Cell::Id(self.signature.0),
            Cell::Id(self.id.0),
            self.job.map_or(Cell::Null, |job| Cell::Id(job.0)),
            self.push.map_or(Cell::Null, |push| Cell::Id(push.0)),
            Cell::Time(self.pushed),
            text(revision.as_ref().and_then(|hex| std::str::from_utf8(hex).ok()).map(Cow::Borrowed)),
            self.submitted.map_or(Cell::Null, Cell::Time),
            self.value.map_or(Cell::Null, Cell::Float),
            text(self.machine.as_deref().map(Cow::Borrowed)),
        ])
    }
}

pub(super) struct DataReducer(pub(super) TableWriter);

impl Reducer for DataReducer {
    type Block = Vec<DataRow>;
    type Worker = RowMaker;
    type Value = TableWriter;

    fn columns(&self) -> ColumnSet {
        ColumnSet::ALL
    }

    fn worker(&self) -> RowMaker {
        RowMaker
    }

    fn take(&mut self, block: Vec<DataRow>) -> Result<(), DatasetError> {
        Ok(block.iter().try_for_each(|row| row.write(&mut self.0))?)
    }

    fn finish(self, _workers: Vec<RowMaker>) -> Result<TableWriter, DatasetError> {
        Ok(self.0)
    }
}

pub(super) struct RowMaker;

impl ReducerWorker for RowMaker {
    type Block = Vec<DataRow>;

    fn open(&mut self, signatures: &[Part]) -> Vec<DataRow> {
        Vec::with_capacity(signatures.iter().map(|part| part.num_data as usize).sum())
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, block: &mut Vec<DataRow>) -> Result<(), DatasetError> {
        let columns = chunk.columns;
        block.extend((0..columns.len()).map(|at| {
            let (value, machine) = match columns.irregular(at) {
                None => (columns.value(at), columns.machine_name(at).map(SmolStr::new)),
                Some(text) => read_irregular(text),
            };
            DataRow {
                signature: chunk.part.signature,
                id: columns.id(at),
                job: columns.job_id(at),
                push: push_id(columns, at),
                pushed: columns.push_timestamp(at),
                revision: chunk.revision(at),
                submitted: columns.submit_time(at),
                value,
                machine,
            }
        }));
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct HeadsReducer;

impl Reducer for HeadsReducer {
    type Block = ();
    type Worker = HeadFinder;
    type Value = Heads;

    fn columns(&self) -> ColumnSet {
        ColumnSet::PUSH_IDS | ColumnSet::REVISIONS | ColumnSet::PUSH_TIMESTAMPS
    }

    fn worker(&self) -> HeadFinder {
        HeadFinder::default()
    }

    fn take(&mut self, _block: ()) -> Result<(), DatasetError> {
        Ok(())
    }

    fn finish(self, workers: Vec<HeadFinder>) -> Result<Heads, DatasetError> {
        let mut found = HeadFinder::default();
        for (revision, head) in workers.into_iter().flat_map(|worker| worker.heads) {
            found.put(revision, head);
        }
        Ok(found.heads)
    }
}

#[derive(Default)]
pub(super) struct HeadFinder {
    heads: Heads,
}

impl HeadFinder {
    fn put(&mut self, revision: Revision, found: Head) {
        // At the same instant, a push with an id precedes one without.
        let order = |(landed, push): Head| (landed, push.is_none(), push);
        let head = self.heads.entry(revision).or_insert(found);
        if order(found) < order(*head) {
            *head = found;
        }
    }
}

impl ReducerWorker for HeadFinder {
    type Block = ();

    fn open(&mut self, _signatures: &[Part]) {}

    fn chunk(&mut self, chunk: &Chunk<'_>, _block: &mut ()) -> Result<(), DatasetError> {
        let columns = chunk.columns;
        let mut last = None;
        for at in 0..columns.len() {
            let push = push_id(columns, at);
            // The data of one push are consecutive, and share its time.
            let same = (push, columns.push_timestamp(at), columns.inline_revision(at));
            if last == Some(same) && columns.is_regular(at) {
                continue;
            }
            last = Some(same);
            if let Some(revision) = chunk.revision(at) {
                self.put(revision, (columns.push_timestamp(at), push));
            }
        }
        Ok(())
    }

    fn end_signature(&mut self, _jobs: &mut SignatureJobs, _block: &mut ()) -> Result<(), DatasetError> {
        Ok(())
    }
}

/// The push; `None` for an irregular datum without one, which the columns store as 0.
fn push_id(columns: &Columns, at: usize) -> Option<PushId> {
    Some(columns.push_id(at)).filter(|push| columns.is_regular(at) || push.0 != 0)
}

fn read_irregular(raw: &str) -> (Option<f64>, Option<SmolStr>) {
    let mut cells = Vec::new();
    if let Some(record) = Record::read(raw) {
        record.append_cells(IRREGULAR, &mut cells);
    }
    let mut cells = cells.into_iter();
    let value = cells.next().and_then(|cell| if let Cell::Float(value) = cell { Some(value) } else { None });
    let machine = cells.next().and_then(|cell| if let Cell::Text(name) = cell { Some(name.into()) } else { None });
    (value, machine)
}

fn text(text: Option<Cow<'_, str>>) -> Cell<'_> {
    text.map_or(Cell::Null, Cell::Text)
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use parquet::record::Field as Read;
    use proptest::prelude::*;

    use super::super::Table;
    use super::*;
    use crate::dataset::write::parquet::RowGroupLimits;
    use crate::dataset::write::publish;
    use crate::model::{Datum, DatumRecord, IrregularDatum, JobId, PushRevisions, RawJson};
    use crate::store::columns::encode;

    fn id() -> impl Strategy<Value = u64> {
        prop_oneof![0_u64..1 << 63, 1_u64..5]
    }

    /// A record with the expected value and machine of its row.
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
            let mut rows =
                TableWriter::create(folder.path(), Table::Data.schema(), &[], RowGroupLimits::default()).unwrap();
            let (mut columns, mut heads) = (Columns::default(), HeadFinder::default());
            let part = Part::for_test(7);
            for chunk in &chunks {
                columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
                let chunk = Chunk { part: &part, columns: &columns, revisions: &revisions };
                let mut block = Vec::new();
                RowMaker.chunk(&chunk, &mut block).unwrap();
                for row in &block {
                    row.write(&mut rows).unwrap();
                }
                heads.chunk(&chunk, &mut ()).unwrap();
            }
            let heads = heads.heads;
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
