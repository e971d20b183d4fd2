//! A program that sends numbered points through a Writer and keeps a log of its own of what was acknowledged.
//!
//! ```text
//! crash-client URL JOB ATTEMPT TOKEN SPOOL LOG STEPS
//! ```
//!
//! Step i sends (i, i) to `in order`, (some other x, i) to `out of order`, and every tenth step a text. The log gets a
//! line `in order|out of order|text N` whenever more was acknowledged, written before anything else is sent.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use neptune_client::writer::now;
use neptune_client::{Access, Writer, WriterSettings};
use neptune_wire::{AttemptNumber, ChannelName, ChannelOrigin};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, job, attempt, token, spool, log, steps] = &arguments[..] else {
        anyhow::bail!("usage: crash-client URL JOB ATTEMPT TOKEN SPOOL LOG STEPS");
    };
    let access = Access { url: url.clone(), token: Some(token.clone()) };
    let settings =
        WriterSettings::new(job.parse()?, AttemptNumber(attempt.parse()?), Some(access), spool.into());
    let writer = Writer::open(settings);
    let in_order = writer.open_numeric(&ChannelName::new("in order")?, ChannelOrigin::User)?;
    let out_of_order = writer.open_numeric(&ChannelName::new("out of order")?, ChannelOrigin::User)?;
    let text = writer.open_text(&ChannelName::new("text")?)?;
    let mut log = AckedLog { file: File::create(log)?, acked: [0; 3] };
    let steps: u64 = steps.parse()?;
    for i in 0..steps {
        in_order.send(i as f64, i as f64, now());
        out_of_order.send((i * 7919 % steps) as f64, i as f64, now());
        if i % 10 == 0 {
            text.send(Some(i as f64), &format!("line {i}"), now());
        }
        log.note([in_order.acked_points(), out_of_order.acked_points(), text.acked_points()])?;
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
}

impl AckedLog {
    fn note(&mut self, acked: [u64; 3]) -> Result<()> {
        for (name, (before, now)) in
            ["in order", "out of order", "text"].iter().zip(self.acked.iter_mut().zip(acked))
        {
            if now > *before {
                *before = now;
                writeln!(self.file, "{name} {now}")?;
            }
        }
        Ok(())
    }
}
