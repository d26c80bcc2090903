//! Judgement: from a report and a job's limits to outcome, grade and conclusion.
//!
//! Pure functions over data. What was measured belongs to the probes, who runs them to the runner.

use measure::report::{Direction, Severity, Unit};
use serde::Serialize;

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

/// Grade of a measured run.
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
}
