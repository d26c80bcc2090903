//! `server_info`: the server's own figures, and what they say about it.

use testkit::{RedisServer, poll_until};

use super::{measured, objective, probe, run};
use crate::support::Daemon;

#[test]
fn figures_are_the_servers_own() {
    let server = RedisServer::with(&["--maxmemory", "100mb", "--maxclients", "321"]);
    for key in 0..7 {
        server.ok(&["SET", &format!("key:{key}"), "value", "EX", "1000"]);
    }
    let _ = server.cli(&["-n", "3", "SET", "elsewhere", "value"]);
    let ran = probe("server_info", &server, &[]);
    let run = ran.expect("passed");
    assert_eq!(ran.code, 0);
    assert_eq!(measured(run, "keys"), 8.0);
    assert_eq!(measured(run, "maxclients"), server.info("maxclients").parse::<f64>().unwrap());
    assert_eq!(measured(run, "maxmemory"), 104_857_600.0);
    let used: f64 = server.info("used_memory").parse().unwrap();
    assert!((measured(run, "used_memory") / used - 1.0).abs() < 0.2, "{used}");
    assert_eq!(run["server"]["version"].as_str().unwrap(), server.info("redis_version"));
    let clients = objective(run, "clients_ratio").unwrap();
    let connected = measured(run, "connected_clients");
    assert_eq!(clients["observed"].as_f64().unwrap(), connected / measured(run, "maxclients"));
}

#[test]
fn metrics_are_the_servers_own() {
    let server = RedisServer::with(&[
        "--maxclients",
        "321",
        "--appendonly",
        "yes",
        "--maxmemory-policy",
        "allkeys-lfu",
    ]);
    server.ok(&["SET", "key:1", "value"]);
    server.ok(&["SET", "key:2", "value", "EX", "1000"]);
    let _ = server.cli(&["-n", "3", "SET", "elsewhere", "value"]);
    let _ = server.cli(&["GET", "key:1"]);
    let _ = server.cli(&["GET", "missing"]);
    let _ = server.cli(&["LPUSH", "key:1", "of another type"]);
    let _ = server.cli(&["OBJECT", "FREQ", "key:1"]);
    let config = format!(
        "[targets.a]\nurl = \"{}\"\n\n[jobs.info]\nprobe = \"server_info\"\ntargets = [\"a\"]\nschedule = \"every 1s\"\n",
        server.url()
    );
    let daemon = Daemon::start(&config);
    let target = "target=\"a\"";
    let value = |name: &str, label: &str| {
        let labels: Vec<&str> = [target, label].into_iter().filter(|label| !label.is_empty()).collect();
        daemon.await_metric(&format!("redprobe_server_info_{name}"), &labels, |_| true)
    };
    let expected: [(&str, &str, f64); 17] = [
        ("max_clients", "", 321.0),
        ("keys", "db=\"db0\"", 2.0),
        ("keys_with_ttl", "db=\"db0\"", 1.0),
        ("keys", "db=\"db3\"", 1.0),
        ("role", "role=\"master\"", 1.0),
        ("role", "role=\"replica\"", 0.0),
        ("maxmemory_policy", "policy=\"allkeys-lfu\"", 1.0),
        ("maxmemory_policy", "policy=\"noeviction\"", 0.0),
        ("memory_max_bytes", "", 0.0),
        ("keyspace_hits_total", "", server.info("keyspace_hits").parse().unwrap()),
        ("keyspace_misses_total", "", 1.0),
        ("command_calls_total", "command=\"set\"", 3.0),
        ("command_calls_total", "command=\"get\"", 2.0),
        ("command_failures_total", "command=\"lpush\"", 1.0),
        ("command_calls_total", "command=\"other\"", 1.0),
        ("aof_enabled", "", 1.0),
        ("evicted_keys_total", "", 0.0),
    ];
    for (name, label, expected) in expected {
        assert_eq!(value(name, label), expected, "{name} {label}");
    }
    let saved: f64 = server.info("rdb_last_save_time").parse().unwrap();
    assert_eq!(value("rdb_last_save_timestamp_seconds", ""), saved);
    let uptime: f64 = server.info("uptime_in_seconds").parse().unwrap();
    assert!(value("uptime_seconds", "") <= uptime + 2.0);
    let peak: f64 = server.info("used_memory_peak").parse().unwrap();
    let used = value("memory_used_bytes", "");
    assert!(used > 0.0 && used <= peak * 1.2, "{used}, {peak}");
    let text = daemon.scrape();
    assert!(!text.contains("redprobe_server_info_rdb_last_save_duration_seconds{"), "there was none yet");
    assert!(!text.contains("redprobe_server_info_master_link_up{"), "it has no master");
}

#[test]
fn nothing_is_written() {
    let server = RedisServer::start();
    server.ok(&["SET", "user:1", "value"]);
    server.ok(&["CONFIG", "RESETSTAT"]);
    // It is allowed to touch, and still only observes.
    probe("server_info", &server, &["--allow", "touch"]).expect("passed");
    assert_eq!(server.keys(), ["user:1"]);
    let stats = server.cli(&["INFO", "commandstats"]);
    for command in ["set", "get", "unlink", "del"] {
        assert!(!stats.contains(&format!("cmdstat_{command}:")), "{stats}");
    }
}

#[test]
fn a_user_who_may_not_ask_is_told_so() {
    let server = RedisServer::start();
    server.ok(&["ACL", "SETUSER", "blind", "on", ">word", "~*", "+@all", "-info"]);
    let url = format!("redis://blind:word@{}", server.address());
    run(&["server_info", "--target", &url]).expect_unmeasured("error", "denied");
}

#[test]
fn a_full_store_is_a_warning_and_a_full_cache_is_not() {
    let server = RedisServer::start();
    let used: u64 = server.info("used_memory").parse().unwrap();
    // Room for the probe's connection, and full all the same.
    let limit = (used + 200_000).to_string();
    server.ok(&["CONFIG", "SET", "maxmemory", &limit]);
    let lower = ["--allow", "observe"];
    let set = |policy| server.ok(&["CONFIG", "SET", "maxmemory-policy", policy]);
    set("noeviction");
    let full = probe("server_info", &server, &lower);
    let ratio = objective(full.run(), "memory_ratio").unwrap()["observed"].as_f64().unwrap();
    assert!(ratio > 0.8, "{ratio}");
    set("allkeys-lru");
    assert!(objective(probe("server_info", &server, &lower).run(), "memory_ratio").is_none());
    let limit = (used + 20_000).to_string();
    set("noeviction");
    server.ok(&["CONFIG", "SET", "maxmemory", &limit]);
    let over = probe("server_info", &server, &lower);
    assert_eq!((over.code, &over.expect("failed")["grade"]), (1, &"FAIR".into()), "{over:#?}");
    let conclusion = over.run()["conclusion"].as_str().unwrap();
    assert!(conclusion.starts_with("the share of maxmemory in use is "), "{conclusion}");
}

#[test]
fn a_replica_without_its_master_is_poor() {
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", "1"]);
    let ran = probe("server_info", &replica, &["--allow", "observe"]);
    let run = ran.expect("failed");
    assert_eq!((ran.code, &run["grade"]), (2, &"POOR".into()));
    assert!(run["conclusion"].as_str().unwrap().starts_with("the time without a link to the master is "));
}

#[test]
fn a_master_knows_its_replicas() {
    let master = RedisServer::start();
    let address = master.address();
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &address.port().to_string()]);
    let linked = poll_until(std::time::Duration::from_secs(20), || {
        replica.info("master_link_status") == "up"
            && master.cli(&["INFO", "replication"]).contains("state=online")
    });
    assert!(linked, "{}", replica.log());
    let ran = probe("server_info", &master, &[]);
    assert_eq!(measured(ran.expect("passed"), "connected_slaves"), 1.0);
    assert!(objective(ran.run(), "replica_lag").is_some());
    assert_eq!(
        objective(probe("server_info", &replica, &[]).run(), "master_link_down").unwrap()["met"],
        true
    );
}
