//! `neptune sync`: upload what waits on this machine.

use std::path::PathBuf;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use neptune_client::Notices;
use neptune_client::environment::spool_root;
use neptune_client::sync::{SyncProgress, SyncSettings, sync};
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
    /// Where jobs wait [default: NEPTUNE_SPOOL_DIR, else ~/.local/state/neptune/spool]
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
    let root = args.spool.clone().unwrap_or_else(spool_root);
    let settings = SyncSettings {
        root: root.clone(),
        only: args.uid,
        access: target::access(global, &config)?,
        notices: Notices::to(|notice| say(notice)),
    };
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{msg:.bold} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}");
    bar.set_style(style.expect("the template is valid"));
    let report = sync(&settings, &mut |progress| match progress {
        SyncProgress::Begun { name, bytes, .. } => {
            bar.set_length(bytes);
            bar.set_position(0);
            bar.set_message(plain(&name));
        }
        SyncProgress::Sent { bytes, .. } => bar.set_position(bytes),
        SyncProgress::Registered { id, .. } => bar.set_message(id.to_string()),
        _ => {}
    });
    bar.finish_and_clear();
    let report = match report {
        Ok(report) => report,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Default::default(),
        Err(error) => return Err(CliError::file(&root, &error)),
    };
    for folder in &report.in_use {
        say(format_args!("{}: its program still runs and sends by itself", folder.display()));
    }
    for (folder, error) in &report.failed {
        say(format_args!("{}: {error}", folder.display()));
    }
    if report.done.is_empty() && report.failed.is_empty() && report.in_use.is_empty() {
        say(format_args!("nothing waits in {}", root.display()));
    }
    let failed = report.failed.len();
    if out.json {
        let failed = report.failed.into_iter().map(|(path, error)| (path, error.to_string())).collect();
        out.json(&Report { done: report.done, in_use: report.in_use, failed })?;
    } else {
        report.done.iter().try_for_each(|id| out.line(&id.to_string()))?;
    }
    match failed {
        0 => Ok(()),
        count => Err(CliError::refused(format!("{count} jobs still wait in {}", root.display()))),
    }
}
