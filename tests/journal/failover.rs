//! Settings that were changed on a master which then was one no longer: put back on the server that was changed, and never
//! touched on its successor.

use measure::conn::{Address, Endpoint, Role, Sentinel};
use testkit::Watched;

use super::*;
use crate::runner::runner_in;

/// The master, wherever it is.
fn target(watched: &Watched) -> Arc<Target> {
    let Ok(target) = Arc::try_unwrap(disruptable("redis://127.0.0.1:1", "cache/master")) else {
        panic!("nobody else has it")
    };
    let at = |address| Endpoint::parse(&format!("redis://{address}")).expect("a URL");
    let sentinels = watched.sentinels.iter().map(|sentinel| at(sentinel.address())).collect();
    let found = Sentinel { sentinels, service: Watched::service().into(), role: Role::Master };
    let endpoint = target.endpoint.at(Address::Sentinel(Arc::new(found)));
    Arc::new(Target { endpoint, ..target })
}

fn watched() -> Watched {
    let watched = Watched::start(1);
    for server in &watched.servers {
        server.ok(&["CONFIG", "SET", "maxmemory", BEFORE[0], "maxmemory-policy", BEFORE[1]]);
    }
    watched
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_the_changed_server_is_as_before_and_the_new_master_too() {
    let (watched, state) = (Arc::new(watched()), TempDir::new().unwrap());
    let runner = runner_in(&state);
    let during = Arc::clone(&watched);
    let job = job(&DISRUPTING, &target(&watched), PATIENCE, move |cx| {
        let during = Arc::clone(&during);
        Box::pin(async move {
            change(cx).await?;
            assert_eq!(settings(&during.servers[0]), CHANGED);
            let failing = tokio::task::spawn_blocking(move || during.fail_over());
            failing.await.expect("it fails over");
            Ok(Report::default())
        })
    });
    let record = runner.tick(&job, Trigger::Manual).await;
    assert_ne!(record.outcome, Outcome::Passed, "{}", record.conclusion);
    // Where the watch was faster than the failover, the runner goes on putting back while it comes.
    let output = restored(&watched, state.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(settings(&watched.servers[0]), BEFORE);
    assert_eq!(settings(&watched.servers[1]), BEFORE);
    assert!(notes(state.path()).is_empty());
    let left = || watched.servers.iter().flat_map(RedisServer::keys).collect::<Vec<_>>();
    assert!(poll_until(PATIENCE, || left().is_empty()), "left: {:?}", left());
    runner.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_hangs_is_put_right_when_it_comes_back_as_a_replica() {
    let (watched, state) = (Arc::new(watched()), TempDir::new().unwrap());
    let runner = runner_in(&state);
    let during = Arc::clone(&watched);
    let job = job(&DISRUPTING, &target(&watched), PATIENCE, move |cx| {
        let during = Arc::clone(&during);
        Box::pin(async move {
            change(cx).await?;
            during.servers[0].pause();
            std::future::pending().await
        })
    });
    let record = runner.tick(&job, Trigger::Manual).await;
    assert_eq!(record.outcome, Outcome::Halted, "{}", record.conclusion);
    assert_eq!(record.unrestored.len(), 2);
    let old = watched.servers[0].address().to_string();
    let new = tokio::task::block_in_place(|| watched.await_master_other_than(&old));
    assert_eq!(settings(&watched.servers[new]), BEFORE);
    watched.servers[0].resume();
    assert!(poll_until(PATIENCE, || watched.servers[0].info("role") == "slave"), "it stays a master");
    assert_eq!(settings(&watched.servers[0]), CHANGED);
    let output = restored(&watched, state.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).contains(&format!("cache/master ({old})")), "{}", text(&output));
    assert_eq!(settings(&watched.servers[0]), BEFORE);
    assert_eq!(settings(&watched.servers[new]), BEFORE);
    runner.stop(PATIENCE).await;
}

/// `redprobe restore`, until it finds nothing left.
fn restored(watched: &Watched, state: &Path) -> Output {
    let file = state.join("restore.toml");
    let keys = watched.keys();
    let config = format!(
        "state_dir = {:?}\n[targets.cache]\n{keys}allow = \"disrupt\"\n",
        state.display().to_string()
    );
    fs::write(&file, config).expect("the directory can be written");
    let file = file.display().to_string();
    let mut output = None;
    let done = poll_until(PATIENCE, || {
        let now =
            redprobe(&["restore", "--config", &file]).output().expect("the binary under test can be started");
        let done = now.status.success();
        output = Some(now);
        done
    });
    let _shown_by_the_caller = done;
    output.expect("it was tried")
}
