//! The unit of systemd as data, and what the daemon tells a supervisor.

use std::{collections::BTreeMap, os::unix::net::UnixDatagram, time::Duration};

use redprobe::config::{Overrides, Plan};
use rustix::process::{Pid, Signal, kill_process};

use super::{
    process::{PATIENCE, Process},
    read,
};

const UNIT: &str = "deploy/systemd/redprobe.service";

/// Its settings, each with its values in their order.
fn settings() -> BTreeMap<String, Vec<String>> {
    let mut settings: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in read(UNIT).lines().filter(|line| !line.starts_with(['#', '[']) && !line.is_empty()) {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{line}"));
        settings.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    settings
}

#[test]
fn a_stop_is_given_longer_than_a_restore_may_take() {
    let settings = settings();
    let plan = Plan::load_with(None, [].into(), &Overrides::default()).expect("the defaults are good");
    let given = Duration::from_secs(settings["TimeoutStopSec"][0].parse().expect("seconds"));
    assert!(given >= plan.limits.stop_timeout + Duration::from_secs(10), "{given:?}");
    // SIGTERM to the daemon, SIGKILL to what is left of its group.
    assert_eq!(settings["KillMode"], ["mixed"]);
    assert_eq!(settings["StateDirectory"], ["redprobe"], "what was changed is forgotten with the process");
}

/// `systemd-analyze security` rates it in scripts/check-deploy.sh; here is what must not go, whatever the rating.
#[test]
fn the_service_can_reach_no_more_than_it_needs() {
    let settings = settings();
    for (key, value) in [
        ("CapabilityBoundingSet", ""),
        ("DynamicUser", "yes"),
        ("LimitCORE", "0"),
        ("MemoryDenyWriteExecute", "yes"),
        ("NoNewPrivileges", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectHome", "yes"),
        ("ProtectSystem", "strict"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("Type", "notify"),
        ("UMask", "0077"),
    ] {
        assert_eq!(settings[key], [value], "{key}");
    }
    assert!(settings["LoadCredential"].iter().any(|one| one.starts_with("redis_password:/")));
    assert!(!settings.contains_key("Environment"), "what is in the environment, everybody sees");
}

#[test]
fn a_supervisor_is_told_of_start_life_and_stop() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let socket = directory.path().join("notify");
    let supervisor = UnixDatagram::bind(&socket).expect("a socket can be made");
    supervisor.set_read_timeout(Some(PATIENCE)).expect("a time-out can be set");
    let heard = || {
        let mut bytes = [0; 256];
        let length = supervisor.recv(&mut bytes).expect("something is said in time");
        String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
    };
    let words = [
        "env".to_owned(),
        format!("NOTIFY_SOCKET={}", socket.display()),
        // A fifth of a second, in microseconds.
        "WATCHDOG_USEC=200000".into(),
        format!("STATE_DIRECTORY={}", directory.path().join("state").display()),
        "REDPROBE__TARGETS__A__URL=redis://127.0.0.1:1".into(),
        "REDPROBE__HTTP__LISTEN=127.0.0.1:0".into(),
        env!("CARGO_BIN_EXE_redprobe").into(),
        "serve".into(),
    ];
    let daemon = Process::start(&words, directory);
    assert_eq!(heard(), "READY=1", "{}", daemon.log());
    let signal = |signal| kill_process(Pid::from_raw(daemon.pid()).expect("not 0"), signal).expect("it runs");
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1");
    }
    signal(Signal::TERM);
    let last = std::iter::repeat_with(heard).find(|word| word != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}
