//! One connection: TLS where the door asks for it, then HTTP/1.1 or HTTP/2, within bounds of time and memory.
//!
//! A handshake has as long as the head of a request, and its seat may be taken as long as it lasts. Accepting is
//! `listen`'s, and so is what a request gets.

use std::{future::Future, io, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use axum::{body::Body, http::Request, response::Response};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::graceful::GracefulConnection,
};
use rustls::server::Acceptor;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::io::InspectReader;
use tracing::debug;

use super::{
    door::Rules,
    listen::{MAX_BODY, MAX_HEAD, MAX_HEADERS, Server},
    seats::Seat,
};
use crate::config::web::Admission;

/// Requests of one HTTP/2 connection at a time; Prometheus has one.
const STREAMS: u32 = 16;
/// Requests that an HTTP/2 client may take back before they are looked at, or after; more ends the connection.
const TAKEN_BACK: usize = 16;
/// The first byte of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// What a client hears that speaks HTTP where TLS is asked for.
const SPEAK_TLS: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n\
    this address speaks https:// only\n";

/// Whoever is at the other end of a connection.
pub(super) struct Guest {
    pub(super) seat: Arc<Seat>,
    pub(super) peer: SocketAddr,
    /// What was asked of his certificate; nothing where he came without TLS.
    admission: Option<Admission>,
}

impl Guest {
    /// Whether he would be let in by the door as it is now.
    pub(super) fn came_by(&self, rules: &Rules) -> bool {
        self.admission.as_ref() == rules.web.tls.as_ref().map(|tls| &tls.admission)
    }
}

/// Serves a connection until it ends, or has to.
pub(super) async fn attend(server: &Arc<Server>, stream: TcpStream, peer: SocketAddr, seat: &Arc<Seat>) {
    // Small answers must not wait for the client's delayed acknowledgement. A socket that refuses is as good.
    let _ = stream.set_nodelay(true);
    let ended = tokio::select! {
        ended = converse(server, stream, peer, seat) => ended,
        () = seat.closed() => return,
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "HTTP connection ended");
    }
}

type Stream = Pin<Box<TimeoutStream<TcpStream>>>;

async fn converse(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    seat: &Arc<Seat>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let has_tls = server.around.door.has_tls();
    if has_tls && within(server, speaks_tls(&stream)).await? != Some(true) {
        return Ok(());
    }
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(server.around.http.idle_timeout));
    let stream = Box::pin(stream);
    let guest = |admission| Arc::new(Guest { seat: Arc::clone(seat), peer, admission });
    if !has_tls {
        return Ok(http1(server, stream, guest(None)).await?);
    }
    let Some((stream, admission)) = within(server, handshake(server, stream)).await? else { return Ok(()) };
    let guest = guest(Some(admission));
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        Ok(http2(server, stream, guest).await?)
    } else {
        Ok(http1(server, stream, guest).await?)
    }
}

/// What comes before the first request has as long as the head of one, and ends with the server.
async fn within<T>(server: &Server, step: impl Future<Output = io::Result<T>>) -> io::Result<Option<T>> {
    let step = timeout(server.around.http.read_timeout, step);
    match server.shutdown.run_until_cancelled(step).await {
        Some(Ok(result)) => result.map(Some),
        Some(Err(_late)) => Err(io::ErrorKind::TimedOut.into()),
        None => Ok(None),
    }
}

/// Looks at the first byte. Whoever speaks HTTP is told what to speak.
async fn speaks_tls(stream: &TcpStream) -> io::Result<bool> {
    let mut first = [0];
    if stream.peek(&mut first).await? == 0 {
        return Ok(false);
    }
    if first == [HANDSHAKE] {
        return Ok(true);
    }
    // What is not read when the socket closes makes the system take the answer back.
    let mut request = [0; 4 << 10];
    while stream.try_read(&mut request).is_ok_and(|read| read > 0) {}
    stream.writable().await?;
    stream.try_write(SPEAK_TLS)?;
    Ok(false)
}

/// The door is looked at when the client has said what it can: certificates may have changed since it connected.
async fn handshake(server: &Server, stream: Stream) -> io::Result<(TlsStream<Stream>, Admission)> {
    let started = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let rules = server.around.door.now();
    let shut = || io::Error::other("the web configuration cannot be used");
    let tls = rules.as_ref().and_then(|rules| rules.web.tls.as_ref()).ok_or_else(shut)?;
    let stream = started.into_stream(Arc::clone(&tls.server)).await?;
    Ok((stream, tls.admission.clone()))
}

async fn http1<S>(server: &Arc<Server>, stream: S, guest: Arc<Guest>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let seat = Arc::clone(&guest.seat);
    let heard = Arc::clone(&seat);
    let stream = InspectReader::new(stream, move |_: &[u8]| heard.heard());
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // hyper counts from the end of the request before: that is how long a connection may be idle.
        .header_read_timeout(server.around.http.idle_timeout)
        .max_buf_size(MAX_HEAD)
        .max_headers(MAX_HEADERS)
        .serve_connection(TokioIo::new(stream), service(server, guest));
    tokio::select! {
        ended = drive(server, connection) => ended,
        () = seat.head_overdue(server.around.http.read_timeout) => Ok(()),
    }
}

async fn http2<S>(server: &Arc<Server>, stream: S, guest: Arc<Guest>) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let http = &server.around.http;
    let seat = Arc::clone(&guest.seat);
    let window = u32::try_from(MAX_BODY).unwrap_or(u32::MAX);
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .initial_stream_window_size(window)
        .initial_connection_window_size(window)
        .max_send_buf_size(MAX_BODY)
        .max_pending_accept_reset_streams(TAKEN_BACK)
        .max_local_error_reset_streams(TAKEN_BACK)
        // Who is in the middle of a frame for ever cannot answer.
        .keep_alive_interval(http.read_timeout.max(Duration::from_millis(100)))
        .keep_alive_timeout(http.read_timeout)
        .serve_connection(TokioIo::new(stream), service(server, guest));
    tokio::select! {
        ended = drive(server, connection) => ended,
        () = seat.quiet(http.idle_timeout) => Ok(()),
    }
}

type Answer = Pin<Box<dyn Future<Output = io::Result<Response<Body>>> + Send>>;

fn service(
    server: &Arc<Server>,
    guest: Arc<Guest>,
) -> impl hyper::service::Service<Request<Incoming>, Response = Response<Body>, Error = io::Error, Future = Answer>
+ use<> {
    let server = Arc::clone(server);
    service_fn(move |request| -> Answer {
        let (server, guest) = (Arc::clone(&server), Arc::clone(&guest));
        Box::pin(async move { server.answer(request, &guest).await })
    })
}

/// Until it ends; when the server stops, the requests under way are still answered.
async fn drive<C: GracefulConnection>(server: &Server, connection: C) -> Result<(), C::Error> {
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = server.shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}
