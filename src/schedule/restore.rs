//! Putting back what dead runs have changed: at the start, before a run that changes settings, behind everything else
//! until it is done, and by hand.
//!
//! What is to be put back is read from the journal each time, so that whoever does it (this process, another one beside
//! it, a person) leaves the others nothing to do. How a setting is put back is the core's `journal`; a run's own clean-up
//! is in `run`.

mod told;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use measure::{
    Failure, ProbeError, Reason,
    conn::{self, Address, Endpoint},
    facts::Info,
    journal::{Damaged, Entry, Journal, JournalError, Open, OwnKeys, Restored},
    keys::{self, Whose},
    redis::aio::MultiplexedConnection,
};
use tokio::{sync::Notify, time::Instant};

use self::told::tell;
pub(crate) use self::told::{names, said_of_damaged};
use crate::{
    config::{Plan, Target},
    sink::Sinks,
};

/// Of one attempt on one target while somebody waits: a start, or a run.
pub(crate) const SOON: Duration = Duration::from_secs(5);
/// Of one attempt while nobody waits: long enough to look through some million keys for those of a dead run.
const AT_LEISURE: Duration = Duration::from_secs(60);
/// Until the next attempt, doubled after each one up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Between two looks into the journal while nothing is to be put back: a `redprobe run` beside the daemon may have died.
const LOOK: Duration = Duration::from_secs(60);
/// Between two looks at a server whose memory is being freed, or at notes that somebody else has in hand.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What became of one entry of the journal.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) entry: Entry,
    /// The target that is the server, under the name that it has here.
    pub(crate) target: Option<String>,
    pub(crate) fate: EntryFate,
}

/// See [`Attempt`].
#[derive(Debug)]
pub(crate) enum EntryFate {
    /// Nothing is left to be put back.
    Done(Restored),
    /// Tried in vain.
    Failed(Failure),
    /// None of the targets is the server that it names.
    NoTarget,
    /// In the hands of another: its run is under way, or somebody is putting it back now.
    UnderWay,
}

/// What one look through the journal has come to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) attempts: Vec<Attempt>,
    pub(crate) damaged: Vec<Damaged>,
    pub(crate) unreadable: Option<JournalError>,
}

impl Outcome {
    /// Entries that are still to be put back, by somebody.
    pub(crate) fn left(&self) -> impl Iterator<Item = &Attempt> {
        let is_left = |fate: &EntryFate| matches!(fate, EntryFate::Failed(_) | EntryFate::NoTarget);
        self.attempts.iter().filter(move |attempt| is_left(&attempt.fate))
    }

    /// How many settings are left, by target.
    fn settings_left(&self) -> BTreeMap<String, u64> {
        let mut left: BTreeMap<String, u64> = BTreeMap::new();
        for Attempt { entry, target, .. } in self.left() {
            let target = target.as_ref().unwrap_or(&entry.target);
            *left.entry(target.clone()).or_default() += entry.settings.len() as u64;
        }
        left
    }
}

/// Which servers are the ones that entries name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Among {
    /// A target of the same address, and of the same name or with the same server behind it.
    Configured,
    /// The one target that a person named: of the same address, or with the same server behind it.
    Chosen,
}

/// Puts back what dead runs have left.
pub struct Restorer {
    journal: Journal,
    sinks: Arc<Sinks>,
    targets: Mutex<Vec<Arc<Target>>>,
    /// Settings that are not put back, by target.
    left: Mutex<BTreeMap<String, u64>>,
    /// What was logged last of what is left.
    told: Mutex<String>,
    news: Notify,
}

impl Restorer {
    pub(crate) fn new(journal: Journal, sinks: Arc<Sinks>) -> Self {
        Self {
            journal,
            sinks,
            targets: Mutex::default(),
            left: Mutex::default(),
            told: Mutex::default(),
            news: Notify::new(),
        }
    }

    pub(crate) const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// From now on these are the targets.
    pub(crate) fn apply(&self, targets: impl Iterator<Item = Arc<Target>>) {
        *lock(&self.targets) = targets.collect();
        let left = lock(&self.left).clone();
        for (target, settings) in left {
            self.sinks.metrics.unrestored(&target, settings);
        }
        self.news.notify_one();
    }

    /// One bounded attempt per target, all at the same time, before anything else is done with them.
    pub(crate) async fn replay_at_start(&self, plan: &Plan) {
        self.apply(plan.all_targets().cloned());
        self.tell_news(&self.replay_within(SOON).await);
    }

    async fn replay_within(&self, bound: Duration) -> Outcome {
        let targets = lock(&self.targets).clone();
        let outcome = self.attempt(&targets, Among::Configured, bound).await;
        self.remember(&outcome);
        outcome
    }

    /// Tries again until the process ends, at growing intervals; looks into the journal now and then while there is
    /// nothing to do.
    pub(crate) async fn keep_at_it(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let idle = lock(&self.left).is_empty();
            tokio::select! {
                () = tokio::time::sleep(if idle { LOOK } else { pause }) => {}
                () = self.news.notified() => pause = FIRST_PAUSE,
            }
            let outcome = self.replay_within(AT_LEISURE).await;
            self.tell_news(&outcome);
            pause =
                if outcome.left().next().is_some() { (pause * 2).min(LONGEST_PAUSE) } else { FIRST_PAUSE };
        }
    }

    /// The same failure again and again is the metric's to tell.
    fn tell_news(&self, outcome: &Outcome) {
        let all = format!("{:?}", (outcome.settings_left(), &outcome.damaged, &outcome.unreadable));
        tell(outcome, all != *lock(&self.told));
        *lock(&self.told) = all;
    }

    /// Before a run that changes settings on `target`: nothing of an earlier one may be left there, nor unknown, and
    /// there must be room to write down what this one changes.
    pub(crate) async fn clear_the_way(&self, target: &Arc<Target>) -> Result<(), ProbeError> {
        let refuse = |why: String| Err(ProbeError::skipped(Reason::Precondition, why));
        if let Err(error) = self.journal.check() {
            return refuse(format!(
                "{error}; what disrupts is run only where settings can be written down before they are changed: give \
                 state_dir a directory with room that can be written"
            ));
        }
        let end = Instant::now() + SOON;
        let address = target.endpoint.address.to_string();
        let is_here = |entry: &Entry| entry.address == address || entry.target == target.id;
        let outcome = loop {
            let outcome = self.attempt(std::slice::from_ref(target), Among::Configured, SOON).await;
            let under_way = |one: &Attempt| is_here(&one.entry) && matches!(one.fate, EntryFate::UnderWay);
            // Who is putting them back now may soon have done it.
            if !outcome.attempts.iter().any(under_way) || Instant::now() >= end {
                break outcome;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        };
        self.remember_of(target, &outcome);
        tell(&outcome, false);
        if let Some(error) = outcome.unreadable {
            return refuse(format!("{error}; it may name settings that are still to be put back"));
        }
        if let Some(damaged) = outcome.damaged.first() {
            return refuse(said_of_damaged(damaged));
        }
        for Attempt { entry, fate, .. } in outcome.attempts.iter().filter(|one| is_here(&one.entry)) {
            let why = match fate {
                EntryFate::Done(_) => continue,
                EntryFate::Failed(failure) => failure.to_string(),
                EntryFate::NoTarget => "it is another server than the one that was changed".into(),
                EntryFate::UnderWay => "another redprobe has them in its hands".into(),
            };
            return refuse(format!(
                "{} of {} ({}) are not put back from run {}: {why}; `redprobe restore` tries again",
                names(entry),
                entry.target,
                entry.address,
                entry.run
            ));
        }
        Ok(())
    }

    /// A run has left this many settings as it changed them.
    pub(crate) fn left_by_run(&self, target: &str, settings: u64) {
        lock(&self.left).insert(target.to_owned(), settings);
        self.sinks.metrics.unrestored(target, settings);
        self.news.notify_one();
    }

    /// Whether nothing is left to be put back, as far as the journal says.
    pub(crate) fn is_clean(&self) -> bool {
        // A journal that cannot be read was told of at the start.
        let found = self.journal.find().unwrap_or_default();
        lock(&self.left).is_empty() && found.open.is_empty() && found.damaged.is_empty()
    }

    /// Tries every entry that is nobody's on the target that it names, all targets at the same time.
    pub(crate) async fn attempt(&self, targets: &[Arc<Target>], among: Among, bound: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        let found = match self.journal.find() {
            Ok(found) => found,
            Err(error) => return Outcome { unreadable: Some(error), ..outcome },
        };
        outcome.damaged = found.damaged;
        let under_way = |entry| Attempt { entry, target: None, fate: EntryFate::UnderWay };
        outcome.attempts.extend(found.live.into_iter().map(under_way));
        // By target and server, in the order found: the newest first.
        let mut work: BTreeMap<(usize, String), Vec<Open>> = BTreeMap::new();
        for open in found.open {
            match which(targets, among, &open.entry) {
                Some(target) => {
                    let server = match &targets[target].endpoint.address {
                        Address::Sentinel(_) => open.entry.address.clone(),
                        _ => String::new(),
                    };
                    work.entry((target, server)).or_default().push(open);
                }
                None => outcome.attempts.push(Attempt {
                    entry: open.entry,
                    target: None,
                    fate: EntryFate::NoTarget,
                }),
            }
        }
        let tries = work.into_iter().map(|((target, _), open)| try_target(&targets[target], open, bound));
        outcome.attempts.extend(join_all(tries).await.into_iter().flatten());
        outcome
    }

    fn remember(&self, outcome: &Outcome) {
        if outcome.unreadable.is_some() {
            return;
        }
        let now = outcome.settings_left();
        let before = std::mem::replace(&mut *lock(&self.left), now.clone());
        for target in before.keys().filter(|target| !now.contains_key(*target)) {
            self.sinks.metrics.unrestored(target, 0);
        }
        for (target, settings) in now {
            self.sinks.metrics.unrestored(&target, settings);
        }
    }

    /// As [`Restorer::remember`], of an attempt on one target.
    fn remember_of(&self, target: &Target, outcome: &Outcome) {
        if outcome.unreadable.is_some() {
            return;
        }
        let settings = outcome.settings_left().get(&target.id).copied();
        let mut left = lock(&self.left);
        match settings {
            None => left.remove(&target.id),
            Some(settings) => left.insert(target.id.clone(), settings),
        };
        self.sinks.metrics.unrestored(&target.id, settings.unwrap_or(0));
    }
}

/// The target that an entry names: a candidate, whose server is asked who it is where the name is another's.
fn which(targets: &[Arc<Target>], among: Among, entry: &Entry) -> Option<usize> {
    let at = |target: &Target| target.endpoint.address.to_string() == entry.address;
    // Where sentinels say, the changed server may be another one than the one they name today.
    let was_at = |target: &Target| at(target) || matches!(target.endpoint.address, Address::Sentinel(_));
    match among {
        Among::Chosen => (!targets.is_empty()).then_some(0),
        Among::Configured => targets
            .iter()
            .position(|target| target.id == entry.target && was_at(target))
            .or_else(|| targets.iter().position(|target| at(target))),
    }
}

/// The server that was changed, with the target's login: where sentinels say where that is, it is the one that the entry
/// names, whatever it is to the service now.
async fn changed(target: &Target, entry: &Entry) -> Result<Endpoint, Failure> {
    match &target.endpoint.address {
        Address::Sentinel(_) if entry.target == target.id => {
            let named = Endpoint::parse(&format!("redis://{}", entry.address));
            let named = named.map_err(|why| Failure::new(Reason::Other, format!("its address {why}")))?;
            Ok(target.endpoint.at(named.address))
        }
        _ => target.endpoint.find().await,
    }
}

/// One connection, one entry after the other, until one fails in a way in which all would.
async fn try_target(target: &Target, open: Vec<Open>, bound: Duration) -> Vec<Attempt> {
    let end = Instant::now() + bound;
    let late = || Failure::new(Reason::Timeout, format!("not done after {} s", bound.as_secs_f64()));
    let connecting = async {
        let first = open.first().map(|open| &open.entry);
        let endpoint = match first {
            Some(entry) => changed(target, entry).await?,
            None => target.endpoint.find().await?,
        };
        let (conn, _) = conn::connect(&endpoint, "redprobe-restore").await?;
        Ok((conn, endpoint.address))
    };
    let mut connected = tokio::time::timeout_at(end, connecting).await.unwrap_or_else(|_elapsed| Err(late()));
    let mut attempts = Vec::new();
    for open in open {
        let fate = match &mut connected {
            Err(failure) => EntryFate::Failed(failure.clone()),
            Ok(connected) => {
                match tokio::time::timeout_at(end, put_back(connected, target, &open, end)).await {
                    Ok(Ok(fate)) => fate,
                    Ok(Err(failure)) => EntryFate::Failed(failure),
                    Err(_elapsed) => EntryFate::Failed(late()),
                }
            }
        };
        if let EntryFate::Failed(failure) = &fate
            && failure.reason.is_broken_connection()
        {
            connected = Err(failure.clone());
        }
        let target = (!matches!(fate, EntryFate::NoTarget)).then(|| target.id.clone());
        attempts.push(Attempt { entry: open.entry.clone(), target, fate });
    }
    attempts
}

async fn put_back(
    (conn, at): &mut (MultiplexedConnection, Address),
    target: &Target,
    open: &Open,
    end: Instant,
) -> Result<EntryFate, Failure> {
    let Entry { target: name, address, run, server_run_id, .. } = &open.entry;
    let same_address = at.to_string() == *address;
    // Addresses and names come to mean other servers; what a server calls itself does not.
    if !(same_address && target.id == *name) {
        let info = Info::ask(conn, &["server"]).await?;
        if info.text("run_id") != Some(server_run_id) {
            return Ok(EntryFate::NoTarget);
        }
    }
    let mut keys = OwnKeys::MayBeThere;
    loop {
        match open.restore(conn, keys).await {
            Ok(restored) => return Ok(EntryFate::Done(restored)),
            // Keys of the dead run may be what takes the memory.
            Err(failure) if failure.reason == Reason::Precondition && Instant::now() + LOOK_AGAIN < end => {
                if keys == OwnKeys::MayBeThere {
                    match keys::remove_run(conn, whose(target, name), run).await {
                        Ok(_) => keys = OwnKeys::Gone,
                        // It follows another master now, which has the keys and whose keys go by their TTL.
                        Err(failure) if failure.reason == Reason::Readonly => {}
                        Err(failure) => return Err(failure),
                    }
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Whose keys the entry's run has written: the target may have another name by now.
fn whose<'a>(target: &Target, id: &'a str) -> Whose<'a> {
    let name = id.split_once('/').map_or(id, |(name, _)| name);
    if target.is_in_cluster() { Whose::Cluster(name) } else { Whose::Target(name) }
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restorer").field("journal", &self.journal).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
