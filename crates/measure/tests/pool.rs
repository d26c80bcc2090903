//! The pool under test against real servers: what a checkout costs, what a loan leaves, and where the time goes.
//!
//! Where the time of operations goes is in `parts`; how many wait and time out, against a queueing model, in `model`.

use std::time::Duration;

use measure::{
    Reason, clock,
    keys::{KeyBudget, KeyRange, KeySpace},
    load::{self, Crew, LoadPlan, Share},
    pace::Pace,
    pool::{Commands, Pool, PoolConfig, PooledConnector, Use},
    redis,
};
use testkit::{RedisServer, poll_until, poll_until_async};

use crate::support::{control, endpoint};

mod model;
mod parts;

const SECOND: Duration = Duration::from_secs(1);

fn config(size: usize, wait: Duration) -> PoolConfig {
    PoolConfig { name: "test".into(), size, wait, operation: SECOND * 2, block: Duration::from_millis(500) }
}

fn pool(url: &str, size: usize, wait: Duration) -> Pool {
    Pool::new(config(size, wait), &endpoint(url), "pool-test")
}

/// Numbered keys, to read and block on.
fn keys() -> KeyRange {
    let budget = KeyBudget { keys: 10_000, bytes: 1 << 20 };
    KeySpace::new("test", "pool", "run", SECOND * 60, budget).range("keys", 1_000, 16).unwrap()
}

fn blocked(server: &RedisServer) -> usize {
    server.clients("pool-test").iter().filter(|line| line.contains("flags=b")).count()
}

#[tokio::test]
async fn a_checkout_waits_for_the_loan_before_it_and_then_gives_up() {
    let server = RedisServer::start();
    let pool = pool(&server.url(), 1, Duration::from_millis(200));
    let (first, times) = pool.acquire().await;
    let mut first = first.unwrap();
    assert!(times.create > Duration::ZERO && times.recycle.is_zero(), "{times:?}");
    assert!(times.wait < times.create, "opening is no waiting: {times:?}");

    let (refused, times) = pool.acquire().await;
    assert_eq!(refused.unwrap_err().reason, Reason::PoolTimeout);
    assert!(times.wait >= Duration::from_millis(200), "{times:?}");

    let waiting = async {
        let (second, times) = pool.acquire().await;
        assert_eq!(pool.status().in_use, 1);
        (second.map(drop), times)
    };
    let working = async {
        let waits = poll_until_async(SECOND, async || pool.status().waiting == 1).await;
        assert!(waits, "{:?}", pool.status());
        let answer: String = first.query(&redis::cmd("PING"), SECOND).await.unwrap();
        drop(first);
        answer
    };
    let ((second, times), answer) = tokio::join!(waiting, working);
    second.unwrap();
    assert_eq!(answer, "PONG");
    assert!(times.recycle > Duration::ZERO && times.create.is_zero(), "{times:?}");
    assert!(times.total >= times.wait + times.recycle, "{times:?}");
    let account = pool.account();
    assert_eq!((account.waits.count(), account.all_waits.count(), account.wait_failures), (2, 3, 1));
    assert_eq!((account.created, account.checks.count(), account.discarded), (1, 1, 0));
}

#[tokio::test]
async fn a_blocked_connection_is_never_given_back() {
    let server = RedisServer::start();
    let keys = keys();
    for cancelled in [false, true] {
        let pool = pool(&server.url(), 1, Duration::from_millis(200));
        let mut lent = pool.acquire().await.0.unwrap();
        let read = keys.xread(0, SECOND * 20, "$");
        if cancelled {
            let asking = lent.query::<redis::Value>(&read, SECOND * 30);
            assert!(tokio::time::timeout(Duration::from_millis(100), asking).await.is_err());
        } else {
            let failure = lent.query::<redis::Value>(&read, Duration::from_millis(100)).await.unwrap_err();
            assert_eq!(failure.reason, Reason::Timeout);
            let failure = lent.query::<redis::Value>(&redis::cmd("PING"), SECOND).await.unwrap_err();
            assert_eq!(failure.reason, Reason::Reset, "it is of no use any more");
        }
        drop(lent);
        assert_eq!(pool.status().size, 0);
        let (next, times) = pool.acquire().await;
        next.unwrap().query::<String>(&redis::cmd("PING"), SECOND).await.unwrap();
        assert!(times.recycle.is_zero() && times.create > Duration::ZERO, "a new one: {times:?}");
        assert_eq!(pool.account().discarded, 1);
        assert!(poll_until_async(SECOND * 5, async || blocked(&server) == 0).await, "the server let it go");
    }
}

/// A refusal leaves a connection as good as it was.
#[tokio::test]
async fn a_refused_command_costs_no_connection() {
    let server = RedisServer::start();
    let pool = pool(&server.url(), 1, SECOND);
    let mut lent = pool.acquire().await.0.unwrap();
    let refused = lent.query::<String>(&redis::cmd("NOSUCH"), SECOND).await.unwrap_err();
    assert_eq!(refused.reason, Reason::Unsupported);
    assert_eq!(lent.query::<String>(&redis::cmd("PING"), SECOND).await.unwrap(), "PONG");
    drop(lent);
    assert_eq!((pool.status().size, pool.account().discarded), (1, 0));
}

#[tokio::test]
async fn checks_that_fail_in_silence_are_counted() {
    let server = RedisServer::start();
    let pool = pool(&server.url(), 2, SECOND);
    drop(pool.acquire().await.0.unwrap());
    assert_eq!(server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]), "1");
    let (next, times) = pool.acquire().await;
    assert!(next.is_ok(), "its user is told nothing");
    assert!(times.create > Duration::ZERO, "{times:?}");
    let account = pool.account();
    assert_eq!((account.recycle_failures, account.created), (1, 2));
    assert_eq!(account.check_failure.unwrap().reason, Reason::Reset);
}

#[tokio::test]
async fn a_silent_server_holds_no_checkout_for_longer_than_its_bounds() {
    let server = RedisServer::start();
    let mut config = config(5, Duration::from_millis(100));
    config.operation = Duration::from_millis(300);
    let pool = Pool::new(config, &endpoint(&server.url()), "pool-test");
    let mut idle = Vec::new();
    for _ in 0..5 {
        idle.push(pool.acquire().await.0.unwrap());
    }
    drop(idle);
    server.pause();
    let begun = clock::now();
    let (refused, times) = pool.acquire().await;
    let took = begun.elapsed();
    server.resume();
    assert_eq!(refused.unwrap_err().reason, Reason::Timeout);
    assert!(took < Duration::from_millis(1_200), "five checks of 300 ms each would take longer: {took:?}");
    assert!(times.recycle >= Duration::from_millis(290), "{times:?}");
    assert!(pool.account().recycle_failures >= 1);
}

#[tokio::test]
async fn nobody_there_is_a_reason_of_its_own() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let (refused, _) = pool(&url, 2, SECOND).acquire().await;
    assert_eq!(refused.unwrap_err().reason, Reason::ConnectRefused);
}

fn plan(operation: &'static str, workers: usize, seconds: f64) -> LoadPlan {
    let mut plan = LoadPlan::new("shared", vec![Share { operation, weight: 1 }]);
    plan.workers = workers;
    plan.stop.duration = Some(Duration::from_secs_f64(seconds));
    plan
}

/// Readers that block for `block` each, over and over.
fn readers(
    pools: &[Pool],
    count: usize,
    block: Duration,
    seconds: f64,
) -> (LoadPlan, PooledConnector<Commands>) {
    let keys = keys();
    let commands =
        Commands::default().with(block + SECOND * 2, move |worker, _| keys.xread(worker as u64, block, "$"));
    (plan("xread", count, seconds), PooledConnector::new(pools, commands, Use::EachTime(Duration::ZERO)))
}

/// GETs at `rate` per second, with workers enough that none waits for another.
fn gets(pools: &[Pool], rate: f64, seconds: f64) -> (LoadPlan, PooledConnector<Commands>) {
    let keys = keys();
    let commands = Commands::default().with(SECOND * 2, move |_, key| keys.get_one(key));
    let mut plan = plan("get", (rate * 0.5) as usize + 8, seconds);
    plan.pace = Pace::per_second(rate);
    plan.key_space = 100;
    (plan, PooledConnector::new(pools, commands, Use::EachTime(Duration::ZERO)))
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_starve_the_traffic_that_shares_their_pool_and_not_that_which_does_not() {
    let server = RedisServer::start();
    let wait = Duration::from_millis(200);
    for (split, starves) in [(false, true), (true, false)] {
        let streams = [pool(&server.url(), if split { 50 } else { 3 }, wait)];
        let general = if split { [pool(&server.url(), 10, wait)] } else { streams.clone() };
        let (read_plan, read) = readers(&streams, 6, Duration::from_millis(500), 2.0);
        let (get_plan, get) = gets(&general, 100.0, 2.0);
        let crews = vec![Crew::new(get_plan, get), Crew::new(read_plan, read)];
        let control = control();
        let results = load::run_together(crews, &control).await.unwrap();
        let get = &results[0].operations[0];
        assert_eq!((get.offered, get.missed), (200, 0), "{get:#?}");
        let timeouts = get.errors.get(&Reason::PoolTimeout).copied().unwrap_or_default();
        assert_eq!(timeouts > 40, starves, "{timeouts} of 200");
        if split {
            assert_eq!(get.ok, 200, "{:?}", get.errors);
        }
        let account = general[0].account();
        assert!(account.wait_failures >= timeouts);
        // Three connections, all of them out nearly all of the time.
        let share = account.held.as_secs_f64() / (3.0 * results[0].duration.as_secs_f64());
        assert!(split || (0.8..1.3).contains(&share), "{share}");
        control.threads.close();
        control.threads.wait().await;
        assert!(poll_until(SECOND * 5, || server.clients("pool-test").is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_load_leaves_neither_connections_nor_blocked_clients() {
    let server = RedisServer::start();
    let pools: Vec<Pool> = (0..2).map(|_| pool(&server.url(), 5, SECOND)).collect();
    let (plan, connector) = readers(&pools, 20, SECOND * 10, 60.0);
    let (get_plan, get) = gets(&pools, 50.0, 60.0);
    let control = control();
    let kill = control.kill.clone();
    let stop = async {
        let blocked = poll_until_async(SECOND * 10, async || blocked(&server) == 10).await;
        assert!(blocked, "two pools of 5 are full of readers: {:?}", server.clients("pool-test"));
        kill.cancel();
    };
    let load = load::run_together(vec![Crew::new(plan, connector), Crew::new(get_plan, get)], &control);
    let (results, ()) = tokio::join!(load, stop);
    let read = &results.unwrap()[0].operations[0];
    assert_eq!((read.ok, read.errors[&Reason::Cancelled]), (0, 20), "{read:#?}");
    control.threads.close();
    control.threads.wait().await;
    assert!(
        poll_until(SECOND * 5, || server.clients("pool-test").is_empty()),
        "{:?}",
        server.clients("pool")
    );
    assert!(server.keys().is_empty(), "reading creates nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_is_taken_out_once() {
    let server = RedisServer::start();
    let mut checks = Vec::new();
    for usage in [Use::Kept, Use::EachTime(Duration::ZERO)] {
        let pools = [pool(&server.url(), 4, SECOND)];
        let keys = keys();
        let commands = Commands::default().with(SECOND, move |_, key| keys.get_one(key));
        let connector = PooledConnector::new(&pools, commands, usage);
        let ledger = connector.ledger();
        let crew = Crew::new(plan("get", 4, 0.3), connector);
        let result = load::run_together(vec![crew], &control()).await.unwrap().swap_remove(0);
        let get = &result.operations[0];
        assert_eq!(get.ok, get.attempts);
        assert_eq!(ledger.parts()[0].attempts, get.attempts);
        let account = pools[0].account();
        checks.push((account.waits.count(), get.attempts));
    }
    assert_eq!(checks[0].0, 4);
    assert_eq!(checks[1].0, checks[1].1);
}
