//! Objectives and figures that the probes of pools share.
//!
//! Arithmetic over data that is already there; running anything belongs to `pools`.

use std::time::Duration;

use measure::{
    Reason,
    load::LoadResult,
    pool::Parts,
    report::{Direction, ObjectiveDef, Operation, Severity, Unit},
};

/// Operations that found no connection or no answer in time.
pub static TIMEOUT_RATE: ObjectiveDef = ObjectiveDef {
    name: "timeout_rate",
    phrase: "the timeout rate",
    help: "Share of the attempted GETs and SETs that found no free connection, or got no answer, in time. An application whose pool is large enough has none.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 0.0,
};

/// Waits for a connection.
pub static POOL_WAIT_P99: ObjectiveDef = ObjectiveDef {
    name: "pool_wait_p99",
    phrase: "p99 of the wait for a connection",
    help: "99th percentile of all waits for a connection; those that ended without one count with the time that they lasted. A wait of 50 ms is a hundred times what Redis itself takes.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.05,
};

/// How full the pool was.
pub static POOL_UTILISATION: ObjectiveDef = ObjectiveDef {
    name: "pool_utilisation",
    phrase: "the pool's utilisation",
    help: "Share of the pool's connections that were on loan, on average over the phase. Above 90 % the next burst has nothing left.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.9,
};

/// How much of the pool blocking reads held.
pub static BLOCKED_SHARE: ObjectiveDef = ObjectiveDef {
    name: "blocked_share",
    phrase: "the share of the pool that blocking reads hold",
    help: "Share of the connections of the pool that serves GET and SET which were held by blocking reads, on average. Above 80 % everything else lives on the rest.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.8,
};

/// Connections that the server turned away.
pub static REJECTED_CONNECTIONS: ObjectiveDef = ObjectiveDef {
    name: "rejected_connections",
    phrase: "the rejected connections",
    help: "Connections that the server turned away while the load ran (`maxclients`), anybody's.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

/// Attempts of some operations, and those of them that timed out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Operations.
    pub attempts: u64,
    /// Without a connection in time.
    pub no_connection: u64,
    /// With a connection, without an answer in time.
    pub no_answer: u64,
}

impl Timeouts {
    /// Of these operations.
    pub fn of<'o>(operations: impl IntoIterator<Item = &'o Operation>) -> Self {
        let mut sum = Self::default();
        for operation in operations {
            let count = |reason| operation.errors.get(&reason).copied().unwrap_or_default();
            sum.attempts += operation.attempts;
            sum.no_connection += count(Reason::PoolTimeout);
            sum.no_answer += count(Reason::Timeout);
        }
        sum
    }

    /// Of the GETs alone.
    #[must_use]
    pub fn of_gets(traffic: &LoadResult) -> Self {
        Self::of(traffic.operations.iter().filter(|operation| operation.operation == "get"))
    }

    /// All of them.
    #[must_use]
    pub const fn count(self) -> u64 {
        self.no_connection + self.no_answer
    }

    /// Share of the attempts; 0 where there were none.
    #[must_use]
    pub fn rate(self) -> f64 {
        if self.attempts > 0 { self.count() as f64 / self.attempts as f64 } else { 0.0 }
    }
}

/// Probability of waiting that a recommended pool may have.
const WAITS: f64 = 0.001;

/// The smallest pool in which less than one operation in a thousand finds no free connection: by Erlang's C formula, for
/// operations that come independently at `rate` per second and hold a connection for `hold` each.
#[must_use]
pub fn connections_needed(rate: f64, hold: Duration) -> u64 {
    let load = rate * hold.as_secs_f64();
    let mut blocking = 1.0;
    for servers in 1..=10_000_u32 {
        let count = f64::from(servers);
        blocking = load * blocking / (count + load * blocking);
        let utilised = load / count;
        if utilised < 1.0 && blocking / (1.0 - utilised * (1.0 - blocking)) < WAITS {
            return u64::from(servers);
        }
    }
    10_000
}

/// How long one operation of the kind holds its connection: the check and the round trip, of those that were sent.
#[must_use]
pub fn hold(parts: &Parts) -> Option<Duration> {
    let sent = u32::try_from(parts.sent).ok().filter(|sent| *sent > 0)?;
    Some((parts.recycle + parts.round_trip) / sent)
}

/// Mean round trip of those that were sent.
#[must_use]
pub fn round_trip(parts: &Parts) -> Option<Duration> {
    let sent = u32::try_from(parts.sent).ok().filter(|sent| *sent > 0)?;
    Some(parts.round_trip / sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_as_large_as_erlang_says() {
        // Tables of Erlang C: 5 Erlang need 14 servers for a probability of waiting below 0.1 %, 1 Erlang needs 6.
        assert_eq!(connections_needed(10.0, Duration::from_millis(500)), 14);
        assert_eq!(connections_needed(2.0, Duration::from_millis(500)), 6);
        assert_eq!(connections_needed(200.0, Duration::from_micros(300)), 3);
        assert_eq!(connections_needed(1.0, Duration::ZERO), 1);
        assert_eq!(connections_needed(1e6, Duration::from_secs(1)), 10_000);
    }
}
