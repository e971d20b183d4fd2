//! `/api/v1/ingest` over real connections.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use neptune_wire::SessionId;
use neptune_wire::frame::FrameBuilder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::world::{SOON, Served, World};

pub(crate) const SESSION: SessionId = SessionId::from_bytes([9; 16]);

/// A WebSocket client that speaks text as JSON.
pub(crate) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What a client hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Json(Value),
    Binary(Vec<u8>),
    Closed(u16),
}

impl Socket {
    pub(crate) async fn connect(served: &Served, path: &str) -> Self {
        Self::with(served, path, &[]).await.unwrap()
    }

    pub(crate) async fn with(
        served: &Served,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Error> {
        let mut request = format!("ws://localhost:{}{path}", served.address.port()).into_client_request()?;
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let stream = MaybeTlsStream::Plain(TcpStream::connect(served.address).await?);
        Ok(Self(tokio_tungstenite::client_async(request, stream).await?.0))
    }

    pub(crate) async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    pub(crate) async fn say_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    pub(crate) async fn say_bytes(&mut self, bytes: impl Into<Vec<u8>>) {
        self.0.send(Message::binary(bytes.into())).await.unwrap();
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await.expect("an answer comes soon");
            match message {
                Some(Ok(Message::Text(text))) => return Heard::Json(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Binary(bytes))) => return Heard::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(frame))) => {
                    return Heard::Closed(frame.map_or(1005, |frame| frame.code.into()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Heard::Closed(1006),
            }
        }
    }

    #[track_caller]
    pub(crate) fn hear_json(&mut self) -> impl Future<Output = Value> {
        let caller = std::panic::Location::caller();
        async move {
            match self.hear().await {
                Heard::Json(value) => value,
                other => panic!("{other:?}, expected JSON at {caller}"),
            }
        }
    }

    /// Hears until a message of that type comes; the others are dropped.
    pub(crate) async fn hear_type(&mut self, wanted: &str) -> Value {
        loop {
            let heard = self.hear_json().await;
            if heard["type"] == wanted {
                return heard;
            }
        }
    }
}

/// A frame with some points of channel 0.
fn frame(seq: u64, y: &[f64]) -> Vec<u8> {
    let mut frame = FrameBuilder::new(SESSION, seq);
    let x: Vec<f64> = (0..y.len()).map(|step| step as f64).collect();
    assert_eq!(frame.push_numeric(0, &x, y, &vec![5; y.len()]), y.len());
    frame.finish()
}

async fn open_session(socket: &mut Socket) -> Value {
    socket
        .say(json!({"type": "open_session", "session": SESSION.to_string(), "job": "TRIG-1", "attempt": 1}))
        .await;
    let opened = socket.hear_json().await;
    let channels = json!([{"number": 0, "name": "loss", "kind": "numeric"}]);
    socket.say(json!({"type": "open_channels", "session": SESSION.to_string(), "channels": channels})).await;
    assert_eq!(socket.hear_type("channels_opened").await["bound"], 1);
    opened
}

/// Writes bytes into the job's standard output, durably.
pub(crate) async fn write_log(world: &World, _token: &str, bytes: &[u8]) {
    let served = Served::over(world.engine.clone()).await;
    let mut socket = Socket::connect(&served, "/api/v1/ingest").await;
    socket
        .say(json!({"type": "open_session", "session": SESSION.to_string(), "job": "TRIG-1", "attempt": 1}))
        .await;
    socket.hear_type("session_opened").await;
    let channels = json!([{"number": 0, "name": "sys/stdout", "kind": "text", "origin": "stdout"}]);
    socket.say(json!({"type": "open_channels", "session": SESSION.to_string(), "channels": channels})).await;
    socket.hear_type("channels_opened").await;
    let mut frame = FrameBuilder::new(SESSION, 1);
    assert_eq!(frame.push_log(0, 0, 0.0, 7, bytes), bytes.len());
    socket.say_bytes(frame.finish()).await;
    assert_eq!(socket.hear_type("acked").await["acked"], 1);
}

/// A WebSocket is a connection like any other, for as long as it lives.
#[tokio::test]
async fn websockets_count_among_the_connections() {
    let served = Served::with_connections(2).await;
    let ingest = Socket::connect(&served, "/api/v1/ingest").await;
    let _live = Socket::connect(&served, "/api/v1/live").await;
    let mut third = TcpStream::connect(served.address).await.unwrap();
    third.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut begin = [0; 12];
    let early = tokio::time::timeout(Duration::from_millis(200), third.read_exact(&mut begin)).await;
    assert!(early.is_err(), "a third connection was let in");
    drop(ingest);
    tokio::time::timeout(SOON, third.read_exact(&mut begin)).await.unwrap().unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
}

#[tokio::test]
async fn frames_are_acknowledged_and_stored_once() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/ingest").await;
    assert_eq!(open_session(&mut socket).await["acked"], 0);
    socket.say_bytes(frame(1, &[1.0, f64::NAN])).await;
    socket.say_bytes(frame(2, &[3.0])).await;
    while socket.hear_type("acked").await["acked"] != 2 {}

    // Sent again after a reconnect: acknowledged, not stored.
    let mut again = Socket::connect(&served, "/api/v1/ingest").await;
    assert_eq!(open_session(&mut again).await["acked"], 2);
    again.say_bytes(frame(2, &[3.0])).await;
    assert_eq!(again.hear_type("acked").await["acked"], 2);
    again.say_bytes(frame(9, &[3.0])).await;
    assert_eq!(again.hear_type("gap").await["expected"], 3);
    again.say(json!({"type": "close_session", "session": SESSION.to_string()})).await;
    assert_eq!(again.hear_type("session_closed").await["acked"], 2);

    let points =
        served.world().get("/api/v1/jobs/TRIG-1/channels/loss/points?order=arrival").await.expect(200).json();
    assert_eq!(points["y"], json!([1.0, "NaN", 3.0]));
}

#[tokio::test]
async fn what_is_malformed_is_answered_and_the_connection_lives_on() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/ingest").await;
    let code = async |socket: &mut Socket| {
        let heard = socket.hear_type("problem").await;
        assert_eq!(heard["problem"]["status"], 0);
        heard["problem"]["code"].as_str().unwrap().to_owned()
    };
    socket.say_text("no JSON").await;
    assert_eq!(code(&mut socket).await, "invalid-json");
    socket.say(json!({"type": "dance"})).await;
    assert_eq!(code(&mut socket).await, "invalid-json");
    socket.say(json!({"type": "beat", "seq": 1, "uptime_micros": 1, "holding": []})).await;
    assert_eq!(code(&mut socket).await, "protocol-violation");
    socket.say_bytes(*b"not a frame").await;
    assert_eq!(code(&mut socket).await, "damaged-frame");
    socket
        .say(json!({"type": "open_session", "session": SESSION.to_string(), "job": "TRIG-7", "attempt": 1}))
        .await;
    assert_eq!(code(&mut socket).await, "unknown-job");

    open_session(&mut socket).await;
    let mut damaged = frame(1, &[1.0]);
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    socket.say_bytes(damaged).await;
    let refused = socket.hear_type("refused").await;
    assert_eq!((&refused["seq"], &refused["problem"]["code"]), (&json!(1), &json!("damaged-frame")));
    let mut stray = FrameBuilder::new(SESSION, 2);
    assert_eq!(stray.push_numeric(5, &[1.0], &[1.0], &[1]), 1);
    socket.say_bytes(stray.finish()).await;
    assert_eq!(socket.hear_type("refused").await["problem"]["code"], "unknown-channel");
    socket.say_bytes(frame(3, &[1.0])).await;
    while socket.hear_type("acked").await["acked"] != 3 {}
    let points = served.world().get("/api/v1/jobs/TRIG-1/channels/loss/points").await.expect(200).json();
    assert_eq!(points["y"], json!([1.0]));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_connection_alone() {
    let served = Served::new().await;
    let mut socket = Socket::connect(&served, "/api/v1/ingest").await;
    let _ = socket.0.send(Message::binary(vec![0; (1 << 20) + 1])).await;
    assert!(matches!(socket.hear().await, Heard::Closed(_)));
    Socket::connect(&served, "/api/v1/ingest").await;
}

#[tokio::test]
async fn foreign_pages_open_no_socket() {
    let served = Served::new().await;
    for path in ["/api/v1/ingest", "/api/v1/live"] {
        for (name, value, status) in [
            ("origin", "https://evil.example", 403),
            ("host", "evil.example", 421),
            ("authorization", "Bearer x", 401),
        ] {
            let Err(Error::Http(answer)) = Socket::with(&served, path, &[(name, value)]).await else {
                panic!("{path} {name} must be refused");
            };
            assert_eq!(answer.status(), status, "{path} {name}");
        }
        let own = format!("http://localhost:{}", served.address.port());
        Socket::with(&served, path, &[("origin", &own)]).await.unwrap();
        // A plain request is told what the address is.
        assert!(served.world().get(path).await.expect(426).problem().contains("this address is a WebSocket"));
    }
}

#[tokio::test]
async fn a_runner_is_watched_and_told_to_end() {
    let served = Served::new().await;
    let world = served.world();
    let token = world.with_running_job().await;
    let bearer = format!("Bearer {token}");
    let open = json!({"type": "open_control", "job": "TRIG-1", "attempt": 1});
    let mut socket = Socket::with(&served, "/api/v1/ingest", &[("authorization", &bearer)]).await.unwrap();
    socket.say(open.clone()).await;
    assert_eq!(socket.hear_json().await["type"], "control_opened");
    let holding = json!([{"job": "0f".repeat(16), "attempt": 1, "phase": "running", "since_micros": 1}]);
    socket.say(json!({"type": "beat", "seq": 1, "uptime_micros": 1, "holding": holding})).await;
    let wish = socket.hear_type("wish").await;
    assert_eq!((&wish["ack"], &wish["hold"][0]["attempt"]), (&json!(1), &json!(1)));

    world.post("/api/v1/jobs/TRIG-1/abort", json!({"reason": "enough"})).await.expect(200);
    let abort = socket.hear_type("abort").await;
    assert_eq!((&abort["attempt"], &abort["mode"]), (&json!(1), &json!("graceful")));

    // A newer connection of the same attempt takes over.
    let mut newer = Socket::with(&served, "/api/v1/ingest", &[("authorization", &bearer)]).await.unwrap();
    newer.say(open).await;
    assert_eq!(newer.hear_type("control_opened").await["type"], "control_opened");
    loop {
        match socket.hear().await {
            Heard::Json(_) => {}
            Heard::Closed(code) => break assert_eq!(code, 4000),
            Heard::Binary(_) => panic!("a control connection hears text"),
        }
    }
}

#[tokio::test]
async fn a_stop_acknowledges_what_was_taken_and_says_so() {
    let served = Served::new().await;
    served.world().with_running_job().await;
    let mut socket = Socket::connect(&served, "/api/v1/ingest").await;
    open_session(&mut socket).await;
    socket.say_bytes(frame(1, &[1.0])).await;
    assert_eq!(socket.hear_type("acked").await["acked"], 1);
    served.stop.cancel();
    assert!(matches!(socket.hear().await, Heard::Closed(1001)));
    drop(socket);
    let ended = tokio::time::timeout(SOON, served.ended).await.unwrap().unwrap();
    assert_eq!(ended, neptune_http::Ended::Drained);
}
