//! Each reason that connecting can give, from the fault that causes it.

use std::time::Duration;

use measure::{
    Failure, Reason,
    conn::{self, Address, Endpoint, Password, Stream},
    redis,
};
use testkit::{FakeServer, RedisServer, Step, poll_until, poll_until_async};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::{connect, endpoint};

async fn failure(endpoint: &Endpoint) -> Failure {
    match conn::connect(endpoint, "redprobe-test").await {
        Ok(_) => panic!("connected"),
        Err(failure) => failure,
    }
}

async fn reason(url: &str) -> Reason {
    let failure = failure(&endpoint(url)).await;
    assert!(!failure.message.is_empty());
    failure.reason
}

/// A server that loads slowly for many seconds.
fn loading() -> RedisServer {
    let mut server = RedisServer::start();
    let fill = "for i = 1, 20000 do redis.call('SET', i, string.rep('x', 100)) end";
    assert_eq!(server.cli(&["EVAL", fill, "0"]), "");
    server.ok(&["SAVE"]);
    server.restart_with(&["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"]);
    server
}

#[tokio::test]
async fn connects_names_itself_and_leaves() {
    let server = RedisServer::start();
    let (mut connection, times) = conn::connect(&endpoint(&server.url()), "redprobe-test").await.unwrap();
    assert!(times.connect > Duration::ZERO && times.login > Duration::ZERO);
    assert_eq!(times.total(), times.dns + times.connect + times.login);
    assert_eq!(server.clients("redprobe-test").len(), 1);

    let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");
    let statistics = server.cli(&["INFO", "commandstats"]);
    assert!(!statistics.contains("setinfo"), "{statistics}");
    assert!(!server.cli(&["INFO", "errorstats"]).contains("errorstat"));

    drop(connection);
    let gone =
        poll_until_async(Duration::from_secs(5), async || server.clients("redprobe-test").is_empty()).await;
    assert!(gone, "dropping the last clone closes the socket");
}

#[tokio::test]
async fn a_connection_dropped_while_blocked_or_unanswered_is_closed() {
    let server = RedisServer::start();
    let mut endpoint = endpoint(&server.url());
    endpoint.response_timeout = Duration::from_millis(100);
    let (mut connection, _) = conn::connect(&endpoint, "redprobe-test").await.unwrap();
    let blocked = redis::cmd("BLPOP").arg("nothing").arg(0).query_async::<()>(&mut connection).await;
    assert_eq!(Failure::from(blocked.unwrap_err()).reason, Reason::Timeout);
    assert_eq!(server.clients("redprobe-test").len(), 1);
    drop(connection);
    let gone =
        poll_until_async(Duration::from_secs(5), async || server.clients("redprobe-test").is_empty()).await;
    assert!(gone);
}

#[tokio::test]
async fn logs_in_selects_and_percent_decodes() {
    let server = RedisServer::with(&["--requirepass", "p@ss/w#rd"]);
    server.ok(&["ACL", "SETUSER", "me", "on", ">s:c", "~*", "+@all"]);
    let url = server.url();
    for login in [":p%40ss%2Fw%23rd@", "me:s%3Ac@", "default:p%40ss%2Fw%23rd@"] {
        let url = format!("{}/5", url.replace("://", &format!("://{login}")));
        let (mut connection, _) = conn::connect(&endpoint(&url), "redprobe-test").await.unwrap();
        let info: String = redis::cmd("CLIENT").arg("INFO").query_async(&mut connection).await.unwrap();
        assert!(info.contains(" db=5 "), "{info}");
    }
    let mut separate = endpoint(&url.replace("://", "://me@"));
    separate.password = Some("s:c".into());
    conn::connect(&separate, "redprobe-test").await.unwrap();
}

#[tokio::test]
async fn a_password_that_was_changed_is_read_again_from_its_file() {
    let server = RedisServer::start();
    let file = server.directory().join("password");
    let user = |password: &str| server.user("prober", password, "~* +@all");
    let url = user("first");
    std::fs::write(&file, "first\n").unwrap();
    let mut endpoint = endpoint(&url.replace(":first", ""));
    endpoint.password = Some(Password::new(conn::read_secret(&file).unwrap(), Some(file.clone())));
    conn::connect(&endpoint, "redprobe-test").await.unwrap();

    let _url = user("second");
    let failure = conn::connect(&endpoint, "redprobe-test").await.map(|_| ()).unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRejected);
    std::fs::write(&file, "second\n").unwrap();
    let together = futures_util::future::join_all((0..5).map(|_| conn::open(&endpoint, "redprobe-test")));
    for opened in together.await {
        opened.unwrap();
    }

    let _url = user("third");
    std::fs::remove_file(&file).unwrap();
    let failure = conn::connect(&endpoint, "redprobe-test").await.map(|_| ()).unwrap_err();
    assert_eq!(failure.reason, Reason::AuthRejected);
    assert!(failure.message.contains("cannot be read again"), "{failure}");
}

#[tokio::test]
async fn a_server_that_repeats_the_password_is_not_quoted() {
    let server = RedisServer::with(&["--rename-command", "AUTH", ""]);
    for password in ["geheim".to_owned(), "geheim".repeat(50)] {
        let mut endpoint = endpoint(&server.url());
        endpoint.password = Some(password.as_str().into());
        let failure = failure(&endpoint).await;
        assert_eq!(failure.reason, Reason::Unsupported);
        assert!(failure.message.contains("AUTH") && !failure.message.contains("geheim"), "{failure}");
    }
    let repeats = FakeServer::greeting(vec![Step::send("-ERR no such user: geheim\r\n")]);
    let mut endpoint = endpoint(&repeats.url());
    endpoint.password = Some("geheim".into());
    let failure = failure(&endpoint).await;
    assert_eq!(failure.message, "ERR no such user: ***");
}

#[tokio::test]
async fn a_user_without_a_password_logs_in() {
    let server = RedisServer::start();
    server.ok(&["ACL", "SETUSER", "open", "on", "nopass", "~*", "+@all"]);
    let url = server.url().replace("://", "://open@");
    let (mut connection, _) = conn::connect(&endpoint(&url), "redprobe-test").await.unwrap();
    let name: String = redis::cmd("ACL").arg("WHOAMI").query_async(&mut connection).await.unwrap();
    assert_eq!(name, "open");
}

#[tokio::test]
async fn connects_over_a_unix_socket() {
    let server = RedisServer::with(&["--unixsocket", "redis.sock"]);
    let path = server.directory().join("redis.sock");
    let found = endpoint(&format!("unix://{}", path.display()));
    assert_eq!(found.address, Address::Unix(path));
    let (mut connection, _) = conn::connect(&found, "redprobe-test").await.unwrap();
    let pong: String = redis::cmd("PING").query_async(&mut connection).await.unwrap();
    assert_eq!(pong, "PONG");
    assert_eq!(reason("unix:///nowhere/redis.sock").await, Reason::ConnectRefused);
}

#[tokio::test]
async fn a_raw_stream_reads_and_writes_without_waiting() {
    let server = RedisServer::start();
    let endpoint = endpoint(&server.url());
    let (stream, _) = conn::open(&endpoint, "redprobe-test").await.unwrap();
    let Stream::Tcp(tcp) = &stream else { panic!("not TCP") };
    assert!(tcp.nodelay().unwrap());
    let mut buffer = [0; 64];
    assert_eq!(stream.try_read(&mut buffer).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    assert_eq!(stream.try_write(b"PING\r\n").unwrap(), 6);
    stream.readable().await.unwrap();
    let length = stream.try_read(&mut buffer).unwrap();
    assert_eq!(&buffer[..length], b"+PONG\r\n");
}

#[tokio::test]
async fn refused() {
    let mut server = RedisServer::start();
    server.kill();
    assert_eq!(reason(&server.url()).await, Reason::ConnectRefused);
}

#[tokio::test]
async fn no_such_host() {
    assert_eq!(reason("redis://no-such-host.invalid").await, Reason::Dns);
}

#[tokio::test]
async fn a_full_backlog_times_out() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let _queued = TcpStream::connect(address).await.unwrap();
    let mut endpoint = endpoint(&format!("redis://{address}"));
    endpoint.connect_timeout = Duration::from_millis(300);
    // Where the kernel queues one more than asked, that one gets no answer.
    let (first, second) = (failure(&endpoint).await.reason, failure(&endpoint).await.reason);
    assert!([Reason::ConnectTimeout, Reason::Timeout].contains(&first), "{first}");
    assert_eq!(second, Reason::ConnectTimeout);
}

#[tokio::test]
async fn a_stopped_server_times_out_in_the_login() {
    let server = RedisServer::start();
    let mut endpoint = endpoint(&server.url());
    endpoint.connect_timeout = Duration::from_millis(300);
    server.pause();
    let failure = failure(&endpoint).await;
    assert_eq!(failure.reason, Reason::Timeout);
    assert!(failure.message.contains("did not answer within 300ms"), "{failure}");
    server.resume();
    let gone = poll_until_async(Duration::from_secs(5), async || server.clients("redprobe").is_empty()).await;
    assert!(gone, "the failed attempt's connection is closed");
}

#[tokio::test]
async fn passwords() {
    let server = RedisServer::with(&["--requirepass", "hunter2"]);
    let with = |login: &str| server.url().replace("://", &format!("://{login}@"));
    assert_eq!(reason(&server.url()).await, Reason::AuthRequired);
    assert_eq!(reason(&with(":wrong")).await, Reason::AuthRejected);
    assert_eq!(reason(&with("nobody:hunter2")).await, Reason::AuthRejected);
    assert_eq!(reason(&with("nobody")).await, Reason::AuthRejected);
    let open = RedisServer::start();
    let unneeded = failure(&endpoint(&open.url().replace("://", "://:hunter2@"))).await;
    assert_eq!(unneeded.reason, Reason::AuthRejected);
    assert!(!unneeded.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_user_without_ping_and_setname_is_connected_and_denied_later() {
    let server = RedisServer::start();
    server.ok(&["ACL", "SETUSER", "poor", "on", ">x", "~*", "+get"]);
    let url = server.url().replace("://", "://poor:x@");
    let (mut connection, _) = conn::connect(&endpoint(&url), "redprobe-test").await.unwrap();
    let error = redis::cmd("SET").arg("a").arg(1).query_async::<()>(&mut connection).await.unwrap_err();
    assert_eq!(Failure::from(error).reason, Reason::Denied);
    assert_eq!(
        reason(&format!("{url}/1")).await,
        Reason::Denied,
        "SELECT is needed where a database is named"
    );
}

#[tokio::test]
async fn no_such_database() {
    let server = RedisServer::start();
    let failure = failure(&endpoint(&format!("{}/99", server.url()))).await;
    assert_eq!(failure.reason, Reason::Other);
    assert!(failure.message.contains("DB index is out of range"), "{failure}");
}

#[tokio::test]
async fn loading_its_data() {
    let server = loading();
    assert_eq!(reason(&server.url()).await, Reason::Loading);
}

#[tokio::test]
async fn held_by_a_script() {
    let server = RedisServer::with(&["--busy-reply-threshold", "50"]);
    let _holding = server.send("EVAL 'while true do end' 0");
    assert!(poll_until(Duration::from_secs(10), || server.cli(&["PING"]).starts_with("BUSY")));
    assert_eq!(reason(&server.url()).await, Reason::Busy);
    server.ok(&["SCRIPT", "KILL"]);
}

#[tokio::test]
async fn a_replica_without_its_master_is_connected() {
    let server = RedisServer::with(&["--replicaof", "127.0.0.1 1", "--replica-serve-stale-data", "no"]);
    let mut connection = connect(&server).await;
    let error = redis::cmd("GET").arg("a").query_async::<()>(&mut connection).await.unwrap_err();
    assert_eq!(Failure::from(error).reason, Reason::Masterdown);
}

#[tokio::test]
async fn turned_away_at_maxclients() {
    let server = RedisServer::with(&["--maxclients", "2"]);
    let held = (connect(&server).await, connect(&server).await);
    for _ in 0..20 {
        let failure = failure(&endpoint(&server.url())).await;
        assert_eq!(failure.reason, Reason::Rejected, "{failure}");
        assert_eq!(failure.message, "ERR max number of clients reached");
    }
    drop(held);
    let url = server.url();
    let again =
        poll_until_async(Duration::from_secs(5), async || conn::connect(&endpoint(&url), "a").await.is_ok())
            .await;
    assert!(again);
}

#[tokio::test]
async fn peers_that_are_not_redis() {
    for (greeting, expected) in [
        ("HTTP/1.1 400 Bad Request\r\n\r\n", Reason::Protocol),
        ("$9999999999\r\n", Reason::Protocol),
        ("*1000000000\r\n", Reason::Protocol),
        ("+OK\r\n+PONG\r\n+more\r\n", Reason::Protocol),
        ("+OK\r\n:1\r\n", Reason::Protocol),
        ("-ERR max number of clients reached\r\n", Reason::Rejected),
        ("-DENIED Redis is running in protected mode because\r\n", Reason::Rejected),
    ] {
        let server = FakeServer::greeting(vec![Step::send(greeting)]);
        assert_eq!(reason(&server.url()).await, expected, "{greeting}");
    }
    let endless = FakeServer::greeting(vec![Step::send(vec![b'+'; 1 << 20])]);
    assert_eq!(reason(&endless.url()).await, Reason::Protocol);
}

#[tokio::test]
async fn connections_that_break_in_the_login() {
    for steps in [
        vec![Step::Close],
        vec![Step::Reset],
        vec![Step::send("+PO"), Step::Close],
        vec![Step::send("+PO"), Step::Reset],
    ] {
        let server = FakeServer::on("PING", steps.clone());
        assert_eq!(reason(&server.url()).await, Reason::Reset, "{steps:?}");
    }
}

#[tokio::test]
async fn replies_that_break_later() {
    for (steps, expected) in [
        (vec![Step::send("$5\r\nhe"), Step::Reset], Reason::Reset),
        (vec![Step::send("$5\r\nhe"), Step::Close], Reason::Reset),
        (vec![Step::send("HTTP/1.1 200 OK\r\n")], Reason::Protocol),
        (vec![Step::send("$9999999999\r\n")], Reason::Timeout),
        (vec![Step::send("*1000000000\r\n")], Reason::Timeout),
        (vec![], Reason::Timeout),
        (vec![Step::send("-OOM command not allowed when used memory > 'maxmemory'.\r\n")], Reason::Oom),
        (vec![Step::send("-MISCONF Redis is configured to save RDB snapshots\r\n")], Reason::Misconf),
    ] {
        let server = FakeServer::on("GET", steps.clone());
        let mut endpoint = endpoint(&server.url());
        endpoint.response_timeout = Duration::from_millis(300);
        let (mut connection, _) = conn::connect(&endpoint, "redprobe-test").await.unwrap();
        let error = redis::cmd("GET").arg("a").query_async::<()>(&mut connection).await.unwrap_err();
        let failure = Failure::from(error);
        assert_eq!(failure.reason, expected, "{steps:?}: {failure}");
    }
}
