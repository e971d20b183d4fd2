//! Requests and their refusals.

use neptune_client::rest::{BlobSource, digest_bytes, digest_file};
use neptune_client::{Access, Blocking, Rest, RestError};
use neptune_wire::problem::Code;
use neptune_wire::snapshot::{File, Manifest, Mode};
use neptune_wire::{Digest, JobRef};

use super::peer::Peer;
use super::support::name;

fn blocking(url: &str) -> Blocking {
    Blocking::new(Rest::new(Access { url: url.into(), token: Some("secret".into()) }).unwrap()).unwrap()
}

fn job() -> JobRef {
    "TRIG-12".parse().unwrap()
}

#[test]
fn refusals_are_told_apart() {
    let mut peer = Peer::start();
    let api = blocking(&format!("{}/", peer.url()));
    assert_eq!(api.wait(api.rest().read_job(&job())).unwrap().id.to_string(), "TRIG-12");
    let head = peer.state().headers.last().unwrap().clone();
    assert!(head.contains("neptune-client: ") && head.contains("authorization: Bearer secret"), "{head}");

    let error = api.wait(api.rest().list_projects()).unwrap_err();
    assert!(
        matches!(&error, RestError::Refused(problem) if problem.code == Code::NoRoute && problem.status == 404)
    );
    peer.set(|faults| faults.unauthorized = true);
    assert_eq!(api.wait(api.rest().read_job(&job())).unwrap_err().code(), Some(Code::Unauthorized));
    for (garbage, temporary) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"[..], false),
        (&b"HTTP/1.1 404 x\r\ncontent-length: 6\r\nconnection: close\r\n\r\n<html>"[..], false),
        (&b"HTTP/1.1 302 x\r\nlocation: http://example.com/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"[..], false),
        (&b"HTTP/1.1 503 x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"[..], true),
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 600\r\n\r\n{"[..], true),
    ] {
        peer.set(|faults| faults.garbage = Some(garbage.into()));
        let error = api.wait(api.rest().read_job(&job())).unwrap_err();
        let kind = matches!(error, RestError::Unreachable { .. }) == temporary
            && matches!(error, RestError::Protocol { .. }) != temporary;
        assert!(kind && error.is_temporary() == temporary, "{error:?}");
    }
    peer.kill();
    let error = api.wait(api.rest().read_job(&job())).unwrap_err();
    assert!(
        matches!(error, RestError::Unreachable { .. }) && error.to_string().contains("refused"),
        "{error}"
    );
}

#[test]
fn names_of_any_kind_stand_in_an_address() {
    let peer = Peer::start();
    let api = blocking(&peer.url());
    for (channel, path) in [
        ("loss", "/loss/text"),
        ("train/loss (%) ?#", "/train%2Floss%20%28%25%29%20%3F%23/text"),
        ("größe", "/gr%C3%B6%C3%9Fe/text"),
    ] {
        let _ = api.wait(api.rest().read_text(&job(), &name(channel), &Default::default()));
        let head = peer.state().headers.last().unwrap().clone();
        assert!(head.starts_with(&format!("GET /api/v1/jobs/TRIG-12/channels{path} HTTP")), "{head}");
    }
    let asked = peer.state().headers.len();
    for dots in [".", ".."] {
        let error = api.wait(api.rest().read_text(&job(), &name(dots), &Default::default())).unwrap_err();
        assert!(matches!(error, RestError::Request(_)), "{error}");
    }
    assert_eq!(peer.state().headers.len(), asked);
}

#[test]
fn what_is_no_address_is_named() {
    for wrong in ["", "localhost:8420", "ftp://x", "http://", "http:// x"] {
        let error = Rest::new(Access { url: wrong.into(), token: None }).unwrap_err();
        assert!(error.to_string().contains("http://127.0.0.1:8420"), "{wrong}: {error}");
    }
    let error = Rest::new(Access { url: "http://x".into(), token: Some("a\nb".into()) }).unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    let shown = format!("{:?}", Access { url: "http://x".into(), token: Some("secret".into()) });
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_snapshot_sends_what_is_missing_and_no_more() {
    let (peer, folder) = (Peer::start(), tempfile::tempdir().unwrap());
    let api = blocking(&peer.url());
    let mut manifest = Manifest::default();
    for i in 0..20_u8 {
        let path = folder.path().join(i.to_string());
        std::fs::write(&path, vec![i % 10; 300_000]).unwrap();
        let (digest, size_bytes) = digest_file(&path).unwrap();
        manifest.files.push(File { path: format!("{i:02}"), digest, size_bytes, mode: Mode::File });
    }
    let find =
        |digest: Digest| {
            let file = manifest.files.iter().find(|file| file.digest == digest)?;
            Some(BlobSource::File(folder.path().join(
                file.path.trim_start_matches('0').to_owned() + if file.path == "00" { "0" } else { "" },
            )))
        };
    let key = "TRIG".parse().unwrap();
    let uploaded = api.wait(api.rest().upload_snapshot(&key, &manifest, find)).unwrap();
    assert_eq!(uploaded.blobs, 10, "equal files travel once");
    assert_eq!(uploaded.snapshot, digest_bytes(&manifest.canonical_json()));
    assert_eq!(peer.state().blobs.values().sum::<usize>(), 3_000_000);
    assert_eq!(api.wait(api.rest().upload_snapshot(&key, &manifest, find)).unwrap().blobs, 0);
}
