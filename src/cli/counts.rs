//! The counts of a store by kind of request, for people and as JSON. One set of columns for all commands.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::store::{KindTally, Tally};

/// `total` is the sum of the five columns of outcomes and of those that are pending; `records` is what the answers hold.
pub(super) fn count_table(counts: &Tally) -> String {
    let names = ["total", "fetched", "empty", "gone", "skipped", "failed", "pending", "records"];
    let row = |name: &str, columns: [String; 8]| {
        let columns: Vec<String> = columns.iter().map(|column| format!("{column:>7}")).collect();
        format!("{name:>12} {}\n", columns.join(" "))
    };
    let mut text = row("", names.map(str::to_owned));
    for kind in counts.kinds() {
        let of = counts.of(kind);
        let columns = [of.total(), of.data, of.empty, of.gone, of.skipped, of.failed, of.pending, of.records];
        text.push_str(&row(&kind.name().replace('_', " "), columns.map(|count| count.to_string())));
    }
    text
}

/// The counts by name, and the digests as text, because most JSON readers round large numbers.
#[derive(Debug, Serialize)]
pub(super) struct CountsView<'a> {
    commits: u64,
    complete: bool,
    kinds: BTreeMap<&'static str, &'a KindTally>,
    digests: BTreeMap<&'static str, String>,
}

impl<'a> CountsView<'a> {
    pub(super) fn of(counts: &'a Tally) -> Self {
        Self {
            commits: counts.commits,
            complete: counts.is_complete(),
            kinds: counts.kinds().map(|kind| (kind.name(), counts.of(kind))).collect(),
            digests: counts.kinds().map(|kind| (kind.name(), format!("{:032x}", counts.digest(kind)))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_stand_under_their_names_and_add_up_to_the_total() {
        let kind = r#"{"pending":6,"data":1,"empty":2,"gone":3,"skipped":4,"failed":5,"records":70,"body_bytes":0,"attempts":0}"#;
        let json = format!(r#"{{"commits":1,"kinds":[{}],"digests":[0,0,0,0],"finished":false}}"#, [kind; 4].join(","));
        let table = count_table(&serde_json::from_str(&json).unwrap());
        let (head, row) = (table.lines().next().unwrap(), table.lines().nth(1).unwrap());
        assert_eq!(head.len(), row.len(), "{table}");
        assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["alerts", "21", "1", "2", "3", "4", "5", "6", "70"]);
    }
}
