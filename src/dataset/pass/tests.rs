//! A pass ends and shows the first cause, whatever fails in it; and nothing depends on the number of workers.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::dataset::corpus::store_of;

/// The misbehaviour of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    None,
    FailsInChunk,
    FailsInTake,
    FailsInFinish,
    FailsInThen,
    PanicsInChunk,
    PanicsInTake,
    PanicsInFinish,
    Interrupts,
}

/// The error that a probe fails with.
fn cause() -> DatasetError {
    DatasetError::EmptyStore
}

/// Collects the ids of the signatures. In trouble, it fails at block `at`.
struct Probe<'a> {
    trouble: Trouble,
    at: usize,
    shutdown: &'a Shutdown,
    opened: &'a AtomicUsize,
    taken: usize,
    ids: Vec<u64>,
}

impl<'a> Reducer for Probe<'a> {
    type Block = Vec<u64>;
    type Worker = ProbeWorker<'a>;
    type Value = Vec<u64>;

    fn columns(&self) -> ColumnSet {
        ColumnSet::JOB_IDS
    }

    fn worker(&self) -> ProbeWorker<'a> {
        ProbeWorker { trouble: self.trouble, at: self.at, opened: self.opened, is_hit: false }
    }

    fn take(&mut self, block: Vec<u64>) -> Result<(), DatasetError> {
        if self.taken == self.at {
            match self.trouble {
                Trouble::FailsInTake => return Err(cause()),
                Trouble::PanicsInTake => panic!("in take"),
                Trouble::Interrupts => self.shutdown.drain(),
                _ => {}
            }
        }
        self.taken += 1;
        self.ids.extend(block);
        Ok(())
    }

    fn finish(self, _workers: Vec<ProbeWorker<'a>>) -> Result<Vec<u64>, DatasetError> {
        match self.trouble {
            Trouble::FailsInFinish => Err(cause()),
            Trouble::PanicsInFinish => panic!("in finish"),
            _ => Ok(self.ids),
        }
    }
}

struct ProbeWorker<'a> {
    trouble: Trouble,
    at: usize,
    opened: &'a AtomicUsize,
    is_hit: bool,
}

impl ReducerWorker for ProbeWorker<'_> {
    type Block = Vec<u64>;

    fn open(&mut self, _signatures: &[Part]) -> Vec<u64> {
        let in_worker = matches!(self.trouble, Trouble::FailsInChunk | Trouble::PanicsInChunk);
        self.is_hit = in_worker && self.opened.fetch_add(1, Ordering::Relaxed) == self.at;
        Vec::new()
    }

    fn chunk(&mut self, _chunk: &Chunk<'_>, _block: &mut Vec<u64>) -> Result<(), DatasetError> {
        assert!(!(self.is_hit && self.trouble == Trouble::PanicsInChunk), "in chunk");
        if self.is_hit { Err(cause()) } else { Ok(()) }
    }

    fn end_signature(&mut self, jobs: &mut SignatureJobs, block: &mut Vec<u64>) -> Result<(), DatasetError> {
        block.push(jobs.signature.0);
        Ok(())
    }
}

/// Runs a pass with a probe in trouble between two others: how it ended, and what the last one came to.
fn run(store: &Store, workers: usize, trouble: Trouble, at: usize) -> (Result<(), DatasetError>, Option<Vec<u64>>) {
    let signatures = Signatures::complete(store).unwrap();
    let mut config = Config::default();
    config.reduce.workers = workers;
    let (shutdown, opened, reducing) = (Shutdown::new(), AtomicUsize::new(0), Reducing::default());
    let means = Means::of(&config, store.path(), &reducing, &shutdown);
    std::thread::scope(|scope| {
        let mut pass = Pass::new(scope, store, &signatures, means);
        let probe = |trouble| Probe { trouble, at, shutdown: &shutdown, opened: &opened, taken: 0, ids: Vec::new() };
        pass.start(probe(Trouble::None), Ok).unwrap();
        let then = |ids| if trouble == Trouble::FailsInThen { Err(cause()) } else { Ok(ids) };
        pass.start(probe(trouble), then).unwrap();
        let last = pass.start(probe(Trouble::None), Ok).unwrap();
        let ended = pass.run("testing");
        (ended, last.into_value().ok())
    })
}

#[test]
fn every_reducer_gets_all_signatures_in_order_whatever_the_number_of_workers() {
    let (_folder, store) = store_of(700);
    for workers in [1, 2, 5] {
        let (ended, ids) = run(&store, workers, Trouble::None, 0);
        ended.unwrap();
        assert_eq!(ids.unwrap(), (1..=700).collect::<Vec<u64>>());
    }
}

#[test]
fn a_pass_without_data_or_without_reducers_ends() {
    let (_folder, store) = store_of(0);
    let (ended, ids) = run(&store, 3, Trouble::None, 0);
    ended.unwrap();
    assert_eq!(ids, Some(Vec::new()));
    let (signatures, config) = (Signatures::complete(&store).unwrap(), Config::default());
    let (shutdown, reducing) = (Shutdown::new(), Reducing::default());
    let means = Means::of(&config, store.path(), &reducing, &shutdown);
    std::thread::scope(|scope| Pass::new(scope, &store, &signatures, means).run("testing")).unwrap();
}

#[test]
fn whatever_fails_the_pass_ends_with_the_cause() {
    use Trouble::{
        FailsInChunk, FailsInFinish, FailsInTake, FailsInThen, Interrupts, PanicsInChunk, PanicsInFinish, PanicsInTake,
    };
    let (_folder, store) = store_of(700);
    let num_blocks = Signatures::complete(&store).unwrap().blocks().len();
    assert!(num_blocks > 15, "{num_blocks} blocks are fewer than are in flight");
    for workers in [1, 3] {
        for at in [0, 1, 4, 11] {
            for trouble in [FailsInChunk, FailsInTake, FailsInFinish, FailsInThen] {
                let (ended, _) = run(&store, workers, trouble, at);
                assert!(matches!(ended, Err(DatasetError::EmptyStore)), "{trouble:?} {at} {workers}: {ended:?}");
            }
            for trouble in [PanicsInChunk, PanicsInTake, PanicsInFinish] {
                let (ended, _) = run(&store, workers, trouble, at);
                assert!(matches!(ended, Err(DatasetError::WorkerPanicked)), "{trouble:?} {at} {workers}: {ended:?}");
            }
            let (ended, ids) = run(&store, workers, Interrupts, at);
            assert!(matches!(ended, Err(DatasetError::Interrupted)), "{at} {workers}: {ended:?}");
            assert_eq!(ids, None);
        }
    }
}
