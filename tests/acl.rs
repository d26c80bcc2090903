//! `redprobe acl`, and the check of grants at start, against real servers and for every probe of the registry.
//!
//! What is shared here makes a user by the rule as it is printed. That a command refuses bad arguments is tested in
//! `cli`.

use measure::Effect;
use redprobe::probe::ProbeKind;
use serde_json::Value;
use testkit::RedisServer;

use crate::support::redprobe;

mod printed;
mod runs;
mod start;
mod ways;

/// What `redprobe acl` prints for these arguments; it must succeed.
#[track_caller]
fn acl(arguments: &[&str]) -> String {
    let output =
        redprobe(&[&["acl"], arguments].concat()).output().expect("the binary was built with the tests");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// A probe up to one effect on a server of its own, and the rule for just that.
struct Bed {
    kind: &'static ProbeKind,
    effect: Effect,
    server: RedisServer,
    /// As `--format json` prints it.
    rule: Value,
}

impl Bed {
    fn new(kind: &'static ProbeKind, effect: Effect) -> Self {
        let server = RedisServer::with(server_for(kind.name));
        let url = server.url();
        let arguments = [kind.name, "--target", &url, "--allow", effect.as_str(), "--format", "json"];
        let settings: Vec<&str> = settings(kind.name).iter().flat_map(|setting| ["--set", setting]).collect();
        let rule = acl(&[&arguments[..], &settings].concat());
        Self { kind, effect, server, rule: serde_json::from_str(&rule).expect("it is JSON") }
    }

    /// The words that grant something.
    fn words(&self) -> Vec<String> {
        let grants = self.rule["grants"].as_array().expect("a list").iter();
        grants.map(|grant| grant["rule"].as_str().expect("text").to_owned()).collect()
    }

    /// Makes the user by the printed line, without the word `but` in it, and returns its URL.
    fn make_user(&self, but: &str) -> String {
        let line = self.rule["acl_setuser"].as_str().expect("text");
        let words: Vec<&str> = line.split(' ').filter(|word| *word != but).collect();
        self.server.ok(&words);
        self.server.url().replace("://", "://redprobe:PASSWORD@")
    }

    /// Runs the probe as the user of this URL.
    fn run(&self, url: &str) -> crate::probes::Ran {
        let set = settings(self.kind.name).iter().flat_map(|setting| ["--set", setting]);
        let arguments = [self.kind.name, "--target", url, "--allow", self.effect.as_str()];
        crate::probes::run(&arguments.into_iter().chain(set).collect::<Vec<_>>())
    }
}

/// Every effect that a probe can have.
fn effects(kind: &ProbeKind) -> impl Iterator<Item = Effect> + use<> {
    let (least, most) = (kind.effect, kind.reach);
    [Effect::Observe, Effect::Touch, Effect::Load, Effect::Disrupt]
        .into_iter()
        .filter(move |effect| (least..=most).contains(effect))
}

/// What makes a probe's run short, and all its phases run.
fn settings(probe: &str) -> &'static [&'static str] {
    match probe {
        "latency_baseline" => &[
            "iterations=5",
            "sustained=100ms",
            "connects=1",
            "workers=2",
            "ops_per_worker=5",
            "memory_pattern=1MB",
        ],
        "throughput" => &[
            "phases=[\"baseline\",\"concurrent\"]",
            "duration=200ms",
            "warm_up=0s",
            "key_space=100",
            "workers=2",
        ],
        // Above the limit, where there is something to evict.
        "memory_pressure" => &[
            "temp_maxmemory=8MB",
            "temp_policy=allkeys-lru",
            "target_percent=110",
            "monitor=100ms",
            "monitoring_interval=50ms",
            "recovery=50ms",
        ],
        "pool_sizing" => &["duration=100ms", "block=50ms", "readers=1", "rate=20", "workers=2", "repeats=1"],
        "mixed_workload" | "pool_starvation" | "split_pool" => &["duration=300ms", "block=50ms"],
        "pool_exhaustion" => &["duration=300ms", "hold=1ms", "cost=50ms", "readers=1", "block=50ms"],
        _ => &[],
    }
}

/// The server that a probe needs.
fn server_for(_probe: &str) -> &'static [&'static str] {
    &[]
}
