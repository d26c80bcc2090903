//! Every route over the real daemon and a real redis-server, and who may use it.

use std::fs;

use serde_json::json;
use testkit::{RedisServer, poll_until_async};
use tokio::net::TcpStream;

use super::{
    Answer, Headers, PATIENCE,
    daemon::{Daemon, TOKEN, bearer, with_redis},
    request,
};

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

#[tokio::test]
async fn the_daemon_says_how_it_is() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    for (path, body) in [("/-/healthy", "redprobe is healthy.\n"), ("/-/ready", "redprobe is ready.\n")] {
        let answer = daemon.get(path).await;
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
        let answer = daemon.get(path).await;
        for header in [
            "x-content-type-options: nosniff",
            "content-security-policy: default-src 'none'",
            "cache-control: no-store",
        ] {
            assert!(answer.head.contains(header), "{path}: {answer:?}");
        }
        let head = request(daemon.address, "HEAD", path, &[], "").await;
        assert_eq!((head.status, head.body.as_str()), (answer.status, ""), "{path}");
        assert!(head.head.contains("content-length"), "{head:?}");
    }
}

#[tokio::test]
async fn metrics_show_what_the_schedule_ran() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    daemon.comes_to_export("redprobe_run_success{target=\"main\",probe=\"server_info\"} 1\n").await;
    daemon.comes_to_export("redprobe_up{target=\"main\"} 1\n").await;
    let answer = daemon.get("/metrics").await;
    assert!(answer.head.contains("content-type: text/plain; version=0.0.4"), "{}", answer.head);
    crate::exposition::promtool(answer.body.as_bytes());
}

#[tokio::test]
async fn a_daemon_of_few_files_keeps_some_for_scrapes_and_probes() {
    let redis = RedisServer::start();
    let daemon = Daemon::start_with_files(&redis, OPEN, 64).await;
    let mut flood = Vec::new();
    for _ in 0..10 {
        for _ in 0..20 {
            flood.push(TcpStream::connect(daemon.address).await.expect("the daemon listens"));
        }
        assert_eq!(daemon.get("/metrics").await.status, 200);
        assert_eq!(daemon.get("/probe?target=main&probe=server_info").await.status, 200);
    }
    assert!(!daemon.log().contains("no further HTTP connection"), "{}", daemon.log());
}

#[tokio::test]
async fn the_page_shows_targets_jobs_and_verdicts() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    daemon.comes_to_export("redprobe_run_success{target=\"other\",probe=\"server_info\"} 1\n").await;
    let page = daemon.get("/").await;
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    for words in
        ["<h2>main</h2>", "<h2>other</h2>", "latency_baseline", "manual", "every 1s", "passed", "no run yet"]
    {
        assert!(page.body.contains(words), "{words:?} is not on the page:\n{}", page.body);
    }
    assert!(!page.body.contains("<script"));
}

#[tokio::test]
async fn the_api_lists_targets_probes_and_runs() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    daemon.comes_to_export("redprobe_run_success{target=\"main\",probe=\"server_info\"} 1\n").await;
    let targets = daemon.json("/api/v1/targets").await;
    assert_eq!(targets["targets"][0]["name"], "main");
    assert_eq!(targets["targets"][0]["allow"], "touch");
    let jobs = targets["targets"][0]["jobs"].as_array().expect("a list");
    let info = jobs.iter().find(|job| job["name"] == "info").expect("it is configured");
    assert_eq!((&info["schedule"], &info["last_run"]["outcome"]), (&json!("every 1s"), &json!("passed")));

    let probes = daemon.json("/api/v1/probes").await;
    let names: Vec<_> =
        probes["probes"].as_array().expect("a list").iter().map(|probe| &probe["name"]).collect();
    assert_eq!(names, ["health", "latency_baseline", "server_info", "throughput"]);
    let settings = probes["probes"][1]["settings"].as_array().expect("a list");
    let iterations =
        settings.iter().find(|setting| setting["name"] == "iterations").expect("it has this one");
    assert_eq!(iterations["default"], 1_000);

    let runs = daemon.json("/api/v1/runs?probe=server_info&target=main&outcome=passed&limit=1").await;
    let run = &runs["runs"][0];
    assert_eq!(
        (&run["probe"], &run["target"], runs["runs"].as_array().map(Vec::len)),
        (&json!("server_info"), &json!("main"), Some(1))
    );
    let id = run["id"].as_str().expect("it has one");
    let one = daemon.json(&format!("/api/v1/runs/{id}")).await;
    assert_eq!(one["id"], id);
    assert!(one["log"].is_array() && run.get("log").is_none());

    for (path, status, words) in [
        ("/api/v1/runs?outcome=wonderful", 400, "there are passed, failed, error, skipped, halted"),
        ("/api/v1/runs?limit=many", 400, "limit"),
        ("/api/v1/runs?colour=red", 400, "colour"),
        ("/api/v1/runs/nothing", 404, "no run \\\"nothing\\\""),
        ("/api/v1/nothing", 404, "nothing is at /api/v1/nothing"),
    ] {
        let answer = daemon.get(path).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.body.starts_with("{\"error\":") && answer.body.contains(words), "{path}: {answer:?}");
    }
    let text = daemon.get("/nothing").await;
    assert_eq!(
        (text.status, text.body.as_str()),
        (404, "nothing is at /nothing; the page at / links what there is\n")
    );
    assert_eq!(request(daemon.address, "POST", "/metrics", &[], "").await.status, 405);
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, &guarded()).await;
    let answer = daemon.get("/config").await;
    assert_eq!(answer.status, 200);
    assert!(answer.body.contains("latency_baseline") && !answer.body.contains(TOKEN), "{}", answer.body);
}

#[tokio::test]
async fn a_run_is_started_with_the_token_alone() {
    let redis = RedisServer::start();
    let (open, daemon) = (Daemon::start(&redis, OPEN).await, Daemon::start(&redis, &guarded()).await);
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
        let answer = request(daemon.address, "POST", "/api/v1/runs", headers, body).await;
        assert_eq!(answer.status, status, "{headers:?}: {answer:?}");
        assert_eq!(answer.head.contains("www-authenticate: bearer"), status == 401, "{answer:?}");
        assert!(status == 200 || answer.body.starts_with("{\"error\":"), "{answer:?}");
    }
}

#[tokio::test]
async fn a_run_that_was_asked_for_is_answered_and_kept() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, &guarded()).await;
    let (status, run) = daemon.run(&json!({"job": "baseline"})).await;
    assert_eq!(
        (status, &run["outcome"], &run["probe"]),
        (200, &json!("passed"), &json!("latency_baseline")),
        "{run}"
    );
    assert!(run["operations"].as_array().is_some_and(|operations| !operations.is_empty()), "{run}");
    assert_eq!(run["settings"]["iterations"], 20, "the job's settings are in force");

    let (status, begun) = daemon.run(&json!({"probe": "health", "target": "other", "wait": false})).await;
    assert_eq!(status, 202, "{begun}");
    let path = format!("/api/v1/runs/{}", begun["id"].as_str().expect("its id"));
    let kept = || async { daemon.get(&path).await.status == 200 };
    assert!(poll_until_async(PATIENCE, kept).await, "{path} never came");

    for (body, status, words) in [
        (json!({}), 400, "say which run"),
        (json!({"probe": "health"}), 400, "say which run"),
        (json!({"probe": "health", "target": "main", "colour": 1}), 400, "colour"),
        (json!({"probe": "nothing", "target": "main"}), 404, "there are health, latency_baseline"),
        (json!({"probe": "health", "target": "nowhere"}), 404, "no target"),
        (json!({"probe": "health", "target": "main", "variant": "x"}), 404, "variant"),
        (json!({"job": "nothing"}), 404, "no job"),
        (json!({"job": "info"}), 400, "several targets"),
        (json!({"probe": "throughput", "target": "main"}), 403, "allows touch"),
    ] {
        let (got, answer) = daemon.run(&body).await;
        assert_eq!(got, status, "{body}: {answer}");
        assert!(answer["error"].as_str().is_some_and(|error| error.contains(words)), "{body}: {answer}");
    }
}

#[tokio::test]
async fn probes_on_demand_follow_effect_and_token() {
    let redis = RedisServer::start();
    let (open, daemon) = (Daemon::start(&redis, OPEN).await, Daemon::start(&redis, &guarded()).await);
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
        let answer = request(daemon.address, "GET", &format!("/probe?{query}"), headers, "").await;
        assert_eq!(answer.status, status, "{query} {headers:?}: {answer:?}");
        if status == 200 {
            assert!(answer.body.contains("\nredprobe_run_success{"), "{answer:?}");
            assert!(!answer.body.contains("redprobe_runs_total"), "no counters over runs: {answer:?}");
        }
    }
    let debug = daemon.get("/probe?target=main&probe=health&debug=true").await;
    for words in ["Log of run ", "Outcome: passed", "redprobe_up{target=\"main\"} 1", "settings in force"] {
        assert!(debug.body.contains(words), "{words:?}: {}", debug.body);
    }
}

#[tokio::test]
async fn a_probe_on_demand_ends_before_its_scraper_gives_up() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    redis.pause();
    let patience = [("X-Prometheus-Scrape-Timeout-Seconds", "1")];
    let answer = request(daemon.address, "GET", "/probe?target=main&probe=server_info", &patience, "").await;
    redis.resume();
    assert!(
        answer.status == 503
            || answer.body.contains("redprobe_run_success{target=\"main\",probe=\"server_info\"} 0\n"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn names_that_nobody_configured_add_no_series() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    daemon.comes_to_export("redprobe_run_success{target=\"other\",probe=\"server_info\"} 1\n").await;
    for number in 0..200 {
        assert_eq!(daemon.get(&format!("/probe?target=made_up_{number}&probe=health")).await.status, 404);
        assert_eq!(daemon.get(&format!("/probe?target=main&probe=made_up_{number}")).await.status, 404);
    }
    assert_eq!(daemon.get("/probe?target=main&probe=health").await.status, 200);
    let metrics = daemon.get("/metrics").await.body;
    assert!(!metrics.contains("made_up"), "{metrics}");
}

#[tokio::test]
async fn a_reload_takes_removed_targets_away_and_a_bad_one_changes_nothing() {
    let redis = RedisServer::start();
    let daemon = Daemon::start(&redis, OPEN).await;
    daemon.comes_to_export("redprobe_run_success{target=\"other\",probe=\"server_info\"} 1\n").await;
    daemon.comes_to_export("redprobe_runs_total{target=\"main\",probe=\"server_info\"} 2\n").await;
    let reload = async || request(daemon.address, "POST", "/-/reload", &[], "").await;

    fs::write(daemon.config(), "[targets.main]\nurl = \"nonsense\"\n").expect("it can be written");
    let refused = reload().await;
    assert_eq!(refused.status, 500);
    assert!(refused.body.contains("targets.main.url"), "{refused:?}");
    let metrics = daemon.get("/metrics").await.body;
    assert!(
        metrics.contains("redprobe_config_last_reload_successful 0\n")
            && metrics.contains("target=\"other\"")
    );

    let without = OPEN.replace("[targets.other]\nurl = \"{redis}\"\n", "");
    fs::write(daemon.config(), with_redis(&without, &redis)).expect("it can be written");
    let read = reload().await;
    assert_eq!(read.status, 200, "{read:?}");
    let metrics = daemon.get("/metrics").await.body;
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
    assert_eq!(daemon.get("/probe?target=other&probe=health").await.status, 404);
}

#[tokio::test]
async fn a_reload_is_for_this_machine_or_for_the_token() {
    let redis = RedisServer::start();
    let (open, daemon) = (Daemon::start(&redis, OPEN).await, Daemon::start(&redis, &guarded()).await);
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
        let answer = request(daemon.address, method, "/-/reload", headers, "").await;
        assert_eq!(answer.status, status, "{method} {headers:?}: {answer:?}");
    }
    let rebound = format!(
        "POST /-/reload HTTP/1.1\r\nHost: evil.example:{}\r\nConnection: close\r\n\r\n",
        open.address.port()
    );
    assert_eq!(Answer::parse(&super::exchange(open.address, rebound).await).status, 403);
}
