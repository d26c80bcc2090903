//! The settings that every probe of pools has, declared once.
//!
//! A probe adds its own after them; what the numbers lead to is `pools`.

use std::time::Duration;

use measure::pool::PoolConfig;
use serde::{Deserialize, Serialize};

use crate::probe::SettingErrors;

/// How readers block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reader {
    /// XREAD BLOCK.
    Xread,
    /// XREADGROUP BLOCK, each in the group of its own stream.
    Xreadgroup,
}

impl Reader {
    /// The operation's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xread => "xread",
            Self::Xreadgroup => "xreadgroup",
        }
    }
}

/// The shared settings as plain numbers.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Connections of a pool.
    pub pool_size: u64,
    /// How long an operation waits for one.
    pub pool_timeout: Duration,
    /// Bound of an operation.
    pub op_timeout: Duration,
    /// Blocking readers, over all processes.
    pub readers: u64,
    /// How they block.
    pub reader: Reader,
    /// For how long.
    pub block: Duration,
    /// Operations of the traffic per second, over all processes.
    pub rate: f64,
    /// Processes, each with a pool of its own.
    pub processes: u64,
    /// Workers of the traffic, where set.
    pub workers: Option<u64>,
    /// Length of a phase.
    pub duration: Duration,
}

/// Workers of the traffic at the most: each has a timer of its own.
const MOST_WORKERS: u64 = 2_000;
/// Workers beyond those that waiting for the pool can keep busy, at the most: on a server that does not answer they too
/// are used up, and operations start late. More would need more connections where there is a pool to open them.
const SPARE_WORKERS: u64 = 150;

impl Numbers {
    /// Workers of the traffic: enough that an operation which waits for its connection, or for a reply that does not come,
    /// delays no other; within limits.
    #[must_use]
    pub fn workers(&self) -> usize {
        let out = |time: Duration| (self.rate * time.as_secs_f64()).ceil() as u64;
        let needed = out(self.pool_timeout.mul_f64(1.25)) + 10;
        let generous = out(self.pool_timeout + self.op_timeout).min(SPARE_WORKERS);
        let workers = self.workers.unwrap_or(needed.max(generous)).clamp(1, MOST_WORKERS);
        usize::try_from(workers).unwrap_or(usize::MAX)
    }

    /// Readers.
    #[must_use]
    pub fn readers(&self) -> usize {
        usize::try_from(self.readers).unwrap_or(usize::MAX)
    }

    /// Processes.
    #[must_use]
    pub fn processes(&self) -> usize {
        usize::try_from(self.processes).unwrap_or(usize::MAX)
    }

    /// A pool of these numbers, with a size of its own.
    #[must_use]
    pub fn pool(&self, name: &'static str, size: u64) -> PoolConfig {
        PoolConfig {
            name: name.into(),
            size: usize::try_from(size).unwrap_or(usize::MAX),
            wait: self.pool_timeout,
            operation: self.op_timeout,
            block: self.block,
        }
    }

    /// Says what cannot be.
    pub fn check(&self, errors: &mut SettingErrors) {
        let long = |time: Duration| time >= Duration::from_millis(1);
        errors.check_range(self.pool_size, 1..=10_000, "pool_size");
        errors.check(long(self.pool_timeout), "pool_timeout", "expected at least 1ms, such as \"200ms\"");
        errors.check(long(self.op_timeout), "op_timeout", "expected at least 1ms, such as \"2s\"");
        errors.check_range(self.readers, 0..=10_000, "readers");
        errors.check(
            long(self.block),
            "block",
            "expected at least 1ms, such as \"500ms\": 0 would block for ever",
        );
        errors.check(
            (0.1..=100_000.0).contains(&self.rate),
            "rate",
            "expected 0.1 to 100000 operations per second",
        );
        errors.check_range(self.processes, 1..=1_000, "processes");
        if let Some(workers) = self.workers {
            errors.check_range(workers, 1..=MOST_WORKERS, "workers");
        }
        errors.check(long(self.duration), "duration", "expected more than 0, such as \"10s\"");
    }
}

/// Declares the settings of a probe of pools: the shared ones, then its own. `readers` is the default number of them,
/// `seconds` the default length of a phase, 10 unless it is given.
#[macro_export]
macro_rules! pool_settings {
    ($(#[$meta:meta])* pub struct $name:ident (readers = $readers:literal) { $($rest:tt)* }) => {
        $crate::pool_settings! {
            $(#[$meta])* pub struct $name (readers = $readers, seconds = 10) { $($rest)* }
        }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident (readers = $readers:literal, seconds = $seconds:literal) { $($rest:tt)* }
    ) => {
        $crate::settings! {
            $(#[$meta])* pub struct $name {
                /// Connections of the pool.
                pool_size: u64 = 15,
                /// How long an operation waits for a free connection.
                pool_timeout: $crate::config::settings::Span = $crate::config::settings::Span::millis(200),
                /// Bound of one operation from its send.
                op_timeout: $crate::config::settings::Span = $crate::config::settings::Span::secs(2),
                /// Blocking readers, over all processes; each holds a connection while it blocks.
                readers: u64 = $readers,
                /// How they block: "xread", or "xreadgroup".
                reader: $crate::probe::pools::Reader = $crate::probe::pools::Reader::Xread,
                /// How long each read blocks; the server adds up to 100 ms, by its `hz`.
                block: $crate::config::settings::Span = $crate::config::settings::Span::millis(500),
                /// GETs and SETs per second that share the pool, over all processes, at fixed times.
                rate: f64 = 200.0,
                /// Processes, each with a pool of its own.
                processes: u64 = 1,
                /// Workers that do the GETs and SETs; unset: enough that one which waits delays no other.
                workers: Option<u64> = None,
                /// Length of each phase, or of each trial where sizes are tried.
                duration: $crate::config::settings::Span = $crate::config::settings::Span::secs($seconds),
                $($rest)*
            }
        }

        impl $name {
            fn numbers(&self) -> $crate::probe::pools::Numbers {
                $crate::probe::pools::Numbers {
                    pool_size: self.pool_size,
                    pool_timeout: self.pool_timeout.0,
                    op_timeout: self.op_timeout.0,
                    readers: self.readers,
                    reader: self.reader,
                    block: self.block.0,
                    rate: self.rate,
                    processes: self.processes,
                    workers: self.workers,
                    duration: self.duration.0,
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Numbers {
        Numbers {
            pool_size: 15,
            pool_timeout: Duration::from_millis(200),
            op_timeout: Duration::from_secs(2),
            readers: 30,
            reader: Reader::Xread,
            block: Duration::from_millis(500),
            rate: 200.0,
            processes: 1,
            workers: None,
            duration: Duration::from_secs(10),
        }
    }

    #[test]
    fn workers_are_enough_for_all_that_wait() {
        assert_eq!(numbers().workers(), 150);
        assert_eq!(Numbers { rate: 10.0, ..numbers() }.workers(), 22, "10 per second for 2.2 s");
        assert_eq!(
            Numbers { rate: 1_000.0, ..numbers() }.workers(),
            260,
            "1,000 per second for 250 ms, and ten"
        );
        assert_eq!(Numbers { workers: Some(7), ..numbers() }.workers(), 7);
        assert_eq!(Numbers { rate: 100_000.0, ..numbers() }.workers(), 2_000);
    }

    #[test]
    fn every_bad_number_is_named() {
        let bad = Numbers {
            pool_size: 0,
            pool_timeout: Duration::ZERO,
            op_timeout: Duration::ZERO,
            readers: 10_001,
            block: Duration::ZERO,
            rate: 0.0,
            processes: 0,
            workers: Some(0),
            duration: Duration::ZERO,
            ..numbers()
        };
        let mut errors = SettingErrors::default();
        bad.check(&mut errors);
        let named: Vec<_> = errors.or(()).unwrap_err().into_iter().map(|error| error.setting).collect();
        let expected = [
            "pool_size",
            "pool_timeout",
            "op_timeout",
            "readers",
            "block",
            "rate",
            "processes",
            "workers",
            "duration",
        ];
        assert_eq!(named, expected);
        let mut errors = SettingErrors::default();
        numbers().check(&mut errors);
        assert!(errors.or(()).is_ok());
    }
}
