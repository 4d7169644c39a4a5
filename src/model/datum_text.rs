//! The JSON text of a datum in the documented form, in the server's spacing or in Python's.

use pytext::float::write_repr;
use pytext::json::{AsciiMode, write_str};
use smol_str::SmolStr;

use super::{Datum, DatumId, JobId, PushId, Revision, Timestamp};

/// A datum of the documented form with a borrowed machine name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DatumView<'a> {
    /// See [`Datum::job_id`].
    pub job_id: Option<JobId>,
    /// See [`Datum::id`].
    pub id: DatumId,
    /// See [`Datum::value`].
    pub value: f64,
    /// See [`Datum::push_timestamp`].
    pub push_timestamp: Timestamp,
    /// See [`Datum::push_id`].
    pub push_id: PushId,
    /// See [`Datum::revision`].
    pub revision: Revision,
    /// See [`Datum::submit_time`].
    pub submit_time: Option<Timestamp>,
    /// See [`Datum::machine_name`].
    pub machine_name: Option<&'a str>,
}

/// The texts before each value of a datum's object.
pub(super) struct Template {
    pub(super) job_id: &'static [u8],
    pub(super) id: &'static [u8],
    pub(super) value: &'static [u8],
    pub(super) push_timestamp: &'static [u8],
    pub(super) push_id: &'static [u8],
    pub(super) revision: &'static [u8],
    pub(super) submit_time: &'static [u8],
    pub(super) machine_name: &'static [u8],
    /// True for Python, which escapes all characters outside of ASCII.
    ascii_only: bool,
}

pub(super) const COMPACT: Template = Template {
    job_id: br#"{"job_id":"#,
    id: br#","id":"#,
    value: br#","value":"#,
    push_timestamp: br#","push_timestamp":""#,
    push_id: br#"","push_id":"#,
    revision: br#","revision":""#,
    submit_time: br#"","submit_time":"#,
    machine_name: br#","machine_name":"#,
    ascii_only: false,
};

pub(super) const PYTHON: Template = Template {
    job_id: br#"{"job_id": "#,
    id: br#", "id": "#,
    value: br#", "value": "#,
    push_timestamp: br#", "push_timestamp": ""#,
    push_id: br#"", "push_id": "#,
    revision: br#", "revision": ""#,
    submit_time: br#"", "submit_time": "#,
    machine_name: br#", "machine_name": "#,
    ascii_only: true,
};

/// Longer than the text of a datum whose machine name has a usual length.
pub(super) const USUAL_TEXT_BYTES: usize = 320;

impl DatumView<'_> {
    /// Appends JSON in the server's spacing, `{"job_id":560000479,"id":…}`.
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        self.write(&COMPACT, out);
    }

    /// Appends JSON in the spacing of Python's `json.dumps`, `{"job_id": 560000479, "id": …}`.
    pub fn write_python(&self, out: &mut Vec<u8>) {
        self.write(&PYTHON, out);
    }

    #[inline]
    fn write(&self, template: &Template, out: &mut Vec<u8>) {
        out.reserve(USUAL_TEXT_BYTES);
        let mut digits = itoa::Buffer::new();
        out.extend_from_slice(template.job_id);
        match self.job_id {
            Some(job_id) => out.extend_from_slice(digits.format(job_id.0).as_bytes()),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(template.id);
        out.extend_from_slice(digits.format(self.id.0).as_bytes());
        out.extend_from_slice(template.value);
        write_repr(self.value, out);
        out.extend_from_slice(template.push_timestamp);
        self.push_timestamp.write_naive(out);
        out.extend_from_slice(template.push_id);
        out.extend_from_slice(digits.format(self.push_id.0).as_bytes());
        out.extend_from_slice(template.revision);
        out.extend_from_slice(&self.revision.to_hex());
        out.extend_from_slice(template.submit_time);
        match self.submit_time {
            Some(submit_time) => {
                out.push(b'"');
                submit_time.write_naive(out);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(template.machine_name);
        match self.machine_name {
            Some(name) => write_str(name, out, if template.ascii_only { AsciiMode::Escape } else { AsciiMode::Keep }),
            None => out.extend_from_slice(b"null"),
        }
        out.push(b'}');
    }
}

impl Datum {
    /// Borrows the datum.
    #[must_use]
    pub fn view(&self) -> DatumView<'_> {
        DatumView {
            job_id: self.job_id,
            id: self.id,
            value: self.value,
            push_timestamp: self.push_timestamp,
            push_id: self.push_id,
            revision: self.revision,
            submit_time: self.submit_time,
            machine_name: self.machine_name.as_deref(),
        }
    }

    /// See [`DatumView::write_compact`].
    pub fn write_compact(&self, out: &mut Vec<u8>) {
        self.view().write_compact(out);
    }

    /// See [`DatumView::write_python`].
    pub fn write_python(&self, out: &mut Vec<u8>) {
        self.view().write_python(out);
    }
}

impl From<DatumView<'_>> for Datum {
    fn from(view: DatumView<'_>) -> Self {
        Self {
            job_id: view.job_id,
            id: view.id,
            value: view.value,
            push_timestamp: view.push_timestamp,
            push_id: view.push_id,
            revision: view.revision,
            submit_time: view.submit_time,
            machine_name: view.machine_name.map(SmolStr::new),
        }
    }
}

/// True for text that needs no escapes in JSON.
pub(super) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\')
}
