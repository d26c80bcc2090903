//! A daemon whose `memory_pressure` has to be stopped, and what is shown of it. That it is stopped by hand, and that there
//! are never two on one server, is tested with the probe.

use serde_json::{Value, json};
use testkit::{RedisServer, poll_until};

use super::daemon::post;
use crate::{runner::PATIENCE, support::Daemon};

fn config(redis: &RedisServer) -> String {
    format!(
        "http.api_token = \"a-long-random-token\"\n[targets.main]\nurl = \"{}\"\nallow = \"disrupt\"\n[jobs.press]\n\
         probe = \"memory_pressure\"\ntargets = [\"main\"]\nschedule = \"every 24h\"\n\
         settings = {{ temp_maxmemory = \"48MB\", temp_policy = \"noeviction\", monitor = \"1m\" }}\n",
        redis.url()
    )
}

fn settings(redis: &RedisServer) -> [String; 2] {
    ["maxmemory", "maxmemory-policy"].map(|name| redis.cli(&["CONFIG", "GET", name]))
}

/// Starts a run, waits until it presses, and returns its id.
fn press(daemon: &Daemon, redis: &RedisServer) -> String {
    let (status, run) = post(daemon, "/api/v1/runs", &json!({ "job": "press", "wait": false }).to_string());
    assert_eq!(status, 202, "{run}");
    assert!(
        poll_until(PATIENCE, || redis.cli(&["DBSIZE"]).parse::<u64>().is_ok_and(|keys| keys > 50)),
        "{}\n{:?}",
        daemon.log(),
        daemon.runs("")
    );
    run["id"].as_str().expect("text").to_owned()
}

fn record(daemon: &Daemon, id: &str) -> Value {
    let path = format!("/api/v1/runs/{id}");
    assert!(poll_until(PATIENCE, || daemon.get(&path).status == 200));
    serde_json::from_str(&daemon.get(&path).body).expect("it is JSON")
}

#[test]
fn a_foreign_command_refused_halts_it_and_switches_it_off() {
    let redis = RedisServer::start();
    let before = settings(&redis);
    let daemon = Daemon::start(&config(&redis));
    let id = press(&daemon, &redis);
    redis.ok(&["CONFIG", "SET", "maxmemory", "2mb"]);
    assert!(redis.cli(&["SET", "foreign", "x"]).starts_with("OOM"));
    let record = record(&daemon, &id);
    assert_eq!((&record["outcome"], &record["reason"]), (&json!("halted"), &json!("oom")), "{record}");
    // Somebody changed one of the two meanwhile, which is left to them.
    assert_eq!(settings(&redis)[1], before[1]);
    assert!(redis.keys().is_empty());
    let (_, run) = post(&daemon, "/api/v1/runs", &json!({ "job": "press" }).to_string());
    let conclusion = run["conclusion"].as_str().expect("text");
    assert_eq!((&run["outcome"], &run["reason"]), (&json!("skipped"), &json!("precondition")), "{run}");
    assert!(conclusion.contains("`redprobe rearm --target main memory_pressure`"), "{conclusion}");
    daemon.await_metric("redprobe_halted", &["target=\"main\""], |value| value == 1.0);
}
