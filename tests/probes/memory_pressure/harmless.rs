//! Harmless: 50,000 keys of others under each policy, whatever the settings, with somebody who writes all along.

use std::{process::Stdio, time::Duration};

use testkit::poll_until;

use super::{
    GLANCE, conclusion, limited, met,
    others::{Users, Writer},
    press, press_for,
};
use crate::probes::{ran, redprobe};

const KEYS: u64 = 50_000;
/// About half as much again as those keys take.
const LIMIT: &str = "24mb";
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs that must cost others nothing, not even a write that is refused.
const WITHOUT_LEAVE: [&[&str]; 4] = [
    &[],
    &["max_foreign_keys=100000", "target_percent=90"],
    &["max_foreign_keys=100000", "target_percent=90", "temp_maxmemory=22MB"],
    &["max_foreign_keys=100000", "target_percent=130"],
];
/// Runs that may have writes of others refused, and still cost nobody a key.
const WITH_LEAVE: [&[&str]; 2] = [
    &["max_foreign_keys=100000", "target_percent=90", "accept_foreign_oom=true"],
    &["max_foreign_keys=100000", "target_percent=90", "accept_foreign_oom=true", "temp_policy=noeviction"],
];

/// All of it under one policy; returns which of the runs were carried out.
fn under(policy: &str) -> Vec<bool> {
    let server = limited(LIMIT, policy);
    let users = Users::plant(&server, KEYS);
    let mut carried_out = Vec::new();
    for settings in [&WITHOUT_LEAVE[..], &WITH_LEAVE].concat() {
        let what = format!("{policy} with {settings:?}");
        let writer = Writer::start(&server);
        let ran = press_for(&GLANCE, &server, settings);
        let run = ran.run();
        let written = writer.stop();
        let measured = matches!(run["outcome"].as_str(), Some("passed" | "failed"));
        assert!(measured || run["outcome"] == "skipped", "{what}: {ran:#?}");
        if measured {
            met(run, "foreign_evictions");
            met(run, "target_reached");
        } else {
            assert_eq!(run["reason"], "precondition", "{what}");
            assert!(conclusion(run).contains("at the price"), "{what}: {}", conclusion(run));
        }
        users.check(&server, &what);
        written.check(&server, &what);
        let accepted = settings.contains(&"accept_foreign_oom=true");
        assert!(accepted || written.refused.is_empty(), "{what}: {:?}", written.refused.first());
        assert_eq!(server.info("evicted_keys"), "0", "{what}");
        carried_out.push(measured);
    }
    carried_out
}

#[test]
fn noeviction_runs_once_it_is_accepted() {
    assert_eq!(under("noeviction"), [false, false, false, false, true, true]);
}

#[test]
fn volatile_ttl_runs_below_the_limit() {
    assert_eq!(under("volatile-ttl"), [false, true, true, false, true, true]);
}

#[test]
fn allkeys_lru_runs_only_as_noeviction() {
    assert_eq!(under("allkeys-lru"), [false, false, false, false, false, true]);
}

#[test]
fn allkeys_lfu_runs_only_as_noeviction() {
    assert_eq!(under("allkeys-lfu"), [false, false, false, false, false, true]);
}

#[test]
fn allkeys_random_runs_only_as_noeviction() {
    assert_eq!(under("allkeys-random"), [false, false, false, false, false, true]);
}

#[test]
fn volatile_lru_runs_only_as_noeviction() {
    assert_eq!(under("volatile-lru"), [false, false, false, false, false, true]);
}

#[test]
fn volatile_lfu_runs_only_as_noeviction() {
    assert_eq!(under("volatile-lfu"), [false, false, false, false, false, true]);
}

#[test]
fn volatile_random_runs_only_as_noeviction() {
    assert_eq!(under("volatile-random"), [false, false, false, false, false, true]);
}

/// Nobody's keys are there when it begins, and then somebody comes.
#[test]
fn whoever_comes_while_it_runs_is_given_way_to() {
    let server = limited("64mb", "allkeys-lru");
    let state = tempfile::tempdir().unwrap();
    let url = server.url();
    let arguments = ["run", "memory_pressure", "--format", "json", "--target", &url, "--allow", "disrupt"];
    let child = redprobe(state.path(), &[&arguments[..], &["--set", "monitor=30s"]].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let filled =
        poll_until(PATIENCE, || server.cli(&["DBSIZE"]).parse::<u64>().is_ok_and(|keys| keys > 1_000));
    assert!(filled, "it does not fill");
    let writer = Writer::start(&server);
    let ran = ran(&child.wait_with_output().unwrap());
    let written = writer.stop();
    ran.expect_unmeasured("halted", "precondition");
    let text = conclusion(ran.run());
    assert!(text.contains("came while the run lasted") && text.contains("max_foreign_keys"), "{text}");
    written.check(&server, "it gave way");
    assert!(written.refused.is_empty(), "{:?}", written.refused.first());
    assert_eq!(server.info("evicted_keys"), "0");
    assert!(server.keys().iter().all(|key| key.starts_with("writer:")), "its keys are gone");
}

/// In whichever database they are.
#[test]
fn keys_of_every_database_count() {
    let server = limited("64mb", "allkeys-lru");
    server.ok(&["-n", "3", "SET", "theirs", "x"]);
    let ran = press(&server, &[]);
    ran.expect_unmeasured("skipped", "precondition");
    assert!(conclusion(ran.run()).contains("1 foreign key,"), "{}", conclusion(ran.run()));
}
