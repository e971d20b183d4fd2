//! A small server: sessions, marks, gaps, refusals, blobs. What it acknowledged survives [`Peer::kill`]; what it had only
//! heard does not.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use neptune_client::rest::digest_bytes;
use neptune_wire::control::{Abort, Beat, Wish};
use neptune_wire::frame::{self, Block};
use neptune_wire::ingest::{IngestDown, IngestUp, OpenChannel, RefusedChannel};
use neptune_wire::problem::Code;
use neptune_wire::{Digest, Problem, SessionId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

/// One session as it lies on the peer's disk.
#[derive(Default, Clone)]
pub struct Kept {
    pub mark: u64,
    pub channels: HashMap<u32, OpenChannel>,
    pub frames: Vec<Vec<u8>>,
    pub refused: u64,
    pub closed: bool,
}

/// What goes wrong, and when.
#[derive(Default, Clone)]
pub struct Faults {
    /// Each message has this chance to be followed by a broken connection.
    pub break_chance: f64,
    /// Each acknowledgement is said so often.
    pub ack_times: usize,
    /// Everything is answered with 401.
    pub unauthorized: bool,
    /// Opening a session is answered with this.
    pub open_problem: Option<Code>,
    /// Frames are heard and never acknowledged.
    pub mute: bool,
    /// Frames are heard, refused for now, and acknowledged once this is over.
    pub full: bool,
    /// Channels that are refused.
    pub refuse_channels: HashSet<String>,
    /// Answering a blob takes so long.
    pub blob_delay: Duration,
    /// Blobs are answered with this.
    pub blob_problem: Option<Code>,
    /// Requests and sockets are answered with these bytes.
    pub garbage: Option<Vec<u8>>,
    pub stop: Option<Abort>,
    /// Opening a control connection is answered with this.
    pub control_problem: Option<Code>,
}

/// Everything that a test looks at.
#[derive(Default)]
pub struct State {
    pub sessions: HashMap<SessionId, Kept>,
    pub order: Vec<SessionId>,
    pub blobs: HashMap<Digest, usize>,
    /// Requests with a body that are neither blobs: method, path, body.
    pub requests: Vec<(String, String, String)>,
    pub headers: Vec<String>,
    pub beats: Vec<Beat>,
    pub forget: bool,
    pub connections: usize,
    pub faults: Faults,
    seed: u64,
}

pub struct Peer {
    pub state: Arc<Mutex<State>>,
    address: SocketAddr,
    running: Option<tokio::runtime::Runtime>,
}

impl Peer {
    pub fn start() -> Self {
        let state = Arc::new(Mutex::new(State { seed: 0x5eed, ..State::default() }));
        let mut peer = Self { state, address: SocketAddr::from((own_address(), 0)), running: None };
        peer.restart();
        peer
    }

    /// A peer that is not there yet, at an address where it will be.
    pub fn absent() -> Self {
        let mut peer = Self::start();
        peer.kill();
        peer
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.state().faults);
    }

    /// Ends every connection at once; nothing that was not acknowledged is kept.
    pub fn kill(&mut self) {
        if let Some(runtime) = self.running.take() {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
    }

    pub fn restart(&mut self) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let state = Arc::clone(&self.state);
        let listener = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_reuseaddr(true).unwrap();
            socket.bind(self.address).unwrap();
            socket.listen(64).unwrap()
        });
        self.address = listener.local_addr().unwrap();
        runtime.spawn(accept(listener, state));
        self.running = Some(runtime);
    }

    /// Every numeric point of a channel, by session and then in order.
    pub fn xs(&self, name: &str) -> Vec<f64> {
        self.numbers(name).iter().map(|point| point.0).collect()
    }

    pub fn numbers(&self, name: &str) -> Vec<(f64, f64, i64)> {
        let mut points = vec![];
        self.each_block(name, |block| {
            if let Block::Numeric(numeric) = block {
                points.extend(
                    numeric.x().zip(numeric.y()).zip(numeric.time()).map(|((x, y), time)| (x, y, time)),
                );
            }
        });
        points
    }

    pub fn texts(&self, name: &str) -> Vec<String> {
        let mut texts = vec![];
        let mut whole = String::new();
        self.each_block(name, |block| {
            if let Block::Text(text) = block {
                for entry in text.entries() {
                    whole += entry.text;
                    if !entry.continues {
                        texts.push(std::mem::take(&mut whole));
                    }
                }
            }
        });
        texts
    }

    pub fn log(&self, name: &str) -> Vec<u8> {
        let mut log = vec![];
        self.each_block(name, |block| {
            match block {
                Block::Log(piece) => {
                    assert_eq!(piece.offset, log.len() as u64, "a log has no gap and no overlap");
                    log.extend_from_slice(piece.bytes);
                }
                // A gap that the sender reports before it.
                Block::Dropped(count) => log.extend(std::iter::repeat_n(b'?', count as usize)),
                _ => {}
            }
        });
        log
    }

    pub fn images(&self, name: &str) -> Vec<(f64, Digest)> {
        let mut images = vec![];
        self.each_block(name, |block| {
            if let Block::Images(block) = block {
                images.extend(block.entries().map(|entry| (entry.x, entry.digest)));
            }
        });
        images
    }

    pub fn dropped(&self) -> u64 {
        let state = self.state();
        let frames = state.sessions.values().flat_map(|kept| &kept.frames);
        frames
            .flat_map(|bytes| frame::parse(bytes).unwrap().blocks)
            .map(|(_, block)| if let Block::Dropped(count) = block { u64::from(count) } else { 0 })
            .sum()
    }

    fn each_block(&self, name: &str, mut visit: impl FnMut(Block<'_>)) {
        let state = self.state();
        for kept in state.order.iter().map(|session| &state.sessions[session]) {
            for bytes in &kept.frames {
                for (number, block) in frame::parse(bytes).unwrap().blocks {
                    if kept.channels.get(&number).is_some_and(|channel| channel.name.as_str() == name) {
                        visit(block);
                    }
                }
            }
        }
    }
}

/// A loopback address for one peer alone: while it is away, nobody else may be given its port.
fn own_address() -> [u8; 4] {
    static PEERS: AtomicU32 = AtomicU32::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    [127, high, low, 2 + (PEERS.fetch_add(1, Ordering::Relaxed) % 250) as u8]
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.kill();
    }
}

impl State {
    fn chance(&mut self, chance: f64) -> bool {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.seed >> 11) as f64 / (1_u64 << 53) as f64) < chance
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    loop {
        let mut head = vec![0; 16 << 10];
        let end = loop {
            let Ok(count @ 1..) = stream.peek(&mut head).await else { return };
            if let Some(end) = head[..count].windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let text = String::from_utf8_lossy(&head[..end]).into_owned();
        let faults = {
            let mut state = state.lock().unwrap();
            state.headers.push(text.clone());
            state.faults.clone()
        };
        if let Some(garbage) = faults.garbage {
            let _ = stream.write_all(&garbage).await;
            return;
        }
        let is_socket = text.to_ascii_lowercase().contains("upgrade: websocket");
        if is_socket && !faults.unauthorized {
            if let Ok(socket) = tokio_tungstenite::accept_async(stream).await {
                Connection { state, open: HashMap::new(), unsynced: HashMap::new() }.run(socket).await;
            }
            return;
        }
        stream.read_exact(&mut head[..end]).await.unwrap();
        if !request(&mut stream, &text, &faults, &state).await || is_socket {
            return;
        }
    }
}

/// One HTTP request; answers whether the connection lives on.
async fn request(stream: &mut TcpStream, head: &str, faults: &Faults, state: &Arc<Mutex<State>>) -> bool {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
    if stream.read_exact(&mut body).await.is_err() {
        return false;
    }
    let problem = |code: Code, status: u16| {
        (
            status,
            "application/problem+json",
            serde_json::to_string(&Problem { status, ..Problem::new(code, "because") }).unwrap(),
        )
    };
    let (status, kind, answer) = if faults.unauthorized {
        problem(Code::Unauthorized, 401)
    } else if let Some(digest) = path.split("/blobs/").nth(1) {
        tokio::time::sleep(faults.blob_delay).await;
        let digest: Digest = digest.parse().unwrap();
        match faults.blob_problem {
            Some(code) => problem(code, 422),
            None if digest_bytes(&body) != digest => problem(Code::DigestDiffers, 422),
            None => {
                state.lock().unwrap().blobs.insert(digest, body.len());
                (204, "", String::new())
            }
        }
    } else {
        let mut state = state.lock().unwrap();
        state.requests.push((method.clone(), path.clone(), String::from_utf8(body).unwrap()));
        answer(&method, &path, &state)
    };
    let length = if status == 204 { String::new() } else { format!("content-length: {}\r\n", answer.len()) };
    let text = format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\n{length}\r\n{answer}");
    stream.write_all(text.as_bytes()).await.is_ok()
}

const JOB: &str = r#"{"id":"TRIG-12","uid":"01010101010101010101010101010101","project":"TRIG","name":"n","state":"running","created_micros":1,"attempt":1}"#;

fn answer(method: &str, path: &str, state: &State) -> (u16, &'static str, String) {
    let json = "application/json";
    let path = path.strip_prefix("/api/v1").unwrap();
    let last = state.requests.last().map(|(.., body)| body.clone()).unwrap_or_default();
    match (method, path.split('/').collect::<Vec<_>>().as_slice()) {
        ("GET" | "PATCH", ["", "jobs", _]) | ("POST", ["", "jobs"]) => (200, json, JOB.into()),
        ("POST", ["", "jobs", _, "attempts"]) => {
            (200, json, r#"{"attempt":1,"token":"of-the-attempt"}"#.into())
        }
        ("POST", ["", "jobs", _, "charts"]) => (200, json, last),
        ("PUT", ["", "attempts", _, _, "exit"]) => (200, json, "{}".into()),
        ("POST", ["", "projects", _, "snapshots"]) => {
            let manifest: neptune_wire::snapshot::Manifest = serde_json::from_str(&last).unwrap();
            let missing = manifest.files.iter().map(|file| file.digest);
            let missing: HashSet<_> = missing.filter(|digest| !state.blobs.contains_key(digest)).collect();
            let receipt = neptune_wire::snapshot::SnapshotReceipt {
                snapshot: digest_bytes(&manifest.canonical_json()),
                missing: missing.into_iter().collect(),
            };
            (200, json, serde_json::to_string(&receipt).unwrap())
        }
        _ => {
            let problem = Problem::new(Code::NoRoute, format!("{method} {path}"));
            (404, "application/problem+json", serde_json::to_string(&problem).unwrap())
        }
    }
}

struct Connection {
    state: Arc<Mutex<State>>,
    /// Sessions open here, with the number each wants next.
    open: HashMap<SessionId, u64>,
    /// Heard and not yet on disk.
    unsynced: HashMap<SessionId, Vec<(u64, Vec<u8>, bool)>>,
}

type Socket = tokio_tungstenite::WebSocketStream<TcpStream>;

impl Connection {
    async fn run(mut self, mut socket: Socket) {
        self.state.lock().unwrap().connections += 1;
        let mut commit = tokio::time::interval(Duration::from_millis(5));
        loop {
            let answers = tokio::select! {
                message = socket.next() => match message {
                    Some(Ok(Message::Text(text))) => self.text(serde_json::from_str(&text).unwrap()),
                    Some(Ok(Message::Binary(bytes))) => self.frame(bytes.to_vec()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => vec![],
                },
                _ = commit.tick() => self.commit(),
            };
            let breaks = {
                let mut state = self.state.lock().unwrap();
                let chance = state.faults.break_chance;
                !answers.is_empty() && state.chance(chance)
            };
            for answer in answers {
                if breaks && self.state.lock().unwrap().chance(0.5) {
                    return;
                }
                let text = serde_json::to_string(&answer).unwrap();
                if socket.send(Message::text(text)).await.is_err() {
                    return;
                }
            }
            if breaks {
                return;
            }
        }
    }

    fn text(&mut self, message: IngestUp) -> Vec<IngestDown> {
        let state = Arc::clone(&self.state);
        let mut state = state.lock().unwrap();
        match message {
            IngestUp::OpenSession { session, .. } => {
                if let Some(code) = state.faults.open_problem {
                    return vec![IngestDown::Problem {
                        session: Some(session),
                        problem: Problem::new(code, "because"),
                    }];
                }
                if !state.sessions.contains_key(&session) {
                    state.order.push(session);
                }
                let kept = state.sessions.entry(session).or_default();
                self.open.insert(session, kept.mark + 1);
                vec![IngestDown::SessionOpened { session, acked: kept.mark }]
            }
            IngestUp::OpenChannels { session, channels } => {
                assert!(self.open.contains_key(&session), "channels of a session that is not open");
                let refuse = state.faults.refuse_channels.clone();
                let kept = state.sessions.get_mut(&session).unwrap();
                let mut refused = vec![];
                for channel in channels {
                    if refuse.contains(channel.name.as_str()) {
                        let problem = Problem::new(Code::ChannelKindDiffers, "because");
                        refused.push(RefusedChannel { number: channel.number, problem });
                    } else if let Some(old) = kept.channels.insert(channel.number, channel.clone()) {
                        assert_eq!(old, channel, "a number belongs to its channel for ever");
                    }
                }
                vec![IngestDown::ChannelsOpened { session, bound: kept.channels.len() as u32, refused }]
            }
            IngestUp::CloseSession { session } => {
                drop(state);
                let mut answers = self.commit();
                self.open.remove(&session);
                let mut state = self.state.lock().unwrap();
                let kept = state.sessions.get_mut(&session).unwrap();
                kept.closed = true;
                answers.push(IngestDown::SessionClosed { session, acked: kept.mark });
                answers
            }
            IngestUp::OpenControl { .. } => match state.faults.control_problem {
                Some(code) => {
                    vec![IngestDown::Problem { session: None, problem: Problem::new(code, "because") }]
                }
                None => vec![IngestDown::ControlOpened { beat_every_millis: 50 }],
            },
            IngestUp::Beat(beat) => {
                let names: Vec<_> = beat
                    .holding
                    .iter()
                    .map(|holding| neptune_wire::control::AttemptRef {
                        job: holding.job,
                        attempt: holding.attempt,
                    })
                    .collect();
                let ended = beat.holding.iter().any(|holding| holding.exit.is_some());
                let forget = if ended && state.forget { names } else { vec![] };
                let wish = Wish {
                    ack: beat.seq,
                    hold: vec![],
                    stop: state.faults.stop.clone().into_iter().collect(),
                    forget,
                };
                state.beats.push(beat);
                vec![IngestDown::Wish(wish)]
            }
        }
    }

    fn frame(&mut self, bytes: Vec<u8>) -> Vec<IngestDown> {
        let frame = frame::parse(&bytes).expect("a client sends whole frames");
        let (session, seq) = (frame.header.session, frame.header.seq);
        let Some(expected) = self.open.get_mut(&session) else {
            let problem = Problem::new(Code::ProtocolViolation, "the session is not open");
            return vec![IngestDown::Problem { session: Some(session), problem }];
        };
        if seq > *expected {
            return vec![IngestDown::Gap { session, expected: *expected }];
        }
        let mut state = self.state.lock().unwrap();
        if seq < *expected {
            let acked = state.sessions[&session].mark;
            return if acked >= seq { vec![IngestDown::Acked { session, acked }] } else { vec![] };
        }
        *expected += 1;
        let kept = state.sessions.get_mut(&session).unwrap();
        let unknown = frame
            .blocks
            .iter()
            .find(|(number, _)| !kept.channels.contains_key(number))
            .map(|(number, _)| *number);
        drop(state);
        self.unsynced.entry(session).or_default().push((seq, bytes, unknown.is_some()));
        match unknown {
            None => vec![],
            Some(number) => {
                let problem = Problem::new(Code::UnknownChannel, format!("channel {number}"));
                vec![IngestDown::Refused { session, seq, problem }]
            }
        }
    }

    /// Puts everything heard on disk, if no other connection was quicker, and acknowledges it.
    fn commit(&mut self) -> Vec<IngestDown> {
        let mut state = self.state.lock().unwrap();
        if state.faults.mute {
            return vec![];
        }
        if state.faults.full {
            let waiting = self.unsynced.keys().copied();
            let problem = || Problem::new(Code::ReadOnly, "because");
            return waiting
                .map(|session| IngestDown::Problem { session: Some(session), problem: problem() })
                .collect();
        }
        let times = state.faults.ack_times.max(1);
        let mut answers = vec![];
        for (session, frames) in self.unsynced.drain() {
            let kept = state.sessions.get_mut(&session).unwrap();
            for (seq, bytes, refused) in frames {
                if seq != kept.mark + 1 {
                    continue;
                }
                kept.mark = seq;
                if refused {
                    kept.refused += 1;
                } else {
                    kept.frames.push(bytes);
                }
            }
            answers.extend(std::iter::repeat_n(IngestDown::Acked { session, acked: kept.mark }, times));
        }
        answers
    }
}
