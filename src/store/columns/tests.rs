use std::cell::RefCell;
use std::collections::HashMap;

use proptest::prelude::*;

use super::format::{FORMAT_VERSION, WITH_REPLICATES};
use super::*;
use crate::model::{Datum, DatumId, DatumRecord, IrregularDatum, JobId, PushId, RawJson, Revision, Seen, Timestamp};

fn word() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), Just(u64::MAX), 0_u64..5, 2_150_000_000_u64..2_150_100_000]
}

fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        any::<i64>().prop_map(Timestamp::from_micros),
        Just(Timestamp::from_micros(i64::MIN)),
        Just(Timestamp::from_micros(i64::MAX)),
        (1_780_000_000_i64..1_790_000_000).prop_map(Timestamp::from_secs),
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("JSON has no NaN", |value| !value.is_nan()),
        Just(-0.0),
        Just(5e-324),
        (-100_000_i32..1_000_000).prop_map(|cents| f64::from(cents) / 100.0),
    ]
}

fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![any::<[u8; 20]>().prop_map(Revision), (0_u8..3).prop_map(|byte| Revision([byte; 20]))]
}

fn record() -> impl Strategy<Value = DatumRecord> {
    use proptest::option::of;
    let common = (of(word().prop_map(JobId)), word().prop_map(DatumId), time(), word().prop_map(PushId), of(time()));
    let kind = prop_oneof![
        4 => (value(), revision(), of(prop_oneof!["t-linux64-ms-0[0-9]{2}", ".{0,8}"]))
            .prop_map(|(value, revision, name)| Ok((value, revision, name))),
        1 => ("[a-zé{}]{0,40}", of(revision())).prop_map(Err),
    ];
    (common, kind).prop_map(|((job_id, id, push_timestamp, push_id, submit_time), kind)| match kind {
        Ok((value, revision, machine_name)) => DatumRecord::Regular(Datum {
            job_id,
            id,
            value,
            push_timestamp,
            push_id,
            revision,
            submit_time,
            machine_name: machine_name.map(Into::into),
        }),
        Err((text, revision)) => DatumRecord::Irregular(Box::new(IrregularDatum {
            raw: RawJson::parse(&format!("{{\"note\": \"{text}\"}}")).unwrap(),
            job_id,
            id: Some(id).filter(|id| id.0 != 0),
            push_timestamp,
            push_id,
            revision,
            submit_time,
        })),
    })
}

/// A push table that takes the first revision of each push, but nothing for every third push.
#[derive(Default)]
struct PushTable(RefCell<HashMap<PushId, Revision>>);

impl PushTable {
    fn intern(&self, push_id: PushId, revision: Revision) -> bool {
        !push_id.0.is_multiple_of(3) && *self.0.borrow_mut().entry(push_id).or_insert(revision) == revision
    }

    fn get(&self, push_id: PushId) -> Option<Revision> {
        self.0.borrow().get(&push_id).copied()
    }
}

fn decode_all(chunks: &[EncodedChunk], table: &PushTable) -> Vec<DatumRecord> {
    let mut columns = Columns::default();
    chunks
        .iter()
        .flat_map(|chunk| {
            columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
            assert_eq!(columns.len(), chunk.num_data as usize);
            for &(push_id, revision) in &chunk.pushes {
                assert_eq!(table.get(push_id), Some(revision));
            }
            (0..columns.len())
                .map(|index| columns.record(index, |push_id| table.get(push_id)).unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Equal by bits: `PartialEq` of floats lets -0.0 and 0.0 pass for the same.
fn assert_same(left: &[DatumRecord], right: &[DatumRecord]) {
    assert_eq!(left, right);
    for pair in left.iter().zip(right) {
        if let (DatumRecord::Regular(left), DatumRecord::Regular(right)) = pair {
            assert_eq!(left.value.to_bits(), right.value.to_bits());
        }
    }
}

fn seen() -> impl Strategy<Value = Seen> {
    let number = || prop_oneof![any::<u16>(), 1_u16..4];
    (number(), number(), any::<bool>(), any::<bool>()).prop_map(|(first, last, job_expired, unlisted)| Seen {
        first,
        last,
        job_expired,
        unlisted,
    })
}

fn chunk_of(records: &[DatumRecord]) -> Vec<u8> {
    chunk_of_seen(records, None)
}

fn chunk_of_seen(records: &[DatumRecord], seen: Option<&[Seen]>) -> Vec<u8> {
    let table = PushTable::default();
    let chunks = encode(records, seen, &mut |push_id, revision| table.intern(push_id, revision), usize::MAX);
    chunks.first().map(|chunk| chunk.bytes.clone()).unwrap_or_default()
}

/// Calls everything that reads.
fn read_everything(columns: &Columns) {
    let mut out = Vec::new();
    for index in 0..columns.len() {
        let _ = columns.write_python(index, |_| Some(Revision::default()), &mut out);
        let _ = columns.irregular(index);
        let _ = columns.record(index, |_| Some(Revision::default()));
        let _ = columns.seen(index);
    }
}

proptest! {
    #[test]
    fn any_records_come_back_to_the_bit(records in proptest::collection::vec(record(), 0..60), max in 1_usize..70) {
        let table = PushTable::default();
        let chunks = encode(&records, None, &mut |push_id, revision| table.intern(push_id, revision), max);
        prop_assert!(chunks.iter().all(|chunk| chunk.num_data as usize <= max));
        prop_assert_eq!(chunks.len(), records.len().div_ceil(max));
        assert_same(&decode_all(&chunks, &table), &records);
    }

    #[test]
    fn harvests_come_back_and_change_nothing_else(
        data in proptest::collection::vec((record(), seen()), 1..60),
        max in 1_usize..70,
    ) {
        let (records, seen): (Vec<_>, Vec<_>) = data.into_iter().unzip();
        let table = PushTable::default();
        let mut intern = |push_id, revision| table.intern(push_id, revision);
        let chunks = encode(&records, Some(&seen), &mut intern, max);
        let mut columns = Columns::default();
        let again: Vec<_> = chunks
            .iter()
            .flat_map(|chunk| {
                columns.decode(&chunk.bytes, ColumnSet::HARVESTS).unwrap();
                (0..columns.len()).map(|index| columns.seen(index)).collect::<Vec<_>>()
            })
            .collect();
        prop_assert_eq!(again, seen.into_iter().map(Some).collect::<Vec<_>>());
        assert_same(&decode_all(&chunks, &table), &records);
        columns.decode(&chunk_of(&records), ColumnSet::ALL).unwrap();
        prop_assert!((0..columns.len()).all(|index| columns.seen(index).is_none()));
    }

    #[test]
    fn one_column_reads_as_it_does_among_all(records in proptest::collection::vec(record(), 1..40)) {
        let bytes = chunk_of(&records);
        let mut columns = Columns::default();
        // Values of an earlier chunk must not shine through.
        columns.decode(&chunk_of(&records[..=records.len() / 2]), ColumnSet::ALL).unwrap();
        columns.decode(&bytes, ColumnSet::JOB_IDS).unwrap();
        prop_assert!(records.iter().enumerate().all(|(at, record)| columns.job_id(at) == record.job_id()));
        columns.decode(&bytes, ColumnSet::SUBMIT_TIMES).unwrap();
        prop_assert!(records.iter().enumerate().all(|(at, record)| columns.submit_time(at) == record.submit_time()));
        prop_assert!(records.iter().enumerate().all(|(at, record)| columns.push_timestamp(at) == record.push_timestamp()));
        columns.decode(&bytes, ColumnSet::IDS | ColumnSet::VALUES).unwrap();
        for (at, record) in records.iter().enumerate() {
            prop_assert_eq!(columns.id(at), record.id());
            let value = if let DatumRecord::Regular(datum) = record { Some(datum.value.to_bits()) } else { None };
            prop_assert_eq!(columns.value(at).map(f64::to_bits), value);
        }
        columns.decode(&bytes, ColumnSet::REVISIONS).unwrap();
        for (at, record) in records.iter().enumerate() {
            match columns.revision_place(at) {
                RevisionPlace::Unknown => prop_assert_eq!(record.revision(), None),
                RevisionPlace::Inline(revision) => prop_assert_eq!(record.revision(), Some(revision)),
                RevisionPlace::PushTable => prop_assert!(record.revision().is_some()),
            }
        }
    }

    #[test]
    fn arbitrary_bytes_are_refused_or_read_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut columns = Columns::default();
        for bytes in [bytes.clone(), [&[FORMAT_VERSION, 20][..], &bytes].concat()] {
            if columns.decode(&bytes, ColumnSet::ALL).is_ok() {
                read_everything(&columns);
            }
        }
    }

    #[test]
    fn changed_bytes_never_panic(
        data in proptest::collection::vec((record(), seen()), 1..30),
        with_harvests: bool,
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (records, seen): (Vec<_>, Vec<_>) = data.into_iter().unzip();
        let mut bytes = chunk_of_seen(&records, with_harvests.then_some(&seen[..]));
        let mut columns = Columns::default();
        prop_assert!(columns.decode(&bytes[..cut.index(bytes.len())], ColumnSet::ALL).is_err());
        prop_assert!(columns.is_empty());
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if columns.decode(&bytes, ColumnSet::ALL).is_ok() {
                prop_assert!(columns.len() <= bytes.len());
                read_everything(&columns);
            }
        }
    }
}

/// Rows of data, as a reply with replicates has them.
fn rows() -> impl Strategy<Value = Vec<DatumRecord>> {
    let of_datum = |(record, values): (DatumRecord, Vec<f64>)| match record {
        DatumRecord::Regular(datum) => {
            values.into_iter().map(|value| DatumRecord::Regular(Datum { value, ..datum.clone() })).collect()
        }
        irregular @ DatumRecord::Irregular(_) => vec![irregular],
    };
    let datum = (record(), proptest::collection::vec(value(), 1..9)).prop_map(of_datum);
    proptest::collection::vec(datum, 0..20).prop_map(|data| data.concat())
}

fn decode_rows(chunks: &[EncodedChunk], table: &PushTable) -> Vec<DatumRecord> {
    let (mut columns, mut rows) = (Columns::default(), Vec::new());
    for chunk in chunks {
        columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
        let before = rows.len();
        for index in 0..columns.len() {
            columns.add_rows(index, |push_id| table.get(push_id), &mut rows).unwrap();
        }
        assert_eq!(columns.num_rows(), rows.len() - before);
        assert!(columns.num_rows() <= chunk.bytes.len());
    }
    rows
}

fn encode_rows_with(rows: &[DatumRecord], table: &PushTable) -> Vec<EncodedChunk> {
    encode_rows(rows, None, &mut |push_id, revision| table.intern(push_id, revision))
}

proptest! {
    #[test]
    fn rows_come_back_in_their_order(rows in rows()) {
        let table = PushTable::default();
        assert_same(&decode_rows(&encode_rows_with(&rows, &table), &table), &rows);
    }

    #[test]
    fn rows_of_harvests_come_back_with_them(rows in rows()) {
        let table = PushTable::default();
        let harvest = |row: &DatumRecord| Seen::once(1 + u16::try_from(row.id().unwrap_or_default().0 % 3).unwrap());
        let seen: Vec<Seen> = rows.iter().map(harvest).collect();
        let chunks = encode_rows(&rows, Some(&seen), &mut |push_id, revision| table.intern(push_id, revision));
        assert_same(&decode_rows(&chunks, &table), &rows);
        let (mut columns, mut found) = (Columns::default(), Vec::new());
        for chunk in &chunks {
            columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
            for index in 0..columns.len() {
                let num_rows = columns.row_values(index).count().max(1); // an irregular datum is one row
                found.extend(std::iter::repeat_n(columns.seen(index).unwrap(), num_rows));
            }
        }
        prop_assert_eq!(found, seen);
    }

    #[test]
    fn changed_bytes_of_rows_never_panic(
        rows in rows(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut columns = Columns::default();
        for chunk in encode_rows_with(&rows, &PushTable::default()) {
            prop_assert_eq!(chunk.bytes[0], WITH_REPLICATES);
            let mut bytes = chunk.bytes;
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
                if columns.decode(&bytes, ColumnSet::ALL).is_ok() {
                    prop_assert!(columns.num_rows() <= 2 * bytes.len());
                    read_everything(&columns);
                    let values = (0..columns.len()).flat_map(|at| columns.row_values(at)).count();
                    prop_assert!(values <= columns.num_rows());
                }
            }
        }
    }
}

#[test]
fn a_datum_with_many_rows_is_continued_in_further_chunks_and_its_fields_are_kept_once() {
    let value = |at: u32| f64::from(at % 100);
    let rows: Vec<DatumRecord> =
        (0..40_000).map(|at| DatumRecord::Regular(Datum { value: value(at), ..datum(0) })).collect();
    let table = PushTable::default();
    let chunks = encode_rows_with(&rows, &table);
    assert_eq!(chunks.iter().map(|chunk| chunk.num_data).collect::<Vec<_>>(), [1, 1, 1]);
    assert_same(&decode_rows(&chunks, &table), &rows);

    let rows: Vec<DatumRecord> =
        (0..24_000).map(|at| DatumRecord::Regular(Datum { value: value(at), ..datum(u64::from(at / 24)) })).collect();
    let chunks = encode_rows_with(&rows, &table);
    assert_eq!(chunks.iter().map(|chunk| chunk.num_data).collect::<Vec<_>>(), [683, 318], "one is in both");
    assert_same(&decode_rows(&chunks, &table), &rows);
}

fn datum(at: u64) -> Datum {
    Datum {
        job_id: Some(JobId(560_000_000 + at)),
        id: DatumId(2_150_000_000 + at),
        value: 533.1,
        push_timestamp: Timestamp::from_secs(1_783_000_000),
        push_id: PushId(1_800_000),
        revision: Revision([7; 20]),
        submit_time: Some(Timestamp::from_secs(1_783_000_600)),
        machine_name: Some("t-linux64-ms-001".into()),
    }
}

#[test]
fn python_text_is_that_of_the_datum() {
    let regular = datum(0);
    let odd = r#"{"id":5,"push_timestamp":"2026-07-28"}"#;
    let records = [DatumRecord::Regular(regular.clone()), crate::model::parse_datum(odd).unwrap()];
    let chunks = encode(&records, None, &mut |_, _| true, 10);
    assert_eq!(chunks[0].pushes, [(regular.push_id, regular.revision)]);
    let mut columns = Columns::default();
    columns.decode(&chunks[0].bytes, ColumnSet::ALL).unwrap();
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    assert_eq!(columns.write_python(0, |_| None, &mut out), PythonText::UnknownRevision(regular.push_id));
    assert_eq!(columns.write_python(1, |_| None, &mut out), PythonText::Irregular(odd));
    assert!(out.is_empty());
    assert_eq!(columns.write_python(0, |_| Some(regular.revision), &mut out), PythonText::Written);
    regular.write_python(&mut expected);
    assert_eq!(out, expected);
}

#[test]
fn equal_data_are_padded_so_that_the_length_bounds_the_count() {
    let records: Vec<DatumRecord> = (0..5000).map(|at| DatumRecord::Regular(datum(at))).collect();
    let bytes = chunk_of(&records);
    assert_eq!(bytes.len(), 5000);
    let mut columns = Columns::default();
    columns.decode(&bytes, ColumnSet::ALL).unwrap();
    assert_eq!(columns.len(), 5000);
    assert!(columns.decode(&bytes[..300], ColumnSet::ALL).is_err());
}

#[test]
fn other_versions_are_refused_by_name() {
    let mut bytes = chunk_of(&[DatumRecord::Regular(datum(1))]);
    bytes[0] = WITH_REPLICATES + 1;
    let error = Columns::default().decode(&bytes, ColumnSet::NONE).unwrap_err();
    assert!(matches!(error, ColumnsError::Version { found } if found == WITH_REPLICATES + 1));
}

#[test]
fn the_push_table_says_where_a_revision_goes() {
    let records: Vec<DatumRecord> =
        (0..40).map(|at| DatumRecord::Regular(Datum { push_id: PushId(at / 2 % 4), ..datum(at) })).collect();
    let mut asked = Vec::new();
    let chunks = encode(
        &records,
        None,
        &mut |push_id, _| {
            asked.push(push_id.0);
            push_id.0 < 2
        },
        10,
    );
    asked.dedup();
    assert_eq!(asked, [0, 1, 2, 3].repeat(5), "once for data that follow each other");
    let listed = [0, 1].map(|push| (PushId(push), datum(0).revision));
    assert!(chunks.iter().all(|chunk| chunk.pushes == listed));
}

#[test]
fn a_year_of_weekly_harvests_takes_few_bits_a_datum() {
    // Each harvest sees the data of the last four weeks again. Every thirtieth datum is late, every hundredth was unlisted, and
    // the jobs of the first half have expired.
    let week = |at: u64| u16::try_from(at / 20 + 1).unwrap();
    let num_data = 1024;
    let seen: Vec<Seen> = (0..num_data)
        .map(|at| Seen {
            first: week(at) + if at % 30 == 7 { 2 } else { 0 },
            last: (week(at) + 4).min(52) - if at % 100 == 9 { 3 } else { 0 },
            job_expired: at < num_data / 2,
            unlisted: at % 100 == 9,
        })
        .collect();
    let records: Vec<DatumRecord> = (0..num_data)
        .map(|at| DatumRecord::Regular(Datum { value: f64::from_bits(at * 0x9e37_79b9), ..datum(at) }))
        .collect();
    let size = |seen: Option<&[Seen]>| chunk_of_seen(&records, seen).len();
    let without = size(None);
    assert!(size(Some(&vec![Seen::once(7); records.len()])) <= without + 6);
    let with = size(Some(&seen));
    assert!(with <= without + records.len() / 2, "{} bytes for {num_data} data", with - without);
}
