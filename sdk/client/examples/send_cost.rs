//! What one `send` costs the program, without a server: `cargo run --release -p neptune-client --example send_cost`.
#![allow(clippy::print_stdout, reason = "an example talks to a terminal")]

use std::time::{Duration, Instant};

use neptune_client::writer::now;
use neptune_client::{Writer, WriterSettings};
use neptune_wire::{AttemptNumber, ChannelName, ChannelOrigin, Micros};

fn main() {
    let folder = std::env::temp_dir().join(format!("send-cost-{}", std::process::id()));
    let job = "TRIG-1".parse().expect("it is a job id");
    let mut settings = WriterSettings::new(job, AttemptNumber(1), None, folder.clone());
    settings.limits.disk_free_bytes = 0;
    let writer = Writer::open(settings);
    let name = ChannelName::new("loss").expect("it is a name");
    let channel = writer.open_numeric(&name, ChannelOrigin::User).expect("it is new");
    let points: u32 = std::env::args().nth(1).map_or(2_000_000, |count| count.parse().expect("a count"));
    // One point after another, with its clock, as a program sends them.
    let mut costs = Vec::with_capacity(points as usize);
    let begun = Instant::now();
    for x in 0..points {
        let before = Instant::now();
        channel.send(f64::from(x), f64::from(x) * 0.1, now());
        costs.push(before.elapsed());
    }
    let each = begun.elapsed() / points;
    costs.sort();
    let at = |part: f64| costs[((costs.len() - 1) as f64 * part) as usize];
    println!(
        "send with both clocks: {each:?} each; p50 {:?}, p99 {:?}, p99.9 {:?}, max {:?}",
        at(0.5),
        at(0.99),
        at(0.999),
        at(1.0)
    );
    let begun = Instant::now();
    for x in 0..points {
        channel.send(f64::from(x), f64::from(x) * 0.1, Micros(7));
    }
    println!("send in a tight loop: {:?} each", begun.elapsed() / points);
    let x: Vec<f64> = (0..points).map(f64::from).collect();
    let begun = Instant::now();
    channel.send_many(&x, &x, Micros(7));
    println!("send_many: {:?} for {points} points", begun.elapsed());
    println!("{:?} {:?}", writer.flush(Duration::from_secs(60)), writer.stats());
    let _ = std::fs::remove_dir_all(folder);
}
