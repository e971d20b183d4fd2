//! Many writers on one thread: WebSockets, each with a session of its own that fills a job of its own.
//!
//! The library a program uses has threads and a spool per writer, which would measure the generator. This one speaks the
//! protocol itself (docs/protocol.md). At an open pace a message has a time at which it is due, and how long its
//! acknowledgement took counts from then, whether it could be sent in time or not: a server that falls behind cannot hide it.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use futures::stream::{self, SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use neptune_client::new_session_id;
use neptune_wire::ingest::{IngestDown, IngestUp, OpenChannel};
use neptune_wire::server::{API, CLIENT_HEADER};
use neptune_wire::{ChannelKind, ChannelName, ChannelOrigin, SessionId};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::data::Source;
use crate::fill::OpenJob;
use crate::process::Used;

/// Connections made at once.
const CONNECTING: usize = 32;
/// What a connection reads at once.
const READ_BYTES: usize = 8 << 10;
/// A server that acknowledges nothing for so long after the end has lost something.
const PATIENCE: Duration = Duration::from_secs(60);

/// When messages are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// Each client at its own moments, so often, whatever the server does.
    Every(Duration),
    /// As long as fewer frames than this wait for their acknowledgement.
    Window(usize),
}

/// What a swarm is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub pace: Pace,
    /// Sending ends then, or when there is nothing more to send.
    pub length: Duration,
    /// Ends without a complaint when the connections break.
    pub may_break: bool,
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From the first message to the last acknowledgement.
    pub seconds: f64,
    /// Of each client.
    pub clients: Vec<Share>,
    /// What the generator took, in this process.
    pub generator: Used,
}

/// What one client did.
#[derive(Debug, Default)]
pub(crate) struct Share {
    /// Points handed to the connection.
    pub sent_points: u64,
    /// Points whose frames were acknowledged.
    pub acked_points: u64,
    /// Points that were due and for which there was no time any more.
    pub missed_points: u64,
    /// From when a message was due (or sent, at a closed pace) to its acknowledgement.
    pub ack_millis: Vec<f64>,
    /// When the last acknowledgement came.
    pub last_ack: Option<Instant>,
    /// Why it ended early.
    pub broken: Option<String>,
}

impl Outcome {
    /// Acknowledged points.
    pub(crate) fn acked_points(&self) -> u64 {
        self.clients.iter().map(|client| client.acked_points).sum()
    }

    /// Acknowledged points per second.
    pub(crate) fn rate(&self) -> f64 {
        self.acked_points() as f64 / self.seconds
    }

    /// Part of the points that were due and could not be sent.
    pub(crate) fn missed(&self) -> f64 {
        let missed: u64 = self.clients.iter().map(|client| client.missed_points).sum();
        let sent: u64 = self.clients.iter().map(|client| client.sent_points).sum();
        missed as f64 / (missed + sent).max(1) as f64
    }

    /// Of all messages of all clients.
    pub(crate) fn ack_millis(&self) -> Vec<f64> {
        self.clients.iter().flat_map(|client| client.ack_millis.iter().copied()).collect()
    }
}

/// Connected writers.
pub(crate) struct Swarm<S> {
    clients: Vec<Client<S>>,
}

struct Client<S> {
    sink: SplitSink<WebSocketStream<TcpStream>, Message>,
    stream: SplitStream<WebSocketStream<TcpStream>>,
    session: SessionId,
    source: S,
}

/// The channels of every session: numbers from 0.
pub(crate) fn numeric_channels(count: usize) -> Result<Vec<OpenChannel>> {
    let open = |i: usize| {
        let name = ChannelName::new(&format!("channel {i}"))?;
        Ok(OpenChannel { number: i as u32, name, kind: ChannelKind::Numeric, origin: ChannelOrigin::User })
    };
    (0..count).map(open).collect()
}

impl<S: Source> Swarm<S> {
    /// Connects a writer to each job and opens the channels.
    pub(crate) async fn connect(
        url: &str,
        jobs: &[OpenJob],
        channels: &[OpenChannel],
        source: impl Fn(usize) -> S,
    ) -> Result<Self> {
        let connect = |(i, job)| Client::connect(url, job, channels, source(i));
        let clients = stream::iter(jobs.iter().enumerate().map(connect)).buffered(CONNECTING);
        Ok(Self { clients: clients.try_collect().await? })
    }

    /// Sends by the plan and waits until everything that was sent is acknowledged.
    ///
    /// # Errors
    ///
    /// The first refusal, gap or break of a connection, unless the plan allows for breaks.
    pub(crate) async fn run(self, plan: Plan) -> Result<Outcome> {
        let count = self.clients.len() as u32;
        let (before, begin) = (Used::here()?, Instant::now());
        let mut tasks = Vec::new();
        for (i, client) in self.clients.into_iter().enumerate() {
            let phase = match plan.pace {
                Pace::Every(interval) => interval * i as u32 / count,
                Pace::Window(_) => Duration::ZERO,
            };
            tasks.push(tokio::spawn(client.run(plan, begin, begin + phase)));
        }
        let mut outcome = Outcome::default();
        for task in tasks {
            let share = task.await.context("a client")?;
            if let Some(why) = &share.broken {
                ensure!(plan.may_break, "a client: {why}");
            }
            outcome.clients.push(share);
        }
        let last = outcome.clients.iter().filter_map(|share| share.last_ack).max();
        outcome.seconds = last.unwrap_or(begin).duration_since(begin).as_secs_f64();
        outcome.generator = Used::here()?.since(before);
        Ok(outcome)
    }
}

impl<S: Source> Client<S> {
    async fn connect(url: &str, job: &OpenJob, channels: &[OpenChannel], source: S) -> Result<Self> {
        let host = url.strip_prefix("http://").context("the address of a test server begins with http://")?;
        let stream = TcpStream::connect(host).await.context("connect (is `ulimit -n` high enough?)")?;
        stream.set_nodelay(true)?;
        let mut request = format!("ws://{host}{API}/ingest").into_client_request()?;
        let headers = request.headers_mut();
        headers.insert(CLIENT_HEADER, HeaderValue::from_static("neptune-bench"));
        headers.insert("Authorization", HeaderValue::from_str(&format!("Bearer {}", job.token))?);
        // As the library does.
        let config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        let (sink, stream) = socket.split();
        let mut client = Self { sink, stream, session: new_session_id(), source };
        client.open(job, channels).await?;
        Ok(client)
    }

    async fn open(&mut self, job: &OpenJob, channels: &[OpenChannel]) -> Result<()> {
        let session = self.session;
        let open = IngestUp::OpenSession { session, job: job.job.uid.into(), attempt: job.attempt };
        let channels = IngestUp::OpenChannels { session, channels: channels.to_vec() };
        for message in [open, channels] {
            self.sink.send(Message::text(serde_json::to_string(&message)?)).await?;
        }
        loop {
            match hear(self.stream.next().await)? {
                Some(IngestDown::ChannelsOpened { refused, .. }) => {
                    ensure!(refused.is_empty(), "a channel was refused: {:?}", refused[0]);
                    return Ok(());
                }
                Some(IngestDown::SessionOpened { .. }) | None => {}
                Some(other) => bail!("{other:?} where channels were to be opened"),
            }
        }
    }

    async fn run(mut self, plan: Plan, begin: Instant, first: Instant) -> Share {
        let mut share = Share::default();
        if let Err(error) = self.talk(plan, begin + plan.length, first, &mut share).await {
            share.broken = Some(format!("{error:#}"));
        }
        share
    }

    async fn talk(&mut self, plan: Plan, end: Instant, first: Instant, share: &mut Share) -> Result<()> {
        let (mut due, mut seq, mut done) = (first, 0, false);
        let mut waiting: VecDeque<Waiting> = VecDeque::new();
        while !done || !waiting.is_empty() {
            let (may_send, wait) = match plan.pace {
                Pace::Every(_) => (true, Some(due)),
                Pace::Window(frames) => (waiting.len() < frames, None),
            };
            tokio::select! {
                biased;
                message = self.stream.next() => {
                    if let Some(down) = hear(message)? {
                        settle(down, &mut waiting, share)?;
                    }
                }
                () = at(wait), if may_send && !done => {
                    let now = Instant::now();
                    if now >= end || due >= end {
                        done = true;
                        share.missed_points = missed(plan.pace, due, end, share.sent_points, seq);
                        continue;
                    }
                    let Some((frame, points)) = self.source.frame(self.session, seq + 1) else {
                        done = true;
                        continue;
                    };
                    seq += 1;
                    waiting.push_back(Waiting { seq, since: wait.unwrap_or(now), points });
                    share.sent_points += points;
                    self.sink.send(Message::binary(frame)).await?;
                    if let Pace::Every(interval) = plan.pace {
                        due += interval;
                    }
                }
                () = sleep_until(end + PATIENCE), if done => {
                    bail!("{} frames were not acknowledged within {PATIENCE:?}", waiting.len());
                }
            }
        }
        Ok(())
    }
}

struct Waiting {
    seq: u64,
    since: Instant,
    points: u64,
}

async fn at(wait: Option<Instant>) {
    if let Some(due) = wait {
        sleep_until(due).await;
    }
}

/// Points that were due before the end and were not sent.
fn missed(pace: Pace, due: Instant, end: Instant, sent_points: u64, frames: u64) -> u64 {
    let Pace::Every(interval) = pace else { return 0 };
    let messages = end.saturating_duration_since(due).as_secs_f64() / interval.as_secs_f64();
    messages as u64 * sent_points / frames.max(1)
}

/// A message of the server; None for those that say nothing to a writer.
fn hear(
    message: Option<Result<Message, tokio_tungstenite::tungstenite::Error>>,
) -> Result<Option<IngestDown>> {
    match message.context("the connection was closed")?? {
        Message::Text(text) => Ok(Some(serde_json::from_str(&text)?)),
        Message::Close(why) => bail!("the server closes: {why:?}"),
        _ => Ok(None),
    }
}

fn settle(down: IngestDown, waiting: &mut VecDeque<Waiting>, share: &mut Share) -> Result<()> {
    let IngestDown::Acked { acked, .. } = down else { bail!("{down:?} where acknowledgements were due") };
    let now = Instant::now();
    while let Some(frame) = waiting.pop_front_if(|frame| frame.seq <= acked) {
        share.acked_points += frame.points;
        share.ack_millis.push(now.duration_since(frame.since).as_secs_f64() * 1e3);
    }
    share.last_ack = Some(now);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(acked: u64) -> IngestDown {
        IngestDown::Acked { session: SessionId::from_bytes([1; 16]), acked }
    }

    #[test]
    fn an_acknowledgement_covers_what_came_before() {
        let since = Instant::now();
        let mut waiting: VecDeque<_> = (1..=3).map(|seq| Waiting { seq, since, points: 10 }).collect();
        let mut share = Share::default();
        settle(acked(2), &mut waiting, &mut share).unwrap();
        assert_eq!((share.acked_points, share.ack_millis.len(), waiting.len()), (20, 2, 1));
        settle(acked(2), &mut waiting, &mut share).unwrap();
        assert_eq!(share.acked_points, 20);
        let gap = IngestDown::Gap { session: SessionId::from_bytes([1; 16]), expected: 3 };
        assert!(settle(gap, &mut waiting, &mut share).is_err());
    }

    #[test]
    fn what_was_due_and_not_sent_is_missed() {
        let end = Instant::now() + Duration::from_secs(100);
        let every = Pace::Every(Duration::from_millis(100));
        assert_eq!(missed(every, end - Duration::from_secs(1), end, 2_000, 10), 2_000);
        assert_eq!(missed(every, end + Duration::from_secs(1), end, 2_000, 10), 0);
        assert_eq!(missed(Pace::Window(4), end - Duration::from_secs(1), end, 2_000, 10), 0);
        let share = |sent_points, missed_points| Share { sent_points, missed_points, ..Share::default() };
        let outcome = Outcome { clients: vec![share(60, 20), share(20, 0)], ..Outcome::default() };
        assert_eq!(outcome.missed(), 0.2);
    }
}
