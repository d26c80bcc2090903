//! Halting: what stops a run that presses on a server, how soon, and that it stays off until it is allowed again.
//!
//! Each condition that the server shows is brought about in the core's own tests; here it is what becomes of one.

use std::{
    fs,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use measure::{
    Effect, ProbeError, Reason,
    clock::{self, Instant},
    conn::Endpoint,
    report::Report,
};
use redprobe::{
    config::{Job, Target},
    probe::ProbeKind,
    schedule::{
        halted::Wish,
        runner::{Runner, Trigger},
    },
    sink::Record,
    verdict::Outcome,
};
use testkit::RedisServer;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    runner::{Bench, PATIENCE, job, needing, runner_in},
    synthetic,
};

mod conditions;
mod daemon;
mod leftovers;
mod pressing;

static PRESSING: ProbeKind = needing("pressing", Effect::Disrupt);
static LOADING: ProbeKind = needing("loading", Effect::Load);
static TOUCHING: ProbeKind = ProbeKind { effect: Effect::Touch, ..needing("touching", Effect::Load) };

/// From what triggers a halt to the last write: a second and a half, and some slack for a busy machine.
const IN_TIME: Duration = Duration::from_millis(2_500);

fn target(redis: &RedisServer) -> Arc<Target> {
    let endpoint = Endpoint::parse(&redis.url()).expect("a URL");
    let Ok(target) = Arc::try_unwrap(synthetic::target("cache")) else { panic!("nobody else has it") };
    let allow = Effect::Disrupt;
    Arc::new(Target {
        endpoint,
        allow,
        max_keys: 100_000,
        max_bytes: 1 << 30,
        max_connections: 100,
        ..target
    })
}

/// A job that fills and never ends by itself, nor by the kill switch: it is stopped or it goes on.
struct Filling {
    job: Arc<Job>,
    begun: Arc<Notify>,
    wrote: Arc<Mutex<Option<Instant>>>,
    /// Why it could not go on.
    refused: Arc<Mutex<Option<Reason>>>,
}

fn filling(kind: &'static ProbeKind, redis: &RedisServer, timeout: Duration) -> Filling {
    filling_with(kind, redis, timeout, |_| Ok(Report::default()))
}

/// The same, that makes this of a fill that fails.
fn filling_with(
    kind: &'static ProbeKind,
    redis: &RedisServer,
    timeout: Duration,
    fails: fn(ProbeError) -> Result<Report, ProbeError>,
) -> Filling {
    let (begun, wrote) = (Arc::new(Notify::new()), Arc::new(Mutex::new(None)));
    let refused = Arc::new(Mutex::new(None));
    let (says, writes, fails_for) = (Arc::clone(&begun), Arc::clone(&wrote), Arc::clone(&refused));
    let job = job(kind, &target(redis), timeout, move |cx| {
        let (says, writes, fails_for) = (Arc::clone(&says), Arc::clone(&writes), Arc::clone(&fails_for));
        Box::pin(async move {
            let (mut conn, _) = cx.connect().await?;
            let range = cx.keys.range("fill", 50_000, 1_000)?;
            for first in (0..50_000).step_by(50) {
                let batch = range.fill(&mut conn, first..first + 50, &[b'x'; 1_000], &cx.own_errors);
                if let Err(failure) = batch.await {
                    *fails_for.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.reason);
                    return fails(failure.into());
                }
                *writes.lock().unwrap_or_else(PoisonError::into_inner) = Some(clock::now());
                says.notify_one();
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(Report::default())
        })
    });
    Filling { job, begun, wrote, refused }
}

impl Filling {
    async fn begin(&self, runner: &Arc<Runner>) -> JoinHandle<Arc<Record>> {
        let (runner, job, started) = (Arc::clone(runner), Arc::clone(&self.job), clock::now());
        let run = tokio::spawn(async move { runner.tick(&job, Trigger::Schedule).await });
        // A run before this one may have left a notification that nobody waited for.
        let writes = || *self.wrote.lock().unwrap_or_else(PoisonError::into_inner) > Some(started);
        let begins = async {
            while !writes() {
                self.begun.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, begins).await.expect("it begins");
        run
    }

    /// Runs it until `trigger` stops it; by how much its last write came after that.
    async fn stopped_by(&self, runner: &Arc<Runner>, trigger: impl AsyncFnOnce()) -> (Arc<Record>, Duration) {
        let run = self.begin(runner).await;
        trigger().await;
        let triggered = clock::now();
        let record = tokio::time::timeout(PATIENCE, run).await.expect("it is stopped").expect("no panic");
        let wrote = self.wrote.lock().unwrap_or_else(PoisonError::into_inner).expect("it wrote");
        (record, wrote.saturating_duration_since(triggered))
    }
}

#[track_caller]
fn assert_halted(record: &Arc<Record>, reason: Reason) {
    assert_eq!((record.outcome, record.reason), (Outcome::Halted, Some(reason)), "{}", record.conclusion);
}

/// Skipped, and says how it may run again.
#[track_caller]
fn assert_off(record: &Arc<Record>, remedy: &str) {
    let skipped = (Outcome::Skipped, Some(Reason::Precondition));
    assert_eq!((record.outcome, record.reason), skipped, "{}", record.conclusion);
    assert!(record.conclusion.contains(remedy), "{}", record.conclusion);
}

#[tokio::test]
async fn a_halted_job_has_cleaned_up_and_stays_off_over_restarts_until_it_is_allowed() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    // Those with the shortest time go first, and none of them is the run's.
    let script =
        "for i = 1, 2000 do redis.call('SET', 'foreign' .. i, string.rep('x', 1000), 'PX', 9000) end";
    assert_eq!(bench.redis.cli(&["EVAL", script, "0"]), "");
    bench.redis.ok(&["CONFIG", "SET", "maxmemory-policy", "volatile-ttl"]);
    let evict = async || {
        let used: u64 = bench.redis.info("used_memory").parse().expect("a number");
        bench.redis.ok(&["CONFIG", "SET", "maxmemory", &(used - 1_000_000).to_string()]);
        bench.redis.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    };
    let (record, after) = filling.stopped_by(&bench.runner, evict).await;
    assert_halted(&record, Reason::ForeignEviction);
    assert!(after < IN_TIME, "it wrote {after:?} after the eviction");
    assert_eq!(record.clean_up.left_over, 0);
    assert!(bench.redis.keys().iter().all(|key| key.starts_with("foreign")));

    let remedy = "`redprobe rearm --target cache pressing`";
    assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, remedy);
    let restarted = runner_in(&bench.state);
    assert_off(&restarted.tick(&filling.job, Trigger::Schedule).await, remedy);
    // Others go on.
    let loading =
        job(&LOADING, &target(&bench.redis), PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    assert_eq!(restarted.tick(&loading, Trigger::Manual).await.outcome, Outcome::Passed);

    let rearmed = restarted.halts().rearm(&Wish::default()).await.expect("the directory can be written");
    assert_eq!((rearmed.len(), rearmed[0].run.as_deref()), (1, Some(&*record.id)));
    // The other process sees it by itself.
    let run = filling.begin(&bench.runner).await;
    restarted.halts().by_hand(Some("cache")).await.expect("the directory can be written");
    assert_halted(&run.await.expect("no panic"), Reason::Cancelled);
}

#[tokio::test]
async fn the_halt_file_stops_what_loads_and_refuses_it_while_it_is_there() {
    let bench = Bench::new();
    let filling = filling(&LOADING, &bench.redis, PATIENCE);
    let path = bench.state.path().join("halt");
    let (record, after) =
        filling.stopped_by(&bench.runner, async || fs::write(&path, "").expect("it is written")).await;
    assert_halted(&record, Reason::Cancelled);
    assert!(after < IN_TIME, "it wrote {after:?} after the file");
    assert!(bench.redis.keys().is_empty());

    assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, "/halt");
    let touching = job(&TOUCHING, &target(&bench.redis), PATIENCE, |cx| {
        Box::pin(async {
            assert_eq!(cx.allowed, Effect::Touch);
            Ok(Report::default())
        })
    });
    let record = bench.runner.tick(&touching, Trigger::Manual).await;
    assert_eq!(record.outcome, Outcome::Passed, "what can do with less goes on: {}", record.conclusion);
    assert!(
        record.log.iter().any(|line| line.contains("no more than touch: halted by the file")),
        "{:?}",
        record.log
    );
    fs::remove_file(&path).expect("it is there");
    filling.begin(&bench.runner).await.abort();
}

#[tokio::test]
async fn a_halt_by_hand_stops_one_target_and_does_not_switch_its_jobs_off_for_good() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let halt =
        async || bench.runner.halts().by_hand(Some("cache")).await.expect("the directory can be written");
    let (record, after) = filling.stopped_by(&bench.runner, halt).await;
    assert_halted(&record, Reason::Cancelled);
    assert!(after < IN_TIME, "it wrote {after:?} after the halt");
    let refused = *filling.refused.lock().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(refused, Some(Reason::Cancelled), "a fill that does not look whether it may go on may not");
    assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, "`redprobe rearm --target cache`");
    assert_eq!(bench.runner.halts().seen().halts.len(), 1);
    bench.runner.halts().rearm(&Wish::default()).await.expect("the directory can be written");
    filling.begin(&bench.runner).await.abort();
}

#[tokio::test]
async fn a_lost_lease_halts_at_once() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let lose = async || assert_eq!(bench.redis.cli(&["DEL", "redprobe:lease"]), "1");
    let (record, after) = filling.stopped_by(&bench.runner, lose).await;
    assert_halted(&record, Reason::Lease);
    assert!(after < IN_TIME, "it wrote {after:?} after the loss");
}

#[tokio::test]
async fn a_restart_halts_whoever_sees_it_first() {
    for says_so in [false, true] {
        let mut bench = Bench::new();
        let filling = if says_so {
            filling_with(&PRESSING, &bench.redis, PATIENCE, Err)
        } else {
            filling(&PRESSING, &bench.redis, PATIENCE)
        };
        let run = filling.begin(&bench.runner).await;
        bench.redis.restart();
        let record = tokio::time::timeout(PATIENCE, run).await.expect("it is stopped").expect("no panic");
        assert_halted(&record, Reason::Restarted);
        assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, "`redprobe rearm");
    }
}

#[tokio::test]
async fn a_server_that_dies_under_pressure_halts_and_does_not_merely_fail() {
    let mut bench = Bench::new();
    let filling = filling_with(&PRESSING, &bench.redis, PATIENCE, Err);
    let run = filling.begin(&bench.runner).await;
    bench.redis.kill();
    let record = tokio::time::timeout(PATIENCE, run).await.expect("it is stopped").expect("no panic");
    assert_halted(&record, Reason::Canary);
    assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, "`redprobe rearm");
}

#[tokio::test]
async fn pressure_that_does_not_end_in_its_time_is_halted() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, Duration::from_secs(2));
    let record = filling.begin(&bench.runner).await.await.expect("no panic");
    assert_halted(&record, Reason::Deadline);
    assert!(bench.redis.keys().is_empty());
    assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, "`redprobe rearm");
}

#[tokio::test]
async fn what_was_halted_and_cannot_be_read_keeps_all_that_disrupts_off() {
    let bench = Bench::new();
    fs::write(bench.state.path().join("halted.json"), "{").expect("it is written");
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    assert_off(&bench.runner.tick(&filling.job, Trigger::Manual).await, "halted.json cannot be read");
    let loading =
        job(&LOADING, &target(&bench.redis), PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    assert_eq!(bench.runner.tick(&loading, Trigger::Manual).await.outcome, Outcome::Passed);
}

#[tokio::test]
async fn two_processes_do_not_press_on_one_server() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let run = filling.begin(&bench.runner).await;
    let elsewhere = tempfile::TempDir::new().expect("a directory can be made");
    let record = runner_in(&elsewhere).tick(&filling.job, Trigger::Manual).await;
    assert_eq!(
        (record.outcome, record.reason),
        (Outcome::Skipped, Some(Reason::Lease)),
        "{}",
        record.conclusion
    );
    run.abort();
}

#[tokio::test]
async fn told_to_stop_it_cleans_up() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let run = filling.begin(&bench.runner).await;
    assert!(bench.runner.stop(PATIENCE).await);
    let record = run.await.expect("no panic");
    assert_eq!((record.outcome, record.reason), (Outcome::Error, Some(Reason::Cancelled)));
    assert!(bench.redis.keys().is_empty());
    assert!(!bench.runner.halts().seen().is_halted("cache"), "a stop is no danger");
}
