//! Where the time goes, against a server of which that is known.

use std::time::Duration;

use measure::{
    CommandCosts, attribute,
    facts::Info,
    load::{self, Control, LoadPlan, Progress, Share},
    report::Attribution,
    wire::{Command, Expect, WireConnector},
};
use testkit::RedisServer;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::support::endpoint;

/// Runs GETs of one connection for two seconds, and splits their time.
async fn share_of_gets(server: &RedisServer) -> Attribution {
    let mut plan = LoadPlan::new("test", vec![Share { operation: "get", weight: 1 }]);
    plan.stop.duration = Some(Duration::from_secs(2));
    let control = Control {
        kill: CancellationToken::new(),
        progress: watch::Sender::new(Progress::default()),
        threads: TaskTracker::new(),
    };
    let get = Command::reading("get", &[b"GET", b"some-key"], Expect::Bulk);
    let connector = WireConnector::new(endpoint(&server.url()), "test", vec![get], &plan);
    let before = Info::parse(&server.cli(&["INFO", "everything"]));
    let result = load::run(plan, connector, &control).await.unwrap();
    let after = Info::parse(&server.cli(&["INFO", "everything"]));
    let shares = attribute(&result.operations, &CommandCosts::between(&before, &after), 1);
    let share = *shares.first().unwrap();
    let whole =
        share.pool_wait + share.recycle + share.network + share.server + share.client + share.unattributed;
    assert!((whole - 1.0).abs() < 1e-6, "{share:?}");
    share
}

#[tokio::test(flavor = "multi_thread")]
async fn a_get_behind_scripts_waits_for_the_server() {
    let server = RedisServer::start();
    let alone = share_of_gets(&server).await;
    assert!(alone.server < 0.5 && alone.network > 0.4, "a GET of microseconds: {alone:?}");

    // Somebody else's scripts, one after the other, hold the server nearly all the time.
    let script = "local n = 0 for i = 1, 3000000 do n = n + i end return n";
    let address = server.address().to_string();
    let (host, port) = address.split_once(':').unwrap();
    let mut scripts = std::process::Command::new("redis-cli")
        .args(["-h", host, "-p", port, "-r", "100000", "EVAL", script, "0"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let behind = share_of_gets(&server).await;
    scripts.kill().unwrap();
    scripts.wait().unwrap();
    assert!(behind.server > 0.75, "{behind:?}");
    assert!(behind.server > alone.server * 2.0, "{behind:?} against {alone:?}");
}
