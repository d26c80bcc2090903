//! The load loop against real servers: what it offers, counts and times, and how it ends.

use std::time::Duration;

use measure::{
    Reason, clock,
    conn::Endpoint,
    load::{self, Control, LoadPlan, LoadResult, Order, Progress, Share, StoppedBy},
    pace::Pace,
    report::LoopKind,
    wire::{Command, Expect, WireConnector},
};
use testkit::RedisServer;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

fn control() -> Control {
    Control {
        kill: CancellationToken::new(),
        progress: watch::Sender::new(Progress::default()),
        threads: TaskTracker::new(),
    }
}

fn get() -> Command {
    Command::reading("get", &[b"GET", b"some-key"], Expect::Bulk)
}

fn plan(seconds: f64) -> LoadPlan {
    let mut plan = LoadPlan::new("test", vec![Share { operation: "get", weight: 1 }]);
    plan.stop.duration = Some(Duration::from_secs_f64(seconds));
    plan
}

async fn run(url: &str, plan: LoadPlan, commands: Vec<Command>) -> LoadResult {
    let endpoint = Endpoint::parse(url).unwrap();
    let connector = WireConnector::new(endpoint, "load-test", commands, &plan);
    load::run(plan, connector, &control()).await.unwrap()
}

/// Truth: what a stall of the server does to operations that were due while it lasted. A machine that is busy with
/// something else may stall the load as well, so one undisturbed look in three is enough; a wrong sum never has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_full_in_an_open_loop_and_hides_in_a_closed_one() {
    let mut disturbed = Vec::new();
    for _ in 0..3 {
        match stall_of_one_second().await {
            Ok(()) => return,
            Err(finding) => disturbed.push(finding),
        }
    }
    panic!("{disturbed:#?}");
}

async fn stall_of_one_second() -> Result<(), String> {
    let server = RedisServer::start();
    let mut open = plan(5.0);
    open.pace = Pace::per_second(1_000.0);
    open.workers = 10;
    let stall = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let stopped = clock::now();
        server.pause();
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.resume();
        stopped.elapsed().as_secs_f64()
    };
    let url = server.url();
    let (open, closed, stalled) =
        tokio::join!(run(&url, open, vec![get()]), run(&url, plan(5.0), vec![get()]), stall);
    let (operation, closed) = (&open.operations[0], &closed.operations[0]);
    assert_eq!((operation.loop_kind, closed.loop_kind), (LoopKind::Open, LoopKind::Closed));
    assert_eq!((operation.offered, open.timeline.len()), (5_000, 5));
    // An operation due at t in the stall takes until its end. Of 5,000 the slowest hundredth, 50, are those due in
    // the stall's first 50 ms, so the true p99 is the stall less 50 ms.
    let expected = stalled - 0.050;
    let (p99, service) = (operation.response.p99.unwrap(), operation.service.p99.unwrap());
    let findings = [
        ((p99 - expected).abs() <= expected * 0.05, format!("p99 {p99} against {expected}")),
        (operation.ok == 5_000, format!("{} of 5,000 ok, {} missed", operation.ok, operation.missed)),
        // From the send alone only one operation per worker meets the stall.
        (service < 0.5, format!("p99 from the send {service}")),
        (closed.response.p99.unwrap() < 0.1, "a closed loop meets the stall once".to_owned()),
        (closed.response.max.unwrap() > 0.9, "and then in full".to_owned()),
        (
            open.timeline.iter().any(|point| point.values.get("max_seconds").is_some_and(|max| *max > 0.9)),
            format!("no second of the timeline shows the stall: {:?}", open.timeline),
        ),
    ];
    match findings.into_iter().find(|(holds, _)| !holds) {
        None => Ok(()),
        Some((_, finding)) => Err(finding),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_never_count_as_operations() {
    let server = RedisServer::with(&["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    // SETRANGE with an empty value writes nothing, and is refused all the same.
    let refused = Command::reading("write", &[b"SETRANGE", b"nobody", b"0", b""], Expect::Any);
    let mut plan = plan(0.5);
    plan.mix = vec![Share { operation: "write", weight: 1 }, Share { operation: "get", weight: 1 }];
    plan.workers = 3;
    let result = run(&server.url(), plan, vec![refused, get()]).await;
    let [write, get] = &result.operations[..] else { panic!("two operations") };
    assert_eq!(write.ok, 0);
    assert!(write.per_second().abs() < f64::EPSILON);
    assert!(write.attempts > 0);
    assert_eq!(write.errors[&Reason::Oom], write.attempts);
    assert_eq!((write.response.count, write.response_buckets.count), (0, 0));
    assert_eq!(get.ok, get.attempts);
    assert!(
        result.errors.iter().any(|error| error.reason == Reason::Oom && error.message.contains("maxmemory"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_counts_the_same() {
    let server = RedisServer::start();
    for (workers, threads, pipeline, order) in [
        (1, 1, 1, Order::Random),
        (7, 2, 5, Order::Random),
        (4, 1, 3, Order::Cycle),
        (50, 1, 16, Order::Random),
    ] {
        server.ok(&["CONFIG", "RESETSTAT"]);
        let mut plan = plan(60.0);
        plan.mix = vec![Share { operation: "get", weight: 3 }, Share { operation: "exists", weight: 1 }];
        (plan.workers, plan.threads, plan.pipeline, plan.order) = (workers, threads, pipeline, order);
        plan.stop.operations = Some(4_000);
        let exists = Command::reading("exists", &[b"EXISTS", b"some-key"], Expect::Integer);
        let result = run(&server.url(), plan, vec![get(), exists]).await;
        assert_eq!(result.stopped_by, StoppedBy::Operations);
        let (gets, exists) = (&result.operations[0], &result.operations[1]);
        assert_eq!(gets.ok + exists.ok, 4_000);
        assert!(gets.ok.abs_diff(3_000) < 250, "{} gets for a weight of 3 in 4", gets.ok);
        for (operation, field) in [(gets, "cmdstat_get"), (exists, "cmdstat_exists")] {
            assert_eq!(operation.offered, operation.attempts);
            assert_eq!(operation.response.count, operation.ok);
            let stat = server.info(field);
            assert!(stat.starts_with(&format!("calls={},", operation.ok)), "{stat} against {}", operation.ok);
        }
        assert_eq!(result.connects.count, workers as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_offered_whatever_comes_back() {
    let server = RedisServer::start();
    let mut plan = plan(2.0);
    plan.pace = Pace::per_second(500.0);
    plan.workers = 5;
    plan.threads = 2;
    let result = run(&server.url(), plan, vec![get()]).await;
    assert_eq!((result.operations[0].offered, result.operations[0].ok), (1_000, 1_000));
    assert!(result.duration >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_sent_is_missed_and_said() {
    let server = RedisServer::start();
    server.pause();
    let mut plan = plan(1.0);
    plan.pace = Pace::per_second(1_000.0);
    plan.operation_timeout = Duration::from_secs(10);
    server.resume();
    let url = server.url();
    let load = tokio::spawn(async move { run(&url, plan, vec![get()]).await });
    assert!(testkit::poll_until(Duration::from_secs(10), || server.find_info("cmdstat_get").is_some()));
    server.pause();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    server.resume();
    let result = load.await.unwrap();
    let operation = &result.operations[0];
    assert_eq!(operation.offered, 1_000);
    assert!(operation.missed > 0, "what was due until the end and not sent by then");
    assert_eq!(operation.missed, operation.offered - operation.attempts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_failed_operations_and_then_goes_on() {
    let mut server = RedisServer::start();
    let url = server.url();
    let mut plan = plan(4.0);
    plan.pace = Pace::per_second(500.0);
    plan.workers = 2;
    let load = tokio::spawn(async move { run(&url, plan, vec![get()]).await });
    assert!(testkit::poll_until(Duration::from_secs(10), || server.find_info("cmdstat_get").is_some()));
    server.kill();
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.restart();
    let result = load.await.unwrap();
    let operation = &result.operations[0];
    assert_eq!(operation.offered, 2_000);
    assert_eq!(operation.attempts, operation.ok + operation.errors.values().sum::<u64>());
    let refused = operation.errors[&Reason::ConnectRefused];
    assert!(refused > 100, "operations due in the outage were refused: {:?}", operation.errors);
    assert!(result.timeline.last().unwrap().values["ok"] > 300.0, "and the last second is whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_waits_longer_than_its_timeout() {
    let server = RedisServer::start();
    let url = server.url();
    let mut plan = plan(2.0);
    plan.operation_timeout = Duration::from_millis(200);
    let load = tokio::spawn(async move { run(&url, plan, vec![get()]).await });
    assert!(testkit::poll_until(Duration::from_secs(10), || server.find_info("cmdstat_get").is_some()));
    server.pause();
    let result = load.await.unwrap();
    server.resume();
    let operation = &result.operations[0];
    assert!(operation.errors.contains_key(&Reason::Timeout), "{:?}", operation.errors);
    assert!(operation.indeterminate >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kill_switch_and_a_drop_end_it_at_once() {
    let server = RedisServer::start();
    let endpoint = Endpoint::parse(&server.url()).unwrap();
    for drop_it in [false, true] {
        let control = control();
        let plan = plan(3_600.0);
        let connector = WireConnector::new(endpoint.clone(), "load-kill", vec![get()], &plan);
        let mut load = tokio::spawn({
            let control = control.clone();
            async move { load::run(plan, connector, &control).await }
        });
        assert!(testkit::poll_until(Duration::from_secs(10), || {
            server.clients("load-kill").iter().any(|line| line.contains("cmd=get"))
        }));
        if drop_it {
            load.abort();
        } else {
            control.kill.cancel();
            let result = (&mut load).await.unwrap().unwrap();
            assert_eq!(result.stopped_by, StoppedBy::Killed);
            assert!(result.operations[0].ok > 0);
        }
        control.threads.close();
        tokio::time::timeout(Duration::from_secs(5), control.threads.wait()).await.unwrap();
        assert!(testkit::poll_until(Duration::from_secs(5), || server.clients("load-kill").is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_errors_stop_it() {
    let server = RedisServer::start();
    let mut plan = plan(60.0);
    plan.stop.error_ratio = Some(0.5);
    let wrong = Command::reading("get", &[b"GET"], Expect::Bulk);
    let result = run(&server.url(), plan, vec![wrong]).await;
    assert_eq!(result.stopped_by, StoppedBy::ErrorRatio);
    assert!(result.duration < Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_an_error_with_its_reason() {
    let mut server = RedisServer::start();
    let url = server.url();
    server.kill();
    let plan = plan(1.0);
    let connector = WireConnector::new(Endpoint::parse(&url).unwrap(), "x", vec![get()], &plan);
    let failure = load::run(plan, connector, &control()).await.unwrap_err();
    assert_eq!(failure.reason, Reason::ConnectRefused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_of_the_wrong_kind_is_a_protocol_failure() {
    let server = RedisServer::start();
    let wrong = Command::reading("get", &[b"GET", b"some-key"], Expect::Integer);
    let result = run(&server.url(), plan(0.3), vec![wrong]).await;
    assert_eq!(result.operations[0].ok, 0);
    assert!(result.operations[0].errors.contains_key(&Reason::Protocol));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ramp_starts_workers_one_after_the_other() {
    let server = RedisServer::start();
    let mut plan = plan(2.0);
    plan.pace = Pace::per_second(1_000.0);
    plan.workers = 10;
    plan.ramp = Duration::from_secs(2);
    let result = run(&server.url(), plan, vec![get()]).await;
    let seconds: Vec<f64> = result.timeline.iter().map(|point| point.values["ok"]).collect();
    // Worker w joins at w / 10 of the ramp: on average 55 % of the full rate over the whole of it.
    assert!(result.operations[0].offered.abs_diff(1_100) <= 20, "{} offered", result.operations[0].offered);
    assert!(seconds[1] > 2.0 * seconds[0], "{seconds:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spinning_gives_the_same_counts() {
    let server = RedisServer::start();
    let mut plan = plan(60.0);
    plan.stop.operations = Some(2_000);
    plan.spin = Duration::from_micros(100);
    let result = run(&server.url(), plan, vec![get()]).await;
    assert_eq!(result.operations[0].ok, 2_000);
    assert!(server.info("cmdstat_get").starts_with("calls=2000,"));
}
