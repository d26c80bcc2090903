//! Operations per second and processor time per operation: GET of one key of 3 bytes, every latency recorded.

use std::{collections::BTreeMap, process::Command};

use anyhow::Context;
use testkit::RedisServer;

use crate::{
    client::KEY,
    process::{self, Finished},
    table::{machine, median, ratio},
};

/// Connections, pipeline, and operations of one run (about two seconds on a small machine).
const SHAPES: [(usize, usize, usize); 4] =
    [(1, 1, 40_000), (1, 16, 400_000), (50, 1, 300_000), (50, 16, 3_000_000)];
/// Polls a socket this long before sleeping on it, for the row that says so.
const SPIN_MICROS: &str = "100";

#[derive(Default)]
struct Samples {
    rate: Vec<f64>,
    cpu_per_operation: Vec<f64>,
}

type Tools = BTreeMap<&'static str, Samples>;

pub(crate) fn run(rounds: usize) -> anyhow::Result<()> {
    let server = RedisServer::start();
    server.ok(&["SET", std::str::from_utf8(KEY)?, "xxx"]);
    let address = server.address().to_string();
    println!("Operations per second, GET of one key of 3 bytes, medians of {rounds} interleaved rounds.");
    println!("{}\n", machine());
    println!(
        "| connections × pipeline | client | ops/s | ÷ best tool | ÷ ceiling | CPU µs/op | ÷ best tool |"
    );
    println!("|---|---|---:|---:|---:|---:|---:|");
    for (connections, pipeline, operations) in SHAPES {
        let mut tools = Tools::new();
        for round in 0..rounds {
            eprintln!("{connections} × {pipeline}: round {} of {rounds}", round + 1);
            measure_all(&mut tools, &address, (connections, pipeline, operations))?;
        }
        print(&tools, connections, pipeline);
    }
    Ok(())
}

fn measure_all(tools: &mut Tools, address: &str, shape: (usize, usize, usize)) -> anyhow::Result<()> {
    let (connections, pipeline, operations) = shape;
    let own = std::env::current_exe()?;
    let words = [connections.to_string(), pipeline.to_string(), operations.to_string()];
    let mut own_run = |tool, mode: &str, spin: Option<&str>| -> anyhow::Result<()> {
        let mut command = Command::new(&own);
        command.args([mode, address]).args(&words).args(spin);
        let finished = process::finish(&mut command)?;
        let rate = finished.stdout.split(' ').next().unwrap_or_default().parse()?;
        note(tools, tool, rate, &finished, operations);
        Ok(())
    };
    own_run("redprobe", "client", Some("0"))?;
    if connections == 1 && pipeline == 1 {
        own_run("redprobe, spinning", "client", Some(SPIN_MICROS))?;
    }
    own_run("raw epoll ceiling", "ceiling", None)?;
    redis_benchmark(tools, address, shape)?;
    if process::exists("memtier_benchmark") {
        memtier(tools, address, shape)?;
    }
    Ok(())
}

fn note(tools: &mut Tools, tool: &'static str, rate: f64, finished: &Finished, operations: usize) {
    let samples = tools.entry(tool).or_default();
    samples.rate.push(rate);
    samples.cpu_per_operation.push(finished.cpu * 1e6 / operations as f64);
}

fn redis_benchmark(tools: &mut Tools, address: &str, shape: (usize, usize, usize)) -> anyhow::Result<()> {
    let (connections, pipeline, operations) = shape;
    let (host, port) = address.rsplit_once(':').context("host:port")?;
    let mut command = Command::new("redis-benchmark");
    command.args(["-h", host, "-p", port, "--csv", "-n", &operations.to_string()]);
    command.args([
        "-c",
        &connections.to_string(),
        "-P",
        &pipeline.to_string(),
        "GET",
        std::str::from_utf8(KEY)?,
    ]);
    let finished = process::finish(&mut command)?;
    let line = finished.stdout.lines().last().context("redis-benchmark printed nothing")?;
    let rate =
        line.split(',').nth(1).context("a rate in redis-benchmark's line")?.trim_matches('"').parse()?;
    note(tools, "redis-benchmark", rate, &finished, operations);
    Ok(())
}

fn memtier(tools: &mut Tools, address: &str, shape: (usize, usize, usize)) -> anyhow::Result<()> {
    let (connections, pipeline, operations) = shape;
    let (host, port) = address.rsplit_once(':').context("host:port")?;
    let folder = tempfile::tempdir()?;
    let json = folder.path().join("memtier.json");
    let mut command = Command::new("memtier_benchmark");
    command.args([
        "--hide-histogram",
        "-t",
        "1",
        "-s",
        host,
        "-p",
        port,
        "--ratio",
        "0:1",
        "--key-maximum",
        "1",
    ]);
    command.args(["-c", &connections.to_string(), "--pipeline", &pipeline.to_string()]);
    command.args([
        "-n",
        &(operations / connections).to_string(),
        "--key-prefix",
        "memtier-",
        "--data-size",
        "3",
    ]);
    command.arg("--json-out-file").arg(&json);
    let finished = process::finish(&mut command)?;
    let result: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json)?)?;
    let rate = result["ALL STATS"]["Totals"]["Ops/sec"].as_f64().context("memtier's rate")?;
    note(tools, "memtier", rate, &finished, operations);
    Ok(())
}

fn print(tools: &Tools, connections: usize, pipeline: usize) {
    let best = ["redis-benchmark", "memtier"]
        .into_iter()
        .filter_map(|tool| tools.get(tool))
        .max_by(|a, b| median(&a.rate).total_cmp(&median(&b.rate)));
    let cheapest = ["redis-benchmark", "memtier"]
        .into_iter()
        .filter_map(|tool| tools.get(tool))
        .min_by(|a, b| median(&a.cpu_per_operation).total_cmp(&median(&b.cpu_per_operation)));
    let ceiling = tools.get("raw epoll ceiling");
    for (tool, samples) in tools {
        let against = |other: Option<&Samples>| {
            other.map_or_else(|| "–".to_owned(), |other| format!("{:.2}", ratio(&samples.rate, &other.rate)))
        };
        let cpu =
            cheapest.map_or(f64::NAN, |other| ratio(&samples.cpu_per_operation, &other.cpu_per_operation));
        println!(
            "| {connections} × {pipeline} | {tool} | {:.0} | {} | {} | {:.2} | {cpu:.2} |",
            median(&samples.rate),
            against(best),
            against(ceiling),
            median(&samples.cpu_per_operation),
        );
    }
}
