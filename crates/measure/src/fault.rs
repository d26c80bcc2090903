//! A TCP proxy that breaks things on purpose: delay, jitter, drop, reset, blackhole, slices, bandwidth, down and up.
//!
//! For probes that measure behaviour under faults, and for tests. It listens on loopback only. Faults of Redis itself
//! (LOADING, OOM) come from a real server and do not belong here. What happens to the bytes of one connection is in
//! `fault/pump.rs`.

mod pump;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

/// What the proxy does to traffic. Changes apply to open connections too.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Faults {
    /// Each chunk towards the client arrives this much later, rounded up to whole milliseconds. Chunks do not wait for
    /// each other: a longer way, not a narrower one.
    pub delay: Duration,
    /// Up to this much more, uniformly; chunks stay in order.
    pub jitter: Duration,
    /// Share (0 to 1) of the chunks towards the client that are not passed on: their connection is closed instead.
    pub drop: f64,
    /// Resets the connection (RST) after this many bytes towards the client, counted from its beginning.
    pub reset_after: Option<u64>,
    /// Accepts and reads, but passes nothing on, in either direction. What was read by then is passed on when it ends.
    pub blackhole: bool,
    /// Passes bytes to the client in pieces of at most this size.
    pub slice: Option<usize>,
    /// Bytes per second towards the client, for each connection.
    pub bandwidth: Option<u64>,
    /// Refuses new connections and closes the open ones.
    pub down: bool,
}

/// A running proxy; dropping it closes everything.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    faults: watch::Sender<Setting>,
    /// The latest change that the listener has seen.
    applied: watch::Receiver<u64>,
    connections: Arc<AtomicUsize>,
    _listening: AbortOnDropHandle<()>,
}

/// Faults, and the number of the change that brought them.
#[derive(Debug, Clone, Default)]
struct Setting {
    faults: Faults,
    change: u64,
}

impl Proxy {
    /// Listens on a free loopback port and passes everything to `upstream`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let reserved = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = reserved.local_addr()?;
        let listener = bind(address)?.listen(BACKLOG)?;
        let (faults, setting) = watch::channel(Setting::default());
        let (seen, applied) = watch::channel(0);
        let connections = Arc::default();
        let door = Door {
            upstream,
            address,
            _reserved: reserved,
            setting,
            seen,
            connections: Arc::clone(&connections),
            open: JoinSet::new(),
        };
        let task = AbortOnDropHandle::new(tokio::spawn(door.keep(listener)));
        Ok(Self { address, faults, applied, connections, _listening: task })
    }

    /// Where it listens. Stays the same over down and up.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets what it does from now on. Returns when it is so: after `down`, a connect is refused; after it ends, a
    /// connect is accepted.
    pub async fn set(&self, faults: Faults) {
        let mut number = 0;
        self.faults.send_modify(|setting| {
            setting.faults = faults;
            setting.change += 1;
            number = setting.change;
        });
        // Fails only where the listening task is gone, and with it everything that could be so.
        let _ = self.applied.clone().wait_for(|seen| *seen >= number).await;
    }

    /// Connections open through it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

const BACKLOG: u32 = 1024;
/// Between two attempts to listen again.
const RETRY: Duration = Duration::from_millis(10);

/// Several sockets may share an address in this way as long as at most one listens.
fn bind(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Accepts connections while the proxy is up, and owns them.
struct Door {
    upstream: SocketAddr,
    address: SocketAddr,
    /// Bound and never listening: keeps the port from others while the proxy is down.
    _reserved: TcpSocket,
    setting: watch::Receiver<Setting>,
    seen: watch::Sender<u64>,
    connections: Arc<AtomicUsize>,
    open: JoinSet<()>,
}

impl Door {
    async fn keep(mut self, listener: TcpListener) {
        let mut listener = Some(listener);
        loop {
            let Setting { faults, change } = self.setting.borrow_and_update().clone();
            if faults.down {
                listener = None;
                self.open.shutdown().await;
            } else if listener.is_none() {
                listener = Some(self.listen_again().await);
            }
            self.seen.send_replace(change);
            if self.serve_until_changed(listener.as_ref()).await.is_err() {
                return;
            }
        }
    }

    async fn listen_again(&self) -> TcpListener {
        loop {
            match bind(self.address).and_then(|socket| socket.listen(BACKLOG)) {
                Ok(listener) => return listener,
                Err(error) => {
                    tracing::warn!(address = %self.address, %error, "the fault proxy cannot listen again yet");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// # Errors
    /// When the proxy was dropped.
    async fn serve_until_changed(
        &mut self,
        listener: Option<&TcpListener>,
    ) -> Result<(), watch::error::RecvError> {
        loop {
            let accepted = async {
                match listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.setting.changed() => return changed,
                Some(_ended) = self.open.join_next() => {}
                accepted = accepted => match accepted {
                    Ok((client, _)) => self.admit(client),
                    // Out of file descriptors: those that wait are served when some are free again.
                    Err(_error) => tokio::time::sleep(RETRY).await,
                },
            }
        }
    }

    fn admit(&mut self, client: TcpStream) {
        let counted = Counted::new(&self.connections);
        let (upstream, setting) = (self.upstream, self.setting.clone());
        self.open.spawn(async move {
            let _counted = counted;
            // An error ends the connection, which is all that its two ends can see of it.
            let _ = pump::connect_and_pass(client, upstream, setting).await;
        });
    }
}

/// Counts a connection for as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connections))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
