//! Audits a server's settings and state against a catalogue of checks, and says of each: as expected or not, or why
//! that is not known.
//!
//! Settings, metrics, objectives and the probe are here. The checks are data, in `catalogue/*.toml`; `known` has the
//! settings that may be read. To add a check, add a row there, and nothing here.

use std::collections::{BTreeMap, BTreeSet};

use measure::{
    Effect, Grant, ProbeError, Reason, clock,
    metric::MetricDef,
    report::{Direction, ObjectiveDef, Report, Severity as Cost, Unit},
};

use self::{
    ask::Refused,
    catalogue::CATALOGUE,
    evaluate::{Judged, Terms},
    expect::{Expectations, Expected},
    facts::{Around, Facts},
    memory::{Counts, Memory, Remembered},
    path::Counter,
    value::Missing,
};
use crate::{
    config::settings::{Profile, Span, nearest},
    probe::{Needs, Probe, ProbeCx, SettingError, SettingErrors},
    settings,
};

mod ask;
mod catalogue;
mod drift;
mod evaluate;
pub mod expect;
mod expr;
mod facts;
mod host;
mod known;
mod memory;
mod normal;
mod path;
mod replies;
mod report;
mod template;
mod value;
mod versions;

measure::metrics! {
    /// Settings of the server that had changed between the last two audits; absent until there were two.
    gauge CHANGED = "redprobe_config_audit_changed_settings";
    /// When an audit last found a changed setting; absent until one did.
    gauge CHANGED_AT = "redprobe_config_audit_last_change_timestamp_seconds";
    /// Checks of the last audit that have no answer, by why.
    gauge UNKNOWN = "redprobe_config_audit_unknown_checks" [why];
}

static CRITICAL_FAILING: ObjectiveDef = failing(
    "critical_failing",
    "the number of failing critical checks",
    "Checks of severity critical that fail: data or server can be lost now.",
    Cost::Critical,
);

static HIGH_FAILING: ObjectiveDef = failing(
    "high_failing",
    "the number of failing high checks",
    "Checks of severity high that fail: data or service is at risk. A warning, since a server as packaged has some.",
    Cost::Warning,
);

static MEDIUM_FAILING: ObjectiveDef = failing(
    "medium_failing",
    "the number of failing medium checks",
    "Checks of severity medium that fail. Those of severity low and info count for no objective, nor do warnings.",
    Cost::Info,
);

static DENIED: ObjectiveDef = ObjectiveDef {
    name: "denied_ratio",
    phrase: "the share of checks that the server denies to answer",
    help: "Checks without an answer because the server denies it, over all that apply. With many of them the rest of the audit says little; `redprobe acl config_audit` prints what to grant.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Cost::Warning,
    limit: 0.2,
};

const fn failing(
    name: &'static str,
    phrase: &'static str,
    help: &'static str,
    severity: Cost,
) -> ObjectiveDef {
    ObjectiveDef { name, phrase, help, direction: Direction::Max, unit: Unit::Count, severity, limit: 0.0 }
}

settings! {
    /// Settings of `config_audit`.
    pub struct Settings {
        /// What the server is for: cache, buffer, store or mixed; unset: the target's profile (`"cache"`).
        profile: Option<Profile> = None,
        /// Settings with the values that are expected here, whatever the catalogue expects, in the units of redis.conf: `expect = { maxmemory = "2gb", save = "" }`. A dash in a name may be written as an underscore.
        expect: Expectations = Expectations::default(),
        /// Ids of checks whose warning or failure is accepted: they count as passed, and say that they were accepted (`["P06"]`).
        accept: Vec<String> = Vec::new(),
        /// Whether the server's version number means what its makers mean by it. Distributions mend older versions and keep the number, so that without this a version with known holes is a warning at the most.
        upstream_builds: bool = false,
        /// How long the pools keep an idle connection; unset: not compared with timeout (`"10m"`).
        pool_max_idle: Option<Span> = None,
    }
}

/// The probe.
#[derive(Debug)]
pub struct ConfigAudit {
    settings: Settings,
    expected: Vec<Expected>,
    memory: Memory,
}

impl Probe for ConfigAudit {
    const NAME: &'static str = "config_audit";
    const SUMMARY: &'static str = "Audits settings and state of the server against a catalogue of checks, and says how to mend what is amiss.";
    const EFFECT: Effect = Effect::Observe;
    const AS_CONFIGURED: bool = true;
    const COMMANDS: &'static [Grant] = &[
        Grant::observe("info", "everything", "read the server's state")
            .optional("only settings are audited, and the version is not known"),
        Grant::observe("config|get", "maxmemory", "read named settings")
            .optional("most checks of settings are unknown"),
        Grant::observe("acl|getuser", "default", "see whether the default user is open")
            .optional("it is unknown whether strangers can log in"),
        Grant::observe("acl|dryrun", "default ping", "see what this login could do beyond what it needs")
            .optional("that is unknown")
            .since(7, 0),
        Grant::observe("latency|latest", "", "read the server's own record of slow moments")
            .optional("those are unknown"),
        Grant::observe("cluster|info", "", "read the state of a cluster").optional("it is unknown"),
    ];
    const METRICS: &'static [&'static MetricDef] = METRICS;
    const OBJECTIVES: &'static [&'static ObjectiveDef] =
        &[&CRITICAL_FAILING, &HIGH_FAILING, &MEDIUM_FAILING, &DENIED];
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, Vec<SettingError>> {
        let mut errors = SettingErrors::default();
        let expected = settings.expect.read().unwrap_or_else(|mistakes| {
            for mistake in mistakes {
                errors.check(false, "expect", &mistake);
            }
            Vec::new()
        });
        let ids = check_ids(&expected);
        for id in settings.accept.iter().filter(|id| !ids.contains(*id)) {
            let near = nearest(id, ids.iter().map(String::as_str));
            let meant = near.map_or_else(
                || "the ids are those of the report, such as M01".to_owned(),
                |near| format!("did you mean {near:?}?"),
            );
            errors.check(false, "accept", &format!("there is no check {id:?}; {meant}"));
        }
        errors.or(Self { settings, expected, memory: Memory::default() })
    }

    fn quick(_settings: &mut Settings) {}

    fn needs(&self, _allowed: Effect) -> Needs {
        Needs { connections: 1, ..Needs::default() }
    }

    async fn run(&self, cx: &ProbeCx) -> Result<Report, ProbeError> {
        let mut conn = cx.observer().await?;
        let before = self.memory.of(&cx.target.id);
        let wall = clock::unix_seconds(clock::wall());
        let known = before.as_ref().map(|before| before.denied.clone()).unwrap_or_default().at(wall);
        let user = cx.endpoint.username.as_deref().unwrap_or("default");
        let answers = ask::ask(&mut conn, user, known).await?;
        if let (Err(denied), Err(_)) = (&answers.info, &answers.config) {
            let message =
                format!("{denied}; neither may it use CONFIG GET, so that nothing is left to audit");
            return Err(ProbeError::failed(Reason::Denied, message));
        }
        let host = host::read(&cx.endpoint, answers.info.as_ref().ok(), answers.setting("dir"));
        let pools = &cx.target.pools;
        let connections = pools.iter().map(|pool| pool.capacity()).fold(0, u64::saturating_add);
        let around = Around {
            host,
            before: before.as_ref().map(|before| before.counts.clone()),
            profile: self.settings.profile.unwrap_or(cx.target.profile),
            wall,
            pool_connections: (!pools.is_empty()).then_some(connections as f64),
            pool_max_idle: self.settings.pool_max_idle.map(|span| span.0.as_secs_f64()),
        };
        let facts = Facts::new(answers, around)?;
        let audit = self.audit(before.as_ref(), &facts);
        for change in audit.changes.iter().flatten() {
            cx.log.note(format!("changed since the last audit: {change}"));
        }
        let remembered = audit.remembered(before.as_ref(), &facts);
        let changed_at = remembered.changed_at;
        self.memory.keep(&cx.target.id, remembered);
        Ok(report::report(&audit, &facts.answers, changed_at))
    }
}

/// The ids of all checks that there can be.
fn check_ids(expected: &[Expected]) -> BTreeSet<String> {
    let rows = CATALOGUE.rows.iter().map(|row| row.id.clone());
    let own = expected.iter().map(|expected| evaluate::expectation_id(expected.setting));
    rows.chain(own).chain([drift::ID.to_owned()]).collect()
}

/// One audit.
struct Audit {
    judged: Vec<Judged>,
    /// How the server is set.
    settings: Option<BTreeMap<&'static str, String>>,
    /// What of that has changed.
    changes: Result<Vec<drift::Change>, Missing>,
}

impl ConfigAudit {
    fn audit(&self, before: Option<&Remembered>, facts: &Facts) -> Audit {
        let Settings { accept, upstream_builds, .. } = &self.settings;
        let terms = Terms { accept, upstream_builds: *upstream_builds };
        let expected_of = |setting| self.expected.iter().find(|expected| Some(expected.setting) == setting);
        let rows = CATALOGUE.rows.iter().map(|row| terms.row(row, expected_of(row.setting), facts));
        let rest = self.expected.iter().filter(|expected| CATALOGUE.of_setting(expected.setting).is_none());
        let mut judged: Vec<_> =
            rows.chain(rest.map(|expected| terms.expectation(expected, facts))).collect();
        let settings = drift::settings(facts);
        let changes = drift::changes(before, settings.as_ref(), facts);
        let (check, state) = drift::check(&changes);
        judged.push(terms.finish(check, state));
        Audit { judged, settings, changes }
    }
}

impl Audit {
    /// What the next audit needs of this one.
    fn remembered(&self, before: Option<&Remembered>, facts: &Facts) -> Remembered {
        let changed = self.changes.as_ref().is_ok_and(|changes| !changes.is_empty());
        let Refused { denied, other } = facts.answers.refused;
        // INFO came before the refusals: what the next one has more because of them is none of the server's trouble.
        let own = |counter: &Counter| match counter {
            Counter::Error(code) if code == "NOPERM" => denied,
            Counter::Error(code) if code == "ERR" => other,
            Counter::Info(field) if field == "total_error_replies" => denied + other,
            Counter::Info(field) if field == "acl_access_denied_cmd" => denied,
            _ => 0,
        };
        let run_id =
            facts.answers.info.as_ref().ok().and_then(|info| info.text("run_id")).unwrap_or_default();
        Remembered {
            denied: facts.answers.denied.clone(),
            counts: Counts::read(run_id, |counter| {
                Some(facts.count(counter).ok()? + f64::from(own(counter)))
            }),
            // An audit that could not read them has not changed them.
            settings: self.settings.clone().or_else(|| before?.settings.clone()),
            changed_at: if changed { Some(facts.now) } else { before.and_then(|before| before.changed_at) },
        }
    }
}
