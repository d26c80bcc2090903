//! An alert can only fire on what is exported: each one's series, as its matchers ask for them, against a daemon's scrape.
//!
//! First with the default configuration as `redprobe default-config` prints it, against a server as most are. What that
//! leaves out is a job of load or of a finer look; an alert about one may need that job, so those are uncommented next, as
//! they stand, but shorter. What an alert needs beyond both is listed here with a reason.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::Matcher;
use serde_json::{Value, json};
use testkit::RedisServer;
use toml::Table;

use super::{
    known::Known,
    rules::{Rule, RuleFile},
    shipped,
    walk::Walk,
};
use crate::support::{self, Daemon};

/// Series that neither scrape has: the alert, the metric, why that is right.
const NOT_EXPORTED: &[(&str, &str, &str)] = &[
    (
        "RedprobeCertificateExpiring",
        "redprobe_tls_certificate_expiry_timestamp_seconds",
        "without TLS there is none",
    ),
    ("RedprobeClusterNodesUnwatched", "redprobe_cluster_unnamed_nodes", "outside of a cluster there is none"),
    ("RedprobeProbeFailing", "redprobe_run_unmeasured", "every run here is measured"),
    ("RedprobeEvictionsForbidden", "redprobe_runs_in_progress", PRESSURE),
    ("RedprobeFragmentationHigh", "redprobe_objective_observed", FRAGMENTATION),
    ("RedprobeFragmentationHigh", "redprobe_objective_met", FRAGMENTATION),
    ("RedprobeFragmentationHigh", "redprobe_objective_limit", FRAGMENTATION),
];

const PRESSURE: &str = "it makes the rule silent where memory_pressure runs, which is left alone here";

const FRAGMENTATION: &str = "it is observed where more than 64 MB are lost by it, and this server has less";

/// What makes the jobs of the second scrape short.
const SHORT: &[(&str, &str)] = &[
    (
        "latency_baseline",
        "iterations = 20, connects = 2, rate = 200.0, sustained = '1s', memory_pattern = '1MB'",
    ),
    ("mixed_workload", "duration = '1s', readers = 3, block = '50ms'"),
    ("pool_exhaustion", "duration = '1s', bursts = [2], cost = '100ms'"),
    ("pool_sizing", "duration = '1s', readers = 3, repeats = 1, rate = 50.0, block = '50ms'"),
    ("pool_starvation", "duration = '1s', readers = 3, block = '50ms', rate = 2000.0"),
    (
        "split_pool",
        "duration = '1s', readers = 3, block = '50ms', stream_pool_size = 10, general_pool_size = 10",
    ),
    // A fifth of the seconds of the sustained phase is what `degradation` compares.
    (
        "throughput",
        "phases = ['baseline', 'sustained', 'benchmark'], duration = '5s', ops_per_worker = 50, benchmark_workers = 10, warm_up = '100ms'",
    ),
];

/// A probe that stops itself where the machine is busy, and whose series no alert needs alone: it is not run.
const LEFT_ALONE: &str = "memory_pressure";

const TOKEN: &str = "a long random text";

/// One series of a scrape, with the labels that Prometheus adds.
#[derive(Debug)]
struct Scraped {
    name: String,
    labels: BTreeMap<String, String>,
}

fn scraped(text: &str) -> Vec<Scraped> {
    let series = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    series
        .map(|(series, _)| {
            let (name, inside) = series.split_once('{').unwrap_or((series, "}"));
            let pairs = inside.trim_end_matches('}').split("\",").filter_map(|pair| pair.split_once("=\""));
            let mut labels: BTreeMap<String, String> = pairs
                .map(|(name, value)| (name.to_owned(), value.trim_end_matches('"').to_owned()))
                .collect();
            labels.extend([("job".into(), "redprobe".into()), ("instance".into(), "localhost:19121".into())]);
            Scraped { name: name.to_owned(), labels }
        })
        .collect()
}

impl Scraped {
    fn is_selected(&self, (name, matchers): &(String, Vec<Matcher>)) -> bool {
        let value = |label: &str| self.labels.get(label).map_or("", String::as_str);
        self.name == *name && matchers.iter().all(|matcher| matcher.is_match(value(&matcher.name)))
    }
}

/// What an expression selects; of what is recorded, what that is made of, with the matchers that still apply there.
fn selected(query: &str, rules: &[RuleFile], known: &Known) -> Vec<(String, Vec<Matcher>)> {
    let mut walk = Walk::new(known);
    walk.expression(query);
    let mut all = Vec::new();
    for (name, matchers) in walk.selected {
        let recorded = |rule: &&Rule| rule.record.as_ref() == Some(&name);
        let Some(rule) = rules.iter().flat_map(RuleFile::rules).find(recorded) else {
            all.push((name, matchers));
            continue;
        };
        for (name, mut inner) in selected(&rule.expr, rules, known) {
            let has =
                |label: &String| known.series(&name).is_some_and(|series| series.labels.contains(label));
            inner.extend(matchers.iter().filter(|matcher| has(&matcher.name)).cloned());
            all.push((name, inner));
        }
    }
    all
}

/// What `redprobe default-config` prints, with this server in it.
fn default_config(redis: &RedisServer) -> String {
    let output = support::redprobe(&["default-config"]).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let named = text.replace("redis://127.0.0.1:6379", &redis.url());
    assert_ne!(text, named, "the default configuration has another server than it had");
    named
}

/// The probes whose jobs are in the default configuration with a # before each line, and that configuration with all of
/// them: they run when asked to.
fn with_all_jobs(default: &str, replica: &RedisServer) -> (BTreeSet<String>, String) {
    let mut left_out = BTreeSet::new();
    let mut text = String::new();
    let mut inside = false;
    for line in default.lines() {
        if let Some(section) = line.strip_prefix("#[") {
            inside = section.starts_with("pools.")
                || (section.starts_with("jobs.")
                    && !section.contains(".settings")
                    && !section.contains(".objectives"));
        }
        let setting = line
            .strip_prefix('#')
            .filter(|rest| inside && !rest.starts_with(' ') && !line.contains("# not set"));
        if let Some(probe) = setting.and_then(|rest| rest.strip_prefix("probe = ")) {
            left_out.insert(probe.trim_matches('"').to_owned());
        }
        text += setting
            .filter(|rest| !rest.starts_with("timeout") && !rest.starts_with("variant"))
            .unwrap_or(line);
        text.push('\n');
    }
    let mut table: Table = text.parse().expect("the default configuration is TOML");
    table.insert("http".into(), Table::from_iter([("api_token".to_owned(), TOKEN.into())]).into());
    let targets = table["targets"].as_table_mut().expect("targets are a section");
    targets["local"].as_table_mut().expect("a target is a section").insert("allow".into(), "disrupt".into());
    targets.insert("replica".into(), replica_of(replica));
    let jobs = table["jobs"].as_table_mut().expect("jobs are a section");
    jobs.remove(LEFT_ALONE).expect("the default configuration shows a job of it");
    for (name, job) in jobs {
        let job = job.as_table_mut().expect("a job is a section");
        if let Some((_, settings)) = SHORT.iter().find(|(probe, _)| probe == name) {
            let settings: Table = format!("settings = {{ {settings} }}").parse().expect("settings are TOML");
            job.extend(settings);
            job.insert("schedule".into(), "manual".into());
            job.insert("targets".into(), vec!["local"].into());
        } else {
            job.insert("schedule".into(), "every 1s".into());
        }
    }
    (left_out, table.to_string())
}

/// A target such as the alerts about evictions and replication are for.
fn replica_of(replica: &RedisServer) -> toml::Value {
    let pairs = [("url", replica.url()), ("profile", "store".into())];
    Table::from_iter(pairs.map(|(key, value)| (key.to_owned(), value.into()))).into()
}

fn run(daemon: &Daemon, job: &str) {
    let headers = [("Authorization", &*format!("Bearer {TOKEN}")), ("Content-Type", "application/json")];
    let answer = daemon.request("POST", "/api/v1/runs", &headers, &json!({ "job": job }).to_string());
    let run: Value = serde_json::from_str(&answer.body).unwrap_or_default();
    let measured = ["passed", "failed"].map(Value::from).contains(&run["outcome"]);
    assert!(answer.status == 200 && measured, "{job} did not measure: {}", answer.body);
}

/// The scrape with the default configuration; that with the jobs it leaves out; and their probes.
fn scrapes() -> (Vec<Scraped>, Vec<Scraped>, BTreeSet<String>) {
    // A server with a limit, as one in use has.
    let redis = RedisServer::with(&["--maxmemory", "32mb", "--appendonly", "yes"]);
    assert_eq!(redis.cli(&["BGSAVE"]).trim(), "Background saving started");
    let port = redis.address().port().to_string();
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &port]);
    let default = default_config(&redis);
    // The schedule alone is not waited for.
    let daemon = Daemon::start(&default.replace("\nschedule = \"every 15s\"", "\nschedule = \"every 1s\""));
    daemon.await_metric("redprobe_run_success", &["probe=\"server_info\""], |_| true);
    daemon.await_metric("redprobe_up", &[], |up| up > 0.0);
    let first = scraped(&daemon.scrape());
    drop(daemon);

    let (left_out, config) = with_all_jobs(&default, &replica);
    let daemon = Daemon::start(&config);
    for (job, _) in SHORT {
        run(&daemon, job);
    }
    // The second audit is the first that can compare.
    daemon.await_metric("redprobe_config_audit_changed_settings", &["target=\"local\""], |_| true);
    for target in ["local", "replica"] {
        let labels = [&*format!("target=\"{target}\""), "probe=\"server_info\""];
        daemon.await_metric("redprobe_run_success", &labels, |_| true);
    }
    (first, scraped(&daemon.scrape()), left_out)
}

#[test]
fn what_alerts_ask_for_is_exported() {
    let (shipped, (by_default, by_jobs, left_out)) = (shipped(), scrapes());
    // What this test adds to the default configuration: the jobs, and a replica.
    let is_added = |series: &Scraped| {
        let is = |label, value: &str| series.labels.get(label).is_some_and(|found| found == value);
        left_out.iter().any(|probe| is("probe", probe)) || is("target", "replica")
    };
    let (mut wrong, mut excused) = (Vec::new(), BTreeSet::new());
    for rule in shipped.rules.iter().flat_map(RuleFile::rules).filter(|rule| rule.alert.is_some()) {
        for selector in selected(&rule.expr, &shipped.rules, &shipped.known) {
            let of_prometheus = selector.0 == "up" || selector.0.starts_with("ALERTS");
            let there = by_default.iter().any(|series| series.is_selected(&selector))
                || by_jobs.iter().any(|series| series.is_selected(&selector) && is_added(series));
            if of_prometheus || there {
                continue;
            }
            let excuse =
                NOT_EXPORTED.iter().find(|(alert, metric, _)| *alert == rule.name() && *metric == selector.0);
            match excuse {
                Some((alert, metric, _)) => {
                    excused.insert((*alert, *metric));
                }
                None => wrong.push(format!(
                    "{} asks for {}{:?}, which is not exported: neither with the default configuration, nor with the jobs \
                     that it leaves out. Ask for something else, export it, or name it in NOT_EXPORTED with a reason",
                    rule.name(),
                    selector.0,
                    selector.1.iter().map(ToString::to_string).collect::<Vec<_>>()
                )),
            }
        }
    }
    for (alert, metric, _) in
        NOT_EXPORTED.iter().filter(|(alert, metric, _)| !excused.contains(&(*alert, *metric)))
    {
        wrong
            .push(format!("NOT_EXPORTED: {alert} has its {metric} now, or does not ask for it: take it out"));
    }
    // The labels that expressions may use are read off the declarations: here they are held against real ones.
    for series in by_default.iter().chain(&by_jobs) {
        let known = shipped.known.series(&series.name).map(|series| &series.labels);
        if !known.is_some_and(|labels| series.labels.keys().all(|label| labels.contains(label))) {
            wrong.push(format!(
                "{} has the labels {:?}, and not as declared {known:?}",
                series.name, series.labels
            ));
        }
    }
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}
