//! Walks one PromQL expression from its selectors up: which labels each part has, and what is wrong on the way.
//!
//! What is known is in `known`; which expressions there are, and what may be excused, in `expressions`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use promql_parser::{
    label::{MatchOp, Matcher},
    parser::{
        self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality, VectorSelector,
        token::T_EQL_REGEX,
    },
};

use super::known::{Known, Labels, Series, Sort};

/// Functions that turn a counter into something that has a meaning.
const OF_COUNTERS: [&str; 5] = ["rate", "irate", "increase", "resets", "changes"];
/// Functions that ask whether there is a series, whatever its value.
const OF_PRESENCE: [&str; 5] = ["absent", "absent_over_time", "present_over_time", "count", "group"];

/// What is found in one expression.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    known: &'a Known,
    /// Whether it stands for a series of a test, whose targets are invented and which is asked for as it is.
    made_up: bool,
    /// What is wrong, and what to do about it.
    pub(crate) wrong: Vec<String>,
    /// Names of all series that it asks for.
    pub(crate) names: BTreeSet<String>,
    /// The same, with what they are matched by.
    pub(crate) selected: Vec<(String, Vec<Matcher>)>,
    /// The labels that label_replace() makes, with what it puts there.
    pub(crate) replacements: Vec<(String, String)>,
    /// Counters whose bare value it takes.
    pub(crate) bare_counters: BTreeSet<String>,
    /// What series are compared with, where that is no series: the text of each, and whether what an objective has
    /// observed is on the other side.
    pub(crate) constants: Vec<(String, bool)>,
    /// The `by` lists, with the labels that they drop.
    pub(crate) dropped: Vec<Labels>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(known: &'a Known) -> Self {
        Self {
            known,
            made_up: false,
            wrong: Vec::new(),
            names: BTreeSet::new(),
            selected: Vec::new(),
            replacements: Vec::new(),
            bare_counters: BTreeSet::new(),
            constants: Vec::new(),
            dropped: Vec::new(),
        }
    }

    /// For a series that a test invents.
    pub(crate) fn made_up(known: &'a Known) -> Self {
        Self { made_up: true, ..Self::new(known) }
    }

    /// The labels that its result can have; none for a number, or where it cannot be read.
    pub(crate) fn expression(&mut self, text: &str) -> Option<Labels> {
        match parsed(text) {
            Ok(expr) => self.labels(&expr, ""),
            Err(error) => {
                self.wrong.push(format!("it is not PromQL: {error}"));
                None
            }
        }
    }

    /// The labels of `expr`, which is an argument of the function or aggregation `within`.
    fn labels(&mut self, expr: &Expr, within: &str) -> Option<Labels> {
        match expr {
            Expr::Aggregate(aggregate) => Some(self.aggregate(aggregate)),
            Expr::Unary(unary) => self.labels(&unary.expr, ""),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Paren(paren) => self.labels(&paren.expr, within),
            Expr::Subquery(subquery) => self.labels(&subquery.expr, ""),
            Expr::VectorSelector(selector) => Some(self.selector(selector, within)),
            Expr::MatrixSelector(selector) => Some(self.selector(&selector.vs, within)),
            Expr::Call(call) => self.call(call),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => None,
        }
    }

    fn selector(&mut self, selector: &VectorSelector, within: &str) -> Labels {
        let Some(name) = &selector.name else {
            self.wrong.push(format!("`{selector}` names no metric: begin it with one"));
            return Labels::new();
        };
        self.names.insert(name.clone());
        self.selected.push((name.clone(), selector.matchers.matchers.clone()));
        let Some(series) = self.known.series(name) else {
            let nearest = self.known.nearest(name).unwrap_or_default();
            self.wrong.push(format!(
                "`{name}` is not in the catalogue (`redprobe metrics`), and no rule records it: was {nearest} meant?"
            ));
            return Labels::new();
        };
        self.usage(name, series, within);
        let mut alternatives = selector.matchers.or_matchers.iter().flatten();
        for matcher in selector.matchers.matchers.iter().chain(&mut alternatives) {
            if !series.labels.contains(&matcher.name) {
                self.wrong.push(no_label(name, &matcher.name, &series.labels));
            }
        }
        self.values(name, series, &selector.matchers.matchers);
        series.labels.clone()
    }

    /// Is a counter asked how fast it grows, and a gauge not?
    fn usage(&mut self, name: &str, series: &Series, within: &str) {
        if OF_PRESENCE.contains(&within) {
            return;
        }
        match series.sort {
            Sort::Histogram => self.wrong.push(format!(
                "`{name}` is a histogram, which has no series of its own name: ask for {name}_bucket, _sum or _count"
            )),
            Sort::Counter if !OF_COUNTERS.contains(&within) && !self.made_up => {
                self.bare_counters.insert(name.to_owned());
            }
            Sort::Gauge if ["rate", "irate", "increase", "resets"].contains(&within) => self.wrong.push(format!(
                "`{name}` is a gauge, which {within}() misreads as a counter: use delta() or deriv(), or its value"
            )),
            _ => {}
        }
    }

    /// Can the labels have the values that they are matched with?
    fn values(&mut self, name: &str, series: &Series, matchers: &[Matcher]) {
        let of_probe = matchers.iter().find(|matcher| matcher.name == "probe");
        let all = self.known.values(series, "probe", &[]);
        let chosen = redprobe::probes::PROBES.iter().map(|kind| kind.name);
        let probes: Vec<&'static str> = match of_probe {
            Some(matcher) if !is_open(matcher) => chosen.filter(|probe| matcher.is_match(probe)).collect(),
            _ => series.probe.into_iter().collect(),
        };
        for matcher in matchers.iter().filter(|matcher| series.labels.contains(&matcher.name)) {
            let label = &matcher.name;
            if is_open(matcher) {
                continue;
            }
            if series.is_configured(label) {
                if !self.made_up && !matcher.value.is_empty() {
                    self.wrong.push(format!(
                        "`{label}` of `{name}` is matched with {:?}, a name of somebody's configuration: leave it out",
                        matcher.value
                    ));
                }
                continue;
            }
            let values =
                if label == "probe" { all.clone() } else { self.known.values(series, label, &probes) };
            for alternative in unknown_alternatives(matcher, &values) {
                let of = if probes.is_empty() { String::new() } else { format!(" of {}", probes.join(", ")) };
                self.wrong.push(format!(
                    "{label} {alternative:?} matches nothing that `{name}`{of} can have: {}",
                    known_ones(&values, &alternative)
                ));
            }
        }
    }

    fn aggregate(&mut self, aggregate: &AggregateExpr) -> Labels {
        let operation = aggregate.op.to_string();
        let mut labels = self.labels(&aggregate.expr, &operation).unwrap_or_default();
        let counted = match aggregate.param.as_deref() {
            Some(Expr::StringLiteral(label)) => Some(label.val.clone()),
            Some(parameter) => {
                self.labels(parameter, "");
                None
            }
            None => None,
        };
        if let Some(modifier) = &aggregate.modifier {
            for label in modifier.labels().labels.iter().filter(|label| !labels.contains(*label)) {
                let word = if modifier.is_include() { "by" } else { "without" };
                self.wrong.push(no_label(
                    &format!("{operation} {word} of {}", aggregate.expr),
                    label,
                    &labels,
                ));
            }
        }
        if ["topk", "bottomk", "limitk", "limit_ratio"].contains(&operation.as_str()) {
            return labels;
        }
        match &aggregate.modifier {
            Some(LabelModifier::Include(kept)) => {
                let (kept, dropped) = labels.into_iter().partition(|label| kept.labels.contains(label));
                self.dropped.push(dropped);
                labels = kept;
            }
            Some(LabelModifier::Exclude(left_out)) => labels.retain(|label| !left_out.labels.contains(label)),
            None => labels.clear(),
        }
        labels.extend(counted);
        labels
    }

    fn binary(&mut self, binary: &BinaryExpr) -> Option<Labels> {
        let (left, right) = (self.labels(&binary.lhs, ""), self.labels(&binary.rhs, ""));
        if binary.op.is_comparison_operator() {
            for (one, other, series) in
                [(&left, &binary.lhs, &binary.rhs), (&right, &binary.rhs, &binary.lhs)]
            {
                if one.is_none() {
                    let observed = series.to_string().contains("redprobe_objective_observed");
                    self.constants.push((other.to_string(), observed));
                }
            }
        }
        let (Some(left), Some(right)) = (&left, &right) else { return left.or(right) };
        let matched = self.matched(binary, left, right);
        if binary.op.is_set_operator() {
            let both = || left.union(right).cloned().collect();
            return Some(if binary.op.to_string() == "or" { both() } else { left.clone() });
        }
        let cardinality = binary.modifier.as_ref().map(|modifier| &modifier.card);
        let (many, one, included) = match cardinality {
            Some(VectorMatchCardinality::ManyToOne(included)) => (left, right, included),
            Some(VectorMatchCardinality::OneToMany(included)) => (right, left, included),
            _ => return Some(matched),
        };
        for label in included.labels.iter().filter(|label| !one.contains(*label)) {
            self.wrong.push(no_label("the one side of the group", label, one));
        }
        Some(many.iter().chain(&included.labels).cloned().collect())
    }

    /// The labels that pairs of both sides agree in.
    fn matched(&mut self, binary: &BinaryExpr, left: &Labels, right: &Labels) -> Labels {
        let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
        let operation = binary.op.to_string();
        match matching {
            Some(LabelModifier::Include(on)) => {
                for label in &on.labels {
                    for (side, labels) in [("left", left), ("right", right)] {
                        if !labels.contains(label) {
                            self.wrong.push(no_label(
                                &format!("the {side} of `{operation} on`"),
                                label,
                                labels,
                            ));
                        }
                    }
                }
                on.labels.iter().cloned().collect()
            }
            ignoring => {
                let ignored = ignoring.map(|modifier| modifier.labels().labels.clone()).unwrap_or_default();
                let both: Labels = left.union(right).cloned().collect();
                for label in ignored.iter().filter(|label| !both.contains(*label)) {
                    self.wrong.push(no_label(
                        &format!("neither side of `{operation} ignoring`"),
                        label,
                        &both,
                    ));
                }
                let apart: Vec<_> =
                    left.symmetric_difference(right).filter(|label| !ignored.contains(label)).collect();
                if operation != "or" && !apart.is_empty() {
                    self.wrong.push(format!(
                        "the sides of `{operation}` never match, since only one has {}: say on (…) or ignoring (…)",
                        list(apart)
                    ));
                }
                both.into_iter().filter(|label| !ignored.contains(label)).collect()
            }
        }
    }

    fn call(&mut self, call: &Call) -> Option<Labels> {
        let name = call.func.name;
        let given: Vec<Option<Labels>> =
            call.args.args.iter().map(|argument| self.labels(argument, name)).collect();
        let text = |at: usize| match call.args.args.get(at).map(|argument| &**argument) {
            Some(Expr::StringLiteral(text)) => text.val.clone(),
            _ => String::new(),
        };
        let mut labels = given.iter().flatten().next().cloned();
        match name {
            "scalar" | "time" | "pi" => return None,
            "vector" => return Some(Labels::new()),
            "absent" | "absent_over_time" => return Some(equal_labels(&call.args.args[0])),
            "histogram_quantile" if !labels.get_or_insert_default().remove("le") => {
                self.wrong.push(
                    "histogram_quantile() needs the label `le`: ask for a _bucket, and keep `le`".into(),
                );
            }
            "label_replace" => {
                let labels = labels.get_or_insert_default();
                let (from, pattern) = (text(3), text(4));
                // Without a source it adds a label that is always the same.
                if !from.is_empty() && !labels.contains(&from) {
                    self.wrong.push(no_label("label_replace()", &from, labels));
                }
                self.replaced(&from, &pattern);
                labels.insert(text(1));
                self.replacements.push((text(1), text(2)));
            }
            "label_join" => {
                let labels = labels.get_or_insert_default();
                labels.insert(text(1));
            }
            _ if call.args.args.is_empty() => labels = Some(Labels::new()),
            _ => {}
        }
        labels
    }

    /// Does the pattern of a label_replace() fit names of probes and objectives?
    fn replaced(&mut self, from: &str, pattern: &str) {
        let Some(series) =
            self.known.series("redprobe_objective_met").filter(|_| ["probe", "objective"].contains(&from))
        else {
            return;
        };
        let values = self.known.values(series, from, &[]);
        let matcher = Matcher::new(MatchOp::Equal, from, pattern);
        for alternative in unknown_alternatives(&matcher, &values) {
            let nearest = known_ones(&values, &alternative);
            self.wrong.push(format!(
                "label_replace() looks for {from} {alternative:?}, which there is not: {nearest}"
            ));
        }
    }
}

/// Parses once what several tests ask for: the parser takes its time.
fn parsed(text: &str) -> Result<Arc<Expr>, String> {
    static PARSED: Mutex<BTreeMap<String, Result<Arc<Expr>, String>>> = Mutex::new(BTreeMap::new());
    let known = PARSED.lock().expect("no holder panics").get(text).cloned();
    known.unwrap_or_else(|| {
        let fresh = parser::parse(text).map(Arc::new);
        PARSED.lock().expect("no holder panics").insert(text.to_owned(), fresh.clone());
        fresh
    })
}

/// The labels that a selector pins, which absent() gives to its result.
fn equal_labels(argument: &Expr) -> Labels {
    let matchers = match argument {
        Expr::VectorSelector(selector) => &selector.matchers.matchers,
        Expr::MatrixSelector(selector) => &selector.vs.matchers.matchers,
        _ => return Labels::new(),
    };
    let equal = matchers.iter().filter(|matcher| matches!(matcher.op, MatchOp::Equal));
    equal.map(|matcher| matcher.name.clone()).collect()
}

fn is_open(matcher: &Matcher) -> bool {
    [".+", ".*"].contains(&matcher.value.trim_end_matches('|'))
}

/// What a pattern spells out: `(a|b)_c|d` is `a_c`, `b_c` and `d`.
fn alternatives(pattern: &str) -> Vec<String> {
    let mut depth = 0;
    let mut parts = pattern.split(|c: char| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == '|' && depth == 0
    });
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    if !rest.is_empty() {
        return std::iter::once(first).chain(rest).flat_map(alternatives).collect();
    }
    let group = pattern.split_once('(').and_then(|(before, rest)| Some((before, rest.split_once(')')?)));
    match group {
        Some((before, (inside, after))) if !inside.contains('(') => {
            inside.split('|').flat_map(|one| alternatives(&format!("{before}{one}{after}"))).collect()
        }
        _ => vec![pattern.to_owned()],
    }
}

/// The alternatives of a matcher that fit none of these values.
fn unknown_alternatives(matcher: &Matcher, values: &BTreeSet<String>) -> Vec<String> {
    let alternatives = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual if !matcher.value.contains('|') => vec![matcher.value.clone()],
        _ => alternatives(&matcher.value),
    };
    let fits = |alternative: &str| {
        let pattern = Matcher::new_matcher(T_EQL_REGEX, matcher.name.clone(), alternative.to_owned());
        pattern.is_ok_and(|pattern| values.iter().any(|value| pattern.is_match(value)))
    };
    alternatives.into_iter().filter(|alternative| !alternative.is_empty() && !fits(alternative)).collect()
}

fn known_ones(values: &BTreeSet<String>, wanted: &str) -> String {
    if values.len() <= 20 {
        return format!("there is {}", list(values));
    }
    let nearest = values
        .iter()
        .max_by(|a, b| strsim::jaro_winkler(a, wanted).total_cmp(&strsim::jaro_winkler(b, wanted)));
    format!("was {} meant?", nearest.map_or("nothing", String::as_str))
}

fn no_label(of: &str, label: &str, labels: &Labels) -> String {
    format!("{of} has no label `{label}`: there is {}", list(labels))
}

fn list<'s>(names: impl IntoIterator<Item = &'s String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}
