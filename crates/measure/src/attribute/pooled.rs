//! The same for operations that take their connection out of a pool, of which every attempt was taken apart.
//!
//! Here the times before the send are known one by one; only the round trip must be split by what the server tells.

use std::time::Duration;

use super::CommandCosts;
use crate::{pool::Parts, report::Attribution};

/// One kind of pooled operation in one phase; not one that blocks on the server, whose time is what was asked for.
#[derive(Debug, Clone, Copy)]
pub struct PooledOperation {
    /// The operation.
    pub operation: &'static str,
    /// The command that it sends, as INFO names it: `get`.
    pub command: &'static str,
    /// Where the time of its attempts went.
    pub parts: Parts,
}

/// Splits the mean observed time of an attempt, failed ones too, over `duration` of load:
/// * `client`: from when it was due until it asked for a connection.
/// * `pool_wait`: of the checkout.
/// * `server`: its own command's time, and waiting behind others' commands, in the round trip or in that of the check
///   before it, whichever met them. Others keep the server busy for a share ρ of the time, in commands of the mean lengths
///   b. Who comes at any moment meets the rest of one that is running: Σ n·b² ÷ (2 × duration) on average, the mean
///   residual of renewal theory. That is too small where others come in a row, or where long calls hide among short ones
///   of the same name: ρ × the round trips is taken where it is more.
/// * `recycle`: the rest of the check of the connection.
/// * `network`: the rest of the round trip, and opening connections, which is round trips as well.
/// * `unattributed`: the round trip where the server told nothing, and what the parts leave of the whole.
#[must_use]
pub fn attribute_pooled(
    operations: &[PooledOperation],
    costs: Option<&CommandCosts>,
    duration: Duration,
) -> Vec<Attribution> {
    operations.iter().filter_map(|operation| split(operation, costs, duration.as_secs_f64())).collect()
}

fn split(operation: &PooledOperation, costs: Option<&CommandCosts>, duration: f64) -> Option<Attribution> {
    let parts = operation.parts;
    let observed = parts.observed.as_secs_f64();
    if parts.attempts == 0 || observed <= 0.0 {
        return None;
    }
    let share = |part: Duration| part.as_secs_f64() / observed;
    let [client, pool_wait, check, create, round_trip] =
        [parts.late, parts.wait, parts.recycle, parts.create, parts.round_trip].map(share);
    let (own, others) = match costs.map(|costs| (costs, costs.seconds_per_call(operation.command))) {
        Some((costs, Some(own))) => {
            let own = (own * parts.sent as f64 / observed).min(round_trip);
            let met = others(operation, costs, duration) / observed;
            (Some(own), met.min(check + round_trip - own))
        }
        // Nothing sent means nothing to be told of.
        _ => ((parts.sent == 0).then_some(0.0), 0.0),
    };
    let rest = own.map_or(0.0, |own| round_trip - own);
    let met_later = if others > 0.0 { (others * round_trip / (check + round_trip)).min(rest) } else { 0.0 };
    let network = rest - met_later + create;
    let mut attribution = Attribution {
        operation: operation.operation,
        pool_wait,
        recycle: (check - (others - met_later)).max(0.0),
        network,
        server: own.unwrap_or_default() + others,
        server_others: others,
        client,
        unattributed: 0.0,
    };
    let Attribution { recycle, server, .. } = attribution;
    attribution.unattributed = (1.0 - pool_wait - recycle - network - server - client).max(0.0);
    Some(attribution)
}

/// Seconds that all attempts together waited behind others' commands.
fn others(operation: &PooledOperation, costs: &CommandCosts, duration: f64) -> f64 {
    let others = costs.commands.iter().filter(|(name, _)| *name != operation.command);
    let (mut busy, mut residual) = (0.0, 0.0);
    for (_, stat) in others.filter(|(_, stat)| stat.calls > 0) {
        let seconds = stat.usec as f64 / 1e6;
        busy += seconds;
        residual += seconds * seconds / stat.calls as f64;
    }
    let duration = duration.max(f64::MIN_POSITIVE);
    let trips = (operation.parts.recycle + operation.parts.round_trip).as_secs_f64();
    (operation.parts.sent as f64 * residual / (2.0 * duration)).max(trips * (busy / duration).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::CommandStat;

    fn costs(stats: &[(&str, u64, u64)]) -> CommandCosts {
        let stat = |calls, usec| CommandStat { calls, usec, rejected: 0, failed: 0 };
        CommandCosts {
            commands: stats.iter().map(|&(name, calls, usec)| (name.to_owned(), stat(calls, usec))).collect(),
        }
    }

    /// 1,000 GETs, of which 100 found no connection; times per attempt in microseconds.
    fn gets(late: u64, wait: u64, recycle: u64, round_trip: u64) -> PooledOperation {
        let times = |micros: u64| Duration::from_micros(micros) * 1_000;
        let parts = Parts {
            attempts: 1_000,
            sent: 900,
            observed: times(late + wait + recycle + round_trip),
            late: times(late),
            wait: times(wait),
            recycle: times(recycle),
            create: Duration::ZERO,
            round_trip: times(round_trip),
        };
        PooledOperation { operation: "get", command: "get", parts }
    }

    fn only(operation: PooledOperation, costs: Option<&CommandCosts>) -> Attribution {
        let all = attribute_pooled(&[operation], costs, Duration::from_secs(10));
        let [one] = all[..] else { panic!("{all:?}") };
        let parts = [one.pool_wait, one.recycle, one.network, one.server, one.client, one.unattributed];
        assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{one:?}");
        assert!((parts.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{one:?}");
        one
    }

    #[test]
    fn waits_of_failed_attempts_count() {
        let costs = costs(&[("get", 900, 1_800)]);
        let share = only(gets(10, 940, 20, 30), Some(&costs));
        assert!((share.pool_wait - 0.94).abs() < 1e-9 && (share.recycle - 0.02).abs() < 1e-9, "{share:?}");
        assert!((share.server - 0.0018).abs() < 1e-4 && share.server_others.abs() < 1e-4, "{share:?}");
        assert!((share.client - 0.01).abs() < 1e-9 && share.unattributed < 1e-9, "{share:?}");
    }

    #[test]
    fn the_rest_of_anothers_long_command_is_met_on_the_way() {
        // 50 scripts of 50 ms in 10 s: a quarter of the GETs meets one, and waits 25 ms; 6.25 ms on average.
        let costs = costs(&[("get", 900, 1_800), ("eval", 50, 2_500_000)]);
        let share = only(gets(0, 0, 0, 5_715), Some(&costs));
        assert!((share.server_others - 0.98).abs() < 0.02, "{share:?}");
        assert!(share.network < 0.03, "{share:?}");
        // The pool's check comes first, and is what meets it.
        let share = only(gets(0, 0, 5_675, 40), Some(&costs));
        assert!(share.server_others > 0.95 && share.recycle < 0.03, "{share:?}");
    }

    #[test]
    fn without_statistics_it_says_so() {
        let share = only(gets(0, 500, 0, 500), None);
        assert!((share.unattributed - 0.5).abs() < 1e-9, "{share:?}");
        let mut starved = gets(0, 500, 0, 0);
        starved.parts.sent = 0;
        assert!(only(starved, None).pool_wait > 0.999);
        starved.parts = Parts::default();
        assert!(attribute_pooled(&[starved], None, Duration::from_secs(10)).is_empty());
    }
}
