//! The watch over a run that disrupts: on a connection of its own, from before any pressure until the run ends, it stops
//! the run as soon as somebody else suffers.
//!
//! What the figures mean is `seen`'s; what happens to a run that is stopped, and the halts that come from outside the
//! server (by hand, lease, deadline), are the daemon's.

use std::{collections::VecDeque, time::Duration};

use redis::aio::MultiplexedConnection;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::{
    canary::is_answer,
    own::OwnErrors,
    seen::{Counter, Seen},
};
use crate::{
    clock::{self, Instant},
    conn::{self, Endpoint},
    error::{Failure, ProbeError, Reason},
    facts::Info,
    grant::Grant,
    keys::KeySpace,
};

/// Between two PINGs: those of an impatient client.
const PING_INTERVAL: Duration = Duration::from_millis(100);
/// PINGs from one INFO to the next: INFO is asked twice a second, so that a halt comes within one, as the safety
/// contract wants it, also where an answer is late.
const PINGS_PER_INFO: u32 = 5;
/// PINGs of the baseline, and the time between them: over a tenth of a second in which the server also shows whether it
/// evicts or refuses by itself.
const BASELINE: (u32, Duration) = (20, Duration::from_millis(10));
/// A PING is slow above this many times the baseline's median …
const SLOW: u32 = 5;
/// … and above this in any case: half of the shortest time-outs that clients are commonly given (200 ms), which also is
/// far more than a busy but healthy server takes.
const SLOW_AT_LEAST: Duration = Duration::from_millis(100);
/// So many of the last PINGs have to be slow: one may be the network's, or the machine's that redprobe is on.
const SLOW_OF_LAST: (usize, usize) = (3, 5);
/// Longest time without an answer, whatever the baseline. Longer than that, common clients give up.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long the run's own account may lag behind the server's: a refusal that the server has counted, and whose reply
/// the run is about to read. Looked at so many times, with this pause.
const LAG: (u32, Duration) = (6, Duration::from_millis(50));
/// Longest time to find out whose keys were evicted.
const TELLING: Duration = Duration::from_secs(1);

/// Sections of INFO with the figures that are watched.
const SECTIONS: [&str; 5] = ["server", "persistence", "stats", "replication", "errorstats"];

/// What [`Watch`] sends.
pub const WATCH: &[Grant] = &[
    Grant::disrupt("ping", "", "see that others are answered in time"),
    Grant::disrupt("info", "stats", "see that others lose and suffer nothing"),
    Grant::disrupt("exists", "{key}", "tell evictions of own keys from those of foreign ones"),
];

/// Watches a server on behalf of everybody else who uses it. Holds one connection.
#[derive(Debug)]
pub struct Watch {
    endpoint: Endpoint,
    name: String,
    conn: MultiplexedConnection,
    /// [`SECTIONS`], or all where the server (before 7.0) takes but one.
    sections: &'static [&'static str],
    seen: Seen,
    /// `evicted_keys`' rise that was found to be the run's own.
    explained: u64,
    /// Of the PINGs before the run, and what is slow by that.
    median: Duration,
    slow: Duration,
    pings: VecDeque<Duration>,
}

impl Watch {
    /// Takes the baseline of the server: before any pressure. `name` is the connection's.
    ///
    /// # Errors
    /// Skipped (`precondition`) where the server evicts or refuses by itself, since nobody could tell then what the run
    /// does. Failed where it cannot be asked.
    pub async fn begin(endpoint: &Endpoint, name: &str) -> Result<Self, ProbeError> {
        let mut endpoint = endpoint.clone();
        endpoint.connect_timeout = endpoint.connect_timeout.min(PATIENCE);
        endpoint.response_timeout = PATIENCE;
        let (mut conn, _) = conn::connect(&endpoint, name).await?;
        let (sections, info) = match Info::ask(&mut conn, &SECTIONS).await {
            Ok(info) => (&SECTIONS[..], info),
            Err(failure) if failure.reason.is_broken_connection() => return Err(failure.into()),
            Err(_one_section_at_a_time) => (&["all"][..], Info::ask(&mut conn, &["all"]).await?),
        };
        let mut watch = Self {
            endpoint,
            name: name.to_owned(),
            conn,
            sections,
            seen: Seen::first(&info),
            explained: 0,
            median: Duration::ZERO,
            slow: Duration::ZERO,
            pings: VecDeque::new(),
        };
        let (pings, pause) = BASELINE;
        let mut times = Vec::new();
        for _ in 0..pings {
            times.push(watch.ping().await?);
            sleep(pause).await;
        }
        times.sort_unstable();
        watch.median = times[times.len() / 2];
        watch.slow = slow(watch.median);
        let info = Info::ask(&mut watch.conn, watch.sections).await?;
        if let Some(failure) = watch.seen.look(&info) {
            return Err(ProbeError::Skipped(failure));
        }
        match watch.seen.uneasy() {
            None => Ok(watch),
            Some(uneasy) => {
                let message = format!(
                    "{uneasy}: what the run does could not be told from that; it may run when the server is at ease"
                );
                Err(ProbeError::skipped(Reason::Precondition, message))
            }
        }
    }

    /// What this server does not tell, so that it cannot be watched: for the run's log.
    #[must_use]
    pub fn blind(&self) -> Vec<&'static str> {
        self.seen.blind()
    }

    /// Runs until somebody else suffers, and returns how: what was seen, before and after, and what to do. The run's own
    /// refusals are those it has noted in `own`; its own evictions, those of `keys`.
    pub async fn run(&mut self, own: &OwnErrors, keys: &KeySpace) -> Failure {
        let mut ticks = interval(PING_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut answered = clock::now();
        for turn in 0_u32.. {
            ticks.tick().await;
            let looked =
                if turn % PINGS_PER_INFO == 0 { self.look(own, keys).await } else { self.time().await };
            match looked {
                Ok(()) => answered = clock::now(),
                Err(Stop::Halt(failure)) => return failure,
                Err(Stop::Broken(failure)) => {
                    if let Err(failure) = self.again(answered, failure).await {
                        return failure;
                    }
                }
            }
        }
        Failure::new(Reason::Canary, "the watch has come to its end")
    }

    async fn ping(&mut self) -> Result<Duration, Failure> {
        let asked = clock::now();
        redis::cmd("PING").query_async::<()>(&mut self.conn).await?;
        Ok(asked.elapsed())
    }

    /// One PING, held against the baseline.
    async fn time(&mut self) -> Result<(), Stop> {
        let took = self.ping().await?;
        let (slow, of) = SLOW_OF_LAST;
        self.pings.push_back(took);
        if self.pings.len() > of {
            self.pings.pop_front();
        }
        if self.pings.iter().filter(|took| **took > self.slow).count() < slow {
            return Ok(());
        }
        let message = format!(
            "{slow} of {of} PINGs took longer than {:.0} ms, the last {:.0} ms, where half took at most {:.2} ms before \
             the run: press less, or in smaller batches",
            self.slow.as_secs_f64() * 1e3,
            took.as_secs_f64() * 1e3,
            self.median.as_secs_f64() * 1e3
        );
        Err(Stop::Halt(Failure::new(Reason::Canary, message)))
    }

    /// One INFO, held against the first.
    async fn look(&mut self, own: &OwnErrors, keys: &KeySpace) -> Result<(), Stop> {
        let info = Info::ask(&mut self.conn, self.sections).await?;
        if let Some(failure) = self.seen.look(&info) {
            return Err(Stop::Halt(failure));
        }
        for (reason, counter, what, remedy) in [
            (
                Reason::Oom,
                self.seen.oom,
                "other clients were refused for want of memory (errorstat_OOM",
                "lower the target share, or raise maxmemory",
            ),
            (
                Reason::Misconf,
                self.seen.misconf,
                "writes of others were refused because the server cannot persist (errorstat_MISCONF",
                "see the server's log and mend its disk",
            ),
            (
                Reason::Rejected,
                self.seen.rejected,
                "connections of others were turned away (rejected_connections",
                "raise maxclients, or press when fewer clients are there",
            ),
        ] {
            if own.accepts(reason) {
                continue;
            }
            let foreign = foreign(counter, || own.noted(reason)).await;
            if foreign > 0 {
                let message =
                    format!("{what} went {}, {foreign} of it not the run's own): {remedy}", counter.way());
                return Err(Stop::Halt(Failure::new(reason, message)));
            }
        }
        self.evictions(keys).await
    }

    /// Whose keys were evicted. Asks for the run's own only where there is something to explain.
    async fn evictions(&mut self, keys: &KeySpace) -> Result<(), Stop> {
        let evicted = self.seen.evicted;
        if evicted.risen == self.explained {
            return Ok(());
        }
        let known = keys.known();
        let telling = timeout(TELLING, self.own_evictions(keys, evicted.risen)).await;
        let whose = match telling {
            Ok(Ok(own)) if own >= evicted.risen => {
                // A key that the run removed meanwhile may have been counted as evicted: look again, then.
                if keys.known() >= known {
                    self.explained = evicted.risen;
                }
                return Ok(());
            }
            Ok(Ok(own)) => format!("of which {own} were the run's own"),
            Ok(Err(failure)) => return Err(failure.into()),
            Err(_elapsed) => {
                format!("and whose they were could not be told within {} s", TELLING.as_secs_f64())
            }
        };
        let message = format!(
            "foreign keys were evicted (evicted_keys went {}, {whose}): raise maxmemory, press less, or choose a policy \
             that spares them",
            evicted.way()
        );
        Err(Stop::Halt(Failure::new(Reason::ForeignEviction, message)))
    }

    async fn own_evictions(&mut self, keys: &KeySpace, risen: u64) -> Result<u64, Failure> {
        let (times, pause) = LAG;
        let mut own = keys.lost(&mut self.conn).await?;
        for _ in 1..times {
            if own >= risen {
                break;
            }
            sleep(pause).await;
            own = keys.lost(&mut self.conn).await?;
        }
        Ok(own)
    }

    /// Another connection to the same server, within what is left of the patience.
    async fn again(&mut self, answered: Instant, mut last: Failure) -> Result<(), Failure> {
        loop {
            let left = PATIENCE.saturating_sub(answered.elapsed());
            if left.is_zero() {
                let message = format!(
                    "the server has not answered for {:.1} s ({last}): press less, and see its log",
                    answered.elapsed().as_secs_f64()
                );
                return Err(Failure::new(Reason::Canary, message));
            }
            match timeout(left, conn::connect(&self.endpoint, &self.name)).await {
                Ok(Ok((mut conn, _))) => match Info::ask(&mut conn, &["server"]).await {
                    Ok(info) => {
                        self.conn = conn;
                        return self.seen.restarted(info.text("run_id")).map_or(Ok(()), Err);
                    }
                    Err(failure) if is_answer(failure.reason) => return Err(refused(failure)),
                    Err(failure) => last = failure,
                },
                Ok(Err(failure)) if is_answer(failure.reason) => return Err(refused(failure)),
                Ok(Err(failure)) => last = failure,
                Err(_elapsed) => {}
            }
            sleep(PING_INTERVAL.min(left)).await;
        }
    }
}

/// Why a look is the last one of its connection.
enum Stop {
    /// The run has to stop.
    Halt(Failure),
    /// The connection broke, which the server may know nothing of.
    Broken(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        if is_answer(failure.reason) { Stop::Halt(refused(failure)) } else { Stop::Broken(failure) }
    }
}

/// A server that refuses the watch refuses everybody, or at least is not watched any more.
fn refused(failure: Failure) -> Failure {
    let reason = match failure.reason {
        // Loaded, it would have another run_id.
        Reason::Loading => Reason::Restarted,
        reason => reason,
    };
    Failure::new(reason, format!("the server refuses the watch: {}", failure.message))
}

/// What a PING may take, for this median of the baseline.
fn slow(median: Duration) -> Duration {
    (median * SLOW).clamp(SLOW_AT_LEAST, PATIENCE)
}

/// How much of a counter's rise is not the run's own. The run may still have to read its replies.
async fn foreign(counter: Counter, own: impl Fn() -> u64) -> u64 {
    let (times, pause) = LAG;
    for turn in 0..times {
        if own() >= counter.risen {
            return 0;
        }
        if turn + 1 < times {
            sleep(pause).await;
        }
    }
    counter.risen.saturating_sub(own())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slow_follows_the_baseline_within_bounds() {
        for (median, limit) in [(1, 100), (19, 100), (30, 150), (150, 750), (400, 1_000)] {
            assert_eq!(slow(Duration::from_millis(median)), Duration::from_millis(limit));
        }
    }
}
