//! What INFO says that others suffer, compared with what it said before any pressure: counters that rose, replicas that
//! went, a server that is another one.
//!
//! Only figures and sentences. When it is asked, and whose the evictions and refusals are, is `watch`'s.

use crate::{
    error::{Failure, Reason},
    facts::Info,
};

/// A counter of the server, followed from the first look on. One that somebody resets is followed from there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counter {
    /// Where it stood before any pressure; `None` where the server does not have it.
    first: Option<u64>,
    last: u64,
    /// How much it has risen since.
    pub(super) risen: u64,
}

impl Counter {
    fn look(&mut self, now: Option<u64>) {
        let Some(now) = now else { return };
        match self.first {
            None => self.first = Some(now),
            Some(_) => self.risen += if now >= self.last { now - self.last } else { now },
        }
        self.last = now;
    }

    /// "from 3 to 7".
    pub(super) fn way(&self) -> String {
        format!("from {} to {}", self.first.unwrap_or_default(), self.last)
    }
}

/// The figures that are watched.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    run_id: Option<String>,
    replicas: u64,
    /// `evicted_keys`.
    pub(super) evicted: Counter,
    /// `rejected_connections`: turned away because of `maxclients`.
    pub(super) rejected: Counter,
    /// `errorstat_OOM`: commands refused because of `maxmemory`.
    pub(super) oom: Counter,
    /// `errorstat_MISCONF`: writes refused because the server cannot persist.
    pub(super) misconf: Counter,
    /// `sync_full` and `sync_partial_ok`: replicas that had to connect anew.
    synchronised: Counter,
    /// `aof_delayed_fsync`: writers that waited for the disk.
    delayed: Counter,
}

impl Seen {
    /// The figures before any pressure.
    pub(super) fn first(info: &Info) -> Self {
        let mut seen = Self {
            run_id: info.text("run_id").map(str::to_owned),
            replicas: info.replicas_online(),
            ..Self::default()
        };
        seen.count(info);
        seen
    }

    /// Which of the figures this server does not give, so that nobody watches them.
    pub(super) fn blind(&self) -> Vec<&'static str> {
        [
            ("evicted_keys", self.evicted),
            ("rejected_connections", self.rejected),
            ("errorstat_OOM, errorstat_MISCONF", self.oom),
        ]
        .into_iter()
        .filter_map(|(name, counter)| counter.first.is_none().then_some(name))
        .collect()
    }

    /// Takes in the next INFO. Returns what no run may do to a server, whatever its own share in it is; evictions and
    /// refusals only count on, since some may be the run's own.
    pub(super) fn look(&mut self, info: &Info) -> Option<Failure> {
        self.count(info);
        self.restarted(info.text("run_id")).or_else(|| self.replicas(info)).or_else(|| self.disk())
    }

    /// What evicted or refused already, by itself.
    pub(super) fn uneasy(&self) -> Option<String> {
        [
            ("evicted_keys", self.evicted),
            ("rejected_connections", self.rejected),
            ("errorstat_OOM", self.oom),
            ("errorstat_MISCONF", self.misconf),
            ("aof_delayed_fsync", self.delayed),
        ]
        .into_iter()
        .find(|(_, counter)| counter.risen > 0)
        .map(|(name, counter)| format!("{name} rises by itself ({})", counter.way()))
    }

    fn count(&mut self, info: &Info) {
        // A server that counts errors by code leaves out those that there were none of.
        let counts_errors = info.text("total_error_replies").is_some();
        let errors = info.errors();
        let of = |code: &str| counts_errors.then(|| errors.get(code).copied().unwrap_or(0));
        self.oom.look(of("OOM"));
        self.misconf.look(of("MISCONF"));
        self.evicted.look(info.integer("evicted_keys"));
        self.rejected.look(info.integer("rejected_connections"));
        self.delayed.look(info.integer("aof_delayed_fsync"));
        let synchronised =
            info.integer("sync_full").map(|full| full + info.integer("sync_partial_ok").unwrap_or(0));
        self.synchronised.look(synchronised);
    }

    pub(super) fn restarted(&self, run_id: Option<&str>) -> Option<Failure> {
        let (before, now) = (self.run_id.as_deref()?, run_id?);
        (before != now).then(|| {
            Failure::new(
                Reason::Restarted,
                format!(
                    "the server restarted during the run (run_id was {before}, is {now}): see its log for why"
                ),
            )
        })
    }

    fn replicas(&self, info: &Info) -> Option<Failure> {
        let now = info.replicas_online();
        let seen = if now < self.replicas {
            format!("{now} replicas are online, {} were before the run", self.replicas)
        } else if self.synchronised.risen > 0 {
            format!(
                "a replica had to synchronise again (sync_full + sync_partial_ok went {})",
                self.synchronised.way()
            )
        } else {
            return None;
        };
        let message = format!(
            "{seen}: press less, or give replicas a larger client-output-buffer-limit and repl-backlog-size"
        );
        Some(Failure::new(Reason::Noreplicas, message))
    }

    fn disk(&self) -> Option<Failure> {
        (self.delayed.risen > 0).then(|| {
            let message = format!(
                "writers waited for the disk (aof_delayed_fsync went {}): press less, or give the AOF a faster disk",
                self.delayed.way()
            );
            Failure::new(Reason::Canary, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "run_id:aa\nevicted_keys:3\nrejected_connections:0\ntotal_error_replies:1\n\
        aof_delayed_fsync:2\nsync_full:1\nsync_partial_ok:1\n\
        slave0:ip=h,port=1,state=online\nslave1:ip=h,port=2,state=online\n";

    fn after(changes: &[(&str, &str)]) -> (Seen, Option<Failure>) {
        let mut seen = Seen::first(&Info::parse(BEFORE));
        let text = changes.iter().fold(BEFORE.to_owned(), |text, (from, to)| text.replace(from, to));
        let failure = seen.look(&Info::parse(&text));
        (seen, failure)
    }

    #[test]
    fn a_server_that_stays_as_it_was_gives_no_reason() {
        let (seen, failure) = after(&[]);
        assert!(failure.is_none() && seen.uneasy().is_none() && seen.blind().is_empty());
    }

    #[test]
    fn each_condition_says_what_was_and_what_is() {
        for (from, to, reason, sentence) in [
            ("run_id:aa", "run_id:bb", Reason::Restarted, "run_id was aa, is bb"),
            (
                "port=2,state=online",
                "port=2,state=send_bulk",
                Reason::Noreplicas,
                "1 replicas are online, 2 were",
            ),
            ("sync_partial_ok:1", "sync_partial_ok:2", Reason::Noreplicas, "went from 2 to 3"),
            ("aof_delayed_fsync:2", "aof_delayed_fsync:3", Reason::Canary, "went from 2 to 3"),
        ] {
            let failure = after(&[(from, to)]).1.unwrap();
            assert_eq!(failure.reason, reason);
            assert!(failure.message.contains(sentence), "{}", failure.message);
        }
    }

    #[test]
    fn refusals_and_evictions_only_count() {
        let (seen, failure) = after(&[("evicted_keys:3", "evicted_keys:9\nerrorstat_OOM:count=4")]);
        assert!(failure.is_none());
        assert_eq!((seen.evicted.risen, seen.oom.risen, seen.misconf.risen), (6, 4, 0));
        assert_eq!(seen.uneasy().unwrap(), "evicted_keys rises by itself (from 3 to 9)");
    }

    #[test]
    fn a_counter_that_somebody_resets_goes_on_from_there() {
        let mut counter = Counter::default();
        [Some(100), Some(103), Some(2), None, Some(4)].into_iter().for_each(|now| counter.look(now));
        assert_eq!(counter.risen, 7);
    }

    #[test]
    fn what_the_server_does_not_give_is_known_as_such() {
        let seen = Seen::first(&Info::parse("run_id:aa\nevicted_keys:0"));
        assert_eq!(seen.blind(), ["rejected_connections", "errorstat_OOM, errorstat_MISCONF"]);
    }
}
