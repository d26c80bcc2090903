//! Each condition that the server shows stops a fill in time, cleans up after it, and switches its job off.
//!
//! One that no real server can be made to show where tests run, a disk that is late, is in the core's own tests.

use std::net::TcpStream;

use testkit::poll_until;

use super::*;

/// Fills until the trigger stops it for this reason, and stays off after that.
async fn stops(redis: RedisServer, reason: Reason, trigger: impl AsyncFnOnce(&RedisServer)) {
    let bench = Bench::on(redis);
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let (record, after) = filling.stopped_by(&bench.runner, async || trigger(&bench.redis).await).await;
    assert_halted(&record, reason);
    assert!(after < IN_TIME, "it wrote {after:?} after that");
    assert_off(
        &bench.runner.tick(&filling.job, Trigger::Manual).await,
        "`redprobe rearm --target cache pressing`",
    );
}

/// Nothing of the run is left, which a server that could be asked shows.
fn assert_clean(redis: &RedisServer) {
    let own = redis.keys().into_iter().filter(|key| key.starts_with("redprobe:")).collect::<Vec<_>>();
    assert!(own.is_empty(), "{own:?}");
}

#[tokio::test]
async fn others_out_of_memory() {
    stops(RedisServer::start(), Reason::Oom, async |redis| {
        redis.ok(&["CONFIG", "SET", "maxmemory", "1mb"]);
        assert!(redis.cli(&["SET", "foreign", "x"]).starts_with("OOM"));
        redis.ok(&["CONFIG", "SET", "maxmemory", "0"]);
    })
    .await;
}

#[tokio::test]
async fn others_turned_away() {
    // As low as preflight allows for what the run opens.
    let redis = RedisServer::with(&["--maxclients", "20"]);
    let address = redis.address();
    stops(redis, Reason::Rejected, async |_| {
        let crowd: Vec<_> = (0..25).map(|_| TcpStream::connect(address).expect("it listens")).collect();
        drop(crowd);
    })
    .await;
}

#[tokio::test]
async fn others_that_cannot_write_for_want_of_a_disk() {
    let redis = RedisServer::with(&["--save", "3600 1", "--dbfilename", "x.rdb"]);
    stops(redis, Reason::Misconf, async |redis| {
        fs::create_dir(redis.directory().join("x.rdb")).expect("there is none yet");
        assert_eq!(redis.cli(&["BGSAVE"]), "Background saving started");
        assert!(poll_until(PATIENCE, || redis.cli(&["SET", "foreign", "x"]).starts_with("MISCONF")));
        redis.ok(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        fs::remove_dir(redis.directory().join("x.rdb")).expect("it is empty");
        redis.ok(&["SAVE"]);
    })
    .await;
}

#[tokio::test]
async fn a_replica_lost() {
    let redis = RedisServer::with(&["--repl-diskless-sync-delay", "0"]);
    let mut replica = RedisServer::with(&["--replicaof", &format!("127.0.0.1 {}", redis.address().port())]);
    let online = || redis.find_info("slave0").is_some_and(|slave| slave.contains("state=online"));
    assert!(poll_until(PATIENCE, online));
    stops(redis, Reason::Noreplicas, async |redis| {
        replica.kill();
        assert!(poll_until(PATIENCE, || redis.info("connected_slaves") == "0"));
    })
    .await;
}

#[tokio::test]
async fn a_server_that_stands_still() {
    let bench = Bench::new();
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let (record, after) = filling.stopped_by(&bench.runner, async || bench.redis.pause()).await;
    assert_halted(&record, Reason::Canary);
    assert!(after < IN_TIME, "it wrote {after:?} after that");
    // Nobody could be asked to remove them: the next run that gets through does, or the janitor, or their TTL.
    assert!(record.clean_up.left_over > 0);
    bench.redis.resume();
}

#[tokio::test]
async fn a_server_held_by_slow_commands() {
    let redis = RedisServer::with(&["--enable-debug-command", "yes"]);
    let bench = Bench::on(redis);
    let filling = filling(&PRESSING, &bench.redis, PATIENCE);
    let slow = async || {
        // One connection each, so that they come between other people's commands.
        let sleeping: Vec<_> = (0..12).map(|_| bench.redis.send("DEBUG SLEEP 0.2")).collect();
        drop(sleeping);
    };
    let (record, after) = filling.stopped_by(&bench.runner, slow).await;
    assert_halted(&record, Reason::Canary);
    assert!(after < IN_TIME, "it wrote {after:?} after that");
    assert_clean(&bench.redis);
}
