//! The least that a user of a server must be allowed: which commands, on which keys, and who needs each of them.
//!
//! Gathered here from where the commands are sent. The text of a rule is `rule`'s, asking a server what its user lacks
//! `check`'s, when that is asked the runner's.

use std::collections::BTreeMap;

use measure::{
    CANARY, Effect, Grant, PREFLIGHT, WATCH, conn, facts, journal,
    keys::{self, Whose},
    lease,
};
use serde_json::Value;

use crate::{
    config::{Job, Target},
    probe::ProbeKind,
    probes,
};

pub mod check;
pub mod release;
pub mod rule;

/// A kind of probe with the greatest effect that it may have, and its settings.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The kind.
    pub kind: &'static ProbeKind,
    /// The effect.
    pub effect: Effect,
    /// The settings in force.
    pub settings: Value,
}

impl Wanted {
    /// What a job needs.
    #[must_use]
    pub fn of(job: &Job) -> Self {
        Self { kind: job.kind(), effect: job.effect(), settings: job.settings.clone() }
    }

    /// What a probe needs with its default settings, up to `allowed`.
    #[must_use]
    pub fn with_defaults(kind: &'static ProbeKind, allowed: Effect) -> Self {
        Self { kind, effect: kind.reach.min(allowed).max(kind.effect), settings: (kind.defaults)() }
    }

    /// Whether the runner may have something to put back after it.
    fn changes_settings(&self) -> bool {
        self.kind.commands.iter().any(|grant| grant.command == "config|set" && self.sends(grant))
    }

    fn sends(&self, grant: &Grant) -> bool {
        let given = |setting: &str| match setting.split_once('=') {
            Some((setting, value)) => self.settings[setting] == value,
            None => !matches!(&self.settings[setting], Value::Null | Value::Bool(false)),
        };
        grant.is_sent_with(self.effect) && grant.setting.is_none_or(given)
    }
}

/// One grant, and one who needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Need {
    /// A probe's name, or what of redprobe itself needs it.
    pub who: &'static str,
    /// What.
    pub grant: Grant,
}

/// Everything that some probes need on one target, their runs and logins included.
#[derive(Debug, Clone, Default)]
pub struct Needs(Vec<Need>);

/// What the check at start sends.
const CHECK: Grant = Grant::observe("acl|dryrun", "default ping", "say which of these grants are missing")
    .optional("what is missing is found out one failure after the other")
    .since(7, 0);

impl Needs {
    /// What these probes need on database `database`.
    #[must_use]
    pub fn of(wanted: &[Wanted], database: i64) -> Self {
        let mut needs = Self::default();
        needs.add("login", conn::GRANTS.iter().chain((database != 0).then_some(&conn::SELECT)));
        needs.add("check at start", [&CHECK]);
        needs.add("reports", [&facts::WHO]);
        for wanted in wanted {
            needs.add(wanted.kind.name, wanted.kind.commands.iter().filter(|grant| wanted.sends(grant)));
            if wanted.kind.is_guarded(wanted.effect) {
                needs.add("preflight", [&PREFLIGHT]);
            }
            let around: [(_, &[Grant]); 6] = [
                ("clean-up", keys::GRANTS),
                ("janitor of serve", &[keys::SCAN]),
                ("lease", lease::GRANTS),
                ("canary", &[CANARY]),
                ("watch", WATCH),
                ("journal", if wanted.changes_settings() { journal::GRANTS } else { &[] }),
            ];
            for (who, grants) in around {
                needs.add(who, grants.iter().filter(|grant| grant.is_sent_with(wanted.effect)));
            }
        }
        needs
    }

    /// The same with what finding the target's server asks of it.
    #[must_use]
    pub fn finding(mut self, target: &Target) -> Self {
        if target.is_in_cluster() {
            self.add("finding slots", [&conn::cluster::NODES]);
        }
        if target.is_behind_sentinels() {
            self.add("finding the server", [&conn::VERIFY]);
        }
        self
    }

    fn add<'a>(&mut self, who: &'static str, grants: impl IntoIterator<Item = &'a Grant>) {
        for grant in grants {
            let need = Need { who, grant: *grant };
            if !self.0.contains(&need) {
                self.0.push(need);
            }
        }
    }

    /// Without those for which this does not hold.
    #[must_use]
    pub fn only(mut self, holds: impl Fn(&Grant) -> bool) -> Self {
        self.0.retain(|need| holds(&need.grant));
        self
    }

    /// Each, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Need> {
        self.0.iter()
    }

    /// By command, with all who need it.
    #[must_use]
    pub fn commands(&self) -> BTreeMap<&'static str, Vec<&Need>> {
        let mut commands = BTreeMap::<_, Vec<_>>::new();
        for need in &self.0 {
            commands.entry(need.grant.command).or_default().push(need);
        }
        commands
    }

    /// The key patterns, each with what it is for.
    #[must_use]
    pub fn patterns(&self, whose: Whose<'_>) -> Vec<(String, &'static str)> {
        let used = |key: &str| self.0.iter().any(|need| need.grant.call.contains(key));
        let own = used("{key}").then(|| (whose.pattern(), "redprobe's own keys"));
        let lease = used("{lease}").then(|| (whose.lease(), "the lease that keeps a second load away"));
        own.into_iter().chain(lease).collect()
    }
}

/// Whether `who` of a [`Need`] is a probe.
#[must_use]
pub fn is_probe(who: &str) -> bool {
    probes::find(who).is_some()
}
