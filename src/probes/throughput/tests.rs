//! Tests of the settings of `throughput` and of what its phases ask for; running them is for the integration tests.

use super::*;

fn named(settings: Settings) -> Vec<&'static str> {
    Throughput::new(settings).unwrap_err().into_iter().map(|error| error.setting).collect()
}

#[test]
fn every_bad_setting_is_named() {
    let settings = Settings {
        phases: Vec::new(),
        duration: Some(Span::secs(0)),
        rate: Some(-1.0),
        connections: 0,
        workers: 0,
        pipeline: 0,
        ops_per_worker: 0,
        benchmark_workers: 0,
        mix: Mix { read: 0, write: 0, delete: 0 },
        value_size: Size(0),
        key_space: 0,
        op_timeout: Span::secs(0),
        ..Settings::default()
    };
    let expected = [
        "phases",
        "duration",
        "rate",
        "connections",
        "workers",
        "pipeline",
        "ops_per_worker",
        "benchmark_workers",
        "mix",
        "value_size",
        "key_space",
        "op_timeout",
    ];
    assert_eq!(named(settings), expected);
    let twice = Settings { phases: vec![Phase::Baseline, Phase::Baseline], ..Settings::default() };
    assert_eq!(named(twice), ["phases"]);
}

#[test]
fn rate_zero_is_a_closed_loop_and_unset_paces_the_sustained_phase_alone() {
    let pace = |rate, phase| Throughput { settings: Settings { rate, ..Settings::default() } }.pace(phase);
    assert_eq!(pace(None, Phase::Sustained), Pace::Open { rate: 500.0 });
    assert_eq!(pace(None, Phase::Baseline), Pace::Closed);
    assert_eq!(pace(Some(0.0), Phase::Sustained), Pace::Closed);
    assert_eq!(pace(Some(1_000.0), Phase::Baseline), Pace::Open { rate: 1_000.0 });
    assert_eq!(pace(Some(1_000.0), Phase::Benchmark), Pace::Closed);
}

#[test]
fn durations_are_each_phases_own_unless_one_is_set() {
    let own = Throughput { settings: Settings::default() };
    assert_eq!(ALL.map(|phase| own.length(phase).as_secs_f64()), [30.0, 60.0, 30.0, 15.0, 0.0]);
    let set = Throughput { settings: Settings { duration: Some(Span::secs(3)), ..Settings::default() } };
    assert_eq!(ALL.map(|phase| set.length(phase).as_secs_f64()), [3.0, 3.0, 3.0, 3.0, 0.0]);
}

#[test]
fn quick_cuts_every_phase_to_five_seconds() {
    let mut settings = Settings::default();
    Throughput::quick(&mut settings);
    assert_eq!((settings.duration, settings.ops_per_worker), (Some(Span::secs(5)), 100));
    let mut short = Settings { duration: Some(Span::secs(2)), ..Settings::default() };
    Throughput::quick(&mut short);
    assert_eq!(short.duration, Some(Span::secs(2)));
}

#[test]
fn needs_are_those_of_the_phases_asked_for() {
    let needs = |phases: &[Phase]| {
        Throughput { settings: Settings { phases: phases.to_vec(), ..Settings::default() } }
            .needs(Effect::Load)
            .connections
    };
    assert_eq!(needs(&[Phase::Baseline]), 2);
    assert_eq!(needs(&ALL), 101);
}
