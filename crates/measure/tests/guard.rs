//! What keeps a run from a server that it could hurt, and load from going on once it does.

use std::time::Duration;

use measure::{Canary, Effect, Preflight, ProbeError, Reason, conn};
use testkit::{RedisServer, poll_until_async};
use tokio::time::timeout;

use crate::support::{connect, endpoint};

async fn check(server: &RedisServer, effect: Effect, connections: u64, bytes: u64) -> Result<(), ProbeError> {
    Preflight { effect, connections, bytes }.check(&mut connect(server).await).await
}

async fn refusal(server: &RedisServer, effect: Effect, connections: u64, bytes: u64) -> (Reason, String) {
    match check(server, effect, connections, bytes).await.unwrap_err() {
        ProbeError::Skipped(failure) => (failure.reason, failure.message),
        error => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn a_healthy_server_takes_load() {
    let server = RedisServer::start();
    for effect in [Effect::Observe, Effect::Touch, Effect::Load, Effect::Disrupt] {
        check(&server, effect, 50, 1_000_000).await.unwrap();
    }
}

#[tokio::test]
async fn memory_has_a_ceiling_with_and_without_maxmemory() {
    let server = RedisServer::start();
    let (reason, message) = refusal(&server, Effect::Load, 1, 1 << 50).await;
    assert_eq!(reason, Reason::Precondition);
    assert!(message.contains("50 % of the machine's memory"), "{message}");
    server.ok(&["CONFIG", "SET", "maxmemory", "100mb"]);
    check(&server, Effect::Load, 1, 80_000_000).await.unwrap();
    let (_, message) = refusal(&server, Effect::Load, 1, 95_000_000).await;
    assert!(
        message.contains("95000000 B") && message.contains("90 % of maxmemory (104857600 B)"),
        "{message}"
    );
    check(&server, Effect::Touch, 1, 95_000_000).await.unwrap();
    // Pressing on the limit may be what it is for; the machine is not to be pressed on.
    check(&server, Effect::Disrupt, 1, 95_000_000).await.unwrap();
    let (_, message) = refusal(&server, Effect::Disrupt, 1, 1 << 50).await;
    assert!(message.contains("the machine's memory"), "{message}");
}

#[tokio::test]
async fn a_sick_server_is_not_disrupted() {
    let server = RedisServer::with(&["--dbfilename", "x.rdb"]);
    std::fs::create_dir(server.directory().join("x.rdb")).unwrap();
    server.ok(&["SET", "a", "1"]);
    assert_eq!(server.cli(&["BGSAVE"]), "Background saving started");
    let failed = || server.info("rdb_last_bgsave_status") == "err";
    assert!(poll_until_async(Duration::from_secs(10), async || failed()).await);
    let (reason, message) = refusal(&server, Effect::Disrupt, 1, 0).await;
    assert_eq!(reason, Reason::Precondition);
    assert!(message.contains("rdb_last_bgsave_status:err"), "{message}");
    check(&server, Effect::Load, 1, 0).await.unwrap();
}

#[tokio::test]
async fn clients_have_a_ceiling() {
    let server = RedisServer::with(&["--maxclients", "20"]);
    check(&server, Effect::Load, 5, 0).await.unwrap();
    let (reason, message) = refusal(&server, Effect::Load, 10, 0).await;
    assert_eq!(reason, Reason::Precondition);
    assert!(message.contains("half of maxclients (20)"), "{message}");
}

#[tokio::test]
async fn a_replica_is_not_written_to() {
    let server = RedisServer::with(&["--replicaof", "127.0.0.1 1"]);
    check(&server, Effect::Observe, 1, 0).await.unwrap();
    let (reason, message) = refusal(&server, Effect::Touch, 1, 0).await;
    assert_eq!(reason, Reason::Readonly);
    assert!(message.contains("role is slave"), "{message}");
}

#[tokio::test]
async fn a_save_under_way_is_not_disturbed() {
    let server = RedisServer::with(&["--rdb-key-save-delay", "100000"]);
    for key in 0..100 {
        server.ok(&["SET", &key.to_string(), "x"]);
    }
    assert_eq!(server.cli(&["BGSAVE"]), "Background saving started");
    let (reason, message) = refusal(&server, Effect::Load, 1, 0).await;
    assert_eq!(reason, Reason::Precondition);
    assert!(message.contains("a background save is under way"), "{message}");
    check(&server, Effect::Touch, 1, 0).await.unwrap();
}

#[tokio::test]
async fn a_denied_info_is_a_failure_and_not_a_pass() {
    let server = RedisServer::start();
    server.ok(&["ACL", "SETUSER", "poor", "on", ">x", "~*", "+get", "+set"]);
    let url = server.url().replace("://", "://poor:x@");
    let (mut conn, _) = conn::connect(&endpoint(&url), "test").await.unwrap();
    let preflight = Preflight { effect: Effect::Touch, connections: 1, bytes: 0 };
    let error = preflight.check(&mut conn).await.unwrap_err();
    assert!(matches!(&error, ProbeError::Failed(failure) if failure.reason == Reason::Denied), "{error:?}");
}

#[tokio::test]
async fn the_canary_is_patient_and_then_says_why() {
    let mut server = RedisServer::start();
    let endpoint = endpoint(&server.url());
    let mut watch = Box::pin(Canary::watch(&endpoint, "redprobe-canary"));
    // Frozen for longer than an interval, killed and started again, held by a script: it answers again in time.
    assert!(timeout(Duration::from_millis(100), &mut watch).await.is_err());
    server.pause();
    assert!(timeout(Duration::from_secs(2), &mut watch).await.is_err());
    server.resume();
    assert!(timeout(Duration::from_millis(1_500), &mut watch).await.is_err());
    server.restart();
    assert!(timeout(Duration::from_millis(2_500), &mut watch).await.is_err());
    assert_eq!(server.clients("redprobe-canary").len(), 1);

    server.pause();
    let frozen = measure::clock::now();
    let failure = timeout(Duration::from_secs(20), &mut watch).await.unwrap();
    assert!(frozen.elapsed() > Canary::PATIENCE - Duration::from_secs(2));
    assert_eq!(failure.reason, Reason::Canary);
    drop(watch);
    server.resume();
    assert!(poll_until_async(Duration::from_secs(5), async || server.clients("redprobe").is_empty()).await);
}

#[tokio::test]
async fn the_canary_counts_an_error_as_an_answer() {
    let server = RedisServer::with(&["--requirepass", "x"]);
    let endpoint = endpoint(&server.url());
    assert!(timeout(Canary::PATIENCE + Duration::from_secs(2), Canary::watch(&endpoint, "c")).await.is_err());
}
