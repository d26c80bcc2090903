//! No secret shows: planted wherever one can be, and looked for in all that redprobe writes while everything goes wrong.
//!
//! From outside, with the log at trace. What is planted where is in `bed`; that a single message hides a secret is tested
//! beside it.

mod bed;

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};

use self::bed::{BASIC, Bed, MARK, TARGETS, TOKEN, WRONG_TOKEN};
use crate::support::Daemon;

/// All that was written, each with where.
#[derive(Default)]
struct Written(Vec<(String, String)>);

impl Written {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    fn output(&mut self, place: &str, output: &Output) {
        self.add(format!("stdout of {place}"), String::from_utf8_lossy(&output.stdout));
        self.add(format!("stderr of {place}"), String::from_utf8_lossy(&output.stderr));
    }

    /// Every file under a directory.
    fn files(&mut self, directory: &Path) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                self.files(&path);
            } else {
                let bytes = fs::read(&path).expect("it can be read");
                self.add(path.display().to_string(), String::from_utf8_lossy(&bytes));
            }
        }
    }

    /// Where a secret shows.
    fn leaks(&self, needles: &[String]) -> Vec<String> {
        let shows = |text: &str| needles.iter().find_map(|needle| text.find(needle.as_str()));
        let around = |text: &str, at: usize| {
            let line = text[..at].rfind('\n').map_or(0, |start| start + 1);
            text[line..].chars().take(300).collect::<String>()
        };
        let leak =
            |(place, text): &(String, String)| shows(text).map(|at| format!("{place}: {}", around(text, at)));
        self.0.iter().filter_map(leak).collect()
    }

    fn of(&self, place: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| name == place);
        found.map_or("", |(_, text)| text)
    }
}

#[test]
fn no_secret_shows_while_everything_goes_wrong() {
    let bed = Bed::new();
    let needles = bed.needles();
    let mut written = Written::default();
    let mut daemon = bed.daemon();
    ask_everything(&bed, &daemon, &mut written);
    assert_eq!(daemon.stop(), Some(0));
    written.add("the daemon's log", daemon.log());
    written.files(&daemon.directory().join("state"));
    written.files(&bed.logs());
    run_every_command(&bed, &mut written);

    // What was to go wrong did, and was written about.
    let runs = written.of("/api/v1/runs");
    for reason in
        ["auth_rejected", "auth_required", "connect_refused", "tls_untrusted", "tls_client_certificate"]
    {
        assert!(runs.contains(reason), "{reason}: {runs}");
    }
    assert!(written.of("the daemon's log").contains("\"level\":\"TRACE\""));
    assert!(written.0.len() > 80, "{} texts", written.0.len());
    let leaks = written.leaks(&needles);
    assert!(leaks.is_empty(), "{} of {} show a secret:\n{}", leaks.len(), written.0.len(), leaks.join("\n"));
    // Each needle is one that would be found.
    let planted = bed.planted();
    for needle in &needles {
        assert!(planted.leaks(std::slice::from_ref(needle)).len() == 1, "{needle:?} is planted nowhere");
    }
}

/// Every route, every run with its log, and what only somebody with a token may do.
fn ask_everything(bed: &Bed, daemon: &Daemon, written: &mut Written) {
    let login = ("Authorization", BASIC);
    let get = |path: &str| daemon.request("GET", path, &[login], "").body;
    let all_ran = testkit::poll_until(bed::PATIENCE, || {
        let runs = get("/api/v1/runs?probe=health");
        TARGETS.iter().all(|target| runs.contains(&format!("\"{target}\"")))
    });
    assert!(all_ran, "{}", daemon.log());
    let limits = fs::read_to_string(format!("/proc/{}/limits", daemon.pid())).expect("the daemon runs");
    let cores = limits.lines().find(|line| line.starts_with("Max core file size")).expect("it is there");
    assert_eq!(cores.split_whitespace().filter(|word| *word == "0").count(), 2, "{cores}");

    let bearer = format!("Bearer {TOKEN}");
    for token in [bearer.as_str(), WRONG_TOKEN, BASIC] {
        for target in TARGETS {
            let wanted = json!({ "probe": "server_info", "target": target, "wait": true }).to_string();
            let headers = [("Authorization", token), ("Content-Type", "application/json")];
            let answer = daemon.request("POST", "/api/v1/runs", &headers, &wanted);
            written.add(format!("POST for {target}"), answer.body);
        }
    }
    for config in bed.bad_configs() {
        daemon.rewrite(&config);
        let answer = daemon.request("POST", "/-/reload", &[login], "");
        assert_ne!(answer.status, 200, "{}", answer.body);
        written.add("a reload", answer.body);
    }
    for path in ["/", "/metrics", "/config", "/api/v1/targets", "/api/v1/probes", "/api/v1/runs", "/no/such"]
    {
        written.add(path, get(path));
    }
    for target in TARGETS {
        written.add("/probe", get(&format!("/probe?target={target}&probe=health&debug=true")));
    }
    let runs: Value = serde_json::from_str(written.of("/api/v1/runs")).expect("JSON");
    for run in runs["runs"].as_array().expect("a list") {
        written.add("one run", get(&format!("/api/v1/runs/{}", run["id"].as_str().expect("text"))));
    }
    written.add("without a login", daemon.get("/config").body);
}

fn run_every_command(bed: &Bed, written: &mut Written) {
    for target in TARGETS {
        for probe in ["health", "server_info", "config_audit", "client_census"] {
            let place = format!("run {probe} on {target}");
            written
                .output(&place, &bed.call(&["run", probe, "--target", target, "-vv", "--log-dir", "logs"]));
        }
        written.output("audit", &bed.call(&["audit", "--target", target, "--format", "markdown"]));
        written.output("acl", &bed.call(&["acl", "all", "--target", target]));
        let json = ["run", "all", "--target", target, "--quick", "--format", "json", "--allow", "observe"];
        written.output("run all", &bed.call(&json));
        written.output("restore", &bed.call(&["restore", "--target", target]));
    }
    for url in bed.urls() {
        written.output("run with a URL", &bed.call(&["run", "health", "--target", &url, "-vv"]));
        written.output("restore with a URL", &bed.call(&["restore", "--target", &url]));
        // Without its scheme it is taken for a name.
        let bare = url.split_once("://").map_or("", |(_, rest)| rest);
        written.output("rearm with a URL", &bed.call(&["rearm", "--target", &url]));
        written.output("run with a name", &bed.call(&["run", "health", "--target", bare]));
    }
    written.output("check", &bed.call(&["check"]));
    written.output("rearm", &bed.call(&["rearm"]));
    written.output("healthcheck", &bed.call(&["healthcheck"]));
    for config in bed.bad_configs() {
        for command in [&["check"][..], &["serve"], &["run", "health"]] {
            let output = bed.call_with(&config, command);
            assert_eq!(output.status.code(), Some(3), "{config}");
            written.output("a bad configuration", &output);
        }
    }
    written.files(&bed.logs());
}

/// The search itself: it finds what is there, whole or in a line.
#[test]
fn a_secret_that_shows_is_found() {
    let mut written = Written::default();
    written.add("a log", format!("first\nAUTH prober {MARK}-url refused\nlast"));
    written.add("another", "nothing");
    let leaks = written.leaks(&[MARK.to_owned()]);
    assert_eq!(leaks.len(), 1);
    assert!(leaks[0].starts_with("a log: AUTH prober"), "{leaks:?}");
}
