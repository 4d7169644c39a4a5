//! Chunks to columns.

use super::error::{ColumnsError, malformed};
use super::flag;
use super::format::{ColumnSet, FORMAT_VERSION, MAX_DATA_PER_CHUNK, WITH_REPLICATES, WITHOUT_HARVESTS};
use super::integers::decode_integers;
use super::names::Names;
use super::replicates::Replicates;
use super::values::decode_values;
use super::varint::Reader;
use crate::model::{DatumFields, DatumId, JobId, PushId, Revision, Seen, Timestamp};

/// The decoded columns of one chunk, and the buffers to decode the next into.
///
/// Every accessor panics when the index is not below [`Columns::len`] or its column was not decoded. Both are errors of the
/// caller; no bytes can cause them.
#[derive(Clone, Debug, Default)]
pub struct Columns {
    /// One byte a datum, always decoded. The other columns have the same length, or are empty if they are not wanted.
    flags: Vec<u8>,
    job_ids: Vec<u64>,
    ids: Vec<u64>,
    values: Vec<u64>,
    /// Microseconds, as are the submit times.
    push_timestamps: Vec<u64>,
    push_ids: Vec<u64>,
    submit_times: Vec<u64>,
    /// Indexes into the dictionaries.
    revision_indexes: Vec<u64>,
    revisions: Vec<Revision>,
    name_indexes: Vec<u64>,
    names: Names,
    /// Index of each irregular datum, and the end of its text in `texts`.
    text_ends: Vec<(usize, usize)>,
    texts: String,
    /// Known whatever is decoded.
    has_harvests: bool,
    first_harvests: Vec<u64>,
    last_harvests: Vec<u64>,
    replicates: Replicates,
    /// Used while a column is decoded.
    scratch: Vec<u64>,
    spans: Vec<u64>,
}

/// The place of a datum's revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevisionPlace {
    /// In the push table, by the datum's push id.
    PushTable,
    /// In the chunk.
    Inline(Revision),
    /// Nowhere: the datum is irregular and has no revision.
    Unknown,
}

impl Columns {
    /// Decodes the wanted columns of a chunk; they replace the previous ones.
    ///
    /// # Errors
    /// [`ColumnsError`] when the bytes are not a chunk; all columns are empty then. Unwanted columns are not checked.
    pub fn decode(&mut self, bytes: &[u8], want: ColumnSet) -> Result<(), ColumnsError> {
        self.clear();
        let decoded = self.decode_sections(bytes, want);
        if decoded.is_err() {
            self.clear();
        }
        decoded
    }

    fn clear(&mut self) {
        self.flags.clear();
        self.job_ids.clear();
        self.ids.clear();
        self.values.clear();
        self.push_timestamps.clear();
        self.push_ids.clear();
        self.submit_times.clear();
        self.revision_indexes.clear();
        self.revisions.clear();
        self.name_indexes.clear();
        self.names.clear();
        self.text_ends.clear();
        self.texts.clear();
        self.has_harvests = false;
        self.first_harvests.clear();
        self.last_harvests.clear();
        self.replicates.clear();
    }

    fn decode_sections(&mut self, bytes: &[u8], want: ColumnSet) -> Result<(), ColumnsError> {
        let mut reader = Reader::new(bytes);
        let version = reader.byte()?;
        if ![FORMAT_VERSION, WITHOUT_HARVESTS, WITH_REPLICATES].contains(&version) {
            return Err(ColumnsError::Version { found: version });
        }
        let num_data = reader.len(bytes.len().min(MAX_DATA_PER_CHUNK))?;
        self.decode_flags(reader.section()?, num_data)?;

        let section = reader.section()?;
        if want.contains(ColumnSet::JOB_IDS) {
            decode_column(section, self.count(flag::JOB), decode_integers, &mut self.scratch)?;
            spread(&self.scratch, &self.flags, flag::JOB, flag::JOB, &mut self.job_ids);
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::IDS) {
            decode_column(section, num_data, decode_integers, &mut self.ids)?;
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::VALUES) {
            let num_regular = num_data - self.count(flag::IRREGULAR);
            decode_column(section, num_regular, decode_values, &mut self.scratch)?;
            spread(&self.scratch, &self.flags, flag::IRREGULAR, 0, &mut self.values);
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::PUSH_TIMESTAMPS) {
            decode_times(section, num_data, &mut self.push_timestamps, &mut self.scratch)?;
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::PUSH_IDS) {
            decode_column(section, num_data, decode_integers, &mut self.push_ids)?;
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::REVISIONS) {
            self.decode_revisions(section)?;
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::SUBMIT_TIMES) {
            self.decode_submit_times(section)?;
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::MACHINE_NAMES) {
            let mut section = section;
            self.names.decode(&mut section, self.count(flag::MACHINE), &mut self.scratch)?;
            section.finish()?;
            spread(&self.scratch, &self.flags, flag::MACHINE, flag::MACHINE, &mut self.name_indexes);
        }
        let section = reader.section()?;
        if want.contains(ColumnSet::IRREGULAR) {
            self.decode_texts(section)?;
        }
        let section = if version == WITHOUT_HARVESTS { Reader::new(&[]) } else { reader.section()? };
        self.has_harvests = !section.rest().is_empty();
        if !self.has_harvests && self.count(flag::JOB_EXPIRED | flag::UNLISTED) > 0 {
            return Err(malformed("a datum has marks of harvests that are missing"));
        }
        if self.has_harvests && want.contains(ColumnSet::HARVESTS) {
            self.decode_harvests(section)?;
        }
        if version == WITH_REPLICATES {
            let section = reader.section()?;
            if want.contains(ColumnSet::REPLICATES) {
                self.replicates.decode(section, num_data, bytes.len())?;
            }
        }
        if reader.rest().iter().any(|&byte| byte != 0) {
            return Err(malformed("there are bytes after the last section"));
        }
        Ok(())
    }

    fn decode_flags(&mut self, mut section: Reader<'_>, num_data: usize) -> Result<(), ColumnsError> {
        let num_entries = section.len(num_data)?;
        let dictionary = section.bytes(num_entries)?;
        if !dictionary.iter().all(|&flags| flag::is_valid(flags)) {
            return Err(malformed("a datum has contradicting flags"));
        }
        decode_column(section, num_data, decode_integers, &mut self.scratch)?;
        for &index in &self.scratch {
            let flags = usize::try_from(index).ok().and_then(|index| dictionary.get(index));
            self.flags.push(*flags.ok_or_else(|| malformed("a datum has unknown flags"))?);
        }
        Ok(())
    }

    fn decode_revisions(&mut self, mut section: Reader<'_>) -> Result<(), ColumnsError> {
        let count = self.count(flag::INLINE_REVISION);
        if count > 0 {
            let num_entries = section.len(count)?;
            let (dictionary, _) = section.bytes(num_entries.saturating_mul(20))?.as_chunks::<20>();
            self.revisions.extend(dictionary.iter().map(|bytes| Revision(*bytes)));
        }
        decode_column(section, count, decode_integers, &mut self.scratch)?;
        if self.scratch.iter().any(|&index| index >= self.revisions.len() as u64) {
            return Err(malformed("a revision is not in the dictionary"));
        }
        spread(&self.scratch, &self.flags, flag::INLINE_REVISION, flag::INLINE_REVISION, &mut self.revision_indexes);
        Ok(())
    }

    fn decode_submit_times(&mut self, section: Reader<'_>) -> Result<(), ColumnsError> {
        decode_times(section, self.count(flag::SUBMIT_TIME), &mut self.spans, &mut self.scratch)?;
        spread(&self.spans, &self.flags, flag::SUBMIT_TIME, flag::SUBMIT_TIME, &mut self.submit_times);
        for (span, landed) in self.submit_times.iter_mut().zip(&self.push_timestamps) {
            *span = span.wrapping_add(*landed);
        }
        Ok(())
    }

    fn decode_texts(&mut self, mut section: Reader<'_>) -> Result<(), ColumnsError> {
        decode_integers(&mut section, self.count(flag::IRREGULAR), &mut self.scratch)?;
        let mut lens = self.scratch.iter();
        for (at, _) in self.flags.iter().enumerate().filter(|&(_, &flags)| flags & flag::IRREGULAR != 0) {
            let len = lens.next().and_then(|&len| usize::try_from(len).ok()).ok_or(ColumnsError::Truncated)?;
            let text = std::str::from_utf8(section.bytes(len)?).map_err(|_| malformed("a text is not UTF-8"))?;
            self.texts.push_str(text);
            self.text_ends.push((at, self.texts.len()));
        }
        section.finish()
    }

    fn decode_harvests(&mut self, mut section: Reader<'_>) -> Result<(), ColumnsError> {
        decode_integers(&mut section, self.len(), &mut self.first_harvests)?;
        decode_integers(&mut section, self.len(), &mut self.last_harvests)?;
        for (last, first) in self.last_harvests.iter_mut().zip(&self.first_harvests) {
            *last = last.wrapping_add(*first);
            if (*first).max(*last) > u16::MAX.into() {
                return Err(malformed("the number of a harvest has more than 16 bits"));
            }
        }
        section.finish()
    }

    fn count(&self, flag: u8) -> usize {
        self.flags.iter().filter(|&&flags| flags & flag != 0).count()
    }

    /// The number of data.
    #[must_use]
    pub fn len(&self) -> usize {
        self.flags.len()
    }

    /// True when there are no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.flags.is_empty()
    }

    fn has(&self, index: usize, flag: u8) -> bool {
        self.flags[index] & flag != 0
    }

    /// True for a datum of the documented form. Always known.
    #[must_use]
    pub fn is_regular(&self, index: usize) -> bool {
        !self.has(index, flag::IRREGULAR)
    }

    /// The job; needs [`ColumnSet::JOB_IDS`].
    #[must_use]
    pub fn job_id(&self, index: usize) -> Option<JobId> {
        self.has(index, flag::JOB).then(|| JobId(self.job_ids[index]))
    }

    /// The job of a datum with the time when it was submitted or, if that is unknown, when the push landed. Needs
    /// [`ColumnSet::JOB_IDS`] and [`ColumnSet::SUBMIT_TIMES`].
    #[must_use]
    pub fn aged_job(&self, index: usize) -> Option<(JobId, Timestamp)> {
        let submitted = || self.submit_time(index).unwrap_or_else(|| self.push_timestamp(index));
        self.job_id(index).map(|id| (id, submitted()))
    }

    /// The job under which a datum is listed: also without the key `job_id`, as [`DatumFields::job_without_key`] says. Needs
    /// [`ColumnSet::JOB_IDS`] and [`ColumnSet::IRREGULAR`].
    #[must_use]
    pub fn listed_job(&self, index: usize) -> Option<JobId> {
        self.job_id(index).or_else(|| self.fields(index)?.job_without_key())
    }

    /// The datum's own id; `None` for an irregular datum without one. Needs [`ColumnSet::IDS`].
    #[must_use]
    pub fn id(&self, index: usize) -> Option<DatumId> {
        Some(DatumId(self.ids[index])).filter(|id| id.0 != 0 || self.is_regular(index))
    }

    /// The value of a regular datum; needs [`ColumnSet::VALUES`].
    #[must_use]
    pub fn value(&self, index: usize) -> Option<f64> {
        self.is_regular(index).then(|| f64::from_bits(self.values[index]))
    }

    /// The values of the rows of a regular datum: those of its replicates, or its own. Of a chunk without replicates, its own.
    /// Needs [`ColumnSet::REPLICATES`].
    pub fn row_values(&self, index: usize) -> impl Iterator<Item = f64> {
        self.value(index).into_iter().chain(self.replicates.of(index))
    }

    /// The number of rows: as many as data, in a chunk without replicates. Needs [`ColumnSet::REPLICATES`].
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.len() + self.replicates.len()
    }

    /// The time when the push landed; needs [`ColumnSet::PUSH_TIMESTAMPS`].
    #[must_use]
    pub fn push_timestamp(&self, index: usize) -> Timestamp {
        Timestamp::from_micros(self.push_timestamps[index].cast_signed())
    }

    /// The push; needs [`ColumnSet::PUSH_IDS`].
    #[must_use]
    pub fn push_id(&self, index: usize) -> PushId {
        PushId(self.push_ids[index])
    }

    /// The place of the revision; needs [`ColumnSet::REVISIONS`].
    #[must_use]
    pub fn revision_place(&self, index: usize) -> RevisionPlace {
        if self.has(index, flag::NO_REVISION) {
            RevisionPlace::Unknown
        } else {
            self.inline_revision(index).map_or(RevisionPlace::PushTable, RevisionPlace::Inline)
        }
    }

    /// The revision if it is kept inline; needs [`ColumnSet::REVISIONS`].
    #[must_use]
    pub fn inline_revision(&self, index: usize) -> Option<Revision> {
        let at = self.has(index, flag::INLINE_REVISION).then(|| self.revision_indexes[index])?;
        usize::try_from(at).ok().map(|at| self.revisions[at])
    }

    /// The revision, from `revision_of` if the chunk lacks it; `None` when it is unknown. Needs [`ColumnSet::REVISIONS`]
    /// and [`ColumnSet::PUSH_IDS`].
    #[must_use]
    pub fn revision(&self, index: usize, revision_of: impl Fn(PushId) -> Option<Revision>) -> Option<Revision> {
        match self.revision_place(index) {
            RevisionPlace::PushTable => revision_of(self.push_id(index)),
            RevisionPlace::Inline(revision) => Some(revision),
            RevisionPlace::Unknown => None,
        }
    }

    /// The harvests that saw the datum; `None` for all data of an answer as it came. Needs [`ColumnSet::HARVESTS`].
    #[must_use]
    pub fn seen(&self, index: usize) -> Option<Seen> {
        let number = |harvests: &[u64]| u16::try_from(harvests[index]).ok();
        if !self.has_harvests {
            return None;
        }
        Some(Seen {
            first: number(&self.first_harvests)?,
            last: number(&self.last_harvests)?,
            job_expired: self.has(index, flag::JOB_EXPIRED),
            unlisted: self.has(index, flag::UNLISTED),
        })
    }

    /// The time when the job was submitted; needs [`ColumnSet::SUBMIT_TIMES`].
    #[must_use]
    pub fn submit_time(&self, index: usize) -> Option<Timestamp> {
        self.has(index, flag::SUBMIT_TIME).then(|| Timestamp::from_micros(self.submit_times[index].cast_signed()))
    }

    /// The machine of a regular datum; needs [`ColumnSet::MACHINE_NAMES`].
    #[must_use]
    pub fn machine_name(&self, index: usize) -> Option<&str> {
        let at = self.has(index, flag::MACHINE).then(|| self.name_indexes[index])?;
        usize::try_from(at).ok().map(|at| self.names.get(at))
    }

    /// The text of an irregular datum; needs [`ColumnSet::IRREGULAR`].
    #[must_use]
    pub fn irregular(&self, index: usize) -> Option<&str> {
        if self.is_regular(index) {
            return None;
        }
        let at = self.text_ends.partition_point(|&(datum, _)| datum < index);
        let start = at.checked_sub(1).map_or(0, |before| self.text_ends[before].1);
        Some(&self.texts[start..self.text_ends[at].1])
    }

    /// The fields of an irregular datum; needs [`ColumnSet::IRREGULAR`].
    #[must_use]
    pub fn fields(&self, index: usize) -> Option<DatumFields<'_>> {
        DatumFields::read(self.irregular(index)?).ok()
    }
}

/// Reads a section that holds exactly one column.
fn decode_column(
    mut section: Reader<'_>,
    count: usize,
    decode: fn(&mut Reader<'_>, usize, &mut Vec<u64>) -> Result<(), ColumnsError>,
    out: &mut Vec<u64>,
) -> Result<(), ColumnsError> {
    decode(&mut section, count, out)?;
    section.finish()
}

/// Reads a section of seconds and of microseconds into microseconds.
fn decode_times(
    mut section: Reader<'_>,
    count: usize,
    out: &mut Vec<u64>,
    scratch: &mut Vec<u64>,
) -> Result<(), ColumnsError> {
    decode_integers(&mut section, count, out)?;
    decode_integers(&mut section, count, scratch)?;
    section.finish()?;
    for (time, micros) in out.iter_mut().zip(scratch) {
        *time = time.wrapping_mul(1_000_000).wrapping_add(*micros);
    }
    Ok(())
}

/// Gives each datum whose flags, masked, are `wanted` the next word, and the others 0.
fn spread(words: &[u64], flags: &[u8], mask: u8, wanted: u8, out: &mut Vec<u64>) {
    let mut words = words.iter();
    out.clear();
    out.extend(flags.iter().map(
        |flags| {
            if flags & mask == wanted { words.next().copied().unwrap_or_default() } else { 0 }
        },
    ));
}
