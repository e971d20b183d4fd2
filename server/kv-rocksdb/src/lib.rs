//! Ordered bytes in RocksDB, the embedded backend: one database for the whole server, one process at a time.
//!
//! ```text
//! folder/
//!   lock       held while open, with the process id of the holder
//!   FORMAT     the version of this layout; written once the store is created, from then on it must be there
//!   rocksdb/   a column family per family of keys
//! ```
//!
//! Reads go straight to RocksDB (`view.rs`): a point that is in memory is answered at once, all else on a thread that
//! may wait for the disk. Commits go through one thread (`writer.rs`), which checks their conditions one after the
//! other and syncs the write-ahead log once for all that wait. When the disk runs full (`disk.rs`), commits are
//! refused and reads go on, until there is room.
//!
//! Knows nothing of what the bytes mean. No other crate knows RocksDB.

mod crc32c;
mod disk;
mod folder;
mod open;
mod tuning;
mod view;
mod wal;
mod writer;

pub use open::{OpenError, RocksKv};
pub use tuning::{Durability, Options};
