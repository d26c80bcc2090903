//! A connection on loan: what may be done with it, and how it goes back.
//!
//! One that is in the middle of a command never goes back: who got it next would wait for the other's answer.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deadpool::managed::Object;
use redis::{Cmd, FromRedisValue, Pipeline, aio::MultiplexedConnection};

use super::{account::Loans, manager::Manager};
use crate::{
    clock::{self, Instant},
    error::{Failure, Reason},
};

/// A connection of a pool, until it is dropped. It then goes back, unless a command on it timed out, was cancelled, or
/// broke it: then it is closed, and the pool is smaller by one until it opens another.
#[derive(Debug)]
pub struct Lent {
    object: Option<Object<Manager>>,
    /// Between a command and its reply, and for good once that did not come.
    busy: bool,
    since: Instant,
    loans: Arc<Mutex<Loans>>,
}

impl Lent {
    pub(super) fn new(object: Object<Manager>, loans: Arc<Mutex<Loans>>) -> Self {
        Self { object: Some(object), busy: false, since: clock::now(), loans }
    }

    /// Sends `command` and awaits its reply for `bound` at the most.
    ///
    /// # Errors
    /// With the server's reason; `timeout` after `bound`, from which on the connection is of no use.
    pub async fn query<T: FromRedisValue>(&mut self, command: &Cmd, bound: Duration) -> Result<T, Failure> {
        self.exchange(bound, async |conn| command.query_async(conn).await).await
    }

    /// As [`Lent::query`], for several commands in one go.
    ///
    /// # Errors
    /// As [`Lent::query`]; the first command's that failed.
    pub async fn query_all<T: FromRedisValue>(
        &mut self,
        commands: &Pipeline,
        bound: Duration,
    ) -> Result<T, Failure> {
        self.exchange(bound, async |conn| commands.query_async(conn).await).await
    }

    async fn exchange<T>(
        &mut self,
        bound: Duration,
        ask: impl AsyncFnOnce(&mut MultiplexedConnection) -> redis::RedisResult<T>,
    ) -> Result<T, Failure> {
        let Some(object) = self.object.as_mut().filter(|_| !self.busy) else {
            return Err(Failure::new(Reason::Reset, "an earlier command on this connection got no reply"));
        };
        self.busy = true;
        let answer = match tokio::time::timeout(bound, ask(object)).await {
            Ok(answer) => answer.map_err(Failure::from),
            Err(_elapsed) => Err(Failure::new(Reason::Timeout, "no reply within the operation's timeout")),
        };
        self.busy = answer.as_ref().is_err_and(|failure| failure.reason.is_broken_connection());
        answer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let mut loans = self.loans.lock().unwrap_or_else(PoisonError::into_inner);
        loans.returned(self.since.elapsed(), self.busy);
        drop(loans);
        if self.busy {
            drop(Object::take(object));
        }
    }
}
