//! Which signatures a pass goes over: those whose data are all there, each with its windows, in blocks.

use std::collections::BTreeSet;

use crate::model::{Request, SignatureId};
use crate::store::{SettledSummary, Store, StoreError};

/// Data per block, about: some 1 MB of text.
const DATA_PER_BLOCK: u64 = 4096;
/// Signatures per block at the most, for signatures with little data.
const SIGNATURES_PER_BLOCK: usize = 256;

/// The windows of one signature, in order; one, unless its window was asked in parts.
pub(crate) type SignatureParts = Vec<SettledSummary>;

/// The signatures whose data are all there. Those that are pending or failed, in any part, are left out: half of their
/// data would look like all of it.
pub(crate) fn complete_signatures(store: &Store) -> Result<Vec<SignatureParts>, StoreError> {
    let signature_of = |request: Request| match request {
        Request::Summary { signature, .. } => Some(signature),
        _ => None,
    };
    let mut incomplete: BTreeSet<SignatureId> = BTreeSet::new();
    for pending in store.pending() {
        incomplete.extend(signature_of(pending?.request));
    }
    for failure in store.failures() {
        incomplete.extend(signature_of(failure?.0));
    }
    signature_parts(store.settled_summaries(), |signature| incomplete.contains(&signature))
}

fn signature_parts(
    summaries: impl Iterator<Item = Result<SettledSummary, StoreError>>,
    incomplete: impl Fn(SignatureId) -> bool,
) -> Result<Vec<SignatureParts>, StoreError> {
    let mut signatures: Vec<SignatureParts> = Vec::new();
    for summary in summaries {
        let summary = summary?;
        if incomplete(summary.signature) {
            continue;
        }
        match signatures.last_mut() {
            Some(parts) if parts[0].signature == summary.signature => parts.push(summary),
            _ => signatures.push(vec![summary]),
        }
    }
    Ok(signatures)
}

/// Deals the signatures out in blocks of about the same number of data.
pub(super) fn blocks_of(signatures: &[SignatureParts]) -> Vec<&[SignatureParts]> {
    let mut blocks = Vec::new();
    let (mut start, mut data) = (0, 0);
    for (at, parts) in signatures.iter().enumerate() {
        data += parts.iter().map(|part| u64::from(part.settled.num_records)).sum::<u64>();
        if data >= DATA_PER_BLOCK || at + 1 - start >= SIGNATURES_PER_BLOCK {
            blocks.push(&signatures[start..=at]);
            (start, data) = (at + 1, 0);
        }
    }
    if start < signatures.len() {
        blocks.push(&signatures[start..]);
    }
    blocks
}
