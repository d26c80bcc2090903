//! The only reader of time. Everything else gets instants, durations and time stamps from here.
//!
//! Also the precise alarm that paced load needs: tokio's timer rounds up to whole milliseconds, which would add a
//! millisecond of dispatch lag to every operation of a fixed-rate run. Schedules (seconds and longer) use tokio's
//! timer directly and do not belong here.

use std::{
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// A point of monotonic time, at nanosecond resolution.
#[expect(clippy::disallowed_types, reason = "this is the one place that names it")]
pub type Instant = std::time::Instant;

/// The monotonic time now.
#[must_use]
#[inline]
pub fn now() -> Instant {
    Instant::now()
}

/// The wall-clock time now: for time stamps that people and Prometheus read, never for durations.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn wall() -> SystemTime {
    SystemTime::now()
}

/// Seconds since the Unix epoch, as Prometheus wants its time stamps; 0 for times before it.
#[must_use]
pub fn unix_seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// `start + index × interval` without accumulated rounding: the intended start of operation `index` at `rate` per
/// second.
#[must_use]
pub fn intended_start(start: Instant, index: u64, rate: f64) -> Instant {
    start + Duration::from_secs_f64(index as f64 / rate)
}

/// Wakes a task at a given instant to within the kernel's high-resolution timer (tens of microseconds), where tokio's
/// own timer is up to 1 ms late plus its wheel's rounding.
#[derive(Debug)]
pub struct Alarm {
    timer: AsyncFd<std::os::fd::OwnedFd>,
}

impl Alarm {
    /// A new alarm, bound to the current runtime.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for descriptors that are not owned; this one is"
        )]
        Ok(Self { timer: AsyncFd::with_interest(timer, Interest::READABLE)? })
    }

    /// Returns at `due`, at once when that has passed.
    ///
    /// # Errors
    /// When the kernel refuses the timer; it never does for a valid descriptor.
    pub async fn sleep_until(&mut self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(now());
        if left.is_zero() {
            return Ok(());
        }
        let value = Timespec {
            tv_sec: i64::try_from(left.as_nanos() / 1_000_000_000).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0_u8; 8];
            match ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut expirations)?)) {
                Ok(result) => return result.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intended_starts_do_not_drift() {
        let start = now();
        let late = intended_start(start, 3_000_000, 1_000.0);
        assert_eq!(late - start, Duration::from_secs(3_000));
    }

    #[tokio::test]
    async fn alarm_is_never_early_and_serves_again() {
        let mut alarm = Alarm::new().unwrap();
        for step in [300, 1_700, 50] {
            let due = now() + Duration::from_micros(step);
            alarm.sleep_until(due).await.unwrap();
            assert!(now() >= due);
        }
        alarm.sleep_until(now() - Duration::from_secs(1)).await.unwrap();
    }
}
