//! `config_audit`: what it says of real servers. The catalogue's own names are held in `catalogue`; what people see on the
//! command line is in `page`.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use testkit::RedisServer;

use super::{Ran, ran, redprobe};

mod catalogue;
mod coverage;
mod denied;
mod drift;
mod packaged;
mod page;
mod planted;
mod secrets;
mod versions;

/// The shipped example.
fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config/examples/audit.toml")
}

/// A server that is set as the example expects, with further arguments.
fn as_expected(more: &[&str]) -> RedisServer {
    let set = [
        ["--maxmemory", "2gb"],
        ["--maxmemory-policy", "allkeys-lru"],
        ["--appendonly", "yes"],
        ["--databases", "1"],
    ];
    RedisServer::with(&[&set.concat(), more].concat())
}

/// Audits the server as the example says, with further arguments.
fn audit(server: &RedisServer, more: &[&str]) -> Ran {
    let state = TempDir::new().expect("a temporary directory can be made");
    let path = example().display().to_string();
    let arguments = [&["run", "config_audit", "--format", "json", "--config", &path], more].concat();
    let mut command = redprobe(state.path(), &arguments);
    command.env("REDPROBE__TARGETS__FIREHOSE__URL", server.url());
    ran(&command.output().expect("the binary was built with the tests"))
}

/// A check of a report.
#[track_caller]
fn check<'r>(run: &'r Value, id: &str) -> &'r Value {
    let mut checks = run["checks"].as_array().expect("a list").iter();
    checks.find(|check| check["check"] == id).unwrap_or_else(|| panic!("no check {id} in {run:#}"))
}

/// Fails unless every check is of the catalogue's shape: a known state, and a reason where there is no answer.
#[track_caller]
fn assert_well_formed(run: &Value) {
    let checks = run["checks"].as_array().expect("a list");
    assert!(checks.len() > 150, "{}", checks.len());
    for check in checks {
        let text = |field: &str| check[field].as_str().unwrap_or_else(|| panic!("no {field}: {check:#}"));
        for field in ["check", "title", "area", "expected", "actual", "why", "remedy", "source"] {
            assert!(!text(field).is_empty(), "{field} is empty: {check:#}");
        }
        let severities = ["critical", "high", "medium", "low", "info"];
        assert!(severities.contains(&text("severity")), "{check:#}");
        let actual = text("actual");
        let reasons: &[&str] = match text("status") {
            "pass" | "warn" | "fail" => continue,
            "unknown" => &["denied", "first_audit", "remote", "unreadable", "unclear"],
            "not_applicable" => &["version", "setup"],
            other => panic!("{other} is no state: {check:#}"),
        };
        let words = text("status").replace('_', " ");
        let said = reasons.iter().any(|reason| actual.starts_with(&format!("{words} ({reason}): ")));
        assert!(said, "{check:#}");
    }
}
