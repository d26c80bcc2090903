//! Unit tests of the plan: what is refused, in which words, and what is allowed. Runs are in `tests/probes/`.

use super::{
    MemoryPressure, Settings,
    plan::{Plan, SAMPLES, State, plan},
    policy::Policy,
};
use crate::{
    config::settings::{Size, Span},
    probe::Probe,
};

const MB: u64 = 1 << 20;

/// A server of its own: a limit of 128 MB, nearly empty.
fn own_server(policy: Policy) -> State {
    State {
        used: MB,
        limit: 128 * MB,
        policy: policy.as_str().to_owned(),
        machine: Some(16 << 30),
        own_ttl: 360.0,
        ..State::default()
    }
}

/// The same with 50,000 keys of others, half of them with a TTL of a day.
fn shared_server(policy: Policy) -> State {
    State {
        used: 10 * MB,
        foreign: 50_000,
        foreign_expiring: 25_000,
        foreign_ttl: Some(86_400.0),
        ..own_server(policy)
    }
}

fn welcome(settings: Settings) -> Settings {
    Settings { max_foreign_keys: 100_000, ..settings }
}

#[track_caller]
fn refused(settings: &Settings, state: &State, words: &[&str]) {
    let message = plan(settings, state).expect_err("this must be refused");
    for word in words {
        assert!(message.contains(word), "{word:?} is missing in: {message}");
    }
    assert!(message.contains("at the price") && !message.ends_with('.'), "{message}");
}

#[track_caller]
fn allowed(settings: &Settings, state: &State) -> Plan {
    plan(settings, state).unwrap_or_else(|message| panic!("refused: {message}"))
}

#[test]
fn a_server_of_its_own_is_filled_under_every_policy_and_nothing_is_changed() {
    for policy in Policy::ALL {
        let plan = allowed(&Settings::default(), &own_server(policy));
        assert_eq!((plan.limit, plan.goal, plan.policy), (128 * MB, 128 * MB * 80 / 100, policy));
        assert_eq!(plan.fill, plan.goal - MB);
        assert!(plan.changes.is_empty(), "{:?}", plan.changes);
    }
}

#[test]
fn no_policy_lets_it_press_beside_foreign_keys_unasked() {
    for policy in Policy::ALL {
        refused(
            &Settings::default(),
            &shared_server(policy),
            &["50,000 foreign keys", "max_foreign_keys = 50000"],
        );
    }
}

#[test]
fn a_policy_that_would_evict_foreign_keys_is_never_enough() {
    let settings = welcome(Settings { accept_foreign_oom: true, ..Settings::default() });
    for policy in Policy::ALL {
        let state = shared_server(policy);
        if matches!(policy, Policy::Noeviction | Policy::VolatileTtl) {
            allowed(&settings, &state);
        } else {
            refused(
                &settings,
                &state,
                &[policy.as_str(), "temp_policy = \"noeviction\" with accept_foreign_oom = true"],
            );
        }
        // Nor with a temporary one.
        let temporary = Settings { temp_policy: Some(policy.as_str().into()), ..settings.clone() };
        let plan = plan(&temporary, &shared_server(Policy::AllkeysLru));
        assert_eq!(
            plan.is_ok(),
            matches!(policy, Policy::Noeviction | Policy::VolatileTtl),
            "{policy}: {plan:?}"
        );
    }
}

#[test]
fn noeviction_beside_foreign_keys_needs_leave_to_refuse_their_writers() {
    let state = shared_server(Policy::AllkeysLru);
    let noeviction = welcome(Settings { temp_policy: Some("noeviction".into()), ..Settings::default() });
    refused(&noeviction, &state, &["accept_foreign_oom = true", "fail with OOM"]);
    let plan = allowed(&Settings { accept_foreign_oom: true, ..noeviction }, &state);
    assert_eq!(plan.changes, [("maxmemory-policy", "noeviction".to_owned())]);
    assert_eq!(plan.most_foreign, 100_000);
}

#[test]
fn the_policy_is_changed_before_the_limit() {
    let settings = Settings {
        temp_policy: Some("noeviction".into()),
        temp_maxmemory: Some(Size(64 * MB)),
        ..Settings::default()
    };
    let changes = allowed(&settings, &own_server(Policy::AllkeysLru)).changes;
    let expected = [("maxmemory-policy", "noeviction".to_owned()), ("maxmemory", (64 * MB).to_string())];
    assert_eq!(changes, expected);
    let same = allowed(&settings, &State { limit: 64 * MB, ..own_server(Policy::Noeviction) });
    assert!(same.changes.is_empty(), "what is so already is not changed: {:?}", same.changes);
}

#[test]
fn a_limit_is_needed_above_what_is_used_and_within_the_machine() {
    let unlimited = State { limit: 0, ..own_server(Policy::Noeviction) };
    refused(&Settings::default(), &unlimited, &["no maxmemory", "temp_maxmemory"]);
    let with = |size| Settings { temp_maxmemory: Some(Size(size)), ..Settings::default() };
    assert_eq!(allowed(&with(128 * MB), &unlimited).goal, 128 * MB * 80 / 100);
    refused(&with(100 * MB), &State { used: 100 * MB, ..unlimited.clone() }, &["is not above the 100 MB"]);
    refused(&with(16 << 30), &unlimited, &["half of the machine's memory is 8 GB"]);
    // Taken back by whoever finds the journal of a killed run, perhaps with the fill still there.
    let shared = shared_server(Policy::Noeviction);
    let raised = welcome(Settings { accept_foreign_oom: true, ..with(256 * MB) });
    refused(&raised, &shared, &["above the server's own maxmemory (128 MB)"]);
    allowed(&raised, &own_server(Policy::Noeviction));
}

#[test]
fn noeviction_at_the_limit_needs_leave_even_without_foreign_keys() {
    let full = Settings { target_percent: 100, ..Settings::default() };
    refused(&full, &own_server(Policy::Noeviction), &["accept_foreign_oom = true"]);
    allowed(&Settings { accept_foreign_oom: true, ..full.clone() }, &own_server(Policy::Noeviction));
    assert!(!allowed(&full, &own_server(Policy::AllkeysLru)).is_above_limit());
}

#[test]
fn volatile_ttl_stays_below_the_limit_or_makes_sure_that_its_own_keys_are_found() {
    let state = shared_server(Policy::VolatileTtl);
    let below = allowed(&welcome(Settings::default()), &state);
    assert_eq!(below.gives_way_at, Some(128 * MB * 97 / 100), "others may fill the rest: then it goes");
    assert!(below.changes.is_empty());

    let above = welcome(Settings { target_percent: 120, ..Settings::default() });
    let many = State { foreign_expiring: 40_000, ..state.clone() };
    refused(&above, &many, &["target_percent = 95 or less", "maxmemory-samples"]);
    // Small values, where they outnumber the others four to one.
    let few = State { foreign: 10_000, foreign_expiring: 10_000, ..state.clone() };
    let small = allowed(&above, &few);
    assert!(small.value_size < 1_024, "{small:?}");
    assert!(small.most_foreign_expiring >= 10_000 && small.most_foreign_expiring < 30_000, "{small:?}");
    // Large ones, where the server looks at more keys; which it only does when settings are changed anyway.
    let changed = Settings { temp_maxmemory: Some(Size(100 * MB)), ..above.clone() };
    let plan = allowed(&changed, &many);
    assert!(plan.changes.contains(&("maxmemory-samples", SAMPLES.to_owned())), "{plan:?}");
    // Theirs would be the first to go, however many ours are.
    let short_lived = State { foreign_ttl: Some(600.0), ..state.clone() };
    refused(&changed, &short_lived, &["target_percent = 95 or less"]);
    let lasting = State { foreign_expiring: 0, foreign_ttl: None, ..state };
    assert_eq!(allowed(&above, &lasting).most_foreign_expiring, 0, "none with a TTL may come");
}

#[test]
fn whoever_comes_later_meets_the_same_rules() {
    for policy in Policy::ALL {
        let alone = allowed(&welcome(Settings::default()), &own_server(policy));
        let expected = if policy == Policy::VolatileTtl { 100_000 } else { 0 };
        assert_eq!(alone.most_foreign, expected, "{policy}");
        let accepted = welcome(Settings { accept_foreign_oom: true, ..Settings::default() });
        let both = matches!(policy, Policy::VolatileTtl | Policy::Noeviction);
        assert_eq!(allowed(&accepted, &own_server(policy)).most_foreign, if both { 100_000 } else { 0 });
    }
}

#[test]
fn above_the_target_nothing_is_to_be_loaded() {
    let state = State { used: 107 * MB, ..own_server(Policy::AllkeysLru) };
    assert_eq!(allowed(&Settings::default(), &state).fill, 0);
}

#[test]
fn an_unknown_policy_is_not_guessed_at() {
    let state = State { policy: "allkeys-lrm".into(), ..own_server(Policy::Noeviction) };
    refused(&Settings::default(), &state, &["allkeys-lrm", "temp_policy"]);
    let settings = Settings { temp_policy: Some("noeviction".into()), ..Settings::default() };
    assert_eq!(allowed(&settings, &state).changes.len(), 1);
}

#[test]
fn values_suit_the_fill_and_what_is_deleted_of_it() {
    let size = |limit, delete_keys| {
        let settings = Settings { delete_keys, ..Settings::default() };
        allowed(&settings, &State { limit, ..own_server(Policy::Noeviction) }).value_size + 32
    };
    assert_eq!(size(2 << 30, 1_000), 64 << 10, "large, so that the tables of keys stay small");
    assert_eq!(size(2 << 30, 100_000), 4 << 10, "small enough that deleting so many is a part of it");
    assert_eq!(size(2 * MB, 1_000), 1 << 10);
}

#[test]
fn quick_cuts_durations_and_the_fill() {
    let mut settings = Settings::default();
    MemoryPressure::quick(&mut settings);
    assert_eq!(
        (settings.monitor, settings.recovery, settings.delete_keys),
        (Span::secs(5), Span::secs(5), 100)
    );
    let state = State { limit: 2 << 30, ..own_server(Policy::Noeviction) };
    assert_eq!(allowed(&settings, &state).fill, 128 * MB);
    let mut least = Settings { delete_keys: 3, max_fill: Size(MB), ..Settings::default() };
    MemoryPressure::quick(&mut least);
    assert_eq!((least.delete_keys, least.max_fill), (1, Size(MB)));
}

#[test]
fn every_bad_setting_is_named() {
    let settings = Settings {
        target_percent: 0,
        temp_maxmemory: Some(Size(1)),
        temp_policy: Some("lru".into()),
        batch_size: 0,
        delete_keys: 1_000_001,
        monitor: Span::secs(0),
        monitoring_interval: Span::secs(0),
        recovery: Span::secs(0),
        ..Settings::default()
    };
    let errors = MemoryPressure::new(settings).unwrap_err();
    let named: Vec<_> = errors.iter().map(|error| error.setting).collect();
    let expected = [
        "target_percent",
        "temp_maxmemory",
        "temp_policy",
        "batch_size",
        "delete_keys",
        "monitor",
        "monitoring_interval",
        "recovery",
    ];
    assert_eq!(named, expected);
    assert!(errors[2].message.contains("volatile-ttl"), "{}", errors[2].message);
}
