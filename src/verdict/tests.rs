//! Tests of judging: limits, grades, outcomes and the sentence they give.

use measure::report::{Doubt, SkippedPhase};

use super::*;

const fn def(
    name: &'static str,
    phrase: &'static str,
    direction: Direction,
    unit: Unit,
    severity: Severity,
) -> ObjectiveDef {
    ObjectiveDef { name, phrase, help: "", direction, unit, severity, limit: 0.05 }
}

static P99: ObjectiveDef = def("p99", "p99 of GET", Direction::Max, Unit::Seconds, Severity::Critical);
static RATE: ObjectiveDef =
    def("rate", "throughput", Direction::Min, Unit::OperationsPerSecond, Severity::Warning);
static HITS: ObjectiveDef = def("hits", "the hit ratio", Direction::Min, Unit::Ratio, Severity::Info);
static ERRORS: ObjectiveDef =
    def("errors", "the error ratio", Direction::Max, Unit::Ratio, Severity::Critical);

const LIMITS: [Limit; 4] = [
    Limit { objective: &P99, limit: 0.05 },
    Limit { objective: &RATE, limit: 1_000.0 },
    Limit { objective: &HITS, limit: 0.9 },
    Limit { objective: &ERRORS, limit: 0.0 },
];

fn report(observed: &[(&'static ObjectiveDef, f64)], doubts: &[Doubt]) -> Report {
    Report {
        conclusion: "GET ran at 900 ops/s.".to_owned(),
        observed: observed.to_vec(),
        doubts: doubts.iter().copied().collect(),
        ..Report::default()
    }
}

#[test]
fn grades_and_outcomes_are_those_of_the_contract() {
    let doubt = [Doubt::ProberCpuBusy];
    for (observed, doubts, grade, outcome) in [
        (vec![], &[][..], Grade::Excellent, Outcome::Passed),
        (
            vec![(&P99, 0.05), (&RATE, 1_000.0), (&HITS, 0.9), (&ERRORS, 0.0)],
            &[],
            Grade::Excellent,
            Outcome::Passed,
        ),
        (vec![(&P99, 0.01)], &doubt, Grade::Good, Outcome::Passed),
        (vec![(&HITS, 0.5)], &[], Grade::Good, Outcome::Passed),
        (vec![(&HITS, 0.5)], &doubt, Grade::Good, Outcome::Passed),
        (vec![(&RATE, 999.9)], &[], Grade::Fair, Outcome::Failed),
        (vec![(&RATE, 10.0), (&HITS, 0.5)], &doubt, Grade::Fair, Outcome::Failed),
        (vec![(&P99, 0.051), (&RATE, 10.0)], &[], Grade::Poor, Outcome::Failed),
        (vec![(&ERRORS, 1e-9)], &[], Grade::Poor, Outcome::Failed),
        (vec![(&RATE, f64::NAN)], &[], Grade::Fair, Outcome::Failed),
        (vec![(&P99, f64::NAN)], &[], Grade::Poor, Outcome::Failed),
    ] {
        let judged = judge(&LIMITS, &report(&observed, doubts));
        assert_eq!((judged.grade, judged.outcome), (grade, outcome), "{observed:?} {doubts:?}");
        assert_eq!(judged.objectives.len(), observed.len());
    }
}

#[test]
fn the_jobs_limit_holds_and_the_default_where_there_is_none() {
    let observed = report(&[(&P99, 0.2)], &[]);
    assert_eq!(judge(&[Limit { objective: &P99, limit: 0.3 }], &observed).grade, Grade::Excellent);
    let judged = judge(&[], &observed);
    assert_eq!((judged.grade, judged.objectives[0].limit), (Grade::Poor, 0.05));
}

#[test]
fn the_conclusion_names_the_worst_first_in_human_units() {
    let say = |observed: &[_]| judge(&LIMITS, &report(observed, &[])).conclusion;
    assert_eq!(say(&[(&P99, 0.01)]), "GET ran at 900 ops/s.");
    assert_eq!(say(&[(&P99, 0.061)]), "p99 of GET is 61 ms, over its limit of 50 ms; GET ran at 900 ops/s.");
    assert_eq!(
        say(&[(&RATE, 900.0), (&P99, 0.061)]),
        "p99 of GET is 61 ms, over its limit of 50 ms; throughput is 900 ops/s, under its limit of 1,000 ops/s; \
         GET ran at 900 ops/s.",
        "severity comes before the order of observation"
    );
    assert_eq!(
        say(&[(&P99, 0.061), (&ERRORS, 0.001)]),
        "the error ratio is 0.1 %, over its limit of 0 %; p99 of GET is 61 ms, over its limit of 50 ms; \
         GET ran at 900 ops/s.",
        "of two critical ones the one further from its limit comes first"
    );
    assert_eq!(
        say(&[(&P99, 0.061), (&ERRORS, 0.001), (&RATE, 1.0), (&HITS, 0.0)]).matches("; ").count(),
        4,
        "three spelled out, the rest counted, and the finding"
    );
    assert!(
        say(&[(&P99, 0.061), (&ERRORS, 0.001), (&RATE, 1.0), (&HITS, 0.0)])
            .contains("; 1 more objective is unmet; ")
    );
}

#[test]
fn a_limit_that_is_just_missed_does_not_read_as_met() {
    let judged = judge(&LIMITS, &report(&[(&P99, 0.050_001)], &[]));
    assert!(judged.conclusion.starts_with("p99 of GET is 50.001 ms, over its limit of 50 ms; "));
}

#[test]
fn a_silent_probe_still_gets_a_conclusion() {
    let judged = judge(&[], &Report::default());
    assert_eq!(judged.conclusion, "Measured, with nothing to say.");
}

#[test]
fn exit_codes_are_those_of_the_contract() {
    use Grade::{Excellent, Fair, Good, Poor};
    for (grades, code, grade) in [
        (&[Some(Excellent)][..], 0, Some(Excellent)),
        (&[Some(Good), Some(Excellent)], 0, Some(Good)),
        (&[Some(Fair), Some(Excellent)], 1, Some(Fair)),
        (&[Some(Fair), Some(Poor)], 2, Some(Poor)),
        (&[Some(Excellent), None], 3, Some(Excellent)),
        (&[Some(Poor), None], 3, Some(Poor)),
        (&[None], 3, None),
        (&[], 3, None),
    ] {
        assert_eq!(exit_code(grades.iter().copied(), false), code, "{grades:?}");
        assert_eq!(exit_code(grades.iter().copied(), true), 130);
        assert_eq!(suite_grade(grades.iter().copied()), grade);
    }
}

#[test]
fn names_are_what_serde_writes() {
    for grade in [Grade::Excellent, Grade::Good, Grade::Fair, Grade::Poor] {
        assert_eq!(serde_json::to_value(grade).unwrap(), grade.as_str());
    }
    for outcome in [Outcome::Passed, Outcome::Failed, Outcome::Error, Outcome::Skipped, Outcome::Halted] {
        assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.as_str());
    }
}

#[test]
fn a_phase_that_the_server_kept_from_running_is_named() {
    let skipped = |phase, reason| SkippedPhase { phase, reason, message: String::new() };
    let mut report = report(&[], &[Doubt::PhaseSkipped]);
    report.skipped_phases.push(skipped("concurrent", Reason::Precondition));
    report.skipped_phases.push(skipped("memory", Reason::EffectNotAllowed));
    let judged = judge(&LIMITS, &report);
    assert_eq!(judged.conclusion, "did not run: concurrent (precondition); GET ran at 900 ops/s.");
    assert_eq!(judged.grade, Grade::Good, "not everything that was asked for was looked at");
}
