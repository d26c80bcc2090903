//! `health`: writing where it may, and never satisfied with a PONG where it may.

use testkit::RedisServer;

use super::{Foreign, measured, probe, run};

fn calls(server: &RedisServer, command: &str) -> bool {
    server.cli(&["INFO", "commandstats"]).contains(&format!("cmdstat_{command}:"))
}

#[test]
fn writes_reads_and_removes_where_it_may() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    server.ok(&["CONFIG", "RESETSTAT"]);
    let ran = probe("health", &server, &[]);
    let run = ran.expect("passed");
    assert_eq!(ran.code, 0);
    for command in ["set", "get", "unlink"] {
        assert!(measured(run, command) > 0.0);
        assert!(calls(&server, command), "{command} reached the server");
    }
    foreign.check(&server);
}

#[test]
fn only_asks_where_it_may_not_write() {
    let server = RedisServer::start();
    server.ok(&["CONFIG", "RESETSTAT"]);
    let ran = probe("health", &server, &["--allow", "observe"]);
    ran.expect("passed");
    assert!(calls(&server, "ping") && calls(&server, "info"));
    assert!(!calls(&server, "set") && !calls(&server, "unlink"), "nothing was written");
}

#[test]
fn a_server_that_answers_ping_and_takes_no_write_is_not_healthy() {
    let full = RedisServer::with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    assert_eq!(full.cli(&["PING"]), "PONG");
    probe("health", &full, &[]).expect_unmeasured("error", "oom");

    let alone = RedisServer::with(&["--min-replicas-to-write", "1"]);
    assert_eq!(alone.cli(&["PING"]), "PONG");
    probe("health", &alone, &[]).expect_unmeasured("error", "noreplicas");

    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", "1"]);
    probe("health", &replica, &[]).expect_unmeasured("error", "readonly");
}

#[test]
fn each_refusal_has_its_reason() {
    let server = RedisServer::with(&["--requirepass", "secret"]);
    probe("health", &server, &[]).expect_unmeasured("error", "auth_required");
    let url = |user: &str, password: &str| format!("redis://{user}:{password}@{}", server.address());
    let wrong = run(&["health", "--target", &url("", "wrong")]);
    wrong.expect_unmeasured("error", "auth_rejected");
    assert!(!wrong.stderr.contains("wrong") && !wrong.suite.to_string().contains("wrong"), "no secret shows");
    server.ok(&["ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-set"]);
    run(&["health", "--target", &url("reader", "word")]).expect_unmeasured("error", "denied");
    run(&["health", "--target", &url("", "secret")]).expect("passed");
}
