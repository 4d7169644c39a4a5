//! The cost of the data of a crawl, step by step: to read them from text, to encode them, to commit them, to pass over them,
//! and to reduce them to each artifact. The data are the generator's: 500 signatures of 120 data.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a bench that cannot go on has failed"
)]

use std::hint::black_box;
use std::path::Path;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use perfharvest::actor::Shutdown;
use perfharvest::config::Config;
use perfharvest::dataset::{Artifact, ReduceOrder, read_commits, reduce};
use perfharvest::import::import_folder;
use perfharvest::model::{
    Batch, DatumRecord, Request, SignatureId, Sorted, Window, bring_to_api_order, parse_datum, scan_data,
};
use perfharvest::observe::Reducing;
use perfharvest::store::columns::{ColumnSet, Columns};
use perfharvest::store::{Change, CrawlIdentity, Settlement, Store, frame};
use serde::Deserialize;
use serde_json::value::RawValue;
use treeherder_sim::{GeneratorConfig, dump};

const SIGNATURES: usize = 500;

/// A line of `perf_jobs_by_signature.jsonl`, the data in the server's spacing.
struct Row {
    signature: SignatureId,
    text: String,
    data: Sorted<DatumRecord>,
}

fn rows(folder: &Path) -> Vec<Row> {
    #[derive(Deserialize)]
    struct Line {
        signature_id: u64,
        jobs: Vec<Box<RawValue>>,
    }
    let lines = std::fs::read_to_string(folder.join("perf_jobs_by_signature.jsonl")).unwrap();
    let row = |line| {
        let line: Line = serde_json::from_str(line).unwrap();
        let mut data: Vec<_> = line.jobs.iter().map(|datum| parse_datum(&compact(datum.get())).unwrap()).collect();
        bring_to_api_order(&mut data);
        let texts: Vec<_> = line.jobs.iter().map(|datum| compact(datum.get())).collect();
        Row {
            signature: SignatureId(line.signature_id),
            text: format!("[{}]", texts.join(",")),
            data: Sorted { taken: data, odd: Vec::new() },
        }
    };
    lines.lines().map(row).collect()
}

/// Nothing that the generator names holds a blank.
fn compact(text: &str) -> String {
    text.replace(' ', "")
}

fn config(folder: &Path, data: &Path) -> Config {
    let mut config = Config::default();
    config.window.start = Some("2026-06-26T00:00:00Z".parse().unwrap());
    config.window.end = Some("2026-11-20T00:00:00Z".parse().unwrap());
    config.store.path = folder.join("store");
    config.artifacts.out = folder.join("out");
    config.inputs.commits = Some(data.join("all_commits.jsonl"));
    config.log.progress = false;
    config
}

fn on_the_way_in(criterion: &mut Criterion, rows: &[Row], config: &Config) {
    let num_data: usize = rows.iter().map(|row| row.data.taken.len()).sum();
    let bytes: usize = rows.iter().map(|row| row.text.len()).sum();
    let mut group = criterion.benchmark_group("data");
    group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("read_from_text", |bencher| {
        bencher.iter(|| {
            rows.iter().filter_map(|row| scan_data(row.text.as_bytes())).map(|(data, _)| data.len()).sum::<usize>()
        });
    });
    group.throughput(Throughput::Elements(num_data as u64));
    let store = Store::open_existing(&config.store).unwrap();
    let window: Window = store.identity().unwrap().unwrap().data_window();
    let settlement = |row: &Row| Settlement::of_imported_data(&store, row.signature, window, &row.data);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| rows.iter().for_each(|row| drop(black_box(settlement(row)))));
    });
    group.bench_function("commit", |bencher| {
        let fresh = || {
            let folder = tempfile::tempdir().unwrap();
            let config = self::config(folder.path(), folder.path());
            let store = Store::open(&config.store).unwrap();
            store.pin_identity(&CrawlIdentity::create(&config, "2026-11-22T08:00:00Z".parse().unwrap())).unwrap();
            (folder, store, rows.iter().map(settlement).reduce(Settlement::and).unwrap())
        };
        bencher.iter_batched(
            fresh,
            |(folder, store, settlement)| {
                let batch = Batch::of(Request::Frameworks);
                store.commit(Change::Settle { batch, settlement: Box::new(settlement) }).unwrap();
                (folder, store)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// Passes over all data; `decoded`: all columns of them, else only their decompressed bytes.
fn pass(store: &Store, decoded: bool) -> usize {
    let (mut bytes, mut columns, mut seen) = (Vec::new(), Columns::default(), 0);
    for summary in store.settled_summaries() {
        let summary = summary.unwrap();
        for number in 0..summary.settled.num_chunks {
            store.chunk(&summary.request(), number, &mut bytes).unwrap();
            if decoded {
                columns.decode(&bytes, ColumnSet::ALL).unwrap();
                seen += columns.len();
            } else {
                seen += bytes.len();
            }
        }
    }
    seen
}

/// The chunks of all data as they stand on the disk.
fn frames(store: &Store) -> Vec<Vec<u8>> {
    let (mut bytes, mut frames) = (Vec::new(), Vec::new());
    for summary in store.settled_summaries() {
        let summary = summary.unwrap();
        for number in 0..summary.settled.num_chunks {
            store.chunk(&summary.request(), number, &mut bytes).unwrap();
            frames.push(frame::seal(&bytes));
        }
    }
    frames
}

/// The least that a pass can cost: the store's files read, and each chunk decompressed.
fn read_files(store: &Store, frames: &[Vec<u8>]) -> usize {
    let mut seen = 0;
    for file in [store.path().join("values"), store.path().join("db/db")] {
        seen += std::fs::read(file).unwrap().len();
    }
    let mut bytes = Vec::new();
    for framed in frames {
        frame::open(framed, &mut bytes).unwrap();
        seen += bytes.len();
    }
    seen
}

fn on_the_way_out(criterion: &mut Criterion, config: &Config) {
    let store = Store::open_existing(&config.store).unwrap();
    let num_data = pass(&store, true);
    let frames = frames(&store);
    let mut group = criterion.benchmark_group("pass");
    group.sample_size(10).throughput(Throughput::Elements(num_data as u64));
    group.bench_function("files_alone", |bencher| bencher.iter(|| read_files(&store, &frames)));
    group.bench_function("decompressed", |bencher| bencher.iter(|| pass(&store, false)));
    group.bench_function("decoded", |bencher| bencher.iter(|| pass(&store, true)));
    group.finish();

    let mut group = criterion.benchmark_group("reduce");
    group.sample_size(10).throughput(Throughput::Elements(num_data as u64));
    let commits = read_commits(config, &store.identity().unwrap().unwrap()).unwrap();
    for artifact in Artifact::ALL {
        let once = || {
            let _gone = std::fs::remove_dir_all(&config.artifacts.out);
            let order = ReduceOrder {
                config,
                commits: commits.as_ref(),
                artifacts: &[*artifact],
                shutdown: &Shutdown::new(),
                reducing: &Reducing::default(),
            };
            reduce(&store, order)
        };
        if once().is_ok() {
            group.bench_function(artifact.file_name(), |bencher| bencher.iter(|| once().unwrap()));
        } // relabelled records have an input of their own
    }
    group.finish();
}

fn stored_data(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    dump(&GeneratorConfig { signatures: SIGNATURES, data_per_signature: 120, ..GeneratorConfig::default() }, &data)
        .unwrap();
    let config = config(folder.path(), &data);
    import_folder(&data, &config, &Shutdown::new()).unwrap();
    on_the_way_in(criterion, &rows(&data), &config);
    on_the_way_out(criterion, &config);
}

criterion_group!(benches, stored_data);
criterion_main!(benches);
