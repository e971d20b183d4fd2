//! The server itself: documents, page, metrics, TLS, an orderly end.

use std::sync::Arc;
use std::time::Duration;

use neptune_http::{Ended, Settings, TlsFiles};
use rustls::pki_types::ServerName;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{SOON, Served, World, open};

#[tokio::test]
async fn the_documents_are_served() {
    let world = World::new().await;
    let document = world.get("/api/openapi.json").await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/api/v1/jobs/{id}"]["patch"].is_object());
    let page = world.get("/api/docs").await.expect(200);
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    for file in ["/api/docs/docs.js", "/api/docs/docs.css"] {
        assert!(html.contains(file), "{file}");
        world.get(file).await.expect(200);
    }
    // The policy forbids what is inline, so there is none.
    assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("<script>"));
    world.get("/api/docs/other").await.expect(404);
}

#[tokio::test]
async fn unknown_paths_are_the_pages_unless_they_are_the_interfaces() {
    let world = World::new().await;
    let page = world.get("/jobs/TRIG-1/charts").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(world.get("/").await.body, page.body);
    for path in ["/api", "/api/", "/api/v2/jobs", "/assets/gone-123.js"] {
        assert!(world.get(path).await.expect(404).problem().starts_with("404 no-route"), "{path}");
    }
    assert_eq!(world.call("DELETE", "/jobs", json!({})).await.expect(405).header("allow"), "GET, HEAD");
}

#[tokio::test]
async fn requests_are_counted_by_route() {
    let world = World::new().await;
    world.with_running_job().await;
    world.get("/api/v1/jobs/TRIG-1").await.expect(200);
    world.get("/api/v1/jobs/TRIG-9").await.expect(404);
    let answer = world.get("/metrics").await.expect(200);
    assert!(answer.header("content-type").starts_with("application/openmetrics-text; version=1.0.0"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        r#"neptune_http_requests_total{method="GET",route="/api/v1/jobs/{id}",status="200"} 1"#,
        r#"neptune_http_requests_total{method="GET",route="/api/v1/jobs/{id}",status="404"} 1"#,
        r#"neptune_http_request_duration_seconds_count{route="/api/v1/jobs/{id}"} 2"#,
        "neptune_jobs 1",
        "neptune_live_jobs 1",
        "neptune_read_only 0",
        r#"neptune_build_info{version="0.0.0-test"} 1"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// One request by hand, so that nothing of a client's library hides what is on the line.
async fn raw(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn tls_is_spoken_when_files_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, signed.cert.pem()).unwrap();
    std::fs::write(&files.key, signed.signing_key.serialize_pem()).unwrap();
    let served = Served::with(Settings { tls: Some(files), ..open() }).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(signed.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http2 = client.clone();
    http2.alpn_protocols = vec![b"h2".to_vec()];
    let connect = async |config: rustls::ClientConfig| {
        let tcp = TcpStream::connect(served.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
    };
    let mut stream = connect(client).await;
    let answer =
        raw(&mut stream, "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("ok\n"), "{answer}");
    assert_eq!(connect(http2).await.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

    // Plain HTTP on the same port is no way in.
    let mut plain = TcpStream::connect(served.address).await.unwrap();
    let answer = raw(&mut plain, "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
}

#[tokio::test]
async fn files_that_are_no_tls_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cert.pem");
    std::fs::write(&path, "not a certificate").unwrap();
    let tls = Some(TlsFiles { certificate: path.clone(), key: path.clone() });
    let face = neptune_http::Face::new(neptune_in_memory::engine().await, Settings { tls, ..open() });
    let error = neptune_http::Listener::bind("127.0.0.1:0".parse().unwrap(), &face).await.unwrap_err();
    assert!(error.to_string().contains("cert.pem must hold PEM certificates"), "{error}");
}

#[tokio::test]
async fn a_stop_answers_what_was_asked_and_takes_no_more() {
    let served = Served::new().await;
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200 OK");

    served.stop.cancel();
    assert_eq!(tokio::time::timeout(SOON, served.ended).await.unwrap().unwrap(), Ended::Drained);
    assert!(TcpStream::connect(served.address).await.is_err());
}

/// A request that never ends is cut when the time is up.
#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut stuck = TcpStream::connect(served.address).await.unwrap();
    let head = format!(
        "PUT /api/v1/projects/TRIG/blobs/{} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/octet-stream\r\n\
         content-length: 10\r\n\r\nfive!",
        "0".repeat(64)
    );
    stuck.write_all(head.as_bytes()).await.unwrap();
    // Once another request was answered, the first has been accepted as well.
    let mut other = TcpStream::connect(served.address).await.unwrap();
    raw(&mut other, "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    served.stop.cancel();
    assert_eq!(tokio::time::timeout(SOON, served.ended).await.unwrap().unwrap(), Ended::Cut);
}

/// Reads until the server closes, with a clock that runs ahead whenever nothing else does; answers the virtual time.
async fn until_closed(stream: &mut TcpStream) -> Duration {
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    let mut rest = Vec::new();
    tokio::time::timeout(Duration::from_secs(3600), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
    start.elapsed()
}

#[tokio::test]
async fn who_connects_and_asks_nothing_is_let_go() {
    let served = Served::new().await;
    for begin in ["", "GET /hea", "GET /health HTTP/1.1\r\nhost: localhost\r\nx-slow: "] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(begin.as_bytes()).await.unwrap();
        let time = until_closed(&mut stream).await;
        assert!(time <= Duration::from_secs(61), "{begin:?}: {time:?}");
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_websocket_peer_that_answers_no_ping_is_let_go() {
    let served = Served::new().await;
    for path in ["/api/v1/ingest", "/api/v1/live"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut begin = [0; 12];
        stream.read_exact(&mut begin).await.unwrap();
        assert_eq!(&begin, b"HTTP/1.1 101");
        let time = until_closed(&mut stream).await;
        assert!((Duration::from_secs(60)..Duration::from_secs(90)).contains(&time), "{path}: {time:?}");
        tokio::time::resume();
    }
}
