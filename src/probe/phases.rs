//! A run's phases of load, from plan to report: may it run, run it, and what its figures are worth.
//!
//! For probes that put load on a server. What the phases are, and what their figures should be, belongs to the probe;
//! the load itself to the measuring core.

use std::{collections::BTreeMap, time::Duration};

use measure::{
    CommandCosts, Effect, Failure, ProbeError, Reason, attribute, command_of,
    facts::Info,
    load::{LoadPlan, LoadResult, Progress, StoppedBy},
    report::{Doubt, LoopKind, Operation, Report, ReportedError, SkippedPhase, Unit},
    wire::Command,
};

use super::{Needs, ProbeCx};
use crate::verdict::human;

/// Share of the offered operations that may be missed before the rate counts as not offered.
const MISSED: f64 = 0.01;

/// The phases of one run, and the report that they add up to.
pub struct Phases<'a> {
    cx: &'a ProbeCx,
    /// What was found so far.
    pub report: Report,
    costs: BTreeMap<&'static str, Costs>,
}

/// What the server spent during a phase.
struct Costs {
    commands: CommandCosts,
    /// Operations that could be out at a time.
    out: u64,
}

impl<'a> Phases<'a> {
    /// No phase yet.
    #[must_use]
    pub fn new(cx: &'a ProbeCx) -> Self {
        Self { cx, report: Report::default(), costs: BTreeMap::new() }
    }

    /// Whether `phase`, which `lasts` about so long, may run now. Where not, the report says why.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn admit(
        &mut self,
        phase: &'static str,
        effect: Effect,
        needs: Needs,
        lasts: Duration,
    ) -> Result<bool, ProbeError> {
        if self.interrupted() {
            self.skip(phase, &Failure::new(Reason::Cancelled, "the run was stopped before it"));
            return Ok(false);
        }
        if !self.cx.allows(effect) {
            let target = &self.cx.target;
            let message = format!(
                "needs {effect}, and {} allows {} at the most; set `allow = \"{effect}\"` on the target, or \
                 --allow {effect}, to have it",
                target.name, self.cx.allowed
            );
            self.skip(phase, &Failure::new(Reason::EffectNotAllowed, message));
            return Ok(false);
        }
        let (most, name) = (self.cx.target.max_connections, &self.cx.target.name);
        if needs.connections > most {
            let message = format!(
                "takes {} connections, above targets.{name}.max_connections = {most}; raise that, or lower the settings",
                needs.connections
            );
            self.skip(phase, &Failure::new(Reason::Precondition, message));
            return Ok(false);
        }
        let left = self.cx.time_left();
        if lasts > left {
            let [lasts, left] = [lasts, left].map(|time| human::value(time.as_secs_f64(), Unit::Seconds));
            let message = format!("takes {lasts}, and {left} of the run's timeout are left; raise `timeout`");
            self.skip(phase, &Failure::new(Reason::Deadline, message));
            return Ok(false);
        }
        if effect >= Effect::Load {
            let mut conn = self.cx.observer().await?;
            match self.cx.preflight(&mut conn, needs).await {
                Ok(()) => {}
                Err(ProbeError::Skipped(failure)) => {
                    self.skip(phase, &failure);
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        self.begin(phase);
        Ok(true)
    }

    /// Says why `phase` does not run.
    pub fn skip(&mut self, phase: &'static str, failure: &Failure) {
        self.cx.log.note(format!("{phase}: skipped: {}", failure.message));
        let Failure { reason, message } = failure.clone();
        self.report.skipped_phases.push(SkippedPhase { phase, reason, message });
    }

    /// Whether the run was told to stop.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.cx.control.kill.is_cancelled()
    }

    /// Tells who watches that this phase goes on now.
    pub fn begin(&self, phase: &'static str) {
        self.cx.control.progress.send_replace(Progress { phase, ..Progress::default() });
    }

    /// Runs a phase of load and adds everything about it to the report.
    ///
    /// # Errors
    /// Where no worker could connect.
    pub async fn load(&mut self, plan: LoadPlan, commands: Vec<Command>) -> Result<LoadResult, ProbeError> {
        let (phase, out) = (plan.phase, (plan.workers * plan.pipeline) as u64);
        let before = self.server_info().await;
        let result = self.cx.load(plan, commands).await?;
        let after = self.server_info().await;
        self.log(phase, &result);
        if let (Some(before), Some(after)) = (before, after) {
            self.compare(phase, &result, (&before, &after));
            self.costs.insert(phase, Costs { commands: CommandCosts::between(&before, &after), out });
        }
        self.doubt(&result);
        self.report.operations.extend(result.operations.iter().cloned());
        self.report.timeline.extend(result.timeline.iter().cloned());
        self.report.errors.extend(result.errors.iter().cloned());
        Ok(result)
    }

    /// Runs load that is not part of the report: to fill, to warm up, to remove.
    ///
    /// # Errors
    /// Where no worker could connect.
    pub async fn prepare(&self, plan: LoadPlan, commands: Vec<Command>) -> Result<LoadResult, ProbeError> {
        self.cx.load(plan, commands).await
    }

    /// Whether there is anything to report.
    ///
    /// # Errors
    /// Skipped, where no phase ran: for the first one's reason.
    pub fn measured(&self) -> Result<(), ProbeError> {
        match self.report.skipped_phases.first() {
            Some(SkippedPhase { reason, message, .. }) if self.report.operations.is_empty() => {
                Err(ProbeError::skipped(*reason, message.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Everything that the server says of itself; `None` where it may not be asked, which costs the attribution.
    pub async fn server_info(&self) -> Option<Info> {
        let mut conn = self.cx.observer().await.ok()?;
        match self.cx.info(&mut conn, &["all"]).await {
            Ok(info) => Some(info),
            Err(error) => {
                self.cx.log.note(format!("INFO is not available: {}", error.failure()));
                None
            }
        }
    }

    /// Adds where the time went, for the first of these phases that ran, and gives the report.
    #[must_use]
    pub fn finish(mut self, attributed: &[&'static str]) -> Report {
        if let Some((phase, costs)) =
            attributed.iter().find_map(|phase| Some((*phase, self.costs.get(phase)?)))
        {
            let of_phase = self.report.operations.iter().filter(|operation| operation.phase == phase);
            let operations: Vec<_> = of_phase.cloned().collect();
            self.report.attribution = attribute(&operations, &costs.commands, costs.out);
        }
        self.report
    }

    fn log(&self, phase: &'static str, result: &LoadResult) {
        for operation in &result.operations {
            self.cx.log.note(format!(
                "{phase} {}: {} ok of {} offered, {} errors, {}, p99 {}",
                operation.operation,
                human::count(operation.ok),
                human::count(operation.offered),
                human::count(operation.errors.values().sum()),
                human::value(operation.per_second(), Unit::OperationsPerSecond),
                human::seconds_or_dash(operation.response.p99),
            ));
        }
    }

    /// Checks our count against the server's own, and says what others did meanwhile.
    fn compare(&mut self, phase: &'static str, result: &LoadResult, (before, after): (&Info, &Info)) {
        let run_id = |info: &Info| info.server().map(|server| server.run_id);
        if run_id(before) != run_id(after) {
            self.report.errors.push(ReportedError {
                phase,
                reason: Reason::Restarted,
                message: "the server restarted during the phase".to_owned(),
                count: 1,
            });
            self.report.doubts.insert(Doubt::Reconnected);
            return;
        }
        let grown = |field| Some(after.integer(field)?.saturating_sub(before.integer(field)?));
        if let (Some(hits), Some(misses)) = (grown("keyspace_hits"), grown("keyspace_misses"))
            && hits + misses > 0
        {
            let ratio = hits as f64 / (hits + misses) as f64;
            self.report.measure(format!("{phase}_hit_ratio"), ratio, Unit::Ratio);
        }
        let costs = CommandCosts::between(before, after);
        let calls = |name: &str| costs.commands.get(name).map_or(0, |stat| stat.calls);
        let server: u64 =
            result.operations.iter().map(|operation| calls(command_of(operation.operation))).sum();
        let ours: u64 = result.operations.iter().map(|operation| operation.ok).sum();
        let all: u64 = costs.commands.values().map(|stat| stat.calls).sum();
        self.report.measure(format!("{phase}_server_calls"), server as f64, Unit::Count);
        self.report.measure(format!("{phase}_other_calls"), all.saturating_sub(ours) as f64, Unit::Count);
        if server < ours {
            self.report.errors.push(ReportedError {
                phase,
                reason: Reason::Other,
                message: format!(
                    "the server counted {server} calls where {ours} were answered: were its statistics reset?"
                ),
                count: 1,
            });
        }
    }

    fn doubt(&mut self, result: &LoadResult) {
        let offered: u64 = result.operations.iter().map(|operation| operation.offered).sum();
        let missed: u64 = result.operations.iter().map(|operation| operation.missed).sum();
        let open = result.operations.iter().any(|operation| operation.loop_kind == LoopKind::Open);
        let reasons = [
            (Doubt::Reconnected, result.reconnects > 0),
            (Doubt::ClippedValues, result.clipped > 0),
            (Doubt::RateNotOffered, open && missed as f64 > offered as f64 * MISSED),
        ];
        let held = reasons.into_iter().filter(|(_, holds)| *holds).map(|(doubt, _)| doubt);
        self.report.doubts.extend(held);
        if result.stopped_by == StoppedBy::ErrorRatio {
            self.cx.log.note("stopped early: nearly every operation failed");
        }
    }
}

/// Failed share of all attempts of a report; `None` where nothing was attempted.
#[must_use]
pub fn error_ratio(report: &Report) -> Option<f64> {
    let attempts: u64 = report.operations.iter().map(|operation| operation.attempts).sum();
    let ok: u64 = report.operations.iter().map(|operation| operation.ok).sum();
    (attempts > 0).then(|| (attempts - ok) as f64 / attempts as f64)
}

/// The worst failing operation in words: "no SET of 1,000 succeeded in basic (oom)". `None` where all went well.
#[must_use]
pub fn worst_failure(report: &Report) -> Option<String> {
    let worst = report
        .operations
        .iter()
        .filter(|operation| operation.ok < operation.attempts)
        .max_by(|a, b| a.error_ratio().total_cmp(&b.error_ratio()).then(a.attempts.cmp(&b.attempts)))?;
    let reason =
        worst.errors.iter().max_by_key(|(_, count)| **count).map_or(Reason::Other, |(reason, _)| *reason);
    let name = worst.operation.to_ascii_uppercase();
    let (attempts, phase) = (human::count(worst.attempts), worst.phase);
    Some(if worst.ok == 0 {
        format!("no {name} of {attempts} succeeded in {phase} ({reason})")
    } else {
        let share = human::value(worst.error_ratio(), Unit::Ratio);
        format!("{share} of {attempts} {name} failed in {phase} ({reason})")
    })
}

/// Successful operations per second of a phase, all its operations together; `None` where it did not run.
#[must_use]
pub fn per_second(report: &Report, phase: &str) -> Option<f64> {
    in_phase(report, phase).map(Operation::per_second).reduce(|a, b| a + b)
}

/// Successes over offered operations of a phase; `None` where it did not run.
#[must_use]
pub fn achieved_ratio(report: &Report, phase: &str) -> Option<f64> {
    let offered: u64 = in_phase(report, phase).map(|operation| operation.offered).sum();
    let ok: u64 = in_phase(report, phase).map(|operation| operation.ok).sum();
    (offered > 0).then(|| ok as f64 / offered as f64)
}

/// Mean response time over all successes of a phase.
#[must_use]
pub fn mean_response(report: &Report, phase: &str) -> Option<f64> {
    let count: u64 = in_phase(report, phase).map(|operation| operation.response.count).sum();
    let sum: f64 = in_phase(report, phase).map(|operation| operation.response.sum).sum();
    (count > 0).then(|| sum / count as f64)
}

/// The quantile of the phase's slowest operation. `None` where an operation has too few samples for it, or the phase
/// did not run: the slowest could be that one.
#[must_use]
pub fn slowest_quantile(report: &Report, phase: &str, quantile: &str) -> Option<f64> {
    let mut slowest = None;
    for operation in in_phase(report, phase).filter(|operation| operation.attempts > 0) {
        slowest = Some(operation.response.quantile(quantile)?.max(slowest.unwrap_or_default()));
    }
    slowest
}

/// Whether a phase ran.
#[must_use]
pub fn ran(report: &Report, phase: &str) -> bool {
    in_phase(report, phase).next().is_some()
}

fn in_phase<'r>(report: &'r Report, phase: &str) -> impl Iterator<Item = &'r Operation> {
    report.operations.iter().filter(move |operation| operation.phase == phase)
}

/// Waits, unless the run is told to stop meanwhile.
pub async fn pause(cx: &ProbeCx, length: Duration) {
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = cx.control.kill.cancelled() => {}
    }
}

#[cfg(test)]
mod tests {
    use measure::latency::Recorder;

    use super::*;

    fn operation(
        phase: &'static str,
        operation: &'static str,
        millis: &[u64],
        errors: &[(Reason, u64)],
    ) -> Operation {
        let mut recorder = Recorder::default();
        millis.iter().for_each(|millis| recorder.record(Duration::from_millis(*millis)));
        let ok = millis.len() as u64;
        let attempts = ok + errors.iter().map(|(_, count)| count).sum::<u64>();
        Operation {
            phase,
            operation,
            loop_kind: LoopKind::Open,
            duration_seconds: 2.0,
            offered: attempts + 1,
            attempts,
            ok,
            errors: errors.iter().copied().collect(),
            indeterminate: 0,
            missed: 1,
            response: recorder.summary(),
            service: recorder.summary(),
            response_buckets: recorder.buckets(),
            service_buckets: recorder.buckets(),
        }
    }

    fn report(operations: Vec<Operation>) -> Report {
        Report { operations, ..Report::default() }
    }

    #[test]
    fn shares_and_rates_are_over_all_operations_of_a_phase() {
        let report = report(vec![
            operation("a", "get", &[10; 30], &[]),
            operation("a", "set", &[20; 10], &[(Reason::Oom, 10)]),
            operation("b", "get", &[1; 50], &[]),
        ]);
        assert_eq!(error_ratio(&report), Some(0.1));
        assert_eq!(per_second(&report, "a"), Some(20.0));
        assert_eq!(achieved_ratio(&report, "a"), Some(40.0 / 52.0));
        assert!((mean_response(&report, "a").unwrap() - 0.0125).abs() < 1e-9);
        assert_eq!(per_second(&report, "c"), None);
        assert!(ran(&report, "b") && !ran(&report, "c"));
        assert_eq!(error_ratio(&Report::default()), None);
    }

    #[test]
    fn the_slowest_operation_needs_samples_of_every_operation() {
        let mut both =
            report(vec![operation("a", "get", &[1; 30], &[]), operation("a", "set", &[9; 30], &[])]);
        assert!((slowest_quantile(&both, "a", "0.5").unwrap() - 0.009).abs() < 1e-4);
        both.operations.push(operation("a", "del", &[1; 3], &[]));
        assert_eq!(slowest_quantile(&both, "a", "0.5"), None, "the third could be the slowest");
        assert_eq!(slowest_quantile(&both, "c", "0.5"), None);
    }

    #[test]
    fn the_worst_failure_is_named_with_its_main_reason() {
        let some = operation("a", "get", &[1; 96], &[(Reason::Timeout, 3), (Reason::Reset, 1)]);
        assert_eq!(
            worst_failure(&report(vec![some.clone()])).unwrap(),
            "4 % of 100 GET failed in a (timeout)"
        );
        let none = operation("b", "set", &[], &[(Reason::Oom, 1_000)]);
        assert_eq!(worst_failure(&report(vec![some, none])).unwrap(), "no SET of 1,000 succeeded in b (oom)");
        assert_eq!(worst_failure(&report(vec![operation("a", "get", &[1], &[])])), None);
    }
}
