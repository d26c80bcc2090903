//! Alerts and dashboards against the program: what they name is exported, and what is exported is shown.
//!
//! Whether an alert fires at its time is for promtool's tests in `alerts/tests`; whether a panel has data is for `stack`.
//! Here all of it is read, and held against the catalogue of metrics and the registry of probes.

use std::sync::LazyLock;

use self::{
    dashboards::Dashboard,
    known::Known,
    rules::{RuleFile, TestFile},
};

mod alerts;
pub(crate) mod dashboards;
mod emitted;
mod expressions;
mod guides;
mod hygiene;
mod known;
mod objectives;
mod plotted;
mod proof;
mod reading;
mod rules;
mod walk;

/// What the repository ships, read once.
struct Shipped {
    rules: Vec<RuleFile>,
    tests: Vec<TestFile>,
    dashboards: Vec<Dashboard>,
    known: Known,
}

fn shipped() -> &'static Shipped {
    static SHIPPED: LazyLock<Shipped> = LazyLock::new(|| {
        let rules = rules::all();
        let known = Known::with(&rules);
        Shipped { rules, tests: rules::tests(), dashboards: dashboards::all(), known }
    });
    &SHIPPED
}
