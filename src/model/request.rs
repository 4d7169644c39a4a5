//! The unit of work and its stable key.
//!
//! A key is the same in every run: the kind, then the API's own id or the window, big-endian, so that keys sort as ids. A
//! pending request is asked; a settled request is never asked again.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::asked_page::{AskedPage, LAST_ROWS};
use super::{FrameworkId, JobId, SignatureId, Timestamp, Window};

/// The kinds of requests. Each has its own pool of fetchers, with its own mailbox and concurrency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Pages of alert summaries.
    Alerts,
    /// Signature lists, and the list of frameworks for them.
    Signatures,
    /// The data of one signature.
    Summaries,
    /// Job details.
    JobDetails,
    /// The data of one signature, with the replicates in the place of the values.
    Replicates,
}

impl Kind {
    /// All kinds, in the order of the flow. Stored tallies depend on the order.
    pub const ALL: [Self; NUM_KINDS] =
        [Self::Alerts, Self::Signatures, Self::Summaries, Self::JobDetails, Self::Replicates];

    /// Those of a crawl whose scope leaves out replicates.
    pub const WITHOUT_REPLICATES: &'static [Self] =
        &[Self::Alerts, Self::Signatures, Self::Summaries, Self::JobDetails];

    /// The name in messages, metrics and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Alerts => "alerts",
            Self::Signatures => "signatures",
            Self::Summaries => "summaries",
            Self::JobDetails => "job_details",
            Self::Replicates => "replicates",
        }
    }

    /// Index in [`Kind::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Number of [`Kind`]s.
pub const NUM_KINDS: usize = 5;

/// Number of the harvest that fills a store; later ones bring it up to date.
pub const FIRST_HARVEST: u16 = 1;

/// A unit of work, settled once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// A page of the alert summaries, in one pass over all pages. If a pass has several pages, page 1 is asked again at its
    /// end, as page 0, and so are the last rows of the others, from [`LAST_ROWS`] on, to detect rows that shifted meanwhile.
    AlertPage {
        /// Number of the pass over the list, from 0.
        pass: u16,
        /// Number of the page, from 1; 0 is the second look at page 1, `LAST_ROWS + n` the second look at the last row of
        /// page n.
        page: u32,
    },
    /// The enabled frameworks.
    Frameworks,
    /// The signatures of the repository, or those of one framework.
    Signatures {
        /// `None`: the whole list.
        framework: Option<FrameworkId>,
    },
    /// Signatures whose newest datum is at or after the start of the data window.
    UpdatedSignatures {
        /// `None`: all frameworks.
        framework: Option<FrameworkId>,
    },
    /// Signatures whose newest datum is at or after a time: those that moved since the end of the harvest before. The list
    /// of signatures does not tell when each had its newest datum.
    MovedSignatures {
        /// The end of the data of the harvest before.
        since: Timestamp,
    },
    /// The data of one signature in one window.
    Summary {
        /// Whose data are requested.
        signature: SignatureId,
        /// Number of the harvest that asks, from 1; of stored data that were joined, the last one that asked.
        harvest: u16,
        /// The whole data window, the part of it that a later harvest asks for, or a part of these if the whole is too large
        /// for one reply.
        window: Window,
        /// One row per replicate, without the data's own values; a datum without replicates has one row with its value.
        replicates: bool,
    },
    /// The details of one job.
    Job {
        /// Whose details are requested.
        id: JobId,
    },
}

impl Request {
    /// Its kind, whose fetchers ask it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::AlertPage { .. } => Kind::Alerts,
            Self::Frameworks
            | Self::Signatures { .. }
            | Self::UpdatedSignatures { .. }
            | Self::MovedSignatures { .. } => Kind::Signatures,
            Self::Summary { replicates: false, .. } => Kind::Summaries,
            Self::Summary { replicates: true, .. } => Kind::Replicates,
            Self::Job { .. } => Kind::JobDetails,
        }
    }

    /// The stable key of the request.
    #[must_use]
    pub fn key(&self) -> Vec<u8> {
        let mut key = Vec::with_capacity(27);
        match self {
            Self::AlertPage { pass, page } => {
                key.push(b'a');
                key.extend_from_slice(&pass.to_be_bytes());
                key.extend_from_slice(&page.to_be_bytes());
            }
            Self::Frameworks => key.push(b'f'),
            Self::Signatures { framework } => {
                key.push(b'g');
                push_framework(&mut key, *framework);
            }
            Self::UpdatedSignatures { framework } => {
                key.push(b'u');
                push_framework(&mut key, *framework);
            }
            Self::MovedSignatures { since } => {
                key.push(b'n');
                push_instant(&mut key, *since);
            }
            Self::Summary { signature, harvest, window, replicates } => {
                key.push(Self::summary_letter(*replicates));
                key.extend_from_slice(&signature.0.to_be_bytes());
                key.extend_from_slice(&harvest.to_be_bytes());
                push_instant(&mut key, window.start);
                push_instant(&mut key, window.end);
            }
            Self::Job { id } => {
                key.push(b'j');
                key.extend_from_slice(&id.0.to_be_bytes());
            }
        }
        key
    }

    /// True for a part of a window that was split, in a crawl of `data_window`; false for the window that a harvest asks for
    /// at first. A later harvest asks from a time on that depends on the signature, up to the end of the window.
    #[must_use]
    pub fn is_part(&self, data_window: Window) -> bool {
        match self {
            Self::Summary { harvest: FIRST_HARVEST, window, .. } => *window != data_window,
            Self::Summary { window, .. } => window.end != data_window.end,
            _ => false,
        }
    }

    /// First byte of the keys of summaries. Those with replicates come behind the others.
    #[must_use]
    pub fn summary_letter(replicates: bool) -> u8 {
        if replicates { b't' } else { b's' }
    }

    /// Common prefix of the keys of a signature's summaries.
    #[must_use]
    pub fn summaries_prefix(signature: SignatureId, replicates: bool) -> Vec<u8> {
        let mut prefix = vec![Self::summary_letter(replicates)];
        prefix.extend_from_slice(&signature.0.to_be_bytes());
        prefix
    }

    /// The request with this key; `None` for other bytes.
    #[must_use]
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (&kind, rest) = key.split_first()?;
        match (kind, rest.len()) {
            (b'a', 6) => Some(Self::AlertPage {
                pass: u16::from_be_bytes(rest[..2].try_into().ok()?),
                page: u32::from_be_bytes(rest[2..].try_into().ok()?),
            }),
            (b'f', 0) => Some(Self::Frameworks),
            (b'g', 0) => Some(Self::Signatures { framework: None }),
            (b'g', 8) => Some(Self::Signatures { framework: Some(framework(rest)?) }),
            (b'u', 0) => Some(Self::UpdatedSignatures { framework: None }),
            (b'u', 8) => Some(Self::UpdatedSignatures { framework: Some(framework(rest)?) }),
            (b'n', 8) => Some(Self::MovedSignatures { since: instant(rest)? }),
            (b's' | b't', 26) => Some(Self::Summary {
                signature: SignatureId(u64::from_be_bytes(rest[..8].try_into().ok()?)),
                harvest: u16::from_be_bytes(rest[8..10].try_into().ok()?),
                window: Window { start: instant(&rest[10..18])?, end: instant(&rest[18..])? },
                replicates: kind == Self::summary_letter(true),
            }),
            (b'j', 8) => Some(Self::Job { id: JobId(u64::from_be_bytes(rest.try_into().ok()?)) }),
            _ => None,
        }
    }
}

fn push_framework(key: &mut Vec<u8>, framework: Option<FrameworkId>) {
    if let Some(id) = framework {
        key.extend_from_slice(&id.0.to_be_bytes());
    }
}

fn framework(bytes: &[u8]) -> Option<FrameworkId> {
    Some(FrameworkId(u64::from_be_bytes(bytes.try_into().ok()?)))
}

/// With a flipped sign bit, so that instants before 1970 sort before later ones.
fn push_instant(key: &mut Vec<u8>, at: Timestamp) {
    key.extend_from_slice(&(at.as_micros() ^ i64::MIN).to_be_bytes());
}

fn instant(bytes: &[u8]) -> Option<Timestamp> {
    Some(Timestamp::from_micros(i64::from_be_bytes(bytes.try_into().ok()?) ^ i64::MIN))
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlertPage { pass, page: 0 } => write!(f, "alert summaries, pass {pass}, second look at page 1"),
            Self::AlertPage { pass, page: page @ LAST_ROWS.. } => {
                write!(f, "alert summaries, pass {pass}, second look at the last row of page {}", page - LAST_ROWS)
            }
            Self::AlertPage { pass, page } => write!(f, "alert summaries, pass {pass}, page {page}"),
            Self::Frameworks => f.write_str("frameworks"),
            Self::Signatures { framework: None } => f.write_str("signatures"),
            Self::Signatures { framework: Some(id) } => write!(f, "signatures of framework {id}"),
            Self::UpdatedSignatures { framework: None } => f.write_str("updated signatures"),
            Self::UpdatedSignatures { framework: Some(id) } => write!(f, "updated signatures of framework {id}"),
            Self::MovedSignatures { since } => write!(f, "signatures with data since {since}"),
            Self::Summary { signature, harvest, window, replicates } => {
                let rows = if *replicates { "replicates" } else { "summary" };
                write!(f, "{rows} of signature {signature} in {window}")?;
                if *harvest == FIRST_HARVEST { Ok(()) } else { write!(f, ", harvest {harvest}") }
            }
            Self::Job { id } => write!(f, "job {id}"),
        }
    }
}

/// The content of one HTTP request: one request, many jobs, or some rows of a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    requests: Vec<Request>,
    /// The rows of alert summaries to ask for, where that is decided.
    rows: Option<AskedPage>,
}

impl Batch {
    /// A single request.
    #[must_use]
    pub fn of(request: Request) -> Self {
        Self { requests: vec![request], rows: None }
    }

    /// The page of alert summaries of `request`, or a part of it.
    #[must_use]
    pub fn of_rows(request: Request, rows: AskedPage) -> Self {
        Self { requests: vec![request], rows: Some(rows) }
    }

    /// Jobs, in ascending order of their ids. `None` for no jobs.
    #[must_use]
    pub fn of_jobs(mut ids: Vec<JobId>) -> Option<Self> {
        ids.sort_unstable();
        ids.dedup();
        let requests: Vec<Request> = ids.into_iter().map(|id| Request::Job { id }).collect();
        (!requests.is_empty()).then_some(Self { requests, rows: None })
    }

    /// The requests; at least one, all of one kind.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Its kind, whose fetchers ask it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.requests[0].kind()
    }

    /// The rows of alert summaries to ask for; `None` for other kinds, and for a page whose size is not decided.
    #[must_use]
    pub fn rows(&self) -> Option<AskedPage> {
        self.rows
    }

    /// The ids of the jobs; empty for other kinds.
    pub fn job_ids(&self) -> impl Iterator<Item = JobId> {
        self.requests.iter().filter_map(|request| match request {
            Request::Job { id } => Some(*id),
            _ => None,
        })
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.requests.as_slice() {
            [first, .., last] => write!(f, "{} jobs, {first} to {last}", self.requests.len()),
            [one] => match self.rows {
                None => one.fmt(f),
                Some(rows @ AskedPage { limit: 1, .. }) => write!(f, "{one} (row {})", rows.rows_before() + 1),
                Some(rows) => {
                    let before = rows.rows_before();
                    write!(f, "{one} (rows {} to {})", before + 1, before + u64::from(rows.limit))
                }
            },
            [] => f.write_str("nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_request() -> impl Strategy<Value = Request> {
        let framework = || proptest::option::of(any::<u64>().prop_map(FrameworkId));
        prop_oneof![
            (any::<u16>(), any::<u32>()).prop_map(|(pass, page)| Request::AlertPage { pass, page }),
            Just(Request::Frameworks),
            framework().prop_map(|framework| Request::Signatures { framework }),
            framework().prop_map(|framework| Request::UpdatedSignatures { framework }),
            any::<i64>().prop_map(|micros| Request::MovedSignatures { since: Timestamp::from_micros(micros) }),
            any::<(u64, u16, i64, i64, bool)>().prop_map(|(id, harvest, start, end, replicates)| {
                Request::Summary {
                    signature: SignatureId(id),
                    harvest,
                    window: Window { start: Timestamp::from_micros(start), end: Timestamp::from_micros(end) },
                    replicates,
                }
            }),
            any::<u64>().prop_map(|id| Request::Job { id: JobId(id) }),
        ]
    }

    proptest! {
        #[test]
        fn a_request_comes_back_from_its_key(request in any_request()) {
            prop_assert_eq!(Request::from_key(&request.key()), Some(request));
        }

        #[test]
        fn the_order_of_keys_is_the_order_of_ids_and_windows(a in any_request(), b in any_request()) {
            if a.kind() == b.kind() && std::mem::discriminant(&a) == std::mem::discriminant(&b) {
                prop_assert_eq!(a.key().cmp(&b.key()), a.cmp(&b));
            }
        }

        #[test]
        fn bytes_are_not_a_request_or_exactly_its_key(bytes in proptest::collection::vec(any::<u8>(), 0..30)) {
            if let Some(request) = Request::from_key(&bytes) {
                prop_assert_eq!(request.key(), bytes);
            }
        }
    }
}
