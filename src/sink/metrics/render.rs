//! Samples in, exposition out, through the prometheus crate's model and encoder, in an order that does not change.
//!
//! What is sampled, and when it disappears, is decided in `series`; nothing here knows a run or a plan.

use std::{collections::BTreeMap, sync::Arc};

use measure::{
    latency::{BUCKETS, BucketCounts},
    metric::{Kind, MetricDef},
};
use prometheus::{
    TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// The labels that all series of one owner have: a job's, a target's, or (all empty) the daemon's. Empty is no label.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    pub(super) target: Arc<str>,
    pub(super) probe: &'static str,
    pub(super) variant: Arc<str>,
}

impl Owner {
    fn pairs(&self) -> impl Iterator<Item = LabelPair> {
        [("target", &*self.target), ("probe", self.probe), ("variant", &*self.variant)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| pair(name, value))
    }
}

/// An exposition under construction. Rows borrow from what they show and become the crate's far larger model only one
/// family at a time, which keeps a scrape of many targets small.
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

    /// The text, format 0.0.4, after `others`, which come with families of their own.
    pub(super) fn encode(self, others: &[MetricFamily]) -> Vec<u8> {
        let mut text = String::new();
        write(others, &mut text);
        for (def, rows) in self.families.into_values() {
            let start = text.len();
            write(&[family(def, rows)], &mut text);
            if def.kind == Kind::Gauge && def.labels.contains(&"quantile") {
                untype(def, &mut text, start);
            }
        }
        text.into_bytes()
    }
}

fn write(families: &[MetricFamily], text: &mut String) {
    TextEncoder::new()
        .encode_utf8(families, text)
        .expect("families have a name and a series each, and memory can be written to");
}

/// A gauge with a `quantile` label, which Prometheus' own lint lets only summaries and untyped metrics have. A summary
/// would claim a sum and a count over all runs; the crate does not write untyped ones.
fn untype(def: &MetricDef, text: &mut String, start: usize) {
    let typed = format!("# TYPE {} gauge\n", def.name);
    if let Some(at) = text[start..].find(&typed) {
        let at = start + at;
        text.replace_range(at..at + typed.len(), &format!("# TYPE {} untyped\n", def.name));
    }
}

/// The same labels twice in one family would make Prometheus refuse the whole scrape, so only the first row stays.
fn family(def: &'static MetricDef, mut rows: Vec<Row<'_>>) -> MetricFamily {
    rows.sort_by(|a, b| a.labels().cmp(&b.labels()));
    rows.dedup_by(|a, b| a.labels() == b.labels());
    let mut family = MetricFamily::default();
    family.set_name(def.name.to_owned());
    family.set_help(def.help().to_owned());
    family.set_field_type(match def.kind {
        Kind::Gauge => MetricType::GAUGE,
        Kind::Counter => MetricType::COUNTER,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    family.set_metric(rows.into_iter().map(|row| metric(def, &row)).collect());
    family
}

impl Row<'_> {
    fn labels(&self) -> (&Owner, &[&str]) {
        (self.owner, &self.values)
    }
}

fn metric(def: &MetricDef, row: &Row<'_>) -> Metric {
    let own = def.labels.iter().zip(&row.values).map(|(name, value)| pair(name, value));
    let mut metric = Metric::from_label(row.owner.pairs().chain(own).collect());
    match (&row.figure, def.kind) {
        (Figure::Counts(counts), _) => metric.set_histogram(histogram(counts)),
        (Figure::Number(value), Kind::Counter) => {
            let mut counter = Counter::default();
            counter.set_value(*value);
            metric.set_counter(counter);
        }
        (Figure::Number(value), _) => {
            let mut gauge = Gauge::default();
            gauge.set_value(*value);
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn histogram(counts: &BucketCounts) -> Histogram {
    let mut cumulative = 0;
    let buckets = BUCKETS.iter().zip(counts.counts).map(|(edge, count)| {
        cumulative += count;
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(*edge);
        bucket.set_cumulative_count(cumulative);
        bucket
    });
    let mut histogram = Histogram::default();
    histogram.set_bucket(buckets.collect());
    histogram.set_sample_count(counts.count);
    histogram.set_sample_sum(counts.sum);
    histogram
}

fn pair(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}
