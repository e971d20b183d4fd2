//! Signals to the runner itself, received by a thread instead of ending it.
//!
//! They are caught, not blocked: what is caught is back to normal in every program that is started, what is blocked would
//! stay blocked there and the program could not be ended.

use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Signals that mean "end the job".
const WATCHED: [Signal; 3] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
/// More at once than anybody sends.
const QUEUED: usize = 16;

/// Catches the signals from now on; one that is ignored already (`nohup`) stays so.
///
/// Once the receiver is gone a signal ends the process, as if it were not caught.
///
/// # Errors
///
/// When no handler can be set or no thread started.
pub fn watch() -> io::Result<mpsc::Receiver<Signal>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (sender, receiver) = mpsc::channel(QUEUED);
    let ignored = ignored_signals();
    for watched in WATCHED.into_iter().filter(|signal| ignored & (1 << (*signal as i32 - 1)) == 0) {
        let sender = sender.clone();
        let _entered = runtime.enter();
        let mut caught = signal(SignalKind::from_raw(watched as i32))?;
        runtime.spawn(async move {
            while caught.recv().await.is_some() {
                // A full queue has as many orders to end as anybody needs.
                if matches!(sender.try_send(watched), Err(mpsc::error::TrySendError::Closed(_))) {
                    std::process::exit(128 + watched as i32);
                }
            }
        });
    }
    let wait = move || runtime.block_on(std::future::pending::<()>());
    std::thread::Builder::new().name("neptune-signals".into()).spawn(wait)?;
    Ok(receiver)
}

/// The mask of ignored signals of this process, bit 0 being signal 1.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
