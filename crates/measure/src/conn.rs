//! Opening a connection to a Redis server: name resolution, TCP or unix socket, TLS, AUTH, CLIENT SETNAME, each step
//! with its own reason when it fails and its own time when it succeeds.
//!
//! One way in for all: the redis crate's connections here, and the raw streams of [`crate::wire`]. What is sent over a
//! connection afterwards does not belong here.

use std::{path::PathBuf, sync::Arc, time::Duration};

use redis::aio::MultiplexedConnection;
use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Failure;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
}

/// How to reach and log in to one Redis server. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Set for `rediss://`.
    pub tls: Option<Tls>,
    /// ACL user, where it is not the default one.
    pub username: Option<String>,
    /// Password, where there is one.
    pub password: Option<SecretString>,
    /// Database number.
    pub database: i64,
    /// Bound of each step of connecting: resolve, connect, TLS, log in.
    pub connect_timeout: Duration,
    /// Bound of one command that does not block.
    pub response_timeout: Duration,
}

/// TLS towards the server.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Name that the certificate must be for.
    pub server_name: String,
    /// PEM file of the authorities to trust; the web's well-known ones where unset.
    pub ca_file: Option<PathBuf>,
    /// Made once when the configuration is read.
    pub config: Arc<rustls::ClientConfig>,
}

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

/// A stream of any kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Endpoint {
    /// Reads a `redis://`, `rediss://` or `unix://` URL. The message names what is wrong and never repeats a password.
    ///
    /// # Errors
    /// A sentence about the first thing in it that cannot be.
    pub fn parse(_url: &str) -> Result<Self, String> {
        unimplemented!()
    }
}

/// Opens the stream, up to and with TLS, without a byte of Redis on it.
///
/// # Errors
/// With the reason of the step that failed.
pub async fn open_stream(_endpoint: &Endpoint) -> Result<(Box<dyn Stream>, ConnectTimes), Failure> {
    unimplemented!()
}

/// Opens a connection of its own, logged in, named `name`, and answered once (so that a missing password shows here).
/// Dropping the last clone closes the socket. After any timeout on it, drop it: a late answer may still be under way.
///
/// # Errors
/// With the reason of the step that failed.
pub async fn connect(
    _endpoint: &Endpoint,
    _name: &str,
) -> Result<(MultiplexedConnection, ConnectTimes), Failure> {
    unimplemented!()
}
