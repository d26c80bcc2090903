//! Counts by reason: what `_total` metrics with that label are made of. Which reasons are usual is said in `series`.

/// Counts by reason. Those seeded are there from the start, so that `rate()` sees the first one too; all forty of them
/// for every job would be more series than the results themselves, so the rarer ones appear with their first event.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(pub(super) Vec<(&'static str, u64)>);

impl Reasons {
    /// Makes these be there from the start.
    pub(super) fn seed(&mut self, reasons: &[&'static str]) {
        for reason in reasons {
            self.add(reason, 0);
        }
    }

    /// Adds this many.
    pub(super) fn add(&mut self, reason: &'static str, count: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, total)) => *total += count,
            None => self.0.push((reason, count)),
        }
    }
}
