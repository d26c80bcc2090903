//! The parts of INFO that are more than one number each: states, processor time, commands, errors, databases and
//! replication.
//!
//! Every label value is a literal of this file, a reason, or a database's number: what the server calls things never
//! becomes one.

use std::collections::BTreeMap;

use measure::{
    Reason,
    facts::{CommandStat, Info},
    report::Report,
};

measure::metrics! {
    /// 1 for the role that the server has.
    gauge ROLE = "redprobe_server_info_role" [role];
    /// 1 for the maxmemory-policy in force.
    gauge POLICY = "redprobe_server_info_maxmemory_policy" [policy];
    /// Processor time that the server has used.
    counter CPU = "redprobe_server_info_cpu_seconds_total" [mode];
    /// Calls executed, by command.
    counter CALLS = "redprobe_server_info_command_calls_total" [command];
    /// Time spent executing, by command.
    counter CALL_SECONDS = "redprobe_server_info_command_seconds_total" [command];
    /// Calls refused or failed, by command.
    counter CALL_FAILURES = "redprobe_server_info_command_failures_total" [command];
    /// Error replies, by reason.
    counter ERRORS = "redprobe_server_info_errors_total" [reason];
    /// Keys, by database.
    gauge KEYS = "redprobe_server_info_keys" [db];
    /// Keys with a time to live, by database.
    gauge KEYS_EXPIRING = "redprobe_server_info_keys_with_ttl" [db];
    /// Whether the link to the master is up; absent on a master.
    gauge LINK_UP = "redprobe_server_info_master_link_up";
    /// Time since the master was last heard; absent on a master and while the link is down.
    gauge LINK_IDLE = "redprobe_server_info_master_last_io_seconds";
    /// The longest time since one of the replicas acknowledged; absent without replicas.
    gauge LAG_SECONDS = "redprobe_server_info_replica_lag_seconds";
    /// The most bytes that one of the replicas is behind; absent without replicas.
    gauge LAG_BYTES = "redprobe_server_info_replica_lag_bytes";
}

const POLICIES: [&str; 8] = [
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];

/// Commands with series of their own; the others share one.
const COMMANDS: &[&str] = &[
    "acl",
    "append",
    "auth",
    "blmove",
    "blmpop",
    "blpop",
    "brpop",
    "bzpopmax",
    "bzpopmin",
    "client",
    "cluster",
    "config",
    "dbsize",
    "decr",
    "decrby",
    "del",
    "eval",
    "evalsha",
    "exec",
    "exists",
    "expire",
    "fcall",
    "flushall",
    "flushdb",
    "get",
    "getdel",
    "getex",
    "getset",
    "hdel",
    "hexists",
    "hget",
    "hgetall",
    "hincrby",
    "hmget",
    "hmset",
    "hscan",
    "hset",
    "incr",
    "incrby",
    "info",
    "keys",
    "lindex",
    "llen",
    "lmove",
    "lpop",
    "lpush",
    "lrange",
    "lrem",
    "ltrim",
    "mget",
    "mset",
    "multi",
    "pexpire",
    "ping",
    "psetex",
    "psubscribe",
    "psync",
    "pttl",
    "publish",
    "replconf",
    "rpop",
    "rpush",
    "sadd",
    "scan",
    "scard",
    "script",
    "select",
    "set",
    "setex",
    "setnx",
    "sismember",
    "smembers",
    "sort",
    "spop",
    "srem",
    "sscan",
    "subscribe",
    "sunion",
    "touch",
    "ttl",
    "type",
    "unlink",
    "unwatch",
    "watch",
    "xack",
    "xadd",
    "xautoclaim",
    "xclaim",
    "xdel",
    "xlen",
    "xpending",
    "xrange",
    "xread",
    "xreadgroup",
    "xtrim",
    "zadd",
    "zcard",
    "zincrby",
    "zpopmin",
    "zrange",
    "zrangebyscore",
    "zrank",
    "zrem",
    "zscore",
];

const OTHER: &str = "other";
/// Databases with series of their own; redis.conf's default has no more.
const DATABASES: [&str; 16] = [
    "db0", "db1", "db2", "db3", "db4", "db5", "db6", "db7", "db8", "db9", "db10", "db11", "db12", "db13",
    "db14", "db15",
];

/// Sets every metric of this file.
pub(super) fn read(info: &Info, report: &mut Report) {
    states(info, report);
    cpu(info, report);
    commands(info, report);
    errors(info, report);
    databases(info, report);
    replication(info, report);
}

/// Whether the server is a replica; `None` where it does not say.
pub(super) fn is_replica(info: &Info) -> Option<bool> {
    info.text("role").map(|role| role != "master")
}

fn states(info: &Info, report: &mut Report) {
    if let Some(replica) = is_replica(info) {
        report.set_with(&ROLE, ["master".into()], f64::from(!replica));
        report.set_with(&ROLE, ["replica".into()], f64::from(replica));
    }
    if let Some(policy) = info.text("maxmemory_policy") {
        for known in POLICIES {
            report.set_with(&POLICY, [known.into()], f64::from(policy == known));
        }
        report.set_with(&POLICY, [OTHER.into()], f64::from(!POLICIES.contains(&policy)));
    }
}

fn cpu(info: &Info, report: &mut Report) {
    for (mode, field) in [
        ("system", "used_cpu_sys"),
        ("user", "used_cpu_user"),
        ("children_system", "used_cpu_sys_children"),
        ("children_user", "used_cpu_user_children"),
    ] {
        if let Some(seconds) = info.number(field) {
            report.set_with(&CPU, [mode.into()], seconds);
        }
    }
}

fn commands(info: &Info, report: &mut Report) {
    let mut totals: BTreeMap<&'static str, CommandStat> = BTreeMap::new();
    for (name, stat) in info.commands() {
        // Subcommands (`config|get`) count for their command.
        let name = name.split('|').next().unwrap_or_default();
        let label = COMMANDS.binary_search(&name).map_or(OTHER, |index| COMMANDS[index]);
        let total = totals.entry(label).or_default();
        total.calls += stat.calls;
        total.usec += stat.usec;
        total.rejected += stat.rejected;
        total.failed += stat.failed;
    }
    for (label, total) in totals {
        report.set_with(&CALLS, [label.into()], total.calls as f64);
        report.set_with(&CALL_SECONDS, [label.into()], total.usec as f64 / 1e6);
        report.set_with(&CALL_FAILURES, [label.into()], (total.rejected + total.failed) as f64);
    }
}

fn errors(info: &Info, report: &mut Report) {
    let mut totals: BTreeMap<Reason, u64> = BTreeMap::new();
    for (code, count) in info.errors() {
        *totals.entry(Reason::from_code(&code)).or_default() += count;
    }
    for (reason, count) in totals {
        report.set_with(&ERRORS, [reason.as_str().into()], count as f64);
    }
}

fn databases(info: &Info, report: &mut Report) {
    let mut totals: BTreeMap<&'static str, (u64, u64)> = BTreeMap::new();
    for (number, (keys, expiring)) in info.keyspace() {
        let label =
            usize::try_from(number).ok().and_then(|number| DATABASES.get(number)).copied().unwrap_or(OTHER);
        let total = totals.entry(label).or_default();
        total.0 += keys;
        total.1 += expiring;
    }
    // An empty database is not in INFO at all, but the first one always exists.
    if info.text("redis_version").is_some() {
        totals.entry(DATABASES[0]).or_default();
    }
    for (label, (keys, expiring)) in totals {
        report.set_with(&KEYS, [label.into()], keys as f64);
        report.set_with(&KEYS_EXPIRING, [label.into()], expiring as f64);
    }
}

fn replication(info: &Info, report: &mut Report) {
    if is_replica(info) == Some(true) {
        if let Some(up) = info.flag("master_link_status") {
            report.set(&LINK_UP, f64::from(up));
        }
        if let Some(idle) = info.number("master_last_io_seconds_ago").filter(|idle| *idle >= 0.0) {
            report.set(&LINK_IDLE, idle);
        }
    }
    if let Some(lag) = replica_lag(info) {
        report.set(&LAG_SECONDS, lag.seconds);
        report.set(&LAG_BYTES, lag.bytes);
    }
}

/// How far the replica that is furthest behind is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lag {
    pub(super) seconds: f64,
    pub(super) bytes: f64,
}

/// `slave0:ip=…,port=…,state=online,offset=123,lag=0`, of which there is one per replica.
pub(super) fn replica_lag(info: &Info) -> Option<Lag> {
    let offset = info.number("master_repl_offset")?;
    (0..)
        .map_while(|index| info.text(&format!("slave{index}")))
        .map(|line| {
            let number = |name: &str| -> Option<f64> {
                line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            };
            Lag {
                seconds: number("lag").unwrap_or_default(),
                bytes: number("offset").map_or(0.0, |acknowledged| (offset - acknowledged).max(0.0)),
            }
        })
        .reduce(|a, b| Lag { seconds: a.seconds.max(b.seconds), bytes: a.bytes.max(b.bytes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(report: &Report, name: &str, label: &str) -> Option<f64> {
        report
            .samples
            .iter()
            .find(|sample| sample.def.name == name && sample.labels.iter().any(|l| l == label))
            .map(|sample| sample.value)
    }

    #[test]
    fn commands_are_in_order_and_unique() {
        assert!(COMMANDS.is_sorted_by(|a, b| a < b), "binary search needs them so");
        assert!(!COMMANDS.contains(&OTHER));
    }

    #[test]
    fn what_the_server_names_never_becomes_a_label() {
        let info = Info::parse(
            "# Server\r\nredis_version:7.0.15\r\n\
             # Memory\r\nmaxmemory_policy:evil-policy\r\n\
             # Commandstats\r\n\
             cmdstat_get:calls=3,usec=9,usec_per_call=3.00,rejected_calls=1,failed_calls=2\r\n\
             cmdstat_config|get:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0,failed_calls=0\r\n\
             cmdstat_config|set:calls=1,usec=5,usec_per_call=5.00,rejected_calls=0,failed_calls=0\r\n\
             cmdstat_evil.command:calls=7,usec=7,usec_per_call=1.00,rejected_calls=0,failed_calls=0\r\n\
             # Errorstats\r\nerrorstat_OOM:count=4\r\nerrorstat_EVIL:count=2\r\nerrorstat_ERR:count=1\r\n\
             # Keyspace\r\ndb3:keys=5,expires=2,avg_ttl=0\r\ndb99:keys=1,expires=0,avg_ttl=0\r\n",
        );
        let mut report = Report::default();
        read(&info, &mut report);
        assert_eq!(value(&report, CALLS.name, "get"), Some(3.0));
        assert_eq!(value(&report, CALL_SECONDS.name, "get"), Some(9e-6));
        assert_eq!(value(&report, CALL_FAILURES.name, "get"), Some(3.0));
        assert_eq!(value(&report, CALLS.name, "config"), Some(2.0));
        assert_eq!(value(&report, CALLS.name, "other"), Some(7.0));
        assert_eq!(value(&report, ERRORS.name, "oom"), Some(4.0));
        assert_eq!(value(&report, ERRORS.name, "other"), Some(3.0));
        assert_eq!(value(&report, KEYS.name, "db0"), Some(0.0));
        assert_eq!(value(&report, KEYS.name, "db3"), Some(5.0));
        assert_eq!(value(&report, KEYS_EXPIRING.name, "db3"), Some(2.0));
        assert_eq!(value(&report, KEYS.name, "other"), Some(1.0));
        assert_eq!(value(&report, POLICY.name, "other"), Some(1.0));
        for sample in &report.samples {
            for label in &sample.labels {
                assert!(!label.contains("evil") && !label.contains("EVIL"), "{label}");
            }
        }
    }

    #[test]
    fn the_replica_furthest_behind_counts() {
        let info = Info::parse(
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
             slave0:ip=10.0.0.1,port=6379,state=online,offset=900,lag=1\r\n\
             slave1:ip=10.0.0.2,port=6379,state=online,offset=990,lag=7\r\nmaster_repl_offset:1000\r\n",
        );
        assert_eq!(replica_lag(&info), Some(Lag { seconds: 7.0, bytes: 100.0 }));
        assert_eq!(replica_lag(&Info::parse("role:master\r\nmaster_repl_offset:5\r\n")), None);
    }
}
