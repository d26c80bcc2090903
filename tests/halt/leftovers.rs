//! What a killed daemon leaves in the server, and what the next one makes of it.

use std::time::Duration;

use measure::clock;
use rustix::process::Signal;
use serde_json::json;
use testkit::{RedisServer, poll_until};
use ulid::Ulid;

use super::daemon::{config, post};
use crate::{runner::PATIENCE, support::Daemon};

const KEYS_LEFT: &str = "redprobe_leftover_keys";

fn key(target: &str, probe: &str, run: &str) -> String {
    format!("redprobe:{{{target}}}:{probe}:{run}:group:000000000")
}

#[test]
fn the_next_daemon_removes_what_a_killed_one_has_left() {
    let redis = RedisServer::start();
    let long = config(&redis).replace("duration = \"1s\"", "duration = \"1m\"");
    let mut killed = Daemon::start(&long);
    let (status, run) = post(&killed, "/api/v1/runs", &json!({ "job": "load", "wait": false }).to_string());
    assert_eq!(status, 202, "{run}");
    let id = run["id"].as_str().expect("text");
    let own = || redis.keys().iter().filter(|key| key.contains(id)).count();
    assert!(poll_until(PATIENCE, || own() > 10));
    killed.signal(Signal::KILL);
    killed.await_end();
    assert!(own() > 10);

    let ago =
        |minutes: u64| Ulid::from_datetime(clock::wall() - Duration::from_secs(60 * minutes)).to_string();
    let dead = [key("main", "throughput", &ago(600)), key("main", "memory_pressure", &ago(600))];
    let others = [
        key("main", "throughput", &ago(0)),
        key("main", "throughput", "no-ulid"),
        key("other", "throughput", &ago(600)),
        format!("redprobe:{{main}}:throughput:{}", ago(600)),
        format!("app:{}", key("main", "throughput", &ago(600))),
    ];
    dead.iter().chain(&others).for_each(|key| redis.ok(&["SET", key, "x"]));
    let mut next = Daemon::launch_beside(&killed, &config(&redis));
    next.await_ready();
    next.await_log("removed what killed runs had left");
    assert_eq!(own(), 0, "{:?}", redis.keys());
    assert!(dead.iter().all(|key| redis.cli(&["EXISTS", key]) == "0"));
    assert!(others.iter().all(|key| redis.cli(&["EXISTS", key]) == "1"));
    assert_eq!(next.metric(KEYS_LEFT, &["target=\"main\""]), Some(0.0));
}

#[test]
fn what_cannot_be_removed_is_counted() {
    let redis = RedisServer::start();
    let ago = Ulid::from_datetime(clock::wall() - Duration::from_secs(36_000)).to_string();
    for probe in ["throughput", "memory_pressure", "split_pool"] {
        redis.ok(&["SET", &key("main", probe, &ago), "x"]);
    }
    redis.ok(&["ACL", "SETUSER", "prober", "on", ">word", "~redprobe:*", "+@all", "-unlink", "-del"]);
    let url = redis.url().replace("://", "://prober:word@");
    let daemon = Daemon::start(&format!("[targets.main]\nurl = \"{url}\"\nallow = \"load\"\n"));
    assert_eq!(daemon.await_metric(KEYS_LEFT, &["target=\"main\""], |left| left > 0.0), 3.0);
}

#[test]
fn a_run_of_another_machine_keeps_its_keys() {
    let redis = RedisServer::start();
    let old = Ulid::from_datetime(clock::wall() - Duration::from_secs(36_000)).to_string();
    let (held, dead) = (key("main", "throughput", &old), key("main", "split_pool", &Ulid::nil().to_string()));
    redis.ok(&["SET", &held, "x"]);
    redis.ok(&["SET", &dead, "x"]);
    redis.ok(&["SET", "redprobe:lease", &format!("token redprobe-throughput-{old} on elsewhere")]);
    let daemon = Daemon::start(&config(&redis));
    daemon.await_log("removed what killed runs had left");
    assert_eq!(redis.keys(), ["redprobe:lease".to_owned(), held]);
}
