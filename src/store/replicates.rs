//! The answers with replicates: several rows of a datum, which differ in their values alone.
//!
//! A server answers with one row per replicate, in which the replicate takes the place of the datum's own value, or with one
//! row with that value if the datum has no replicates. The rows of a datum are a list that belongs to its id: equal ones are
//! rows of their own, and where answers meet, the newer list takes the place of the older one as a whole. The rows are stored
//! and read in the order of the API, those of one datum as they came.
//!
//! The rows of a datum know the harvests that saw them, as the data do, for the change feed.

use xxhash_rust::xxh3::xxh3_128;

use super::columns::{ColumnSet, Columns, encode_rows, leading_run};
use super::merge::Series;
use super::series::harvest_of;
use super::settlement::put_datum;
use super::{Settlement, Store, StoreError, StoredPart};
use crate::model::{DatumId, DatumRecord, DatumView, PushRevisions, RawJson, Request, Seen, SignatureId};

impl Settlement {
    /// The rows of a signature from several harvests, with the header of the newest answer.
    pub(super) fn of_rows(store: &Store, request: Request, header: &RawJson, rows: &Series) -> Self {
        let mut settlement = Self::default();
        settlement.put_text(&super::key::header(&request), header);
        if let Request::Summary { signature, .. } = request {
            settlement.put_rows(store, request, signature, &rows.data, Some(&rows.seen));
        }
        settlement
    }

    /// Settles an answer with replicates. The digest is a sum over the data, each with the list of its rows.
    pub(super) fn put_rows(
        &mut self,
        store: &Store,
        request: Request,
        signature: SignatureId,
        rows: &[DatumRecord],
        seen: Option<&[Seen]>,
    ) {
        let chunks = encode_rows(rows, seen, &mut store.interner());
        let (mut digest, mut bytes, mut rest) = (0_u128, Vec::new(), rows);
        while !rest.is_empty() {
            let (of_datum, others) = rest.split_at(leading_run(rest, usize::MAX));
            bytes.clear();
            put_datum(signature, &of_datum[0], &mut bytes);
            for row in &of_datum[1..] {
                if let DatumRecord::Regular(row) = row {
                    bytes.extend_from_slice(&row.value.to_bits().to_be_bytes());
                }
            }
            digest = digest.wrapping_add(xxh3_128(&bytes));
            rest = others;
        }
        self.put_chunks(request, &chunks, rows, digest);
    }
}

/// A row of an answer with replicates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReplicateRow<'a> {
    /// Number of the row among those of its datum, from 0.
    pub ordinal: u32,
    /// The row itself.
    pub row: Row<'a>,
}

/// The content of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Row<'a> {
    /// The documented form: the datum with a replicate as its value.
    Regular(DatumView<'a>),
    /// The text of any other.
    Irregular(Option<DatumId>, &'a str),
}

impl Row<'_> {
    /// The datum's id; `None` for an irregular row without one.
    #[must_use]
    pub fn id(&self) -> Option<DatumId> {
        match self {
            Self::Regular(datum) => Some(datum.id),
            Self::Irregular(id, _) => *id,
        }
    }
}

/// Reads the rows of signatures one after the other, in constant memory; its buffers serve all of them.
#[derive(Debug)]
pub struct ReplicateReader<'a> {
    store: &'a Store,
    columns: Columns,
    raw: Vec<u8>,
    pushes: PushRevisions,
}

impl<'a> ReplicateReader<'a> {
    /// A reader of `store`.
    #[must_use]
    pub fn new(store: &'a Store) -> Self {
        Self { store, columns: Columns::default(), raw: Vec::new(), pushes: store.push_revisions() }
    }

    /// Hands each row of a signature to `take`: in the order of the API (`push_timestamp`, `push_id`, `job_id`, null last, then
    /// `id`), those of a datum together, as the server sent them. `parts`: all of the signature, by harvest.
    ///
    /// # Errors
    /// [`StoreError`] when a part is missing or damaged, and those of `take`.
    pub fn for_each_row<E: From<StoreError>>(
        &mut self,
        parts: &[StoredPart],
        mut take: impl FnMut(ReplicateRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = Counting::default();
        if !parts.is_sorted_by_key(|(request, _)| std::cmp::Reverse(harvest_of(request))) {
            return self.for_each_joined_row(parts, take);
        }
        for (request, num_chunks) in parts {
            for number in 0..*num_chunks {
                self.store.chunk(request, number, &mut self.raw)?;
                let damaged = |source| StoreError::damaged_chunk(request, &source);
                self.columns.decode(&self.raw, ColumnSet::ALL).map_err(damaged)?;
                let (columns, pushes) = (&self.columns, &self.pushes);
                for at in 0..columns.len() {
                    let id = columns.id(at);
                    if let Some(text) = columns.irregular(at) {
                        take(ReplicateRow { ordinal: last.next(id), row: Row::Irregular(id, text) })?;
                        continue;
                    }
                    let revision = columns.revision(at, |push| pushes.get(&push).copied());
                    let view = revision.and_then(|revision| columns.view(at, revision));
                    let unknown = || super::columns::ColumnsError::UnknownRevision { push_id: columns.push_id(at) };
                    let view = view.ok_or_else(|| damaged(unknown()))?;
                    for value in columns.row_values(at) {
                        let row = Row::Regular(DatumView { value, ..view });
                        take(ReplicateRow { ordinal: last.next(id), row })?;
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`ReplicateReader::for_each_row`], where answers of several harvests have not been joined, since others failed.
    fn for_each_joined_row<E: From<StoreError>>(
        &mut self,
        parts: &[StoredPart],
        mut take: impl FnMut(ReplicateRow<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut last = Counting::default();
        for record in &super::SeriesReader::new(self.store)?.read_rows(parts)?.data {
            let (ordinal, row) = match record {
                DatumRecord::Regular(datum) => (last.next(Some(datum.id)), Row::Regular(datum.view())),
                DatumRecord::Irregular(datum) => (last.next(datum.id), Row::Irregular(datum.id, datum.raw.as_str())),
            };
            take(ReplicateRow { ordinal, row })?;
        }
        Ok(())
    }
}

/// Numbers the rows of each datum.
#[derive(Default)]
struct Counting {
    id: Option<DatumId>,
    next: u32,
}

impl Counting {
    fn next(&mut self, id: Option<DatumId>) -> u32 {
        if id.is_none() || id != self.id {
            (self.id, self.next) = (id, 0);
        }
        let ordinal = self.next;
        self.next += 1;
        ordinal
    }
}
