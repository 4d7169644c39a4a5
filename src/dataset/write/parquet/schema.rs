//! What a table is: its columns, their types, and its order.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::Type;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A signed integer of 64 bits.
    Integer,
    /// A float of 64 bits.
    Float,
    /// True or false.
    Flag,
    /// UTF-8, through a dictionary.
    Text,
    /// An instant in UTC, microseconds.
    Time,
    /// A list of texts, which may be empty; neither the list nor a text of it is ever null.
    Texts,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub holds: ColumnType,
    /// Null has a meaning there.
    pub nullable: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Its name, which the file is named after.
    pub name: &'static str,
    /// Its columns, in their order.
    pub columns: Vec<Column>,
    /// The columns that the rows are sorted by: ascending, nulls last.
    pub sorted_by: &'static [&'static str],
}

impl TableSchema {
    /// The name of the table's file.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.parquet", self.name)
    }

    /// The schema as Parquet has it.
    pub(super) fn message(&self) -> Result<Type, ParquetError> {
        let fields = self.columns.iter().map(|column| column.field().map(Arc::new));
        Type::group_type_builder(self.name).with_fields(fields.collect::<Result<_, _>>()?).build()
    }
}

impl Column {
    fn field(&self) -> Result<Type, ParquetError> {
        let repetition = if self.nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
        let (physical, logical) = match self.holds {
            ColumnType::Integer => (PhysicalType::INT64, None),
            ColumnType::Float => (PhysicalType::DOUBLE, None),
            ColumnType::Flag => (PhysicalType::BOOLEAN, None),
            ColumnType::Text => (PhysicalType::BYTE_ARRAY, Some(LogicalType::String)),
            ColumnType::Time => (PhysicalType::INT64, Some(LogicalType::timestamp(true, TimeUnit::MICROS))),
            ColumnType::Texts => return self.list(),
        };
        Type::primitive_type_builder(self.name, physical).with_repetition(repetition).with_logical_type(logical).build()
    }

    /// `required group NAME (LIST) { repeated group list { required binary element (STRING); } }`
    fn list(&self) -> Result<Type, ParquetError> {
        let element = Type::primitive_type_builder("element", PhysicalType::BYTE_ARRAY)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::String))
            .build()?;
        let repeated = Type::group_type_builder("list")
            .with_repetition(Repetition::REPEATED)
            .with_fields(vec![Arc::new(element)])
            .build()?;
        Type::group_type_builder(self.name)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::List))
            .with_fields(vec![Arc::new(repeated)])
            .build()
    }
}
