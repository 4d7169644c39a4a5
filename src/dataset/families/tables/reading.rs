//! Reads cells from the server's JSON, with the key and the null value of each column.
//!
//! Tolerant, as other readers of records: a field of an undocumented type counts as absent, unknown keys are ignored, and
//! the last of duplicate keys counts. A record without a value for a required column gives no row.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use crate::dataset::write::parquet::{Cell, Column, ColumnType};
use crate::model::{Timestamp, exact_integer};

/// The conversion of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// An integer, in any notation that is exact.
    Integer,
    /// A number.
    Float,
    /// True or false.
    Flag,
    /// True or false, with the value of an absent key.
    FlagOr(bool),
    /// A string.
    Text,
    /// A string; null if empty.
    TextUnlessEmpty,
    /// A time as a string.
    Time,
    /// A time in seconds since 1970; null if 0.
    EpochSecs,
    /// A list of strings; null if empty.
    Texts,
    /// Any value, as its JSON text.
    Json,
}

/// A column of a table of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field {
    name: &'static str,
    /// A key of the record, or a path of two keys with a dot between them.
    path: &'static str,
    reading: Reading,
    nullable: bool,
}

impl Field {
    /// A required column.
    pub(super) const fn required(name: &'static str, reading: Reading) -> Self {
        Self { name, path: name, reading, nullable: false }
    }

    /// A nullable column.
    pub(super) const fn nullable(name: &'static str, reading: Reading) -> Self {
        Self { name, path: name, reading, nullable: true }
    }

    /// Reads the column from another key than its name.
    pub(super) const fn at(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    /// The schema of the column.
    pub(super) fn column(&self) -> Column {
        let holds = match self.reading {
            Reading::Integer => ColumnType::Integer,
            Reading::Float => ColumnType::Float,
            Reading::Flag | Reading::FlagOr(_) => ColumnType::Flag,
            Reading::Text | Reading::TextUnlessEmpty | Reading::Json => ColumnType::Text,
            Reading::Time | Reading::EpochSecs => ColumnType::Time,
            Reading::Texts => ColumnType::Texts,
        };
        Column { name: self.name, holds, nullable: self.nullable }
    }
}

/// The values of a record by key, unparsed.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(super) struct Record<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

impl<'a> Record<'a> {
    /// Reads a record; `None` if the text is not an object.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The objects in a list.
    pub(super) fn objects(&self, key: &str) -> Vec<Record<'a>> {
        let list: Vec<&RawValue> = self.raw(key).and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
        list.into_iter().filter_map(|raw| serde_json::from_str(raw.get()).ok()).collect()
    }

    /// Appends a cell for each field; stops and returns `false` if a required column has no value.
    pub(super) fn append_cells(&self, fields: &[Field], cells: &mut Vec<Cell<'static>>) -> bool {
        for field in fields {
            let cell = self.cell(field);
            if cell == Cell::Null && !field.nullable {
                return false;
            }
            cells.push(cell);
        }
        true
    }

    fn cell(&self, field: &Field) -> Cell<'static> {
        let raw = match field.path.split_once('.') {
            None => self.raw(field.path),
            Some((outer, inner)) => {
                let nested: Option<Record<'a>> = self.raw(outer).and_then(Record::read);
                nested.and_then(|nested| nested.raw(inner))
            }
        };
        match field.reading {
            Reading::Integer => raw.and_then(exact_integer).map_or(Cell::Null, Cell::Integer),
            Reading::Float => raw.and_then(float).map_or(Cell::Null, Cell::Float),
            Reading::Flag => raw.and_then(parse).map_or(Cell::Null, Cell::Flag),
            Reading::FlagOr(absent) => Cell::Flag(raw.and_then(parse).unwrap_or(absent)),
            Reading::Text => raw.and_then(text).map_or(Cell::Null, owned),
            Reading::TextUnlessEmpty => raw.and_then(text).filter(|text| !text.is_empty()).map_or(Cell::Null, owned),
            Reading::Time => {
                let at = raw.and_then(text).and_then(|text| text.parse::<Timestamp>().ok());
                at.map_or(Cell::Null, Cell::Time)
            }
            Reading::EpochSecs => {
                let secs = raw.and_then(exact_integer).filter(|&secs| secs != 0);
                secs.map_or(Cell::Null, |secs| Cell::Time(Timestamp::from_secs(secs)))
            }
            Reading::Texts => {
                let list: Vec<&RawValue> = raw.and_then(|raw| serde_json::from_str(raw).ok()).unwrap_or_default();
                Cell::Texts(list.into_iter().filter_map(|raw| text(raw.get())).collect())
            }
            Reading::Json => raw.filter(|raw| *raw != "null").map_or(Cell::Null, |raw| owned(raw.to_owned())),
        }
    }

    fn raw(&self, key: &str) -> Option<&'a str> {
        self.0.get(key).map(|raw| raw.get())
    }
}

fn owned(text: String) -> Cell<'static> {
    Cell::Text(Cow::Owned(text))
}

fn parse<T: DeserializeOwned>(raw: &str) -> Option<T> {
    serde_json::from_str(raw).ok()
}

/// Reads the nearest float to a number; `serde_json` may return its neighbour.
fn float(raw: &str) -> Option<f64> {
    let is_number = raw.starts_with(|first: char| first.is_ascii_digit() || first == '-');
    let value: f64 = raw.parse().ok().filter(|_| is_number)?;
    value.is_finite().then_some(value)
}

/// Reads a string. UTF-8 cannot represent a lone surrogate, so its escape stays as the server wrote it.
fn text(raw: &str) -> Option<String> {
    let quoted = raw.strip_prefix('"')?.strip_suffix('"')?;
    Some(parse(raw).unwrap_or_else(|| quoted.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(reading: Reading, json: &str) -> Cell<'static> {
        let text = format!("{{\"key\":{json}}}");
        Record::read(&text).unwrap().cell(&Field::nullable("key", reading))
    }

    #[test]
    fn values_of_another_type_and_absent_ones_are_null_or_what_absence_means() {
        for (reading, json) in [
            (Reading::Integer, "\"seven\""),
            (Reading::Integer, "1.5"),
            (Reading::Integer, "18446744073709551615"),
            (Reading::Float, "\"1\""),
            (Reading::Flag, "null"),
            (Reading::Text, "7"),
            (Reading::TextUnlessEmpty, "\"\""),
            (Reading::Time, "\"yesterday\""),
            (Reading::EpochSecs, "0"),
            (Reading::EpochSecs, "null"),
            (Reading::Json, "null"),
        ] {
            assert_eq!(cell(reading, json), Cell::Null, "{reading:?} of {json}");
            let other = Record::read("{}").unwrap().cell(&Field::nullable("key", reading));
            assert_eq!(other, Cell::Null);
        }
        assert_eq!(cell(Reading::FlagOr(true), "null"), Cell::Flag(true));
        assert_eq!(cell(Reading::FlagOr(true), "false"), Cell::Flag(false));
        assert_eq!(cell(Reading::Texts, "null"), Cell::Texts(Vec::new()));
        assert_eq!(cell(Reading::Texts, "[\"\", 7, \"a\"]"), Cell::Texts(vec![String::new(), "a".to_owned()]));
        assert_eq!(cell(Reading::Integer, "1999001.0"), Cell::Integer(1_999_001));
        assert_eq!(cell(Reading::Integer, "\"7\""), Cell::Integer(7));
        assert_eq!(cell(Reading::Text, r#""a\ud800b""#), owned(r"a\ud800b".to_owned()));
        assert_eq!(cell(Reading::Json, "{\"a\": [1]}"), owned("{\"a\": [1]}".to_owned()));
    }

    #[test]
    fn nested_keys_are_reached_and_a_record_without_what_it_needs_gives_no_row() {
        let record = Record::read(r#"{"outer":{"inner":5},"id":1,"list":[{"a":1},7,{"b":2}]}"#).unwrap();
        let fields =
            [Field::required("id", Reading::Integer), Field::nullable("x", Reading::Integer).at("outer.inner")];
        let mut cells = Vec::new();
        assert!(record.append_cells(&fields, &mut cells));
        assert_eq!(cells, [Cell::Integer(1), Cell::Integer(5)]);
        assert_eq!(record.objects("list").len(), 2);
        assert!(!record.append_cells(&[Field::required("other", Reading::Text)], &mut cells));
        assert!(Record::read("[]").is_none());
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_read_back(float in any::<f64>(), secs in 1_i64..4_000_000_000, word in any::<String>(),
            int in any::<i64>(), texts in prop::collection::vec(any::<String>(), 0..4)) {
            let json = |value: serde_json::Value| value.to_string();
            if float.is_finite() {
                prop_assert_eq!(cell(Reading::Float, &json(float.into())), Cell::Float(float));
            }
            prop_assert_eq!(cell(Reading::Integer, &int.to_string()), Cell::Integer(int));
            prop_assert_eq!(cell(Reading::EpochSecs, &secs.to_string()), Cell::Time(Timestamp::from_secs(secs)));
            prop_assert_eq!(cell(Reading::Text, &json(word.clone().into())), owned(word));
            prop_assert_eq!(cell(Reading::Texts, &json(texts.clone().into())), Cell::Texts(texts));
            let at = Timestamp::from_secs(secs);
            prop_assert_eq!(cell(Reading::Time, &format!("\"{}\"", at.to_naive_string())), Cell::Time(at));
        }
    }
}
