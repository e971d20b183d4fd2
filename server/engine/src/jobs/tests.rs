//! Jobs over a store in memory: what is asked twice happens once, and what is answered is stored.

use std::collections::BTreeMap;

use neptune_wire::job::{Direction, ExitKind, History, JobsQuery, Metric, Param};
use neptune_wire::table::JobsAnswer;
use neptune_wire::{
    ChannelName, CreateProject, JobId, JobState, Number, ParamName, ParamValue, ProjectKey, Tag,
};

use super::*;
use crate::testing::*;

fn exit(code: i32) -> Exit {
    Exit { how: ExitKind::Code { code }, ended_micros: Micros(9), aborted: false, reason: None }
}

fn tags(names: &[&str]) -> Vec<Tag> {
    names.iter().map(|name| Tag::new(name).unwrap()).collect()
}

fn param(name: &str, value: ParamValue) -> Param {
    Param {
        name: ParamName::new(name).unwrap(),
        value,
        description: "what it is".into(),
        required: true,
        default: None,
    }
}

/// A job with something in every field.
fn full_job() -> CreateJob {
    CreateJob {
        description: "a long story".into(),
        params: vec![param("lr", ParamValue::Double(Number(0.1))), param("n", ParamValue::Integer(-3))],
        tags: tags(&["b", "a", "b"]),
        properties: BTreeMap::from([("owner".into(), "me".into()), ("".repeat(0) + "k", String::new())]),
        command: vec!["python".into(), "main.py".into()],
        environment: BTreeMap::from([("os".into(), "linux".into())]),
        metric: Some(Metric { channel: ChannelName::new("loss").unwrap(), direction: Direction::Minimize }),
        created_micros: Some(Micros(77)),
        ..create_job(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_job_is_created_once_and_kept_whole() {
    let (engine, grant, kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let job = engine.create_job(&grant, full_job(), uid(9), NOW).await.unwrap();
    assert_eq!((job.id.to_string(), job.uid), ("TRIG-1".into(), uid(1)));
    assert_eq!(job.tags, tags(&["a", "b"]));
    assert_eq!(job.created_micros, Micros(77));
    assert_eq!((job.state, job.attempt), (JobState::Created, None));
    let other = CreateJob { name: "other".into(), ..full_job() };
    assert_eq!(engine.create_job(&grant, other, uid(9), NOW).await.unwrap(), job);
    // Without a uid of its own a job gets the fresh one.
    let anonymous = CreateJob { uid: None, ..create_job(2) };
    let second = engine.create_job(&grant, anonymous, uid(9), NOW).await.unwrap();
    assert_eq!((second.id.number, second.uid, second.created_micros), (2, uid(9), NOW));
    let counted = engine.read_project(&grant, &job.project).await.unwrap();
    assert_eq!(counted.jobs, 2);

    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    for reference in ["TRIG-1", &uid(1).to_string()] {
        assert_eq!(engine.read_job(&grant, &reference.parse().unwrap()).await.unwrap(), job);
    }
    assert_eq!(engine.create_job(&grant, full_job(), uid(8), NOW).await.unwrap(), job);
    let third = engine.create_job(&grant, create_job(3), uid(8), NOW).await.unwrap();
    assert_eq!(third.id.number, 3);
    assert_eq!(engine.read_project(&grant, &job.project).await.unwrap().jobs, 3);
}

#[tokio::test(start_paused = true)]
async fn a_large_spec_is_stored_in_pieces() {
    let (engine, grant, kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let params = (0..80).map(|at| param(&format!("p{at}"), ParamValue::String("x".repeat(5_000))));
    let large = CreateJob { params: params.collect(), ..create_job(1) };
    let job = engine.create_job(&grant, large.clone(), uid(9), NOW).await.unwrap();
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.read_job(&grant, &job.id.clone().into()).await.unwrap(), job);
    let mut too_large = CreateJob { uid: None, ..large };
    too_large.command = vec!["x".repeat(200_000)];
    let refused = engine.create_job(&grant, too_large, uid(9), NOW).await;
    assert!(matches!(refused, Err(Refused::TooLarge { .. })));
}

#[tokio::test(start_paused = true)]
async fn creates_at_the_same_time_get_numbers_without_gaps() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    engine
        .create_project(&grant, CreateProject { key: ProjectKey::new("B").unwrap(), name: "b".into() }, NOW)
        .await
        .unwrap();
    let creates = (0..40_u8).map(|at| {
        let (engine, grant) = (engine.clone(), grant.clone());
        // Each uid is asked for twice, in two projects.
        let mut create = create_job(at / 2 + 1);
        if at % 2 == 1 {
            create.project = ProjectKey::new("B").unwrap();
        }
        async move { engine.create_job(&grant, create, uid(0), NOW).await.unwrap() }
    });
    let jobs = futures::future::join_all(creates).await;
    for pair in jobs.chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    for key in ["TRIG", "B"] {
        let key = ProjectKey::new(key).unwrap();
        let mut numbers: Vec<u64> =
            jobs.iter().filter(|job| job.project == key).map(|job| job.id.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_created_names_the_field() {
    let (engine, grant, _) = engine().await;
    let refusal = async |create: CreateJob| {
        engine
            .create_job(&grant, CreateJob { uid: None, ..create }, uid(9), NOW)
            .await
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refusal(create_job(1)).await, "no project TRIG");
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let twice = vec![param("lr", ParamValue::Boolean(true)), param("lr", ParamValue::Boolean(true))];
    assert_eq!(
        refusal(CreateJob { params: twice, ..create_job(1) }).await,
        "params[1].name: \"lr\" is there twice; a name may be given once"
    );
    let default = Some(ParamValue::String("no".into()));
    let wrong = vec![Param { default, ..param("lr", ParamValue::Boolean(true)) }];
    assert_eq!(
        refusal(CreateJob { params: wrong, ..create_job(1) }).await,
        "params[0].default: must be of the same type as the value"
    );
    assert_eq!(
        refusal(CreateJob { name: "x".repeat(257), ..create_job(1) }).await,
        "name: must be at most 256 bytes of text"
    );
    let properties = BTreeMap::from([("k".to_owned(), "v".repeat(20_000))]);
    assert_eq!(
        refusal(CreateJob { properties, ..create_job(1) }).await,
        "properties.k: must be at most 16384 bytes of text"
    );
    let properties = (0..17).map(|at| (at.to_string(), "v".repeat(16_000))).collect();
    assert_eq!(
        refusal(CreateJob { properties, ..create_job(1) }).await,
        "size of all properties in bytes is over the limit of 262144"
    );
    let snapshot = Some(neptune_wire::Digest::from_bytes([1; 32]));
    assert_eq!(refusal(CreateJob { snapshot, ..create_job(1) }).await, "no such snapshot");
    let key = create_job(1).project;
    assert_eq!(engine.read_project(&grant, &key).await.unwrap().jobs, 0);
}

#[tokio::test(start_paused = true)]
async fn the_largest_job_allowed_fits_a_commit() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let properties = (0..16).map(|at| (format!("{at:02}"), "v".repeat(16_000))).collect();
    let tags = (0..256).map(|at| Tag::new(&format!("{at:064}")).unwrap()).collect();
    let largest = CreateJob {
        name: "n".repeat(256),
        description: "d".repeat(16 << 10),
        tags,
        properties,
        command: vec!["c".repeat(500 << 10)],
        ..create_job(1)
    };
    let job = engine.create_job(&grant, largest.clone(), uid(9), NOW).await.unwrap();
    assert_eq!(job.properties, largest.properties);
    let job = JobRef::Id(job.id);
    // A change of everything at once fits too, and one that would make it larger names the limit.
    let patch = PatchJob {
        description: Some("e".repeat(16 << 10)),
        properties: largest.properties.keys().map(|key| (key.clone(), Some("w".repeat(16_000)))).collect(),
        ..PatchJob::default()
    };
    engine.patch_job(&grant, &job, patch, NOW).await.unwrap();
    let properties = [("one more".to_owned(), Some("v".repeat(16_000)))].into();
    let refused = engine.patch_job(&grant, &job, PatchJob { properties, ..PatchJob::default() }, NOW).await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "size of all properties in bytes is over the limit of 262144"
    );
}

#[tokio::test(start_paused = true)]
async fn projects_are_created_once() {
    let (engine, grant, kv) = engine().await;
    let made = engine.create_project(&grant, project(), NOW).await.unwrap();
    assert_eq!(engine.create_project(&grant, project(), Micros(5)).await.unwrap(), made);
    let other = CreateProject { name: "other".into(), ..project() };
    let refused = engine.create_project(&grant, other, NOW).await.unwrap_err();
    assert_eq!(refused.to_string(), "project key is taken: the project named \"Trigonometry\"");
    let empty = CreateProject { name: String::new(), ..project() };
    assert!(matches!(engine.create_project(&grant, empty, NOW).await, Err(Refused::Field { .. })));
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.list_projects(&grant).await.unwrap(), [made]);
}

#[tokio::test(start_paused = true)]
async fn changes_add_up_and_stay() {
    let (engine, grant, kv) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let job = engine.create_job(&grant, full_job(), uid(9), NOW).await.unwrap();
    let reference = JobRef::Id(job.id.clone());
    let patch = PatchJob {
        name: Some("new".into()),
        add_tags: tags(&["z", "a"]),
        remove_tags: tags(&["b", "missing"]),
        properties: BTreeMap::from([
            ("owner".into(), None),
            ("missing".into(), None),
            ("fresh".into(), Some("x".into())),
        ]),
        ..PatchJob::default()
    };
    let patched = engine.patch_job(&grant, &reference, patch.clone(), NOW).await.unwrap();
    assert_eq!((patched.name.as_str(), &patched.tags), ("new", &tags(&["a", "z"])));
    assert_eq!(patched.description, "a long story");
    let expected = BTreeMap::from([("k".to_owned(), String::new()), ("fresh".to_owned(), "x".to_owned())]);
    assert_eq!(patched.properties, expected);
    // The same again changes nothing, so nothing is written.
    kv.set_full(true);
    assert_eq!(engine.patch_job(&grant, &reference, patch, NOW).await.unwrap(), patched);
    let replace = PatchJob { tags: Some(tags(&["only"])), ..PatchJob::default() };
    assert!(matches!(
        engine.patch_job(&grant, &reference, replace.clone(), NOW).await,
        Err(Refused::ReadOnly)
    ));
    assert_eq!(engine.read_job(&grant, &reference).await.unwrap(), patched);
    kv.set_full(false);
    let replaced = engine.patch_job(&grant, &reference, replace, NOW).await.unwrap();
    assert_eq!(replaced.tags, tags(&["only"]));
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.read_job(&grant, &reference).await.unwrap(), replaced);
}

#[tokio::test(start_paused = true)]
async fn a_claim_is_one_attempt_however_often_it_is_asked() {
    let (engine, grant, kv) = engine().await;
    let job = created_job(&engine, &grant, 1).await;
    let reference = JobRef::Id(job.id.clone());
    let claimed = engine.claim_job(&grant, &reference, claim(1), NOW).await.unwrap();
    assert_eq!((claimed.attempt, claimed.token.len()), (FIRST, 68));
    assert_eq!(engine.claim_job(&grant, &reference, claim(1), NOW).await.unwrap(), claimed);
    let refused = engine.claim_job(&grant, &reference, claim(2), NOW).await.unwrap_err();
    assert_eq!(refused.to_string(), "job TRIG-1 is running, only a job in state created can be run by hand");
    let running = engine.read_job(&grant, &reference).await.unwrap();
    assert_eq!(
        (running.state, running.attempt, running.started_micros),
        (JobState::Running, Some(FIRST), Some(NOW))
    );
    assert_eq!(running.host.as_deref(), Some("box"));
    assert_eq!(engine.stats().live_jobs, 1);

    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.claim_job(&grant, &reference, claim(1), NOW).await.unwrap(), claimed);
    assert_eq!(engine.read_job(&grant, &reference).await.unwrap(), running);
    let attempt = engine.read_attempt(&grant, &reference, FIRST).await.unwrap();
    assert_eq!((attempt.executor.as_str(), attempt.exit), ("self", None));
    for missing in [0, 2] {
        let refused = engine.read_attempt(&grant, &reference, AttemptNumber(missing)).await;
        assert!(matches!(refused, Err(Refused::UnknownAttempt { .. })));
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_end_wins() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let ended = engine.end_attempt(&grant, &job, FIRST, exit(3), NOW).await.unwrap();
    assert_eq!(
        (ended.state, ended.exit_code, ended.ended_micros),
        (JobState::Failed, Some(3), Some(Micros(9)))
    );
    assert_eq!(ended.reason.as_deref(), Some("exit status 3"));
    assert_eq!(engine.end_attempt(&grant, &job, FIRST, exit(0), NOW).await.unwrap(), ended);
    let unknown = engine.end_attempt(&grant, &job, AttemptNumber(2), exit(0), NOW).await;
    assert!(matches!(unknown, Err(Refused::UnknownAttempt { .. })));
    assert_eq!(engine.stats().live_jobs, 0);
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.read_job(&grant, &job).await.unwrap(), ended);
    assert_eq!(engine.read_attempt(&grant, &job, FIRST).await.unwrap().exit, Some(exit(3)));
}

#[tokio::test(start_paused = true)]
async fn a_run_without_a_server_is_imported_with_its_own_times() {
    let (engine, grant, kv) = engine().await;
    let job = JobRef::Id(created_job(&engine, &grant, 1).await.id);
    let history = Some(History { started_micros: Micros(4), exit: exit(0) });
    let import = ClaimJob { history, ..claim(1) };
    let claimed = engine.claim_job(&grant, &job, import.clone(), NOW).await.unwrap();
    let imported = engine.read_job(&grant, &job).await.unwrap();
    assert_eq!(
        (imported.state, imported.started_micros, imported.ended_micros),
        (JobState::Succeeded, Some(Micros(4)), Some(Micros(9)))
    );
    // A sync that was interrupted asks again.
    assert_eq!(engine.claim_job(&grant, &job, import, NOW).await.unwrap(), claimed);
    // Its points come after its end.
    let id = session(1);
    let channels = vec![channel(0, "loss", neptune_wire::ChannelKind::Numeric)];
    let (mut sink, mut events, _) = writer(&engine, &grant, &job, id, channels).await;
    sink.submit_frame(numbers(id, 1, 0, &[(1.0, 1.0)]), NOW).await;
    acked(&mut events, id, 1).await;
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.read_attempt(&grant, &job, FIRST).await.unwrap().exit, Some(exit(0)));
}

#[tokio::test(start_paused = true)]
async fn aborts_end_what_has_not_begun_and_ask_what_has() {
    let (engine, grant, _) = engine().await;
    let created = JobRef::Id(created_job(&engine, &grant, 1).await.id);
    let aborted = engine.abort_job(&grant, &created, AbortJob::default(), NOW).await.unwrap();
    assert_eq!((aborted.state, aborted.reason.as_deref()), (JobState::Aborted, Some("aborted on request")));
    let (running, _) = running_job(&engine, &grant, 2).await;
    let why = AbortJob { reason: Some("enough".into()), grace_millis: Some(5) };
    let aborting = engine.abort_job(&grant, &running, why, NOW).await.unwrap();
    assert_eq!((aborting.state, aborting.reason.as_deref()), (JobState::Aborting, Some("enough")));
    // Asked again: the first wish stands.
    assert_eq!(engine.abort_job(&grant, &running, AbortJob::default(), NOW).await.unwrap(), aborting);
    let obeyed = Exit { aborted: true, ..exit(143) };
    let ended = engine.end_attempt(&grant, &running, FIRST, obeyed, NOW).await.unwrap();
    assert_eq!((ended.state, ended.reason.as_deref()), (JobState::Aborted, Some("enough")));
    let long = AbortJob { grace_millis: Some(600_001), ..AbortJob::default() };
    assert!(matches!(engine.abort_job(&grant, &running, long, NOW).await, Err(Refused::Field { .. })));
}

async fn ids(engine: &Engine, grant: &Grant, query: &JobsQuery) -> (Vec<u64>, Option<String>, u64) {
    let JobsAnswer::Jobs(page) = engine.list_jobs(grant, query, NOW).await.unwrap() else {
        panic!("jobs were asked for");
    };
    (page.items.iter().map(|job| job.id.number).collect(), page.next, page.total)
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_and_sorted() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    for seed in 1..=6_u8 {
        let create = CreateJob {
            name: ["Beta", "alpha", "gamma"][usize::from(seed) % 3].into(),
            tags: if seed % 2 == 0 { tags(&["even", "n"]) } else { tags(&["n"]) },
            params: vec![param("seed", ParamValue::Integer(seed.into()))],
            created_micros: Some(Micros(i64::from(seed / 2))),
            ..create_job(seed)
        };
        engine.create_job(&grant, create, uid(0), NOW).await.unwrap();
    }
    engine.claim_job(&grant, &"TRIG-3".parse().unwrap(), claim(3), NOW).await.unwrap();
    let list = async |query: JobsQuery| ids(&engine, &grant, &query).await.0;
    let sorted = |sort: &str| JobsQuery { sort: Some(sort.into()), ..JobsQuery::default() };
    assert_eq!(list(JobsQuery::default()).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(list(sorted("created")).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(list(sorted("id")).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(list(sorted("-id")).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(list(sorted("name")).await, [4, 1, 6, 3, 5, 2]);
    assert_eq!(list(sorted("-name")).await, [5, 2, 6, 3, 4, 1]);
    assert_eq!(list(sorted("-state")).await, [3, 6, 5, 4, 2, 1]);
    let tagged = JobsQuery { tags: Some("n, even".into()), ..JobsQuery::default() };
    assert_eq!(list(tagged).await, [6, 4, 2]);
    let states = JobsQuery { states: Some("running,lost".into()), ..JobsQuery::default() };
    assert_eq!(list(states).await, [3]);
    for (search, found) in [
        ("ALPHA", vec![4, 1]),
        ("alpha trig-4", vec![4]),
        ("seed=5", vec![5]),
        ("box", vec![3]),
        ("even gamma", vec![2]),
        ("nothing", vec![]),
    ] {
        let query = JobsQuery { search: Some(search.into()), ..JobsQuery::default() };
        assert_eq!(list(query).await, found, "{search}");
    }
    let unknown = JobsQuery { project: Some(ProjectKey::new("NONE").unwrap()), ..JobsQuery::default() };
    assert!(matches!(engine.list_jobs(&grant, &unknown, NOW).await, Err(Refused::UnknownProject { .. })));
    for wrong in [
        JobsQuery { sort: Some("size".into()), ..JobsQuery::default() },
        JobsQuery { states: Some("runing".into()), ..JobsQuery::default() },
        JobsQuery { tags: Some("Not A Tag".into()), ..JobsQuery::default() },
        JobsQuery { limit: Some(0), ..JobsQuery::default() },
        JobsQuery { cursor: Some("x".into()), ..JobsQuery::default() },
    ] {
        let refused = engine.list_jobs(&grant, &wrong, NOW).await;
        assert!(matches!(refused, Err(Refused::Field { .. } | Refused::Text { .. })), "{wrong:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pages_hold_every_job_once_while_jobs_come() {
    let (engine, grant, _) = engine().await;
    engine.create_project(&grant, project(), NOW).await.unwrap();
    let mut seed = 0;
    let mut more = async |count: u8| {
        for _ in 0..count {
            seed += 1;
            let name = ["same", "under_score_"][usize::from(seed) % 2].into();
            engine.create_job(&grant, CreateJob { name, ..create_job(seed) }, uid(0), NOW).await.unwrap();
        }
    };
    more(20).await;
    for sort in ["-created", "created", "name", "-name", "state", "id", "-id"] {
        let before: Vec<u64> = (1..=engine.stats().jobs).collect();
        let mut query = JobsQuery { sort: Some(sort.into()), limit: Some(3), ..JobsQuery::default() };
        let mut seen = Vec::new();
        loop {
            let (page, next, total) = ids(&engine, &grant, &query).await;
            assert_eq!(total, engine.stats().jobs);
            assert!(page.len() <= 3);
            seen.extend(page);
            query.cursor = next;
            if query.cursor.is_none() {
                break;
            }
            if seen.len() < 8 {
                more(1).await;
            }
        }
        let mut sorted = seen.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len(), seen.len(), "{sort}: a job appears twice");
        assert!(before.iter().all(|number| sorted.contains(number)), "{sort}: a job is missing");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_fate_leaves_memory_and_store_as_one() {
    let (engine, grant, kv) = engine().await;
    let job = JobRef::Id(JobId { project: ProjectKey::new("TRIG").unwrap(), number: 1 });
    kv.script([Trouble::UnknownLost]);
    engine.create_project(&grant, project(), NOW).await.unwrap();
    kv.script([Trouble::UnknownWritten]);
    engine.create_job(&grant, create_job(1), uid(0), NOW).await.unwrap();
    kv.script([Trouble::UnknownWritten]);
    let claimed = engine.claim_job(&grant, &job, claim(1), NOW).await.unwrap();
    kv.script([Trouble::UnknownLost, Trouble::UnknownWritten]);
    let ended = engine.end_attempt(&grant, &job, FIRST, exit(0), NOW).await.unwrap();
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(engine.read_job(&grant, &job).await.unwrap(), ended);
    assert_eq!(engine.claim_job(&grant, &job, claim(1), NOW).await.unwrap(), claimed);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_goes_away_is_finished_all_the_same() {
    let (engine, grant, kv) = engine().await;
    let job = JobRef::Id(created_job(&engine, &grant, 1).await.id);
    kv.script([Trouble::Busy, Trouble::Busy]);
    let asked = engine.claim_job(&grant, &job, claim(1), NOW);
    assert!(tokio::time::timeout(std::time::Duration::from_millis(1), asked).await.is_err());
    // The claim is being made: whoever comes next waits for it.
    let patch = PatchJob { name: Some("later".into()), ..PatchJob::default() };
    let patched = engine.patch_job(&grant, &job, patch, NOW).await.unwrap();
    assert_eq!((patched.state, patched.name.as_str()), (JobState::Running, "later"));
}
