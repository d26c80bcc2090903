//! Servers that are not installed here, by what they are documented to answer: an older Redis, a Valkey, a managed service.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use testkit::{Event, FakeServer, Step};

use super::{assert_well_formed, check};
use crate::probes;

/// A server with this INFO and these settings; `several` of them can be asked for at once, and without any CONFIG is an
/// unknown command, as is all else.
struct Server {
    fake: FakeServer,
    asked: Arc<Mutex<Vec<Vec<String>>>>,
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

impl Server {
    fn new(info: &[&str], settings: Option<&[(&'static str, &'static str)]>, several: bool) -> Self {
        let common =
            ["run_id:abc", "role:master", "uptime_in_seconds:864000", "process_id:1", "cluster_enabled:0"];
        let info = bulk(&[&common, info].concat().join("\r\n"));
        let settings: Option<BTreeMap<_, _>> = settings.map(|all| all.iter().copied().collect());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        let fake = FakeServer::start(move |event| {
            let Event::Request(words) = event else { return Vec::new() };
            log.lock().expect("no holder panics").push(words.to_vec());
            let answer = match (words[0].to_ascii_uppercase().as_str(), &settings) {
                ("PING", _) => "+PONG\r\n".to_owned(),
                ("CLIENT", _) => "+OK\r\n".to_owned(),
                ("INFO", _) => info.clone(),
                ("CONFIG", Some(_)) if words.len() > 3 && !several => {
                    "-ERR Unknown subcommand or wrong number of arguments for 'GET'. Try CONFIG HELP.\r\n"
                        .to_owned()
                }
                ("CONFIG", Some(settings)) => {
                    let found: Vec<_> = words[2..]
                        .iter()
                        .filter_map(|name| Some(bulk(name) + &bulk(settings.get(name.as_str())?)))
                        .collect();
                    format!("*{}\r\n{}", 2 * found.len(), found.concat())
                }
                _ => format!("-ERR unknown command '{}', with args beginning with: \r\n", words[0]),
            };
            vec![Step::send(answer)]
        });
        Self { fake, asked }
    }

    fn audit(&self) -> Value {
        let ran = probes::run(&["config_audit", "--target", &self.fake.url(), "--set", "profile=cache"]);
        let run = ran.expect_measured();
        assert_well_formed(run);
        run.clone()
    }

    fn sent(&self, command: &str) -> usize {
        let asked = self.asked.lock().expect("no holder panics");
        asked.iter().filter(|words| words[0].eq_ignore_ascii_case(command)).count()
    }
}

#[track_caller]
fn assert_check(run: &Value, id: &str, status: &str, actual: &str) {
    let found = check(run, id);
    let said = found["actual"].as_str().expect("text");
    assert!(found["status"] == status && said.contains(actual), "{found:#}");
}

#[test]
fn redis_6_2_is_asked_one_by_one_and_by_its_old_names() {
    let settings = [
        ("maxmemory", "2147483648"),
        ("maxmemory-policy", "allkeys-lru"),
        ("hash-max-ziplist-entries", "4096"),
        ("lua-time-limit", "0"),
        ("slave-read-only", "no"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 0 0 0"),
    ];
    let server = Server::new(&["redis_version:6.2.19"], Some(&settings), false);
    let run = server.audit();
    assert_check(&run, "M01", "pass", "maxmemory 2gb");
    assert_check(&run, "M31a", "warn", "4096");
    assert_check(&run, "N18", "fail", "busy-reply-threshold 0");
    assert_check(&run, "R10", "fail", "no");
    assert_check(&run, "M21", "fail", "0");
    // What came later is no fault of an older server.
    assert_check(&run, "M19", "not_applicable", "not applicable (version): Redis 6.2.19");
    assert_check(&run, "L06", "not_applicable", "not applicable (version): Redis 6.2.19");
    assert_check(&run, "S27", "warn", "6.2.19 (a distribution may have mended it");
    assert_check(&run, "S29", "pass", "6.2.19");
}

#[test]
fn valkey_is_told_by_its_own_version() {
    let settings = [
        ("maxmemory", "0"),
        ("lazyfree-lazy-expire", "yes"),
        ("set-max-listpack-entries", "128"),
        ("commandlog-request-larger-than", "1048576"),
        ("repl-backlog-size", "10485760"),
    ];
    let info = ["redis_version:7.2.4", "server_name:valkey", "valkey_version:8.1.3"];
    let server = Server::new(&info, Some(&settings), true);
    let run = server.audit();
    assert_eq!(server.sent("config"), 1, "all at once");
    assert_check(&run, "S25", "not_applicable", "this is not Redis");
    assert_check(&run, "S26", "pass", "8.1.3, supported until");
    assert_check(&run, "S27", "warn", "8.1.3");
    assert_check(&run, "S29", "pass", "8.1.3");
    assert_check(&run, "M26b", "pass", "yes");
    assert_check(&run, "M31f", "pass", "128");
    assert_check(&run, "L23a", "pass", "");
    assert_check(&run, "L03", "not_applicable", "");
}

#[test]
fn a_managed_service_without_config_is_audited_by_info() {
    let info = [
        "redis_version:6.2.19",
        "maxmemory:1073741824",
        "used_memory:1000000",
        "maxmemory_policy:noeviction",
        "maxclients:250",
        "aof_enabled:0",
    ];
    let server = Server::new(&info, None, false);
    let run = server.audit();
    assert_eq!(server.sent("config"), 1, "one refusal, and not one for each setting");
    assert_check(&run, "M01", "pass", "1gb");
    assert_check(&run, "M04", "fail", "noeviction");
    assert_check(&run, "N05", "fail", "250");
    assert_check(
        &run,
        "N01",
        "unknown",
        "unknown (denied): the server has no CONFIG GET: renamed, or a managed service",
    );
}
