//! Answers about points, text and images against what was sent, by the plainest means.

use neptune_wire::frame::{FrameBuilder, ImageRecord, TEXT_BYTES};
use neptune_wire::query::{Axis, Line, PointOrder, SeriesRef};
use neptune_wire::{Micros, SessionId};
use proptest::prelude::*;

use super::*;
use crate::testing::*;
use crate::{IngestEvents, IngestSink};

mod envelopes;

/// A job with one session open.
struct Sender {
    engine: Engine,
    grant: Grant,
    kv: TroubledKv,
    job: JobRef,
    sink: IngestSink,
    events: IngestEvents,
    seq: u64,
    settled: u64,
    form: Form,
}

/// What becomes of all that is sent before it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Open,
    /// Part of it in several rounds, the last of it open.
    Half,
    Sealed,
}

const FORMS: [Form; 3] = [Form::Open, Form::Half, Form::Sealed];

const ID: SessionId = SessionId::from_bytes([1; 16]);

impl Sender {
    async fn new() -> Sender {
        Sender::of(Form::Open).await
    }

    async fn of(form: Form) -> Sender {
        Sender::with_numbers("loss", form).await
    }

    /// With another name of the channel of numbers.
    async fn with_numbers(numbers: &str, form: Form) -> Sender {
        let (engine, grant, kv) = engine().await;
        let (job, _) = running_job(&engine, &grant, 1).await;
        let channels = vec![
            channel(0, numbers, ChannelKind::Numeric),
            channel(1, "note", ChannelKind::Text),
            channel(2, "picture", ChannelKind::Image),
            stdout(3),
        ];
        let (sink, events, _) = writer(&engine, &grant, &job, ID, channels).await;
        Sender { engine, grant, kv, job, sink, events, seq: 0, settled: 0, form }
    }

    fn frame(&self) -> FrameBuilder {
        FrameBuilder::new(ID, self.seq + 1)
    }

    async fn send(&mut self, frame: FrameBuilder) {
        self.seq += 1;
        self.sink.submit_frame(frame.finish().into(), NOW).await;
        if self.form == Form::Half && self.seq % 7 == 1 {
            self.settle().await;
            self.seal().await;
        }
    }

    async fn settle(&mut self) {
        if self.settled < self.seq {
            let others = acked(&mut self.events, ID, self.seq).await;
            assert!(others.is_empty(), "{others:?}");
            self.settled = self.seq;
        }
        if self.form == Form::Sealed {
            self.seal().await;
        }
    }

    async fn send_points(&mut self, points: &[(f64, f64)]) {
        let x: Vec<f64> = points.iter().map(|point| point.0).collect();
        let y: Vec<f64> = points.iter().map(|point| point.1).collect();
        self.send_columns(&x, &y, &vec![NOW.0; x.len()]).await;
    }

    async fn send_columns(&mut self, x: &[f64], y: &[f64], time: &[i64]) {
        let mut at = 0;
        while at < x.len() {
            let mut frame = self.frame();
            at += frame.push_numeric(0, &x[at..], &y[at..], &time[at..]);
            self.send(frame).await;
        }
        self.settle().await;
    }

    /// Takes the job through a round of sealing.
    async fn seal(&self) {
        let heads = self.engine.find_heads(&self.grant, &self.job).await.unwrap();
        self.engine.core.seal_job(&heads).await.unwrap();
    }

    /// The same data under another engine, as after a start.
    async fn restart(mut self) -> Sender {
        self.engine = engine_over(self.kv.reborn()).await;
        self.grant = everything(&self.engine).await;
        self
    }

    async fn points(&self, query: PointsQuery) -> PointsPage {
        self.engine.read_points(&self.grant, &self.job, &name("loss"), &query).await.unwrap()
    }

    async fn text(&self, channel: &str, query: TextQuery) -> Lines {
        self.engine.read_text(&self.grant, &self.job, &name(channel), &query).await.unwrap()
    }

    async fn raw(&self, offset: u64, limit: usize) -> Bytes {
        self.engine.read_log(&self.grant, &self.job, &name("sys/stdout"), offset, limit).await.unwrap()
    }

    /// All pages of a text query, each of at most `limit` lines.
    async fn pages(&self, channel: &str, limit: u32, search: Option<&str>) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut query =
            TextQuery { limit: Some(limit), search: search.map(str::to_owned), ..TextQuery::default() };
        loop {
            let page = self.text(channel, query.clone()).await;
            assert!(page.lines.len() <= limit as usize);
            lines.extend(page.lines);
            query.line = page.next;
            if query.line.is_none() {
                return lines;
            }
        }
    }
}

fn in_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test)
}

fn nasty() -> impl Strategy<Value = f64> {
    prop_oneof![
        6 => (-20i32..20).prop_map(f64::from),
        1 => any::<f64>(),
        1 => prop::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0]),
    ]
}

fn bits(points: impl IntoIterator<Item = (f64, f64)>) -> Vec<(u64, u64)> {
    points.into_iter().map(|(x, y)| (x.to_bits(), y.to_bits())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pages_hold_every_point_of_the_range_in_order(
        points in prop::collection::vec((nasty(), nasty()), 0..60),
        late in prop::collection::vec((nasty(), nasty()), 0..10),
        sorted: bool,
        by_x: bool,
        limit in 1..9_u32,
        range in prop::option::of((-25i32..25, 0..30i32)),
        sealed in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut points = points;
        if sorted {
            points.sort_by_key(|point| points::order_key(point.0));
        }
        let found = in_runtime(async {
            let mut sender = Sender::new().await;
            let early = sealed.map_or(0, |sealed| sealed.index(points.len() + 1));
            sender.send_points(&points[..early]).await;
            sender.seal().await;
            sender.send_points(&points[early..]).await;
            let mut query = PointsQuery {
                order: if by_x { PointOrder::X } else { PointOrder::Arrival },
                limit: Some(limit),
                from: range.map(|range| f64::from(range.0)),
                to: range.map(|range| f64::from(range.0 + range.1)),
                cursor: None,
            };
            let mut found = Vec::new();
            loop {
                let page = sender.points(query.clone()).await;
                assert!(page.x.len() <= limit as usize && page.x.len() == page.y.len());
                found.extend(page.x.into_iter().zip(page.y));
                if query.cursor.is_none() && !late.is_empty() {
                    // Points that come while pages are read disturb no page of those that were there.
                    sender.send_points(&late).await;
                    if sealed.is_some() {
                        sender.seal().await;
                    }
                }
                query.cursor = page.next;
                if query.cursor.is_none() {
                    return found;
                }
            }
        });
        let inside = |x: f64| range.is_none_or(|(from, length)| x >= f64::from(from) && x <= f64::from(from + length));
        let mut expected: Vec<(f64, f64)> = points.iter().copied().filter(|point| inside(point.0)).collect();
        if by_x {
            // A stable sort; NaN last.
            expected.sort_by(|a, b| match (a.0.is_nan(), b.0.is_nan()) {
                (false, false) => a.0.partial_cmp(&b.0).unwrap(),
                (a, b) => a.cmp(&b),
            });
        }
        // Late points may be among them; those that were there are all there, once, in order.
        let late = bits(late);
        let mut expected = bits(expected).into_iter().peekable();
        for point in bits(found) {
            if expected.next_if_eq(&point).is_none() {
                prop_assert!(late.contains(&point), "a point that should not be here");
            }
        }
        prop_assert_eq!(expected.next(), None);
    }

    #[test]
    fn lines_of_a_log_are_those_of_its_bytes(
        pieces in prop::collection::vec("[a-c\nü]{0,20}", 0..40),
        broken in prop::collection::vec(any::<u8>(), 0..20),
        limit in 1..7_u32,
        restart: bool,
        form in prop::sample::select(&FORMS[..]),
    ) {
        let mut pieces: Vec<Vec<u8>> = pieces.into_iter().map(String::into_bytes).collect();
        pieces.push(broken);
        pieces.retain(|piece| !piece.is_empty());
        let stream = pieces.concat();
        in_runtime(async {
            let mut sender = Sender::of(form).await;
            let mut offset = 0;
            for (at, piece) in pieces.iter().enumerate() {
                let mut frame = sender.frame();
                // Every third piece is sent together with what came before it, as after a reconnect.
                let from = if at % 3 == 2 { offset - pieces[at - 1].len() } else { offset };
                let end = offset + piece.len();
                assert_eq!(frame.push_log(3, from as u64, at as f64, 0, &stream[from..end]), end - from);
                offset = end;
                sender.send(frame).await;
            }
            sender.settle().await;
            if restart {
                sender = sender.restart().await;
            }
            let lossy = String::from_utf8_lossy(&stream).into_owned();
            let mut expected: Vec<String> = stream
                .split(|byte| *byte == b'\n')
                .map(|line| String::from_utf8_lossy(line).into_owned())
                .collect();
            if lossy.is_empty() || lossy.ends_with('\n') {
                expected.pop();
            }
            let lines = sender.pages("sys/stdout", limit, None).await;
            assert!(lines.iter().enumerate().all(|(at, line)| line.line == at as u64));
            let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(texts, expected);
            let last = TextQuery { tail: Some(limit), ..TextQuery::default() };
            let tail = sender.text("sys/stdout", last).await;
            assert_eq!(tail.lines, lines[lines.len().saturating_sub(limit as usize)..]);
            assert_eq!((tail.total, tail.next), (lines.len() as u64, None));
            let found = sender.pages("sys/stdout", limit, Some("AB")).await;
            let expected: Vec<_> = lines.iter().filter(|line| line.text.to_lowercase().contains("ab")).cloned().collect();
            assert_eq!(found, expected);
            for from in 0..=stream.len() {
                let end = stream.len().min(from + limit as usize);
                assert_eq!(sender.raw(from as u64, limit as usize).await, stream[from..end]);
            }
        });
    }
}

#[tokio::test(start_paused = true)]
async fn texts_and_images_come_back_in_order_of_arrival() {
    for form in FORMS {
        let mut sender = Sender::of(form).await;
        let image = |at: u32| ImageRecord {
            x: f64::from(at),
            time: i64::from(at),
            digest: Digest::from_bytes([at as u8; 32]),
            width: at,
            height: 2,
            size_bytes: 3,
            name: format!("epoch {at}"),
            description: String::new(),
        };
        let long = "x".repeat(TEXT_BYTES);
        for at in 0..200_u32 {
            let mut frame = sender.frame();
            assert!(frame.push_text(
                1,
                f64::from(at),
                i64::from(at),
                &format!("first of {at}\nin two"),
                false
            ));
            if at % 50 == 0 {
                assert!(frame.push_text(1, 0.5, 0, &long, true));
            }
            assert!(frame.push_text(1, f64::from(at), i64::from(at), "", false));
            assert!(frame.push_image(2, &image(2 * at)) && frame.push_image(2, &image(2 * at + 1)));
            sender.send(frame).await;
        }
        sender.settle().await;
        let sender = sender.restart().await;
        let lines = sender.pages("note", 7, None).await;
        assert_eq!(lines.len(), 404);
        assert_eq!(
            (lines[0].text.as_str(), lines[0].x, lines[0].time),
            ("first of 0\nin two", Number(0.0), Micros(0))
        );
        assert_eq!((lines[1].text.len(), lines[1].continues, lines[2].continues), (TEXT_BYTES, true, false));
        assert_eq!(lines[403].x, Number(199.0));
        let found = sender.pages("note", 3, Some("OF 19")).await;
        assert_eq!(found.len(), 11);

        let mut query = ImagesQuery { limit: Some(9), ..ImagesQuery::default() };
        let mut images = Vec::new();
        loop {
            let page = sender
                .engine
                .read_images(&sender.grant, &sender.job, &name("picture"), &query)
                .await
                .unwrap();
            assert_eq!(page.total, 400);
            images.extend(page.images);
            query.index = page.next;
            if query.index.is_none() {
                break;
            }
        }
        assert_eq!(images.len(), 400);
        for (at, found) in (0..).zip(&images) {
            let sent = image(at);
            assert_eq!(
                (found.index, found.x, found.digest, found.width),
                (at.into(), Number(sent.x), sent.digest, at)
            );
            assert_eq!(found.name, sent.name);
        }
        let open = async |index| {
            sender
                .engine
                .open_image(&sender.grant, &sender.job, &name("picture"), index)
                .await
                .map(drop)
                .unwrap_err()
        };
        assert!(matches!(open(400).await, Refused::UnknownImage { index: 400, .. }));
        assert!(matches!(open(3).await, Refused::UnknownBlob { .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_text_is_bounded_in_bytes_and_goes_on() {
    for form in FORMS {
        let mut sender = Sender::of(form).await;
        let long = "y".repeat(TEXT_BYTES);
        for _ in 0..300 {
            let mut frame = sender.frame();
            assert!(frame.push_text(1, 0.0, 0, &long, false));
            sender.send(frame).await;
        }
        sender.settle().await;
        let first = sender.text("note", TextQuery::default()).await;
        assert!(first.lines.len() < 150, "{}", first.lines.len());
        assert_eq!(first.next, Some(first.lines.len() as u64));
        assert_eq!(sender.pages("note", 1_000, None).await.len(), 300);
        assert_eq!(sender.pages("note", 1_000, Some("z")).await.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_a_log_is_written_where_it_is() {
    for form in FORMS {
        let mut sender = Sender::of(form).await;
        for (offset, bytes) in [(0, &b"one\ntw"[..]), (1_006, b"rest\nlast")] {
            let mut frame = sender.frame();
            frame.push_log(3, offset, 1.0, 2, bytes);
            sender.send(frame).await;
        }
        sender.settle().await;
        let sender = sender.restart().await;
        let lines = sender.pages("sys/stdout", 10, None).await;
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["one", "tw", "[neptune: 1000 bytes of this log were lost]", "rest", "last"]);
        assert_eq!(sender.raw(2, 100).await, "e\ntwrest\nlast");
        assert_eq!(sender.engine.read_job(&sender.grant, &sender.job).await.unwrap().dropped_points, 1_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_of_many_small_pieces_is_one_line() {
    for form in FORMS {
        let mut sender = Sender::of(form).await;
        for at in 0..100 {
            let mut frame = sender.frame();
            frame.push_log(3, at, 0.0, 0, if at == 99 { b"\n" } else { b"." });
            sender.send(frame).await;
        }
        sender.settle().await;
        let lines = sender.pages("sys/stdout", 10, None).await;
        assert_eq!((lines.len(), lines[0].text.len()), (1, 99));
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_over_empty_lines_ends() {
    for form in FORMS {
        let mut sender = Sender::of(form).await;
        let (mut at, count) = (0, (64 << 20) / 64 + 10);
        let feeds = vec![b'\n'; count];
        while at < count {
            let mut frame = sender.frame();
            at += frame.push_log(3, at as u64, 0.0, 0, &feeds[at..]);
            sender.send(frame).await;
        }
        sender.settle().await;
        let search = |line| TextQuery { line: Some(line), search: Some("x".into()), ..TextQuery::default() };
        let page = sender.text("sys/stdout", search(0)).await;
        assert_eq!((page.lines.len(), page.next), (0, Some(1 << 20)));
        let page = sender.text("sys/stdout", search(1 << 20)).await;
        assert_eq!((page.lines.len(), page.next), (0, None));
    }
}

/// A reader may be sent to frames that are sealed and cleared before it gets there.
#[tokio::test(start_paused = true)]
async fn a_read_that_meets_a_round_finds_what_was_sealed() {
    let mut sender = Sender::new().await;
    for at in 0..10_u32 {
        let mut frame = sender.frame();
        assert!(frame.push_text(1, f64::from(at), 0, &format!("note {at}"), false));
        let image = ImageRecord {
            x: f64::from(at),
            time: 0,
            digest: Digest::from_bytes([1; 32]),
            width: at,
            height: 1,
            size_bytes: 1,
            name: String::new(),
            description: String::new(),
        };
        assert!(frame.push_image(2, &image));
        let line = format!("line {at}\n");
        assert_eq!(frame.push_log(3, u64::from(7 * at), 0.0, 0, line.as_bytes()), 7);
        sender.send(frame).await;
    }
    sender.settle().await;
    let heads = sender.engine.find_heads(&sender.grant, &sender.job).await.unwrap();
    let store = sender.engine.store().clone();
    let store = &store;
    for round in 0..4_u64 {
        // Something open again for each round, as the head lets go of all of it.
        let count = 10 + round;
        let (begun, go) = sender.kv.hold_frames();
        let read = async {
            match round {
                0 => lines::from(store, &heads, 1, 0).await.unwrap().len() as u64,
                1 => lines::from(store, &heads, 3, 10).await.unwrap().len() as u64 + 10,
                2 => images::from(store, &heads, 2, 9, 100).await.unwrap().len() as u64 + 9,
                _ => lines::log_bytes(store, &heads, 3, 70, 1_000).await.unwrap().len() as u64 / 7 + 10,
            }
        };
        let seal = async {
            begun.await.unwrap();
            sender.seal().await;
            go.send(()).unwrap();
        };
        let (found, ()) = futures::join!(read, seal);
        assert_eq!(found, count, "round {round}");
        let cleared = store.find_seal(&heads.uid).await.unwrap().unwrap().cleared;
        assert_eq!(store.find_frames(&heads.uid, &[cleared]).await.unwrap(), [None]);

        let mut frame = sender.frame();
        assert!(frame.push_text(1, 0.0, 0, "another", false));
        let image = ImageRecord {
            x: 0.0,
            time: 0,
            digest: Digest::from_bytes([1; 32]),
            width: 1,
            height: 1,
            size_bytes: 1,
            name: String::new(),
            description: String::new(),
        };
        assert!(frame.push_image(2, &image));
        assert_eq!(frame.push_log(3, 7 * count, 0.0, 0, b"line x\n"), 7);
        sender.send(frame).await;
        sender.settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn one_channel_is_read_by_its_name() {
    let mut sender = Sender::new().await;
    let mut frame = sender.frame();
    frame.push_log(3, 0, 0.0, 0, b"five!");
    sender.send(frame).await;
    sender.settle().await;
    let read = async |text: &str| sender.engine.read_channel(&sender.grant, &sender.job, &name(text)).await;
    let log = read("sys/stdout").await.unwrap();
    assert_eq!((log.name, log.summary.log_bytes), (name("sys/stdout"), Some(5)));
    assert!(matches!(read("none").await, Err(Refused::UnknownChannel { .. })));
}

#[tokio::test(start_paused = true)]
async fn envelopes_are_answered_in_the_asked_order() {
    let mut sender = Sender::new().await;
    let count = 200_000;
    let points: Vec<(f64, f64)> = (0..count).map(|at| (f64::from(at), f64::from(at % 7))).collect();
    sender.send_points(&points).await;
    let series = |job: &str| SeriesRef { job: job.parse().unwrap(), channel: name("loss") };
    let query = EnvelopeQuery {
        from: Some(10.0),
        to: Some(99.0),
        ..EnvelopeQuery::of(vec![series("TRIG-1"), series(&uid(1).to_string())], 3)
    };
    let envelopes = sender.engine.read_envelopes(&sender.grant, &query).await.unwrap();
    assert_eq!(envelopes[0], envelopes[1]);
    let one = &envelopes[0];
    assert_eq!((one.mark, one.count.iter().sum::<u64>()), (count as u64, 90));
    assert_eq!((one.x_first[0].0, one.x_last[2].0), (10.0, 99.0));
    assert_eq!((one.min[1].0, one.max[1].0), (0.0, 6.0));
    // By time all points are of one moment.
    let by_time = EnvelopeQuery { from: None, to: None, by: Axis::Time, ..query.clone() };
    let envelopes = sender.engine.read_envelopes(&sender.grant, &by_time).await.unwrap();
    assert_eq!(envelopes[0].count, [count as u64]);
    for wrong in [
        EnvelopeQuery { series: vec![], ..query.clone() },
        EnvelopeQuery { buckets: 0, ..query.clone() },
        EnvelopeQuery { from: Some(f64::NAN), ..query.clone() },
        EnvelopeQuery { from: Some(2.0), to: Some(1.0), ..query.clone() },
    ] {
        let refused = sender.engine.read_envelopes(&sender.grant, &wrong).await;
        assert!(matches!(refused, Err(Refused::Field { .. })), "{wrong:?}");
    }
    let unknown =
        EnvelopeQuery { series: vec![SeriesRef { channel: name("none"), ..series("TRIG-1") }], ..query };
    let refused = sender.engine.read_envelopes(&sender.grant, &unknown).await;
    assert!(matches!(refused, Err(Refused::UnknownChannel { .. })));
}

#[tokio::test(start_paused = true)]
async fn questions_that_cannot_be_are_refused() {
    let sender = Sender::new().await;
    let points = async |query: PointsQuery| {
        sender
            .engine
            .read_points(&sender.grant, &sender.job, &name("loss"), &query)
            .await
            .unwrap_err()
            .to_string()
    };
    let all = PointsQuery::default;
    assert_eq!(points(PointsQuery { limit: Some(0), ..all() }).await, "limit: must be 1 to 100000");
    assert_eq!(
        points(PointsQuery { from: Some(f64::NAN), ..all() }).await,
        "from: must be a number, not NaN"
    );
    let wrong = "cursor: must be `next` of the page before, with the same order";
    for cursor in ["", "a5", "x5", "x-", "xg-1", "x5-"] {
        assert_eq!(points(PointsQuery { cursor: Some(cursor.into()), ..all() }).await, wrong);
    }
    let text = async |query: TextQuery| {
        sender
            .engine
            .read_text(&sender.grant, &sender.job, &name("note"), &query)
            .await
            .unwrap_err()
            .to_string()
    };
    let all = TextQuery::default;
    assert_eq!(text(TextQuery { limit: Some(0), ..all() }).await, "limit: must be 1 to 10000");
    assert_eq!(text(TextQuery { tail: Some(20_000), ..all() }).await, "tail: must be 1 to 10000");
    assert_eq!(
        text(TextQuery { tail: Some(1), line: Some(1), ..all() }).await,
        "tail: cannot be given together with `line`"
    );
    let wrong_kind = sender.engine.read_text(&sender.grant, &sender.job, &name("loss"), &all()).await;
    assert!(matches!(wrong_kind, Err(Refused::ChannelKindDiffers { .. })));
    let no_log = sender.engine.read_log(&sender.grant, &sender.job, &name("note"), 0, 1).await;
    assert!(matches!(no_log, Err(Refused::Protocol { .. })));
    let beyond = sender.text("note", TextQuery { line: Some(5), ..all() }).await;
    assert_eq!((beyond.lines.len(), beyond.total, beyond.next), (0, 0, None));
}
