//! One WebSocket to `/api/v1/ingest`: two tasks move messages, so that a peer that does not read never keeps us from
//! hearing it, and one that says nothing for [`SILENCE`] is given up.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use neptune_wire::ingest::{IngestDown, IngestUp};
use neptune_wire::problem::Code;
use neptune_wire::server::{API, CLIENT_HEADER};
use neptune_wire::{Problem, SessionId};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue, Response, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::fork;
use crate::rest::{Access, CLIENT, RestError, innermost};
use crate::session::{Blobs, Session};

/// Time to connect, to shake hands and to hear the first answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that says nothing for this long is asked whether it is there.
pub(crate) const PING_AFTER: Duration = Duration::from_secs(10);
/// A peer that says nothing for this long is gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(30);
/// Messages on their way to the socket; about 2 MB of frames.
const OUTGOING: usize = 32;
/// Messages heard and not yet looked at.
const INCOMING: usize = 256;
/// Longest message of a server: 1,000 refused channels fit well.
const MESSAGE_BYTES: usize = 4 << 20;
/// What is read at once: mostly acknowledgements. It is zeroed before every read, which a program that trains pays for.
const READ_BYTES: usize = 8 << 10;

/// What the socket is made over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A WebSocket to a server, whatever it is made over.
pub(crate) type WebSocket = WebSocketStream<Box<dyn Stream>>;

/// An open connection. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Socket {
    /// Where messages go in, in order.
    pub(crate) outgoing: mpsc::Sender<Message>,
    incoming: mpsc::Receiver<Result<IngestDown, RestError>>,
    tasks: [JoinHandle<()>; 2],
    url: String,
}

impl Socket {
    /// Connects within [`CONNECT_TIMEOUT`].
    pub(crate) async fn connect(access: Access) -> Result<Self, RestError> {
        Ok(Self::over(connect_to(&access, "ingest").await?, access.url))
    }

    fn over(stream: WebSocket, url: String) -> Self {
        let (sink, stream) = stream.split();
        let (outgoing, to_send) = mpsc::channel(OUTGOING);
        let (heard, incoming) = mpsc::channel(INCOMING);
        let send = tokio::spawn(send_all(sink, to_send));
        let hear = tokio::spawn(hear_all(stream, heard, outgoing.downgrade(), url.clone()));
        Self { outgoing, incoming, tasks: [send, hear], url }
    }

    /// Sends as much of a session as there is room for; `close` closes it when the server has all of it. Answers whether
    /// there is room for more.
    ///
    /// # Errors
    ///
    /// What the disk said when the spool cannot be read.
    pub(crate) fn send_session(
        &self,
        session: &mut Session,
        blobs: &mut Blobs,
        open: &impl Fn(SessionId) -> IngestUp,
        close: bool,
    ) -> io::Result<bool> {
        loop {
            let Ok(permit) = self.outgoing.try_reserve() else { return Ok(false) };
            if let Some(message) = session.next_control(open) {
                permit.send(text(&message));
            } else if let Some(frame) = session.next_frame(blobs)? {
                permit.send(Message::binary(frame));
            } else {
                if close && let Some(message) = session.close() {
                    permit.send(text(&message));
                }
                return Ok(true);
            }
        }
    }

    /// The next message; an error ends the connection. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<IngestDown, RestError> {
        match self.incoming.recv().await {
            Some(message) => message,
            None => Err(RestError::Unreachable { url: self.url.clone(), why: "connection closed".into() }),
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// A control message as it travels.
pub(crate) fn text(message: &IngestUp) -> Message {
    let json = serde_json::to_string(message).expect("a message is plain data and always serialises");
    Message::text(json)
}

/// Connects to a WebSocket under `/api/v1` within [`CONNECT_TIMEOUT`].
pub(crate) async fn connect_to(access: &Access, path: &str) -> Result<WebSocket, RestError> {
    let why = || format!("no answer in {} s", CONNECT_TIMEOUT.as_secs());
    let late = || RestError::Unreachable { url: access.url.clone(), why: why() };
    timeout(CONNECT_TIMEOUT, open(access, path)).await.unwrap_or_else(|_| Err(late()))
}

async fn open(access: &Access, path: &str) -> Result<WebSocket, RestError> {
    let unreachable = |why: String| RestError::Unreachable { url: access.url.clone(), why };
    let base = access.url.trim_end_matches('/');
    let invalid = || RestError::Request(format!("{base:?} is no address such as http://127.0.0.1:8420"));
    let url = reqwest::Url::parse(base).map_err(|_| invalid())?;
    let host = url.host_str().ok_or_else(invalid)?;
    let port = url.port_or_known_default().ok_or_else(invalid)?;
    // An IPv6 address stands in brackets in a URL and without them elsewhere.
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();

    let tcp =
        TcpStream::connect((bare.as_str(), port)).await.map_err(|error| unreachable(innermost(&error)))?;
    tcp.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
    let (scheme, stream): (_, Box<dyn Stream>) = match url.scheme() {
        "http" => ("ws", Box::new(tcp)),
        "https" => {
            let config = fork::undivided(crate::tls::client_config).map_err(RestError::Request)?;
            let name = rustls::pki_types::ServerName::try_from(bare).map_err(|_| invalid())?;
            let tls = tokio_rustls::TlsConnector::from(Arc::clone(&config)).connect(name, tcp).await;
            ("wss", Box::new(tls.map_err(|error| unreachable(innermost(&error)))?))
        }
        _ => return Err(invalid()),
    };

    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let mut request =
        format!("{scheme}://{rest}{API}/{path}").into_client_request().map_err(|_| invalid())?;
    request.headers_mut().insert(HeaderName::from_static("neptune-client"), HeaderValue::from_static(CLIENT));
    debug_assert!(CLIENT_HEADER.eq_ignore_ascii_case("neptune-client"));
    if let Some(token) = &access.token {
        let value = HeaderValue::from_str(&format!("Bearer {token}"));
        let value = value
            .map_err(|_| RestError::Request("the token has characters that no header can carry".into()))?;
        request.headers_mut().insert(header::AUTHORIZATION, value);
    }
    let config = WebSocketConfig::default()
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
        .read_buffer_size(READ_BYTES);
    match client_async_with_config(request, stream, Some(config)).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => Err(refusal(&access.url, &response)),
        Err(error) if is_cut(&error) => Err(unreachable(innermost(&error))),
        Err(error) => Err(RestError::Protocol { url: access.url.clone(), why: innermost(&error) }),
    }
}

/// Whether an error says that the peer is gone, as one that was killed is, and nothing about how it speaks.
fn is_cut(error: &Error) -> bool {
    use ProtocolError::{HandshakeIncomplete, ResetWithoutClosingHandshake};
    match error {
        Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed => true,
        Error::Protocol(error) => matches!(error, ResetWithoutClosingHandshake | HandshakeIncomplete),
        _ => false,
    }
}

/// What an answer means that is no WebSocket.
fn refusal(url: &str, response: &Response<Option<Vec<u8>>>) -> RestError {
    let status = response.status();
    // The problem document, when all of it arrived with the headers; else the status says as much.
    let body = response.body().as_deref().unwrap_or_default();
    if let Ok(problem) = serde_json::from_slice::<Problem>(body) {
        return RestError::Refused(Problem { status: status.as_u16(), ..problem });
    }
    let refused = |code, detail: &str| {
        RestError::Refused(Problem { status: status.as_u16(), ..Problem::new(code, detail) })
    };
    match status.as_u16() {
        401 => refused(Code::Unauthorized, "the server does not know this token"),
        403 => refused(Code::Forbidden, "the token does not reach this far"),
        502..=504 => RestError::Unreachable { url: url.into(), why: format!("HTTP status {status}") },
        _ => RestError::Protocol {
            url: url.into(),
            why: format!("HTTP status {status} where a WebSocket was asked for"),
        },
    }
}

async fn send_all(
    mut sink: impl futures::Sink<Message, Error = Error> + Unpin,
    mut to_send: mpsc::Receiver<Message>,
) {
    while let Some(message) = to_send.recv().await {
        if sink.feed(message).await.is_err() {
            return;
        }
        // Messages that wait together travel together.
        while let Ok(message) = to_send.try_recv() {
            if sink.feed(message).await.is_err() {
                return;
            }
        }
        if sink.flush().await.is_err() {
            return;
        }
    }
    let _ = sink.close().await;
}

async fn hear_all(
    mut stream: impl futures::Stream<Item = Result<Message, Error>> + Unpin,
    heard: mpsc::Sender<Result<IngestDown, RestError>>,
    outgoing: mpsc::WeakSender<Message>,
    url: String,
) {
    let unreachable = |why: String| Err(RestError::Unreachable { url: url.clone(), why });
    let mut silent = Duration::ZERO;
    loop {
        let message = match timeout(PING_AFTER, stream.next()).await {
            Err(_) => {
                silent += PING_AFTER;
                if silent >= SILENCE {
                    let _ = heard.send(unreachable(format!("silent for {} s", SILENCE.as_secs()))).await;
                    return;
                }
                if let Some(outgoing) = outgoing.upgrade() {
                    // Full means that the peer reads nothing, which the silence will show.
                    let _ = outgoing.try_send(Message::Ping(Default::default()));
                }
                continue;
            }
            Ok(message) => message,
        };
        silent = Duration::ZERO;
        let down = match message {
            Some(Ok(Message::Text(text))) => match parse::<IngestDown>(&text) {
                Ok(Some(down)) => Ok(down),
                Ok(None) => continue,
                Err(why) => Err(RestError::Protocol { url: url.clone(), why }),
            },
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Binary(_))) => {
                Err(RestError::Protocol { url: url.clone(), why: "a binary message".into() })
            }
            Some(Ok(Message::Close(frame))) => {
                unreachable(frame.map_or("connection closed".into(), |frame| {
                    format!("connection closed: {} {}", u16::from(frame.code), frame.reason)
                }))
            }
            Some(Err(error)) if is_cut(&error) => unreachable(innermost(&error)),
            Some(Err(error)) => Err(RestError::Protocol { url: url.clone(), why: innermost(&error) }),
            None => unreachable("connection closed".into()),
        };
        let last = down.is_err();
        if heard.send(down).await.is_err() || last {
            return;
        }
    }
}

/// A message, or `None` for a kind that a newer server has and this client does not know.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<Option<T>, String> {
    match serde_json::from_str(text) {
        Ok(down) => Ok(Some(down)),
        Err(error) => {
            let kind = serde_json::from_str::<serde_json::Value>(text).ok();
            let kind = kind.as_ref().and_then(|value| value.get("type")?.as_str());
            if kind.is_some() && error.to_string().starts_with("unknown variant") {
                return Ok(None);
            }
            Err(format!("a message that is none: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_killed_server_is_away_and_no_stranger() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        for cut in [
            Error::Io(reset),
            Error::ConnectionClosed,
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
            Error::Protocol(ProtocolError::HandshakeIncomplete),
        ] {
            assert!(is_cut(&cut), "{cut}");
        }
        assert!(!is_cut(&Error::Protocol(ProtocolError::UnmaskedFrameFromClient)));
    }

    #[test]
    fn newer_messages_are_passed_over_and_garbage_is_not() {
        assert!(matches!(
            parse::<IngestDown>(r#"{"type":"control_opened","beat_every_millis":1,"new":2}"#),
            Ok(Some(_))
        ));
        assert_eq!(parse::<IngestDown>(r#"{"type":"of_a_newer_server"}"#), Ok(None));
        for garbage in ["", "<html>", "{}", "[1]", r#"{"type":"acked","acked":-1}"#] {
            assert!(parse::<IngestDown>(garbage).is_err(), "{garbage}");
        }
    }
}
