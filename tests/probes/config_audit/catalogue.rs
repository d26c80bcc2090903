//! The audit's catalogue against real servers: a misspelt name would make a check silently inapplicable, for ever.

use std::{collections::BTreeSet, fs, path::Path};

use testkit::{RedisServer, poll_until};

/// Settings that the installed server does not have, and what brought or took them.
const SETTINGS_ELSEWHERE: &[(&str, &str)] = &[
    ("set-max-listpack-entries", "from Redis 7.2"),
    ("set-max-listpack-value", "from Redis 7.2"),
    ("max-new-connections-per-cycle", "from Redis 7.4, Valkey 8.0"),
    ("max-new-tls-connections-per-cycle", "from Redis 7.4, Valkey 8.0"),
    ("hide-user-data-from-log", "from Redis 7.4, Valkey 8.0"),
    ("commandlog-request-larger-than", "from Valkey 8.1"),
    ("commandlog-reply-larger-than", "from Valkey 8.1"),
];

/// Fields of INFO that the installed server does not have, and what brought them.
const FIELDS_ELSEWHERE: &[(&str, &str)] = &[
    ("eventloop_duration_sum", "from Redis 7.2"),
    ("acl_access_denied_auth", "from Redis 7.2"),
    ("acl_access_denied_cmd", "from Redis 7.2"),
    ("acl_access_denied_key", "from Redis 7.2"),
    ("acl_access_denied_channel", "from Redis 7.2"),
    ("client_output_buffer_limit_disconnections", "from Redis 7.4, Valkey 8.0"),
    ("client_query_buffer_limit_disconnections", "from Redis 7.4, Valkey 8.0"),
    ("slowlog_commands_count", "from Redis 8.8"),
    ("slowlog_commands_time_ms_max", "from Redis 8.8"),
];

/// Every table of the catalogue as text, without comments.
fn tables() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/probes/config_audit/catalogue");
    let mut tables = Vec::new();
    for entry in fs::read_dir(&folder).expect("the catalogue is a folder") {
        let path = entry.expect("it can be listed").path();
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        if name != "versions" {
            tables.push((name, fs::read_to_string(&path).expect("it can be read")));
        }
    }
    assert!(tables.len() >= 8, "{folder:?}");
    tables
}

/// The names that follow `prefix` in rules and texts, up to what cannot be part of a name.
fn names(prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (_, table) in tables() {
        for (at, _) in table.match_indices(prefix) {
            let before = table[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || "_.-/".contains(c)) {
                continue;
            }
            let rest = &table[at + prefix.len()..];
            let end =
                rest.find(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).unwrap_or(rest.len());
            // `redis.conf` and the like are prose.
            if rest[..end].starts_with(|c: char| c.is_ascii_lowercase()) {
                found.insert(rest[..end].to_owned());
            }
        }
    }
    found
}

/// The names of settings: in rules, and under the key `setting`.
fn settings() -> BTreeSet<String> {
    let mut found = names("config.");
    for (_, table) in tables() {
        let lines = table.lines().filter_map(|line| line.strip_prefix("setting = \""));
        found.extend(lines.filter_map(|rest| rest.strip_suffix('"')).map(str::to_owned));
    }
    found
}

#[test]
fn every_setting_is_one_that_a_server_has() {
    let server = RedisServer::start();
    let settings = settings();
    assert!(settings.len() > 90, "{}", settings.len());
    for setting in &settings {
        let known = !server.cli(&["CONFIG", "GET", setting]).is_empty();
        let elsewhere = SETTINGS_ELSEWHERE.iter().find(|(name, _)| name == setting);
        assert!(known || elsewhere.is_some(), "{setting} is known neither here nor as of another version");
    }
    for (name, _) in SETTINGS_ELSEWHERE {
        assert!(settings.contains(*name), "{name} is listed and not used");
    }
}

#[test]
fn every_field_is_one_that_a_server_tells() {
    let servers = [
        RedisServer::with(&["--appendonly", "yes", "--min-replicas-to-write", "1"]),
        RedisServer::with(&["--cluster-enabled", "yes"]),
    ];
    let master = servers[0].address();
    let replica = RedisServer::with(&["--replicaof", &master.ip().to_string(), &master.port().to_string()]);
    let up = || replica.find_info("master_link_status").is_some_and(|status| status == "up");
    assert!(poll_until(std::time::Duration::from_secs(20), up), "the replica connects");
    let mut told: BTreeSet<String> = BTreeSet::new();
    for server in servers.iter().chain([&replica]) {
        let info = server.cli(&["INFO", "everything"]);
        told.extend(info.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()));
    }
    let prefixes = ["info.", "increase.", "age."];
    let mut fields: BTreeSet<String> = prefixes.into_iter().flat_map(names).collect();
    // The counters of a command or an error are named by a third part.
    fields.retain(|field| field != "commands" && field != "errors");
    assert!(fields.len() > 70, "{}", fields.len());
    for field in &fields {
        let elsewhere = FIELDS_ELSEWHERE.iter().find(|(name, _)| name == field);
        let known = told.contains(field);
        assert!(known || elsewhere.is_some(), "{field} is known neither here nor as of another version");
    }
    for (name, _) in FIELDS_ELSEWHERE {
        assert!(fields.contains(*name), "{name} is listed and not used");
    }
}

/// `CONFIG SET name value` as remedies have it, with the name of its table; not `CONFIG SET name higher` and other prose.
fn commands() -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for (file, table) in tables() {
        for remedy in table.lines().filter_map(|line| line.strip_prefix("remedy = ")) {
            for command in remedy.split("CONFIG SET ").skip(1) {
                let command = command.replace("\\\"", "\"");
                let (name, rest) = command.split_once(' ').unwrap_or((&command, ""));
                let value = match rest.strip_prefix('"') {
                    Some(quoted) => quoted.split('"').next().unwrap_or_default(),
                    None => rest
                        .split([' ', '"'])
                        .next()
                        .unwrap_or_default()
                        .trim_end_matches([',', ';', '.', ':']),
                };
                let prose = ["to", "for", "higher", "lower", "only"].contains(&value);
                let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                if is_name && !prose {
                    found.push((file.clone(), vec![name.to_owned(), value.to_owned()]));
                }
            }
        }
    }
    found
}

#[test]
fn every_remedy_that_sets_something_is_accepted() {
    let server = RedisServer::start();
    let commands = commands();
    assert!(commands.len() > 70, "{}", commands.len());
    let mut wrong = Vec::new();
    for (file, command) in &commands {
        let [name, value] = &command[..] else { unreachable!("a name and a value") };
        let elsewhere = SETTINGS_ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == name);
        // This server has no certificate, without its port it would answer nobody any more, and not every build can
        // defragment, which the remedy says.
        if elsewhere || name.starts_with("tls-") || ["port", "activedefrag"].contains(&&**name) {
            continue;
        }
        let answer = server.cli(&["CONFIG", "SET", name, value]);
        if answer != "OK" {
            wrong.push(format!("{file}: CONFIG SET {name} {value:?}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
