//! Parquet files of an export: columns of plain types, none of them optional, compressed by zstd, read by pandas and others.
//!
//! Doubles are written as they are, without a dictionary or statistics, so that every bit of a NaN survives.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::{Compression, ZstdLevel};
use parquet::column::reader::ColumnReader;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::error::CliError;

/// Points of a numeric channel.
pub(crate) const NUMBERS: &str =
    "message points { REQUIRED DOUBLE x; REQUIRED DOUBLE y; REQUIRED INT64 time (TIMESTAMP(MICROS,true)); }";
/// Points of a text channel.
pub(crate) const TEXTS: &str = "message points { REQUIRED DOUBLE x; REQUIRED INT64 time (TIMESTAMP(MICROS,true)); \
                                REQUIRED BYTE_ARRAY text (STRING); REQUIRED BOOLEAN continues; }";
/// Lines of a log; the bytes lie beside it.
pub(crate) const LINES: &str = "message lines { REQUIRED DOUBLE x; REQUIRED INT64 time (TIMESTAMP(MICROS,true)); \
                                REQUIRED INT64 bytes; REQUIRED INT64 lost; }";
/// Points of an image channel.
pub(crate) const IMAGES: &str = "message points { REQUIRED DOUBLE x; REQUIRED INT64 time (TIMESTAMP(MICROS,true)); \
                                 REQUIRED BYTE_ARRAY name (STRING); REQUIRED BYTE_ARRAY description (STRING); \
                                 REQUIRED INT64 width; REQUIRED INT64 height; REQUIRED INT64 size_bytes; \
                                 REQUIRED BYTE_ARRAY digest (STRING); }";

/// Values of one column.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Column {
    Doubles(Vec<f64>),
    Integers(Vec<i64>),
    Flags(Vec<bool>),
    Texts(Vec<String>),
}

impl Column {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Doubles(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Flags(values) => values.len(),
            Self::Texts(values) => values.len(),
        }
    }

    /// Leaves out the first so many values.
    pub(crate) fn cut_front(&mut self, count: usize) {
        let count = count.min(self.len());
        match self {
            Self::Doubles(values) => drop(values.drain(..count)),
            Self::Integers(values) => drop(values.drain(..count)),
            Self::Flags(values) => drop(values.drain(..count)),
            Self::Texts(values) => drop(values.drain(..count)),
        }
    }

    /// The doubles; none if it is another type, which its length tells.
    pub(crate) fn doubles(&self) -> &[f64] {
        if let Self::Doubles(values) = self { values } else { &[] }
    }

    pub(crate) fn integers(&self) -> &[i64] {
        if let Self::Integers(values) = self { values } else { &[] }
    }

    pub(crate) fn flags(&self) -> &[bool] {
        if let Self::Flags(values) = self { values } else { &[] }
    }

    pub(crate) fn texts(&self) -> &[String] {
        if let Self::Texts(values) = self { values } else { &[] }
    }
}

/// A file that is being written, a group of rows at a time.
pub(crate) struct TableWriter {
    writer: SerializedFileWriter<File>,
}

impl TableWriter {
    pub(crate) fn create(path: &Path, schema: &str) -> Result<TableWriter, CliError> {
        let file = File::create(path).map_err(|error| CliError::file(path, &error))?;
        let schema = Arc::new(parse_message_type(schema).expect("the schemas above are well-formed"));
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_dictionary_enabled(false)
            .set_statistics_enabled(EnabledStatistics::None)
            .build();
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).map_err(refused)?;
        Ok(TableWriter { writer })
    }

    /// Writes rows: columns of one length, in the schema's order.
    pub(crate) fn write(&mut self, columns: &[Column]) -> Result<(), CliError> {
        let mut group = self.writer.next_row_group().map_err(refused)?;
        for column in columns {
            let mut open = group.next_column().map_err(refused)?.expect("as many as the schema has");
            let written = match (open.untyped(), column) {
                (ColumnWriter::DoubleColumnWriter(writer), Column::Doubles(values)) => {
                    writer.write_batch(values, None, None)
                }
                (ColumnWriter::Int64ColumnWriter(writer), Column::Integers(values)) => {
                    writer.write_batch(values, None, None)
                }
                (ColumnWriter::BoolColumnWriter(writer), Column::Flags(values)) => {
                    writer.write_batch(values, None, None)
                }
                (ColumnWriter::ByteArrayColumnWriter(writer), Column::Texts(values)) => {
                    let values: Vec<ByteArray> = values.iter().map(|text| text.as_str().into()).collect();
                    writer.write_batch(&values, None, None)
                }
                _ => Err(ParquetError::General("a column is not of its schema's type".into())),
            };
            written.map_err(refused)?;
            open.close().map_err(refused)?;
        }
        group.close().map_err(refused)?;
        Ok(())
    }

    pub(crate) fn finish(self) -> Result<(), CliError> {
        self.writer.close().map(drop).map_err(refused)
    }
}

/// A file that is being read, a group of rows at a time.
pub(crate) struct TableReader {
    reader: SerializedFileReader<File>,
    next: usize,
}

impl TableReader {
    /// Opens a file whose columns are those of the schema.
    pub(crate) fn open(path: &Path, schema: &str) -> Result<TableReader, CliError> {
        let file = File::open(path).map_err(|error| CliError::file(path, &error))?;
        let wrong = |why: String| CliError::refused(format_args!("{}: {why}", path.display()));
        let reader = SerializedFileReader::new(file).map_err(|error| wrong(error.to_string()))?;
        let wanted = parse_message_type(schema).expect("the schemas above are well-formed");
        let found = reader.metadata().file_metadata().schema();
        let columns = |schema: &parquet::schema::types::Type| -> Vec<(String, parquet::basic::Type, bool)> {
            let fields = schema.get_fields().iter().filter(|field| field.is_primitive());
            fields
                .map(|field| (field.name().to_owned(), field.get_physical_type(), field.is_optional()))
                .collect()
        };
        if columns(found) != columns(&wanted) || found.get_fields().len() != wanted.get_fields().len() {
            return Err(wrong("the columns are not those that an export writes".into()));
        }
        Ok(TableReader { reader, next: 0 })
    }

    /// Rows of the whole file.
    pub(crate) fn rows(&self) -> u64 {
        u64::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// The next rows; `None` after the last.
    pub(crate) fn read(&mut self) -> Result<Option<Vec<Column>>, CliError> {
        if self.next == self.reader.num_row_groups() {
            return Ok(None);
        }
        let group = self.reader.get_row_group(self.next).map_err(refused)?;
        self.next += 1;
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
        let mut columns = Vec::new();
        for at in 0..group.num_columns() {
            let column = read_column(group.get_column_reader(at).map_err(refused)?, rows).map_err(refused)?;
            columns.push(column);
        }
        Ok(Some(columns))
    }
}

fn read_column(reader: ColumnReader, rows: usize) -> Result<Column, ParquetError> {
    let read = match reader {
        ColumnReader::DoubleColumnReader(mut reader) => {
            let mut values = Vec::new();
            reader.read_records(rows, None, None, &mut values)?;
            (values.len(), Column::Doubles(values))
        }
        ColumnReader::Int64ColumnReader(mut reader) => {
            let mut values = Vec::new();
            reader.read_records(rows, None, None, &mut values)?;
            (values.len(), Column::Integers(values))
        }
        ColumnReader::BoolColumnReader(mut reader) => {
            let mut values = Vec::new();
            reader.read_records(rows, None, None, &mut values)?;
            (values.len(), Column::Flags(values))
        }
        ColumnReader::ByteArrayColumnReader(mut reader) => {
            let mut values: Vec<ByteArray> = Vec::new();
            reader.read_records(rows, None, None, &mut values)?;
            let texts = values.iter().map(|bytes| bytes.as_utf8().map(str::to_owned));
            (values.len(), Column::Texts(texts.collect::<Result<_, _>>()?))
        }
        _ => return Err(ParquetError::General("a column of a type that no export writes".into())),
    };
    match read {
        (found, column) if found == rows => Ok(column),
        _ => Err(ParquetError::General("a column ends before its rows".into())),
    }
}

fn refused(error: ParquetError) -> CliError {
    CliError::refused(format_args!("Parquet: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let payload = f64::from_bits(0x7FF8_0000_DEAD_BEEF);
        let negative = f64::from_bits(0xFFF0_0000_0000_0001);
        let y = vec![payload, negative, -0.0, f64::INFINITY, 5e-324, f64::NAN];
        let time = vec![i64::MIN, -1, 0, 1, 1_700_000_000_000_000, i64::MAX];
        let mut writer = TableWriter::create(&path, NUMBERS).unwrap();
        for _group in 0..2 {
            let columns =
                [Column::Doubles(y.clone()), Column::Doubles(y.clone()), Column::Integers(time.clone())];
            writer.write(&columns).unwrap();
        }
        writer.finish().unwrap();
        let mut reader = TableReader::open(&path, NUMBERS).unwrap();
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        for _group in 0..2 {
            let columns = reader.read().unwrap().unwrap();
            assert_eq!(bits(columns[1].doubles()), bits(&y));
            assert_eq!(columns[2].integers(), time);
        }
        assert!(reader.read().unwrap().is_none());
        assert!(TableReader::open(&path, TEXTS).is_err());
    }

    #[test]
    fn texts_and_flags_come_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let columns = vec![
            Column::Doubles(vec![1.0, 2.0]),
            Column::Integers(vec![3, 4]),
            Column::Texts(vec![String::new(), "größe\n日本".into()]),
            Column::Flags(vec![true, false]),
        ];
        let mut writer = TableWriter::create(&path, TEXTS).unwrap();
        writer.write(&columns).unwrap();
        writer.finish().unwrap();
        assert_eq!(TableReader::open(&path, TEXTS).unwrap().read().unwrap().unwrap(), columns);
    }
}
