//! `--shard`: every target is watched by one of several daemons, which one is known, and Prometheus would say the same.

use std::{collections::BTreeSet, fmt::Write};

use redprobe::config::Shard;
use testkit::RedisServer;

use crate::{
    deploy::process::{Process, free_port, get},
    support::{Daemon, redprobe},
};

const NAMES: [&str; 12] = [
    "cache",
    "sessions",
    "queue",
    "eu_west_1",
    "eu_west_2",
    "us_east_1",
    "a",
    "b",
    "c",
    "d",
    "staging",
    "store_of_all",
];

/// All targets are one server, and each has a job.
fn config(url: &str, shard: &str) -> String {
    let mut config = format!("shard = {shard:?}\n");
    for name in NAMES {
        let _ = write!(config, "[targets.{name}]\nurl = {url:?}\n");
    }
    config + "[jobs.info]\nprobe = \"server_info\"\ntargets = [\"*\"]\nschedule = \"every 15s\"\n"
}

fn own(shard: &str) -> BTreeSet<&'static str> {
    let shard = Shard::parse(shard).expect("it is one");
    NAMES.into_iter().filter(|name| shard.of_target(name) == shard).collect()
}

/// The targets of which a daemon has series.
fn watched(daemon: &Daemon) -> BTreeSet<String> {
    let metrics = daemon.scrape();
    let labels = metrics.lines().filter_map(|line| line.split_once("target=\"")?.1.split_once('"'));
    labels.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn each_daemon_watches_its_targets_and_knows_who_has_the_others() {
    let redis = RedisServer::start();
    let (mine, theirs) = (own("1/3"), own("2/3"));
    assert!(!mine.is_empty() && !theirs.is_empty(), "names that prove nothing: {mine:?} {theirs:?}");
    let (one, other) = (mine.first().expect("one"), theirs.first().expect("one"));
    let daemon = Daemon::start(&config(&redis.url(), "1/3"));
    assert_eq!(watched(&daemon), mine.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(daemon.metric("redprobe_shard_info", &["shard=\"1\"", "shards=\"3\""]), Some(1.0));
    daemon.await_metric("redprobe_up", &[&format!("target=\"{one}\"")], |up| up == 1.0);

    let targets = daemon.get("/api/v1/targets").body;
    assert!(
        targets.contains(&format!("\"{one}\"")) && !targets.contains(&format!("\"{other}\"")),
        "{targets}"
    );
    let probe = |target: &str| daemon.get(&format!("/probe?target={target}&probe=server_info"));
    assert_eq!(probe(one).status, 200);
    let elsewhere = probe(other);
    assert_eq!(elsewhere.status, 404);
    let said = "is of shard 2/3, and this is shard 1/3: ask the redprobe that is 2/3";
    assert!(elsewhere.body.contains(said), "{}", elsewhere.body);
    let nobody = probe("nobody");
    assert!(nobody.status == 404 && !nobody.body.contains("shard"), "{}", nobody.body);

    // After a reload it is another one.
    daemon.rewrite(&config(&redis.url(), "2/3"));
    daemon.signal(rustix::process::Signal::HUP);
    daemon.await_metric("redprobe_shard_info", &["shard=\"2\""], |one| one == 1.0);
    assert_eq!(watched(&daemon), theirs.iter().map(|name| (*name).to_owned()).collect());
}

#[test]
fn a_shard_without_targets_waits_for_some() {
    let config = "[targets.cache]\nurl = \"redis://127.0.0.1:1\"\n";
    let (has, empty) = if own("1/2").contains("cache") { ("1/2", "2/2") } else { ("2/2", "1/2") };
    let mut daemon = Daemon::start(&format!("shard = {empty:?}\n{config}"));
    assert!(watched(&daemon).is_empty());
    assert!(daemon.get("/").body.contains("1 other targets are of other shards"));
    daemon.rewrite(&format!("shard = {has:?}\n{config}"));
    daemon.signal(rustix::process::Signal::HUP);
    daemon.await_metric("redprobe_up", &["target=\"cache\""], |up| up == 0.0);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn the_flag_wins_and_a_bad_one_is_a_mistake() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("redprobe.toml");
    std::fs::write(&file, config("redis://127.0.0.1:1", "1/3")).expect("it can be written");
    let file = file.to_str().expect("text");
    let said = |arguments: &[&str], shard: Option<&str>| {
        let mut command = redprobe(&[arguments, &["--config", file]].concat());
        command.envs(shard.map(|shard| ("REDPROBE__SHARD", shard)));
        let output = command.output().expect("it starts");
        let text = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        (output.status.code(), text)
    };
    let (code, text) = said(&["serve", "--shard", "4/3"], None);
    assert_eq!(code, Some(3));
    assert_eq!(text, "error: shard: \"4/3\": there are 3 shards; write 1 to 3 before the /\n");

    // The environment wins over the file, and `check` says who has what.
    let (code, text) = said(&["check"], Some("2/3"));
    assert_eq!(code, Some(0), "{text}");
    let (mine, theirs) = (own("2/3"), own("3/3"));
    assert!(
        text.contains(&format!("{} targets of other shards than 2/3\n", NAMES.len() - mine.len())),
        "{text}"
    );
    for name in theirs {
        assert!(text.contains(&format!("\n  {name}: 3/3\n")), "{text}");
    }
    for name in mine {
        assert!(text.contains(&format!("info: server_info on {name}, ")), "{text}");
    }
    // A run is for whoever asks, whatever the shard.
    let (_, text) = said(&["run", "server_info", "--target", own("3/3").first().expect("one")], Some("1/3"));
    assert!(text.contains("connect_refused") || text.contains("refused"), "{text}");
}

/// The same targets, sharded by Prometheus itself with the recipe of the README.
#[test]
fn prometheus_would_put_each_target_into_the_same_shard() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let mut config = "global: {scrape_interval: 1h}\nscrape_configs:\n- job_name: a\n  relabel_configs:\n  \
                      - {source_labels: [target], action: hashmod, modulus: 5, target_label: shard}\n  static_configs:\n"
        .to_owned();
    for name in NAMES {
        let _ = writeln!(config, "  - {{targets: ['127.0.0.1:1'], labels: {{target: '{name}'}}}}");
    }
    std::fs::write(directory.path().join("prometheus.yml"), config).expect("it can be written");
    let port = free_port();
    let words = ["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data"].map(str::to_owned);
    let listen = format!("--web.listen-address=127.0.0.1:{port}");
    let mut prometheus = Process::start(&[&words[..], &[listen]].concat(), directory);
    let mut seen = Vec::new();
    prometheus.await_that(|| {
        let answer = get(port, "/api/v1/targets?state=active").unwrap_or_default();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        seen = answer["data"]["activeTargets"].as_array().cloned().unwrap_or_default();
        seen.len() == NAMES.len()
    });
    for target in seen {
        let (name, theirs) = (&target["labels"]["target"], &target["labels"]["shard"]);
        let name = name.as_str().expect("it was given one");
        let ours = Shard::parse("1/5").expect("it is one").of_target(name).number();
        assert_eq!(theirs.as_str(), Some(&*(ours - 1).to_string()), "{name}");
    }
}
