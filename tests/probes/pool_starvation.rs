//! `pool_starvation`: replicated with the user's numbers and not without, where the time goes, and nothing left behind.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{RedisServer, poll_until};

use super::{Foreign, measured, objective, operations, probe, ran, redprobe, sum};

fn starvation(server: &RedisServer, settings: &[&str]) -> super::Ran {
    let mut arguments = vec!["--allow", "load", "--quick"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    probe("pool_starvation", server, &arguments)
}

fn clients(server: &RedisServer) -> usize {
    server.clients("redprobe-pool_starvation").len()
}

/// The time shares of an operation, which add up to 1.
fn shares<'r>(run: &'r Value, operation: &str) -> &'r Value {
    let all = run["attribution"].as_array().expect("always there");
    let share = all.iter().find(|share| share["operation"] == operation).expect("it was attributed");
    let sum: f64 = share.as_object().expect("an object").values().filter_map(Value::as_f64).sum();
    assert!((sum - 1.0).abs() < 1e-6, "{share:#}");
    assert!(share["unattributed"].as_f64().expect("a number") <= 0.05, "{share:#}");
    share
}

#[test]
fn with_its_defaults_the_pool_starves() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let ran = starvation(&server, &[]);
    let run = ran.expect("failed");
    assert_eq!((ran.code, &run["grade"]), (2, &"POOR".into()));
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(conclusion.starts_with("Pool of 15 starved by 30 blocking readers"), "{conclusion}");
    assert!(conclusion.contains("Split blocking reads onto their own pool"), "{conclusion}");

    let rate = objective(run, "timeout_rate").unwrap();
    assert_eq!((&rate["met"], &rate["severity"]), (&false.into(), &"critical".into()));
    assert!(rate["observed"].as_f64().unwrap() > 0.3, "{rate:#}");
    assert!(measured(run, "get_timeouts") > 100.0);
    assert!((100e-3..2.0).contains(&measured(run, "first_failure")), "not before the wait of 200 ms is over");
    assert!(objective(run, "pool_wait_p99").is_some_and(|wait| wait["met"] == false));

    let [get, set, read] = &operations(run, "shared")[..] else { panic!("{:#}", run["operations"]) };
    assert_eq!([&get["operation"], &set["operation"], &read["operation"]], ["get", "set", "xread"]);
    assert_eq!((&get["loop"], &read["loop"]), (&"open".into(), &"closed".into()));
    assert_eq!(
        get["offered"].as_u64().unwrap() + set["offered"].as_u64().unwrap(),
        1_000,
        "200 a second for 5 s"
    );
    let waits = get["errors"]["pool_timeout"].as_u64().unwrap();
    assert!(waits > 100 && get["attempts"].as_u64() == get["ok"].as_u64().map(|ok| ok + waits), "{get:#}");
    assert!(read["response"]["min"].as_f64().unwrap() >= 0.5, "each blocked for its time: {read:#}");

    let [pool] = &run["pools"].as_array().unwrap()[..] else { panic!("one pool: {:#}", run["pools"]) };
    assert_eq!((&pool["name"], &pool["size"], &pool["created"]), (&"shared".into(), &15.into(), &15.into()));
    let failures = sum(run, "shared", "attempts") - sum(run, "shared", "ok");
    assert_eq!(pool["wait_failures"], failures, "what failed found no connection");
    assert!(shares(run, "get")["pool_wait"].as_f64().unwrap() > 0.9);

    assert_eq!(measured(run, "shared_blocked_clients_max"), 15.0);
    assert_eq!(measured(run, "shared_flagged_blocked_max"), 15.0);
    let seconds = run["timeline"].as_array().unwrap();
    let seen = seconds.iter().filter(|point| point["values"]["blocked_clients"].is_number()).count();
    assert!(seen >= 4, "once a second: {seconds:#?}");
    assert!(seconds.iter().any(|point| point["values"]["pool_in_use"] == 15.0), "{seconds:#?}");
    for client in ["redis-py", "go-redis", "deadpool-redis", "lettuce"] {
        let fix = run["remedies"].as_array().unwrap().iter().any(|remedy| remedy["client"] == client);
        assert!(fix, "{:#}", run["remedies"]);
    }
    assert!(poll_until(Duration::from_secs(5), || clients(&server) == 0), "no connection is left");
    foreign.check(&server);
}

#[test]
fn a_pool_that_is_large_enough_does_not() {
    let server = RedisServer::start();
    let ran = starvation(&server, &["readers=10", "duration=3s"]);
    let run = ran.expect_measured();
    assert_eq!(objective(run, "timeout_rate").unwrap()["observed"], 0.0, "{:#}", run["operations"]);
    assert_eq!(run["pools"][0]["wait_failures"], 0);
    assert!(
        run["conclusion"].as_str().unwrap().contains("Pool of 15 carries 10 blocking readers"),
        "{run:#}"
    );
    assert_eq!(run["remedies"], Value::Array(Vec::new()), "nothing to mend");
    assert_eq!(measured(run, "shared_blocked_clients_max"), 10.0);
    assert!((0.6..0.8).contains(&measured(run, "pool_utilisation")), "10 of 15");
    shares(run, "get");
}

#[test]
fn each_process_has_its_own_pool_and_groups_read_as_well() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let settings = ["processes=2", "pool_size=4", "readers=12", "reader=xreadgroup", "duration=3s"];
    let ran = starvation(&server, &settings);
    let run = ran.expect("failed");
    let names: Vec<_> = operations(run, "shared").iter().map(|o| o["operation"].as_str().unwrap()).collect();
    assert_eq!(names, ["get", "set", "xreadgroup"]);
    assert_eq!(measured(run, "shared_blocked_clients_max"), 8.0, "two pools of four");
    assert_eq!((&run["pools"][0]["size"], &run["pools"][0]["created"]), (&4.into(), &8.into()));
    assert!(run["conclusion"].as_str().unwrap().starts_with("Each of 2 pools of 4 starved"), "{run:#}");
    foreign.check(&server);
}

fn started(server: &RedisServer, state: &tempfile::TempDir) -> Child {
    let url = server.url();
    let arguments = ["run", "pool_starvation", "--target", &url, "--allow", "load", "--format", "json"];
    let mut command = redprobe(state.path(), &[&arguments[..], &["--set", "reader=xreadgroup"]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
    let blocked = || server.clients("redprobe-pool").iter().filter(|line| line.contains("flags=b")).count();
    assert!(poll_until(Duration::from_secs(20), || blocked() == 15), "the pool is full of readers");
    child
}

#[test]
fn a_run_that_is_stopped_leaves_nothing() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let state = tempfile::tempdir().unwrap();
    let child = started(&server, &state);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let stopped = ran(&child.wait_with_output().unwrap());
    stopped.expect_unmeasured_by("cancelled");
    assert_eq!(clients(&server), 0, "gone by the time it says so");
    foreign.check(&server);
}

#[test]
fn a_run_that_is_killed_leaves_no_connection_and_only_keys_that_expire() {
    let server = RedisServer::start();
    let state = tempfile::tempdir().unwrap();
    let mut child = started(&server, &state);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(poll_until(Duration::from_secs(5), || clients(&server) == 0), "{:?}", server.clients("redprobe"));
    assert_eq!(server.info("blocked_clients"), "0");
    for key in server.keys() {
        let left: i64 = server.cli(&["TTL", &key]).parse().unwrap();
        assert!(left > 0, "{key} has a time to live: {left}");
    }
}
