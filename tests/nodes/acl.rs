//! What `redprobe acl` prints for nodes is enough for their runs, and the command line runs on all nodes or on one.

use std::{fs, path::Path};

use tempfile::TempDir;
use testkit::{Cluster, Watched};

use super::*;
use crate::support::redprobe;

fn json(arguments: &[&str], codes: &[i32]) -> (Value, String) {
    let output = redprobe(arguments).output().expect("the binary under test can be started");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(codes.contains(&output.status.code().unwrap_or(-1)), "{arguments:?}: {stderr}");
    (serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON; {stderr}")), stderr)
}

/// Gives each server the user of the rule that is printed for `target`, which is then the one that it is asked as.
fn with_user<'a>(
    dir: &Path,
    target: &str,
    keys: &str,
    servers: impl Iterator<Item = &'a RedisServer>,
) -> (String, Value) {
    let path = dir.join("redprobe.toml");
    let state = dir.join("state").display().to_string();
    let write = |more: &str| {
        let text = format!("state_dir = {state:?}\n[targets.t]\nallow = \"load\"\n{keys}{more}");
        fs::write(&path, text).expect("the directory can be written");
    };
    write("");
    let file = path.display().to_string();
    let probes = ["health", "throughput"];
    let words =
        [&["acl"], &probes[..], &["--config", &file, "--target", target, "--format", "json"]].concat();
    let (rule, _) = json(&words, &[0]);
    let words = rule["acl_setuser"].as_str().expect("a rule").replace(">PASSWORD", ">watchword");
    let words: Vec<&str> = words.split_whitespace().collect();
    servers.for_each(|server| server.ok(&words));
    write("username = \"redprobe\"\npassword = \"watchword\"\n");
    (file, rule)
}

/// The nodes of the runs of both probes on `target`, all measured.
fn run(file: &str, target: &str) -> (Vec<String>, String) {
    let words =
        ["run", "health", "throughput", "--config", file, "--target", target, "--quick", "--format", "json"];
    let fast = ["--set", "duration=500ms", "--set", "key_space=100"];
    let (suite, stderr) = json(&[&words[..], &fast].concat(), &[0, 1, 2]);
    let runs = suite["runs"].as_array().expect("runs");
    let node = |run: &Value| {
        assert!(matches!(run["outcome"].as_str(), Some("passed" | "failed")), "{run:#}\n{stderr}");
        assert!(!run["errors"].to_string().contains("denied"), "{run:#}");
        run["node"].as_str().unwrap_or_default().to_owned()
    };
    (runs.iter().map(node).collect(), stderr)
}

#[test]
fn the_printed_rule_is_enough_for_nodes_of_a_cluster() {
    let (cluster, dir) = (Cluster::start(2, false), TempDir::new().unwrap());
    let [a, b] = [0, 1].map(|node| cluster.servers[node].address());
    let keys = format!("cluster_nodes = {{ a = \"{a}\", b = \"{b}\" }}\n");
    let (file, rule) = with_user(dir.path(), "t/a", &keys, cluster.servers.iter());
    let words = rule["acl_setuser"].as_str().unwrap_or_default();
    for word in ["~redprobe:{t/*}:*", "~redprobe:lease:*", "+cluster|nodes"] {
        assert!(words.split(' ').any(|granted| granted == word), "{word} is not in {words}");
    }
    let (mut nodes, stderr) = run(&file, "t");
    nodes.sort();
    assert_eq!(nodes, ["a", "a", "b", "b"]);
    assert!(!stderr.contains("lacks") && !stderr.contains("may do more"), "{stderr}");
    assert_eq!(run(&file, "t/b").0, ["b", "b"]);
    for server in &cluster.servers {
        assert_eq!(server.denied(), [] as [&str; 0]);
        assert_eq!(server.find_info("errorstat_MOVED"), None);
        assert_eq!(server.keys(), [] as [&str; 0]);
    }
    // Without its slots it is only looked at, and that is said.
    cluster.servers[0].ok(&["ACL", "SETUSER", "redprobe", "-cluster|nodes"]);
    let words = ["run", "throughput", "--config", &file, "--target", "t/a", "--format", "json"];
    let (suite, stderr) = json(&words, &[3]);
    let run = &suite["runs"][0];
    assert_eq!(
        (run["outcome"].as_str(), run["reason"].as_str()),
        (Some("skipped"), Some("denied")),
        "{run:#}"
    );
    assert!(stderr.contains("+cluster|nodes"), "{stderr}");
}

#[test]
fn the_printed_rule_is_enough_behind_sentinels() {
    let (watched, dir) = (Watched::start(0), TempDir::new().unwrap());
    let (file, rule) = with_user(dir.path(), "t", &watched.keys(), watched.servers.iter());
    let words = rule["acl_setuser"].as_str().unwrap_or_default();
    assert!(words.contains("~redprobe:{t}:*") && words.contains("+role"), "{words}");
    assert!(rule["notes"].to_string().contains("+sentinel|get-master-addr-by-name"), "{rule:#}");
    let (nodes, stderr) = run(&file, "t/master");
    assert_eq!(nodes, ["master", "master"]);
    assert!(!stderr.contains("lacks") && !stderr.contains("may do more"), "{stderr}");
    assert_eq!(watched.servers[0].denied(), [] as [&str; 0]);
    // The grant is optional: who may not ask for the role believes INFO.
    watched.servers[0].ok(&["ACL", "SETUSER", "redprobe", "-role"]);
    assert_eq!(run(&file, "t").0, ["master", "master"]);
}
