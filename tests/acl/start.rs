//! The check at start: told once, repeated never, and no trouble where it cannot be done.

use std::time::Duration;

use rustix::process::Signal;
use testkit::{RedisServer, poll_until};

use crate::{
    probes::{Ran, run},
    support::Daemon,
};

const PATIENCE: Duration = Duration::from_secs(20);
const RULE: &str = "~redprobe:{eu}:* -@all +acl|dryrun +client|setname +ping +info +set +unlink";

/// A daemon with one target, whose health is looked at once a second.
fn daemon(url: &str, level: &str) -> Daemon {
    Daemon::start(&format!(
        "[log]\nlevel = \"{level}\"\n[targets.eu]\nurl = \"{url}\"\nallow = \"touch\"\n\
         [jobs.health]\nprobe = \"health\"\ntargets = [\"eu\"]\nschedule = \"every 1s\"\ntimeout = \"1s\"\n"
    ))
}

fn count(daemon: &Daemon, text: &str) -> usize {
    daemon.log().matches(text).count()
}

fn await_runs(daemon: &Daemon, server: &RedisServer, command: &str) {
    let calls = || server.calls().get(command).copied().unwrap_or(0);
    let before = calls();
    assert!(poll_until(PATIENCE, || calls() >= before + 2), "it goes on; its log:\n{}", daemon.log());
}

#[test]
fn serve_says_once_what_is_missing_and_so_do_the_records_of_what_fails() {
    let server = RedisServer::start();
    let mut daemon = daemon(&server.user("prober", "word", RULE), "info");
    daemon.await_log(" lacks ");
    await_runs(&daemon, &server, "set");
    assert_eq!(
        count(
            &daemon,
            " lacks +exists (clean-up; without it keys that could not be removed are not counted), +get (health); `redprobe acl"
        ),
        1,
        "{}",
        daemon.log()
    );
    assert_eq!(count(&daemon, "may do more"), 0, "nothing is needless");
    let runs = daemon.runs("?probe=health");
    let told = runs[0]["conclusion"].as_str().expect("text");
    assert_eq!(runs[0]["reason"], "denied");
    assert!(told.contains("at start, the user prober lacked +get (health); `redprobe acl health`"), "{told}");
    // What is missing is found in the ACL LOG because the runs need it, and for no other reason.
    assert_eq!(server.denied(), ["exists", "get"]);

    // Who reloads an unchanged configuration is not told again.
    let dry_runs = server.calls()["acl|dryrun"];
    daemon.signal(Signal::HUP);
    assert!(poll_until(PATIENCE, || server.calls()["acl|dryrun"] > dry_runs), "it was asked again");
    await_runs(&daemon, &server, "set");
    assert_eq!(count(&daemon, " lacks "), 1, "{}", daemon.log());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn serve_asks_once_and_hints_at_what_is_needless() {
    let server = RedisServer::start();
    let daemon = daemon(&server.url(), "info");
    daemon.await_log("may do more");
    let dry_runs = server.calls()["acl|dryrun"];
    await_runs(&daemon, &server, "set");
    assert_eq!(server.calls()["acl|dryrun"], dry_runs, "nothing is asked again with every run");
    assert_eq!(count(&daemon, "the user default may do more than these probes need, +@all, ~* among it"), 1);
    assert_eq!(count(&daemon, " lacks "), 0, "{}", daemon.log());
    assert_eq!(server.denied(), [] as [&str; 0]);
}

#[test]
fn serve_catches_up_with_a_target_that_was_away() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.pause();
    // The first look does not get through, and nothing waits for it.
    let daemon = daemon(&url, "debug");
    daemon.await_log("is not known yet");
    assert_eq!(daemon.get("/-/ready").status, 200);
    server.resume();
    daemon.await_log("may do more");
    server.kill();
}

#[test]
fn without_dryrun_it_is_a_word_at_debug_and_no_failure() {
    let server = RedisServer::with(&["--rename-command", "ACL", ""]);
    let unknown = run(&["health", "--target", &server.url(), "-v"]);
    unknown.expect("passed");
    assert!(unknown.stderr.contains("does not say what its user may do: "), "{}", unknown.stderr);

    let server = RedisServer::start();
    let url =
        server.user("prober", "word", "~redprobe:* -@all +client|setname +ping +info +set +get +unlink");
    let denied = |arguments: &[&str]| -> Ran { run(&[&["health", "--target", &url], arguments].concat()) };
    let quiet = denied(&[]);
    quiet.expect("passed");
    assert!(!quiet.stderr.contains("does not say"), "{}", quiet.stderr);
    assert!(denied(&["-v"]).stderr.contains("DEBUG"), "it is there for who looks");
    assert_eq!(server.denied(), ["acl|dryrun"]);
    assert!(
        server.cli(&["ACL", "LOG"]).contains("count\n2\n"),
        "asked once by each run: {}",
        server.cli(&["ACL", "LOG"])
    );
}

#[test]
fn part_of_too_much_is_named_word_by_word() {
    let server = RedisServer::start();
    let url = server.user(
        "prober",
        "word",
        "~* -@all +acl|dryrun +client|setname +ping +info +set +get +unlink +exists +keys +config|set",
    );
    let ran = run(&["health", "--target", &url]);
    ran.expect("passed");
    assert!(
        ran.stderr.contains("may do more than these probes need, +config|set, +keys, ~* among it"),
        "{}",
        ran.stderr
    );
}
