//! Targets that are nodes of a cluster, while slots move and nodes go away.

use testkit::Cluster;

use super::*;

fn config(cluster: &Cluster, named: usize, more: &str) -> String {
    let nodes: Vec<_> = cluster.servers[..named]
        .iter()
        .zip(["a", "b", "c", "d"])
        .map(|(server, name)| format!("{name} = \"{}\"", server.address()))
        .collect();
    format!(
        "[targets.orders]\ncluster_nodes = {{ {} }}\nallow = \"load\"\n
        [jobs.health]\nprobe = \"health\"\ntargets = [\"orders\"]\nschedule = \"every 1s\"\ntimeout = \"1s\"\n{more}",
        nodes.join(", ")
    )
}

const LOAD: &str = "
    [jobs.load]
    probe = \"throughput\"
    targets = [\"orders\"]
    schedule = \"every 5s\"
    timeout = \"5s\"
    settings = { phases = [\"sustained\"], duration = \"2s\", rate = 200, connections = 4, key_space = 100 }
    objectives = { sustained_achieved = 0.0 }
    [limits]
    concurrent_load = 3
";

/// What runs on a node ended with that is neither a measurement nor a matter of company.
fn errors(daemon: &Daemon, probe: &str, target: &str) -> usize {
    let is_error = |(outcome, _): &(String, String)| outcome == "error" || outcome == "halted";
    outcomes(daemon, probe, target).iter().filter(|run| is_error(run)).count()
}

#[test]
fn each_node_is_loaded_by_its_own_keys() {
    let cluster = Cluster::start(3, true);
    cluster.servers[0].ok(&["SET", "{b}foreign", "1"]);
    let mut daemon = Daemon::start(&config(&cluster, 4, LOAD));
    for (node, server) in ["a", "b", "c"].iter().zip(&cluster.servers) {
        let id = format!("orders/{node}");
        let measured = || outcomes(&daemon, "throughput", &id).iter().any(|(outcome, _)| outcome == "passed");
        assert!(
            poll_until(PATIENCE, measured),
            "{id}: {:?}; {}",
            outcomes(&daemon, "throughput", &id),
            daemon.log()
        );
        await_passes(&daemon, ("health", &id), 0, 1);
        assert_eq!(failures(&daemon, "health", &id), BTreeMap::new());
        assert!(calls(server, "set") > 50, "{id} is written to");
        assert_eq!(server.find_info("errorstat_MOVED"), None, "{id} was never asked for another's key");
        let label = format!("node=\"{node}\"");
        assert_eq!(daemon.metric("redprobe_up", &["target=\"orders\"", &label]), Some(1.0));
    }
    // The replica is looked at, and told why no more.
    await_passes(&daemon, ("health", "orders/d"), 0, 1);
    let skipped =
        || outcomes(&daemon, "throughput", "orders/d").contains(&("skipped".into(), "readonly".into()));
    assert!(poll_until(PATIENCE, skipped), "{:?}", outcomes(&daemon, "throughput", "orders/d"));
    daemon.await_metric("redprobe_cluster_unnamed_nodes", &["target=\"orders\"", "node=\"a\""], |nodes| {
        nodes == 0.0
    });
    assert_eq!(daemon.stop(), Some(0));
    await_no_keys(cluster.servers.iter());
    assert_eq!(cluster.servers.iter().map(|server| server.keys().len()).sum::<usize>(), 2, "and its replica");
}

#[test]
fn a_moved_slot_costs_one_run_and_its_keys_are_removed_where_they_are() {
    let cluster = Cluster::start(3, false);
    let mut daemon = Daemon::start(&config(&cluster, 2, LOAD));
    daemon.await_metric("redprobe_cluster_unnamed_nodes", &["node=\"a\""], |nodes| nodes == 1.0);
    daemon.await_log("are not watched");
    let own = |server: &RedisServer| {
        server
            .keys()
            .into_iter()
            .find(|key| key.starts_with("redprobe:{orders") && key.contains("throughput"))
    };
    for _ in 0..2 {
        let mut key = None;
        let loaded = poll_until(PATIENCE, || {
            key = own(&cluster.servers[0]);
            key.is_some()
        });
        assert!(loaded, "no load; log:\n{}", daemon.log());
        let slot = cluster.slot(&key.expect("it came"));
        let before = outcomes(&daemon, "throughput", "orders/a").len();
        cluster.move_slots([slot].into_iter(), 0, 2);
        let errors_before = errors(&daemon, "throughput", "orders/a");
        await_passes(&daemon, ("throughput", "orders/a"), before + 1, 1);
        assert!(errors(&daemon, "throughput", "orders/a") <= errors_before + 1, "log:\n{}", daemon.log());
    }
    let reasons = failures(&daemon, "throughput", "orders/a");
    assert!(reasons.contains_key(&("error".into(), "moved".into())), "{reasons:?}");
    assert_eq!(errors(&daemon, "throughput", "orders/b"), 0);
    assert_eq!(daemon.stop(), Some(0), "log:\n{}", daemon.log());
    await_no_keys(cluster.servers.iter());
}

#[test]
fn a_node_without_slots_is_only_looked_at() {
    let cluster = Cluster::start(2, false);
    let daemon = Daemon::start(&config(&cluster, 2, LOAD));
    await_passes(&daemon, ("health", "orders/b"), 0, 1);
    let slots = cluster.own_slots(1);
    // One by one for those in use, all others by giving them up.
    for node in [0, 1] {
        cluster.servers[node].ok(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let (first, last) = (slots[0].to_string(), slots[slots.len() - 1].to_string());
    for server in &cluster.servers {
        server.ok(&["CLUSTER", "DELSLOTSRANGE", &first, &last]);
    }
    let skipped = || {
        let outcomes = outcomes(&daemon, "throughput", "orders/b");
        outcomes.last().is_some_and(|last| *last == ("skipped".into(), "precondition".into()))
    };
    assert!(poll_until(PATIENCE, skipped), "{:?}", outcomes(&daemon, "throughput", "orders/b"));
    let run = &daemon.runs("?probe=throughput&target=orders/b")[0];
    assert!(run["conclusion"].as_str().unwrap_or_default().contains("no slot"), "{run}");
    let runs = outcomes(&daemon, "health", "orders/b").len();
    await_passes(&daemon, ("health", "orders/b"), runs, 2);
}

#[test]
fn a_node_that_is_down_is_down_alone_and_a_broken_cluster_says_so() {
    let mut cluster = Cluster::start(3, false);
    let daemon = Daemon::start(&config(&cluster, 3, ""));
    for node in ["orders/a", "orders/b", "orders/c"] {
        await_passes(&daemon, ("health", node), 0, 1);
    }
    cluster.servers[2].kill();
    let ended = |node, wanted: (&str, &str)| {
        let wanted = (wanted.0.to_owned(), wanted.1.to_owned());
        let came = || outcomes(&daemon, "health", node).last() == Some(&wanted);
        assert!(poll_until(PATIENCE, came), "{node}: {:?}", outcomes(&daemon, "health", node));
    };
    ended("orders/c", ("error", "connect_refused"));
    // With a part of the slots gone, the others refuse all keys.
    ended("orders/a", ("error", "clusterdown"));
    daemon.await_metric("redprobe_up", &["node=\"a\""], |up| up == 0.0);
    for node in [0, 1] {
        cluster.servers[node].ok(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    ended("orders/a", ("passed", ""));
    ended("orders/c", ("error", "connect_refused"));
}
