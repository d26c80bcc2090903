//! The only place that talks to Prometheus: records in, exposition out. Rendering reads memory and waits for nobody.

use std::time::{Duration, SystemTime};

use measure::metric::MetricDef;

use super::Record;
use crate::config::{Job, Plan};

/// The state behind `/metrics`.
#[derive(Debug)]
pub struct Metrics;

impl Metrics {
    /// Nothing but the daemon's own metrics.
    #[must_use]
    pub fn new() -> Self {
        unimplemented!()
    }

    /// Creates the series of every target and job at zero, and drops those that are not in the plan any more.
    pub fn apply(&self, _plan: &Plan) {
        unimplemented!()
    }

    /// Takes in a finished run.
    pub fn publish(&self, _record: &Record) {
        unimplemented!()
    }

    /// When the job is due next; `slack` later it counts as overdue and its results disappear.
    pub fn next_run(&self, _job: &Job, _at: SystemTime, _slack: Duration) {
        unimplemented!()
    }

    /// Ticks that never came, because the daemon did not run at their time.
    pub fn missed_ticks(&self, _job: &Job, _count: u64) {
        unimplemented!()
    }

    /// How late a scheduled run started.
    pub fn start_lateness(&self, _lateness: Duration) {
        unimplemented!()
    }

    /// How a reload of the configuration ended.
    pub fn reloaded(&self, _successful: bool) {
        unimplemented!()
    }

    /// The event loop's latest lag.
    pub fn event_loop_lag(&self, _lag: Duration) {
        unimplemented!()
    }

    /// The whole exposition, text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        unimplemented!()
    }

    /// The exposition of one record alone, for `/probe`.
    #[must_use]
    pub fn render_record(_record: &Record) -> Vec<u8> {
        unimplemented!()
    }

    /// Every metric that there can be: the daemon's, every probe's common ones, and the probes' own.
    #[must_use]
    pub fn catalogue() -> Vec<&'static MetricDef> {
        unimplemented!()
    }
}
