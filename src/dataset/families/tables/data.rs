//! Makes the tables from the data: the rows of `data`, and the pushes that `revisions` needs.

use std::borrow::Cow;
use std::collections::HashMap;

use smol_str::SmolStr;

use crate::dataset::error::DatasetError;
use crate::dataset::pass::signatures::Part;
use crate::dataset::pass::{Chunk, Reducer, ReducerWorker, SignatureJobs};
use crate::dataset::write::parquet::{Cell, TableError, TableWriter};
use crate::model::{DatumId, JobId, PushId, Revision, Seen, SignatureId, Timestamp};
use crate::store::columns::{ColumnSet, Columns};

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
    seen: Seen,
}

impl DataRow {
    pub(super) fn pushed(&self) -> Timestamp {
        self.pushed
    }

    /// The last harvest whose answer had the datum, if the answer of a later one lacked it.
    pub(super) fn left_list_at(&self) -> Option<i64> {
        self.seen.unlisted.then_some(self.seen.last.into())
    }

    pub(super) fn write(&self, rows: &mut TableWriter, last_seen: Cell<'_>) -> Result<(), TableError> {
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
            Cell::Integer(self.seen.first.into()),
            last_seen,
        ])
    }
}

/// Where the rows of `data` go.
pub(super) trait DataSink: Send + Sync {
    fn write(&mut self, row: &DataRow) -> Result<(), TableError>;
}

impl DataSink for TableWriter {
    fn write(&mut self, row: &DataRow) -> Result<(), TableError> {
        row.write(self, Cell::Integer(row.seen.last.into()))
    }
}

pub(super) struct DataReducer<S> {
    rows: S,
    counts: DataCounts,
}

impl<S: DataSink> DataReducer<S> {
    pub(super) fn new(rows: S) -> Self {
        Self { rows, counts: DataCounts::default() }
    }
}

/// Data that are not in the table as the server sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DataCounts {
    /// Data without a row, because they lack an id.
    pub(super) without_row: u64,
    /// Data with a field of another type, which is null in the table.
    pub(super) with_nulls: u64,
}

#[derive(Debug, Default)]
pub(super) struct DataRows {
    rows: Vec<DataRow>,
    counts: DataCounts,
}

impl<S: DataSink> Reducer for DataReducer<S> {
    type Block = DataRows;
    type Worker = RowMaker;
    type Value = (S, DataCounts);

    fn columns(&self) -> ColumnSet {
        ColumnSet::ALL
    }

    fn worker(&self) -> RowMaker {
        RowMaker
    }

    fn take(&mut self, block: DataRows) -> Result<(), DatasetError> {
        self.counts.without_row += block.counts.without_row;
        self.counts.with_nulls += block.counts.with_nulls;
        Ok(block.rows.iter().try_for_each(|row| self.rows.write(row))?)
    }

    fn finish(self, _workers: Vec<RowMaker>) -> Result<(S, DataCounts), DatasetError> {
        Ok((self.rows, self.counts))
    }
}

pub(super) struct RowMaker;

impl ReducerWorker for RowMaker {
    type Block = DataRows;

    fn open(&mut self, signatures: &[Part]) -> DataRows {
        let num_data = signatures.iter().map(|part| part.num_data as usize).sum();
        DataRows { rows: Vec::with_capacity(num_data), counts: DataCounts::default() }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, block: &mut DataRows) -> Result<(), DatasetError> {
        let columns = chunk.columns;
        for at in 0..columns.len() {
            let Some(id) = columns.id(at) else {
                block.counts.without_row += 1;
                continue;
            };
            let (value, machine) = match columns.fields(at) {
                None => (columns.value(at), columns.machine_name(at).map(SmolStr::new)),
                Some(fields) => {
                    block.counts.with_nulls += u64::from(fields.has_unreadable());
                    (fields.value(), fields.machine_name())
                }
            };
            block.rows.push(DataRow {
                signature: chunk.part.signature,
                id,
                job: columns.job_id(at),
                push: push_id(columns, at),
                pushed: columns.push_timestamp(at),
                revision: chunk.revision(at),
                submitted: columns.submit_time(at),
                value,
                machine,
                seen: columns.seen(at).unwrap_or(Seen::once(chunk.part.harvest)),
            });
        }
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
                let id = Some(id).filter(|id| id.0 != 0);
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
            let chunks = encode(&records, None, &mut interned, 7);

            let folder = tempfile::tempdir().unwrap();
            let mut rows =
                TableWriter::create(folder.path(), Table::Data.schema(), &[], RowGroupLimits::default()).unwrap();
            let (mut columns, mut heads) = (Columns::default(), HeadFinder::default());
            let part = Part::for_test(7);
            let mut num_without_id = 0;
            for chunk in &chunks {
                columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
                let chunk = Chunk { part: &part, columns: &columns, revisions: &revisions };
                let mut block = DataRows::default();
                RowMaker.chunk(&chunk, &mut block).unwrap();
                num_without_id += block.counts.without_row;
                for row in &block.rows {
                    DataSink::write(&mut rows, row).unwrap();
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
            let expected: Vec<Vec<Read>> = data.iter().filter_map(|(record, value, machine)| {
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
                let id = record.id()?;
                Some(vec![
                    Read::Long(7),
                    Read::Long(id.0.cast_signed()),
                    long(record.job_id().map(|job| job.0)),
                    long(push.map(|push| push.0)),
                    time(Some(record.push_timestamp())),
                    record.revision().map_or(Read::Null, |revision| Read::Str(revision.to_string())),
                    time(record.submit_time()),
                    value.map_or(Read::Null, Read::Double),
                    machine.clone().map_or(Read::Null, Read::Str),
                    Read::Long(1),
                    Read::Long(1),
                ])
            }).collect();
            prop_assert_eq!(num_without_id, (data.len() - expected.len()) as u64);
            prop_assert_eq!(found, expected);
            prop_assert_eq!(heads, expected_heads);
        }
    }
}
