//! Halting and allowing again from outside: over HTTP, by the command line beside the daemon, over a restart of it.

use serde_json::{Value, json};
use testkit::{RedisServer, poll_until};

use crate::{
    runner::PATIENCE,
    support::{Daemon, redprobe},
};

const TOKEN: &str = "a-long-random-token";

pub(super) fn config(redis: &RedisServer) -> String {
    format!(
        "http.api_token = \"{TOKEN}\"\n[targets.main]\nurl = \"{url}\"\nallow = \"load\"\n[targets.other]\nurl = \"{url}\"\n\
         [jobs.load]\nprobe = \"throughput\"\ntargets = [\"main\"]\nschedule = \"every 1h\"\nsettings = {{ duration = \"1s\", phases = [\"baseline\"] }}\n",
        url = redis.url()
    )
}

pub(super) fn post(daemon: &Daemon, path: &str, body: &str) -> (u16, Value) {
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("Authorization", &*bearer), ("Content-Type", "application/json")];
    let answer = daemon.request("POST", path, &headers, body);
    (answer.status, serde_json::from_str(&answer.body).expect("it is JSON"))
}

fn run(daemon: &Daemon) -> (String, String) {
    let (status, run) = post(daemon, "/api/v1/runs", &json!({ "job": "load" }).to_string());
    assert_eq!(status, 200, "{run}");
    (run["outcome"].as_str().expect("text").to_owned(), run["conclusion"].as_str().expect("text").to_owned())
}

#[test]
fn halting_needs_the_token_and_a_target_that_is_there() {
    let redis = RedisServer::start();
    let open = Daemon::start(&format!("[targets.main]\nurl = \"{}\"\n", redis.url()));
    let daemon = Daemon::start(&config(&redis));
    for path in ["/api/v1/halt", "/api/v1/rearm"] {
        assert_eq!(open.request("POST", path, &[], "").status, 403, "no token is configured");
        assert_eq!(daemon.request("POST", path, &[], "").status, 401);
        assert_eq!(daemon.request("POST", path, &[("Authorization", "Bearer wrong")], "").status, 401);
        assert_eq!(daemon.request("GET", path, &[], "").status, 405);
        let (status, answer) = post(&daemon, path, "{\"target\": \"nowhere\"}");
        assert_eq!(status, 404, "{answer}");
        assert_eq!(post(&daemon, path, "{\"targets\": \"main\"}").0, 400);
    }
    assert_eq!(post(&daemon, "/api/v1/rearm", "{\"probe\": \"nothing\"}").0, 404);
    assert_eq!(daemon.metric("redprobe_halted", &["target=\"main\""]), Some(0.0));
}

#[test]
fn a_halt_is_shown_everywhere_lasts_over_a_restart_and_ends_by_the_command_line() {
    let redis = RedisServer::start();
    let mut daemon = Daemon::start(&config(&redis));
    let (status, answer) = post(&daemon, "/api/v1/halt", "{\"target\": \"main\"}");
    assert_eq!((status, &answer["halts"][0]["target"]), (200, &json!("main")), "{answer}");
    let (outcome, conclusion) = run(&daemon);
    assert_eq!(outcome, "skipped");
    assert!(conclusion.contains("halted by hand at"), "{conclusion}");
    daemon.await_metric("redprobe_halted", &["target=\"main\""], |value| value == 1.0);
    assert_eq!(daemon.metric("redprobe_halted", &["target=\"other\""]), Some(0.0));
    let page = daemon.get("/").body;
    assert!(page.contains("<strong>Halted.</strong> halted by hand"), "{page}");
    let targets: Value = serde_json::from_str(&daemon.get("/api/v1/targets").body).expect("it is JSON");
    assert_eq!(targets["targets"][0]["halted"].as_array().expect("a list").len(), 1, "{targets}");
    assert_eq!(targets["targets"][1]["halted"], json!([]));

    daemon.stop();
    let mut daemon = Daemon::launch_beside(&daemon, &config(&redis));
    daemon.await_ready();
    assert_eq!(run(&daemon).0, "skipped");

    let rearm = |arguments: &[&str]| {
        let config = daemon.config().display().to_string();
        let output = redprobe(&["rearm", "--config", &config]).args(arguments).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = rearm(&["memory_pressure_of_nobody"]);
    assert_eq!((code, &*text), (Some(3), ""));
    let (code, text) = rearm(&["--target", "other"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("nothing was halted") && text.contains("still halted by hand"), "{text}");
    let (code, text) = rearm(&["--target", "main"]);
    assert_eq!(code, Some(0));
    assert!(text.starts_with("allowed again: all that loads or disrupts on main, halted at"), "{text}");
    daemon.await_metric("redprobe_halted", &["target=\"main\""], |value| value == 0.0);
    assert_eq!(run(&daemon).0, "passed");
}

#[test]
fn a_halt_ends_a_run_under_way_and_is_taken_back_over_http() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&config(&redis).replace("duration = \"1s\"", "duration = \"1m\""));
    let (status, started) = post(&daemon, "/api/v1/runs", "{\"job\": \"load\", \"wait\": false}");
    assert_eq!(status, 202, "{started}");
    assert!(poll_until(PATIENCE, || !redis.keys().is_empty()));
    assert_eq!(post(&daemon, "/api/v1/halt", "").0, 200);
    let path = format!("/api/v1/runs/{}", started["id"].as_str().expect("text"));
    assert!(poll_until(PATIENCE, || daemon.get(&path).status == 200));
    let record: Value = serde_json::from_str(&daemon.get(&path).body).expect("it is JSON");
    assert_eq!((&record["outcome"], &record["reason"]), (&json!("halted"), &json!("cancelled")), "{record}");
    assert!(redis.keys().is_empty());
    let (status, answer) = post(&daemon, "/api/v1/rearm", "");
    assert_eq!((status, answer["rearmed"].as_array().map(Vec::len)), (200, Some(1)), "{answer}");
    assert_eq!(answer["halts"], json!([]));
}
