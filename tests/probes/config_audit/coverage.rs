//! Every check of the catalogue is judged on some real server: a condition that never holds would hide it for ever.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    net::TcpStream,
    time::Duration,
};

use testkit::{Certificate, RedisServer, poll_until};

use crate::support::Daemon;

/// What the installed server, started by a test, is not judged by, and why.
const NEVER_HERE: &[(&str, &str)] = &[
    ("M03", "tests do not run in a container with a memory limit of its own"),
    ("M20", "up to Redis 6.2"),
    ("M31f", "from Redis 7.2"),
    ("M31g", "from Redis 7.2"),
    ("N13", "from Redis 7.4"),
    ("N14", "from Redis 7.4"),
    ("N15a", "from Redis 7.4"),
    ("N15b", "from Redis 7.4"),
    ("P19b", "from 1 GB of data"),
    ("L03", "from Redis 8.8"),
    ("L08", "from Redis 7.2"),
    ("L23a", "Valkey"),
    ("L23b", "Valkey"),
    ("S11a", "from Redis 7.2"),
    ("S11b", "from Redis 7.2"),
    ("S11c", "from Redis 7.2"),
    ("S11d", "from Redis 7.2"),
    ("S26", "Valkey"),
    ("S30", "Redis 7.0 never had it"),
    ("S31", "of Redis 7.0 nobody has said whether it is concerned"),
    ("S32a", "of Redis 7.0 nobody has said whether it is concerned"),
    ("S32b", "Redis 7.0 never had it"),
    ("S32c", "Valkey"),
    ("S34", "servers of tests have their settings on the command line, and no file"),
    ("S36", "from Redis 7.4"),
];

#[test]
fn every_check_is_judged_on_some_server() {
    let servers = servers();
    let mut config =
        "[pools.app]\nmatch = { name = \"app\" }\nmax_connections = 10\ninstances = 2\n".to_owned();
    for (name, url, profile) in &servers.targets {
        let _ = writeln!(config, "[targets.{name}]\nurl = \"{url}\"\nprofile = \"{profile}\"");
    }
    config += "[jobs.audit]\nprobe = \"config_audit\"\ntargets = [\"*\"]\nschedule = \"every 1s\"\n\
               settings = { pool_max_idle = \"10m\" }\n";
    let daemon = Daemon::start(&config);
    let audits = || daemon.runs("?probe=config_audit");
    // The second audit knows what has increased since the first.
    let twice =
        |(name, ..): &(&str, String, &str)| audits().iter().filter(|run| run["target"] == *name).count() >= 2;
    assert!(poll_until(Duration::from_secs(20), || servers.targets.iter().all(twice)), "{}", daemon.log());
    let mut judged = BTreeSet::new();
    let mut not = BTreeMap::new();
    for run in audits() {
        for check in run["checks"].as_array().into_iter().flatten() {
            let id = check["check"].as_str().expect("an id").to_owned();
            match check["status"].as_str() {
                Some("pass" | "warn" | "fail") => drop(judged.insert(id)),
                _ => drop(not.insert(id, check["actual"].to_string())),
            }
        }
    }
    assert!(judged.len() > 190, "{}", judged.len());
    not.retain(|id, _| !judged.contains(id));
    for (id, why) in NEVER_HERE {
        assert!(not.remove(*id).is_some(), "{id} is judged, and listed as never: {why}");
    }
    assert!(not.is_empty(), "never judged: {not:#?}");
}

/// Servers that differ in all that a condition asks for.
struct Servers {
    /// Name, URL, profile.
    targets: Vec<(&'static str, String, &'static str)>,
    _running: Vec<RedisServer>,
    _clients: Vec<TcpStream>,
}

fn servers() -> Servers {
    let certificate = Certificate::valid(&["localhost"]);
    let master = server(
        "--appendonly yes --appendfsync always --maxmemory 1gb --timeout 900 --min-replicas-to-write 1 \
         --latency-monitor-threshold 1 --requirepass hunter2",
    );
    let address = master.address();
    let follow = format!("--replicaof {} {} --masterauth hunter2", address.ip(), address.port());
    let [first, second] = [server(&follow), server(&follow)];
    let up = |replica: &RedisServer| replica.find_info("master_link_status").is_some_and(|it| it == "up");
    assert!(poll_until(Duration::from_secs(20), || up(&first) && up(&second)), "the replicas connect");
    let tls = RedisServer::with_tls(&certificate, &["--cluster-enabled", "yes"]);
    let (large, clients) = large();
    let targets = vec![
        ("master", master.url().replace("redis://", "redis://:hunter2@"), "store"),
        ("replica", first.url(), "buffer"),
        ("cluster", tls.url(), "mixed"),
        ("large", large.url(), "cache"),
    ];
    Servers { targets, _running: vec![master, first, second, tls, large], _clients: clients }
}

/// More than 100 MB, a snapshot, a socket, and a dozen clients: one that tracks, one that has asked ten thousand times.
fn large() -> (RedisServer, Vec<TcpStream>) {
    let large = server(
        "--maxmemory 512mb --maxmemory-policy volatile-lru --save 3600 1 --enable-debug-command yes \
         --unixsocket audit.sock --unixsocketperm 700",
    );
    large.ok(&["DEBUG", "POPULATE", "1100", "large", "100000"]);
    large.ok(&["SET", "session", "value", "EX", "1000"]);
    let mut clients: Vec<TcpStream> = (0..10).map(|_| large.send("PING")).collect();
    clients.push(large.send("HELLO 3\r\nCLIENT TRACKING ON\r\nGET session"));
    clients.push(large.send(&"EXISTS session\r\n".repeat(10_000)));
    let _ = large.cli(&["BGSAVE"]);
    let ready = || {
        large.info("rdb_saves") != "0" && large.info("keyspace_hits").parse().is_ok_and(|n: u64| n > 10_000)
    };
    assert!(poll_until(Duration::from_secs(20), ready), "a snapshot is written, and every lookup answered");
    (large, clients)
}

/// A server with these arguments.
fn server(arguments: &str) -> RedisServer {
    RedisServer::with(&arguments.split_whitespace().collect::<Vec<_>>())
}
