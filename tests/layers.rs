//! Who may use whom: the borders between the folders, held by reading the source as text.
//!
//! The rules are data, in `layers/rules.rs`; each carries the reason it exists and an example that breaks it. What a
//! lint can say belongs into `clippy.toml`, with its reason, and not here.

use std::{fs, path::Path};

mod rules;
mod source;

use rules::{RULES, Rule};
use source::Source;

/// Every Rust file of ours, with its path from the root of the repository.
fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut open: Vec<_> = ["src", "crates", "tests", "fuzz"]
        .iter()
        .map(|folder| root.join(folder))
        .filter(|p| p.is_dir())
        .collect();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of ours can be read") {
            let path = entry.expect("its entries too").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target") {
                    open.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("it is below the root").display().to_string();
                found.push(Source::new(&name, &fs::read_to_string(&path).expect("a source is text")));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(found.len() > 30, "only {} sources found: the walk is broken", found.len());
    found
}

fn breaches(rule: &Rule, source: &Source) -> Vec<String> {
    if !(rule.applies)(&source.path) {
        return Vec::new();
    }
    (rule.finds)(source)
        .into_iter()
        .map(|(line, what)| format!("{}:{line}: {what}\n    {}: {}\n", source.path, rule.name, rule.why))
        .collect()
}

#[test]
fn every_source_keeps_every_rule() {
    let sources = sources();
    let broken: Vec<String> =
        RULES.iter().flat_map(|rule| sources.iter().flat_map(|source| breaches(rule, source))).collect();
    assert!(broken.is_empty(), "\n{}", broken.concat());
}

#[test]
fn every_rule_catches_its_breach() {
    for rule in RULES {
        let (path, text) = rule.breach;
        let source = Source::new(path, &text());
        assert!(!breaches(rule, &source).is_empty(), "rule {:?} lets its own example pass", rule.name);
    }
}

#[test]
fn the_measuring_core_depends_on_nothing_of_the_daemon() {
    const FOREIGN: [&str; 9] = [
        "axum",
        "hyper",
        "tower",
        "prometheus",
        "config",
        "clap",
        "tokio-cron-scheduler",
        "sysinfo",
        "anyhow",
    ];
    let manifest: toml::Table =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/measure/Cargo.toml"))
            .expect("the manifest is there")
            .parse()
            .expect("and is TOML");
    let dependencies = manifest["dependencies"].as_table().expect("it has dependencies");
    for foreign in FOREIGN {
        assert!(
            !dependencies.contains_key(foreign),
            "crates/measure depends on {foreign}: the core measures, and must stay usable without HTTP, Prometheus or a config file"
        );
    }
}

#[test]
fn one_tls_provider_is_in_the_lock_file() {
    let lock =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock")).expect("it is there");
    for other in ["aws-lc-rs", "aws-lc-sys", "openssl-sys", "native-tls"] {
        assert!(
            !lock.contains(&format!("name = \"{other}\"\n")),
            "{other} came into Cargo.lock: with two providers rustls cannot choose, and rediss:// panics; use ring alone"
        );
    }
}
