//! A run that changes settings, whatever it comes to; and who is kept from changing any.

use super::*;

/// What the probe does once it has changed the settings and written its keys.
fn disrupting<F>(url: &str, timeout: Duration, act: F) -> Arc<Job>
where
    F: for<'a> Fn(&'a ProbeCx) -> futures_util::future::BoxFuture<'a, Result<Report, ProbeError>>
        + Send
        + Sync
        + 'static,
{
    let act = Arc::new(act);
    job(&DISRUPTING, &disruptable(url, "cache"), timeout, move |cx| {
        let act = Arc::clone(&act);
        Box::pin(async move {
            change(cx).await?;
            act(cx).await
        })
    })
}

fn names(record: &Record) -> Vec<&str> {
    let mut names: Vec<_> =
        record.restored.restored.iter().map(|fate| fate.setting.parameter.as_str()).collect();
    names.sort_unstable();
    names
}

const BOTH: [&str; 2] = ["maxmemory", "maxmemory-policy"];

#[tokio::test]
async fn whatever_a_run_comes_to_its_settings_are_put_back() {
    let bench = Bench::on(server());
    let url = bench.redis.url();
    let jobs = [
        (disrupting(&url, PATIENCE, |_| Box::pin(async { Ok(Report::default()) })), None),
        (disrupting(&url, PATIENCE, |_| Box::pin(async { panic!("on purpose") })), Some(Reason::Panic)),
        (
            disrupting(&url, PATIENCE, |cx| {
                Box::pin(async move {
                    let (mut conn, _) = cx.connect().await?;
                    // By the probe itself; the runner has nothing left to do.
                    let restored = cx.restore_settings(&mut conn).await?;
                    assert_eq!(restored.restored.len(), 2);
                    Ok(Report::default())
                })
            }),
            None,
        ),
        // The last one: who is stopped in the middle of this is not run again until somebody allows it.
        (
            disrupting(&url, Duration::from_secs(1), |_| Box::pin(std::future::pending())),
            Some(Reason::Deadline),
        ),
    ];
    for (job, reason) in jobs {
        let record = bench.runner.tick(&job, Trigger::Manual).await;
        assert_eq!(record.reason, reason, "{}", record.conclusion);
        assert_eq!((names(&record), record.clean_up.keys_removed), (BOTH.to_vec(), 100));
        assert!(record.unrestored.is_empty());
        assert_eq!(settings(&bench.redis), BEFORE);
        assert!(notes(bench.state.path()).is_empty() && bench.redis.keys().is_empty());
    }
    assert!(bench.runner.stop(PATIENCE).await, "something is left");
}

#[tokio::test]
async fn a_setting_that_somebody_changed_meanwhile_is_left_and_the_run_not_judged() {
    let bench = Bench::on(server());
    let redis = Arc::new(bench.redis);
    let (url, theirs) = (redis.url(), Arc::clone(&redis));
    let job = job(&DISRUPTING, &disruptable(&url, "cache"), PATIENCE, move |cx| {
        let theirs = Arc::clone(&theirs);
        Box::pin(async move {
            change(cx).await?;
            theirs.ok(&["CONFIG", "SET", "maxmemory", "150mb"]);
            Ok(Report::default())
        })
    });
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Error, Some(Reason::RestoreConflict)));
    assert!(record.conclusion.contains("157286400"), "{}", record.conclusion);
    assert_eq!(names(&record), ["maxmemory-policy"]);
    assert_eq!(settings(&redis), ["157286400", BEFORE[1]]);
    assert!(notes(bench.state.path()).is_empty());
}

/// A server, the URL of a user there, and a runner.
fn with_user() -> (Arc<RedisServer>, String, Bench) {
    let redis = RedisServer::with(&[
        "--maxmemory",
        "200mb",
        "--maxmemory-policy",
        "allkeys-lru",
        "--lua-time-limit",
        "50",
    ]);
    redis.ok(&["ACL", "SETUSER", "prober", "on", ">secret", "~*", "+@all"]);
    let url = redis.url().replace("//", "//prober:secret@");
    (Arc::new(redis), url, Bench::on(server()))
}

fn assert_put_back_at_last(record: &Record, redis: &RedisServer, bench: &Bench) {
    assert_eq!(names(record), BOTH, "{:?}", record.log);
    assert!(record.log.iter().any(|line| line.contains("trying again")), "{:?}", record.log);
    assert_eq!(settings(redis), BEFORE);
    assert!(notes(bench.state.path()).is_empty());
}

#[tokio::test]
async fn a_server_that_is_busy_is_asked_again() {
    let (redis, url, bench) = with_user();
    let theirs = Arc::clone(&redis);
    let job = disrupting(&url, PATIENCE, move |_| {
        let theirs = Arc::clone(&theirs);
        Box::pin(async move {
            let script =
                "local t = redis.call('TIME')[1] + 3 while redis.call('TIME')[1] + 0 < t do end return 1";
            let mut busy = theirs.send(&format!("EVAL \"{script}\" 0"));
            // The script ends by itself; its connection stays until then.
            tokio::task::spawn_blocking(move || std::io::Read::read(&mut busy, &mut [0; 16]).ok());
            assert!(poll_until(PATIENCE, || theirs.cli(&["PING"]).contains("BUSY")));
            Ok(Report::default())
        })
    });
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_put_back_at_last(&record, &redis, &bench);
}

#[tokio::test]
async fn a_server_that_denies_it_is_asked_again() {
    let (redis, url, bench) = with_user();
    let theirs = Arc::clone(&redis);
    let job = disrupting(&url, PATIENCE, move |_| {
        let theirs = Arc::clone(&theirs);
        Box::pin(async move {
            theirs.ok(&["ACL", "SETUSER", "prober", "-config|set"]);
            tokio::task::spawn_blocking(move || {
                let denials = || theirs.find_info("errorstat_NOPERM").is_some();
                assert!(poll_until(PATIENCE, denials), "nobody has tried");
                theirs.ok(&["ACL", "SETUSER", "prober", "+config|set"]);
            });
            Ok(Report::default())
        })
    });
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_put_back_at_last(&record, &redis, &bench);
}

#[tokio::test]
async fn what_could_not_be_put_back_keeps_the_next_one_out_until_it_is() {
    let (redis, url, bench) = with_user();
    let theirs = Arc::clone(&redis);
    let first = std::sync::atomic::AtomicBool::new(true);
    let job = job(&DISRUPTING, &disruptable(&url, "cache"), PATIENCE, move |cx| {
        let (theirs, first) = (Arc::clone(&theirs), first.swap(false, std::sync::atomic::Ordering::SeqCst));
        Box::pin(async move {
            change(cx).await?;
            if first {
                theirs.ok(&["ACL", "SETUSER", "prober", "-config|set"]);
            }
            Ok(Report::default())
        })
    });
    // Two more seconds instead of ten.
    bench.runner.hurry();
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!((record.unrestored.len(), record.restored.restored.len()), (2, 0), "{:?}", record.log);
    assert_eq!((settings(&redis), notes(bench.state.path()).len()), (CHANGED.map(str::to_owned), 1));

    let refused = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!((refused.outcome, refused.reason), (Outcome::Skipped, Some(Reason::Precondition)));
    assert!(refused.conclusion.contains("redprobe restore"), "{}", refused.conclusion);
    assert!(refused.conclusion.contains(&record.id), "{}", refused.conclusion);
    let observing = crate::runner::job(&OBSERVING, &disruptable(&url, "cache"), PATIENCE, |_| {
        Box::pin(async { Ok(Report::default()) })
    });
    assert_eq!(bench.runner.tick(&observing, Trigger::Manual).await.outcome, Outcome::Passed);

    redis.ok(&["ACL", "SETUSER", "prober", "+config|set"]);
    let next = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!(next.outcome, Outcome::Passed, "{}", next.conclusion);
    assert_eq!((settings(&redis), notes(bench.state.path()).len()), (BEFORE.map(str::to_owned), 0));
    assert!(bench.runner.stop(PATIENCE).await);
}

#[tokio::test]
async fn a_damaged_note_keeps_out_whoever_would_change_settings() {
    let bench = Bench::on(server());
    let folder = bench.state.path().join("journal");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("01RUN-0.jsonl"), "{\"entry\":{},\"crc32\":\"00000000\"}\n").unwrap();
    let url = bench.redis.url();
    let job = disrupting(&url, PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Skipped, Some(Reason::Precondition)));
    for part in ["01RUN-0.jsonl.damaged", "CONFIG SET", "remove the file"] {
        assert!(record.conclusion.contains(part), "{}", record.conclusion);
    }
    fs::remove_file(folder.join("01RUN-0.jsonl.damaged")).unwrap();
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!(record.outcome, Outcome::Passed, "{}", record.conclusion);
}

#[tokio::test]
async fn without_a_state_directory_nothing_is_disrupted_and_the_rest_goes_on() {
    let bench = Bench::on(server());
    fs::write(bench.state.path().join("journal"), "in its place").unwrap();
    let url = bench.redis.url();
    let job = disrupting(&url, PATIENCE, |_| Box::pin(async { Ok(Report::default()) }));
    let record = bench.runner.tick(&job, Trigger::Manual).await;
    assert_eq!((record.outcome, record.reason), (Outcome::Skipped, Some(Reason::Precondition)));
    assert!(record.conclusion.contains("state_dir"), "{}", record.conclusion);
    assert_eq!(bench.redis.find_info("cmdstat_config|set"), None);
    let observing = crate::runner::job(&OBSERVING, &disruptable(&url, "cache"), PATIENCE, |_| {
        Box::pin(async { Ok(Report::default()) })
    });
    assert_eq!(bench.runner.tick(&observing, Trigger::Manual).await.outcome, Outcome::Passed);
}
