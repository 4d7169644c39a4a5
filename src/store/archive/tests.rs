use std::path::Path;

use super::header::{PREAMBLE_BYTES, TRAILER_BYTES};
use super::*;
use crate::actor::Shutdown;
use crate::config::StoreConfig;
use crate::model::{OddRecord, RawJson, Request, Signature, SignatureId};
use crate::store::{Change, Pending, Settlement, SignatureListing, Store, StoreError};

fn config(path: &Path) -> StoreConfig {
    StoreConfig { path: path.to_owned(), ..crate::config::Config::default().store }
}

fn archive_of(store: &Store) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = write(store, &mut bytes, &Shutdown::new()).unwrap();
    assert_eq!(summary.file_bytes, bytes.len() as u64);
    bytes
}

/// A small store with something of several kinds.
fn filled(folder: &Path) -> Store {
    let store = Store::open(&config(&folder.join("one"))).unwrap();
    let signature = |id: u64| Signature {
        id: SignatureId(id),
        raw: RawJson::parse(&format!("{{\"id\":{id},\"suite\":\"{}\"}}", "long".repeat(40_000))).unwrap(),
    };
    let list = Request::Signatures { framework: None };
    let mut listing = SignatureListing::default();
    listing.add(&(1..20).map(signature).collect::<Vec<_>>());
    let settlement = listing
        .settle(list, vec![OddRecord::corrected(7, b"NaN"), OddRecord::set_aside(20, "odd".to_owned(), b"1e400")])
        .and(Settlement::of_ids(Request::UpdatedSignatures { framework: None }, vec![1, 2, 3]))
        .with_discovered([Pending::of(Request::AlertPage { pass: 0, page: 1 })]);
    store.commit(Change::Expand { settlement: Box::new(settlement) }).unwrap();
    store
}

fn import(folder: &Path, bytes: &[u8]) -> Result<Store, ArchiveError> {
    let path = folder.join("archive");
    std::fs::remove_file(&path).ok();
    std::io::Write::write_all(
        &mut std::fs::OpenOptions::new().create_new(true).write(true).open(&path).unwrap(),
        bytes,
    )
    .unwrap();
    let config = config(&folder.join("two"));
    read(&path, &config, &Shutdown::new())?;
    Ok(Store::open(&config)?)
}

#[test]
fn a_store_comes_back_and_its_archive_is_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = filled(folder.path());
    let bytes = archive_of(&store);
    assert!(bytes.len() < 20_000, "{}", bytes.len());
    assert_eq!(bytes, archive_of(&store));
    let again = import(folder.path(), &bytes).unwrap();
    assert_eq!(again.counts().unwrap(), store.counts().unwrap());
    assert_eq!(again.pending().count(), 1);
    assert_eq!(again.signature(SignatureId(7)).unwrap(), store.signature(SignatureId(7)).unwrap());
    assert_eq!(archive_of(&again), bytes);
    drop(again);
    assert!(matches!(import(folder.path(), &bytes), Err(ArchiveError::Store(StoreError::NotEmpty(_)))));
}

#[test]
fn the_content_keeps_its_version_whatever_the_format_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = archive_of(&filled(folder.path()));
    let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    assert_eq!([number(8), number(12)], [1, 4]);
    let body = &bytes[PREAMBLE_BYTES + number(16) as usize + 8..bytes.len() - TRAILER_BYTES];
    let entries = zstd::decode_all(body).unwrap();
    let mut input = entries.as_slice();
    let mut meta = Vec::new();
    while let entry::Next::Entry(entry) = entry::read_next(&mut input).unwrap() {
        if entry.tree == crate::store::trees::META {
            meta.push((entry.key, entry.value));
        }
    }
    let keys: Vec<&[u8]> = meta.iter().map(|(key, _)| key.as_slice()).collect();
    assert_eq!(keys, [b"counts".as_slice(), b"format", b"store_id"]);
    assert_eq!(meta[1].1, b"4");

    let mut older = bytes;
    older[12] = 6;
    assert!(matches!(import(folder.path(), &older), Err(ArchiveError::Newer { found: 6, .. })));
}

#[test]
fn a_torn_or_altered_archive_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = archive_of(&filled(folder.path()));
    let refused = |bytes: &[u8]| {
        let error = import(folder.path(), bytes).unwrap_err();
        assert!(!folder.path().join("two").exists() && !folder.path().join("two.importing").exists());
        error
    };
    for cut in [8, 19, 40, bytes.len() / 2, bytes.len() - 17, bytes.len() - 1] {
        assert!(matches!(refused(&bytes[..cut]), ArchiveError::Damaged { .. }), "{cut}");
    }
    let step = (bytes.len() / 40).max(1);
    for at in (8..bytes.len()).step_by(step).chain([bytes.len() - 1]) {
        let mut altered = bytes.clone();
        altered[at] ^= 0x10;
        let error = refused(&altered);
        assert!(matches!(error, ArchiveError::Damaged { .. } | ArchiveError::Newer { .. }), "{at}: {error}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    assert!(matches!(refused(&longer), ArchiveError::Damaged { .. }));
    assert!(matches!(refused(b""), ArchiveError::NoArchive(_)));
    assert!(matches!(refused(b"{\"signature_id\": 5}"), ArchiveError::NoArchive(_)));
    let mut newer = bytes;
    newer[8] = 2;
    assert!(matches!(refused(&newer), ArchiveError::Newer { found: 2, .. }));
}
