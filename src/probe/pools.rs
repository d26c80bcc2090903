//! What the probes of connection pools share: pools by the user's numbers, readers and traffic on them, one phase run and reported.
//!
//! How a pool lends and how its load runs is the measuring core's; what a probe concludes is its own. Settings are in
//! `settings`, objectives and arithmetic in `figures`, the mended settings of other clients in `remedy`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use measure::{
    CommandCosts, Failure, Grant, PooledOperation, ProbeError, attribute_pooled,
    clock::Instant,
    keys::KeyRange,
    load::{self, Crew, LoadPlan, LoadResult, Order, Share},
    pace::Pace,
    pool::{Account, Commands, Ledger, Parts, Pool, PoolConfig, PooledConnector, Task, Use},
    report::{Attribution, Doubt, ReportedError, TimelinePoint, Unit},
    watch::{ServerSide, watch_while},
};

use super::{
    Needs, ProbeCx,
    phases::{Phases, SERVER_INFO},
};

pub mod figures;
pub mod remedy;
pub mod settings;

pub use settings::{Numbers, Reader};

/// Keys that the traffic reads and writes.
pub const TRAFFIC_KEYS: u64 = 100;
/// Bytes of each of their values.
pub const VALUE_SIZE: usize = 64;
/// GETs for each SET, in ten.
const READS_IN_TEN: u32 = 8;
/// Connections beside those of the pools: the watch over the server, the runner's, and the canary's.
pub const OTHER_CONNECTIONS: u64 = 3;
/// Share of the observed time beyond which nobody can say where it went.
const UNATTRIBUTED: f64 = 0.05;

/// The group of each of the readers' streams.
const GROUP: &str = "redprobe";
/// The setting with which groups read.
const GROUPS: &str = "reader=xreadgroup";

/// What traffic and `readers` over pools of so many connections, all together, may take up.
#[must_use]
pub const fn needs(connections: u64, readers: u64) -> Needs {
    Needs {
        connections: connections + OTHER_CONNECTIONS,
        keys: TRAFFIC_KEYS + readers,
        bytes: TRAFFIC_KEYS * VALUE_SIZE as u64,
    }
}

/// What pools, readers, traffic and the watch over the server send.
pub const COMMANDS: &[Grant] = &[
    Grant::load("unwatch", "", "check a pooled connection before each loan, as deadpool-redis does"),
    Grant::load("ping", "1", "check a pooled connection before each loan, as deadpool-redis does"),
    Grant::load("set", "{key} x PX 1", "be the traffic"),
    Grant::load("get", "{key}", "be the traffic"),
    Grant::load("xread", "BLOCK 1 STREAMS {key} $", "block as readers of streams do")
        .with_setting("reader=xread"),
    Grant::load(
        "xreadgroup",
        "GROUP redprobe reader BLOCK 1 STREAMS {key} >",
        "block as readers of a group do",
    )
    .with_setting(GROUPS),
    Grant::load("xgroup|create", "{key} redprobe $ MKSTREAM", "give readers of a group their streams")
        .with_setting(GROUPS),
    Grant::load("pexpire", "{key} 1", "give such a stream its time to live").with_setting(GROUPS),
    Grant::load("multi", "", "create such a stream with its time to live in one step").with_setting(GROUPS),
    Grant::load("exec", "", "create such a stream with its time to live in one step").with_setting(GROUPS),
    Grant::load("client|list", "", "count blocked clients").optional("INFO's count stands alone"),
    SERVER_INFO,
];

/// The same pool in each of several processes.
pub struct PoolSet {
    pools: Vec<Pool>,
    /// Names of size, in use and waiting in the timeline.
    names: [&'static str; 3],
}

impl PoolSet {
    /// `processes` pools without connections yet; `names` are those of size, in use and waiting in the timeline.
    #[must_use]
    pub fn new(cx: &ProbeCx, config: &PoolConfig, processes: usize, names: [&'static str; 3]) -> Self {
        let pool = |_| Pool::new(config.clone(), &cx.endpoint, &cx.client_name);
        Self { pools: (0..processes).map(pool).collect(), names }
    }

    /// One per process.
    #[must_use]
    pub fn pools(&self) -> &[Pool] {
        &self.pools
    }

    /// What all of them did.
    #[must_use]
    pub fn account(&self) -> Account {
        self.pools.iter().fold(Account::default(), |mut sum, pool| {
            sum.merge(&pool.account());
            sum
        })
    }

    /// Connections at the most, all processes together.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        self.pools.iter().map(|pool| pool.config().size as f64).sum()
    }

    /// Share of its connections that were on loan on average, had all been open all the time.
    #[must_use]
    pub fn utilisation(&self, duration: Duration) -> f64 {
        let possible = self.capacity() * duration.as_secs_f64();
        if possible > 0.0 { (self.account().held.as_secs_f64() / possible).min(1.0) } else { 0.0 }
    }

    fn sample(&self, values: &mut BTreeMap<&'static str, f64>) {
        let mut sums = [0; 3];
        for status in self.pools.iter().map(Pool::status) {
            for (sum, value) in sums.iter_mut().zip([status.size, status.in_use, status.waiting]) {
                *sum += value;
            }
        }
        values.extend(self.names.into_iter().zip(sums.map(|sum| sum as f64)));
    }
}

/// One phase of load over pools.
pub struct PoolLoad {
    phase: &'static str,
    crews: Vec<Crew>,
    books: Vec<Book>,
}

/// One crew's kinds of operation, and where their time goes.
struct Book {
    kinds: Vec<&'static str>,
    ledger: Ledger,
}

/// What a phase over pools gave.
pub struct PoolResult {
    /// Per crew, in the order in which they were added.
    pub crews: Vec<LoadResult>,
    /// Per operation, where its time went, to be read together with its count.
    pub parts: BTreeMap<&'static str, Parts>,
    /// The server's side while it ran.
    pub side: ServerSide,
    /// What the server spent on commands, where it says so.
    pub costs: Option<CommandCosts>,
    /// From the first reader's first request to the first failure of the traffic, where there was one.
    pub until_first_failure: Option<Duration>,
    /// How long it lasted.
    pub duration: Duration,
}

impl PoolResult {
    /// How long the longest crew took: readers still block for a while when the traffic has ended.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.crews.iter().map(|crew| crew.duration).max().unwrap_or(self.duration)
    }

    /// Share of the connections of `set` that blocking reads held, on average.
    #[must_use]
    pub fn blocked_share(&self, reader: Reader, set: &PoolSet) -> f64 {
        let held = self.parts.get(reader.name()).map_or(Duration::ZERO, |parts| parts.round_trip);
        let possible = set.capacity() * self.lasted().as_secs_f64();
        if possible > 0.0 { (held.as_secs_f64() / possible).min(1.0) } else { 0.0 }
    }
}

impl PoolLoad {
    /// Without crews yet. The first one added is the one whose seconds make the timeline and which tells progress.
    #[must_use]
    pub const fn new(phase: &'static str) -> Self {
        Self { phase, crews: Vec::new(), books: Vec::new() }
    }

    /// Adds a crew.
    #[must_use]
    pub fn with<T: Task>(mut self, plan: LoadPlan, connector: PooledConnector<T>) -> Self {
        let kinds = plan.mix.iter().map(|share| share.operation).collect();
        self.books.push(Book { kinds, ledger: connector.ledger() });
        self.crews.push(Crew::new(LoadPlan { phase: self.phase, ..plan }, connector));
        self
    }

    /// Adds GET and SET on `keys` at the configured rate.
    #[must_use]
    pub fn traffic(self, numbers: &Numbers, set: &PoolSet, keys: &KeyRange) -> Self {
        let (read, write) = (keys.clone(), keys.clone());
        let value: Arc<[u8]> = vec![b'x'; VALUE_SIZE].into();
        let commands = Commands::default()
            .with(numbers.op_timeout, move |_, key| read.get_one(key))
            .with(numbers.op_timeout, move |_, key| write.set_one(key, &value));
        let mix = [("get", READS_IN_TEN), ("set", 10 - READS_IN_TEN)];
        let mix = mix.map(|(operation, weight)| Share { operation, weight }).to_vec();
        let mut plan = LoadPlan::new(self.phase, mix);
        plan.pace = Pace::per_second(numbers.rate);
        plan.workers = numbers.workers();
        plan.order = Order::Random;
        plan.key_space = keys.count;
        plan.stop.duration = Some(numbers.duration);
        self.with(plan, PooledConnector::new(set.pools(), commands, Use::EachTime(Duration::ZERO)))
    }

    /// Adds the readers, each blocking on a stream of its own that gets no entry; none where none are configured.
    #[must_use]
    pub fn readers(self, numbers: &Numbers, set: &PoolSet, streams: &KeyRange) -> Self {
        if numbers.readers == 0 {
            return self;
        }
        let (streams, block, reader) = (streams.clone(), numbers.block, numbers.reader);
        let commands = Commands::default().with(block + numbers.op_timeout, move |worker, _| match reader {
            Reader::Xread => streams.xread(worker as u64, block, "$"),
            Reader::Xreadgroup => streams.xreadgroup(worker as u64, block, GROUP, ">"),
        });
        let mut plan = LoadPlan::new(self.phase, vec![Share { operation: reader.name(), weight: 1 }]);
        plan.workers = numbers.readers();
        plan.stop.duration = Some(numbers.duration);
        self.with(plan, PooledConnector::new(set.pools(), commands, Use::EachTime(Duration::ZERO)))
    }
}

/// Creates the streams that readers of a group need; readers without one need none.
///
/// # Errors
/// Where the server refuses.
pub async fn prepare_streams(cx: &ProbeCx, numbers: &Numbers, streams: &KeyRange) -> Result<(), ProbeError> {
    if numbers.reader == Reader::Xread {
        return Ok(());
    }
    let (mut conn, _) = cx.connect().await?;
    for index in 0..numbers.readers {
        streams.xgroup_create(index, GROUP).query_async::<()>(&mut conn).await.map_err(Failure::from)?;
    }
    Ok(())
}

impl Phases<'_> {
    /// Runs one phase of load over pools, watches the server meanwhile, and adds everything about it to the report.
    ///
    /// # Errors
    /// Where it could not run at all.
    pub async fn load_pools(&mut self, load: PoolLoad, sets: &[&PoolSet]) -> Result<PoolResult, ProbeError> {
        let PoolLoad { phase, crews, books } = load;
        let (mut conn, _) = self.cx.connect().await?;
        let before = self.server_info().await;
        let work = load::run_together(crews, &self.cx.control);
        let sample = |values: &mut BTreeMap<_, _>| sets.iter().for_each(|set| set.sample(values));
        let (results, side) = watch_while(&mut conn, phase, sample, work).await;
        let crews = results?;
        let after = if self.interrupted() { None } else { self.server_info().await };
        let mut costs = None;
        if let (Some(before), Some(after)) = (before, after) {
            // Reads that block are counted by the server only when an entry ends them.
            self.compare(phase, &crews[0], (&before, &after));
            costs = Some(CommandCosts::between(&before, &after));
        }
        for result in &crews {
            self.log(phase, result);
            self.doubt(result);
            self.report.operations.extend(result.operations.iter().cloned());
            self.report.errors.extend(result.errors.iter().cloned());
        }
        self.report.timeline.extend(merged(&crews[0].timeline, &side.points));
        if let Some(failure) = &side.refused {
            self.cx.log.note(format!("{phase}: the server's side is not seen in full: {failure}"));
        }
        for set in sets {
            let Some(pool) = set.pools.first() else { continue };
            let account = set.account();
            if account.discarded + account.recycle_failures > 0 {
                self.report.doubts.insert(Doubt::Reconnected);
            }
            if let Some(Failure { reason, message }) = account.check_failure.clone() {
                let message = format!("a connection failed the pool's check and was replaced: {message}");
                let count = account.recycle_failures;
                self.report.errors.push(ReportedError { phase, reason, message, count });
            }
            self.report.pools.push(account.report(pool.config()));
        }
        self.note_clients(phase, &side);
        let duration = crews[0].duration;
        let until_first_failure = first_failure(&books);
        Ok(PoolResult { parts: parts(&books), crews, side, costs, until_first_failure, duration })
    }

    fn note_clients(&mut self, phase: &'static str, side: &ServerSide) {
        for (value, name) in [
            (side.max("blocked_clients"), "blocked_clients_max"),
            (side.max("flagged_blocked"), "flagged_blocked_max"),
            (side.max("connected_clients"), "connected_clients_max"),
            (side.max("rejected_connections"), "rejected_connections"),
        ] {
            if let Some(value) = value {
                self.report.measure(format!("{phase}_{name}"), value, Unit::Count);
            }
        }
    }

    /// Where the time of the operations `of` a phase went, each with the command that it sends, in lower case; doubts
    /// where too much of it is unknown.
    pub fn attribute_pools(
        &mut self,
        of: &[(&'static str, &'static str)],
        result: &PoolResult,
    ) -> Vec<Attribution> {
        let operation = |&(operation, command): &(&'static str, &'static str)| {
            Some(PooledOperation { operation, command, parts: *result.parts.get(operation)? })
        };
        let operations: Vec<_> = of.iter().filter_map(operation).collect();
        let shares = attribute_pooled(&operations, result.costs.as_ref(), result.duration);
        if shares.iter().any(|share| share.unattributed > UNATTRIBUTED) {
            self.report.doubts.insert(Doubt::Unattributed);
        }
        for share in &shares {
            let name = format!("{}_behind_others", share.operation);
            self.report.measure(name, share.server_others, Unit::Ratio);
        }
        shares
    }
}

/// Where the time of each operation went, whichever crews did it.
fn parts(books: &[Book]) -> BTreeMap<&'static str, Parts> {
    let mut all = BTreeMap::<_, Parts>::new();
    for Book { kinds, ledger } in books {
        for (kind, parts) in kinds.iter().zip(ledger.parts()) {
            all.entry(*kind).or_default().add(parts);
        }
    }
    all
}

/// From the earliest request of the crews after the first, which are the readers', to the first one's first failure.
fn first_failure(books: &[Book]) -> Option<Duration> {
    let (traffic, readers) = books.split_first()?;
    let begun: Instant = readers.iter().filter_map(|book| book.ledger.begun()).min()?;
    Some(traffic.ledger.first_failure()?.saturating_duration_since(begun))
}

/// The load's seconds with what the server's side showed in them.
fn merged(load: &[TimelinePoint], side: &[TimelinePoint]) -> Vec<TimelinePoint> {
    let mut points = load.to_vec();
    for seen in side {
        let second = seen.at_seconds.round();
        match points.iter_mut().find(|point| (point.at_seconds - second).abs() < 0.5) {
            Some(point) => point.values.extend(seen.values.iter().map(|(name, value)| (*name, *value))),
            None => points.push(seen.clone()),
        }
    }
    points
}
