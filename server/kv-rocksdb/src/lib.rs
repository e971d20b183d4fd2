//! Ordered bytes in RocksDB, the embedded backend.
