//! `memory_pressure`: what it reaches, what it finds, what it refuses, and that it leaves no mark. What happens when it is
//! killed or stopped half-way is in `killed` and `stopped`; what others notice, in `harmless`.

use serde_json::Value;
use testkit::RedisServer;

use super::{Foreign, Ran, measured, objective, operations, probe, run, sum};

mod freeing;
mod harmless;
mod killed;
mod others;
mod stopped;

/// Every eviction policy.
#[cfg(feature = "soak")]
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

/// Long enough for a p95 of the canary.
const WATCH: [&str; 3] = ["monitor=2s", "monitoring_interval=200ms", "recovery=500ms"];
/// Where the canary does not matter.
const GLANCE: [&str; 3] = ["monitor=200ms", "monitoring_interval=100ms", "recovery=100ms"];

/// Runs it, in short, with these settings besides.
fn press(server: &RedisServer, settings: &[&str]) -> Ran {
    press_for(&WATCH, server, settings)
}

fn press_for(lengths: &[&str], server: &RedisServer, settings: &[&str]) -> Ran {
    let words: Vec<&str> = lengths.iter().chain(settings).flat_map(|setting| ["--set", setting]).collect();
    probe("memory_pressure", server, &[&["--allow", "disrupt"], &words[..]].concat())
}

fn limited(limit: &str, policy: &str) -> RedisServer {
    RedisServer::with(&["--maxmemory", limit, "--maxmemory-policy", policy])
}

fn setting(server: &RedisServer, name: &str) -> String {
    server.cli(&["CONFIG", "GET", name]).lines().nth(1).unwrap_or_default().to_owned()
}

fn settings(server: &RedisServer) -> [String; 3] {
    ["maxmemory", "maxmemory-policy", "maxmemory-samples"].map(|name| setting(server, name))
}

fn conclusion(run: &Value) -> &str {
    run["conclusion"].as_str().expect("text")
}

/// Met, whatever the machine's speed.
#[track_caller]
fn met(run: &Value, name: &str) {
    let objective = objective(run, name).unwrap_or_else(|| panic!("no {name} in {:#}", run["objectives"]));
    assert_eq!(objective["met"], true, "{run:#}");
}

#[test]
fn a_server_of_its_own_is_filled_to_the_target_and_given_back() {
    let server = limited("64mb", "noeviction");
    let before = settings(&server);
    let ran = press(&server, &["temp_maxmemory=48MB", "temp_policy=allkeys-lru"]);
    let run = ran.expect_measured();
    let limit = f64::from(48 << 20);
    assert_eq!(measured(run, "limit"), limit);
    let reached = measured(run, "reached");
    assert!((0.8..0.82).contains(&reached), "{reached}");
    let set = operations(run, "fill")[0];
    assert_eq!((&set["operation"], &set["attempts"]), (&"set".into(), &set["ok"]), "{set:#}");
    assert!(set["ok"].as_u64().unwrap() >= 1_000, "{set:#}");
    assert_eq!(measured(run, "deleted_keys"), 1_000.0);
    let freed = measured(run, "deleted_freed") / (1_000.0 * measured(run, "value_size"));
    assert!((0.9..1.5).contains(&freed), "{freed}");
    for name in
        ["target_reached", "policy_breaches", "foreign_evictions", "memory_recovered", "settings_restored"]
    {
        met(run, name);
    }
    assert_eq!(settings(&server), before);
    let restored = &run["cleanup"]["settings_restored"];
    assert_eq!(restored.as_array().map_or(0, Vec::len), 2, "{restored}");
    assert!(restored.to_string().contains("\"maxmemory\""), "{restored}");
    assert_eq!(run["cleanup"]["left_over"], 0);
    assert!(run["cleanup"]["keys_removed"].as_u64() >= set["ok"].as_u64(), "{:#}", run["cleanup"]);
    assert_eq!(server.keys(), Vec::<String>::new());
    let text = conclusion(run);
    assert!(
        text.starts_with("Filled to 80") && text.contains("of 48 MB") && text.contains("as before"),
        "{text}"
    );
    assert!(sum(run, "monitor", "ok") >= 150 && sum(run, "before", "ok") >= 150, "the canary was timed");
}

#[test]
fn every_moment_is_on_the_timeline() {
    let server = limited("32mb", "noeviction");
    let ran = press(&server, &[]);
    let run = ran.expect_measured();
    for phase in ["fill", "monitor", "recovery", "release"] {
        let points = run["timeline"].as_array().unwrap().iter().filter(|point| point["phase"] == phase);
        let used: Vec<f64> = points.filter_map(|point| point["values"]["used_ratio"].as_f64()).collect();
        assert!(
            !used.is_empty() && used.iter().all(|ratio| (0.0..=1.0).contains(ratio)),
            "{phase}: {used:?}"
        );
        if phase == "monitor" {
            assert!(used.len() >= 5 && used.iter().all(|ratio| *ratio > 0.75), "{used:?}");
        }
    }
    assert_eq!(run["cleanup"]["settings_restored"], Value::Array(Vec::new()), "nothing was changed");
}

#[test]
fn above_the_target_nothing_is_loaded_and_it_says_so() {
    let server = limited("16mb", "noeviction");
    let fill = "for i = 1, 14 do redis.call('SET', 'foreign:' .. i, string.rep('x', 1000000)) end";
    let _ = server.cli(&["EVAL", fill, "0"]);
    let foreign = server.keys();
    let ran = press(&server, &["max_foreign_keys=100", "accept_foreign_oom=true"]);
    let run = ran.expect_measured();
    let text = conclusion(run);
    assert!(text.contains("already, above the target of 80 %: nothing was loaded"), "{text}");
    assert_eq!(sum(run, "fill", "attempts"), 0);
    assert_eq!(server.keys(), foreign);
}

#[test]
fn beside_others_it_reaches_its_target_under_noeviction_once_that_is_accepted() {
    let server = limited("64mb", "allkeys-lru");
    let (foreign, before) = (Foreign::plant(&server), settings(&server));
    let refused = press(&server, &["temp_policy=noeviction"]);
    refused.expect_unmeasured("skipped", "precondition");
    let text = conclusion(refused.run());
    for word in
        ["5 foreign keys", "max_foreign_keys = 5 or more", "accept_foreign_oom = true", "at the price"]
    {
        assert!(text.contains(word), "{word:?} is missing in {text}");
    }
    let accepted = ["temp_policy=noeviction", "max_foreign_keys=5", "accept_foreign_oom=true"];
    let ran = press(&server, &accepted);
    met(ran.expect_measured(), "target_reached");
    met(ran.run(), "foreign_evictions");
    foreign.check(&server);
    assert_eq!(settings(&server), before);
}

#[test]
fn noeviction_at_the_limit_refuses_and_loses_no_key() {
    let server = limited("16mb", "noeviction");
    let ran = press(&server, &["target_percent=120", "accept_foreign_oom=true"]);
    let run = ran.expect_measured();
    let set = operations(run, "fill")[0];
    assert!(set["errors"]["oom"].as_u64().unwrap() > 0 && set["ok"].as_u64().unwrap() > 1_000, "{set:#}");
    assert_eq!((measured(run, "evicted_own"), measured(run, "evicted_foreign")), (0.0, 0.0));
    met(run, "policy_breaches");
    met(run, "target_reached");
    let text = conclusion(run);
    assert!(text.contains("with OOM and lost no key, as it promises"), "{text}");
}

fn makes_room_by_the_probes_own_keys(policy: &str) {
    let server = limited("16mb", policy);
    let ran = press(&server, &["target_percent=200"]);
    let run = ran.expect_measured();
    assert!(measured(run, "evicted_own") > 100.0, "{policy}: {run:#}");
    assert_eq!(measured(run, "evicted_foreign"), 0.0, "{policy}");
    met(run, "policy_breaches");
    let text = conclusion(run);
    assert!(text.contains(&format!("{policy} made room by ")) && text.contains("refused no write"), "{text}");
    assert_eq!(server.keys(), Vec::<String>::new());
    let order = &run["measurements"]["eviction_order"]["value"];
    match policy {
        "allkeys-lru" | "volatile-ttl" => {
            assert!(order.as_f64().is_some_and(|order| order > 0.3), "{policy}: {order}");
        }
        _ => assert!(order.is_null(), "{policy} has none: {order}"),
    }
}

#[test]
fn above_the_limit_allkeys_lru_takes_the_oldest_of_its_own_keys() {
    makes_room_by_the_probes_own_keys("allkeys-lru");
}

#[test]
fn above_the_limit_allkeys_lfu_takes_its_own_keys() {
    makes_room_by_the_probes_own_keys("allkeys-lfu");
}

#[test]
fn above_the_limit_volatile_ttl_takes_the_shortest_lived_of_its_own_keys() {
    makes_room_by_the_probes_own_keys("volatile-ttl");
}

#[test]
fn a_fill_beyond_the_budget_is_skipped_and_names_the_key() {
    let server = limited("128mb", "noeviction");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("redprobe.toml");
    let text =
        format!("[targets.small]\nurl = \"{}\"\nallow = \"disrupt\"\nmax_bytes = \"20MB\"\n", server.url());
    std::fs::write(&config, text).unwrap();
    let arguments = ["memory_pressure", "--config", config.to_str().unwrap(), "--target", "small"];
    let ran = run(&arguments);
    ran.expect_unmeasured("skipped", "precondition");
    let text = conclusion(ran.run());
    assert!(text.contains("targets.small.max_bytes allows 20971520"), "{text}");
}

#[test]
fn without_a_limit_it_names_the_setting_that_gives_it_one() {
    let server = RedisServer::start();
    let ran = press(&server, &[]);
    ran.expect_unmeasured("skipped", "precondition");
    assert!(conclusion(ran.run()).contains("set temp_maxmemory"), "{}", conclusion(ran.run()));
    assert_eq!(server.keys(), Vec::<String>::new());
}

#[test]
fn leftovers_of_a_killed_run_are_no_foreign_keys() {
    let server = limited("32mb", "allkeys-lru");
    for number in 0..50 {
        let key = format!("redprobe:{{other}}:memory_pressure:01J:fill:{number:09}");
        server.ok(&["SET", &key, "x", "PX", "600000"]);
    }
    met(press(&server, &[]).expect_measured(), "target_reached");
}
