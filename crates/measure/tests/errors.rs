//! What the redis crate's errors become: each case that a server or the way to it can cause in a connection in use.

use std::time::Duration;

use measure::{
    Failure, Reason, conn,
    redis::{self, aio::MultiplexedConnection},
};
use testkit::{RedisServer, poll_until};

use crate::support::{connect, endpoint};

async fn failure(conn: &mut MultiplexedConnection, words: &[&str]) -> Failure {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command.query_async::<redis::Value>(conn).await.expect_err("the command fails").into()
}

async fn reason(conn: &mut MultiplexedConnection, words: &[&str]) -> Reason {
    failure(conn, words).await.reason
}

const SET: [&str; 3] = ["SET", "a", "1"];

#[tokio::test]
async fn refusals_of_a_healthy_server() {
    let server = RedisServer::with(&["--rename-command", "CONFIG", ""]);
    let mut conn = connect(&server).await;
    server.ok(&["SET", "a", "x"]);
    assert_eq!(reason(&mut conn, &["LPUSH", "a", "1"]).await, Reason::Other);
    assert_eq!(reason(&mut conn, &["INCR", "a"]).await, Reason::Other);
    assert_eq!(reason(&mut conn, &["NONSENSE"]).await, Reason::Unsupported);
    assert_eq!(reason(&mut conn, &["CONFIG", "GET", "save"]).await, Reason::Unsupported);
    assert_eq!(reason(&mut conn, &["CLIENT", "NONSENSE"]).await, Reason::Unsupported);
    assert_eq!(reason(&mut conn, &["AUTH", "nobody", "x"]).await, Reason::AuthRejected);
    server.ok(&["ACL", "SETUSER", "default", "-set"]);
    assert_eq!(reason(&mut conn, &SET).await, Reason::Denied);
}

#[tokio::test]
async fn messages_are_as_the_server_words_them() {
    let server = RedisServer::with(&["--maxmemory", "1"]);
    let mut conn = connect(&server).await;
    let failure = failure(&mut conn, &SET).await;
    assert_eq!(failure.reason, Reason::Oom);
    assert_eq!(failure.message, "OOM command not allowed when used memory > 'maxmemory'.");
}

#[tokio::test]
async fn a_pipeline_has_the_reason_of_its_first_failure() {
    let server = RedisServer::with(&["--maxmemory", "1"]);
    let mut conn = connect(&server).await;
    let mut pipe = redis::pipe();
    pipe.cmd("PING").ignore().cmd("SET").arg("a").arg(1).ignore().cmd("NONSENSE").ignore();
    let failure = Failure::from(pipe.query_async::<()>(&mut conn).await.unwrap_err());
    assert_eq!(failure.reason, Reason::Oom);
    assert!(failure.message.starts_with("OOM command not allowed"), "{failure}");
    let mut transaction = redis::pipe();
    transaction.atomic().cmd("SET").arg("a").arg(1).ignore();
    let failure = Failure::from(transaction.query_async::<()>(&mut conn).await.unwrap_err());
    assert_eq!(failure.reason, Reason::Oom, "{failure}");
}

#[tokio::test]
async fn states_in_which_writes_are_refused() {
    let server = RedisServer::start();
    let mut conn = connect(&server).await;
    server.ok(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(reason(&mut conn, &SET).await, Reason::Noreplicas);
    server.ok(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
    server.ok(&["REPLICAOF", "127.0.0.1", "1"]);
    assert_eq!(reason(&mut conn, &SET).await, Reason::Readonly);

    let cluster = RedisServer::with(&["--cluster-enabled", "yes"]);
    let mut conn = connect(&cluster).await;
    assert_eq!(reason(&mut conn, &SET).await, Reason::Clusterdown);
    cluster.ok(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let up = poll_until(Duration::from_secs(20), || {
        cluster.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
    });
    assert!(up);
    assert_eq!(reason(&mut conn, &["MSET", "a", "1", "b", "2"]).await, Reason::Moved);
}

#[tokio::test]
async fn a_script_that_holds_the_server() {
    let server = RedisServer::with(&["--busy-reply-threshold", "50"]);
    let mut conn = connect(&server).await;
    let _holding = server.send("EVAL 'while true do end' 0");
    assert!(poll_until(Duration::from_secs(10), || server.cli(&["PING"]).starts_with("BUSY")));
    assert_eq!(reason(&mut conn, &["GET", "a"]).await, Reason::Busy);
    server.ok(&["SCRIPT", "KILL"]);
}

#[tokio::test]
async fn silence_and_ends() {
    let mut server = RedisServer::start();
    let mut quick = endpoint(&server.url());
    quick.response_timeout = Duration::from_millis(200);
    let (mut conn, _) = conn::connect(&quick, "test").await.unwrap();
    server.pause();
    assert_eq!(reason(&mut conn, &["GET", "a"]).await, Reason::Timeout);
    server.resume();

    let mut killed = connect(&server).await;
    assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), "2");
    assert_eq!(reason(&mut killed, &["GET", "a"]).await, Reason::Reset);

    let mut conn = connect(&server).await;
    server.kill();
    assert_eq!(reason(&mut conn, &["GET", "a"]).await, Reason::Reset);
}
