//! The probes against real servers, by the command line as a person would use it: one module per probe.
//!
//! What is shared here starts `redprobe run` and reads its report. The command itself is tested in `run_command`.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::RedisServer;

use crate::support;

mod client_census;
mod config_audit;
mod health;
mod latency_baseline;
mod memory_pressure;
mod mixed_workload;
mod pool_exhaustion;
mod pool_sizing;
mod pool_starvation;
mod registry;
mod server_info;
mod split_pool;
mod throughput;

/// What a `redprobe run --format json` came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    /// The whole object; null where nothing was printed.
    pub(crate) suite: Value,
    pub(crate) stderr: String,
}

impl Ran {
    /// The only run.
    #[track_caller]
    pub(crate) fn run(&self) -> &Value {
        let runs = self.suite["runs"].as_array().map_or(&[][..], Vec::as_slice);
        assert_eq!(runs.len(), 1, "one run was asked for: {self:#?}");
        &runs[0]
    }

    /// Fails unless the only run was measured, with this outcome.
    #[track_caller]
    pub(crate) fn expect(&self, outcome: &str) -> &Value {
        let run = self.run();
        assert_eq!(run["outcome"], outcome, "{self:#?}");
        run
    }

    /// Fails unless the only run was measured, whatever its grade: on a busy machine, times can be anything.
    #[track_caller]
    pub(crate) fn expect_measured(&self) -> &Value {
        let run = self.run();
        assert!(matches!(run["outcome"].as_str(), Some("passed" | "failed")), "{self:#?}");
        run
    }

    /// Fails unless the only run was stopped from outside.
    #[track_caller]
    pub(crate) fn expect_unmeasured_by(&self, reason: &str) {
        let run = self.run();
        assert_eq!((self.code, &run["reason"]), (130, &reason.into()), "{self:#?}");
    }

    /// Fails unless the only run was not measured, for this reason.
    #[track_caller]
    pub(crate) fn expect_unmeasured(&self, outcome: &str, reason: &str) {
        let run = self.run();
        assert_eq!((&run["outcome"], &run["reason"]), (&outcome.into(), &reason.into()), "{self:#?}");
        assert_eq!((self.code, &run["grade"]), (3, &Value::Null), "{self:#?}");
    }
}

/// `redprobe` with these arguments, and a state of its own.
pub(crate) fn redprobe(state: &Path, arguments: &[&str]) -> Command {
    let mut command = support::redprobe(arguments);
    command.env("REDPROBE__STATE_DIR", state).stdin(Stdio::null());
    command
}

/// Runs and reads the report.
pub(crate) fn run(arguments: &[&str]) -> Ran {
    let state = TempDir::new().expect("a temporary directory can be made");
    let arguments = [&["run", "--format", "json"], arguments].concat();
    ran(&redprobe(state.path(), &arguments).output().expect("the binary was built with the tests"))
}

/// Reads the report out of what the command printed.
pub(crate) fn ran(output: &Output) -> Ran {
    Ran {
        code: output.status.code().expect("it was not killed"),
        suite: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a probe against a server, with these arguments besides.
pub(crate) fn probe(name: &str, server: &RedisServer, arguments: &[&str]) -> Ran {
    let url = server.url();
    run(&[&[name, "--target", &url], arguments].concat())
}

/// The operations of a phase.
pub(crate) fn operations<'r>(run: &'r Value, phase: &str) -> Vec<&'r Value> {
    run["operations"]
        .as_array()
        .expect("always there")
        .iter()
        .filter(|operation| operation["phase"] == phase)
        .collect()
}

/// The sum of a count over a phase's operations.
pub(crate) fn sum(run: &Value, phase: &str, count: &str) -> u64 {
    operations(run, phase).iter().map(|operation| operation[count].as_u64().expect("a count")).sum()
}

/// A measurement's value.
#[track_caller]
pub(crate) fn measured(run: &Value, name: &str) -> f64 {
    run["measurements"][name]["value"]
        .as_f64()
        .unwrap_or_else(|| panic!("no {name} in {:#}", run["measurements"]))
}

/// An objective by its name.
pub(crate) fn objective<'r>(run: &'r Value, name: &str) -> Option<&'r Value> {
    run["objectives"].as_array()?.iter().find(|objective| objective["name"] == name)
}

/// The phases that were skipped, with their reasons.
pub(crate) fn skipped<'r>(run: &'r Value) -> Vec<(&'r str, &'r str)> {
    let phases = run["skipped_phases"].as_array().expect("always there").iter();
    let text = |value: &'r Value| value.as_str().expect("text");
    phases.map(|phase| (text(&phase["phase"]), text(&phase["reason"]))).collect()
}

/// Keys of somebody else, with and without a time to live, of several types.
pub(crate) struct Foreign {
    before: Vec<String>,
}

impl Foreign {
    pub(crate) fn plant(server: &RedisServer) -> Self {
        server.ok(&["SET", "user:1", "value"]);
        server.ok(&["SET", "session:1", "value", "EX", "86400"]);
        server.ok(&["SET", "redprobe", "not ours: no colon"]);
        let _ = server.cli(&["RPUSH", "queue", "a", "b"]);
        let _ = server.cli(&["HSET", "hash", "field", "value"]);
        Self { before: Self::dump(server) }
    }

    /// Fails unless these keys, and no others, are there, and unchanged.
    #[track_caller]
    pub(crate) fn check(&self, server: &RedisServer) {
        assert_eq!(Self::dump(server), self.before, "foreign keys are the same, and none of ours is left");
        let ttl: u64 = server.cli(&["TTL", "session:1"]).parse().expect("a number");
        assert!(ttl > 86_000, "the time to live was left alone, not renewed or cut: {ttl}");
    }

    fn dump(server: &RedisServer) -> Vec<String> {
        let keys = server.keys();
        keys.iter().map(|key| format!("{key} {}", server.cli(&["DUMP", key]))).collect()
    }
}
