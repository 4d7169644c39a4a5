//! How many data have replicates.
//!
//! The server sends replicates in the place of a datum's own value, and that value where there are none. So a datum with one row
//! that equals its own value may have none, or a single one; all others with rows have some.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::dataset::error::DatasetError;
use crate::dataset::pass::Means;
use crate::dataset::pass::signatures::{Part, Signatures};
use crate::model::DatumId;
use crate::store::columns::ColumnSet;
use crate::store::{ChunkReader, ReplicateReader, Row, Store, StoreError};

/// Numbers of data of the signatures whose replicates are complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicateShare {
    /// Data with replicates: several rows, or one that differs from the datum's own value.
    pub with: u64,
    /// Data with one row that equals their own value.
    pub without: u64,
    /// Data that the answers with replicates lack.
    pub unanswered: u64,
    /// Rows of all data.
    pub num_rows: u64,
}

impl ReplicateShare {
    /// Counts the data of `store`. `signatures`: those with complete data.
    ///
    /// # Errors
    /// [`DatasetError`] if the store cannot be read, or the run was interrupted.
    pub(crate) fn measure(store: &Store, signatures: &Signatures, means: &Means<'_>) -> Result<Self, DatasetError> {
        let mut share = Self::default();
        let (mut rows, mut chunks) = (ReplicateReader::new(store), ChunkReader::new(store));
        let mut own: HashMap<DatumId, u64, RandomState> = HashMap::default();
        for parts in Signatures::complete_rows(store, true)?.iter() {
            means.check_interrupted()?;
            own.clear();
            for part in parts.first().map_or(&[][..], |part| signatures.parts_of(part.signature)) {
                let wanted = ColumnSet::IDS | ColumnSet::VALUES;
                chunks.for_each::<StoreError>(&part.request(), part.num_chunks, wanted, |columns| {
                    let values = (0..columns.len()).filter_map(|at| Some((columns.id(at)?, columns.value(at)?)));
                    own.extend(values.map(|(id, value)| (id, value.to_bits())));
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
                } else if single.take().is_some() {
                    share.with += u64::from(own.remove(&datum.id).is_some());
                }
                Ok(())
            })?;
            share.count(single, &mut own);
            share.unanswered += own.len() as u64;
        }
        Ok(share)
    }

    /// Counts a datum with one row. Data that only the answers with replicates have are not counted.
    fn count(&mut self, single: Option<(DatumId, u64)>, own: &mut HashMap<DatumId, u64, RandomState>) {
        let Some((id, value)) = single else { return };
        match own.remove(&id) {
            Some(own) if own == value => self.without += 1,
            Some(_) => self.with += 1,
            None => {}
        }
    }
}
