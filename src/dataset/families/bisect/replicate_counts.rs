//! The number of replicates of the newest data of a signature.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::rows::{raw_field, text_field};
use crate::model::{DatumId, DatumRecord, RawJson};

/// The place of a row among those of its signature: time of the push as text, push, job (none last), datum. Of the data of one
/// push without a job, whose order the server leaves open, the one with the largest id is the last.
type Place = (String, i64, u64, DatumId);

/// Counts the replicates of the two newest data of a signature.
#[derive(Debug, Default)]
pub(super) struct ReplicateCounts {
    /// By datum: number of rows, and the last place.
    data: HashMap<DatumId, (u64, Place), RandomState>,
}

impl ReplicateCounts {
    /// Adds a row; one without an id does not count.
    pub(super) fn add(&mut self, row: &DatumRecord) {
        let Some(id) = row.id() else { return };
        let (time, push) = match row {
            DatumRecord::Regular(datum) => {
                (datum.push_timestamp.to_naive_string(), i64::try_from(datum.push_id.0).unwrap_or(i64::MAX))
            }
            DatumRecord::Irregular(datum) => {
                let text = |key: &str| text_field(&datum.raw, key).filter(|text| !text.trim().is_empty());
                let time = text("push_timestamp").or_else(|| text("submit_time")).unwrap_or_default();
                (time, integer_field(&datum.raw, "push_id"))
            }
        };
        let place = (time, push, row.job_id().map_or(u64::MAX, |job| job.0), id);
        match self.data.get_mut(&id) {
            Some((num, last)) => {
                *num += 1;
                if place > *last {
                    *last = place;
                }
            }
            None => drop(self.data.insert(id, (1, place))),
        }
    }

    /// The larger number of rows of the two newest data; 0 without data.
    pub(super) fn of_newest(self) -> u64 {
        let mut newest: [Option<(Place, u64)>; 2] = [None, None];
        for (num, place) in self.data.into_values() {
            let found = Some((place, num));
            if found > newest[0] {
                newest[1] = std::mem::replace(&mut newest[0], found);
            } else if found > newest[1] {
                newest[1] = found;
            }
        }
        newest.into_iter().flatten().map(|(_, num)| num).max().unwrap_or(0)
    }
}

/// An integer; -1 for another value.
fn integer_field(raw: &RawJson, key: &str) -> i64 {
    raw_field(raw, key).and_then(|raw| serde_json::from_str(&raw).ok()).unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::parse_datum;

    fn row(pushed: &str, push: u64, job: Option<u64>, id: u64) -> DatumRecord {
        let job = job.map_or_else(|| "null".to_owned(), |job| job.to_string());
        let raw = format!(
            r#"{{"job_id":{job},"id":{id},"value":1.5,"push_timestamp":"{pushed}","push_id":{push},"revision":"{}","submit_time":null,"machine_name":null}}"#,
            "ab".repeat(20)
        );
        parse_datum(&raw).unwrap()
    }

    fn count(rows: &[DatumRecord]) -> u64 {
        let mut counts = ReplicateCounts::default();
        for row in rows {
            counts.add(row);
        }
        counts.of_newest()
    }

    #[test]
    fn the_two_newest_data_count_and_nothing_older() {
        let (old, new) = ("2026-07-20T00:00:00", "2026-07-20T00:00:00.500000");
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[row(old, 1, Some(5), 7)]), 1);
        let five = |id| (0..5).map(move |_| row(old, 1, Some(5), id));
        assert_eq!(count(&five(7).collect::<Vec<_>>()), 5);
        let newest = [row(new, 2, Some(6), 8), row(new, 2, Some(7), 9)];
        assert_eq!(count(&five(7).chain(newest.clone()).collect::<Vec<_>>()), 1);
        assert_eq!(count(&five(7).chain([newest[0].clone()]).collect::<Vec<_>>()), 5);
        // A datum of a later push id, one without a job, and cut apart.
        assert_eq!(count(&[row(old, 1, None, 1), row(old, 1, Some(9), 2), row(old, 1, None, 1)]), 2);
        let parse = |text: &str| parse_datum(text).unwrap();
        let odd = parse(&format!("{{\"id\":3,\"push_timestamp\":\"{old}\",\"push_id\":null}}"));
        assert_eq!(count(&[odd.clone(), odd.clone(), row(old, 0, Some(1), 4), row(old, 1, Some(1), 5)]), 1);
        assert_eq!(count(&[odd.clone(), odd]), 2);
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(
            mut rows in proptest::collection::vec((0_u64..3, 0_u64..3, 0_u64..5), 0..20),
            seed in any::<u64>(),
        ) {
            let of = |rows: &[(u64, u64, u64)]| {
                let rows = rows.iter().map(|(push, job, id)| {
                    row("2026-07-20T00:00:00", *push, (*job > 0).then_some(*job), push * 100 + job * 10 + id + 1)
                });
                count(&rows.collect::<Vec<_>>())
            };
            let before = of(&rows);
            rows.sort_by_key(|row| (row.0 + 3 * row.1 + 9 * row.2 + 1).wrapping_mul(seed | 1));
            prop_assert_eq!(of(&rows), before);
        }
    }
}
