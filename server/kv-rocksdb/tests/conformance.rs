//! RocksDB obeys the laws of storage.

use std::sync::Arc;

use async_trait::async_trait;
use neptune_kv::Kv;
use neptune_kv_conformance::{Place, conformance};
use neptune_kv_rocksdb::{Options, RocksKv};
use tempfile::TempDir;

struct Folder(TempDir);

#[async_trait]
impl Place for Folder {
    async fn open(&self) -> Arc<dyn Kv> {
        Arc::new(RocksKv::open(self.0.path().join("store"), Options::default()).expect("it opens"))
    }
}

conformance!(|| Folder(tempfile::tempdir().expect("a temporary folder")));
