//! Reads INFO: clients, memory, evictions, hits, persistence, replication, commands.
//!
//! The probe and its objectives are here, the metrics in `fields` and `parts`. What needs more than one INFO does not
//! belong to this probe: rates are Prometheus' to make.

use measure::{
    Effect, Grant, ProbeError, Reason,
    facts::Info,
    metric::MetricDef,
    report::{Direction, ObjectiveDef, Report, Severity, Unit},
};

use crate::{
    probe::{Needs, Probe, ProbeCx, SettingError},
    settings,
    verdict::human,
};

mod fields;
mod parts;

settings! {
    /// Settings of `server_info`: it has none.
    pub struct Settings {
    }
}

static CLIENTS: ObjectiveDef = ObjectiveDef {
    name: "clients_ratio",
    phrase: "the share of maxclients in use",
    help: "Connected clients over maxclients. Beyond the limit one deployment that opens its pools twice is turned away; a fifth is the usual head room.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.8,
};

static MEMORY: ObjectiveDef = ObjectiveDef {
    name: "memory_ratio",
    phrase: "the share of maxmemory in use",
    help: "Used memory over maxmemory. Observed where maxmemory is set and the policy is not one of allkeys-*, for which a full memory is the normal state.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.9,
};

static PERSISTENCE: ObjectiveDef = ObjectiveDef {
    name: "persistence_failures",
    phrase: "the number of failing persistence steps",
    help: "How many of these failed last time: RDB save, AOF write, AOF rewrite. With stop-writes-on-bgsave-error, Redis refuses writes then.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

static LINK: ObjectiveDef = ObjectiveDef {
    name: "master_link_down",
    phrase: "the time without a link to the master",
    help: "How long a replica has been without its master; 0 while the link is up. Observed on replicas. What is read from it meanwhile is stale.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Critical,
    limit: 0.0,
};

static LAG: ObjectiveDef = ObjectiveDef {
    name: "replica_lag",
    phrase: "the lag of the slowest replica",
    help: "Time since the slowest replica acknowledged. Observed on masters with replicas. Redis' own min-replicas-max-lag is 10 s by default.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 10.0,
};

static FRAGMENTATION: ObjectiveDef = ObjectiveDef {
    name: "fragmentation_ratio",
    phrase: "memory fragmentation",
    help: "Resident over allocated memory. Observed where more than 64 MB are lost by it, since the ratio of a small server means nothing. MEMORY DOCTOR complains from 1.4 on.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Info,
    limit: 1.5,
};

/// Bytes lost by fragmentation from which its ratio means something.
const FRAGMENTATION_MATTERS: f64 = 64.0 * 1_048_576.0;

/// The probe.
#[derive(Debug)]
pub struct ServerInfo;

impl Probe for ServerInfo {
    const NAME: &'static str = "server_info";
    const SUMMARY: &'static str =
        "Reads INFO: clients, memory, evictions, hits, persistence, replication, commands.";
    const EFFECT: Effect = Effect::Observe;
    const COMMANDS: &'static [Grant] =
        &[Grant::observe("info", "all", "read what the server says of itself")];
    const METRICS: &'static [&'static MetricDef] = {
        const ALL: [&MetricDef; fields::METRICS.len() + parts::METRICS.len()] =
            measure::metric::concat(fields::METRICS, parts::METRICS);
        &ALL
    };
    const OBJECTIVES: &'static [&'static ObjectiveDef] =
        &[&CLIENTS, &MEMORY, &PERSISTENCE, &LINK, &LAG, &FRAGMENTATION];
    type Settings = Settings;

    fn new(_settings: Settings) -> Result<Self, Vec<SettingError>> {
        Ok(Self)
    }

    fn quick(_settings: &mut Settings) {}

    fn needs(&self, _allowed: Effect) -> Needs {
        Needs { connections: 1, ..Needs::default() }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut conn = cx.observer().await?;
        let info = cx.info(&mut conn, &["all"]).await?;
        if info.number("uptime_in_seconds").is_none() {
            return Err(ProbeError::failed(
                Reason::Protocol,
                "the answer to INFO has no uptime_in_seconds; this is not a Redis server, or INFO is filtered",
            ));
        }
        let mut report = Report::default();
        fields::read(&info, &mut report);
        parts::read(&info, &mut report);
        observe(&info, &mut report);
        measure_headlines(&info, &mut report);
        report.conclusion = conclusion(&info);
        Ok(report)
    }
}

fn observe(info: &Info, report: &mut Report) {
    if let (Some(clients), Some(max)) = (info.number("connected_clients"), info.number("maxclients")) {
        report.observe(&CLIENTS, clients / max.max(1.0));
    }
    let evicts_all = info.text("maxmemory_policy").is_some_and(|policy| policy.starts_with("allkeys-"));
    if let Some(ratio) = memory_ratio(info).filter(|_| !evicts_all) {
        report.observe(&MEMORY, ratio);
    }
    let steps = ["rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"];
    let said: Vec<_> = steps.iter().filter_map(|field| info.flag(field)).collect();
    if !said.is_empty() {
        report.observe(&PERSISTENCE, said.iter().filter(|ok| !**ok).count() as f64);
    }
    if parts::is_replica(info) == Some(true)
        && let Some(up) = info.flag("master_link_status")
    {
        report.observe(&LINK, if up { 0.0 } else { down_for(info) });
    }
    if let Some(lag) = parts::replica_lag(info) {
        report.observe(&LAG, lag.seconds);
    }
    if let (Some(ratio), Some(bytes)) =
        (info.number("mem_fragmentation_ratio"), info.number("mem_fragmentation_bytes"))
        && bytes > FRAGMENTATION_MATTERS
    {
        report.observe(&FRAGMENTATION, ratio);
    }
}

/// Since when the link is down: at least a second, and since the start where it was never up.
fn down_for(info: &Info) -> f64 {
    info.number("master_link_down_since_seconds")
        .filter(|seconds| *seconds >= 0.0)
        .or(info.number("uptime_in_seconds"))
        .unwrap_or_default()
        .max(1.0)
}

fn memory_ratio(info: &Info) -> Option<f64> {
    let max = info.number("maxmemory").filter(|max| *max > 0.0)?;
    Some(info.number("used_memory")? / max)
}

/// The few figures that a reader of the report looks for; `/metrics` has the rest.
fn measure_headlines(info: &Info, report: &mut Report) {
    for (name, unit) in [
        ("uptime_in_seconds", Unit::Seconds),
        ("connected_clients", Unit::Count),
        ("blocked_clients", Unit::Count),
        ("maxclients", Unit::Count),
        ("used_memory", Unit::Bytes),
        ("used_memory_rss", Unit::Bytes),
        ("used_memory_peak", Unit::Bytes),
        ("maxmemory", Unit::Bytes),
        ("mem_fragmentation_ratio", Unit::Count),
        ("instantaneous_ops_per_sec", Unit::OperationsPerSecond),
        ("evicted_keys", Unit::Count),
        ("expired_keys", Unit::Count),
        ("keyspace_hits", Unit::Count),
        ("keyspace_misses", Unit::Count),
        ("rejected_connections", Unit::Count),
        ("connected_slaves", Unit::Count),
    ] {
        if let Some(value) = info.number(name) {
            report.measure(name, value, unit);
        }
    }
    let keys: u64 = info.keyspace().values().map(|(keys, _)| keys).sum();
    report.measure("keys", keys as f64, Unit::Count);
}

fn conclusion(info: &Info) -> String {
    let number = |field| info.number(field).unwrap_or_default();
    let who = match parts::is_replica(info) {
        Some(true) => "Replica",
        _ => "Master",
    };
    let memory = human::value(number("used_memory"), Unit::Bytes);
    let share = memory_ratio(info)
        .map_or_else(String::new, |ratio| format!(" ({} of maxmemory)", human::value(ratio, Unit::Ratio)));
    let keys: u64 = info.keyspace().values().map(|(keys, _)| keys).sum();
    format!(
        "{who} with {}, {memory} used{share}, {}, {}.",
        human::things(info.integer("connected_clients").unwrap_or_default(), "client"),
        human::things(keys, "key"),
        human::value(number("instantaneous_ops_per_sec"), Unit::OperationsPerSecond),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observed(text: &str) -> Vec<(&'static str, f64)> {
        let mut report = Report::default();
        observe(&Info::parse(text), &mut report);
        report.observed.iter().map(|(def, value)| (def.name, *value)).collect()
    }

    #[test]
    fn a_full_cache_is_no_finding_and_a_full_store_is() {
        let memory = |policy| format!("used_memory:95\r\nmaxmemory:100\r\nmaxmemory_policy:{policy}\r\n");
        assert_eq!(observed(&memory("noeviction")), [("memory_ratio", 0.95)]);
        assert_eq!(observed(&memory("volatile-lru")), [("memory_ratio", 0.95)]);
        assert_eq!(observed(&memory("allkeys-lru")), []);
        assert_eq!(observed("used_memory:95\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"), []);
    }

    #[test]
    fn fragmentation_counts_only_where_it_costs() {
        let text =
            |ratio, bytes| format!("mem_fragmentation_ratio:{ratio}\r\nmem_fragmentation_bytes:{bytes}\r\n");
        assert_eq!(observed(&text(13.6, 11_063_344)), []);
        assert_eq!(observed(&text(2.0, 100_000_000)), [("fragmentation_ratio", 2.0)]);
    }

    #[test]
    fn a_replica_without_its_master_says_since_when() {
        let text = |status, since| {
            format!(
                "role:slave\r\nuptime_in_seconds:60\r\nmaster_link_status:{status}\r\n\
                 master_link_down_since_seconds:{since}\r\n"
            )
        };
        assert_eq!(observed(&text("down", 7)), [("master_link_down", 7.0)]);
        assert_eq!(observed(&text("down", -1)), [("master_link_down", 60.0)]);
        assert_eq!(observed("role:slave\r\nmaster_link_status:up\r\n"), [("master_link_down", 0.0)]);
        assert_eq!(observed("role:master\r\n"), []);
    }

    #[test]
    fn every_failing_persistence_step_counts() {
        let text =
            "rdb_last_bgsave_status:err\r\naof_last_write_status:err\r\naof_last_bgrewrite_status:ok\r\n";
        assert_eq!(observed(text), [("persistence_failures", 2.0)]);
    }
}
