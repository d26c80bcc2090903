//! What a metric is: its declaration as data, and one sample of it.
//!
//! A metric is a `static` beside the probe that sets it, declared with [`metrics!`](crate::metrics). A sample can only
//! name a declared one, so names cannot drift. How samples become an exposition belongs to the daemon's `sink`.

use std::borrow::Cow;

use serde::Serialize;

/// The Prometheus type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only grows, and starts again when its source does.
    Counter,
    /// Counts in fixed buckets, with sum and count.
    Histogram,
}

/// One declared metric.
#[derive(Debug)]
pub struct MetricDef {
    /// Full name, `redprobe_` first, base unit last (`_seconds`, `_bytes`, `_ratio`), `_total` for counters alone.
    pub name: &'static str,
    /// One sentence, from the declaration's doc comment.
    pub help: &'static str,
    /// The Prometheus type.
    pub kind: Kind,
    /// Label names beyond those that every series of its owner has.
    pub labels: &'static [&'static str],
}

impl MetricDef {
    /// The help text as exported, without the blank that a doc comment begins with.
    #[must_use]
    pub fn help(&self) -> &'static str {
        self.help.trim()
    }
}

/// The metrics of two lists in one, for a probe whose metrics are declared in two files. `N` is the sum of their
/// lengths; anything else does not compile.
#[must_use]
pub const fn concat<const N: usize>(
    first: &[&'static MetricDef],
    second: &[&'static MetricDef],
) -> [&'static MetricDef; N] {
    assert!(N == first.len() + second.len(), "N is the sum of both lengths");
    let mut all = [if first.is_empty() { second[0] } else { first[0] }; N];
    let mut index = 0;
    while index < N {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}

/// A label value: a literal of the program, or a name out of the configuration. Server replies cannot become one.
pub type LabelValue = Cow<'static, str>;

/// One value of one declared metric.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What it is a value of.
    pub def: &'static MetricDef,
    /// Values for `def.labels`, in that order.
    pub labels: Box<[LabelValue]>,
    /// The value, in the base unit that the name ends with.
    pub value: f64,
}

/// Declares metrics as statics. The doc comment is the help text.
///
/// ```
/// measure::metrics! {
///     /// Bytes that the server has allocated.
///     gauge USED = "redprobe_example_used_bytes";
///     /// Calls per command.
///     counter CALLS = "redprobe_example_calls_total" [command];
/// }
/// assert_eq!(CALLS.labels, ["command"]);
/// assert_eq!(METRICS.len(), 2);
/// ```
#[macro_export]
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $kind:ident $ident:ident = $name:literal $([$($label:ident),+])?;)+) => {
        $(
            $(#[doc = $help])+
            pub static $ident: $crate::metric::MetricDef = $crate::metric::MetricDef {
                name: $name,
                help: concat!($($help),+),
                kind: $crate::metrics!(@kind $kind),
                labels: &[$($(stringify!($label)),+)?],
            };
        )+
        /// Every metric declared here.
        pub const METRICS: &[&$crate::metric::MetricDef] = &[$(&$ident),+];
    };
    (@kind gauge) => { $crate::metric::Kind::Gauge };
    (@kind counter) => { $crate::metric::Kind::Counter };
    (@kind histogram) => { $crate::metric::Kind::Histogram };
}
