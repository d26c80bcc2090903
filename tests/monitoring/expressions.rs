//! Every expression of rules and dashboards against what the program exports, and the lists of what is excused.
//!
//! How one is read is in `walk`. What an alert or a dashboard must have besides good expressions is in `alerts` and
//! `hygiene`.

use std::collections::BTreeSet;

use super::{
    dashboards::{self, Dashboard, Expression, Purpose},
    known::{Known, Labels},
    rules::{Rule, RuleFile},
    shipped,
    walk::Walk,
};

/// Counters whose bare value is asked for: where, which, why.
const BARE_COUNTERS: &[(&str, &str, &str)] = &[];

/// Numbers that a rule compares with, though limits belong to objectives: the rule, the number, why.
const CONSTANTS: &[(&str, &str, &str)] = &[
    (
        "RedprobeSaturated",
        "0.01",
        "the daemon has no objectives; this is where it begins to doubt its own figures",
    ),
    (
        "RedprobeCertificateExpiring",
        "259200",
        "a certificate is no probe's finding: three days are a weekend",
    ),
    (
        "RedprobeCertificateExpiring",
        "1209600",
        "a certificate is no probe's finding: two weeks to renew it by hand",
    ),
    (
        "RedprobeLastSaveOld",
        "7200",
        "no objective is about the age of a save; two hours are twice the longest `save`",
    ),
    ("RedprobeProbeOverdue", "2", "one late run is bad luck, two are overdue: the schedule is the limit"),
    (
        "RedprobeProbeOverdue",
        "2",
        "one missed run may have met another; two are what overdue means, in the daemon too",
    ),
    (
        "RedprobeProbeOverdue",
        "60",
        "the schedule is the limit; a minute is for the scrape and the evaluation",
    ),
];

/// Windows of a dashboard that do not follow the screen: where, which, why.
const FIXED_WINDOWS: &[(&str, &str, &str)] = &[
    ("Missed ticks", "1h", "one number, of the time that its description names"),
    ("Evicted in the last hour", "1h", "one number, of the time that its title names"),
    ("Rejected connections", "1h", "one number, of the time that its description names"),
];

/// A place with an expression.
pub(crate) struct Place<'a> {
    /// `file: panel or alert`.
    at: String,
    /// The panel, alert, or recorded metric.
    name: &'a str,
    /// As in the file.
    text: &'a str,
    query: Result<&'a str, &'a str>,
    /// Labels that texts beside it name. `.Labels.` in a text is of what it queries by itself.
    named: BTreeSet<String>,
    /// Labels that the place adds to the expression's.
    added: Labels,
    in_rule: bool,
    finds_values: bool,
}

impl<'a> Place<'a> {
    pub(crate) fn of_rule(file: &RuleFile, rule: &'a Rule) -> Self {
        let texts = rule.annotations.values().chain(rule.labels.values());
        Self {
            at: format!("alerts/{}: {}", file.file, rule.name()),
            name: rule.name(),
            text: &rule.expr,
            query: Ok(&rule.expr),
            named: texts.flat_map(|text| names_after(text, &["$labels."])).collect(),
            added: rule.labels.keys().cloned().collect(),
            in_rule: true,
            finds_values: false,
        }
    }

    pub(crate) fn of_dashboard(expression: &'a Expression) -> Self {
        let in_braces = |text: &'a String| text.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
        let named = expression.legends.iter().flat_map(in_braces).map(|(name, _)| name.trim().to_owned());
        Self {
            at: format!("grafana/dashboards/{}: {:?}", expression.file, expression.place),
            name: &expression.place,
            text: &expression.text,
            query: expression.query.as_deref().map_err(String::as_str),
            named: named.collect(),
            added: Labels::new(),
            in_rule: false,
            finds_values: expression.purpose == Purpose::Variable,
        }
    }

    /// What is wrong here, each with what to do about it.
    fn wrong(&self, known: &Known) -> Vec<String> {
        let query = match self.query {
            Ok(query) => query,
            Err(error) => return vec![self.finding(error)],
        };
        let mut walk = Walk::new(known);
        let mut labels = walk.expression(query).unwrap_or_default();
        labels.extend(self.added.iter().cloned());
        let mut wrong = std::mem::take(&mut walk.wrong);
        if !wrong.iter().any(|wrong| wrong.contains("not PromQL") || wrong.contains("not in the catalogue")) {
            for name in self.named.iter().filter(|name| !labels.contains(*name) && *name != "__name__") {
                let there: Vec<&str> = labels.iter().map(String::as_str).collect();
                wrong.push(format!(
                    "a text names the label `{name}`, which the result has not: {}",
                    there.join(", ")
                ));
            }
        }
        for counter in walk.bare_counters.iter().filter(|_| !self.finds_values) {
            if !BARE_COUNTERS.iter().any(|(place, metric, _)| *place == self.name && metric == counter) {
                wrong.push(format!(
                    "`{counter}` is a counter, whose value says nothing: use rate() or increase(), or name it in \
                     BARE_COUNTERS with a reason"
                ));
            }
        }
        for (constant, is_observed) in &walk.constants {
            let excused =
                CONSTANTS.iter().any(|(place, number, _)| *place == self.name && number == constant);
            let plain = ["0", "1"].contains(&constant.as_str()) || constant.contains("time()");
            if *is_observed && constant != "0" {
                wrong.push(format!(
                    "what an objective observed is compared with {constant}: compare it with redprobe_objective_limit, \
                     or ask redprobe_objective_met"
                ));
            } else if self.in_rule && !plain && !excused {
                wrong.push(format!(
                    "it compares with {constant}: take the limit of an objective, so that it is set in one place, or name \
                     it in CONSTANTS with a reason"
                ));
            }
        }
        wrong.extend(if self.in_rule { wrong_by(&walk.dropped) } else { self.wrong_windows() });
        wrong.iter().map(|wrong| self.finding(wrong)).collect()
    }

    /// A fixed window shows nothing where the scrape interval is longer, and too much where the screen is wide.
    fn wrong_windows(&self) -> Vec<String> {
        let excused = |window: &&str| {
            FIXED_WINDOWS.iter().any(|(place, excused, _)| *place == self.name && excused == window)
        };
        let fixed = fixed_windows(self.text).filter(|window| !excused(window));
        fixed
            .map(|window| {
                format!(
                    "the window [{window}] is fixed: use [$__rate_interval] or [$__range], or name it in FIXED_WINDOWS \
                     with a reason"
                )
            })
            .collect()
    }

    fn finding(&self, wrong: &str) -> String {
        format!("{}\n  {}\n  {wrong}", self.at, self.text.split_whitespace().collect::<Vec<_>>().join(" "))
    }
}

/// The names that follow one of these words in a text.
fn names_after(text: &str, words: &[&str]) -> BTreeSet<String> {
    let name =
        |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    words.iter().flat_map(|word| text.split(word).skip(1)).map(name).collect()
}

/// A rule that lists what it keeps loses `node` and `variant`: two jobs become one, and an alert says neither's name.
fn wrong_by(dropped: &[Labels]) -> Vec<String> {
    let apart = |labels: &Labels| {
        let one_of = |label: &str| labels.contains(label);
        (one_of("node") && !one_of("target")) || (one_of("variant") && !one_of("probe"))
    };
    let lost = dropped.iter().filter(|labels| apart(labels));
    lost.map(|_| "`by` drops `node` or `variant` and keeps what they tell apart: use without (…)".to_owned())
        .collect()
}

/// The windows of an expression that do not follow screen and scrape interval.
fn fixed_windows(text: &str) -> impl Iterator<Item = &str> {
    let windows = text.split('[').skip(1).filter_map(|rest| rest.split_once(']')).map(|(window, _)| window);
    windows.filter(|window| {
        let length = window.split(':').next().unwrap_or_default();
        let is_duration =
            length.starts_with(|c: char| c.is_ascii_digit()) && length.ends_with(char::is_alphabetic);
        is_duration || length.contains("$__interval")
    })
}

/// What is wrong with the expressions of these rules and dashboards.
pub(crate) fn check(rules: &[RuleFile], dashboards: &[Dashboard], known: &Known) -> Vec<String> {
    let expressions: Vec<Expression> = dashboards.iter().flat_map(Dashboard::expressions).collect();
    let of_rules = rules.iter().flat_map(|file| file.rules().map(|rule| Place::of_rule(file, rule)));
    let places = of_rules.chain(expressions.iter().map(Place::of_dashboard));
    places.flat_map(|place| place.wrong(known)).chain(wrong_queries(rules, known)).collect()
}

/// What is wrong with the queries in the texts of alerts.
fn wrong_queries(rules: &[RuleFile], known: &Known) -> Vec<String> {
    let rules = rules.iter().flat_map(|file| file.rules().map(move |rule| (file, rule)));
    let queries =
        rules.flat_map(|(file, rule)| rule.queries().into_iter().map(move |query| (file, rule, query)));
    queries
        .flat_map(|(file, rule, query)| {
            let mut walk = Walk::new(known);
            walk.expression(&query);
            let at = format!("alerts/{}: {}, in a text\n  {query}\n  ", file.file, rule.name());
            walk.wrong.into_iter().map(move |wrong| format!("{at}{wrong}"))
        })
        .collect()
}

/// The series that an expression asks for; those behind recorded ones too.
pub(crate) fn series_of(query: &str, rules: &[RuleFile], known: &Known) -> BTreeSet<String> {
    let names_in = |query: &str| {
        let mut walk = Walk::new(known);
        walk.expression(query);
        walk.names
    };
    let mut names = names_in(query);
    let mut open: Vec<String> = names.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let recorded = |rule: &&Rule| rule.record.as_ref() == Some(&name);
        for rule in rules.iter().flat_map(RuleFile::rules).filter(recorded) {
            open.extend(names_in(&rule.expr).into_iter().filter(|name| names.insert(name.clone())));
        }
    }
    names
}

#[test]
fn every_expression_asks_for_what_the_program_exports() {
    let shipped = shipped();
    let wrong = check(&shipped.rules, &shipped.dashboards, &shipped.known);
    assert!(wrong.is_empty(), "{} findings:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_excused_is_still_there() {
    let shipped = shipped();
    for (place, window, reason) in FIXED_WINDOWS {
        let mut expressions = dashboards::all_expressions().into_iter();
        let there =
            expressions.any(|one| one.place == *place && fixed_windows(&one.text).any(|it| it == *window));
        assert!(there && !reason.is_empty(), "FIXED_WINDOWS: {place} does not look back [{window}] any more");
    }
    let walks = |name: &str| {
        let rules = shipped.rules.iter().flat_map(RuleFile::rules);
        let of_rules = rules.filter(|rule| rule.name() == name).map(|rule| rule.expr.clone());
        let expressions = shipped.dashboards.iter().flat_map(Dashboard::expressions);
        let of_dashboards = expressions.filter(|one| one.place == name).filter_map(|one| one.query.ok());
        let queries: Vec<String> = of_rules.chain(of_dashboards).collect();
        queries.into_iter().map(|query| {
            let mut walk = Walk::new(&shipped.known);
            walk.expression(&query);
            walk
        })
    };
    for (place, counter, reason) in BARE_COUNTERS {
        let there = walks(place).any(|walk| walk.bare_counters.contains(*counter));
        assert!(there && !reason.is_empty(), "BARE_COUNTERS: {place} does not ask for {counter} any more");
    }
    for (place, number, reason) in CONSTANTS {
        let there = walks(place).any(|walk| walk.constants.iter().any(|(constant, _)| constant == number));
        assert!(there && !reason.is_empty(), "CONSTANTS: {place} does not compare with {number} any more");
    }
}
