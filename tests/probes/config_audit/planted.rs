//! The shipped example against a server that is set as it expects, and against one deviation after the other.

use std::collections::BTreeMap;

use super::{as_expected, assert_well_formed, audit, check};

/// The settings that the example names.
const NAMED: [&str; 11] = ["M01", "M04", "P01", "P03", "P04", "P05", "P06", "N01", "N02", "N03", "N04"];

#[test]
fn a_server_that_is_set_as_expected_passes() {
    let server = as_expected(&[]);
    let ran = audit(&server, &[]);
    let run = ran.expect_measured();
    assert_well_formed(run);
    for id in NAMED {
        let check = check(run, id);
        assert_eq!(check["status"], "pass", "{check:#}");
        assert!(check["expected"].as_str().unwrap().contains("as this audit is set to expect"), "{check:#}");
    }
}

/// How it is set; which check finds it, and as what; how the remedy begins.
type Deviation = (&'static [&'static str], &'static str, &'static str, &'static str, &'static str);

/// At run time, one after the other, each taken back before the next.
const DEVIATIONS: &[Deviation] = &[
    (&["maxmemory", "0"], "M01", "fail", "high", "CONFIG SET maxmemory 2gb"),
    // Not the same as 2gb.
    (&["maxmemory", "2g"], "M01", "fail", "high", "CONFIG SET maxmemory 2gb"),
    (&["maxmemory-policy", "noeviction"], "M04", "fail", "high", "CONFIG SET maxmemory-policy allkeys-lru"),
    (&["appendonly", "no"], "P01", "fail", "medium", "CONFIG SET appendonly yes"),
    (&["appendfsync", "no"], "P03", "fail", "high", "CONFIG SET appendfsync everysec"),
    (&["appendfsync", "always"], "P03", "fail", "high", "CONFIG SET appendfsync everysec"),
    (
        &["auto-aof-rewrite-percentage", "0"],
        "P04",
        "fail",
        "high",
        "CONFIG SET auto-aof-rewrite-percentage 100",
    ),
    (
        &["auto-aof-rewrite-min-size", "64m"],
        "P05",
        "fail",
        "medium",
        "CONFIG SET auto-aof-rewrite-min-size 64mb",
    ),
    (&["save", "900 1"], "P06", "fail", "medium", "CONFIG SET save \"\""),
    (&["tcp-keepalive", "0"], "N01", "fail", "medium", "CONFIG SET tcp-keepalive 300"),
    (&["timeout", "30"], "N02", "fail", "medium", "CONFIG SET timeout 0"),
    (
        &["client-output-buffer-limit", "pubsub 0 0 0"],
        "M21",
        "fail",
        "high",
        "CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"",
    ),
    (
        &["client-output-buffer-limit", "slave 256kb 64kb 60"],
        "M22",
        "fail",
        "medium",
        "CONFIG SET client-output-buffer-limit \"replica 256mb 64mb 60\"",
    ),
    (&["slowlog-log-slower-than", "-1"], "L01", "fail", "medium", "CONFIG SET slowlog-log-slower-than 10000"),
    (&["slowlog-log-slower-than", "0"], "L01", "warn", "medium", "CONFIG SET slowlog-log-slower-than 10000"),
    (&["hz", "500"], "N16a", "warn", "low", "CONFIG SET hz 10"),
    (&["busy-reply-threshold", "0"], "N18", "fail", "medium", "CONFIG SET busy-reply-threshold 5000"),
    (&["maxclients", "100"], "N05", "fail", "high", "Raise the limit of open files first"),
    (&["replica-read-only", "no"], "R10", "fail", "high", "CONFIG SET replica-read-only yes"),
    (&["protected-mode", "no"], "S01", "fail", "high", "CONFIG SET protected-mode yes"),
    (&["proto-max-bulk-len", "2gb"], "M38a", "warn", "low", "CONFIG SET proto-max-bulk-len 512mb"),
    (&["activerehashing", "no"], "L19", "warn", "low", "CONFIG SET activerehashing yes"),
    (&["list-max-listpack-size", "-5"], "M33", "warn", "low", "CONFIG SET list-max-listpack-size -2"),
    (&["repl-timeout", "10"], "R15", "fail", "medium", "CONFIG SET repl-timeout 60"),
    (
        &["acl-pubsub-default", "allchannels"],
        "S10",
        "warn",
        "medium",
        "CONFIG SET acl-pubsub-default resetchannels",
    ),
    (&["watchdog-period", "1000"], "L20", "warn", "medium", "CONFIG SET watchdog-period 0"),
];

#[test]
fn each_planted_deviation_is_found_and_forgiven_when_it_is_gone() {
    let server = as_expected(&[]);
    let states = |run: &serde_json::Value| -> BTreeMap<String, String> {
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        run["checks"].as_array().unwrap().iter().map(|it| (text(&it["check"]), text(&it["status"]))).collect()
    };
    let before = states(audit(&server, &[]).expect_measured());
    let mut wrong = Vec::new();
    for (set, id, status, severity, remedy) in DEVIATIONS {
        assert_eq!(before[*id], "pass", "{id} before {set:?}");
        let original = server.cli(&["CONFIG", "GET", set[0]]);
        let original = original.split_once('\n').map_or("", |(_, value)| value);
        server.ok(&["CONFIG", "SET", set[0], set[1]]);
        let ran = audit(&server, &[]);
        server.ok(&["CONFIG", "SET", set[0], original]);
        let found = check(ran.expect_measured(), id);
        let text = |field: &str| found[field].as_str().unwrap();
        if (text("status"), text("severity")) != (*status, *severity) || !text("remedy").starts_with(remedy) {
            wrong.push(format!("{set:?}: {found:#}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let after = states(audit(&server, &[]).expect_measured());
    for (set, id, ..) in DEVIATIONS {
        assert_eq!(after[*id], "pass", "{set:?} was taken back");
    }
}

/// What only a restart can change.
#[test]
fn a_setting_that_needs_a_restart_says_so() {
    let server = as_expected(&["--databases", "16", "--tcp-backlog", "128"]);
    let ran = audit(&server, &[]);
    for (id, actual, remedy) in [
        ("N03", "tcp-backlog 128", "tcp-backlog 511 in redis.conf, then a restart"),
        ("N04", "databases 16", "databases 1 in redis.conf, then a restart"),
    ] {
        let found = check(ran.expect_measured(), id);
        assert_eq!((&found["status"], &found["actual"]), (&"fail".into(), &actual.into()), "{found:#}");
        assert!(found["remedy"].as_str().unwrap().starts_with(remedy), "{found:#}");
    }
}

#[test]
fn the_same_server_as_a_buffer_is_told_that_its_stream_will_be_evicted() {
    let server = as_expected(&[]);
    let ran = super::super::probe("config_audit", &server, &["--set", "profile=buffer"]);
    let run = ran.expect("failed");
    let policy = check(run, "M04");
    assert_eq!((&policy["status"], &policy["severity"]), (&"fail".into(), &"critical".into()), "{policy:#}");
    assert!(policy["why"].as_str().unwrap().contains("a whole stream"), "{policy:#}");
    assert!(
        policy["remedy"].as_str().unwrap().starts_with("CONFIG SET maxmemory-policy noeviction"),
        "{policy:#}"
    );
    assert_eq!(ran.code, 2, "a critical check fails");
    // An expectation takes the place of one rule, and not of what contradicts the profile.
    let ran = audit(&server, &["--set", "profile=buffer"]);
    assert_eq!(check(ran.expect_measured(), "M04")["status"], "pass");
    assert_eq!(check(ran.expect_measured(), "X01")["status"], "fail");
}

#[test]
fn what_is_accepted_passes_and_says_so() {
    let server = as_expected(&["--maxmemory", "1gb"]);
    let ran = audit(&server, &["--set", "accept=[\"M01\"]"]);
    let found = check(ran.expect_measured(), "M01");
    assert_eq!((&found["status"], &found["actual"]), (&"pass".into(), &"accepted: maxmemory 1gb".into()));
}

#[test]
fn a_setting_without_a_check_of_its_own_gets_one() {
    let server = as_expected(&[]);
    let ran = audit(&server, &["--set", "expect={\"lfu-decay-time\"=7}"]);
    let found = check(ran.expect_measured(), "E:lfu-decay-time");
    assert_eq!((&found["status"], &found["actual"]), (&"fail".into(), &"lfu-decay-time 1".into()));
    assert!(found["remedy"].as_str().unwrap().starts_with("CONFIG SET lfu-decay-time 7"), "{found:#}");
}

#[test]
fn mistakes_in_expectations_are_named_all_at_once() {
    let server = as_expected(&[]);
    let set = "expect={maxmemry=\"2gb\",maxmemory=\"2 gb\",requirepass=\"s3cret\"}";
    let ran = audit(&server, &["--set", set, "--set", "accept=[\"M99\"]"]);
    assert_eq!(ran.code, 3);
    for words in [
        "maxmemry is no setting that is known; did you mean \"maxmemory\"?",
        "maxmemory cannot be \"2 gb\": expected a size",
        "requirepass may hold a secret",
        "there is no check \"M99\"",
    ] {
        assert!(ran.stderr.contains(words), "{words} is missing: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("s3cret"), "{}", ran.stderr);
}
