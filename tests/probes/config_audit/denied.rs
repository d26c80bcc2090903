//! Users that may do little: what is denied is unknown, and asked once.

use testkit::{RedisServer, poll_until};

use super::{assert_well_formed, check};
use crate::{probes, support::Daemon};

/// A server with a user that may log in, read INFO, and nothing else.
fn locked_down(rules: &[&str]) -> (RedisServer, String) {
    let server = RedisServer::start();
    server.ok(&[&["ACL", "SETUSER", "watcher", "on", ">watching", "+ping", "+hello"], rules].concat());
    let url = server.url().replace("redis://", "redis://watcher:watching@");
    (server, url)
}

fn refusals(server: &RedisServer) -> u64 {
    let said = server.find_info("errorstat_NOPERM").unwrap_or_default();
    said.strip_prefix("count=").map_or(0, |count| count.parse().expect("a count"))
}

/// Entries of the ACL LOG with how often each happened: a repeated refusal raises the count of its entry.
fn acl_log(server: &RedisServer) -> String {
    let log = server.cli(&["ACL", "LOG"]);
    let lines: Vec<_> = log.lines().collect();
    let fields = ["count", "object"];
    let value = |pair: &&[&str]| fields.contains(&pair[0]);
    lines.windows(2).filter(value).map(|pair| format!("{} {}\n", pair[0], pair[1])).collect()
}

#[test]
fn what_is_denied_is_unknown_and_neither_good_nor_bad() {
    let (server, url) = locked_down(&["+info"]);
    let ran = probes::run(&["config_audit", "--target", &url]);
    let run = ran.expect_measured();
    assert_well_formed(run);
    let denied = check(run, "M33");
    assert_eq!(denied["status"], "unknown");
    assert_eq!(denied["actual"], "unknown (denied): the user watcher may not use CONFIG GET");
    // INFO has this one too.
    assert_eq!(check(run, "M01")["status"], "fail");
    assert_eq!(check(run, "S03")["status"], "unknown");
    assert!(run["errors"].to_string().contains("may not use CONFIG GET"), "{:#}", run["errors"]);
    assert!(
        probes::objective(run, "denied_ratio").unwrap()["met"] == false,
        "the audit is not to be trusted"
    );
    assert!(refusals(&server) < 10, "{}", refusals(&server));
}

#[test]
fn without_info_and_config_there_is_no_audit() {
    let (_server, url) = locked_down(&[]);
    probes::run(&["config_audit", "--target", &url]).expect_unmeasured("error", "denied");
}

#[test]
fn settings_alone_can_be_audited() {
    let (_server, url) = locked_down(&["+config|get"]);
    let ran = probes::run(&["config_audit", "--target", &url]);
    let run = ran.expect_measured();
    assert_well_formed(run);
    assert_eq!(check(run, "M01")["status"], "fail");
    assert_eq!(check(run, "S25")["status"], "unknown");
}

#[test]
fn what_was_denied_is_not_asked_again() {
    let (server, url) = locked_down(&["+info", "+client|setname", "+acl|dryrun"]);
    let config = format!(
        "[targets.a]\nurl = \"{url}\"\n\n[jobs.audit]\nprobe = \"config_audit\"\ntargets = [\"a\"]\nschedule = \"every 1s\"\n"
    );
    let daemon = Daemon::start(&config);
    let labels = ["target=\"a\"", "probe=\"config_audit\""];
    daemon.await_metric("redprobe_runs_total", &labels, |runs| runs >= 1.0);
    let asked = poll_until(std::time::Duration::from_secs(10), || acl_log(&server).contains("config|get"));
    assert!(asked, "{}", acl_log(&server));
    let (log, count) = (acl_log(&server), refusals(&server));
    daemon.await_metric("redprobe_runs_total", &labels, |runs| runs >= 4.0);
    assert_eq!((acl_log(&server), refusals(&server)), (log, count));
    assert!(count < 10, "{count}");
    // The audit's own refusals, and there were no others, are not the server's trouble.
    let runs = daemon.runs("?probe=config_audit");
    let told: Vec<_> = runs.iter().map(|run| check(run, "L10e")["status"].as_str().expect("text")).collect();
    let (first, later) = told.split_last().expect("some runs");
    assert_eq!(*first, "unknown", "it has nothing to compare with");
    assert!(later.iter().all(|status| *status == "pass"), "{told:?}");
}

#[test]
fn a_command_that_is_renamed_away_is_unknown_too() {
    let server = RedisServer::with(&["--rename-command", "CONFIG", ""]);
    let ran = probes::probe("config_audit", &server, &[]);
    let run = ran.expect_measured();
    assert_well_formed(run);
    let text = check(run, "M33")["actual"].as_str().unwrap();
    assert!(text.starts_with("unknown (denied): the server has no CONFIG GET"), "{text}");
}
