//! `throughput`: what is offered and what is achieved, what never counts, and where it may not run at all.

use testkit::RedisServer;

use super::{Foreign, measured, objective, operations, probe, run, sum};

fn phases(list: &str, more: &[&'static str]) -> Vec<String> {
    let mut arguments =
        vec!["--allow".to_owned(), "load".to_owned(), "--set".to_owned(), format!("phases={list}")];
    arguments.extend(more.iter().flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()]));
    arguments
}

fn throughput(server: &RedisServer, list: &str, more: &[&'static str]) -> super::Ran {
    let arguments = phases(list, more);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    probe("throughput", server, &arguments)
}

#[test]
fn every_phase_reports_what_it_did() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let more =
        ["duration=2s", "key_space=1000", "benchmark_workers=10", "ops_per_worker=200", "connections=8"];
    let all = r#"["baseline", "sustained", "concurrent", "pipelined", "benchmark"]"#;
    let ran = throughput(&server, all, &more);
    let run = ran.expect_measured();
    for (phase, kind) in [
        ("baseline", "closed"),
        ("sustained", "open"),
        ("concurrent", "closed"),
        ("pipelined", "closed"),
        ("benchmark", "closed"),
    ] {
        let names: Vec<_> = operations(run, phase).iter().map(|o| o["operation"].as_str().unwrap()).collect();
        assert_eq!(names, ["get", "set", "del"], "{phase}");
        assert!(operations(run, phase).iter().all(|operation| operation["loop"] == kind), "{phase}");
        assert_eq!(sum(run, phase, "ok"), sum(run, phase, "attempts"), "{phase}: nothing failed");
        assert!(sum(run, phase, "ok") > 0, "{phase}");
        let counted = measured(run, &format!("{phase}_server_calls"));
        let ours = sum(run, phase, "ok") as f64;
        // Renewing the lease is a GET too, once in ten seconds.
        assert!((ours..=ours + 2.0).contains(&counted), "{phase}: the server counted {counted}, we {ours}");
        assert!(measured(run, &format!("{phase}_hit_ratio")) > 0.5, "{phase}: the keys were there");
    }
    assert_eq!(sum(run, "sustained", "offered"), 1_000, "500 a second for 2 s");
    assert_eq!(sum(run, "benchmark", "ok"), 2_000, "10 workers of 200 each");
    assert_eq!(measured(run, "filled_keys"), 1_000.0);
    assert!(measured(run, "baseline_warm_up_operations") > 0.0);
    assert!(measured(run, "scaling") > 0.0);
    assert!(run["timeline"].as_array().unwrap().iter().any(|point| point["phase"] == "sustained"));
    assert_eq!(run["cleanup"]["left_over"], 0);
    foreign.check(&server);
}

#[test]
fn the_mix_is_the_one_asked_for() {
    let server = RedisServer::start();
    let ran = throughput(
        &server,
        r#"["benchmark"]"#,
        &["benchmark_workers=10", "ops_per_worker=1000", "key_space=100"],
    );
    let run = ran.run();
    let share = |name: &str| {
        let operation = operations(run, "benchmark").into_iter().find(|o| o["operation"] == name).unwrap();
        operation["offered"].as_f64().unwrap() / 10_000.0
    };
    // Six standard deviations of 10,000 draws.
    for (name, expected, slack) in [("get", 0.70, 0.03), ("set", 0.25, 0.03), ("del", 0.05, 0.015)] {
        assert!((share(name) - expected).abs() < slack, "{name}: {}", share(name));
    }
    for name in ["benchmark_mean", "benchmark_throughput"] {
        assert!(objective(run, name).is_some(), "{name}");
    }
    let reads = throughput(&server, r#"["benchmark"]"#, &["ops_per_worker=10", "mix={ read = 1 }"]);
    let names: Vec<_> = operations(reads.run(), "benchmark").iter().map(|o| &o["operation"]).collect();
    assert_eq!(names, ["get"], "what has no weight is not there");
}

#[test]
fn a_full_server_shows_no_successful_set() {
    let server = RedisServer::start();
    // Full only once the run is under way: before, it would not begin.
    server.ok(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.ok(&["CONFIG", "SET", "maxmemory", &(used + (64 << 20)).to_string()]);
    let arguments = phases(r#"["baseline"]"#, &["duration=3s", "key_space=100"]);
    let url = server.url();
    let mut command = vec!["throughput", "--target", &url];
    command.extend(arguments.iter().map(String::as_str));
    let ran = std::thread::scope(|scope| {
        let running = scope.spawn(|| run(&command));
        let loading = testkit::poll_until(std::time::Duration::from_secs(20), || {
            !server.clients("redprobe-throughput").is_empty() && !server.keys().is_empty()
        });
        assert!(loading, "the run began");
        server.ok(&["CONFIG", "SET", "maxmemory", "1"]);
        running.join().unwrap()
    });
    let run = ran.expect("failed");
    assert_eq!((ran.code, &run["grade"]), (2, &"POOR".into()));
    let set = operations(run, "baseline").into_iter().find(|o| o["operation"] == "set").unwrap();
    let [attempts, oom] = [&set["attempts"], &set["errors"]["oom"]].map(|count| count.as_u64().unwrap());
    assert!(oom > 0 && set["ok"].as_u64().unwrap() + oom == attempts, "{set:#}");
    assert_eq!(set["response"]["count"], set["ok"], "only successes have latencies");
    assert!(run["conclusion"].as_str().unwrap().contains("SET"), "{:#}", run["conclusion"]);
}

#[test]
fn a_target_that_allows_no_load_gets_none() {
    let server = RedisServer::start();
    server.ok(&["CONFIG", "RESETSTAT"]);
    let refused = probe("throughput", &server, &[]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("load"), "{}", refused.stderr);

    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("redprobe.toml");
    let url = server.url();
    std::fs::write(
        &config,
        format!("[targets.live]\nurl = \"{url}\"\nenvironment = \"production\"\nallow = \"touch\"\n"),
    )
    .unwrap();
    let config = config.to_str().unwrap();
    let refused = run(&["throughput", "--config", config, "--target", "live", "--allow", "load"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("production"), "{}", refused.stderr);
    assert!(!server.cli(&["INFO", "commandstats"]).contains("cmdstat_set:"), "nothing was written");
}

#[test]
fn an_unknown_setting_is_refused_with_a_suggestion() {
    let server = RedisServer::start();
    let refused = probe("throughput", &server, &["--allow", "load", "--set", "worker=3"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("workers"), "{}", refused.stderr);
    let refused = probe("throughput", &server, &["--allow", "load", "--set", "mix={ read = 0 }"]);
    assert_eq!(refused.code, 3);
    assert!(refused.stderr.contains("mix") && refused.stderr.contains("weight"), "{}", refused.stderr);
}
