//! Defines the schema of a table: columns, types and row order.

use std::sync::Arc;

use parquet::basic::{LogicalType, Repetition, TimeUnit, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::schema::types::Type;

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// A signed integer of 64 bits.
    Integer,
    /// A float of 64 bits.
    Float,
    /// True or false.
    Flag,
    /// UTF-8, encoded with a dictionary.
    Text,
    /// An instant in UTC, microseconds.
    Time,
    /// A list of texts, which may be empty; neither the list nor its texts are ever null.
    Texts,
}

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name in the file.
    pub name: &'static str,
    /// Type of the cells.
    pub holds: ColumnType,
    /// True if cells may be null.
    pub nullable: bool,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// Name, from which the file takes its own.
    pub name: &'static str,
    /// Columns, in the order of the cells.
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

    /// The schema in Parquet's terms.
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
