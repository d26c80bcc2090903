//! What a pool did: waits, failures, checks, and how long its connections were out.
//!
//! Counting alone. Times of operations are kept by kind in [`Parts`], for the attribution.

use std::time::Duration;

use super::{AcquireTimes, manager::Checks};
use crate::{
    error::{Failure, Reason},
    latency::Recorder,
    report,
};

/// How a pool stands at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolStatus {
    /// Connections that are open.
    pub size: usize,
    /// Those of them that are on loan, or checked for one.
    pub in_use: usize,
    /// Operations without one: they wait, or one is opened for them.
    pub waiting: usize,
}

/// What a pool has done over its life.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Waits that ended with a connection.
    pub waits: Recorder,
    /// All waits: those that ended without a connection count with the time that they lasted.
    pub all_waits: Recorder,
    /// The checks before loans of connections that had been idle.
    pub checks: Recorder,
    /// Waits that ended without a connection, for want of a free one.
    pub wait_failures: u64,
    /// Checkouts that failed for any other reason.
    pub other_failures: u64,
    /// Connections opened.
    pub created: u64,
    /// Idle connections that failed their check and were replaced; deadpool tells nobody.
    pub recycle_failures: u64,
    /// Why the first of them failed; a check that was cut short has no reason.
    pub check_failure: Option<Failure>,
    /// Connections taken out of the pool because an operation on them was cut short.
    pub discarded: u64,
    /// How long connections were on loan, all together; of loans that have ended.
    pub held: Duration,
}

impl Account {
    /// Both together.
    pub fn merge(&mut self, other: &Account) {
        self.waits.merge(&other.waits);
        self.all_waits.merge(&other.all_waits);
        self.checks.merge(&other.checks);
        self.wait_failures += other.wait_failures;
        self.other_failures += other.other_failures;
        self.created += other.created;
        self.recycle_failures += other.recycle_failures;
        self.check_failure = self.check_failure.take().or_else(|| other.check_failure.clone());
        self.discarded += other.discarded;
        self.held += other.held;
    }

    /// As the report of the pools `of` one configuration shows it.
    #[must_use]
    pub fn report(&self, of: &super::PoolConfig) -> report::Pool {
        report::Pool {
            name: of.name.clone(),
            size: of.size as u64,
            wait: self.waits.summary(),
            wait_failures: self.wait_failures,
            recycle: self.checks.summary(),
            recycle_failures: self.recycle_failures,
            created: self.created,
            wait_buckets: self.waits.buckets(),
        }
    }
}

/// The books of a pool.
#[derive(Debug, Default)]
pub(super) struct Loans {
    account: Account,
}

impl Loans {
    pub(super) fn account(&self) -> Account {
        self.account.clone()
    }

    /// One checkout; `failed` where it gave no connection.
    pub(super) fn count(&mut self, times: AcquireTimes, checks: Checks, failed: Option<Reason>) {
        let account = &mut self.account;
        account.all_waits.record(times.wait);
        match failed {
            None => account.waits.record(times.wait),
            Some(Reason::PoolTimeout) => account.wait_failures += 1,
            Some(_) => account.other_failures += 1,
        }
        if !times.recycle.is_zero() {
            account.checks.record(times.recycle);
        }
        account.created += checks.created;
        account.recycle_failures += checks.recycle_failures;
    }

    pub(super) fn check_failed(&mut self, why: Failure) {
        self.account.check_failure.get_or_insert(why);
    }

    pub(super) fn returned(&mut self, held: Duration, discarded: bool) {
        self.account.held += held;
        self.account.discarded += u64::from(discarded);
    }
}

/// Where the time of one kind of pooled operation went, summed over all attempts, also failed ones: with successes alone
/// the operations that found no connection, which are those that matter, would be left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Operations.
    pub attempts: u64,
    /// Those of them that were sent to the server.
    pub sent: u64,
    /// From when each was due to when its result was known.
    pub observed: Duration,
    /// From when each was due to when it asked for a connection.
    pub late: Duration,
    /// See [`AcquireTimes::wait`].
    pub wait: Duration,
    /// See [`AcquireTimes::recycle`].
    pub recycle: Duration,
    /// See [`AcquireTimes::create`].
    pub create: Duration,
    /// From the send to the reply, or to giving up.
    pub round_trip: Duration,
}

impl Parts {
    /// Both together.
    pub fn add(&mut self, other: Parts) {
        self.attempts += other.attempts;
        self.sent += other.sent;
        self.observed += other.observed;
        self.late += other.late;
        self.wait += other.wait;
        self.recycle += other.recycle;
        self.create += other.create;
        self.round_trip += other.round_trip;
    }
}
