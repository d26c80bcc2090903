//! The stream under a connection: TCP, unix socket or TLS, opened step by step.
//!
//! An enum rather than a boxed trait: the load path reads and writes it millions of times a second.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::sockopt::set_tcp_user_timeout;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use super::{
    Address, ConnectTimes, Endpoint,
    tls::{self, Handshake},
};
use crate::{
    clock::{self, Instant},
    error::{Failure, Reason},
};

/// A peer that acknowledges nothing for this long is gone: the kernel then ends the connection. Without it a socket
/// with unsent bytes would outlive its owner for as long as a frozen server stays frozen.
const STUCK_MILLISECONDS: u32 = 30_000;

/// An open stream to a server.
#[derive(Debug)]
pub enum Stream {
    /// TCP, without Nagle's delay.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads what is there, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where nothing is; `Unsupported` for TLS, whose records have to be awaited.
    #[inline]
    pub fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_read(buffer),
            Stream::Unix(stream) => stream.try_read(buffer),
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Writes what fits, without waiting.
    ///
    /// # Errors
    /// `WouldBlock` where nothing does; `Unsupported` for TLS, whose records have to be awaited.
    #[inline]
    pub fn try_write(&self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_write(buffer),
            Stream::Unix(stream) => stream.try_write(buffer),
            Stream::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Waits until the socket can be read.
    ///
    /// # Errors
    /// Where the runtime is shutting down.
    pub async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
            Stream::Tls(stream) => stream.get_ref().0.readable().await,
        }
    }

    /// Waits until the socket can be written.
    ///
    /// # Errors
    /// Where the runtime is shutting down.
    pub async fn writable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.writable().await,
            Stream::Unix(stream) => stream.writable().await,
            Stream::Tls(stream) => stream.get_ref().0.writable().await,
        }
    }
}

/// The same call on whichever stream it is.
macro_rules! on_each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Tcp($stream) => $call,
            Stream::Unix($stream) => $call,
            Stream::Tls($stream) => $call,
        }
    };
}

impl AsyncRead for Stream {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    #[inline]
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        on_each!(self, stream => Pin::new(stream).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, stream => Pin::new(stream).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Unix(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

/// Opens the stream, up to and with TLS, without a byte of Redis on it.
///
/// # Errors
/// With the reason of the step that failed.
pub(super) async fn open(endpoint: &Endpoint) -> Result<(Stream, ConnectTimes, Option<Handshake>), Failure> {
    let limit = endpoint.connect_timeout;
    let mut times = ConnectTimes::default();
    let started = clock::now();
    let (host, port) = match &endpoint.address {
        Address::Unix(path) => {
            let stream = within(limit, &endpoint.address, UnixStream::connect(path)).await?;
            times.connect = started.elapsed();
            return Ok((Stream::Unix(stream), times, None));
        }
        Address::Tcp(host, port) => (host.as_str(), *port),
        Address::Sentinel(_) => {
            return Err(Failure::new(Reason::Other, format!("{} was not found first", endpoint.address)));
        }
    };
    let addresses = resolve(host, port, limit).await?;
    let resolved = clock::now();
    times.dns = resolved - started;
    let stream = connect_to_any(&addresses, endpoint).await?;
    times.connect = resolved.elapsed();
    let Some(tls) = &endpoint.tls else { return Ok((Stream::Tcp(stream), times, None)) };

    let connected = clock::now();
    let done = timeout(limit, tls::handshake(tls, stream)).await.map_err(|_| {
        let message = format!(
            "{} did not finish the TLS handshake within {limit:?}; a port without TLS would be silent too",
            endpoint.address
        );
        Failure::new(Reason::ConnectTimeout, message)
    })?;
    times.tls = connected.elapsed();
    let (stream, handshake) = done?;
    Ok((Stream::Tls(Box::new(stream)), times, Some(handshake)))
}

async fn resolve(host: &str, port: u16, limit: Duration) -> Result<Vec<SocketAddr>, Failure> {
    let fail = |what: String| Failure::new(Reason::Dns, format!("cannot resolve {host:?}: {what}"));
    let found = timeout(limit, lookup_host((host, port)))
        .await
        .map_err(|_| fail(format!("no answer within {limit:?}")))?
        .map_err(|error| fail(error.to_string()))?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() { Err(fail("it has no address".into())) } else { Ok(addresses) }
}

/// Tries the addresses in turn, the time left shared out among those that are left. The last one's failure counts.
async fn connect_to_any(addresses: &[SocketAddr], endpoint: &Endpoint) -> Result<TcpStream, Failure> {
    let end: Instant = clock::now() + endpoint.connect_timeout;
    let mut failure = Failure::new(Reason::Dns, format!("{} has no address", endpoint.address));
    for (index, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let limit = end.saturating_duration_since(clock::now()) / left;
        match within(limit, &endpoint.address, TcpStream::connect(address)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                set_tcp_user_timeout(&stream, STUCK_MILLISECONDS).map_err(io::Error::from)?;
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn within<T>(
    limit: Duration,
    address: &Address,
    connect: impl Future<Output = io::Result<T>>,
) -> Result<T, Failure> {
    let result = timeout(limit, connect).await.map_err(|_| {
        Failure::new(
            Reason::ConnectTimeout,
            format!("{address} did not accept a connection within {limit:?}"),
        )
    })?;
    result.map_err(|error| {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NotFound => Reason::ConnectRefused,
            // A unix socket whose backlog is full says WouldBlock at once.
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Reason::ConnectTimeout,
            _ => Reason::Other,
        };
        Failure::new(reason, format!("cannot connect to {address}: {error}"))
    })
}
