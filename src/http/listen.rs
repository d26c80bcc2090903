//! Accepting connections, and bounding what each may cost: slow, silent and greedy clients shut nobody out.
//!
//! axum's own `serve` waits for ever on a client that never finishes its request, so connections are accepted here and
//! driven in `conn`. Who is let in is `door`'s; what the answer to a whole request is belongs to the routes.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use rustix::process::{Resource, getrlimit};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::warn;

use super::{
    conn::{self, Guest},
    door::{Door, Rules, ShowsToken},
    error::{self, Error},
    seats::{Seat, Seats},
};
use crate::{config::Http, sink::Sinks};

/// Bytes of a request's line and headers; more is answered with 414 or 431.
pub(super) const MAX_HEAD: usize = 64 << 10;
/// Headers of a request; more is answered with 431.
pub(super) const MAX_HEADERS: usize = 64;
/// Bytes of a request's body; more is answered with 413.
pub(super) const MAX_BODY: usize = 64 << 10;
/// Pause after the system refused another connection and nobody could be put out for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Time that a connection which was put out needs to close.
const LEAVE_PAUSE: Duration = Duration::from_millis(1);
/// Time that requests under way have to end after a stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// Who sent a request; an extension of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// From where.
    pub(super) address: SocketAddr,
    /// Whether he is a user of the web configuration, and gave his password.
    pub(super) user: bool,
}

/// What is around the routes.
pub struct Around {
    /// Bounds on clients.
    pub http: Http,
    /// Where connections and answers are counted.
    pub sinks: Arc<Sinks>,
    /// Who may come in.
    pub door: Door,
    /// Who may come in beside the users.
    pub shows_token: ShowsToken,
}

/// What every connection of a server shares.
pub(super) struct Server {
    app: Router,
    pub(super) around: Around,
    pub(super) seats: Seats,
    pub(super) shutdown: CancellationToken,
}

/// Serves `app` on `listener` within the bounds of `around` until `shutdown`; then lets the requests under way end.
pub async fn serve(listener: TcpListener, app: Router, around: Around, shutdown: CancellationToken) {
    let most = around.http.max_connections.clamp(1, half_of_the_files());
    let seats = Seats::new(most);
    let rooms = Arc::new(Semaphore::new(most));
    let server = Arc::new(Server { app, around, seats, shutdown: shutdown.clone() });
    let tasks = TaskTracker::new();
    while let Some(Some((stream, peer))) = shutdown.run_until_cancelled(accept(&listener, &server)).await {
        let Some(seat) = server.take_seat() else { continue };
        // Whoever lost the seat to this one is about to leave its room, too: more are never open at a time.
        let Ok(room) = Arc::clone(&rooms).acquire_owned().await else { break };
        let server = Arc::clone(&server);
        tasks.spawn(async move {
            conn::attend(&server, stream, peer, &seat).await;
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
                    server.around.sinks.metrics.http().shed();
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
            self.around.sinks.metrics.http().shed();
        }
        self.count_open();
        taken.seat
    }

    fn count_open(&self) {
        self.around.sinks.metrics.http().set_open(self.seats.taken());
    }

    /// Answers one request. Until it is let in and its body is there, whole and within bounds, the seat counts as idle.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        guest: &Guest,
    ) -> Result<Response, io::Error> {
        guest.seat.head_came(&self.seats);
        let api = request.uri().path().starts_with("/api/");
        let rules = self.around.door.now();
        if let Some(rules) = rules.as_ref().filter(|rules| !guest.came_by(rules)) {
            // He may come again by the door as it is now.
            guest.seat.end();
            let asked = rules.web.tls.as_ref().map(|tls| tls.admission.auth);
            return Err(io::Error::other(format!("the web configuration now asks for {asked:?}")));
        }
        let answered = match &rules {
            Some(rules) => self.let_in(request, guest, rules).await,
            None => Ok(Err(Error::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the web configuration cannot be used; the log says why",
            ))),
        };
        let mut response = answered?.unwrap_or_else(IntoResponse::into_response);
        error::write_sentence(&mut response, api);
        add_headers(&mut response, rules.as_deref());
        self.around.sinks.metrics.http().answered(response.status().as_u16());
        Ok(response)
    }

    async fn let_in(
        &self,
        request: Request<Incoming>,
        guest: &Guest,
        rules: &Rules,
    ) -> Result<Result<Response, Error>, io::Error> {
        if request.headers().len() > MAX_HEADERS {
            let sentence = format!("there are more than {MAX_HEADERS} headers");
            return Ok(Err(Error::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, sentence)));
        }
        let user = match self.around.door.admit(rules, request.headers(), &self.around.shows_token).await {
            Ok(user) => user,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut request = match self.read_body(request).await {
            Ok(request) => request,
            Err(refused) => return Ok(Err(refused)),
        };
        let at_work = guest.seat.work(&self.seats);
        let _at_work = at_work.ok_or_else(|| io::Error::other("closed to make room"))?;
        name_host(&mut request);
        request.extensions_mut().insert(Peer { address: guest.peer, user });
        Ok(Ok(self.app.clone().oneshot(request).await.unwrap_or_else(|never| match never {})))
    }

    async fn read_body(&self, request: Request<Incoming>) -> Result<Request<Body>, Error> {
        let (parts, body) = request.into_parts();
        match timeout(self.around.http.read_timeout, Limited::new(body, MAX_BODY).collect()).await {
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
                    humantime::format_duration(self.around.http.read_timeout)
                ),
            )),
        }
    }
}

/// Nothing here is to be guessed at, framed, or kept by a cache; the page brings its style along.
/// What the web configuration says goes over it.
fn add_headers(response: &mut Response, rules: Option<&Rules>) {
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
    for (name, value) in rules.iter().flat_map(|rules| &rules.web.headers) {
        response.headers_mut().insert(name, value.clone());
    }
}

/// HTTP/2 says it in the address; routes look for it where HTTP/1 has it.
fn name_host(request: &mut Request<Body>) {
    let host = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if let Some(host) = host.filter(|_| !request.headers().contains_key(header::HOST)) {
        request.headers_mut().insert(header::HOST, host);
    }
}
