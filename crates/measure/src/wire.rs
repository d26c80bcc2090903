//! The hot path: pre-encoded requests over a plain stream, replies counted and checked, errors apart.
//!
//! Replies are scanned, not built into values; whoever wants values uses [`crate::conn`]. Commands that write are made
//! by [`crate::keys`] alone, since every write needs the own prefix and a TTL. When an operation is due and what
//! becomes of its times is [`crate::load`]'s.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustix::net::RecvFlags;
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    time::Sleep,
};

use crate::{
    clock::{self, Instant},
    conn::{self, Endpoint, Stream},
    error::{Failure, Reason},
    keys::KeyRange,
    load::{Client, Connector, LoadPlan, Slot},
    resp::{self, Kind},
};

/// Read buffer of a connection when it is new; it grows to the largest reply.
const BUFFER: usize = 16 * 1024;
/// Replies may be larger than the largest value by this much before they count as garbage.
const REPLY_SLACK: usize = 64 * 1024;
/// Bytes kept of an error reply.
const LONGEST_REFUSAL: usize = 200;

/// One command, encoded once, with the place of its key's number.
#[derive(Debug, Clone)]
pub struct Command {
    /// The operation's name, as its label says it.
    pub(crate) name: &'static str,
    /// The whole request.
    pub(crate) request: Vec<u8>,
    /// Where the key's number begins in `request` ([`KeyRange::DIGITS`] digits); none for a fixed request.
    pub(crate) number_at: Option<usize>,
    /// What answers it well.
    pub(crate) expect: Expect,
}

/// The kind of reply that answers a command well. Anything else that is not an error is a protocol failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// `+OK`, `+PONG`.
    Simple,
    /// A bulk string, or nil.
    Bulk,
    /// An integer.
    Integer,
    /// Any reply that is not an error.
    Any,
}

impl Expect {
    fn allows(self, kind: Kind) -> bool {
        match self {
            Expect::Simple => kind == Kind::Simple,
            Expect::Bulk => matches!(kind, Kind::Bulk | Kind::Nil),
            Expect::Integer => kind == Kind::Integer,
            Expect::Any => true,
        }
    }
}

impl Command {
    /// A command that writes no key, from its words.
    #[must_use]
    pub fn reading(name: &'static str, words: &[&[u8]], expect: Expect) -> Self {
        Self { name, request: resp::encode(words), number_at: None, expect }
    }

    /// The operation's name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Appends the request for key number `key`.
    fn append(&self, key: u64, out: &mut Vec<u8>) {
        let begin = out.len();
        out.extend_from_slice(&self.request);
        if let Some(at) = self.number_at {
            write_number(key, &mut out[begin + at..begin + at + KeyRange::DIGITS]);
        }
    }
}

/// Writes `number` in decimal, zero-padded to the width of `digits`.
fn write_number(mut number: u64, digits: &mut [u8]) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Opens the workers' connections of one phase.
#[derive(Debug, Clone)]
pub struct WireConnector {
    endpoint: Arc<Endpoint>,
    name: Arc<str>,
    commands: Arc<[Command]>,
    timeout: Duration,
    spin: Duration,
    max_reply: usize,
}

impl WireConnector {
    /// For the phase `plan`; `commands` in the order of its mix. Connections are named `name` on the server.
    #[must_use]
    pub fn new(endpoint: Endpoint, name: &str, commands: Vec<Command>, plan: &LoadPlan) -> Self {
        let largest = commands.iter().map(|command| command.request.len()).max().unwrap_or_default();
        Self {
            endpoint: Arc::new(endpoint),
            name: name.into(),
            commands: commands.into(),
            timeout: plan.operation_timeout,
            // A spinning worker holds its thread, so it must be alone there.
            spin: if plan.workers <= plan.threads { plan.spin } else { Duration::ZERO },
            max_reply: largest + REPLY_SLACK,
        }
    }

    /// Accepts replies with values up to this size, where they are larger than what is written.
    #[must_use]
    pub fn with_max_value(mut self, bytes: usize) -> Self {
        self.max_reply = self.max_reply.max(bytes + REPLY_SLACK);
        self
    }
}

impl Connector for WireConnector {
    type Client = WireClient;

    async fn connect(&self, _worker: usize) -> Result<WireClient, Failure> {
        let (stream, _times) = conn::open(&self.endpoint, &self.name).await?;
        Ok(WireClient {
            stream,
            commands: self.commands.iter().cloned().collect(),
            out: Vec::with_capacity(BUFFER),
            replies: Replies { bytes: vec![0; BUFFER], begin: 0, end: 0, max: self.max_reply },
            timeout: self.timeout,
            watchdog: Box::pin(tokio::time::sleep(self.timeout)),
            spin: self.spin,
            last_refusal: String::new(),
        })
    }
}

/// One connection at full speed.
pub struct WireClient {
    stream: Stream,
    commands: Rc<[Command]>,
    out: Vec<u8>,
    replies: Replies,
    timeout: Duration,
    /// Armed lazily: it is moved only when it fires, so that an operation that is answered costs no timer.
    watchdog: Pin<Box<Sleep>>,
    spin: Duration,
    last_refusal: String,
}

impl Client for WireClient {
    async fn execute(&mut self, batch: &mut [Slot]) -> Result<(), Failure> {
        self.out.clear();
        for slot in batch.iter() {
            self.commands[slot.kind].append(slot.key, &mut self.out);
        }
        let sent = clock::now();
        for slot in batch.iter_mut() {
            slot.sent = sent;
        }
        let mut answered = 0;
        let result = self.exchange(batch, &mut answered, sent + self.timeout).await;
        if let Err(failure) = &result {
            let done = clock::now();
            for slot in &mut batch[answered..] {
                slot.done = done;
                slot.result = Err(failure.reason);
            }
        }
        result
    }

    fn last_refusal(&self) -> Option<&str> {
        (!self.last_refusal.is_empty()).then_some(&self.last_refusal)
    }
}

impl WireClient {
    async fn exchange(
        &mut self,
        batch: &mut [Slot],
        answered: &mut usize,
        deadline: Instant,
    ) -> Result<(), Failure> {
        self.send(deadline).await?;
        loop {
            self.fill(deadline).await?;
            let done = clock::now();
            while *answered < batch.len() {
                let Some(reply) = self.replies.next()? else { break };
                let slot = &mut batch[*answered];
                slot.done = done;
                slot.result = self.commands[slot.kind].judge(&reply, &mut self.last_refusal)?;
                *answered += 1;
            }
            if *answered == batch.len() {
                return self.replies.expect_empty();
            }
        }
    }

    async fn send(&mut self, deadline: Instant) -> Result<(), Failure> {
        let Self { stream, out, watchdog, .. } = self;
        let mut write = std::pin::pin!(stream.write_all(out));
        poll_fn(|cx| match write.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(Failure::from)),
            Poll::Pending => poll_watchdog(watchdog, deadline, cx).map(Err),
        })
        .await
    }

    /// Reads once, at least one byte.
    async fn fill(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.replies.make_room();
        let count = match self.spin_read() {
            Some(result) => result?,
            None => {
                let Self { stream, replies, watchdog, .. } = self;
                poll_fn(|cx| {
                    let mut buffer = ReadBuf::new(&mut replies.bytes[replies.end..]);
                    match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                        Poll::Ready(Ok(())) => Poll::Ready(Ok(buffer.filled().len())),
                        Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::from(error))),
                        Poll::Pending => poll_watchdog(watchdog, deadline, cx).map(Err),
                    }
                })
                .await?
            }
        };
        if count == 0 {
            return Err(Failure::new(
                Reason::Reset,
                "the server closed the connection while a reply was due",
            ));
        }
        self.replies.end += count;
        Ok(())
    }

    /// Polls the socket for up to `spin` without sleeping. `None` when nothing came, or where spinning is off.
    fn spin_read(&mut self) -> Option<io::Result<usize>> {
        if self.spin.is_zero() {
            return None;
        }
        let until = clock::now() + self.spin;
        let room = &mut self.replies.bytes[self.replies.end..];
        loop {
            let result = match &self.stream {
                Stream::Tcp(stream) => rustix::net::recv(stream, &mut *room, RecvFlags::DONTWAIT),
                Stream::Unix(stream) => rustix::net::recv(stream, &mut *room, RecvFlags::DONTWAIT),
                Stream::Tls(_) => return None,
            };
            match result {
                Ok((count, _)) => return Some(Ok(count)),
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) if clock::now() < until => {
                    std::hint::spin_loop();
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return None,
                Err(error) => return Some(Err(error.into())),
            }
        }
    }
}

/// Ready with a timeout when `deadline` has passed; otherwise makes sure that the task is woken then, or a little
/// before, when it looks again.
fn poll_watchdog(watchdog: &mut Pin<Box<Sleep>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<Failure> {
    while watchdog.as_mut().poll(cx).is_ready() {
        if clock::now() >= deadline {
            return Poll::Ready(Failure::new(Reason::Timeout, "no reply within the operation's timeout"));
        }
        watchdog.as_mut().reset(deadline.into());
    }
    Poll::Pending
}

impl Command {
    /// Whether `reply` answers this command: `Ok(Err(reason))` where the server said no, `Err` where the stream
    /// cannot be trusted any more.
    fn judge(&self, reply: &resp::Reply<'_>, refusal: &mut String) -> Result<Result<(), Reason>, Failure> {
        if reply.kind == Kind::Error {
            let line = String::from_utf8_lossy(&reply.line[..reply.line.len().min(LONGEST_REFUSAL)]);
            if *refusal != line {
                refusal.clear();
                refusal.push_str(&line);
            }
            return Ok(Err(Reason::from_error_line(&line)));
        }
        if self.expect.allows(reply.kind) {
            return Ok(Ok(()));
        }
        let message = format!("{} was answered with a reply of kind {:?}", self.name, reply.kind);
        Err(Failure::new(Reason::Protocol, message))
    }
}

/// Bytes read and not yet taken.
struct Replies {
    bytes: Vec<u8>,
    begin: usize,
    end: usize,
    max: usize,
}

impl Replies {
    fn next(&mut self) -> Result<Option<resp::Reply<'_>>, Failure> {
        match resp::scan(&self.bytes[self.begin..self.end], self.max) {
            Ok(Some(reply)) => {
                self.begin += reply.length;
                Ok(Some(reply))
            }
            Ok(None) => Ok(None),
            Err(error) => Err(Failure::new(Reason::Protocol, error.to_string())),
        }
    }

    /// After the last awaited reply nothing may be left: a surplus would answer the next question.
    fn expect_empty(&self) -> Result<(), Failure> {
        if self.begin == self.end {
            Ok(())
        } else {
            Err(Failure::new(Reason::Protocol, "more replies came than requests were sent"))
        }
    }

    fn make_room(&mut self) {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        } else if self.end == self.bytes.len() {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            if self.end == self.bytes.len() {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
    }
}
