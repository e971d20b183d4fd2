//! Signals to the runner itself, received by a thread instead of ending it.

use std::io;

use nix::sys::signal::{SigSet, Signal};
use tokio::sync::mpsc;

/// Signals that mean "end the job".
const WATCHED: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// More at once than anybody sends.
const QUEUED: usize = 16;

/// Blocks the signals in this thread and all it starts from now on, and receives them.
///
/// Called first thing, before any other thread exists. A signal that is ignored already (`nohup`) stays so. Programs
/// started afterwards get a fresh mask from the standard library.
///
/// # Errors
///
/// When no thread can be started.
pub fn watch() -> io::Result<mpsc::Receiver<Signal>> {
    let ignored = ignored_signals();
    let mut set = SigSet::empty();
    WATCHED
        .iter()
        .filter(|signal| ignored & (1 << (**signal as i32 - 1)) == 0)
        .for_each(|signal| set.add(*signal));
    set.thread_block()?;
    let (sender, receiver) = mpsc::channel(QUEUED);
    let wait = move || {
        while let Ok(signal) = set.wait() {
            // A full queue has as many orders to end as anybody needs; a closed one has nothing left to end.
            if matches!(sender.try_send(signal), Err(mpsc::error::TrySendError::Closed(_))) {
                std::process::exit(128 + signal as i32);
            }
        }
    };
    std::thread::Builder::new().name("neptune-signals".into()).spawn(wait)?;
    Ok(receiver)
}

/// The mask of ignored signals of this process, bit 0 being signal 1.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
