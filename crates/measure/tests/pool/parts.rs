//! Where the time of pooled operations goes, against causes that are known: a slow wire, a small pool, another's script.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use measure::{
    CommandCosts, PooledOperation, attribute_pooled,
    facts::Info,
    fault::{Faults, Proxy},
    load::{self, Crew},
    report::Attribution,
};
use testkit::RedisServer;

use super::{gets, pool, readers};
use crate::support::control;

/// GETs at 100 per second for 2 s beside 4 readers, on a shared pool of `size`.
async fn share_of_gets(server: &RedisServer, url: &str, size: usize) -> Attribution {
    let pools = [pool(url, size, Duration::from_millis(200))];
    let (plan, get) = gets(&pools, 100.0, 2.0);
    let (read_plan, read) = readers(&pools, 4, Duration::from_millis(500), 2.0);
    let ledger = get.ledger();
    let info = || Info::parse(&server.cli(&["INFO", "everything"]));
    let before = info();
    let crews = vec![Crew::new(plan, get), Crew::new(read_plan, read)];
    let results = load::run_together(crews, &control()).await.unwrap();
    let costs = CommandCosts::between(&before, &info());
    let get = PooledOperation { operation: "get", command: "get", parts: ledger.parts()[0] };
    let share = attribute_pooled(&[get], Some(&costs), results[0].duration).swap_remove(0);
    let whole =
        share.pool_wait + share.recycle + share.network + share.server + share.client + share.unattributed;
    assert!((whole - 1.0).abs() < 1e-6, "{share:?}");
    assert!(share.unattributed <= 0.05, "{share:?}");
    share
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_wire_moves_the_network() {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.set(Faults { delay: Duration::from_millis(10), ..Faults::default() }).await;
    let share = share_of_gets(&server, &format!("redis://{}", proxy.address()), 20).await;
    // The pool's check is a round trip as well, and takes as long.
    assert!(share.network > 0.4 && share.recycle > 0.3, "{share:?}");
    assert!(share.pool_wait < 0.05 && share.server < 0.1, "{share:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_pool_moves_the_wait() {
    let server = RedisServer::start();
    let share = share_of_gets(&server, &server.url(), 4).await;
    assert!(share.pool_wait > 0.9, "{share:?}");
    assert!(share.network < 0.05 && share.server < 0.05, "{share:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn anothers_script_moves_the_server() {
    let server = RedisServer::start();
    let script = "local n = 0 for i = 1, 2000000 do n = n + i end return n";
    let [host, port] = [server.address().ip().to_string(), server.address().port().to_string()];
    let mut scripts = Command::new("redis-cli")
        .args(["-h", &host, "-p", &port, "-r", "100000", "-i", "0.05", "EVAL", script, "0"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let share = share_of_gets(&server, &server.url(), 20).await;
    scripts.kill().unwrap();
    scripts.wait().unwrap();
    // A script takes a whole processor, of which a busy machine may not have one to spare for us: what waits for that is
    // the client's and no matter here.
    let own = share.server - share.server_others;
    assert!(share.server_others > 0.25 && share.server_others > 10.0 * own, "{share:?}");
    assert!(share.server_others > share.network.max(share.pool_wait).max(share.recycle), "{share:?}");
}
