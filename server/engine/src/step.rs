//! The job state machine: one pure function, the same in the server and in its model test.
//!
//! A job has attempts 1..n, only the last may be live, and an attempt's number fences everything it says. Silence is a
//! flag with a time, not a state. Ends are final, but `lost` gives way to the truth of the same attempt: its end, or a
//! beat that shows it still lives.
//!
//! | from | event | to |
//! |---|---|---|
//! | created | claim | running, attempt n + 1 |
//! | created | import | the end it reports |
//! | created | abort | aborted |
//! | running | abort | aborting, the runner is told |
//! | running, aborting | exit | succeeded, failed, or aborted when the runner was obeying an abort |
//! | running, aborting | fell silent | same, silent |
//! | running, aborting, silent | given up | lost |
//! | running, aborting, silent | heard | same, not silent |
//! | lost | heard | running, or aborting when an abort is outstanding |
//! | lost | exit | the true end |
//! | ended | exit, heard, abort of the same attempt | same |
//! | any | of an older attempt | refused, superseded |

use neptune_wire::job::{Exit, ExitKind};
use neptune_wire::{AttemptNumber, JobState, Micros};

/// Where a job stands and how it came there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Where it stands.
    pub state: JobState,
    /// The last attempt.
    pub attempt: Option<AttemptNumber>,
    /// Not heard of since.
    pub silent_since: Option<Micros>,
    /// Why it ended, or is being ended.
    pub reason: Option<String>,
    /// The program's exit status, when it ended by itself.
    pub exit_code: Option<i32>,
    /// When the last attempt started.
    pub started: Option<Micros>,
    /// When it ended.
    pub ended: Option<Micros>,
    /// An abort that was asked for and not yet obeyed; it stands even while the job counts as lost.
    pub abort: Option<AbortWish>,
}

/// What an abort asks of the runner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AbortWish {
    /// For people.
    pub reason: String,
    /// Between SIGTERM and SIGKILL.
    pub grace_millis: u64,
}

/// What happens to a job. Times are the server's unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A client process takes the job to run it by hand.
    Claim { now: Micros },
    /// A run that happened without a server, by its runner's clock.
    Import { started: Micros, exit: Exit },
    /// Somebody wants it ended.
    Abort { wish: AbortWish, now: Micros },
    /// A beat names the attempt as alive.
    Heard { attempt: AttemptNumber },
    /// No beat for the time after which a job counts as silent.
    FellSilent { since: Micros },
    /// Silent for the time after which a job counts as lost.
    GivenUp { now: Micros },
    /// The runner reports the end; no process is left.
    Exit { attempt: AttemptNumber, exit: Exit },
}

/// What must happen with the new status: records in the same batch, messages after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The attempt's record and token are written.
    OpenAttempt(AttemptNumber),
    /// The attempt's record gets its end.
    CloseAttempt(AttemptNumber, Exit),
    /// The attempt's runner is told to stop.
    StopAttempt(AttemptNumber, AbortWish),
}

/// Why an event does not apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mismatch {
    /// Not from this state; `wanted` says from which.
    State { wanted: &'static str },
    /// A newer attempt exists.
    Superseded { current: AttemptNumber },
    /// The attempt was never made.
    UnknownAttempt,
}

impl Status {
    /// A job just created.
    pub const fn created() -> Self {
        Self {
            state: JobState::Created,
            attempt: None,
            silent_since: None,
            reason: None,
            exit_code: None,
            started: None,
            ended: None,
            abort: None,
        }
    }
}

/// Applies an event. The status comes back unchanged, without effects, when the event says nothing new.
///
/// # Errors
///
/// [`Mismatch`] when the event does not apply to this job as it stands.
pub fn step(status: &Status, event: Event) -> Result<(Status, Vec<Effect>), Mismatch> {
    match event {
        Event::Claim { now } => claimed(status, now),
        Event::Import { started, exit } => imported(status, started, exit),
        Event::Abort { wish, now } => Ok(abort_asked(status, wish, now)),
        Event::Heard { attempt } => {
            same_attempt(status, attempt)?;
            Ok(heard(status, attempt))
        }
        Event::FellSilent { since } => Ok(fell_silent(status, since)),
        Event::GivenUp { now } => Ok(given_up(status, now)),
        Event::Exit { attempt, exit } => {
            same_attempt(status, attempt)?;
            Ok(exited(status, attempt, exit))
        }
    }
}

fn same_attempt(status: &Status, attempt: AttemptNumber) -> Result<(), Mismatch> {
    match status.attempt {
        Some(current) if current == attempt => Ok(()),
        Some(current) if attempt < current && attempt.0 > 0 => Err(Mismatch::Superseded { current }),
        _ => Err(Mismatch::UnknownAttempt),
    }
}

fn claimed(status: &Status, now: Micros) -> Result<(Status, Vec<Effect>), Mismatch> {
    if status.state != JobState::Created {
        return Err(Mismatch::State { wanted: "only a job in state created can be run by hand" });
    }
    let attempt = AttemptNumber(status.attempt.map_or(1, |last| last.0 + 1));
    let next =
        Status { state: JobState::Running, attempt: Some(attempt), started: Some(now), ..Status::created() };
    Ok((next, vec![Effect::OpenAttempt(attempt)]))
}

fn imported(status: &Status, started: Micros, exit: Exit) -> Result<(Status, Vec<Effect>), Mismatch> {
    let (running, mut effects) = claimed(status, started)?;
    let attempt = running.attempt.unwrap_or(AttemptNumber(1));
    let (next, ended) = exited(&running, attempt, exit);
    effects.extend(ended);
    Ok((next, effects))
}

fn abort_asked(status: &Status, wish: AbortWish, now: Micros) -> (Status, Vec<Effect>) {
    match (status.state, status.attempt) {
        (JobState::Created | JobState::Queued, _) => {
            let aborted = Status {
                state: JobState::Aborted,
                reason: Some(wish.reason),
                ended: Some(now),
                ..status.clone()
            };
            (aborted, vec![])
        }
        (JobState::Dispatched | JobState::Preparing | JobState::Running, Some(attempt)) => {
            let aborting = Status {
                state: JobState::Aborting,
                reason: Some(wish.reason.clone()),
                abort: Some(wish.clone()),
                ..status.clone()
            };
            (aborting, vec![Effect::StopAttempt(attempt, wish)])
        }
        // Asked before, or over: the first wish stands, an end stays as it is.
        _ => (status.clone(), vec![]),
    }
}

fn heard(status: &Status, attempt: AttemptNumber) -> (Status, Vec<Effect>) {
    if status.state.is_live() {
        return (Status { silent_since: None, ..status.clone() }, vec![]);
    }
    if status.state != JobState::Lost {
        return (status.clone(), vec![]);
    }
    let (state, effects) = match &status.abort {
        Some(wish) => (JobState::Aborting, vec![Effect::StopAttempt(attempt, wish.clone())]),
        None => (JobState::Running, vec![]),
    };
    let reason = status.abort.as_ref().map(|wish| wish.reason.clone());
    (Status { state, reason, silent_since: None, ended: None, ..status.clone() }, effects)
}

fn fell_silent(status: &Status, since: Micros) -> (Status, Vec<Effect>) {
    if !status.state.is_live() || status.silent_since.is_some() {
        return (status.clone(), vec![]);
    }
    (Status { silent_since: Some(since), ..status.clone() }, vec![])
}

fn given_up(status: &Status, now: Micros) -> (Status, Vec<Effect>) {
    if !status.state.is_live() || status.silent_since.is_none() {
        return (status.clone(), vec![]);
    }
    let reason = Some("its runner was not heard of for too long".into());
    (Status { state: JobState::Lost, reason, ended: Some(now), ..status.clone() }, vec![])
}

fn exited(status: &Status, attempt: AttemptNumber, exit: Exit) -> (Status, Vec<Effect>) {
    if status.state.is_ended() && status.state != JobState::Lost {
        return (status.clone(), vec![]);
    }
    let exit_code = match exit.how {
        ExitKind::Code { code } => Some(code),
        ExitKind::Signal { .. } | ExitKind::NotStarted => None,
    };
    let (state, reason) = if exit.aborted {
        let asked = status.abort.as_ref().map(|wish| wish.reason.clone());
        (JobState::Aborted, asked.or(exit.reason.clone()).or(Some("aborted".into())))
    } else if exit_code == Some(0) {
        (JobState::Succeeded, exit.reason.clone())
    } else {
        (JobState::Failed, Some(end_in_words(&exit)))
    };
    let ended = Status {
        state,
        reason,
        exit_code,
        silent_since: None,
        ended: Some(exit.ended_micros),
        abort: None,
        ..status.clone()
    };
    (ended, vec![Effect::CloseAttempt(attempt, exit)])
}

fn end_in_words(exit: &Exit) -> String {
    let what = match exit.how {
        ExitKind::Code { code } => format!("exit status {code}"),
        ExitKind::Signal { signal } => format!("signal {signal}"),
        ExitKind::NotStarted => "could not be started".into(),
    };
    match &exit.reason {
        Some(reason) => format!("{what}: {reason}"),
        None => what,
    }
}

#[cfg(test)]
mod tests;
