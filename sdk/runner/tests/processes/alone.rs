//! A runner process holds one tree and adopts every orphan below it, so each test runs in a process of its own.

use std::process::Command;
use std::time::{Duration, Instant};

const ALONE: &str = "NEPTUNE_TEST_ALONE";

/// Runs `test` in a process of its own, which is this test binary again, and passes its failure on.
pub(crate) fn alone(name: &str, test: impl FnOnce()) {
    if is_alone() {
        return test();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("1 passed"), "the test did not run: {text}");
}

/// Waits for a condition, with a deadline.
pub(crate) fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "no {what} within 10 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether this is the test's own process.
pub(crate) fn is_alone() -> bool {
    std::env::var_os(ALONE).is_some()
}
