//! The services of the compose file without containers: the same arguments, the same files, the same health checks, with
//! the places of the containers mapped to places here.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;

use super::{
    at,
    compose::Compose,
    process::{Process, free_port, get},
    read,
    secrets::{Configured, with_secrets},
};
use crate::support::redprobe;

/// What is wrong with the machine of the tests, not with the file: an old server of a distribution that mends it under
/// its number, a test that runs as root.
const NOT_OF_THE_FILE: [&str; 2] = ["S25", "S33"];

fn text(path: &Path) -> String {
    path.to_str().expect("the path is text").to_owned()
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

/// The Redis of the compose file, with the users and passwords of `config`.
fn redis(config: &Configured) -> (Process, u16) {
    let port = free_port();
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    // As strict as it should be on a machine; what git checks out is not.
    let file = directory.path().join("redis.conf");
    fs::write(&file, read("config/redis.conf")).expect("it can be written");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("it is ours");
    let users = config.directory.path().join("redis_users.acl");
    let mut command: Vec<String> = Compose::read().services["redis"].command.clone();
    for word in &mut command {
        *word = match word.as_str() {
            "/usr/local/etc/redis/redis.conf" => text(&file),
            "/run/secrets/redis_users" => text(&users),
            other => other.to_owned(),
        };
    }
    let place = ["--port", &port.to_string(), "--bind", "127.0.0.1"].map(str::to_owned);
    let mut process = Process::start(&[command, place.to_vec()].concat(), directory);
    process.await_that(|| healthy(config, port).status.success());
    (process, port)
}

/// The health check of the compose file.
fn healthy(config: &Configured, port: u16) -> Output {
    let test = Compose::read().services["redis"].healthcheck.test.clone();
    assert_eq!(test[0], "CMD-SHELL");
    let line = test[1]
        .replace("$$", "$")
        .replace("/run/secrets", &text(config.directory.path()))
        .replace("redis-cli ", &format!("redis-cli -p {port} "));
    Command::new("sh").args(["-c", &line]).output().expect("there is a shell")
}

/// compose.toml with the addresses of the containers mapped to these.
fn configured(redis: Option<u16>) -> (Configured, u16) {
    let listen = free_port();
    let config = read("config/examples/compose.toml");
    for address in ["@redis:6379\"", "\"0.0.0.0:19121\""] {
        assert!(config.contains(address), "compose.toml has no {address}");
    }
    let config = config
        .replace("@redis:6379", &format!("@127.0.0.1:{}", redis.unwrap_or(1)))
        .replace("0.0.0.0:19121", &format!("127.0.0.1:{listen}"));
    (with_secrets(&config), listen)
}

/// The same configuration for a server that was started with its secrets.
fn pointed_at(config: &Configured, port: u16) {
    let text = fs::read_to_string(&config.file).expect("it was written");
    fs::write(&config.file, text.replace("@127.0.0.1:1\"", &format!("@127.0.0.1:{port}\""))).expect("again");
}

#[test]
fn an_audit_has_nothing_against_the_redis() {
    let (config, _) = configured(None);
    let (process, port) = redis(&config);
    pointed_at(&config, port);
    let arguments = ["audit", "--config", &text(&config.file), "--format", "json"].map(str::to_owned);
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let output = redprobe(&arguments).output().expect("it starts");
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
    let checks = report["runs"][0]["checks"].as_array().expect("a list");
    let of = |status: &str| -> Vec<String> {
        let checks = checks.iter().filter(|check| check["status"] == status);
        let known = |id: &str| NOT_OF_THE_FILE.contains(&id) || ("S27".."S33").contains(&id);
        let lines = checks.filter(|check| !known(check["check"].as_str().expect("text")));
        lines.map(|check| format!("{} {}: {}", check["severity"], check["check"], check["title"])).collect()
    };
    assert_eq!(of("fail"), [] as [&str; 0], "{}", process.log());
    assert_eq!(
        of("warn").iter().filter(|line| line.starts_with("\"critical")).count(),
        0,
        "{:?}",
        of("warn")
    );
    // It did ask: settings and users could be read.
    assert!(checks.iter().filter(|check| check["status"] == "pass").count() > 80, "{}", said(&output));
}

#[test]
fn nobody_gets_into_the_redis_without_a_password() {
    let (config, _) = configured(None);
    let (_process, port) = redis(&config);
    let cli = |words: &[&str]| {
        let port = port.to_string();
        said(&Command::new("redis-cli").args(["-p", &port]).args(words).output().expect("redis-cli runs"))
    };
    assert!(cli(&["PING"]).contains("NOAUTH"));
    assert!(cli(&["--no-auth-warning", "--user", "prober", "--pass", "guess", "PING"]).contains("WRONGPASS"));
    let password = fs::read_to_string(config.directory.path().join("redis_password")).expect("it was made");
    let login = ["--no-auth-warning", "--user", "prober", "--pass", &password];
    assert!(cli(&[&login[..], &["SET", "of_another", "1"]].concat()).contains("NOPERM"));
    // The default user is off, and has no way back in.
    let user = cli(&[&login[..], &["ACL", "GETUSER", "default"]].concat());
    assert!(user.contains("off") && !user.contains("nopass"), "{user}");

    fs::set_permissions(config.directory.path().join("redis_password"), fs::Permissions::from_mode(0o644))
        .unwrap();
    fs::write(config.directory.path().join("redis_password"), "another").expect("it can be written");
    assert!(!healthy(&config, port).status.success(), "the health check takes any answer");
}

#[test]
fn redprobe_runs_all_that_its_configuration_says() {
    let (config, listen) = configured(None);
    let (_redis, port) = redis(&config);
    pointed_at(&config, port);
    let file = text(&config.file);
    let healthcheck = || redprobe(&["healthcheck", "--config", &file]).output().expect("it starts");
    assert!(!healthcheck().status.success(), "nobody listens yet");

    let program = env!("CARGO_BIN_EXE_redprobe").to_owned();
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let words = [program, "serve".into(), "--config".into(), file.clone()];
    let mut daemon = Process::start(&words, directory);
    daemon.await_that(|| get(listen, "/-/ready").is_some());
    let check = healthcheck();
    assert!(check.status.success(), "{}", said(&check));
    daemon.await_that(|| {
        let metrics = get(listen, "/metrics").unwrap_or_default();
        ["redprobe_up{", "redprobe_run_success{target=\"cache\",probe=\"server_info\"}"]
            .iter()
            .all(|series| metrics.lines().any(|line| line.starts_with(series) && line.ends_with(" 1")))
    });
    // Neither a grant that is missing nor one too many, and no setting that does not fit the target.
    let log = daemon.log();
    for word in ["WARN", "ERROR", "may do more", "lacks"] {
        assert!(!log.contains(word), "{word}: {log}");
    }
    let state = config.directory.path().join("state");
    assert!(state.join("serve.lock").exists(), "its state is elsewhere");
}

#[test]
fn prometheus_and_alertmanager_start_with_what_is_mounted() {
    for (name, program, address) in [
        ("prometheus", "prometheus", "--web.listen-address"),
        ("alertmanager", "prometheus-alertmanager", "--web.listen-address"),
    ] {
        let service = &Compose::read().services[name];
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        // The mounts: what the container sees at a place is linked there below the directory.
        for volume in &service.volumes {
            let mut parts = volume.split(':');
            let (source, place) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let place = directory.path().join(place.trim_start_matches('/'));
            fs::create_dir_all(place.parent().expect("it has one")).expect("it can be made");
            if source.starts_with("./") {
                std::os::unix::fs::symlink(at(source), place).expect("it can be linked");
            } else {
                fs::create_dir_all(place).expect("it can be made");
            }
        }
        let port = free_port();
        let here = text(directory.path());
        let mapped = service.command.iter().map(|word| word.replacen("=/", &format!("={here}/"), 1));
        let words: Vec<String> = [program.to_owned()]
            .into_iter()
            .chain(mapped)
            .chain([format!("{address}=127.0.0.1:{port}")])
            .collect();
        let test = &service.healthcheck.test;
        assert_eq!(test[..2], ["CMD", "wget"], "{name}");
        let url = test.last().expect("it has words");
        let (_, path) = url.trim_start_matches("http://").split_once('/').expect("a path");
        let mut process = Process::start(&words, directory);
        process.await_that(|| get(port, &format!("/{path}")).is_some());
        if name == "prometheus" {
            process.await_that(|| {
                let rules = get(port, "/api/v1/rules").unwrap_or_default();
                rules.contains("RedprobeWatchdog") && rules.contains("\"type\":\"recording\"")
            });
        }
    }
}
