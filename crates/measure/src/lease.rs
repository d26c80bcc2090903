//! One redprobe at a time: the lease on a server that Load and Disrupt take before they begin.
//!
//! A key with a token and a TTL. It tells apart daemons and command lines on different machines; who else may run inside
//! one process, or on one machine, is decided by the daemon's locks and not here.

use std::time::Duration;

use redis::aio::MultiplexedConnection;

use crate::{
    conn::cluster::{Topology, slot},
    error::{Failure, ProbeError, Reason},
    grant::Grant,
};

/// One for all that a server (a database of it) is called in anybody's configuration: two daemons may well have
/// different names for one server, and must not load it together all the same.
pub const KEY: &str = "redprobe:lease";

/// The lease of a node of a cluster: [`KEY`] with the first number whose slot the node `keeps`, `redprobe:lease:{17}`.
/// `None` where it keeps none.
#[must_use]
pub fn key_kept(keeps: impl Fn(u16) -> bool) -> Option<String> {
    let keys = (0..TRIES).map(|number| format!("{KEY}:{{{number}}}"));
    keys.into_iter().find(|key| keeps(slot(key)))
}

/// Numbers tried for one that fits: some twenty for each slot, so that a node of a single slot finds one.
const TRIES: u32 = 400_000;

/// What taking it, keeping it and giving it back send.
pub const GRANTS: &[Grant] = &[
    Grant::load("set", "{lease} x NX PX 1", "take it"),
    Grant::load("get", "{lease}", "see whose it is"),
    Grant::load("pexpire", "{lease} 1", "keep it"),
    Grant::load("unlink", "{lease}", "give it back"),
    Grant::load("eval", "0 1 {lease}", "do either only while it is ours, in one step")
        .optional("it is kept and given back in two steps, between which it could become another's"),
];

/// A lease that was taken. It ends by itself when it is not renewed; dropping it without [`Lease::release`] leaves it to
/// that.
#[derive(Debug)]
pub struct Lease {
    key: String,
    /// What the key holds: a random token, and who holds it.
    value: String,
    ttl_milliseconds: u64,
}

/// Before 7.0, where PEXPIRE knows no GT, the time is set whatever it was.
const RENEW: &str = "local longer = redis.pcall('PEXPIRE', KEYS[1], ARGV[2], 'GT') \
    if type(longer) == 'table' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 1";

/// Makes the server's lease the last key that it would evict, for a run that lets it evict keys: used just now, and with
/// `ttl` to live, which has to be longer than that of the run's keys where the policy takes the shortest-lived.
///
/// # Errors
/// Where the server refuses or goes away.
pub async fn freshen(conn: &mut MultiplexedConnection, key: &str, ttl: Duration) -> Result<(), Failure> {
    let milliseconds = u64::try_from(ttl.as_nanos() / 1_000_000).unwrap_or(u64::MAX).max(1);
    redis::cmd("PEXPIRE").arg(key).arg(milliseconds).query_async::<()>(conn).await?;
    Ok(())
}

/// Longest part of another holder's name that a message repeats.
const LONGEST_HOLDER: usize = 100;

impl Lease {
    /// Takes the lease of the server behind `conn` for `ttl`: `key` is [`KEY`], or in a cluster that of
    /// [`key_kept`]; `holder` is what others are told: the host and process.
    ///
    /// # Errors
    /// Skipped (`lease`) where somebody else has it, naming them; failed where the server refuses or goes away.
    pub async fn acquire(
        conn: &mut MultiplexedConnection,
        key: &str,
        holder: &str,
        ttl: Duration,
    ) -> Result<Self, ProbeError> {
        let ttl_milliseconds = u64::try_from(ttl.as_nanos() / 1_000_000).unwrap_or(u64::MAX).max(1);
        let lease = Self {
            key: key.to_owned(),
            value: format!("{:032x} {holder}", rand::random::<u128>()),
            ttl_milliseconds,
        };
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&lease.value).arg("NX").arg("PX").arg(ttl_milliseconds);
        let taken: Option<String> = set.query_async(conn).await.map_err(Failure::from)?;
        if taken.is_some() {
            return Ok(lease);
        }
        let other = held_by(conn, key).await?.unwrap_or_default();
        let name = other.split_once(' ').map_or("another redprobe", |(_, name)| name);
        let name: String = name.chars().filter(|c| !c.is_control()).take(LONGEST_HOLDER).collect();
        let message =
            format!("{name} holds the lease of this server (key {key}); it ends soon after that one's run");
        Err(ProbeError::skipped(Reason::Lease, message))
    }

    /// Makes it last for its whole time again, or as long as [`freshen`] made it last where that is longer.
    ///
    /// # Errors
    /// `lease` where it is lost: evicted, expired, or somebody else's. Stop then; it is not taken again. Other reasons
    /// where the server cannot be asked.
    pub async fn renew(&mut self, conn: &mut MultiplexedConnection) -> Result<(), Failure> {
        if self.if_ours(conn, RENEW, "PEXPIRE").await? {
            return Ok(());
        }
        let message =
            format!("the lease {} was lost: it expired, was evicted, or was taken by another", self.key);
        Err(Failure::new(Reason::Lease, message))
    }

    /// Gives it back, where it is still ours; another's stays.
    ///
    /// # Errors
    /// Where the server refuses or goes away; it then ends by its TTL, unless another try gives it back before.
    pub async fn release(&self, conn: &mut MultiplexedConnection) -> Result<(), Failure> {
        self.if_ours(conn, "return redis.call('UNLINK', KEYS[1])", "UNLINK").await?;
        Ok(())
    }

    /// Does it where the key is still ours: in one step by a script, or, where scripts are denied, in two (between
    /// which the key could expire and become another's: at worst that one's lease is renewed or ends early).
    async fn if_ours(
        &self,
        conn: &mut MultiplexedConnection,
        action: &str,
        command: &'static str,
    ) -> Result<bool, Failure> {
        let script = format!("if redis.call('GET', KEYS[1]) == ARGV[1] then {action} else return 0 end");
        let mut eval = redis::cmd("EVAL");
        eval.arg(script).arg(1).arg(&self.key).arg(&self.value).arg(self.ttl_milliseconds);
        match eval.query_async::<u64>(conn).await.map_err(Failure::from) {
            Ok(done) => return Ok(done > 0),
            Err(failure) if matches!(failure.reason, Reason::Denied | Reason::Unsupported) => {}
            Err(failure) => return Err(failure),
        }
        if held_by(conn, &self.key).await?.as_deref() != Some(&self.value) {
            return Ok(false);
        }
        let mut step = redis::cmd(command);
        step.arg(&self.key);
        if command == "PEXPIRE" {
            step.arg(self.ttl_milliseconds);
        }
        Ok(step.query_async::<u64>(conn).await? > 0)
    }
}

/// What the holder of the lease with this key is called; `None` where nobody has it.
///
/// # Errors
/// Where the server refuses or goes away.
pub async fn holder(conn: &mut MultiplexedConnection, key: &str) -> Result<Option<String>, Failure> {
    let value = held_by(conn, key).await?;
    Ok(value.map(|value| value.split_once(' ').map_or_else(String::new, |(_, holder)| holder.to_owned())))
}

/// As [`holder`], of a server that may be a node of a cluster: then its key is found out first.
///
/// # Errors
/// As [`holder`].
pub async fn holder_anywhere(conn: &mut MultiplexedConnection) -> Result<Option<String>, Failure> {
    match holder(conn, KEY).await {
        Err(failure) if failure.reason == Reason::Moved => {
            let topology = Topology::ask(conn).await?;
            match key_kept(|slot| topology.keeps(slot)) {
                Some(key) => holder(conn, &key).await,
                None => Ok(None),
            }
        }
        known => known,
    }
}

async fn held_by(conn: &mut MultiplexedConnection, key: &str) -> Result<Option<String>, Failure> {
    Ok(redis::cmd("GET").arg(key).query_async(conn).await?)
}
