use proptest::prelude::*;

use super::*;
use crate::store::frame;

fn append(log: &ValueLog, values: &[&[u8]]) -> Vec<Place> {
    let values: Vec<_> = values.iter().map(|value| frame::seal(value)).collect();
    let mut kept = Vec::new();
    let keep = |places: &[Place]| {
        kept.extend_from_slice(places);
        Vec::new()
    };
    let head = log.append(Kind::Commit, &values, keep).unwrap();
    kept.into_iter().map(|place| place.behind(head.values_at())).collect()
}

/// Where the values of a first group without operations begin.
fn values_at() -> u64 {
    (Head::BYTES + frame::seal(&[]).len()) as u64
}

fn file_in(store: &Path) -> File {
    OpenOptions::new().write(true).open(ValueLog::path_in(store)).unwrap()
}

#[test]
fn values_come_back_also_after_it_was_closed_and_more_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let first: Vec<_> = (0_u8..50).map(|at| vec![at; usize::from(at) * 10]).collect();
    let first: Vec<_> = first.iter().map(Vec::as_slice).collect();
    let large = vec![7; WRITE_BYTES];
    let second = [large.as_slice(), b"small"];
    let log = ValueLog::open(folder.path(), true).unwrap();
    let mut places = append(&log, &first);
    drop(log);
    let log = ValueLog::open(folder.path(), true).unwrap();
    places.extend(append(&log, &second));
    for (place, value) in places.iter().zip(first.iter().chain(&second)) {
        assert_eq!(log.read(*place, <[u8]>::to_vec).unwrap(), *value);
    }
}

#[test]
fn reading_makes_no_file_and_the_first_value_does() {
    let folder = tempfile::tempdir().unwrap();
    let log = ValueLog::open(folder.path(), true).unwrap();
    let place = Place { offset: 0, len: 20, check: 0, slot: None };
    assert_eq!(log.read(place, <[u8]>::to_vec).unwrap_err().kind(), io::ErrorKind::InvalidData);
    log.sync().unwrap();
    assert!(!log.exists() && !ValueLog::path_in(folder.path()).exists());
    append(&log, &[b"first"]);
    assert!(log.exists());
}

#[test]
fn bytes_that_a_crash_left_are_never_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let log = ValueLog::open(folder.path(), true).unwrap();
    let known = append(&log, &[b"known"])[0];
    let len = log.len();
    drop(log);
    write_all_at(&file_in(folder.path()), b"torn", len).unwrap();
    let log = ValueLog::open(folder.path(), true).unwrap();
    let later = append(&log, &[b"later"])[0];
    assert_eq!(later.offset, len + 4 + values_at());
    assert_eq!(log.read(known, <[u8]>::to_vec).unwrap(), b"known");
    assert_eq!(log.read(later, <[u8]>::to_vec).unwrap(), b"later");
}

#[test]
fn a_lost_place_is_never_given_to_another_value() {
    let folder = tempfile::tempdir().unwrap();
    let log = ValueLog::open(folder.path(), true).unwrap();
    let lost = append(&log, &[b"lost"])[0];
    let len = log.len();
    drop(log);
    file_in(folder.path()).set_len(0).unwrap();
    let log = ValueLog::open(folder.path(), true).unwrap();
    assert_eq!(log.read(lost, <[u8]>::to_vec).unwrap_err().kind(), io::ErrorKind::InvalidData);
    log.accept_loss(len);
    let other = append(&log, &[b"next"])[0];
    assert_eq!(log.read(lost, <[u8]>::to_vec).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert_eq!(log.read(other, <[u8]>::to_vec).unwrap(), b"next");
}

proptest! {
    #[test]
    fn places_come_back_and_frames_are_not_places(offset: u64, len: u32, check: u32, slot: Option<u16>, raw in proptest::collection::vec(any::<u8>(), 0..40)) {
        let place = Place { offset, len, check, slot };
        prop_assert_eq!(Place::from_bytes(&place.to_bytes()), Some(place));
        prop_assert_eq!(Place::from_bytes(&frame::seal(&raw)), None);
    }

    #[test]
    fn no_place_returns_a_wrong_value(offset in 0_u64..200, len in 0_u32..200, check: u32, slot: Option<u16>) {
        let folder = tempfile::tempdir().unwrap();
        let log = ValueLog::open(folder.path(), true).unwrap();
        let values = [&[1; 50][..], &[2; 30]];
        append(&log, &values);
        let place = Place { offset: offset + values_at(), len, check, slot: None };
        for place in [place, Place { offset: u64::MAX - offset, len: u32::MAX - len, ..place }, place.in_slot(slot)] {
            if let Ok(value) = log.read(place, <[u8]>::to_vec) {
                prop_assert!(values.contains(&value.as_slice()) && place.slot.is_none());
            }
        }
    }
}
