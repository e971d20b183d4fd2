//! `neptune delete`: delete jobs, restorable for a time, or for good; and say what that did.

use clap::Args;
use neptune_wire::JobRef;
use neptune_wire::life::{DeleteQuery, DeleteReceipt, KeptWhy, Unknown};

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::Output;
use crate::{size, target, time};

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// Their ids, such as TRIG-12
    #[arg(required = true, value_name = "JOB")]
    jobs: Vec<JobRef>,
    /// Remove them for good at once, with what only they need
    #[arg(long)]
    now: bool,
    /// Shown on a job that can be restored
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Deletes all of them; a job that cannot be deleted does not spare the others.
pub(crate) fn run(args: &DeleteArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let server = target::connect(global)?;
    let delete = DeleteQuery { now: args.now, reason: args.reason.clone() };
    let mut receipts = Vec::new();
    let mut first_error = None;
    for job in &args.jobs {
        match server.wait(server.rest().delete_job(job, &delete)) {
            Ok(receipt) => {
                say(in_words(&receipt));
                receipts.push(receipt);
            }
            Err(error) if first_error.is_none() => first_error = Some(error),
            Err(error) => say(format_args!("{job}: {error}")),
        }
    }
    if out.json {
        out.json(&receipts)?;
    }
    first_error.map_or(Ok(()), |error| Err(error.into()))
}

fn in_words(receipt: &DeleteReceipt) -> String {
    let DeleteReceipt { job, channels, points, removed, freed_bytes, .. } = receipt;
    let mut words = match receipt.restorable_until_micros {
        Some(until) => {
            let until = time::moment(until);
            format!(
                "{job} deleted: {channels} channels with {points} points; `neptune restore {job}` brings it back until \
                 {until}"
            )
        }
        None => format!(
            "{job} removed for good: {channels} channels with {points} points, {} blobs; {} freed",
            removed.blobs,
            size::of(*freed_bytes)
        ),
    };
    for kept in &receipt.kept {
        let why = match kept.why {
            KeptWhy::OtherJob => "other jobs need them",
            KeptWhy::OtherProject => "other projects have them, too",
            KeptWhy::Upload => "somebody else may be about to name them; the collector looks again",
            KeptWhy::Backup => "a backup is being made; the collector frees them later",
        };
        words += &format!("\n{} blobs ({}) stay: {why}", kept.blobs, size::of(kept.blob_bytes));
    }
    for unknown in &receipt.unknown {
        words += match unknown {
            Unknown::Produced => {
                "\nnot all of what it held can be read and was counted, the server's log says why"
            }
            Unknown::Sources => {
                "\nits list of sources cannot be read; the collector frees those that nobody needs"
            }
            Unknown::OtherJobs => {
                "\nwhat other jobs need cannot all be read, the server's log says why; its other blobs stay until it can"
            }
        };
    }
    words
}

#[cfg(test)]
mod tests {
    use neptune_wire::life::{Kept, Removed};

    use super::*;

    #[test]
    fn a_receipt_reads_well() {
        let kept = Kept { why: KeptWhy::OtherJob, blobs: 2, blob_bytes: 20_000 };
        let receipt = DeleteReceipt {
            job: "TRIG-1".parse().unwrap(),
            restorable_until_micros: None,
            channels: 3,
            points: 7,
            charts: 1,
            removed: Removed { records: 9, record_bytes: 500, blobs: 4, blob_bytes: 1_500 },
            freed_bytes: 2_000,
            kept: vec![kept],
            unknown: vec![Unknown::Sources],
        };
        let words = "TRIG-1 removed for good: 3 channels with 7 points, 4 blobs; 2.0 kB freed\n\
                     2 blobs (20 kB) stay: other jobs need them\n\
                     its list of sources cannot be read; the collector frees those that nobody needs";
        assert_eq!(in_words(&receipt), words);
        let receipt = DeleteReceipt {
            restorable_until_micros: Some(neptune_wire::Micros(0)),
            kept: vec![],
            unknown: vec![Unknown::Produced],
            ..receipt
        };
        let words = in_words(&receipt);
        assert!(
            words.starts_with("TRIG-1 deleted: 3 channels with 7 points; `neptune restore TRIG-1` "),
            "{words}"
        );
        assert!(
            words.ends_with(
                "\nnot all of what it held can be read and was counted, the server's log says why"
            )
        );
    }
}
