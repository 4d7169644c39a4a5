//! Buffers the cells of one column until their row group is written.

use std::borrow::Cow;
use std::collections::HashMap;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::SerializedColumnWriter;

use super::{Column, ColumnType};
use crate::model::Timestamp;

/// Bytes of memory per text of a list, beside the text.
const TEXT_COST: usize = size_of::<ByteArray>() + 2 * size_of::<i16>();

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell<'a> {
    /// Null; only in a nullable column.
    Null,
    /// An id, at most 2^63 - 1, the maximum of every reader.
    Id(u64),
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(Cow<'a, str>),
    /// An instant.
    Time(Timestamp),
    /// A list of texts.
    Texts(Vec<String>),
}

#[derive(Debug)]
enum Values {
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Flags(Vec<bool>),
    Texts(TextValues),
}

/// Texts; equal texts share memory.
#[derive(Debug, Default)]
struct TextValues {
    values: Vec<ByteArray>,
    known: HashMap<Box<str>, ByteArray>,
    known_bytes: usize,
}

impl TextValues {
    fn push(&mut self, text: &str) {
        // Most texts repeat the row before.
        if let Some(last) = self.values.last().filter(|last| last.data() == text.as_bytes()) {
            self.values.push(last.clone());
            return;
        }
        let value = if let Some(known) = self.known.get(text) {
            known.clone()
        } else {
            let value = ByteArray::from(text);
            self.known.insert(text.into(), value.clone());
            self.known_bytes += 2 * text.len() + size_of::<(Box<str>, ByteArray)>();
            value
        };
        self.values.push(value);
    }
}

/// The cells of a column: the non-null values, and the levels that place them in rows.
#[derive(Debug)]
pub(super) struct ColumnBuffer {
    column: Column,
    values: Values,
    /// In a nullable column: 1 for a value, 0 for null. In a list column: 1 for a text, 0 for an empty list.
    definitions: Vec<i16>,
    /// In a list column: 0 for the first text of a row, 1 for the others.
    repetitions: Vec<i16>,
}

impl ColumnBuffer {
    pub(super) fn new(column: Column) -> Self {
        let values = match column.holds {
            ColumnType::Integer | ColumnType::Time => Values::Integers(Vec::new()),
            ColumnType::Float => Values::Floats(Vec::new()),
            ColumnType::Flag => Values::Flags(Vec::new()),
            ColumnType::Text | ColumnType::Texts => Values::Texts(TextValues::default()),
        };
        Self { column, values, definitions: Vec::new(), repetitions: Vec::new() }
    }

    pub(super) fn name(&self) -> &'static str {
        self.column.name
    }

    /// Memory of texts and lists, bytes.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Texts(texts) if self.column.holds == ColumnType::Texts => {
                texts.known_bytes + texts.values.len() * TEXT_COST
            }
            Values::Texts(texts) => texts.known_bytes,
            _ => 0,
        }
    }

    /// Adds a cell; the error is its value or type.
    pub(super) fn push(&mut self, cell: &Cell<'_>) -> Result<(), String> {
        match (&mut self.values, self.column.holds, cell) {
            (_, _, Cell::Null) if self.column.nullable => {
                self.definitions.push(0);
                return Ok(());
            }
            (Values::Integers(values), ColumnType::Integer, Cell::Id(id)) => {
                values.push(i64::try_from(*id).map_err(|_| format!("the id {id}, which is above 2^63 - 1"))?);
            }
            (Values::Integers(values), ColumnType::Integer, Cell::Integer(value)) => values.push(*value),
            (Values::Integers(values), ColumnType::Time, Cell::Time(at)) => values.push(at.as_micros()),
            (Values::Floats(values), _, Cell::Float(value)) => values.push(*value),
            (Values::Flags(values), _, Cell::Flag(value)) => values.push(*value),
            (Values::Texts(values), ColumnType::Text, Cell::Text(text)) => values.push(text),
            (Values::Texts(values), ColumnType::Texts, Cell::Texts(texts)) => {
                for (place, text) in texts.iter().enumerate() {
                    values.push(text);
                    self.definitions.push(1);
                    self.repetitions.push(i16::from(place > 0));
                }
                if texts.is_empty() {
                    self.definitions.push(0);
                    self.repetitions.push(0);
                }
                return Ok(());
            }
            (_, _, other) => return Err(format!("{other:?}")),
        }
        if self.column.nullable {
            self.definitions.push(1);
        }
        Ok(())
    }

    /// Encodes all cells, and clears the buffer.
    pub(super) fn write_to(&mut self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let is_list = self.column.holds == ColumnType::Texts;
        let definitions = (self.column.nullable || is_list).then_some(self.definitions.as_slice());
        let repetitions = is_list.then_some(self.repetitions.as_slice());
        match &mut self.values {
            Values::Integers(values) => {
                column.typed::<Int64Type>().write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            Values::Floats(values) => {
                column.typed::<DoubleType>().write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            Values::Flags(values) => {
                column.typed::<BoolType>().write_batch(values, definitions, repetitions)?;
                values.clear();
            }
            Values::Texts(texts) => {
                column.typed::<ByteArrayType>().write_batch(&texts.values, definitions, repetitions)?;
                texts.values.clear();
                texts.known.clear();
                texts.known_bytes = 0;
            }
        }
        self.definitions.clear();
        self.repetitions.clear();
        Ok(())
    }
}
