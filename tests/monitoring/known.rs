//! What an expression may ask for: the series that the program exports, those that rules record, and the values that
//! their labels can have.
//!
//! All of it is read off the program. How an expression is held against it is in `walk`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use measure::{
    Reason,
    latency::QUANTILES,
    metric::{Kind, MetricDef},
    report::Doubt,
};
use redprobe::{
    config::Profile,
    probes::{self, PROBES},
    sink::metrics::Metrics,
};

use super::{rules::RuleFile, walk::Walk};

/// Labels that Prometheus gives to all that it scrapes.
const SCRAPED: [&str; 2] = ["job", "instance"];
/// Labels whose values are the user's: a shipped expression that names one would fit nobody else.
const CONFIGURED: [&str; 8] =
    ["target", "node", "variant", "instance", "environment", "group", "version", "le"];

/// The labels that a series can have.
pub(crate) type Labels = BTreeSet<String>;

/// What may be asked of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Its value.
    Gauge,
    /// How fast it grows.
    Counter,
    /// Nothing: it has `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One name that an expression may have.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) sort: Sort,
    pub(crate) labels: Labels,
    /// The catalogue's name for it, where it is in the catalogue.
    pub(crate) metric: Option<&'static str>,
    /// The probe whose own metric it is.
    pub(crate) probe: Option<&'static str>,
}

impl Series {
    /// Whether the values of this label are the user's.
    pub(crate) fn is_configured(&self, label: &str) -> bool {
        // The pools that client_census knows are declared in the configuration; those of other probes are their own.
        CONFIGURED.contains(&label) || (label == "pool" && self.probe == Some("client_census"))
    }
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Known {
    series: BTreeMap<String, Series>,
    alerts: BTreeSet<String>,
    severities: BTreeSet<String>,
    /// The words that stand in quotes in the program's source, by the probe whose source it is; "" for what all share.
    words: &'static Words,
}

type Words = BTreeMap<&'static str, BTreeSet<String>>;

impl Known {
    /// What the program exports, and what these rules make of it.
    pub(crate) fn with(rules: &[RuleFile]) -> Self {
        let mut known = Self {
            series: BTreeMap::new(),
            alerts: BTreeSet::new(),
            severities: BTreeSet::new(),
            words: &WORDS,
        };
        for def in Metrics::catalogue() {
            known.add_metric(def);
        }
        known.add_process_metrics();
        for name in ["up", "scrape_duration_seconds", "scrape_samples_scraped", "scrape_series_added"] {
            known.add(name, Sort::Gauge, SCRAPED.map(str::to_owned).into());
        }
        // Recorded series and ALERTS have the labels that their rules leave. A recording may use one of a later file.
        for _ in 0..2 {
            for rule in rules.iter().flat_map(RuleFile::rules) {
                let mut walk = Walk::new(&known);
                let mut labels = walk.expression(&rule.expr).unwrap_or_default();
                let probe = known.owner(&walk.names);
                labels.extend(rule.labels.keys().cloned());
                if let Some(name) = &rule.record {
                    known.add(name, Sort::Gauge, labels);
                    known.series.entry(name.clone()).and_modify(|series| series.probe = probe);
                } else if let Some(name) = &rule.alert {
                    known.alerts.insert(name.clone());
                    known.severities.extend(rule.labels.get("severity").cloned());
                    labels.extend(["alertname".into(), "alertstate".into()]);
                    known.add("ALERTS", Sort::Gauge, labels.clone());
                    known.add("ALERTS_FOR_STATE", Sort::Gauge, labels);
                }
            }
        }
        known
    }

    fn add(&mut self, name: &str, sort: Sort, labels: Labels) {
        let new = || Series { sort, labels: Labels::new(), metric: None, probe: None };
        self.series.entry(name.to_owned()).or_insert_with(new).labels.extend(labels);
    }

    /// The probe that all of these series are of.
    fn owner(&self, names: &BTreeSet<String>) -> Option<&'static str> {
        let mut owners = names.iter().map(|name| self.series.get(name).and_then(|series| series.probe));
        let first = owners.next()?;
        first.filter(|_| owners.all(|owner| owner == first))
    }

    fn add_metric(&mut self, def: &'static MetricDef) {
        let own = def.labels.iter().chain(Metrics::owner_labels(def)).chain(&SCRAPED);
        let labels: Labels = own.map(|label| (*label).to_owned()).collect();
        let probe = PROBES.iter().find(|kind| kind.metrics.iter().any(|metric| metric.name == def.name));
        let series = |sort, labels| Series {
            sort,
            labels,
            metric: Some(def.name),
            probe: probe.map(|kind| kind.name),
        };
        let sort = match def.kind {
            Kind::Gauge => Sort::Gauge,
            Kind::Counter => Sort::Counter,
            Kind::Histogram => Sort::Histogram,
        };
        if sort == Sort::Histogram {
            let mut bucket = labels.clone();
            bucket.insert("le".into());
            self.series.insert(format!("{}_bucket", def.name), series(Sort::Counter, bucket));
            for suffix in ["_sum", "_count"] {
                self.series.insert(format!("{}{suffix}", def.name), series(Sort::Counter, labels.clone()));
            }
        }
        self.series.insert(def.name.into(), series(sort, labels));
    }

    /// Those of the process are not in the catalogue: the library that writes them decides which there are.
    fn add_process_metrics(&mut self) {
        let exposition = String::from_utf8(Metrics::new().render()).expect("an exposition is text");
        for line in exposition.lines() {
            if let Some((name, kind)) =
                line.strip_prefix("# TYPE process_").and_then(|rest| rest.split_once(' '))
            {
                let sort = if kind == "counter" { Sort::Counter } else { Sort::Gauge };
                self.add(&format!("process_{name}"), sort, SCRAPED.map(str::to_owned).into());
            }
        }
    }

    /// The series of this name.
    pub(crate) fn series(&self, name: &str) -> Option<&Series> {
        self.series.get(name)
    }

    /// The known name that looks most like this one.
    pub(crate) fn nearest(&self, name: &str) -> Option<&str> {
        let names = self.series.keys().map(String::as_str);
        names.max_by(|a, b| strsim::jaro_winkler(a, name).total_cmp(&strsim::jaro_winkler(b, name)))
    }

    /// The values that a label of a series can have, where the program knows them; `probes` are those that are asked
    /// for, none for any.
    pub(crate) fn values(&self, series: &Series, label: &str, probes: &[&'static str]) -> BTreeSet<String> {
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect();
        let of_objective = series.metric.is_some_and(|metric| metric.starts_with("redprobe_objective_"));
        match label {
            "job" => own(&["redprobe"]),
            "alertname" => self.alerts.clone(),
            "alertstate" => own(&["pending", "firing"]),
            "probe" => match series.probe {
                Some(probe) => own(&[probe]),
                None => PROBES.iter().map(|kind| kind.name.to_owned()).collect(),
            },
            "objective" => objectives(probes),
            "direction" => own(&["min", "max"]),
            "severity" if of_objective => own(&["info", "warning", "critical"]),
            "severity" if series.metric.is_none() => {
                // A label that is a template takes the objective's.
                self.severities
                    .iter()
                    .cloned()
                    .chain(["info", "warning", "critical"].map(Into::into))
                    .collect()
            }
            "profile" => [Profile::Cache, Profile::Buffer, Profile::Store, Profile::Mixed]
                .map(|one| one.as_str().to_owned())
                .into(),
            "reason" => {
                let objective = ["objective".to_owned()];
                Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).chain(objective).collect()
            }
            "doubt" => Doubt::ALL.iter().map(|doubt| doubt.as_str().to_owned()).collect(),
            "quantile" => QUANTILES.iter().map(|(_, name)| (*name).to_owned()).collect(),
            "code" => own(&["1xx", "2xx", "3xx", "4xx", "5xx"]),
            _ => self.words_of(series.probe.as_slice(), probes),
        }
    }

    /// Labels such as `phase` and `operation` have no list of their values: the probes that set them have them as words
    /// in their source.
    fn words_of(&self, owner: &[&'static str], asked: &[&'static str]) -> BTreeSet<String> {
        let probes = if owner.is_empty() { asked } else { owner };
        let of_all = probes.is_empty();
        let chosen =
            self.words.iter().filter(|(probe, _)| of_all || probe.is_empty() || probes.contains(probe));
        chosen.flat_map(|(_, words)| words.iter().cloned()).collect()
    }
}

fn objectives(probes: &[&'static str]) -> BTreeSet<String> {
    let asked = PROBES.iter().filter(|kind| probes.is_empty() || probes.contains(&kind.name));
    asked.flat_map(|kind| kind.objectives.iter().map(|def| def.name.to_owned())).collect()
}

static WORDS: LazyLock<Words> = LazyLock::new(words);

fn words() -> Words {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut words = Words::new();
    for folder in ["src/probe", "src/probes", "crates/measure/src"] {
        let mut files = Vec::new();
        files_below(&root.join(folder), &mut files);
        for file in files {
            let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
            let after = parts.iter().rposition(|part| *part == "probes").and_then(|at| parts.get(at + 1));
            let probe = after.and_then(|name| probes::find(name.trim_end_matches(".rs")));
            let text = fs::read_to_string(&file).expect("the source can be read");
            words.entry(probe.map_or("", |kind| kind.name)).or_default().extend(quoted(&text));
        }
    }
    words
}

fn files_below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the source is there") {
        let path = entry.expect("the folder can be read").path();
        let kind = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            files_below(&path, files);
        } else if matches!(kind, Some("rs" | "toml")) {
            files.push(path);
        }
    }
}

/// The words in quotes, and the names of sections: `[M01]`.
fn quoted(text: &str) -> impl Iterator<Item = String> {
    let is_word = |word: &&str| {
        !word.is_empty()
            && word.len() < 40
            && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    let sections = text.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']'));
    text.lines().flat_map(|line| line.split('"')).chain(sections).filter(is_word).map(str::to_owned)
}
