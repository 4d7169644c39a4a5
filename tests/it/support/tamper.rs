//! Damages and copies the files of a store.

#![allow(dead_code, reason = "each target that shares this file uses a part of it")]

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use perfharvest::store::Store;

use super::Crawl;

pub(crate) fn database(crawl: &Crawl) -> PathBuf {
    crawl.config.store.path.join("db")
}

/// The file with those entries of a database that were there when it was built or packed.
pub(crate) fn packed(crawl: &Crawl) -> PathBuf {
    let files = std::fs::read_dir(database(crawl)).into_iter().flatten().map(|entry| entry.unwrap().path());
    let is_packed = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("packed");
    files.into_iter().find(is_packed).unwrap_or_else(|| database(crawl).join("packed"))
}

/// Whether the database was built by a compaction, or from the log: packing it begins a generation, which has a number.
pub(crate) fn is_compacted(crawl: &Crawl) -> bool {
    database(crawl).join("packed").exists()
}

/// The file of the records' values.
pub(crate) fn values(crawl: &Crawl) -> PathBuf {
    crawl.config.store.path.join("values")
}

/// Moves all entries of the database into sled.
pub(crate) fn unpack(crawl: &Crawl) {
    if packed(crawl).exists() {
        Store::unpack_database(&crawl.config.store).unwrap();
    }
}

pub(crate) fn cut(path: &Path, len: u64) {
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

/// Alters the bytes of a file at some places, counted on from its beginning behind its end.
pub(crate) fn alter(path: &Path, places: impl Iterator<Item = u64>) {
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    for at in places.map(|at| at % len) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x5a], at).unwrap();
    }
}

/// Puts a file in place as a whole, for a process that watches it.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new_in(path.parent().unwrap()).unwrap();
    file.write_all(bytes).unwrap();
    file.persist(path).unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Changes the content of a store, in the database and in the log.
pub(crate) fn tampered(crawl: &Crawl, change: impl FnOnce(&sled::Db)) {
    tampered_database(crawl, change);
    Store::adopt_database(&crawl.config.store).unwrap();
}

/// Changes the database behind the store's back; sled's threads may hold it for a moment after it was closed.
pub(crate) fn tampered_database(crawl: &Crawl, change: impl FnOnce(&sled::Db)) {
    unpack(crawl);
    let mut attempts = 0;
    let db = loop {
        match sled::open(database(crawl)) {
            Ok(db) => break db,
            Err(error) if error.to_string().contains("could not acquire lock") && attempts < 15_000 => attempts += 1,
            Err(error) => panic!("{error}"),
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    };
    change(&db);
    db.flush().unwrap();
}

/// Flips a bit in the middle of a value.
pub(crate) fn flip(db: &sled::Db, tree: &str, key: &[u8]) {
    let tree = db.open_tree(tree).unwrap();
    let mut value = tree.get(key).unwrap().unwrap_or_else(|| panic!("no value at {key:?}")).to_vec();
    let middle = value.len() / 2;
    value[middle] ^= 0x10;
    tree.insert(key, value).unwrap();
}

pub(crate) fn first_key(db: &sled::Db, tree: &str, prefix: &[u8]) -> Vec<u8> {
    db.open_tree(tree).unwrap().scan_prefix(prefix).keys().next().unwrap().unwrap().to_vec()
}
