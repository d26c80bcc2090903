//! Judgement: from a report and a job's limits to outcome, grade and conclusion.
//!
//! Pure functions over data. What was measured belongs to the probes, who runs them to the runner.

use std::cmp::Ordering;

use measure::{
    Reason,
    report::{Direction, ObjectiveDef, Report, Severity, Unit},
};
use serde::Serialize;

use crate::config::Limit;

pub mod human;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Measured, and no objective of severity warning or critical unmet.
    Passed,
    /// Measured, and one unmet.
    Failed,
    /// Not measured.
    Error,
    /// Not attempted, because it may not or cannot run now.
    Skipped,
    /// Stopped half-way, because going on could have done harm.
    Halted,
}

impl Outcome {
    /// As labels, the API and people read it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Error => "error",
            Self::Skipped => "skipped",
            Self::Halted => "halted",
        }
    }
}

/// Grade of a measured run; a greater one is worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Grade {
    /// All objectives met and no doubt.
    Excellent,
    /// Only info unmet, or doubts.
    Good,
    /// A warning unmet.
    Fair,
    /// A critical unmet.
    Poor,
}

impl Grade {
    /// As reports write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Excellent => "EXCELLENT",
            Self::Good => "GOOD",
            Self::Fair => "FAIR",
            Self::Poor => "POOR",
        }
    }
}

/// One objective of one run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Objective {
    /// Its name.
    pub name: &'static str,
    /// What was measured.
    pub observed: f64,
    /// The limit in force.
    pub limit: f64,
    /// Which way it is met.
    pub direction: Direction,
    /// The unit of both.
    pub unit: Unit,
    /// Whether it is met.
    pub met: bool,
    /// What missing it costs.
    pub severity: Severity,
    /// How it reads in a sentence.
    #[serde(skip)]
    pub phrase: &'static str,
}

/// What a measured run is worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// Passed or failed: a report is a measured run.
    pub outcome: Outcome,
    /// The grade.
    pub grade: Grade,
    /// Every objective that was observed, in the order of observation.
    pub objectives: Vec<Objective>,
    /// One sentence: what is unmet, the worst first, and what the probe found.
    pub conclusion: String,
}

/// Unmet objectives that a conclusion spells out.
const SPELLED_OUT: usize = 3;

/// Judges a measured run. An objective that was not observed is not judged.
#[must_use]
pub fn judge(limits: &[Limit], report: &Report) -> Judged {
    let objectives: Vec<_> =
        report.observed.iter().map(|(def, observed)| Objective::new(def, limits, *observed)).collect();
    let worst = objectives.iter().filter(|objective| !objective.met).map(|o| o.severity).max();
    let grade = match worst {
        Some(Severity::Critical) => Grade::Poor,
        Some(Severity::Warning) => Grade::Fair,
        Some(Severity::Info) => Grade::Good,
        None if report.doubts.is_empty() => Grade::Excellent,
        None => Grade::Good,
    };
    let outcome = if grade >= Grade::Fair { Outcome::Failed } else { Outcome::Passed };
    let conclusion = conclude(&objectives, report);
    Judged { outcome, grade, objectives, conclusion }
}

/// The grade of several runs: the worst of those that were measured, `None` where none was.
#[must_use]
pub fn suite_grade(grades: impl IntoIterator<Item = Option<Grade>>) -> Option<Grade> {
    grades.into_iter().flatten().max()
}

/// The exit code of `run`: the greatest of its runs' codes, 0 for EXCELLENT and GOOD, 1 for FAIR, 2 for POOR, 3 for a
/// run that was not measured; 3 also where nothing ran, and 130 when it was interrupted.
#[must_use]
pub fn exit_code(grades: impl IntoIterator<Item = Option<Grade>>, interrupted: bool) -> i32 {
    if interrupted {
        return 130;
    }
    let code = |grade| match grade {
        Some(Grade::Excellent | Grade::Good) => 0,
        Some(Grade::Fair) => 1,
        Some(Grade::Poor) => 2,
        None => NOT_MEASURED,
    };
    grades.into_iter().map(code).max().unwrap_or(NOT_MEASURED)
}

/// Exit code for everything that kept a run from being measured.
pub const NOT_MEASURED: i32 = 3;

impl Objective {
    fn new(def: &'static ObjectiveDef, limits: &[Limit], observed: f64) -> Self {
        let limit = limits
            .iter()
            .find(|limit| limit.objective.name == def.name)
            .map_or(def.limit, |limit| limit.limit);
        // A value that is no number meets nothing.
        let met = match def.direction {
            Direction::Min => observed >= limit,
            Direction::Max => observed <= limit,
        };
        Self {
            name: def.name,
            observed,
            limit,
            direction: def.direction,
            unit: def.unit,
            met,
            severity: def.severity,
            phrase: def.phrase,
        }
    }

    /// "p99 of GET is 61 ms, over its limit of 50 ms".
    #[must_use]
    pub fn sentence(&self) -> String {
        let (observed, limit) = human::pair(self.observed, self.limit, self.unit);
        let relation = match (self.met, self.direction) {
            (true, _) => "within",
            (false, Direction::Max) => "over",
            (false, Direction::Min) => "under",
        };
        format!("{} is {observed}, {relation} its limit of {limit}", self.phrase)
    }

    /// How far from its limit, as a factor; infinite where the limit leaves no room at all.
    fn excess(&self) -> f64 {
        let factor = match self.direction {
            Direction::Max => self.observed / self.limit,
            Direction::Min => self.limit / self.observed,
        };
        if factor.is_finite() && factor > 0.0 { factor } else { f64::INFINITY }
    }

    fn worse(a: &&Self, b: &&Self) -> Ordering {
        b.severity.cmp(&a.severity).then(b.excess().total_cmp(&a.excess()))
    }
}

fn conclude(objectives: &[Objective], report: &Report) -> String {
    // What explains itself is not told twice: the objectives are listed beside it.
    let told = |objective: &&Objective| !objective.met && !report.explains;
    let mut unmet: Vec<_> = objectives.iter().filter(told).collect();
    // The sort is stable: equals stay in the probe's order.
    unmet.sort_by(Objective::worse);
    let mut parts: Vec<_> = unmet.iter().take(SPELLED_OUT).map(|objective| objective.sentence()).collect();
    match unmet.len().saturating_sub(SPELLED_OUT) {
        0 => {}
        1 => parts.push("1 more objective is unmet".to_owned()),
        more => parts.push(format!("{more} more objectives are unmet")),
    }
    let kept_out = report.skipped_phases.iter().filter(|skipped| skipped.reason != Reason::EffectNotAllowed);
    let kept_out: Vec<_> =
        kept_out.map(|skipped| format!("{} ({})", skipped.phase, skipped.reason)).collect();
    if !kept_out.is_empty() {
        parts.push(format!("did not run: {}", kept_out.join(", ")));
    }
    if !report.conclusion.is_empty() {
        parts.push(report.conclusion.clone());
    }
    if parts.is_empty() {
        return "Measured, with nothing to say.".to_owned();
    }
    parts.join("; ")
}

#[cfg(test)]
mod tests;
