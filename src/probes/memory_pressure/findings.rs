//! What a run found: metrics, objectives, the policy against what it promises, and the conclusion.
//!
//! Figures in, report out; nothing here asks the server.

use measure::{
    Reason,
    journal::Restored,
    metric::MetricDef,
    report::{Direction, ObjectiveDef, Report, Severity, Unit},
};

use super::{
    fill::{End, Fill},
    look::Look,
    plan::{Plan, rounded, size},
    policy::{Policy, Takes},
    run::{BEFORE, MONITOR, Relief, Watched},
};
use crate::{probe::figures, verdict::human};

measure::metrics! {
    /// Limit in force during the last run.
    gauge LIMIT = "redprobe_memory_pressure_limit_bytes";
    /// Used memory of the last run: before, filled, after the monitoring, after the deletion, at the end.
    gauge USED = "redprobe_memory_pressure_used_bytes" [moment];
    /// Used memory over the limit when the last fill was done.
    gauge REACHED = "redprobe_memory_pressure_reached_ratio";
    /// Bytes of values that the last run wrote.
    gauge FILLED = "redprobe_memory_pressure_filled_bytes";
    /// Keys evicted during the last run: the probe's own, and others'.
    gauge EVICTED = "redprobe_memory_pressure_evicted_keys" [owner];
    /// Keys evicted per second while the last run watched its full memory.
    gauge EVICTIONS = "redprobe_memory_pressure_evictions_per_second";
    /// Own writes that the server refused with OOM during the last run.
    gauge REFUSED = "redprobe_memory_pressure_refused_writes";
    /// p95 of a GET in the last run: before the pressure and under it.
    gauge CANARY = "redprobe_memory_pressure_canary_p95_seconds" [moment];
    /// Time from the removal of the last key until used memory was back where the last run had begun; absent where it did not come back in time.
    gauge BACK = "redprobe_memory_pressure_back_seconds";
    /// Share of the last fill's growth that was given back at its end.
    gauge RECOVERY = "redprobe_memory_pressure_recovery_ratio";
    /// Resident over used memory, before the last run and at its end.
    gauge FRAGMENTATION = "redprobe_memory_pressure_fragmentation_ratio" [moment];
    /// Settings that the last run changed and put back, read from the server afterwards.
    gauge RESTORED = "redprobe_memory_pressure_restored_settings";
}

static TARGET_REACHED: ObjectiveDef = ObjectiveDef {
    name: "target_reached",
    phrase: "the share of the target that memory reached",
    help: "Used memory after the fill over the used memory asked for. Less means that writes were refused before, or that others gave memory back.",
    direction: Direction::Min,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.98,
};

static POLICY_BREACHES: ObjectiveDef = ObjectiveDef {
    name: "policy_breaches",
    phrase: "what the eviction policy did against its promise",
    help: "Keys evicted under noeviction, or writes refused under a policy that had keys to evict. A server does neither.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

static FOREIGN_EVICTIONS: ObjectiveDef = ObjectiveDef {
    name: "foreign_evictions",
    phrase: "keys of others that were evicted meanwhile",
    help: "Evicted keys that were not the probe's own. A probe must cost nobody a key.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

static CANARY_P95: ObjectiveDef = ObjectiveDef {
    name: "canary_p95",
    phrase: "p95 of GET under pressure",
    help: "95th percentile of a small GET at a steady rate while memory is full. Eviction works between commands: 50 ms is the common bound for a Redis operation.",
    direction: Direction::Max,
    unit: Unit::Seconds,
    severity: Severity::Warning,
    limit: 0.05,
};

static MEMORY_RECOVERED: ObjectiveDef = ObjectiveDef {
    name: "memory_recovered",
    phrase: "the share of memory given back",
    help: "Share of the fill's growth that used memory had lost again 5 s after the last own key was removed. Less means that others grew meanwhile, or that freeing lags behind.",
    direction: Direction::Min,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.9,
};

static SETTINGS_RESTORED: ObjectiveDef = ObjectiveDef {
    name: "settings_restored",
    phrase: "the share of changed settings that were put back",
    help: "Changed settings that the server, asked again, has at their first value. Anything less leaves a mark.",
    direction: Direction::Min,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 1.0,
};

pub(super) const ALL_METRICS: &[&MetricDef] = METRICS;
pub(super) const OBJECTIVES: &[&ObjectiveDef] = &[
    &TARGET_REACHED,
    &POLICY_BREACHES,
    &FOREIGN_EVICTIONS,
    &CANARY_P95,
    &MEMORY_RECOVERED,
    &SETTINGS_RESTORED,
];

/// Everything that a run came to.
pub(super) struct Found<'a> {
    pub(super) plan: &'a Plan,
    pub(super) start: &'a Look,
    pub(super) fill: &'a Fill,
    pub(super) monitored: Watched,
    pub(super) recovered: Watched,
    pub(super) relief: &'a Relief,
    /// Own keys that were evicted.
    pub(super) own_evicted: u64,
    /// Most keys of others seen at a time.
    pub(super) foreign: u64,
    /// How well the order of evictions was the policy's.
    pub(super) order: Option<f64>,
    pub(super) restored: &'a Restored,
}

impl Found<'_> {
    fn evicted(&self) -> u64 {
        self.relief.end.map_or(0, |end| end.evicted.saturating_sub(self.start.evicted))
    }

    /// Never more than there were: redprobe's own lease can be evicted, too.
    fn foreign_evicted(&self) -> u64 {
        self.evicted().saturating_sub(self.own_evicted).min(self.foreign)
    }

    fn refused(&self) -> u64 {
        self.fill.refused.get(&Reason::Oom).copied().unwrap_or(0)
    }

    fn breaches(&self) -> u64 {
        if self.plan.policy == Policy::Noeviction { self.evicted() } else { self.refused() }
    }

    fn recovery(&self) -> Option<f64> {
        let growth = self.fill.last.used.checked_sub(self.start.used).filter(|growth| *growth > 0)?;
        let left = self.relief.end?.used.saturating_sub(self.start.used);
        Some(1.0 - (left as f64 / growth as f64).min(1.0))
    }

    /// Puts it all into the report.
    pub(super) fn write(&self, report: &mut Report) {
        self.memory(report);
        self.patterns(report);
        self.evictions(report);
        self.observe(report);
        report.conclusion = self.conclusion(report);
    }

    fn memory(&self, report: &mut Report) {
        let (limit, last) = (self.plan.limit as f64, self.fill.last);
        report.set(&LIMIT, limit);
        let moments = [
            ("before", Some(self.start.used)),
            ("filled", Some(last.used)),
            ("monitored", Some(self.monitored.last)),
            ("deleted", Some(self.relief.after)),
            ("end", self.relief.end.map(|end| end.used)),
        ];
        for (moment, used) in moments {
            let Some(used) = used else { continue };
            report.measure(format!("used_{moment}"), used as f64, Unit::Bytes);
            report.set_with(&USED, [moment.into()], used as f64);
        }
        let reached = last.used as f64 / limit;
        report.measure("reached", reached, Unit::Ratio);
        report.set(&REACHED, reached);
        let filled = (self.fill.written * self.plan.value_size) as f64;
        report.measure("filled", filled, Unit::Bytes);
        report.measure("value_size", self.plan.value_size as f64, Unit::Bytes);
        report.set(&FILLED, filled);
        let fragmentations = [
            ("before", self.start.fragmentation),
            ("end", self.relief.end.and_then(|end| end.fragmentation)),
        ];
        for (moment, value) in fragmentations {
            let Some(value) = value else { continue };
            report.measure(format!("fragmentation_{moment}"), value, Unit::Count);
            report.set_with(&FRAGMENTATION, [moment.into()], value);
        }
        if let Some(resident) = self.relief.end.and_then(|end| end.resident) {
            report.measure("resident_end", resident, Unit::Bytes);
        }
    }

    /// Growth, stability, and how it came back.
    fn patterns(&self, report: &mut Report) {
        let (fill, monitored, relief) = (self.fill, self.monitored, self.relief);
        let growth = fill.last.used.saturating_sub(self.start.used) as f64;
        report.measure("growth", growth, Unit::Bytes);
        if fill.written > 0 {
            report.measure("growth_per_key", growth / fill.written as f64, Unit::Bytes);
            report.measure("fill_time", fill.duration.as_secs_f64(), Unit::Seconds);
        }
        let limit = self.plan.limit as f64;
        report.measure("monitor_spread", (monitored.highest - monitored.lowest) as f64 / limit, Unit::Ratio);
        report.measure("monitor_drift", monitored.last as f64 - monitored.first as f64, Unit::Bytes);
        for (phase, watched) in [("monitor", monitored), ("recovery", self.recovered)] {
            if watched.seconds > 0.0 {
                let per_second = watched.commands as f64 / watched.seconds;
                report.measure(format!("{phase}_commands"), per_second, Unit::OperationsPerSecond);
            }
        }
        report.measure("deleted_keys", relief.deleted as f64, Unit::Count);
        if relief.deleted > 0 {
            let freed = relief.before.saturating_sub(relief.after) as f64;
            report.measure("deleted_freed", freed, Unit::Bytes);
            report.measure("recovery_drift", self.recovered.last as f64 - relief.after as f64, Unit::Bytes);
        }
        if let Some(back) = relief.back.filter(|_| fill.written > 0) {
            report.measure("back_time", back.as_secs_f64(), Unit::Seconds);
            report.set(&BACK, back.as_secs_f64());
        }
        if let Some(recovery) = self.recovery() {
            report.measure("recovery", recovery, Unit::Ratio);
            report.set(&RECOVERY, recovery);
        }
    }

    fn evictions(&self, report: &mut Report) {
        report.measure("evicted_own", self.own_evicted as f64, Unit::Count);
        report.measure("evicted_foreign", self.foreign_evicted() as f64, Unit::Count);
        report.set_with(&EVICTED, ["own".into()], self.own_evicted as f64);
        report.set_with(&EVICTED, ["foreign".into()], self.foreign_evicted() as f64);
        let seconds = self.monitored.seconds;
        let rate = if seconds > 0.0 { self.monitored.evicted as f64 / seconds } else { 0.0 };
        report.measure("evictions_per_second", rate, Unit::Count);
        report.set(&EVICTIONS, rate);
        report.measure("refused_writes", self.refused() as f64, Unit::Count);
        report.set(&REFUSED, self.refused() as f64);
        if let Some(order) = self.order {
            report.measure("eviction_order", order, Unit::Ratio);
        }
        for (moment, phase) in [("before", BEFORE), ("under_pressure", MONITOR)] {
            let Some(p95) = figures::slowest_quantile(report, phase, "0.95") else { continue };
            report.measure(format!("canary_p95_{moment}"), p95, Unit::Seconds);
            report.set_with(&CANARY, [moment.into()], p95);
        }
    }

    fn observe(&self, report: &mut Report) {
        if self.fill.end != End::AlreadyAbove {
            // What is written above the limit does not stay.
            let goal = self.plan.goal.min(self.plan.limit) as f64;
            let full = self.plan.is_above_limit() && self.refused() + self.evicted() > 0;
            let reached = if full { 1.0 } else { (self.fill.last.used as f64 / goal).min(1.0) };
            report.observe(&TARGET_REACHED, reached);
        }
        report.observe(&POLICY_BREACHES, self.breaches() as f64);
        report.observe(&FOREIGN_EVICTIONS, self.foreign_evicted() as f64);
        let p95 = figures::slowest_quantile(report, MONITOR, "0.95");
        report.observe_if(&CANARY_P95, p95);
        if let Some(recovery) = self.recovery().filter(|_| self.fill.written > 0) {
            report.observe(&MEMORY_RECOVERED, recovery);
        }
        let restored = self.restored.restored.len();
        report.set(&RESTORED, restored as f64);
        let changed = restored + self.restored.conflicts.len();
        if changed > 0 {
            report.observe(&SETTINGS_RESTORED, restored as f64 / changed as f64);
        }
    }

    fn conclusion(&self, report: &Report) -> String {
        let mut parts = vec![self.filling(), self.policy()];
        parts.extend(self.canary(report));
        parts.extend(self.giving_back());
        let names = |fates: &[measure::journal::Fate]| {
            let names: Vec<_> = fates.iter().map(|fate| fate.setting.parameter.as_str()).collect();
            names.join(" and ")
        };
        if !self.restored.restored.is_empty() {
            parts.push(format!("{} as before", names(&self.restored.restored)));
        }
        if !self.restored.conflicts.is_empty() {
            parts
                .push(format!("{} changed by somebody else and left alone", names(&self.restored.conflicts)));
        }
        human::sentence(&parts)
    }

    fn filling(&self) -> String {
        let (fill, plan) = (self.fill, self.plan);
        let level = human::value(fill.last.used as f64 / plan.limit as f64, Unit::Ratio);
        let of = size(plan.limit);
        let wrote = format!("{} of {}", human::things(fill.written, "key"), rounded(plan.value_size));
        let took = human::value(fill.duration.as_secs_f64(), Unit::Seconds);
        match fill.end {
            End::AlreadyAbove => {
                let goal = human::value(plan.goal as f64 / plan.limit as f64, Unit::Ratio);
                format!(
                    "Used memory was {level} of {of} already, above the target of {goal}: nothing was loaded"
                )
            }
            End::Reached => format!("Filled to {level} of {of} with {wrote} in {took}"),
            End::Refused => format!("Filled to {level} of {of} with {wrote}, until the server refused more"),
            End::Table => format!(
                "Filled to {level} of {of} with {wrote}, and no further, since the server's table of keys would have doubled"
            ),
            End::OutOfKeys => {
                format!(
                    "Filled to {level} of {of} with {wrote}, and no further, since others gave memory back meanwhile"
                )
            }
            End::Interrupted => format!("Stopped at {level} of {of}"),
        }
    }

    /// What the policy did, against what it promises.
    fn policy(&self) -> String {
        let (policy, refused, own) = (self.plan.policy, self.refused(), self.own_evicted);
        let foreign = self.foreign_evicted();
        if foreign > 0 {
            return format!("{policy} evicted {} of others", human::things(foreign, "key"));
        }
        match policy.takes() {
            Takes::Nothing if self.evicted() > 0 => {
                format!(
                    "{policy} promises to evict nothing, and {} went",
                    human::things(self.evicted(), "key")
                )
            }
            Takes::Nothing if refused > 0 => {
                format!(
                    "{policy} refused {} with OOM and lost no key, as it promises",
                    human::things(refused, "write")
                )
            }
            Takes::Nothing => format!("{policy} lost no key and refused no write"),
            _ if refused > 0 => format!(
                "{policy} promises to make room, and refused {} with OOM",
                human::things(refused, "write")
            ),
            _ if own == 0 => format!("{policy} had nothing to evict below the limit, and evicted nothing"),
            takes => {
                let whom = match takes {
                    Takes::ShortestLived => "the shortest-lived",
                    Takes::AnyExpiring => "with a time to live",
                    _ => "its own",
                };
                let order = match self.order {
                    Some(order) => {
                        format!(" ({} in the order it promises)", human::value(order.max(0.0), Unit::Ratio))
                    }
                    None => String::new(),
                };
                format!(
                    "{policy} made room by {}, {whom} of the probe's{order}, and refused no write",
                    human::things(own, "key")
                )
            }
        }
    }

    fn canary(&self, report: &Report) -> Option<String> {
        let p95 = |phase| figures::slowest_quantile(report, phase, "0.95");
        let (before, under) = (p95(BEFORE)?, p95(MONITOR)?);
        let text = |seconds| human::value(seconds, Unit::Seconds);
        Some(format!("p95 of GET {} under pressure, {} before", text(under), text(before)))
    }

    fn giving_back(&self) -> Option<String> {
        if self.fill.written == 0 {
            return None;
        }
        let freed = size(self.relief.before.saturating_sub(self.relief.after));
        let deleted = format!("deleting {} freed {freed}", human::things(self.relief.deleted, "key"));
        let back = match (self.relief.back, self.recovery()) {
            (Some(back), _) => {
                format!(
                    "all of it came back {} after the last",
                    human::value(back.as_secs_f64(), Unit::Seconds)
                )
            }
            (None, Some(share)) => {
                format!("{} of the growth came back within 5 s", human::value(share, Unit::Ratio))
            }
            (None, None) => return Some(deleted),
        };
        Some(format!("{deleted}, and {back}"))
    }
}
