//! A face to ask: in-process requests, and a listening server for what needs a connection.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use neptune_engine::Engine;
use neptune_http::{Connection, Ended, Face, Listener, Settings, now, router};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

/// Longest wait for anything a test expects.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Settings of a server on loopback that needs no token.
pub(crate) fn open() -> Settings {
    Settings { open_on_loopback: true, version: "0.0.0-test", ..Settings::default() }
}

/// A router over an engine of its own.
pub(crate) struct World {
    pub(crate) engine: Engine,
    router: Router,
    peer: SocketAddr,
    token: Option<String>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `status code [field] detail` of a problem document.
    pub(crate) fn problem(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{} {:?}",
            self.status,
            self.body
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16());
        let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} [{}] {}", self.status.as_u16(), text("code"), text("field"), text("detail"))
    }

    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(open()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let engine = neptune_in_memory::engine().await;
        let router = router(&Face::new(engine.clone(), settings));
        Self { engine, router, peer: "127.0.0.1:5000".parse().unwrap(), token: None }
    }

    /// The same world seen from another address.
    pub(crate) fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub(crate) fn as_bearer(&self, token: &str) -> Self {
        let (engine, router) = (self.engine.clone(), self.router.clone());
        Self { engine, router, peer: self.peer, token: Some(token.to_owned()) }
    }

    /// Sends a request as it is, with the connection and a host of its own unless there is one.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        let local = "127.0.0.1:8420".parse().unwrap();
        request.extensions_mut().insert(Connection { remote: self.peer, local, encrypted: false });
        let headers = request.headers_mut();
        headers.entry("host").or_insert("localhost:8420".parse().unwrap());
        if let Some(token) = &self.token {
            headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get_with(&self, path: &str, name: &str, value: &str) -> Answer {
        self.send(Request::get(path).header(name, value).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_string())).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.call("POST", path, body).await
    }

    /// A project TRIG and a job TRIG-1 that runs as attempt 1; answers the attempt's token.
    pub(crate) async fn with_running_job(&self) -> String {
        self.post("/api/v1/projects", json!({"key": "TRIG", "name": "Trigonometry"})).await.expect(201);
        let job = json!({"project": "TRIG", "name": "sine", "uid": "0f".repeat(16)});
        self.post("/api/v1/jobs", job).await.expect(201);
        let claim = json!({"claim": "0a".repeat(16)});
        let claimed = self.post("/api/v1/jobs/TRIG-1/attempts", claim).await.expect(201).json();
        assert_eq!(claimed["attempt"], 1);
        claimed["token"].as_str().unwrap().to_owned()
    }

    /// Stores a blob in the project TRIG and answers its digest.
    pub(crate) async fn put_blob(&self, bytes: &[u8]) -> String {
        let digest = blake3::hash(bytes).to_hex().to_string();
        let request = Request::put(format!("/api/v1/projects/TRIG/blobs/{digest}"))
            .header("content-type", "application/octet-stream")
            .body(Body::from(bytes.to_vec()));
        self.send(request.unwrap()).await.expect(204);
        digest
    }
}

/// A server that listens.
pub(crate) struct Served {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) ended: JoinHandle<Ended>,
}

impl Served {
    pub(crate) async fn new() -> Self {
        Self::with(open()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        Self::start(neptune_in_memory::engine().await, settings).await
    }

    /// Serves an engine that is there already.
    pub(crate) async fn over(engine: Engine) -> Self {
        Self::start(engine, open()).await
    }

    async fn start(engine: Engine, settings: Settings) -> Self {
        let face = Face::new(engine.clone(), settings);
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), &face).await.unwrap();
        Self::listen(engine, face, listener)
    }

    /// A server that lets so many connections be open at once.
    pub(crate) async fn with_connections(connections: usize) -> Self {
        let engine = neptune_in_memory::engine().await;
        let face = Face::new(engine.clone(), open());
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), &face).await.unwrap();
        Self::listen(engine, face, listener.with_connections(connections))
    }

    fn listen(engine: Engine, face: Face, listener: Listener) -> Self {
        let address = listener.address().unwrap();
        let stop = CancellationToken::new();
        let ended = tokio::spawn(listener.serve(face, stop.clone(), Duration::from_secs(5)));
        Self { engine, address, stop, ended }
    }

    /// The same engine, asked without a connection.
    pub(crate) fn world(&self) -> World {
        let router = router(&Face::new(self.engine.clone(), open()));
        World { engine: self.engine.clone(), router, peer: "127.0.0.1:5000".parse().unwrap(), token: None }
    }
}

/// An administrator's token of an engine.
pub(crate) async fn admin_token(engine: &Engine) -> String {
    engine.create_admin_token("test", [3; 32], now()).await.unwrap()
}
