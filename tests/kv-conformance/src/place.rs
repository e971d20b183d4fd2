//! Where a store under test lives, and how a law is run on it.

use std::{
    env,
    future::Future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use neptune_kv::Kv;

/// No law takes longer, even the long ones on a busy machine; one that does hangs.
const DEADLINE: Duration = Duration::from_secs(600);

/// A place for one store, empty when made, removed when dropped.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the store; again, with all it held, once every handle of the last opening is dropped.
    async fn open(&self) -> Arc<dyn Kv>;

    /// Where a copy of the store may be made; none for a backend that refuses to copy itself.
    fn copy_folder(&self) -> Option<PathBuf> {
        None
    }

    /// Opens a copy that was made there, as the store itself is opened.
    async fn open_copy(&self, folder: &Path) -> Arc<dyn Kv> {
        panic!("a place with a folder for copies opens them: {}", folder.display())
    }
}

/// Whether full counts were asked for by `NEPTUNE_TEST_LONG=1`.
pub fn long() -> bool {
    env::var("NEPTUNE_TEST_LONG").is_ok_and(|value| value == "1")
}

/// Runs a law to its end on two worker threads.
///
/// # Panics
///
/// If the law does, or if it takes ten minutes.
pub fn run<T>(law: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("two threads can be started");
    runtime.block_on(async { tokio::time::timeout(DEADLINE, law).await }).expect("the law ends in time")
}
