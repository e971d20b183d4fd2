//! WebSockets: what both kinds share. Pings find dead peers, sends have a deadline, a stop is said before the end.

pub(crate) mod ingest;
pub(crate) mod live;

use std::future::Future;
use std::sync::Arc;

use axum::extract::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use futures::{Sink, SinkExt as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Interval, MissedTickBehavior};

use crate::extract::json_from_bytes;
use crate::face::Shared;
use crate::failure::Failure;
use crate::limits;
use crate::metrics::OpenGuard;
use crate::serve::Place;

/// Why a connection ends, as its close frame says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Farewell {
    /// The peer asked for it.
    Done,
    /// The server stops; come again.
    ServerStops,
    /// A newer control connection of the same attempt took over.
    Replaced,
}

impl Farewell {
    /// Codes below 4000 are of RFC 6455, from 4000 on of docs/protocol.md.
    fn frame(self) -> CloseFrame {
        let (code, reason) = match self {
            Self::Done => (1000, ""),
            Self::ServerStops => (1001, "the server stops"),
            Self::Replaced => (4000, "replaced by a newer connection of this attempt"),
        };
        CloseFrame { code, reason: reason.into() }
    }
}

/// The connection is gone; there is nobody to tell.
#[derive(Debug)]
pub(crate) struct Gone;

/// Answers the handshake and runs the conversation on a task that a stop waits for.
fn converse<F>(
    face: Arc<Shared>,
    kind: &'static str,
    place: Option<Extension<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    conversation: impl FnOnce(WebSocket) -> F + Send + 'static,
) -> Result<Response, Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    let upgrade = upgrade.map_err(|rejection| Failure::NoUpgrade { why: rejection.body_text() })?;
    if face.stopping.is_cancelled() {
        return Err(Failure::Stopping);
    }
    // Counted from here on, so that a stop cannot slip in between handshake and conversation.
    let token = face.sockets.token();
    let open = face.metrics.open_socket(kind);
    let upgrade = upgrade
        .max_message_size(limits::MESSAGE_BYTES)
        .max_frame_size(limits::MESSAGE_BYTES)
        .read_buffer_size(limits::SOCKET_READ_BYTES);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _held: (_, OpenGuard, _) = (token, open, place);
        conversation(socket).await;
        tracing::debug!(kind, "websocket closed");
    }))
}

/// Ticks when a ping is due.
fn ping_timer() -> Interval {
    let start = tokio::time::Instant::now() + limits::PING_EVERY;
    let mut timer = tokio::time::interval_at(start, limits::PING_EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Sends one message and everything fed before it, within [`limits::SEND_TIME`].
async fn send<S: Sink<Message> + Unpin>(sink: &mut S, message: Message) -> Result<(), Gone> {
    in_time(sink.send(message)).await
}

/// Hands a message to the socket's buffer; [`flush`] or [`send`] makes it leave.
async fn feed<S: Sink<Message> + Unpin>(sink: &mut S, message: Message) -> Result<(), Gone> {
    in_time(sink.feed(message)).await
}

async fn flush<S: Sink<Message> + Unpin>(sink: &mut S) -> Result<(), Gone> {
    in_time(sink.flush()).await
}

async fn in_time<E>(sending: impl Future<Output = Result<(), E>>) -> Result<(), Gone> {
    match tokio::time::timeout(limits::SEND_TIME, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(Gone),
    }
}

/// Says why, then closes. A peer that is gone already is none the wiser.
async fn say_farewell<S: Sink<Message> + Unpin>(sink: &mut S, farewell: Farewell) {
    let _ =
        tokio::time::timeout(limits::FAREWELL_TIME, sink.send(Message::Close(Some(farewell.frame())))).await;
}

fn text(message: &impl Serialize) -> Message {
    let json = serde_json::to_string(message).expect("a message is plain data and always serialises");
    Message::Text(json.into())
}

/// Reads a text message of the protocol.
fn message_from_text<T: DeserializeOwned>(text: &str) -> Result<T, Failure> {
    json_from_bytes(text.as_bytes()).map_err(|failure| match failure {
        Failure::Shape { field, wanted } => Failure::Message { field, wanted },
        Failure::Json { wanted } => Failure::Message { field: None, wanted },
        other => other,
    })
}
