//! How the server was set at the last audit and how it is now: what somebody has changed meanwhile, at run time or with
//! a restart.

use std::{borrow::Cow, collections::BTreeMap};

use measure::report::Check;

use super::{
    catalogue::Severity,
    evaluate::State,
    facts::Facts,
    known::{KNOWN, Setting},
    memory::Remembered,
    normal,
    value::{Missing, Unknown},
};

/// The id of the check that no setting has changed.
pub(super) const ID: &str = "G06";

/// One setting that has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Which.
    pub(super) setting: &'static str,
    /// How it was and how it is; `None` where it was not there.
    pub(super) values: [Option<String>; 2],
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [before, now] = self.values.each_ref().map(|value| value.as_deref().unwrap_or("not there"));
        write!(f, "{}: {before} → {now}", self.setting)
    }
}

/// Every setting as shown; `None` where they cannot be asked.
pub(super) fn settings(facts: &Facts) -> Option<BTreeMap<&'static str, String>> {
    facts.answers.config.as_ref().ok()?;
    let shown = |setting: &'static Setting| {
        let value = facts.setting(setting).ok()?;
        Some((setting.name, normal::show(setting.kind, &value)))
    };
    Some(KNOWN.iter().filter_map(shown).collect())
}

/// What has changed since the last audit.
///
/// # Errors
/// Why that cannot be told.
pub(super) fn changes(
    before: Option<&Remembered>,
    now: Option<&BTreeMap<&'static str, String>>,
    facts: &Facts,
) -> Result<Vec<Change>, Missing> {
    let first = || {
        Missing::Unknown(Unknown::FirstAudit, "it compares with an earlier audit by the same process".into())
    };
    let Some(now) = now else {
        return Err(facts.answers.config.as_ref().err().cloned().unwrap_or_else(first));
    };
    let before = before.and_then(|before| before.settings.as_ref()).ok_or_else(first)?;
    let changed = KNOWN.iter().filter_map(|Setting { name, .. }| {
        let values = [before.get(name).cloned(), now.get(name).cloned()];
        (values[0] != values[1]).then_some(Change { setting: name, values })
    });
    Ok(changed.collect())
}

/// The check, and what it comes to.
pub(super) fn check(changes: &Result<Vec<Change>, Missing>) -> (Check, State) {
    let (actual, state) = match changes {
        Ok(changes) if changes.is_empty() => ("nothing has changed".to_owned(), State::Pass),
        Ok(changes) => {
            let all: Vec<_> = changes.iter().map(Change::to_string).collect();
            (all.join("; "), State::Warn)
        }
        Err(missing) => (String::new(), State::Missing(missing.clone())),
    };
    let check = Check {
        check: Cow::Borrowed(ID),
        title: Cow::Borrowed("no setting has changed since the last audit"),
        status: state.as_str(),
        severity: Severity::Medium.as_str(),
        area: "drift",
        expected: Cow::Borrowed("every setting as it was at the last audit"),
        actual,
        why: Cow::Borrowed(
            "A setting that somebody changed by hand is lost at the next restart, or surprises everybody who trusts the \
             file.",
        ),
        remedy: Cow::Borrowed(
            "If it was meant, write it into redis.conf; if not, CONFIG SET it back, and see with ACL LIST who may change \
             settings.",
        ),
        source: Cow::Borrowed("https://redis.io/docs/latest/commands/config-set/"),
    };
    (check, state)
}
