//! `failures`: lists the failed requests and the reasons.

use clap::Args;
use serde::Serialize;

use super::flags::{Configured, FileFlags, LogFlags, StoreFlags, configured};
use super::reading::open_to_read;
use super::terminal::print;
use crate::Error;
use crate::model::{JobId, Kind, Request, SignatureId, Timestamp};
use crate::observe::counted;
use crate::store::{Failure, StoreError};

#[derive(Debug, Args)]
pub(super) struct FailuresArgs {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
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
            | Request::UpdatedSignatures { .. } => (None, None),
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
            text.push_str(&format!("{request}: {reason} ({attempts}, last at {failed_at})\n"));
        }
    }
    if text.is_empty() && !args.json {
        text.push_str("no failed requests\n");
    }
    print(&text)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

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
