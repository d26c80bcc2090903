//! Where the time of an operation went: disjoint shares of the observed time.
//!
//! The server's part comes from the difference of `INFO commandstats` around a phase: all commands' busy time over the
//! phase, not the operation's own, since a GET that waits 134 ms behind a script shows 4 µs of its own.

mod pooled;

use std::collections::BTreeMap;

pub use self::pooled::{PooledOperation, attribute_pooled};
use crate::{
    facts::{CommandStat, Info},
    report::{Attribution, Operation},
};

/// What the server spent on commands between two readings of INFO.
#[derive(Debug, Clone, Default)]
pub struct CommandCosts {
    /// Per command: calls and microseconds in between.
    pub commands: BTreeMap<String, CommandStat>,
}

impl CommandCosts {
    /// The difference of two readings; a restart or a reset in between gives the later reading as it is.
    #[must_use]
    pub fn between(before: &Info, after: &Info) -> Self {
        let earlier = before.commands();
        let mut commands = after.commands();
        let restarted = before.text("run_id") != after.text("run_id");
        let reset =
            earlier.iter().any(|(name, stat)| commands.get(name).is_none_or(|now| now.calls < stat.calls));
        if !restarted && !reset {
            for (name, stat) in &mut commands {
                let was = earlier.get(name).copied().unwrap_or_default();
                *stat = CommandStat {
                    calls: stat.calls - was.calls,
                    usec: stat.usec.saturating_sub(was.usec),
                    rejected: stat.rejected.saturating_sub(was.rejected),
                    failed: stat.failed.saturating_sub(was.failed),
                };
            }
            commands.retain(|_, stat| *stat != CommandStat::default());
        }
        Self { commands }
    }

    /// Mean time of one call of `command` in seconds, `None` where there was none.
    #[must_use]
    pub fn seconds_per_call(&self, command: &str) -> Option<f64> {
        let stat = self.commands.get(command).filter(|stat| stat.calls > 0)?;
        Some(stat.usec as f64 / 1e6 / stat.calls as f64)
    }

    /// Time in all commands, in seconds.
    #[must_use]
    pub fn busy_seconds(&self) -> f64 {
        self.commands.values().map(|stat| stat.usec as f64 / 1e6).sum()
    }

    /// Time of one call of what `operation` sends.
    fn own_seconds(&self, operation: &Operation) -> Option<f64> {
        self.seconds_per_call(command_of(operation.operation))
    }
}

/// The command, as INFO names it, that an operation of a load sends.
#[must_use]
pub fn command_of(operation: &str) -> &str {
    if operation == "del" { "unlink" } else { operation }
}

/// Splits the mean response time of each operation of one phase that has samples. `out` is the number of operations that can be out at
/// a time: connections × pipeline.
///
/// With R the mean response and S the mean service time of an operation:
/// * `client` = R − S: from the intended start to the send. Late wake-ups, and waiting for an earlier operation of the
///   same connection (which itself waited for network or server; in a closed loop there is none of it).
/// * `server` = the time that the server was busy with commands, anybody's, while the operation was out. Its busy time
///   is known for the phase as a whole only, so it is spread out: that of our commands over the time in which
///   operations of ours were out, others' over the whole phase. With n operations that is
///   `S × (ours ÷ min(duration, Σ n·S) + others ÷ duration)`, and at most S. Where only one operation is out at a time
///   nothing of ours can be in its way, and `ours` is the command's own time.
/// * `network` = S − `server`: the wire, both kernels, and what the server spends on sockets rather than commands,
///   which commandstats do not count and which under many connections is most of its time.
/// * `unattributed` = S where the server told nothing of the command.
///
/// Limits: means, not tails. Busy time that comes in bursts just when operations are out is under-estimated, as is
/// waiting within a pipelined batch at a low rate, whose operations overlap more than `min` supposes.
#[must_use]
pub fn attribute(operations: &[Operation], costs: &CommandCosts, out: u64) -> Vec<Attribution> {
    let duration = operations.iter().map(|operation| operation.duration_seconds).fold(0.0, f64::max);
    let ours: f64 = operations.iter().map(|op| op.ok as f64 * costs.own_seconds(op).unwrap_or(0.0)).sum();
    let others = (costs.busy_seconds() - ours).max(0.0);
    let covered = operations.iter().map(|operation| operation.service.sum).sum::<f64>().min(duration);
    let per_second = |busy: f64, time: f64| if time > 0.0 { busy / time } else { 0.0 };

    let split = |operation: &Operation| {
        let service = operation.service.mean?;
        let response = operation.response.mean?.max(service);
        if response <= 0.0 {
            return None;
        }
        let server = costs.own_seconds(operation).map(|own| {
            let ours = if out <= 1 { own } else { service * per_second(ours, covered) };
            let own = own.min(service);
            let total = (ours + service * per_second(others, duration)).min(service);
            (total, (total - own).max(0.0))
        });
        let share = |time: f64| time / response;
        Some(Attribution {
            operation: operation.operation,
            pool_wait: 0.0,
            recycle: 0.0,
            network: share(server.map_or(0.0, |(server, _)| service - server)),
            server: share(server.map_or(0.0, |(server, _)| server)),
            server_others: share(server.map_or(0.0, |(_, others)| others)),
            client: share(response - service),
            unattributed: share(if server.is_some() { 0.0 } else { service }),
        })
    };
    operations.iter().filter_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::LoopKind;

    fn latency(mean: f64, count: u64) -> crate::latency::Latency {
        let sum = mean * count as f64;
        crate::latency::Latency { count, sum, mean: Some(mean), ..Default::default() }
    }

    fn operation(name: &'static str, ok: u64, response: f64, service: f64) -> Operation {
        Operation {
            phase: "test",
            operation: name,
            loop_kind: LoopKind::Open,
            duration_seconds: 10.0,
            offered: ok,
            attempts: ok,
            ok,
            errors: BTreeMap::new(),
            indeterminate: 0,
            missed: 0,
            response: latency(response, ok),
            service: latency(service, ok),
            response_buckets: Default::default(),
            service_buckets: Default::default(),
        }
    }

    fn costs(stats: &[(&str, u64, u64)]) -> CommandCosts {
        let stat = |calls, usec| CommandStat { calls, usec, rejected: 0, failed: 0 };
        CommandCosts {
            commands: stats.iter().map(|&(name, calls, usec)| (name.to_owned(), stat(calls, usec))).collect(),
        }
    }

    fn assert_close(actual: f64, expected: f64) {
        assert!((actual - expected).abs() < 1e-9, "{actual} is not {expected}");
    }

    fn assert_whole(share: &Attribution) {
        let parts =
            [share.pool_wait, share.recycle, share.network, share.server, share.client, share.unattributed];
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{share:?}");
        assert_close(parts.iter().sum(), 1.0);
    }

    #[test]
    fn one_at_a_time_costs_its_own_time() {
        let operations = [operation("get", 1_000, 200e-6, 100e-6), operation("del", 1_000, 100e-6, 100e-6)];
        let costs = costs(&[("get", 1_000, 10_000), ("unlink", 1_000, 40_000)]);
        let shares = attribute(&operations, &costs, 1);
        assert_close(shares[0].client, 0.5);
        assert_close(shares[0].server, 10e-6 / 200e-6);
        assert_close(shares[1].client, 0.0);
        assert_close(shares[1].server, 0.4);
        shares.iter().for_each(assert_whole);
    }

    #[test]
    fn waiting_behind_others_is_the_servers() {
        // A script of somebody else's holds the server for 9 of 10 seconds; our GETs take 4 µs of their own.
        let operations = [operation("get", 100, 90e-3, 90e-3)];
        let shares = attribute(&operations, &costs(&[("get", 100, 400), ("eval", 70, 9_000_000)]), 1);
        assert!((0.9..0.91).contains(&shares[0].server), "{shares:?}");
        assert_whole(&shares[0]);
    }

    #[test]
    fn waiting_behind_own_commands_is_the_servers_too() {
        // 50 connections keep the server busy with commands for half of the time.
        let operations = [operation("get", 500_000, 1e-3, 1e-3)];
        let shares = attribute(&operations, &costs(&[("get", 500_000, 5_000_000)]), 50);
        assert_close(shares[0].server, 0.5);
        assert_close(shares[0].network, 0.5);
        // Out for a tenth of the time only, and all of the server's time falls into that.
        let rare = [operation("get", 1_000, 1e-3, 1e-3)];
        let shares = attribute(&rare, &costs(&[("get", 1_000, 500_000)]), 50);
        assert_close(shares[0].server, 0.5);
    }

    #[test]
    fn without_statistics_it_says_so() {
        let shares = attribute(&[operation("get", 10, 2e-3, 1e-3)], &CommandCosts::default(), 1);
        assert_close(shares[0].client, 0.5);
        assert_close(shares[0].unattributed, 0.5);
        assert!(attribute(&[operation("get", 0, 0.0, 0.0)], &CommandCosts::default(), 1).is_empty());
    }

    #[test]
    fn costs_are_differences_unless_the_server_restarted() {
        let read = |run: &str, get: u64, set: u64| {
            let line = |name, calls| format!("cmdstat_{name}:calls={calls},usec={}\r\n", calls * 2);
            Info::parse(&format!("run_id:{run}\r\n{}{}", line("get", get), line("set", set)))
        };
        let costs = CommandCosts::between(&read("a", 10, 5), &read("a", 30, 5));
        assert_eq!(costs.commands.len(), 1);
        assert_eq!((costs.commands["get"].calls, costs.commands["get"].usec), (20, 40));
        assert_close(costs.seconds_per_call("get").unwrap(), 2e-6);
        assert_eq!(costs.seconds_per_call("set"), None);
        for later in [read("b", 30, 6), read("a", 9, 5)] {
            let costs = CommandCosts::between(&read("a", 10, 5), &later);
            assert_eq!(costs.commands, later.commands());
        }
    }
}
