//! Splitting a request that failed as a whole: halves of a window or of a batch, smaller pages, a list by framework.
//!
//! The server ends every query after 30 seconds, so a slow one fails every time; half of it may succeed. When a length of
//! window is known to work, a longer window is cut into parts of that length at once.

use crate::model::{AskedPage, Batch, JobId, Request, Timestamp, Window};

/// No part of a window is shorter, seconds.
const SHORTEST_PART_SECS: i64 = 86_400;

/// The parts of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// The same requests in smaller batches; of a page, its rows in smaller pages.
    Batches(Vec<Batch>),
    /// Other requests, which together ask for the same.
    Requests(Vec<Request>),
    /// It cannot be smaller.
    Indivisible,
}

/// The parts of `batch`: halves, or windows of at most `longest_window_secs` when windows of that length are known to
/// work.
#[must_use]
pub fn split(batch: &Batch, longest_window_secs: Option<i64>) -> Split {
    match batch.requests() {
        [Request::Summary { signature, harvest, window, replicates }] => {
            let parts = parts_of(*window, longest_window_secs);
            if parts.len() < 2 {
                return Split::Indivisible;
            }
            let request =
                |window| Request::Summary { signature: *signature, harvest: *harvest, window, replicates: *replicates };
            Split::Requests(parts.into_iter().map(request).collect())
        }
        // The lists by framework follow when the frameworks are known.
        [Request::Signatures { framework: None } | Request::UpdatedSignatures { framework: None }] => {
            Split::Requests(vec![Request::Frameworks])
        }
        [Request::Job { .. }, Request::Job { .. }, ..] => {
            Split::Batches(batches_of(batch, batch.requests().len().div_ceil(2)))
        }
        [page @ Request::AlertPage { .. }] => {
            let parts = batch.rows().map_or_else(Vec::new, AskedPage::parts);
            if parts.is_empty() {
                return Split::Indivisible;
            }
            Split::Batches(parts.into_iter().map(|rows| Batch::of_rows(*page, rows)).collect())
        }
        _ => Split::Indivisible,
    }
}

/// The jobs of `batch` in batches of at most `most`, evenly filled.
#[must_use]
pub(crate) fn batches_of(batch: &Batch, most: usize) -> Vec<Batch> {
    let ids: Vec<JobId> = batch.job_ids().collect();
    let num_batches = ids.len().div_ceil(most.max(1)).max(1);
    let size = ids.len().div_ceil(num_batches).max(1);
    ids.chunks(size).filter_map(|chunk| Batch::of_jobs(chunk.to_vec())).collect()
}

/// Adjoining parts of a window, cut at whole seconds: two, or as many as make each at most `longest_secs` long, but none
/// shorter than a day.
fn parts_of(window: Window, longest_secs: Option<i64>) -> Vec<Window> {
    let secs = window.secs();
    let wanted = longest_secs.map_or(2, |longest| (secs + longest.max(1) - 1) / longest.max(1)).max(2);
    let num = wanted.min(secs / SHORTEST_PART_SECS).max(1);
    let cut = |number: i64| match number {
        0 => window.start,
        number if number == num => window.end,
        number => Timestamp::from_secs(window.start.as_secs() + secs / num * number + secs % num * number / num),
    };
    (0..num).map(|number| Window { start: cut(number), end: cut(number + 1) }).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::SignatureId;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_secs(n * 86_400)
    }

    fn halved_to_the_end(window: Window) -> Vec<Window> {
        match split(
            &Batch::of(Request::Summary { signature: SignatureId(7), harvest: 1, window, replicates: true }),
            None,
        ) {
            Split::Indivisible => vec![window],
            Split::Requests(requests) => requests
                .into_iter()
                .flat_map(|request| match request {
                    Request::Summary { signature: SignatureId(7), harvest: 1, window, replicates: true } => {
                        halved_to_the_end(window)
                    }
                    other => panic!("{other}"),
                })
                .collect(),
            Split::Batches(batches) => panic!("{batches:?}"),
        }
    }

    #[test]
    fn halving_down_to_the_end_leaves_adjoining_windows_of_at_least_a_day() {
        let parts = halved_to_the_end(Window { start: day(3), end: day(150) });
        assert!(parts.len() > 64);
        assert_eq!((parts[0].start, parts[parts.len() - 1].end), (day(3), day(150)));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(parts.iter().all(|part| (86_400..2 * 86_400).contains(&part.secs())));
    }

    #[test]
    fn a_batch_of_jobs_is_halved_until_one_is_left() {
        let batch = Batch::of_jobs((1..=5).map(JobId).collect()).unwrap();
        let Split::Batches(halves) = split(&batch, None) else { panic!() };
        assert_eq!(halves.iter().map(|half| half.requests().len()).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(split(&Batch::of(Request::Job { id: JobId(1) }), None), Split::Indivisible);
    }

    proptest! {
        #[test]
        fn parts_adjoin_cover_the_window_and_are_a_day_or_longer(
            start in 0_i64..2_000_000_000, secs in 1_i64..400 * 86_400, micros in 0_i64..1_000_000,
            longest in proptest::option::of(-5_i64..400 * 86_400),
        ) {
            let start = Timestamp::from_micros(start * 1_000_000 + micros);
            let window = Window { start, end: start.plus_secs(secs) };
            let parts = parts_of(window, longest);
            prop_assert_eq!((parts[0].start, parts[parts.len() - 1].end), (window.start, window.end));
            prop_assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
            if parts.len() > 1 {
                prop_assert!(parts.iter().all(|part| part.secs() >= SHORTEST_PART_SECS));
            } else {
                prop_assert!(secs < 2 * SHORTEST_PART_SECS);
            }
            if let Some(longest) = longest && longest >= 2 * SHORTEST_PART_SECS {
                prop_assert!(parts.len() == 1 || parts.iter().all(|part| part.secs() <= longest + 1));
            }
        }

        #[test]
        fn batches_hold_every_job_once_and_no_more_than_allowed(num in 1_u64..500, most in 0_usize..400) {
            let batch = Batch::of_jobs((0..num).map(JobId).collect()).unwrap();
            let batches = batches_of(&batch, most);
            let ids: Vec<JobId> = batches.iter().flat_map(Batch::job_ids).collect();
            prop_assert_eq!(ids, batch.job_ids().collect::<Vec<_>>());
            prop_assert!(batches.iter().all(|part| part.requests().len() <= most.max(1)));
        }
    }

    #[test]
    fn a_signature_list_is_asked_by_framework() {
        assert_eq!(
            split(&Batch::of(Request::Signatures { framework: None }), None),
            Split::Requests(vec![Request::Frameworks])
        );
    }
}
