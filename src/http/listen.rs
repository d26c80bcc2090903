//! Accepting connections, and bounding what each may cost: slow, silent and greedy clients shut nobody out.
//!
//! axum's own `serve` waits for ever on a client that never finishes its request, so connections are driven here.
//! What the answer to a whole request is belongs to the routes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_io_timeout::TimeoutStream;
use tokio_util::{io::InspectReader, sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, warn};

use super::{
    error::{self, Error},
    seats::{Seat, Seats},
};
use crate::{config::Http, sink::Sinks};

/// Bytes of a request's line and headers; more is answered with 414 or 431.
const MAX_HEAD: usize = 64 << 10;
/// Headers of a request; more is answered with 431.
const MAX_HEADERS: usize = 64;
/// Bytes of a request's body; more is answered with 413.
const MAX_BODY: usize = 64 << 10;
/// Pause after the system refused another connection and nobody could be put out for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time that a connection which was put out needs to close.
const LEAVE_PAUSE: Duration = Duration::from_millis(1);
/// Time that requests under way have to end after a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Who sent a request; an extension of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub(super) SocketAddr);

/// What every connection of a server shares.
struct Server {
    app: Router,
    http: Http,
    sinks: Arc<Sinks>,
    seats: Seats,
    shutdown: CancellationToken,
}

/// Serves `app` on `listener` within the bounds of `http` until `shutdown`; then lets the requests under way end.
pub async fn serve(
    listener: TcpListener,
    app: Router,
    http: Http,
    sinks: Arc<Sinks>,
    shutdown: CancellationToken,
) {
    let most = http.max_connections.clamp(1, half_of_the_files());
    let seats = Seats::new(most);
    let rooms = Arc::new(Semaphore::new(most));
    let server = Arc::new(Server { app, http, sinks, seats, shutdown: shutdown.clone() });
    let tasks = TaskTracker::new();
    while let Some(Some((stream, peer))) = shutdown.run_until_cancelled(accept(&listener, &server)).await {
        let Some(seat) = server.take_seat() else { continue };
        // Whoever lost the seat to this one is about to leave its room, too: more are never open at a time.
        let Ok(room) = Arc::clone(&rooms).acquire_owned().await else { break };
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            server.attend(stream, peer, &seat).await;
            server.seats.leave(&seat);
            server.count_open();
            drop(room);
        });
    }
    drop(listener);
    tasks.close();
    if timeout(STOP_PATIENCE, tasks.wait()).await.is_err() {
        warn!(connections = tasks.len(), "HTTP requests did not end in time and are cut off");
        server.seats.close_all();
    }
}

/// Connections of clients may take this many of the process's file descriptors; the probes need some, too.
fn half_of_the_files() -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / 2).unwrap_or(usize::MAX).max(1)
}

/// The next connection. When the system has no more file descriptors, an idle one is closed to get one back.
async fn accept(listener: &TcpListener, server: &Server) -> Option<(TcpStream, SocketAddr)> {
    let mut complained = false;
    loop {
        match listener.accept().await {
            Ok(accepted) => return Some(accepted),
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if !complained {
                    warn!(%error, "no further HTTP connection can be accepted; closing idle ones");
                    complained = true;
                }
                let pause = if server.seats.shed() {
                    server.sinks.metrics.http().shed();
                    LEAVE_PAUSE
                } else {
                    ACCEPT_PAUSE
                };
                sleep(pause).await;
            }
        }
    }
}

/// Whether the client alone was the cause: it went away before it was accepted.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

impl Server {
    fn take_seat(&self) -> Option<Arc<Seat>> {
        let taken = self.seats.take();
        if taken.shed {
            self.sinks.metrics.http().shed();
        }
        self.count_open();
        taken.seat
    }

    fn count_open(&self) {
        self.sinks.metrics.http().set_open(self.seats.taken());
    }

    async fn attend(&self, stream: TcpStream, peer: SocketAddr, seat: &Seat) {
        // Small answers must not wait for the client's delayed acknowledgement. A socket that refuses is as good.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(self.http.idle_timeout));
        let stream = InspectReader::new(Box::pin(stream), |_: &[u8]| seat.heard());
        let service = service_fn(|request| self.answer(request, peer, seat));
        let mut connection = std::pin::pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                // hyper counts from the end of the request before: that is how long a connection may be idle.
                .header_read_timeout(self.http.idle_timeout)
                .max_buf_size(MAX_HEAD)
                .max_headers(MAX_HEADERS)
                .serve_connection(TokioIo::new(stream), service)
        );
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = seat.closed() => return,
            () = seat.head_overdue(self.http.read_timeout) => return,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection => ended,
                    () = seat.closed() => return,
                }
            }
        };
        if let Err(error) = ended {
            debug!(%peer, %error, "HTTP connection ended");
        }
    }

    /// Answers one request. Its body is read first, whole and within bounds: until then the seat counts as idle.
    async fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        seat: &Seat,
    ) -> Result<Response, io::Error> {
        seat.head_came(&self.seats);
        let api = request.uri().path().starts_with("/api/");
        let mut response = match self.read_body(request).await {
            Ok(mut request) => {
                let _at_work =
                    seat.work(&self.seats).ok_or_else(|| io::Error::other("closed to make room"))?;
                request.extensions_mut().insert(Peer(peer));
                self.app.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
            }
            Err(refused) => axum::response::IntoResponse::into_response(refused),
        };
        error::write_sentence(&mut response, api);
        add_headers(&mut response);
        self.sinks.metrics.http().answered(response.status().as_u16());
        Ok(response)
    }

    async fn read_body(&self, request: Request<Incoming>) -> Result<Request<Body>, Error> {
        let (parts, body) = request.into_parts();
        match timeout(self.http.read_timeout, Limited::new(body, MAX_BODY).collect()).await {
            Ok(Ok(body)) => Ok(Request::from_parts(parts, Body::from(body.to_bytes()))),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Error::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the body is larger than {MAX_BODY} bytes"),
            )),
            Ok(Err(error)) => Err(Error::bad_request(format!("the body cannot be read: {error}"))),
            Err(_late) => Err(Error::new(
                StatusCode::REQUEST_TIMEOUT,
                format!(
                    "the body did not arrive within {}",
                    humantime::format_duration(self.http.read_timeout)
                ),
            )),
        }
    }
}

/// Nothing here is to be guessed at, framed, or kept by a cache; the page brings its style along.
fn add_headers(response: &mut Response) {
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
