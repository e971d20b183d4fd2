//! The table as it is asked and followed: by requests, while points arrive and jobs change.

use expect_test::{Expect, expect};
use neptune_wire::job::{Exit, JobsQuery, Param, PatchJob};
use neptune_wire::life::DeleteQuery;
use neptune_wire::live::Topic;
use neptune_wire::table::{ColumnsQuery, GroupPage, JobsAnswer, RowPage};
use neptune_wire::{
    ChannelKind, CreateJob, Digest, JobRef, Micros, Number, ParamName, ParamValue, ProjectKey, SessionId, Tag,
};

use super::shown;
use crate::heads::DIRECT;
use crate::ingest::lane::{Entry, JsonEntry};
use crate::testing::*;
use crate::{Engine, Grant, LiveEvent, Refused, Subscription};

const NAMES: [&str; 6] = ["alpha", "beta", "gamma", "delta", "alpha two", ""];

struct World {
    engine: Engine,
    grant: Grant,
    kv: TroubledKv,
}

/// Six jobs: lr 0.1 and 0.01 in turns, a tag for every second; the first four run and have a loss.
async fn world() -> World {
    let (engine, grant, kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    for (seed, name) in (1_u8..).zip(NAMES) {
        let lr = if seed % 2 == 0 { 0.01 } else { 0.1 };
        let create = CreateJob {
            name: name.into(),
            params: vec![Param {
                name: ParamName::new("lr").unwrap(),
                value: ParamValue::Double(Number(lr)),
                description: String::new(),
                required: false,
                default: None,
            }],
            tags: if seed % 2 == 0 {
                vec![Tag::new("even").unwrap(), Tag::new("n").unwrap()]
            } else {
                vec![]
            },
            created_micros: Some(Micros(i64::from(seed))),
            ..create_job(seed)
        };
        engine.create_job(&grant, create, uid(0), NOW).await.unwrap();
    }
    let world = World { engine, grant, kv };
    for seed in 1..=4 {
        world.engine.claim_job(&world.grant, &JobRef::Uid(uid(seed)), claim(seed), NOW).await.unwrap();
        world.send(seed, 1, &[f64::from(seed), [0.4, 0.3, f64::NAN, 0.1][usize::from(seed) - 1]]).await;
    }
    world
}

impl World {
    async fn send(&self, seed: u8, seq: u64, losses: &[f64]) {
        let id = SessionId::from_bytes([seed; 16]);
        let channels = vec![channel(0, "loss", ChannelKind::Numeric)];
        let (mut sink, mut events, _) =
            writer(&self.engine, &self.grant, &JobRef::Uid(uid(seed)), id, channels).await;
        let points: Vec<(f64, f64)> = (0..).map(f64::from).zip(losses.iter().copied()).collect();
        sink.submit_frame(numbers(id, seq, 0, &points), NOW).await;
        acked(&mut events, id, seq).await;
    }

    async fn rows(&self, query: JobsQuery) -> RowPage {
        match self.engine.list_jobs(&self.grant, &query, NOW).await.unwrap() {
            JobsAnswer::Rows(page) => page,
            other => panic!("rows were asked for: {other:?}"),
        }
    }

    async fn groups(&self, query: JobsQuery) -> GroupPage {
        match self.engine.list_jobs(&self.grant, &query, NOW).await.unwrap() {
            JobsAnswer::Groups(page) => page,
            other => panic!("groups were asked for: {other:?}"),
        }
    }

    async fn check_rows(&self, filter: &str, sort: &str, columns: &str, expected: Expect) {
        let page = self.rows(query(filter, sort, columns)).await;
        let rows = page.items.iter().map(|row| format!("{} {}\n", row.id, shown(&row.values)));
        expected.assert_eq(&rows.collect::<String>());
    }

    async fn follow(&self, filter: &str, columns: &str) -> Subscription {
        let topic = Topic::Rows {
            project: Some(ProjectKey::new("TRIG").unwrap()),
            filter: Some(filter.into()).filter(|text: &String| !text.is_empty()),
            columns: Some(columns.into()).filter(|text: &String| !text.is_empty()),
        };
        self.engine.subscribe(&self.grant, &topic, NOW).await.unwrap()
    }

    async fn end(&self, seed: u8) {
        let exit = serde_json::json!({ "how": { "kind": "code", "code": 0 }, "ended_micros": NOW.0 });
        let exit: Exit = serde_json::from_value(exit).unwrap();
        self.engine.end_attempt(&self.grant, &JobRef::Uid(uid(seed)), FIRST, exit, NOW).await.unwrap();
    }

    async fn delete(&self, seed: u8, now: bool) {
        let delete = DeleteQuery { now, reason: None };
        self.engine.delete_job(&self.grant, &JobRef::Uid(uid(seed)), delete, NOW).await.unwrap();
    }

    async fn patch(&self, seed: u8, patch: PatchJob) {
        self.engine.patch_job(&self.grant, &JobRef::Uid(uid(seed)), patch, NOW).await.unwrap();
    }
}

fn query(filter: &str, sort: &str, columns: &str) -> JobsQuery {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    JobsQuery { filter: some(filter), sort: some(sort), columns: some(columns), ..JobsQuery::default() }
}

#[tokio::test(start_paused = true)]
async fn rows_know_what_was_acknowledged() {
    let world = world().await;
    world
        .check_rows(
            "metric.loss.max >= 1",
            "metric.loss",
            "metric.loss,metric.loss.count,param.lr,tag,state,name,attempt",
            expect![[r#"
                TRIG-4 0.1 2 0.01 ["even", "n"] "running" "delta" 1
                TRIG-2 0.3 2 0.01 ["even", "n"] "running" "beta" 1
                TRIG-1 0.4 2 0.1 null "running" "alpha" 1
                TRIG-3 NaN 2 0.1 null "running" "gamma" 1
            "#]],
        )
        .await;
    world.send(2, 2, &[0.05]).await;
    world
        .check_rows(
            "metric.loss < 0.2",
            "-metric.loss.min,name",
            "metric.loss,metric.loss.mean",
            expect![[r#"
                TRIG-4 0.1 2.05
                TRIG-2 0.05 0.7833333333333332
            "#]],
        )
        .await;
    // Ids say where rows of no value stand: last, the newest first.
    world
        .check_rows(
            "",
            "-metric.loss,created",
            "name",
            expect![[r#"
            TRIG-1 "alpha"
            TRIG-4 "delta"
            TRIG-2 "beta"
            TRIG-3 "gamma"
            TRIG-5 "alpha two"
            TRIG-6 ""
        "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_start_finds_the_same_rows() {
    let world = world().await;
    let asked =
        query("metric.loss < 1 or param.lr = 0.1", "metric.loss.min,-name", "metric.loss.min,name,param.lr");
    let before = world.rows(asked.clone()).await;
    world.engine.stop().await;
    let engine = engine_over(world.kv.reborn()).await;
    let grant = everything(&engine).await;
    let world = World { engine, grant, kv: world.kv.reborn() };
    assert_eq!(world.rows(asked).await, before);
    assert_eq!(before.total, 5);
}

#[tokio::test(start_paused = true)]
async fn groups_sum_up_and_say_how_to_find_their_rows() {
    let world = world().await;
    let mut asked = JobsQuery { group: Some("tag,param.lr".into()), ..query("", "", "metric.loss.min") };
    let page = world.groups(asked.clone()).await;
    let mut lines = String::new();
    for group in &page.items {
        let sum = &group.columns[0];
        lines += &format!(
            "{} jobs={} count={} min={:?} of {:?} max={:?} mean={:?} last of {:?} by {}\n",
            shown(&group.values),
            group.jobs,
            sum.count,
            sum.min.map(|number| number.0),
            sum.min_job.as_ref().map(|id| id.number),
            sum.max.map(|number| number.0),
            sum.mean.map(|number| number.0),
            sum.last_job.as_ref().map(|id| id.number),
            group.filter,
        );
        let rows = world.rows(query(&group.filter, "", "id")).await;
        assert_eq!(rows.total, group.jobs, "{}", group.filter);
    }
    expect![[r#"
        "even" 0.01 jobs=3 count=2 min=Some(0.1) of Some(4) max=Some(0.3) mean=Some(0.2) last of Some(4) by tag = "even" and param.lr = 0.01
        "n" 0.01 jobs=3 count=2 min=Some(0.1) of Some(4) max=Some(0.3) mean=Some(0.2) last of Some(4) by tag = "n" and param.lr = 0.01
        null 0.1 jobs=3 count=2 min=Some(0.4) of Some(1) max=Some(3.0) mean=Some(1.7000000000000002) last of Some(3) by tag is null and param.lr = 0.1
    "#]]
    .assert_eq(&lines);
    assert_eq!((page.total, page.next), (3, None));
    // One group a page, in either order of what is summed up.
    asked.limit = Some(1);
    for (sort, wanted) in [
        ("-metric.loss.min", [3.0, 0.3, 0.3]),
        ("metric.loss.min,-tag", [0.3, 0.3, 3.0]),
        ("-jobs", [0.3, 0.3, 3.0]),
    ] {
        asked.sort = Some(sort.into());
        asked.cursor = None;
        let mut seen = Vec::new();
        loop {
            let page = world.groups(asked.clone()).await;
            seen.extend(page.items.iter().map(|group| group.columns[0].max.unwrap().0));
            asked.cursor = page.next;
            if asked.cursor.is_none() {
                break;
            }
        }
        assert_eq!(seen, wanted, "{sort}");
    }
}

#[tokio::test(start_paused = true)]
async fn columns_are_found() {
    let world = world().await;
    let properties = [("git branch".to_owned(), Some("main".to_owned()))].into();
    world.patch(6, PatchJob { properties, ..PatchJob::default() }).await;
    let list = async |prefix: Option<&str>, limit, cursor: Option<String>| {
        let query =
            ColumnsQuery { prefix: prefix.map(str::to_owned), limit, cursor, ..ColumnsQuery::default() };
        let page = world.engine.list_columns(&world.grant, &query).await.unwrap();
        let items = page.items.iter().map(|column| format!("{} {}", column.column, column.jobs));
        (items.collect::<Vec<_>>(), page.next, page.total)
    };
    let all = ["metric.loss 4", "param.lr 6", "property.\"git branch\" 1"];
    assert_eq!(list(None, None, None).await, (all.map(str::to_owned).to_vec(), None, 3));
    assert_eq!(list(Some("metric."), None, None).await.0, all[..1]);
    assert_eq!(list(Some("L"), None, None).await.0, all[..2]);
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let (page, next, total) = list(None, Some(1), cursor).await;
        assert_eq!(total, 3);
        seen.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, all);
    let removed = [("git branch".to_owned(), None)].into();
    world.patch(6, PatchJob { properties: removed, ..PatchJob::default() }).await;
    assert_eq!(list(None, None, None).await.2, 2);
}

#[tokio::test(start_paused = true)]
async fn refusals_name_the_parameter_and_the_character() {
    let world = world().await;
    for (asked, field, column) in [
        (query("metric.loss <", "", ""), "filter", 14),
        (query("metric.loss < abc", "", ""), "filter", 15),
        (query("", "size", ""), "sort", 1),
        (query("", "", "name,"), "columns", 6),
        (JobsQuery { group: Some("name tag".into()), ..JobsQuery::default() }, "group", 6),
    ] {
        match world.engine.list_jobs(&world.grant, &asked, NOW).await {
            Err(Refused::Text { field: found, column: at, .. }) => assert_eq!((found, at), (field, column)),
            other => panic!("{asked:?}: {other:?}"),
        }
    }
    let first = world.rows(JobsQuery { limit: Some(1), ..query("", "name", "name") }).await;
    let other_order = JobsQuery { cursor: first.next, ..query("", "-name", "name") };
    for wrong in [
        other_order,
        query("", "uid", ""),
        JobsQuery { group: Some("uid".into()), ..JobsQuery::default() },
        JobsQuery { group: Some("tag,tag,tag,tag".into()), ..JobsQuery::default() },
        JobsQuery { group: Some("param.lr,tag,attribute.tags".into()), ..JobsQuery::default() },
        JobsQuery { group: Some("tag".into()), ..query("", "name", "") },
        JobsQuery { search: Some("a ".repeat(33)), ..JobsQuery::default() },
    ] {
        let refused = world.engine.list_jobs(&world.grant, &wrong, NOW).await;
        assert!(matches!(refused, Err(Refused::Field { .. })), "{wrong:?}: {refused:?}");
    }
}

async fn next(follow: &mut Subscription) -> String {
    let event = tokio::time::timeout(std::time::Duration::from_secs(60), follow.next());
    match event.await.expect("an event in time").expect("the engine lives") {
        LiveEvent::Row { row, entered } => {
            format!("{} {} {}", if entered { "entered" } else { "changed" }, row.id, shown(&row.values))
        }
        LiveEvent::Left(job) => format!("left {}", job.as_bytes()[0]),
        LiveEvent::Job(job) => format!("job {}", job.id),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn followers_are_told_what_enters_changes_and_leaves() {
    let world = world().await;
    let mut low = world.follow("metric.loss < 0.35", "metric.loss,name").await;
    let mut whole = world.follow("tag = even", "").await;
    // Of no interest to the first: it does not pass, before and after.
    world.send(1, 2, &[0.4]).await;
    world.send(1, 3, &[0.2]).await;
    assert_eq!(next(&mut low).await, "entered TRIG-1 0.2 \"alpha\"");
    world.send(1, 4, &[0.25]).await;
    assert_eq!(next(&mut low).await, "changed TRIG-1 0.25 \"alpha\"");
    world.send(1, 5, &[7.0]).await;
    assert_eq!(next(&mut low).await, "left 1");
    // A column that was not asked for changes nothing for this follower; the name does.
    world.patch(4, PatchJob { name: Some("epsilon".into()), ..PatchJob::default() }).await;
    assert_eq!(next(&mut low).await, "changed TRIG-4 0.1 \"epsilon\"");
    world.patch(4, PatchJob { description: Some("long".into()), ..PatchJob::default() }).await;
    world.send(2, 2, &[0.3]).await;
    assert_eq!(next(&mut low).await, "changed TRIG-2 0.3 \"beta\"");
    assert_eq!(next(&mut whole).await, "job TRIG-4");
    let fresh = CreateJob { tags: vec![Tag::new("even").unwrap()], ..create_job(9) };
    world.engine.create_job(&world.grant, fresh, uid(0), NOW).await.unwrap();
    while next(&mut whole).await != "job TRIG-7" {}
    world.patch(9, PatchJob { tags: Some(vec![]), ..PatchJob::default() }).await;
    assert_eq!(next(&mut whole).await, "left 9");
    let wrong = Topic::Rows { project: None, filter: Some("name <".into()), columns: None };
    assert!(matches!(
        world.engine.subscribe(&world.grant, &wrong, NOW).await,
        Err(Refused::Text { column: 7, .. })
    ));
}

/// What every kind of question says of the jobs that are deleted, or of those that are not.
async fn ask_of(world: &World, deleted: Option<bool>) -> String {
    let ids = |page: &RowPage| {
        let ids: Vec<String> = page.items.iter().map(|row| row.id.number.to_string()).collect();
        format!("{} of {}", ids.join(" "), page.total)
    };
    let asked = |filter| JobsQuery { deleted, ..query(filter, "id", "id") };
    let all = ids(&world.rows(asked("")).await);
    let low = ids(&world.rows(asked("metric.loss < 1")).await);
    let other = ids(&world.rows(asked("not state = running")).await);
    let word = ids(&world.rows(JobsQuery { search: Some("TA".into()), ..asked("") }).await);
    let whole = JobsQuery { deleted, sort: Some("id".into()), ..JobsQuery::default() };
    let JobsAnswer::Jobs(whole) = world.engine.list_jobs(&world.grant, &whole, NOW).await.unwrap() else {
        panic!("jobs were asked for");
    };
    assert!(whole.items.iter().all(|job| job.deleted.is_some() == deleted.unwrap_or(false)));
    let groups =
        world.groups(JobsQuery { deleted, group: Some("param.lr".into()), ..JobsQuery::default() }).await;
    let groups: Vec<String> =
        groups.items.iter().map(|group| format!("{}: {}", shown(&group.values), group.jobs)).collect();
    let columns = ColumnsQuery { deleted, ..ColumnsQuery::default() };
    let columns = world.engine.list_columns(&world.grant, &columns).await.unwrap();
    let columns: Vec<String> =
        columns.items.iter().map(|column| format!("{} {}", column.column, column.jobs)).collect();
    format!(
        "all {all}; low {low}; not running {other}; word {word}; jobs {}; {groups:?}; {columns:?}",
        whole.items.len()
    )
}

#[tokio::test(start_paused = true)]
async fn deleted_jobs_are_asked_about_apart() {
    let world = world().await;
    world.end(4).await;
    let everyone = ask_of(&world, None).await;
    let mut follow = [
        world.follow("metric.loss < 0.35", "metric.loss,name").await,
        world.follow("", "name").await,
        world.follow("tag = even", "").await,
        world.follow("", "").await,
    ];
    world.delete(4, false).await;
    for follow in &mut follow {
        assert_eq!(next(follow).await, "left 4");
    }
    let kept = expect![[
        r#"all 1 2 3 5 6 of 5; low 1 2 of 2; not running 5 6 of 2; word 2 of 1; jobs 5; ["0.01: 2", "0.1: 3"]; ["metric.loss 3", "param.lr 5"]"#
    ]];
    let deleted = expect![[
        r#"all 4 of 1; low 4 of 1; not running 4 of 1; word 4 of 1; jobs 1; ["0.01: 1"]; ["metric.loss 1", "param.lr 1"]"#
    ]];
    kept.assert_eq(&ask_of(&world, None).await);
    kept.assert_eq(&ask_of(&world, Some(false)).await);
    deleted.assert_eq(&ask_of(&world, Some(true)).await);
    world.engine.restore_job(&world.grant, &JobRef::Uid(uid(4)), NOW).await.unwrap();
    for (follow, told) in follow.iter_mut().zip([
        "entered TRIG-4 0.1 \"delta\"",
        "entered TRIG-4 \"delta\"",
        "job TRIG-4",
        "job TRIG-4",
    ]) {
        assert_eq!(next(follow).await, told);
    }
    assert_eq!(ask_of(&world, None).await, everyone);
    world.delete(4, false).await;
    world.engine.stop().await;
    let engine = engine_over(world.kv.reborn()).await;
    let grant = everything(&engine).await;
    let world = World { engine, grant, kv: world.kv.reborn() };
    kept.assert_eq(&ask_of(&world, None).await);
    deleted.assert_eq(&ask_of(&world, Some(true)).await);
    let mut follow = world.follow("", "name").await;
    world.delete(4, true).await;
    kept.assert_eq(&ask_of(&world, None).await);
    assert!(ask_of(&world, Some(true)).await.starts_with("all  of 0;"));
    // Removed at once, without being deleted before.
    world.delete(6, true).await;
    assert_eq!(next(&mut follow).await, "left 6");
    // Its row is another's now.
    let fresh = CreateJob { name: "seventh".into(), ..create_job(7) };
    world.engine.create_job(&world.grant, fresh, uid(0), NOW).await.unwrap();
    assert_eq!(next(&mut follow).await, "entered TRIG-7 \"seventh\"");
}

#[tokio::test(start_paused = true)]
async fn a_whole_job_is_told_when_it_changed_itself() {
    let world = world().await;
    let mut whole = world.follow("tag = even", "").await;
    // Its metrics are another thing; so is a job that changes as it was before the follower came.
    world.send(2, 2, &[0.3]).await;
    world.send(4, 2, &[0.3]).await;
    world.patch(4, PatchJob { name: Some("epsilon".into()), ..PatchJob::default() }).await;
    assert_eq!(next(&mut whole).await, "job TRIG-4");
    world.send(4, 3, &[0.2]).await;
    world.send(2, 3, &[0.2]).await;
    world.patch(2, PatchJob { description: Some("long".into()), ..PatchJob::default() }).await;
    assert_eq!(next(&mut whole).await, "job TRIG-2");
}

/// Questions take in what is new, and so wake those who follow; these do not look more often for it.
#[tokio::test(start_paused = true)]
async fn followers_are_told_at_their_own_pace() {
    let world = world().await;
    let mut follow = world.follow("metric.loss < 9", "metric.loss").await;
    let mut told = Vec::new();
    for seq in 2..6 {
        world.send(1, seq, &[1.0 / seq as f64]).await;
        world.rows(query("", "", "metric.loss")).await;
        assert!(next(&mut follow).await.starts_with("changed TRIG-1"));
        told.push(tokio::time::Instant::now());
    }
    let paces = told.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(
        paces.clone().all(|pace| pace >= std::time::Duration::from_millis(50)),
        "{:?}",
        paces.collect::<Vec<_>>()
    );
}

/// A follower that is cut off while it waits misses nothing.
#[tokio::test(start_paused = true)]
async fn a_wait_that_is_cut_off_misses_nothing() {
    let world = world().await;
    let mut follow = world.follow("", "metric.loss").await;
    let mut told = 0;
    for seq in 2..40 {
        world.send(1, seq, &[seq as f64]).await;
        // Cut off after the first time it was looked at, wherever it is then.
        for _ in 0..seq % 5 {
            let now = std::future::ready(());
            tokio::select! {
                biased;
                event = follow.next() => told += usize::from(event.is_some()),
                () = now => {}
            }
        }
    }
    let last = loop {
        let event = next(&mut follow).await;
        if event.ends_with(" 39.0") {
            break event;
        }
    };
    assert_eq!(last, "changed TRIG-1 39.0", "after {told} others");
}

/// Before the first tick, too, `-7d` is a week before now.
#[tokio::test(start_paused = true)]
async fn a_follower_knows_the_time_when_it_begins() {
    let world = world().await;
    let mut follow = world.follow("started > -7d", "name").await;
    // Created in 1970 by its own word and claimed now, so it enters; it had not started before.
    world.engine.claim_job(&world.grant, &JobRef::Uid(uid(5)), claim(5), NOW).await.unwrap();
    assert_eq!(next(&mut follow).await, "entered TRIG-5 \"alpha two\"");
    let mut old = world.follow("created > -7d", "name").await;
    world.patch(4, PatchJob { name: Some("epsilon".into()), ..PatchJob::default() }).await;
    let fresh = CreateJob { name: "fresh".into(), created_micros: Some(NOW), ..create_job(7) };
    world.engine.create_job(&world.grant, fresh, uid(0), NOW).await.unwrap();
    assert_eq!(next(&mut old).await, "entered TRIG-7 \"fresh\"", "nobody else was created this week");
}

#[tokio::test(start_paused = true)]
async fn groups_sum_up_numbers_alone() {
    let world = world().await;
    let asked =
        JobsQuery { group: Some("param.lr".into()), ..query("", "", "state,id,uid,host,param.lr,attempt") };
    let mut lines = String::new();
    for group in world.groups(asked).await.items {
        for sum in &group.columns {
            let number = |found: Option<Number>| found.map(|number| number.0);
            lines += &format!(
                "{:?} to {:?}, mean {:?}, count {}, last {}\n",
                number(sum.min),
                number(sum.max),
                number(sum.mean),
                sum.count,
                shown(std::slice::from_ref(&sum.last)),
            );
        }
    }
    expect![[r#"
        None to None, mean None, count 3, last "created"
        None to None, mean None, count 3, last "TRIG-6"
        None to None, mean None, count 3, last "06060606060606060606060606060606"
        None to None, mean None, count 2, last "box"
        Some(0.01) to Some(0.01), mean Some(0.01), count 3, last 0.01
        Some(1.0) to Some(1.0), mean Some(1.0), count 2, last 1
        None to None, mean None, count 3, last "created"
        None to None, mean None, count 3, last "TRIG-5"
        None to None, mean None, count 3, last "05050505050505050505050505050505"
        None to None, mean None, count 2, last "box"
        Some(0.1) to Some(0.1), mean Some(0.1), count 3, last 0.1
        Some(1.0) to Some(1.0), mean Some(1.0), count 2, last 1
    "#]]
    .assert_eq(&lines);
}

/// Points over REST are acknowledged once every question will know them: not before their job is marked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::await_holding_lock)] // by the test alone, which waits for what happens before that lock is asked for
async fn json_is_acknowledged_when_its_job_is_marked() {
    let world = world().await;
    let core = &world.engine.core;
    let cell = core.registry.find_uid(&uid(1)).unwrap();
    let heads = cell.heads(core).await.unwrap();
    let mut grown = heads.grown.subscribe();
    let (stored, mut told) = tokio::sync::oneshot::channel();
    let entry = JsonEntry {
        cell: cell.clone(),
        heads: heads.clone(),
        hash: Digest::from_bytes([1; 32]),
        asked: [1; 32],
        frames: vec![numbers(DIRECT, 1, 0, &[(9.0, 0.01)])],
        points: 1,
        stored,
        _room: core.lanes.room().try_acquire_owned().unwrap(),
    };
    let marks = core.registry.table.marks().cells.lock().unwrap();
    core.lanes.lane_of(&cell.uid).line_up(Entry::Json(entry), &core.store.limits());
    // Those who follow the job are woken before it is marked.
    grown.changed().await.unwrap();
    assert!(told.try_recv().is_err(), "it is not marked yet");
    drop(marks);
    told.await.unwrap().unwrap();
    let found = world.rows(query("metric.loss < 0.02", "", "metric.loss")).await;
    assert_eq!(found.total, 1);
}

/// A fault of the table is the table's alone: points are stored, and a stop closes the store.
#[tokio::test(start_paused = true)]
async fn a_table_that_fails_is_in_nobodys_way() {
    let world = world().await;
    let core = world.engine.core.clone();
    let broken = std::thread::spawn(move || {
        let _rows = core.registry.table.write();
        panic!("as a fault would");
    });
    assert!(broken.join().is_err());
    let asked = world.engine.list_jobs(&world.grant, &query("", "", "name"), NOW).await;
    assert!(matches!(asked, Err(Refused::Storage(_))), "{asked:?}");
    world.send(1, 2, &[0.5]).await;
    let core = &world.engine.core;
    let cell = core.registry.find_uid(&uid(1)).unwrap();
    core.registry.table.note_unread(&cell);
    core.seal_job(&cell.find_heads().unwrap()).await.unwrap();
    assert_eq!(world.engine.stats().jobs, 6);
    world.engine.stop().await;
    let engine = engine_over(world.kv.reborn()).await;
    let grant = everything(&engine).await;
    let world = World { engine, grant, kv: world.kv.reborn() };
    let rows = world.rows(query("id = TRIG-1", "", "metric.loss,metric.loss.count")).await;
    assert_eq!(shown(&rows.items[0].values), "0.5 3");
}
