//! An engine that ends with the process, for tests of the rooms above it: they may not name a store themselves.
//!
//! The rules and the store are the real ones; only what lies below them is memory, which `tests/kv-conformance` holds to
//! the same laws as the backend of a server.

use std::sync::Arc;

use neptune_engine::Engine;
use neptune_kv::MemoryKv;
use neptune_store::{Blobs, Store};

/// Opens an engine with nothing in it.
///
/// # Panics
///
/// If memory cannot be opened, which is a fault of this code.
pub async fn engine() -> Engine {
    let store = Store::open(Arc::new(MemoryKv::new()), [7; 32]).await.expect("an empty memory opens");
    Engine::open(store, Blobs::in_memory()).await.expect("an empty store opens")
}
