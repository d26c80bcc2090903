//! Faults that come and go while the schedule runs: the first tick after each change tells it, and each tick tells once.

use std::time::{Duration, SystemTime};

use measure::clock;
use serde_json::Value;
use testkit::{RedisServer, poll_until};

use super::bed::PATIENCE;
use crate::support::Daemon;

const EVERY: Duration = Duration::from_secs(3);

type Change = fn(&mut RedisServer);

/// How each comes, what it gives, and how it goes.
const FAULTS: [(Change, &str, Change); 4] = [
    (RedisServer::kill, "connect_refused", RedisServer::restart),
    (|server| server.pause(), "timeout", |server| server.resume()),
    (
        |server| server.ok(&["CONFIG", "SET", "maxmemory", "1"]),
        "oom",
        |server| server.ok(&["CONFIG", "SET", "maxmemory", "0"]),
    ),
    (
        |server| server.ok(&["REPLICAOF", "127.0.0.1", "1"]),
        "readonly",
        |server| server.ok(&["REPLICAOF", "NO", "ONE"]),
    ),
];

#[test]
fn the_next_tick_tells_of_a_fault_and_the_next_after_it_of_its_end() {
    let (mut server, healthy) = (RedisServer::start(), RedisServer::start());
    let daemon = Daemon::start(&format!(
        "[targets.faulty]
        url = '{}'
        allow = 'touch'
        connect_timeout = '1s'
        response_timeout = '1s'
        [targets.healthy]
        url = '{}'
        allow = 'touch'
        [jobs.health]
        probe = 'health'
        targets = ['*']
        schedule = 'every 3s'
        timeout = '3s'",
        server.url(),
        healthy.url()
    ));
    let up = ["target=\"faulty\""];
    for (cause, reason, lift) in FAULTS {
        cause(&mut server);
        let record = first_since(&daemon, clock::wall());
        assert_eq!((&record["outcome"], &record["reason"]), (&"error".into(), &reason.into()), "{record:#}");
        daemon.await_metric("redprobe_up", &up, |up| up == 0.0);
        lift(&mut server);
        let record = first_since(&daemon, clock::wall());
        assert_eq!(record["outcome"], "passed", "after {reason}: {record:#}");
        daemon.await_metric("redprobe_up", &up, |up| up == 1.0);
    }
    one_record_per_tick(&daemon, "faulty");
    one_record_per_tick(&daemon, "healthy");
    let others = daemon.runs("?target=healthy&limit=1000");
    assert!(others.iter().all(|record| record["outcome"] == "passed"), "{others:#?}");
    assert_eq!(server.cli(&["KEYS", "redprobe*"]), "");
    assert_eq!(server.clients("redprobe").len(), 1, "the kept connection");
}

/// The oldest record of a run that began then or later.
fn first_since(daemon: &Daemon, time: SystemTime) -> Value {
    let mut found = None;
    let came = poll_until(PATIENCE, || {
        // Newest first.
        let records = daemon.runs("?target=faulty&limit=1000");
        found = records.into_iter().take_while(|record| started_at(record) >= time).last();
        found.is_some()
    });
    assert!(came, "no run begins any more; the daemon's log:\n{}", daemon.log());
    found.expect("it came")
}

fn started_at(record: &Value) -> SystemTime {
    let text = record["started_at"].as_str().expect("a time");
    humantime::parse_rfc3339(text).expect("a time as RFC 3339 has it")
}

/// The grid of an interval does not move: as many records as it has places between the first start and the last, less
/// those that the daemon says it missed. A busy machine may begin the first or the last of them late, by one place.
fn one_record_per_tick(daemon: &Daemon, target: &str) {
    let label = format!("target=\"{target}\"");
    let mut starts: Vec<_> =
        daemon.runs(&format!("?target={target}&limit=1000")).iter().map(started_at).collect();
    let missed = daemon.metric("redprobe_schedule_missed_ticks_total", &[&label]).expect("it is counted");
    starts.sort_unstable();
    let span = starts[starts.len() - 1].duration_since(starts[0]).expect("they are in order");
    let places = (span.as_secs_f64() / EVERY.as_secs_f64()).round() + 1.0;
    let told = starts.len() as f64 + missed;
    assert!((told - places).abs() <= 1.0, "{places} ticks, {missed} missed, records at {starts:?}");
}
