//! What failed as a whole is asked in parts: halves of a window, halves of a batch, a list by framework.
//!
//! The server ends every query after 30 seconds, so a slow one fails each time it is asked; half of it may not.

use crate::model::{Batch, Request, Timestamp, Window};

/// The shortest window that is still halved, seconds: two days, so that no part is shorter than a day.
const SHORTEST_SPLIT_SECS: i64 = 2 * 86_400;

/// How a batch is asked in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Split {
    /// The same requests in smaller batches.
    Batches(Vec<Batch>),
    /// Other requests in place of this one; together they ask for the same.
    Requests(Vec<Request>),
    /// It is as small as it gets.
    Indivisible,
}

/// The parts of `batch`.
#[must_use]
pub fn split(batch: &Batch) -> Split {
    match batch.requests() {
        [Request::Summary { signature, window }] => match halves(*window) {
            Some([first, second]) => Split::Requests(vec![
                Request::Summary { signature: *signature, window: first },
                Request::Summary { signature: *signature, window: second },
            ]),
            None => Split::Indivisible,
        },
        // The list by framework needs the frameworks first; what follows from them is decided when they are known.
        [Request::Signatures { framework: None } | Request::UpdatedSignatures { framework: None }] => {
            Split::Requests(vec![Request::Frameworks])
        }
        [Request::Job { .. }, Request::Job { .. }, ..] => {
            let ids: Vec<_> = batch.job_ids().collect();
            let (low, high) = ids.split_at(ids.len() / 2);
            Split::Batches([low, high].into_iter().filter_map(|half| Batch::of_jobs(half.to_vec())).collect())
        }
        _ => Split::Indivisible,
    }
}

/// The two halves of a window, cut at a whole second; `None` when they would be shorter than a day.
fn halves(window: Window) -> Option<[Window; 2]> {
    if window.secs() < SHORTEST_SPLIT_SECS {
        return None;
    }
    let middle = Timestamp::from_secs(window.start.as_secs() + window.secs() / 2);
    Some([Window { start: window.start, end: middle }, Window { start: middle, end: window.end }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, SignatureId};

    fn day(n: i64) -> Timestamp {
        Timestamp::from_secs(n * 86_400)
    }

    fn parts_of(window: Window) -> Vec<Window> {
        match split(&Batch::of(Request::Summary { signature: SignatureId(7), window })) {
            Split::Indivisible => vec![window],
            Split::Requests(requests) => requests
                .into_iter()
                .flat_map(|request| match request {
                    Request::Summary { signature: SignatureId(7), window } => parts_of(window),
                    other => panic!("{other}"),
                })
                .collect(),
            Split::Batches(batches) => panic!("{batches:?}"),
        }
    }

    #[test]
    fn halving_down_to_the_end_leaves_adjoining_windows_of_at_least_a_day() {
        let parts = parts_of(Window { start: day(3), end: day(150) });
        assert!(parts.len() > 64);
        assert_eq!((parts[0].start, parts[parts.len() - 1].end), (day(3), day(150)));
        assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(parts.iter().all(|part| (86_400..2 * 86_400).contains(&part.secs())));
    }

    #[test]
    fn a_batch_of_jobs_is_halved_until_one_is_left() {
        let batch = Batch::of_jobs((1..=5).map(JobId).collect()).unwrap();
        let Split::Batches(halves) = split(&batch) else { panic!() };
        assert_eq!(halves.iter().map(|half| half.requests().len()).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(split(&Batch::of(Request::Job { id: JobId(1) })), Split::Indivisible);
    }

    #[test]
    fn a_signature_list_is_asked_by_framework() {
        assert_eq!(
            split(&Batch::of(Request::Signatures { framework: None })),
            Split::Requests(vec![Request::Frameworks])
        );
    }
}
