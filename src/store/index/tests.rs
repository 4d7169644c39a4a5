use proptest::prelude::*;

use super::*;
use crate::config::StoreConfig;
use crate::store::Store;
use crate::store::replay::Content;
use crate::store::sled_open::system_error_in;

#[test]
fn an_error_of_the_system_or_a_small_cache_is_never_called_damage() {
    let panic = r#"called `Result::unwrap()` on an `Err` value: Os { code: 24, kind: Uncategorized, message: "x" }"#;
    assert_eq!(system_error_in(panic).unwrap().raw_os_error(), Some(24));
    assert!(system_error_in("index out of bounds").is_none());
    let error = error_of_panic(Path::new("store/db"), &panic.to_owned());
    assert!(matches!(fault_of(error), Fault::Refused(StoreError::Folder { .. })));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(Store::open(&StoreConfig { path: path.clone(), ..StoreConfig::default() }).unwrap());
    for cache_bytes in [0, 1, 255] {
        let opened = Index::open_checked(&path.join("db"), cache_bytes);
        assert!(opened.is_ok(), "{cache_bytes}: {opened:?}");
    }
}

/// Packs whatever sled has.
fn pack(index: &Index, applied: Applied) -> Applied {
    index.disk.as_ref().unwrap().live().most_entries = -1;
    index.pack_if_large(applied).unwrap()
}

type Entry = (usize, Vec<u8>, Option<Vec<u8>>);

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let key = proptest::collection::vec(0_u8..4, 0..5);
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 2..60));
    proptest::collection::vec((0..NUM_TREES, key, value), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_built_database_with_later_changes_reads_as_one_however_often_it_is_packed(
        built in entries(), groups in proptest::collection::vec((entries(), any::<bool>()), 0..4),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::default();
        for (tree, key, value) in built {
            let _replaced = content.trees[tree].insert(key.into(), value.unwrap_or_default().into());
        }
        let mut expected = content.trees.clone();
        let path = folder.path().join("db");
        let mut applied = Index::build(&path, 1 << 20, content.into_entries(), Applied::default()).unwrap();
        let index = Index::open(&path, 1 << 20).unwrap();
        for (number, (group, packs)) in (1..).zip(groups) {
            let of = |(tree, key, value): &Entry| Operation { tree: *tree, key: key.clone(), value: value.clone() };
            let operations: Vec<_> = group.iter().map(of).collect();
            applied = index.apply(applied, &operations, Position { number, end: number }).unwrap();
            // A large group is applied in another order, but changes no entry twice.
            for (tree, key, value) in group {
                match value {
                    Some(value) => drop(expected[tree].insert(key.into(), value.into())),
                    None => drop(expected[tree].remove(key.as_slice())),
                }
            }
            if packs {
                let packed = pack(&index, applied);
                prop_assert_eq!((packed.generation, packed.position), (applied.generation + 1, applied.position));
                applied = packed;
            }
        }
        let log_id = applied.log_id;
        drop(index);
        let (index, reopened) = Index::open_checked(&path, 1 << 20).unwrap();
        prop_assert_eq!((reopened, reopened.is_of(Some(log_id))), (applied, true));
        for (tree, entries) in index.trees.iter().zip(&expected) {
            let read = |prefix: &[u8]| -> Vec<_> {
                let entries = tree.scan_prefix(prefix).map(Result::unwrap).filter(|(key, _)| key != META_APPLIED);
                entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
            };
            for prefix in [&[][..], &[0], &[1, 2], &[3, 3, 3], &[7]] {
                let of = entries.iter().filter(|(key, _)| key.starts_with(prefix));
                prop_assert_eq!(read(prefix), of.map(|(key, value)| (key.to_vec(), value.to_vec())).collect::<Vec<_>>());
                let value = entries.get(prefix).map(|value| value.to_vec());
                prop_assert_eq!(tree.get(prefix).unwrap().map(|value| value.to_vec()), value);
            }
        }
    }
}

#[test]
fn a_packed_part_that_is_changed_cut_missing_or_of_another_database_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let build = |name, num_entries: u16| {
        let mut content = Content::default();
        for number in 0..num_entries {
            let value = number.to_le_bytes().repeat(9);
            let _new = content.trees[STATES[1]].insert(number.to_be_bytes().into(), value.into());
        }
        let path = folder.path().join(name);
        Index::build(&path, 1 << 20, content.into_entries(), Applied::default()).unwrap();
        (path.clone(), std::fs::read(path.join(PACKED)).unwrap())
    };
    let ((path, sound), (_, other)) = (build("one", 100), build("other", 101));
    let reason_with = |bytes: Option<&[u8]>| {
        std::fs::remove_file(path.join(PACKED)).unwrap();
        if let Some(bytes) = bytes {
            std::io::Write::write_all(&mut File::create_new(path.join(PACKED)).unwrap(), bytes).unwrap();
        }
        match Index::open_checked(&path, 1 << 20) {
            Ok(_) => String::new(),
            Err(Fault::Damaged(reason)) => reason,
            Err(fault) => panic!("{fault:?}"),
        }
    };
    assert_eq!(reason_with(Some(&sound)), "");
    for at in (0..sound.len()).step_by(37) {
        let mut changed = sound.clone();
        changed[at] ^= 4;
        assert!(reason_with(Some(&changed)).contains("packed part"), "byte {at}");
    }
    for bytes in [&sound[..sound.len() - 1], &[], &other] {
        assert!(reason_with(Some(bytes)).contains("packed part"));
    }
    assert_eq!(reason_with(None), "its packed part is missing");
}

#[test]
fn a_large_group_that_was_applied_in_part_is_applied_again_to_the_same_content() {
    let operation = |number: u16| Operation {
        tree: usize::from(number) % NUM_TREES,
        key: (number % 150).to_be_bytes().to_vec(),
        value: (!number.is_multiple_of(7)).then(|| number.to_be_bytes().to_vec()),
    };
    let operations: Vec<_> = (0..900).map(operation).collect();
    let (before, position) = (Applied::default(), Position { number: 1, end: 1000 });
    let folder = tempfile::tempdir().unwrap();
    let index = |name| Index::open(&folder.path().join(name), 1 << 20).unwrap();
    let content = |index: &Index| index.entries().map(|entry| format!("{:?}", entry.unwrap())).collect::<Vec<_>>();
    let (whole, killed) = (index("whole"), index("killed"));
    let applied = whole.apply(before, &operations, position).unwrap();
    assert_eq!((applied.sum, applied.position), (whole.sum().unwrap(), position));
    let part: Vec<_> = operations[..TRANSACTION_OPERATIONS].iter().collect();
    let half = killed.apply_part(before, &part, before.position).unwrap();
    assert_eq!(killed.applied().unwrap(), half);
    assert_eq!(killed.apply(half, &operations, position).unwrap(), applied);
    assert_eq!(content(&whole), content(&killed));
    let nothing = killed.apply(applied, &[], Position { number: 2, end: 2000 }).unwrap();
    assert_eq!((nothing.sum, nothing.position.number), (applied.sum, 2));
}

fn put(tree: usize, key: u16, value: &[u8]) -> Operation {
    Operation { tree, key: key.to_be_bytes().to_vec(), value: Some(value.to_vec()) }
}

fn values_of(tree: &Tree) -> Vec<Vec<u8>> {
    tree.iter().map(|entry| entry.unwrap().1.to_vec()).collect()
}

fn files_in(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.starts_with(PACKED)).collect();
    names.sort();
    names
}

#[test]
fn who_reads_while_entries_are_packed_reads_on_and_the_packing_after_that_waits() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), 1 << 20).unwrap();
    let tree = STATES[1];
    let group = |value: &[u8]| (0..300).map(|key| put(tree, key, value)).collect::<Vec<_>>();
    let position = |number| Position { number, end: number };
    let applied = index.apply(Applied::default(), &group(b"first"), position(1)).unwrap();
    let mut reader = index.trees[tree].iter();
    let begun = reader.next().unwrap().unwrap();
    let applied = pack(&index, applied);
    let applied = index.apply(applied, &group(b"second"), position(2)).unwrap();
    assert_eq!(pack(&index, applied), applied, "the reader is not at its end");
    let read = [begun].into_iter().chain(reader.by_ref().map(Result::unwrap));
    assert_eq!(read.map(|(_, value)| value.to_vec()).collect::<Vec<_>>(), vec![b"first"; 300]);
    drop(reader);
    let applied = pack(&index, applied);
    assert_eq!((applied.generation, files_in(folder.path())), (2, vec!["packed.2".to_owned()]));
    assert_eq!(values_of(&index.trees[tree]), vec![b"second"; 300]);
}

#[test]
fn what_a_killed_packing_left_is_removed_and_what_counts_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let tree = STATES[1];
    let index = Index::open(folder.path(), 1 << 20).unwrap();
    let applied = index.apply(Applied::default(), &[put(tree, 1, b"packed")], Position::default()).unwrap();
    let applied = pack(&index, applied);
    let applied = index.apply(applied, &[put(tree, 2, b"later")], Position::default()).unwrap();
    let db = &index.disk.as_ref().unwrap().db;
    for name in ["pending", "records.2"] {
        db.open_tree(name).unwrap().insert(b"stale", b"stale").unwrap();
    }
    db.open_tree("pendings").unwrap();
    for name in ["packed", "packed.2"] {
        File::create_new(folder.path().join(name)).unwrap();
    }
    drop(index);
    let (index, reopened) = Index::open_checked(folder.path(), 1 << 20).unwrap();
    assert_eq!((reopened, files_in(folder.path())), (applied, vec!["packed.1".to_owned()]));
    assert_eq!(values_of(&index.trees[tree]), [&b"packed"[..], b"later"]);
    let mut left = index.disk.as_ref().unwrap().db.tree_names();
    left.retain(|name| !name.ends_with(b".1"));
    left.sort();
    assert_eq!(left, [&b"__sled__default"[..], b"meta", b"pendings"]);
}

#[test]
fn where_the_packed_part_cannot_be_written_sled_keeps_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let tree = STATES[1];
    let index = Index::open(folder.path(), 1 << 20).unwrap();
    let operations: Vec<_> = (0..100).map(|key| put(tree, key, b"value")).collect();
    let applied = index.apply(Applied::default(), &operations, Position::default()).unwrap();
    std::fs::create_dir(folder.path().join("packed.1")).unwrap();
    assert_eq!(pack(&index, applied), applied);
    assert_eq!(index.disk.as_ref().unwrap().live().most_entries, 200, "it is not tried again soon");
    assert_eq!((values_of(&index.trees[tree]).len(), index.sum().unwrap()), (100, applied.sum));
}

#[test]
fn entries_that_changed_behind_the_store_are_not_packed() {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(folder.path(), 1 << 20).unwrap();
    let applied = index.apply(Applied::default(), &[put(STATES[1], 1, b"value")], Position::default()).unwrap();
    index.trees[STATES[1]].insert(b"by no group", "of the log").unwrap();
    index.disk.as_ref().unwrap().live().most_entries = -1;
    assert!(matches!(index.pack_if_large(applied), Err(StoreError::Corrupt(_))));
    assert!(files_in(folder.path()).is_empty());
}
