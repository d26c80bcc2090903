//! The bucket of `rate_limit`: each request takes one; it holds `burst`, and gets one more each `interval`.

use std::sync::{Mutex, PoisonError};

use measure::clock::Instant;

use crate::config::web::RateLimit;

/// A bucket, full at first.
#[derive(Debug)]
pub(super) struct Bucket {
    limit: RateLimit,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    left: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { limit, state: Mutex::new(State { left: f64::from(limit.burst), at: now }) }
    }

    pub(super) fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Takes one, where there is one.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let came = now.saturating_duration_since(state.at).as_secs_f64() / self.limit.interval.as_secs_f64();
        state.left = (state.left + came).min(f64::from(self.limit.burst));
        state.at = now.max(state.at);
        let there = state.left >= 1.0;
        if there {
            state.left -= 1.0;
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_goes_through_and_then_one_each_interval() {
        let start = measure::clock::now();
        let bucket = Bucket::new(RateLimit { interval: Duration::from_secs(2), burst: 3 }, start);
        let taken = |seconds: u64, tries: usize| {
            let now = start + Duration::from_secs(seconds);
            (0..tries).filter(|_| bucket.take(now)).count()
        };
        assert_eq!(taken(0, 5), 3);
        assert_eq!(taken(1, 5), 0);
        assert_eq!(taken(2, 5), 1);
        assert_eq!(taken(6, 5), 2);
        assert_eq!(taken(3, 5), 0, "a clock that goes back gives nothing");
        assert_eq!(taken(1_000, 5), 3, "it never holds more than the burst");
    }

    #[test]
    fn a_bucket_of_nothing_gives_nothing() {
        let start = measure::clock::now();
        let bucket = Bucket::new(RateLimit { interval: Duration::from_nanos(1), burst: 0 }, start);
        assert!(!bucket.take(start + Duration::from_secs(1_000)));
    }
}
