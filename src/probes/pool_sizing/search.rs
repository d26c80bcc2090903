//! Which size to try next, and what is known once there is nothing more to try.
//!
//! Arithmetic alone, over the outcomes of trials; what a trial is, and whether it met the limits, is `trial`'s.

use std::collections::BTreeMap;

/// What the trials of one size came to.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    met: u64,
    trials: u64,
}

impl Tally {
    /// The majority's word; half of them are none.
    const fn meets(self) -> bool {
        self.met * 2 > self.trials
    }

    /// Trials of which the majority speaks.
    const fn agreed(self) -> u64 {
        if self.meets() { self.met } else { self.trials - self.met }
    }
}

/// The search for the smallest size that meets the limits: from a guess to a bracket in steps that double, by halves to
/// the edge, and there again and again. The greatest size that fails counts, so that a lucky trial of a small pool does
/// not recommend it.
#[derive(Debug, Clone)]
pub(super) struct Search {
    start: u64,
    limit: u64,
    repeats: u64,
    sizes: BTreeMap<u64, Tally>,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// This size meets the limits, and the one below, if there is one, does not.
    Smallest(u64),
    /// Not even the greatest size that may be tried does.
    NoneUpTo(u64),
    /// It lies above the first and is at most the second, where these are known: the search was not finished.
    Between(Option<u64>, Option<u64>),
}

/// How often trials at the edge spoke for the finding.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Agreement {
    /// Trials that spoke for it.
    pub(super) agreed: u64,
    /// Trials at the edge.
    pub(super) trials: u64,
}

impl Search {
    /// From `start` on, over 1 to `limit`, with so many trials of each size at the edge.
    pub(super) fn new(start: u64, limit: u64, repeats: u64) -> Self {
        let limit = limit.max(1);
        Self { start: start.clamp(1, limit), limit, repeats: repeats.max(1), sizes: BTreeMap::new() }
    }

    /// The greatest size that may be tried.
    pub(super) const fn limit(&self) -> u64 {
        self.limit
    }

    /// Where the search began.
    pub(super) const fn start(&self) -> u64 {
        self.start
    }

    /// Takes in a trial.
    pub(super) fn record(&mut self, size: u64, met: bool) {
        let tally = self.sizes.entry(size).or_default();
        tally.trials += 1;
        tally.met += u64::from(met);
    }

    /// The size to try next; nothing where all is known.
    pub(super) fn next(&self) -> Option<u64> {
        match self.finding() {
            Finding::Between(None, None) => Some(self.start),
            Finding::Between(Some(fails), Some(meets)) => Some(fails + (meets - fails) / 2),
            Finding::Between(Some(fails), None) => {
                Some((fails + fails.saturating_sub(self.start) + 1).min(self.limit))
            }
            Finding::Between(None, Some(meets)) => {
                Some(meets.saturating_sub(self.start.saturating_sub(meets) + 1).max(1))
            }
            Finding::Smallest(_) | Finding::NoneUpTo(_) => self
                .edge()
                .map(|size| (self.tally(size).trials, size))
                .filter(|(trials, _)| *trials < self.repeats)
                .min()
                .map(|(_, size)| size),
        }
    }

    /// The size to use while others are still searched for: the one that was found, or the nearest to it.
    pub(super) fn settled(&self) -> u64 {
        match self.finding() {
            Finding::Smallest(size) | Finding::NoneUpTo(size) | Finding::Between(_, Some(size)) => size,
            Finding::Between(..) => self.start,
        }
    }

    /// What the trials so far say.
    pub(super) fn finding(&self) -> Finding {
        let fails = self.sizes.iter().rev().find(|(_, tally)| !tally.meets()).map(|(size, _)| *size);
        let above = fails.map_or(1, |fails| fails + 1);
        let meets = self.sizes.range(above..).next().map(|(size, _)| *size);
        match meets {
            Some(meets) if meets == above => Finding::Smallest(meets),
            None if fails == Some(self.limit) => Finding::NoneUpTo(self.limit),
            _ => Finding::Between(fails, meets),
        }
    }

    /// How often trials at the edge spoke for the finding; of an unfinished search, none did.
    pub(super) fn agreement(&self) -> Agreement {
        self.edge().map(|size| self.tally(size)).fold(Agreement::default(), |sum, tally| Agreement {
            agreed: sum.agreed + tally.agreed(),
            trials: sum.trials + tally.trials,
        })
    }

    /// Whether a smaller size met the limits than one which did not: more connections cannot do harm, so something else
    /// did.
    pub(super) fn contradicts_itself(&self) -> bool {
        let met = self.sizes.iter().find(|(_, tally)| tally.meets()).map(|(size, _)| *size);
        met.is_some_and(|met| self.sizes.range(met..).any(|(_, tally)| !tally.meets()))
    }

    /// The sizes on which the finding rests.
    fn edge(&self) -> impl Iterator<Item = u64> + use<> {
        let sizes = match self.finding() {
            Finding::Smallest(size) => [Some(size), (size > 1).then(|| size - 1)],
            Finding::NoneUpTo(limit) => [Some(limit), None],
            Finding::Between(..) => [None, None],
        };
        sizes.into_iter().flatten()
    }

    fn tally(&self, size: u64) -> Tally {
        self.sizes.get(&size).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Trials until the search ends: the sizes that were tried, in order.
    fn run(search: &mut Search, mut meets: impl FnMut(u64, usize) -> bool) -> Vec<u64> {
        let mut tried = Vec::new();
        while let Some(size) = search.next() {
            search.record(size, meets(size, tried.len()));
            tried.push(size);
            assert!(tried.len() < 1_000, "it ends: {tried:?}");
        }
        tried
    }

    #[test]
    fn a_good_guess_takes_few_trials() {
        let mut search = Search::new(33, 100, 3);
        assert_eq!(run(&mut search, |size, _| size >= 31), [33, 32, 30, 31, 30, 31, 30, 31]);
        assert_eq!(search.finding(), Finding::Smallest(31));
        assert_eq!(search.agreement(), Agreement { agreed: 6, trials: 6 });
        assert!(!search.contradicts_itself());
    }

    #[test]
    fn what_cannot_be_met_is_not_found() {
        let mut search = Search::new(5, 12, 2);
        assert_eq!(run(&mut search, |_, _| false), [5, 6, 8, 12, 12]);
        assert_eq!(search.finding(), Finding::NoneUpTo(12));
        assert_eq!(search.agreement(), Agreement { agreed: 2, trials: 2 });
    }

    #[test]
    fn one_connection_has_none_below() {
        let mut search = Search::new(3, 12, 2);
        assert_eq!(run(&mut search, |_, _| true), [3, 2, 1, 1]);
        assert_eq!(search.finding(), Finding::Smallest(1));
    }

    #[test]
    fn a_stall_at_the_start_is_outvoted() {
        let mut search = Search::new(33, 100, 3);
        run(&mut search, |size, trial| size >= 31 && trial != 0);
        assert_eq!(search.finding(), Finding::Smallest(31));
    }

    #[test]
    fn a_lucky_trial_is_outvoted() {
        let mut search = Search::new(6, 100, 3);
        run(&mut search, |size, trial| size >= 9 || trial == 0);
        assert_eq!(search.finding(), Finding::Smallest(9));
        assert_eq!(search.agreement(), Agreement { agreed: 6, trials: 6 });
    }

    #[test]
    fn disagreement_at_the_edge_is_counted() {
        let mut search = Search::new(4, 10, 3);
        let mut fours = 0;
        run(&mut search, |size, _| {
            fours += u64::from(size == 4);
            size > 4 || (size == 4 && fours != 2)
        });
        assert_eq!(search.finding(), Finding::Smallest(4));
        assert_eq!(search.agreement(), Agreement { agreed: 5, trials: 6 });
    }

    #[test]
    fn an_unfinished_search_says_what_it_knows() {
        let mut search = Search::new(10, 40, 3);
        assert_eq!((search.finding(), search.settled()), (Finding::Between(None, None), 10));
        search.record(10, false);
        assert_eq!(search.finding(), Finding::Between(Some(10), None));
        search.record(14, true);
        assert_eq!((search.finding(), search.settled()), (Finding::Between(Some(10), Some(14)), 14));
        assert_eq!(search.agreement(), Agreement::default());
        assert!(!search.contradicts_itself());
        search.record(15, false);
        assert!(search.contradicts_itself());
    }

    proptest! {
        #[test]
        fn whatever_the_guess_the_edge_is_found(
            (limit, start, edge) in (1_u64..500).prop_flat_map(|limit| (Just(limit), 1..=limit, 1..=limit)),
            repeats in 1_u64..5,
        ) {
            let mut search = Search::new(start, limit, repeats);
            let tried = run(&mut search, |size, _| size >= edge);
            prop_assert_eq!(search.finding(), Finding::Smallest(edge));
            prop_assert!(tried.iter().all(|size| (1..=limit).contains(size)));
            prop_assert!(tried.len() < 20 + 2 * 5, "logarithmic: {:?}", tried);
        }

        #[test]
        fn noise_never_keeps_it_from_an_end(
            outcomes in prop::collection::vec(any::<bool>(), 1_000),
            start in 1_u64..60,
            repeats in 1_u64..4,
        ) {
            let mut search = Search::new(start, 60, repeats);
            run(&mut search, |_, trial| outcomes[trial]);
            let finding = search.finding();
            prop_assert!(!matches!(finding, Finding::Between(..)));
            let agreement = search.agreement();
            prop_assert!(agreement.agreed * 2 >= agreement.trials);
        }
    }
}
