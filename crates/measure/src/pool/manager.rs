//! How a pool opens and checks its connections, and how long that took within one checkout.
//!
//! deadpool tells neither that a check failed nor how long it took; the times are kept beside the checkout's own task.

use std::{
    cell::Cell,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use redis::aio::MultiplexedConnection;

use super::account::Loans;
use crate::{
    clock,
    conn::{self, Endpoint},
    error::{Failure, Reason},
};

/// What one checkout did besides waiting.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Checks {
    pub(super) recycle: Duration,
    pub(super) create: Duration,
    /// Idle connections that failed their check, and were replaced without a word.
    pub(super) recycle_failures: u64,
    /// Connections opened.
    pub(super) created: u64,
}

tokio::task_local! {
    /// Of the checkout that is under way on this task.
    pub(super) static CHECKS: Cell<Checks>;
}

fn note(change: impl FnOnce(&mut Checks)) {
    // Every checkout goes through `Pool::acquire`, which sets it.
    let _ = CHECKS.try_with(|cell| {
        let mut checks = cell.get();
        change(&mut checks);
        cell.set(checks);
    });
}

#[derive(Debug)]
pub(super) struct Manager {
    endpoint: Endpoint,
    client_name: String,
    loans: Arc<Mutex<Loans>>,
    /// Checks connections; it never opens one.
    stock: deadpool_redis::Manager,
}

impl Manager {
    pub(super) fn new(endpoint: Endpoint, client_name: &str, loans: Arc<Mutex<Loans>>) -> Self {
        let stock =
            deadpool_redis::Manager::new("redis://unused/").expect("the URL is a constant that parses");
        Self { endpoint, client_name: client_name.to_owned(), loans, stock }
    }
}

/// Adds the time until it is dropped: also of a step that is cancelled half-way.
struct Timed(clock::Instant, fn(&mut Checks, Duration));

impl Drop for Timed {
    fn drop(&mut self) {
        let Self(begun, add) = self;
        note(|checks| add(checks, begun.elapsed()));
    }
}

impl managed::Manager for Manager {
    type Type = MultiplexedConnection;
    type Error = Failure;

    async fn create(&self) -> Result<MultiplexedConnection, Failure> {
        let _timed = Timed(clock::now(), |checks, took| checks.create += took);
        let (connection, _) = conn::connect(&self.endpoint, &self.client_name).await?;
        note(|checks| checks.created += 1);
        Ok(connection)
    }

    async fn recycle(
        &self,
        connection: &mut MultiplexedConnection,
        metrics: &Metrics,
    ) -> RecycleResult<Failure> {
        let _timed = Timed(clock::now(), |checks, took| checks.recycle += took);
        // Counted as failed until it is known to be good, so that one which is cut short counts as well.
        note(|checks| checks.recycle_failures += 1);
        let checked = managed::Manager::recycle(&self.stock, connection, metrics).await;
        let Err(error) = checked else {
            note(|checks| checks.recycle_failures -= 1);
            return Ok(());
        };
        let failure = match error {
            RecycleError::Backend(error) => Failure::from(error),
            RecycleError::Message(text) => Failure::new(Reason::Protocol, text),
        };
        self.loans.lock().unwrap_or_else(PoisonError::into_inner).check_failed(failure.clone());
        Err(RecycleError::Backend(failure))
    }
}
