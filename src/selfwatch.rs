//! redprobe watching itself: was it fit to measure while a run measured?
//!
//! One task looks at the event loop ten times a second and at the process once a second. A run opens a [`Window`] and
//! asks it at the end for the doubts that its figures deserve. What a doubt does to a grade belongs to `verdict`.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use measure::{
    clock::{self, Alarm, Instant},
    report::Doubt,
};
use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};
use tokio_util::task::AbortOnDropHandle;

use crate::sink::Sinks;

/// How often the event loop is looked at.
const BEAT: Duration = Duration::from_millis(100);
/// Beats from one look at the process to the next.
const BEATS: u32 = 10;

/// A wake-up later than this is lag. On an idle machine wake-ups are some tens of microseconds late; with six busy
/// processes on two processors the worst were 4 ms late, while the client's p99 grew from 0.09 to 1.07 ms. 10 ms is
/// beyond what a busy machine does by itself, and of the size of what probes look for.
const LAG: Duration = Duration::from_millis(10);
/// More than this share of late wake-ups is doubted: the p99 of a run is then late as well.
const LATE_SHARE: f64 = 0.01;
/// A second with this share of the allowed processors used is doubted: the rest goes to the kernel and to waiting,
/// so that what is measured then is the prober's own limit.
const CPU_SHARE: f64 = 0.85;
/// A thread that spent more than this share of the time ready to run, and not running, is doubted: one in twenty
/// operations then carries a wait that the server knows nothing of.
const WAIT_SHARE: f64 = 0.05;

/// The state of the process, as last looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Reading {
    /// Processor time used over that which it may use, 0 to 1, in the last second.
    pub cpu_share: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Longest wait for a processor of any thread, as a share of the last second.
    pub wait_share: f64,
    /// Longest lag of the event loop in the last second.
    pub lag: Duration,
}

/// The watch. Dropping it ends it.
#[derive(Debug)]
pub struct SelfWatch {
    shared: Arc<Shared>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct Shared {
    windows: Mutex<Vec<Weak<Mutex<Tally>>>>,
    /// When the task means to wake up: a lag that is not over yet shows as this being past.
    due: Mutex<Instant>,
    latest: Mutex<Reading>,
}

/// What was seen while a window was open.
#[derive(Debug, Default)]
struct Tally {
    beats: u32,
    late: u32,
    seconds: u32,
    busy: bool,
    waited: f64,
}

/// Everything seen from [`SelfWatch::begin`] on.
#[derive(Debug)]
pub struct Window {
    tally: Arc<Mutex<Tally>>,
    shared: Arc<Shared>,
}

impl SelfWatch {
    /// Starts watching on the current runtime; the event loop's lag goes to `/metrics`.
    #[must_use]
    pub fn start(sinks: Arc<Sinks>) -> Self {
        let shared = Arc::new(Shared {
            windows: Mutex::default(),
            due: Mutex::new(clock::now() + BEAT),
            latest: Mutex::default(),
        });
        let watch = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            if let Err(error) = keep_watch(&watch, &sinks).await {
                tracing::warn!(%error, "redprobe cannot watch itself; runs will carry no doubts about it");
            }
        });
        Self { shared, _task: AbortOnDropHandle::new(task) }
    }

    /// Opens a window.
    #[must_use]
    pub fn begin(&self) -> Window {
        let tally = Arc::new(Mutex::new(Tally::default()));
        lock(&self.shared.windows).push(Arc::downgrade(&tally));
        Window { tally, shared: Arc::clone(&self.shared) }
    }

    /// The state of the process, as last looked at.
    #[must_use]
    pub fn latest(&self) -> Reading {
        *lock(&self.shared.latest)
    }
}

impl Window {
    /// What there is to doubt since it was opened. A window shorter than a second knows of the event loop alone.
    #[must_use]
    pub fn doubts(&self) -> Vec<Doubt> {
        let overdue = clock::now().saturating_duration_since(*lock(&self.shared.due)) > LAG;
        lock(&self.tally).doubts(overdue)
    }
}

impl Tally {
    fn doubts(&self, overdue: bool) -> Vec<Doubt> {
        let mut doubts = Vec::new();
        if self.busy {
            doubts.push(Doubt::ProberCpuBusy);
        }
        if overdue || f64::from(self.late) > f64::from(self.beats) * LATE_SHARE {
            doubts.push(Doubt::EventLoopLag);
        }
        if self.waited > f64::from(self.seconds) * WAIT_SHARE {
            doubts.push(Doubt::RunQueueWait);
        }
        doubts
    }
}

impl Shared {
    fn each_window(&self, note: impl Fn(&mut Tally)) {
        lock(&self.windows).retain(|window| {
            let open = window.upgrade();
            if let Some(tally) = &open {
                note(&mut lock(tally));
            }
            open.is_some()
        });
    }

    fn note_beat(&self, lag: Duration) {
        self.each_window(|tally| {
            tally.beats += 1;
            tally.late += u32::from(lag > LAG);
        });
    }

    fn note_reading(&self, reading: Reading) {
        *lock(&self.latest) = reading;
        self.each_window(|tally| {
            tally.seconds += 1;
            tally.busy |= reading.cpu_share >= CPU_SHARE;
            tally.waited += reading.wait_share;
        });
    }
}

async fn keep_watch(shared: &Shared, sinks: &Sinks) -> std::io::Result<()> {
    // tokio's own timer rounds to milliseconds and is late by one: that would be taken for lag.
    let mut alarm = Alarm::new()?;
    let mut process = ProcessReader::new();
    loop {
        let mut worst = Duration::ZERO;
        for _ in 0..BEATS {
            let due = clock::now() + BEAT;
            *lock(&shared.due) = due;
            alarm.sleep_until(due).await?;
            let lag = clock::now().saturating_duration_since(due);
            shared.note_beat(lag);
            worst = worst.max(lag);
        }
        sinks.metrics.event_loop_lag(worst);
        shared.note_reading(Reading { lag: worst, ..process.read() });
    }
}

/// Reads what the kernel says of this process.
struct ProcessReader {
    system: Option<System>,
    pid: Pid,
    /// Processors that it may use: affinity and cgroup quota included.
    processors: f64,
    last: Instant,
    cpu_millis: Option<u64>,
    /// Thread, and its wait for a processor since it began, in nanoseconds.
    waits: Vec<(u64, u64)>,
}

impl ProcessReader {
    fn new() -> Self {
        let mut reader = Self {
            system: System::new().ok(),
            pid: Pid::from_u32(std::process::id()),
            processors: std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64),
            last: clock::now(),
            cpu_millis: None,
            waits: Vec::new(),
        };
        reader.read();
        reader
    }

    fn read(&mut self) -> Reading {
        let now = clock::now();
        let elapsed = now.saturating_duration_since(self.last).as_secs_f64().max(f64::MIN_POSITIVE);
        self.last = now;
        let mut reading = Reading::default();
        if let Some(system) = &mut self.system {
            system.refresh_processes_specifics(
                ProcessesToUpdate::Some(&[self.pid]),
                false,
                ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks(),
            );
            if let Some(process) = system.process(self.pid) {
                reading.resident_bytes = process.memory();
                let used = process.accumulated_cpu_time();
                if let Some(before) = self.cpu_millis.replace(used) {
                    let seconds = used.saturating_sub(before) as f64 / 1_000.0;
                    reading.cpu_share = seconds / elapsed / self.processors;
                }
            }
        }
        let waits = thread_waits();
        let longest =
            waits.iter().map(|(thread, wait)| wait.saturating_sub(wait_of(&self.waits, *thread))).max();
        reading.wait_share = longest.unwrap_or_default() as f64 / 1e9 / elapsed;
        self.waits = waits;
        reading
    }
}

/// A thread that is new has waited nothing before.
fn wait_of(waits: &[(u64, u64)], thread: u64) -> u64 {
    waits.iter().find(|(known, _)| *known == thread).map_or(0, |(_, wait)| *wait)
}

/// How long each thread has waited for a processor, in nanoseconds; empty where the kernel does not say.
fn thread_waits() -> Vec<(u64, u64)> {
    let Ok(threads) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    threads
        .flatten()
        .filter_map(|thread| {
            let id = thread.file_name().to_str()?.parse().ok()?;
            // Time on a processor, time waiting for one, and the number of turns.
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            Some((id, text.split_whitespace().nth(1)?.parse().ok()?))
        })
        .collect()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(note: impl Fn(&Shared)) -> Vec<Doubt> {
        let shared = Arc::new(Shared {
            windows: Mutex::default(),
            due: Mutex::new(clock::now() + Duration::from_secs(60)),
            latest: Mutex::default(),
        });
        let tally = Arc::new(Mutex::new(Tally::default()));
        lock(&shared.windows).push(Arc::downgrade(&tally));
        note(&shared);
        Window { tally, shared }.doubts()
    }

    #[test]
    fn a_fit_prober_has_no_doubts() {
        let quiet = Reading { cpu_share: 0.5, wait_share: 0.01, ..Reading::default() };
        let doubts = tally(|shared| {
            (0..100).for_each(|_| shared.note_beat(Duration::from_micros(60)));
            (0..10).for_each(|_| shared.note_reading(quiet));
        });
        assert_eq!(doubts, []);
        assert_eq!(tally(|_| ()), []);
    }

    #[test]
    fn one_busy_second_is_enough() {
        let doubts = tally(|shared| {
            shared.note_reading(Reading { cpu_share: 0.9, ..Reading::default() });
            (0..20).for_each(|_| shared.note_reading(Reading::default()));
        });
        assert_eq!(doubts, [Doubt::ProberCpuBusy]);
    }

    #[test]
    fn one_late_beat_in_a_hundred_is_borne() {
        let late = |beats: u32| {
            tally(move |shared| {
                shared.note_beat(LAG * 2);
                (1..beats).for_each(|_| shared.note_beat(Duration::ZERO));
            })
        };
        assert_eq!(late(99), [Doubt::EventLoopLag]);
        assert_eq!(late(100), []);
    }

    #[test]
    fn a_thread_that_waits_is_doubted() {
        let doubts = tally(|shared| {
            shared.note_reading(Reading { wait_share: 0.2, ..Reading::default() });
            shared.note_reading(Reading::default());
        });
        assert_eq!(doubts, [Doubt::RunQueueWait]);
    }

    #[test]
    fn the_process_is_read() {
        let mut reader = ProcessReader::new();
        let until = clock::now() + Duration::from_millis(120);
        while clock::now() < until {
            std::hint::spin_loop();
        }
        let reading = reader.read();
        assert!(reading.cpu_share > 0.0, "{reading:?}");
        assert!(reading.resident_bytes > 1 << 20, "{reading:?}");
        assert!(!reader.waits.is_empty());
    }

    #[tokio::test]
    async fn a_blocked_event_loop_is_noticed_while_it_lasts() {
        let watch = SelfWatch::start(Arc::new(Sinks::new(1)));
        // Lets the watch's task begin.
        tokio::task::yield_now().await;
        let window = watch.begin();
        let until = clock::now() + BEAT + 3 * LAG;
        while clock::now() < until {
            std::hint::spin_loop();
        }
        assert_eq!(window.doubts(), [Doubt::EventLoopLag]);
    }
}
