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

type Entry = (usize, Vec<u8>, Option<Vec<u8>>);

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let key = proptest::collection::vec(0_u8..4, 0..5);
    let value = proptest::option::weighted(0.7, proptest::collection::vec(any::<u8>(), 2..60));
    proptest::collection::vec((0..NUM_TREES, key, value), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn a_built_database_with_later_changes_reads_as_one(built in entries(), groups in proptest::collection::vec(entries(), 0..4)) {
        let folder = tempfile::tempdir().unwrap();
        let mut content = Content::default();
        for (tree, key, value) in built {
            let _replaced = content.trees[tree].insert(key.into(), value.unwrap_or_default().into());
        }
        let mut expected = content.trees.clone();
        let path = folder.path().join("db");
        let mut applied = Index::build(&path, 1 << 20, content.into_entries(), Applied::default()).unwrap();
        let index = Index::open(&path, 1 << 20).unwrap();
        for (number, group) in (1..).zip(groups) {
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
