//! `pool_exhaustion`: bursts that a pool can serve and bursts that it cannot, recovery, and what a checkout costs.

use serde_json::Value;
use testkit::RedisServer;

use super::{Foreign, measured, objective, operations, probe, sum};

fn exhaustion(server: &RedisServer, settings: &[&str]) -> super::Ran {
    let mut arguments = vec!["--allow", "load", "--quick"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    probe("pool_exhaustion", server, &arguments)
}

/// The burst of a phase.
fn burst<'r>(run: &'r Value, phase: &str) -> &'r Value {
    operations(run, phase).into_iter().find(|operation| operation["operation"] == "burst").expect("it ran")
}

#[test]
fn a_burst_beyond_the_pool_is_refused_and_the_pool_is_whole_again() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    // Five at a time, 100 ms each: 15 are served within the 200 ms that each waits, the last 25 or so are not.
    let ran =
        exhaustion(&server, &["pool_size=5", "bursts=[1, 8]", "hold=100ms", "duration=2s", "cost=300ms"]);
    let run = ran.expect("failed");
    let (small, large) = (burst(run, "burst_x1"), burst(run, "burst_x8"));
    assert_eq!((&small["offered"], &small["ok"]), (&5.into(), &5.into()), "{small:#}");
    assert_eq!(large["offered"], 40);
    let refused = large["errors"]["pool_timeout"].as_u64().unwrap();
    assert!((25..=30).contains(&refused), "{large:#}");
    assert_eq!(measured(run, "burst_x8_timeouts"), refused as f64);
    assert!(measured(run, "burst_x8_recovery") >= 0.2, "no sooner than the last one gives up");
    assert_eq!(objective(run, "recovery").unwrap()["unit"], "seconds");
    assert_eq!(objective(run, "timeout_rate").unwrap()["met"], false);
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(conclusion.starts_with("Bursts of up to 1 times the pool of 5"), "{conclusion}");
    assert!(conclusion.contains("found no connection within 200 ms"), "{conclusion}");

    for phase in ["kept", "checkout"] {
        assert!(measured(run, &format!("{phase}_per_second")) > 0.0);
    }
    let loans = |phase: &str| {
        let pools = run["pools"].as_array().unwrap();
        pools.iter().find(|pool| pool["name"] == phase).unwrap()["wait"]["count"].as_u64().unwrap()
    };
    assert_eq!(loans("kept"), 5, "one for each worker");
    assert_eq!(loans("checkout"), sum(run, "checkout", "attempts"), "one for each operation");
    let pools = run["pools"].as_array().unwrap();
    assert!(pools.iter().all(|pool| pool["created"] == 5), "none was lost: {pools:#?}");
    foreign.check(&server);
}

#[test]
fn a_bad_burst_is_named() {
    let server = RedisServer::start();
    for (setting, word) in [("bursts=[0]", "bursts"), ("bursts=[20]", "2000"), ("hold=soon", "hold")] {
        let refused = exhaustion(&server, &["pool_size=500", setting]);
        assert_eq!(refused.code, 3);
        assert!(refused.stderr.contains(word), "{setting}: {}", refused.stderr);
    }
}
