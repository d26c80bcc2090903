//! The lease of a target: one key that says who may load it, so that two redprobes on two machines do not.
//!
//! Taken with `SET NX PX` and a token of its own, renewed with PEXPIRE, given back only by who has it. Who else may run
//! inside one process, or on one machine, is decided by the daemon's locks and not here.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::error::{Failure, ProbeError};

/// A lease that was taken. It ends by itself when it is not renewed.
#[derive(Debug)]
pub struct Lease;

impl Lease {
    /// Takes the lease of the server behind `conn` for `ttl`; `holder` is what others are told.
    ///
    /// # Errors
    /// Skipped (`lease`) where somebody else has it, naming them; failed where the server cannot be asked.
    pub async fn acquire(
        _conn: &mut MultiplexedConnection,
        _holder: &str,
        _ttl: Duration,
    ) -> Result<Self, ProbeError> {
        unimplemented!()
    }

    /// Makes it last for its whole time again.
    ///
    /// # Errors
    /// `lease` where it is lost: evicted, expired, or somebody else's. Other reasons where the server cannot be asked.
    pub async fn renew(&mut self, _conn: &mut MultiplexedConnection) -> Result<(), Failure> {
        unimplemented!()
    }

    /// Gives it back, unless it is lost.
    ///
    /// # Errors
    /// When the server refuses or goes away; the lease then ends by its time.
    pub async fn release(self, _conn: &mut MultiplexedConnection) -> Result<(), Failure> {
        unimplemented!()
    }
}
