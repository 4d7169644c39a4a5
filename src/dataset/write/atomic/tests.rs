use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_appears_only_when_it_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = ArtifactFile::create(folder.path(), "a.csv").unwrap();
    let text = vec![b'x'; 3 * BLOCK_BYTES + 7];
    file.write_all(&text).unwrap();
    assert!(!folder.path().join("a.csv").exists());
    let finished = file.finish().unwrap();
    assert_eq!(finished.bytes, text.len() as u64);
    assert!(!folder.path().join("a.csv").exists());
    publish(folder.path(), vec![finished]).unwrap();
    assert_eq!(std::fs::read(folder.path().join("a.csv")).unwrap(), text);
    assert_eq!(names(folder.path()), ["a.csv"]);
}

#[test]
fn blocks_and_bytes_come_in_the_order_in_which_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = ArtifactFile::create(folder.path(), "a.csv").unwrap();
    let (mut expected, mut block) = (Vec::new(), Vec::new());
    for number in 0..200_u32 {
        let bytes = number.to_le_bytes().repeat(1 << (number % 12));
        expected.extend_from_slice(&bytes);
        if number % 3 == 0 {
            file.write_all(&bytes).unwrap();
        } else {
            block.extend_from_slice(&bytes);
            file.write_block(&mut block).unwrap();
            assert!(block.is_empty());
            file.write_block(&mut block).unwrap(); // nothing
        }
    }
    let finished = file.finish().unwrap();
    assert_eq!(finished.bytes, expected.len() as u64);
    assert_eq!(finished.sha256[..], Sha256::digest(&expected)[..]);
    publish(folder.path(), vec![finished]).unwrap();
    assert_eq!(std::fs::read(folder.path().join("a.csv")).unwrap(), expected);
}

#[test]
fn an_abandoned_file_leaves_nothing_and_the_old_one_stands() {
    let folder = tempfile::tempdir().unwrap();
    for content in [Some("old"), None] {
        let mut file = ArtifactFile::create(folder.path(), "a.csv").unwrap();
        file.write_all(content.unwrap_or("new").as_bytes()).unwrap();
        if content.is_some() {
            publish(folder.path(), vec![file.finish().unwrap()]).unwrap();
        } else {
            drop(file.finish().unwrap());
        }
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("a.csv")).unwrap(), "old");
    assert_eq!(names(folder.path()), ["a.csv"]);
}

#[test]
fn a_file_that_is_given_up_while_it_is_written_is_gone_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = ArtifactFile::create(folder.path(), "a.csv").unwrap();
    file.write_all(&vec![b'x'; 3 * BLOCK_BYTES]).unwrap();
    assert_eq!(names(folder.path()).len(), 1);
    drop(file);
    assert!(names(folder.path()).is_empty());
}

#[test]
fn leftovers_are_told_from_other_files_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let kept = [".a.csv", ".hidden.tmp", "a.csv", ".a.csv.abc12.tmp", ".a.csv.abc-12.tmp", "a.csv.abc123.tmp"];
    for name in kept.iter().chain(&[".a.csv.abc123.tmp"]) {
        std::fs::OpenOptions::new().write(true).create_new(true).open(folder.path().join(name)).unwrap();
    }
    remove_leftovers(folder.path());
    let mut kept = kept.map(str::to_owned);
    kept.sort();
    assert_eq!(names(folder.path()), kept);
}

#[test]
fn a_file_that_is_being_written_or_waits_for_the_others_is_no_leftover() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = ArtifactFile::create(folder.path(), "a.csv").unwrap();
    file.write_all(b"text").unwrap();
    remove_leftovers(folder.path());
    let finished = file.finish().unwrap();
    remove_leftovers_of(&folder.path().join("a.csv"));
    publish(folder.path(), vec![finished]).unwrap();
    assert_eq!(names(folder.path()), ["a.csv"]);
}

#[cfg(unix)]
#[test]
fn the_target_of_a_link_is_replaced_and_the_link_stays() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    std::fs::create_dir(&disk).unwrap();
    std::os::unix::fs::symlink("disk/target", folder.path().join("a.csv")).unwrap();
    for text in ["new", "newer"] {
        let mut file = ArtifactFile::create(folder.path(), "a.csv").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        publish(folder.path(), vec![file.finish().unwrap()]).unwrap();
        assert_eq!(std::fs::read_to_string(disk.join("target")).unwrap(), text);
    }
    assert!(folder.path().join("a.csv").is_symlink());
    assert_eq!((names(folder.path()), names(&disk)), (vec!["a.csv".into(), "disk".into()], vec!["target".into()]));
}
