//! The bytes of one connection through the proxy: up as they are, down with the faults that are set at that moment.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::{mpsc, watch},
    time::Instant,
};

use super::{Faults, Setting};

/// Bytes read at a time.
const CHUNK: usize = 16 * 1024;
/// Chunks that may be on their way to the client at a time: 1 MiB.
const ON_THE_WAY: usize = 64;
/// Under limited bandwidth a piece is what passes in this time.
const PIECE_TIME: f64 = 0.01;

/// Chunks with the instants at which they are due.
type Chunk = (Instant, Vec<u8>);

/// Connects `client` to `upstream` and passes bytes until both have ended, or one has failed.
///
/// # Errors
/// What ended it early: a fault that is set, or one of the ends.
pub(super) async fn connect_and_pass(
    mut client: TcpStream,
    upstream: SocketAddr,
    setting: watch::Receiver<Setting>,
) -> io::Result<()> {
    let faults = Current(setting);
    faults.clone().passable().await?;
    let mut upstream = TcpStream::connect(upstream).await?;
    client.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let passed = {
        let (from_client, to_client) = client.split();
        let (from_upstream, to_upstream) = upstream.split();
        let (send, receive) = mpsc::channel(ON_THE_WAY);
        tokio::try_join!(
            up(from_client, to_upstream, faults.clone()),
            down(from_upstream, send, faults.clone()),
            deliver(receive, to_client, faults),
        )
    };
    if passed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset) {
        // Dropped so, the socket sends RST rather than FIN. A reset by one end is passed on to the other.
        client.set_zero_linger()?;
        upstream.set_zero_linger()?;
    }
    passed.map(|_| ())
}

/// The faults in force, and waiting for others.
#[derive(Clone)]
struct Current(watch::Receiver<Setting>);

impl Current {
    fn faults(&self) -> Faults {
        self.0.borrow().faults.clone()
    }

    /// Waits until nothing is held back.
    async fn passable(&mut self) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
        self.0.wait_for(|setting| !setting.faults.blackhole).await.map(|_| ()).map_err(gone)
    }
}

/// From the client to the server.
async fn up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, mut faults: Current) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        faults.passable().await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}

/// From the server into the queue of what is on its way.
async fn down(mut from: ReadHalf<'_>, queue: mpsc::Sender<Chunk>, faults: Current) -> io::Result<()> {
    let mut due = Instant::now();
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let length = from.read_buf(&mut chunk).await?;
        let Faults { delay, jitter, drop, .. } = faults.faults();
        if length > 0 && rand::random::<f64>() < drop {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        // Never before the one in front.
        due = due.max(Instant::now() + delay + jitter.mul_f64(rand::random()));
        // The end of the stream takes as long as its bytes do, and is an empty chunk.
        if queue.send((due, chunk)).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

/// From the queue to the client.
async fn deliver(
    mut queue: mpsc::Receiver<Chunk>,
    mut to: WriteHalf<'_>,
    mut faults: Current,
) -> io::Result<()> {
    let mut passed = 0_u64;
    let mut free = Instant::now();
    while let Some((due, chunk)) = queue.recv().await {
        if due > Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        faults.passable().await?;
        if chunk.is_empty() {
            break;
        }
        let mut rest = chunk.as_slice();
        while !rest.is_empty() {
            let now = faults.faults();
            let (piece, others) = rest.split_at(piece_length(&now, rest.len(), passed)?);
            if let Some(bandwidth) = now.bandwidth {
                free = free.max(Instant::now())
                    + Duration::from_secs_f64(piece.len() as f64 / bandwidth.max(1) as f64);
                tokio::time::sleep_until(free).await;
            }
            to.write_all(piece).await?;
            if !others.is_empty() {
                // Lets the client see the piece as one.
                tokio::task::yield_now().await;
            }
            passed += piece.len() as u64;
            rest = others;
        }
        // What comes exactly at the limit resets at once, not with the next byte.
        piece_length(&faults.faults(), 1, passed)?;
    }
    to.shutdown().await
}

/// How much of `length` bytes may go in one write.
fn piece_length(faults: &Faults, length: usize, passed: u64) -> io::Result<usize> {
    let mut piece = length.min(faults.slice.unwrap_or(usize::MAX).max(1));
    if let Some(bandwidth) = faults.bandwidth {
        piece = piece.min(((bandwidth as f64 * PIECE_TIME) as usize).max(1));
    }
    if let Some(limit) = faults.reset_after {
        let left = limit.saturating_sub(passed);
        if left == 0 {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        piece = piece.min(usize::try_from(left).unwrap_or(usize::MAX));
    }
    Ok(piece)
}
