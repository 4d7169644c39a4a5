//! Reads the data dictionary, `datasets/README.md`: its sections for the card, the meaning of each column, and the dates on
//! which Treeherder changed the meaning of its data.

use std::collections::BTreeMap;

use crate::dataset::tables::Table;
use crate::model::Timestamp;

const DICTIONARY: &str = include_str!("../../datasets/README.md");

/// Sections of the dictionary that a card has words of its own for.
const LEFT_OUT: [&str; 4] = ["Loading the files", "manifest.json", "Published folders", "Changes at the server"];

/// The sections of a card, without those that it replaces.
pub(super) fn sections() -> String {
    let mut text = String::new();
    for section in DICTIONARY.split("\n## ").skip(1) {
        let heading = section.lines().next().unwrap_or_default();
        if !LEFT_OUT.contains(&heading) {
            text.push_str(&format!("\n## {}\n", section.trim_end()));
        }
    }
    text
}

/// The meaning of each column of a table, in plain text.
pub(super) fn meanings(table: Table) -> BTreeMap<String, String> {
    let heading = format!("\n### `{}`\n", table.schema().file_name());
    let section = DICTIONARY.split_once(&heading).map_or("", |(_, rest)| rest);
    let section = section.split("\n##").next().unwrap_or_default();
    let mut meanings = BTreeMap::new();
    for [names, _, meaning] in rows(section).filter_map(|row| <[&str; 3]>::try_from(row).ok()) {
        for name in names.split('`').skip(1).step_by(2) {
            meanings.insert(name.to_owned(), plain(meaning));
        }
    }
    meanings
}

/// The text below the heading of a table.
pub(super) fn summary_of(table: Table) -> String {
    let heading = format!("\n### `{}`\n", table.schema().file_name());
    let section = DICTIONARY.split_once(&heading).map_or("", |(_, rest)| rest);
    plain(&section.split("\n\n").next().unwrap_or_default().replace('\n', " "))
}

/// A change of the meaning of Treeherder's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MeaningChange {
    /// The first day, if only the month is known.
    pub(super) at: Timestamp,
    /// The date as it is known.
    pub(super) date: &'static str,
    pub(super) of_alerts: bool,
    pub(super) change: &'static str,
    pub(super) consequence: &'static str,
}

/// All changes of the dictionary, by date.
pub(super) fn meaning_changes() -> Vec<MeaningChange> {
    let section = DICTIONARY.split_once("\n## Changes at the server\n").map_or("", |(_, rest)| rest);
    let section = section.split("\n## ").next().unwrap_or_default();
    let read = |row: Vec<&'static str>| {
        let [date, of, change, consequence] = <[&str; 4]>::try_from(row).ok()?;
        let day = if date.len() == "2026-08".len() { format!("{date}-01") } else { date.to_owned() };
        Some(MeaningChange { at: day.parse().ok()?, date, of_alerts: of == "alerts", change, consequence })
    };
    rows(section).filter_map(read).collect()
}

/// The cells of each row of the Markdown tables in `text`.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix('|'));
    lines.map(|line| line.split(" |").map(str::trim).collect())
}

/// Text without the marks of Markdown.
fn plain(text: &str) -> String {
    let mut plain = text.replace("**", "").replace(['`', '*'], "");
    while let Some((before, rest)) = plain.split_once("](")
        && let (Some(start), Some((_, after))) = (before.rfind('['), rest.split_once(')'))
    {
        plain = format!("{}{}{after}", &before[..start], &before[start + 1..]);
    }
    plain.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_meaning_and_every_table_a_text() {
        for table in Table::ALL {
            let meanings = meanings(table);
            for column in table.published_schema().columns {
                assert!(meanings.contains_key(column.name), "{table}.{}", column.name);
            }
            assert!(summary_of(table).starts_with("One row per"), "{}", summary_of(table));
        }
    }

    #[test]
    fn the_card_has_every_section_but_those_that_it_replaces() {
        let sections = sections();
        for heading in DICTIONARY.lines().filter_map(|line| line.strip_prefix("## ")) {
            assert_eq!(sections.contains(&format!("\n## {heading}\n")), !LEFT_OUT.contains(&heading), "{heading}");
        }
        assert!(LEFT_OUT.iter().all(|heading| DICTIONARY.contains(&format!("\n## {heading}\n"))));
    }

    #[test]
    fn changes_at_the_server_are_all_read_and_stand_by_date() {
        let changes = meaning_changes();
        let section = DICTIONARY.split_once("\n## Changes at the server\n").unwrap().1.split("\n## ").next().unwrap();
        assert_eq!(changes.len(), section.lines().filter(|line| line.starts_with("| 20")).count());
        assert!(changes.len() > 5 && changes.is_sorted_by_key(|change| change.at));
    }

    #[test]
    fn plain_text_has_no_links_and_no_marks() {
        assert_eq!(plain("the *head*, see [`a`](#b) and [c](d)"), "the head, see a and c");
    }
}
