//! The lease in the target, which keeps redprobes on different machines from loading it together.

use super::*;

async fn other_machine(bench: &Bench) -> (measure::redis::aio::MultiplexedConnection, Lease) {
    let endpoint = Endpoint::parse(&bench.redis.url()).expect("a URL");
    let (mut conn, _) = conn::connect(&endpoint, "other").await.expect("it answers");
    let lease = Lease::acquire(&mut conn, KEY, "another machine", Duration::from_secs(60)).await;
    let lease = lease.expect("it is free");
    (conn, lease)
}

#[tokio::test]
async fn who_finds_the_lease_taken_skips_and_says_by_whom() {
    let bench = Bench::new();
    let job = job(&LOADING, &bench.target(), PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    let (mut conn, lease) = other_machine(&bench).await;
    let record = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Skipped, Some(Reason::Lease)));
    assert!(record.conclusion.contains("another machine"), "{}", record.conclusion);
    lease.release(&mut conn).await.unwrap();
    let record = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!(record.outcome, Outcome::Passed, "{}", record.conclusion);
    assert_eq!(bench.redis.keys(), Vec::<String>::new(), "the lease stayed behind");
}

#[tokio::test]
async fn who_loses_the_lease_halts() {
    let bench = Bench::new();
    let held = held(&LOADING, &bench.target());
    let run = held.begin(&bench.runner).await;
    // Evicted, for all that the holder can know.
    assert_eq!(bench.redis.cli(&["FLUSHALL"]), "OK");
    let record = run.await.unwrap();
    assert_eq!(
        (record.outcome, record.reason),
        (Outcome::Halted, Some(Reason::Lease)),
        "{}",
        record.conclusion
    );
}

#[tokio::test]
async fn the_lease_is_looked_at_again_when_a_phase_begins() {
    let bench = Bench::new();
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (says, waits) = (Arc::clone(&begun), Arc::clone(&go_on));
    let job = job(&LOADING, &bench.target(), PATIENCE, move |cx| {
        let (says, waits) = (Arc::clone(&says), Arc::clone(&waits));
        Box::pin(async move {
            says.notify_one();
            waits.notified().await;
            cx.control.progress.send_replace(Progress { phase: "second", ..Progress::default() });
            // Over before the lease would be renewed by its own clock.
            tokio::time::sleep(Duration::from_secs(6)).await;
            Ok(Report::default())
        })
    });
    let runner = Arc::clone(&bench.runner);
    let run = tokio::spawn(async move { runner.tick(&job, Trigger::Manual).await });
    tokio::time::timeout(PATIENCE, begun.notified()).await.unwrap();
    assert_eq!(bench.redis.cli(&["FLUSHALL"]), "OK");
    go_on.notify_one();
    let record = run.await.unwrap();
    assert_eq!(
        (record.outcome, record.reason),
        (Outcome::Halted, Some(Reason::Lease)),
        "{}",
        record.conclusion
    );
}

#[tokio::test]
async fn another_process_with_the_same_state_directory_is_kept_out_without_the_server() {
    let bench = Bench::new();
    let held = held(&LOADING, &bench.target());
    let run = held.begin(&bench.runner).await;
    let other = runner_in(&bench.state);
    let record = other.tick(&held.job, Trigger::Manual).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Skipped, Some(Reason::Lease)));
    assert!(record.conclusion.contains("on this machine"), "{}", record.conclusion);
    held.go_on.notify_one();
    assert_eq!(run.await.unwrap().outcome, Outcome::Passed);
}

#[tokio::test]
async fn a_server_that_stops_answering_halts_the_load() {
    let bench = Bench::new();
    let (job, begun) = endless(&LOADING, &bench.target());
    let runner = Arc::clone(&bench.runner);
    let run = tokio::spawn(async move { runner.tick(&job, Trigger::Manual).await });
    tokio::time::timeout(PATIENCE, begun.notified()).await.unwrap();
    bench.redis.pause();
    let record = tokio::time::timeout(PATIENCE, run).await.unwrap().unwrap();
    assert_eq!(
        (record.outcome, record.reason),
        (Outcome::Halted, Some(Reason::Canary)),
        "{}",
        record.conclusion
    );
    // Nobody could be asked to remove them: their TTL does.
    assert_eq!(record.clean_up, CleanUp { keys_removed: 0, left_over: 100 });
    bench.redis.resume();
    assert!(bench.redis.keys().iter().all(|key| bench.redis.cli(&["TTL", key]).parse::<i64>().unwrap() > 0));
}
