//! The column of replicates: the rows of a datum that differ in their values alone are one datum, and a list of values.
//!
//! Layout: how many rows each datum has beside the first one, then the values of these rows. The first row's value is in the
//! column of values.

use super::error::{ColumnsError, malformed};
use super::format::MAX_DATA_PER_CHUNK;
use super::integers::{IntegerEncoder, decode_integers};
use super::values::{ValueEncoder, decode_values};
use super::varint::Reader;
use crate::model::{Datum, DatumRecord};

/// Maximum rows per chunk of an answer with replicates; a datum with more is continued in the next chunk.
pub(super) const ROWS_PER_CHUNK: usize = 16 << 10;

/// The leading rows of one datum: at least one.
pub(in crate::store) fn leading_run(rows: &[DatumRecord], most: usize) -> usize {
    let [DatumRecord::Regular(first), rest @ ..] = rows else { return 1.min(rows.len()) };
    let is_same = |row: &&DatumRecord| matches!(row, DatumRecord::Regular(row) if differ_in_value_only(first, row));
    1 + rest.iter().take(most.saturating_sub(1)).take_while(is_same).count()
}

fn differ_in_value_only(left: &Datum, right: &Datum) -> bool {
    let Datum { job_id, id, value: _, push_timestamp, push_id, revision, submit_time, machine_name } = left;
    (job_id, id, push_timestamp, push_id) == (&right.job_id, &right.id, &right.push_timestamp, &right.push_id)
        && (revision, submit_time, machine_name) == (&right.revision, &right.submit_time, &right.machine_name)
}

/// The rows of the data of a chunk beside their first ones.
#[derive(Debug, Default)]
pub(super) struct FurtherRows {
    counts: Vec<u64>,
    values: Vec<f64>,
}

impl FurtherRows {
    /// Adds the rows of the next datum.
    pub(super) fn add(&mut self, rows: &[DatumRecord]) {
        let further = rows.iter().skip(1).filter_map(|row| match row {
            DatumRecord::Regular(datum) => Some(datum.value),
            DatumRecord::Irregular(_) => None,
        });
        let before = self.values.len();
        self.values.extend(further);
        self.counts.push((self.values.len() - before) as u64);
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    pub(super) fn encode(&self, integers: &mut IntegerEncoder, values: &mut ValueEncoder, out: &mut Vec<u8>) {
        integers.encode(&self.counts, out);
        values.encode(&self.values, integers, out);
    }
}

/// The decoded column, and the buffers to decode the next into.
#[derive(Clone, Debug, Default)]
pub(super) struct Replicates {
    /// Index behind the last further row of each datum; empty if there is no such column.
    ends: Vec<usize>,
    values: Vec<u64>,
    scratch: Vec<u64>,
}

impl Replicates {
    pub(super) fn clear(&mut self) {
        self.ends.clear();
        self.values.clear();
    }

    /// Reads the column of `num_data` data in a chunk of `num_bytes`, which limit the number of rows.
    pub(super) fn decode(
        &mut self,
        mut section: Reader<'_>,
        num_data: usize,
        num_bytes: usize,
    ) -> Result<(), ColumnsError> {
        decode_integers(&mut section, num_data, &mut self.scratch)?;
        let (most, mut end) = (num_bytes.min(MAX_DATA_PER_CHUNK), 0_usize);
        for &count in &self.scratch {
            end = usize::try_from(count).ok().and_then(|count| end.checked_add(count)).unwrap_or(usize::MAX);
            if end > most {
                return Err(malformed("a chunk has more rows than bytes"));
            }
            self.ends.push(end);
        }
        decode_values(&mut section, end, &mut self.values)?;
        section.finish()
    }

    /// Further rows of all data.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// The values of the further rows of a datum.
    pub(super) fn of(&self, index: usize) -> impl Iterator<Item = f64> {
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before).copied()).unwrap_or_default();
        let end = self.ends.get(index).copied().unwrap_or(start);
        self.values[start..end].iter().map(|bits| f64::from_bits(*bits))
    }
}
