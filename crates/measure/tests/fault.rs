//! Each fault of the proxy, between a client and a real server.

use std::{net::SocketAddr, time::Duration};

use measure::{
    Failure, Reason, clock, conn,
    fault::{Faults, Proxy},
    redis::{self, aio::MultiplexedConnection},
};
use testkit::{RedisServer, poll_until_async};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::endpoint;

const SOON: Duration = Duration::from_secs(5);

async fn open(proxy: &Proxy) -> Result<MultiplexedConnection, Failure> {
    let mut endpoint = endpoint(&format!("redis://{}", proxy.address()));
    endpoint.connect_timeout = Duration::from_millis(500);
    endpoint.response_timeout = Duration::from_millis(500);
    Ok(conn::connect(&endpoint, "through").await?.0)
}

async fn ping(conn: &mut MultiplexedConnection) -> Result<String, Reason> {
    redis::cmd("PING").query_async(conn).await.map_err(|error| Failure::from(error).reason)
}

async fn pair() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    (server, proxy)
}

/// The reply to one raw request, read until it ends or breaks.
async fn raw(address: SocketAddr, request: &[u8]) -> (Vec<u8>, Option<std::io::ErrorKind>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut reply = Vec::new();
    let end = timeout(SOON, stream.read_to_end(&mut reply)).await.unwrap();
    (reply, end.err().map(|error| error.kind()))
}

#[tokio::test]
async fn passes_everything_and_counts_connections() {
    let (server, proxy) = pair().await;
    assert!(proxy.address().ip().is_loopback());
    let mut conn = open(&proxy).await.unwrap();
    let large = "x".repeat(5_000_000);
    redis::cmd("SET").arg("a").arg(&large).query_async::<()>(&mut conn).await.unwrap();
    let read: String = redis::cmd("GET").arg("a").query_async(&mut conn).await.unwrap();
    assert!(read == large);
    assert_eq!(proxy.connections(), 1);
    drop(conn);
    assert!(poll_until_async(SOON, async || proxy.connections() == 0).await);
    assert!(server.clients("through").is_empty());
    // QUIT: the server ends the connection, and the client sees that in order.
    assert_eq!(raw(proxy.address(), b"PING\r\nQUIT\r\n").await, (b"+PONG\r\n+OK\r\n".to_vec(), None));
}

#[tokio::test]
async fn delay_adds_to_open_connections_without_narrowing_them() {
    let (_server, proxy) = pair().await;
    let mut conn = open(&proxy).await.unwrap();
    let delay = Duration::from_millis(100);
    proxy.set(Faults { delay, jitter: Duration::from_millis(20), ..Faults::default() }).await;
    let start = clock::now();
    ping(&mut conn).await.unwrap();
    assert!(start.elapsed() >= delay);

    // Ten requests under way at a time take one delay, not ten.
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let start = clock::now();
    for _ in 0..10 {
        stream.write_all(b"PING\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut replies = [0; 70];
    timeout(SOON, stream.read_exact(&mut replies)).await.unwrap().unwrap();
    assert!((delay..delay * 8).contains(&start.elapsed()), "{:?}", start.elapsed());

    proxy.set(Faults::default()).await;
    ping(&mut conn).await.unwrap();
}

#[tokio::test]
async fn drop_closes_instead_of_passing_on() {
    let (_server, proxy) = pair().await;
    let mut conn = open(&proxy).await.unwrap();
    proxy.set(Faults { drop: 1.0, ..Faults::default() }).await;
    assert_eq!(ping(&mut conn).await, Err(Reason::Reset));
    assert_eq!(open(&proxy).await.unwrap_err().reason, Reason::Reset);
    proxy.set(Faults { drop: 0.3, ..Faults::default() }).await;
    let mut kept = 0;
    for _ in 0..100 {
        kept += usize::from(open(&proxy).await.is_ok());
    }
    assert!((20..95).contains(&kept), "{kept}");
}

#[tokio::test]
async fn reset_breaks_in_the_middle_of_a_reply() {
    let (server, proxy) = pair().await;
    server.ok(&["SET", "a", "0123456789"]);
    proxy.set(Faults { reset_after: Some(8), ..Faults::default() }).await;
    let (reply, end) = raw(proxy.address(), b"GET a\r\n").await;
    assert!(b"$10\r\n012".starts_with(&reply), "{reply:?}");
    assert_eq!(end, Some(std::io::ErrorKind::ConnectionReset));
    // The login's replies are +OK and +PONG, twelve bytes.
    proxy.set(Faults { reset_after: Some(15), ..Faults::default() }).await;
    let mut conn = open(&proxy).await.unwrap();
    let error = redis::cmd("GET").arg("a").query_async::<()>(&mut conn).await.unwrap_err();
    assert_eq!(Failure::from(error).reason, Reason::Reset);
}

#[tokio::test]
async fn blackhole_is_silent_and_passes_on_what_it_held() {
    let (server, proxy) = pair().await;
    let mut conn = open(&proxy).await.unwrap();
    proxy.set(Faults { blackhole: true, ..Faults::default() }).await;
    assert_eq!(ping(&mut conn).await, Err(Reason::Timeout));
    assert_eq!(open(&proxy).await.unwrap_err().reason, Reason::Timeout);
    assert_eq!(server.clients("through").len(), 1, "a new one does not get through");
    proxy.set(Faults::default()).await;
    assert_eq!(ping(&mut conn).await.unwrap(), "PONG");
}

#[tokio::test]
async fn slices_reach_the_client_one_by_one_and_whole() {
    let (server, proxy) = pair().await;
    let value = "v".repeat(3_000);
    server.ok(&["SET", "a", &value]);
    proxy.set(Faults { slice: Some(1), ..Faults::default() }).await;
    let mut conn = open(&proxy).await.unwrap();
    let read: String = redis::cmd("GET").arg("a").query_async(&mut conn).await.unwrap();
    assert_eq!(read, value);

    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    stream.write_all(b"GET a\r\n").await.unwrap();
    let (mut reads, mut bytes, mut buffer) = (0, 0, [0; 4096]);
    while bytes < 3_008 {
        bytes += timeout(SOON, stream.read(&mut buffer)).await.unwrap().unwrap();
        reads += 1;
    }
    assert!(reads > 100, "{reads}");
}

#[tokio::test]
async fn bandwidth_is_a_bound() {
    let (server, proxy) = pair().await;
    server.ok(&["SET", "a", &"v".repeat(50_000)]);
    proxy.set(Faults { bandwidth: Some(100_000), ..Faults::default() }).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    let start = clock::now();
    stream.write_all(b"GET a\r\n").await.unwrap();
    timeout(SOON * 2, stream.read_exact(&mut vec![0; 50_010])).await.unwrap().unwrap();
    assert!(start.elapsed() > Duration::from_millis(490), "{:?}", start.elapsed());
}

#[tokio::test]
async fn down_refuses_and_up_listens_at_the_same_address() {
    let (server, proxy) = pair().await;
    let address = proxy.address();
    for _ in 0..3 {
        let mut conn = open(&proxy).await.unwrap();
        proxy.set(Faults { down: true, ..Faults::default() }).await;
        assert_eq!(proxy.connections(), 0);
        assert_eq!(ping(&mut conn).await, Err(Reason::Reset));
        assert_eq!(open(&proxy).await.unwrap_err().reason, Reason::ConnectRefused);
        proxy.set(Faults::default()).await;
        assert_eq!(proxy.address(), address);
    }
    let conn = open(&proxy).await.unwrap();
    drop(proxy);
    assert!(poll_until_async(SOON, async || TcpStream::connect(address).await.is_err()).await);
    assert!(poll_until_async(SOON, async || server.clients("through").is_empty()).await);
    drop(conn);
}

#[tokio::test]
async fn a_dead_server_ends_the_client() {
    let (mut server, proxy) = pair().await;
    let mut conn = open(&proxy).await.unwrap();
    server.kill();
    assert_eq!(ping(&mut conn).await, Err(Reason::Reset));
    assert_eq!(open(&proxy).await.unwrap_err().reason, Reason::Reset);
    assert!(poll_until_async(SOON, async || proxy.connections() == 0).await);
}
