//! The changes that a harvest made to the data of a signature: a line of the feed.

use crate::model::{DatumId, DatumRecord, RawJson, SignatureId};

/// Data by their ids, or by their texts if they have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DatumList {
    /// In the order of [`crate::model::api_order`].
    pub ids: Vec<DatumId>,
    /// Of the data without an id.
    pub texts: Vec<RawJson>,
}

impl DatumList {
    pub(super) fn add(&mut self, record: &DatumRecord) {
        match (record.id(), record) {
            (Some(id), _) => self.ids.push(id),
            (None, DatumRecord::Irregular(datum)) => self.texts.push(datum.raw.clone()),
            (None, DatumRecord::Regular(_)) => {}
        }
    }

    /// Adds a datum by its id, or by its text if it has none.
    pub fn add_stored(&mut self, id: Option<DatumId>, text: Option<&str>) {
        match id {
            Some(id) => self.ids.push(id),
            None => self.texts.extend(text.and_then(|text| RawJson::parse(text).ok())),
        }
    }

    /// The number of data.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len() + self.texts.len()
    }

    /// True when there are no data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn write(&self, name: &str, out: &mut Vec<u8>) {
        write_list(name, &self.ids, out, |id, out| write_number(id.0, out));
        write_list(&format!("{name}_without_id"), &self.texts, out, write_text);
    }
}

/// A datum whose fields changed.
#[derive(Clone, Debug, PartialEq)]
pub struct DatumChange {
    /// The same in both.
    pub id: DatumId,
    /// As it was stored.
    pub before: DatumRecord,
    /// As it is stored now.
    pub after: DatumRecord,
}

/// The changes to the data of a signature. Applied to the rows before, they give those after.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DataChanges {
    /// New data.
    pub added: DatumList,
    /// Those of them that were pushed before the end of the data of the harvest before.
    pub late: DatumList,
    /// Data with another value of any field, except for the job fields that are kept.
    pub changed: Vec<DatumChange>,
    /// Data whose job the server has deleted since the last answer.
    pub expired: DatumList,
    /// Data whose job had expired, and which the server has again.
    pub job_returned: DatumList,
    /// Data that were in the last answer for their time, and are not in this one.
    pub unlisted: DatumList,
    /// Data that the server did not list, and lists again.
    pub listed_again: DatumList,
}

impl DataChanges {
    /// True when nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Appends the changes as a line of JSON, with its end. Empty lists are left out.
    pub fn write_line(&self, signature: SignatureId, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"kind":"data","signature_id":"#);
        write_number(signature.0, out);
        for (name, number) in [
            ("added", self.added.len()),
            ("late", self.late.len()),
            ("changed", self.changed.len()),
            ("expired", self.expired.len()),
            ("unlisted", self.unlisted.len()),
        ] {
            out.extend_from_slice(format!(",\"num_{name}\":{number}").as_bytes());
        }
        self.added.write("added", out);
        self.late.write("late", out);
        write_list("changed", &self.changed, out, |change, out| {
            out.extend_from_slice(br#"{"id":"#);
            write_number(change.id.0, out);
            out.extend_from_slice(br#","before":"#);
            write_record(&change.before, out);
            out.extend_from_slice(br#","after":"#);
            write_record(&change.after, out);
            out.push(b'}');
        });
        self.expired.write("expired", out);
        self.job_returned.write("job_returned", out);
        self.unlisted.write("unlisted", out);
        self.listed_again.write("listed_again", out);
        out.extend_from_slice(b"}\n");
    }
}

/// A datum whose list of rows changed.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsChange {
    /// The same in both.
    pub id: DatumId,
    /// The values of its rows as they were stored; `None` for a row without a finite number.
    pub before: Vec<Option<f64>>,
    /// As they are stored now.
    pub after: Vec<Option<f64>>,
}

/// The changes to the replicates of a signature. Applied to the rows before, they give those after.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowsChanges {
    /// Data that had no rows before.
    pub added: DatumList,
    /// Data with another list of values.
    pub changed: Vec<RowsChange>,
}

impl RowsChanges {
    /// Appends the changes as a line of JSON, with its end; nothing if there are none.
    pub fn write_line(&self, signature: SignatureId, out: &mut Vec<u8>) {
        if self.added.is_empty() && self.changed.is_empty() {
            return;
        }
        out.extend_from_slice(br#"{"kind":"replicates","signature_id":"#);
        write_number(signature.0, out);
        let (num_added, num_changed) = (self.added.len(), self.changed.len());
        out.extend_from_slice(format!(",\"num_added\":{num_added},\"num_changed\":{num_changed}").as_bytes());
        self.added.write("added", out);
        write_list("changed", &self.changed, out, |change, out| {
            out.extend_from_slice(br#"{"id":"#);
            write_number(change.id.0, out);
            for (name, values) in [("before", &change.before), ("after", &change.after)] {
                write_list(name, values, out, |value, out| write_value(*value, out));
            }
            out.push(b'}');
        });
        out.extend_from_slice(b"}\n");
    }
}

fn write_list<T>(name: &str, entries: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    for (at, entry) in entries.iter().enumerate() {
        if at == 0 {
            out.extend_from_slice(format!(",\"{name}\":[").as_bytes());
        } else {
            out.push(b',');
        }
        write(entry, out);
    }
    if !entries.is_empty() {
        out.push(b']');
    }
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// As the value of a datum is written.
fn write_value(value: Option<f64>, out: &mut Vec<u8>) {
    match value {
        Some(value) => pytext::float::write_repr(value, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// The datum as the server writes it.
fn write_record(record: &DatumRecord, out: &mut Vec<u8>) {
    match record {
        DatumRecord::Regular(datum) => datum.write_compact(out),
        DatumRecord::Irregular(datum) => write_text(&datum.raw, out),
    }
}

/// A text on one line: line breaks of JSON stand between its tokens only.
fn write_text(raw: &RawJson, out: &mut Vec<u8>) {
    out.extend(raw.as_str().bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
}
