//! `latency_baseline`: what each phase counts, what it may not do, and what it leaves behind.

use testkit::RedisServer;

use super::{Foreign, measured, objective, operations, probe, run, skipped, sum};

/// Short, and with samples enough for p95.
const SHORT: [&str; 6] = ["--set", "iterations=300", "--set", "sustained=2s", "--set", "connects=20"];

#[test]
fn touch_counts_every_operation_and_skips_what_is_not_allowed() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    server.ok(&["CONFIG", "RESETSTAT"]);
    let ran = probe("latency_baseline", &server, &SHORT);
    let run = ran.expect_measured();
    for operation in operations(run, "basic") {
        let counts = ["offered", "attempts", "ok", "missed"].map(|name| operation[name].as_u64().unwrap());
        assert_eq!(counts, [300, 300, 300, 0], "{operation:#}");
        assert_eq!(operation["loop"], "closed");
        let response = &operation["response"];
        assert_eq!(response["count"], 300);
        let [p50, p95, max] = ["p50", "p95", "max"].map(|name| response[name].as_f64().unwrap());
        assert!(0.0 < p50 && p50 <= p95 && p95 <= max, "{response:#}");
        assert!(response.get("p99").is_none(), "300 samples are too few for p99");
    }
    let names: Vec<_> = operations(run, "basic").iter().map(|o| o["operation"].as_str().unwrap()).collect();
    assert_eq!(names, ["set", "get", "del"]);
    assert_eq!(sum(run, "sustained", "offered"), 200, "100 a second for 2 s");
    assert!(operations(run, "sustained").iter().all(|operation| operation["loop"] == "open"));
    assert_eq!(sum(run, "connect", "ok"), 20);
    assert_eq!(skipped(run), [("concurrent", "effect_not_allowed"), ("memory", "effect_not_allowed")]);
    assert_eq!(objective(run, "error_ratio").unwrap()["observed"], 0.0);
    let stats = server.cli(&["INFO", "commandstats"]);
    assert!(
        stats.contains("cmdstat_unlink:calls=") && !stats.contains("cmdstat_del:"),
        "DEL is sent as UNLINK"
    );
    foreign.check(&server);
}

#[test]
fn figures_agree_with_the_servers_count() {
    let server = RedisServer::start();
    let ran = probe("latency_baseline", &server, &SHORT);
    let run = ran.expect_measured();
    assert_eq!(measured(run, "basic_server_calls"), 900.0, "the server counted what we did");
    assert_eq!(measured(run, "basic_hit_ratio"), 1.0, "each GET follows the SET of its key");
    assert!(measured(run, "snapshot_used_memory") > 0.0);
    assert!(measured(run, "sustained_memory_mean") > 0.0);
    assert!(measured(run, "connect_total") >= measured(run, "connect_connect"));
    let parts = run["attribution"].as_array().unwrap();
    assert_eq!(parts.len(), 3, "each operation of the sustained phase");
    for part in parts {
        let shares = ["pool_wait", "recycle", "network", "server", "client", "unattributed"];
        let whole: f64 = shares.iter().map(|name| part[name].as_f64().unwrap()).sum();
        assert!((whole - 1.0).abs() < 0.01, "{part:#}");
    }
}

#[test]
fn load_adds_workers_and_memory_and_gives_it_back() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let settings = ["--set", "memory_pattern=8MB", "--set", "workers=4", "--set", "ops_per_worker=300"];
    let ran = probe("latency_baseline", &server, &[&["--allow", "load"], &SHORT[..], &settings].concat());
    let run = ran.expect_measured();
    assert_eq!(sum(run, "concurrent", "ok"), 1_200);
    assert_eq!(skipped(run), []);
    let bytes = f64::from(8 << 20);
    let growth = measured(run, "memory_growth");
    assert!(growth >= bytes && growth < bytes * 2.0, "{growth}");
    assert!(measured(run, "memory_recovery") >= 0.9);
    foreign.check(&server);
}

#[test]
fn phases_beyond_the_budget_are_skipped_and_say_so() {
    let server = RedisServer::start();
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("redprobe.toml");
    let text = format!(
        "[targets.small]\nurl = \"{}\"\nallow = \"load\"\nmax_bytes = \"4MB\"\nmax_connections = 5\n",
        server.url()
    );
    std::fs::write(&config, text).unwrap();
    let config = config.to_str().unwrap();
    let ran = run(&[&["latency_baseline", "--config", config, "--target", "small"], &SHORT[..]].concat());
    let run = ran.expect_measured();
    assert_eq!(skipped(run), [("concurrent", "precondition"), ("memory", "precondition")]);
    assert!(sum(run, "sustained", "ok") > 0, "the other phases run all the same");
    let text = run["skipped_phases"].to_string();
    assert!(text.contains("max_connections = 5") && text.contains("max_bytes"), "{text}");
}

#[test]
fn a_full_server_shows_no_successful_set() {
    let server = RedisServer::with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let ran = probe("latency_baseline", &server, &SHORT);
    let run = ran.expect("failed");
    assert_eq!((ran.code, &run["grade"]), (2, &"POOR".into()));
    let set = operations(run, "basic")[0];
    assert_eq!((&set["ok"], &set["errors"]["oom"]), (&0.into(), &300.into()));
    assert!(run["conclusion"].as_str().unwrap().contains("no SET of 300 succeeded in basic (oom)"));
}

#[test]
fn refused_writes_are_errors_and_never_operations() {
    let server = RedisServer::start();
    server.ok(&["ACL", "SETUSER", "reader", "on", ">word", "~*", "&*", "+@all", "-set"]);
    let url = format!("redis://reader:word@{}", server.address());
    let ran = run(&[&["latency_baseline", "--target", &url], &SHORT[..]].concat());
    let run = ran.expect("failed");
    assert_eq!((ran.code, &run["grade"]), (2, &"POOR".into()));
    let set = operations(run, "basic")[0];
    assert_eq!(
        (&set["operation"], &set["ok"], &set["errors"]["denied"]),
        (&"set".into(), &0.into(), &300.into())
    );
    assert_eq!(set["response"]["count"], 0, "a fast refusal is no fast success");
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(
        conclusion.starts_with("the error ratio is ") && conclusion.contains("no SET of "),
        "{conclusion}"
    );
}

#[test]
fn quick_cuts_durations_and_counts() {
    let server = RedisServer::start();
    let ran =
        probe("latency_baseline", &server, &["--quick", "--set", "sustained=1m", "--set", "iterations=2000"]);
    let run = ran.expect_measured();
    assert_eq!((&run["settings"]["iterations"], &run["settings"]["sustained"]), (&200.into(), &"5s".into()));
    assert_eq!(sum(run, "basic", "ok"), 600);
}
