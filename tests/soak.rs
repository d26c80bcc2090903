//! What takes minutes (`make soak`): a thousand targets on schedule, ten thousand runs with nothing growing,
//! and starved pools, time and again.
//!
//! Bounded in time and count, on loopback. What can be shown in seconds belongs to the integration tests in `main.rs`.

#[expect(dead_code, reason = "the fixture serves the integration tests as well")]
mod support;

#[path = "soak/pools.rs"]
mod pools;

use std::time::Duration;

use measure::clock;
use support::Daemon;
use testkit::{RedisServer, poll_until};

const SERVERS: usize = 20;
const NAMES_EACH: usize = 50;
const WATCHED: Duration = Duration::from_secs(120);

/// Processor seconds and resident bytes of a daemon, by its own account, and its open files.
struct Usage {
    cpu: f64,
    resident: f64,
    files: f64,
}

fn usage(daemon: &Daemon) -> Usage {
    let metric = |name| daemon.metric(name, &[]).expect("process metrics are exported");
    Usage {
        cpu: metric("process_cpu_seconds_total"),
        resident: metric("process_resident_memory_bytes"),
        files: metric("process_open_fds"),
    }
}

fn config(servers: &[RedisServer], targets: usize) -> String {
    let mut text = String::new();
    for index in 0..targets {
        let url = servers[index % servers.len()].url();
        text.push_str(&format!("[targets.t{index}]\nurl = \"{url}\"\nallow = \"observe\"\n"));
    }
    text + "[jobs.info]\nprobe = \"server_info\"\ntargets = [\"*\"]\nschedule = \"every 15s\"\ntimeout = \"10s\"\n"
}

/// 20 servers × 50 names, `server_info` (and the built-in health check) every 15 s for two minutes.
#[test]
fn a_thousand_targets_are_probed_on_time() {
    let servers: Vec<RedisServer> = (0..SERVERS).map(|_| RedisServer::start()).collect();
    let targets = SERVERS * NAMES_EACH;
    let small = Daemon::start(&config(&servers, 1));
    small.await_metric("redprobe_runs_total", &["probe=\"server_info\""], |runs| runs > 0.0);
    let alone = usage(&small).resident;
    drop(small);

    let daemon = Daemon::start(&config(&servers, targets));
    // Every job has run once before the clock starts: connecting a thousand times is not the steady state.
    let all_ran = poll_until(Duration::from_secs(60), || {
        let text = daemon.scrape();
        let ran = |line: &&str| line.starts_with("redprobe_runs_total{") && !line.ends_with(" 0");
        text.lines().filter(ran).count() == 2 * targets
    });
    assert!(all_ran, "some jobs did not run within a minute");
    let (before, began) = (usage(&daemon), clock::now());
    let runs_before = sum(&daemon, "redprobe_runs_total");
    std::thread::sleep(WATCHED);
    let (after, took) = (usage(&daemon), began.elapsed().as_secs_f64());
    let runs = sum(&daemon, "redprobe_runs_total") - runs_before;

    let share = (after.cpu - before.cpu) / took;
    let per_target = (after.resident - alone) / (targets - 1) as f64;
    let missed = sum(&daemon, "redprobe_schedule_missed_ticks_total");
    let text = daemon.scrape();
    let unmeasured = |line: &&str| {
        ["redprobe_run_failures_total{", "redprobe_runs_skipped_total{"]
            .iter()
            .any(|name| line.starts_with(name))
            && !line.ends_with(" 0")
    };
    let unmeasured: Vec<&str> = text.lines().filter(unmeasured).collect();
    let count =
        daemon.metric("redprobe_schedule_start_lateness_seconds_count", &[]).expect("runs were late or not");
    let in_time = daemon
        .metric("redprobe_schedule_start_lateness_seconds_bucket", &["le=\"0.05\""])
        .expect("50 ms is a bucket's edge");
    println!(
        "{targets} targets, {runs:.0} runs in {took:.0} s: {:.1} % of one core, {:.1} KiB per target, {missed} missed \
         ticks, {} series of failed or skipped runs, {:.3} % started within 50 ms",
        share * 100.0,
        per_target / 1024.0,
        unmeasured.len(),
        in_time / count * 100.0,
    );
    let expected = 2.0 * targets as f64 * took / 15.0;
    assert!((runs - expected).abs() <= expected * 0.02, "{runs} runs of {expected}");
    assert!(missed == 0.0, "{missed} missed");
    assert!(unmeasured.is_empty(), "{unmeasured:#?}");
    assert!(in_time / count >= 0.99, "start lateness p99 is above 50 ms");
    assert!(share <= 0.10, "{share} of a core");
}

/// Ten thousand runs of every kind: memory and open files at the end are what they were after the first thousand.
#[test]
fn ten_thousand_runs_leave_nothing_behind() {
    let server = RedisServer::start();
    let daemon = Daemon::start(&format!(
        "[http]\napi_token = \"soak\"\n[targets.one]\nurl = \"{}\"\nallow = \"load\"\n\
         [jobs.info]\nprobe = \"server_info\"\ntargets = [\"one\"]\nschedule = \"manual\"\n\
         [jobs.latency]\nprobe = \"latency_baseline\"\ntargets = [\"one\"]\nschedule = \"manual\"\n\
         settings = {{ iterations = 3, connects = 1, rate = 100, sustained = \"20ms\", workers = 2, ops_per_worker = 3, memory_pattern = \"0\" }}\n\
         [jobs.throughput]\nprobe = \"throughput\"\ntargets = [\"one\"]\nschedule = \"manual\"\n\
         settings = {{ phases = [\"baseline\", \"pipelined\"], duration = \"20ms\", warm_up = \"0s\", key_space = 10, connections = 4 }}\n",
        server.url(),
    ));
    let headers = [("Authorization", "Bearer soak"), ("Content-Type", "application/json")];
    let mut early = None;
    for run in 0..10_000 {
        // Mostly cheap ones, so that the many runs take minutes and not hours; each kind hundreds of times.
        let probe = match run % 25 {
            0 => "latency_baseline",
            12 => "throughput",
            n if n % 2 == 0 => "health",
            _ => "server_info",
        };
        let body = format!("{{\"probe\":\"{probe}\",\"target\":\"one\"}}");
        let answer = daemon.request("POST", "/api/v1/runs", &headers, &body);
        assert_eq!(answer.status, 200, "run {run}: {}", answer.body);
        if run == 1_000 {
            early = Some(usage(&daemon));
        }
    }
    let (early, late) = (early.expect("more than a thousand runs"), usage(&daemon));
    println!(
        "after 1,000 and 10,000 runs: {:.1} and {:.1} MB resident, {} and {} open files",
        early.resident / 1e6,
        late.resident / 1e6,
        early.files,
        late.files,
    );
    assert!(late.resident <= early.resident * 1.10 + 2e6, "memory grows");
    assert!(late.files <= early.files + 2.0, "open files grow");
    let own: Vec<String> = server.keys().into_iter().filter(|key| key.starts_with("redprobe:")).collect();
    assert!(own.is_empty(), "{own:?}");
}

fn sum(daemon: &Daemon, name: &str) -> f64 {
    let text = daemon.scrape();
    let values = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
