//! Every route over the real daemon and a real redis-server, and who may use it.

use std::net::TcpStream;

use redprobe::probes::PROBES;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::{Value, json};
use testkit::{RedisServer, poll_until};

use super::{Answer, Headers, PATIENCE};
use crate::support::Daemon;

const TOKEN: &str = "a-long-random-token";

fn bearer() -> String {
    format!("Bearer {TOKEN}")
}

/// A daemon with this configuration; `{redis}` in it stands for the server's URL.
fn serve(redis: &RedisServer, config: &str) -> Daemon {
    Daemon::start(&with_redis(config, redis))
}

fn with_redis(config: &str, redis: &RedisServer) -> String {
    config.replace("{redis}", &redis.url())
}

/// Any request, and the whole answer.
fn ask(daemon: &Daemon, method: &str, path: &str, headers: Headers<'_>, body: &str) -> Answer {
    let text = super::request_text(daemon.address(), method, path, headers, body);
    Answer::parse(&daemon.exchange(&text))
}

fn get(daemon: &Daemon, path: &str) -> Answer {
    ask(daemon, "GET", path, &[], "")
}

fn get_json(daemon: &Daemon, path: &str) -> Value {
    let answer = get(daemon, path);
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    serde_json::from_str(&answer.body).expect("it is JSON")
}

/// `POST /api/v1/runs` with the token.
fn start_run(daemon: &Daemon, body: &Value) -> (u16, Value) {
    let headers = [("Authorization", &*bearer()), ("Content-Type", "application/json")];
    let answer = ask(daemon, "POST", "/api/v1/runs", &headers, &body.to_string());
    (answer.status, serde_json::from_str(&answer.body).expect("it is JSON"))
}

const OPEN: &str = r#"
[targets.main]
url = "{redis}"
allow = "touch"

[targets.other]
url = "{redis}"

[jobs.info]
probe = "server_info"
targets = ["*"]
schedule = "every 1s"

[jobs.baseline]
probe = "latency_baseline"
targets = ["main"]
schedule = "manual"
settings = { iterations = 20, rate = 1000, sustained = "1s" }
"#;

fn guarded() -> String {
    format!("[http]\napi_token = \"{TOKEN}\"\n{OPEN}")
}

#[test]
fn the_daemon_says_how_it_is() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    for (path, body) in [("/-/healthy", "redprobe is healthy.\n"), ("/-/ready", "redprobe is ready.\n")] {
        let answer = get(&daemon, path);
        assert_eq!((answer.status, answer.body.as_str()), (200, body));
    }
    for path in [
        "/",
        "/metrics",
        "/-/healthy",
        "/config",
        "/api/v1/runs",
        "/api/v1/targets",
        "/api/v1/probes",
        "/nowhere",
    ] {
        let answer = get(&daemon, path);
        for header in [
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{path}: {answer:?}");
        }
        let head = ask(&daemon, "HEAD", path, &[], "");
        assert_eq!((head.status, head.body.as_str()), (answer.status, ""), "{path}");
        assert!(head.head.contains("content-length"), "{head:?}");
    }
}

#[test]
fn metrics_show_what_the_schedule_ran() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    daemon.await_metric("redprobe_run_success", &["target=\"main\"", "probe=\"server_info\""], |value| {
        value >= 1.0
    });
    daemon.await_metric("redprobe_up", &["target=\"main\""], |value| value >= 1.0);
    let answer = get(&daemon, "/metrics");
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    crate::exposition::promtool(answer.body.as_bytes());
}

/// Clients that hold connections must not take the last files away from scrapes.
#[test]
fn a_daemon_that_may_open_no_more_files_closes_idle_connections() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    daemon.await_metric("redprobe_run_success", &["target=\"main\"", "probe=\"server_info\""], |value| {
        value == 1.0
    });
    let few = Rlimit { current: Some(64), maximum: Some(64) };
    let pid = i32::try_from(daemon.pid()).ok().and_then(Pid::from_raw);
    prlimit(pid, Resource::Nofile, few).expect("one may lower the limits of a child");
    let mut flood = Vec::new();
    for _ in 0..10 {
        flood.extend((0..20).map(|_| TcpStream::connect(daemon.address()).expect("the daemon listens")));
        assert_eq!(get(&daemon, "/metrics").status, 200);
        assert_eq!(get(&daemon, "/probe?target=main&probe=server_info").status, 200);
    }
    assert!(daemon.log().contains("no further HTTP connection can be accepted"), "{}", daemon.log());
    assert!(daemon.metric("redprobe_http_connections_shed_total", &[]).is_some_and(|shed| shed > 0.0));
}

#[test]
fn the_page_shows_targets_jobs_and_verdicts() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    daemon.await_metric("redprobe_run_success", &["target=\"other\"", "probe=\"server_info\""], |value| {
        value >= 1.0
    });
    let page = get(&daemon, "/");
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    for words in
        ["<h2>main</h2>", "<h2>other</h2>", "latency_baseline", "manual", "every 1s", "passed", "no run yet"]
    {
        assert!(page.body.contains(words), "{words:?} is not on the page:\n{}", page.body);
    }
    assert!(!page.body.contains("<script"));
}

#[test]
fn the_api_lists_targets_probes_and_runs() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    daemon.await_metric("redprobe_run_success", &["target=\"main\"", "probe=\"server_info\""], |value| {
        value >= 1.0
    });
    let targets = get_json(&daemon, "/api/v1/targets");
    assert_eq!(targets["targets"][0]["name"], "main");
    assert_eq!(targets["targets"][0]["allow"], "touch");
    let jobs = targets["targets"][0]["jobs"].as_array().expect("a list");
    let info = jobs.iter().find(|job| job["name"] == "info").expect("it is configured");
    assert_eq!((&info["schedule"], &info["last_run"]["outcome"]), (&json!("every 1s"), &json!("passed")));

    let probes = get_json(&daemon, "/api/v1/probes");
    let names: Vec<_> =
        probes["probes"].as_array().expect("a list").iter().map(|probe| &probe["name"]).collect();
    assert_eq!(names, PROBES.iter().map(|kind| kind.name).collect::<Vec<_>>());
    let baseline = names.iter().position(|name| **name == "latency_baseline").expect("it is a probe");
    let settings = probes["probes"][baseline]["settings"].as_array().expect("a list");
    let iterations =
        settings.iter().find(|setting| setting["name"] == "iterations").expect("it has this one");
    assert_eq!(iterations["default"], 1_000);

    let runs = get_json(&daemon, "/api/v1/runs?probe=server_info&target=main&outcome=passed&limit=1");
    let run = &runs["runs"][0];
    assert_eq!(
        (&run["probe"], &run["target"], runs["runs"].as_array().map(Vec::len)),
        (&json!("server_info"), &json!("main"), Some(1))
    );
    let id = run["id"].as_str().expect("it has one");
    let one = get_json(&daemon, &format!("/api/v1/runs/{id}"));
    assert_eq!(one["id"], id);
    assert!(one["log"].is_array() && run.get("log").is_none());

    for (path, status, words) in [
        ("/api/v1/runs?outcome=wonderful", 400, "there are passed, failed, error, skipped, halted"),
        ("/api/v1/runs?limit=many", 400, "limit"),
        ("/api/v1/runs?colour=red", 400, "colour"),
        ("/api/v1/runs/nothing", 404, "no run \\\"nothing\\\""),
        ("/api/v1/runs/%ff", 400, "UTF-8"),
        ("/api/v1/nothing", 404, "nothing is at /api/v1/nothing"),
    ] {
        let answer = get(&daemon, path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.body.starts_with("{\"error\":") && answer.body.contains(words), "{path}: {answer:?}");
    }
    let text = get(&daemon, "/nothing");
    assert_eq!(
        (text.status, text.body.as_str()),
        (404, "nothing is at /nothing; the page at / links what there is\n")
    );
    assert_eq!(ask(&daemon, "POST", "/metrics", &[], "").status, 405);
}

#[test]
fn the_configuration_is_shown_without_its_secrets() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, &guarded());
    let answer = get(&daemon, "/config");
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("latency_baseline") && !answer.body.contains(TOKEN), "{}", answer.body);
}

#[test]
fn a_run_is_started_with_the_token_alone() {
    let redis = RedisServer::start();
    let (open, daemon) = (serve(&redis, OPEN), serve(&redis, &guarded()));
    let json = ("Content-Type", "application/json");
    let right = bearer();
    let right = ("Authorization", right.as_str());
    let body = r#"{"probe": "server_info", "target": "main"}"#;
    let cases: [(&Daemon, Headers<'_>, u16); 10] = [
        (&open, &[json, right], 403),
        (&open, &[json], 403),
        (&daemon, &[json], 401),
        (&daemon, &[json, ("Authorization", "Bearer wrong")], 401),
        (&daemon, &[json, ("Authorization", "Bearer ")], 401),
        (&daemon, &[json, ("Authorization", "Basic YTpi")], 401),
        (&daemon, &[json, right, ("Sec-Fetch-Site", "cross-site")], 403),
        (&daemon, &[right], 415),
        (&daemon, &[right, ("Content-Type", "text/plain")], 415),
        (&daemon, &[json, right, ("Sec-Fetch-Site", "same-origin")], 200),
    ];
    for (daemon, headers, status) in cases {
        let answer = ask(daemon, "POST", "/api/v1/runs", headers, body);
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401, "{answer:?}");
        assert!(status == 200 || answer.body.starts_with("{\"error\":"), "{answer:?}");
    }
}

#[test]
fn a_run_that_was_asked_for_is_answered_and_kept() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, &guarded());
    let (status, run) = start_run(&daemon, &json!({"job": "baseline"}));
    assert_eq!(
        (status, &run["outcome"], &run["probe"]),
        (200, &json!("passed"), &json!("latency_baseline")),
        "{run}"
    );
    assert!(run["operations"].as_array().is_some_and(|operations| !operations.is_empty()), "{run}");
    assert_eq!(run["settings"]["iterations"], 20, "the job's settings are in force");

    let (status, begun) = start_run(&daemon, &json!({"probe": "health", "target": "other", "wait": false}));
    assert_eq!(status, 202, "{begun}");
    let path = format!("/api/v1/runs/{}", begun["id"].as_str().expect("its id"));
    assert!(poll_until(PATIENCE, || get(&daemon, &path).status == 200), "{path} never came");

    for (body, status, words) in [
        (json!({}), 400, "say which run"),
        (json!({"probe": "health"}), 400, "say which run"),
        (json!({"probe": "health", "target": "main", "colour": 1}), 400, "colour"),
        (json!({"probe": "nothing", "target": "main"}), 404, "health, latency_baseline"),
        (json!({"probe": "health", "target": "nowhere"}), 404, "no target"),
        (json!({"probe": "health", "target": "main", "variant": "x"}), 404, "variant"),
        (json!({"job": "nothing"}), 404, "no job"),
        (json!({"job": "info"}), 400, "several targets"),
        (json!({"probe": "throughput", "target": "main"}), 403, "allows touch"),
    ] {
        let (got, answer) = start_run(&daemon, &body);
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(words)), "{body}: {answer}");
    }
}

#[test]
fn probes_on_demand_follow_effect_and_token() {
    let redis = RedisServer::start();
    let (open, daemon) = (serve(&redis, OPEN), serve(&redis, &guarded()));
    let right = bearer();
    let right: Headers<'_> = &[("Authorization", &right)];
    let wrong: Headers<'_> = &[("Authorization", "Bearer wrong")];
    let cases: [(&Daemon, &str, Headers<'_>, u16); 14] = [
        (&open, "target=main&probe=server_info", &[], 200),
        (&open, "target=other&probe=health", &[], 200),
        (&daemon, "target=main&probe=server_info", &[], 200),
        (&daemon, "target=main&probe=server_info", wrong, 401),
        (&daemon, "target=main&probe=latency_baseline", &[], 401),
        (&daemon, "target=main&probe=latency_baseline", right, 200),
        (&open, "target=main&probe=latency_baseline", right, 401),
        (&daemon, "target=main&probe=throughput", right, 403),
        (&daemon, "target=other&probe=latency_baseline", right, 403),
        (&daemon, "target=nowhere&probe=health", &[], 404),
        (&daemon, "target=main&probe=nothing", &[], 404),
        (&daemon, "target=main", &[], 400),
        (&daemon, "probe=health", &[], 400),
        (&daemon, "target=main&probe=health", &[("X-Prometheus-Scrape-Timeout-Seconds", "soon")], 400),
    ];
    for (daemon, query, headers, status) in cases {
        let answer = ask(daemon, "GET", &format!("/probe?{query}"), headers, "");
        assert_eq!(answer.status, status, "{query} {headers:?}: {answer:?}");
        if status == 200 {
            assert!(answer.body.contains("\nredprobe_run_success{"), "{answer:?}");
            assert!(!answer.body.contains("redprobe_runs_total"), "no counters over runs: {answer:?}");
        }
    }
    let debug = get(&daemon, "/probe?target=main&probe=health&debug=true");
    for words in ["Log of run ", "Outcome: passed", "redprobe_up{target=\"main\"} 1", "settings in force"] {
        assert!(debug.body.contains(words), "{words:?}: {}", debug.body);
    }
}

#[test]
fn a_probe_on_demand_ends_before_its_scraper_gives_up() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    redis.pause();
    let patience = [("X-Prometheus-Scrape-Timeout-Seconds", "1")];
    let answer = ask(&daemon, "GET", "/probe?target=main&probe=server_info", &patience, "");
    redis.resume();
    assert!(
        answer.status == 503
            || answer.body.contains("redprobe_run_success{target=\"main\",probe=\"server_info\"} 0\n"),
        "{answer:?}"
    );
}

#[test]
fn names_that_nobody_configured_add_no_series() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    daemon.await_metric("redprobe_run_success", &["target=\"other\"", "probe=\"server_info\""], |value| {
        value >= 1.0
    });
    for number in 0..200 {
        assert_eq!(get(&daemon, &format!("/probe?target=made_up_{number}&probe=health")).status, 404);
        assert_eq!(get(&daemon, &format!("/probe?target=main&probe=made_up_{number}")).status, 404);
    }
    assert_eq!(get(&daemon, "/probe?target=main&probe=health").status, 200);
    let metrics = get(&daemon, "/metrics").body;
    assert!(!metrics.contains("made_up"), "{metrics}");
}

#[test]
fn a_reload_takes_removed_targets_away_and_a_bad_one_changes_nothing() {
    let redis = RedisServer::start();
    let daemon = serve(&redis, OPEN);
    daemon.await_metric("redprobe_run_success", &["target=\"other\"", "probe=\"server_info\""], |value| {
        value >= 1.0
    });
    daemon.await_metric("redprobe_runs_total", &["target=\"main\"", "probe=\"server_info\""], |value| {
        value >= 2.0
    });
    let reload = || ask(&daemon, "POST", "/-/reload", &[], "");

    daemon.rewrite("[targets.main]\nurl = \"nonsense\"\n");
    let refused = reload();
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("targets.main.url"), "{refused:?}");
    let metrics = get(&daemon, "/metrics").body;
    assert!(
        metrics.contains("redprobe_config_last_reload_successful 0\n")
            && metrics.contains("target=\"other\"")
    );

    let without = OPEN.replace("[targets.other]\nurl = \"{redis}\"\n", "");
    daemon.rewrite(&with_redis(&without, &redis));
    let read = reload();
    assert_eq!(read.status, 200, "{read:?}");
    let metrics = get(&daemon, "/metrics").body;
    assert!(
        metrics.contains("redprobe_config_last_reload_successful 1\n")
            && !metrics.contains("target=\"other\""),
        "{metrics}"
    );
    let count = metrics
        .lines()
        .find_map(|line| line.strip_prefix("redprobe_runs_total{target=\"main\",probe=\"server_info\"} "));
    assert!(
        count.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count >= 2),
        "counters go on: {count:?}"
    );
    assert_eq!(get(&daemon, "/probe?target=other&probe=health").status, 404);
}

#[test]
fn a_reload_is_for_this_machine_or_for_the_token() {
    let redis = RedisServer::start();
    let (open, daemon) = (serve(&redis, OPEN), serve(&redis, &guarded()));
    let right = bearer();
    let cases: [(&Daemon, &str, Headers<'_>, u16); 7] = [
        (&open, "POST", &[("Sec-Fetch-Site", "cross-site")], 403),
        (&open, "POST", &[("X-Forwarded-For", "192.0.2.1")], 403),
        (&open, "PUT", &[], 200),
        (&open, "GET", &[], 405),
        (&daemon, "POST", &[], 401),
        (&daemon, "POST", &[("Authorization", "Bearer wrong")], 401),
        (&daemon, "POST", &[("Authorization", &right)], 200),
    ];
    for (daemon, method, headers, status) in cases {
        let answer = ask(daemon, method, "/-/reload", headers, "");
        assert_eq!(answer.status, status, "{method} {headers:?}: {answer:?}");
    }
    let rebound = format!(
        "POST /-/reload HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n",
        open.address().port()
    );
    assert_eq!(Answer::parse(&open.exchange(&rebound)).status, 403);
}
