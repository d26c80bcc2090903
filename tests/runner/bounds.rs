//! Deadline, panic, cancellation, restart: the run ends, its keys go, the record says why.

use super::*;

#[tokio::test]
async fn a_run_that_hangs_ends_at_its_deadline_and_leaves_no_key() {
    let bench = Bench::new();
    let job = job(&TOUCHING, &bench.target(), Duration::from_millis(700), |cx| {
        Box::pin(async move {
            write_keys(cx).await?;
            std::future::pending().await
        })
    });
    let record = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Error, Some(Reason::Deadline)));
    assert!(record.took >= Duration::from_millis(700) && record.took < Duration::from_secs(10));
    assert_eq!(record.clean_up, CleanUp { keys_removed: 100, left_over: 0 });
    assert_eq!(bench.redis.keys(), Vec::<String>::new());
    let own = format!("redprobe-touching-{}", record.id);
    assert!(poll_until_async(PATIENCE, async || bench.redis.clients(&own).is_empty()).await);
    assert_eq!(bench.records().len(), 1);
}

#[tokio::test]
async fn a_probe_that_panics_becomes_a_record_and_the_next_run_is_fine() {
    let bench = Bench::new();
    let runs = AtomicUsize::new(0);
    let job = job(&LOADING, &bench.target(), PATIENCE, move |cx| {
        let first = runs.fetch_add(1, Ordering::SeqCst) == 0;
        Box::pin(async move {
            write_keys(cx).await?;
            assert!(!first, "on purpose");
            Ok(Report::default())
        })
    });
    let record = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Error, Some(Reason::Panic)));
    assert!(record.conclusion.contains("on purpose"), "{}", record.conclusion);
    assert_eq!(record.clean_up.keys_removed, 100);
    let next = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!(next.outcome, Outcome::Passed, "{}", next.conclusion);
    assert_eq!(bench.redis.keys(), Vec::<String>::new());
    assert_eq!(bench.records().len(), 2);
}

#[tokio::test]
async fn a_stop_cancels_cleans_up_and_lets_nothing_begin() {
    let bench = Bench::new();
    let (job, begun) = endless(&LOADING, &bench.target());
    let id = bench.runner.start(&job, Trigger::Manual);
    tokio::time::timeout(PATIENCE, begun.notified()).await.unwrap();
    assert_eq!(bench.runner.running().iter().map(|run| run.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
    assert!(bench.runner.stop(PATIENCE).await, "something is left");
    assert_eq!(bench.redis.keys(), Vec::<String>::new());
    assert!(bench.runner.running().is_empty());

    let late = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!((late.outcome, late.reason), (Outcome::Skipped, Some(Reason::Cancelled)));
    let ends: Vec<_> = bench.records().iter().map(|record| (record.outcome, record.reason)).collect();
    assert_eq!(ends, [(Outcome::Error, Some(Reason::Cancelled)), (late.outcome, late.reason)]);
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_stop_the_run() {
    let bench = Bench::new();
    let held = held(&OBSERVING, &bench.target());
    let caller = held.begin(&bench.runner).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    held.go_on.notify_one();
    assert!(poll_until_async(PATIENCE, async || bench.records().len() == 1).await);
    assert_eq!(bench.records()[0].outcome, Outcome::Passed);
}

#[tokio::test]
async fn a_restart_of_the_server_makes_a_load_worthless() {
    let mut bench = Bench::new();
    let held = held(&LOADING, &bench.target());
    let run = held.begin(&bench.runner).await;
    bench.redis.restart();
    held.go_on.notify_one();
    let record = run.await.unwrap();
    assert_eq!(
        (record.outcome, record.reason),
        (Outcome::Error, Some(Reason::Restarted)),
        "{}",
        record.conclusion
    );
}

#[tokio::test]
async fn a_server_that_is_not_there_is_no_reason_to_hang() {
    let mut bench = Bench::new();
    let target = bench.target();
    bench.redis.kill();
    for kind in [&TOUCHING, &LOADING] {
        let job = job(kind, &target, PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
        let record = bench.runner.tick(&job, Trigger::Schedule).await;
        assert_eq!((record.outcome, record.reason), (Outcome::Error, Some(Reason::ConnectRefused)));
    }
}

#[tokio::test]
async fn a_kept_connection_survives_a_restart_of_the_server() {
    let mut bench = Bench::new();
    let job = job(&OBSERVING, &bench.target(), PATIENCE, |cx| {
        Box::pin(async move {
            let mut conn = cx.observer().await?;
            cx.info(&mut conn, &["server"]).await?;
            Ok(Report::default())
        })
    });
    let first = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!(first.outcome, Outcome::Passed, "{}", first.conclusion);
    assert!(first.server.as_ref().is_some_and(|server| server.role == "master"), "{:?}", first.server);
    for _ in 0..3 {
        bench.runner.tick(&job, Trigger::Schedule).await;
    }
    assert_eq!(bench.redis.clients("redprobe-observer").len(), 1);

    bench.redis.restart();
    // The first may find the connection closed; from then on all is well.
    bench.runner.tick(&job, Trigger::Schedule).await;
    let after = bench.runner.tick(&job, Trigger::Schedule).await;
    assert_eq!(after.outcome, Outcome::Passed, "{}", after.conclusion);
}
