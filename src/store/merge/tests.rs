use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::columns::{ColumnSet, encode};
use super::super::settlement::datum_digest;
use super::*;
use crate::model::{SignatureId, parse_datum};

const SIGNATURE: SignatureId = SignatureId(7);

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(1_785_000_000 + secs)
}

fn window(start: i64, end: i64) -> Window {
    Window { start: at(start), end: at(end) }
}

/// The text of a datum with job 500 + `id`, pushed at `secs`.
fn text(id: u64, secs: i64) -> String {
    format!(
        concat!(
            r#"{{"job_id":{},"id":{},"value":1.5,"push_timestamp":"{}","push_id":3,"#,
            r#""revision":"4a0848c8a72f6b814209205af46df1dbc1688697","submit_time":"{}","machine_name":"m-1"}}"#
        ),
        500 + id,
        id,
        at(secs).to_naive_string(),
        at(secs + 90).to_naive_string(),
    )
}

fn parse(text: &str) -> DatumRecord {
    parse_datum(text).unwrap()
}

/// The text after the server has deleted the job.
fn without_job(text: &str) -> String {
    let mut fields: Vec<String> = text.split(',').map(str::to_owned).collect();
    fields[0] = "{\"job_id\":null".to_owned();
    fields[6] = "\"submit_time\":null".to_owned();
    fields[7] = "\"machine_name\":null}".to_owned();
    fields.join(",")
}

/// Some job fields absent, other values, and texts that are irregular in several ways.
fn altered(text: &str, form: u8, value: u8) -> String {
    let text =
        text.replace("\"value\":1.5", ["\"value\":0.0", "\"value\":-0.0", "\"value\":1.5"][usize::from(value % 3)]);
    match form {
        0 => without_job(&text),
        1 => text.replace("\"m-1\"", "null"),
        2 => text.replace("\"m-1\"", "\"m-2\""),
        3 => text.replacen("\"job_id\":5", "\"job_id\":6", 1),
        4 => text.replacen('}', ",\"new\":1}", 1),
        5 => without_job(&text).replacen('}', ",\n\"new\":1}", 1),
        6 => {
            let start = text.find("\"id\":").unwrap();
            let end = start + text[start..].find(',').unwrap();
            text.replacen(&text[start..end], "\"id\":null", 1)
        }
        7 => text.replacen("\"job_id\":5", "\"job_id\":null,\"x\":5", 1),
        _ => text,
    }
}

/// The data of an answer for 0..50. Each text occurs once.
fn answer() -> impl Strategy<Value = Vec<DatumRecord>> {
    let datum = (1_u64..14, -2_i64..3, 0_u8..20, 0_u8..6).prop_map(|(id, shift, form, value)| {
        let secs = 3 * i64::try_from(id).unwrap() + i64::from(shift == 2);
        parse(&altered(&text(id, secs), form, value))
    });
    prop::collection::vec(datum, 0..14).prop_map(|mut data| {
        bring_to_api_order(&mut data);
        data.dedup_by(|left, right| key(left) == key(right));
        data
    })
}

/// A series after several harvests.
fn base() -> impl Strategy<Value = Series> {
    prop::collection::vec((answer(), 0_i64..40), 0..3).prop_map(|answers| {
        (1..).zip(answers).fold(Series::default(), |base, (harvest, (data, start))| {
            let asked = window(start, 50);
            merge(base, within(&data, asked), harvest, asked, at(0)).0
        })
    })
}

fn within(data: &[DatumRecord], window: Window) -> Vec<DatumRecord> {
    data.iter().filter(|record| window.contains(record.push_timestamp())).cloned().collect()
}

fn digest(data: &[DatumRecord]) -> u128 {
    let mut bytes = Vec::new();
    data.iter().fold(0, |sum: u128, record| sum.wrapping_add(datum_digest(SIGNATURE, record, &mut bytes)))
}

/// The record and the marks of each datum, by its id or its text.
type Rows = BTreeMap<String, (DatumRecord, bool, bool)>;

fn key(record: &DatumRecord) -> String {
    match (record.id(), record) {
        (None, DatumRecord::Irregular(datum)) => datum.raw.as_str().replace('\n', " "),
        _ => record.id().unwrap().to_string(),
    }
}

fn rows(series: &Series) -> Rows {
    let row = |(record, seen): (&DatumRecord, &Seen)| (key(record), (record.clone(), seen.job_expired, seen.unlisted));
    series.data.iter().zip(&series.seen).map(row).collect()
}

#[derive(Deserialize)]
struct Change<'a> {
    id: u64,
    #[serde(borrow)]
    before: &'a RawValue,
    #[serde(borrow)]
    after: &'a RawValue,
}

/// Applies a line of the feed to the rows before; additions come from `new`.
fn replay(line: &str, rows: &mut Rows, new: &Rows) {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(line).unwrap();
    let list = |name: &str| -> Vec<String> {
        let ids: Vec<u64> = fields.get(name).map(|raw| serde_json::from_str(raw.get()).unwrap()).unwrap_or_default();
        let texts = fields.get(&format!("{name}_without_id"));
        let texts: Vec<&RawValue> = texts.map(|raw| serde_json::from_str(raw.get()).unwrap()).unwrap_or_default();
        let texts = texts.into_iter().map(|text| text.get().to_owned());
        ids.into_iter().map(|id| id.to_string()).chain(texts).collect()
    };
    for name in ["added", "late", "expired", "unlisted"] {
        assert_eq!(fields[&format!("num_{name}")].get(), list(name).len().to_string(), "{name}");
    }
    for key in list("added") {
        rows.insert(key.clone(), (new[&key].0.clone(), false, false));
    }
    let changes: Vec<Change<'_>> =
        fields.get("changed").map(|raw| serde_json::from_str(raw.get()).unwrap()).unwrap_or_default();
    assert_eq!(fields["num_changed"].get(), changes.len().to_string());
    for Change { id, before, after } in changes {
        let row = rows.get_mut(&id.to_string()).unwrap();
        assert_same_text(&row.0, before.get());
        row.0 = parse(after.get());
    }
    for key in list("expired") {
        assert!(!std::mem::replace(&mut rows.get_mut(&key).unwrap().1, true));
    }
    for key in list("job_returned") {
        assert!(std::mem::replace(&mut rows.get_mut(&key).unwrap().1, false));
    }
    for key in list("unlisted") {
        assert!(!std::mem::replace(&mut rows.get_mut(&key).unwrap().2, true));
    }
    for key in list("listed_again") {
        assert!(std::mem::replace(&mut rows.get_mut(&key).unwrap().2, false));
    }
}

fn assert_same_text(record: &DatumRecord, text: &str) {
    assert_eq!(on_one_line(record), text);
}

fn on_one_line(record: &DatumRecord) -> String {
    match record {
        DatumRecord::Regular(datum) => {
            let mut text = Vec::new();
            datum.write_compact(&mut text);
            String::from_utf8(text).unwrap()
        }
        DatumRecord::Irregular(datum) => datum.raw.as_str().replace('\n', " "),
    }
}

fn texts(rows: &Rows) -> Vec<(String, String, bool, bool)> {
    rows.iter()
        .map(|(key, (record, expired, unlisted))| (key.clone(), on_one_line(record), *expired, *unlisted))
        .collect()
}

proptest! {
    #[test]
    fn the_feed_replayed_over_the_old_rows_gives_the_new_ones(base in base(), newer in answer(), start in 0_i64..40) {
        let asked = window(start, 50);
        let (merged, changes) = merge(base.clone(), within(&newer, asked), 4, asked, at(30));
        let mut line = Vec::new();
        changes.write_line(SIGNATURE, &mut line);
        let line = String::from_utf8(line).unwrap();
        prop_assert!(line.ends_with('\n') && line.lines().count() == 1, "{}", line);
        let (mut replayed, new) = (rows(&base), rows(&merged));
        replay(&line, &mut replayed, &new);
        prop_assert_eq!(texts(&replayed), texts(&new), "{}", line);
        prop_assert_eq!(changes.is_empty(), texts(&rows(&base)) == texts(&new) && base.data.len() == merged.data.len());
    }

    #[test]
    fn nothing_disappears_and_no_job_field_becomes_null(base in base(), newer in answer()) {
        let (merged, _) = merge(base.clone(), newer.clone(), 4, window(0, 50), at(30));
        prop_assert!(merged.data.is_sorted_by(|left, right| api_order(left) <= api_order(right)));
        prop_assert_eq!(merged.data.len(), merged.seen.len());
        let after = rows(&merged);
        for (key, (before, ..)) in rows(&base) {
            let lost = JobFields::of(&after[&key].0).lacks_some_of(&JobFields::of(&before));
            prop_assert!(!lost, "{:?} from {:?}", after[&key].0, before);
        }
        for record in &newer {
            prop_assert!(after.contains_key(&key(record)));
        }
        for (record, seen) in merged.data.iter().zip(&merged.seen) {
            let is_listed = newer.iter().any(|newer| key(newer) == key(record));
            prop_assert_eq!(seen.last == 4, is_listed || seen.last > 4);
        }
    }

    #[test]
    fn the_same_answer_once_more_changes_only_the_last_harvest(base in base(), newer in answer()) {
        let (once, _) = merge(base, newer.clone(), 4, window(0, 50), at(30));
        let (twice, changes) = merge(once.clone(), newer, 5, window(0, 50), at(50));
        prop_assert!(changes.is_empty(), "{:?}", changes);
        prop_assert_eq!(&twice.data, &once.data);
        for (before, after) in once.seen.iter().zip(&twice.seen) {
            let last = if before.last == 4 { 5 } else { before.last };
            prop_assert_eq!(Seen { last, ..*before }, *after);
        }
    }

    #[test]
    fn parts_in_any_order_give_the_whole(
        base in base(),
        newer in answer(),
        mut cuts in prop::collection::vec(0_i64..50, 0..5),
        backwards: bool,
    ) {
        let (whole, _) = merge(base.clone(), newer.clone(), 4, window(0, 50), at(30));
        cuts.extend([0, 50]);
        cuts.sort_unstable();
        let mut parts: Vec<Window> = cuts.windows(2).map(|cut| window(cut[0], cut[1])).collect();
        if backwards {
            parts.reverse();
        }
        let by_part = parts.iter().fold(base.clone(), |base, &part| merge(base, within(&newer, part), 4, part, at(30)).0);
        prop_assert_eq!(&by_part, &whole);
        prop_assert_eq!(digest(&by_part.data), digest(&whole.data));
        let together = parts.iter().flat_map(|&part| within(&newer, part)).collect();
        prop_assert_eq!(merge(base, together, 4, window(0, 50), at(30)).0, whole);
    }

    #[test]
    fn harvests_of_a_growing_server_give_the_data_of_one(
        all in answer(),
        is_late in prop::collection::vec(any::<bool>(), 14),
        end in 5_i64..40,
        overlap in 0_i64..20,
    ) {
        let asked = window(end - overlap, 50);
        let late: Vec<_> = all.iter().zip(is_late).filter(|(_, is_late)| *is_late).map(|(record, _)| key(record)).collect();
        let mut first = within(&all, window(0, end));
        first.retain(|record| !asked.contains(record.push_timestamp()) || !late.contains(&key(record)));
        let (merged, changes) = merge(Series::of_answer(first, 1), within(&all, asked), 2, asked, at(end));
        prop_assert_eq!(&merged.data, &all);
        prop_assert_eq!(digest(&merged.data), digest(&all));
        let is_before = |record: &&DatumRecord| asked.contains(record.push_timestamp()) && record.push_timestamp() < at(end);
        let num_late = all.iter().filter(is_before).filter(|record| late.contains(&key(record))).count();
        prop_assert_eq!((changes.late.len(), changes.changed.len(), changes.unlisted.len()), (num_late, 0, 0));
    }

    #[test]
    fn chunks_of_any_size_give_the_series(series in base(), max in 1_usize..20) {
        let chunks = encode(&series.data, Some(&series.seen), &mut |_, _| false, max);
        let (mut columns, mut again) = (Columns::default(), Series::default());
        for chunk in &chunks {
            columns.decode(&chunk.bytes, ColumnSet::ALL).unwrap();
            again.add_chunk(&columns, 1, |_| None).unwrap();
        }
        prop_assert_eq!(again, series);
    }
}

#[test]
fn an_expired_job_is_kept_named_and_may_return() {
    let (with, without) = (text(1, 10), without_job(&text(1, 10)));
    let base = Series::of_answer(vec![parse(&with)], 1);
    let (kept, changes) = merge(base, vec![parse(&without)], 2, window(0, 50), at(20));
    assert_eq!(kept.data, [parse(&with)]);
    assert_eq!(kept.seen, [Seen { first: 1, last: 2, job_expired: true, unlisted: false }]);
    assert_eq!((changes.expired.len(), changes.changed.len()), (1, 0));
    let newer = without.replace("1.5", "2.5");
    let (kept, changes) = merge(kept, vec![parse(&newer)], 3, window(0, 50), at(20));
    assert_eq!(kept.data, [parse(&with.replace("1.5", "2.5"))]);
    assert_eq!((changes.expired.len(), changes.changed.len()), (0, 1));
    let (returned, changes) = merge(kept, vec![parse(&with)], 4, window(0, 50), at(20));
    assert_eq!(returned.seen, [Seen { first: 1, ..Seen::once(4) }]);
    assert_eq!((changes.job_returned.len(), changes.changed.len()), (1, 1));
}

#[test]
fn a_datum_is_unlisted_only_where_it_was_asked_for() {
    let base = Series::of_answer(vec![parse(&text(1, 10)), parse(&text(2, 20)), parse(&text(3, 30))], 1);
    let (outside, changes) = merge(base, vec![parse(&text(3, 30))], 2, window(20, 50), at(20));
    assert_eq!(changes.unlisted.ids, [DatumId(2)]);
    assert_eq!(outside.seen[0], Seen::once(1));
    let all = || vec![parse(&text(1, 10)), parse(&text(2, 20))];
    let (again, changes) = merge(outside, all(), 3, window(0, 50), at(20));
    assert_eq!((changes.listed_again.ids, changes.unlisted.ids), (vec![DatumId(2)], vec![DatumId(3)]));
    let (_, changes) = merge(again, all(), 4, window(0, 50), at(20));
    assert!(changes.is_empty(), "a datum is unlisted once");
}

#[test]
fn a_line_of_the_feed_names_what_changed() {
    let plain = text(1, 10);
    let base = Series::of_answer(vec![parse(&plain), parse(&text(3, 12)), parse(&text(4, 13))], 1);
    let no_id = altered(&text(5, 30), 6, 2);
    let newer = [plain.replace("1.5", "2.0"), text(2, 11), without_job(&text(3, 12)), no_id.clone()];
    let (_, changes) = merge(base, newer.iter().map(|text| parse(text)).collect(), 2, window(0, 50), at(20));
    let mut line = Vec::new();
    changes.write_line(SIGNATURE, &mut line);
    let expected = format!(
        concat!(
            r#"{{"kind":"data","signature_id":7,"num_added":2,"num_late":1,"num_changed":1,"num_expired":1,"num_unlisted":1,"#,
            r#""added":[2],"added_without_id":[{}],"late":[2],"changed":[{{"id":1,"before":{},"after":{}}}],"#,
            r#""expired":[3],"unlisted":[4]}}"#,
            "\n"
        ),
        no_id, plain, newer[0],
    );
    assert_eq!(String::from_utf8(line).unwrap(), expected);
}

#[test]
fn equal_texts_without_an_id_are_counted() {
    let same = || parse(&altered(&text(5, 30), 6, 2));
    let merged = |base, newer| {
        let base = Series::of_answer(vec![same(); base], 1);
        let (merged, changes) = merge(base, vec![same(); newer], 2, window(0, 50), at(20));
        (merged.data.len(), changes.added.len(), changes.unlisted.len())
    };
    assert_eq!([merged(2, 2), merged(1, 3), merged(3, 1)], [(2, 0, 0), (3, 2, 0), (3, 0, 2)]);
}

#[test]
fn two_jobs_are_not_mixed() {
    let known = text(1, 10);
    let other = known.replace("\"job_id\":501", "\"job_id\":601").replace("\"m-1\"", "null");
    let merged =
        |newer: &str| merge(Series::of_answer(vec![parse(&known)], 1), vec![parse(newer)], 2, window(0, 50), at(20));
    assert_eq!(merged(&other).0.data, [parse(&known)]);
    let whole = known.replace("\"job_id\":501", "\"job_id\":601");
    assert_eq!(merged(&whole).0.data, [parse(&whole)]);
}
