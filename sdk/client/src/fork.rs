//! Noticing that this process is a forked child of the one that made a value.
//!
//! A child inherits memory but no threads: locks may be held by nobody, background threads are gone, and file locks are
//! shared with the parent. So a value that a parent made is only read where it never changes, and everything else is
//! made anew. [`generation`] costs one load; a handler that the C library runs in every forked child counts it up.

use std::sync::atomic::{AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// Differs between a process and its forked children. Call [`watch`] once before relying on it.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Begins to watch for forks; further calls do nothing.
pub(crate) fn watch() {
    static WATCH: std::sync::Once = std::sync::Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handler only adds to an atomic, which is safe in a forked child of a process with threads.
        let status = unsafe { nix::libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(status, 0, "pthread_atfork fails only without memory");
    });
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
