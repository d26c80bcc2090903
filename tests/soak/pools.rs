//! Starvation and its fix, ten times over: what one run shows must not be luck.
//!
//! One run of each is among the integration tests.

use serde_json::Value;
use tempfile::TempDir;
use testkit::RedisServer;

use crate::support::redprobe;

const TIMES: u32 = 10;

/// The report of one run of `probe`.
fn run(server: &RedisServer, probe: &str, settings: &[&str]) -> Value {
    let state = TempDir::new().expect("a directory can be made");
    let url = server.url();
    let mut arguments =
        vec!["run", probe, "--target", &url, "--allow", "load", "--quick", "--format", "json"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let output =
        redprobe(&arguments).env("REDPROBE__STATE_DIR", state.path()).output().expect("the binary was built");
    let mut suite: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let run = suite["runs"][0].take();
    assert!(matches!(run["outcome"].as_str(), Some("passed" | "failed")), "{run:#}");
    assert_eq!((&run["cleanup"]["left_over"], server.keys().len()), (&0.into(), 0), "nothing is left");
    let shares = run["attribution"].as_array().expect("always there");
    let known = |share: &Value| share["unattributed"].as_f64().is_some_and(|unknown| unknown <= 0.05);
    assert!(shares.iter().all(known), "{shares:#?}");
    run
}

fn measured(run: &Value, name: &str) -> f64 {
    run["measurements"][name]["value"].as_f64().unwrap_or_else(|| panic!("no {name} in {run:#}"))
}

#[test]
fn a_shared_pool_starves_every_time_and_a_larger_or_split_one_never() {
    let server = RedisServer::start();
    for round in 1..=TIMES {
        let starved = run(&server, "pool_starvation", &[]);
        let enough = run(&server, "pool_starvation", &["readers=10"]);
        let split = run(&server, "split_pool", &[]);
        println!(
            "{round}: GET timeouts: {} with 30 readers, {} with 10; {} shared, {} split",
            measured(&starved, "get_timeouts"),
            measured(&enough, "get_timeouts"),
            measured(&split, "shared_get_timeouts"),
            measured(&split, "split_get_timeouts")
        );
        assert!(measured(&starved, "get_timeouts") > 0.0, "{starved:#}");
        assert!(measured(&enough, "timeouts") == 0.0, "{enough:#}");
        assert!(measured(&split, "shared_get_timeouts") > 0.0, "{split:#}");
        assert!(measured(&split, "split_timeouts") == 0.0, "{split:#}");
    }
    assert!(server.clients("redprobe").is_empty());
}
