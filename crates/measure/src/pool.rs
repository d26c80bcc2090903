//! The pool under test: deadpool-redis as applications use it, with every step of a checkout timed and every loan counted.
//!
//! Connections are opened by [`crate::conn`] (so that TLS, unix sockets, names and reasons are ours) and checked before
//! each loan by deadpool-redis itself, which is the cost that its users pay. What is done with a connection is the
//! caller's; as load, [`PooledConnector`]'s. Whether a wait is too long is for the daemon to say.

mod account;
mod lent;
mod load;
mod manager;

use std::{
    cell::Cell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use deadpool::{
    Runtime,
    managed::{self, PoolError, QueueMode, TimeoutType, Timeouts},
};

use self::{
    account::Loans,
    manager::{CHECKS, Checks, Manager},
};
pub use self::{
    account::{Account, Parts, PoolStatus},
    lent::Lent,
    load::{Commands, Ledger, PooledClient, PooledConnector, Task, Use},
};
use crate::{
    clock,
    conn::Endpoint,
    error::{Failure, Reason},
    metric::LabelValue,
};

/// How a pool behaves: the user's own numbers.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// Its name, as reports and labels say it.
    pub name: LabelValue,
    /// Connections at the most.
    pub size: usize,
    /// How long an operation waits for a free connection; 0 does not wait.
    pub wait: Duration,
    /// Bound of an operation that does not block, and of the check before a loan.
    pub operation: Duration,
    /// The longest that an operation may block on the server; 0 where none does.
    pub block: Duration,
}

/// A pool of connections to one server. Cheap to clone; clones share it. Its connections live on the runtime that first
/// needed them, so it serves one runtime.
#[derive(Debug, Clone)]
pub struct Pool {
    config: PoolConfig,
    inner: managed::Pool<Manager>,
    loans: Arc<Mutex<Loans>>,
}

/// How long the steps of one checkout took. `total` is more than the sum of the others by some bookkeeping alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AcquireTimes {
    /// From asking to having one, or to giving up.
    pub total: Duration,
    /// Waiting for another's loan to end: `total` less the other two.
    pub wait: Duration,
    /// Checking idle connections (UNWATCH and PING, one round trip), also those that failed it.
    pub recycle: Duration,
    /// Opening new ones.
    pub create: Duration,
}

impl Pool {
    /// A pool without connections: they are opened when they are first needed, and named `client_name`.
    #[must_use]
    pub fn new(config: PoolConfig, endpoint: &Endpoint, client_name: &str) -> Self {
        let mut endpoint = endpoint.clone();
        // Each operation has a bound of its own; the connection's must never come first.
        endpoint.response_timeout = config.block + config.operation * 2;
        let timeouts = Timeouts { wait: Some(config.wait), create: None, recycle: Some(config.operation) };
        let pool_config =
            managed::PoolConfig { max_size: config.size, timeouts, queue_mode: QueueMode::default() };
        let loans = Arc::default();
        let inner = managed::Pool::builder(Manager::new(endpoint, client_name, Arc::clone(&loans)))
            .config(pool_config)
            .runtime(Runtime::Tokio1)
            .build()
            .expect("timeouts need a runtime, and one is given");
        Self { config, inner, loans }
    }

    /// Its numbers.
    #[must_use]
    pub const fn config(&self) -> &PoolConfig {
        &self.config
    }

    /// Takes a connection out on loan, and says how long that took, also where it failed: with `pool_timeout` when none
    /// came free in time, with `timeout` when one did and neither it nor a new one answered within the operation's own
    /// bound, and else with the reason for which none could be opened.
    ///
    /// deadpool bounds only the wait: a frozen server behind ten idle connections holds its `get` for ten checks.
    pub async fn acquire(&self) -> (Result<Lent, Failure>, AcquireTimes) {
        let begun = clock::now();
        let bound = self.config.wait + self.config.operation;
        let (taken, checks) = CHECKS
            .scope(Cell::default(), async {
                let taken = tokio::time::timeout(bound, self.inner.get()).await;
                (taken, CHECKS.with(Cell::get))
            })
            .await;
        let total = begun.elapsed();
        let Checks { recycle, create, .. } = checks;
        let times = AcquireTimes { total, wait: total.saturating_sub(recycle + create), recycle, create };
        let result = match taken {
            Ok(taken) => taken.map_err(|error| self.failure(error)),
            Err(_elapsed) => Err(Failure::new(
                Reason::Timeout,
                "a connection came free, and neither it nor a new one answered within the operation's timeout",
            )),
        };
        let reason = result.as_ref().err().map(|failure| failure.reason);
        self.loans().count(times, checks, reason);
        (result.map(|object| Lent::new(object, Arc::clone(&self.loans))), times)
    }

    fn failure(&self, error: PoolError<Failure>) -> Failure {
        match error {
            PoolError::Backend(failure) => failure,
            PoolError::Timeout(TimeoutType::Wait) => {
                let message = format!(
                    "no connection of the {} came free within {:?}",
                    self.config.size, self.config.wait
                );
                Failure::new(Reason::PoolTimeout, message)
            }
            // Nobody closes it, and it has a runtime and no hooks.
            error => Failure::new(Reason::Other, error.to_string()),
        }
    }

    /// How it stands now.
    #[must_use]
    pub fn status(&self) -> PoolStatus {
        let status = self.inner.status();
        let in_use = status.size.saturating_sub(status.available);
        PoolStatus { size: status.size, in_use, waiting: status.waiting }
    }

    /// What it has done so far.
    #[must_use]
    pub fn account(&self) -> Account {
        self.loans().account()
    }

    fn loans(&self) -> MutexGuard<'_, Loans> {
        self.loans.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
