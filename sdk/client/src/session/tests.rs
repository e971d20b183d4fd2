//! Any interleaving of sending, spooling, breaking and answering stores every point once and in order.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use neptune_wire::frame::{self, Block};
use neptune_wire::ingest::{IngestDown, IngestUp, OpenChannel, RefusedChannel};
use neptune_wire::problem::Code;
use neptune_wire::{AttemptNumber, ChannelKind, ChannelName, ChannelOrigin, Micros, Problem, SessionId};
use proptest::prelude::*;

use super::*;
use crate::spool::{Bounds, FORMAT, SessionFile};

const SESSION: SessionId = SessionId::from_bytes([5; 16]);
const BAD: u32 = 1;

#[derive(Debug, Clone)]
enum Step {
    /// So many points, in one frame or more.
    Push(usize),
    Spill,
    /// Messages that the client hands over, the server hears, and the client hears.
    Send(usize),
    Serve(usize),
    Hear(usize),
    /// Everything on its way is lost.
    Break,
    /// The process ends and a sync takes over what is on disk.
    Resume,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_usize..3000).prop_map(Step::Push),
        1 => Just(Step::Spill),
        4 => (1_usize..6).prop_map(Step::Send),
        4 => (1_usize..6).prop_map(Step::Serve),
        4 => (1_usize..6).prop_map(Step::Hear),
        1 => Just(Step::Break),
        1 => Just(Step::Resume),
    ];
    prop::collection::vec(step, 1..60)
}

enum Up {
    Control(IngestUp),
    Frame(Bytes),
}

/// The rules of the protocol, with a disk that is always synced.
#[derive(Default)]
struct Server {
    open: bool,
    mark: u64,
    bound: HashSet<u32>,
    refuse: HashSet<u32>,
    xs: Vec<f64>,
    dropped: u64,
    refused: u64,
}

impl Server {
    fn serve(&mut self, message: Up) -> Vec<IngestDown> {
        let session = SESSION;
        match message {
            Up::Control(IngestUp::OpenSession { .. }) => {
                self.open = true;
                vec![IngestDown::SessionOpened { session, acked: self.mark }]
            }
            Up::Control(IngestUp::OpenChannels { channels, .. }) => {
                let (bad, good): (Vec<_>, Vec<_>) = channels
                    .iter()
                    .map(|channel| channel.number)
                    .partition(|number| self.refuse.contains(number));
                self.bound.extend(good);
                let problem = || Problem::new(Code::ChannelKindDiffers, "because");
                let refused =
                    bad.into_iter().map(|number| RefusedChannel { number, problem: problem() }).collect();
                vec![IngestDown::ChannelsOpened { session, bound: self.bound.len() as u32, refused }]
            }
            Up::Control(IngestUp::CloseSession { .. }) => {
                vec![IngestDown::SessionClosed { session, acked: self.mark }]
            }
            Up::Control(other) => panic!("{other:?}"),
            Up::Frame(bytes) => self.store(&bytes),
        }
    }

    fn store(&mut self, bytes: &[u8]) -> Vec<IngestDown> {
        assert!(self.open, "a frame before its session");
        let frame = frame::parse(bytes).expect("whole frames");
        let (session, seq) = (SESSION, frame.header.seq);
        if seq > self.mark + 1 {
            return vec![IngestDown::Gap { session, expected: self.mark + 1 }];
        }
        if seq <= self.mark {
            return vec![IngestDown::Acked { session, acked: self.mark }];
        }
        self.mark = seq;
        let acked = IngestDown::Acked { session, acked: seq };
        if frame.blocks.iter().any(|(channel, _)| !self.bound.contains(channel)) {
            self.refused += 1;
            let problem = Problem::new(Code::UnknownChannel, "because");
            return vec![IngestDown::Refused { session, seq, problem }, acked];
        }
        for (channel, block) in frame.blocks {
            match block {
                Block::Numeric(numeric) if channel == 0 => self.xs.extend(numeric.x()),
                Block::Dropped(count) => self.dropped += u64::from(count),
                _ => {}
            }
        }
        vec![acked]
    }
}

struct World {
    folder: tempfile::TempDir,
    session: Session,
    blobs: Blobs,
    up: VecDeque<Up>,
    down: VecDeque<IngestDown>,
    server: Server,
    next_x: usize,
    acked_points: u64,
    refused_points: u64,
}

impl World {
    fn new(channels: u32) -> Self {
        let mut session = Session::new(SESSION);
        for number in 0..channels {
            let name = ChannelName::new(&format!("channel {number}")).unwrap();
            let (kind, origin) = (ChannelKind::Numeric, ChannelOrigin::User);
            session.add_channel(OpenChannel { number, name, kind, origin });
        }
        Self {
            folder: tempfile::tempdir().unwrap(),
            session,
            blobs: Blobs::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            server: Server::default(),
            next_x: 0,
            acked_points: 0,
            refused_points: 0,
        }
    }

    fn push(&mut self, channel: u32, count: usize) {
        let x: Vec<f64> = (self.next_x..self.next_x + count).map(|x| x as f64).collect();
        let y: Vec<f64> = x.iter().map(|x| x.sqrt()).collect();
        self.session.push_numeric(channel, &x, &y, &vec![3; count], Instant::now());
        if channel == 0 {
            self.next_x += count;
        }
    }

    fn spill(&mut self) {
        let job_dir = self.folder.path();
        let create = |session| {
            let file = SessionFile {
                format: FORMAT,
                session,
                job: "TRIG-1".parse().unwrap(),
                attempt: AttemptNumber(1),
                url: None,
                token: None,
                made_micros: Micros(0),
            };
            Spool::create(job_dir, file, Bounds { bytes: u64::MAX, disk_free_bytes: 0 })
        };
        self.session.spill(&mut self.blobs, create).unwrap();
    }

    fn send(&mut self) -> bool {
        let open = |session| IngestUp::OpenSession {
            session,
            job: "TRIG-1".parse().unwrap(),
            attempt: AttemptNumber(1),
        };
        if let Some(message) = self.session.next_control(open) {
            self.up.push_back(Up::Control(message));
        } else if let Some(frame) = self.session.next_frame(&mut self.blobs).unwrap() {
            self.up.push_back(Up::Frame(frame));
        } else {
            return false;
        }
        true
    }

    fn hear(&mut self) -> bool {
        let Some(message) = self.down.pop_front() else { return false };
        match self.session.hear(message) {
            Heard::Reconnect(why) => panic!("{why}"),
            Heard::Opened { forgotten } => assert_eq!(forgotten, 0),
            _ => {}
        }
        let outcome = self.session.take_outcome();
        self.acked_points += outcome.acked.iter().map(|(_, count)| u64::from(*count)).sum::<u64>();
        self.refused_points += outcome.refused_points;
        true
    }

    fn serve(&mut self) -> bool {
        let Some(message) = self.up.pop_front() else { return false };
        self.down.extend(self.server.serve(message));
        true
    }

    fn break_off(&mut self) {
        self.up.clear();
        self.down.clear();
        self.server.open = false;
        self.session.reset_connection();
    }

    /// What was in memory alone is gone with the process, unless the server has it.
    fn resume(&mut self) {
        self.break_off();
        let Some(spool) = self.session.take_spool() else { return };
        self.session = Session::new(SESSION);
        drop(spool);
        let path = self.folder.path().join("sessions").join(SESSION.to_string());
        self.session = Session::resume(Spool::open(&path).unwrap()).unwrap();
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Push(count) => {
                self.push(0, *count);
                self.session.finish_frame(Instant::now());
            }
            Step::Spill => self.spill(),
            Step::Send(times) => drop((0..*times).all(|_| self.send())),
            Step::Serve(times) => drop((0..*times).all(|_| self.serve())),
            Step::Hear(times) => drop((0..*times).all(|_| self.hear())),
            Step::Break => self.break_off(),
            Step::Resume => {
                // A program that is killed sends nothing more; the sync has only what was spooled.
                self.spill();
                self.resume();
            }
        }
    }

    fn finish(&mut self) {
        for _ in 0..100_000 {
            let moved = [self.send(), self.serve(), self.hear()];
            if moved == [false; 3] {
                assert!(self.session.is_settled(), "nothing moves: {:?}", self.session);
                let close = self.session.close().expect("it is open and settled");
                self.up.push_back(Up::Control(close));
                while self.serve() || self.hear() {}
                assert!(self.session.is_ended());
                return;
            }
        }
        panic!("no end");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_point_is_stored_once_and_in_order(steps in steps()) {
        let mut world = World::new(1);
        let mut ended = false;
        for step in &steps {
            ended |= matches!(step, Step::Resume);
            // After a resume a session takes no more points: its process is gone.
            if !(ended && matches!(step, Step::Push(_))) {
                world.step(step);
            }
        }
        world.finish();
        let expected: Vec<_> = (0..world.next_x).map(|x| x as f64).collect();
        prop_assert!(world.server.xs == expected, "{} of {}", world.server.xs.len(), expected.len());
        prop_assert_eq!(world.server.dropped + world.server.refused, 0);
    }
}

#[test]
fn a_server_that_lost_frames_is_gone_on_with() {
    let mut world = World::new(1);
    for _ in 0..5 {
        world.step(&Step::Push(10));
    }
    world.finish_without_close();
    assert_eq!((world.session.acked(), world.acked_points), (5, 50));
    // The server comes back from a backup that has two of the five.
    world.server.mark = 2;
    world.server.xs.truncate(20);
    world.break_off();
    world.step(&Step::Push(10));
    assert!(world.send() && world.serve());
    let opened = world.down.pop_front().unwrap();
    assert_eq!(world.session.hear(opened), Heard::Opened { forgotten: 3 });
    world.finish();
    assert_eq!((world.server.mark, world.server.dropped), (6, 3), "three fillers, then the new frame");
    assert_eq!(world.server.xs[20..], [50.0, 51.0, 52.0, 53.0, 54.0, 55.0, 56.0, 57.0, 58.0, 59.0]);
}

#[test]
fn frames_without_a_refused_channel_go_through() {
    for spooled in [false, true] {
        let mut world = World::new(2);
        world.server.refuse.insert(BAD);
        for channels in [&[0, BAD][..], &[BAD], &[0], &[BAD, 0, BAD]] {
            channels.iter().for_each(|channel| world.push(*channel, 10));
            world.session.finish_frame(Instant::now());
        }
        if spooled {
            world.spill();
            world.resume();
        }
        world.finish();
        assert_eq!(world.server.xs, (0..30).map(f64::from).collect::<Vec<_>>());
        assert_eq!((world.server.dropped, world.server.refused), (30, 1));
        assert_eq!((world.acked_points, world.refused_points), (30, 40));
    }
}

#[test]
fn answers_that_nothing_asked_for_end_the_connection() {
    let session = SESSION;
    for wrong in [
        IngestDown::Acked { session, acked: 7 },
        IngestDown::SessionOpened { session, acked: 0 },
        IngestDown::ChannelsOpened { session, bound: 1, refused: vec![] },
        IngestDown::SessionClosed { session, acked: 0 },
        IngestDown::Gap { session, expected: 3 },
        IngestDown::Refused { session, seq: 9, problem: Problem::new(Code::UnknownChannel, "because") },
    ] {
        let mut world = World::new(1);
        world.step(&Step::Push(1));
        world.finish_without_close();
        assert!(matches!(world.session.hear(wrong.clone()), Heard::Reconnect(_)), "{wrong:?}");
        assert_eq!(world.session.acked(), 1);
    }
}

impl World {
    fn finish_without_close(&mut self) {
        while self.send() || self.serve() || self.hear() {}
        assert!(self.session.is_settled());
    }
}
