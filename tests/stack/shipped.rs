//! The shipped configuration of Prometheus and Alertmanager and the shipped rules, in a temporary copy that is in a
//! hurry: other addresses, shorter times, nothing else.
//!
//! A minute of the shipped files is a second here, so that what is longer than something else stays longer. What the
//! rules say is tested in `alerts/tests/`; the programs are started in `bed.rs`.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};

/// How much faster time goes in the copy.
const HURRY: u32 = 60;

/// Scrapes and evaluations; the shipped quarter of a minute would be this as well.
const INTERVAL: &str = "1s";

/// `config/prometheus.yml` for one daemon and one Alertmanager, with the rules beside it.
pub(super) fn prometheus(directory: &Path, daemon: SocketAddr, alertmanager: SocketAddr) -> PathBuf {
    let mut config = read("config/prometheus.yml");
    let global = config["global"].as_object_mut().expect("it has a section global");
    for key in ["scrape_interval", "scrape_timeout", "evaluation_interval"] {
        global.insert(key.into(), INTERVAL.into());
    }
    config["scrape_configs"].as_array_mut().expect("it scrapes something").retain_mut(|scrape| {
        let daemons = scrape["job_name"] == "redprobe";
        let fields = scrape.as_object_mut().expect("a mapping");
        fields.remove("scrape_interval");
        fields.remove("scrape_timeout");
        fields.insert("static_configs".into(), json!([{ "targets": [daemon.to_string()] }]));
        daemons
    });
    let managers = &mut config["alerting"]["alertmanagers"];
    assert!(managers.as_array().is_some_and(|all| !all.is_empty()), "it tells no Alertmanager");
    *managers = json!([{ "static_configs": [{ "targets": [alertmanager.to_string()] }] }]);
    assert!(config["rule_files"].as_array().is_some_and(|all| !all.is_empty()), "it reads no rules");
    config["rule_files"] = json!([rules(directory).join("*.yml").display().to_string()]);
    write(directory, "prometheus.yml", &config)
}

/// `config/alertmanager.yml` with every webhook at this address.
pub(super) fn alertmanager(directory: &Path, webhook: &str) -> PathBuf {
    let mut config = read("config/alertmanager.yml");
    hurry_route(&mut config["route"]);
    let mut webhooks = 0;
    for receiver in config["receivers"].as_array_mut().expect("it has receivers") {
        for hook in receiver["webhook_configs"].as_array_mut().into_iter().flatten() {
            hook["url"] = webhook.into();
            webhooks += 1;
        }
    }
    assert!(webhooks > 0, "it has no webhook");
    write(directory, "alertmanager.yml", &config)
}

/// The rules of `alerts/`, each `for:` shortened; returns the directory.
fn rules(directory: &Path) -> PathBuf {
    let copies = directory.join("rules");
    fs::create_dir(&copies).expect("the directory can be written");
    let mut alerts = 0;
    for entry in fs::read_dir(root().join("alerts")).expect("the rules are there") {
        let name = entry.expect("it can be read").file_name().into_string().expect("a plain name");
        if !name.ends_with(".rules.yml") {
            continue;
        }
        let mut file = read(&format!("alerts/{name}"));
        for group in file["groups"].as_array_mut().expect("it has groups") {
            hurry(group, &["interval"]);
            for rule in group["rules"].as_array_mut().expect("a group has rules") {
                hurry(rule, &["for", "keep_firing_for"]);
                alerts += usize::from(rule["alert"].is_string());
            }
        }
        write(&copies, &name, &file);
    }
    assert!(alerts > 0, "no rule alerts");
    copies
}

fn hurry_route(route: &mut Value) {
    hurry(route, &["group_wait", "group_interval"]);
    for child in route["routes"].as_array_mut().into_iter().flatten() {
        hurry_route(child);
    }
}

/// Shortens these durations of a mapping, where it has them.
fn hurry(mapping: &mut Value, keys: &[&str]) {
    let mapping = mapping.as_object_mut().expect("a mapping");
    for key in keys {
        let Some(value) = mapping.get_mut(*key) else { continue };
        let text = value.as_str().unwrap_or_else(|| panic!("{key} is not text: {value}"));
        let long: Duration = humantime::parse_duration(text).unwrap_or_else(|error| panic!("{key}: {error}"));
        *value = format!("{}ms", (long / HURRY).as_micros() / 1000).into();
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// JSON is YAML.
fn write(directory: &Path, name: &str, value: &Value) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, value.to_string()).expect("the directory can be written");
    path
}
