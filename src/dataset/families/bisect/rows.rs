//! Rows of data: the test of the window, and their text.

use crate::config::Semantics;
use crate::dataset::write::JsonTextError;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{DatumRecord, DatumView, RawEntries, RawJson, Timestamp, Window};

/// When the task of a row was submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Submitted {
    /// Null, absent or blank: the server has deleted the job.
    Unknown,
    At(Timestamp),
    /// A value that is not a time.
    Unreadable,
}

impl Submitted {
    fn of(row: &DatumRecord) -> Self {
        let DatumRecord::Irregular(datum) = row else {
            return row.submit_time().map_or(Self::Unknown, Self::At);
        };
        let Some(raw) = raw_field(&datum.raw, "submit_time").filter(|raw| raw != "null") else { return Self::Unknown };
        match serde_json::from_str::<String>(&raw) {
            Ok(text) if text.trim().is_empty() => Self::Unknown,
            Ok(text) => text.parse().map_or(Self::Unreadable, Self::At),
            Err(_) => Self::Unreadable,
        }
    }
}

/// Whether a row is in the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Kept,
    KeptWithoutTime,
    KeptUnreadable,
    Before,
    /// At the end, or after it.
    After,
}

/// The test of the window: by the submission, with the start and without the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowTest {
    pub(super) window: Window,
    pub(super) semantics: Semantics,
}

impl WindowTest {
    fn judge(&self, row: &DatumRecord) -> Verdict {
        let at = |time: Timestamp, kept: Verdict| match () {
            () if time < self.window.start => Verdict::Before,
            () if time >= self.window.end => Verdict::After,
            () => kept,
        };
        match (Submitted::of(row), self.semantics) {
            (Submitted::At(submitted), _) => at(submitted, Verdict::Kept),
            (Submitted::Unknown, Semantics::Reference) => Verdict::KeptWithoutTime,
            (Submitted::Unknown, Semantics::Corrected) => at(row.push_timestamp(), Verdict::KeptWithoutTime),
            (Submitted::Unreadable, _) => Verdict::KeptUnreadable,
        }
    }

    /// True for a row that is kept; counts it.
    pub(super) fn keeps(&self, row: &DatumRecord, stats: &mut FilterStats) -> bool {
        let verdict = self.judge(row);
        stats.raw += 1;
        match verdict {
            Verdict::Kept | Verdict::Before => {}
            Verdict::KeptWithoutTime => stats.kept_without_time += 1,
            Verdict::KeptUnreadable => stats.kept_unreadable += 1,
            Verdict::After => stats.after += 1,
        }
        let is_kept = !matches!(verdict, Verdict::Before | Verdict::After);
        stats.kept += u64::from(is_kept);
        stats.dropped_by_push += u64::from(!is_kept && Submitted::of(row) == Submitted::Unknown);
        is_kept
    }
}

/// The counts of a signature's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FilterStats {
    raw: u64,
    kept: u64,
    kept_without_time: u64,
    kept_unreadable: u64,
    after: u64,
    /// Rows without a time of submission that the corrected semantics leave out.
    pub(super) dropped_by_push: u64,
}

impl FilterStats {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { raw, kept, kept_without_time, kept_unreadable, after, .. } = self;
        let text = format!(
            "{{\"raw_measurements\": {raw}, \"kept_measurements\": {kept}, \"kept_missing_submit_time\": {kept_without_time}, \
             \"kept_unparseable_submit_time\": {kept_unreadable}, \"filtered_on_or_after_end\": {after}}}"
        );
        out.extend_from_slice(text.as_bytes());
    }
}

/// The JSON of a field; the last one of repeated keys, as in Python.
pub(super) fn raw_field(raw: &RawJson, key: &str) -> Option<String> {
    let RawEntries(entries) = raw.view().ok()?;
    entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.get().to_owned())
}

/// The text of a field; `None` of another type.
pub(super) fn text_field(raw: &RawJson, key: &str) -> Option<String> {
    serde_json::from_str(&raw_field(raw, key)?).ok()
}

/// Appends the JSON of a row as Python writes it.
pub(super) fn write_row(row: &DatumRecord, out: &mut Vec<u8>) -> Result<(), JsonTextError> {
    match row {
        DatumRecord::Regular(datum) => {
            let view = DatumView {
                job_id: datum.job_id,
                id: datum.id,
                value: datum.value,
                push_timestamp: datum.push_timestamp,
                push_id: datum.push_id,
                revision: datum.revision,
                submit_time: datum.submit_time,
                machine_name: datum.machine_name.as_deref(),
            };
            view.write_python(out);
            Ok(())
        }
        DatumRecord::Irregular(datum) => dumps(datum.raw.as_str(), out, AsciiMode::Escape),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_datum;

    const WINDOW: [&str; 2] = ["2026-07-15T00:00:00Z", "2026-11-08T00:00:00Z"];

    fn judge(semantics: Semantics, pushed: &str, submit_time: &str) -> Verdict {
        let [start, end] = WINDOW.map(|time| time.parse().unwrap());
        let raw = format!(
            r#"{{"job_id":null,"id":1,"value":1.5,"push_timestamp":"{pushed}","push_id":5,"revision":"{}","submit_time":{submit_time},"machine_name":null}}"#,
            "ab".repeat(20)
        );
        WindowTest { window: Window { start, end }, semantics }.judge(&parse_datum(&raw).unwrap())
    }

    #[test]
    fn the_window_has_its_start_and_not_its_end_to_the_microsecond() {
        use Verdict::{After, Before, Kept};
        for semantics in [Semantics::Reference, Semantics::Corrected] {
            for (submitted, expected) in [
                ("2026-07-14T23:59:59.999999", Before),
                ("2026-07-15T00:00:00", Kept),
                ("2026-07-15T00:00:00.000001", Kept),
                ("2026-11-07T23:59:59.999999", Kept),
                ("2026-11-08T00:00:00", After),
                ("2026-11-08T00:00:00.000001", After),
                ("2026-11-08T01:00:00+02:00", Kept),
                ("2026-07-15T00:00:00Z", Kept),
            ] {
                assert_eq!(
                    judge(semantics, "2026-01-01T00:00:00", &format!("\"{submitted}\"")),
                    expected,
                    "{submitted}"
                );
            }
        }
    }

    #[test]
    fn rows_without_a_job_are_kept_by_the_reference_and_judged_by_their_push_by_the_corrected_semantics() {
        use Verdict::{After, Before, KeptUnreadable, KeptWithoutTime};
        for (pushed, corrected) in [
            ("2026-07-14T23:59:59.999999", Before),
            ("2026-07-15T00:00:00", KeptWithoutTime),
            ("2026-11-07T23:59:59", KeptWithoutTime),
            ("2026-11-08T00:00:00", After),
        ] {
            for submit_time in ["null", "\"\"", "\" \\t\""] {
                assert_eq!(judge(Semantics::Reference, pushed, submit_time), KeptWithoutTime, "{submit_time}");
                assert_eq!(judge(Semantics::Corrected, pushed, submit_time), corrected, "{submit_time}");
            }
            for submit_time in ["\"soon\"", "7", "[]"] {
                assert_eq!(judge(Semantics::Reference, pushed, submit_time), KeptUnreadable, "{submit_time}");
            }
        }
    }
}
