//! Replicates in tables, reports, archives that are merged, and damaged stores.

use std::collections::{BTreeMap, BTreeSet};

use parquet::record::Field;
use perfharvest::actor::Shutdown;
use perfharvest::dataset::tables::{Table, export};
use perfharvest::model::Timestamp;
use perfharvest::report::make_report;
use perfharvest::store::{Lateness, Store, archive, verify_store};
use treeherder_sim::{Behaviour, Endpoint};

use crate::parquet::rows;
use crate::replicates::{living, served, stored};
use crate::support::Crawl;
use crate::support::tamper::{first_key, flip, tampered};

fn archived(crawl: &Crawl) -> std::path::PathBuf {
    let path = crawl.folder.path().join("archive");
    let mut file = std::fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap();
    archive::write(&Store::open_existing(&crawl.config.store).unwrap(), &mut file, &Shutdown::new()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_table_has_a_row_for_each_stored_row_and_the_same_bytes_after_refreshes() {
    let mut living = living(Behaviour::default()).await;
    living.refresh().await;
    living.advance_days(20);
    living.refresh().await;
    let once = living.one_crawl().await;
    let write = |crawl: &Crawl, name: &str| {
        let (folder, store) = (crawl.folder.path().join(name), Store::open_existing(&crawl.config.store).unwrap());
        std::fs::create_dir(&folder).unwrap();
        let tables = BTreeSet::from([Table::Replicates]);
        let summary = export(&store, &crawl.config, &folder, &tables, &Shutdown::new()).unwrap();
        assert_eq!(summary.unreadable, BTreeMap::new());
        folder
    };
    let (folder, of_once) = (write(&living.crawl, "tables"), write(&once, "tables"));
    let bytes = |folder: &std::path::Path| std::fs::read(folder.join("replicates.parquet")).unwrap();
    assert!(bytes(&folder) == bytes(&of_once));
    let mut found: BTreeMap<(u64, u64), Vec<u64>> = BTreeMap::new();
    for row in rows(&folder, Table::Replicates) {
        let long = |name: &str| match &row[name] {
            Field::Long(number) => u64::try_from(*number).unwrap(),
            other => panic!("{other}"),
        };
        let values = found.entry((long("signature_id"), long("datum_id"))).or_default();
        assert_eq!(values.len() as u64, long("ordinal"));
        let Field::Double(value) = row["value"] else { panic!() };
        values.push(value.to_bits());
    }
    assert_eq!(found, stored(&living.crawl));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_report_counts_the_data_with_replicates() {
    let mut living = living(Behaviour::default()).await;
    living.refresh().await;
    let (mut with, mut without) = (0, 0);
    let record = living.simulator.full_record();
    let mut ids = Vec::new();
    record.for_each_signature(|signature| ids.push((signature.repository, signature.id)));
    for (repository, signature) in ids {
        record.for_each_datum(repository, signature, |datum| {
            if datum.push_timestamp >= living.simulator.now() * 1_000_000 {
                return;
            }
            match datum.replicates.as_slice() {
                [] => without += 1,
                [one] if one.to_bits() == datum.value.to_bits() => without += 1,
                _ => with += 1,
            }
        });
    }
    assert!(with > 100 && without > 100, "{with} {without}");
    let report = || {
        let spill = living.crawl.folder.path();
        make_report(&living.store(), &living.crawl.config, spill, &Shutdown::new()).unwrap().html
    };
    let html = report();
    let table = html
        .split("<caption>Data by whether they have replicates</caption>")
        .nth(1)
        .unwrap()
        .split("</table>")
        .next()
        .unwrap();
    let shown = |number: u64| table.contains(&format!(">{}<", crate::replicates::grouped(number)));
    assert!(shown(with) && shown(without) && shown(0), "{with} {without}: {table}");
    assert_eq!(html, report());
    let chart = html.split("Replicates over time, starting").nth(1).unwrap();
    let description = chart.split('"').next().unwrap();
    assert!(
        description.contains(&format!(": with replicates: {}, without", crate::replicates::grouped(with))),
        "{description}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_is_merged_by_lists_of_rows() {
    let mut living = living(Behaviour::default()).await;
    living.refresh().await;
    let early = archived(&living.crawl);
    living.advance_days(30);
    living.refresh().await;
    let (newer, rows) = (living.one_crawl().await, stored(&living.crawl));
    let merge = |path: &std::path::Path, crawl: &Crawl| {
        let lateness = Lateness::of(&crawl.config.window, false);
        archive::merge(path, &crawl.config.store, lateness, &[], &Shutdown::new()).unwrap().1.unwrap()
    };
    // An older reading adds nothing; a newer one answers the next harvest.
    assert!(!merge(&early, &newer).is_newer);
    assert_eq!(stored(&newer), rows);

    let mut restored = Crawl { folder: tempfile::tempdir().unwrap(), config: living.crawl.config.clone() };
    restored.config.store.path = restored.folder.path().join("store");
    restored.config.artifacts.out = restored.folder.path().join("out");
    restored.config.window.data_end = None;
    archive::read(&early, &restored.config.store, &Shutdown::new()).unwrap();
    let before = living.simulator.served();
    assert!(merge(&archived(&newer), &restored).is_newer);
    assert!(restored.run().await.unwrap().crawl.counts.is_complete());
    assert_eq!(living.simulator.served().since(&before).of(Endpoint::Summary), 0);
    assert_eq!(stored(&restored), rows);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_rows_are_fetched_again() {
    let living = living(Behaviour::default()).await;
    let mut crawl = living.crawl;
    crawl.config.window.data_end = Some(Timestamp::from_secs(living.simulator.now()));
    crawl.run().await.unwrap();
    let findings = |crawl: &Crawl| {
        let mut findings = Vec::new();
        verify_store(&crawl.config.store, false, &mut |finding| findings.push(finding)).unwrap();
        findings
    };
    for (tree, prefix) in [("records", &b"Ct"[..]), ("records", &b"Ht"[..]), ("settled", &b"t"[..])] {
        tampered(&crawl, |db| flip(db, tree, &first_key(db, tree, prefix)));
        assert!(!findings(&crawl).is_empty(), "{tree} {prefix:?}");
        verify_store(&crawl.config.store, true, &mut |_| {}).unwrap();
        let before = living.simulator.served();
        crawl.run().await.unwrap();
        assert_eq!(living.simulator.served().since(&before).of(Endpoint::Summary), 1, "{tree} {prefix:?}");
        assert_eq!(findings(&crawl), []);
        assert_eq!(stored(&crawl), served(&living.simulator, living.simulator.now()));
    }
}
