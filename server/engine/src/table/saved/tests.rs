//! What is saved of the table is what the jobs hold, or is passed over: after every end of a process, wherever in a save or
//! a sealing it came, the next one answers the same.

use neptune_wire::job::JobsQuery;
use neptune_wire::table::{JobsAnswer, TableValue};
use neptune_wire::{ChannelKind, JobRef, Number, SessionId};
use proptest::prelude::*;

use super::*;
use crate::testing::*;
use crate::{Engine, Grant, Refused};

const JOBS: u8 = 5;

#[derive(Debug, Clone)]
enum Act {
    /// Points of a job, acknowledged.
    Send {
        job: u8,
        values: Vec<f64>,
    },
    Seal {
        job: u8,
    },
    Save,
    /// The process dies at one of the next commits, while it saves.
    DieSaving {
        after: u8,
        written: bool,
    },
    DieSealing {
        job: u8,
        after: u8,
        written: bool,
    },
    /// The process ends in order, and another begins.
    Restart,
}

fn act() -> impl Strategy<Value = Act> {
    let job = || 1..=JOBS;
    let value = prop_oneof![Just(f64::NAN), -9.0..9.0];
    prop_oneof![
        6 => (job(), prop::collection::vec(value, 1..4)).prop_map(|(job, values)| Act::Send { job, values }),
        4 => job().prop_map(|job| Act::Seal { job }),
        3 => Just(Act::Save),
        2 => (0..3_u8, any::<bool>()).prop_map(|(after, written)| Act::DieSaving { after, written }),
        2 => (job(), 0..3_u8, any::<bool>())
            .prop_map(|(job, after, written)| Act::DieSealing { job, after, written }),
        2 => Just(Act::Restart),
    ]
}

struct World {
    kv: TroubledKv,
    engine: Engine,
    grant: Grant,
    /// What was acknowledged of each job, and in how many frames.
    sent: Vec<(Vec<f64>, u64)>,
}

impl World {
    async fn new() -> World {
        let (engine, grant, kv) = engine().await;
        for job in 1..=JOBS {
            running_job(&engine, &grant, job).await;
        }
        World { kv, engine, grant, sent: vec![(vec![], 0); usize::from(JOBS)] }
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Send { job, values } => self.send(job, &values).await,
            Act::Seal { job } => {
                let cell = self.engine.core.registry.find_uid(&uid(job)).unwrap();
                let heads = cell.heads(&self.engine.core).await.unwrap();
                self.engine.core.seal_job(&heads).await.unwrap();
            }
            Act::Save => self.engine.core.save_table().await,
            Act::DieSaving { after, written } => {
                self.doom(after, written);
                let core = self.engine.core.clone();
                let death = self.kv.death();
                tokio::select! {
                    () = core.save_table() => {}
                    () = death => {}
                }
                self.next_life().await;
            }
            Act::DieSealing { job, after, written } => {
                let core = self.engine.core.clone();
                let cell = core.registry.find_uid(&uid(job)).unwrap();
                let heads = cell.heads(&core).await.unwrap();
                self.doom(after, written);
                let death = self.kv.death();
                tokio::select! {
                    _ = core.seal_job(&heads) => {}
                    () = death => {}
                }
                self.next_life().await;
            }
            Act::Restart => {
                self.engine.stop().await;
                self.next_life().await;
            }
        }
    }

    fn doom(&self, after: u8, written: bool) {
        let alive = std::iter::repeat_n(Trouble::None, usize::from(after));
        self.kv.script(alive.chain([if written { Trouble::DiesAfter } else { Trouble::DiesBefore }]));
    }

    async fn next_life(&mut self) {
        self.kv.die();
        self.kv = self.kv.reborn();
        self.engine = engine_over(self.kv.clone()).await;
        self.grant = everything(&self.engine).await;
    }

    async fn send(&mut self, job: u8, values: &[f64]) {
        let (sent, frames) = &mut self.sent[usize::from(job) - 1];
        let id = SessionId::from_bytes([job; 16]);
        let channels = vec![channel(0, "loss", ChannelKind::Numeric)];
        let (mut sink, mut events, _) =
            writer(&self.engine, &self.grant, &JobRef::Uid(uid(job)), id, channels).await;
        *frames += 1;
        let points: Vec<(f64, f64)> = values.iter().map(|value| (0.0, *value)).collect();
        sink.submit_frame(numbers(id, *frames, 0, &points), NOW).await;
        acked(&mut events, id, *frames).await;
        sent.extend(values);
    }

    /// The counts of the jobs' channel, by a question that waits for the table as any other.
    async fn counts(&self) -> Vec<Option<i64>> {
        let query = JobsQuery {
            sort: Some("id".into()),
            columns: Some("metric.loss.count".into()),
            ..JobsQuery::default()
        };
        let JobsAnswer::Rows(page) = self.engine.list_jobs(&self.grant, &query, NOW).await.unwrap() else {
            panic!("rows were asked for");
        };
        let count = |value: &Option<TableValue>| match value {
            Some(TableValue::Integer(count)) => Some(*count),
            _ => None,
        };
        page.items.iter().map(|row| count(&row.values[0])).collect()
    }

    async fn check(&self) {
        let query = JobsQuery {
            sort: Some("id".into()),
            columns: Some("metric.loss.count,metric.loss.last,metric.loss.max".into()),
            ..JobsQuery::default()
        };
        let JobsAnswer::Rows(page) = self.engine.list_jobs(&self.grant, &query, NOW).await.unwrap() else {
            panic!("rows were asked for");
        };
        let found: Vec<String> = page.items.iter().map(|row| format!("{:?}", row.values)).collect();
        let wanted = self.sent.iter().map(|(values, _)| {
            let number = |value: Option<f64>| value.map(|value| TableValue::Number(Number(value)));
            let count = (!values.is_empty()).then_some(TableValue::Integer(values.len() as i64));
            let max = values.iter().copied().filter(|value| !value.is_nan()).reduce(f64::max);
            format!("{:?}", [count, number(values.last().copied()), number(max)])
        });
        assert_eq!(found, wanted.collect::<Vec<_>>());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_life_answers_what_was_acknowledged(acts in prop::collection::vec(act(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for act in acts {
                world.act(act).await;
                world.check().await;
            }
            world.act(Act::Restart).await;
            world.check().await;
        });
    }

    #[test]
    fn a_chunk_reads_back(rows in super::super::tests::model::rows(40), damage in prop::option::of((any::<prop::sample::Index>(), any::<u8>()))) {
        let table = super::super::tests::model::table(&rows);
        let commits = rows.iter().map(|row| (row.job.uid, row.job.id.number)).collect();
        let Some(mut bytes) = encode(&table, 0, &commits) else { return Ok(()) };
        if let Some((at, byte)) = damage {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
            // It may be read as something else, but is never a reason to fall.
            let _ = decode(&bytes);
            return Ok(());
        }
        let chunk = decode(&bytes).unwrap();
        prop_assert_eq!(chunk.rows.len(), rows.len());
        let mut again = Rows::default();
        for row in &chunk.rows {
            prop_assert!(again.put_back(u32::from(row.place), &row.uid));
            prop_assert_eq!(Some(&row.commits), commits.get(&row.uid));
        }
        for (name, cells) in &chunk.metrics {
            for (place, cells) in cells {
                again.take_metric(u32::from(*place), name, cells);
            }
        }
        for metric in table.metrics() {
            let found = &again.find_metric(&metric.name).unwrap().cells;
            for row in 0..CHUNK_ROWS {
                for lane in 0..LANES {
                    prop_assert_eq!(found.get(row, lane).to_bits(), metric.cells.get(row, lane).to_bits());
                }
            }
        }
    }
}

/// What is saved of a removed job goes with the next save; the others' is taken at a start as before.
#[tokio::test(start_paused = true)]
async fn a_removed_job_is_saved_no_more() {
    let mut world = World::new().await;
    for job in 1..=JOBS {
        world.send(job, &[f64::from(job)]).await;
        world.act(Act::Seal { job }).await;
    }
    world.act(Act::Save).await;
    let saved = async |world: &World| {
        let saved = world.engine.core.store.read_saved_table().await.unwrap();
        let rows = saved.chunks.iter().flat_map(|chunk| decode(&chunk.bytes).unwrap().rows);
        rows.map(|row| row.uid).collect::<BTreeSet<_>>()
    };
    let all: BTreeSet<JobUid> = (1..=JOBS).map(uid).collect();
    assert_eq!(saved(&world).await, all);
    let exit = serde_json::json!({ "how": { "kind": "code", "code": 0 }, "ended_micros": NOW.0 });
    let exit: neptune_wire::job::Exit = serde_json::from_value(exit).unwrap();
    let job = JobRef::Uid(uid(JOBS));
    world.engine.end_attempt(&world.grant, &job, FIRST, exit, NOW).await.unwrap();
    let delete = |now| neptune_wire::life::DeleteQuery { now, reason: None };
    world.engine.delete_job(&world.grant, &job, delete(false), NOW).await.unwrap();
    // It may come back, and may be looked at until then.
    world.act(Act::Save).await;
    assert_eq!(saved(&world).await, all);
    world.act(Act::Restart).await;
    let query =
        JobsQuery { deleted: Some(true), columns: Some("metric.loss.count".into()), ..JobsQuery::default() };
    let asked = world.engine.list_jobs(&world.grant, &query, NOW).await.unwrap();
    assert!(
        matches!(&asked, JobsAnswer::Rows(page) if page.items.len() == 1
        && page.items[0].values == [Some(TableValue::Integer(1))]),
        "{asked:?}"
    );
    world.engine.delete_job(&world.grant, &job, delete(true), NOW).await.unwrap();
    world.act(Act::Save).await;
    assert_eq!(saved(&world).await, (1..JOBS).map(uid).collect());
    world.sent.pop();
    world.check().await;
    world.act(Act::Restart).await;
    world.check().await;
}

/// A start after an orderly end reads no job's channels: all of it was saved.
#[tokio::test(start_paused = true)]
async fn what_was_saved_is_not_read_again() {
    let mut world = World::new().await;
    for job in 1..=JOBS {
        world.send(job, &[f64::from(job), 0.5]).await;
        world.act(Act::Seal { job }).await;
    }
    let unread = async |world: &World| {
        // An empty table over the same data; the process that writes it goes on.
        let engine = engine_over(TroubledKv::default()).await;
        let seals = world.engine.core.store.read_seals().await.unwrap();
        let seals: HashMap<JobUid, u64> = seals.into_iter().map(|(uid, seal)| (uid, seal.commits)).collect();
        let saved = world.engine.core.store.read_saved_table().await.unwrap();
        let known = |uid: &JobUid| world.engine.core.registry.find_uid(uid).is_some();
        let mut taken = HashSet::new();
        for chunk in &saved.chunks {
            let mut rows = engine.core.registry.table.write();
            take_chunk(&mut rows, chunk.chunk, &decode(&chunk.bytes).unwrap(), &seals, known, &mut taken);
        }
        seals.into_keys().filter(|uid| !taken.contains(uid)).collect::<Vec<_>>()
    };
    assert_eq!(unread(&world).await.len(), usize::from(JOBS));
    world.act(Act::Save).await;
    assert_eq!(unread(&world).await, []);
    // Sealed without any change of the table: the chunk is looked at again and saved once more.
    world.send(2, &[9.0]).await;
    world.act(Act::Save).await;
    world.act(Act::Seal { job: 2 }).await;
    assert_eq!(unread(&world).await, [uid(2)]);
    world.act(Act::Save).await;
    assert_eq!(unread(&world).await, []);
    // What was not looked at for long is not looked at any more, and nothing is left over.
    for _ in 0..2 * LOOKS {
        world.act(Act::Save).await;
    }
    let saved = world.engine.core.registry.table.saved.lock().await;
    assert!(saved.watched.is_empty() && saved.waste.is_empty());
    let stored = world.engine.core.store.read_saved_table().await.unwrap();
    assert_eq!(stored.parts.len(), stored.chunks.len());
}

/// All jobs with sealed points that were saved, and one that was sealed once more since, so that it is to be read.
async fn world_with_one_to_read() -> World {
    let mut world = World::new().await;
    for job in 1..=JOBS {
        world.send(job, &[f64::from(job)]).await;
        world.act(Act::Seal { job }).await;
    }
    world.act(Act::Save).await;
    world.send(2, &[9.0]).await;
    world.act(Act::Seal { job: 2 }).await;
    world.next_life().await;
    world
}

/// A stop before the table is filled saves nothing that hides what was not read.
#[tokio::test(start_paused = true)]
async fn a_stop_before_the_table_is_filled_hides_nothing() {
    let mut world = world_with_one_to_read().await;
    // The engine was opened, and nothing of its work in the background has begun.
    assert_eq!(world.engine.stats().jobs_without_metrics, 1);
    world.engine.stop().await;
    let query = JobsQuery { columns: Some("metric.loss".into()), ..JobsQuery::default() };
    let asked = world.engine.list_jobs(&world.grant, &query, NOW).await;
    assert!(matches!(asked, Err(Refused::Busy)), "nobody waits for a table that is not filled: {asked:?}");
    world.next_life().await;
    world.check().await;
    world.act(Act::Restart).await;
    world.check().await;
}

/// A job that cannot be read hides no other, is told of, and is read once it can be; so is what is saved meanwhile.
#[tokio::test(start_paused = true)]
async fn an_unreadable_job_is_read_once_it_can_be() {
    for restarts in [false, true] {
        let mut world = World::new().await;
        for job in 1..=JOBS {
            world.send(job, &[f64::from(job)]).await;
            world.act(Act::Seal { job }).await;
        }
        world.kv.die();
        world.kv = world.kv.reborn();
        world.kv.set_unreadable(Some(uid(3)));
        world.engine = engine_over(world.kv.clone()).await;
        world.grant = everything(&world.engine).await;
        assert_eq!(world.counts().await, [Some(1), Some(1), None, Some(1), Some(1)]);
        assert_eq!(world.engine.stats().jobs_without_metrics, 1);
        world.act(Act::Save).await;
        if restarts {
            // The next life can read it.
            world.act(Act::Restart).await;
            world.check().await;
            continue;
        }
        world.kv.set_unreadable(None);
        assert_eq!(world.engine.core.read_unread(&mut true).await, 0);
        world.check().await;
        assert_eq!(world.engine.stats().jobs_without_metrics, 0);
        world.act(Act::Save).await;
        world.act(Act::Restart).await;
        assert_eq!(world.engine.stats().jobs_without_metrics, 0, "what was read is saved");
        world.check().await;
    }
}

/// Frames that cannot be read end a list of all frames, and hide no other job's.
#[tokio::test(start_paused = true)]
async fn unreadable_frames_hide_no_other_jobs() {
    let mut world = World::new().await;
    for job in 1..=JOBS {
        world.send(job, &[f64::from(job)]).await;
    }
    world.kv.die();
    world.kv = world.kv.reborn();
    world.kv.set_unreadable(Some(uid(3)));
    world.engine = engine_over(world.kv.clone()).await;
    world.grant = everything(&world.engine).await;
    assert_eq!(world.counts().await, [Some(1), Some(1), None, Some(1), Some(1)]);
    assert_eq!(world.engine.stats().jobs_without_metrics, 1);
    world.kv.set_unreadable(None);
    assert_eq!(world.engine.core.read_unread(&mut true).await, 0);
    world.check().await;
}

/// Heads that were loaded and are let go of again during the fill leave their metrics behind.
#[tokio::test(start_paused = true)]
async fn heads_that_go_leave_their_metrics() {
    let world = world_with_one_to_read().await;
    let core = &world.engine.core;
    let cell = core.registry.find_uid(&uid(2)).unwrap();
    let heads = cell.heads(core).await.unwrap();
    cell.forget_unused(heads);
    assert!(cell.find_heads().is_some(), "the table has still to hear of them");
    world.check().await;
    // As it is after all images of a job were read.
    let heads = cell.find_heads().unwrap();
    core.registry.table.take_in_job(&cell);
    cell.forget_unused(heads);
    assert!(cell.find_heads().is_none());
    world.check().await;
}

/// What is in memory of a job and differs from what is stored is let go of; the table hears of the job again.
#[tokio::test(start_paused = true)]
async fn heads_that_are_stale_are_read_again() {
    let mut world = World::new().await;
    world.send(1, &[1.0]).await;
    world.check().await;
    world.send(1, &[2.0]).await;
    let core = world.engine.core.clone();
    let cell = core.registry.find_uid(&uid(1)).unwrap();
    let heads = cell.find_heads().unwrap();
    heads.make_stale();
    core.sealer.drop_stale(&heads);
    cell.forget_heads(&heads);
    drop(heads);
    core.registry.table.note_unread(&cell);
    // The table's task in the background is the one that reads it, whenever it comes to it.
    while world.engine.stats().jobs_without_metrics > 0 {
        tokio::task::yield_now().await;
    }
    world.check().await;
}
