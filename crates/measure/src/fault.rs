//! A TCP proxy that breaks things on purpose: delay, jitter, drop, reset, blackhole, slices, bandwidth, down and up.
//!
//! For probes that measure behaviour under faults, and for tests. It listens on loopback only. Faults of Redis itself
//! (LOADING, OOM) come from a real server and do not belong here.

use std::{io, net::SocketAddr, time::Duration};

/// What the proxy does to traffic. Changes apply to open connections too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Added before each chunk towards the client.
    pub delay: Duration,
    /// Up to this much more, uniformly.
    pub jitter: Duration,
    /// Share of chunks (0 to 1) whose connection is closed instead of passing them on.
    pub drop: f64,
    /// Resets the connection (RST) after this many bytes towards the client.
    pub reset_after: Option<u64>,
    /// Accepts and reads, but passes nothing on.
    pub blackhole: bool,
    /// Passes bytes to the client in pieces of at most this size.
    pub slice: Option<usize>,
    /// Bytes per second towards the client.
    pub bandwidth: Option<u64>,
    /// Refuses new connections and closes the open ones.
    pub down: bool,
}

/// A running proxy; dropping it closes everything.
#[derive(Debug)]
pub struct Proxy;

impl Proxy {
    /// Listens on a free loopback port and passes everything to `upstream`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(_upstream: SocketAddr) -> io::Result<Self> {
        unimplemented!()
    }

    /// Where it listens. Stays the same over down and up.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        unimplemented!()
    }

    /// Sets what it does from now on.
    pub fn set(&self, _faults: Faults) {
        unimplemented!()
    }

    /// Connections open through it.
    #[must_use]
    pub fn connections(&self) -> usize {
        unimplemented!()
    }
}
