//! Samples in, text out: the exposition format 0.0.4, in an order that does not change.
//!
//! Written here rather than through the prometheus crate's model, in which every series owns its label names and values
//! as strings: a whole scrape then took twice the processor time, and for many targets many times the memory. What is
//! sampled, and when it disappears, is decided in `series`; nothing here knows a run or a plan.

use std::{
    cmp::Ordering,
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, LazyLock},
};

use measure::{
    latency::{BUCKETS, BucketCounts},
    metric::{Kind, MetricDef},
};

/// The labels that all series of one owner have: a job's, a target's, or (all empty) the daemon's. Empty is no label.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) target: Arc<str>,
    pub(super) node: Arc<str>,
    pub(super) probe: &'static str,
    pub(super) variant: Arc<str>,
}

impl Owner {
    fn pairs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [("target", &*self.target), ("node", &*self.node), ("probe", self.probe), ("variant", &*self.variant)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
    }
}

/// An exposition under construction. Its rows borrow from what they show.
#[derive(Debug, Default)]
pub(super) struct Exposition<'a> {
    families: BTreeMap<&'static str, (&'static MetricDef, Vec<Row<'a>>)>,
}

#[derive(Debug)]
struct Row<'a> {
    owner: &'a Owner,
    values: Box<[&'a str]>,
    figure: Figure<'a>,
}

#[derive(Debug)]
enum Figure<'a> {
    Number(f64),
    Counts(&'a BucketCounts),
}

impl<'a> Exposition<'a> {
    /// Adds the value of a gauge or counter; `values` in the order of its declared labels.
    pub(super) fn set<const N: usize>(
        &mut self,
        def: &'static MetricDef,
        owner: &'a Owner,
        values: [&'a str; N],
        value: f64,
    ) {
        self.push(def, Row { owner, values: Box::new(values), figure: Figure::Number(value) });
    }

    /// The same with as many labels as there are.
    pub(super) fn set_all(
        &mut self,
        def: &'static MetricDef,
        owner: &'a Owner,
        values: impl Iterator<Item = &'a str>,
        value: f64,
    ) {
        self.push(def, Row { owner, values: values.collect(), figure: Figure::Number(value) });
    }

    /// Adds the state of a histogram.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        def: &'static MetricDef,
        owner: &'a Owner,
        values: [&'a str; N],
        counts: &'a BucketCounts,
    ) {
        self.push(def, Row { owner, values: Box::new(values), figure: Figure::Counts(counts) });
    }

    fn push(&mut self, def: &'static MetricDef, row: Row<'a>) {
        debug_assert_eq!(def.labels.len(), row.values.len(), "labels of {}", def.name);
        self.families.entry(def.name).or_insert_with(|| (def, Vec::new())).1.push(row);
    }

    /// The families, in the order of their names.
    pub(super) fn into_families(self) -> impl Iterator<Item = Family<'a>> {
        self.families.into_values().map(|(def, rows)| Family::new(def, rows))
    }

    /// The text of all families.
    pub(super) fn into_text(self) -> String {
        let mut text = String::new();
        for mut family in self.into_families() {
            while family.write(&mut text, usize::MAX) {}
        }
        text
    }
}

/// One family, being written.
#[derive(Debug)]
pub(super) struct Family<'a> {
    def: &'static MetricDef,
    rows: std::vec::IntoIter<Row<'a>>,
    has_head: bool,
}

impl Row<'_> {
    /// Rows of one owner mostly follow each other: then its labels need no look.
    fn order(&self, other: &Self) -> Ordering {
        let owners =
            if std::ptr::eq(self.owner, other.owner) { Ordering::Equal } else { self.owner.cmp(other.owner) };
        owners.then_with(|| self.values.cmp(&other.values))
    }
}

impl<'a> Family<'a> {
    /// The same labels twice in one family would make Prometheus refuse the whole scrape, so only the first row stays.
    fn new(def: &'static MetricDef, mut rows: Vec<Row<'a>>) -> Self {
        rows.sort_by(Row::order);
        rows.dedup_by(|a, b| a.order(b).is_eq());
        Self { def, rows: rows.into_iter(), has_head: false }
    }

    /// Appends lines until `text` is at least this long. Returns whether there are more.
    pub(super) fn write(&mut self, text: &mut String, enough: usize) -> bool {
        let def = self.def;
        if !self.has_head {
            text.extend(["# HELP ", def.name, " "]);
            escape(def.help(), b"\\\n", text);
            text.extend(["\n# TYPE ", def.name, " ", type_of(def), "\n"]);
            self.has_head = true;
        }
        let mut labels = String::new();
        while text.len() < enough {
            let Some(row) = self.rows.next() else { return false };
            labels.clear();
            write_labels(def, &row, &mut labels);
            match row.figure {
                Figure::Number(value) => {
                    write_series(text, [def.name, ""], &labels, "");
                    write_number(text, value);
                }
                Figure::Counts(counts) => write_histogram(def, &labels, counts, text),
            }
        }
        true
    }
}

/// Prometheus' own lint lets only summaries and untyped metrics have a label `quantile`; a summary would claim a sum
/// and a count over all runs.
fn type_of(def: &MetricDef) -> &'static str {
    match def.kind {
        Kind::Gauge if def.labels.contains(&"quantile") => "untyped",
        Kind::Gauge => "gauge",
        Kind::Counter => "counter",
        Kind::Histogram => "histogram",
    }
}

fn write_labels(def: &MetricDef, row: &Row<'_>, text: &mut String) {
    let own = def.labels.iter().copied().zip(row.values.iter().copied());
    for (name, value) in row.owner.pairs().chain(own) {
        if !text.is_empty() {
            text.push(',');
        }
        text.extend([name, "=\""]);
        escape(value, b"\\\"\n", text);
        text.push('"');
    }
}

/// Name and labels of one line, up to its value; `le` is the edge of a bucket.
fn write_series(text: &mut String, name: [&str; 2], labels: &str, le: &str) {
    text.extend(name);
    match (labels, le) {
        ("", "") => {}
        (_, "") => text.extend(["{", labels, "}"]),
        ("", _) => text.extend(["{le=\"", le, "\"}"]),
        _ => text.extend(["{", labels, ",le=\"", le, "\"}"]),
    }
    text.push(' ');
}

fn write_histogram(def: &MetricDef, labels: &str, counts: &BucketCounts, text: &mut String) {
    static EDGES: LazyLock<[String; BUCKETS.len()]> = LazyLock::new(|| BUCKETS.map(|edge| edge.to_string()));
    let mut cumulative = 0;
    for (edge, count) in EDGES.iter().zip(counts.counts) {
        cumulative += count;
        write_series(text, [def.name, "_bucket"], labels, edge);
        write_number(text, cumulative as f64);
    }
    for (suffix, le, value) in [
        ("_bucket", "+Inf", counts.count as f64),
        ("_sum", "", counts.sum),
        ("_count", "", counts.count as f64),
    ] {
        write_series(text, [def.name, suffix], labels, le);
        write_number(text, value);
    }
}

/// The value and the end of the line. Whole numbers, which most are, take a short cut around the search for the
/// shortest decimal fraction.
fn write_number(text: &mut String, value: f64) {
    /// Up to here every whole number has its own f64.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT {
        text.push_str(itoa::Buffer::new().format(value as i64));
    } else if value.is_infinite() {
        text.push_str(if value > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        // Writing to a String cannot fail.
        let _ = write!(text, "{value}");
    }
    text.push('\n');
}

/// Appends `value` with these characters escaped by a backslash. Hardly any value has one.
fn escape(value: &str, special: &[u8], text: &mut String) {
    if !value.bytes().any(|byte| special.contains(&byte)) {
        text.push_str(value);
        return;
    }
    for character in value.chars() {
        if u8::try_from(character).is_ok_and(|byte| special.contains(&byte)) {
            text.push('\\');
        }
        text.push(if character == '\n' { 'n' } else { character });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        for (value, wanted) in [
            (0.0, "0\n"),
            (-3.0, "-3\n"),
            (0.000_05, "0.00005\n"),
            (1_800_000_000.123, "1800000000.123\n"),
            (9_007_199_254_740_991.0, "9007199254740991\n"),
            (f64::INFINITY, "+Inf\n"),
            (f64::NEG_INFINITY, "-Inf\n"),
            (f64::NAN, "NaN\n"),
        ] {
            let mut text = String::new();
            write_number(&mut text, value);
            assert_eq!(text, wanted);
            assert!(text.trim().parse::<f64>().is_ok_and(|read| read == value || value.is_nan()));
        }
    }

    #[test]
    fn what_would_end_a_label_is_escaped() {
        let mut text = String::new();
        escape("é\\a\"b\nc\n", b"\\\"\n", &mut text);
        assert_eq!(text, r#"é\\a\"b\nc\n"#);
    }
}
