//! When operations start: open loop (fixed intended starts) and closed loop, as two cases of one enum.
//!
//! Only arithmetic is here; waiting is [`crate::clock::Alarm`]'s, doing is [`crate::load`]'s.

use std::time::Duration;

use crate::{
    clock::{self, Instant},
    report::LoopKind,
};

/// How the starts of operations are set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// The next starts when the last one ended.
    Closed,
    /// At this many a second in all, whatever the server does.
    Open {
        /// Operations per second over all workers; above 0.
        rate: f64,
    },
}

impl Pace {
    /// `rate` per second, or closed loop for 0.
    #[must_use]
    pub fn per_second(rate: f64) -> Self {
        if rate > 0.0 { Self::Open { rate } } else { Self::Closed }
    }

    /// As reports say it.
    #[must_use]
    pub const fn kind(self) -> LoopKind {
        match self {
            Self::Closed => LoopKind::Closed,
            Self::Open { .. } => LoopKind::Open,
        }
    }

    /// Operations that a phase of this length offers, where that is fixed beforehand.
    #[must_use]
    pub fn offered(self, duration: Duration) -> Option<u64> {
        match self {
            Self::Closed => None,
            // Operation i is due at i / rate, so the last one is the largest i with i / rate < duration.
            Self::Open { rate } => Some((duration.as_secs_f64() * rate - 1e-9).ceil().max(0.0) as u64),
        }
    }
}

/// The intended starts of one of several workers, taken in turn: worker w has operations w, w + n, w + 2n, …
#[derive(Debug, Clone)]
pub struct Starts {
    pace: Pace,
    start: Instant,
    next: u64,
    step: u64,
}

impl Starts {
    /// The starts of `worker` out of `workers`.
    #[must_use]
    pub fn new(pace: Pace, start: Instant, worker: u64, workers: u64) -> Self {
        Self { pace, start, next: worker, step: workers }
    }

    /// When the next operation is due; nothing in a closed loop, where it is always due.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match self.pace {
            Pace::Closed => None,
            Pace::Open { rate } => Some(clock::intended_start(self.start, self.next, rate)),
        }
    }

    /// Goes on to the operation after.
    pub fn advance(&mut self) {
        self.next += self.step;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn workers_share_the_offered_operations(rate in 1.0_f64..5_000.0, seconds in 0.0_f64..5.0, workers in 1_u64..20) {
            let duration = Duration::from_secs_f64(seconds);
            let pace = Pace::Open { rate };
            let start = clock::now();
            let mut due = Vec::new();
            for worker in 0..workers {
                let mut starts = Starts::new(pace, start, worker, workers);
                while let Some(at) = starts.due().filter(|at| *at < start + duration) {
                    due.push(at);
                    starts.advance();
                }
            }
            due.sort_unstable();
            let offered = pace.offered(duration).unwrap();
            // Nanosecond rounding may move the very last one over the edge.
            prop_assert!(offered.abs_diff(due.len() as u64) <= 1);
            for (index, at) in due.iter().enumerate() {
                let exact = Duration::from_secs_f64(index as f64 / rate);
                prop_assert!((*at - start).abs_diff(exact) < Duration::from_micros(1));
            }
        }
    }

    #[test]
    fn rate_zero_is_closed() {
        assert_eq!(Pace::per_second(0.0), Pace::Closed);
        assert_eq!(Pace::Closed.offered(Duration::from_secs(1)), None);
        assert_eq!(Pace::per_second(1_000.0).offered(Duration::from_secs(5)), Some(5_000));
    }
}
