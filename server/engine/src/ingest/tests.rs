//! Frames, acknowledgements and refusals of the ingest path.

use neptune_wire::query::{PointOrder, PointsQuery};
use neptune_wire::{ChannelKind, JobRef};

use super::*;
use crate::testing::*;

async fn points(engine: &Engine, grant: &Grant, job: &JobRef, channel: &str) -> Vec<(f64, f64)> {
    let query = PointsQuery { order: PointOrder::Arrival, ..PointsQuery::default() };
    let page = engine.read_points(grant, job, &name(channel), &query).await.unwrap();
    assert!(page.next.is_none());
    page.x.into_iter().zip(page.y).collect()
}

#[tokio::test(start_paused = true)]
async fn acknowledged_points_are_there_and_stay() {
    let (engine, grant, kv) = engine().await;
    let (job, _) = running_job(&engine, &grant, 1).await;
    let id = session(1);
    let (mut sink, mut events, mark) =
        writer(&engine, &grant, &job, id, vec![channel(0, "loss", ChannelKind::Numeric)]).await;
    assert_eq!(mark, 0);
    for seq in 1..=10 {
        sink.submit_frame(numbers(id, seq, 0, &[(seq as f64, 0.5)]), NOW).await;
    }
    assert!(acked(&mut events, id, 10).await.is_empty());
    let expected: Vec<_> = (1..=10).map(|seq| (f64::from(seq), 0.5)).collect();
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
    assert_eq!(sink.close_session(id).await.unwrap(), 10);

    engine.stop().await;
    let engine = engine_over(kv.reborn()).await;
    let grant = everything(&engine).await;
    assert_eq!(points(&engine, &grant, &job, "loss").await, expected);
    let (_, _, mark) =
        writer(&engine, &grant, &job, id, vec![channel(0, "loss", ChannelKind::Numeric)]).await;
    assert_eq!(mark, 10);
}
