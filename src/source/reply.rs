//! A server's answers as records of the model.

use crate::model::{AlertSummary, FrameworkId, Job, OddRecord, RawJson, Signature, SignatureId, Sorted, Summary};

/// Receives the signatures of a list as they arrive, in no defined order and a few thousand at a time: there may be
/// 10^5, so the receiver need not keep all of each. They count only if the reply is complete.
pub(crate) type SignatureSink = Box<dyn FnMut(Vec<Signature>) + Send>;

/// A server's answer, as records.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// A page of alert summaries.
    AlertPage {
        /// Summaries in the whole list, as the server counted them for this page.
        count: u64,
        /// The summaries on this page, as listed.
        records: Sorted<AlertSummary>,
    },
    /// The enabled frameworks.
    Frameworks {
        /// Their ids.
        ids: Vec<FrameworkId>,
        /// The list as sent.
        list: RawJson,
    },
    /// Signatures, handed to the [`SignatureSink`].
    Signatures {
        /// Those that were corrected or set aside.
        odd: Vec<OddRecord>,
    },
    /// The ids of the signatures with data at or after an instant.
    UpdatedSignatures(Vec<SignatureId>),
    /// The data of one signature.
    Summary(Summary),
    /// The jobs of the batch that the server still has. The others are gone.
    Jobs(Sorted<Job>),
}
