//! Noticing that this process is a forked child of the one that made a value.
//!
//! A child inherits memory but no threads: locks may be held by nobody, background threads are gone, and file locks are
//! shared with the parent. So a value that a parent made is only read where it never changes, and everything else is
//! made anew. [`generation`] costs one load; a handler that the C library runs in every forked child counts it up and
//! closes the child's copies of file locks.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

/// Files a child closes; a process that holds more locks shares the rest with its children for as long as they live.
const CLOSED_IN_CHILD: usize = 64;
const FREE: RawFd = -1;

static GENERATION: AtomicU64 = AtomicU64::new(0);
static CLOSE: [AtomicI32; CLOSED_IN_CHILD] = [const { AtomicI32::new(FREE) }; CLOSED_IN_CHILD];

/// Differs between a process and its forked children. Call [`watch`] once before relying on it.
#[inline]
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Begins to watch for forks; further calls do nothing.
pub(crate) fn watch() {
    static WATCH: std::sync::Once = std::sync::Once::new();
    WATCH.call_once(|| {
        // SAFETY: the handler does only what is safe in a forked child of a process with threads: atomics and `close`.
        let status = unsafe { nix::libc::pthread_atfork(None, None, Some(in_child)) };
        assert_eq!(status, 0, "pthread_atfork fails only without memory");
    });
}

/// From now on a forked child closes its copy of this file.
pub(crate) fn close_in_child(file: RawFd) {
    for slot in &CLOSE {
        if slot.compare_exchange(FREE, file, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Takes [`close_in_child`] back; the caller closes the file itself.
pub(crate) fn keep_in_child(file: RawFd) {
    for slot in &CLOSE {
        if slot.compare_exchange(file, FREE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for slot in &CLOSE {
        let file = slot.swap(FREE, Ordering::Relaxed);
        if file != FREE {
            // SAFETY: the number belongs to a lock of the parent, whose value is not used again in this process.
            unsafe { nix::libc::close(file) };
        }
    }
}
