//! Columns to records and to text.

use smol_str::SmolStr;

use super::error::{ColumnsError, malformed};
use super::{Columns, RevisionPlace};
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
            id: self.id(index),
            push_timestamp: self.push_timestamp(index),
            push_id: self.push_id(index),
            revision,
            submit_time: self.submit_time(index),
            machine_name: self.machine_name(index),
        })
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

    /// The encoded records; needs [`super::ColumnSet::ALL`].
    ///
    /// # Errors
    /// [`ColumnsError`] when `revision_of` does not know a push, or the text of an irregular datum is not JSON.
    pub fn to_records(
        &self,
        revision_of: impl Fn(PushId) -> Option<Revision>,
    ) -> Result<Vec<DatumRecord>, ColumnsError> {
        (0..self.len()).map(|index| self.record(index, &revision_of)).collect()
    }

    fn record(
        &self,
        index: usize,
        revision_of: impl Fn(PushId) -> Option<Revision>,
    ) -> Result<DatumRecord, ColumnsError> {
        let push_id = self.push_id(index);
        let revision = match self.revision_place(index) {
            RevisionPlace::Unknown => None,
            RevisionPlace::Inline(revision) => Some(revision),
            RevisionPlace::PushTable => Some(revision_of(push_id).ok_or(ColumnsError::UnknownRevision { push_id })?),
        };
        if let Some(text) = self.irregular(index) {
            return Ok(DatumRecord::Irregular(Box::new(IrregularDatum {
                raw: RawJson::parse(text).map_err(ColumnsError::Text)?,
                job_id: self.job_id(index),
                id: self.id(index),
                push_timestamp: self.push_timestamp(index),
                push_id,
                revision,
                submit_time: self.submit_time(index),
            })));
        }
        let revision = revision.ok_or(ColumnsError::UnknownRevision { push_id })?;
        let view = self.view(index, revision).ok_or_else(|| malformed("a datum has contradicting flags"))?;
        Ok(DatumRecord::Regular(Datum {
            job_id: view.job_id,
            id: view.id,
            value: view.value,
            push_timestamp: view.push_timestamp,
            push_id,
            revision,
            submit_time: view.submit_time,
            machine_name: view.machine_name.map(SmolStr::new),
        }))
    }
}
