//! Reads `alerts/*.yml` and `alerts/tests/*.yml`: rules and promtool's tests of them, with no key that Prometheus does not
//! know.
//!
//! Whether they are right is for `alerts` and `expressions`.

use std::{collections::BTreeMap, fs, path::Path};

use serde::{Deserialize, de::DeserializeOwned};

/// A file of rules.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RuleFile {
    /// The file's name, without its folder.
    #[serde(skip)]
    pub(crate) file: String,
    pub(crate) groups: Vec<Group>,
}

/// Rules that are evaluated together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    #[allow(dead_code, reason = "a key that is allowed")]
    name: String,
    #[allow(dead_code, reason = "a key that is allowed")]
    interval: Option<String>,
    #[allow(dead_code, reason = "a key that is allowed")]
    limit: Option<u32>,
    pub(crate) rules: Vec<Rule>,
}

/// One rule: an alert or a recording.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) alert: Option<String>,
    pub(crate) record: Option<String>,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    #[allow(dead_code, reason = "a key that is allowed")]
    wait: Option<String>,
    #[allow(dead_code, reason = "a key that is allowed")]
    keep_firing_for: Option<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A file of promtool's tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestFile {
    /// The file's name, without its folder.
    #[serde(skip)]
    pub(crate) file: String,
    #[allow(dead_code, reason = "a key that is allowed")]
    rule_files: Vec<String>,
    #[allow(dead_code, reason = "a key that is allowed")]
    evaluation_interval: Option<String>,
    #[allow(dead_code, reason = "a key that is allowed")]
    group_eval_order: Option<Vec<String>>,
    pub(crate) tests: Vec<TestCase>,
}

/// Series, and what comes of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestCase {
    #[serde(default)]
    #[allow(dead_code, reason = "a key that is allowed")]
    name: String,
    #[allow(dead_code, reason = "a key that is allowed")]
    interval: Option<String>,
    #[serde(default)]
    pub(crate) input_series: Vec<InputSeries>,
    #[serde(default)]
    pub(crate) alert_rule_test: Vec<AlertTest>,
    #[serde(default)]
    pub(crate) promql_expr_test: Vec<ExprTest>,
    #[serde(default)]
    #[allow(dead_code, reason = "a key that is allowed")]
    external_labels: BTreeMap<String, String>,
    #[allow(dead_code, reason = "a key that is allowed")]
    external_url: Option<String>,
}

/// A made-up series.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct InputSeries {
    pub(crate) series: String,
    #[allow(dead_code, reason = "a key that is allowed")]
    values: String,
}

/// Which alerts fire at a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertTest {
    #[allow(dead_code, reason = "a key that is allowed")]
    eval_time: String,
    pub(crate) alertname: String,
    /// None: it is silent.
    #[serde(default)]
    pub(crate) exp_alerts: Vec<FiringAlert>,
}

/// An alert that fires.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FiringAlert {
    #[serde(default)]
    #[allow(dead_code, reason = "a key that is allowed")]
    exp_labels: BTreeMap<String, String>,
    #[serde(default)]
    #[allow(dead_code, reason = "a key that is allowed")]
    exp_annotations: BTreeMap<String, String>,
}

/// What an expression gives at a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExprTest {
    pub(crate) expr: String,
    #[allow(dead_code, reason = "a key that is allowed")]
    eval_time: String,
    #[serde(default)]
    #[allow(dead_code, reason = "a key that is allowed")]
    exp_samples: Vec<ExpectedSample>,
}

/// One value of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "keys that are allowed")]
pub(crate) struct ExpectedSample {
    labels: Option<String>,
    value: f64,
}

impl Rule {
    /// The queries of its annotations, whose labels are filled in when it fires: there with any value.
    pub(crate) fn queries(&self) -> Vec<String> {
        let quoted = self.annotations.values().flat_map(|text| text.split('"').skip(1).step_by(2));
        quoted.filter(|text| text.contains("=%q")).map(|text| text.replace("=%q", "=~\".*\"")).collect()
    }

    /// The alert's name, or the recorded metric's.
    pub(crate) fn name(&self) -> &str {
        self.alert.as_deref().or(self.record.as_deref()).unwrap_or("a rule without a name")
    }
}

impl RuleFile {
    /// Reads one from its text.
    ///
    /// # Errors
    /// Where it is not YAML, not a file of rules, or has a key that Prometheus does not know.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, String> {
        Ok(Self { file: file.into(), ..read(file, text)? })
    }

    /// All its rules.
    pub(crate) fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.groups.iter().flat_map(|group| &group.rules)
    }
}

impl TestFile {
    /// Reads one from its text.
    ///
    /// # Errors
    /// As [`RuleFile::read`].
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, String> {
        Ok(Self { file: file.into(), ..read(file, text)? })
    }
}

fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| format!("{file}: {error}"))
}

/// Every file of rules in `alerts`, by name.
///
/// # Panics
/// Where one cannot be read.
pub(crate) fn all() -> Vec<RuleFile> {
    each("alerts", RuleFile::read)
}

/// Every file of promtool's tests in `alerts/tests`, by name.
///
/// # Panics
/// Where one cannot be read.
pub(crate) fn tests() -> Vec<TestFile> {
    each("alerts/tests", TestFile::read)
}

fn each<T>(folder: &str, read: fn(&str, &str) -> Result<T, String>) -> Vec<T> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "yml"));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).expect("file names are text");
        let text = fs::read_to_string(file).expect("the file can be read");
        read(name, &text).unwrap_or_else(|error| panic!("{error}"))
    };
    files.iter().map(read).collect()
}
