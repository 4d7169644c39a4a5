//! `failures`: lists the failed requests and the records that were set aside, with the reasons.

use clap::Args;
use serde::Serialize;

use super::flags::{Configured, FileFlags, LogFlags, StoreFlags, configured};
use super::reading::open_to_read;
use super::terminal::print;
use crate::Error;
use crate::model::{JobId, Kind, Request, SignatureId, Timestamp, printable};
use crate::observe::counted;
use crate::store::{Failure, SetAside, StoreError};

#[derive(Debug, Args)]
pub(super) struct FailuresArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Also list the records that were stored with a correction
    #[arg(long)]
    corrected: bool,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(FailuresArgs: store, log);

/// One line of `--json`.
#[derive(Serialize)]
struct JsonLine<'a> {
    request: String,
    kind: Kind,
    signature_id: Option<SignatureId>,
    job_id: Option<JobId>,
    reason: &'a str,
    label: &'a str,
    status: Option<u16>,
    attempts: u32,
    failed_at: Timestamp,
    /// When the job was submitted, if known.
    submitted: Option<Timestamp>,
}

impl<'a> JsonLine<'a> {
    fn of(request: &Request, failure: &'a Failure) -> Self {
        let (signature_id, job_id) = match *request {
            Request::Summary { signature, .. } => (Some(signature), None),
            Request::Job { id } => (None, Some(id)),
            Request::AlertPage { .. }
            | Request::Frameworks
            | Request::Signatures { .. }
            | Request::UpdatedSignatures { .. }
            | Request::MovedSignatures { .. } => (None, None),
        };
        let Failure { reason, label, status, attempts, failed_at, submitted } = failure;
        Self {
            request: request.to_string(),
            kind: request.kind(),
            signature_id,
            job_id,
            reason,
            label,
            status: *status,
            attempts: *attempts,
            failed_at: *failed_at,
            submitted: Some(*submitted).filter(|submitted| *submitted > Timestamp::default()),
        }
    }
}

/// One line of `--json` for a record that was not stored as it came.
#[derive(Serialize)]
struct OddLine<'a> {
    request: String,
    kind: Kind,
    /// The record's id; `None` if it has none.
    record_id: Option<u64>,
    /// `set_aside` or `corrected`.
    label: &'static str,
    reason: &'a str,
    fetched_at: Timestamp,
    /// The record as it came.
    text: &'a str,
}

impl<'a> OddLine<'a> {
    fn of(request: &Request, record: u64, odd: &'a SetAside) -> Self {
        Self {
            request: request.to_string(),
            kind: request.kind(),
            record_id: i64::try_from(record).is_ok().then_some(record),
            label: if odd.corrected { "corrected" } else { "set_aside" },
            reason: &odd.reason,
            fetched_at: odd.fetched_at,
            text: &odd.text,
        }
    }

    fn for_people(&self) -> String {
        /// Longest excerpt of a record.
        const EXCERPT: usize = 200;
        let record = self.record_id.map_or_else(|| "a record without an id".to_owned(), |id| format!("record {id}"));
        let state = if self.label == "corrected" { "corrected" } else { "set aside" };
        let text = printable(self.text, EXCERPT);
        format!("{}, {record}: {state}: {} (fetched at {}): {text}\n", self.request, self.reason, self.fetched_at)
    }
}

pub(super) fn run(args: &FailuresArgs) -> Result<u8, Error> {
    let config = args.start()?;
    let store = open_to_read(&config.store)?;
    let mut text = String::new();
    for failed in store.failures() {
        let (request, failure) = failed?;
        if args.json {
            text.push_str(
                &serde_json::to_string(&JsonLine::of(&request, &failure))
                    .map_err(|source| StoreError::Encode { source })?,
            );
            text.push('\n');
        } else {
            let Failure { reason, attempts, failed_at, .. } = &failure;
            let attempts = counted(u64::from(*attempts), "attempt", "attempts");
            let line = format!("{request}: {reason} ({attempts}, last at {failed_at})");
            text.push_str(&(printable(&line, usize::MAX) + "\n"));
        }
    }
    for odd in store.set_aside() {
        let (request, record, odd) = odd?;
        let line = OddLine::of(&request, record, &odd);
        if odd.corrected && !args.corrected {
            continue;
        }
        if args.json {
            text.push_str(&serde_json::to_string(&line).map_err(|source| StoreError::Encode { source })?);
            text.push('\n');
        } else {
            text.push_str(&line.for_people());
        }
    }
    if text.is_empty() && !args.json {
        text.push_str("no failed requests, and no records set aside\n");
    }
    print(&text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_set_aside_is_shown_with_its_text_and_without_control_characters() {
        let odd = SetAside {
            reason: "r".to_owned(),
            text: "{\"a\":\"\u{1b}[31m\"".to_owned(),
            corrected: false,
            fetched_at: Timestamp::from_secs(1),
        };
        let line = OddLine::of(&Request::Signatures { framework: None }, 7, &odd);
        let shown = line.for_people();
        assert!(shown.starts_with("signatures, record 7: set aside: r (fetched at 1970-01-01T00:00:01Z): "), "{shown}");
        assert!(!shown.trim_end().chars().any(char::is_control), "{shown}");
        let odd = SetAside { corrected: true, ..odd };
        let line = OddLine::of(&Request::Frameworks, u64::MAX, &odd);
        let json = serde_json::to_value(line).unwrap();
        assert!(json["record_id"].is_null() && json["label"] == "corrected", "{json}");
    }

    #[test]
    fn a_line_names_kind_and_id_and_does_not_invent_a_time() {
        let mut failure = Failure {
            reason: "r".to_owned(),
            label: "timeout".to_owned(),
            status: None,
            attempts: 5,
            failed_at: Timestamp::from_secs(1),
            submitted: Timestamp::default(),
        };
        let line = |request: Request, failure: &Failure| serde_json::to_value(JsonLine::of(&request, failure)).unwrap();
        let job = line(Request::Job { id: JobId(7) }, &failure);
        assert_eq!((&job["kind"], &job["job_id"]), (&"job_details".into(), &7.into()));
        assert!(job["submitted"].is_null() && job["signature_id"].is_null(), "{job}");
        failure.submitted = Timestamp::from_secs(2);
        assert!(line(Request::Frameworks, &failure)["submitted"].is_string());
    }
}
