//! Every condition that stops a run which disrupts, brought about on a real server, and what is no reason to stop it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use measure::{
    Failure, OwnErrors, ProbeError, Reason, Watch, clock,
    fault::{Faults, Proxy},
    keys::{KeyBudget, KeyRange, KeySpace},
    redis::aio::MultiplexedConnection,
};
use testkit::{Event, FakeServer, RedisServer, Step, poll_until, poll_until_async};
use tokio::{task::JoinHandle, time::timeout};

use crate::support::{connect, endpoint};

/// A halt has to come within a second and a half; a busy test machine gets some more.
const IN_TIME: Duration = Duration::from_secs(3);
/// How long nothing may happen to be taken for nothing.
const CALM: Duration = Duration::from_millis(1_200);

/// A run under watch.
struct Bed {
    keys: KeySpace,
    own: OwnErrors,
    watching: JoinHandle<Failure>,
}

impl Bed {
    async fn over(url: &str) -> Self {
        let budget = KeyBudget { keys: 1_000_000, bytes: 1 << 30 };
        let keys = KeySpace::new("staging", "test", "run", Duration::from_secs(60), budget);
        let own = OwnErrors::default();
        let mut watch = Watch::begin(&endpoint(url), "redprobe-watch").await.unwrap();
        let (run_keys, run_own) = (keys.clone(), own.clone());
        let watching = tokio::spawn(async move { watch.run(&run_own, &run_keys).await });
        Self { keys, own, watching }
    }

    async fn calm(&mut self) {
        let halted = timeout(CALM, &mut self.watching).await;
        assert!(halted.is_err(), "{halted:?}");
    }

    async fn halted(self) -> (Reason, String) {
        let asked = clock::now();
        let failure = timeout(IN_TIME, self.watching).await.expect("it halts in time").unwrap();
        println!("halted after {:?}: {failure}", asked.elapsed());
        (failure.reason, failure.message)
    }

    async fn fill(&self, conn: &mut MultiplexedConnection, count: u64) -> KeyRange {
        let range = self.keys.range("fill", count, 1_000).unwrap();
        for first in (0..count).step_by(100) {
            range.fill(conn, first..first + 100, &[b'x'; 1_000], &self.own).await.unwrap();
        }
        range
    }
}

#[tokio::test]
async fn foreign_evictions_halt_and_own_ones_do_not() {
    let server = RedisServer::with(&["--maxmemory", "5mb", "--maxmemory-policy", "allkeys-lru"]);
    let mut bed = Bed::over(&server.url()).await;
    let mut conn = connect(&server).await;
    bed.fill(&mut conn, 6_000).await;
    assert!(server.info("evicted_keys").parse::<u64>().unwrap() > 100);
    bed.calm().await;
    let own = bed.keys.lost(&mut conn).await.unwrap();

    // Own keys are older by now, so that more of them than of these go.
    let value = "x".repeat(1_000);
    for key in 0..3_000 {
        measure::redis::cmd("SET").arg(key).arg(&value).query_async::<()>(&mut conn).await.unwrap();
    }
    // Foreign ones that are never used beside own ones that are.
    let range = bed.keys.range("more", 5_000, 1_000).unwrap();
    for first in (0..5_000).step_by(100) {
        // The watch may have stopped it already; here nobody does.
        range.fill(&mut conn, first..first + 100, &[b'x'; 1_000], &bed.own).await.unwrap();
    }
    assert!(bed.keys.lost(&mut conn).await.unwrap() > own);
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::ForeignEviction);
    assert!(
        message.contains("evicted_keys went from 0 to") && message.contains("were the run's own"),
        "{message}"
    );
}

#[tokio::test]
async fn keys_that_the_run_removes_hide_no_foreign_eviction() {
    let server = RedisServer::start();
    let bed = Bed::over(&server.url()).await;
    let mut conn = connect(&server).await;
    let range = bed.fill(&mut conn, 1_000).await;
    range.remove(&mut conn, 0..1_000).await.unwrap();
    server.ok(&["SET", "foreign", "x"]);
    server.ok(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    server.ok(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(server.info("evicted_keys"), "1");
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::ForeignEviction);
    assert!(message.contains("from 0 to 1, of which 0 were the run's own"), "{message}");
}

#[tokio::test]
async fn commands_of_others_refused_for_want_of_memory_halt_and_own_ones_do_not() {
    let server = RedisServer::with(&["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    let mut bed = Bed::over(&server.url()).await;
    bed.fill(&mut connect(&server).await, 5_000).await;
    assert!(bed.own.noted(Reason::Oom) > 0);
    bed.calm().await;
    server.ok(&["CONFIG", "SET", "maxmemory", "1mb"]);
    assert!(server.cli(&["SET", "foreign", "x"]).starts_with("OOM"));
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Oom);
    let mut accepting = Bed::over(&server.url()).await;
    accepting.own.accept(Reason::Oom);
    assert!(server.cli(&["SET", "foreign", "x"]).starts_with("OOM"));
    accepting.calm().await;
    assert!(
        message.contains("1 of it not the run's own") && message.contains("raise maxmemory"),
        "{message}"
    );
}

#[tokio::test]
async fn writes_of_others_refused_for_want_of_a_disk_halt() {
    let server = RedisServer::with(&["--save", "3600 1", "--dbfilename", "x.rdb"]);
    std::fs::create_dir(server.directory().join("x.rdb")).unwrap();
    server.ok(&["SET", "a", "1"]);
    let bed = Bed::over(&server.url()).await;
    assert_eq!(server.cli(&["BGSAVE"]), "Background saving started");
    let refused = || server.cli(&["SET", "foreign", "x"]).starts_with("MISCONF");
    assert!(poll_until(Duration::from_secs(10), refused));
    assert_eq!(bed.halted().await.0, Reason::Misconf);
}

#[tokio::test]
async fn connections_of_others_turned_away_halt() {
    let server = RedisServer::with(&["--maxclients", "5"]);
    let mut bed = Bed::over(&server.url()).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(connect(&server).await);
    }
    // Own attempts are no reason.
    let failure = measure::conn::connect(&endpoint(&server.url()), "own").await.unwrap_err();
    bed.own.note(failure.reason);
    assert_eq!(failure.reason, Reason::Rejected);
    bed.calm().await;
    assert!(measure::conn::connect(&endpoint(&server.url()), "foreign").await.is_err());
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Rejected);
    assert!(message.contains("from 0 to 2, 1 of it not the run's own"), "{message}");
}

#[tokio::test]
async fn a_replica_that_goes_halts() {
    let server = RedisServer::with(&["--repl-diskless-sync-delay", "0"]);
    let port = server.address().port().to_string();
    let mut replica = RedisServer::with(&["--replicaof", &format!("127.0.0.1 {port}")]);
    let online = || server.find_info("slave0").is_some_and(|slave| slave.contains("state=online"));
    assert!(poll_until(Duration::from_secs(20), online));
    let mut bed = Bed::over(&server.url()).await;
    bed.calm().await;
    replica.kill();
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Noreplicas);
    assert!(message.contains("0 replicas are online, 1 were"), "{message}");
}

#[tokio::test]
async fn a_server_that_becomes_slow_halts() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    let mut bed = Bed::over(&format!("redis://{}", proxy.address())).await;
    bed.calm().await;
    proxy.set(Faults { delay: Duration::from_millis(200), ..Faults::default() }).await;
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Canary);
    assert!(message.contains("3 of 5 PINGs took longer than 100 ms"), "{message}");
}

#[tokio::test]
async fn a_server_held_by_commands_halts() {
    let server = RedisServer::with(&["--enable-debug-command", "yes"]);
    let bed = Bed::over(&server.url()).await;
    let _sleeping: Vec<_> = (0..20).map(|_| server.send("DEBUG SLEEP 0.25")).collect();
    assert_eq!(bed.halted().await.0, Reason::Canary);
}

#[tokio::test]
async fn a_server_that_stands_still_halts() {
    let server = RedisServer::start();
    let bed = Bed::over(&server.url()).await;
    server.pause();
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Canary);
    assert!(message.contains("has not answered for"), "{message}");
    server.resume();
}

#[tokio::test]
async fn a_server_that_restarts_halts_and_a_lost_connection_does_not() {
    let mut server = RedisServer::start();
    let mut bed = Bed::over(&server.url()).await;
    assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), "1");
    bed.calm().await;
    assert_eq!(server.clients("redprobe-watch").len(), 1);
    server.restart();
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Restarted);
    assert!(message.contains("run_id was"), "{message}");
}

#[tokio::test]
async fn a_server_that_is_gone_halts() {
    let mut server = RedisServer::start();
    let bed = Bed::over(&server.url()).await;
    server.kill();
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Canary);
    assert!(message.contains("refused"), "{message}");
}

/// A disk that is late cannot be had where tests run: a scripted server tells of one.
#[tokio::test]
async fn writers_that_wait_for_the_disk_halt() {
    let late = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&late);
    let server = FakeServer::start(move |event| match event {
        Event::Accepted => Vec::new(),
        Event::Request(words) if words[0].eq_ignore_ascii_case("INFO") => {
            let delayed = if told.load(Ordering::Relaxed) { 1 } else { 0 };
            let text = format!(
                "run_id:aa\r\naof_enabled:1\r\naof_delayed_fsync:{delayed}\r\nevicted_keys:0\r\n\
                 rejected_connections:0\r\ntotal_error_replies:0\r\n"
            );
            vec![Step::send(format!("${}\r\n{text}\r\n", text.len()))]
        }
        Event::Request(words) if words[0].eq_ignore_ascii_case("PING") => vec![Step::send("+PONG\r\n")],
        Event::Request(_) => vec![Step::send("+OK\r\n")],
    });
    let mut bed = Bed::over(&server.url()).await;
    bed.calm().await;
    late.store(true, Ordering::Relaxed);
    let (reason, message) = bed.halted().await;
    assert_eq!(reason, Reason::Canary);
    assert!(message.contains("aof_delayed_fsync went from 0 to 1"), "{message}");
}

#[tokio::test]
async fn a_server_that_evicts_by_itself_is_left_alone() {
    let server = RedisServer::with(&["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru"]);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut conn, stopped) = (connect(&server).await, Arc::clone(&stop));
    let writing = tokio::spawn(async move {
        let value = "x".repeat(10_000);
        for key in 0_u64.. {
            if stopped.load(Ordering::Relaxed) {
                return;
            }
            measure::redis::cmd("SET").arg(key).arg(&value).query_async::<()>(&mut conn).await.unwrap();
        }
    });
    assert!(poll_until_async(Duration::from_secs(20), async || server.info("evicted_keys") != "0").await);
    let error = Watch::begin(&endpoint(&server.url()), "redprobe-watch").await.unwrap_err();
    stop.store(true, Ordering::Relaxed);
    writing.await.unwrap();
    let ProbeError::Skipped(failure) = error else { panic!("{error:?}") };
    assert_eq!(failure.reason, Reason::Precondition);
    assert!(failure.message.contains("evicted_keys rises by itself"), "{failure}");
}

#[tokio::test]
async fn an_old_server_is_asked_for_all_and_what_it_does_not_tell_is_said() {
    let server = FakeServer::start(|event| match event {
        Event::Accepted => Vec::new(),
        Event::Request(words) if words[0].eq_ignore_ascii_case("INFO") && words.len() > 2 => {
            vec![Step::send("-ERR syntax error\r\n")]
        }
        Event::Request(words) if words[0].eq_ignore_ascii_case("INFO") => {
            vec![Step::send("$40\r\nrun_id:aa\r\nevicted_keys:0\r\nsync_full:0\r\n\r\n")]
        }
        Event::Request(words) if words[0].eq_ignore_ascii_case("PING") => vec![Step::send("+PONG\r\n")],
        Event::Request(_) => vec![Step::send("+OK\r\n")],
    });
    let watch = Watch::begin(&endpoint(&server.url()), "redprobe-watch").await.unwrap();
    assert_eq!(watch.blind(), ["rejected_connections", "errorstat_OOM, errorstat_MISCONF"]);
}
