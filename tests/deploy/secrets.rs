//! The secrets of the compose file: made by one script, named in one place, missed with a clear message.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use super::{at, compose::Compose, read};
use crate::support::{golden, redprobe};

/// A configuration in a directory of its own, with its secrets.
#[derive(Debug)]
pub(super) struct Configured {
    pub(super) file: PathBuf,
    pub(super) directory: TempDir,
}

/// This configuration with what it finds in /run/secrets made, and its state kept in a directory of its own.
pub(super) fn with_secrets(config: &str) -> Configured {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let made = make(directory.path(), &[]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let file = directory.path().join("redprobe.toml");
    let state = directory.path().join("state");
    let config = config
        .replace("/run/secrets", directory.path().to_str().expect("text"))
        .replace("/var/lib/redprobe", state.to_str().expect("text"));
    fs::write(&file, config).expect("it can be written");
    Configured { file, directory }
}

/// Runs the script that makes them.
fn make(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(at("scripts/make-secrets.sh"))
        .args(arguments)
        .env("SECRETS_DIR", directory)
        .output()
        .expect("the script runs")
}

fn contents(directory: &Path, name: &str) -> String {
    fs::read_to_string(directory.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn the_script_makes_what_the_compose_file_mounts() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let place = directory.path().join("secrets");
    let missing = make(&place, &["--check"]);
    let said = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(!missing.status.success() && !place.exists(), "{said}");
    for word in ["redis_password", "redis_users.acl", "scripts/make-secrets.sh makes them"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(make(&place, &[]).status.success());
    assert!(make(&place, &["--check"]).status.success());

    let compose = Compose::read();
    let mut mounted: Vec<_> = compose.secrets.values().map(|secret| secret.file.as_str()).collect();
    let mut made: Vec<_> = fs::read_dir(&place)
        .expect("it was made")
        .map(|entry| format!("./secrets/{}", entry.expect("it can be read").file_name().to_string_lossy()))
        .collect();
    made.sort();
    mounted.sort_unstable();
    assert_eq!(made, mounted);
    for secret in compose.secrets.keys() {
        let used = compose.services.values().any(|service| service.secrets.contains(secret));
        assert!(used, "no service mounts {secret}");
    }
    let mode = fs::metadata(&place).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "others can look into the directory");
    assert!(read(".gitignore").lines().any(|line| line == "/secrets"));
}

#[test]
fn secrets_are_random_stay_and_fit_together() {
    let (one, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    assert!(make(one.path(), &[]).status.success() && make(other.path(), &[]).status.success());
    let password = contents(one.path(), "redis_password");
    assert!(password.len() >= 32 && password != contents(other.path(), "redis_password"));
    assert_ne!(password, contents(one.path(), "api_token"));

    assert!(make(one.path(), &[]).status.success());
    assert_eq!(password, contents(one.path(), "redis_password"), "what was there was made anew");
    let users = contents(one.path(), "redis_users.acl");
    assert!(!users.contains("@SHA256@") && !users.contains(&password), "{users}");

    // One's own password, with the newline that an editor leaves.
    fs::remove_file(one.path().join("redis_password")).expect("it was there");
    fs::write(one.path().join("redis_password"), "password\n").expect("it can be written");
    assert!(make(one.path(), &[]).status.success());
    let users = contents(one.path(), "redis_users.acl");
    assert!(users.contains("#5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8 "), "{users}");
}

/// The rule is the one that `redprobe acl` prints for the server of the compose file.
#[test]
fn the_user_may_do_what_the_probes_need_and_no_more() {
    let arguments = ["acl", "all", "--allow", "load", "--user", "prober", "--server-version", "7.2"];
    let output = redprobe(&arguments).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    let user = text.lines().find(|line| line.starts_with("user prober on #SHA256 ")).expect("it is printed");
    let file =
        format!("user default off resetpass resetchannels -@all\n{}\n", user.replace("#SHA256", "#@SHA256@"));
    golden(&at("config/users.acl"), &file);
}

#[test]
fn a_secret_that_is_missing_is_named() {
    let config = with_secrets(&read("config/examples/compose.toml"));
    let check = || {
        let file = config.file.to_str().expect("text");
        redprobe(&["check", "--config", file]).output().expect("it starts")
    };
    assert!(check().status.success());
    fs::remove_file(config.directory.path().join("redis_password")).expect("it was there");
    let output = check();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3));
    assert!(said.contains("targets.cache.password_file: ") && said.contains("cannot be read"), "{said}");
}
