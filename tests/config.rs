//! Configuration from outside: every mistake with its message, where values come from, and the files that are shipped.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
};

use redprobe::config::{Mistake, Overrides, Plan, Schedule, default_file};
use secrecy::ExposeSecret;

use crate::support::{golden, redprobe};

/// The secret of the fixtures: no message may hold it.
const SECRET: &str = "hunter2";

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The plan of a file with this text, with an environment of its own.
fn plan_with(name: &str, text: &str, env: &[(&str, &str)]) -> Result<Plan, Vec<Mistake>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join(name);
    fs::write(&path, text).expect("it can be written");
    let mut env: HashMap<String, String> =
        env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    env.entry("STATE_DIRECTORY".into()).or_insert_with(|| "/tmp".into());
    Plan::load_with(Some(&path), env, &Overrides::default())
}

fn plan(text: &str) -> Plan {
    plan_with("redprobe.toml", text, &[]).expect("the configuration has no mistake")
}

/// What `/config` shows.
fn shown(plan: &Plan) -> serde_json::Value {
    serde_json::from_str(&plan.shown).expect("it is JSON")
}

fn password(plan: &Plan, target: &str) -> String {
    plan.targets[target]
        .endpoint
        .password
        .as_ref()
        .expect("there is one")
        .current()
        .expose_secret()
        .to_owned()
}

const TARGET: &str = "[targets.a]\nurl = \"redis://127.0.0.1\"\n";

/// Each file in tests/fixtures/bad-config, with the message that `redprobe check` has for it.
#[test]
fn every_mistake_has_its_message() {
    let dir = at("tests/fixtures/bad-config");
    let is_config = |path: &PathBuf| {
        path.extension().and_then(OsStr::to_str).is_some_and(|ext| ["toml", "yaml", "conf"].contains(&ext))
    };
    let mut files: Vec<PathBuf> =
        fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).filter(is_config).collect();
    files.sort();
    assert!(files.len() >= 80, "fixtures are missing: {} left", files.len());
    for file in files {
        let name = file.file_name().and_then(OsStr::to_str).unwrap();
        let output = redprobe(&["check", "--config", name])
            .current_dir(&dir)
            .env("STATE_DIRECTORY", "/tmp")
            .output()
            .expect("redprobe starts");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{name}: {said}");
        assert!(output.stdout.is_empty(), "{name}: mistakes belong on stderr");
        assert!(!said.contains(SECRET), "{name} shows a secret: {said}");
        assert!(said.lines().all(|line| line.starts_with("error: ")), "{name}: {said}");
        let many = [
            "cluster_beside_sentinels.toml",
            "cluster_nodes.toml",
            "many.toml",
            "node_unknown.toml",
            "sentinel_keys_without_sentinels.toml",
            "sentinels_alone.toml",
            "target_is_no_table.toml",
            "tls_all_at_once.toml",
            "tls_without_tls.toml",
        ];
        if !many.contains(&name) {
            assert_eq!(said.lines().count(), 1, "{name} has one mistake: {said}");
        }
        golden(&file.with_extension("txt"), &said);
    }
}

#[test]
fn a_missing_file_is_named() {
    let output = redprobe(&["check", "--config", "/no/such/redprobe.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("error: /no/such/redprobe.toml: cannot be read: No such file"), "{said}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let text = format!("{TARGET}[http]\nlisten = \"127.0.0.1:1\"\n");
    let plan = plan_with(
        "redprobe.toml",
        &text,
        &[
            ("REDPROBE__HTTP__LISTEN", "127.0.0.1:2"),
            ("REDPROBE__HTTP__MAX_CONNECTIONS", "7"),
            ("REDPROBE__TARGETS__A__RESPONSE_TIMEOUT", "9s"),
            ("REDPROBE__TARGETS__B__URL", "redis://127.0.0.2:7000"),
            ("REDPROBE__TARGETS__B__ALLOW", "load"),
            ("REDPROBE__JOBS__X__PROBE", "throughput"),
            ("REDPROBE__JOBS__X__TARGETS", "b"),
            ("REDPROBE__JOBS__X__SCHEDULE", "every 15m"),
            ("REDPROBE__JOBS__X__SETTINGS__WORKERS", "3"),
            ("REDPROBE__JOBS__X__SETTINGS__PHASES", "baseline, concurrent"),
            ("REDPROBE__JOBS__X__SETTINGS__MIX__READ", "90"),
            ("REDPROBE__JOBS__X__OBJECTIVES__SUSTAINED_P99", "20ms"),
            ("REDPROBE_CONFIG", "/not/a/key"),
        ],
    )
    .expect("every key can be reached");
    assert_eq!(plan.http.listen.to_string(), "127.0.0.1:2");
    assert_eq!(plan.http.max_connections, 7);
    assert_eq!(plan.targets["a"].endpoint.response_timeout.as_secs_f64(), 9.0);
    assert_eq!(plan.targets["b"].endpoint.address.to_string(), "127.0.0.2:7000");
    let job = plan.jobs.iter().find(|job| job.name == "x").unwrap();
    assert_eq!(job.settings["workers"], 3);
    assert_eq!(job.settings["phases"], serde_json::json!(["baseline", "concurrent"]));
    assert_eq!(job.settings["mix"]["read"], 90);
    let limit = job.limits.iter().find(|limit| limit.objective.name == "sustained_p99").unwrap();
    assert_eq!(limit.limit, 0.02);
}

#[test]
fn pools_are_those_of_their_targets() {
    let text = format!(
        "{TARGET}[targets.b]\nurl = \"redis://127.0.0.2\"\n\
         [pools.api]\nmatch = {{ name = \"api-*\" }}\nmax_connections = 15\ninstances = 4\n\
         [pools.jobs]\nmatch = {{ user = \"jobs\" }}\nmax_connections = 2\ntargets = [\"b\"]\n"
    );
    let env = [("REDPROBE__POOLS__API__MAX_CONNECTIONS", "20"), ("REDPROBE__POOLS__JOBS__MATCH__DB", "3")];
    let plan = plan_with("redprobe.toml", &text, &env).expect("it has no mistake");
    let pools = |target: &str| -> Vec<(String, u64)> {
        plan.targets[target].pools.iter().map(|pool| (pool.name.clone(), pool.capacity())).collect()
    };
    assert_eq!(pools("a"), [("api".into(), 80)]);
    assert_eq!(pools("b"), [("api".into(), 80), ("jobs".into(), 2)]);
    assert_eq!(shown(&plan)["pools"]["jobs"]["match"], serde_json::json!({ "user": "jobs", "db": 3 }));
}

#[test]
fn a_mistake_in_the_environment_says_so() {
    let mistakes = plan_with("redprobe.toml", TARGET, &[("REDPROBE__LIMITS__RUNS_KEPT", "few")]).unwrap_err();
    assert_eq!(
        mistakes,
        [Mistake::new(
            "limits.runs_kept",
            "\"few\" where a whole number, 0 or more, was expected (from the environment)"
        )]
    );
}

#[test]
fn a_key_of_the_environment_that_leads_nowhere_is_a_mistake() {
    let env = [("REDPROBE__HTP__LISTEN", "127.0.0.1:2"), ("REDPROBE__TARGETS__A[__URL", SECRET)];
    let mistakes = plan_with("redprobe.toml", TARGET, &env).unwrap_err();
    let said: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    assert_eq!(said[0], "htp: unknown key; did you mean \"http\"? (from the environment)");
    assert!(said[1].starts_with("targets.a[.url: unknown key; the keys here are "), "{said:?}");
    assert!(said.len() == 2 && !said.concat().contains(SECRET), "{said:?}");
}

#[test]
fn flags_win_over_the_environment() {
    let overrides =
        Overrides { listen: Some("127.0.0.1:3".into()), shard: Some("1/1".into()), ..Overrides::default() };
    let env =
        [("REDPROBE__HTTP__LISTEN", "127.0.0.1:2"), ("REDPROBE__SHARD", "2/2"), ("STATE_DIRECTORY", "/tmp")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let plan = Plan::load_with(None, env, &overrides).unwrap();
    assert_eq!(plan.http.listen.to_string(), "127.0.0.1:3");
    assert_eq!(plan.shard.map(|shard| shard.to_string()).as_deref(), Some("1/1"));
}

#[test]
fn a_password_stays_the_text_that_it_is() {
    let quoted = plan(&format!("{TARGET}password = \"0042\"\n"));
    assert_eq!(password(&quoted, "a"), "0042");
    let env = plan_with("redprobe.toml", TARGET, &[("REDPROBE__TARGETS__A__PASSWORD", "0042")]).unwrap();
    assert_eq!(password(&env, "a"), "0042");
    let url = plan("[targets.a]\nurl = \"redis://:00%3442@127.0.0.1\"\n");
    assert_eq!(password(&url, "a"), "00442");
}

#[test]
fn a_secret_file_loses_one_newline_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    for (content, secret) in [("0042\n", "0042"), ("0042\r\n", "0042"), (" a b \n\n", " a b \n"), ("x", "x")]
    {
        let file = dir.path().join("secret");
        fs::write(&file, content).unwrap();
        let file = file.display();
        let text = format!(
            "[http]\napi_token_file = \"{file}\"\n{TARGET}username = \"u\"\npassword_file = \"{file}\"\n"
        );
        let plan = plan(&text);
        assert_eq!(password(&plan, "a"), secret, "{content:?}");
        assert_eq!(plan.http.api_token.as_ref().unwrap().expose_secret(), secret, "{content:?}");
    }
}

#[test]
fn nothing_shows_a_secret() {
    let text = format!(
        "[http]\napi_token = \"{SECRET}\"\n[targets.a]\nurl = \"redis://u:{SECRET}@127.0.0.1\"\n\
         [targets.b]\nurl = \"unix:///s?db=1&pass={SECRET}\"\n[targets.c]\nurl = \"redis://h\"\npassword = \"{SECRET}\"\n"
    );
    let plan = plan(&text);
    assert!(!format!("{plan:?}").contains(SECRET));
    assert!(!plan.shown.contains(SECRET));
    assert_eq!(shown(&plan)["targets"]["a"]["url"], "redis://u:<secret>@127.0.0.1");
    assert_eq!(shown(&plan)["targets"]["b"]["url"], "unix:///s?db=1&pass=<secret>");
    assert_eq!(shown(&plan)["targets"]["c"]["password"], "<secret>");
    assert_eq!(shown(&plan)["http"]["api_token"], "<secret>");
}

#[test]
fn what_is_shown_is_what_is_in_force() {
    let text = format!(
        "{TARGET}allow = \"load\"\nenvironment = \"production\"\n[jobs.x]\nprobe = \"latency_baseline\"\n\
         targets = [\"*\"]\nschedule = \"every 2m\"\nobjectives = {{ basic_p95 = \"7ms\" }}\n"
    );
    let shown = shown(&plan(&text));
    assert_eq!(shown["state_dir"], "/tmp");
    assert_eq!(shown["http"]["listen"], "127.0.0.1:19121");
    assert_eq!(shown["targets"]["a"]["response_timeout"], "5s");
    assert_eq!(shown["targets"]["a"]["allow"], "touch");
    assert_eq!(shown["jobs"]["health"]["schedule"], "every 15s");
    let job = &shown["jobs"]["x"];
    assert_eq!((&job["timeout"], &job["settings"]["iterations"]), (&"2m".into(), &1000.into()));
    assert_eq!(
        (&job["objectives"]["basic_p95"], &job["objectives"]["error_ratio"]),
        (&0.007.into(), &0.0.into())
    );
}

#[test]
fn every_target_has_a_health_check_unless_a_job_is_one() {
    let text = "[targets.a]\nurl = \"redis://h\"\n[targets.b]\nurl = \"redis://i\"\n\
                [jobs.health]\nprobe = \"health\"\ntargets = [\"a\"]\nschedule = \"every 2s\"\n";
    let plan = plan(text);
    let checks: Vec<_> =
        plan.jobs.iter().map(|job| (job.target.name.as_str(), job.schedule.clone())).collect();
    let every = |seconds| Schedule::Every(std::time::Duration::from_secs(seconds));
    assert_eq!(checks, [("a", every(2)), ("b", every(15))]);
}

#[test]
fn production_is_never_loaded() {
    let plan = plan(&format!("{TARGET}allow = \"disrupt\"\nenvironment = \"production\"\n"));
    assert_eq!(plan.targets["a"].allow, measure::Effect::Touch);
    assert_eq!(plan.notes.len(), 1, "and check says so: {:?}", plan.notes);
}

#[test]
fn a_job_without_a_timeout_has_its_interval_and_at_most_five_minutes() {
    for (schedule, seconds) in
        [("every 30s", 30.0), ("every 1h", 300.0), ("0 */5 * * * *", 300.0), ("manual", 300.0)]
    {
        let text = format!(
            "{TARGET}[jobs.x]\nprobe = \"server_info\"\ntargets = [\"*\"]\nschedule = \"{schedule}\"\n"
        );
        let plan = plan(&text);
        let job = plan.jobs.iter().find(|job| job.name == "x").unwrap();
        assert_eq!(job.timeout.as_secs_f64(), seconds, "{schedule}");
    }
}

#[test]
fn yaml_says_the_same_as_toml() {
    let yaml = "targets:\n  a:\n    url: redis://127.0.0.1\n    max_bytes: 1024\napps:\n\
                jobs:\n  x:\n    probe: server_info\n    targets: [a]\n    schedule: every 30s\n";
    let toml = format!(
        "{TARGET}max_bytes = 1024\n[jobs.x]\nprobe = \"server_info\"\ntargets = [\"a\"]\nschedule = \"every 30s\"\n"
    );
    let yaml = plan_with("redprobe.yaml", yaml, &[]).expect("the YAML has no mistake");
    assert_eq!(yaml.shown, plan(&toml).shown);
}

#[test]
fn the_default_configuration_is_the_shipped_one_and_works() {
    golden(&at("config/redprobe.toml"), &default_file());
    let output = redprobe(&["default-config"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), default_file());
    let plan = plan(&default_file());
    assert_eq!(plan.targets.len(), 1);
}

/// Every line that is switched off, but those that need files or each other's absence, can be switched on.
#[test]
fn every_setting_of_the_default_configuration_can_be_switched_on() {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(_) if line.ends_with("# not set") => String::new(),
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_alphabetic() || c == '[') => {
            setting.to_owned()
        }
        _ => line.to_owned(),
    };
    let text: Vec<String> = default_file().lines().map(on).collect();
    let text = text.join("\n").replace("allow = \"observe\"", "allow = \"disrupt\"");
    let plan = plan(&text);
    for kind in redprobe::probes::PROBES {
        let job = plan.jobs.iter().find(|job| job.kind().name == kind.name);
        let job = job.unwrap_or_else(|| panic!("{} has no job", kind.name));
        assert_eq!(job.settings, (kind.defaults)(), "{}", kind.name);
        for limit in &job.limits {
            assert_eq!(limit.limit, limit.objective.limit, "{}.{}", kind.name, limit.objective.name);
        }
    }
}

#[test]
fn every_example_loads() {
    let secrets = tempfile::tempdir().unwrap();
    let mut count = 0;
    for entry in fs::read_dir(at("config/examples")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        // Where compose and systemd put them.
        let text = text.replace("/run/credentials/redprobe.service/", "/run/secrets/");
        for name in
            text.split("/run/secrets/").skip(1).filter_map(|rest| rest.split(['"', '\'', '\n']).next())
        {
            fs::write(secrets.path().join(name), "secret\n").unwrap();
        }
        let text = text.replace("/run/secrets", secrets.path().to_str().unwrap());
        let name = path.file_name().and_then(OsStr::to_str).unwrap();
        let plan = plan_with(name, &text, &[]).unwrap_or_else(|mistakes| panic!("{name}: {mistakes:?}"));
        assert!(!plan.targets.is_empty(), "{name} watches nothing");
        count += 1;
    }
    assert!(count >= 4, "examples are missing: {count} left");
}
