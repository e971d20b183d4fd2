//! A program that sends numbered points through a Writer and keeps a log of its own of what was acknowledged.
//!
//! ```text
//! crash-client URL JOB ATTEMPT TOKEN SPOOL LOG STEPS
//! ```
//!
//! Step i sends (i, i) to `in order`, (some other x, i) to `out of order`, and every tenth step a text. The log gets a
//! line `in order|out of order|text N` whenever more was acknowledged, written before anything else is sent, and a line
//! `safe in order|out of order|text N` with how much was sent [`SAFE_AFTER`] ago: that survives this program's own end.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use neptune_client::writer::{SPOOL_AFTER, now};
use neptune_client::{Access, Writer, WriterSettings};
use neptune_wire::{AttemptNumber, ChannelName, ChannelOrigin};

const CHANNELS: [&str; 3] = ["in order", "out of order", "text"];
/// What is not acknowledged lies in the spool by then, also when the machine is busy.
const SAFE_AFTER: Duration = SPOOL_AFTER.saturating_add(Duration::from_millis(500));
/// Steps between two notes of how much is safe.
const NOTE_EVERY: u64 = 100;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, job, attempt, token, spool, log, steps] = &arguments[..] else {
        anyhow::bail!("usage: crash-client URL JOB ATTEMPT TOKEN SPOOL LOG STEPS");
    };
    let access = Access { url: url.clone(), token: Some(token.clone()) };
    let mut settings =
        WriterSettings::new(job.parse()?, AttemptNumber(attempt.parse()?), Some(access), spool.into());
    // The disk of a test machine may be nearly full, which is not what this is about.
    settings.limits.disk_free_bytes = 0;
    let writer = Writer::open(settings);
    let [in_order, out_of_order, text] = CHANNELS.map(ChannelName::new);
    let in_order = writer.open_numeric(&in_order?, ChannelOrigin::User)?;
    let out_of_order = writer.open_numeric(&out_of_order?, ChannelOrigin::User)?;
    let text = writer.open_text(&text?)?;
    let mut log = AckedLog { file: File::create(log)?, acked: [0; 3], sent: VecDeque::new() };
    let steps: u64 = steps.parse()?;
    for i in 0..steps {
        in_order.send(i as f64, i as f64, now());
        out_of_order.send((i * 7919 % steps) as f64, i as f64, now());
        if i % 10 == 0 {
            text.send(Some(i as f64), &format!("line {i}"), now());
        }
        log.note([in_order.acked_points(), out_of_order.acked_points(), text.acked_points()])?;
        if i % NOTE_EVERY == 0 {
            log.note_sent([i + 1, i + 1, i / 10 + 1])?;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    let flushed = writer.close(Duration::from_secs(60));
    log.note([in_order.acked_points(), out_of_order.acked_points(), text.acked_points()])?;
    ensure!(flushed.all_acked, "{} points wait in {:?}", flushed.waiting_points, flushed.spool);
    writeln!(log.file, "end").context("the log of acknowledged points")
}

struct AckedLog {
    file: File,
    acked: [u64; 3],
    /// How much was sent, and when, that is not known to be safe.
    sent: VecDeque<(Instant, [u64; 3])>,
}

impl AckedLog {
    fn note(&mut self, acked: [u64; 3]) -> Result<()> {
        for (name, (before, now)) in CHANNELS.iter().zip(self.acked.iter_mut().zip(acked)) {
            if now > *before {
                *before = now;
                writeln!(self.file, "{name} {now}")?;
            }
        }
        Ok(())
    }

    fn note_sent(&mut self, sent: [u64; 3]) -> Result<()> {
        self.sent.push_back((Instant::now(), sent));
        while let Some((_, sent)) = self.sent.pop_front_if(|(when, _)| when.elapsed() > SAFE_AFTER) {
            for (name, count) in CHANNELS.iter().zip(sent) {
                writeln!(self.file, "safe {name} {count}")?;
            }
        }
        Ok(())
    }
}
