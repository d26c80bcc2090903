//! A server as its package sets it up: every check comes to something, and nothing is guessed.

use testkit::RedisServer;

use super::{assert_well_formed, check};
use crate::probes;

/// What Debian's redis.conf sets beside the defaults.
const PACKAGED: &[&str] = &["--protected-mode", "yes", "--save", "3600 1 300 100 60 10000"];

#[test]
fn every_check_comes_to_something_in_every_profile() {
    let server = RedisServer::with(PACKAGED);
    for profile in ["cache", "buffer", "store", "mixed"] {
        let ran = probes::probe("config_audit", &server, &["--set", &format!("profile={profile}")]);
        let run = ran.expect_measured();
        assert_well_formed(run);
        for check in run["checks"].as_array().unwrap() {
            let actual = check["actual"].as_str().unwrap();
            let judged = ["pass", "warn", "fail"].contains(&check["status"].as_str().unwrap());
            assert!(!judged || !actual.contains("unknown"), "what is judged is known: {check:#}");
            assert!(!actual.contains("(unclear)") || actual.contains("is not in the table"), "{check:#}");
        }
        // It grows until the machine is full, and nothing has gone wrong yet.
        assert_eq!(check(run, "M01")["status"], "fail");
        let grade = run["grade"].as_str().unwrap();
        // Snapshots alone lose minutes: no emergency, but for what has no other copy.
        let expected = if profile == "store" { "POOR" } else { "FAIR" };
        assert_eq!(grade, expected, "{profile}: {:#}", run["conclusion"]);
        assert_eq!(probes::objective(run, "denied_ratio").unwrap()["observed"], 0.0);
    }
}

#[test]
fn the_machine_is_read_where_the_server_is_on_it() {
    let server = RedisServer::with(&["--maxclients", "200"]);
    let ran = probes::probe("config_audit", &server, &[]);
    let run = ran.expect_measured();
    let overcommit = std::fs::read_to_string("/proc/sys/vm/overcommit_memory").unwrap();
    let found = check(run, "M16");
    assert_eq!(found["actual"], format!("vm.overcommit_memory {}", overcommit.trim()));
    assert_ne!(check(run, "P21")["status"], "unknown", "{:#}", check(run, "P21"));
}

#[test]
fn a_cluster_node_is_asked_for_its_cluster() {
    let server = RedisServer::with(&["--cluster-enabled", "yes"]);
    let ran = probes::probe("config_audit", &server, &[]);
    let found = check(ran.expect_measured(), "R18a");
    assert_eq!(found["status"], "fail", "no slot is assigned: {found:#}");
}
