//! Ending a tree in steps: ask, insist, kill. Pure: time comes in.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

/// After Ctrl-C a program may save its work; one that takes no notice is asked with SIGTERM after this.
const INSIST_AFTER: Duration = Duration::from_secs(2);

/// An ending that has begun.
#[derive(Debug)]
pub(super) struct Ending {
    began: Instant,
    steps: VecDeque<(Duration, Signal)>,
    grace: Duration,
    /// Why, when the wish came from the runner's own side.
    pub(super) own_reason: Option<String>,
    /// SIGKILL was sent and waited for.
    pub(super) killed: bool,
}

impl Ending {
    /// `first` now, SIGKILL after the grace; SIGTERM in between when the first was another signal.
    pub(super) fn graceful(first: Signal, grace: Duration) -> Self {
        let mut steps = VecDeque::from([(Duration::ZERO, first)]);
        if first != Signal::SIGTERM && grace > INSIST_AFTER {
            steps.push_back((INSIST_AFTER, Signal::SIGTERM));
        }
        steps.push_back((grace, Signal::SIGKILL));
        Self { began: Instant::now(), steps, grace, own_reason: None, killed: false }
    }

    /// SIGKILL now.
    pub(super) fn kill() -> Self {
        let steps = VecDeque::from([(Duration::ZERO, Signal::SIGKILL)]);
        Self { began: Instant::now(), steps, grace: Duration::ZERO, own_reason: None, killed: false }
    }

    /// The same for a reason of the runner's own.
    pub(super) fn because(self, reason: &str) -> Self {
        Self { own_reason: Some(reason.into()), ..self }
    }

    /// A later wish replaces the steps; who asked first stays the reason.
    pub(super) fn instead_of(self, first: Ending) -> Self {
        Self { own_reason: first.own_reason, ..self }
    }

    /// Until SIGKILL, from the beginning.
    pub(super) fn grace(&self) -> Duration {
        self.grace
    }

    /// The signal to send now; of several that are due, the last.
    pub(super) fn due(&mut self, now: Instant) -> Option<Signal> {
        let mut due = None;
        while let Some((after, signal)) = self.steps.front() {
            if now < self.began + *after {
                break;
            }
            due = Some(*signal);
            self.steps.pop_front();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mut ending: Ending, looks_millis: &[u64]) -> Vec<Option<Signal>> {
        let began = ending.began;
        looks_millis.iter().map(|millis| ending.due(began + Duration::from_millis(*millis))).collect()
    }

    #[test]
    fn asking_goes_before_killing() {
        use Signal::{SIGINT, SIGKILL, SIGTERM};
        let grace = Duration::from_secs(10);
        let looks = [0, 1, 2000, 2001, 9999, 10_000, 20_000];
        assert_eq!(
            shown(Ending::graceful(SIGINT, grace), &looks),
            [Some(SIGINT), None, Some(SIGTERM), None, None, Some(SIGKILL), None]
        );
        assert_eq!(
            shown(Ending::graceful(SIGTERM, grace), &looks),
            [Some(SIGTERM), None, None, None, None, Some(SIGKILL), None]
        );
        assert_eq!(
            shown(Ending::graceful(SIGINT, Duration::from_secs(1)), &[0, 999, 1000]),
            [Some(SIGINT), None, Some(SIGKILL)]
        );
        assert_eq!(shown(Ending::kill(), &[0, 1]), [Some(SIGKILL), None]);
        assert_eq!(shown(Ending::graceful(SIGTERM, Duration::ZERO), &[0]), [Some(SIGKILL)]);
    }
}
