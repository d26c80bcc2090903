//! `split_pool`: verified only where the shared pool starved and the split ones had no timeout.

use testkit::RedisServer;

use super::{Foreign, measured, objective, operations, probe};

fn split(server: &RedisServer, settings: &[&str]) -> super::Ran {
    let mut arguments = vec!["--allow", "load", "--quick", "--set", "duration=3s"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    probe("split_pool", server, &arguments)
}

#[test]
fn split_pools_end_the_starvation_of_the_shared_one() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let ran = split(&server, &[]);
    let run = ran.expect_measured();
    assert!(run["conclusion"].as_str().unwrap().starts_with("The split pools fix it"), "{run:#}");
    assert!(measured(run, "shared_get_timeouts") > 50.0);
    assert_eq!(measured(run, "split_get_timeouts"), 0.0);
    assert_eq!(objective(run, "timeout_rate").unwrap()["observed"], 0.0);
    assert_eq!(objective(run, "verified").unwrap()["met"], true);
    assert_eq!(measured(run, "split_blocked_clients_max"), 30.0, "every reader has its connection");
    for phase in ["shared", "split"] {
        let names: Vec<_> = operations(run, phase).iter().map(|o| o["operation"].as_str().unwrap()).collect();
        assert_eq!(names, ["get", "set", "xread"], "{phase}");
    }
    let pools: Vec<_> = run["pools"].as_array().unwrap().iter().collect();
    let sizes: Vec<_> =
        pools.iter().map(|pool| (pool["name"].as_str().unwrap(), pool["size"].as_u64().unwrap())).collect();
    assert_eq!(sizes, [("shared", 15), ("stream", 500), ("general", 200)]);
    assert_eq!(pools[1]["created"], 30, "a pool opens what is needed");
    assert_eq!(run["remedies"][0]["client"], "redis-py");
    let python = run["remedies"][0]["settings"][0].as_str().unwrap();
    assert!(
        python.contains("max_connections=500") && python.contains("health_check_interval=30"),
        "{python}"
    );
    foreign.check(&server);
}

#[test]
fn without_starvation_there_is_nothing_to_verify() {
    let server = RedisServer::start();
    let ran = split(&server, &["readers=5"]);
    let run = ran.expect_measured();
    assert!(run["conclusion"].as_str().unwrap().starts_with("There was nothing to fix"), "{run:#}");
    assert_eq!(objective(run, "verified").unwrap()["met"], false);
    assert_eq!(run["remedies"].as_array().unwrap().len(), 0);
}

#[test]
fn a_general_pool_that_is_too_small_fixes_nothing() {
    let server = RedisServer::start();
    // One connection for 2,000 operations a second, and nobody may wait for it.
    let ran =
        split(&server, &["pool_size=2", "readers=4", "general_pool_size=1", "rate=2000", "pool_timeout=1ms"]);
    let run = ran.expect("failed");
    assert!(run["conclusion"].as_str().unwrap().starts_with("The split pools do not fix it"), "{run:#}");
    assert!(objective(run, "timeout_rate").is_some_and(|rate| rate["met"] == false), "{run:#}");
}

#[test]
fn pools_beyond_the_targets_connections_are_not_tried() {
    let server = RedisServer::start();
    let ran = split(&server, &["readers=150", "workers=100"]);
    // What a run needs at the most is known before it begins.
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("max_connections"), "{}", ran.stderr);
}
