//! What `redprobe run` makes of its arguments, over what is configured.

use std::fs;

use measure::Effect;
use redprobe::config::{Plan, RunRequest, Schedule};

const CONFIG: &str = r#"
state_dir = "/tmp"
[targets.cache]
url = "redis://127.0.0.1:1"
allow = "load"
[targets.live]
url = "redis://127.0.0.1:2"
allow = "load"
environment = "production"
[jobs.small]
probe = "latency_baseline"
targets = ["*"]
schedule = "every 10m"
variant = "small"
settings = { rate = 50, sustained = "20s" }
objectives = { basic_p95 = "7ms" }
[jobs.large]
probe = "latency_baseline"
targets = ["cache"]
schedule = "every 10m"
variant = "large"
settings = { value_size = "64kb" }
"#;

fn request(probes: &[&str], target: &str) -> RunRequest {
    RunRequest {
        probes: probes.iter().map(ToString::to_string).collect(),
        target: Some(target.to_owned()).filter(|target| !target.is_empty()),
        timeout: "15m".into(),
        ..RunRequest::default()
    }
}

fn plan(config: &str, request: &RunRequest) -> Result<Plan, Vec<String>> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("redprobe.toml");
    fs::write(&path, config).expect("it can be written");
    let said = |mistakes: Vec<redprobe::config::Mistake>| mistakes.iter().map(ToString::to_string).collect();
    Plan::for_run(Some(&path), request).map_err(said)
}

fn names(plan: &Plan) -> Vec<(&str, &str)> {
    plan.jobs.iter().map(|job| (job.kind().name, job.variant.as_str())).collect()
}

#[test]
fn a_url_is_an_unnamed_target_that_allows_touch() {
    let plan = plan(CONFIG, &request(&["all"], "redis://:pw@127.0.0.1:6390/3")).unwrap();
    let target = &plan.targets["127_0_0_1_6390"];
    assert_eq!((target.allow, target.endpoint.database, plan.targets.len()), (Effect::Touch, 3, 1));
    let harmless = redprobe::probes::PROBES.iter().filter(|kind| kind.effect <= Effect::Touch);
    assert_eq!(names(&plan), harmless.map(|kind| (kind.name, "")).collect::<Vec<_>>());
    assert!(plan.jobs.iter().all(|job| job.schedule == Schedule::Manual));
    assert!(plan.jobs.iter().all(|job| job.timeout.as_secs_f64() == 900.0));
}

#[test]
fn a_configured_target_brings_the_settings_of_its_jobs() {
    let plan = plan(CONFIG, &request(&["latency_baseline", "health"], "cache")).unwrap();
    assert_eq!(names(&plan), [("health", ""), ("latency_baseline", "large"), ("latency_baseline", "small")]);
    let small = plan.jobs.last().unwrap();
    assert_eq!((&small.settings["rate"], &small.settings["sustained"]), (&50.0.into(), &"20s".into()));
    let limit = small.limits.iter().find(|limit| limit.objective.name == "basic_p95").unwrap();
    assert_eq!(limit.limit, 0.007);
}

#[test]
fn pools_of_every_target_and_of_the_chosen_one_are_looked_at() {
    let pool = |name: &str, targets: &str| {
        format!("[pools.{name}]\nmatch = {{ db = 1 }}\nmax_connections = 1\n{targets}\n")
    };
    let config = [
        CONFIG.to_owned(),
        pool("all", ""),
        pool("cache", "targets = [\"cache\"]"),
        pool("live", "targets = [\"live\"]"),
    ]
    .concat();
    for (target, pools) in [("cache", vec!["all", "cache"]), ("redis://127.0.0.1:6390", vec!["all"])] {
        let plan = plan(&config, &request(&["client_census"], target)).unwrap();
        let found = plan.targets.values().flat_map(|target| &target.pools);
        assert_eq!(found.map(|pool| pool.name.as_str()).collect::<Vec<_>>(), pools, "{target}");
    }
}

#[test]
fn settings_are_toml_or_text_and_win_over_the_configuration() {
    let mut request = request(&["latency_baseline", "throughput"], "cache");
    request.set = ["rate=75", "sustained=4s", "mix.read=1", r#"phases=["baseline"]"#].map(Into::into).into();
    let plan = plan(CONFIG, &request).unwrap();
    for job in &plan.jobs {
        assert_eq!(job.settings["rate"], 75.0, "{}", job.kind().name);
    }
    let of = |name: &str| plan.jobs.iter().find(|job| job.kind().name == name).unwrap().settings.clone();
    assert_eq!(of("latency_baseline")["sustained"], "4s");
    assert_eq!(of("throughput")["mix"]["read"], 1);
    assert_eq!(of("throughput")["phases"], serde_json::json!(["baseline"]));
}

#[test]
fn quick_cuts_every_duration_and_count() {
    let mut request = request(&["latency_baseline"], "redis://127.0.0.1");
    request.quick = true;
    let plan = plan(CONFIG, &request).unwrap();
    assert_eq!(plan.jobs[0].settings["sustained"], "5s");
    assert_eq!(plan.jobs[0].settings["iterations"], 100);
}

#[test]
fn the_only_target_needs_no_name() {
    let config = "state_dir = \"/tmp\"\n[targets.one]\nurl = \"redis://127.0.0.1:1\"\n";
    assert_eq!(plan(config, &request(&["health"], "")).unwrap().jobs[0].target.name, "one");
}

#[test]
fn allow_says_more_but_never_on_production() {
    let mut request = request(&["throughput"], "redis://127.0.0.1");
    let said = |request: &RunRequest| plan(CONFIG, request).unwrap_err();
    assert_eq!(
        said(&request),
        ["throughput: needs load, and \"127_0_0_1_6379\" allows touch; add --allow load"]
    );
    request.allow = Some("load".into());
    assert_eq!(names(&plan(CONFIG, &request).unwrap()), [("throughput", "")]);
    request.target = Some("live".into());
    let refused = "throughput: needs load, and \"live\" allows touch; nothing above touch runs on production";
    assert_eq!(said(&request), [refused]);
}

#[test]
fn mistakes_are_named_after_what_was_typed() {
    for (probe, target, set, allow, timeout, message) in [
        ("latency", "cache", "", "", "15m", "PROBE: unknown probe \"latency\"; the probes are"),
        ("health", "cach", "", "", "15m", "--target: unknown target \"cach\"; did you mean \"cache\"?"),
        (
            "health",
            ":hunter2@127.0.0.1:6379",
            "",
            "",
            "15m",
            "--target: no target has an @, ? or = in its name; give a URL with its scheme: redis://[user:password@]host[:port]",
        ),
        ("health", "", "", "", "15m", "--target: missing; choose one of cache, live, or give a URL"),
        ("health", "redis://h:0", "", "", "15m", "--target: has the port 0"),
        (
            "health",
            "cache",
            "",
            "lots",
            "15m",
            "--allow: \"lots\" is not one of observe, touch, load, disrupt",
        ),
        ("health", "cache", "", "", "15", "--timeout: \"15\" is no duration"),
        ("throughput", "cache", "workers", "", "15m", "--set: \"workers\" is no setting; write KEY=VALUE"),
        (
            "throughput",
            "cache",
            "worker=1",
            "",
            "15m",
            "--set worker: unknown key; did you mean \"workers\"?",
        ),
        ("throughput", "cache", "workers=x", "", "15m", "--set workers: \"x\" where a whole number"),
        ("throughput", "cache", "workers=0", "", "15m", "--set workers: 0 is refused: expected 1 to 10000"),
    ] {
        let request = RunRequest {
            set: Some(set.to_owned()).filter(|set| !set.is_empty()).into_iter().collect(),
            allow: Some(allow.to_owned()).filter(|allow| !allow.is_empty()),
            timeout: timeout.into(),
            ..request(&[probe], target)
        };
        let said = plan(CONFIG, &request).unwrap_err();
        assert!(said.len() == 1 && said[0].starts_with(message), "expected {message}; got {said:?}");
    }
}
