//! Alerts and dashboards against the program: what they name is exported, and what is exported is shown.
//!
//! Whether an alert fires at its time is for promtool's tests in `alerts/tests`; whether a panel has data is for `stack`.
//! Here all of it is read, and held against the catalogue of metrics and the registry of probes.

#[allow(dead_code, reason = "read by the tests of expressions and of panels with data")]
pub(crate) mod dashboards;
mod reading;
#[allow(dead_code, reason = "read by the tests of expressions and alerts")]
mod rules;
