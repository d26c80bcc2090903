//! The catalogue of checks: TOML files, one row per check, read once and checked whole.
//!
//! A row passes where `pass` is true; where not, it warns if `warn` is true and fails otherwise. `when` and `otherwise`
//! say when it does not apply; `since`, `until`, `valkey_since` and `valkey_until` name versions. `[ID.profile.cache]` and
//! the like change any of severity, pass, warn, expected, actual, why and remedy for a profile. `setting` is the setting
//! whose expectation takes the place of the rule; `host` rows are read on the server's machine; `upstream` rows judge a
//! version number. A remedy begins with a command, or with a line of redis.conf.
//!
//! What expressions may say is in `expr` and `path`, sentences in `template`; what a row comes to on a server, in
//! `evaluate`. To add a check, add a row; to add a file, name it in [`FILES`].

use std::{collections::BTreeMap, sync::LazyLock};

use serde::{Deserialize, Serialize};

use super::{
    expr::Expr,
    known::{self, Setting},
    path::{Path, What},
    template::Template,
};
use crate::config::settings::Profile;

/// The files, in the order in which people read of them.
const FILES: &[(&str, &str)] = &[
    ("memory", include_str!("catalogue/memory.toml")),
    ("persistence", include_str!("catalogue/persistence.toml")),
    ("clients", include_str!("catalogue/clients.toml")),
    ("latency", include_str!("catalogue/latency.toml")),
    ("replication", include_str!("catalogue/replication.toml")),
    ("security", include_str!("catalogue/security.toml")),
    ("conflicts", include_str!("catalogue/conflicts.toml")),
    ("host", include_str!("catalogue/host.toml")),
];

/// The catalogue as shipped. A row that does not read is left out, which a test rules out.
pub(super) static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::read(FILES).0);

/// What failing a check costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Severity {
    /// Data or server can be lost, now.
    Critical,
    /// Data or service is at risk.
    High,
    /// It costs something, some day.
    Medium,
    /// A finer point.
    Low,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// Every severity, the worst first.
    pub(super) const ALL: [Self; 5] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Info];

    /// The label value.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Info => "info",
        }
    }
}

/// Every check.
#[derive(Debug)]
pub(super) struct Catalogue {
    /// In the order of the files, and by id within each.
    pub(super) rows: Vec<Row>,
}

/// One check.
#[derive(Debug)]
pub(super) struct Row {
    /// Its id: `M01`.
    pub(super) id: String,
    /// What it is about: the file's name.
    pub(super) area: &'static str,
    /// A sentence that is true where it passes.
    pub(super) title: String,
    /// The setting whose expectation takes the place of the rule.
    pub(super) setting: Option<&'static Setting>,
    /// Where false, the check does not apply.
    pub(super) when: Option<Expr>,
    /// Why, then.
    pub(super) otherwise: String,
    /// The versions that have what is checked.
    pub(super) range: Range,
    /// Whether it is read on the server's machine.
    pub(super) host: bool,
    /// Whether it judges a version number, which a distribution that mends older versions makes worth less.
    pub(super) upstream: bool,
    /// What is expected of each profile, in the order of [`PROFILES`].
    pub(super) rules: [Rule; 4],
    /// A public page.
    pub(super) source: String,
}

/// What is expected.
#[derive(Debug)]
pub(super) struct Rule {
    /// True where all is well.
    pub(super) pass: Expr,
    /// Where it is not well: true where that is a warning and no failure.
    pub(super) warn: Option<Expr>,
    /// What failing costs.
    pub(super) severity: Severity,
    /// What should be, in words.
    pub(super) expected: Template,
    /// What is, in words.
    pub(super) actual: Template,
    /// Why it matters.
    pub(super) why: String,
    /// How to mend it.
    pub(super) remedy: Template,
}

/// From which version on, and up to which, by flavour.
#[derive(Debug, Default)]
pub(super) struct Range {
    pub(super) redis: (Option<Vec<u64>>, Option<Vec<u64>>),
    pub(super) valkey: (Option<Vec<u64>>, Option<Vec<u64>>),
}

/// The profiles, as rules are ordered.
pub(super) const PROFILES: [(&str, Profile); 4] = [
    ("cache", Profile::Cache),
    ("buffer", Profile::Buffer),
    ("store", Profile::Store),
    ("mixed", Profile::Mixed),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRow {
    title: String,
    setting: Option<String>,
    when: Option<String>,
    otherwise: Option<String>,
    since: Option<String>,
    until: Option<String>,
    valkey_since: Option<String>,
    valkey_until: Option<String>,
    #[serde(default)]
    host: bool,
    #[serde(default)]
    upstream: bool,
    source: String,
    severity: Severity,
    pass: String,
    warn: Option<String>,
    expected: String,
    actual: Option<String>,
    why: String,
    remedy: String,
    #[serde(default)]
    profile: BTreeMap<Profile, RawProfile>,
}

/// What a profile sees differently.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProfile {
    severity: Option<Severity>,
    pass: Option<String>,
    warn: Option<String>,
    expected: Option<String>,
    actual: Option<String>,
    why: Option<String>,
    remedy: Option<String>,
}

impl Catalogue {
    /// Reads files, and says of everything that does not read where it is and why.
    fn read(files: &[(&'static str, &str)]) -> (Self, Vec<String>) {
        let (mut rows, mut mistakes) = (Vec::<Row>::new(), Vec::new());
        for (area, text) in files {
            let raw: BTreeMap<String, toml::Value> = match toml::from_str(text) {
                Ok(raw) => raw,
                Err(error) => {
                    mistakes.push(format!("{area}.toml: {error}"));
                    continue;
                }
            };
            for (id, value) in raw {
                let row = value.try_into().map_err(|error: toml::de::Error| vec![error.to_string()]);
                match row.and_then(|raw| Row::read(&id, area, raw)) {
                    Ok(row) => rows.push(row),
                    Err(more) => {
                        mistakes.extend(more.iter().map(|mistake| format!("{area}.toml: {id}: {mistake}")));
                    }
                }
            }
        }
        for (index, row) in rows.iter().enumerate() {
            let earlier = &rows[..index];
            if earlier.iter().any(|other| other.id == row.id) {
                mistakes.push(format!("{}: there are two", row.id));
            }
            if let Some(setting) = row.setting
                && let Some(other) = earlier.iter().find(|other| other.setting == row.setting)
            {
                mistakes.push(format!("{}: {} is the setting of {} already", row.id, setting.name, other.id));
            }
        }
        (Self { rows }, mistakes)
    }

    /// The check that an expectation of this setting takes the place of.
    pub(super) fn of_setting(&self, setting: &Setting) -> Option<&Row> {
        self.rows.iter().find(|row| row.setting == Some(setting))
    }

    /// Every name that some check reads.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.rows.iter().flat_map(Row::paths)
    }
}

impl Row {
    /// What is expected with this profile.
    pub(super) fn rule(&self, profile: Profile) -> &Rule {
        let index = PROFILES.iter().position(|(_, known)| *known == profile);
        &self.rules[index.unwrap_or(PROFILES.len() - 1)]
    }

    /// Every name that it reads.
    fn paths(&self) -> impl Iterator<Item = &Path> {
        let rules = self.rules.iter().flat_map(|rule| {
            let expressions = [Some(&rule.pass), rule.warn.as_ref()].into_iter().flatten();
            let templates = [&rule.expected, &rule.actual, &rule.remedy];
            expressions.flat_map(Expr::paths).chain(templates.into_iter().flat_map(Template::paths))
        });
        self.when.iter().flat_map(Expr::paths).chain(rules)
    }

    fn read(id: &str, area: &'static str, raw: RawRow) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        check_words(id, &raw, &mut mistakes);
        let when = raw.when.as_deref().and_then(|text| take(&mut mistakes, "when", Expr::rule(text)));
        let setting = raw.setting.as_deref().and_then(|name| {
            let found = known::find(name).filter(|setting| setting.name == name);
            take(&mut mistakes, "setting", found.ok_or_else(|| format!("{name} is no known setting")))
        });
        let range = Range {
            redis: (version(&raw.since, &mut mistakes), version(&raw.until, &mut mistakes)),
            valkey: (version(&raw.valkey_since, &mut mistakes), version(&raw.valkey_until, &mut mistakes)),
        };
        let rules = PROFILES.map(|(_, profile)| {
            let of_profile = raw.profile.get(&profile).cloned().unwrap_or_default();
            Rule::read(&raw, of_profile, &mut mistakes)
        });
        mistakes.sort();
        mistakes.dedup();
        let [Some(cache), Some(buffer), Some(store), Some(mixed)] = rules else { return Err(mistakes) };
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let RawRow { title, otherwise, host, upstream, source, .. } = raw;
        let row = Self {
            id: id.to_owned(),
            area,
            title,
            setting,
            when,
            otherwise: otherwise.unwrap_or_default(),
            range,
            host,
            upstream,
            rules: [cache, buffer, store, mixed],
            source,
        };
        // Elsewhere such a row would say `unknown` in a different voice for each of its names.
        let stray = row.paths().find(|path| matches!(path.what, What::Host(_)) && !row.host);
        match stray.map(|path| format!("{path} needs host = true")) {
            Some(mistake) => Err(vec![mistake]),
            None => Ok(row),
        }
    }
}

/// Rules of form that hold for every row.
fn check_words(id: &str, raw: &RawRow, mistakes: &mut Vec<String>) {
    let digits = id.trim_start_matches(|c: char| c.is_ascii_uppercase());
    let number = digits.trim_end_matches(|c: char| c.is_ascii_lowercase());
    if digits.len() + 1 != id.len() || number.len() != 2 || number.parse::<u8>().is_err() {
        mistakes.push("ids are a capital and two digits, such as M01 or M17b".into());
    }
    if raw.when.is_some() != raw.otherwise.is_some() {
        mistakes.push("`when` and `otherwise` come together".into());
    }
    if !raw.source.starts_with("https://") {
        mistakes.push("`source` is no https:// address".into());
    }
    for (name, text) in
        [("title", &raw.title), ("why", &raw.why), ("remedy", &raw.remedy), ("expected", &raw.expected)]
    {
        if text.trim().is_empty() || text.contains('\n') {
            mistakes.push(format!("`{name}` is one line of text"));
        }
    }
}

impl Rule {
    fn read(raw: &RawRow, own: RawProfile, mistakes: &mut Vec<String>) -> Option<Self> {
        let pass = take(mistakes, "pass", Expr::rule(own.pass.as_ref().unwrap_or(&raw.pass)));
        let warn = own.warn.as_ref().or(raw.warn.as_ref());
        let warn = warn.and_then(|text| take(mistakes, "warn", Expr::rule(text)));
        let mut template = |name, own: &Option<String>, raw: &str| {
            take(mistakes, name, Template::parse(own.as_deref().unwrap_or(raw)))
        };
        let expected = template("expected", &own.expected, &raw.expected);
        let remedy = template("remedy", &own.remedy, &raw.remedy);
        let actual = match own.actual.as_deref().or(raw.actual.as_deref()) {
            Some(text) => template("actual", &None, text),
            None => Some(Template::of_paths(pass.iter().chain(&warn))),
        };
        Some(Self {
            pass: pass?,
            warn,
            severity: own.severity.unwrap_or(raw.severity),
            expected: expected?,
            actual: actual?,
            why: own.why.unwrap_or_else(|| raw.why.clone()),
            remedy: remedy?,
        })
    }
}

fn take<T>(mistakes: &mut Vec<String>, name: &str, result: Result<T, String>) -> Option<T> {
    result.map_err(|mistake| mistakes.push(format!("{name}: {mistake}"))).ok()
}

fn version(text: &Option<String>, mistakes: &mut Vec<String>) -> Option<Vec<u64>> {
    let text = text.as_deref()?;
    let numbers = text.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<_>>>();
    take(mistakes, "version", numbers.ok_or_else(|| format!("{text:?} is no version")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_reads() {
        let (catalogue, mistakes) = Catalogue::read(FILES);
        assert!(mistakes.is_empty(), "{} mistakes:\n{}", mistakes.len(), mistakes.join("\n"));
        assert!(!catalogue.rows.is_empty());
    }

    fn mistakes(row: &str) -> String {
        let (_, mistakes) = Catalogue::read(&[("test", row)]);
        mistakes.join("\n")
    }

    const GOOD: &str = r#"
        [M01]
        title = "maxmemory is set"
        severity = "high"
        pass = "config.maxmemory > 0"
        expected = "more than 0"
        why = "it grows"
        remedy = "CONFIG SET maxmemory 2gb"
        source = "https://example.com"
    "#;

    #[test]
    fn mistakes_are_found_and_named() {
        assert_eq!(mistakes(GOOD), "");
        for (from, to, expected) in [
            ("[M01]", "[Memory]", "ids are a capital and two digits"),
            ("config.maxmemory >", "config.maxmemry >", "M01: pass: config.maxmemry is not in the table"),
            ("config.maxmemory >", "config.requirepass >", "may hold a secret"),
            ("> 0", "> 'a'", "compares Number with Text"),
            ("> 0", "+ 0", "is neither yes nor no"),
            ("\"high\"", "\"severe\"", "unknown variant"),
            ("https", "http", "no https:// address"),
            ("title = ", "titel = ", "unknown field"),
            ("why = \"it grows\"", "why = \"\"", "`why` is one line of text"),
            ("2gb\"", "{config.maxmemory:stones}\"", "formats are"),
            ("why =", "since = \"seven\"\nwhy =", "is no version"),
            ("why =", "when = \"config.appendonly\"\nwhy =", "come together"),
            ("> 0\"", "> host.swapped\"", "needs host = true"),
            ("why =", "setting = \"slave-priority\"\nwhy =", "no known setting"),
        ] {
            let found = mistakes(&GOOD.replacen(from, to, 1));
            assert!(found.contains(expected), "{to}: {found}");
        }
    }

    #[test]
    fn a_profile_changes_what_it_names_and_nothing_else() {
        let text = format!(
            "{GOOD}\n[M01.profile.store]\nseverity = \"critical\"\npass = \"config.maxmemory > 1gb\""
        );
        let (catalogue, mistakes) = Catalogue::read(&[("test", &text)]);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let row = &catalogue.rows[0];
        let (store, cache) = (row.rule(Profile::Store), row.rule(Profile::Cache));
        assert_eq!((store.severity, cache.severity), (Severity::Critical, Severity::High));
        assert_ne!(store.pass, cache.pass);
        assert_eq!(store.expected, cache.expected);
    }

    #[test]
    fn one_setting_belongs_to_one_row() {
        let with = GOOD.replace("why =", "setting = \"maxmemory\"\nwhy =");
        let twice = format!("{with}{}", with.replace("M01", "M02"));
        assert!(mistakes(&twice).contains("is the setting of M01 already"));
    }
}
