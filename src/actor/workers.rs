//! Shares numbered work among threads, and orders their results.
//!
//! [`deal`] numbers items and sends them to workers through a bounded mailbox. Each item has a [`Ticket`], which the
//! receiver of the result drops; until then the item is in flight, and the number of items in flight is bounded.
//! [`InOrder`] returns results in the order of their items. Promises: memory is bounded, and the sequence of results
//! does not depend on the number of workers.

use std::collections::BTreeMap;
use std::iter::FusedIterator;

/// Why [`deal`] stopped early.
#[derive(Debug)]
pub(crate) enum DealError<E> {
    /// An item could not be made, or a worker failed; the first such error.
    Failed(E),
    /// A worker panicked.
    Panicked,
    /// The system refused a thread.
    Thread(std::io::Error),
}

/// An item in flight. Dropping it makes room for another one.
#[derive(Debug)]
pub(crate) struct Ticket {
    /// Read by the dealer; has room for all tickets, so that dropping one never blocks.
    returned: flume::Sender<Signal>,
}

#[derive(Debug, PartialEq, Eq)]
enum Signal {
    TicketReturned,
    WorkerEnded,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let _dealer_may_have_ended = self.returned.send(Signal::TicketReturned);
    }
}

/// An item of work.
#[derive(Debug)]
pub(crate) struct Numbered<T> {
    /// Its place in the order, from 0.
    pub number: usize,
    /// The work.
    pub item: T,
    /// Held until the result is taken up.
    pub ticket: Ticket,
}

/// A worker's end of the mailbox: an iterator that ends with the work.
#[derive(Debug)]
pub(crate) struct Inbox<T>(flume::Receiver<Numbered<T>>);

impl<T> Iterator for Inbox<T> {
    type Item = Numbered<T>;

    fn next(&mut self) -> Option<Numbered<T>> {
        self.0.recv().ok()
    }
}

impl<T> FusedIterator for Inbox<T> {}

/// Hands `items` to `workers`, each on a thread of its own, with at most `max_in_flight` items between being dealt out
/// and being taken up. Returns when all workers have ended.
///
/// A worker may end before its inbox does, without an error, when nobody takes its results any more. Dealing ends when
/// one worker has ended.
///
/// # Errors
/// The error of an item or of a worker: then no further items are dealt out, and the other workers finish theirs.
pub(crate) fn deal<T: Send, E: Send>(
    items: impl Iterator<Item = Result<T, E>>,
    max_in_flight: usize,
    workers: Vec<impl FnOnce(Inbox<T>) -> Result<(), E> + Send>,
) -> Result<(), DealError<E>> {
    let (work, inbox) = flume::bounded(max_in_flight);
    let (returned, signals) = flume::bounded(max_in_flight + workers.len());
    std::thread::scope(|scope| {
        let mut threads = Vec::with_capacity(workers.len());
        let mut refused = Ok(());
        for worker in workers {
            let (inbox, farewell) = (Inbox(inbox.clone()), Farewell(returned.clone()));
            let run = move || {
                let _farewell = farewell;
                worker(inbox)
            };
            match std::thread::Builder::new().spawn_scoped(scope, run) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    refused = Err(DealError::Thread(error));
                    break;
                }
            }
        }
        drop(inbox);
        let dealt = if refused.is_ok() { deal_out(items, max_in_flight, &work, &returned, &signals) } else { Ok(()) };
        drop(work); // workers that wait for more end here
        let mut ended = refused;
        for thread in threads {
            let of_worker =
                thread.join().map_or(Err(DealError::Panicked), |of_worker| of_worker.map_err(DealError::Failed));
            ended = ended.and(of_worker);
        }
        ended.and(dealt.map_err(DealError::Failed))
    })
}

fn deal_out<T, E>(
    items: impl Iterator<Item = Result<T, E>>,
    max_in_flight: usize,
    work: &flume::Sender<Numbered<T>>,
    returned: &flume::Sender<Signal>,
    signals: &flume::Receiver<Signal>,
) -> Result<(), E> {
    for (number, item) in items.enumerate() {
        let item = item?;
        if number >= max_in_flight && signals.recv() != Ok(Signal::TicketReturned) {
            return Ok(()); // the worker's error is found when it is joined
        }
        if work.send(Numbered { number, item, ticket: Ticket { returned: returned.clone() } }).is_err() {
            return Ok(()); // all workers have ended
        }
    }
    Ok(())
}

/// Tells the dealer when a worker ends, for whatever reason. While items are dealt out, that is early, and the tickets
/// of its items may never come back.
struct Farewell(flume::Sender<Signal>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _dealer_may_have_ended = self.0.send(Signal::WorkerEnded);
    }
}

/// Results that come in any order and are taken up in the order of their numbers.
#[derive(Debug)]
pub(crate) struct InOrder<T> {
    early: BTreeMap<usize, T>,
    next: usize,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self { early: BTreeMap::new(), next: 0 }
    }
}

impl<T> InOrder<T> {
    /// Takes in the result of item `number`.
    pub(crate) fn put(&mut self, number: usize, result: T) {
        self.early.insert(number, result);
    }

    /// The next result in order, once it is there.
    pub(crate) fn take(&mut self) -> Option<T> {
        let result = self.early.remove(&self.next)?;
        self.next += 1;
        Some(result)
    }

    /// How many results were taken up.
    #[must_use]
    pub(crate) fn num_taken(&self) -> usize {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Done = (usize, u32, Ticket);

    /// Workers that send `double` of each item, until nobody listens.
    fn doubling(
        num: usize,
        done: &flume::Sender<Done>,
    ) -> Vec<impl FnOnce(Inbox<u32>) -> Result<(), &'static str> + use<>> {
        let worker = |done: flume::Sender<Done>| {
            move |inbox: Inbox<u32>| {
                for Numbered { number, item, ticket } in inbox {
                    if item == 13 {
                        return Err("unlucky");
                    }
                    assert_ne!(item, 17, "a panic");
                    if done.send((number, 2 * item, ticket)).is_err() {
                        break;
                    }
                }
                Ok(())
            }
        };
        (0..num).map(|_| worker(done.clone())).collect()
    }

    /// The results that were taken up, and how dealing ended.
    fn run(items: Vec<Result<u32, &'static str>>, workers: usize) -> (Vec<u32>, String) {
        let (done, results) = flume::bounded(1);
        std::thread::scope(|scope| {
            let taker = scope.spawn(move || {
                let (mut in_order, mut taken) = (InOrder::default(), Vec::new());
                for (number, result, ticket) in results {
                    in_order.put(number, (result, ticket));
                    assert!(in_order.early.len() <= 4, "more results wait than items may be in flight");
                    while let Some((result, _ticket)) = in_order.take() {
                        taken.push(result);
                    }
                }
                taken
            });
            let workers = doubling(workers, &done);
            drop(done);
            let ended = deal(items.into_iter(), 4, workers);
            (taker.join().unwrap(), format!("{ended:?}"))
        })
    }

    #[test]
    fn results_are_taken_up_in_the_order_of_the_items_whatever_the_number_of_workers() {
        for workers in [1, 2, 7] {
            let (taken, ended) = run((100..1100).map(Ok).collect(), workers);
            assert_eq!(taken, (100..1100).map(|item| 2 * item).collect::<Vec<u32>>());
            assert_eq!(ended, "Ok(())");
        }
    }

    #[test]
    fn an_error_of_a_worker_ends_the_dealing_and_later_results_are_not_taken_up() {
        // The worker's own ticket comes back, and one more item is dealt out: not the one that panics.
        let (taken, ended) = run((10..1000).filter(|item| *item != 17).map(Ok).collect(), 3);
        assert_eq!((taken, ended), (vec![20, 22, 24], "Err(Failed(\"unlucky\"))".to_owned()));
    }

    #[test]
    fn a_panic_of_a_worker_ends_the_dealing() {
        let (taken, ended) = run((14..1000).map(Ok).collect(), 3);
        assert_eq!((taken, ended), (vec![28, 30, 32], "Err(Panicked)".to_owned()));
    }

    #[test]
    fn an_item_that_cannot_be_made_ends_the_dealing() {
        let items = (20..30).map(Ok).chain([Err("torn")]).chain((30..40).map(Ok)).collect();
        let (taken, ended) = run(items, 2);
        assert_eq!((taken.len(), ended), (10, "Err(Failed(\"torn\"))".to_owned()));
    }

    /// The race between the last ticket of a worker that ends and the dealer is short, so it takes many rounds to meet.
    #[test]
    fn dealing_ends_when_nobody_takes_results() {
        for workers in [1, 2, 7].repeat(300) {
            let (done, results) = flume::bounded(1);
            let workers = doubling(workers, &done);
            drop(done);
            std::thread::scope(|scope| {
                scope.spawn(move || results.into_iter().take(3).count());
                assert!(deal((20..).map(Ok), 4, workers).is_ok());
            });
        }
    }
}
