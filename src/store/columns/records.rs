//! Columns to records, and to text.

use super::{Columns, ColumnsError, RevisionPlace};
use crate::model::{Datum, DatumRecord, DatumView, IrregularDatum, PushId, RawJson, Revision};

/// The result of [`Columns::write_python`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum PythonText<'a> {
    /// The text was written.
    Written,
    /// Nothing was written: the datum is irregular, and this is its original text.
    Irregular(&'a str),
    /// Nothing was written: the push table lacks this push.
    UnknownRevision(PushId),
}

impl Columns {
    /// A borrowed regular datum with the given revision; needs every column except [`super::ColumnSet::REVISIONS`].
    #[must_use]
    pub fn view(&self, index: usize, revision: Revision) -> Option<DatumView<'_>> {
        Some(DatumView {
            value: self.value(index)?,
            job_id: self.job_id(index),
            id: self.id(index)?,
            push_timestamp: self.push_timestamp(index),
            push_id: self.push_id(index),
            revision,
            submit_time: self.submit_time(index),
            machine_name: self.machine_name(index),
        })
    }

    /// The datum as it was encoded; needs [`super::ColumnSet::ALL`].
    ///
    /// # Errors
    /// [`ColumnsError`] when the push table lacks the push of a regular datum, or the text of an irregular one is not JSON.
    pub fn record(
        &self,
        index: usize,
        revision_of: impl Fn(PushId) -> Option<Revision>,
    ) -> Result<DatumRecord, ColumnsError> {
        let unknown = || ColumnsError::UnknownRevision { push_id: self.push_id(index) };
        let revision = self.revision(index, revision_of);
        let Some(text) = self.irregular(index) else {
            let view = revision.and_then(|revision| self.view(index, revision));
            return view.map(|view| DatumRecord::Regular(view.into())).ok_or_else(unknown);
        };
        if revision.is_none() && self.revision_place(index) != RevisionPlace::Unknown {
            return Err(unknown());
        }
        Ok(DatumRecord::Irregular(Box::new(IrregularDatum {
            raw: RawJson::parse(text).map_err(|source| ColumnsError::Text { source })?,
            job_id: self.job_id(index),
            id: self.id(index),
            push_timestamp: self.push_timestamp(index),
            push_id: self.push_id(index),
            revision,
            submit_time: self.submit_time(index),
        })))
    }

    /// Appends the rows of a datum as they were encoded; needs [`super::ColumnSet::ALL`].
    ///
    /// # Errors
    /// As [`Columns::record`].
    pub fn add_rows(
        &self,
        index: usize,
        revision_of: impl Fn(PushId) -> Option<Revision>,
        out: &mut Vec<DatumRecord>,
    ) -> Result<(), ColumnsError> {
        let record = self.record(index, revision_of)?;
        let row = |value| match &record {
            DatumRecord::Regular(first) => DatumRecord::Regular(Datum { value, ..first.clone() }),
            DatumRecord::Irregular(_) => record.clone(),
        };
        let further: Vec<_> = self.row_values(index).skip(1).map(row).collect();
        out.push(record);
        out.extend(further);
        Ok(())
    }

    /// Appends a regular datum's JSON in Python's spacing; needs [`super::ColumnSet::ALL`].
    pub fn write_python(
        &self,
        index: usize,
        revision_of: impl Fn(PushId) -> Option<Revision>,
        out: &mut Vec<u8>,
    ) -> PythonText<'_> {
        if let Some(text) = self.irregular(index) {
            return PythonText::Irregular(text);
        }
        match self.revision(index, revision_of).and_then(|revision| self.view(index, revision)) {
            Some(datum) => {
                datum.write_python(out);
                PythonText::Written
            }
            None => PythonText::UnknownRevision(self.push_id(index)),
        }
    }
}
