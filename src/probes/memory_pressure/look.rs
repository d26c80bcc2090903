//! One look at the server: its memory, its evictions, and whose keys it holds.
//!
//! Reads only. What a look means for the run's going on is decided here as well, since it must be at every one: others
//! may come meanwhile. Whether a run may begin at all is `plan`'s.

use std::{collections::BTreeMap, time::Duration};

use measure::{
    ProbeError, Reason,
    clock::{self, Instant},
    facts::Info,
    keys::own_keys,
    redis::aio::MultiplexedConnection,
    report::TimelinePoint,
};

use super::plan::{Plan, State, size};
use crate::{probe::ProbeCx, verdict::human};

/// Keys that are looked at to tell redprobe's own (the lease, leftovers of runs that were killed) from others'; beyond
/// them all count as others'.
const MOST_SCANNED: u64 = 200_000;
/// Own keys that are gone are counted no more often than this.
const COUNT_LOST_EVERY: Duration = Duration::from_millis(250);

/// What the server said at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) at: Instant,
    /// Memory that counts towards the limit: used, less buffers of replicas and of the AOF.
    pub(super) used: u64,
    pub(super) resident: Option<f64>,
    pub(super) fragmentation: Option<f64>,
    /// Keys evicted since the server started.
    pub(super) evicted: u64,
    /// Commands since the server started.
    pub(super) commands: u64,
    /// Keys of all databases, and those with a time to live.
    pub(super) keys: u64,
    pub(super) expiring: u64,
}

impl Look {
    pub(super) async fn take(cx: &ProbeCx, conn: &mut MultiplexedConnection) -> Result<Self, ProbeError> {
        Self::of(&cx.info(conn, &[]).await?)
    }

    fn of(info: &Info) -> Result<Self, ProbeError> {
        let Some(used) = info.integer("used_memory") else {
            return Err(ProbeError::skipped(
                Reason::Unsupported,
                "INFO of this server has no used_memory, and without it there is no knowing when to stop",
            ));
        };
        let keyspace = info.keyspace();
        Ok(Self {
            at: clock::now(),
            used: used.saturating_sub(info.integer("mem_not_counted_for_evict").unwrap_or(0)),
            resident: info.number("used_memory_rss"),
            fragmentation: info.number("mem_fragmentation_ratio"),
            evicted: info.integer("evicted_keys").unwrap_or(0),
            commands: info.integer("total_commands_processed").unwrap_or(0),
            keys: keyspace.values().map(|(keys, _)| keys).sum(),
            expiring: keyspace.values().map(|(_, expiring)| expiring).sum(),
        })
    }

    /// As a point of a plot, `before` being the one before it.
    pub(super) fn point(
        &self,
        phase: &'static str,
        began: Instant,
        plan: &Plan,
        before: &Look,
    ) -> TimelinePoint {
        let seconds = (self.at - before.at).as_secs_f64();
        let rate = |now: u64, then: u64| {
            if seconds > 0.0 { now.saturating_sub(then) as f64 / seconds } else { 0.0 }
        };
        let mut values = BTreeMap::from([
            ("used_bytes", self.used as f64),
            ("used_ratio", self.used as f64 / plan.limit as f64),
            ("evictions_per_second", rate(self.evicted, before.evicted)),
            ("commands_per_second", rate(self.commands, before.commands)),
            ("keys", self.keys as f64),
        ]);
        values.extend(self.resident.map(|bytes| ("resident_bytes", bytes)));
        TimelinePoint { phase, at_seconds: (self.at - began).as_secs_f64(), values }
    }
}

/// The server's state before a run, with the first look.
pub(super) async fn state(
    cx: &ProbeCx,
    conn: &mut MultiplexedConnection,
) -> Result<(State, Look), ProbeError> {
    let own = own_keys(conn, MOST_SCANNED).await?;
    let info = cx.info(conn, &[]).await?;
    let look = Look::of(&info)?;
    let state = State {
        used: look.used,
        limit: info.integer("maxmemory").unwrap_or(0),
        policy: info.text("maxmemory_policy").unwrap_or("unknown").to_owned(),
        machine: info.integer("total_system_memory").filter(|bytes| *bytes > 0),
        foreign: look.keys.saturating_sub(own),
        // Every own key has a time to live.
        foreign_expiring: look.expiring.saturating_sub(own),
        foreign_ttl: shortest_average_ttl(&info),
        own_ttl: cx.keys.ttl().as_secs_f64(),
    };
    Ok((state, look))
}

/// In seconds, of the database where it is shortest; `None` where no key has one, or the server has not looked yet.
fn shortest_average_ttl(info: &Info) -> Option<f64> {
    let average = |database: &u32| {
        let text = info.text(&format!("db{database}"))?;
        let milliseconds: f64 =
            text.split(',').find_map(|part| part.strip_prefix("avg_ttl=")?.parse().ok())?;
        (milliseconds > 0.0).then_some(milliseconds / 1_000.0)
    };
    info.keyspace().keys().filter_map(average).min_by(f64::total_cmp)
}

/// Keeps an eye on keys of others while a run lasts.
#[derive(Debug)]
pub(super) struct Others {
    /// Own keys that are not of this run: the lease, leftovers.
    strays: u64,
    /// Most foreign keys seen at a time.
    pub(super) most_seen: u64,
    evicted_then: u64,
    /// Own keys of this run that were evicted, when last counted.
    pub(super) lost: u64,
    counted_at: Instant,
    /// Of those, the ones that were found gone when they were to be removed.
    pub(super) lost_at_removal: u64,
}

impl Others {
    pub(super) fn new(state: &State, look: &Look) -> Self {
        Self {
            strays: look.keys.saturating_sub(state.foreign),
            most_seen: state.foreign,
            evicted_then: look.evicted,
            lost: 0,
            counted_at: look.at,
            lost_at_removal: 0,
        }
    }

    /// Ends the run where it would now harm others: more of their keys than it may be beside, or memory so near the limit
    /// that theirs would be evicted.
    pub(super) async fn check(
        &mut self,
        cx: &ProbeCx,
        conn: &mut MultiplexedConnection,
        (plan, look): (&Plan, &Look),
    ) -> Result<(), ProbeError> {
        if look.evicted > self.evicted_then && clock::now() - self.counted_at >= COUNT_LOST_EVERY {
            self.count_lost(cx, conn).await?;
            self.evicted_then = look.evicted;
        }
        let there = cx.keys.known().saturating_sub(self.lost.saturating_sub(self.lost_at_removal));
        let mut foreign = look.keys.saturating_sub(there + self.strays);
        let mut expiring = look.expiring.saturating_sub(there + self.strays);
        if foreign > plan.most_foreign || expiring > plan.most_foreign_expiring {
            // Perhaps own ones of another run, such as a health check's: counted one by one before the alarm.
            let own = own_keys(conn, MOST_SCANNED).await?;
            let again = Look::take(cx, conn).await?;
            foreign = again.keys.saturating_sub(own);
            expiring = again.expiring.saturating_sub(own);
        }
        self.most_seen = self.most_seen.max(foreign);
        let (policy, used) = (plan.policy, size(look.used));
        let harm = if foreign > plan.most_foreign {
            format!(
                "{} came while the run lasted, and under {policy} it may be beside {} at the most (max_foreign_keys, \
                 accept_foreign_oom)",
                human::things(foreign, "foreign key"),
                human::count(plan.most_foreign)
            )
        } else if expiring > plan.most_foreign_expiring {
            format!(
                "{} with a time to live came while the run lasted, and under {policy} above the limit it may be beside {} \
                 at the most",
                human::things(expiring, "foreign key"),
                human::count(plan.most_foreign_expiring)
            )
        } else if let Some(most) = plan.gives_way_at.filter(|most| foreign > 0 && look.used > *most) {
            let most = size(most);
            format!(
                "others filled memory to {used}, above {most}, from where {policy} could evict keys of theirs"
            )
        } else {
            return Ok(());
        };
        Err(ProbeError::halted(Reason::Precondition, harm))
    }

    /// Counts own keys that were evicted.
    pub(super) async fn count_lost(
        &mut self,
        cx: &ProbeCx,
        conn: &mut MultiplexedConnection,
    ) -> Result<(), ProbeError> {
        self.lost = cx.keys.lost(conn).await?;
        self.counted_at = clock::now();
        Ok(())
    }
}
