//! What is sealed reads as what is open, however frames are cut into rounds, and whenever the process dies in one.

use neptune_store::{BindingsRecord, ChannelRecord, Damage, SessionRecord};
use neptune_wire::frame::{FrameBuilder, ImageRecord, TEXT_BYTES, parse};
use neptune_wire::query::{ImagePoint, Line};
use neptune_wire::{AttemptNumber, ChannelKind, ChannelOrigin, Digest, JobUid, SessionId};
use proptest::prelude::*;

use super::*;
use crate::Engine;
use crate::heads::JobHeads;
use crate::query::{images, lines};
use crate::testing::*;

const JOB: JobUid = JobUid::from_bytes([5; 16]);
const NOTE: u32 = 0;
const LOG: u32 = 1;
const PICTURE: u32 = 2;
const LOSS: u32 = 3;

#[derive(Debug, Clone)]
enum Part {
    /// Lines, and one that is long.
    Texts(Vec<String>, usize),
    /// Bytes so far from where the log ends, and so many that do not compress.
    Log(i64, Vec<u8>, usize),
    /// Bytes of the log that the sender reports as lost.
    Lost(u32),
    Images(u8),
    Numbers(u8),
}

#[derive(Debug, Clone)]
enum Act {
    /// A frame of the first or the second attempt.
    Frame(Vec<Part>, bool),
    Seal,
    /// A round whose process dies at this commit, before or after it is written.
    Die(usize, bool),
    /// A start.
    Restart,
}

fn part() -> impl Strategy<Value = Part> {
    let long = prop_oneof![6 => Just(0), 1 => 1..TEXT_BYTES];
    let noise = prop_oneof![6 => Just(0_usize), 1 => 1..50_000_usize];
    let bytes = prop_oneof![
        4 => "[a-zü\n]{0,30}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..30),
    ];
    let offset = prop_oneof![6 => Just(0), 1 => -20..20_i64];
    prop_oneof![
        3 => (prop::collection::vec(".{0,20}", 0..6), long).prop_map(|(texts, long)| Part::Texts(texts, long)),
        6 => (offset, bytes, noise).prop_map(|(offset, bytes, noise)| Part::Log(offset, bytes, noise)),
        1 => (1..9_u32).prop_map(Part::Lost),
        2 => (1..9_u8).prop_map(Part::Images),
        1 => (1..9_u8).prop_map(Part::Numbers),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        12 => (prop::collection::vec(part(), 1..4), any::<bool>()).prop_map(|(parts, second)| Act::Frame(parts, second)),
        3 => Just(Act::Seal),
        1 => (0..4_usize, any::<bool>()).prop_map(|(commit, after)| Act::Die(commit, after)),
        1 => Just(Act::Restart),
    ]
}

fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 40) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn session_of(second: bool) -> SessionId {
    session(1 + u8::from(second))
}

/// One store with its job in memory.
struct World {
    kv: TroubledKv,
    engine: Engine,
    heads: std::sync::Arc<JobHeads>,
    /// The log's offsets in each attempt, as their writers count.
    offsets: [u64; 2],
    is_second: bool,
    made: u64,
}

impl World {
    async fn new() -> World {
        let kv = TroubledKv::default();
        let engine = engine_over(kv.clone()).await;
        let mut writes = Writes::new();
        let kinds = [
            ("note", ChannelKind::Text, ChannelOrigin::User),
            ("sys/stdout", ChannelKind::Text, ChannelOrigin::Stdout),
            ("picture", ChannelKind::Image, ChannelOrigin::User),
            ("loss", ChannelKind::Numeric, ChannelOrigin::User),
        ];
        for (number, (text, kind, origin)) in (0..).zip(kinds) {
            let record = ChannelRecord { name: name(text), kind, origin, created: NOW };
            writes.create_channel(&JOB, number, &record);
        }
        for second in [false, true] {
            // A session's numbers are its own.
            let channels = (0..4).map(|channel| (channel + 10, channel)).collect();
            let (id, attempt) = (session_of(second), AttemptNumber(1 + u32::from(second)));
            writes.create_session(&JOB, &id, &SessionRecord { attempt, mark: u64::MAX });
            writes.create_bindings(&JOB, &id, 0, &BindingsRecord { channels });
        }
        engine.store().commit(writes).await.unwrap();
        let heads = JobHeads::load(engine.store(), JOB, &engine.core.sealer).await.unwrap();
        World { kv, engine, heads, offsets: [0; 2], is_second: false, made: 0 }
    }

    async fn restart(&mut self) {
        self.kv = self.kv.reborn();
        self.engine = engine_over(self.kv.clone()).await;
        self.heads = JobHeads::load(self.engine.store(), JOB, &self.engine.core.sealer).await.unwrap();
    }

    async fn frame(&mut self, parts: &[Part], second: bool) {
        // An attempt that was superseded writes no more.
        self.is_second |= second;
        self.made += 1;
        let id = session_of(self.is_second);
        let mut frame = FrameBuilder::new(id, self.made);
        for part in parts {
            self.push(&mut frame, part);
        }
        if frame.is_empty() {
            return;
        }
        let bytes = Bytes::from(frame.finish());
        let seq = self.heads.lock().next_seq;
        let mut writes = Writes::new();
        writes.put_frame(&JOB, seq, bytes.clone());
        self.engine.store().commit(writes).await.unwrap();
        let mut inner = self.heads.lock();
        let session = inner.sessions[&id].clone();
        let added = inner.apply(seq, &parse(&bytes).unwrap(), Some(&session));
        inner.next_seq += 1;
        drop(inner);
        self.engine.core.sealer.added(&self.heads, bytes.len() as u64, added.open);
    }

    fn push(&mut self, frame: &mut FrameBuilder, part: &Part) {
        let x = [f64::NAN, self.made as f64, -0.25][self.made as usize % 3];
        let time = self.made as i64 - 9;
        match part {
            Part::Texts(texts, long) => {
                for text in texts {
                    frame.push_text(NOTE + 10, x, time, text, false);
                }
                if *long > 0 {
                    frame.push_text(NOTE + 10, x, time, &"z".repeat(*long), true);
                }
            }
            Part::Log(from, bytes, long) => {
                let offset = &mut self.offsets[usize::from(self.is_second)];
                let bytes = [&bytes[..], &noise(self.made, *long)].concat();
                if bytes.is_empty() {
                    return;
                }
                let at = offset.saturating_add_signed(*from);
                let taken = frame.push_log(LOG + 10, at, x, time, &bytes) as u64;
                *offset = (*offset).max(at + taken);
            }
            Part::Lost(bytes) => {
                frame.push_dropped(LOG + 10, *bytes);
            }
            Part::Images(count) => {
                for width in 0..*count {
                    let image = ImageRecord {
                        x,
                        time,
                        digest: Digest::from_bytes([width; 32]),
                        width: width.into(),
                        height: 7,
                        size_bytes: self.made,
                        name: format!("ü {}", self.made),
                        description: "d".repeat(usize::from(width)),
                    };
                    frame.push_image(PICTURE + 10, &image);
                }
            }
            Part::Numbers(count) => {
                let y = vec![0.5; usize::from(*count)];
                frame.push_numeric(LOSS + 10, &y, &y, &vec![0; y.len()]);
            }
        }
    }

    async fn seal(&self) {
        self.engine.core.seal_job(&self.heads).await.unwrap();
        let inner = self.heads.lock();
        assert_eq!(inner.applied + 1, inner.next_seq);
    }

    async fn die(&mut self, commit: usize, after: bool) {
        let death = if after { Trouble::DiesAfter } else { Trouble::DiesBefore };
        self.kv.script((0..commit).map(|_| Trouble::None).chain([death]));
        tokio::select! {
            biased;
            () = self.kv.death() => {}
            sealed = self.engine.core.seal_job(&self.heads) => sealed.unwrap(),
        }
        self.restart().await;
    }

    /// All that can be read, and what the summaries say of it.
    async fn all(&self) -> All {
        let (store, heads) = (self.engine.store(), &self.heads);
        let mut all = All::default();
        for (channel, found) in [(NOTE, &mut all.notes), (LOG, &mut all.log)] {
            while let batch = lines::from(store, heads, channel, found.len() as u64).await.unwrap()
                && !batch.is_empty()
            {
                found.extend(batch);
            }
        }
        loop {
            let piece = lines::log_bytes(store, heads, LOG, all.raw.len() as u64, 9_999).await.unwrap();
            if piece.is_empty() {
                break;
            }
            all.raw.extend_from_slice(&piece);
        }
        all.images = images::from(store, heads, PICTURE, 0, usize::MAX).await.unwrap();
        let inner = self.heads.lock();
        all.summaries = format!("{:?}", inner.channels.iter().map(|it| it.channel()).collect::<Vec<_>>());
        if let Head::Log(log) = &inner.channels[LOG as usize].head {
            all.summaries += &format!("{:?} {}", log.cursor(), log.is_open());
        }
        all
    }

    /// Every place is found from anywhere.
    async fn check_places(&self, all: &All) {
        let (store, heads) = (self.engine.store(), &self.heads);
        for (channel, known) in [(NOTE, &all.notes), (LOG, &all.log)] {
            for at in (0..known.len()).step_by(1 + known.len() / 20) {
                let found = lines::from(store, heads, channel, at as u64).await.unwrap();
                assert_eq!(text_of(&found[..1]), text_of(&known[at..=at]));
            }
            assert!(lines::from(store, heads, channel, known.len() as u64).await.unwrap().is_empty());
        }
        for at in (0..=all.raw.len()).step_by(1 + all.raw.len() / 20) {
            let found = lines::log_bytes(store, heads, LOG, at as u64, 100).await.unwrap();
            assert_eq!(found, all.raw[at..all.raw.len().min(at + 100)]);
        }
        for at in 0..=all.images.len() {
            let found = images::from(store, heads, PICTURE, at as u64, 1).await.unwrap();
            assert_eq!(found.len(), usize::from(at < all.images.len()));
            assert!(found.iter().all(|image| image.index == at as u64));
        }
        let mut damage = Vec::new();
        let mut tell = |found: Damage| damage.push(found.to_string());
        store.check(self.engine.blobs(), &mut tell).await;
        // No blob is there, and marks stand for no frame.
        assert!(damage.is_empty(), "{damage:#?}");
    }
}

/// NaN is equal to itself in words.
fn text_of(lines: &[Line]) -> String {
    format!("{lines:?}")
}

#[derive(Debug, Default)]
struct All {
    notes: Vec<Line>,
    log: Vec<Line>,
    raw: Vec<u8>,
    images: Vec<ImagePoint>,
    summaries: String,
}

fn in_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn rounds_change_nothing_that_is_read(acts in prop::collection::vec(act(), 1..60)) {
        let open = in_runtime(async {
            let mut world = World::new().await;
            for act in &acts {
                if let Act::Frame(parts, second) = act {
                    world.frame(parts, *second).await;
                }
            }
            world.all().await
        });
        in_runtime(async {
            let mut world = World::new().await;
            for act in &acts {
                match act {
                    Act::Frame(parts, second) => world.frame(parts, *second).await,
                    Act::Seal => world.seal().await,
                    Act::Die(commit, after) => world.die(*commit, *after).await,
                    Act::Restart => world.restart().await,
                }
            }
            let mixed = world.all().await;
            assert_eq!(format!("{mixed:?}"), format!("{open:?}"));
            world.check_places(&mixed).await;
            world.seal().await;
            world.restart().await;
            let sealed = world.all().await;
            assert_eq!(format!("{sealed:?}"), format!("{open:?}"));
            world.check_places(&sealed).await;
        });
    }
}

#[tokio::test(start_paused = true)]
async fn much_is_sealed_in_several_steps() {
    let mut world = World::new().await;
    for _ in 0..500 {
        world.frame(&[Part::Log(0, b"line\n".to_vec(), 50_000)], false).await;
    }
    let open = world.all().await;
    world.seal().await;
    let state = &world.engine.store().read_channel_states(&JOB).await.unwrap()[&LOG];
    let ChannelState::Log(log) = &state.state else { panic!() };
    assert_eq!((log.length, state.seq), (500 * 50_005, 500));
    let sealed = world.all().await;
    assert_eq!((sealed.raw == open.raw, sealed.log.len()), (true, open.log.len()));
    world.check_places(&sealed).await;
}

#[tokio::test(start_paused = true)]
async fn slow_channels_have_few_sheets() {
    let mut world = World::new().await;
    for at in 0..300 {
        world.frame(&[Part::Texts(vec![format!("epoch {at} ends")], 0)], false).await;
        world.seal().await;
    }
    let mut told = 0;
    let checked = world.engine.store().check(world.engine.blobs(), &mut |_| told += 1).await;
    assert_eq!((checked.sheets, checked.frames, told), (1, 0, 0));
    assert_eq!(world.all().await.notes.len(), 300);
}

#[tokio::test(start_paused = true)]
async fn frames_whose_clearing_failed_are_cleared_by_the_next_round() {
    let mut world = World::new().await;
    for _ in 0..600 {
        world.frame(&[Part::Numbers(1)], false).await;
    }
    world.kv.script([Trouble::None, Trouble::None, Trouble::UnknownLost]);
    world.engine.core.seal_job(&world.heads).await.unwrap_err();
    let frames =
        async |world: &World| world.engine.store().check(world.engine.blobs(), &mut |_| ()).await.frames;
    assert_eq!(frames(&world).await, 600);
    world.seal().await;
    assert_eq!(frames(&world).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_round_of_many_commits_may_die_at_each_of_them() {
    // Rows for which the last sheet is light, is written again, and then ends before its old rows did: the full sheet is
    // halved twice, and the last of the old rows is in the second quarter.
    let part = |weight: usize| [Part::Log(0, vec![], weight - 24)];
    for commit in 0..4 {
        for after in [false, true] {
            let mut world = World::new().await;
            for _ in 0..9 {
                world.frame(&part(3_595), false).await;
            }
            world.seal().await;
            for _ in 0..1_000 {
                world.frame(&part(3_584), false).await;
            }
            let before = world.all().await;
            let commits = |world: &World| {
                let store = world.engine.store().clone();
                async move { store.find_seal(&JOB).await.unwrap().unwrap().commits }
            };
            let begun = commits(&world).await;
            world.die(commit, after).await;
            let made = commits(&world).await - begun;
            assert_eq!(made, commit as u64 + u64::from(after), "the round has more commits");
            assert_eq!(world.all().await.raw, before.raw);
            world.seal().await;
            assert_eq!(world.all().await.raw, before.raw);
            world.restart().await;
            assert_eq!(world.all().await.raw, before.raw);
            world.check_places(&before).await;
        }
    }
}
