//! Everything arrives, once, in order, bit for bit.

use std::time::{Duration, Instant};

use neptune_client::writer::LogStream;
use neptune_client::{ImageData, Writer, WriterSettings};
use neptune_wire::job::PatchJob;
use neptune_wire::{AttemptNumber, ChannelOrigin, CreateChart, Micros};

use super::peer::Peer;
use super::support::{LONG, files, name, numeric, settings, wait_until};

fn bits(points: &[(f64, f64, i64)]) -> Vec<(u64, u64, i64)> {
    points.iter().map(|(x, y, time)| (x.to_bits(), y.to_bits(), *time)).collect()
}

#[test]
fn every_bit_arrives_in_order() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "größe/µ (%)");
    let nan = f64::from_bits(0x7ff8_0000_dead_beef);
    let mut sent =
        vec![(f64::NAN, nan, i64::MIN), (-0.0, f64::INFINITY, 0), (3.0, f64::MIN_POSITIVE, i64::MAX)];
    sent.extend((0..50_000).map(|i| (f64::from(i % 77), f64::from(i).sqrt(), i64::from(i))));
    for (x, y, time) in &sent {
        channel.send(*x, *y, Micros(*time));
    }
    let flushed = writer.flush(LONG);
    assert!(flushed.all_acked, "{flushed:?} {:?}", told.lock().unwrap());
    assert_eq!((flushed.waiting_points, channel.acked_points()), (0, sent.len() as u64));
    assert_eq!(bits(&peer.numbers("größe/µ (%)")), bits(&sent));
    assert!(writer.close(LONG).all_acked);
    assert!(peer.state().sessions.values().all(|kept| kept.closed), "the session was closed");
    assert_eq!(files(spool.path()), Vec::<String>::new());
    assert_eq!(*told.lock().unwrap(), Vec::<String>::new());
}

#[test]
fn threads_write_thousands_of_channels_together() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            scope.spawn(move || {
                for i in 0..2_500 {
                    let own = numeric(writer, &format!("own/{thread}/{i}"));
                    let shared = numeric(writer, &format!("shared/{}", i % 10));
                    for x in 0..3 {
                        own.send_next(f64::from(x), Micros(7));
                        shared.send(f64::from(thread), f64::from(i * 3 + x), Micros(7));
                    }
                }
            });
        }
    });
    assert!(writer.flush(LONG).all_acked);
    for own in ["own/0/0", "own/3/2499"] {
        assert_eq!(peer.numbers(own), [(1.0, 0.0, 7), (2.0, 1.0, 7), (3.0, 2.0, 7)]);
    }
    let shared: Vec<_> = (0..10).flat_map(|i| peer.numbers(&format!("shared/{i}"))).collect();
    assert_eq!(shared.len(), 4 * 2_500 * 3);
    for thread in 0..4 {
        let one = peer.numbers("shared/3").into_iter().filter(|point| point.0 == f64::from(thread));
        let ys: Vec<_> = one.map(|point| point.1).collect();
        assert_eq!(ys.len(), 750);
        assert!(ys.is_sorted(), "one thread's points of a channel keep their order");
    }
}

#[test]
fn bulk_sends_equal_single_ones() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    let x: Vec<f64> = (0..300_000).map(f64::from).collect();
    let y: Vec<f64> = x.iter().map(|x| x.sin()).collect();
    numeric(&writer, "bulk").send_many(&x, &y, Micros(9));
    numeric(&writer, "bulk").send_next(0.5, Micros(10));
    assert!(writer.flush(LONG).all_acked);
    let mut expected: Vec<_> = x.iter().zip(&y).map(|(x, y)| (*x, *y, 9)).collect();
    expected.push((300_000.0, 0.5, 10));
    assert_eq!(peer.numbers("bulk"), expected);
}

#[test]
fn texts_and_logs_arrive_whole() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    let texts = writer.open_text(&name("notes")).unwrap();
    let sent = [String::new(), "größer".into(), "ä".repeat(100_000), "last".into()];
    for text in &sent {
        texts.send(None, text, Micros(1));
    }
    let log = writer.open_log(LogStream::Stdout).unwrap();
    let bytes: Vec<u8> = (0..500_000_u32).map(|i| (i * 31 % 251) as u8).collect();
    for piece in bytes.chunks(70_001) {
        log.send(0.0, piece, Micros(2));
    }
    assert!(writer.flush(LONG).all_acked);
    assert_eq!(peer.texts("notes"), sent);
    assert!(peer.log("sys/stdout") == bytes);
}

#[test]
fn an_image_follows_its_file_and_nothing_waits_for_it() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.blob_delay = Duration::from_millis(1500));
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    let (images, loss) = (writer.open_images(&name("samples")).unwrap(), numeric(&writer, "loss"));
    let image = |byte: u8| ImageData {
        bytes: vec![byte; 100_000].into(),
        x: None,
        time: Micros(1),
        width: 10,
        height: 20,
        name: "digit".into(),
        description: String::new(),
    };
    let begun = Instant::now();
    images.send(image(1));
    images.send(image(2));
    images.send(image(1));
    loss.send(1.0, 2.0, Micros(3));
    wait_until("the number is there", || loss.acked_points() == 1);
    assert!(begun.elapsed() < Duration::from_millis(1400), "the number waited for the image");
    assert_eq!(images.acked_points(), 0);
    assert!(writer.flush(LONG).all_acked);
    assert_eq!(images.acked_points(), 3);
    let found = peer.images("samples");
    assert_eq!(found.iter().map(|(x, _)| *x).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    assert!(found.iter().all(|(_, digest)| peer.state().blobs.contains_key(digest)));
    assert_eq!(peer.state().blobs.len(), 2);
    assert!(writer.close(LONG).all_acked);
    assert_eq!(files(spool.path()), Vec::<String>::new());
}

#[test]
fn requests_keep_their_order() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    for i in 0..5 {
        writer.patch_job(PatchJob { name: Some(format!("name {i}")), ..PatchJob::default() });
        writer.create_chart(CreateChart { name: format!("chart {i}").parse().unwrap(), series: vec![] });
    }
    assert!(writer.flush(LONG).all_acked);
    let state = peer.state();
    let bodies: Vec<_> = state.requests.iter().map(|(.., body)| body.as_str()).collect();
    assert_eq!(bodies.len(), 10);
    for (i, pair) in bodies.chunks(2).enumerate() {
        assert!(
            pair[0].contains(&format!("name {i}")) && pair[1].contains(&format!("chart {i}")),
            "{pair:?}"
        );
    }
    let head = &state.headers[0];
    assert!(head.contains("neptune-client: ") && head.contains("uthorization: Bearer secret"), "{head}");
}

#[test]
fn a_closed_writer_takes_nothing_and_keeps_nothing() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    let channel = numeric(&writer, "loss");
    channel.send(1.0, 1.0, Micros(0));
    assert!(writer.close(LONG).all_acked);
    for x in 0..100_000 {
        channel.send(f64::from(x), 1.0, Micros(0));
        numeric(&writer, "late").send(f64::from(x), 1.0, Micros(0));
    }
    let begun = Instant::now();
    assert_eq!((writer.close(LONG).waiting_points, writer.flush(LONG).waiting_points), (0, 0));
    drop(writer);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((peer.xs("loss"), peer.xs("late")), (vec![1.0], vec![]));
}

#[test]
fn changes_of_a_job_are_bounded_too() {
    let (peer, spool) = (Peer::absent(), tempfile::tempdir().unwrap());
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    for i in 0..10_005 {
        writer.patch_job(PatchJob { name: Some(format!("name {i}")), ..PatchJob::default() });
    }
    let told = told.lock().unwrap();
    assert!(told.len() == 1 && told[0].contains("10000 changes of this job wait"), "{told:?}");
}

#[test]
fn names_and_kinds_are_checked_at_the_door() {
    let spool = tempfile::tempdir().unwrap();
    let writer = Writer::open(WriterSettings::new(
        "TRIG-1".parse().unwrap(),
        AttemptNumber(1),
        None,
        spool.path().into(),
    ));
    numeric(&writer, "loss");
    let error = writer.open_text(&name("loss")).unwrap_err().to_string();
    assert!(error.contains("is numeric, not text"), "{error}");
    assert!(writer.open_numeric(&name("sys/cpu"), ChannelOrigin::User).is_err());
    assert!(writer.open_numeric(&name("cpu"), ChannelOrigin::System).is_err());
    assert!(writer.open_numeric(&name("sys/cpu"), ChannelOrigin::System).is_ok());
}
