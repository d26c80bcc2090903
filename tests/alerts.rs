//! `alerts/`, judged by promtool: the rules' own tests, and that every objective there is leads to exactly one alert.
//!
//! What an expression may ask for is held against the catalogue in `monitoring`; that alerts reach a receiver, in `stack`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use measure::report::{Direction, Severity};
use redprobe::probes::PROBES;
use serde_json::{Value, json};

fn alerts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("alerts")
}

/// Lets promtool run these tests; what it says where they fail.
fn promtool(tests: &Path) -> Result<(), String> {
    let output = Command::new("promtool")
        .args(["test", "rules"])
        .arg(tests)
        .output()
        .expect("promtool starts; `make test` installs it");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// Each file of tests by its own promtool, side by side: together they take half a minute of a processor.
#[test]
fn the_rules_pass_their_tests() {
    let folder = fs::read_dir(alerts().join("tests")).expect("the tests are there");
    let files: Vec<PathBuf> = folder.map(|entry| entry.expect("it can be read").path()).collect();
    assert!(files.len() > 5, "only {files:?}");
    std::thread::scope(|scope| {
        let runs: Vec<_> = files.iter().map(|file| scope.spawn(move || promtool(file))).collect();
        for run in runs {
            run.join().expect("no panic").unwrap_or_else(|said| panic!("{said}"));
        }
    });
}

/// The labels of one objective that was missed, as `/metrics` and Prometheus write them.
fn missed(probe: &str, objective: &str, severity: &str, direction: &str) -> String {
    format!(
        "{{job=\"redprobe\",instance=\"redprobe:19121\",target=\"orders\",probe=\"{probe}\",\
         objective=\"{objective}\",severity=\"{severity}\",direction=\"{direction}\"}}"
    )
}

/// One test of rules: this objective, and it alone, is missed for longer than any rule waits.
fn case(probe: &str, objective: &str, severity: &str, direction: &str) -> Value {
    let labels = missed(probe, objective, severity, direction);
    let series = |metric: &str, value: &str| json!({"series": format!("{metric}{labels}"), "values": value});
    let one = format!("{{severity=\"{severity}\"}}");
    let firing = "ALERTS{alertstate=\"firing\",alertname!=\"RedprobeWatchdog\"}";
    json!({
        "name": format!("{probe}: {objective}"),
        "interval": "1m",
        "input_series": [
            {"series": "up{job=\"redprobe\",instance=\"redprobe:19121\"}", "values": "1x40"},
            series("redprobe_objective_met", "0x40"),
            series("redprobe_objective_observed", "7x40"),
            series("redprobe_objective_limit", "3x40"),
        ],
        "promql_expr_test": [{
            "expr": format!("count by (severity) ({firing})"),
            "eval_time": "40m",
            "exp_samples": [{"labels": one, "value": 1}],
        }],
    })
}

#[test]
fn every_objective_leads_to_exactly_one_alert_of_its_severity() {
    let mut cases = Vec::new();
    for probe in PROBES {
        for objective in probe.objectives {
            let severity = match objective.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Critical => "critical",
            };
            let direction = match objective.direction {
                Direction::Min => "min",
                Direction::Max => "max",
            };
            cases.push(case(probe.name, objective.name, severity, direction));
        }
    }
    assert!(cases.len() > 40, "only {} objectives", cases.len());
    let rules = ["recording.rules.yml", "redprobe.rules.yml"].map(|file| alerts().join(file));
    // JSON is YAML.
    let tests = json!({"rule_files": rules, "evaluation_interval": "1m", "tests": cases});
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("objectives.yml");
    fs::write(&file, tests.to_string()).expect("it can be written");
    promtool(&file).unwrap_or_else(|said| panic!("{said}"));
}
