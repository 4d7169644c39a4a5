//! `failures`: what was given up for now, and why.

use serde::Serialize;

use super::{Common, FailuresArgs, print};
use crate::Error;
use crate::model::{JobId, Kind, Request, SignatureId, Timestamp};
use crate::store::{Failure, Store, StoreError};

/// A line of the JSON.
#[derive(Serialize)]
struct Line<'a> {
    request: String,
    kind: Kind,
    signature_id: Option<SignatureId>,
    job_id: Option<JobId>,
    reason: &'a str,
    label: &'a str,
    status: Option<u16>,
    attempts: u32,
    failed_at: Timestamp,
    /// Of a job, when it was submitted, where that is known.
    submitted: Option<Timestamp>,
}

impl<'a> Line<'a> {
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

pub(super) fn run(common: &Common<FailuresArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let store = Store::open_existing(&config.store)?;
    let mut text = String::new();
    for failed in store.failures() {
        let (request, failure) = failed?;
        if common.own.json {
            text.push_str(
                &serde_json::to_string(&Line::of(&request, &failure))
                    .map_err(|source| StoreError::Encode { source })?,
            );
            text.push('\n');
        } else {
            let Failure { reason, attempts, failed_at, .. } = &failure;
            text.push_str(&format!("{request}: {reason} ({attempts} attempts, last {failed_at})\n"));
        }
    }
    if text.is_empty() && !common.own.json {
        text.push_str("nothing has failed\n");
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
        let line = |request: Request, failure: &Failure| serde_json::to_value(Line::of(&request, failure)).unwrap();
        let job = line(Request::Job { id: JobId(7) }, &failure);
        assert_eq!((&job["kind"], &job["job_id"]), (&"job_details".into(), &7.into()));
        assert!(job["submitted"].is_null() && job["signature_id"].is_null(), "{job}");
        failure.submitted = Timestamp::from_secs(2);
        assert!(line(Request::Frameworks, &failure)["submitted"].is_string());
    }
}
