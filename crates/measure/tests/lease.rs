//! The lease: one holder at a time, safe to lose.

use std::time::Duration;

use measure::{ProbeError, Reason, conn, lease::Lease, redis::aio::MultiplexedConnection};
use testkit::RedisServer;

use crate::support::{connect, endpoint};

const TTL: Duration = Duration::from_secs(30);
const KEY: &str = "redprobe:lease";

/// Connections of two users: one that may run scripts, and one that may not.
async fn users(server: &RedisServer) -> [MultiplexedConnection; 2] {
    server.ok(&["ACL", "SETUSER", "poor", "on", ">x", "~redprobe:*", "+@all", "-eval"]);
    let url = server.url().replace("://", "://poor:x@");
    let (poor, _) = conn::connect(&endpoint(&url), "test").await.unwrap();
    [connect(server).await, poor]
}

#[tokio::test]
async fn is_held_renewed_and_given_back() {
    let server = RedisServer::start();
    for mut conn in users(&server).await {
        let mut lease = Lease::acquire(&mut conn, KEY, "host-a pid 1", TTL).await.unwrap();
        let error = Lease::acquire(&mut conn, KEY, "host-b", TTL).await.unwrap_err();
        let ProbeError::Skipped(failure) = error else { panic!("{error:?}") };
        assert_eq!(failure.reason, Reason::Lease);
        assert!(failure.message.contains("host-a pid 1 holds the lease of this server"), "{failure}");

        assert_eq!(server.cli(&["PEXPIRE", KEY, "1000"]), "1");
        lease.renew(&mut conn).await.unwrap();
        assert!(server.cli(&["PTTL", KEY]).parse::<u64>().unwrap() > 20_000);
        lease.release(&mut conn).await.unwrap();
        assert!(server.keys().is_empty());
    }
}

#[tokio::test]
async fn a_lost_lease_is_neither_renewed_nor_taken_from_its_holder() {
    let server = RedisServer::start();
    for mut conn in users(&server).await {
        let mut lost = Lease::acquire(&mut conn, KEY, "host-a", TTL).await.unwrap();
        assert_eq!(server.cli(&["DEL", KEY]), "1");
        assert_eq!(lost.renew(&mut conn).await.unwrap_err().reason, Reason::Lease);
        assert!(server.keys().is_empty());

        let held = Lease::acquire(&mut conn, KEY, "host-b", TTL).await.unwrap();
        assert_eq!(server.cli(&["PEXPIRE", KEY, "20000"]), "1");
        assert_eq!(lost.renew(&mut conn).await.unwrap_err().reason, Reason::Lease);
        assert!(server.cli(&["PTTL", KEY]).parse::<u64>().unwrap() <= 20_000);
        lost.release(&mut conn).await.unwrap();
        assert!(server.cli(&["GET", KEY]).ends_with("host-b"));
        held.release(&mut conn).await.unwrap();
    }
}
