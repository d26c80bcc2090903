//! What has changed since the last audit: in the report, as metrics, in the run's log.

use testkit::RedisServer;

use crate::support::Daemon;

#[test]
fn a_changed_setting_is_told_once() {
    let server = RedisServer::with(&["--maxmemory", "100mb"]);
    let config = format!(
        "[targets.a]\nurl = \"{}\"\n\n[jobs.audit]\nprobe = \"config_audit\"\ntargets = [\"a\"]\nschedule = \"every 1s\"\n",
        server.url()
    );
    let daemon = Daemon::start(&config);
    let target = ["target=\"a\""];
    let changed = |wanted: f64| {
        daemon.await_metric("redprobe_config_audit_changed_settings", &target, |count| count == wanted)
    };
    changed(0.0);
    assert!(
        !daemon.scrape().contains("redprobe_config_audit_last_change_timestamp_seconds{"),
        "none was seen"
    );
    server.ok(&["CONFIG", "SET", "maxmemory", "200mb", "maxmemory-policy", "allkeys-lru"]);
    changed(2.0);
    changed(0.0);
    let at = daemon.await_metric("redprobe_config_audit_last_change_timestamp_seconds", &target, |_| true);
    assert!(at > 1.6e9, "{at}");
    let runs = daemon.runs("?probe=config_audit");
    let told = runs.iter().filter_map(|run| {
        let checks = run["checks"].as_array()?;
        let drift = checks.iter().find(|check| check["check"] == "G06")?;
        (drift["status"] == "warn").then(|| drift["actual"].as_str().unwrap_or_default().to_owned())
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told, ["maxmemory: 100mb → 200mb; maxmemory-policy: noeviction → allkeys-lru"]);
}
