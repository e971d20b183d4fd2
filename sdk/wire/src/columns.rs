//! `application/vnd.neptune.columns`: tables of numbers as they lie in memory.
//!
//! ```text
//! 0   magic "NPC1"
//! 4   u32    header length H in bytes
//! 8   H      JSON: {"tables": [{"name": …, "meta": {…}, "rows": n, "columns": [{"name": "x", "type": "f64"}, …]}, …]}
//!     0..7   zero bytes up to a multiple of 8
//!     then each table's columns in order, rows x 8 bytes each
//! ```
//!
//! All numbers are little-endian and 8 bytes wide: `f64`, `i64`, `u64`. Every bit of a NaN survives.

use serde::{Deserialize, Serialize};

/// The media type.
pub const COLUMNS: &str = "application/vnd.neptune.columns";

const MAGIC: &[u8; 4] = b"NPC1";

/// A named table of columns of equal length.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// What it is about, such as a channel's name.
    pub name: String,
    /// Further facts: job, subscription, index.
    pub meta: serde_json::Map<String, serde_json::Value>,
    /// All of one length.
    pub columns: Vec<Column>,
}

/// One named column.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// `x`, `y`, `time`, `min`, …
    pub name: String,
    /// The values.
    pub data: Data,
}

/// The values of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// Floating point.
    F64(Vec<f64>),
    /// Times in microseconds.
    I64(Vec<i64>),
    /// Counts.
    U64(Vec<u64>),
}

/// Why bytes are no columns.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnsError {
    /// Not the magic, or shorter than its own header says.
    #[error("not a columns document: {0}")]
    Damaged(&'static str),
    /// The header is no JSON of the documented shape.
    #[error("columns header: {0}")]
    Header(String),
}

#[derive(Serialize, Deserialize)]
struct Header {
    tables: Vec<TableHeader>,
}

#[derive(Serialize, Deserialize)]
struct TableHeader {
    name: String,
    #[serde(default)]
    meta: serde_json::Map<String, serde_json::Value>,
    rows: u64,
    columns: Vec<ColumnHeader>,
}

#[derive(Serialize, Deserialize)]
struct ColumnHeader {
    name: String,
    #[serde(rename = "type")]
    kind: Kind,
}

#[derive(Serialize, Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
enum Kind {
    F64,
    I64,
    U64,
}

impl Data {
    fn kind(&self) -> Kind {
        match self {
            Self::F64(_) => Kind::F64,
            Self::I64(_) => Kind::I64,
            Self::U64(_) => Kind::U64,
        }
    }

    /// How many values.
    pub fn rows(&self) -> usize {
        match self {
            Self::F64(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::U64(values) => values.len(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::F64(values) => values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
            Self::I64(values) => values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
            Self::U64(values) => values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes())),
        }
    }

    fn read(kind: Kind, bytes: &[u8]) -> Self {
        let words = bytes.as_chunks::<8>().0.iter();
        match kind {
            Kind::F64 => Self::F64(words.map(|word| f64::from_le_bytes(*word)).collect()),
            Kind::I64 => Self::I64(words.map(|word| i64::from_le_bytes(*word)).collect()),
            Kind::U64 => Self::U64(words.map(|word| u64::from_le_bytes(*word)).collect()),
        }
    }
}

impl Table {
    /// Adds a column; all columns of a table have one length.
    pub fn with(mut self, name: &str, data: Data) -> Self {
        debug_assert!(self.columns.first().is_none_or(|first| first.data.rows() == data.rows()));
        self.columns.push(Column { name: name.into(), data });
        self
    }

    /// The column of that name.
    pub fn find_column(&self, name: &str) -> Option<&Data> {
        self.columns.iter().find(|column| column.name == name).map(|column| &column.data)
    }

    /// How many rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.data.rows())
    }
}

/// Writes tables as one document.
pub fn encode(tables: &[Table]) -> Vec<u8> {
    let header = Header {
        tables: tables
            .iter()
            .map(|table| TableHeader {
                name: table.name.clone(),
                meta: table.meta.clone(),
                rows: table.rows() as u64,
                columns: table
                    .columns
                    .iter()
                    .map(|column| ColumnHeader { name: column.name.clone(), kind: column.data.kind() })
                    .collect(),
            })
            .collect(),
    };
    let header = serde_json::to_vec(&header).expect("a columns header is plain data and always serialises");
    let values: usize = tables.iter().map(|table| table.rows() * table.columns.len()).sum();
    let mut out = Vec::with_capacity(16 + header.len() + 8 * values);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&(header.len() as u32).to_le_bytes());
    out.extend_from_slice(&header);
    out.resize(out.len().next_multiple_of(8), 0);
    for column in tables.iter().flat_map(|table| &table.columns) {
        column.data.write(&mut out);
    }
    out
}

/// Reads a document.
///
/// # Errors
///
/// [`ColumnsError`] when bytes are missing or the header is not of the documented shape.
pub fn decode(bytes: &[u8]) -> Result<Vec<Table>, ColumnsError> {
    let (magic, rest) = bytes.split_at_checked(4).ok_or(ColumnsError::Damaged("too short"))?;
    if magic != MAGIC {
        return Err(ColumnsError::Damaged("wrong magic"));
    }
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(ColumnsError::Damaged("too short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let header = rest.get(..length).ok_or(ColumnsError::Damaged("header cut"))?;
    let header: Header =
        serde_json::from_slice(header).map_err(|error| ColumnsError::Header(error.to_string()))?;
    let mut at = (8 + length).next_multiple_of(8);
    let mut tables = Vec::with_capacity(header.tables.len().min(1024));
    for table in header.tables {
        let mut columns = Vec::with_capacity(table.columns.len().min(64));
        for column in table.columns {
            let end = usize::try_from(table.rows).ok().and_then(|rows| rows.checked_mul(8)?.checked_add(at));
            let data = end.and_then(|end| bytes.get(at..end)).ok_or(ColumnsError::Damaged("column cut"))?;
            at += data.len();
            columns.push(Column { name: column.name, data: Data::read(column.kind, data) });
        }
        tables.push(Table { name: table.name, meta: table.meta, columns });
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_tables() -> Vec<Table> {
        let meta = serde_json::json!({"index": 7}).as_object().unwrap().clone();
        vec![
            Table { name: "loss".into(), meta, columns: vec![] }
                .with("x", Data::F64(vec![1.0, -0.0, f64::from_bits(0x7ff8_0000_dead_beef)]))
                .with("time", Data::I64(vec![i64::MIN, 0, i64::MAX])),
            Table { name: "empty".into(), ..Table::default() }.with("count", Data::U64(vec![])),
        ]
    }

    #[test]
    fn tables_come_back_bit_for_bit() {
        let bytes = encode(&two_tables());
        let tables = decode(&bytes).unwrap();
        assert_eq!(encode(&tables), bytes);
        let Some(Data::F64(x)) = tables[0].find_column("x") else { panic!("x is f64") };
        assert_eq!(x[2].to_bits(), 0x7ff8_0000_dead_beef);
    }

    #[test]
    fn every_cut_is_noticed() {
        let bytes = encode(&two_tables());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes: Vec<u8>) {
            let mut garbage = MAGIC.to_vec();
            garbage.extend(bytes);
            let _ = decode(&garbage);
        }
    }
}
