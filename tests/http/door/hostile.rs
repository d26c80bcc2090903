//! Clients that are slow, silent or many, in TLS and in HTTP/2: each is shut out, and scrapes go on.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::poll_until_async;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{
    super::{PATIENCE, read_to_end},
    server::{LONG, Server, TLS, again},
};

const SHORT: Duration = Duration::from_millis(500);
const OPEN: &str = "redprobe_http_connections";

/// The beginning of a handshake: a record that announces more than comes.
const HALF_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 2, 3, 4, 5];

#[tokio::test]
async fn a_handshake_that_does_not_end_is_cut_off() {
    let server = Server::start_within(TLS, (10, SHORT, LONG)).await;
    for sent in [&b""[..], &[0x16], HALF_HELLO] {
        let mut stream = TcpStream::connect(server.address).await.expect("it listens");
        stream.write_all(sent).await.expect("it is taken");
        assert_eq!(read_to_end(&mut stream).await, "", "{sent:?}");
    }
    // What a handshake is not is refused at once, whatever the time-out.
    let junk = [&[0x16, 3, 1, 0, 4][..], &[0xff; 64]].concat();
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    stream.write_all(&junk).await.expect("it is taken");
    read_to_end(&mut stream).await;
    assert!(server.client().comes_in().await);
    server.end().await;
}

#[tokio::test]
async fn a_handshake_of_one_byte_at_a_time_is_cut_off() {
    let server = Server::start_within(TLS, (10, SHORT, LONG)).await;
    let mut stream = TcpStream::connect(server.address).await.expect("it listens");
    let trickle = async {
        let mut sent = 0;
        for byte in HALF_HELLO.iter().chain(std::iter::repeat(&0)) {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sent += 1;
            sleep(Duration::from_millis(50)).await;
        }
        sent
    };
    let sent = timeout(PATIENCE, trickle).await.expect("it is cut off");
    assert!(sent > 1, "it was let begin");
    assert!(server.client().comes_in().await);
    server.end().await;
}

#[tokio::test]
async fn half_a_head_within_tls_is_cut_off_and_a_quiet_connection_is_not() {
    let server = Server::start_within(TLS, (10, SHORT, LONG)).await;
    let mut quiet = server.client().connect().await.expect("it is let in");
    assert_eq!(again(&mut quiet).await, Some(200));
    let mut half = server.client().connect().await.expect("it is let in");
    half.write_all(b"GET /metrics HTTP/1.1\r\nX-Slow: ").await.expect("it is taken");
    let mut text = Vec::new();
    let _ = timeout(PATIENCE, half.read_to_end(&mut text)).await.expect("it is cut off");
    assert!(text.is_empty());
    assert_eq!(again(&mut quiet).await, Some(200));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_that_never_finish_their_handshake_shut_no_scrape_out() {
    const ROOM: usize = 64;
    // No time-out helps here: only making room does.
    let server = Server::start_within(TLS, (ROOM, LONG, LONG)).await;
    let mut scraper = server.client().connect().await.expect("it is let in");
    assert_eq!(again(&mut scraper).await, Some(200));
    let mut flood = Vec::new();
    for batch in 0..20 {
        for number in 0..100 {
            let mut stream = TcpStream::connect(server.address).await.expect("it listens");
            let sent: &[u8] = if (batch + number) % 2 == 0 { b"" } else { HALF_HELLO };
            let _ = stream.write_all(sent).await;
            flood.push(stream);
        }
        // Those that were put out need no descriptor of this process.
        if flood.len() > 400 {
            flood.drain(..200);
        }
        assert!(server.client().comes_in().await, "batch {batch}");
        assert_eq!(again(&mut scraper).await, Some(200), "batch {batch}");
        assert!(server.figure(OPEN) <= ROOM as u64);
    }
    drop(flood);
    server.end().await;
}

type Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn http2(server: &Server) -> Sender {
    let mut client = server.client();
    client.alpn = vec!["h2"];
    let stream = client.connect().await.expect("it is let in");
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("both speak HTTP/2");
    tokio::spawn(async move { drop(connection.await) });
    sender
}

fn request(path: &str) -> hyper::Request<Empty<Bytes>> {
    hyper::Request::get(format!("https://localhost{path}")).body(Empty::new()).expect("a request")
}

#[tokio::test]
async fn http2_serves_many_requests_at_a_time() {
    let server = Server::start(TLS).await;
    let mut sender = http2(&server).await;
    // Until the first answer a client does not know how many the server takes at a time.
    assert_eq!(sender.send_request(request("/metrics")).await.expect("an answer").status(), 200);
    let asked: Vec<_> = (0..100)
        .map(|number| {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                sender.ready().await.expect("it is open");
                let path = if number % 10 == 0 { "/large" } else { "/metrics" };
                let answer = sender.send_request(request(path)).await.expect("an answer");
                assert_eq!(answer.status(), 200);
                answer.into_body().collect().await.expect("whole").to_bytes().len()
            })
        })
        .collect();
    for (number, answer) in asked.into_iter().enumerate() {
        let length = timeout(PATIENCE, answer).await.expect("in time").expect("answered");
        assert!(if number % 10 == 0 { length == 8 << 20 } else { length > 100 });
    }
    server.end().await;
}

#[tokio::test]
async fn a_quiet_http2_connection_ends() {
    let server = Server::start_within(TLS, (10, LONG, SHORT)).await;
    let mut sender = http2(&server).await;
    assert_eq!(sender.send_request(request("/metrics")).await.expect("an answer").status(), 200);
    assert_eq!(server.figure(OPEN), 1);
    let gone = poll_until_async(PATIENCE, || async { server.figure(OPEN) == 0 });
    assert!(gone.await, "it still holds its connection");
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_without_end_end_their_connection() {
    let server = Server::start(TLS).await;
    let mut client = server.client();
    client.alpn = vec!["h2"];
    let stream = client.connect().await.expect("it is let in");
    let (mut sender, connection) = h2::client::handshake(stream).await.expect("both speak HTTP/2");
    let ended = tokio::spawn(connection);
    let flood = async {
        loop {
            let Ok(ready) = sender.clone().ready().await else { return };
            sender = ready;
            let request = hyper::Request::get("https://localhost/metrics").body(()).expect("a request");
            let Ok((_, mut stream)) = sender.send_request(request, false) else { return };
            stream.send_reset(h2::Reason::CANCEL);
        }
    };
    timeout(PATIENCE, flood).await.expect("the server ends it");
    let error = ended.await.expect("it does not panic").expect_err("it ended well");
    assert!(error.is_go_away() || error.is_io(), "{error}");
    assert!(server.client().comes_in().await);
    server.end().await;
}

#[tokio::test]
async fn too_many_headers_are_refused_in_http2_too() {
    let server = Server::start(TLS).await;
    let mut sender = http2(&server).await;
    let mut many = request("/metrics");
    for number in 0..200 {
        let name = hyper::header::HeaderName::try_from(format!("x-{number}")).expect("a name");
        many.headers_mut().insert(name, hyper::header::HeaderValue::from_static("1"));
    }
    assert_eq!(sender.send_request(many).await.expect("an answer").status(), 431);
    let mut long = request("/metrics");
    long.headers_mut().insert("x-long", "x".repeat(100_000).try_into().expect("a value"));
    let answer = sender.send_request(long).await;
    assert!(answer.map_or(true, |answer| answer.status() == 431));
    assert!(server.client().comes_in().await);
    server.end().await;
}
