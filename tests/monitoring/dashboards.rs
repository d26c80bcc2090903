//! Reads `grafana/dashboards/*.json`: panels with their queries, variables, annotations, links.
//!
//! Only what tests ask for is read; whether it is right is for `hygiene` and `expressions`. It depends on nothing else
//! here, so that a test with a real Prometheus can use it too.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;
use serde_json::Value;

/// One dashboard.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dashboard {
    /// The file's name, without its folder.
    #[serde(skip)]
    pub(crate) file: String,
    #[serde(default)]
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) editable: Option<bool>,
    pub(crate) id: Option<i64>,
    pub(crate) schema_version: Option<u64>,
    /// As in the file: rows that are closed hold theirs. [`Dashboard::panels`] has all of them.
    #[serde(default, rename = "panels")]
    top: Vec<Panel>,
    #[serde(default)]
    templating: List<Variable>,
    #[serde(default)]
    annotations: List<Annotation>,
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    #[serde(rename = "__inputs")]
    pub(crate) inputs: Option<Value>,
    #[serde(rename = "__requires")]
    pub(crate) requires: Option<Value>,
}

/// How Grafana wraps variables and annotations.
#[derive(Debug, Deserialize)]
struct List<T> {
    list: Vec<T>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { list: Vec::new() }
    }
}

/// A panel, or a row of them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Panel {
    pub(crate) id: Option<u64>,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) datasource: Option<Value>,
    pub(crate) grid_pos: Option<GridPos>,
    #[serde(default)]
    pub(crate) field_config: FieldConfig,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
    #[serde(default)]
    pub(crate) transformations: Vec<Transformation>,
    #[serde(default)]
    pub(crate) links: Vec<Link>,
    #[serde(default)]
    panels: Vec<Panel>,
}

/// Where a panel is, on a grid 24 wide.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(crate) struct GridPos {
    pub(crate) h: u32,
    pub(crate) w: u32,
    pub(crate) x: u32,
    pub(crate) y: u32,
}

/// How values are shown.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct FieldConfig {
    #[serde(default)]
    pub(crate) defaults: Defaults,
    #[serde(default)]
    pub(crate) overrides: Vec<Override>,
}

/// For all fields of a panel.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Defaults {
    pub(crate) unit: Option<String>,
    #[serde(default)]
    pub(crate) thresholds: Thresholds,
    #[serde(default)]
    pub(crate) links: Vec<Link>,
}

/// Where colours change.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Thresholds {
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
}

/// One colour, from this value on.
#[derive(Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) value: Option<f64>,
}

/// For some fields of a panel.
#[derive(Debug, Deserialize)]
pub(crate) struct Override {
    pub(crate) matcher: Matcher,
    pub(crate) properties: Vec<Property>,
}

/// Which fields.
#[derive(Debug, Deserialize)]
pub(crate) struct Matcher {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) options: Value,
}

/// What they are given.
#[derive(Debug, Deserialize)]
pub(crate) struct Property {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) value: Value,
}

/// One query of a panel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Target {
    #[serde(default)]
    pub(crate) ref_id: String,
    #[serde(default)]
    pub(crate) expr: String,
    #[serde(default)]
    pub(crate) legend_format: String,
    pub(crate) datasource: Option<Value>,
}

/// A step between query and picture.
#[derive(Debug, Deserialize)]
pub(crate) struct Transformation {
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) options: Value,
}

/// What can be chosen at the top.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable {
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    #[serde(default)]
    pub(crate) label: String,
    #[serde(default)]
    query: Value,
    #[serde(default)]
    pub(crate) multi: bool,
    #[serde(default)]
    pub(crate) include_all: bool,
    pub(crate) all_value: Option<String>,
    #[serde(default)]
    pub(crate) refresh: u8,
    pub(crate) datasource: Option<Value>,
    #[serde(default)]
    current: Value,
}

/// Marks on the time axis.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Annotation {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) expr: String,
    pub(crate) datasource: Option<Value>,
    /// 1 for the one that every dashboard has.
    #[serde(default)]
    pub(crate) built_in: u8,
    #[serde(default)]
    pub(crate) title_format: String,
    #[serde(default)]
    pub(crate) text_format: String,
}

/// Where a click leads.
#[derive(Debug, Deserialize)]
pub(crate) struct Link {
    #[serde(default)]
    pub(crate) url: String,
    /// `link`, or `dashboards` for all that have a tag.
    #[serde(default, rename = "type")]
    pub(crate) kind: String,
}

/// What an expression is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A panel draws it.
    Panel,
    /// It marks times.
    Annotation,
    /// It finds a variable's values.
    Variable,
}

/// One PromQL expression of a dashboard.
#[derive(Debug)]
pub(crate) struct Expression {
    /// The dashboard's file.
    pub(crate) file: String,
    /// The panel's title, or the name of the annotation or variable.
    pub(crate) place: String,
    pub(crate) purpose: Purpose,
    /// As in the file, with Grafana's variables.
    pub(crate) text: String,
    /// As Prometheus gets it where everything is chosen; or what stands in the way.
    pub(crate) query: Result<String, String>,
    /// Texts that name labels: `{{label}}`.
    pub(crate) legends: Vec<String>,
}

impl Dashboard {
    /// Reads one from its text.
    ///
    /// # Errors
    /// Where it is not JSON, or not a dashboard.
    pub(crate) fn read(file: &str, text: &str) -> Result<Self, String> {
        let read: Result<Self, _> = serde_json::from_str(text);
        Ok(Self { file: file.into(), ..read.map_err(|error| format!("{file}: {error}"))? })
    }

    /// All panels but rows: those in closed rows too.
    pub(crate) fn panels(&self) -> impl Iterator<Item = &Panel> {
        self.rows_and_panels().filter(|panel| panel.kind != "row")
    }

    /// All panels, and the rows.
    pub(crate) fn rows_and_panels(&self) -> impl Iterator<Item = &Panel> {
        self.top.iter().flat_map(|panel| std::iter::once(panel).chain(&panel.panels))
    }

    /// Panels that share a grid: those outside closed rows, and those of each.
    pub(crate) fn grids(&self) -> Vec<Vec<&Panel>> {
        let closed = self.top.iter().map(|row| row.panels.iter().collect());
        std::iter::once(self.top.iter().collect()).chain(closed).collect()
    }

    /// The variables.
    pub(crate) fn variables(&self) -> &[Variable] {
        &self.templating.list
    }

    /// The annotations that it declares itself.
    pub(crate) fn annotations(&self) -> impl Iterator<Item = &Annotation> {
        self.annotations.list.iter().filter(|annotation| annotation.built_in == 0)
    }

    /// Every expression that Prometheus gets from it.
    pub(crate) fn expressions(&self) -> Vec<Expression> {
        let panels = self.panels().flat_map(|panel| {
            panel.targets.iter().map(|target| {
                let legends = vec![target.legend_format.clone()];
                self.expression(Purpose::Panel, &panel.title, &target.expr, legends)
            })
        });
        let annotations = self.annotations().map(|annotation| {
            let legends = vec![annotation.title_format.clone(), annotation.text_format.clone()];
            self.expression(Purpose::Annotation, &annotation.name, &annotation.expr, legends)
        });
        let variables = self.variables().iter().filter_map(|variable| {
            let legends = vec![format!("{{{{{}}}}}", variable.label_of_values()?)];
            Some(self.expression(Purpose::Variable, &variable.name, &variable.expr()?, legends))
        });
        panels.chain(annotations).chain(variables).collect()
    }

    fn expression(&self, purpose: Purpose, place: &str, text: &str, legends: Vec<String>) -> Expression {
        let (file, place, query) = (self.file.clone(), place.to_owned(), self.substitute(text));
        Expression { file, place, purpose, text: text.to_owned(), query, legends }
    }

    /// `text` with Grafana's variables replaced: its own by one minute, a dashboard's by all values or the one chosen.
    ///
    /// # Errors
    /// Names a variable that neither Grafana nor the dashboard has.
    pub(crate) fn substitute(&self, text: &str) -> Result<String, String> {
        let mut values: BTreeMap<&str, String> =
            self.variables().iter().map(|variable| (variable.name.as_str(), variable.value())).collect();
        for (name, value) in BUILT_IN {
            values.insert(name, value.to_owned());
        }
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out += before;
            let (name, tail) = variable_name(after);
            // `$` alone ends a regular expression.
            if name.is_empty() {
                out.push('$');
            } else {
                out += values.get(name).ok_or_else(|| format!("there is no variable ${name}"))?;
            }
            rest = tail;
        }
        Ok(out + rest)
    }
}

/// Grafana's own variables, for a dashboard that shows one hour.
const BUILT_IN: [(&str, &str); 6] = [
    ("__rate_interval", "1m"),
    ("__interval", "1m"),
    ("__interval_ms", "60000"),
    ("__range", "1h"),
    ("__range_s", "3600"),
    ("__range_ms", "3600000"),
];

/// The name after a `$`, and what comes after it: `name`, `{name}` or `{name:format}`.
fn variable_name(text: &str) -> (&str, &str) {
    if let Some((inside, tail)) = text.strip_prefix('{').and_then(|text| text.split_once('}')) {
        return (inside.split(':').next().unwrap_or_default(), tail);
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

impl Variable {
    /// What is asked for its values, as in the file: `label_values(redprobe_up, target)`.
    fn query(&self) -> Option<&str> {
        if self.kind != "query" {
            return None;
        }
        self.query.as_str().or_else(|| self.query.get("query")?.as_str())
    }

    /// The expression within its query.
    fn expr(&self) -> Option<String> {
        let query = self.query()?.trim();
        match query.split_once('(') {
            Some(("label_values", inside)) => {
                Some(inside.strip_suffix(')')?.rsplit_once(',')?.0.trim().to_owned())
            }
            Some(("query_result", inside)) => Some(inside.strip_suffix(')')?.to_owned()),
            _ => Some(query.to_owned()),
        }
    }

    /// The label whose values it offers.
    pub(crate) fn label_of_values(&self) -> Option<&str> {
        let inside = self.query()?.trim().strip_prefix("label_values(")?;
        Some(inside.strip_suffix(')')?.rsplit_once(',')?.1.trim())
    }

    /// What stands in its place where all is chosen; of one without "All", the value chosen in the file.
    fn value(&self) -> String {
        if self.include_all {
            return self.all_value.clone().unwrap_or_else(|| ".+".into());
        }
        let current = match &self.current["value"] {
            Value::Array(values) => values.first().and_then(Value::as_str),
            value => value.as_str(),
        };
        let first = || self.query.as_str().filter(|_| self.kind != "query")?.split(',').next();
        current.filter(|value| !value.is_empty()).or_else(first).unwrap_or(".+").trim().to_owned()
    }
}

/// Every dashboard in `grafana/dashboards`, by file name.
///
/// # Panics
/// Where one cannot be read.
pub(crate) fn all() -> Vec<Dashboard> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/dashboards");
    let Ok(entries) = fs::read_dir(&folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let read = |file: &std::path::PathBuf| {
        let name = file.file_name().and_then(|name| name.to_str()).expect("file names are text");
        let text = fs::read_to_string(file).expect("the file can be read");
        Dashboard::read(name, &text).unwrap_or_else(|error| panic!("{error}"))
    };
    files.iter().map(read).collect()
}

/// Every expression of every dashboard.
pub(crate) fn all_expressions() -> Vec<Expression> {
    all().iter().flat_map(Dashboard::expressions).collect()
}
