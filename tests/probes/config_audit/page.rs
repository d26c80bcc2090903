//! `redprobe audit`: the page for people, and its other forms.

use serde_json::Value;
use tempfile::TempDir;
use testkit::RedisServer;

use crate::probes::redprobe;

/// Exit code and what was printed.
fn audit(arguments: &[&str]) -> (i32, String) {
    let state = TempDir::new().expect("a temporary directory can be made");
    let output = redprobe(state.path(), &[&["audit"], arguments].concat()).output().expect("it runs");
    (output.status.code().expect("it was not killed"), String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn what_fails_comes_first_with_its_remedy() {
    let server = RedisServer::with(&["--maxmemory-policy", "allkeys-lru"]);
    let url = server.url();
    let (code, text) = audit(&["--target", &url, "--profile", "buffer"]);
    assert_eq!(code, 2, "a critical check fails");
    let at = |words: &str| text.find(words).unwrap_or_else(|| panic!("{words} is missing:\n{text}"));
    let places = [
        at("Failing: "),
        at("  critical  M04"),
        at("CONFIG SET maxmemory-policy noeviction"),
        at("Worth a look: "),
        at("Not known: "),
    ];
    assert!(places.is_sorted(), "{text}");
    assert!(text.trim_end().lines().any(|line| line.contains("not applicable here")), "{text}");
}

#[test]
fn json_is_the_report_and_markdown_a_page() {
    let server = RedisServer::start();
    let url = server.url();
    let (_, json) = audit(&["--target", &url, "--format", "json"]);
    let report: Value = serde_json::from_str(&json).expect("one object");
    assert!(report["runs"][0]["checks"].as_array().is_some_and(|checks| checks.len() > 150));
    let (_, page) = audit(&["--target", &url, "--format", "markdown"]);
    assert!(page.starts_with("# config_audit on ") && page.contains("\n## Failing: "), "{page}");
}
