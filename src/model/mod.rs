//! The vocabulary: plain data of Perfherder and of a crawl, without I/O and without async.
//!
//! Every other folder imports this one; it imports none. Records that must be returned unchanged ([`RawJson`]) keep the
//! server's text; typed views exist beside the text, never instead of it.

mod accept;
mod alert_status;
mod asked_page;
mod commit;
mod datum;
mod datum_fields;
mod datum_parse;
mod datum_scan;
mod datum_text;
mod given_time;
mod ids;
mod nearest;
mod pieces;
mod printable;
mod raw_json;
mod records;
mod request;
mod revision;
mod sample;
mod seen;
mod timestamp;
mod window;

pub(crate) use accept::MAX_RECORD_BYTES;
pub use accept::{Accepted, MAX_RECORD_DEPTH, OddRecord, Refusal, accept, exact_id, exact_integer, stand_in};
pub use alert_status::AlertStatus;
pub use asked_page::{AskedPage, LAST_ROWS};
pub use commit::{CommitHash, CommitRecord, ParseCommitHashError};
pub use datum::{Datum, DatumRecord, IrregularDatum, api_order, bring_rows_to_api_order, bring_to_api_order};
pub use datum_fields::{DatumFields, Submission};
pub use datum_parse::parse_datum;
pub use datum_scan::{Spacing, scan_data, scan_datum};
pub use datum_text::DatumView;
pub use given_time::{GivenTime, ParseGivenTimeError};
pub use ids::{AlertSummaryId, DatumId, FrameworkId, JobId, PushId, SignatureId};
pub(crate) use nearest::{did_you_mean, nearest_names};
pub(crate) use pieces::{Fault, Pieces};
pub use printable::{is_unprintable, printable, printable_lines};
pub(crate) use raw_json::text_of;
pub use raw_json::{RawEntries, RawJson};
pub use records::{AlertSummary, Job, JobTimes, Signature, Sorted, Summary};
pub use request::{Batch, FIRST_HARVEST, Kind, NUM_KINDS, Request};
pub use revision::{ParseRevisionError, PushRevisions, Revision};
pub use sample::{corrected_sample, reference_sample, sampled_jobs};
pub use seen::Seen;
pub use timestamp::{ParseTimestampError, Timestamp};
pub use window::Window;
