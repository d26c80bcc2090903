//! Targets that sentinels name, through failovers.

use rustix::process::Signal;
use testkit::{Event, FakeServer, Step, Watched};

use super::*;

fn config(keys: &str, more: &str) -> String {
    format!(
        "[targets.cache]\n{keys}allow = \"load\"\nconnect_timeout = \"1s\"\nresponse_timeout = \"1s\"\n
        [jobs.health]\nprobe = \"health\"\ntargets = [\"cache\"]\nschedule = \"every 2s\"\ntimeout = \"2s\"\n{more}"
    )
}

const LATENCY: &str = "
    [jobs.latency]
    probe = \"latency_baseline\"
    targets = [\"cache\"]
    schedule = \"every 3s\"
    timeout = \"3s\"
    settings = { iterations = 100, rate = 200, sustained = \"500ms\", memory_pattern = \"1MB\" }
    objectives = { sustained_achieved = 0.0 }
";

const STARVATION: &str = "
    [jobs.starvation]
    probe = \"pool_starvation\"
    targets = [\"cache\"]
    schedule = \"every 4s\"
    timeout = \"4s\"
    settings = { pool_size = 4, readers = 4, duration = \"1s\", rate = 50 }
";

#[test]
fn after_a_failover_the_next_run_is_on_the_new_master() {
    let watched = Watched::start(1);
    let mut daemon = Daemon::start(&config(&watched.keys(), ""));
    await_passes(&daemon, ("health", "cache"), 0, 2);
    assert_eq!(daemon.metric("redprobe_up", &["target=\"cache\"", "node=\"master\""]), Some(1.0));
    let new = watched.fail_over();
    let before = outcomes(&daemon, "health", "cache").len();
    await_passes(&daemon, ("health", "cache"), before, 3);
    assert_eq!(watched.servers[new].clients("redprobe-observer").len(), 1, "it is on the new master");
    assert_eq!(watched.servers[1 - new].clients("redprobe-observer"), [""; 0]);
    assert!(
        failures(&daemon, "health", "cache").values().sum::<usize>() <= 1,
        "{:?}",
        failures(&daemon, "health", "cache")
    );
    assert_eq!(daemon.stop(), Some(0));
    await_no_keys(watched.servers.iter());
}

#[test]
fn a_failover_during_load_costs_one_run_of_each_job() {
    let watched = Watched::start(1);
    for server in &watched.servers[..1] {
        server.ok(&["SET", "foreign", "1"]);
    }
    let mut daemon = Daemon::start(&config(&watched.keys(), &format!("{LATENCY}{STARVATION}")));
    let jobs = ["latency_baseline", "pool_starvation"];
    let count = |probe| outcomes(&daemon, probe, "cache").len();
    assert!(poll_until(PATIENCE, || jobs.iter().all(|probe| count(probe) >= 1)), "log:\n{}", daemon.log());
    let new = watched.fail_over();
    for probe in jobs {
        let before = outcomes(&daemon, probe, "cache").len();
        let measured = || {
            let after = outcomes(&daemon, probe, "cache");
            after
                .iter()
                .skip(before)
                .filter(|(outcome, _)| outcome == "passed" || outcome == "failed")
                .count()
                >= 2
        };
        assert!(
            poll_until(PATIENCE, measured),
            "{:?}; log:\n{}",
            outcomes(&daemon, probe, "cache"),
            daemon.log()
        );
    }
    for probe in jobs {
        let errors: usize = failures(&daemon, probe, "cache")
            .iter()
            .filter(|((outcome, _), _)| outcome == "error" || outcome == "halted")
            .map(|(_, count)| count)
            .sum();
        assert!(errors <= 1, "{probe}: {:?}", failures(&daemon, probe, "cache"));
    }
    assert_eq!(daemon.stop(), Some(0));
    await_no_keys(watched.servers.iter());
    assert_eq!(watched.servers[new].cli(&["GET", "foreign"]), "1");
}

#[test]
fn a_master_that_dies_or_hangs_is_left_for_its_successor() {
    for hang in [false, true] {
        let mut watched = Watched::start(1);
        let daemon = Daemon::start(&config(&watched.keys(), ""));
        await_passes(&daemon, ("health", "cache"), 0, 1);
        let before = watched.named(0);
        if hang {
            watched.servers[0].pause();
        } else {
            watched.servers[0].kill();
        }
        let new = watched.await_master_other_than(&before);
        let runs = outcomes(&daemon, "health", "cache").len();
        await_passes(&daemon, ("health", "cache"), runs, 2);
        let failures = failures(&daemon, "health", "cache");
        let errors = failures.into_keys().filter(|(outcome, _)| outcome == "error");
        let reasons: Vec<_> = errors.map(|(_, reason)| reason).collect();
        let clear = ["connect_refused", "connect_timeout", "timeout", "deadline", "reset", "readonly"];
        assert!(reasons.iter().all(|reason| clear.contains(&reason.as_str())), "{reasons:?}");
        assert_eq!(watched.servers[new].clients("redprobe-observer").len(), 1, "it is on the new master");
        if hang {
            watched.servers[0].resume();
        }
    }
}

#[test]
fn two_sentinels_of_three_may_be_down_and_the_replica_is_a_node_of_its_own() {
    let mut watched = Watched::start(1);
    watched.sentinels[0].pause();
    watched.sentinels[1].kill();
    let keys = format!("{}sentinel_roles = [\"master\", \"replica\"]\n", watched.keys());
    let more = "[jobs.info]\nprobe = \"server_info\"\ntargets = [\"*\"]\nschedule = \"every 2s\"\ntimeout = \"2s\"\n";
    let keys = keys.replace("sentinels", "response_timeout = \"800ms\"\nsentinels");
    let text = config(&keys, more).replace("response_timeout = \"1s\"\n", "").replace("\"1s\"", "\"5s\"");
    let daemon = Daemon::start(&text.replace("every 1s", "every 5s"));
    for node in ["master", "replica"] {
        let id = format!("cache/{node}");
        await_passes(&daemon, ("server_info", &id), 0, 1);
        let run = &daemon.runs(&format!("?probe=server_info&target={id}"))[0];
        assert_eq!((run["target"].as_str(), run["node"].as_str()), (Some("cache"), Some(node)));
        let role = if node == "master" { "master" } else { "slave" };
        assert_eq!(run["server"]["role"], role);
        let label = format!("node=\"{node}\"");
        daemon.await_metric("redprobe_up", &["target=\"cache\"", &label], |up| up == 1.0);
    }
    let run = &daemon.runs("?probe=health&node=replica")[0];
    assert_eq!(run["outcome"], "passed", "it is looked at: {run}");
}

#[test]
fn what_sentinels_do_not_say_has_a_clear_reason() {
    let mut watched = Watched::with(0, Some("watchword"));
    let password = "sentinel_password = \"watchword\"\n";
    let wrong_name = watched.keys().replace("mymaster", "another");
    for (keys, outcome, reason, text) in [
        (format!("{}{password}", watched.keys()), "passed", "", ""),
        (watched.keys(), "error", "auth_required", "no sentinel says who the master of mymaster is"),
        (format!("{wrong_name}{password}"), "error", "other", "no master called \"another\""),
        (
            format!("{}{password}sentinel_roles = [\"replica\"]\n", watched.keys()),
            "error",
            "noreplicas",
            "know of no replica",
        ),
    ] {
        let daemon = Daemon::start(&config(&keys, ""));
        let ran = || !outcomes(&daemon, "health", "cache").is_empty();
        assert!(poll_until(PATIENCE, ran), "log:\n{}", daemon.log());
        let run = &daemon.runs("?probe=health")[0];
        assert_eq!(run["outcome"], outcome, "{run}");
        assert_eq!(run["reason"].as_str().unwrap_or_default(), reason, "{run}");
        assert!(run["conclusion"].as_str().unwrap_or_default().contains(text), "{run}");
        assert!(!run.to_string().contains("watchword") && !daemon.log().contains("watchword"));
    }
    for sentinel in &mut watched.sentinels {
        sentinel.kill();
    }
    let daemon = Daemon::start(&config(&format!("{}{password}", watched.keys()), ""));
    assert!(poll_until(PATIENCE, || !outcomes(&daemon, "health", "cache").is_empty()));
    assert_eq!(outcomes(&daemon, "health", "cache")[0], ("error".into(), "connect_refused".into()));
    daemon.signal(Signal::TERM);
}

/// One that answers as a sentinel does, and names this server whatever it is asked.
fn liar(named: &RedisServer) -> FakeServer {
    let port = named.address().port().to_string();
    let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
    FakeServer::start(move |event| match event {
        Event::Accepted => Vec::new(),
        Event::Request(words) => match words[0].to_ascii_uppercase().as_str() {
            "PING" => vec![Step::send("+PONG\r\n")],
            "SENTINEL" => vec![Step::send(answer.clone())],
            _ => vec![Step::send("+OK\r\n")],
        },
    })
}

#[test]
fn a_sentinel_that_lies_is_outvoted_and_a_lie_of_all_is_found_out() {
    let watched = Watched::start(1);
    let liar = liar(&watched.servers[1]);
    let (truth, lie) = (watched.sentinels[0].address().to_string(), liar.address().to_string());
    let daemon = Daemon::start(&config(&watched.keys().replace(&truth, &lie), ""));
    await_passes(&daemon, ("health", "cache"), 0, 2);
    assert_eq!(failures(&daemon, "health", "cache"), BTreeMap::new());
    let alone = format!("sentinels = [\"{lie}\"]\nsentinel_service = \"mymaster\"\n");
    let daemon = Daemon::start(&config(&alone, ""));
    assert!(poll_until(PATIENCE, || !outcomes(&daemon, "health", "cache").is_empty()));
    assert_eq!(outcomes(&daemon, "health", "cache")[0], ("error".into(), "readonly".into()));
}
