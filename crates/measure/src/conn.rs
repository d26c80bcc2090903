//! Opening a connection to a Redis server: name resolution, TCP or unix socket, TLS, AUTH, CLIENT SETNAME, each step
//! with its own reason when it fails and its own time when it succeeds.
//!
//! One way in for all: the redis crate's connections here, and the raw streams of [`crate::wire`]. What is sent over a
//! connection afterwards does not belong here.

pub mod cluster;
mod endpoint;
mod login;
mod password;
mod sentinel;
mod stream;
mod tls;

use std::time::Duration;

use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, aio::MultiplexedConnection};
use tokio::task::AbortHandle;

pub use self::{
    endpoint::{Address, Endpoint},
    password::{Password, read_secret},
    sentinel::{Role, SENTINEL, Sentinel, VERIFY},
    stream::Stream,
    tls::{Tls, TlsExpiry, TlsFiles, TlsMistakes},
};
use crate::{
    clock,
    error::{Failure, Reason},
    grant::Grant,
};

/// What logging in sends, besides AUTH, which needs no grant.
pub const GRANTS: &[Grant] = &[
    Grant::observe("client|setname", "redprobe", "name the connection")
        .optional("CLIENT LIST does not tell redprobe's connections from others"),
    Grant::observe("ping", "", "see that the connection works")
        .optional("a connection that does not work shows only with the first command"),
];
/// What it sends where the database is not 0.
pub const SELECT: Grant = Grant::observe("select", "0", "choose the database");

/// How long each step of connecting took.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectTimes {
    /// Name resolution.
    pub dns: Duration,
    /// TCP or unix connect.
    pub connect: Duration,
    /// TLS handshake; zero without TLS.
    pub tls: Duration,
    /// AUTH, SELECT, CLIENT SETNAME and a first PING.
    pub login: Duration,
}

impl ConnectTimes {
    /// From the first step to the first answered command.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.dns + self.connect + self.tls + self.login
    }
}

/// Opens a stream, logged in, named `name`, and answered once (so that a missing password shows here). Where the server
/// refuses the password and its file has another one by now, that is tried once.
///
/// # Errors
/// With the reason of the step that failed.
pub async fn open(endpoint: &Endpoint, name: &str) -> Result<(Stream, ConnectTimes), Failure> {
    let used = endpoint.password.as_ref().map(|password| (password, password.current()));
    let failure = match attempt(endpoint, name).await {
        Err(failure) if failure.reason == Reason::AuthRejected => failure,
        result => return result,
    };
    match used.map_or(Ok(false), |(password, used)| password.read_again(&used)) {
        Ok(true) => attempt(endpoint, name).await,
        Ok(false) => Err(failure),
        Err(why) => Err(Failure::new(failure.reason, format!("{}; {why}", failure.message))),
    }
}

async fn attempt(endpoint: &Endpoint, name: &str) -> Result<(Stream, ConnectTimes), Failure> {
    let (mut stream, mut times, handshake) = stream::open(endpoint).await?;
    let started = clock::now();
    let logged_in = login::login(&mut stream, endpoint, name).await;
    logged_in.map_err(|failure| match &handshake {
        Some(handshake) => handshake.explain(failure),
        None => failure,
    })?;
    times.login = started.elapsed();
    Ok((stream, times))
}

/// As [`open`], for the redis crate's commands. Dropping the last clone closes the socket. After any timeout on it, drop it: a late answer may still be under way.
///
/// # Errors
/// With the reason of the step that failed.
pub async fn connect(
    endpoint: &Endpoint,
    name: &str,
) -> Result<(MultiplexedConnection, ConnectTimes), Failure> {
    let (connection, times, _ending) = connect_watched(endpoint, name).await?;
    Ok((connection, times))
}

/// As [`connect`], for a connection that is kept: the handle is finished as soon as the server has closed it, so that
/// nobody need find out by asking.
///
/// # Errors
/// As [`connect`].
pub async fn connect_watched(
    endpoint: &Endpoint,
    name: &str,
) -> Result<(MultiplexedConnection, ConnectTimes, AbortHandle), Failure> {
    let (stream, times) = open(endpoint, name).await?;
    // All that the redis crate would send by itself is done already, or (CLIENT SETINFO, which would count as two
    // errors in the statistics of a server before 7.2) not wanted.
    let nothing = RedisConnectionInfo::default().set_protocol(ProtocolVersion::RESP2).set_skip_set_lib_name();
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(endpoint.response_timeout));
    let (connection, driver) = MultiplexedConnection::new_with_config(&nothing, stream, config).await?;
    // It ends when the last clone is dropped, or the server closes.
    let driver = tokio::spawn(driver);
    Ok((connection, times, driver.abort_handle()))
}
