//! The documents against the program: commands, metrics and settings that they name must exist.
//!
//! Whether a sentence is true is for reviewers; whether a name is, for this file.

use std::{collections::BTreeSet, fs, path::Path};

use crate::support;

/// What people read first, and what they read at night.
const DOCUMENTS: [&str; 4] = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "alerts/runbook.md"];

fn read(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).expect("the document is there")
}

/// What the program prints for these arguments.
fn redprobe(arguments: &[&str]) -> String {
    let output = support::redprobe(arguments).output().expect("it starts");
    assert!(
        output.status.success(),
        "redprobe {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

/// The words made of `letters` in `text` that begin with `prefix`.
fn words<'a>(text: &'a str, prefix: &str, letters: fn(char) -> bool) -> BTreeSet<&'a str> {
    text.split(|c: char| !letters(c))
        .filter(|word| word.starts_with(prefix) && word.len() > prefix.len())
        .collect()
}

/// A document: its fenced blocks with their languages, and the text around them.
fn parts(text: &str) -> (Vec<(String, String)>, String) {
    let (mut blocks, mut prose) = (Vec::new(), String::new());
    let mut inside: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut inside, line.strip_prefix("```")) {
            (None, Some(language)) => inside = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(inside.take()),
            (Some((_, block)), None) => block.extend([line, "\n"]),
            (None, None) => prose.extend([line, "\n"]),
        }
    }
    (blocks, prose)
}

/// Every call of `program` in a document: lines of shell blocks, and code within the text. Without the program's name.
fn calls(text: &str, program: &str) -> BTreeSet<String> {
    let (blocks, prose) = parts(text);
    let shell = blocks.iter().filter(|(language, _)| ["sh", "console"].contains(&language.as_str()));
    let lines =
        shell.flat_map(|(_, block)| block.lines()).map(|line| line.strip_prefix("$ ").unwrap_or(line));
    let code = prose.split('`').skip(1).step_by(2);
    lines
        .chain(code)
        .filter_map(|call| call.strip_prefix(program)?.strip_prefix(' '))
        .map(|call| call.split(['|', '#', '>', '&']).next().unwrap_or_default().trim().to_owned())
        .collect()
}

#[test]
fn commands_and_options_in_the_documents_exist() {
    let mut shown = BTreeSet::new();
    for document in DOCUMENTS {
        for call in calls(&read(document), "redprobe") {
            let command = call.split_whitespace().next().unwrap_or_default().to_owned();
            let help = redprobe(&[&command, "--help"]);
            for option in words(&call, "--", |c| c.is_ascii_lowercase() || c == '-' || c == '.') {
                assert!(help.contains(option), "{document} says `redprobe {call}`, which has no {option}");
            }
            shown.insert(command);
        }
    }
    let mut help = String::new();
    for command in
        ["serve", "run", "check", "probes", "metrics", "default-config", "healthcheck", "completions", "acl"]
    {
        assert!(shown.contains(command), "no document shows `redprobe {command}`; they show {shown:?}");
        help += &redprobe(&[command, "--help"]);
    }
    // Options in the README's text on their own: `--quick`.
    let (_, prose) = parts(&read("README.md"));
    for option in prose.split('`').skip(1).step_by(2).filter(|code| code.starts_with("--")) {
        let name = option.split([' ', '=']).next().unwrap_or_default();
        assert!(help.contains(name), "README.md names the option `{option}`, which no command has");
    }
}

#[test]
fn make_targets_in_the_documents_exist() {
    let makefile = read("Makefile");
    let mut shown = 0;
    for document in DOCUMENTS.into_iter().chain(["CHANGELOG.md"]) {
        for call in calls(&read(document), "make") {
            let target = call.split_whitespace().next().unwrap_or_default();
            assert!(
                makefile.contains(&format!("\n{target}: ")),
                "{document} says `make {call}`, which the Makefile does not have"
            );
            shown += 1;
        }
    }
    assert!(shown > 5, "only {shown} calls of make found: the reader is broken");
}

#[test]
fn paths_in_the_documents_exist() {
    const FOLDERS: [&str; 10] = [
        "src/", "crates/", "tests/", "scripts/", "config/", "fuzz/", ".ci/", "alerts/", "grafana/", "deploy/",
    ];
    let mut shown = 0;
    for document in DOCUMENTS.into_iter().chain(["CHANGELOG.md"]) {
        let (_, prose) = parts(&read(document));
        for code in prose.split('`').skip(1).step_by(2) {
            if FOLDERS.iter().any(|folder| code.starts_with(folder)) && !code.contains(['<', ' ']) {
                let there = Path::new(env!("CARGO_MANIFEST_DIR")).join(code).exists();
                assert!(there, "{document} names {code}, which is not there");
                shown += 1;
            }
        }
    }
    assert!(shown > 20, "only {shown} paths found: the reader is broken");
}

#[test]
fn metrics_in_the_documents_are_in_the_catalogue() {
    let catalogue = redprobe(&["metrics", "--format", "json"]);
    let catalogue: serde_json::Value = serde_json::from_str(&catalogue).expect("the catalogue is JSON");
    let known: BTreeSet<&str> = catalogue
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|metric| metric["name"].as_str().expect("each has a name"))
        .collect();
    for document in DOCUMENTS {
        let text = read(document);
        for name in words(&text, "redprobe_", |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            let base =
                ["_bucket", "_sum", "_count"].iter().find_map(|part| name.strip_suffix(part)).unwrap_or(name);
            // A name with a trailing underscore stands for a family: `redprobe_server_info_…`.
            let family = name.ends_with('_') && known.iter().any(|metric| metric.starts_with(name));
            assert!(
                family || known.contains(name) || known.contains(base),
                "{document} names the metric {name}, which is not in the catalogue"
            );
        }
    }
}

#[test]
fn probes_in_the_readme_are_those_of_the_registry() {
    let probes: serde_json::Value =
        serde_json::from_str(&redprobe(&["probes", "--format", "json"])).expect("the list is JSON");
    let text = read("README.md");
    let table: BTreeSet<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .filter(|(_, rest)| {
            ["Observe", "Touch", "Load", "Disrupt"].iter().any(|effect| rest.starts_with(effect))
        })
        .map(|(name, _)| name)
        .collect();
    let registry: BTreeSet<&str> = probes
        .as_array()
        .expect("it is a list")
        .iter()
        .map(|probe| probe["name"].as_str().expect("each has a name"))
        .collect();
    assert_eq!(table, registry, "the table of probes in README.md is not the registry's");
}

#[test]
fn the_configuration_in_the_readme_is_good() {
    let (blocks, _) = parts(&read("README.md"));
    let examples: Vec<String> =
        blocks.into_iter().filter(|(language, _)| language == "toml").map(|(_, block)| block).collect();
    assert!(!examples.is_empty(), "README.md shows no configuration");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let certificate = testkit::Certificate::valid(&["localhost"]);
    for (number, example) in examples.iter().enumerate() {
        // Files of secrets are the reader's own; here there are some.
        let secret = folder.path().join("secret");
        fs::write(&secret, "secret").expect("it can be written");
        let example: String = example
            .lines()
            .map(|line| match line.split_once("_file = \"") {
                Some(("ca", _)) => format!("ca_file = {:?}\n", certificate.authority()),
                Some(("cert", _)) => format!("cert_file = {:?}\n", certificate.certificate()),
                Some(("key", _)) => format!("key_file = {:?}\n", certificate.key()),
                Some((key, _)) => format!("{key}_file = {:?}\n", secret.display().to_string()),
                None => format!("{line}\n"),
            })
            .collect();
        let path = folder.path().join(format!("{number}.toml"));
        fs::write(&path, example).expect("it can be written");
        redprobe(&["check", "--config", path.to_str().expect("the path is text")]);
    }
}
