use std::collections::BTreeSet;
use std::path::Path;

use parquet::basic::Type as PhysicalType;
use parquet::data_type::ByteArray;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::statistics::Statistics;
use parquet::record::Field;
use proptest::prelude::*;

use super::*;
use crate::dataset::write::publish;
use crate::model::Timestamp;

const COLUMNS: &[Column] = &[
    column("id", ColumnType::Integer, false),
    column("number", ColumnType::Float, true),
    column("flag", ColumnType::Flag, true),
    column("name", ColumnType::Text, true),
    column("at", ColumnType::Time, true),
    column("tags", ColumnType::Texts, false),
    column("label", ColumnType::Text, false),
];

const fn column(name: &'static str, holds: ColumnType, nullable: bool) -> Column {
    Column { name, holds, nullable }
}

fn schema() -> TableSchema {
    TableSchema { name: "table", columns: COLUMNS.to_vec(), sorted_by: &["id"] }
}

type Row = (i64, Option<f64>, Option<bool>, Option<String>, Option<i64>, Vec<String>, String);

fn cells(row: &Row) -> Vec<Cell<'_>> {
    let (id, number, flag, name, at, tags, label) = row;
    vec![
        Cell::Integer(*id),
        number.map_or(Cell::Null, Cell::Float),
        flag.map_or(Cell::Null, Cell::Flag),
        name.as_deref().map_or(Cell::Null, |name| Cell::Text(name.into())),
        at.map_or(Cell::Null, |at| Cell::Time(Timestamp::from_micros(at))),
        Cell::Texts(tags.clone()),
        Cell::Text(label.as_str().into()),
    ]
}

fn write(folder: &Path, rows: &[Row], limits: RowGroupLimits) -> Vec<u8> {
    let notes = [("perfharvest.note", "kept".to_owned())];
    let mut table = TableWriter::create(folder, schema(), &notes, limits).unwrap();
    for row in rows {
        table.write_row(&cells(row)).unwrap();
    }
    let finished = table.finish().unwrap();
    assert_eq!(finished.num_rows, rows.len() as u64);
    publish(folder, vec![finished.file]).unwrap();
    std::fs::read(folder.join("table.parquet")).unwrap()
}

fn open(folder: &Path) -> SerializedFileReader<std::fs::File> {
    SerializedFileReader::new(std::fs::File::open(folder.join("table.parquet")).unwrap()).unwrap()
}

fn metadata(folder: &Path) -> ParquetMetaData {
    open(folder).metadata().clone()
}

fn read(folder: &Path) -> Vec<Row> {
    let text = |field: &Field| match field {
        Field::Str(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let row = |row: parquet::record::Row| {
        let fields: Vec<Field> = row.get_column_iter().map(|(_, field)| field.clone()).collect();
        let [Field::Long(id), number, flag, name, at, Field::ListInternal(tags), label] = fields.as_slice() else {
            panic!("{fields:?}")
        };
        let number = if let Field::Double(number) = number { Some(*number) } else { None };
        let flag = if let Field::Bool(flag) = flag { Some(*flag) } else { None };
        let name = (*name != Field::Null).then(|| text(name));
        let at = if let Field::TimestampMicros(at) = at { Some(*at) } else { None };
        (*id, number, flag, name, at, tags.elements().iter().map(text).collect(), text(label))
    };
    open(folder).get_row_iter(None).unwrap().map(|read| row(read.unwrap())).collect()
}

fn any_row() -> impl Strategy<Value = Row> {
    use prop::option::of;
    let name = prop_oneof!["[a-c]", ".{0,12}"];
    let number = any::<f64>().prop_filter("JSON has no NaN", |number| !number.is_nan());
    (
        any::<i64>(),
        of(number),
        any::<Option<bool>>(),
        of(name.clone()),
        any::<Option<i64>>(),
        prop::collection::vec(name.clone(), 0..4),
        name,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn rows_come_back_bit_for_bit_in_groups_of_bounded_size_and_twice_the_same(
        rows in prop::collection::vec(any_row(), 0..80),
        most in 1_usize..30,
    ) {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let limits = RowGroupLimits { rows: most, ..RowGroupLimits::default() };
        let [one, two] = folders.each_ref().map(|folder| write(folder.path(), &rows, limits));
        prop_assert_eq!(one, two);
        let folder = folders[0].path();
        let found = read(folder);
        prop_assert_eq!(&found, &rows);
        for (found, row) in found.iter().zip(&rows) {
            prop_assert_eq!(found.1.map(f64::to_bits), row.1.map(f64::to_bits));
        }
        let metadata = metadata(folder);
        prop_assert_eq!(metadata.num_row_groups(), rows.len().div_ceil(most));
        for (group, rows) in metadata.row_groups().iter().zip(rows.chunks(most)) {
            prop_assert_eq!(group.num_rows(), i64::try_from(rows.len()).unwrap());
            let statistics = |place: usize| group.column(place).statistics().unwrap();
            let Statistics::Int64(ids) = statistics(0) else { panic!() };
            prop_assert_eq!(ids.min_opt(), rows.iter().map(|row| &row.0).min());
            prop_assert_eq!(ids.max_opt(), rows.iter().map(|row| &row.0).max());
            let nulls = rows.iter().filter(|row| row.4.is_none()).count() as u64;
            prop_assert_eq!(statistics(4).null_count_opt(), Some(nulls));
            let Statistics::ByteArray(labels) = statistics(6) else { panic!() };
            let least = rows.iter().map(|row| row.6.as_bytes()).min();
            prop_assert_eq!(labels.min_opt().map(ByteArray::data), least);
        }
    }
}

#[test]
fn columns_are_typed_compressed_and_described() {
    let folder = tempfile::tempdir().unwrap();
    let row = |id| (id, Some(0.5), None, Some("machine".to_owned()), Some(5), vec![], "label".to_owned());
    write(folder.path(), &[row(1), row(2), row(3)], RowGroupLimits::default());
    let metadata = metadata(folder.path());
    let file = metadata.file_metadata();
    let mut printed = Vec::new();
    parquet::schema::printer::print_schema(&mut printed, file.schema());
    let expected = "message table {\n  \
        REQUIRED INT64 id;\n  \
        OPTIONAL DOUBLE number;\n  \
        OPTIONAL BOOLEAN flag;\n  \
        OPTIONAL BYTE_ARRAY name (STRING);\n  \
        OPTIONAL INT64 at (TIMESTAMP(MICROS,true));\n  \
        REQUIRED group tags (LIST) {\n    \
        REPEATED group list {\n      \
        REQUIRED BYTE_ARRAY element (STRING);\n    }\n  }\n  \
        REQUIRED BYTE_ARRAY label (STRING);\n}\n";
    assert_eq!(String::from_utf8(printed).unwrap(), expected);
    assert_eq!(file.created_by(), Some(CREATED_BY));
    let notes: Vec<_> =
        file.key_value_metadata().unwrap().iter().map(|note| (note.key.as_str(), &note.value)).collect();
    assert_eq!(notes, [("perfharvest.note", &Some("kept".to_owned()))]);
    let group = metadata.row_group(0);
    let sorting: Vec<_> = group.sorting_columns().unwrap().iter().map(|by| (by.column_idx, by.descending)).collect();
    assert_eq!(sorting, [(0, false)]);
    for column in group.columns() {
        assert!(matches!(column.compression(), Compression::ZSTD(_)), "{column:?}");
        assert_eq!(column.dictionary_page_offset().is_some(), column.column_type() == PhysicalType::BYTE_ARRAY);
    }
}

#[test]
fn texts_that_take_much_memory_end_a_group_before_its_rows_do() {
    let folder = tempfile::tempdir().unwrap();
    let row = |id: i64| (id, None, None, Some(format!("{id:0>1000}")), None, vec!["x".to_owned()], String::new());
    let rows: Vec<Row> = (0..40).map(row).collect();
    write(folder.path(), &rows, RowGroupLimits { rows: 1000, text_bytes: 20_000 });
    assert_eq!(read(folder.path()), rows);
    let sizes: BTreeSet<i64> = metadata(folder.path()).row_groups().iter().map(RowGroupMetaData::num_rows).collect();
    assert!(sizes.last().unwrap() < &15, "{sizes:?}");
}

#[test]
fn what_a_column_cannot_hold_is_refused_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let row = (1, None, None, None, None, vec![], String::new());
    for (place, cell, name) in [
        (0, Cell::Null, "id"),
        (0, Cell::Id(1 << 63), "id"),
        (0, Cell::Time(Timestamp::default()), "id"),
        (4, Cell::Integer(1), "at"),
        (3, Cell::Texts(Vec::new()), "name"),
        (5, Cell::Text("a".into()), "tags"),
        (5, Cell::Null, "tags"),
    ] {
        let mut table = TableWriter::create(folder.path(), schema(), &[], RowGroupLimits::default()).unwrap();
        let mut cells = cells(&row);
        cells[place] = cell;
        let error = table.write_row(&cells).unwrap_err();
        assert!(matches!(error, TableError::Cell { column, .. } if column == name), "{error}");
        assert!(matches!(table.write_row(&cells[1..]), Err(TableError::RowLength { found: 6, expected: 7, .. })));
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_table_without_rows_has_its_columns() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[], RowGroupLimits::default());
    assert!(read(folder.path()).is_empty());
    assert_eq!(metadata(folder.path()).file_metadata().schema().get_fields().len(), COLUMNS.len());
}
