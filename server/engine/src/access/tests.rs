//! What each kind of token reaches, and that nothing reaches further.

use neptune_wire::job::{AbortJob, Exit, ExitKind, JobsQuery, PatchJob};
use neptune_wire::live::Topic;
use neptune_wire::query::{EnvelopeQuery, ImagesQuery, PointsQuery, SeriesRef, TextQuery};
use neptune_wire::{ChannelKind, ChannelOrigin, CreateChannel, CreateProject, JobRef, ProjectKey};

use super::*;
use crate::testing::*;

async fn granted(engine: &Engine, token: &str) -> Grant {
    engine.access(Access::Token(token)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn tokens_outlive_the_server_and_are_not_stored() {
    let (engine, grant, kv) = engine().await;
    assert!(!engine.has_admin_token().await.unwrap());
    let admin = engine.create_admin_token("me", [5; 32], NOW).await.unwrap();
    assert!(engine.has_admin_token().await.unwrap());
    let (_, attempt) = running_job(&engine, &grant, 1).await;
    assert!(admin.starts_with("npt_") && attempt.starts_with("npa_"));
    let engine = engine_over(kv.reborn()).await;
    assert_eq!(granted(&engine, &admin).await, grant);
    assert_ne!(granted(&engine, &attempt).await, grant);
    for wrong in ["", "npt_", "npa_", &admin[4..], &admin.replace('5', "6"), &admin.replace("npt", "npa")] {
        let refused = engine.access(Access::Token(wrong)).await;
        assert!(matches!(refused, Err(Refused::Unauthorized)), "{wrong}");
    }
    // Neither text is anywhere in the store.
    let secret = |token: &str| token[4..].to_owned();
    for family in neptune_store::kv::Family::ALL {
        use neptune_store::kv::{KeyRange, KvRead, Scan};
        let page = kv.scan(Scan::ascending(KeyRange::all(family))).await.unwrap();
        assert!(page.rest.is_none());
        for (key, value) in page.rows {
            let row = [key.to_vec(), value.to_vec()].concat();
            for token in [&admin, &attempt] {
                let (text, bytes) = (secret(token), unhex(&secret(token)));
                assert!(!row.windows(text.len()).any(|part| part == text.as_bytes()));
                assert!(!row.windows(bytes.len()).any(|part| part == bytes));
            }
        }
    }
    let refused = engine.create_admin_token("", [5; 32], NOW).await;
    assert!(matches!(refused, Err(Refused::Field { .. })));
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Every public function of the engine that takes a grant, asked about the job of another attempt.
#[tokio::test(start_paused = true)]
async fn an_attempt_reaches_its_own_job_alone() {
    let (engine, all, _) = engine().await;
    let (own, token) = running_job(&engine, &all, 1).await;
    let (other, _) = running_job(&engine, &all, 2).await;
    let grant = granted(&engine, &token).await;
    let loss = name("loss");
    let create =
        CreateChannel { name: loss.clone(), kind: ChannelKind::Numeric, origin: ChannelOrigin::User };
    engine.create_channel(&grant, &own, create.clone(), NOW).await.unwrap();
    engine.create_channel(&all, &other, create.clone(), NOW).await.unwrap();
    let chart = neptune_wire::CreateChart { name: "c".parse().unwrap(), series: vec![] };
    let exit = Exit { how: ExitKind::Code { code: 0 }, ended_micros: NOW, aborted: false, reason: None };
    let envelope =
        |job: &JobRef| EnvelopeQuery::of(vec![SeriesRef { job: job.clone(), channel: loss.clone() }], 10);
    let points = PointsQuery::default();
    let channels = |job: &JobRef| Topic::Channels { job: job.clone(), channels: vec![loss.clone()] };

    let mut refused = 0;
    macro_rules! only_own {
        ($job:ident => $($call:expr),+ $(,)?) => {$(
            { let $job = own.clone(); $call.await.map(drop).unwrap(); }
            { let $job = other.clone(); assert!(matches!($call.await.map(drop), Err(Refused::Forbidden { .. }))); }
            refused += 1;
        )+};
    }
    only_own!(job =>
        engine.read_job(&grant, &job),
        engine.patch_job(&grant, &job, PatchJob::default(), NOW),
        engine.read_attempt(&grant, &job, FIRST),
        engine.open_control(&grant, &job, FIRST, NOW),
        engine.create_channel(&grant, &job, create.clone(), NOW),
        engine.list_channels(&grant, &job),
        engine.create_chart(&grant, &job, chart.clone(), NOW),
        engine.list_charts(&grant, &job),
        engine.append_points(&grant, &job, "key", Default::default(), NOW),
        engine.read_points(&grant, &job, &loss, &points),
        engine.read_envelopes(&grant, &envelope(&job)),
        engine.subscribe(&grant, &Topic::Job { job: job.clone() }, NOW),
        engine.subscribe(&grant, &channels(&job), NOW),
        engine.end_attempt(&grant, &job, FIRST, exit.clone(), NOW),
    );
    assert_eq!(refused, 14);

    let forbidden = |outcome: Result<(), Refused>| assert!(matches!(outcome, Err(Refused::Forbidden { .. })));
    forbidden(engine.read_text(&grant, &other, &loss, &TextQuery::default()).await.map(drop));
    forbidden(engine.read_log(&grant, &other, &loss, 0, 1).await.map(drop));
    forbidden(engine.read_images(&grant, &other, &loss, &ImagesQuery::default()).await.map(drop));
    forbidden(engine.open_image(&grant, &other, &loss, 0).await.map(drop));
    forbidden(engine.read_manifest(&grant, &other).await.map(drop));
    forbidden(engine.diff_snapshots(&grant, &other, &own).await.map(drop));
    forbidden(engine.create_project(&grant, project(), NOW).await.map(drop));
    forbidden(engine.list_projects(&grant).await.map(drop));
    forbidden(engine.create_job(&grant, create_job(3), uid(3), NOW).await.map(drop));
    forbidden(engine.list_jobs(&grant, &JobsQuery::default(), NOW).await.map(drop));
    forbidden(engine.claim_job(&grant, &own, claim(9), NOW).await.map(drop));
    forbidden(engine.abort_job(&grant, &own, AbortJob::default(), NOW).await.map(drop));
    forbidden(engine.subscribe(&grant, &Topic::Jobs { project: None }, NOW).await.map(drop));
    let second = AttemptNumber(2);
    forbidden(engine.end_attempt(&grant, &own, second, exit, NOW).await.map(drop));
    forbidden(engine.open_control(&grant, &own, second, NOW).await.map(drop));

    // Its project's blobs, and no other's.
    let key = ProjectKey::new("OTHER").unwrap();
    engine.create_project(&all, CreateProject { key: key.clone(), name: "o".into() }, NOW).await.unwrap();
    let digest = Digest::from_bytes([1; 32]);
    assert!(!engine.has_blob(&grant, &project().key, &digest).await.unwrap());
    forbidden(engine.has_blob(&grant, &key, &digest).await.map(drop));
    forbidden(engine.read_project(&grant, &key).await.map(drop));
    engine.read_project(&grant, &project().key).await.unwrap();
}
