//! How the rows of two answers with replicates meet.

use std::collections::BTreeMap;

use super::merge::{Known, RowsChange, RowsChanges, Series, with_known_job};
use crate::model::{DatumFields, DatumId, DatumRecord, Seen};

/// The rows of a signature, of which the answer of `harvest` replaces the data that it has, and their changes. `newer` is in the
/// order of the API, as is the result.
///
/// Data that `newer` lacks keep their rows. A known job does not become null again, and a list with the same values in another
/// order keeps the order that is stored: the server has none.
#[must_use]
pub(super) fn merge_rows(base: Series, newer: Vec<DatumRecord>, harvest: u16) -> (Series, RowsChanges) {
    let mut meetings: BTreeMap<Key, Meeting> = BTreeMap::new();
    for row in newer {
        meetings.entry(Key::of(&row)).or_default().newer.push(row);
    }
    let mut merged = Series::default();
    for (row, seen) in base.data.into_iter().zip(base.seen) {
        if let Some(meeting) = meetings.get_mut(&Key::of(&row)) {
            meeting.known.push(row);
            meeting.seen = Some(seen);
        } else {
            merged.data.push(row);
            merged.seen.push(seen);
        }
    }
    let mut changed: BTreeMap<DatumId, RowsChange> = BTreeMap::new();
    for (key, meeting) in meetings {
        let (known, before) = (meeting.seen, values(&meeting.known));
        let rows = meeting.join();
        let after = values(&rows);
        if let (Key::Id(id), true) = (key, known.is_some() && bits(&before) != bits(&after)) {
            changed.insert(id, RowsChange { id, before, after });
        }
        let seen = Seen { last: harvest, ..known.unwrap_or(Seen::once(harvest)) };
        merged.seen.extend(rows.iter().map(|_| seen));
        merged.data.extend(rows);
    }
    merged.sort();
    let changed = merged.data.iter().filter_map(|row| changed.remove(&row.id()?)).collect();
    (merged, RowsChanges { changed, ..RowsChanges::default() })
}

/// What rows belong to: a datum, or a text without an id, which stands for itself.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Id(DatumId),
    Text(String),
}

impl Key {
    fn of(row: &DatumRecord) -> Self {
        match row {
            DatumRecord::Irregular(datum) if datum.id.is_none() => Self::Text(datum.raw.as_str().to_owned()),
            _ => Self::Id(row.id().unwrap_or_default()),
        }
    }
}

/// The rows of one datum in both answers.
#[derive(Default)]
struct Meeting {
    known: Vec<DatumRecord>,
    seen: Option<Seen>,
    newer: Vec<DatumRecord>,
}

impl Meeting {
    fn join(self) -> Vec<DatumRecord> {
        let Self { known, newer, .. } = self;
        let Some(first) = known.first() else { return newer };
        let mut joined = Vec::with_capacity(newer.len());
        for row in newer {
            match with_known_job(first, &row) {
                Known::Holds => return known,
                Known::Completes(row) => joined.push(row),
                Known::Adds => joined.push(row),
            }
        }
        let sorted = |rows: &[DatumRecord]| {
            let mut bits = bits(&values(rows));
            bits.sort_unstable();
            bits
        };
        let are_regular = |rows: &[DatumRecord]| rows.iter().all(|row| matches!(row, DatumRecord::Regular(_)));
        if are_regular(&joined) && are_regular(&known) && sorted(&joined) == sorted(&known) {
            for (row, known) in joined.iter_mut().zip(&known) {
                if let (DatumRecord::Regular(row), DatumRecord::Regular(known)) = (row, known) {
                    row.value = known.value;
                }
            }
        }
        joined
    }
}

/// The values of rows, as the table of replicates has them.
fn values(rows: &[DatumRecord]) -> Vec<Option<f64>> {
    let value = |row: &DatumRecord| match row {
        DatumRecord::Regular(datum) => Some(datum.value),
        DatumRecord::Irregular(datum) => DatumFields::read(datum.raw.as_str()).ok()?.value(),
    };
    rows.iter().map(value).collect()
}

/// Equal to the bit: 0.0 and -0.0 are two values.
fn bits(values: &[Option<f64>]) -> Vec<Option<u64>> {
    values.iter().map(|value| value.map(f64::to_bits)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_datum;

    /// The rows of an answer of harvest 2 meet those of harvest 1.
    fn merged(base: &[DatumRecord], newer: Vec<DatumRecord>) -> (Vec<DatumRecord>, Vec<u16>, Vec<RowsChange>) {
        let (series, changes) = merge_rows(Series::of_answer(base.to_vec(), 1), newer, 2);
        (series.data, series.seen.iter().map(|seen| seen.first).collect(), changes.changed)
    }

    /// Rows as `(id, job, value)`; the value is written into the text as it is.
    fn rows(of: &[(u64, Option<u64>, &str)]) -> Vec<DatumRecord> {
        let row = |(id, job, value): &(u64, Option<u64>, &str)| {
            let job_id = job.map_or("null".to_owned(), |job| job.to_string());
            let of_job = |text: &str| if job.is_some() { format!("\"{text}\"") } else { "null".to_owned() };
            let (submitted, machine) = (of_job("2026-07-01T01:00:00"), of_job("m1"));
            let text = format!(
                "{{\"job_id\":{job_id},\"id\":{id},\"value\":{value},\"push_timestamp\":\"2026-07-01T00:00:00\",\
                 \"push_id\":7,\"revision\":\"{}\",\"submit_time\":{submitted},\"machine_name\":{machine}}}",
                "a".repeat(40)
            );
            parse_datum(&text).unwrap()
        };
        of.iter().map(row).collect()
    }

    fn change(id: u64, before: &[f64], after: &[f64]) -> RowsChange {
        let some = |values: &[f64]| values.iter().copied().map(Some).collect();
        RowsChange { id: DatumId(id), before: some(before), after: some(after) }
    }

    #[test]
    fn a_newer_list_takes_the_place_of_the_older_one_and_known_jobs_stay() {
        let base = rows(&[(1, Some(5), "1.0"), (1, Some(5), "2.0"), (2, Some(6), "0.0"), (3, Some(7), "3.0")]);
        let newer =
            rows(&[(2, None, "-0.0"), (2, None, "0.0"), (2, None, "0.0"), (1, Some(5), "2.0"), (4, None, "4.0")]);
        let (data, first_seen, changes) = merged(&base, newer);
        let expected = rows(&[
            (1, Some(5), "2.0"),
            (2, Some(6), "-0.0"),
            (2, Some(6), "0.0"),
            (2, Some(6), "0.0"),
            (3, Some(7), "3.0"),
            (4, None, "4.0"),
        ]);
        let bits = |rows: &[DatumRecord]| format!("{rows:?}");
        assert_eq!(bits(&data), bits(&expected));
        assert_eq!(first_seen, [1, 1, 1, 1, 1, 2]);
        assert_eq!(changes, [change(1, &[1.0, 2.0], &[2.0]), change(2, &[0.0], &[-0.0, 0.0, 0.0])]);
        assert_eq!(bits(&merged(&base, Vec::new()).0), bits(&base));
        assert_eq!(bits(&merged(&[], base.clone()).0), bits(&base));
        let (same, _, changes) = merged(&base, base.clone());
        assert_eq!((bits(&same), changes), (bits(&base), Vec::new()), "a set would lose equal rows");
    }

    #[test]
    fn a_list_with_a_text_that_lacks_a_known_job_leaves_the_older_one() {
        let base = rows(&[(1, Some(5), "1.0"), (1, Some(5), "1.0")]);
        let newer = rows(&[(1, None, "1.0"), (1, None, "2")]);
        assert!(matches!(newer[1], DatumRecord::Irregular(_)));
        assert_eq!(merged(&base, newer), (base, vec![1, 1], Vec::new()));
    }

    proptest! {
        #[test]
        fn changes_applied_to_the_lists_before_give_those_after(
            answers in vec(btree_map(1_u64..5, vec(0_u8..3, 1..4), 0..4), 1..6),
        ) {
            let (mut series, mut told) = (Series::default(), BTreeMap::<DatumId, Vec<Option<f64>>>::new());
            for (answer, harvest) in answers.into_iter().zip(1..) {
                let of: Vec<_> = answer
                    .iter()
                    .flat_map(|(id, values)| values.iter().map(|value| (*id, None, format!("{value}.0"))))
                    .collect();
                let newer = rows(&of.iter().map(|(id, job, value)| (*id, *job, value.as_str())).collect::<Vec<_>>());
                let (next, changes) = merge_rows(series, newer, harvest);
                for RowsChange { id, before, after } in changes.changed {
                    prop_assert!(bits(&before) != bits(&after));
                    prop_assert_eq!(told.insert(id, after), Some(before));
                }
                let mut lists = BTreeMap::<DatumId, Vec<Option<f64>>>::new();
                for (row, seen) in next.data.iter().zip(&next.seen) {
                    lists.entry(row.id().unwrap()).or_default().extend(values(std::slice::from_ref(row)));
                    prop_assert!(seen.last == harvest || !answer.contains_key(&row.id().unwrap().0));
                    if seen.first == harvest {
                        told.insert(row.id().unwrap(), lists[&row.id().unwrap()].clone());
                    }
                }
                prop_assert_eq!(&told, &lists);
                series = next;
            }
        }
    }

    #[test]
    fn a_list_in_another_order_is_the_same_list() {
        let base = rows(&[(1, None, "3.0"), (1, None, "1.0"), (1, None, "2.0"), (1, None, "1.0")]);
        let newer = rows(&[(1, Some(5), "1.0"), (1, Some(5), "1.0"), (1, Some(5), "2.0"), (1, Some(5), "3.0")]);
        let expected = rows(&[(1, Some(5), "3.0"), (1, Some(5), "1.0"), (1, Some(5), "2.0"), (1, Some(5), "1.0")]);
        assert_eq!(merged(&base, newer), (expected, vec![1; 4], Vec::new()));
        // Two of three values are the same, but not as often.
        let newer = rows(&[(1, None, "1.0"), (1, None, "3.0"), (1, None, "2.0"), (1, None, "3.0")]);
        assert_eq!(merged(&base, newer.clone()).0, newer);
    }

    #[test]
    fn the_values_of_odd_rows_are_not_mixed_with_others() {
        let odd = rows(&[(1, None, "1"), (1, None, "2.0"), (1, None, "3.0")]);
        let newer = rows(&[(1, None, "3.0"), (1, None, "1"), (1, None, "2.0")]);
        assert!(matches!((&odd[0], &newer[1]), (DatumRecord::Irregular(_), DatumRecord::Irregular(_))));
        let (data, _, changes) = merged(&odd, newer.clone());
        assert_eq!((data, changes), (newer, vec![change(1, &[1.0, 2.0, 3.0], &[3.0, 1.0, 2.0])]));
    }
}
