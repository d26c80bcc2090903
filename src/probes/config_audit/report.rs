//! From an audit to a report: counts, objectives, metrics, and one sentence.

use std::collections::BTreeMap;

use measure::{
    Reason,
    report::{Check, Report, ReportedError, Unit},
};

use super::{
    Audit, CHANGED, CHANGED_AT, CRITICAL_FAILING, DENIED, HIGH_FAILING, MEDIUM_FAILING, UNKNOWN,
    ask::Answers, catalogue::Severity, evaluate::Judged, value::Unknown,
};
use crate::verdict::human;

/// Failing checks that the conclusion names.
const NAMED: usize = 3;

/// The report; `changed_at` is when a setting was last seen to have changed.
pub(super) fn report(audit: &Audit, answers: &Answers, changed_at: Option<f64>) -> Report {
    let mut report = Report { conclusion: conclusion(&audit.judged), ..Report::default() };
    let failing = |severity: Severity| {
        let fails =
            |judged: &&Judged| judged.check.status == "fail" && judged.check.severity == severity.as_str();
        audit.judged.iter().filter(fails).count() as f64
    };
    report.observe(&CRITICAL_FAILING, failing(Severity::Critical));
    report.observe(&HIGH_FAILING, failing(Severity::High));
    report.observe(&MEDIUM_FAILING, failing(Severity::Medium));
    let apply = audit.judged.len() - with_status(&audit.judged, "not_applicable");
    let denied = audit.judged.iter().filter(|judged| judged.unknown == Some(Unknown::Denied)).count();
    report.observe(&DENIED, denied as f64 / apply.max(1) as f64);
    for status in STATUSES {
        report.measure(status, with_status(&audit.judged, status) as f64, Unit::Count);
    }
    if let Ok(changes) = &audit.changes {
        report.set(&CHANGED, changes.len() as f64);
    }
    if let Some(at) = changed_at {
        report.set(&CHANGED_AT, at);
    }
    for why in Unknown::ALL {
        let count = audit.judged.iter().filter(|judged| judged.unknown == Some(why)).count();
        report.set_with(&UNKNOWN, [why.as_str().into()], count as f64);
    }
    report.errors = answers.denied.texts().map(denial).collect();
    report.checks = audit.judged.iter().map(|judged| judged.check.clone()).collect();
    report
}

fn denial(text: &str) -> ReportedError {
    ReportedError { phase: "audit", reason: Reason::Denied, message: text.to_owned(), count: 1 }
}

const STATUSES: [&str; 5] = ["pass", "warn", "fail", "unknown", "not_applicable"];

fn with_status(judged: &[Judged], status: &str) -> usize {
    judged.iter().filter(|judged| judged.check.status == status).count()
}

/// The worst failures by name, then how many there are of each kind.
fn conclusion(judged: &[Judged]) -> String {
    let rank: BTreeMap<_, _> =
        Severity::ALL.iter().enumerate().map(|(rank, severity)| (severity.as_str(), rank)).collect();
    let mut failing: Vec<&Check> =
        judged.iter().map(|judged| &judged.check).filter(|check| check.status == "fail").collect();
    failing.sort_by_key(|check| rank.get(check.severity));
    let count = |status| human::count(with_status(judged, status) as u64);
    let mut sentence = match failing.len() {
        0 => "No check fails".to_owned(),
        1 => "1 check fails".to_owned(),
        more => format!("{more} checks fail"),
    };
    let named: Vec<_> =
        failing.iter().take(NAMED).map(|check| format!("{} ({})", check.check, check.actual)).collect();
    if !named.is_empty() {
        let first = if failing.len() > NAMED { ", the worst of them " } else { ": " };
        sentence.push_str(first);
        sentence.push_str(&named.join(", "));
    }
    format!(
        "{sentence}; {} pass, {} warn, {} unknown, {} not applicable.",
        count("pass"),
        count("warn"),
        count("unknown"),
        count("not_applicable"),
    )
}
