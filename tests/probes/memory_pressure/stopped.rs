//! Told to stop, in whatever phase; and a second daemon, which is kept out.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, ChildStderr, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{RedisServer, poll_until};

use super::{limited, others::Users, settings};
use crate::{probes::redprobe, support::Daemon};

const PATIENCE: Duration = Duration::from_secs(60);

/// Long in every phase, so that each can be met: with one key a batch, the fill takes seconds.
const LONG: [&str; 7] = [
    "max_foreign_keys=5000",
    "accept_foreign_oom=true",
    "temp_policy=noeviction",
    "temp_maxmemory=24MB",
    "batch_size=1",
    "monitor=20s",
    "recovery=20s",
];

fn start(
    server: &RedisServer,
    state: &std::path::Path,
    settings: &[&str],
) -> (Child, BufReader<ChildStderr>) {
    let url = server.url();
    let words = ["run", "memory_pressure", "--target", &url, "--allow", "disrupt"];
    let set = LONG.iter().chain(settings).flat_map(|setting| ["--set", setting]);
    let mut child = redprobe(state, &words.into_iter().chain(set).collect::<Vec<_>>())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary runs");
    let log = BufReader::new(child.stderr.take().expect("it is piped"));
    (child, log)
}

/// Reads the log up to the line that a phase begins with.
fn await_phase(log: &mut BufReader<ChildStderr>, phase: &str) {
    let mut seen = Vec::new();
    let begins = format!(": {phase}");
    for line in log.lines().map_while(Result::ok) {
        if line.contains(&begins) {
            return;
        }
        seen.push(line);
    }
    panic!("{phase} never began: {seen:#?}");
}

fn own_keys(server: &RedisServer) -> u64 {
    server.cli(&["EVAL", "return #redis.call('KEYS', 'redprobe:*')", "0"]).parse().unwrap_or(0)
}

#[test]
fn a_run_that_is_stopped_in_any_phase_restores_and_says_that_it_was_interrupted() {
    let server = limited("64mb", "allkeys-lru");
    let users = Users::plant(&server, 5_000);
    let before = settings(&server);
    for phase in ["before", "fill", "monitor", "recovery"] {
        let state = tempfile::tempdir().unwrap();
        let short = if phase == "recovery" { &["monitor=100ms"][..] } else { &[] };
        let (mut child, mut log) = start(&server, state.path(), short);
        if phase == "fill" {
            assert!(poll_until(PATIENCE, || own_keys(&server) > 50), "it does not fill");
        } else {
            await_phase(&mut log, phase);
        }
        assert_eq!(settings(&server) == before, phase == "before", "what {phase} finds");
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        thread::spawn(move || log.lines().for_each(drop));
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(130), "stopped in {phase}");
        users.check(&server, &format!("a stop in {phase}"));
    }
}

fn config(url: &str, name: &str) -> String {
    let settings = LONG.map(|setting| {
        let (name, value) = setting.split_once('=').expect("it is one");
        let plain = value.parse::<u64>().is_ok() || value.parse::<bool>().is_ok();
        if plain { format!("{name} = {value}") } else { format!("{name} = {value:?}") }
    });
    format!(
        "[http]\napi_token = \"token\"\n[targets.{name}]\nurl = {url:?}\nallow = \"disrupt\"\n\
         [jobs.press]\nprobe = \"memory_pressure\"\ntargets = [\"{name}\"]\nschedule = \"manual\"\ntimeout = \"100s\"\n\
         settings = {{ {} }}\n",
        settings.join(", ")
    )
}

/// Asks for a run, and does not wait for what it comes to.
fn begin(daemon: &Daemon, target: &str) -> TcpStream {
    let body = format!("{{\"probe\":\"memory_pressure\",\"target\":\"{target}\"}}");
    let request = format!(
        "POST /api/v1/runs HTTP/1.1\r\nHost: test\r\nConnection: close\r\nAuthorization: Bearer token\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(daemon.address()).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it takes the request");
    stream
}

/// What it comes to.
fn ask(daemon: &Daemon, target: &str) -> String {
    let mut answer = String::new();
    begin(daemon, target).read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn a_daemon_that_is_stopped_restores_and_ends_cleanly_and_keeps_another_out_till_then() {
    let server = limited("64mb", "allkeys-lru");
    let users = Users::plant(&server, 5_000);
    let before = settings(&server);
    let mut first = Daemon::start(&config(&server.url(), "cache"));
    let second = Daemon::start(&config(&server.url(), "same"));
    // Answered when the run is over; the daemon closes the connection as it ends.
    let _asked = begin(&first, "cache");
    assert!(poll_until(PATIENCE, || own_keys(&server) > 500), "it does not fill; log:\n{}", first.log());
    let refused = ask(&second, "same");
    assert!(refused.contains("\"skipped\"") && refused.contains("\"lease\""), "{refused}");
    assert_ne!(settings(&server), before);
    assert_eq!(first.stop(), Some(0), "log:\n{}", first.log());
    users.check(&server, "a stop of the daemon");
}
