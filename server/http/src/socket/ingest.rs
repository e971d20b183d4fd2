//! `/api/v1/ingest`: frames in, acknowledgements out; and a runner's control connection.
//!
//! Reading and writing are two halves of one task. The reading half hands messages to the engine one by one and waits
//! where the engine waits, so a writer that sends faster than the disk takes it is slowed down by TCP. The writing half
//! sends replies and acknowledgements meanwhile. When the peer is done, what is pending is still acknowledged.

use std::collections::HashSet;
use std::sync::Arc;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::response::Response;
use futures::stream::SplitStream;
use futures::{Sink, StreamExt as _};
use neptune_engine::{Control, Grant, IngestEvent, IngestEvents, IngestSink, Refused, RefusedChannelWhy};
use neptune_wire::control::{Abort, BEAT_EVERY_MILLIS, Beat};
use neptune_wire::ingest::{IngestDown, IngestUp, OPEN_CHANNELS, OpenChannel, RefusedChannel};
use neptune_wire::{AttemptNumber, JobRef, SessionId};
use tokio::sync::mpsc;

use super::{Farewell, Gone, converse, message_from_text, ping_timer, say_farewell, send, text};
use crate::access::Granted;
use crate::face::{Shared, now};
use crate::failure::{Failure, problem_of_message, problem_of_refused};
use crate::limits;
use crate::openapi::ProblemAnswer;
use crate::serve::Place;

/// WebSocket of writers and runners: numbered frames in, acknowledgements out once they are on disk.
///
/// The messages are described in docs/protocol.md.
#[utoipa::path(get, path = "/api/v1/ingest", tag = "sockets", responses(
    (status = 101, description = "a WebSocket; messages as in docs/protocol.md"),
    (status = 426, response = inline(ProblemAnswer)),
    (status = "4XX", response = inline(ProblemAnswer)),
))]
pub(crate) async fn ingest(
    State(face): State<Arc<Shared>>,
    Granted(grant): Granted,
    place: Option<Extension<Place>>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let shared = face.clone();
    converse(face, "ingest", place, upgrade, move |socket| conversation(shared, grant, socket))
}

async fn conversation(face: Arc<Shared>, grant: Grant, socket: WebSocket) {
    let (mut outgoing, incoming) = socket.split();
    let (replies, queued) = mpsc::channel(limits::REPLIES);
    let (sink, events) = face.engine.open_ingest(&grant);
    let reader = Reader {
        face: &face,
        grant: &grant,
        incoming,
        replies,
        sink,
        sessions: HashSet::new(),
        control: None,
    };

    let (read, written) = both(reader.run(), write(&mut outgoing, queued, events)).await;
    if let (Some(Ok(farewell)), Ok(())) = (read, written) {
        say_farewell(&mut outgoing, farewell).await;
    }
}

/// Runs both halves. When reading ends, writing goes on until all is told, for a bounded time; when writing fails,
/// reading is given up.
async fn both(
    reading: impl Future<Output = Result<Farewell, Gone>>,
    writing: impl Future<Output = Result<(), Gone>>,
) -> (Option<Result<Farewell, Gone>>, Result<(), Gone>) {
    tokio::pin!(writing);
    let read = tokio::select! {
        read = reading => read,
        written = &mut writing => return (None, written),
    };
    let rest = tokio::time::timeout(limits::FAREWELL_TIME, writing).await;
    (Some(read), rest.unwrap_or(Err(Gone)))
}

/// Sends what became of frames, and replies; pings in between.
async fn write<S: Sink<Message> + Unpin>(
    outgoing: &mut S,
    mut replies: mpsc::Receiver<IngestDown>,
    mut events: IngestEvents,
) -> Result<(), Gone> {
    let mut pings = ping_timer();
    let (mut more_events, mut more_replies) = (true, true);
    while more_events || more_replies {
        tokio::select! {
            // Acknowledgements first: a reply to `close_session` must not overtake them.
            biased;
            event = events.next(), if more_events => match event {
                Some(event) => send(outgoing, text(&message_of_event(event))).await?,
                None => more_events = false,
            },
            reply = replies.recv(), if more_replies => match reply {
                Some(reply) => send(outgoing, text(&reply)).await?,
                None => more_replies = false,
            },
            _ = pings.tick() => send(outgoing, Message::Ping(Default::default())).await?,
        }
    }
    Ok(())
}

fn message_of_event(event: IngestEvent) -> IngestDown {
    match event {
        IngestEvent::Acked { session, acked } => IngestDown::Acked { session, acked },
        IngestEvent::Refused { session, seq, why } => {
            IngestDown::Refused { session, seq, problem: problem_of_refused(why) }
        }
        IngestEvent::Gap { session, expected } => IngestDown::Gap { session, expected },
        IngestEvent::Trouble { session, why } => {
            IngestDown::Problem { session, problem: problem_of_refused(why) }
        }
    }
}

struct Reader<'a> {
    face: &'a Shared,
    grant: &'a Grant,
    incoming: SplitStream<WebSocket>,
    replies: mpsc::Sender<IngestDown>,
    sink: IngestSink,
    sessions: HashSet<SessionId>,
    control: Option<Control>,
}

/// What the reading half waits for.
enum Heard {
    Message(Message),
    Abort(Abort),
    End(Result<Farewell, Gone>),
}

impl Reader<'_> {
    /// Reads until the peer leaves, the server stops or a newer control connection takes over.
    async fn run(mut self) -> Result<Farewell, Gone> {
        loop {
            match self.hear().await {
                Heard::Message(Message::Binary(frame)) => {
                    self.face.metrics.frame_bytes.inc_by(frame.len() as u64);
                    self.sink.submit_frame(frame, now()).await;
                }
                Heard::Message(Message::Text(message)) => match message_from_text(message.as_str()) {
                    Ok(message) => self.obey(message).await?,
                    Err(failure) => self.refuse(None, failure).await?,
                },
                Heard::Message(Message::Close(_)) => return Ok(Farewell::Done),
                Heard::Message(Message::Ping(_) | Message::Pong(_)) => {}
                Heard::Abort(abort) => self.reply(IngestDown::Abort(abort)).await?,
                Heard::End(end) => return end,
            }
        }
    }

    async fn hear(&mut self) -> Heard {
        let abort = async {
            match &mut self.control {
                Some(control) => control.next_abort().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = tokio::time::timeout(limits::DEAD_AFTER, self.incoming.next()) => match message {
                Ok(Some(Ok(message))) => Heard::Message(message),
                Ok(Some(Err(_)) | None) | Err(_) => Heard::End(Err(Gone)),
            },
            abort = abort => abort.map_or(Heard::End(Ok(Farewell::Replaced)), Heard::Abort),
            () = self.face.stopping.cancelled() => Heard::End(Ok(Farewell::ServerStops)),
        }
    }

    async fn obey(&mut self, message: IngestUp) -> Result<(), Gone> {
        match message {
            IngestUp::OpenSession { session, job, attempt } => self.open_session(session, job, attempt).await,
            IngestUp::OpenChannels { session, channels } => self.open_channels(session, channels).await,
            IngestUp::CloseSession { session } => match self.sink.close_session(session).await {
                Ok(acked) => {
                    self.sessions.remove(&session);
                    self.reply(IngestDown::SessionClosed { session, acked }).await
                }
                Err(why) => self.refuse(Some(session), why).await,
            },
            IngestUp::OpenControl { job, attempt } => self.open_control(job, attempt).await,
            IngestUp::Beat(beat) => self.beat(beat).await,
        }
    }

    async fn open_session(
        &mut self,
        session: SessionId,
        job: JobRef,
        attempt: AttemptNumber,
    ) -> Result<(), Gone> {
        if self.sessions.len() >= limits::SESSIONS && !self.sessions.contains(&session) {
            let failure = Failure::TooMany { what: "open sessions", limit: limits::SESSIONS };
            return self.refuse(Some(session), failure).await;
        }
        match self.sink.open_session(session, &job, attempt, now()).await {
            Ok(acked) => {
                self.sessions.insert(session);
                self.reply(IngestDown::SessionOpened { session, acked }).await
            }
            Err(why) => self.refuse(Some(session), why).await,
        }
    }

    async fn open_channels(&mut self, session: SessionId, channels: Vec<OpenChannel>) -> Result<(), Gone> {
        if channels.len() > OPEN_CHANNELS {
            let wanted = format!("{} channels, at most {OPEN_CHANNELS} in one message", channels.len());
            let failure = Failure::Message { field: Some("channels".into()), wanted };
            return self.refuse(Some(session), failure).await;
        }
        match self.sink.open_channels(session, channels, now()).await {
            Ok((bound, refused)) => {
                let told = |RefusedChannelWhy { number, why }| RefusedChannel {
                    number,
                    problem: problem_of_refused(why),
                };
                let refused = refused.into_iter().map(told).collect();
                self.reply(IngestDown::ChannelsOpened { session, bound, refused }).await
            }
            Err(why) => self.refuse(Some(session), why).await,
        }
    }

    async fn open_control(&mut self, job: JobRef, attempt: AttemptNumber) -> Result<(), Gone> {
        if self.control.is_some() {
            let wanted = "this connection controls an attempt already; open another connection";
            return self.refuse(None, Refused::Protocol { wanted }).await;
        }
        match self.face.engine.open_control(self.grant, &job, attempt, now()).await {
            Ok(control) => {
                self.control = Some(control);
                self.reply(IngestDown::ControlOpened { beat_every_millis: BEAT_EVERY_MILLIS }).await
            }
            Err(why) => self.refuse(None, why).await,
        }
    }

    async fn beat(&mut self, beat: Beat) -> Result<(), Gone> {
        let Some(control) = &mut self.control else {
            let wanted = "send open_control first, then beat";
            return self.refuse(None, Refused::Protocol { wanted }).await;
        };
        match control.beat(beat, now()).await {
            Ok(wish) => self.reply(IngestDown::Wish(wish)).await,
            Err(why) => self.refuse(None, why).await,
        }
    }

    async fn reply(&self, message: IngestDown) -> Result<(), Gone> {
        self.replies.send(message).await.map_err(|_| Gone)
    }

    async fn refuse(&self, session: Option<SessionId>, why: impl Into<Failure>) -> Result<(), Gone> {
        self.face.metrics.refused_messages.inc();
        let problem = match why.into() {
            Failure::Engine(refused) => problem_of_refused(refused),
            failure => problem_of_message(&failure),
        };
        self.reply(IngestDown::Problem { session, problem }).await
    }
}
