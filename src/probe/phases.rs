//! A run's phases of load, from plan to report: may it run, run it, and what its figures are worth.
//!
//! For probes that put load on a server. What the phases are, and what their figures should be, belongs to the probe;
//! arithmetic over the figures to `figures`; the load itself to the measuring core.

use std::{collections::BTreeMap, time::Duration};

use measure::{
    CommandCosts, Effect, Failure, Grant, ProbeError, Reason, attribute, command_of,
    facts::Info,
    load::{LoadPlan, LoadResult, Progress, StoppedBy},
    report::{Doubt, LoopKind, Report, ReportedError, SkippedPhase, Unit},
    wire::Command,
};

use super::{Needs, ProbeCx};
use crate::verdict::human;

/// Largest value that a probe writes; a larger one measures the network.
pub const MAX_VALUE_SIZE: u64 = 1 << 20;
/// What [`Phases::server_info`] sends, for the probe's list.
pub const SERVER_INFO: Grant = Grant::touch("info", "all", "say where the server's time and memory went")
    .optional("nothing is said of them");
/// Share of the offered operations that may be missed before the rate counts as not offered.
const MISSED: f64 = 0.01;

/// The phases of one run, and the report that they add up to.
pub struct Phases<'a> {
    pub(super) cx: &'a ProbeCx,
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
        if let Some(failure) = self.cx.only_looks.as_ref().filter(|_| !self.cx.allows(effect)) {
            self.skip(phase, failure);
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
        // What the configuration rules out is no surprise; what the server's state kept from running is.
        if reason != Reason::EffectNotAllowed {
            self.report.doubts.insert(Doubt::PhaseSkipped);
        }
        self.report.skipped_phases.push(SkippedPhase { phase, reason, message });
    }

    /// Whether the run was told to stop.
    #[must_use]
    pub fn interrupted(&self) -> bool {
        self.cx.control.kill.is_cancelled()
    }

    /// Waits, unless the run is told to stop meanwhile.
    pub async fn pause(&self, length: Duration) {
        tokio::select! {
            () = tokio::time::sleep(length) => {}
            () = self.cx.control.kill.cancelled() => {}
        }
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
        // A run that was stopped has little time for its last words, and perhaps a server that does not answer.
        let after = if self.interrupted() { None } else { self.server_info().await };
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

    pub(super) fn log(&self, phase: &'static str, result: &LoadResult) {
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
    pub(super) fn compare(
        &mut self,
        phase: &'static str,
        result: &LoadResult,
        (before, after): (&Info, &Info),
    ) {
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

    pub(super) fn doubt(&mut self, result: &LoadResult) {
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
