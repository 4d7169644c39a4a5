//! `failures`: what was given up for now, and why.

use serde::Serialize;

use super::{Common, FailuresArgs, print};
use crate::Error;
use crate::store::{Failure, Store, StoreError};

#[derive(Serialize)]
struct Line<'a> {
    request: String,
    #[serde(flatten)]
    failure: &'a Failure,
}

pub(super) fn run(common: &Common<FailuresArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let store = Store::open_existing(&config.store)?;
    let mut text = String::new();
    for failed in store.failures() {
        let (request, failure) = failed?;
        if common.own.json {
            let line = Line { request: request.to_string(), failure: &failure };
            text.push_str(&serde_json::to_string(&line).map_err(|source| StoreError::Encode { source })?);
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
