//! What breaks, breaks; what was sent arrives all the same, once.

use std::time::{Duration, Instant};

use neptune_client::{ImageData, JobFolder, LogStream, Writer};
use neptune_wire::Micros;
use neptune_wire::job::PatchJob;
use neptune_wire::problem::Code;

use super::peer::Peer;
use super::support::{LONG, files, job_file, name, numeric, settings, upload, wait_until};

fn image(byte: u8) -> ImageData {
    let (name, description) = (String::new(), String::new());
    ImageData {
        bytes: vec![byte; 5_000].into(),
        x: None,
        time: Micros(1),
        width: 1,
        height: 1,
        name,
        description,
    }
}

#[test]
fn broken_connections_and_doubled_answers_change_nothing() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| (faults.break_chance, faults.ack_times) = (0.2, 3));
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    let begun = Instant::now();
    let mut sent = 0_u32;
    while begun.elapsed() < Duration::from_secs(4) || peer.state().connections < 5 {
        for _ in 0..200 {
            channel.send(f64::from(sent), 0.5, Micros(i64::from(sent)));
            sent += 1;
        }
        std::thread::sleep(Duration::from_millis(2));
        assert!(begun.elapsed() < LONG);
    }
    peer.set(|faults| faults.break_chance = 0.0);
    assert!(writer.flush(LONG).all_acked);
    let xs: Vec<_> = peer.numbers("loss").iter().map(|point| point.0).collect();
    assert!(xs == (0..sent).map(f64::from).collect::<Vec<_>>(), "{} of {sent}", xs.len());
    assert_eq!(channel.acked_points(), u64::from(sent));
    assert_eq!(peer.dropped(), 0);
    assert!(writer.close(LONG).all_acked);
    assert_eq!(files(spool.path()), Vec::<String>::new(), "{:?}", told.lock().unwrap());
}

#[test]
fn a_server_that_is_killed_again_and_again_gets_everything_once() {
    let (mut peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let writer = Writer::open(settings(&peer.url(), spool.path()).0);
    let (numbers, texts) = (numeric(&writer, "loss"), writer.open_text(&name("notes")).unwrap());
    let images = writer.open_images(&name("samples")).unwrap();
    let mut sent = 0_u32;
    for round in 0..4_u8 {
        for part in 0..100 {
            for _ in 0..50 {
                numbers.send(f64::from(sent), f64::from(sent) * 0.1, Micros(0));
                sent += 1;
            }
            texts.send(None, &format!("{round} {part}"), Micros(0));
            std::thread::sleep(Duration::from_millis(4));
            if part == 50 {
                peer.kill();
                images.send(image(round));
            }
        }
        std::thread::sleep(Duration::from_millis(if round == 1 { 1500 } else { 10 }));
        peer.restart();
    }
    assert!(writer.flush(LONG).all_acked);
    let xs: Vec<_> = peer.numbers("loss").iter().map(|point| point.0).collect();
    assert!(xs == (0..sent).map(f64::from).collect::<Vec<_>>(), "{} of {sent}", xs.len());
    assert_eq!(peer.texts("notes").len(), 400);
    assert_eq!(peer.images("samples").len(), 4);
    assert!(writer.close(LONG).all_acked);
    assert_eq!(files(spool.path()), Vec::<String>::new());
}

#[test]
fn what_waits_on_disk_is_sent_when_the_server_comes() {
    let (mut peer, spool) = (Peer::absent(), tempfile::tempdir().unwrap());
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    for x in 0..100_000 {
        channel.send(f64::from(x), 1.0, Micros(5));
    }
    writer.patch_job(PatchJob { name: Some("late".into()), ..PatchJob::default() });
    writer.open_images(&name("samples")).unwrap().send(image(7));
    wait_until("all is on disk", || {
        let found = files(spool.path());
        ["frames-", "requests.log", "blobs/"].iter().all(|part| found.iter().any(|file| file.contains(part)))
    });
    assert!(writer.stats().memory_bytes < 1 << 20, "{:?}", writer.stats());
    wait_until("it is told", || !told.lock().unwrap().is_empty());
    let flushed = writer.flush(Duration::from_secs(20));
    assert!(!flushed.all_acked && flushed.waiting_points == 100_001, "{flushed:?}");
    assert_eq!(flushed.spool.as_deref(), Some(spool.path()));

    peer.restart();
    wait_until("all is sent", || writer.stats().acked_points == 100_001);
    assert!(writer.flush(LONG).all_acked);
    assert_eq!(peer.numbers("loss").len(), 100_000);
    assert_eq!(peer.state().requests.len(), 1);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("cannot be reached") && told[1].contains("again"), "{told:?}");
    assert!(writer.close(LONG).all_acked);
    assert_eq!(files(spool.path()), Vec::<String>::new());
}

#[test]
fn a_server_that_says_nothing_costs_no_memory_and_no_time() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.mute = true);
    let (mut settings, told) = settings(&peer.url(), spool.path());
    settings.limits.memory_bytes = 4 << 20;
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    let mut slowest = Duration::ZERO;
    for x in 0..2_000_000_u32 {
        let begun = Instant::now();
        channel.send(f64::from(x), f64::from(x).sqrt(), Micros(i64::from(x)));
        slowest = slowest.max(begun.elapsed());
        if x % 50_000 == 0 {
            assert!(writer.stats().memory_bytes <= 5 << 20, "{:?}", writer.stats());
        }
    }
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    peer.set(|faults| faults.mute = false);
    assert!(writer.flush(LONG).all_acked, "{:?}", writer.stats());
    assert_eq!((peer.dropped(), writer.stats().dropped_points), (0, 0), "{:?}", told.lock().unwrap());
    let points = peer.numbers("loss");
    assert!(points.len() == 2_000_000 && points.iter().enumerate().all(|(i, point)| point.0 == i as f64));
}

#[test]
fn what_finds_no_room_is_counted_and_reported() {
    let (mut peer, spool) = (Peer::absent(), tempfile::tempdir().unwrap());
    let (mut settings, told) = settings(&peer.url(), spool.path());
    (settings.limits.memory_bytes, settings.limits.spool_bytes) = (1 << 20, 2 << 20);
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    let mut sent = 0_u32;
    let begun = Instant::now();
    while !told.lock().unwrap().iter().any(|notice| notice.contains("being dropped")) {
        for _ in 0..1000 {
            channel.send(f64::from(sent), f64::from(sent).sqrt(), Micros(0));
            sent += 1;
        }
        assert!(begun.elapsed() < LONG);
    }
    // With everything full a send costs no wait at all.
    let begun = Instant::now();
    for _ in 0..100_000 {
        channel.send(f64::from(sent), f64::from(sent).sqrt(), Micros(0));
        sent += 1;
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    peer.restart();
    wait_until("there is room again", || writer.flush(LONG).all_acked && peer.dropped() > 0);
    channel.send(-1.0, 0.0, Micros(0));
    assert!(writer.flush(LONG).all_acked);
    let points = peer.numbers("loss");
    assert_eq!(points.last().unwrap().0, -1.0);
    assert_eq!(points.len() as u64 - 1 + peer.dropped(), u64::from(sent));
    assert_eq!(writer.stats().dropped_points, peer.dropped());
    assert!(points[..points.len() - 1].is_sorted_by(|a, b| a.0 < b.0), "what arrived is in order, once");
}

#[test]
fn a_log_says_where_bytes_are_missing() {
    let (mut peer, spool) = (Peer::absent(), tempfile::tempdir().unwrap());
    let (mut settings, told) = settings(&peer.url(), spool.path());
    (settings.limits.memory_bytes, settings.limits.spool_bytes) = (256 << 10, 256 << 10);
    let writer = Writer::open(settings);
    let log = writer.open_log(LogStream::Stderr).unwrap();
    let line = |i: u32| format!("line {i:010} {}\n", "x".repeat(1000)).into_bytes();
    let (mut lines, begun) = (0, Instant::now());
    while !told.lock().unwrap().iter().any(|notice| notice.contains("being dropped")) {
        log.send(0.0, &line(lines), Micros(0));
        lines += 1;
        assert!(begun.elapsed() < LONG);
    }
    peer.restart();
    // Nothing but a further piece can say what was lost before it.
    wait_until("there is room again", || {
        log.send(0.0, &line(lines), Micros(0));
        lines += 1;
        writer.flush(LONG).all_acked && peer.dropped() > 0
    });
    // The last one may have been lost as well. Nothing waits any more, so this one finds room.
    log.send(0.0, &line(lines), Micros(0));
    lines += 1;
    assert!(writer.flush(LONG).all_acked);
    let (found, whole) = (peer.log("sys/stderr"), (0..lines).flat_map(line).collect::<Vec<_>>());
    assert_eq!(found.len(), whole.len());
    let lost = found.iter().zip(&whole).filter(|(found, sent)| found != sent).count() as u64;
    assert!(lost > 0 && lost == peer.dropped(), "{lost} of {}", peer.dropped());
    assert!(found.iter().zip(&whole).all(|(found, sent)| found == sent || *found == b'?'));
    assert_eq!(writer.stats().dropped_points, peer.dropped());
}

#[test]
fn a_server_with_a_full_disk_is_waited_for() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    channel.send(0.0, 1.0, Micros(0));
    assert!(writer.flush(LONG).all_acked);
    peer.set(|faults| faults.full = true);
    for x in 1..100 {
        channel.send(f64::from(x), 1.0, Micros(0));
        std::thread::sleep(Duration::from_millis(15));
    }
    wait_until("it waits on disk", || writer.stats().spool_bytes > 0);
    assert!(told.lock().unwrap()[0].contains("disk is full"), "{:?}", told.lock().unwrap());
    peer.set(|faults| faults.full = false);
    assert!(writer.flush(Duration::from_secs(3)).all_acked, "what the server heard is acknowledged at once");
    assert_eq!(peer.xs("loss"), (0..100).map(f64::from).collect::<Vec<_>>());
    assert_eq!((peer.state().connections, told.lock().unwrap().len()), (1, 1));
}

#[test]
fn a_refused_channel_costs_the_others_nothing() {
    for late in [false, true] {
        let (mut peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
        peer.set(|faults| faults.refuse_channels = ["bad".to_owned()].into());
        if late {
            peer.kill();
        }
        let (settings, told) = settings(&peer.url(), spool.path());
        let writer = Writer::open(settings);
        let (good, bad) = (numeric(&writer, "good"), numeric(&writer, "bad"));
        for x in 0..1000 {
            good.send(f64::from(x), 1.0, Micros(0));
            bad.send(f64::from(x), 1.0, Micros(0));
        }
        if late {
            wait_until("it is on disk", || writer.stats().spool_bytes > 0);
            peer.restart();
            wait_until("it is sent", || good.acked_points() == 1000);
        }
        assert!(writer.flush(LONG).all_acked);
        for _ in 0..500 {
            bad.send(0.0, 1.0, Micros(0));
        }
        assert!(writer.flush(LONG).all_acked);
        assert_eq!((good.acked_points(), bad.acked_points()), (1000, 0));
        assert_eq!(writer.stats().refused_points, 1500);
        assert_eq!(peer.numbers("good").len(), 1000);
        assert_eq!(peer.dropped(), 1000, "what stood beside good points is reported");
        assert_eq!(
            peer.state().sessions.values().map(|kept| kept.refused).sum::<u64>(),
            1,
            "the rest was refused"
        );
        let told = told.lock().unwrap();
        assert_eq!(
            told.iter().filter(|notice| notice.contains("channel \"bad\" is refused")).count(),
            1,
            "{told:?}"
        );
    }
}

#[test]
fn a_refused_image_is_counted_and_blocks_nothing() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.blob_problem = Some(Code::TooLarge));
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let images = writer.open_images(&name("samples")).unwrap();
    images.send(image(1));
    assert!(writer.flush(LONG).all_acked);
    peer.set(|faults| faults.blob_problem = None);
    images.send(image(2));
    assert!(writer.flush(LONG).all_acked);
    assert_eq!((peer.images("samples").len(), peer.dropped()), (1, 1));
    assert_eq!((images.acked_points(), writer.stats().refused_points), (1, 1));
    assert_eq!(told.lock().unwrap().len(), 1, "{:?}", told.lock().unwrap());
}

#[test]
fn a_wrong_token_is_said_once_and_keeps_everything() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.unauthorized = true);
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    channel.send(1.0, 1.0, Micros(0));
    wait_until("it is on disk", || writer.stats().spool_bytes > 0);
    wait_until("it was tried again", || peer.state().headers.len() >= 3);
    let heard = told.lock().unwrap().clone();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(heard[0].contains("not signed in") && heard[0].contains("neptune sync"), "{heard:?}");
    peer.set(|faults| faults.unauthorized = false);
    wait_until("it is sent", || channel.acked_points() == 1);
}

#[test]
fn what_does_not_arrive_in_time_is_named() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.mute = true);
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    (0..10).for_each(|x| channel.send(f64::from(x), 1.0, Micros(0)));
    let (begun, flushed) = (Instant::now(), writer.close(Duration::from_millis(300)));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert_eq!((flushed.all_acked, flushed.waiting_points), (false, 10));
    assert!(files(spool.path()).iter().any(|file| file.contains("frames-")), "all of it is on disk");
    wait_until("it is told", || !told.lock().unwrap().is_empty());
    assert!(told.lock().unwrap()[0].contains("not everything reached"), "{:?}", told.lock().unwrap());
}

#[test]
fn a_superseded_writer_stops() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.open_problem = Some(Code::Superseded));
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    wait_until("it hears", || writer.stats().superseded);
    for x in 0..1000 {
        channel.send(f64::from(x), 1.0, Micros(0));
    }
    let begun = Instant::now();
    assert!(!writer.flush(LONG).all_acked);
    assert!(!writer.close(LONG).all_acked);
    assert!(begun.elapsed() < Duration::from_secs(5), "nothing is waited for");
    assert_eq!(peer.state().connections, 1);
    assert_eq!(told.lock().unwrap().len(), 1);
    assert_eq!(files(spool.path()), Vec::<String>::new());
}

#[test]
fn what_is_no_neptune_server_is_named() {
    for garbage in [
        &b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>"[..],
        &b"\x00\xff\x00\xffrubbish\r\n\r\n"[..],
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
    ] {
        let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
        peer.set(|faults| faults.garbage = Some(garbage.into()));
        let (settings, told) = settings(&peer.url(), spool.path());
        let writer = Writer::open(settings);
        let channel = numeric(&writer, "loss");
        channel.send(1.0, 1.0, Micros(0));
        wait_until("it is said", || !told.lock().unwrap().is_empty());
        let heard = told.lock().unwrap()[0].clone();
        assert!(heard.contains("does not answer like a Neptune server"), "{heard}");
        peer.set(|faults| faults.garbage = None);
        wait_until("it is sent", || channel.acked_points() == 1);
    }
}

#[test]
fn a_dropped_writer_leaves_its_data_on_disk_in_time() {
    let (peer, spool) = (Peer::absent(), tempfile::tempdir().unwrap());
    let (settings, told) = settings(&peer.url(), spool.path());
    let writer = Writer::open(settings);
    numeric(&writer, "loss").send(1.0, 2.0, Micros(3));
    let begun = Instant::now();
    drop(writer);
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    assert!(files(spool.path()).iter().any(|file| file.contains("frames-")));
    assert_eq!(told.lock().unwrap().len(), 1, "{:?}", told.lock().unwrap());
}

#[test]
fn an_image_whose_file_is_there_and_whose_point_is_not_is_spooled_with_its_file() {
    let (peer, root) = (Peer::start(), tempfile::tempdir().unwrap());
    peer.set(|faults| faults.mute = true);
    let folder = JobFolder::create(root.path(), job_file(&peer.url(), true)).unwrap();
    let (mut settings, _) = settings(&peer.url(), folder.path());
    settings.drop_within = Duration::from_millis(10);
    let writer = Writer::open(settings);
    let images = writer.open_images(&name("samples")).unwrap();
    images.send(image(1));
    wait_until("its file is there", || peer.state().blobs.len() == 1);
    // The same picture again: its file is not sent a second time, and may have to be kept all the same.
    images.send(image(1));
    let flushed = writer.close(Duration::from_millis(10));
    assert_eq!((flushed.all_acked, flushed.waiting_points), (false, 2));
    assert!(files(root.path()).iter().any(|file| file.contains("blobs/")), "{:?}", files(root.path()));
    drop((writer, folder));
    peer.set(|faults| faults.mute = false);
    assert_eq!(upload(&peer, root.path()).done.len(), 1);
    assert_eq!((peer.images("samples").len(), peer.dropped()), (2, 0));
}

#[test]
fn what_is_larger_than_all_memory_is_refused_and_costs_the_others_nothing() {
    let (peer, spool) = (Peer::start(), tempfile::tempdir().unwrap());
    let (mut settings, told) = settings(&peer.url(), spool.path());
    (settings.limits.memory_bytes, settings.limits.image_memory_bytes) = (1 << 20, 4_000);
    let writer = Writer::open(settings);
    let (texts, images) =
        (writer.open_text(&name("notes")).unwrap(), writer.open_images(&name("samples")).unwrap());
    let (loss, log) = (numeric(&writer, "loss"), writer.open_log(LogStream::Stdout).unwrap());
    let (long, bytes) = ("x".repeat(2 << 20), vec![b'y'; 3 << 20]);
    assert!(!texts.may_wait(&long));
    for x in 0..3 {
        texts.send(None, &long, Micros(0));
        images.send(image(1));
        loss.send(f64::from(x), 1.0, Micros(0));
    }
    texts.send(None, "short", Micros(0));
    assert!(writer.flush(LONG).all_acked);
    assert_eq!((peer.xs("loss").len(), peer.texts("notes")), (3, vec!["short".to_owned()]));
    assert_eq!((writer.stats().dropped_points, peer.dropped()), (6, 6));
    // A log has pieces of any size.
    log.send(0.0, &bytes, Micros(0));
    assert!(writer.flush(LONG).all_acked);
    assert!(peer.log("sys/stdout") == bytes);
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("2097152 bytes") && told[0].contains("\"notes\": at most 1048576"), "{told:?}");
    assert!(told[1].contains("5000 bytes") && told[1].contains("\"samples\": at most 4000"), "{told:?}");
}
