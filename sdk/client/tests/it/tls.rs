//! HTTPS and WSS with a root that only this machine trusts, as research clusters have one.
//!
//! The machine's roots are read once in a process, so the program that trusts ours is this test binary again.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use neptune_client::{Access, Blocking, Rest, RestError, Writer};
use neptune_wire::Micros;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::peer::Peer;
use super::support::{LONG, numeric, settings};

const URL: &str = "NEPTUNE_TEST_TLS_URL";
const TRUSTED: &str = "NEPTUNE_TEST_TLS_TRUSTED";

/// Speaks TLS as `localhost` and hands everything on to the peer. Answers its port and the certificate.
fn front(peer: &Peer, runtime: &tokio::runtime::Runtime) -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let to = peer.url().replace("http://", "");
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    runtime.spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(stream).await else { return };
                let mut plain = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut tls, &mut plain).await;
            });
        }
    });
    (port, made.cert.pem())
}

/// What the program does; without an address there is nothing to do.
#[test]
fn program() {
    let (Ok(url), trusted) = (std::env::var(URL), std::env::var_os(TRUSTED).is_some()) else { return };
    let access = Access { url: url.clone(), token: None };
    let api = Blocking::new(Rest::new(access).unwrap()).unwrap();
    let job = api.wait(api.rest().read_job(&"TRIG-12".parse().unwrap()));
    let spool = tempfile::tempdir().unwrap();
    let (settings, told) = settings(&url, spool.path());
    let writer = Writer::open(settings);
    numeric(&writer, "loss").send(1.0, 2.0, Micros(3));
    if trusted {
        assert_eq!(job.unwrap().id.to_string(), "TRIG-12");
        assert!(writer.flush(LONG).all_acked, "{:?}", told.lock().unwrap());
    } else {
        let error = job.unwrap_err();
        assert!(matches!(error, RestError::Unreachable { .. }), "{error:?}");
        assert!(error.to_string().contains("certificate"), "{error}");
        assert!(!writer.flush(Duration::from_secs(3)).all_acked);
    }
}

#[test]
fn the_roots_of_the_machine_are_trusted_and_no_others() {
    let (peer, folder) = (Peer::start(), tempfile::tempdir().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (port, pem) = front(&peer, &runtime);
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, pem).unwrap();
    let run = |trusted: bool| {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", "it::tls::program", "--nocapture"])
            .env(URL, format!("https://localhost:{port}"));
        if trusted {
            program.env("SSL_CERT_FILE", &roots).env(TRUSTED, "yes");
        }
        let output = program.output().unwrap();
        assert!(output.status.success(), "trusted: {trusted}\n{}", String::from_utf8_lossy(&output.stderr));
    };
    run(false);
    assert_eq!(peer.state().headers.len(), 0, "nothing was said to a server that is not trusted");
    run(true);
    assert_eq!(peer.xs("loss"), [1.0]);
}
