//! A disk that is really full.

use std::path::Path;
use std::time::{Duration, Instant};

use neptune_client::{JobFolder, Writer};
use neptune_wire::Micros;
use neptune_wire::job::PatchJob;

use super::peer::Peer;
use super::small_disk::with_small_disk;
use super::support::{LONG, job_file, numeric, settings, upload, wait_until};

#[test]
fn a_full_disk_costs_points_and_nothing_else() {
    with_small_disk("it::full_disk::a_full_disk_costs_points_and_nothing_else", 4 << 10, fill_and_empty);
}

fn fill_and_empty(disk: &Path) {
    let mut peer = Peer::absent();
    let (mut settings, told) = settings(&peer.url(), disk);
    settings.limits.memory_bytes = 1 << 20;
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    let mut sent = 0_u32;
    let begun = Instant::now();
    while writer.stats().dropped_points == 0 {
        for _ in 0..1000 {
            channel.send(f64::from(sent), f64::from(sent).sqrt(), Micros(0));
            sent += 1;
        }
        assert!(begun.elapsed() < LONG, "{:?}", writer.stats());
    }
    let begun = Instant::now();
    for _ in 0..100_000 {
        channel.send(f64::from(sent), f64::from(sent).sqrt(), Micros(0));
        sent += 1;
    }
    assert!(begun.elapsed() < Duration::from_secs(1), "nobody waits for a full disk: {:?}", begun.elapsed());
    assert!(
        told.lock().unwrap().iter().any(|notice| notice.contains("its disk has")),
        "{:?}",
        told.lock().unwrap()
    );

    // The server comes: the disk empties, everything that was kept arrives, and the rest is counted.
    peer.restart();
    wait_until("all is sent", || writer.flush(LONG).all_acked && peer.dropped() > 0);
    channel.send(-1.0, 0.0, Micros(0));
    assert!(writer.flush(LONG).all_acked);
    let xs = peer.xs("loss");
    assert_eq!(xs.len() as u64 - 1 + peer.dropped(), u64::from(sent));
    assert!(xs[..xs.len() - 1].is_sorted_by(|a, b| a < b) && xs.last() == Some(&-1.0));
    assert!(writer.close(LONG).all_acked);
    assert!(
        !disk.join("sessions").exists() || std::fs::read_dir(disk.join("sessions")).unwrap().count() == 0
    );
}

#[test]
fn the_last_points_may_use_what_a_disk_keeps_free() {
    with_small_disk("it::full_disk::the_last_points_may_use_what_a_disk_keeps_free", 4 << 10, |disk| {
        // Less is left than the tenth that must stay free.
        std::fs::write(disk.join("ballast"), vec![1; (4 << 20) - (200 << 10)]).unwrap();
        let (mut peer, root) = (Peer::absent(), disk.join("spool"));
        let folder = JobFolder::create(&root, job_file(&peer.url(), true)).unwrap();
        let (mut settings, told) = settings(&peer.url(), folder.path());
        settings.limits.disk_free_bytes = 1 << 30;
        let writer = Writer::open(settings);
        let channel = numeric(&writer, "loss");
        (0..10).for_each(|x| channel.send(f64::from(x), 1.0, Micros(0)));
        wait_until("the spool is refused", || {
            told.lock().unwrap().iter().any(|notice| notice.contains("must stay free"))
        });
        let flushed = writer.flush(Duration::from_millis(10));
        assert_eq!((flushed.all_acked, flushed.waiting_points, flushed.spool), (false, 10, None));
        let flushed = writer.close(Duration::from_millis(10));
        assert_eq!((flushed.waiting_points, flushed.spool.as_deref()), (10, Some(folder.path())));
        assert!(
            !told.lock().unwrap().iter().any(|notice| notice.contains("lost")),
            "{:?}",
            told.lock().unwrap()
        );
        drop((writer, folder));
        peer.restart();
        assert_eq!(upload(&peer, &root).done.len(), 1);
        assert_eq!(peer.xs("loss"), (0..10).map(f64::from).collect::<Vec<_>>());
    });
}

#[test]
fn a_disk_without_any_room_keeps_what_fits_and_the_rest_is_named() {
    with_small_disk(
        "it::full_disk::a_disk_without_any_room_keeps_what_fits_and_the_rest_is_named",
        4 << 10,
        |disk| {
            let (mut peer, root) = (Peer::absent(), disk.join("spool"));
            let folder = JobFolder::create(&root, job_file(&peer.url(), true)).unwrap();
            let (settings, told) = settings(&peer.url(), folder.path());
            let writer = Writer::open(settings);
            let channel = numeric(&writer, "loss");
            let mut seed = 1_u64;
            for x in 0..1_000_000 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                channel.send(f64::from(x), f64::from_bits(seed >> 2), Micros(0));
            }
            let flushed = writer.close(Duration::from_millis(10));
            assert_eq!((flushed.waiting_points, flushed.spool.as_deref()), (1_000_000, Some(folder.path())));
            drop(writer);
            let told = told.lock().unwrap();
            let lost = told.iter().find_map(|notice| notice.split_once("): points: ")).expect("it is told").1;
            drop(folder);
            peer.restart();
            assert_eq!(upload(&peer, &root).done.len(), 1);
            let xs = peer.xs("loss");
            assert!(xs.len() > 50_000 && xs.iter().enumerate().all(|(i, x)| *x == i as f64), "{}", xs.len());
            assert_eq!(lost, (1_000_000 - xs.len()).to_string());
        },
    );
}

#[test]
fn a_spool_that_takes_nothing_is_not_said_to_hold_anything() {
    let (peer, place) = (Peer::absent(), tempfile::tempdir().unwrap());
    let spool = place.path().join("a file where the folder should be");
    std::fs::write(&spool, "").unwrap();
    let (settings, told) = settings(&peer.url(), &spool);
    let writer = Writer::open(settings);
    let channel = numeric(&writer, "loss");
    (0..10).for_each(|x| channel.send(f64::from(x), 1.0, Micros(0)));
    writer.patch_job(PatchJob { name: Some("late".into()), ..PatchJob::default() });
    let flushed = writer.close(Duration::from_millis(10));
    assert_eq!((flushed.all_acked, flushed.waiting_points, flushed.spool), (false, 10, None));
    drop(writer);
    let told = told.lock().unwrap();
    assert!(told.iter().all(|notice| !notice.contains("neptune sync")), "{told:?}");
    assert!(told.last().unwrap().ends_with("points: 10, changes of the job: 1"), "{told:?}");
}
