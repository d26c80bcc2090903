//! `redprobe run` as a command: the report's shape, its files, exit codes, and being interrupted.
//!
//! What the probes find is tested with each of them.

use std::{fs, time::Duration};

use measure::Effect;
use redprobe::probes::PROBES;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{RedisServer, poll_until};

use crate::probes::{Foreign, probe, ran, redprobe, run, sum};

const SHORT: [&str; 6] = ["--set", "iterations=50", "--set", "sustained=1s", "--set", "connects=2"];

#[test]
fn the_json_report_has_the_contracts_shape() {
    let server = RedisServer::start();
    let ran = probe("latency_baseline", &server, &SHORT);
    let suite = &ran.suite;
    assert_eq!((&suite["schema"], &suite["exit_code"]), (&1.into(), &ran.code.into()));
    assert_eq!(suite["grade"], ran.run()["grade"]);
    let run = ran.run();
    for (key, is) in [
        ("id", Value::is_string as fn(&Value) -> bool),
        ("probe", Value::is_string),
        ("target", Value::is_string),
        ("variant", Value::is_string),
        ("started_at", Value::is_string),
        ("duration_seconds", Value::is_number),
        ("outcome", Value::is_string),
        ("reason", Value::is_null),
        ("grade", Value::is_string),
        ("conclusion", Value::is_string),
        ("objectives", Value::is_array),
        ("measurements", Value::is_object),
        ("operations", Value::is_array),
        ("pools", Value::is_array),
        ("attribution", Value::is_array),
        ("checks", Value::is_array),
        ("timeline", Value::is_array),
        ("doubts", Value::is_array),
        ("errors", Value::is_array),
        ("cleanup", Value::is_object),
        ("settings", Value::is_object),
        ("server", Value::is_object),
        ("client", Value::is_object),
    ] {
        assert!(run.get(key).is_some_and(is), "{key}: {:#?}", run.get(key));
    }
    let operation = &run["operations"][1];
    for key in ["phase", "operation", "loop", "duration_seconds", "offered", "attempts", "ok", "errors"] {
        assert!(operation.get(key).is_some(), "{key} in {operation:#}");
    }
    for key in ["indeterminate", "missed", "response", "service"] {
        assert!(operation.get(key).is_some(), "{key} in {operation:#}");
    }
    let objective = &run["objectives"][0];
    for key in ["name", "observed", "limit", "direction", "unit", "met", "severity"] {
        assert!(objective.get(key).is_some(), "{key} in {objective:#}");
    }
}

#[test]
fn text_says_the_conclusion_first_and_shows_the_tables() {
    let server = RedisServer::start();
    let state = TempDir::new().unwrap();
    let url = server.url();
    let arguments = [&["run", "latency_baseline", "--target", &url], &SHORT[..]].concat();
    let output = redprobe(state.path(), &arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text.lines();
    assert!(lines.next().unwrap().starts_with("latency_baseline on "), "{text}");
    assert!(lines.next().unwrap().contains("GET takes "), "{text}");
    for part in
        ["phase", "offered", "✓", "error_ratio", "at most 0 %", "skipped: concurrent", "server: redis"]
    {
        assert!(text.contains(part), "{part} is missing:\n{text}");
    }
}

#[test]
fn reports_and_logs_go_into_files() {
    let server = RedisServer::start();
    let (state, files) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (report, logs) = (files.path().join("report.json"), files.path().join("logs"));
    fs::write(&report, "old").unwrap();
    let url = server.url();
    let arguments = [
        "run",
        "health",
        "--target",
        &url,
        "--output",
        report.to_str().unwrap(),
        "--log-dir",
        logs.to_str().unwrap(),
    ];
    let output = redprobe(state.path(), &arguments).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let written: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(written["runs"][0]["probe"], "health");
    assert_eq!(fs::read_dir(files.path()).unwrap().count(), 2, "no part of a file is left");
    let mut names: Vec<_> =
        fs::read_dir(&logs).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let [json, log] = &names[..] else { panic!("one log and one report: {names:?}") };
    assert!(json.starts_with("redprobe-20") && json.ends_with(".json"), "{json}");
    assert_eq!(json.strip_suffix(".json"), log.strip_suffix(".log"), "the pair has one name");
    let kept: Value = serde_json::from_slice(&fs::read(logs.join(json)).unwrap()).unwrap();
    assert_eq!(kept, written);
    assert!(fs::read_to_string(logs.join(log)).unwrap().contains("health"));
}

#[test]
fn all_runs_what_the_target_allows() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let ran = run(&[&["all", "--quick", "--target", &server.url()], &SHORT[..]].concat());
    let names: Vec<_> =
        ran.suite["runs"].as_array().unwrap().iter().map(|run| run["probe"].as_str().unwrap()).collect();
    let allowed: Vec<_> =
        PROBES.iter().filter(|kind| kind.effect <= Effect::Touch).map(|kind| kind.name).collect();
    assert!(allowed.contains(&"latency_baseline") && !allowed.contains(&"throughput"), "{allowed:?}");
    assert_eq!(names, allowed, "{}", ran.stderr);
    let grades: Vec<_> = ran.suite["runs"].as_array().unwrap().iter().map(|run| &run["grade"]).collect();
    assert!(ran.code < 3 && grades.iter().all(|grade| grade.is_string()), "{ran:#?}");
    foreign.check(&server);
}

#[test]
fn what_cannot_be_measured_is_three() {
    let server = RedisServer::start();
    let url = server.url();
    drop(server);
    run(&["health", "--target", &url]).expect_unmeasured("error", "connect_refused");
    for arguments in [
        &["no_such_probe", "--target", &url][..],
        &["health", "--target", "no_such_target"],
        &["health", "--target", &url, "--allow", "everything"],
        &["health", "--target", &url, "--set", "nothing=1"],
    ] {
        let ran = run(arguments);
        assert_eq!((ran.code, &ran.suite), (3, &Value::Null), "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: "), "{}", ran.stderr);
    }
}

#[test]
fn interrupted_it_cleans_up_and_reports_what_it_has() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let state = TempDir::new().unwrap();
    let url = server.url();
    let arguments =
        ["run", "latency_baseline", "--format", "json", "--target", &url, "--set", "iterations=50"];
    let mut command = redprobe(state.path(), &[&arguments[..], &["--set", "sustained=5m"]].concat());
    let child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let sustained =
        poll_until(Duration::from_secs(20), || server.keys().iter().any(|key| key.contains(":sustained:")));
    assert!(sustained, "the sustained phase began");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = ran(&child.wait_with_output().unwrap());
    assert_eq!((ran.code, &ran.suite["exit_code"]), (130, &130.into()), "{ran:#?}");
    let run = ran.run();
    assert_eq!((&run["outcome"], &run["reason"]), (&"error".into(), &"cancelled".into()));
    assert_eq!(sum(run, "basic", "ok"), 150, "what was measured before is there");
    foreign.check(&server);
}
