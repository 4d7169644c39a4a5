//! The largest signature groups, with their suites, platforms and frameworks.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::facts::{Facts, GroupProfile};
use super::names;
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text::{count, shown};

/// Most names of one kind in a row.
const MAX_NAMES: usize = 4;

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    html! {
        section id="groups" {
            h2 { "Largest groups" }
            @if facts.signatures.groups.is_empty() {
                p { "No signature has jobs, so there are no groups." }
            } @else {
                p { "The signatures of a group are measured by the same jobs. Where a group has several names, each is followed by "
                    "its number of signatures." }
                (table(facts))
            }
        }
    }
}

fn table(facts: &Facts) -> Markup {
    let columns = vec![
        numbers("group"),
        numbers("signatures"),
        numbers("minutes"),
        texts("suites"),
        texts("platforms"),
        texts("frameworks"),
    ];
    let row = |(id, profile): (u32, &GroupProfile)| {
        vec![
            Cell::Number(f64::from(id), id.to_string()),
            Cell::count(profile.num_signatures),
            Cell::measure(facts.overview.minutes_by_group.get(&id).copied()),
            Cell::Text(listed(&profile.suites, |name| shown(name))),
            Cell::Text(listed(&profile.platforms, |name| shown(name))),
            Cell::Text(listed(&profile.frameworks, |id| names::framework(*id))),
        ]
    };
    let rows: Vec<Vec<Cell>> = (0..).zip(&facts.signatures.groups).map(row).collect();
    let total = facts.overview.groups.len() as u64;
    let left_out = left_out(rows.len(), total, "largest", "groups", "sig_groups.jsonl contains all of them");
    Table { caption: "Largest signature groups", columns, rows, left_out }.draw()
}

/// `a × 12, b × 3 and 5 more`
fn listed<T: Ord + Clone>(tally: &BTreeMap<T, u64>, name: impl Fn(&T) -> String) -> String {
    let names = GroupProfile::by_frequency(tally);
    let alone = names.len() == 1;
    let with_count = |(kind, num): &(T, u64)| {
        if alone { name(kind) } else { format!("{} × {}", name(kind), count(*num)) }
    };
    let mut text = names.iter().take(MAX_NAMES).map(with_count).collect::<Vec<_>>().join(", ");
    if names.len() > MAX_NAMES {
        text.push_str(&format!(" and {} more", count((names.len() - MAX_NAMES) as u64)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_names_come_first_and_the_rest_is_counted() {
        let tally: BTreeMap<String, u64> =
            [("a", 1), ("b", 7), ("c", 7), ("d", 2), ("e", 1), ("f", 1)].map(|(name, n)| (name.to_owned(), n)).into();
        assert_eq!(listed(&tally, |name| shown(name)), "b × 7, c × 7, d × 2, a × 1 and 2 more");
        assert_eq!(listed(&BTreeMap::from([(String::new(), 3)]), |name| shown(name)), "—");
    }
}
