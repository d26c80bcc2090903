//! What is done to each server, what must come of it at the webhook, and that it ends when it is undone.
//!
//! Each scenario has a server of its own and runs beside the others. The fixture is in `bed.rs`.

use std::time::Duration;

use measure::{
    clock::{self, Instant},
    fault::Faults,
};
use testkit::poll_until;

use super::{
    bed::Stack,
    receiver::{Notice, Wanted},
};

/// From what is done to the notice of it, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// One scenario: a name for people, and what it does.
pub(super) type Scenario = (&'static str, fn(&Stack));

/// Those that go on beside each other.
pub(super) const TOGETHER: &[Scenario] = &[
    ("watchdog", watchdog),
    ("starvation", starvation),
    ("latency", latency),
    ("stopped", stopped),
    ("altered", altered),
    ("held", held),
];

fn firing<'a>(alert: &'a str, target: &'a str) -> Wanted<'a> {
    Wanted { alert, status: "firing", label: Some(("target", target)) }
}

fn resolved<'a>(alert: &'a str, target: &'a str) -> Wanted<'a> {
    Wanted { status: "resolved", ..firing(alert, target) }
}

/// Waits for the notice, and says how long it took.
fn expect(stack: &Stack, wanted: Wanted<'_>, since: Instant) -> Notice {
    let notice = stack.expect_notice(wanted, since, PATIENCE);
    let took = notice.came.saturating_duration_since(since).as_secs_f64();
    eprintln!("stack: {} {} came after {took:.1} s", wanted.alert, wanted.status);
    notice
}

/// What somebody who is woken by a notice needs: a sentence, what it is about, how bad it is, where to read on.
fn is_helpful(notice: &Notice, about: &str) {
    let text = |name: &str| notice.annotations.get(name).map_or("", String::as_str);
    assert!(text("summary").ends_with('.'), "{notice:?}");
    assert!(text("description").contains(about), "{notice:?}");
    assert!(["critical", "warning", "info"].contains(&notice.labels["severity"].as_str()), "{notice:?}");
    let heading = format!("alerts/runbook.md#{}", notice.labels["alertname"].to_lowercase());
    assert_eq!(text("runbook_url"), heading, "{notice:?}");
}

/// It always fires, so that its silence says that alerts do not get through.
fn watchdog(stack: &Stack) {
    expect(stack, Wanted { alert: "RedprobeWatchdog", status: "firing", label: None }, stack.began);
}

/// Thirty blocking readers on a pool of fifteen; then a pool that is large enough.
fn starvation(stack: &Stack) {
    let notice = expect(stack, firing("RedprobePoolStarvation", "pool"), stack.began);
    is_helpful(&notice, "pool");
    let since = clock::now();
    stack.feed_the_pool();
    expect(stack, resolved("RedprobePoolStarvation", "pool"), since);
}

/// A network that takes 50 ms longer, and then does not.
fn latency(stack: &Stack) {
    let passes = ["probe=\"latency_baseline\"", "target=\"slow\""];
    await_metric(stack, "redprobe_run_success", &passes, 1.0);
    let since = clock::now();
    stack.runtime.block_on(stack.proxy.set(Faults { delay: Duration::from_millis(50), ..Faults::default() }));
    is_helpful(&expect(stack, firing("RedprobeLatencyHigh", "slow"), since), "slow");
    let since = clock::now();
    stack.runtime.block_on(stack.proxy.set(Faults::default()));
    expect(stack, resolved("RedprobeLatencyHigh", "slow"), since);
}

/// A server that accepts connections and answers nothing. Its probes fail as well, which nobody is told: they would
/// say the same in other words.
fn stopped(stack: &Stack) {
    let passes = ["probe=\"server_info\"", "target=\"stopped\""];
    await_metric(stack, "redprobe_run_success", &passes, 1.0);
    let since = clock::now();
    stack.servers.stopped.pause();
    is_helpful(&expect(stack, firing("RedprobeTargetDown", "stopped"), since), "stopped");
    let silenced = || stack.is_inhibited("RedprobeProbeFailing", "stopped");
    assert!(poll_until(PATIENCE, silenced), "the failing probe is not there, or not inhibited");
    let resumed = clock::now();
    stack.servers.stopped.resume();
    expect(stack, resolved("RedprobeTargetDown", "stopped"), resumed);
    let told = stack.receiver.find(firing("RedprobeProbeFailing", "stopped"), since);
    let too_early = told.filter(|notice| notice.came < resumed);
    assert!(too_early.is_none(), "somebody was told that a probe of a dead server fails: {too_early:?}");
}

/// A setting that somebody changes by hand.
fn altered(stack: &Stack) {
    let audited = ["probe=\"config_audit\"", "target=\"altered\""];
    await_metric(stack, "redprobe_config_audit_changed_settings", &audited, 0.0);
    assert!(!stack.fires("RedprobeConfigurationDrifted", "altered"), "before anything has changed");
    let since = clock::now();
    stack.servers.altered.ok(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random"]);
    is_helpful(&expect(stack, firing("RedprobeConfigurationDrifted", "altered"), since), "altered");
}

/// A probe that is due and never comes to run, since another redprobe has the lease of its target.
fn held(stack: &Stack) {
    let passes = ["probe=\"throughput\"", "target=\"held\""];
    await_metric(stack, "redprobe_run_success", &passes, 1.0);
    let since = clock::now();
    let mut other = stack.hold_the_lease();
    is_helpful(&expect(stack, firing("RedprobeProbeOverdue", "held"), since), "held");
    let since = clock::now();
    other.stop();
    expect(stack, resolved("RedprobeProbeOverdue", "held"), since);
}

/// A daemon that is gone. After all others: it takes their series with it.
pub(super) fn killed(stack: &Stack) {
    let since = clock::now();
    stack.kill_daemon();
    let notice = expect(stack, Wanted { alert: "RedprobeDown", status: "firing", label: None }, since);
    is_helpful(&notice, "redprobe");
}

fn await_metric(stack: &Stack, name: &str, labels: &[&str], wanted: f64) {
    let came = poll_until(PATIENCE, || stack.metric(name, labels) == Some(wanted));
    assert!(came, "{name}{labels:?} is not {wanted}");
}
