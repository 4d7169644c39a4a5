//! The rows of `data` in one file for each month of the push, for datasets that are published again after each harvest: the
//! file of a month without changes keeps its bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::data::{DataRow, DataSink};
use super::table::Table;
use crate::dataset::write::parquet::{Cell, FinishedTable, RowGroupLimits, TableError, TableWriter};
use crate::dataset::write::{MadeFolders, make_folder};
use crate::model::Timestamp;

/// Months that are written at a time: each needs the memory of a row group. Debug builds write fewer, so that tests come to a
/// second pass.
const MONTHS_PER_PASS: usize = if cfg!(debug_assertions) { 2 } else { 8 };

/// Smaller than in a table of one file, for the sake of memory.
const LIMITS: RowGroupLimits = RowGroupLimits { rows: 1 << 16, text_bytes: 8 << 20 };

const DAY_MICROS: i64 = 86_400_000_000;

/// A month of the calendar, as `2026-07`.
type Month = String;

fn month_of(at: Timestamp) -> Month {
    let text = at.to_naive_string();
    let date = text.split('T').next().unwrap_or_default();
    date.rsplit_once('-').map_or(date, |(month, _)| month).to_owned()
}

/// The files of some months, while they are written.
pub(super) struct Months<'a> {
    /// The folder of the table.
    folder: &'a Path,
    notes: &'a [(&'static str, String)],
    /// Of earlier passes.
    done: &'a BTreeSet<Month>,
    writers: BTreeMap<Month, (TableWriter, MadeFolders)>,
    /// Months for another pass.
    left: BTreeSet<Month>,
    /// The day of the row before, and its month: data come by time within a signature.
    last: Option<(i64, Month)>,
}

/// The files of the months of one pass.
pub(super) struct FinishedMonths {
    /// Each with the path of its folder from that of the table.
    pub(super) files: Vec<(String, FinishedTable)>,
    pub(super) made: Vec<MadeFolders>,
    pub(super) done: BTreeSet<Month>,
    pub(super) is_last: bool,
}

impl<'a> Months<'a> {
    /// The months that are not `done`, as many as one pass writes.
    pub(super) fn new(folder: &'a Path, notes: &'a [(&'static str, String)], done: &'a BTreeSet<Month>) -> Self {
        Self { folder, notes, done, writers: BTreeMap::new(), left: BTreeSet::new(), last: None }
    }

    pub(super) fn finish(self) -> Result<FinishedMonths, TableError> {
        let mut finished = FinishedMonths {
            files: Vec::new(),
            made: Vec::new(),
            done: BTreeSet::new(),
            is_last: self.left.is_empty(),
        };
        for (month, (writer, made)) in self.writers {
            finished.files.push((folder_name(&month), writer.finish()?));
            finished.made.push(made);
            finished.done.insert(month);
        }
        Ok(finished)
    }

    fn begin(&self, month: &str) -> Result<(TableWriter, MadeFolders), TableError> {
        let folder = self.folder.join(folder_name(month));
        let made = make_folder(&folder)?;
        let schema = Table::Data.published_schema();
        Ok((TableWriter::create_as(&folder, PART_NAME, schema, self.notes, LIMITS)?, made))
    }
}

/// Name of the only file in the folder of a published table, or of a month.
pub(super) const PART_NAME: &str = "part-0.parquet";

/// As Hive names partitions: readers take the column `month` from it.
fn folder_name(month: &str) -> String {
    format!("month={month}")
}

impl DataSink for Months<'_> {
    fn write(&mut self, row: &DataRow) -> Result<(), TableError> {
        let day = row.pushed().as_micros().div_euclid(DAY_MICROS);
        let month = match self.last.take() {
            Some((last, month)) if last == day => month,
            _ => month_of(row.pushed()),
        };
        if !self.done.contains(&month) && !self.left.contains(&month) {
            if !self.writers.contains_key(&month) && self.writers.len() < MONTHS_PER_PASS {
                self.writers.insert(month.clone(), self.begin(&month)?);
            }
            match self.writers.get_mut(&month) {
                Some((writer, _)) => row.write(writer, row.left_list_at().map_or(Cell::Null, Cell::Integer))?,
                None => drop(self.left.insert(month.clone())),
            }
        }
        self.last = Some((day, month));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn months_are_those_of_utc() {
        for (at, month) in [
            ("2026-07-01T00:00:00Z", "2026-07"),
            ("2026-06-30T23:59:59.999999Z", "2026-06"),
            ("1969-12-31T00:00:00Z", "1969-12"),
        ] {
            assert_eq!(month_of(at.parse().unwrap()), month);
        }
    }
}
