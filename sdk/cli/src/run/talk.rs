//! What `run` tells on standard error: one line for each thing worth knowing.

use std::cell::{Cell, RefCell};

use indicatif::{ProgressBar, ProgressStyle};
use neptune_runner::attempt::Told;
use neptune_runner::launch::{LaunchError, Launched, News};
use neptune_runner::snapshot::{Bytes, UploadProgress};
use neptune_wire::job::ExitKind;
use nix::sys::signal::Signal;

use crate::error::{CliError, say};

/// Uploads smaller than this are done before a bar would be seen.
const BAR_FROM_BYTES: u64 = 1 << 20;

/// The talking side of a launch.
pub(super) struct Talk {
    bar: RefCell<Option<ProgressBar>>,
    /// Where the data waits was said when the job began.
    waiting_said: Cell<bool>,
    /// So was that data is still on its way.
    sending_said: Cell<bool>,
}

impl Talk {
    pub(super) fn new() -> Self {
        Self { bar: RefCell::new(None), waiting_said: Cell::new(false), sending_said: Cell::new(false) }
    }

    /// Tells what a launch tells, and how it ended.
    pub(super) fn listen(
        &self,
        launch: impl FnOnce(&mut dyn FnMut(News)) -> Result<Launched, LaunchError>,
    ) -> Result<Launched, LaunchError> {
        let mut name = String::from("the job");
        let launched = launch(&mut |news| {
            if let News::Registered { id, .. } = &news {
                name = id.to_string();
            }
            self.tell(&name, news);
        })?;
        if let Some(id) = &launched.id {
            name = id.to_string();
        }
        say(ending(&name, &launched));
        Ok(launched)
    }

    fn tell(&self, name: &str, news: News) {
        if let News::Uploading(progress) = news {
            return self.upload(progress);
        }
        self.end_bar();
        match news {
            News::Registered { id, page } => say(format_args!("{id}  {page}")),
            News::Offline { why, folder } => {
                self.waiting_said.set(true);
                say(offline(&why, folder.as_deref()));
            }
            News::Attempt(told) => attempt(name, told),
            News::Sending { .. } if self.sending_said.replace(true) => {}
            News::Sending { points } => {
                say(format_args!(
                    "{name} has ended; {points} points, lines and images are still on their way (Ctrl-C leaves them to `neptune sync`)"
                ));
            }
            News::Waiting { .. } if self.waiting_said.get() => {}
            News::Waiting { folder, points } => {
                let what =
                    points.map_or("data".into(), |points| format!("{points} points, lines and images"));
                say(format_args!(
                    "{what} of {name} wait in {}; `neptune sync` uploads them",
                    folder.display()
                ));
            }
            News::Note(text) => say(text),
            _ => {}
        }
    }

    fn upload(&self, progress: UploadProgress) {
        if progress.total_bytes < BAR_FROM_BYTES {
            return;
        }
        let mut bar = self.bar.borrow_mut();
        let bar = bar.get_or_insert_with(|| {
            let style = ProgressStyle::with_template(
                "neptune: sources {bar:30} {bytes}/{total_bytes} {bytes_per_sec}",
            );
            ProgressBar::new(progress.total_bytes).with_style(style.expect("the template is valid"))
        });
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.sent_bytes);
    }

    fn end_bar(&self) {
        if let Some(bar) = self.bar.borrow_mut().take() {
            let sent = bar.position();
            bar.finish_and_clear();
            say(format_args!("sources uploaded ({})", Bytes(sent)));
        }
    }
}

fn offline(why: &str, folder: Option<&std::path::Path>) -> String {
    match folder {
        Some(folder) => {
            format!("working offline ({why}); the job waits in {} for `neptune sync`", folder.display())
        }
        None => format!(
            "working offline ({why}), and nothing can be kept on this machine: the job is not recorded"
        ),
    }
}

fn attempt(name: &str, told: Told) {
    match told {
        Told::Ending { reason, grace } if grace.is_zero() => say(format_args!("killing {name}: {reason}")),
        Told::Ending { reason, grace } => say(format_args!(
            "ending {name}: {reason} (killed in {} s; Ctrl-C kills it now)",
            grace.as_secs()
        )),
        Told::Leftovers { processes } => {
            say(format_args!("the program left processes running, ending them: {}", processes.join(", ")));
        }
        Told::Note(text) => say(text),
        _ => {}
    }
}

/// One line on how a job ended.
fn ending(name: &str, launched: &Launched) -> String {
    let exit = &launched.exit;
    let status = match exit.how {
        ExitKind::Code { code } => format!("exit status {code}"),
        ExitKind::Signal { signal } => match Signal::try_from(signal) {
            Ok(named) => format!("{named}"),
            Err(_) => format!("signal {signal}"),
        },
        ExitKind::NotStarted => {
            return format!("{name} failed: {}", exit.reason.as_deref().unwrap_or("not started"));
        }
    };
    match (exit.aborted, exit.how) {
        (true, _) => format!("{name} aborted ({status})"),
        (false, ExitKind::Code { code: 0 }) => format!("{name} succeeded"),
        (false, _) => format!("{name} failed ({status})"),
    }
}

/// What stopped a launch, with the exit status it deserves.
pub(super) fn error(error: LaunchError) -> CliError {
    match error {
        LaunchError::Rest(error) => CliError::Rest(error),
        LaunchError::Interrupted(signal) => CliError::Interrupted(signal as i32),
        other => CliError::refused(other),
    }
}
