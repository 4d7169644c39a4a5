//! Writes CSV as Python's writers do.
//!
//! In: rows of fields, as bytes. Out: CSV text, streamed into any writer. Promises: fields are quoted exactly as with
//! Python's `QUOTE_MINIMAL` (a comma, a quote, CR or LF inside; a row of one empty field), inner quotes are doubled, all
//! other bytes are unchanged, and every row has as many fields as the first.

use std::io::{self, Write};

/// The Python writer of the reference file; the two differ only in the line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `DataFrame.to_csv`: lines end with LF.
    Pandas,
    /// `csv.writer` and `csv.DictWriter`: lines end with CR LF.
    CsvModule,
}

/// A row that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum CsvError {
    /// A row without fields has no meaning in CSV.
    #[error("cannot write a CSV row without fields")]
    EmptyRow,
    /// The row differs in length from the first, or the inner writer failed.
    #[error("failed to write CSV row {row}")]
    Row {
        /// Number of the row; the header is 1.
        row: u64,
        /// The error of the CSV writer.
        #[source]
        source: ::csv::Error,
    },
    /// The inner writer failed at the last rows.
    #[error("failed to flush CSV rows")]
    Flush(#[source] io::Error),
}

/// Writes rows into `W`; buffers up to 64 KiB.
#[derive(Debug)]
pub struct RowWriter<W: Write> {
    inner: ::csv::Writer<W>,
    num_rows: u64,
}

impl<W: Write> RowWriter<W> {
    /// Starts a CSV text in `writer`.
    pub fn new(writer: W, dialect: Dialect) -> Self {
        let terminator = match dialect {
            Dialect::Pandas => ::csv::Terminator::Any(b'\n'),
            Dialect::CsvModule => ::csv::Terminator::CRLF,
        };
        let inner = ::csv::WriterBuilder::new()
            .terminator(terminator)
            .quote_style(::csv::QuoteStyle::Necessary)
            .has_headers(false)
            .buffer_capacity(64 << 10)
            .from_writer(writer);
        Self { inner, num_rows: 0 }
    }

    /// Writes one row; the header is a row like the others.
    ///
    /// # Errors
    /// If the row is empty or differs in length from the first, or if the inner writer fails. The text may then end within
    /// a row, and is unusable.
    pub fn write_row<I>(&mut self, fields: I) -> Result<(), CsvError>
    where
        I: IntoIterator<Item: AsRef<[u8]>>,
    {
        let mut fields = fields.into_iter().peekable();
        if fields.peek().is_none() {
            return Err(CsvError::EmptyRow);
        }
        self.num_rows += 1;
        self.inner.write_record(fields).map_err(|source| CsvError::Row { row: self.num_rows, source })
    }

    /// Number of rows written so far, including the header.
    #[must_use]
    pub fn num_rows(&self) -> u64 {
        self.num_rows
    }

    /// Writes all buffered rows to the inner writer, and flushes it.
    ///
    /// # Errors
    /// If the inner writer fails.
    pub fn flush(&mut self) -> Result<(), CsvError> {
        self.inner.flush().map_err(CsvError::Flush)
    }

    /// Flushes, and returns the inner writer.
    ///
    /// # Errors
    /// If the inner writer fails.
    pub fn into_inner(self) -> Result<W, CsvError> {
        self.inner.into_inner().map_err(|error| CsvError::Flush(error.into_error()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn written(dialect: Dialect, rows: &[&[&str]]) -> String {
        let mut writer = RowWriter::new(Vec::new(), dialect);
        for row in rows {
            writer.write_row(*row).unwrap();
        }
        String::from_utf8(writer.into_inner().unwrap()).unwrap()
    }

    // Expectations from Python 3.13's csv module.
    #[rstest]
    #[case(&["a", "b"], "a,b")]
    #[case(&["", ""], ",")]
    #[case(&[""], "\"\"")]
    #[case(&["[1, 2]", "x"], "\"[1, 2]\",x")]
    #[case(&["say \"x\"", "it's"], "\"say \"\"x\"\"\",it's")]
    #[case(&["a\rb", "a\nb"], "\"a\rb\",\"a\nb\"")]
    #[case(&[" a ", "a\tb", "#x", "\u{2028}", "\0"], " a ,a\tb,#x,\u{2028},\0")]
    fn fields_are_quoted_as_by_python(#[case] row: &[&str], #[case] expected: &str) {
        assert_eq!(written(Dialect::Pandas, &[row]), format!("{expected}\n"));
        assert_eq!(written(Dialect::CsvModule, &[row]), format!("{expected}\r\n"));
    }

    #[test]
    fn rows_without_fields_and_of_another_length_are_refused() {
        let mut writer = RowWriter::new(Vec::new(), Dialect::Pandas);
        assert!(matches!(writer.write_row(Vec::<&str>::new()), Err(CsvError::EmptyRow)));
        writer.write_row(["a", "b"]).unwrap();
        assert!(matches!(writer.write_row(["a"]), Err(CsvError::Row { row: 2, .. })));
    }

    #[rstest]
    #[case("alert_summaries.csv", Dialect::Pandas)]
    #[case("alerts_with_bug_and_test_info.csv", Dialect::Pandas)]
    #[case("alert_summary_fail_perf_sigs.csv", Dialect::CsvModule)]
    #[case("perf_jobs_per_revision.csv", Dialect::CsvModule)]
    fn golden_files_are_fixed_points(#[case] name: &str, #[case] dialect: Dialect) {
        let path = format!("{}/tests/corpus/golden/{name}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut writer = RowWriter::new(Vec::new(), dialect);
        for row in ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes()).records() {
            writer.write_row(row.unwrap().iter()).unwrap();
        }
        assert!(writer.num_rows() > 1);
        assert_eq!(String::from_utf8(writer.into_inner().unwrap()).unwrap(), text);
    }

    proptest! {
        #[test]
        fn rows_read_back_as_they_were(rows in prop::collection::vec(prop::array::uniform3("[a-c,\"\r\n é]{0,8}"), 1..8)) {
            for dialect in [Dialect::Pandas, Dialect::CsvModule] {
                let mut writer = RowWriter::new(Vec::new(), dialect);
                for row in &rows {
                    writer.write_row(row).unwrap();
                }
                let text = writer.into_inner().unwrap();
                let mut reader = ::csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_slice());
                let read: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect();
                prop_assert_eq!(read, rows.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
            }
        }
    }
}
