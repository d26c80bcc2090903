//! Latencies: recorded without loss, merged, summarised.
//!
//! One [`Recorder`] per thread and operation; they are merged after the run. The exact sum, minimum and maximum are
//! kept beside the histogram, since a histogram's own are off by its precision. Deciding which of two latencies (from
//! the intended start or from the send) is meant belongs to the caller: this file only counts durations.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency told apart, in nanoseconds: 100 s. Longer ones count as this and are reported as clipped.
const HIGHEST: u64 = 100_000_000_000;
/// Shortest latency told apart, in nanoseconds.
const LOWEST: u64 = 64;
/// Significant digits kept: 0.1 % precision.
const DIGITS: u8 = 3;

/// Upper edges, in seconds, of the exported histograms: 50 µs to 10 s.
pub const BUCKETS: [f64; 17] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// The quantiles that reports and metrics carry, with their label values.
pub const QUANTILES: [(f64, &str); 5] =
    [(0.5, "0.5"), (0.9, "0.9"), (0.95, "0.95"), (0.99, "0.99"), (0.999, "0.999")];

/// Samples needed before a quantile is more than a guess: at least ten beyond it, so 1,000 for p99 and 10,000 for
/// p99.9 (the relative error of p99 is then about 6 %).
#[must_use]
pub fn samples_needed(quantile: f64) -> u64 {
    (10.0 / (1.0 - quantile)).round() as u64
}

/// Collects latencies of one kind of operation.
#[derive(Debug, Clone)]
pub struct Recorder {
    histogram: Histogram<u64>,
    sum: u128,
    min: u64,
    max: u64,
    clipped: u64,
}

impl Default for Recorder {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST, HIGHEST, DIGITS)
            .expect("the bounds are constants that the histogram accepts");
        Self { histogram, sum: 0, min: u64::MAX, max: 0, clipped: 0 }
    }
}

impl Recorder {
    /// Counts one latency.
    #[inline]
    pub fn record(&mut self, latency: Duration) {
        self.record_n(latency, 1);
    }

    /// Counts `count` operations that took the same time, as a pipelined batch does.
    #[inline]
    pub fn record_n(&mut self, latency: Duration, count: u64) {
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.sum += u128::from(nanos) * u128::from(count);
        self.min = self.min.min(nanos);
        self.max = self.max.max(nanos);
        if nanos > HIGHEST {
            self.clipped += count;
        }
        self.histogram.saturating_record_n(nanos.min(HIGHEST), count);
    }

    /// Adds another recorder's counts.
    pub fn merge(&mut self, other: &Recorder) {
        self.histogram.add(&other.histogram).expect("all recorders have the same bounds");
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        self.clipped += other.clipped;
    }

    /// Forgets everything, keeping the memory.
    pub fn clear(&mut self) {
        self.histogram.clear();
        (self.sum, self.min, self.max, self.clipped) = (0, u64::MAX, 0, 0);
    }

    /// Latencies counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// Latencies above the longest one told apart.
    #[must_use]
    pub const fn clipped(&self) -> u64 {
        self.clipped
    }

    /// The quantile `q` (0 to 1), or nothing where the samples are too few for it.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<Duration> {
        (self.count() >= samples_needed(q)).then(|| {
            // A histogram answers with a bucket's upper edge, which can lie beyond what was ever measured.
            Duration::from_nanos(self.histogram.value_at_quantile(q).clamp(self.min, self.max))
        })
    }

    /// Share of the latencies above `limit`; 0 where there are none at all.
    #[must_use]
    pub fn share_above(&self, limit: Duration) -> f64 {
        let nanos = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let count = self.count();
        if count == 0 || nanos >= self.max {
            return 0.0;
        }
        (count - self.histogram.count_between(0, nanos.min(HIGHEST))) as f64 / count as f64
    }

    /// The figures for a report.
    #[must_use]
    pub fn summary(&self) -> Latency {
        let count = self.count();
        let seconds = |q| self.quantile(q).map(|d| d.as_secs_f64());
        Latency {
            count,
            sum: self.sum as f64 / 1e9,
            min: (count > 0).then_some(self.min as f64 / 1e9),
            mean: (count > 0).then(|| self.sum as f64 / 1e9 / count as f64),
            p50: seconds(0.5),
            p90: seconds(0.9),
            p95: seconds(0.95),
            p99: seconds(0.99),
            p999: seconds(0.999),
            max: (count > 0).then_some(self.max as f64 / 1e9),
        }
    }

    /// Counts per bucket of [`BUCKETS`], not cumulative; what lies above the last edge is in `count` alone.
    #[must_use]
    pub fn buckets(&self) -> BucketCounts {
        let mut counts = [0; BUCKETS.len()];
        for value in self.histogram.iter_recorded() {
            let seconds = value.value_iterated_to() as f64 / 1e9;
            if let Some(slot) = BUCKETS.iter().position(|edge| seconds <= *edge) {
                counts[slot] += value.count_at_value();
            }
        }
        BucketCounts { counts, count: self.count(), sum: self.sum as f64 / 1e9 }
    }
}

/// What was measured of one kind of latency, in seconds. A quantile is absent where the samples are too few for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Samples.
    pub count: u64,
    /// Exact sum.
    pub sum: f64,
    /// Exact minimum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Exact mean.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Median, from 20 samples on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// 90th percentile, from 100 samples on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// 95th percentile, from 200 samples on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// 99th percentile, from 1,000 samples on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// 99.9th percentile, from 10,000 samples on.
    #[serde(rename = "p99.9", skip_serializing_if = "Option::is_none")]
    pub p999: Option<f64>,
    /// Exact maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

impl Latency {
    /// The quantile with this label value, where there is one.
    #[must_use]
    pub fn quantile(&self, label: &str) -> Option<f64> {
        match label {
            "0.5" => self.p50,
            "0.9" => self.p90,
            "0.95" => self.p95,
            "0.99" => self.p99,
            "0.999" => self.p999,
            _ => None,
        }
    }
}

/// Counts per exported bucket, ready to be added to a running histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BucketCounts {
    /// Per bucket of [`BUCKETS`], not cumulative.
    pub counts: [u64; BUCKETS.len()],
    /// All samples, those above the last edge too.
    pub count: u64,
    /// Exact sum in seconds.
    pub sum: f64,
}

impl Default for BucketCounts {
    fn default() -> Self {
        Self { counts: [0; BUCKETS.len()], count: 0, sum: 0.0 }
    }
}

impl BucketCounts {
    /// Adds another's counts.
    pub fn add(&mut self, other: &BucketCounts) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn recorder(nanos: &[u64]) -> Recorder {
        let mut recorder = Recorder::default();
        for value in nanos {
            recorder.record(Duration::from_nanos(*value));
        }
        recorder
    }

    #[test]
    fn quantiles_need_samples() {
        for (q, needed) in [(0.5, 20), (0.9, 100), (0.95, 200), (0.99, 1_000), (0.999, 10_000)] {
            assert_eq!(samples_needed(q), needed);
            let enough = recorder(&vec![5_000; usize::try_from(needed).unwrap()]);
            assert!(enough.quantile(q).is_some());
            let few = recorder(&vec![5_000; usize::try_from(needed).unwrap() - 1]);
            assert!(few.quantile(q).is_none());
        }
    }

    #[test]
    fn the_share_above_a_limit_needs_no_thousand_samples() {
        let recorder = recorder(&[1_000_000, 2_000_000, 60_000_000, 70_000_000]);
        assert_eq!(recorder.share_above(Duration::from_millis(50)), 0.5);
        assert_eq!(recorder.share_above(Duration::from_millis(70)), 0.0);
        assert_eq!(recorder.share_above(Duration::ZERO), 1.0);
        assert_eq!(Recorder::default().share_above(Duration::ZERO), 0.0);
    }

    #[test]
    fn too_long_is_clipped_and_said() {
        let recorder = recorder(&[HIGHEST + 1, 1_000]);
        assert_eq!(recorder.clipped(), 1);
        assert_eq!(recorder.summary().max, Some((HIGHEST + 1) as f64 / 1e9));
    }

    proptest! {
        #[test]
        fn summary_agrees_with_the_sorted_samples(mut nanos in prop::collection::vec(1_000_u64..5_000_000_000, 1_000..3_000)) {
            let summary = recorder(&nanos).summary();
            nanos.sort_unstable();
            let exact = |q: f64| nanos[((nanos.len() as f64 * q).ceil() as usize).max(1) - 1] as f64 / 1e9;
            prop_assert!((summary.p99.unwrap() - exact(0.99)).abs() <= exact(0.99) * 0.002);
            prop_assert!((summary.p50.unwrap() - exact(0.5)).abs() <= exact(0.5) * 0.002);
            prop_assert_eq!(summary.min.unwrap(), nanos[0] as f64 / 1e9);
            prop_assert_eq!(summary.max.unwrap(), nanos[nanos.len() - 1] as f64 / 1e9);
        }

        #[test]
        fn merged_is_the_same_as_recorded_together(
            a in prop::collection::vec(0_u64..200_000_000_000, 0..200),
            b in prop::collection::vec(0_u64..200_000_000_000, 0..200),
        ) {
            let mut merged = recorder(&a);
            merged.merge(&recorder(&b));
            let together = recorder(&[a, b].concat());
            prop_assert_eq!(merged.summary(), together.summary());
            prop_assert_eq!(merged.buckets(), together.buckets());
            prop_assert_eq!(merged.clipped(), together.clipped());
        }

        #[test]
        fn buckets_hold_every_sample_up_to_the_last_edge(nanos in prop::collection::vec(0_u64..9_000_000_000, 0..300)) {
            let buckets = recorder(&nanos).buckets();
            prop_assert_eq!(buckets.counts.iter().sum::<u64>(), nanos.len() as u64);
            prop_assert_eq!(buckets.count, nanos.len() as u64);
        }
    }
}
