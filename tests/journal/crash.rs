//! Killed at every step: whoever comes next finds the server as it was, or makes it so, and no foreign key is lost.

use super::{
    child::{Run, Then, killed_in_the_middle},
    *,
};

/// More steps than there are.
const ENOUGH: u32 = 60;

fn foreign_keys(redis: &RedisServer) -> Vec<String> {
    let mut keys = redis.keys();
    keys.retain(|key| !key.starts_with("redprobe:"));
    keys
}

/// That of the killed run would keep the next one out until it ends by itself.
fn end_lease(redis: &RedisServer) {
    let _ = redis.cli(&["DEL", "redprobe:lease"]);
}

#[test]
fn a_run_killed_at_any_step_is_made_good_by_who_comes_next() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    let fill = "for i = 1, 500 do redis.call('SET', 'foreign:' .. i, string.rep('x', 100)) end return redis.status_reply('OK')";
    redis.ok(&["EVAL", fill, "0"]);
    let foreign = foreign_keys(&redis);
    let mut steps = 0;
    while Run::start(state.path(), &redis.url(), Then::Ends, Some(steps + 1)).was_killed() {
        steps += 1;
        assert!(steps < ENOUGH, "it never ends");
        // In turn by the daemon, which is ready only then, and by hand.
        if steps % 2 == 0 {
            let mut daemon = Daemon::start(&config(state.path(), &redis.url(), "disrupt"));
            assert_eq!(settings(&redis), BEFORE, "after step {steps}; log:\n{}", daemon.log());
            assert_eq!(daemon.metric("redprobe_unrestored_settings", &CACHE), Some(0.0));
            assert_eq!(daemon.stop(), Some(0), "after step {steps}; log:\n{}", daemon.log());
        } else {
            let output = restore(state.path(), &redis.url(), &[], &[]);
            assert_eq!(output.status.code(), Some(0), "after step {steps}: {}", text(&output));
            assert_eq!(settings(&redis), BEFORE, "after step {steps}: {}", text(&output));
        }
        assert!(notes(state.path()).is_empty(), "after step {steps}: {:?}", notes(state.path()));
        assert_eq!(foreign_keys(&redis), foreign);
        end_lease(&redis);
    }
    assert!(steps >= 8, "only {steps} steps were passed");
    assert_eq!(settings(&redis), BEFORE);
}

#[test]
fn who_is_killed_while_putting_back_is_made_good_too() {
    let (redis, state) = (server(), TempDir::new().unwrap());
    let mut steps = 0_u32;
    loop {
        killed_in_the_middle(state.path(), &redis);
        let at = (steps + 1).to_string();
        let output = restore(state.path(), &redis.url(), &[], &[("REDPROBE_CRASH_AT", &at)]);
        let ended = output.status.code() == Some(0);
        if !ended {
            assert_eq!(output.status.code(), None, "{}", text(&output));
            assert!(text(&output).contains(&format!("crash point {at}: ")), "{}", text(&output));
            steps += 1;
            let output = restore(state.path(), &redis.url(), &[], &[]);
            assert_eq!(output.status.code(), Some(0), "after step {steps}: {}", text(&output));
        }
        assert_eq!(settings(&redis), BEFORE, "after step {steps}");
        assert!(notes(state.path()).is_empty(), "after step {steps}");
        end_lease(&redis);
        if ended {
            break;
        }
        assert!(steps < ENOUGH, "it never ends");
    }
    assert!(steps >= 5, "only {steps} steps were passed");
}

/// The limit was raised and the policy made safe, and own keys took the room: to put that back with them there would
/// evict others'.
#[test]
fn own_keys_go_before_a_limit_that_would_evict_others() {
    let redis = RedisServer::with(&["--maxmemory", "12mb", "--maxmemory-policy", "allkeys-lru"]);
    let state = TempDir::new().unwrap();
    let fill = |name: &str, count: u32| {
        let script = format!(
            "for i = 1, {count} do redis.call('SET', '{name}' .. i, string.rep('x', 10000), 'PX', 600000) end return redis.status_reply('OK')"
        );
        redis.ok(&["EVAL", &script, "0"]);
    };
    fill("foreign:", 400);
    let foreign = foreign_keys(&redis);
    let run = Run::changed(state.path(), &redis);
    let id = notes(state.path())[0].split('-').next().unwrap().to_owned();
    fill(&format!("redprobe:{{cache}}:disrupting:{id}:more:"), 1_500);
    run.kill();
    assert!(redis.info("used_memory").parse::<u64>().unwrap() > 12 << 20);

    let mut daemon = Daemon::start(&config(state.path(), &redis.url(), "disrupt"));
    assert_eq!(settings(&redis), ["12582912", "allkeys-lru"], "log:\n{}", daemon.log());
    assert_eq!(foreign_keys(&redis), foreign);
    assert_eq!(redis.info("evicted_keys"), "0");
    assert_eq!(daemon.stop(), Some(0));
}
