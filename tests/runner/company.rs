//! Who runs beside whom: no job beside itself, load alone, and the figures say what ran beside them.

use super::*;

#[tokio::test]
async fn a_tick_while_the_last_one_runs_is_a_record_of_its_own() {
    let bench = Bench::new();
    let held = held(&OBSERVING, &bench.target());
    let run = held.begin(&bench.runner).await;
    for _ in 0..3 {
        let skipped = bench.runner.tick(&held.job, Trigger::Schedule).await;
        assert_eq!((skipped.outcome, skipped.reason), (Outcome::Skipped, Some(Reason::Overlap)));
    }
    held.go_on.notify_one();
    assert_eq!(run.await.unwrap().outcome, Outcome::Passed);
    assert_eq!(bench.records().len(), 4);
}

#[tokio::test]
async fn load_is_alone_on_its_target() {
    let bench = Bench::new();
    let target = bench.target();
    let room = Arc::new(Room::default());
    let staying = |kind, variant: &str| {
        let room = Arc::clone(&room);
        let job = job(kind, &target, PATIENCE, move |_| {
            let room = Arc::clone(&room);
            Box::pin(async move {
                room.stay(Duration::from_millis(150)).await;
                Ok(Report::default())
            })
        });
        let Ok(job) = Arc::try_unwrap(job) else { panic!("nobody else has it") };
        Arc::new(Job { variant: variant.into(), ..job })
    };
    let jobs = [
        staying(&LOADING, "a"),
        staying(&LOADING, "b"),
        staying(&TOUCHING, "c"),
        staying(&LOADING, "d"),
        staying(&TOUCHING, "e"),
    ];
    // So that an observing run is inside all the time and disturbs nobody.
    let observing = held(&OBSERVING, &target);
    let observed = observing.begin(&bench.runner).await;
    let runs: Vec<_> = jobs
        .iter()
        .map(|job| {
            let (runner, job) = (Arc::clone(&bench.runner), Arc::clone(job));
            tokio::spawn(async move { runner.tick(&job, Trigger::Manual).await })
        })
        .collect();
    for run in runs {
        let record = run.await.unwrap();
        assert_eq!(record.outcome, Outcome::Passed, "{}", record.conclusion);
        assert!(!record.report.doubts.contains(&Doubt::SharedTarget), "disturbed by who only observes");
    }
    // Two touching runs may be inside together; a load never is with anybody.
    assert!(room.most.load(Ordering::SeqCst) <= 2);
    observing.go_on.notify_one();
    let observed = observed.await.unwrap();
    assert!(observed.report.doubts.contains(&Doubt::SharedTarget), "{:?}", observed.report.doubts);
}

#[tokio::test]
async fn settings_are_not_audited_while_a_run_may_have_changed_them() {
    let bench = Bench::new();
    let Ok(target) = Arc::try_unwrap(bench.target()) else { panic!("nobody else has it") };
    let target = Arc::new(Target { allow: Effect::Disrupt, ..target });
    let disrupting = held(&DISRUPTING, &target);
    let disrupted = disrupting.begin(&bench.runner).await;
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let audit = job(&AUDITING, &target, PATIENCE, move |_| {
        assert!(seen.load(Ordering::SeqCst), "it looks while settings may be changed");
        Box::pin(async { Ok(Report::default()) })
    });
    let runner = Arc::clone(&bench.runner);
    let audited = tokio::spawn(async move { runner.tick(&audit, Trigger::Manual).await });
    // Who does not judge settings gets in meanwhile.
    let other = job(&OBSERVING, &target, PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    assert_eq!(bench.runner.tick(&other, Trigger::Manual).await.outcome, Outcome::Passed);
    over.store(true, Ordering::SeqCst);
    disrupting.go_on.notify_one();
    assert_eq!(disrupted.await.unwrap().outcome, Outcome::Passed);
    let audited = audited.await.unwrap();
    assert_eq!(audited.outcome, Outcome::Passed, "{}", audited.conclusion);
}

#[tokio::test]
async fn loads_of_different_targets_run_together_up_to_the_limit() {
    let bench = Bench::new();
    let room = Arc::new(Room::default());
    let runs: Vec<_> = (0..6)
        .map(|i| {
            // Six servers' worth of names on one server would share its lease: each gets a database of its own.
            let target = target_at(&format!("{}/{i}", bench.redis.url()), &format!("cache_{i}"));
            let inside = Arc::clone(&room);
            let job = job(&LOADING, &target, PATIENCE, move |_| {
                let room = Arc::clone(&inside);
                Box::pin(async move {
                    room.stay(Duration::from_millis(300)).await;
                    Ok(Report::default())
                })
            });
            let runner = Arc::clone(&bench.runner);
            tokio::spawn(async move { runner.tick(&job, Trigger::Manual).await })
        })
        .collect();
    for run in runs {
        let record = run.await.unwrap();
        assert_eq!(record.outcome, Outcome::Passed, "{}", record.conclusion);
    }
    let most = room.most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} at a time");
}

#[tokio::test]
async fn scrapes_have_no_more_than_their_caller_and_do_not_wait_for_each_other() {
    let bench = Bench::new();
    let held = held(&OBSERVING, &bench.target());
    let first = held.begin(&bench.runner).await;
    let scrape = Trigger::Scrape { cap: Effect::Observe, timeout: Duration::from_millis(300) };
    let record = bench.runner.tick(&held.job, scrape).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Error, Some(Reason::Deadline)));
    let touching = job(&TOUCHING, &bench.target(), PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    let refused = bench.runner.tick(&touching, scrape).await;
    assert_eq!((refused.outcome, refused.reason), (Outcome::Skipped, Some(Reason::EffectNotAllowed)));
    held.go_on.notify_one();
    first.await.unwrap();
}
