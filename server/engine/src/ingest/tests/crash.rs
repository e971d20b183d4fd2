//! Kills: whatever happens between, a store holds of every session exactly the frames up to its mark, and the mark is
//! never below what was acknowledged.
//!
//! A case is a list of lives. In each, clients send, send again, skip, reconnect and fall silent while the backend is
//! troubled; then the process dies at a commit or between, and the next life begins with what was stored. The model is
//! plain: what each client ever put into each of its frames.

use std::collections::HashMap;

use futures::FutureExt;
use neptune_wire::query::TextQuery;
use proptest::prelude::*;

use super::*;

const JOBS: u8 = 2;
/// Clients by number: client n writes to job n % JOBS.
const CLIENTS: u8 = 4;

#[derive(Debug, Clone)]
enum Act {
    /// The next frames.
    Send { client: u8, frames: u8 },
    /// Frames that were sent before, from so many back.
    SendAgain { client: u8, back: u8 },
    /// A frame further on than it may be.
    Skip { client: u8 },
    /// The connection breaks and a new one is opened.
    Reconnect { client: u8 },
    /// JSON points under the client's next key, or its last one again.
    Json { client: u8, again: bool },
    /// What happens to the next commits.
    Troubles(Vec<Trouble>),
    /// A job's points are sealed.
    Seal { job: u8 },
    /// The disk is full, or has room.
    Full(bool),
    /// Time passes.
    Wait(u8),
}

fn act() -> impl Strategy<Value = Act> {
    let client = || 0..CLIENTS;
    let trouble = prop_oneof![
        4 => Just(Trouble::None),
        2 => Just(Trouble::Busy),
        2 => Just(Trouble::UnknownLost),
        2 => Just(Trouble::UnknownWritten),
        1 => Just(Trouble::TooLarge),
        1 => Just(Trouble::DiesBefore),
        1 => Just(Trouble::DiesAfter),
    ];
    prop_oneof![
        8 => (client(), 1..6_u8).prop_map(|(client, frames)| Act::Send { client, frames }),
        2 => (client(), 0..6_u8).prop_map(|(client, back)| Act::SendAgain { client, back }),
        1 => client().prop_map(|client| Act::Skip { client }),
        2 => client().prop_map(|client| Act::Reconnect { client }),
        2 => (client(), any::<bool>()).prop_map(|(client, again)| Act::Json { client, again }),
        2 => prop::collection::vec(trouble, 1..5).prop_map(Act::Troubles),
        3 => (1..=JOBS).prop_map(|job| Act::Seal { job }),
        1 => any::<bool>().prop_map(Act::Full),
        4 => (0..12_u8).prop_map(Act::Wait),
    ]
}

/// What one frame does if it is stored.
#[derive(Debug, Clone, Default)]
struct Effect {
    values: Vec<f64>,
    log: Vec<u8>,
    dropped: u64,
}

/// A writer, as it lives through all lives of the server.
#[derive(Default)]
struct Client {
    frames: Vec<(Bytes, Effect)>,
    log_offset: u64,
    /// Highest number acknowledged.
    acked: u64,
    /// Number of the frame to send next on the present connection.
    next: u64,
    /// JSON keys that were answered, and the one that may or may not be stored.
    keys: Vec<f64>,
    doubtful_key: Option<f64>,
}

struct Model {
    clients: Vec<Client>,
    /// Every value sent is another number.
    values: f64,
    random: u64,
}

impl Model {
    fn random(&mut self, below: u64) -> u64 {
        // SplitMix64: the case's seed decides all.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn fresh_value(&mut self) -> f64 {
        self.values += 1.0;
        self.values
    }

    /// Frame `seq` of a client, made once and the same ever after.
    fn frame(&mut self, client: u8, seq: u64) -> Bytes {
        while (self.clients[usize::from(client)].frames.len() as u64) < seq {
            let made = self.make_frame(client);
            self.clients[usize::from(client)].frames.push(made);
        }
        self.clients[usize::from(client)].frames[seq as usize - 1].0.clone()
    }

    fn make_frame(&mut self, client: u8) -> (Bytes, Effect) {
        let seq = self.clients[usize::from(client)].frames.len() as u64 + 1;
        let mut frame = FrameBuilder::new(session(client + 1), seq);
        let mut effect = Effect::default();
        // Now and then enough to complete a block.
        let count = if self.random(12) == 0 { 2_500 } else { 1 + self.random(4) };
        effect.values = (0..count).map(|_| self.fresh_value()).collect();
        let late = self.random(3) == 0;
        let x: Vec<f64> =
            (0..count).map(|at| if late { -(at as f64) } else { (10 * seq + at) as f64 }).collect();
        frame.push_numeric(0, &x, &effect.values, &vec![0; x.len()]);
        // The first client of a job writes its log.
        if client < JOBS && self.random(2) == 0 {
            let text = format!(
                "line {seq} of client {client}{}",
                ["", "\n", "\nand\nmore"][self.random(3) as usize]
            );
            let offset = &mut self.clients[usize::from(client)].log_offset;
            frame.push_log(1, *offset, 0.0, 0, text.as_bytes());
            *offset += text.len() as u64;
            effect.log = text.into_bytes();
        }
        if self.random(8) == 0 {
            frame.push_dropped(0, 3);
            effect.dropped = 3;
        }
        // A number that was never bound: all of the frame is refused.
        let unbound = u64::from(self.random(8) == 0);
        let mut bad = unbound > 0;
        if bad {
            frame.push_numeric(77, &[0.0], &[0.0], &[0]);
        }
        let mut bytes = frame.finish();
        if self.random(16) == 0 {
            let checksum = bytes.len() - 1;
            bytes[checksum] ^= 0x55;
            bad = true;
        }
        if bad {
            let lost = effect.values.len() as u64 + effect.log.len() as u64 + effect.dropped + unbound;
            effect = Effect { dropped: lost, ..Effect::default() };
        }
        (bytes.into(), effect)
    }
}

fn job_of(client: u8) -> JobRef {
    JobRef::Uid(uid(client % JOBS + 1))
}

/// One life of the server, from opening to death.
struct Life<'a> {
    model: &'a mut Model,
    engine: Engine,
    grant: Grant,
    kv: TroubledKv,
    connections: HashMap<u8, (IngestSink, IngestEvents)>,
}

impl Life<'_> {
    /// Acts as clients do: who gets no answer for a minute, because the disk is full, starts again later.
    async fn patient_act(&mut self, act: Act) {
        let minute = std::time::Duration::from_secs(60);
        if tokio::time::timeout(minute, self.act(act)).await.is_err() {
            self.connections.clear();
        }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Send { client, frames } => {
                for _ in 0..frames {
                    self.send(client).await;
                }
            }
            Act::SendAgain { client, back } => {
                let next = self.model.clients[usize::from(client)].next;
                for seq in next.saturating_sub(back.into()).max(1)..next {
                    let frame = self.model.frame(client, seq);
                    if let Some((sink, _)) = self.connections.get_mut(&client) {
                        sink.submit_frame(frame, NOW).await;
                    }
                }
            }
            Act::Skip { client } => {
                let frame = self.model.frame(client, self.model.clients[usize::from(client)].next + 1);
                if let Some((sink, _)) = self.connections.get_mut(&client) {
                    sink.submit_frame(frame, NOW).await;
                }
            }
            Act::Reconnect { client } => {
                self.connections.remove(&client);
                self.connect(client).await;
            }
            Act::Json { client, again } => self.json(client, again).await,
            Act::Troubles(troubles) => self.kv.script(troubles),
            Act::Seal { job } => {
                let core = self.engine.core.clone();
                if let Ok(heads) = self.engine.find_heads(&self.grant, &uid(job).into()).await {
                    // Beside whatever else goes on; troubles end it anywhere.
                    tokio::spawn(async move { core.seal_job(&heads).await });
                }
            }
            Act::Full(full) => self.kv.set_full(full),
            Act::Wait(millis) => tokio::time::sleep(std::time::Duration::from_millis(millis.into())).await,
        }
        for client in 0..CLIENTS {
            self.listen(client);
        }
    }

    /// Opens a connection; answers whether it stands.
    async fn connect(&mut self, client: u8) -> bool {
        let (mut sink, events) = self.engine.open_ingest(&self.grant);
        let id = session(client + 1);
        let channels = vec![channel(0, &format!("values {client}"), ChannelKind::Numeric), stdout(1)];
        let Ok(mark) = sink.open_session(id, &job_of(client), FIRST, NOW).await else { return false };
        let state = &mut self.model.clients[usize::from(client)];
        assert!(mark >= state.acked, "acknowledged {}, but the mark is {mark}", state.acked);
        assert!(mark <= state.frames.len() as u64);
        (state.acked, state.next) = (mark, mark + 1);
        if sink.open_channels(id, channels, NOW).await.is_err() {
            return false;
        }
        self.connections.insert(client, (sink, events));
        true
    }

    async fn send(&mut self, client: u8) {
        if !self.connections.contains_key(&client) && !self.connect(client).await {
            return;
        }
        let next = self.model.clients[usize::from(client)].next;
        let frame = self.model.frame(client, next);
        if let Some((sink, _)) = self.connections.get_mut(&client) {
            sink.submit_frame(frame, NOW).await;
            self.model.clients[usize::from(client)].next += 1;
        }
    }

    /// Takes what the server says, without waiting.
    fn listen(&mut self, client: u8) {
        let Some((_, events)) = self.connections.get_mut(&client) else { return };
        let state = &mut self.model.clients[usize::from(client)];
        let mut broken = false;
        while let Some(Some(event)) = events.next().now_or_never() {
            match event {
                IngestEvent::Acked { acked, .. } => {
                    assert!(acked < state.next && acked >= state.acked, "{acked}");
                    state.acked = acked;
                }
                IngestEvent::Gap { expected, .. } => state.next = expected,
                IngestEvent::Refused { seq, .. } => assert!(state.frames[seq as usize - 1].1.dropped > 0),
                IngestEvent::Trouble { why: Refused::ReadOnly, .. } => {}
                // What was taken is given back: begin again from the mark.
                IngestEvent::Trouble { why: Refused::Busy, .. } => broken = true,
                IngestEvent::Trouble { why, .. } => panic!("{why}"),
            }
        }
        if broken {
            self.connections.remove(&client);
        }
    }

    async fn json(&mut self, client: u8, again: bool) {
        let state = &self.model.clients[usize::from(client)];
        let doubtful = state.doubtful_key;
        // What is in doubt is asked again first, as a careful client does.
        let value = match (doubtful, again.then(|| state.keys.last().copied()).flatten()) {
            (Some(value), _) | (None, Some(value)) => value,
            (None, None) => self.model.fresh_value(),
        };
        let point = neptune_wire::query::JsonPoint {
            x: Some(neptune_wire::Number(0.0)),
            y: neptune_wire::query::JsonValue::Number(neptune_wire::Number(value)),
            time: None,
        };
        let points = [(name(&format!("json {client}")), vec![point])].into();
        self.model.clients[usize::from(client)].doubtful_key = Some(value);
        let key = format!("{client} {value}");
        if self.engine.append_points(&self.grant, &job_of(client), &key, points, NOW).await.is_ok() {
            let state = &mut self.model.clients[usize::from(client)];
            state.doubtful_key = None;
            if !state.keys.contains(&value) {
                state.keys.push(value);
            }
        }
    }

    /// Compares all that is stored with what the marks say is.
    async fn check(&mut self) {
        let mut damage = Vec::new();
        let mut tell = |found: neptune_store::Damage| damage.push(found.to_string());
        self.engine.store().check(self.engine.blobs(), &mut tell).await;
        assert!(damage.is_empty(), "{damage:#?}");
        let mut dropped = HashMap::<JobRef, u64>::new();
        for client in 0..CLIENTS {
            assert!(self.connect(client).await);
            let state = &self.model.clients[usize::from(client)];
            let stored = &state.frames[..state.acked as usize];
            let job = job_of(client);
            let values: Vec<f64> = stored.iter().flat_map(|(_, effect)| effect.values.clone()).collect();
            let found = points(&self.engine, &self.grant, &job, &format!("values {client}")).await;
            let found: Vec<f64> = found.iter().map(|point| point.1).collect();
            assert!(found == values, "client {client}: {} points are not {}", found.len(), values.len());
            *dropped.entry(job.clone()).or_default() +=
                stored.iter().map(|(_, effect)| effect.dropped).sum::<u64>();
            if client < JOBS {
                let log: Vec<u8> = stored.iter().flat_map(|(_, effect)| effect.log.clone()).collect();
                let raw = self.engine.read_log(&self.grant, &job, &name("sys/stdout"), 0, 1 << 20).await;
                assert_eq!(raw.unwrap().escape_ascii().to_string(), log.escape_ascii().to_string());
                let (log_name, all) = (name("sys/stdout"), TextQuery::default());
                let lines = self.engine.read_text(&self.grant, &job, &log_name, &all).await.unwrap();
                let text: String = lines.lines.iter().map(|line| line.text.as_str()).collect();
                let marks = lines.lines.iter().filter(|line| line.text.starts_with("[neptune:"));
                let marks: usize = marks.map(|line| line.text.len()).sum();
                assert_eq!(text.len() - marks, log.iter().filter(|byte| **byte != b'\n').count());
            }
            self.check_json(client).await;
        }
        for (job, dropped) in dropped {
            assert_eq!(
                self.engine.read_job(&self.grant, &job).await.unwrap().dropped_points,
                dropped,
                "{job}"
            );
        }
    }

    async fn check_json(&self, client: u8) {
        let state = &self.model.clients[usize::from(client)];
        let channel = format!("json {client}");
        let channels = self.engine.list_channels(&self.grant, &job_of(client)).await.unwrap();
        if !channels.iter().any(|it| it.name.as_str() == channel) {
            assert!(state.keys.is_empty());
            return;
        }
        let found = points(&self.engine, &self.grant, &job_of(client), &channel).await;
        let found: Vec<f64> = found.iter().map(|point| point.1).collect();
        let mut with_doubtful = state.keys.clone();
        with_doubtful.extend(state.doubtful_key);
        assert!(found == state.keys || found == with_doubtful, "{found:?} is not {:?}", state.keys);
    }
}

/// Runs in a runtime of its own, so that death drops every task wherever it waits.
fn in_life<T>(life: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    // The clock jumps ahead when nobody has anything to do, so whatever waits for ever ends here.
    let longest = std::time::Duration::from_secs(36_000);
    runtime.block_on(async { tokio::time::timeout(longest, life).await }).expect("nothing waits for ever")
}

fn check(seed: u64, lives: Vec<Vec<Act>>) {
    let mut kv = TroubledKv::default();
    in_life(async {
        let engine = engine_over(kv.clone()).await;
        let grant = everything(&engine).await;
        for job in 1..=JOBS {
            running_job(&engine, &grant, job).await;
        }
    });
    let clients = (0..CLIENTS).map(|_| Client { next: 1, ..Client::default() }).collect();
    let mut model = Model { clients, values: 0.0, random: seed };
    for acts in lives {
        kv = kv.reborn();
        in_life(async {
            let engine = engine_over(kv.clone()).await;
            let grant = everything(&engine).await;
            let mut life =
                Life { model: &mut model, engine, grant, kv: kv.clone(), connections: HashMap::new() };
            life.check().await;
            for act in acts {
                tokio::select! {
                    biased;
                    () = kv.death() => return,
                    () = life.patient_act(act) => {}
                }
            }
        });
    }
    // The last life has no troubles: everything is delivered.
    kv = kv.reborn();
    in_life(async {
        let engine = engine_over(kv.clone()).await;
        let grant = everything(&engine).await;
        let mut life = Life { model: &mut model, engine, grant, kv, connections: HashMap::new() };
        for client in 0..CLIENTS {
            assert!(life.connect(client).await);
            let last = life.model.clients[usize::from(client)].frames.len() as u64;
            while life.model.clients[usize::from(client)].next <= last {
                life.send(client).await;
            }
            let (sink, _) = life.connections.get_mut(&client).unwrap();
            assert_eq!(sink.close_session(session(client + 1)).await.unwrap(), last);
            life.listen(client);
        }
        life.check().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn every_life_begins_with_what_the_marks_say(
        seed: u64,
        lives in prop::collection::vec(prop::collection::vec(act(), 1..30), 1..5),
    ) {
        check(seed, lives);
    }
}

/// 200 quick; `NEPTUNE_TEST_LONG=1` runs 5,000.
fn cases() -> u32 {
    if std::env::var_os("NEPTUNE_TEST_LONG").is_some() { 5_000 } else { 200 }
}
