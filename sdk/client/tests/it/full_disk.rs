//! A disk that is really full.

use std::path::Path;
use std::time::{Duration, Instant};

use neptune_client::Writer;
use neptune_wire::Micros;

use super::peer::Peer;
use super::small_disk::with_small_disk;
use super::support::{LONG, numeric, settings, wait_until};

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
