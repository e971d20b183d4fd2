//! Noticing that this process is a forked child of the one that made a value.
//!
//! A child inherits memory but no threads: locks may be held by nobody, background threads are gone, and file locks are
//! shared with the parent. So a value that a parent made is only read where it never changes, and everything else is
//! made anew. [`generation`] costs one load; a handler that the C library runs in every forked child counts it up and
//! closes the child's copies of file locks.
//!
//! Libraries make some values once per process and let everybody wait who needs one meanwhile: a child that is forked at
//! that instant would wait for ever, as the thread that makes it is the parent's. So forks wait for those ([`undivided`]).

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Files a child closes; a process that holds more locks shares the rest with its children for as long as they live.
const CLOSED_IN_CHILD: usize = 64;
const FREE: RawFd = -1;
/// A fork waits at most so long; making something takes milliseconds, unless the machine is all but dead.
const FORK_WAITS: Duration = Duration::from_secs(1);
/// Between two looks of one who waits.
const LOOK_EVERY: Duration = Duration::from_micros(50);

/// Threads that are within [`undivided`].
static MAKING: AtomicU32 = AtomicU32::new(0);
/// Threads that are about to fork.
static FORKING: AtomicU32 = AtomicU32::new(0);
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
        // SAFETY: the child's handler does only what is safe in a forked child of a process with threads: atomics and
        // `close`. The others run before and after the fork, where everything is allowed.
        let status = unsafe { nix::libc::pthread_atfork(Some(before_fork), Some(in_parent), Some(in_child)) };
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

/// Runs what makes values that a library keeps once per process, while no other thread forks. Not to be nested, nor to
/// wait for a network: forks wait for it.
pub(crate) fn undivided<T>(make: impl FnOnce() -> T) -> T {
    watch();
    // Either a fork sees that this is being made, or this sees the fork; both may, and then this steps back.
    loop {
        MAKING.fetch_add(1, Ordering::SeqCst);
        if FORKING.load(Ordering::SeqCst) == 0 {
            break;
        }
        MAKING.fetch_sub(1, Ordering::SeqCst);
        std::thread::sleep(LOOK_EVERY);
    }
    let _made = Made(generation());
    make()
}

/// Ends what [`undivided`] began, also by panic.
struct Made(u64);

impl Drop for Made {
    fn drop(&mut self) {
        // A child of `make` itself began to count at zero.
        if self.0 == generation() {
            MAKING.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

extern "C" fn before_fork() {
    FORKING.fetch_add(1, Ordering::SeqCst);
    let by = Instant::now() + FORK_WAITS;
    while MAKING.load(Ordering::SeqCst) > 0 && Instant::now() < by {
        std::thread::sleep(LOOK_EVERY);
    }
}

extern "C" fn in_parent() {
    FORKING.fetch_sub(1, Ordering::SeqCst);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // The threads that these counted are the parent's.
    FORKING.store(0, Ordering::SeqCst);
    MAKING.store(0, Ordering::SeqCst);
    for slot in &CLOSE {
        let file = slot.swap(FREE, Ordering::Relaxed);
        if file != FREE {
            // SAFETY: the number belongs to a lock of the parent, whose value is not used again in this process.
            unsafe { nix::libc::close(file) };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, OnceLock};

    use nix::sys::wait::{WaitStatus, waitpid};
    use nix::unistd::{ForkResult, fork};

    use super::*;

    #[test]
    fn a_child_never_waits_for_what_its_parent_was_making() {
        static VALUE: OnceLock<u32> = OnceLock::new();
        let makes = Arc::new(AtomicBool::new(false));
        let maker = std::thread::spawn({
            let makes = Arc::clone(&makes);
            move || {
                undivided(|| {
                    *VALUE.get_or_init(|| {
                        makes.store(true, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(100));
                        7
                    })
                })
            }
        });
        while !makes.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        // SAFETY: the child reads one value and ends.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                // SAFETY: an alarm without a handler ends the child, should it wait for ever.
                unsafe { nix::libc::alarm(10) };
                let code = i32::try_from(undivided(|| *VALUE.get_or_init(|| 8))).unwrap();
                // SAFETY: ends this process, without running what belongs to the parent.
                unsafe { nix::libc::_exit(code) };
            }
            ForkResult::Parent { child } => {
                assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 7));
            }
        }
        assert_eq!(maker.join().unwrap(), 7);
        assert_eq!(undivided(|| 3), 3);
    }
}
