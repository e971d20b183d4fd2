//! A full disk is a clear state: reads go on, writes are told why not, and it resumes by itself.
//!
//! The server runs in a mount namespace of its own with a small file system in memory for its data, which takes root or
//! user namespaces; where neither is, the test says that it did not run.

use std::fs::{self, File};
use std::io::Write as _;
use std::process::{Command, Stdio};

use tempfile::tempdir;

use crate::server::{Server, wait_until};

const DISK: &str = "size=400m";

fn unshare(arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(arguments).arg("--");
    command
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let usable = [vec!["--mount"], vec!["--mount", "--map-root-user"]].into_iter().find(|arguments| {
        let mut probe = unshare(arguments);
        probe.args(["sh", "-c", "mount -t tmpfs none /mnt"]).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    });
    let Some(usable) = usable else {
        // Past the capture of output: nobody should believe that it ran.
        let text = b"test a_full_disk_is_said_and_survived DID NOT RUN: neither root nor user namespaces\n";
        return std::io::stderr().write_all(text).unwrap();
    };
    let folder = tempdir().unwrap();
    fs::create_dir(folder.path().join("neptune-data")).unwrap();
    let mut small = unshare(&usable);
    let script = format!("mount -t tmpfs -o {DISK} none neptune-data && exec \"$0\" \"$@\"");
    small.args(["sh", "-c", &script, env!("CARGO_BIN_EXE_neptune-server")]);
    let server = Server::start_by(small, folder.path(), &["--log", "info"]);
    assert_eq!(server.post("/api/v1/projects", "{\"key\": \"TRIG\", \"name\": \"x\"}").0, 201);

    let path = format!("/proc/{}/cwd/neptune-data/somebody-elses", server.child.id());
    let mut other = File::create(&path).unwrap();
    while other.write_all(&vec![1; 1 << 20]).is_ok() {}
    let create = |round: u32| {
        server.post("/api/v1/jobs", &format!("{{\"project\": \"TRIG\", \"name\": \"{round}\"}}"))
    };
    let mut round = 0;
    let refusal = wait_until("writes are refused", || {
        round += 1;
        let (status, answer) = create(round);
        (status == 503).then_some(answer)
    });
    assert!(refusal.contains("\"code\":\"read-only\"") && refusal.contains("retry-after: "), "{refusal}");
    let (status, ready) = server.get("/ready");
    assert_eq!(status, 503);
    assert!(ready.contains("the disk is full"), "{ready}");
    assert!(server.get("/api/v1/server").1.contains("\"read_only\":true"));
    assert!(server.get("/metrics").1.contains("neptune_read_only 1\n"));
    assert_eq!(server.get("/api/v1/projects/TRIG").0, 200, "reads go on");
    assert_eq!(server.get("/health").0, 200);

    drop(other);
    fs::remove_file(&path).unwrap();
    wait_until("it is ready again without being asked to write", || {
        (server.get("/ready").0 == 200).then_some(())
    });
    assert_eq!(create(0).0, 201);
    server.stop();
}
