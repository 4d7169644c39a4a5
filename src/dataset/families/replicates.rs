//! How many data have replicates.
//!
//! The server sends replicates in the place of a datum's own value, and that value where there are none. So a datum with one row
//! that equals its own value may have none, or a single one; all others with rows have some.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;

use crate::dataset::error::DatasetError;
use crate::dataset::pass::Means;
use crate::dataset::pass::signatures::{Part, Signatures};
use crate::model::DatumId;
use crate::store::columns::ColumnSet;
use crate::store::{ChunkReader, ReplicateReader, Row, Store, StoreError};

/// Numbers of data of the signatures whose replicates are complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicateCounts {
    /// Data with replicates: several rows, or one that differs from the datum's own value.
    pub with: u64,
    /// Data with one row that equals their own value.
    pub without: u64,
    /// Data that the answers with replicates lack.
    pub unanswered: u64,
}

/// The data of the signatures whose replicates are complete, by whether they have any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicateShare {
    /// By the day of the push, counted from 1970.
    pub by_day: BTreeMap<i64, ReplicateCounts>,
    /// Rows of all data.
    pub num_rows: u64,
}

/// A datum's own value, as bits, and the day of its push.
type Own = (u64, i64);

impl ReplicateShare {
    /// Counts the data of `store`. `signatures`: those with complete data.
    ///
    /// # Errors
    /// [`DatasetError`] if the store cannot be read, or the run was interrupted.
    pub(crate) fn measure(store: &Store, signatures: &Signatures, means: &Means<'_>) -> Result<Self, DatasetError> {
        let mut share = Self::default();
        let (mut rows, mut chunks) = (ReplicateReader::new(store), ChunkReader::new(store));
        let mut own: HashMap<DatumId, Own, RandomState> = HashMap::default();
        for parts in Signatures::complete_rows(store, true)?.iter() {
            means.check_interrupted()?;
            own.clear();
            for part in signatures.parts_of(parts[0].signature) {
                let wanted = ColumnSet::IDS | ColumnSet::VALUES | ColumnSet::PUSH_TIMESTAMPS;
                chunks.for_each::<StoreError>(&part.request(), part.num_chunks, wanted, |columns| {
                    let day = |at: usize| columns.push_timestamp(at).as_secs().div_euclid(86_400);
                    let data = (0..columns.len())
                        .filter_map(|at| Some((columns.id(at)?, (columns.value(at)?.to_bits(), day(at)))));
                    own.extend(data);
                    Ok(())
                })?;
            }
            let stored: Vec<_> = parts.iter().map(Part::stored).collect();
            let mut single: Option<(DatumId, u64)> = None;
            rows.for_each_row::<StoreError>(&stored, |row| {
                let Row::Regular(datum) = row.row else { return Ok(()) };
                share.num_rows += 1;
                if row.ordinal == 0 {
                    share.count(single.take(), &mut own);
                    single = Some((datum.id, datum.value.to_bits()));
                } else if single.take().is_some()
                    && let Some((_, day)) = own.remove(&datum.id)
                {
                    share.of_day(day).with += 1;
                }
                Ok(())
            })?;
            share.count(single, &mut own);
            for (_, day) in own.values() {
                share.of_day(*day).unanswered += 1;
            }
        }
        Ok(share)
    }

    fn of_day(&mut self, day: i64) -> &mut ReplicateCounts {
        self.by_day.entry(day).or_default()
    }

    /// Counts a datum with one row. Data that only the answers with replicates have are not counted.
    fn count(&mut self, single: Option<(DatumId, u64)>, own: &mut HashMap<DatumId, Own, RandomState>) {
        let Some((id, value)) = single else { return };
        let Some((own, day)) = own.remove(&id) else { return };
        if own == value {
            self.of_day(day).without += 1;
        } else {
            self.of_day(day).with += 1;
        }
    }
}
