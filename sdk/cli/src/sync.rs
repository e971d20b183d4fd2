//! `neptune sync`: upload what waits on this machine.

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use neptune_client::Notices;
use neptune_client::environment::{last_spool_root, spool_root};
use neptune_client::sync::{SyncProgress, SyncReport, SyncSettings, sync};
use neptune_runner::config::Config;
use neptune_wire::{JobId, JobUid};
use serde::Serialize;

use crate::args::Global;
use crate::error::{CliError, say};
use crate::output::{Output, plain};
use crate::target;

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// Only this job, by its uid: the name of its folder
    uid: Option<JobUid>,
    /// Where jobs wait [default: NEPTUNE_SPOOL_DIR, else ~/.local/state/neptune/spool; and $TMPDIR/neptune-spool-UID,
    /// which is used where that cannot be written]
    #[arg(long, value_name = "DIR")]
    spool: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    done: Vec<JobId>,
    in_use: Vec<PathBuf>,
    failed: Vec<(PathBuf, String)>,
}

pub(crate) fn run(args: &SyncArgs, global: &Global, out: &mut Output) -> Result<(), CliError> {
    let config = Config::read_global(std::env::home_dir().as_deref()).map_err(CliError::usage)?;
    let access = target::access(global, &config)?;
    let roots = match &args.spool {
        Some(root) => vec![root.clone()],
        None => {
            let root = spool_root();
            let last = last_root().filter(|last| *last != root);
            [root].into_iter().chain(last).collect()
        }
    };
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg:.bold} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_style(style.expect("the template is valid"));
    let (mut report, mut unread) = (SyncReport::default(), None);
    for root in &roots {
        let settings = SyncSettings {
            root: root.clone(),
            only: args.uid,
            access: access.clone(),
            notices: Notices::to(|notice| say(notice)),
        };
        match sync(&settings, &mut |progress| show(&bar, progress)) {
            Ok(more) => {
                report.done.extend(more.done);
                report.in_use.extend(more.in_use);
                report.failed.extend(more.failed);
            }
            // What waits in the other place is not lost by that.
            Err(error) => unread = Some(CliError::file(root, &error)),
        }
    }
    bar.finish_and_clear();
    for folder in &report.in_use {
        say(format_args!("{}: its program still runs and sends by itself", folder.display()));
    }
    for (folder, error) in &report.failed {
        say(format_args!("{}: {error}", folder.display()));
    }
    let places = roots.iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(" or ");
    if report.done.is_empty() && report.failed.is_empty() && report.in_use.is_empty() && unread.is_none() {
        say(format_args!("nothing waits in {places}"));
    }
    let failed = report.failed.len();
    if out.json {
        let failed = report.failed.into_iter().map(|(path, error)| (path, error.to_string())).collect();
        out.json(&Report { done: report.done, in_use: report.in_use, failed })?;
    } else {
        report.done.iter().try_for_each(|id| out.line(&id.to_string()))?;
    }
    match (failed, unread) {
        (0, None) => Ok(()),
        (0, Some(error)) => Err(error),
        (count, unread) => {
            unread.iter().for_each(say);
            let jobs =
                if count == 1 { "1 job still waits".into() } else { format!("{count} jobs still wait") };
            Err(CliError::refused(format!("{jobs} in {places}")))
        }
    }
}

fn show(bar: &ProgressBar, progress: SyncProgress) {
    match progress {
        SyncProgress::Begun { name, bytes, .. } => {
            bar.set_length(bytes);
            bar.set_position(0);
            bar.set_message(plain(&name));
        }
        SyncProgress::Sent { bytes, .. } => bar.set_position(bytes),
        SyncProgress::Registered { id, .. } => bar.set_message(id.to_string()),
        _ => {}
    }
}

/// Where the Python module puts a job that the spool root does not take; nothing when there is no such folder of this user's.
fn last_root() -> Option<PathBuf> {
    let root = last_spool_root();
    let found = root.symlink_metadata().ok()?;
    (found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw()).then_some(root)
}
