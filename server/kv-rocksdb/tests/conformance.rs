//! RocksDB obeys the laws of storage.

use std::path::{Path, PathBuf};
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

    fn copy_folder(&self) -> Option<PathBuf> {
        Some(self.0.path().join("copy"))
    }

    async fn open_copy(&self, folder: &Path) -> Arc<dyn Kv> {
        Arc::new(RocksKv::open(folder, Options::default()).expect("a copy opens"))
    }
}

conformance!(|| Folder(tempfile::tempdir().expect("a temporary folder")));
