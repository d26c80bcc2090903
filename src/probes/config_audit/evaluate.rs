//! What a check comes to on a server: one of five states, with what was expected, what is, why it matters and how to
//! mend it.
//!
//! What the checks are is in the catalogue, what is known of the server in `facts`.

use std::borrow::Cow;

use measure::{facts::Flavour, report::Check};

use super::{
    catalogue::{Row, Rule, Severity},
    expect::Expected,
    expr::Lookup,
    facts::Facts,
    known::Setting,
    normal,
    template::Template,
    value::{Missing, Unknown},
};

/// What a check came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum State {
    /// As expected.
    Pass,
    /// Not as expected, and it can be lived with.
    Warn,
    /// Not as expected.
    Fail,
    /// Nobody here knows, or the question does not arise.
    Missing(Missing),
}

impl State {
    /// The label value.
    pub(super) const fn as_str(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Missing(Missing::Unknown(..)) => "unknown",
            Self::Missing(Missing::NotApplicable(..)) => "not_applicable",
        }
    }
}

/// A check with what it came to.
#[derive(Debug)]
pub(super) struct Judged {
    /// As reports have it.
    pub(super) check: Check,
    /// Why there is no answer.
    pub(super) unknown: Option<Unknown>,
}

/// What the settings of the audit say of every check.
pub(super) struct Terms<'a> {
    /// Ids whose warnings and failures are accepted.
    pub(super) accept: &'a [String],
    /// Whether version numbers mean what upstream means by them.
    pub(super) upstream_builds: bool,
}

/// Where a setting is documented that has no row.
const SETTINGS_PAGE: &str = "https://redis.io/docs/latest/operate/oss_and_stack/management/config/";

impl Terms<'_> {
    /// A row of the catalogue, or what was expected in its place.
    pub(super) fn row(&self, row: &'static Row, expected: Option<&Expected>, facts: &Facts) -> Judged {
        let rule = row.rule(facts.around.profile);
        let mut state =
            expected.map_or_else(|| judge(row, rule, facts), |expected| judge_expected(expected, facts));
        let upstream = row.upstream && !self.upstream_builds && state == State::Fail;
        if upstream {
            state = State::Warn;
        }
        let mut check = Check {
            check: Cow::Borrowed(&row.id),
            title: Cow::Borrowed(&row.title),
            status: state.as_str(),
            severity: rule.severity.as_str(),
            area: row.area,
            expected: filled(&rule.expected, facts),
            actual: rule.actual.fill(facts),
            why: Cow::Borrowed(&rule.why),
            remedy: filled(&rule.remedy, facts),
            source: Cow::Borrowed(&row.source),
        };
        if let Some(expected) = expected {
            // What somebody has asked for in so many words is no trifle, whatever the catalogue thinks of it.
            check.severity = rule.severity.min(Severity::Medium).as_str();
            describe(&mut check, expected, facts);
        }
        if upstream {
            check
                .actual
                .push_str(" (a distribution may have mended it under this number: see upstream_builds)");
        }
        self.finish(check, state)
    }

    /// An expectation of a setting that has no row.
    pub(super) fn expectation(&self, expected: &Expected, facts: &Facts) -> Judged {
        let mut check = Check {
            check: Cow::Owned(expectation_id(expected.setting)),
            title: Cow::Borrowed(""),
            status: "",
            severity: Severity::Medium.as_str(),
            area: "expected",
            expected: Cow::Borrowed(""),
            actual: String::new(),
            why: Cow::Borrowed("The configuration of this audit expects it."),
            remedy: Cow::Borrowed(""),
            source: Cow::Borrowed(SETTINGS_PAGE),
        };
        describe(&mut check, expected, facts);
        self.finish(check, judge_expected(expected, facts))
    }

    /// Accepts what is accepted, and says why there is no answer where there is none.
    pub(super) fn finish(&self, mut check: Check, mut state: State) -> Judged {
        let accepted = self.accept.iter().any(|id| *id == check.check);
        if accepted && matches!(state, State::Warn | State::Fail) {
            check.actual = format!("accepted: {}", check.actual);
            state = State::Pass;
        }
        let mut unknown = None;
        if let State::Missing(missing) = &state {
            check.actual = missing.to_string();
            if let Missing::Unknown(why, _) = missing {
                unknown = Some(*why);
            }
        }
        check.status = state.as_str();
        Judged { check, unknown }
    }
}

/// The id of the check of an expected setting that has no row.
pub(super) fn expectation_id(setting: &Setting) -> String {
    format!("E:{}", setting.name)
}

fn describe(check: &mut Check, expected: &Expected, facts: &Facts) {
    let name = expected.setting.name;
    check.title = Cow::Owned(format!("{name} is {}", expected.shown()));
    check.expected = Cow::Owned(format!("{}, as this audit is set to expect", expected.shown()));
    if let Ok(value) = facts.setting(expected.setting) {
        check.actual = format!("{name} {}", normal::show(expected.setting.kind, &value));
    }
    check.remedy = Cow::Owned(expected.remedy());
}

fn judge(row: &Row, rule: &Rule, facts: &Facts) -> State {
    if let Err(missing) = in_range(row, facts) {
        return State::Missing(missing);
    }
    if row.host
        && let Err(missing) = &facts.around.host
    {
        return State::Missing(missing.clone());
    }
    match row.when.as_ref().map(|when| when.holds(facts)) {
        None | Some(Ok(true)) => {}
        Some(Ok(false)) => return State::Missing(Missing::setup(&row.otherwise)),
        Some(Err(missing)) => return State::Missing(missing),
    }
    match rule.pass.holds(facts) {
        Ok(true) => State::Pass,
        Err(missing) => State::Missing(missing),
        // That it is not as it should be is known. Where nobody can tell how bad it is, the worst is not claimed.
        Ok(false) => match rule.warn.as_ref().map(|warn| warn.holds(facts)) {
            Some(Ok(true) | Err(_)) => State::Warn,
            None | Some(Ok(false)) => State::Fail,
        },
    }
}

fn judge_expected(expected: &Expected, facts: &Facts) -> State {
    match facts.setting(expected.setting) {
        Ok(value) if normal::same(expected.setting.kind, &expected.value, &value) => State::Pass,
        Ok(_) => State::Fail,
        Err(missing) => State::Missing(missing),
    }
}

/// The version of Redis that Valkey began with.
const VALKEY_BEGAN: &[u64] = &[7, 2];

/// Whether this version has what the row checks. Where the version is not known, the names of the row decide.
fn in_range(row: &Row, facts: &Facts) -> Result<(), Missing> {
    let Some((flavour, version)) = facts.version() else { return Ok(()) };
    let (since, until) = match flavour {
        Flavour::Redis | Flavour::Keydb => &row.range.redis,
        Flavour::Valkey if row.range.valkey != (None, None) => &row.range.valkey,
        Flavour::Valkey => {
            let later = row.range.redis.0.as_ref().is_some_and(|since| &since[..] > VALKEY_BEGAN);
            let gone = row.range.redis.1.as_ref().is_some_and(|until| &until[..] < VALKEY_BEGAN);
            return if later || gone { Err(not_there(facts)) } else { Ok(()) };
        }
        // Its version numbers are its own.
        Flavour::Dragonfly => return Ok(()),
    };
    let early = since.as_ref().is_some_and(|since| version < &since[..]);
    // `until = "7.0"` means all of that line.
    let late = until.as_ref().is_some_and(|until| version.iter().take(until.len()).gt(until));
    if early || late { Err(not_there(facts)) } else { Ok(()) }
}

fn not_there(facts: &Facts) -> Missing {
    Missing::version(format!("{} does not have it", facts.called()))
}

/// Borrowed where there is nothing to fill in: most of a catalogue is the same for every server.
fn filled(template: &'static Template, facts: &dyn Lookup) -> Cow<'static, str> {
    match template.fixed() {
        Some(text) => Cow::Borrowed(text),
        None => Cow::Owned(template.fill(facts)),
    }
}
