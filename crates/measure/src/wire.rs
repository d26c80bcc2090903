//! The hot path: pre-encoded requests over a plain stream, replies counted and checked, errors apart.
//!
//! Replies are scanned, not built into values; whoever wants values uses [`crate::conn`]. Commands that write are made
//! by [`crate::keys`] alone, since every write needs the own prefix and a TTL.

/// One command, encoded once, with the place of its key's number.
#[derive(Debug, Clone)]
pub struct Command {
    /// The operation's name, as its label says it.
    pub(crate) name: &'static str,
    /// The whole request.
    pub(crate) request: Vec<u8>,
    /// Where the key's number begins in `request` ([`crate::keys::KeyRange::DIGITS`] digits); none for a fixed request.
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

impl Command {
    /// A command that writes no key, from its words.
    #[must_use]
    pub fn reading(_name: &'static str, _words: &[&[u8]], _expect: Expect) -> Self {
        unimplemented!()
    }
}

/// Opens the workers' connections of one phase.
#[derive(Debug, Clone)]
pub struct WireConnector {
    _endpoint: crate::conn::Endpoint,
}

/// One connection at full speed.
#[derive(Debug)]
pub struct WireClient;

impl WireConnector {
    /// For the phase `plan`; `commands` in the order of its mix.
    #[must_use]
    pub fn new(
        endpoint: crate::conn::Endpoint,
        _name: &str,
        _commands: Vec<Command>,
        _plan: &crate::load::LoadPlan,
    ) -> Self {
        Self { _endpoint: endpoint }
    }
}

impl crate::load::Connector for WireConnector {
    type Client = WireClient;
    async fn connect(&self, _worker: usize) -> Result<WireClient, crate::error::Failure> {
        unimplemented!()
    }
}

impl crate::load::Client for WireClient {
    async fn execute(&mut self, _batch: &mut [crate::load::Slot]) -> Result<(), crate::error::Failure> {
        unimplemented!()
    }
}
