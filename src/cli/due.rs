//! The line about jobs that the server is about to delete; `plan` and `status` end with it.

use crate::observe::DueJobs;

pub(super) fn due_line(due: &DueJobs) -> String {
    format!(
        "sampled jobs still to fetch that the server deletes within 1, 7, 30 days: {}, {}, {}\n",
        due.within_1_day, due.within_7_days, due.within_30_days
    )
}
