//! `client_census`: real clients counted exactly, by group and pool, as they come and go; and what is left where the
//! list is denied.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{RedisServer, poll_until};

use super::{Ran, measured, objective, probe, ran, redprobe, skipped};
use crate::support::Daemon;

const PATIENCE: Duration = Duration::from_secs(30);

/// A client that has said these lines, each answered. It sends nothing more.
fn client(stream: TcpStream, lines: &[&str]) -> TcpStream {
    let mut answers = BufReader::new(stream);
    for line in lines {
        answers.get_mut().write_all(format!("{line}\r\n").as_bytes()).expect("the server takes a line");
        let mut answer = String::new();
        answers.read_line(&mut answer).expect("the server answers");
        assert!(!answer.starts_with('-') && !answer.is_empty(), "{line:.100}: {answer}");
    }
    answers.into_inner()
}

fn connect(server: &RedisServer, lines: &[&str]) -> TcpStream {
    client(TcpStream::connect(server.address()).expect("it accepts connections"), lines)
}

/// Clients of one kind, all alike; their last line is not waited for.
fn many(server: &RedisServer, count: usize, lines: &[&str], last: &str) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = connect(server, lines);
        stream.write_all(last.as_bytes()).expect("the server takes a line");
        stream
    };
    (0..count).map(one).collect()
}

/// Clients from another address of this machine.
fn from(address: &str, server: &RedisServer, count: usize) -> Vec<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let one = |_| {
        let stream = runtime.block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.bind(format!("{address}:0").parse().expect("an address"))?;
            socket.connect(server.address()).await?.into_std()
        });
        let stream = stream.expect("all of 127.0.0.0/8 is this machine");
        stream.set_nonblocking(false).expect("it can be");
        client(stream, &["PING"])
    };
    (0..count).map(one).collect()
}

/// Runs it once with this configuration, of which `a` is the server.
fn census(server: &RedisServer, config: &str, arguments: &[&str]) -> Ran {
    let directory = TempDir::new().expect("a temporary directory can be made");
    let file = directory.path().join("redprobe.toml");
    let text = format!("[targets.a]\nurl = \"{}\"\n{config}", server.url());
    std::fs::write(&file, text).expect("it can be written");
    let file = file.display().to_string();
    let call = ["run", "client_census", "--format", "json", "--target", "a", "--config", &file];
    ran(&redprobe(directory.path(), &[&call, arguments].concat()).output().expect("the binary was built"))
}

const GROUPS: &str = "
[pools.api]
match = { name = \"api-*\" }
max_connections = 15
instances = 4

[pools.stream]
match = { name = \"stream-*\", db = 2 }
max_connections = 50
blocking = true

[pools.elsewhere]
match = { name = \"*\" }
max_connections = 1
targets = [\"b\"]

[targets.b]
url = \"redis://127.0.0.1:1\"

[jobs.census]
probe = \"client_census\"
targets = [\"a\"]
schedule = \"every 1m\"

[jobs.census.settings]
idle_limit = \"1s\"
groups = [
  { name = \"batch\", match = { user = \"batch\" } },
  { name = \"events\", match = { name = \"events-*\" } },
  { name = \"sessions\", match = { db = 3 } },
  { name = \"edge\", match = { address = \"127.0.0.2/31\" } },
  { name = \"sdk\", match = { name = \"sdk-*\" } },
  { name = \"nobody\", match = { lib_name = \"no-such-library\" } },
]
";

/// 500 clients: 57 api, of which 48 wait; 30 stream, all waiting; 90 batch; 120 events, all subscribed; 80 sessions; 60
/// edge; 33 sdk with long names; 30 of nobody, 20 of them without a name.
fn crowd(server: &RedisServer) -> Vec<TcpStream> {
    server.ok(&["ACL", "SETUSER", "batch", "on", ">word", "~*", "&*", "+@all"]);
    let sdk = format!("CLIENT SETNAME sdk-{}", "x".repeat(4_000));
    let crowd = vec![
        many(server, 48, &["CLIENT SETNAME api-1"], "XREAD BLOCK 0 STREAMS s $\r\n"),
        many(server, 9, &["CLIENT SETNAME api-2"], "PING\r\n"),
        many(server, 30, &["SELECT 2", "CLIENT SETNAME stream-1"], "BLPOP list 0\r\n"),
        many(server, 90, &["AUTH batch word", "CLIENT SETNAME redis-py"], "PING\r\n"),
        many(server, 120, &["CLIENT SETNAME events-x"], "SUBSCRIBE channel\r\n"),
        many(server, 80, &["SELECT 3"], "PING\r\n"),
        from("127.0.0.2", server, 30),
        from("127.0.0.3", server, 30),
        many(server, 33, &[&sdk], "PING\r\n"),
        many(server, 10, &["CLIENT SETNAME stream-1"], "PING\r\n"),
        many(server, 20, &[], "PING\r\n"),
    ];
    // All are there, and have been silent for longer than the limit of 1 s.
    let settled = poll_until(PATIENCE, || {
        let list = server.cli(&["CLIENT", "LIST"]);
        let silent = |line: &&str| {
            line.split(' ').find_map(|field| field.strip_prefix("idle=")?.parse().ok()).unwrap_or(0) >= 2
        };
        list.lines().filter(silent).count() == 500 && server.info("blocked_clients") == "78"
    });
    assert!(settled, "500 clients are there: {}", server.info("connected_clients"));
    crowd.into_iter().flatten().collect()
}

#[track_caller]
fn group(run: &Value, name: &str, expected: [f64; 4]) {
    let of = |what: &str| measured(run, &format!("{name}.{what}"));
    let found = [of("connections"), of("blocked"), of("idle"), of("subscribed")];
    assert_eq!(found, expected, "{name}: connections, blocked, idle, subscribed");
}

#[test]
fn five_hundred_clients_are_counted_exactly() {
    // Which takes the rest of 127.0.0.0/8 for strangers.
    let server = RedisServer::with(&["--protected-mode", "no"]);
    let crowd = crowd(&server);
    let ran = census(&server, GROUPS, &[]);
    let run = ran.expect("failed");
    group(run, "api", [57.0, 48.0, 9.0, 0.0]);
    group(run, "stream", [30.0, 30.0, 0.0, 0.0]);
    group(run, "batch", [90.0, 0.0, 90.0, 0.0]);
    group(run, "events", [120.0, 0.0, 0.0, 120.0]);
    group(run, "sessions", [80.0, 0.0, 80.0, 0.0]);
    group(run, "edge", [60.0, 0.0, 60.0, 0.0]);
    group(run, "sdk", [33.0, 0.0, 33.0, 0.0]);
    group(run, "other", [30.0, 0.0, 30.0, 0.0]);
    assert_eq!(measured(run, "nobody.connections"), 0.0);
    assert_eq!(measured(run, "unnamed_clients"), 80.0 + 60.0 + 20.0);
    assert!(measured(run, "redprobe.connections") >= 2.0, "its own are told apart");
    assert!(measured(run, "sdk.age_max") >= 2.0 && measured(run, "sdk.age_mean") >= 2.0);
    assert_eq!(measured(run, "api.utilisation"), 57.0 / 60.0);
    assert_eq!((measured(run, "api.headroom"), measured(run, "stream.headroom")), (3.0, 20.0));
    assert_eq!(measured(run, "declared_connections"), 110.0, "the third pool is another target's");
    let judged = |name| {
        let objective = objective(run, name).expect("it is observed");
        (objective["observed"].as_f64().expect("a number"), objective["met"] == true)
    };
    assert_eq!(judged("pool_utilisation"), (57.0 / 60.0, false));
    assert_eq!(judged("blocked_share"), (48.0 / 60.0, false), "the pool for blocking reads is not judged");
    assert_eq!(judged("idle_share"), (f64::from(9 + 90 + 80 + 60 + 33 + 30) / 500.0, false));
    assert!(judged("clients_ratio").1 && judged("declared_ratio").1 && judged("slow_readers").1);
    assert!(objective(run, "rejected_connections").is_none(), "there was no run before");
    let conclusion = run["conclusion"].as_str().unwrap();
    let finding = "api: 14.2 of 15 connections per instance are open and 12 of them wait in blocking calls; split \
                   blocking reads onto a pool of their own";
    assert!(conclusion.contains(finding), "{conclusion}");
    let old = server.find_info("redis_version").is_some_and(|version| version.starts_with("7.0"));
    assert_eq!(conclusion.contains("the server tells no lib_name"), old, "{conclusion}");
    assert_eq!(server.clients("redprobe"), [""; 0], "none of its own is left");

    // By the hour, nobody idles.
    let ran = census(&server, GROUPS, &["--set", "idle_limit=1h"]);
    assert_eq!(measured(ran.run(), "batch.idle"), 0.0);
    drop(crowd);
}

#[test]
fn libraries_are_told_apart_where_the_server_knows_them() {
    let server = RedisServer::start();
    if !server.cli(&["CLIENT", "SETINFO", "lib-name", "x"]).contains("OK") {
        return;
    }
    let _clients = many(&server, 7, &["CLIENT SETINFO lib-name go-redis(v9)"], "PING\r\n");
    let groups = "groups=[{ name = \"go\", match = { lib_name = \"go-redis*\" } }]";
    let ran = probe("client_census", &server, &["--set", groups]);
    assert_eq!(measured(ran.run(), "go.connections"), 7.0);
}

/// A daemon that counts the server's clients every second.
fn daemon(url: &str, more: &str) -> Daemon {
    Daemon::start(&format!(
        "[targets.a]\nurl = \"{url}\"\n\n[jobs.census]\nprobe = \"client_census\"\ntargets = [\"a\"]\n\
         schedule = \"every 1s\"\n{more}"
    ))
}

fn metric(name: &str) -> String {
    format!("redprobe_client_census_{name}")
}

#[test]
fn comings_and_goings_are_exact() {
    let mut server = RedisServer::start();
    let daemon =
        daemon(&server.url(), "settings = { groups = [{ name = \"web\", match = { name = \"web-*\" } }] }\n");
    let web = ["group=\"web\"", "target=\"a\""];
    let await_connections =
        |count: f64| daemon.await_metric(&metric("connections"), &web, |now| now == count);
    let churn = || {
        let of = |name: &str, group: &str| daemon.metric(&metric(name), &[group]);
        ["web", "other", "redprobe"].map(|group| {
            let group = format!("group=\"{group}\"");
            of("new_connections_total", &group).zip(of("gone_connections_total", &group))
        })
    };
    await_connections(0.0);
    let mut clients = many(&server, 5, &["CLIENT SETNAME web-1"], "PING\r\n");
    await_connections(5.0);
    clients.truncate(3);
    await_connections(3.0);
    clients.extend(many(&server, 4, &["CLIENT SETNAME web-2"], "PING\r\n"));
    await_connections(7.0);
    assert_eq!(churn(), [Some((9.0, 2.0)), Some((0.0, 0.0)), None]);

    // Another start of the server has other ids, of which none can be gone.
    server.restart();
    let _clients = many(&server, 1, &["CLIENT SETNAME web-1"], "PING\r\n");
    await_connections(1.0);
    let [web, ..] = churn();
    assert_eq!(web.map(|(_, gone)| gone), Some(0.0));
}

#[test]
fn a_denied_list_is_unknown_and_not_asked_for_again() {
    let server = RedisServer::start();
    server.ok(&["ACL", "SETUSER", "blind", "on", ">word", "~*", "+@all", "-client|list"]);
    let url = format!("redis://blind:word@{}", server.address());
    let _clients = many(&server, 5, &[], "BLPOP list 0\r\n");
    assert!(poll_until(PATIENCE, || server.info("blocked_clients") == "5"));
    let ran = super::run(&["client_census", "--target", &url]);
    let run = ran.expect("passed");
    assert_eq!((run["grade"].as_str(), skipped(run)), (Some("GOOD"), vec![("list", "denied")]));
    assert_eq!(measured(run, "blocked_clients"), 5.0);
    assert!(objective(run, "clients_ratio").is_some() && objective(run, "idle_share").is_none());
    assert!(run["measurements"].as_object().unwrap().keys().all(|name| !name.contains('.')), "no groups");
    let conclusion = run["conclusion"].as_str().unwrap();
    assert!(conclusion.contains("5 in blocking calls; whose they are is unknown"), "{conclusion}");

    server.ok(&["ACL", "LOG", "RESET"]);
    let daemon = daemon(&url, "");
    let target = ["target=\"a\"", "probe=\"client_census\""];
    daemon.await_metric("redprobe_runs_total", &target, |runs| runs >= 4.0);
    assert_eq!(daemon.metric(&metric("list_available"), &target), Some(0.0));
    assert!(daemon.metric(&metric("clients"), &target).is_some_and(|clients| clients >= 5.0));
    assert_eq!(daemon.metric(&metric("connections"), &target), None);
    let log = server.cli(&["ACL", "LOG"]);
    let asked: Vec<&str> = log.lines().collect();
    let objects = asked.windows(2).filter(|pair| pair[0] == "object").map(|pair| pair[1]);
    assert_eq!(objects.collect::<Vec<_>>(), ["client|list"], "{log}");
    let counts = asked.windows(2).filter(|pair| pair[0] == "count").map(|pair| pair[1]);
    assert_eq!(counts.collect::<Vec<_>>(), ["1"], "{log}");
}

#[test]
fn a_full_server_is_counted_over_the_connection_that_is_there() {
    let server = RedisServer::start();
    let _clients = many(&server, 10, &[], "PING\r\n");
    let mut control = connect(&server, &["CLIENT SETNAME control"]);
    let daemon = daemon(&server.url(), "");
    let target = ["target=\"a\"", "probe=\"client_census\""];
    daemon.await_metric("redprobe_runs_total", &target, |runs| runs >= 1.0);
    // The ten, the one that says this, and the daemon's kept one.
    control = client(control, &["CONFIG SET maxclients 12"]);
    daemon.await_metric(&metric("max_clients"), &target, |max| max == 12.0);
    // Without a run that had asked for the limit just before it changed.
    control = client(control, &["CONFIG RESETSTAT"]);
    let runs = daemon.metric("redprobe_runs_total", &target).expect("it is there");
    daemon.await_metric("redprobe_runs_total", &target, |now| now >= runs + 2.0);
    let own = ["group=\"redprobe\"", "target=\"a\""];
    assert_eq!(daemon.metric(&metric("connections"), &own), Some(1.0));
    assert_eq!(daemon.metric(&metric("connections"), &["group=\"other\""]), Some(11.0));
    client(control, &["CONFIG SET maxclients 100"]);
    assert_eq!(server.info("rejected_connections"), "0", "it was not pushed against its limit");
}

#[test]
fn nothing_but_questions_is_sent() {
    let server = RedisServer::start();
    server.ok(&["SET", "user:1", "value"]);
    server.ok(&["CONFIG", "RESETSTAT"]);
    probe("client_census", &server, &["--allow", "touch"]).expect("passed");
    assert_eq!(server.keys(), ["user:1"]);
    let stats = server.cli(&["INFO", "commandstats"]);
    for command in ["set", "get", "unlink", "config|set", "client|kill"] {
        assert!(!stats.contains(&format!("cmdstat_{command}:")), "{stats}");
    }
    assert!(stats.contains("cmdstat_client|list:calls=1,"), "{stats}");
}
