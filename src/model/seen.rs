//! The harvests that saw a datum.

/// The harvests whose answers had a datum, and marks of what the server has forgotten since. The datum itself stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// Number of the first harvest whose answer had the datum; harvests count from 1.
    pub first: u16,
    /// Number of the last harvest whose answer had the datum. A later one may not have asked for it.
    pub last: u16,
    /// The server has deleted the job since: the job fields are kept from an earlier answer.
    pub job_expired: bool,
    /// A later answer for the time of the datum lacked it.
    pub unlisted: bool,
}

impl Seen {
    /// Of a datum that one harvest saw.
    #[must_use]
    pub const fn once(harvest: u16) -> Self {
        Self { first: harvest, last: harvest, job_expired: false, unlisted: false }
    }
}
