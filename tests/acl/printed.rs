//! What `redprobe acl` prints: text, JSON, versions, databases, and a server that lacks a command.

use std::path::Path;

use measure::{Effect, grant::OLDEST};
use redprobe::{
    acl::{Needs, Wanted},
    probes::{self, PROBES},
};
use serde_json::Value;
use testkit::RedisServer;

use super::acl;
use crate::{
    probes::run,
    support::{golden, redprobe},
};

/// Whole for a current server; of the others, the rules alone.
#[test]
fn the_rules_of_each_version_are_as_they_were() {
    let mut shown = acl(&["all"]);
    for version in ["6.2", "7.0", "7.2", "8.0", "valkey 8"] {
        shown += &format!("\n=== {version}\n");
        let text = acl(&["all", "--server-version", version, "--user", "prober"]);
        let rules = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        rules.for_each(|line| shown.extend([line, "\n"]));
    }
    golden(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/acl.txt"), &shown);
}

/// A call of the wrong form would be an error for `ACL DRYRUN`, and its grant never found missing.
#[test]
fn every_declared_call_is_one_that_the_server_knows() {
    let server = RedisServer::start();
    let wanted: Vec<_> = PROBES.iter().map(|kind| Wanted::with_defaults(kind, Effect::Disrupt)).collect();
    let around = Needs::of(&wanted, 1);
    let around = around.iter().map(|need| (need.who, need.grant));
    let own = PROBES.iter().flat_map(|kind| kind.commands.iter().map(|grant| (kind.name, *grant)));
    for (who, grant) in around.chain(own) {
        assert!(grant.since >= OLDEST && !grant.to.ends_with('.'), "{who}: {grant:?}");
        assert!(
            grant.command.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'|'),
            "{who}: {grant:?}"
        );
        if let Some(kind) = probes::find(who) {
            assert!(grant.effect <= kind.reach, "{who}: {grant:?}");
            let known = |setting: &str| {
                let setting = setting.split('=').next();
                kind.settings.iter().any(|(name, _)| Some(*name) == setting)
            };
            assert!(grant.setting.is_none_or(known), "{who}: {grant:?}");
        }
        if grant.since <= (7, 0) {
            let call = grant.words("redprobe:{a}:b", "redprobe:lease");
            let said = server.cli(&[&["ACL", "DRYRUN", "default"], &call[..]].concat());
            assert_eq!(said, "OK", "{who}: {call:?}");
        }
    }
}

/// With the default settings nothing is changed on a server, and no rule allows it.
#[test]
fn versions_and_settings_decide_what_is_in_a_rule() {
    let rule = |version: &str| acl(&["all", "--server-version", version]);
    assert!(!rule("6.2").contains("dryrun") && rule("7.0").contains("+acl|dryrun"));
    for version in ["6.2", "8.0", "valkey 9.0"] {
        for word in ["+config|set", "+client|kill", "+@"] {
            assert!(!rule(version).contains(word), "{word} for {version}");
        }
    }
    assert!(rule("5.0").contains("# Note: Redis 5.0 is older than 6.2"));
    assert!(rule("keydb 6.3").contains("# Note: KeyDB 6.3 is not Redis"));
}

/// What cannot be narrowed down is said.
#[test]
fn a_setting_that_changes_the_server_costs_a_grant_and_a_note() {
    let server = RedisServer::start();
    let url = server.url();
    let with = |more: &[&str]| {
        let arguments = ["memory_pressure", "--target", &url, "--allow", "disrupt"];
        acl(&[&arguments[..], more].concat())
    };
    let plain = with(&[]);
    assert!(!plain.contains("+config|set") && !plain.contains("# Note"), "{plain}");
    let changing = with(&["--set", "temp_maxmemory=64MB"]);
    for part in [
        "-@all +acl|dryrun +client|id +client|kill",
        " +config|get +config|set ",
        "# Note: whoever has +config|set can",
    ] {
        assert!(changing.contains(part), "{part}: {changing}");
    }
}

#[test]
fn a_line_of_users_acl_makes_the_same_user() {
    let server = RedisServer::start();
    let file = server.directory().join("users.acl");
    let text = acl(&["all", "--allow", "load"]);
    let line =
        |start: &str| text.lines().find(|line| line.starts_with(start)).expect("it is printed").to_owned();
    let hash = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    let user = line("user redprobe on #SHA256 ").replace("SHA256", hash);
    std::fs::write(&file, format!("{user}\n")).expect("it can be written");
    let by_file = RedisServer::with(&["--aclfile", file.to_str().expect("text")]);
    let made = line("ACL SETUSER redprobe reset on >PASSWORD ").replace("PASSWORD", "password");
    server.ok(&made.split(' ').collect::<Vec<_>>());
    let one = |server: &RedisServer| -> Vec<String> {
        let user = server.cli(&["ACL", "GETUSER", "redprobe"]);
        // For RESTORE alone, and said of a user only once it was reset.
        let words = user.split_whitespace().filter(|word| *word != "sanitize-payload");
        let mut words: Vec<_> = words.map(str::to_owned).collect();
        words.sort_unstable();
        words
    };
    assert_eq!(one(&by_file), one(&server));
}

#[test]
fn a_target_brings_its_name_its_user_its_effect_and_its_database() {
    let server = RedisServer::start();
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("redprobe.toml");
    let url = server.url().replace("://", "://prober:geheim@");
    let _ = server.user("prober", "geheim", "~* +@all");
    let config = format!("[targets.eu]\nurl = \"{url}/3\"\nallow = \"observe\"\n");
    std::fs::write(&file, config).expect("it can be written");
    let with = |more: &[&str]| {
        let arguments = ["health", "--config", file.to_str().expect("text"), "--target", "eu"];
        acl(&[&arguments[..], more].concat())
    };
    let text = with(&[]);
    assert!(
        text.contains("# The least for health (observe)\n# on Redis 7.") && text.contains(" (asked):\n"),
        "{text}"
    );
    assert!(text.contains("\nACL SETUSER prober reset on >PASSWORD resetchannels -@all "), "{text}");
    assert!(text.contains("+select") && !text.contains('~') && !text.contains("geheim"), "{text}");
    let touch = with(&["--allow", "touch", "--user", "other"]);
    assert!(touch.contains("\nuser other on #SHA256 resetchannels ~redprobe:{eu}:* -@all "), "{touch}");
    let json: Value = serde_json::from_str(&with(&["--format", "json"])).expect("it is JSON");
    assert_eq!((&json["target"], &json["user"]), (&"eu".into(), &"prober".into()));
    assert_eq!(json["probes"], serde_json::json!([{ "name": "health", "effect": "observe" }]));

    let line = with(&["--allow", "touch"]);
    let line = line
        .lines()
        .find(|line| line.starts_with("ACL "))
        .expect("it is printed")
        .replace("PASSWORD", "geheim");
    server.ok(&line.split(' ').collect::<Vec<_>>());
    let configured =
        ["health", "--config", file.to_str().expect("text"), "--target", "eu", "--allow", "touch"];
    run(&configured).expect("passed");
    assert_eq!(server.denied(), [] as [&str; 0]);
}

/// A rule with a command that is not there would be refused as a whole.
#[test]
fn a_command_that_the_server_has_not_is_left_out_and_named() {
    let server = RedisServer::with(&["--rename-command", "EXISTS", ""]);
    let text = acl(&["health", "--target", &server.url()]);
    assert!(text.contains("# Note: the target has no exists (renamed, or taken away)"), "{text}");
    assert!(!text.contains("+exists"), "{text}");
    let line = text.lines().find(|line| line.starts_with("ACL ")).expect("it is printed");
    server.ok(&line.split(' ').collect::<Vec<_>>());
}

#[test]
fn a_user_that_may_ask_nothing_gets_a_rule_all_the_same() {
    let server = RedisServer::start();
    let poor = server.user("poor", "word", "-@all +ping +info");
    let text = acl(&["server_info", "--target", &poor]);
    assert!(
        text.contains("on Redis 7.") && text.contains("# Note: the target denies COMMAND INFO"),
        "{text}"
    );
    let poorer = server.user("poorer", "word", "-@all +ping");
    let text = acl(&["server_info", "--target", &poorer]);
    assert!(
        text.contains("# Note: the target denies INFO; give its version with --server-version"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_is_said_with_how_to_mend_it() {
    let server = RedisServer::start();
    let (there, away) = (server.url(), "redis://127.0.0.1:1");
    for (arguments, told) in [
        (
            &["heath", "--allow", "much"][..],
            &["did you mean \"health\"?", "--allow: \"much\" is not one of"][..],
        ),
        (&["health", "--server-version", "new"], &["--server-version: \"new\" is no version"]),
        (&["health", "--user", "a b"], &["--user: \"a b\" is no user's name"]),
        (&["throughput", "--target", &there], &["add --allow load"]),
        (&["health", "--target", away], &["cannot ask the target: connect_refused"]),
        (&["health", "--set", "a=1"], &["--target"]),
    ] {
        let output = redprobe(&[&["acl"], arguments].concat()).output().expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0), "{arguments:?}");
        assert!(told.iter().all(|told| error.contains(told)), "{arguments:?}: {error}");
    }
}
