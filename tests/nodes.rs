//! Targets that are several servers: found by sentinels, or nodes of a cluster. Real ones, and what happens to them while
//! they are probed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use testkit::{RedisServer, poll_until};

use crate::support::Daemon;

mod acl;
mod cluster;
mod sentinel;

/// For anything that a busy machine may delay; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Outcome and reason of the runs of a probe on one node, oldest first.
fn outcomes(daemon: &Daemon, probe: &str, target: &str) -> Vec<(String, String)> {
    let runs = daemon.runs(&format!("?probe={probe}&target={target}&limit=1000"));
    let text = |run: &Value, field: &str| run[field].as_str().unwrap_or_default().to_owned();
    runs.iter().rev().map(|run| (text(run, "outcome"), text(run, "reason"))).collect()
}

/// How often each outcome and reason came that was not `passed`.
fn failures(daemon: &Daemon, probe: &str, target: &str) -> BTreeMap<(String, String), usize> {
    let mut failures = BTreeMap::new();
    for outcome in outcomes(daemon, probe, target).into_iter().filter(|(outcome, _)| outcome != "passed") {
        *failures.entry(outcome).or_default() += 1;
    }
    failures
}

/// Waits for this many runs that passed after `after` runs.
fn await_passes(daemon: &Daemon, (probe, target): (&str, &str), after: usize, passes: usize) {
    let passed = || {
        let outcomes = outcomes(daemon, probe, target);
        outcomes.iter().skip(after).filter(|(outcome, _)| outcome == "passed").count() >= passes
    };
    let came = poll_until(PATIENCE, passed);
    assert!(came, "{probe} on {target}: {:?}; log:\n{}", outcomes(daemon, probe, target), daemon.log());
}

/// How often a server was sent this command.
fn calls(server: &RedisServer, command: &str) -> u64 {
    server.calls().get(command).copied().unwrap_or(0)
}

/// Waits until no server has a key of redprobe's any more.
fn await_no_keys<'a>(servers: impl Iterator<Item = &'a RedisServer> + Clone) {
    let own = |server: &RedisServer| {
        server.keys().into_iter().filter(|key| key.starts_with("redprobe:")).collect::<Vec<_>>()
    };
    let left = || servers.clone().flat_map(own).collect::<Vec<String>>();
    assert!(poll_until(PATIENCE, || left().is_empty()), "left: {:?}", left());
}
