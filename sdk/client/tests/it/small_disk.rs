//! A small disk of a test's own. Mounting one is root's right, which a user namespace gives to anybody.
//!
//! The test runs again as a program of its own in namespaces of its own: the disk goes with the program, however it ends.

use std::io::Write;
use std::path::Path;
use std::process::Command;

const INSIDE: &str = "NEPTUNE_TEST_SMALL_DISK";

/// Runs a test with an empty disk of so many KiB. `name` is the whole name of the test that calls this.
///
/// Where the system lets nobody mount, the test is not run, which is said on standard error past the test harness.
pub(crate) fn with_small_disk(name: &str, size_kib: u32, test: impl FnOnce(&Path)) {
    if std::env::var_os(INSIDE).is_some() {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={size_kib}k");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(folder.path()).status();
        assert!(mounted.unwrap().success());
        return test(folder.path());
    }
    let Some(unshare) = ["-rm", "-m"].into_iter().find(|how| can_mount(how)) else {
        let _ = writeln!(std::io::stderr(), "test {name} ... SKIPPED: neither user namespaces nor root here");
        return;
    };
    let output = Command::new("unshare")
        .arg(unshare)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let trouble = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{trouble}");
}

fn can_mount(unshare: &str) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut probe = Command::new("unshare");
    probe.args([unshare, "mount", "-t", "tmpfs", "none"]).arg(folder.path());
    probe.output().is_ok_and(|output| output.status.success())
}
