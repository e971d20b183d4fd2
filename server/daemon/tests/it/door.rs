//! Who is let in by the real server, whose settings come from the command line.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tempfile::tempdir;

use crate::server::Server;

/// The headers by which a browser opens a WebSocket.
const UPGRADE: [(&str, &str); 3] = [
    ("upgrade", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[test]
fn other_sites_are_kept_out_and_the_page_is_not() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &["--public-host", "neptune.example"]);
    let port = server.authority().rsplit(':').next().unwrap();
    let rebound = format!("rebound.example:{port}");
    for path in ["/", "/health", "/api/v1/jobs", "/api/openapi.json"] {
        assert_eq!(server.ask("GET", path, &[("host", &rebound)], "").0, 421, "{path}");
        assert_eq!(server.ask("GET", path, &[("origin", "https://evil.example")], "").0, 403, "{path}");
    }
    for host in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        "neptune.example".into(),
    ] {
        assert_eq!(server.ask("GET", "/api/v1/jobs", &[("host", &host)], "").0, 200, "{host}");
    }
    assert_eq!(server.ask("GET", "/api/v1/jobs", &[("origin", &server.url)], "").0, 200);

    let project = "{\"key\": \"TRIG\", \"name\": \"x\"}";
    assert_eq!(server.ask("POST", "/api/v1/projects", &[("content-type", "text/plain")], project).0, 415);
    assert_eq!(server.ask("POST", "/api/v1/projects", &[("neptune-client", "test")], project).0, 201);
    server.stop();
}

#[test]
fn other_sites_open_no_websocket() {
    let folder = tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let open = |path: &str, origin: &str| {
        // Not `ask`: an opened WebSocket ends when somebody closes it, not by itself.
        let mut lines = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: upgrade\r\norigin: {origin}\r\n",
            server.authority()
        );
        for (name, value) in UPGRADE {
            lines.push_str(&format!("{name}: {value}\r\n"));
        }
        let mut stream = server.connect();
        stream.write_all(format!("{lines}\r\n").as_bytes()).unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        String::from_utf8(head.to_vec()).unwrap()
    };
    for path in ["/api/v1/live", "/api/v1/ingest"] {
        assert_eq!(open(path, "https://evil.example"), "HTTP/1.1 403");
        assert_eq!(open(path, "null"), "HTTP/1.1 403");
        assert_eq!(open(path, &server.url), "HTTP/1.1 101");
    }
    server.stop();
}

#[test]
fn tls_files_make_it_speak_tls() {
    let folder = tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("c.pem"), signed.cert.pem()).unwrap();
    std::fs::write(folder.path().join("k.pem"), signed.signing_key.serialize_pem()).unwrap();
    let server = Server::start(folder.path(), &["--tls-certificate", "c.pem", "--tls-key", "k.pem"]);
    assert!(server.url.starts_with("https://127.0.0.1:"), "{}", server.url);

    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let client = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(client, server.connect());
    stream.write_all(b"GET /api/v1/server HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"access\":\"open\""), "{answer}");
    server.stop();
}
