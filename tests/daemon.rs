//! The daemon as a process: start, signals, reload, stop, and what it leaves on the server.

use std::{collections::HashSet, fs, time::Duration};

use measure::clock;
use rustix::process::Signal;
use testkit::{RedisServer, poll_until};

use crate::support::Daemon;

/// For anything that a busy machine may delay; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Targets by name and URL, and a job `info` that reads INFO of all of them.
fn config(targets: &[(&str, &str)], allow: &str, jobs: &str) -> String {
    let names: Vec<_> = targets.iter().map(|(name, _)| format!("{name:?}")).collect();
    let tables: String = targets
        .iter()
        .map(|(name, url)| format!("[targets.{name}]\nurl = {url:?}\nallow = {allow:?}\n"))
        .collect();
    format!(
        "{tables}
        [jobs.info]
        probe = \"server_info\"
        targets = [{}]
        schedule = \"every 1s\"
        timeout = \"900ms\"
        {jobs}",
        names.join(", ")
    )
}

const LONG_LOAD: &str = "
    [jobs.load]
    probe = \"throughput\"
    targets = [\"cache\"]
    schedule = \"*/2 * * * * *\"
    timeout = \"100s\"
    settings = { phases = [\"sustained\"], duration = \"60s\", rate = 500, connections = 4 }
";

fn own_keys(redis: &RedisServer) -> usize {
    redis.keys().iter().filter(|key| key.starts_with("redprobe:")).count()
}

const INFO: [&str; 2] = ["probe=\"server_info\"", "target=\"cache\""];

#[test]
fn a_stop_in_the_middle_of_a_load_leaves_no_key_and_is_clean() {
    let redis = RedisServer::start();
    let mut daemon = Daemon::start(&config(&[("cache", &redis.url())], "load", LONG_LOAD));
    // More than the lease: the load has begun.
    assert!(poll_until(PATIENCE, || own_keys(&redis) > 5), "no load; log:\n{}", daemon.log());
    let began = clock::now();
    assert_eq!(daemon.stop(), Some(0), "log:\n{}", daemon.log());
    assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    assert_eq!(redis.keys(), Vec::<String>::new());
    assert_eq!(redis.clients("redprobe"), Vec::<String>::new());
}

#[test]
fn a_second_signal_shortens_the_stop_and_what_is_left_shows_in_the_exit_code() {
    let redis = RedisServer::start();
    let mut daemon = Daemon::start(&config(&[("cache", &redis.url())], "load", LONG_LOAD));
    assert!(poll_until(PATIENCE, || own_keys(&redis) > 5), "no load; log:\n{}", daemon.log());
    // Nothing can be cleaned up on a server that does not answer.
    redis.pause();
    daemon.signal(Signal::TERM);
    daemon.await_log("\"stopping\"");
    let began = clock::now();
    assert_eq!(daemon.stop(), Some(4), "log:\n{}", daemon.log());
    assert!(began.elapsed() < Duration::from_secs(9), "the second signal made no difference");
}

#[test]
fn a_target_under_load_is_still_seen_to_be_up() {
    let redis = RedisServer::start();
    let health = "
        [jobs.health]
        probe = \"health\"
        targets = [\"cache\"]
        schedule = \"every 1s\"
        timeout = \"900ms\"
    ";
    let jobs = format!("{health}{LONG_LOAD}");
    let daemon = Daemon::start(&config(&[("cache", &redis.url())], "load", &jobs));
    assert!(poll_until(PATIENCE, || own_keys(&redis) > 5), "no load; log:\n{}", daemon.log());
    let labels = ["probe=\"health\"", INFO[1]];
    let runs = daemon.metric("redprobe_runs_total", &labels).unwrap_or_default();
    daemon.await_metric("redprobe_runs_total", &labels, |now| now >= runs + 3.0);
    assert_eq!(daemon.metric("redprobe_up", &[INFO[1]]), Some(1.0));
    let runs = daemon.runs("?probe=health&limit=2");
    assert!(runs.iter().all(|run| run["outcome"] == "passed"), "{runs:?}");
}

#[test]
fn a_second_daemon_on_the_same_state_directory_does_not_start() {
    let redis = RedisServer::start();
    let config = config(&[("cache", &redis.url())], "observe", "");
    let first = Daemon::start(&config);
    let mut second = Daemon::launch_beside(&first, &config);
    assert_eq!(second.await_end().code(), Some(3));
    second.await_log("is in use by another redprobe (process ");
    assert_eq!(first.get("/-/ready").status, 200);
    // However the first one ends, the directory is free then.
    first.signal(Signal::KILL);
    let mut third = None;
    let started = poll_until(PATIENCE, || {
        let mut daemon = Daemon::launch_beside(&first, &config);
        let listens = poll_until(Duration::from_secs(5), || {
            let log = daemon.log();
            log.contains("\"ready\"") || log.contains("in use")
        });
        let ready = listens && daemon.log().contains("\"ready\"");
        if ready {
            daemon.await_ready();
            third = Some(daemon);
        }
        ready
    });
    assert!(started, "it does not start after the first was killed");
}

#[test]
fn a_bad_start_says_why_and_ends_with_3() {
    let redis = RedisServer::start();
    let taken = Daemon::start(&config(&[("cache", &redis.url())], "observe", ""));
    let listen = format!("[http]\nlisten = \"{}\"\n", taken.address());
    let mut second = Daemon::launch(&config(&[("cache", &redis.url())], "observe", &listen));
    assert_eq!(second.await_end().code(), Some(3));
    second.await_log("cannot listen on");
}

#[test]
fn a_state_directory_that_cannot_be_written_refuses_load_alone() {
    let redis = RedisServer::start();
    // Nobody, not even root, can make a directory below a file.
    let blocked = redis.directory().join("file");
    fs::write(&blocked, "").unwrap();
    let with = |allow| {
        let rest = config(&[("cache", &redis.url())], allow, "");
        format!("state_dir = \"{}/state\"\n{rest}", blocked.display())
    };
    let heavy = "\n[jobs.speed]\nprobe = \"throughput\"\ntargets = [\"cache\"]\nschedule = \"every 1s\"\n\
                 [jobs.squeeze]\nprobe = \"memory_pressure\"\ntargets = [\"cache\"]\nschedule = \"every 1s\"\n";
    let disrupting = Daemon::start(&format!("{}{heavy}", with("disrupt")));
    disrupting.await_log("load and disrupt are refused until it can");
    for probe in ["probe=\"throughput\"", "probe=\"memory_pressure\""] {
        let refused = [probe, "reason=\"precondition\""];
        disrupting.await_metric("redprobe_runs_skipped_total", &refused, |runs| runs >= 1.0);
    }
    disrupting.await_metric("redprobe_run_success", &INFO, |success| success == 1.0);
    drop(disrupting);
    let touching = Daemon::start(&with("touch"));
    touching.await_log("nothing allowed here needs it");
    touching.await_metric("redprobe_runs_total", &INFO, |runs| runs >= 1.0);
}

#[test]
fn a_reload_takes_on_what_is_good_and_keeps_what_runs() {
    let (one, two) = (RedisServer::start(), RedisServer::start());
    let daemon = Daemon::start(&config(&[("cache", &one.url()), ("gone", &two.url())], "observe", ""));
    daemon.await_metric("redprobe_runs_total", &["target=\"gone\"", INFO[0]], |runs| runs >= 1.0);
    let runs = daemon.await_metric("redprobe_runs_total", &INFO, |runs| runs >= 1.0);

    daemon.rewrite("[targets.cache]\nurl = \"not a url\"\n");
    daemon.signal(Signal::HUP);
    daemon.await_metric("redprobe_config_last_reload_successful", &[], |successful| successful == 0.0);
    daemon.await_log("targets.cache.url");
    daemon.await_metric("redprobe_runs_total", &INFO, |now| now > runs);
    assert_eq!(daemon.get("/-/ready").status, 200);

    daemon.rewrite(&config(&[("cache", &one.url()), ("fresh", &two.url())], "observe", ""));
    daemon.signal(Signal::HUP);
    daemon.await_metric("redprobe_config_last_reload_successful", &[], |successful| successful == 1.0);
    daemon.await_metric("redprobe_runs_total", &["target=\"fresh\"", INFO[0]], |runs| runs >= 1.0);
    let text = daemon.scrape();
    assert!(!text.contains("target=\"gone\""), "its series stayed");
    assert!(daemon.metric("redprobe_runs_total", &INFO).unwrap() > runs, "its counter began anew");
    assert!(poll_until(PATIENCE, || two.clients("redprobe").len() == 1), "{:?}", two.clients("redprobe"));
}

#[test]
fn a_target_that_leaves_takes_its_running_load_along() {
    let redis = RedisServer::start();
    let other = RedisServer::start();
    let daemon = Daemon::start(&config(&[("cache", &redis.url())], "load", LONG_LOAD));
    assert!(poll_until(PATIENCE, || own_keys(&redis) > 5), "no load; log:\n{}", daemon.log());
    daemon.rewrite(&config(&[("other", &other.url())], "observe", ""));
    daemon.signal(Signal::HUP);
    daemon.await_metric("redprobe_runs_total", &["target=\"other\"", INFO[0]], |runs| runs >= 1.0);
    assert!(poll_until(PATIENCE, || redis.keys().is_empty()), "{:?}", redis.keys());
    assert!(!daemon.scrape().contains("target=\"cache\""));
}

#[test]
fn a_load_goes_on_over_a_reload_that_changes_its_job() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&config(&[("cache", &redis.url())], "load", LONG_LOAD));
    assert!(poll_until(PATIENCE, || own_keys(&redis) > 5), "no load; log:\n{}", daemon.log());
    // The name of its connections has the id of the run.
    let running = || {
        let lines = redis.clients("redprobe-throughput");
        let name =
            |line: &String| line.split(' ').find(|field| field.starts_with("name=")).map(str::to_owned);
        lines.iter().filter_map(name).collect::<HashSet<_>>()
    };
    let before = running();
    assert_eq!(before.len(), 1, "{before:?}");
    let slower = LONG_LOAD.replace("rate = 500", "rate = 400");
    daemon.rewrite(&config(&[("cache", &redis.url())], "load", &slower));
    daemon.signal(Signal::HUP);
    daemon.await_log("the configuration was read again");
    let runs = daemon.metric("redprobe_runs_total", &INFO).unwrap();
    daemon.await_metric("redprobe_runs_total", &INFO, |now| now >= runs + 2.0);
    assert_eq!(running(), before, "the running load was harmed");
    let ended = daemon.runs("?probe=throughput");
    assert!(ended.iter().all(|run| run["outcome"] == "skipped"), "{ended:?}");
}

#[test]
fn a_daemon_that_was_suspended_counts_what_it_missed_and_makes_nothing_up() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&config(&[("cache", &redis.url())], "observe", ""));
    let runs = daemon.await_metric("redprobe_runs_total", &INFO, |runs| runs >= 2.0);
    assert_eq!(daemon.metric("redprobe_schedule_missed_ticks_total", &INFO), Some(0.0));
    let began = clock::now();
    daemon.signal(Signal::STOP);
    std::thread::sleep(Duration::from_secs(4));
    daemon.signal(Signal::CONT);
    let missed = daemon.await_metric("redprobe_schedule_missed_ticks_total", &INFO, |missed| missed > 0.0);
    assert!(missed >= 3.0, "{missed} missed");
    daemon.await_metric("redprobe_runs_total", &INFO, |now| now >= runs + 2.0);
    let runs_and_missed = daemon.metric("redprobe_runs_total", &INFO).unwrap() - runs
        + daemon.metric("redprobe_schedule_missed_ticks_total", &INFO).unwrap();
    let seconds = began.elapsed().as_secs_f64();
    assert!(runs_and_missed <= seconds + 1.0, "{runs_and_missed} ticks in {seconds} s");
}

#[test]
fn two_daemons_do_not_load_one_server_together() {
    let redis = RedisServer::start();
    let first = Daemon::start(&config(&[("cache", &redis.url())], "load", LONG_LOAD));
    assert!(poll_until(PATIENCE, || own_keys(&redis) > 5), "no load; log:\n{}", first.log());
    // Another name for the same server, and a state directory of its own: only the lease can tell.
    let load = LONG_LOAD.replace("\"cache\"", "\"same\"");
    let second = Daemon::start(&config(&[("same", &redis.url())], "load", &load));
    second.await_metric(
        "redprobe_runs_skipped_total",
        &["target=\"same\"", "probe=\"throughput\"", "reason=\"lease\""],
        |skipped| skipped >= 1.0,
    );
}

#[test]
fn a_cron_job_runs_at_its_second() {
    let redis = RedisServer::start();
    let cron = "
        [jobs.cron]
        probe = \"server_info\"
        targets = [\"cache\"]
        schedule = \"* * * * * *\"
        timeout = \"900ms\"
        variant = \"cron\"
    ";
    let daemon = Daemon::start(&config(&[("cache", &redis.url())], "observe", cron));
    let labels = [INFO[0], INFO[1], "variant=\"cron\""];
    daemon.await_metric("redprobe_runs_total", &labels, |runs| runs >= 3.0);
    let skipped =
        daemon.metric("redprobe_runs_skipped_total", &[INFO[0], "variant=\"cron\"", "reason=\"overlap\""]);
    assert_eq!(skipped.unwrap_or_default(), 0.0);
}
