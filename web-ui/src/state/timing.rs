//! How long a job has run, and which of its times a person asks for.

use neptune_wire::{Job, JobState};

/// How long the last attempt ran or has been running; `None` before it started.
pub fn ran_micros(job: &Job, now_micros: i64) -> Option<i64> {
    let started = job.started_micros?.0;
    let end = match job.ended_micros {
        Some(ended) => ended.0,
        None if job.state.is_live() => now_micros,
        None => return None,
    };
    Some((end - started).max(0))
}

/// Whether its duration still grows.
pub fn is_ticking(job: &Job) -> bool {
    job.started_micros.is_some() && job.ended_micros.is_none() && job.state.is_live()
}

/// Whether asking for an abort can change anything.
pub fn can_abort(job: &Job) -> bool {
    !job.state.is_ended() && job.state != JobState::Aborting && job.deleted.is_none()
}

#[cfg(test)]
mod tests {
    use neptune_wire::{Deleted, Micros};

    use super::super::jobs::tests::job;
    use super::*;

    #[test]
    fn a_duration_ends_when_the_job_does() {
        let waiting = job(1, |_| {});
        assert_eq!(ran_micros(&waiting, 9), None);
        let running = job(1, |job| (job.started_micros, job.state) = (Some(Micros(3)), JobState::Running));
        assert_eq!((ran_micros(&running, 9), is_ticking(&running)), (Some(6), true));
        let ended = job(1, |job| {
            job.state = JobState::Failed;
            (job.started_micros, job.ended_micros) = (Some(Micros(3)), Some(Micros(5)));
        });
        assert_eq!((ran_micros(&ended, 9), is_ticking(&ended)), (Some(2), false));
        let lost = job(1, |job| (job.started_micros, job.state) = (Some(Micros(3)), JobState::Lost));
        assert_eq!(ran_micros(&lost, 9), None, "nobody knows when it ended");
    }

    #[test]
    fn an_abort_is_offered_while_there_is_something_to_end() {
        let can: Vec<_> =
            JobState::ALL.into_iter().filter(|state| can_abort(&job(1, |job| job.state = *state))).collect();
        use JobState::{Created, Dispatched, Preparing, Queued, Running};
        assert_eq!(can, [Created, Queued, Dispatched, Preparing, Running]);
        let gone = Deleted { since_micros: Micros(1), until_micros: Micros(2), reason: "on request".into() };
        assert!(!can_abort(&job(1, |job| job.deleted = Some(gone.clone()))));
    }
}
