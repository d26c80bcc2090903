//! Clients that are slow, silent, greedy or many: each is shut out, and scrapes go on.
//!
//! The routes are stand-ins; what is tested is the server around them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, routing::get as on_get};
use redprobe::{
    config::Http,
    http::{
        door::Door,
        listen::{self, Around},
    },
    sink::Sinks,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use testkit::poll_until_async;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::{Answer, PATIENCE, exchange, get, read_to_end, request_text};

/// More than the kernel buffers for a client that does not read.
const LARGE: usize = 64 << 20;

const SHORT: Duration = Duration::from_millis(500);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

fn http(max_connections: usize, read_timeout: Duration, idle_timeout: Duration) -> Http {
    Http {
        listen: ([127, 0, 0, 1], 0).into(),
        web_config_file: None,
        api_token: None,
        max_connections,
        read_timeout,
        idle_timeout,
    }
}

struct Server {
    address: SocketAddr,
    sinks: Arc<Sinks>,
    /// `GET /held` adds a permit when it has begun,
    begun: Arc<Semaphore>,
    /// and waits for one here.
    held: Arc<Semaphore>,
    stop: CancellationToken,
    ended: JoinHandle<()>,
}

impl Server {
    /// A server whose time-outs are short enough for a test.
    async fn start(max_connections: usize) -> Self {
        Self::start_with(http(max_connections, SHORT, SHORT)).await
    }

    async fn start_with(http: Http) -> Self {
        let sinks = Arc::new(Sinks::new(10));
        let (begun, held) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (metrics, door, gate) = (Arc::clone(&sinks), Arc::clone(&begun), Arc::clone(&held));
        let app = Router::new()
            .route("/metrics", on_get(move || async move { metrics.metrics.render() }))
            .route("/large", on_get(|| async { vec![b'x'; LARGE] }))
            .route(
                "/held",
                on_get(move || async move {
                    door.add_permits(1);
                    gate.acquire().await.expect("it is never closed").forget();
                    "let go\n"
                }),
            )
            .route("/echo", axum::routing::post(|body: String| async { body }));
        let listener = TcpListener::bind(http.listen).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let stop = CancellationToken::new();
        let around =
            Around { http, sinks: Arc::clone(&sinks), door: Door::open(), shows_token: Box::new(|_| false) };
        let ended = tokio::spawn(listen::serve(listener, app, around, stop.clone()));
        Self { address, sinks, begun, held, stop, ended }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("the server listens")
    }

    async fn scrape(&self) {
        let answer = get(self.address, "/metrics").await;
        assert_eq!(answer.status, 200);
        assert!(answer.body.contains("redprobe_build_info"));
    }

    fn figure(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.sinks.metrics.render()).expect("it is text");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("the server counts its connections").parse().expect("whole")
    }

    /// Waits until this many `GET /held` have begun.
    async fn has_begun(&self, requests: u32) {
        let begun = timeout(PATIENCE, self.begun.acquire_many(requests)).await.expect("they begin");
        begun.expect("it is never closed").forget();
    }

    async fn end(self) {
        self.stop.cancel();
        self.ended.await.expect("the server ends");
    }
}

const OPEN: &str = "redprobe_http_connections";
const SHED: &str = "redprobe_http_connections_shed_total";

#[tokio::test]
async fn a_client_that_says_nothing_is_cut_off() {
    let server = Server::start_with(http(10, LONG, SHORT)).await;
    assert_eq!(exchange(server.address, "").await, "");
    server.scrape().await;
    server.end().await;
}

#[tokio::test]
async fn a_client_that_sends_half_a_head_is_cut_off_and_a_quiet_one_is_not() {
    let server = Server::start_with(http(10, SHORT, LONG)).await;
    let mut quiet = server.connect().await;
    scrape_again(&mut quiet).await;
    for sent in ["GET /metrics HTT", "GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        assert_eq!(exchange(server.address, sent).await, "", "{sent:?}");
    }
    scrape_again(&mut quiet).await;
    server.end().await;
}

#[tokio::test]
async fn half_a_body_is_answered_408() {
    let server = Server::start(10).await;
    let half = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"half\":";
    let answer = Answer::parse(&exchange(server.address, half).await);
    assert_eq!(answer.status, 408, "{answer:?}");
    assert!(answer.body.contains("did not arrive within 500ms"), "{answer:?}");
    let whole = request_text(server.address, "POST", "/echo", &[], "whole");
    let whole = Answer::parse(&exchange(server.address, whole).await);
    assert_eq!((whole.status, whole.body.as_str()), (200, "whole"));
    server.end().await;
}

#[tokio::test]
async fn what_is_too_large_is_refused() {
    let server = Server::start(10).await;
    let lines = |count: usize| (0..count).map(|i| format!("X-{i}: 1\r\n")).collect::<String>();
    let head = |extra: &str| format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n");
    for (request, status) in [
        (head(&format!("X-Long: {}\r\n", "x".repeat(500_000))), 431),
        (head(&lines(101)), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70_000)), 414),
        (
            format!(
                "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n{}",
                "x".repeat(3_000_000)
            ),
            413,
        ),
        (
            format!(
                "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n{}",
                "x".repeat(0x20000)
            ),
            413,
        ),
        (head(""), 200),
    ] {
        let start = &request[..30];
        assert_eq!(Answer::parse(&exchange(server.address, &request).await).status, status, "{start:?}");
    }
    server.end().await;
}

#[tokio::test]
async fn a_reader_of_one_byte_at_a_time_is_cut_off() {
    let server = Server::start(10).await;
    let mut slow = server.connect().await;
    slow.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("the server reads");
    let mut byte = [0];
    slow.read_exact(&mut byte).await.expect("the answer begins");
    assert_eq!(server.figure(OPEN), 1);
    let reader = tokio::spawn(async move {
        while let Ok(1) = slow.read(&mut byte).await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let gone = poll_until_async(PATIENCE, || async {
        server.scrape().await;
        server.figure(OPEN) == 0
    });
    assert!(gone.await, "it still holds its connection");
    reader.abort();
    server.end().await;
}

#[tokio::test]
async fn a_patient_reader_gets_everything() {
    let server = Server::start(10).await;
    assert_eq!(get(server.address, "/large").await.body.len(), LARGE);
    server.end().await;
}

/// A scrape on a connection that stays open.
async fn scrape_again(stream: &mut TcpStream) {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("it was not put out");
    let mut text = String::new();
    let mut chunk = [0; 16 << 10];
    // The last family in the order of names, and its last line.
    while !(text.contains("schedule_start_lateness_seconds_count") && text.ends_with('\n')) {
        let read = timeout(PATIENCE, stream.read(&mut chunk)).await.expect("the server answers");
        let read = read.expect("it was not put out");
        assert!(read > 0, "it was put out");
        text.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
}

/// Raises the limit of open files as far as this process may.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(1 << 20);
    setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum })
        .expect("up to the maximum");
    most
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_connections_do_not_shut_a_scrape_out() {
    const BATCH: usize = 250;
    const ROOM: usize = 128;
    let wanted = 10_000;
    let most = usize::try_from(open_files()).unwrap_or(usize::MAX).saturating_sub(3_000).min(wanted);
    if most < wanted {
        eprintln!("this process may open too few files for {wanted} connections; {most} it is (ulimit -Hn)");
    }
    // No time-out helps here: only making room does.
    let server = Server::start_with(http(ROOM, LONG, LONG)).await;
    let mut scraper = server.connect().await;
    scrape_again(&mut scraper).await;
    let mut flood = Vec::with_capacity(most);
    while flood.len() < most {
        for number in 0..BATCH.min(most - flood.len()) {
            let mut stream = server.connect().await;
            let sent: &[u8] = match number % 3 {
                0 => b"",
                1 => b"GET /metrics HTTP/1.1\r\nX-Half: ",
                _ => b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
            };
            // The server may have put it out already.
            let _ = stream.write_all(sent).await;
            flood.push(stream);
        }
        server.scrape().await;
        scrape_again(&mut scraper).await;
        assert!(server.figure(OPEN) <= ROOM as u64);
    }
    assert!(server.figure(SHED) >= (most - ROOM) as u64);
    drop(flood);
    server.scrape().await;
    server.end().await;
}

#[tokio::test]
async fn a_request_at_work_is_not_put_out_by_newcomers() {
    let server = Server::start(2).await;
    let working: Vec<_> = (0..2).map(|_| tokio::spawn(get(server.address, "/held"))).collect();
    server.has_begun(2).await;
    assert_eq!(
        exchange(server.address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await,
        "",
        "a third is turned away"
    );
    assert_eq!(server.figure(SHED), 1);
    server.held.add_permits(2);
    for request in working {
        assert_eq!(request.await.expect("it was answered").body, "let go\n");
    }
    server.scrape().await;
    server.end().await;
}

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let server = Server::start(10).await;
    let mut stream = server.connect().await;
    for last in [false, true] {
        let close = if last { "Connection: close\r\n" } else { "" };
        let text = format!("HEAD /metrics HTTP/1.1\r\nHost: x\r\n{close}\r\n");
        stream.write_all(text.as_bytes()).await.expect("the server reads");
    }
    let answers = read_to_end(&mut stream).await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{answers}");
    assert!(!answers.contains("# TYPE"), "HEAD has no body");
    server.end().await;
}

#[tokio::test]
async fn a_stop_lets_the_request_under_way_end_and_closes_the_idle() {
    let server = Server::start(10).await;
    let mut idle = server.connect().await;
    let working = tokio::spawn(get(server.address, "/held"));
    server.has_begun(1).await;
    server.stop.cancel();
    assert_eq!(read_to_end(&mut idle).await, "");
    server.held.add_permits(1);
    assert_eq!(working.await.expect("it was answered").body, "let go\n");
    server.ended.await.expect("the server ends");
    assert!(TcpStream::connect(server.address).await.is_err(), "nobody listens any more");
}
