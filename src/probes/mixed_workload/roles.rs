//! Who does what on the pool: agents that write their streams, clients that read them, checks for a stop signal.
//!
//! One operation of each. GETs and SETs are those of every probe of pools; what came of the entries is `delivery`'s.

use std::time::Duration;

use measure::{
    Failure, ProbeError, Reason,
    clock::{self, Instant},
    keys::KeyRange,
    load::{LoadPlan, Share, Slot},
    pace::Pace,
    pool::{Commands, Lent, PooledConnector, Task, Use},
    redis::{Cmd, streams::StreamReadReply},
};

use super::{ENTRY_SIZE, PHASE, Settings, delivery::Deliveries};
use crate::probe::{
    ProbeCx,
    pools::{Numbers, PoolLoad, PoolSet, Reader},
};

/// The field of an entry that holds its number.
const NUMBER: &str = "n";

/// Adds the checks for a stop signal, each of an agent's own key, which is not there: nobody stops it.
pub(super) fn stop_checks(load: PoolLoad, settings: &Settings, set: &PoolSet, keys: &KeyRange) -> PoolLoad {
    let mut plan = LoadPlan::new(PHASE, vec![Share { operation: "stop_check", weight: 1 }]);
    plan.pace = Pace::per_second(settings.stop_checks_per_second());
    plan.workers = settings.stop_checkers();
    plan.key_space = keys.count;
    plan.stop.duration = Some(settings.duration.0);
    let keys = keys.clone();
    let check = Commands::default().with(settings.op_timeout.0, move |_, agent| keys.get_one(agent));
    load.with(plan, PooledConnector::new(set.pools(), check, Use::EachTime(Duration::ZERO)))
}

/// Adds the agents: each writes to its own stream, one entry after the other.
pub(super) fn agents(
    load: PoolLoad,
    settings: &Settings,
    set: &PoolSet,
    streams: &KeyRange,
    deliveries: &Deliveries,
) -> PoolLoad {
    let mut plan = LoadPlan::new(PHASE, vec![Share { operation: "xadd", weight: 1 }]);
    plan.pace = Pace::per_second(settings.entries_per_second());
    plan.workers = usize::try_from(settings.agents).unwrap_or(usize::MAX);
    plan.stop.duration = Some(settings.duration.0);
    let agent =
        Agent { deliveries: deliveries.clone(), streams: streams.clone(), bound: settings.op_timeout.0 };
    load.with(plan, PooledConnector::new(set.pools(), agent, Use::EachTime(Duration::ZERO)))
}

/// One that writes.
#[derive(Clone)]
struct Agent {
    deliveries: Deliveries,
    streams: KeyRange,
    bound: Duration,
}

impl Task for Agent {
    async fn perform(&mut self, worker: usize, _slot: &Slot, conn: &mut Lent) -> Result<(), Failure> {
        let number = self.deliveries.send(worker);
        let value = format!("{number:0width$}", width = ENTRY_SIZE);
        let entry = self.streams.xadd(worker as u64, &[(NUMBER, value.as_bytes())]);
        conn.query_all::<((String, i64),)>(&entry, self.bound).await?;
        self.deliveries.acknowledge(worker, number);
        Ok(())
    }
}

/// Those who read: each remembers the last entry that it got, and goes on from there, also on another connection.
#[derive(Clone)]
pub(super) struct Readers {
    deliveries: Deliveries,
    streams: KeyRange,
    numbers: Numbers,
}

impl Readers {
    /// Of `streams`, dealt out as `deliveries` says.
    pub(super) fn new(numbers: Numbers, streams: &KeyRange, deliveries: &Deliveries) -> Self {
        Self { deliveries: deliveries.clone(), streams: streams.clone(), numbers }
    }

    /// Gives each reader of a group a group of its own on its stream, so that each sees every entry.
    ///
    /// # Errors
    /// Where the server refuses.
    pub(super) async fn prepare(&self, cx: &ProbeCx) -> Result<(), ProbeError> {
        if self.numbers.reader == Reader::Xread {
            return Ok(());
        }
        let (mut conn, _) = cx.connect().await?;
        for reader in 0..self.numbers.readers() {
            let stream = self.deliveries.place(reader).stream;
            let create = self.streams.xgroup_create(stream, &group(reader));
            create.query_async::<()>(&mut conn).await.map_err(Failure::from)?;
        }
        Ok(())
    }

    /// Adds them to the load. They read on for the length of one block when the writers have ended.
    pub(super) fn join(&self, load: PoolLoad, set: &PoolSet) -> PoolLoad {
        if self.numbers.readers == 0 {
            return load;
        }
        let mut plan = LoadPlan::new(PHASE, vec![Share { operation: self.numbers.reader.name(), weight: 1 }]);
        plan.workers = self.numbers.readers();
        plan.stop.duration = Some(self.numbers.duration + self.numbers.block);
        load.with(plan, PooledConnector::new(set.pools(), self.clone(), Use::EachTime(Duration::ZERO)))
    }

    /// Once the load is over: reads what each has not seen, without a pool and without blocking.
    ///
    /// # Errors
    /// Where it is not known what is left in the streams.
    pub(super) async fn last_look(&self, cx: &ProbeCx) -> Result<(), Failure> {
        let unread = self.deliveries.unread();
        if unread.is_empty() {
            return Ok(());
        }
        let (mut conn, _) = cx.connect().await.map_err(|error| error.failure().clone())?;
        for reader in unread {
            for command in self.commands(reader, Duration::ZERO) {
                let asked = clock::now();
                self.take(reader, asked, command.query_async(&mut conn).await?)?;
            }
        }
        Ok(())
    }

    /// What a reader asks next. After a cut a group's reader asks first for what it was given and never got.
    fn commands(&self, reader: usize, block: Duration) -> Vec<Cmd> {
        let place = self.deliveries.place(reader);
        match self.numbers.reader {
            Reader::Xread => vec![self.streams.xread(place.stream, block, &place.after)],
            Reader::Xreadgroup => {
                let read = |after: &str| self.streams.xreadgroup(place.stream, block, &group(reader), after);
                let given = place.away.then(|| read(&place.after));
                given.into_iter().chain([read(">")]).collect()
            }
        }
    }

    fn take(&self, reader: usize, asked: Instant, reply: Option<StreamReadReply>) -> Result<(), Failure> {
        for entry in reply.into_iter().flat_map(|reply| reply.keys).flat_map(|stream| stream.ids) {
            let Some(number) = entry.get::<u64>(NUMBER) else {
                return Err(Failure::new(Reason::Protocol, format!("entry {} has no number", entry.id)));
            };
            self.deliveries.deliver(reader, asked, entry.id, number)?;
        }
        Ok(())
    }
}

impl Task for Readers {
    async fn perform(&mut self, worker: usize, _slot: &Slot, conn: &mut Lent) -> Result<(), Failure> {
        let bound = self.numbers.block + self.numbers.op_timeout;
        for command in self.commands(worker, self.numbers.block) {
            let asked = clock::now();
            let reply = conn.query(&command, bound).await.inspect_err(|failure| {
                if failure.reason.is_broken_connection() {
                    self.deliveries.cut(worker, failure.clone());
                }
            })?;
            self.take(worker, asked, reply)?;
        }
        self.deliveries.answered(worker);
        Ok(())
    }
}

fn group(reader: usize) -> String {
    format!("reader-{reader}")
}
