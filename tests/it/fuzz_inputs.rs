//! Every input of the fuzz targets in `fuzz/inputs` passes: the seeds, and those that once found an error.

use std::path::Path;

use perfharvest::fuzzing;

type Target = fn(&[u8]);

#[test]
fn all_inputs_of_the_fuzz_targets_pass() {
    let targets: [(&str, Target); 5] = [
        ("archive_entries", fuzzing::archive_entries),
        ("columns", fuzzing::columns),
        ("reply", fuzzing::reply),
        ("row", fuzzing::row),
        ("scan", fuzzing::scan),
    ];
    let inputs = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/inputs");
    assert_eq!(std::fs::read_dir(&inputs).unwrap().count(), targets.len());
    for (name, target) in targets {
        let files: Vec<_> = std::fs::read_dir(inputs.join(name)).unwrap().map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{name}");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let passed = std::panic::catch_unwind(|| target(&bytes));
            assert!(passed.is_ok(), "{}", file.display());
        }
    }
}
