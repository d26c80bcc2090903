//! redprobe's own load loop as a process: `client ADDRESS CONNECTIONS PIPELINE OPERATIONS SPIN_MICROS`.
//!
//! It reads the key that redis-benchmark reads, records every latency, and prints operations per second.

use std::time::Duration;

use anyhow::{Context, bail};
use measure::{
    conn::Endpoint,
    load::{self, Control, LoadPlan, Progress, Share, Stop},
    wire::{Command, Expect, WireConnector},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The key that redis-benchmark reads where it is not told to vary it.
pub(crate) const KEY: &[u8] = b"key:__rand_int__";

pub(crate) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [address, connections, pipeline, operations, spin] = words else {
        bail!("client ADDRESS CONNECTIONS PIPELINE OPERATIONS SPIN_MICROS");
    };
    let endpoint = Endpoint::parse(&format!("redis://{address}")).map_err(anyhow::Error::msg)?;
    let mut plan = LoadPlan::new("bench", vec![Share { operation: "get", weight: 1 }]);
    plan.workers = connections.parse()?;
    plan.pipeline = pipeline.parse()?;
    plan.stop = Stop { operations: Some(operations.parse()?), ..Stop::default() };
    plan.spin = Duration::from_micros(spin.parse()?);
    let command = Command::reading("get", &[b"GET", KEY], Expect::Bulk);
    let connector = WireConnector::new(endpoint, "redprobe-bench", vec![command], &plan);
    let control = Control {
        kill: CancellationToken::new(),
        progress: watch::Sender::new(Progress::default()),
        threads: TaskTracker::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(load::run(plan, connector, &control))?;
    let operation = result.operations.first().context("one operation was asked for")?;
    if operation.ok != operation.attempts {
        bail!("{} of {} operations failed", operation.attempts - operation.ok, operation.attempts);
    }
    println!("{} {}", operation.per_second(), operation.response.p99.unwrap_or_default());
    Ok(())
}
