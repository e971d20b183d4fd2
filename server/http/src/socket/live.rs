//! `/api/v1/live`: subscriptions of a browser, deltas out.
//!
//! Events are taken from the hub only as fast as the socket takes them; the hub bounds what waits for a subscription and
//! says `reread` beyond it. Nothing is queued here, so a slow reader costs this server one message of memory.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures::stream::{AbortHandle, Abortable, BoxStream, SelectAll};
use futures::{FutureExt as _, StreamExt as _};
use neptune_engine::{Grant, LiveEvent, LivePoints, Subscription};
use neptune_wire::ChannelName;
use neptune_wire::columns::{self, Data, Table};
use neptune_wire::live::{LiveDown, LiveUp, ROW_SUBSCRIPTIONS, SUBSCRIPTIONS, Topic};
use tokio::time::Instant;

use super::{Farewell, Gone, converse, feed, flush, message_from_text, ping_timer, say_farewell, send, text};
use crate::access::Granted;
use crate::face::{Shared, now};
use crate::failure::{Failure, problem_of_message, problem_of_refused};
use crate::limits;
use crate::openapi::ProblemAnswer;
use crate::serve::Place;

/// WebSocket of browsers: subscribe to jobs and channels, get deltas only.
///
/// The messages are described in docs/protocol.md.
#[utoipa::path(get, path = "/api/v1/live", tag = "sockets", responses(
    (status = 101, description = "a WebSocket; messages as in docs/protocol.md"),
    (status = 426, response = inline(ProblemAnswer)),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn live(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    place: Option<Extension<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let shared = face.clone();
    converse(face, "live", place, upgrade, move |socket| async move {
        let mut viewer = Viewer {
            face: &shared,
            grant: &grant,
            socket,
            events: SelectAll::new(),
            subscriptions: HashMap::new(),
            heard: Instant::now(),
        };
        if let Ok(farewell) = viewer.run().await {
            say_farewell(&mut viewer.socket, farewell).await;
        }
    })
}

struct Viewer<'a> {
    face: &'a Shared,
    grant: &'a Grant,
    socket: WebSocket,
    /// What all subscriptions tell, with the id the browser chose.
    events: SelectAll<Abortable<BoxStream<'static, (u32, LiveEvent)>>>,
    subscriptions: HashMap<u32, Held>,
    /// When the peer last sent anything.
    heard: Instant,
}

/// A subscription that goes on until it is ended.
struct Held {
    handle: AbortHandle,
    of_rows: bool,
}

impl Viewer<'_> {
    async fn run(&mut self) -> Result<Farewell, Gone> {
        let stopping = self.face.stopping.clone();
        let mut pings = ping_timer();
        loop {
            tokio::select! {
                // What the peer sent is heard before it is called dead: a long write may have kept its pong waiting.
                biased;
                message = self.socket.recv() => {
                    self.heard = Instant::now();
                    match message {
                        Some(Ok(Message::Text(message))) => self.obey(message.as_str()).await?,
                        Some(Ok(Message::Binary(_))) => self.refuse_binary().await?,
                        Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                        Some(Ok(Message::Close(_))) => return Ok(Farewell::Done),
                        Some(Err(_)) | None => return Err(Gone),
                    }
                }
                () = stopping.cancelled() => return Ok(Farewell::ServerStops),
                _ = pings.tick() => {
                    if self.heard.elapsed() > limits::DEAD_AFTER {
                        return Err(Gone);
                    }
                    send(&mut self.socket, Message::Ping(Default::default())).await?;
                }
                Some((id, event)) = self.events.next() => self.tell(id, event).await?,
            }
        }
    }

    async fn obey(&mut self, message: &str) -> Result<(), Gone> {
        match message_from_text(message) {
            Ok(LiveUp::Subscribe { id, topic }) => self.subscribe(id, topic).await,
            Ok(LiveUp::Unsubscribe { id }) => {
                if let Some(held) = self.subscriptions.remove(&id) {
                    held.handle.abort();
                }
                Ok(())
            }
            Err(failure) => self.refuse(None, &failure).await,
        }
    }

    async fn subscribe(&mut self, id: u32, topic: Topic) -> Result<(), Gone> {
        if self.subscriptions.contains_key(&id) {
            let wanted = format!("{id} names a subscription already; choose a number that is free");
            return self.refuse(Some(id), &Failure::Message { field: Some("id".into()), wanted }).await;
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS {
            return self
                .refuse(Some(id), &Failure::TooMany { what: "subscriptions", limit: SUBSCRIPTIONS })
                .await;
        }
        let of_rows = matches!(topic, Topic::Rows { .. });
        if of_rows && self.subscriptions.values().filter(|held| held.of_rows).count() >= ROW_SUBSCRIPTIONS {
            let failure = Failure::TooMany { what: "subscriptions to rows", limit: ROW_SUBSCRIPTIONS };
            return self.refuse(Some(id), &failure).await;
        }
        match self.face.engine.subscribe(self.grant, &topic, now()).await {
            Ok(subscription) => {
                let marks = subscription.marks.clone();
                let (handle, registration) = AbortHandle::new_pair();
                self.subscriptions.insert(id, Held { handle, of_rows });
                self.events.push(Abortable::new(events_of(id, subscription), registration));
                send(&mut self.socket, text(&LiveDown::Subscribed { id, marks })).await
            }
            Err(why) => {
                self.face.metrics.refused_messages.inc();
                let problem = problem_of_refused(why);
                send(&mut self.socket, text(&LiveDown::Problem { id: Some(id), problem })).await
            }
        }
    }

    /// Sends an event, and with it those that wait already.
    async fn tell(&mut self, id: u32, event: LiveEvent) -> Result<(), Gone> {
        let mut next = Some((id, event));
        let mut told = 0;
        while let Some((id, event)) = next {
            // What was on its way when its subscription ended stays unsaid.
            if self.subscriptions.contains_key(&id) {
                feed(&mut self.socket, message_of_event(id, event)).await?;
            }
            told += 1;
            next = if told < limits::EVENTS_PER_WRITE {
                self.events.next().now_or_never().flatten()
            } else {
                None
            };
        }
        flush(&mut self.socket).await
    }

    async fn refuse_binary(&mut self) -> Result<(), Gone> {
        let wanted = "a subscription is a text message; binary messages go to /api/v1/ingest".to_owned();
        self.refuse(None, &Failure::Message { field: None, wanted }).await
    }

    async fn refuse(&mut self, id: Option<u32>, failure: &Failure) -> Result<(), Gone> {
        self.face.metrics.refused_messages.inc();
        send(&mut self.socket, text(&LiveDown::Problem { id, problem: problem_of_message(failure) })).await
    }
}

fn events_of(id: u32, subscription: Subscription) -> BoxStream<'static, (u32, LiveEvent)> {
    let next = move |mut subscription: Subscription| async move {
        let event = subscription.next().await?;
        Some(((id, event), subscription))
    };
    futures::stream::unfold(subscription, next).boxed()
}

fn message_of_event(id: u32, event: LiveEvent) -> Message {
    text(&match event {
        LiveEvent::Points { channel, index, points } => {
            return columns_of_points(id, &channel, index, &points);
        }
        LiveEvent::Job(job) => LiveDown::Job { id, job: Box::new(job.as_ref().clone()) },
        LiveEvent::Row { row, entered } => LiveDown::Row { id, row: Arc::unwrap_or_clone(row), entered },
        LiveEvent::Left(uid) => LiveDown::Left { id, uid },
        LiveEvent::Channel(channel) => LiveDown::Channel { id, channel },
        LiveEvent::Chart(chart) => LiveDown::Chart { id, chart },
        LiveEvent::Lines { channel, lines } => {
            LiveDown::Lines { id, channel, lines: Arc::unwrap_or_clone(lines) }
        }
        LiveEvent::Images { channel, images } => {
            LiveDown::Images { id, channel, images: Arc::unwrap_or_clone(images) }
        }
        LiveEvent::Reread { channel, from } => LiveDown::Reread { id, channel, from },
    })
}

fn columns_of_points(id: u32, channel: &ChannelName, index: u64, points: &LivePoints) -> Message {
    let mut meta = serde_json::Map::new();
    meta.insert("id".into(), id.into());
    meta.insert("index".into(), index.into());
    let table = Table { name: channel.as_str().into(), meta, columns: vec![] }
        .with("x", Data::F64(points.x.clone()))
        .with("y", Data::F64(points.y.clone()))
        .with("time", Data::I64(points.time.clone()));
    Message::Binary(columns::encode(&[table]).into())
}
