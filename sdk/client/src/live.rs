//! A subscriber of `/api/v1/live`: what a browser hears, for programs that follow a job.
//!
//! One connection, no reconnect: whoever follows knows how far it came, asks REST for what is older, and connects again.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use neptune_wire::columns::{self, Table};
use neptune_wire::live::{LiveDown, LiveUp, Topic};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::rest::{Access, RestError, innermost};
use crate::socket::{self, PING_AFTER, SILENCE, WebSocket};

/// An open connection. Dropping it closes it.
pub struct Live {
    socket: WebSocket,
    url: String,
}

/// What the server pushes.
#[derive(Debug, Clone, PartialEq)]
pub enum Pushed {
    /// A change, lines or images.
    Down(LiveDown),
    /// Points, one table per channel; see [`neptune_wire::live`].
    Points(Vec<Table>),
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Live {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`RestError`], as for a request.
    pub async fn connect(access: &Access) -> Result<Self, RestError> {
        Ok(Self { socket: socket::connect_to(access, "live").await?, url: access.url.clone() })
    }

    /// Begins a subscription; `Subscribed` or `Problem` with its id answers.
    ///
    /// # Errors
    ///
    /// [`RestError::Unreachable`] when the connection is gone.
    pub async fn subscribe(&mut self, id: u32, topic: Topic) -> Result<(), RestError> {
        let message = LiveUp::Subscribe { id, topic };
        let json = serde_json::to_string(&message).expect("a message is plain data and always serialises");
        self.send(Message::text(json)).await
    }

    /// The next push; messages of a newer server that are not known here are passed over. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`RestError`] when the connection is gone, silent for half a minute, or no Neptune server's.
    pub async fn next(&mut self) -> Result<Pushed, RestError> {
        let mut silent = Duration::ZERO;
        loop {
            let Ok(message) = timeout(PING_AFTER, self.socket.next()).await else {
                silent += PING_AFTER;
                if silent >= SILENCE {
                    return Err(self.unreachable(format!("silent for {} s", SILENCE.as_secs())));
                }
                self.send(Message::Ping(Default::default())).await?;
                continue;
            };
            silent = Duration::ZERO;
            match message {
                Some(Ok(Message::Text(text))) => match socket::parse::<LiveDown>(&text) {
                    Ok(Some(down)) => return Ok(Pushed::Down(down)),
                    Ok(None) => {}
                    Err(why) => return Err(self.protocol(why)),
                },
                Some(Ok(Message::Binary(bytes))) => {
                    let tables = columns::decode(&bytes).map_err(|error| self.protocol(error.to_string()))?;
                    return Ok(Pushed::Points(tables));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(error)) => return Err(self.unreachable(innermost(&error))),
                Some(Ok(Message::Close(_))) | None => {
                    return Err(self.unreachable("connection closed".into()));
                }
            }
        }
    }

    async fn send(&mut self, message: Message) -> Result<(), RestError> {
        self.socket.send(message).await.map_err(|error| self.unreachable(innermost(&error)))
    }

    fn unreachable(&self, why: String) -> RestError {
        RestError::Unreachable { url: self.url.clone(), why }
    }

    fn protocol(&self, why: String) -> RestError {
        RestError::Protocol { url: self.url.clone(), why }
    }
}
