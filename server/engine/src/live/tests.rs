//! Followers are told everything after their marks once, in order, and the last state always.

use std::time::Duration;

use neptune_wire::chart::CreateChart;
use neptune_wire::frame::FrameBuilder;
use neptune_wire::job::{AbortJob, PatchJob};
use neptune_wire::query::{PointOrder, PointsQuery, TextQuery};
use neptune_wire::{
    ChannelKind, ChannelOrigin, CreateChannel, CreateProject, JobRef, JobState, ProjectKey, SessionId,
};
use proptest::prelude::*;

use super::*;
use crate::testing::*;
use crate::{IngestEvents, IngestSink};

const ID: SessionId = SessionId::from_bytes([1; 16]);

struct Sender {
    engine: Engine,
    grant: Grant,
    job: JobRef,
    sink: IngestSink,
    events: IngestEvents,
    seq: u64,
    log_offset: u64,
    value: f64,
}

impl Sender {
    async fn new() -> Sender {
        let (engine, grant, _) = engine().await;
        let (job, _) = running_job(&engine, &grant, 1).await;
        let channels =
            vec![channel(0, "loss", ChannelKind::Numeric), channel(1, "note", ChannelKind::Text), stdout(2)];
        let (sink, events, _) = writer(&engine, &grant, &job, ID, channels).await;
        Sender { engine, grant, job, sink, events, seq: 0, log_offset: 0, value: 0.0 }
    }

    async fn send(&mut self, points: usize, text: &str, log: &str) {
        self.seq += 1;
        let mut frame = FrameBuilder::new(ID, self.seq);
        let y: Vec<f64> = (1..=points).map(|at| self.value + at as f64).collect();
        self.value += points as f64;
        assert_eq!(frame.push_numeric(0, &y, &y, &vec![0; points]), points);
        if !text.is_empty() {
            assert!(frame.push_text(1, 0.0, 0, text, false));
        }
        if !log.is_empty() {
            assert_eq!(frame.push_log(2, self.log_offset, 0.0, 0, log.as_bytes()), log.len());
            self.log_offset += log.len() as u64;
        }
        self.sink.submit_frame(frame.finish().into(), NOW).await;
    }

    /// Takes the job through a round of sealing.
    async fn seal(&self) {
        let heads = self.engine.find_heads(&self.grant, &self.job).await.unwrap();
        self.engine.core.seal_job(&heads).await.unwrap();
    }

    async fn settle(&mut self) {
        acked(&mut self.events, ID, self.seq).await;
    }

    async fn follow(&self, channels: &[&str]) -> Subscription {
        let channels = channels.iter().map(|channel| name(channel)).collect();
        let topic = Topic::Channels { job: self.job.clone(), channels };
        self.engine.subscribe(&self.grant, &topic, NOW).await.unwrap()
    }

    async fn follow_job(&self) -> Subscription {
        self.engine.subscribe(&self.grant, &Topic::Job { job: self.job.clone() }, NOW).await.unwrap()
    }
}

/// What a page of the web UI holds: what it read before, grown by what it was told.
#[derive(Debug, Default, PartialEq)]
struct Page {
    points: Vec<f64>,
    lines: Vec<String>,
    texts: Vec<String>,
}

impl Page {
    fn take(&mut self, event: LiveEvent) {
        match event {
            LiveEvent::Points { channel, index, points } => {
                assert_eq!((channel.as_str(), index as usize), ("loss", self.points.len()));
                assert!(!points.x.is_empty() && points.x.len() == points.time.len());
                self.points.extend(&points.y);
            }
            LiveEvent::Lines { channel, lines } => {
                let known = if channel.as_str() == "note" { &mut self.texts } else { &mut self.lines };
                for line in lines.iter() {
                    // The grown form of the last line, or the next.
                    assert!(line.line as usize + 1 == known.len() || line.line as usize == known.len());
                    known.truncate(line.line as usize);
                    known.push(line.text.clone());
                }
            }
            other => panic!("{other:?}"),
        }
    }

    async fn take_all(&mut self, subscription: &mut Subscription) {
        // An hour of silence, by a clock that jumps when all are idle.
        while let Ok(event) = tokio::time::timeout(Duration::from_secs(3_600), subscription.next()).await {
            self.take(event.unwrap());
        }
    }
}

/// Everything as a page that is opened now reads it.
async fn read(sender: &Sender) -> Page {
    let query = PointsQuery { order: PointOrder::Arrival, limit: Some(100_000), ..PointsQuery::default() };
    let points =
        sender.engine.read_points(&sender.grant, &sender.job, &name("loss"), &query).await.unwrap().y;
    let query = TextQuery { limit: Some(10_000), ..TextQuery::default() };
    let lines = async |channel: &str| {
        let page = sender.engine.read_text(&sender.grant, &sender.job, &name(channel), &query).await.unwrap();
        page.lines.into_iter().map(|line| line.text).collect()
    };
    Page { points, lines: lines("sys/stdout").await, texts: lines("note").await }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_page_that_follows_ends_up_as_one_that_reads_at_the_end(
        sends in prop::collection::vec((1..40_usize, "[a-z]{0,3}", "[a-z\n]{0,6}", 0..30_u64), 1..40),
        begin in any::<prop::sample::Index>(),
        listens: bool,
        seals: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut sender = Sender::new().await;
            let begin = begin.index(sends.len());
            let mut following = None;
            for (at, (points, text, log, pause)) in sends.iter().enumerate() {
                if at == begin {
                    if seals && sender.seq > 0 {
                        // Sheets are read beside what still comes in.
                        sender.settle().await;
                    }
                    // Who follows numbers is sent to read again when they are sealed before he was told of them.
                    let channels = &["note", "sys/stdout", "loss"][..if seals { 2 } else { 3 }];
                    let subscription = sender.follow(channels).await;
                    let page = read(&sender).await;
                    let marks = &subscription.marks;
                    // Nothing was awaited for between, so the page holds exactly what is before the marks.
                    let read = [page.texts.len() as u64, page.lines.len() as u64, page.points.len() as u64];
                    assert_eq!(marks, &read[..channels.len()]);
                    following = Some((page, subscription));
                }
                sender.send(*points, text, log).await;
                tokio::time::sleep(Duration::from_millis(*pause)).await;
                if seals && at % 5 == 2 {
                    sender.seal().await;
                }
                if let Some((page, subscription)) = following.as_mut().filter(|_| listens) {
                    while let Ok(event) = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await {
                        page.take(event.unwrap());
                    }
                }
            }
            sender.settle().await;
            let (mut page, mut subscription) = following.unwrap();
            page.take_all(&mut subscription).await;
            let read = read(&sender).await;
            if seals {
                page.points.clone_from(&read.points);
            }
            assert_eq!(page, read);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_is_far_behind_is_sent_to_read_again() {
    let mut sender = Sender::new().await;
    sender.send(1, "", "").await;
    sender.settle().await;
    let mut subscription = sender.follow(&["loss", "sys/stdout"]).await;
    for _ in 0..150 {
        sender.send(2_000, "", &"line\n".repeat(100)).await;
    }
    sender.settle().await;
    let mut reread = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await {
        match event.unwrap() {
            LiveEvent::Reread { channel, from } => reread.push((channel.unwrap().to_string(), from)),
            other => panic!("{other:?}"),
        }
    }
    reread.sort_unstable();
    assert_eq!(reread, [("loss".to_owned(), 1), ("sys/stdout".to_owned(), 0)]);
    sender.send(1, "", "the end\n").await;
    sender.settle().await;
    let mut seen = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await {
        seen.push(match event.unwrap() {
            LiveEvent::Points { index, .. } => index,
            LiveEvent::Lines { lines, .. } => lines[0].line,
            other => panic!("{other:?}"),
        });
    }
    seen.sort_unstable();
    assert_eq!(seen, [15_000, 300_001]);
}

#[tokio::test(start_paused = true)]
async fn summaries_come_a_few_times_a_second_and_the_last_one_always() {
    let mut sender = Sender::new().await;
    let mut subscription = sender.follow_job().await;
    let mut told = 0;
    let mut last = 0;
    let begin = tokio::time::Instant::now();
    for _ in 0..200 {
        sender.send(5, "", "").await;
        let until = tokio::time::Instant::now() + Duration::from_millis(20);
        while let Ok(event) = tokio::time::timeout_at(until, subscription.next()).await {
            let LiveEvent::Channel(channel) = event.unwrap() else { panic!("only summaries change") };
            told += 1;
            last = channel.summary.count;
        }
    }
    let seconds = begin.elapsed().as_secs();
    assert!((2..=4 * seconds + 4).contains(&told), "{told} in {seconds} s");
    sender.settle().await;
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await {
        let LiveEvent::Channel(channel) = event.unwrap() else { panic!("only summaries change") };
        last = channel.summary.count;
    }
    assert_eq!(last, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_job_page_hears_of_changes_charts_and_channels() {
    let sender = Sender::new().await;
    let mut subscription = sender.follow_job().await;
    let (engine, grant, job) = (&sender.engine, &sender.grant, &sender.job);
    let patch = PatchJob { name: Some("new".into()), ..PatchJob::default() };
    engine.patch_job(grant, job, patch, NOW).await.unwrap();
    let LiveEvent::Job(told) = subscription.next().await.unwrap() else { panic!("the job changed") };
    assert_eq!(told.name, "new");
    let chart = CreateChart { name: "both".parse().unwrap(), series: vec![] };
    engine.create_chart(grant, job, chart.clone(), NOW).await.unwrap();
    let LiveEvent::Chart(told) = subscription.next().await.unwrap() else { panic!("a chart is new") };
    assert_eq!(told, chart);
    let create =
        CreateChannel { name: name("fresh"), kind: ChannelKind::Numeric, origin: ChannelOrigin::User };
    engine.create_channel(grant, job, create, NOW).await.unwrap();
    let LiveEvent::Channel(told) = subscription.next().await.unwrap() else { panic!("a channel is new") };
    assert_eq!(told.name, name("fresh"));
    engine.abort_job(grant, job, AbortJob::default(), NOW).await.unwrap();
    let LiveEvent::Job(told) = subscription.next().await.unwrap() else { panic!("the job changed") };
    assert_eq!(told.state, JobState::Aborting);
    let quiet = tokio::time::timeout(Duration::from_secs(60), subscription.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn the_list_hears_of_each_job_in_its_latest_form() {
    let (engine, grant, _) = engine().await;
    let other = ProjectKey::new("OTHER").unwrap();
    engine.create_project(&grant, CreateProject { key: other.clone(), name: "o".into() }, NOW).await.unwrap();
    created_job(&engine, &grant, 1).await;
    let mut all = engine.subscribe(&grant, &Topic::Jobs { project: None }, NOW).await.unwrap();
    let mut one = engine.subscribe(&grant, &Topic::Jobs { project: Some(other.clone()) }, NOW).await.unwrap();
    let unknown = Topic::Jobs { project: Some(ProjectKey::new("NONE").unwrap()) };
    assert!(matches!(engine.subscribe(&grant, &unknown, NOW).await, Err(Refused::UnknownProject { .. })));
    assert_eq!(engine.stats().subscriptions, 2);
    // Many changes while nobody reads: each job is told once, as it is now.
    for seed in 2..=5 {
        created_job(&engine, &grant, seed).await;
    }
    let mut elsewhere = create_job(6);
    elsewhere.project = other;
    engine.create_job(&grant, elsewhere, uid(0), NOW).await.unwrap();
    for round in 0..10 {
        let patch = PatchJob { name: Some(format!("round {round}")), ..PatchJob::default() };
        engine.patch_job(&grant, &"TRIG-3".parse().unwrap(), patch, NOW).await.unwrap();
    }
    let mut told = Vec::new();
    while let Ok(event) = tokio::time::timeout(Duration::from_secs(60), all.next()).await {
        let LiveEvent::Job(job) = event.unwrap() else { panic!("only jobs change") };
        told.push((job.id.to_string(), job.name.clone()));
    }
    let expected = [
        ("TRIG-2", "job 2"),
        ("TRIG-4", "job 4"),
        ("TRIG-5", "job 5"),
        ("OTHER-1", "job 6"),
        ("TRIG-3", "round 9"),
    ];
    assert_eq!(told, expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
    let LiveEvent::Job(job) = one.next().await.unwrap() else { panic!("only jobs change") };
    assert_eq!(job.id.to_string(), "OTHER-1");
    drop(all);
    assert_eq!(engine.stats().subscriptions, 1);
    engine.stop().await;
    assert!(one.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_busy_channel_starves_no_other() {
    let mut sender = Sender::new().await;
    let mut subscription = sender.follow(&["loss", "note"]).await;
    for _ in 0..100 {
        sender.send(1_000, "", "").await;
    }
    sender.send(1, "small", "").await;
    sender.settle().await;
    let mut before = 0;
    while let LiveEvent::Points { .. } = subscription.next().await.unwrap() {
        before += 1;
    }
    assert!(before <= 1, "{before} events of the busy channel came first");
}
