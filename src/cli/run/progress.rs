//! How far a run is: a bar on a terminal, a line of the log now and then elsewhere.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use measure::{
    clock::{self, Instant},
    load::Progress,
    report::Unit,
};

use crate::verdict::human;

/// How often the runner is asked.
pub(super) const REFRESH: Duration = Duration::from_millis(200);
/// How often a phase that goes on gets another line in the log.
const LOG_EVERY: Duration = Duration::from_secs(10);
/// Steps of the bar.
const STEPS: u64 = 1_000;

/// Shows the progress of one run.
pub(super) struct Shown {
    run: String,
    bar: Option<ProgressBar>,
    phase: &'static str,
    logged: Instant,
}

impl Shown {
    /// `run` as people know it: "throughput on staging".
    pub(super) fn new(run: String) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix} {bar:30} {msg}");
            bar.set_style(style.expect("the template is a constant that is well formed"));
            bar.set_prefix(run.clone());
            bar
        });
        if bar.is_none() {
            tracing::info!("{run}: started");
        }
        Self { run, bar, phase: "", logged: clock::now() }
    }

    /// Takes in how far the run is now.
    pub(super) fn update(&mut self, progress: &Progress) {
        if let Some(bar) = &self.bar {
            bar.set_position((progress.done * STEPS as f64) as u64);
            bar.set_message(describe(progress));
            return;
        }
        let now = clock::now();
        if progress.phase != self.phase || now - self.logged >= LOG_EVERY {
            (self.phase, self.logged) = (progress.phase, now);
            tracing::info!("{}: {}", self.run, describe(progress));
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

/// "sustained, 500 ops/s, 12 s left"
fn describe(progress: &Progress) -> String {
    let mut text = if progress.phase.is_empty() { "starting" } else { progress.phase }.to_owned();
    if progress.per_second > 0.0 {
        text.push_str(", ");
        text.push_str(&human::value(progress.per_second, Unit::OperationsPerSecond));
    }
    if let Some(left) = progress.left {
        // Whole seconds: a count-down with a fraction only flickers.
        text.push_str(&format!(", {} s left", left.as_secs_f64().ceil()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_phase_rate_and_time_left() {
        let progress = Progress {
            phase: "sustained",
            done: 0.8,
            per_second: 500.0,
            left: Some(Duration::from_millis(11_300)),
        };
        assert_eq!(describe(&progress), "sustained, 500 ops/s, 12 s left");
        assert_eq!(describe(&Progress::default()), "starting");
    }
}
