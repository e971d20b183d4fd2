//! Start, stop, kill, start again.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use tempfile::tempdir;

use crate::server::Server;

#[test]
fn it_says_that_it_lives_and_what_it_counts() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.get("/health").0, 200);
    assert_eq!(server.get("/ready").0, 200);
    let (status, metrics) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("neptune_jobs 0\n") && metrics.trim_end().ends_with("# EOF"), "{metrics}");
    let (_, info) = server.get("/api/v1/server");
    assert!(
        info.ends_with(concat!(
            "{\"version\":\"",
            env!("CARGO_PKG_VERSION"),
            "\",\"access\":\"open\",\"read_only\":false,\"failed\":false}"
        )),
        "{info}"
    );
    let mode = std::fs::metadata(folder.path().join("neptune-data")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others may not read what it keeps");
    server.stop();
}

#[test]
fn log_lines_are_json_when_asked_for() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--log-format", "json"]);
    assert_eq!(server.get("/api/v1/jobs?search=s3cret").0, 200);
    assert_eq!(server.get("/api/v1/jobs/TRIG-1").0, 404);
    let log = server.log();
    let line = log.lines().find(|line| line.contains("\"status\":404")).unwrap();
    for part in [
        "\"method\":\"GET\"",
        "\"route\":\"/api/v1/jobs/{id}\"",
        "\"peer\":\"127.0.0.1\"",
        "\"micros\":",
        "\"bytes\":",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!log.contains("s3cret"), "{log}");
    server.stop();
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &[]);
    assert_eq!(server.post("/api/v1/projects", "{\"key\": \"TRIG\", \"name\": \"x\"}").0, 201);
    assert_eq!(server.post("/api/v1/jobs", "{\"project\": \"TRIG\", \"name\": \"sine\"}").0, 201);
    assert_eq!(server.post("/api/v1/jobs/TRIG-1/points", "{\"loss\": [[1, 0.5, 7]]}").0, 200);
    server.signal(Signal::SIGKILL);
    server.wait();

    let server = Server::start(folder.path(), &[]);
    let (status, points) = server.get("/api/v1/jobs/TRIG-1/channels/loss/points");
    assert_eq!(status, 200);
    assert!(points.ends_with("{\"x\":[1.0],\"y\":[0.5],\"time\":[7],\"next\":null}"), "{points}");
    server.stop();
}

/// A request that hangs holds a stop up until the deadline; then it is cut, and the server still ends in order.
#[test]
fn a_stop_waits_no_longer_than_it_was_told() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &["--drain-millis", "300"]);
    let mut stuck = server.connect();
    let head = "POST /api/v1/projects HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{";
    stuck.write_all(head.as_bytes()).unwrap();
    assert_eq!(server.get("/health").0, 200);
    server.signal(Signal::SIGINT);
    assert!(server.wait().success());
    assert!(server.log().contains("requests that did not end in time were cut"), "{}", server.log());
    let mut rest = Vec::new();
    assert!(stuck.read_to_end(&mut rest).is_err() || rest.is_empty(), "{rest:?}");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let folder = tempdir().unwrap();
    let mut server = Server::start(folder.path(), &["--drain-millis", "600000"]);
    let mut stuck = server.connect();
    stuck.write_all(b"POST /api/v1/projects HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{").unwrap();
    assert_eq!(server.get("/health").0, 200);
    server.signal(Signal::SIGTERM);
    crate::server::wait_until("it begins to stop", || server.log().contains("stopping").then_some(()));
    server.signal(Signal::SIGTERM);
    assert_eq!(server.wait().code(), Some(1));
}

/// What is there already is taken all the same, so that the connection serves what is asked next.
#[test]
fn a_blob_that_is_there_is_uploaded_again_on_a_connection_that_stays() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    assert_eq!(server.post("/api/v1/projects", "{\"key\": \"TRIG\", \"name\": \"x\"}").0, 201);
    let blob = vec![b'x'; 32 << 20];
    let path = format!("/api/v1/projects/TRIG/blobs/{}", blake3::hash(&blob));
    let mut stream = server.connect();
    for _once_and_again in 0..3 {
        let head = format!(
            "PUT {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
            server.url.split("//").nth(1).unwrap(),
            blob.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&blob).unwrap();
        let mut answer = [0; 4096];
        let count = stream.read(&mut answer).unwrap();
        assert!(
            answer[..count].starts_with(b"HTTP/1.1 204 "),
            "{}",
            String::from_utf8_lossy(&answer[..count])
        );
    }
    server.stop();
}
