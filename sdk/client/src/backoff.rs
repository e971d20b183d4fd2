//! Waiting longer after each failure, with full jitter: anything from nothing to the current ceiling.
//!
//! See "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: full jitter spreads 10,000 returning clients best.

use std::time::Duration;

use crate::random::random_u64;

const FIRST: Duration = Duration::from_millis(500);
const LAST: Duration = Duration::from_secs(30);

/// How long to wait before the next try.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    ceiling: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { ceiling: FIRST }
    }

    /// The next wait; the ceiling doubles up to 30 s.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let share = random_u64() as f64 / u64::MAX as f64;
        let wait = self.ceiling.mul_f64(share);
        self.ceiling = (self.ceiling * 2).min(LAST);
        wait
    }

    /// After a success: begins again.
    pub(crate) fn reset(&mut self) {
        self.ceiling = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_ceiling_and_begin_again() {
        let mut backoff = Backoff::new();
        for ceiling in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
            assert!(backoff.next_wait() <= Duration::from_secs_f64(ceiling));
        }
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }

    #[test]
    fn the_jitter_is_full() {
        let waits: Vec<_> = (0..200).map(|_| Backoff::new().next_wait()).collect();
        assert!(waits.iter().any(|wait| *wait < FIRST / 4) && waits.iter().any(|wait| *wait > FIRST * 3 / 4));
    }
}
