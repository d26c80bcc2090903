//! `mixed_workload`: a pool that is too small breaks the stop checks, one that is not loses nothing, and cuts are told.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{RedisServer, poll_until};

use super::{Foreign, measured, objective, operations, probe, ran, redprobe};

fn mixed(server: &RedisServer, settings: &[&str]) -> super::Ran {
    let mut arguments = vec!["--allow", "load", "--quick", "--set", "duration=3s"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    probe("mixed_workload", server, &arguments)
}

fn clients(server: &RedisServer) -> Vec<String> {
    server.clients("redprobe-mixed")
}

fn blocked(server: &RedisServer) -> Vec<String> {
    clients(server).into_iter().filter(|line| line.contains("flags=b")).collect()
}

/// Not one entry lost, twice, or out of order, and every reader saw every entry of its stream.
#[track_caller]
fn check_entries(run: &Value, readers_per_stream: f64) {
    for name in ["entries_lost", "entries_duplicated", "entries_out_of_order"] {
        assert_eq!(objective(run, name).expect("it was observed")["observed"], 0.0, "{name}: {run:#}");
        assert_eq!(measured(run, name), 0.0);
    }
    assert!(measured(run, "entries_written") > 20.0, "{:#}", run["measurements"]);
    assert_eq!(measured(run, "entries_read"), measured(run, "entries_written") * readers_per_stream);
}

#[test]
fn with_its_defaults_stop_checks_time_out_and_no_entry_is_lost() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let ran = mixed(&server, &[]);
    let run = ran.expect("failed");
    assert_eq!((ran.code, &run["grade"]), (2, &"POOR".into()));
    let timeouts = measured(run, "stop_check_timeouts");
    let conclusion = run["conclusion"].as_str().unwrap();
    let checks = measured(run, "stop_checks");
    let begins =
        format!("Stop checks timed out {timeouts} of {checks} times: graceful shutdown would fail; ");
    assert!(timeouts > 5.0 && conclusion.starts_with(&begins), "{conclusion}");
    assert!(
        conclusion.contains("is pool wait: split blocking reads onto their own pool: 30"),
        "{conclusion}"
    );
    let stops = objective(run, "stop_check_timeouts").unwrap();
    assert_eq!((&stops["met"], &stops["severity"]), (&false.into(), &"critical".into()));
    assert!(objective(run, "timeout_rate").is_some_and(|rate| rate["met"] == false));
    check_entries(run, 3.0);

    let operations = operations(run, "mixed");
    let names: Vec<_> = operations.iter().map(|operation| operation["operation"].as_str().unwrap()).collect();
    assert_eq!(names, ["get", "set", "stop_check", "xadd", "xread"]);
    assert_eq!(operations[2]["errors"]["pool_timeout"], timeouts, "{:#}", operations[2]);
    assert_eq!(operations[3]["ok"], measured(run, "entries_written"), "what was acknowledged is there");
    let attributed: Vec<_> = run["attribution"].as_array().unwrap().iter().collect();
    let kinds: Vec<_> = attributed.iter().map(|share| share["operation"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["stop_check", "xadd", "get", "set"]);
    for share in attributed {
        assert!(share["pool_wait"].as_f64().unwrap() > 0.5, "{share:#}");
        assert!(share["unattributed"].as_f64().unwrap() <= 0.05, "{share:#}");
    }
    assert_eq!((&run["pools"][0]["size"], &run["pools"][0]["created"]), (&15.into(), &15.into()));
    assert!((10.0..=15.0).contains(&measured(run, "mixed_blocked_clients_max")), "{:#}", run["measurements"]);
    assert_eq!(run["remedies"].as_array().unwrap().len(), 4);
    assert!(poll_until(Duration::from_secs(5), || clients(&server).is_empty()), "no connection is left");
    foreign.check(&server);
}

#[test]
fn a_pool_that_is_large_enough_breaks_nothing() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let ran = mixed(&server, &["pool_size=60", "pool_timeout=2s"]);
    let run = ran.expect_measured();
    assert_eq!(measured(run, "stop_check_timeouts"), 0.0, "{:#}", run["operations"]);
    assert_eq!(objective(run, "timeout_rate").unwrap()["observed"], 0.0);
    let (offered, written) = (&operations(run, "mixed")[3]["offered"], measured(run, "entries_written"));
    assert_eq!(offered, 150, "5 a second from each of 10 for 3 s");
    check_entries(run, 3.0);
    assert_eq!(measured(run, "entries_late"), 0.0);
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(conclusion.contains("The pool of 60 carries 10 agents, 30 blocking readers"), "{conclusion}");
    let deliveries = format!("{written} entries came to every reader in order, {} deliveries", written * 3.0);
    assert!(conclusion.contains(&deliveries), "{conclusion}");
    assert_eq!(run["remedies"], Value::Array(Vec::new()), "nothing to mend");
    assert!(measured(run, "delivery_p50") < measured(run, "delivery_max"));
    foreign.check(&server);
}

#[test]
fn readers_of_groups_in_several_processes_see_every_entry_too() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let settings = [
        "reader=xreadgroup",
        "processes=2",
        "pool_size=20",
        "readers=8",
        "agents=4",
        "agent_rate=20",
        "pool_timeout=2s",
    ];
    let ran = mixed(&server, &settings);
    let run = ran.expect_measured();
    assert_eq!(operations(run, "mixed")[4]["operation"], "xreadgroup");
    assert_eq!(operations(run, "mixed")[3]["offered"], 240);
    check_entries(run, 2.0);
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(conclusion.contains("Each of 2 pools of 20 carries"), "{conclusion}");
    foreign.check(&server);
}

fn started(server: &RedisServer, state: &TempDir, settings: &[&str]) -> Child {
    let url = server.url();
    let arguments =
        ["run", "mixed_workload", "--target", &url, "--allow", "load", "--format", "json", "--quick"];
    let settings = settings.iter().flat_map(|setting| ["--set", setting]);
    let arguments: Vec<_> = arguments.into_iter().chain(settings).collect();
    let mut command = redprobe(state.path(), &arguments);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary was built");
    assert!(poll_until(Duration::from_secs(20), || blocked(server).len() >= 4), "readers are at work");
    child
}

/// Kills a reader that is blocked, and nothing else.
fn kill_a_reader(server: &RedisServer) {
    let killed = poll_until(Duration::from_secs(5), || {
        let line = blocked(server).pop();
        let id = line.as_deref().and_then(|line| line.split(' ').find_map(|field| field.strip_prefix("id=")));
        id.is_some_and(|id| server.cli(&["CLIENT", "KILL", "ID", id]).trim() == "1")
    });
    assert!(killed, "{:?}", clients(server));
}

#[test]
fn a_reader_that_is_killed_midway_is_reported_and_goes_on_from_its_last_entry() {
    for reader in ["xread", "xreadgroup"] {
        let server = RedisServer::start();
        let state = tempfile::tempdir().unwrap();
        let reads = format!("reader={reader}");
        let settings =
            [&reads, "duration=3s", "pool_size=20", "readers=4", "agents=4", "agent_rate=1", "block=2s"];
        let child = started(&server, &state, &settings);
        kill_a_reader(&server);
        let ran = ran(&child.wait_with_output().unwrap());
        let run = ran.expect("failed");
        assert_eq!(measured(run, "reads_cut_off"), 1.0, "{run:#}");
        assert_eq!(objective(run, "reads_cut_off").unwrap()["met"], false);
        let errors = run["errors"].as_array().unwrap();
        let told = errors.iter().filter(|error| error["message"].as_str().unwrap().contains("was cut off"));
        let told: Vec<_> = told.collect();
        assert_eq!(told.len(), 1, "{errors:#?}");
        assert_eq!(told[0]["reason"], "reset", "{errors:#?}");
        let conclusion = run["conclusion"].as_str().unwrap();
        assert!(conclusion.contains("cut off (reset) and went on from the last id"), "{conclusion}");
        let read = operations(run, "mixed")[4];
        assert_eq!((&read["operation"], &read["errors"]["reset"]), (&reader.into(), &1.into()), "{read:#}");
        assert!(run["doubts"].as_array().unwrap().contains(&"reconnected".into()), "{:#}", run["doubts"]);
        for name in ["entries_lost", "entries_duplicated", "entries_out_of_order"] {
            assert_eq!(measured(run, name), 0.0, "{reader}: {name}");
        }
        assert_eq!(measured(run, "entries_read"), measured(run, "entries_written"));
    }
}

#[test]
fn a_server_that_does_not_answer_is_not_blamed_on_the_pool() {
    let server = RedisServer::start();
    let state = tempfile::tempdir().unwrap();
    let child = started(&server, &state, &["duration=3s", "pool_size=60", "readers=4", "op_timeout=200ms"]);
    server.pause();
    // Longer than a read may take, block and operation's timeout together.
    std::thread::sleep(Duration::from_millis(1_000));
    server.resume();
    let ran = ran(&child.wait_with_output().unwrap());
    let run = ran.expect("failed");
    assert!(measured(run, "stop_check_timeouts") > 0.0, "{:#}", run["operations"]);
    assert_eq!(measured(run, "reads_cut_off"), 4.0, "every reader waited for an answer");
    assert_eq!(measured(run, "entries_lost"), 0.0, "they went on from where they were");
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(conclusion.contains("look at the server"), "{conclusion}");
    assert!(!conclusion.contains("split"), "{conclusion}");
    assert_eq!(run["remedies"], Value::Array(Vec::new()));
}

#[test]
fn a_run_that_is_stopped_leaves_nothing() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let state = tempfile::tempdir().unwrap();
    let child = started(&server, &state, &["reader=xreadgroup"]);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    ran(&child.wait_with_output().unwrap()).expect_unmeasured_by("cancelled");
    assert_eq!(clients(&server), [""; 0], "gone by the time it says so");
    foreign.check(&server);
}

#[test]
fn a_run_that_is_killed_leaves_no_connection_and_only_keys_that_expire() {
    let server = RedisServer::start();
    let state = tempfile::tempdir().unwrap();
    let mut child = started(&server, &state, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(poll_until(Duration::from_secs(5), || clients(&server).is_empty()), "{:?}", clients(&server));
    assert_eq!(server.info("blocked_clients"), "0");
    let keys = server.keys();
    assert!(keys.iter().any(|key| key.contains(":streams:")), "{keys:?}");
    for key in keys {
        let left: i64 = server.cli(&["TTL", &key]).parse().unwrap();
        assert!(left > 0, "{key} has a time to live: {left}");
    }
}
