//! Which job is due when: arithmetic over instants, with no clock and no tasks of its own.
//!
//! An `every` job keeps a grid of due times that never drifts; a cron job gets its due time each time its expression
//! comes round. Starting what is due, and reading clocks, belongs to the scheduler in `mod.rs`.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::{Duration, SystemTime},
};

use measure::Effect;
use tokio::time::Instant;

use super::cron::POLL;
use crate::config::{CronTimes, Job, Schedule};

/// First ticks of observing and touching jobs come within this time, so that a fresh daemon soon has something to
/// show, and are spread over it.
const FIRST_WITHIN: Duration = Duration::from_secs(10);

/// The same moment on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// For intervals.
    pub(super) mono: Instant,
    /// For cron, and for time stamps.
    pub(super) wall: SystemTime,
}

impl Now {
    fn wall_at(self, instant: Instant) -> SystemTime {
        self.wall + instant.saturating_duration_since(self.mono)
    }
}

/// What becomes of a job whose due time has come.
#[derive(Debug)]
pub(super) struct Due {
    /// The job.
    pub(super) job: Arc<Job>,
    /// When it was due, where it is to be started now.
    pub(super) start: Option<Instant>,
    /// Ticks that nobody saw.
    pub(super) missed: u64,
    /// When it is due next.
    pub(super) next: Next,
}

/// When a job is due next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Next {
    /// The time.
    pub(super) at: SystemTime,
    /// How much later it counts as overdue: one interval and the bound of a run.
    pub(super) slack: Duration,
}

/// One step on the grid of an interval.
#[derive(Debug, PartialEq)]
struct Step {
    run: bool,
    missed: u64,
    next: Instant,
}

/// A job that was due at `due` and is looked at only `now`.
///
/// Late by less than an interval, it runs late. Late by more, the process did not run meanwhile: everything up to now
/// is missed, nothing is made up, and each job goes on at its own next time. So a daemon that was suspended does not
/// start all its jobs at once.
fn step(due: Instant, every: Duration, now: Instant) -> Step {
    let late = now.saturating_duration_since(due);
    let whole = late.as_nanos() / every.as_nanos().max(1);
    let passed = u32::try_from(whole).unwrap_or(u32::MAX - 1) + 1;
    let next = due + every * passed;
    if passed == 1 {
        Step { run: true, missed: 0, next }
    } else {
        Step { run: false, missed: u64::from(passed), next }
    }
}

/// A place in `0..spread` that belongs to this key: the same after a restart, and far from its neighbours'.
fn place(key: &impl Hash, spread: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    // The upper 32 bits as a share of the whole, which a Duration takes without rounding to f64.
    let share = u32::try_from(hasher.finish() >> 32).expect("32 bits remain");
    Duration::from_nanos_u128((spread.as_nanos() * u128::from(share)) >> 32)
}

/// How long after it appears a job of this interval comes first. Load waits for its place in the whole interval:
/// nobody wants two of them soon after each other because a daemon was restarted.
fn first_after(job: &Job, every: Duration) -> Duration {
    let spread = if job.effect() <= Effect::Touch { every.min(FIRST_WITHIN) } else { every };
    place(&job.key(), spread)
}

/// How long after its second a cron job starts: later than the library can be, so that the start is exact, and spread
/// so that jobs of one expression do not start together.
fn cron_offset(job: &Job) -> Duration {
    POLL + place(&job.key(), POLL)
}

#[derive(Debug)]
enum Timing {
    Every(Duration),
    Cron { times: CronTimes, last: SystemTime },
}

#[derive(Debug)]
struct Entry {
    job: Arc<Job>,
    timing: Timing,
    due: Option<Instant>,
}

/// All scheduled jobs and when each is due.
#[derive(Debug, Default)]
pub(super) struct Timetable {
    entries: Vec<Entry>,
    queue: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timetable {
    /// Makes these the jobs. One that was there before with the same schedule keeps its times; the others begin anew.
    /// Returns when each is due next.
    pub(super) fn set(&mut self, jobs: &[Arc<Job>], now: Now) -> Vec<(Arc<Job>, Next)> {
        let mut before: HashMap<_, _> = std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| (owned(entry.job.key()), entry))
            .collect();
        self.queue.clear();
        let mut nexts = Vec::with_capacity(jobs.len());
        for job in jobs {
            let entry = match before.remove(&owned(job.key())) {
                Some(known) if known.job.schedule == job.schedule => Entry { job: Arc::clone(job), ..known },
                _ => match Entry::new(job, now) {
                    Some(entry) => entry,
                    None => continue,
                },
            };
            if let Some(due) = entry.due {
                self.queue.push(Reverse((due, self.entries.len())));
            }
            nexts.extend(entry.next(now).map(|next| (Arc::clone(job), next)));
            self.entries.push(entry);
        }
        nexts
    }

    /// Every cron expression there is.
    pub(super) fn expressions(&self) -> BTreeSet<String> {
        let expression = |entry: &Entry| match &entry.timing {
            Timing::Cron { times, .. } => Some(times.expression().to_owned()),
            Timing::Every(_) => None,
        };
        self.entries.iter().filter_map(expression).collect()
    }

    /// When to look again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse((due, _))| *due)
    }

    /// The next job whose time has come, the longest due first.
    pub(super) fn pop(&mut self, now: Now) -> Option<Due> {
        let Reverse((due, index)) = *self.queue.peek().filter(|Reverse((due, _))| *due <= now.mono)?;
        self.queue.pop();
        let entry = &mut self.entries[index];
        let step = match entry.timing {
            Timing::Every(every) => {
                let step = step(due, every, now.mono);
                self.queue.push(Reverse((step.next, index)));
                entry.due = Some(step.next);
                step
            }
            Timing::Cron { .. } => {
                entry.due = None;
                Step { run: true, missed: 0, next: due }
            }
        };
        let next = entry.next(now).unwrap_or(Next { at: now.wall, slack: entry.job.timeout });
        Some(Due { job: Arc::clone(&entry.job), start: step.run.then_some(due), missed: step.missed, next })
    }

    /// The time of this expression has come. Returns the jobs that missed times since the last one, and how many.
    pub(super) fn fired(&mut self, fired: &str, now: Now) -> Vec<(Arc<Job>, u64)> {
        let mut missed = Vec::new();
        for (index, entry) in self.entries.iter_mut().enumerate() {
            let Timing::Cron { times, last } = &mut entry.timing else { continue };
            if times.expression() != fired {
                continue;
            }
            let Some(at) = times.up_to(now.wall).filter(|at| at > last) else { continue };
            // One that is still waiting for its start gives way to this one.
            let unseen = times.between(*last, at) + u64::from(entry.due.is_some());
            if unseen > 0 {
                missed.push((Arc::clone(&entry.job), unseen));
            }
            *last = at;
            // In the past where the library was told late: then it starts at once, and its lateness shows.
            let since = now.wall.duration_since(at).unwrap_or_default();
            let due = now.mono.checked_sub(since).unwrap_or(now.mono) + cron_offset(&entry.job);
            if entry.due.is_none() {
                entry.due = Some(due);
                self.queue.push(Reverse((due, index)));
            }
        }
        missed
    }
}

impl Entry {
    /// `None` where the job never comes by itself.
    fn new(job: &Arc<Job>, now: Now) -> Option<Self> {
        let (timing, due) = match &job.schedule {
            Schedule::Every(every) => (Timing::Every(*every), Some(now.mono + first_after(job, *every))),
            Schedule::Cron(times) => (Timing::Cron { times: times.clone(), last: now.wall }, None),
            Schedule::Manual => return None,
        };
        Some(Self { job: Arc::clone(job), timing, due })
    }

    fn next(&self, now: Now) -> Option<Next> {
        match &self.timing {
            Timing::Every(every) => {
                self.due.map(|due| Next { at: now.wall_at(due), slack: *every + self.job.timeout })
            }
            Timing::Cron { times, .. } => {
                let at = times.after(now.wall)?;
                let gap = times.after(at).and_then(|then| then.duration_since(at).ok()).unwrap_or_default();
                Some(Next { at: at + cron_offset(&self.job), slack: gap + self.job.timeout })
            }
        }
    }
}

fn owned((probe, target, variant): (&'static str, &str, &str)) -> (&'static str, String, String) {
    (probe, target.to_owned(), variant.to_owned())
}

#[cfg(test)]
mod tests;
