//! How the rows of two answers with replicates meet.

use std::collections::{HashMap, HashSet};

use foldhash::fast::RandomState;

use super::merge::{Known, with_known_job};
use crate::model::{DatumId, DatumRecord, bring_rows_to_api_order};

/// The rows of a signature, of which `newer` replaces the data that it has. Both in the order of the API, as is the result.
///
/// Data that `newer` lacks keep their rows. A known job does not become null again.
#[must_use]
pub(super) fn merge_rows(mut base: Vec<DatumRecord>, newer: Vec<DatumRecord>) -> Vec<DatumRecord> {
    let mut replaced: HashSet<DatumId, RandomState> = newer.iter().filter_map(DatumRecord::id).collect();
    let texts: HashSet<String, RandomState> = newer.iter().filter_map(text_without_id).map(str::to_owned).collect();
    let known: HashMap<DatumId, &DatumRecord, RandomState> =
        base.iter().rev().filter_map(|row| Some((row.id()?, row))).collect();
    let mut merged = Vec::with_capacity(base.len().max(newer.len()));
    for row in newer {
        let known = row.id().and_then(|id| Some((id, known.get(&id)?)));
        match known.map(|(id, known)| (id, with_known_job(known, &row))) {
            Some((id, Known::Holds)) => drop(replaced.remove(&id)),
            Some((_, Known::Completes(row))) => merged.push(row),
            Some((_, Known::Adds)) | None => merged.push(row),
        }
    }
    merged.retain(|row| row.id().is_none_or(|id| replaced.contains(&id)));
    base.retain(|row| match (row.id(), text_without_id(row)) {
        (Some(id), _) => !replaced.contains(&id),
        (None, text) => text.is_none_or(|text| !texts.contains(text)),
    });
    merged.extend(base);
    bring_rows_to_api_order(&mut merged);
    merged
}

/// The text of a row without an id, which stands for it.
fn text_without_id(row: &DatumRecord) -> Option<&str> {
    match row {
        DatumRecord::Irregular(datum) if datum.id.is_none() => Some(datum.raw.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::parse_datum;

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

    #[test]
    fn a_newer_list_takes_the_place_of_the_older_one_and_known_jobs_stay() {
        let base = rows(&[(1, Some(5), "1.0"), (1, Some(5), "2.0"), (2, Some(6), "0.0"), (3, Some(7), "3.0")]);
        let newer = rows(&[(2, None, "-0.0"), (2, None, "0.0"), (2, None, "0.0"), (1, Some(5), "2.0")]);
        let merged = merge_rows(base.clone(), newer);
        let expected = rows(&[
            (1, Some(5), "2.0"),
            (2, Some(6), "-0.0"),
            (2, Some(6), "0.0"),
            (2, Some(6), "0.0"),
            (3, Some(7), "3.0"),
        ]);
        let bits = |rows: &[DatumRecord]| format!("{rows:?}");
        assert_eq!(bits(&merged), bits(&expected));
        assert_eq!(bits(&merge_rows(base.clone(), Vec::new())), bits(&base));
        assert_eq!(bits(&merge_rows(Vec::new(), base.clone())), bits(&base));
        assert_eq!(bits(&merge_rows(base.clone(), base.clone())), bits(&base), "a set would lose equal rows");
    }

    #[test]
    fn a_list_with_a_text_that_lacks_a_known_job_leaves_the_older_one() {
        let base = rows(&[(1, Some(5), "1.0"), (1, Some(5), "1.0")]);
        let newer = rows(&[(1, None, "1.0"), (1, None, "2")]);
        assert!(matches!(newer[1], DatumRecord::Irregular(_)));
        assert_eq!(merge_rows(base.clone(), newer), base);
    }
}
