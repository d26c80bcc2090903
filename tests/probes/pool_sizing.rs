//! `pool_sizing`: the sizes that it finds are those that trying every size finds, and what cannot be found is not.
//!
//! The sweep goes through another probe, `pool_starvation`, one size after the other, and judges its figures here.

use std::{process::Stdio, time::Duration};

use measure::clock;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::{RedisServer, poll_until};

use super::{Foreign, measured, objective, probe, ran, redprobe, skipped};

/// Readers and traffic, and what they are promised.
struct Setting {
    readers: u64,
    rate: u64,
    block_ms: u64,
    pool_timeout_ms: u64,
}

/// Enough operations for a p99 of their waits, which takes a thousand.
const SECONDS: f64 = 2.5;

impl Setting {
    fn arguments(&self) -> Vec<String> {
        let Self { readers, rate, block_ms, pool_timeout_ms } = self;
        [
            format!("readers={readers}"),
            format!("rate={rate}"),
            format!("block={block_ms}ms"),
            format!("pool_timeout={pool_timeout_ms}ms"),
            format!("duration={SECONDS}s"),
        ]
        .to_vec()
    }

    fn size(&self, server: &RedisServer) -> Value {
        let mut settings = self.arguments();
        settings.extend(["repeats=3".to_owned(), "split=false".to_owned()]);
        sizing(server, &settings, &[]).expect_measured().clone()
    }

    /// Whether a shared pool of this size does, by two of up to three runs.
    fn does(&self, server: &RedisServer, size: u64) -> bool {
        let met = || {
            let mut settings = self.arguments();
            settings.push(format!("pool_size={size}"));
            let ran = probe("pool_starvation", server, &arguments(&settings, &[]));
            let run = ran.expect_measured();
            let operations = run["operations"].as_array().expect("always there");
            let failed = operations.iter().any(|operation| operation["attempts"] != operation["ok"]);
            let wait = &objective(run, "pool_wait_p99").expect("enough waits")["observed"];
            !failed && wait.as_f64().is_some_and(|seconds| seconds <= 0.05)
        };
        // Two that agree outvote the third.
        let (first, second) = (met(), met());
        if first == second { first } else { met() }
    }

    /// The smallest size that does with all greater ones up to the last, tried one by one.
    fn sweep(&self, server: &RedisServer, sizes: std::ops::RangeInclusive<u64>) -> u64 {
        let last = *sizes.end();
        let fails = sizes.rev().find(|size| !self.does(server, *size));
        let smallest = fails.map_or(1, |fails| fails + 1);
        assert!(smallest <= last, "none up to {last} does");
        smallest
    }
}

fn arguments<'a>(settings: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["--allow", "load"];
    all.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    all.extend(more);
    all
}

fn sizing(server: &RedisServer, settings: &[String], more: &[&str]) -> super::Ran {
    probe("pool_sizing", server, &arguments(settings, more))
}

fn owned(settings: &[&str]) -> Vec<String> {
    settings.iter().map(|setting| (*setting).to_owned()).collect()
}

fn conclusion(run: &Value) -> &str {
    run["conclusion"].as_str().expect("always there")
}

fn is_clear_of_clients(server: &RedisServer) -> bool {
    let gone = || server.clients("redprobe-pool").is_empty() && server.info("blocked_clients") == "0";
    poll_until(Duration::from_secs(5), gone)
}

#[test]
fn the_size_found_is_that_of_a_sweep() {
    let server = RedisServer::start();
    let setting = Setting { readers: 6, rate: 500, block_ms: 500, pool_timeout_ms: 200 };
    let run = setting.size(&server);
    let found = measured(&run, "shared_size") as u64;
    let swept = setting.sweep(&server, found.saturating_sub(2).max(1)..=found + 1);
    assert!(found.abs_diff(swept) <= 1, "found {found}, the sweep {swept}: {run:#}");
    assert!(swept > found.saturating_sub(2).max(1), "the window holds the edge: {swept}, {found}");
}

#[test]
fn the_smallest_pair_has_a_connection_for_each_reader() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let settings = ["readers=8", "rate=100", "reader=xreadgroup"];
    let ran = sizing(&server, &owned(&settings), &["--quick"]);
    let run = ran.expect_measured();
    let [shared, stream, general] =
        ["shared_size", "stream_size", "general_size"].map(|name| measured(run, name) as u64);
    assert!((8..=10).contains(&shared), "{run:#}");
    assert_eq!(stream, 8, "{run:#}");
    assert!((1..=3).contains(&general), "{run:#}");
    let says = format!("split, {stream} for streams and {general} for the rest");
    assert!(conclusion(run).contains(&format!(" is {shared}; {says}")), "{}", conclusion(run));
    let room = objective(run, "pool_head_room").unwrap();
    assert_eq!((&room["observed"], &room["met"]), (&(15.0 - shared as f64).into(), &true.into()));
    assert_eq!(objective(run, "found").unwrap()["met"], true);

    let pools = run["pools"].as_array().unwrap();
    let size = |pool: &&Value| pool["size"].as_u64().unwrap();
    for (name, edge) in [("shared", shared), ("stream", stream), ("general", general)] {
        let sizes: Vec<u64> =
            pools.iter().filter(|pool| pool["name"] == name).map(|pool| size(&pool)).collect();
        assert!(sizes.is_sorted() && sizes.contains(&edge), "{name}: {sizes:?}");
        assert!(edge == 1 || sizes.contains(&(edge - 1)), "the one below was tried: {name}: {sizes:?}");
        assert!(measured(run, &format!("{name}_confidence")) > 0.5);
    }
    let why = format!("With {} ", shared - 1);
    assert!(conclusion(run).contains(&why) && conclusion(run).contains("of each GET's time"), "{run:#}");
    let failed = measured(run, "stream_below_timeout_rate");
    assert!(failed > 0.0 && failed < 1.0, "one reader too many: {failed}");
    let timeline = run["timeline"].as_array().unwrap();
    assert_eq!(timeline.len() as f64, measured(run, "trials"), "one point for each trial");
    assert!(timeline.iter().all(|point| point["values"]["timeout_rate"].is_number()
        || point["values"]["stream_timeout_rate"].is_number()));
    let operations: Vec<_> =
        run["operations"].as_array().unwrap().iter().map(|o| o["phase"].as_str().unwrap()).collect();
    assert_eq!(operations, ["shared", "shared", "shared", "split", "split", "split"], "one line for each");
    assert_eq!(run["remedies"].as_array().unwrap().len(), 4);
    assert!(is_clear_of_clients(&server), "{:?}", server.clients("redprobe"));
    foreign.check(&server);
}

#[test]
fn what_no_pool_can_do_is_not_found() {
    let server = RedisServer::start();
    // Nobody waits less than a nanosecond.
    let settings = ["readers=2", "rate=100", "max_wait_p99=0s", "workers=6", "duration=300ms", "block=100ms"];
    let ran = sizing(&server, &owned(&settings), &["--quick"]);
    let run = ran.expect("failed");
    assert!(conclusion(run).contains("no shared pool up to 8 meets"), "{}", conclusion(run));
    assert!(conclusion(run).contains("for the rest none up to 6"), "{}", conclusion(run));
    assert_eq!(objective(run, "found").unwrap()["met"], false);
    assert_eq!(measured(run, "shared_confidence"), 1.0);
    assert!(run["measurements"]["shared_size"].is_null());
    assert!(is_clear_of_clients(&server));
}

#[test]
fn no_more_connections_are_tried_than_the_target_allows() {
    let server = RedisServer::start();
    let state = tempfile::tempdir().unwrap();
    let config = state.path().join("redprobe.toml");
    let text =
        format!("[targets.small]\nurl = \"{}\"\nallow = \"load\"\nmax_connections = 8\n", server.url());
    std::fs::write(&config, text).unwrap();
    let settings = owned(&["readers=12", "rate=100", "duration=1s"]);
    let mut arguments =
        vec!["pool_sizing", "--config", config.to_str().unwrap(), "--target", "small", "--quick"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let ran = super::run(&arguments);
    let run = ran.expect("failed");
    assert!(conclusion(run).contains("no shared pool up to 5 meets"), "{}", conclusion(run));
    assert!(conclusion(run).contains("max_connections allows no more"), "{}", conclusion(run));
    let sizes = run["pools"].as_array().unwrap().iter().map(|pool| pool["size"].as_u64().unwrap());
    assert!(sizes.max() <= Some(5), "{:#}", run["pools"]);
    assert_eq!(objective(run, "rejected_connections").unwrap()["observed"], 0.0);
}

#[test]
fn a_search_ends_with_its_time_and_says_how_far_it_came() {
    let server = RedisServer::start();
    let begun = clock::now();
    let settings = owned(&["readers=4", "rate=100", "duration=2s", "repeats=20"]);
    let ran = sizing(&server, &settings, &["--timeout", "12s"]);
    let run = ran.expect_measured();
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    assert!(measured(run, "trials") >= 2.0);
    let text = conclusion(run);
    assert!(text.contains("the time was too short") || text.contains("not found in time"), "{text}");
    assert!(run["doubts"].as_array().unwrap().contains(&"unsure".into()), "{:#}", run["doubts"]);
    assert!(skipped(run).is_empty(), "what was tried was not skipped: {:?}", skipped(run));
    assert!(is_clear_of_clients(&server));
}

#[test]
fn without_time_for_one_trial_nothing_is_said() {
    let server = RedisServer::start();
    let ran = sizing(&server, &owned(&["duration=20s"]), &["--timeout", "5s"]);
    ran.expect_unmeasured("skipped", "deadline");
}

#[test]
fn a_search_that_is_stopped_leaves_nothing() {
    let server = RedisServer::start();
    let foreign = Foreign::plant(&server);
    let state = tempfile::tempdir().unwrap();
    let url = server.url();
    let arguments = ["run", "pool_sizing", "--target", &url, "--allow", "load", "--format", "json"];
    let mut command = redprobe(state.path(), &[&arguments[..], &["--set", "reader=xreadgroup"]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let blocked = || server.clients("redprobe-pool").iter().any(|line| line.contains("flags=b"));
    assert!(poll_until(Duration::from_secs(20), blocked), "readers block");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    ran(&child.wait_with_output().unwrap()).expect_unmeasured_by("cancelled");
    assert!(server.clients("redprobe-pool").is_empty(), "gone by the time it says so");
    foreign.check(&server);
}

#[cfg(feature = "soak")]
mod soak {
    use super::*;

    /// Every size from 1 on is tried, and not only those about the one that was found.
    #[test]
    fn five_settings_have_the_sizes_of_a_sweep() {
        let server = RedisServer::start();
        for (readers, rate, block_ms, pool_timeout_ms) in [
            (15, 500, 500, 200),
            (12, 1_000, 500, 200),
            (5, 500, 1_000, 200),
            (20, 500, 150, 300),
            (0, 2_000, 500, 100),
        ] {
            let setting = Setting { readers, rate, block_ms, pool_timeout_ms };
            let run = setting.size(&server);
            let found = measured(&run, "shared_size") as u64;
            let swept = setting.sweep(&server, 1..=found.max(readers) + 2);
            println!(
                "{readers} readers, {rate} ops/s, block {block_ms} ms: found {found}, swept {swept}: {}",
                conclusion(&run)
            );
            assert!(found.abs_diff(swept) <= 1, "found {found}, the sweep {swept}: {run:#}");
        }
    }
}
