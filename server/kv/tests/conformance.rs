//! The in-memory reference obeys the laws it is the reference of.

use std::sync::Arc;

use async_trait::async_trait;
use neptune_kv::{Kv, MemoryKv};
use neptune_kv_conformance::{Place, conformance};

/// Opening again is sharing: what memory can show of it.
struct Memory(MemoryKv);

#[async_trait]
impl Place for Memory {
    async fn open(&self) -> Arc<dyn Kv> {
        Arc::new(self.0.clone())
    }
}

conformance!(|| Memory(MemoryKv::new()));
