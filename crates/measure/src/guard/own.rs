//! What a run was refused itself: so that the watch over it does not take that for what others suffer.
//!
//! Own keys that were evicted are told from foreign ones by [`crate::keys::KeySpace::lost`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use crate::error::Reason;

/// Counts a run's own refusals by those reasons that the watch sees on the server as well. Cheap to clone; all clones
/// count together.
#[derive(Debug, Clone, Default)]
pub struct OwnErrors(Arc<[Count; WATCHED.len()]>);

#[derive(Debug, Default)]
struct Count {
    own: AtomicU64,
    accepted: AtomicBool,
}

const WATCHED: [Reason; 3] = [Reason::Oom, Reason::Misconf, Reason::Rejected];

impl OwnErrors {
    /// To be told of every refusal as soon as its reply is read; reasons that nobody watches are passed over.
    pub fn note(&self, reason: Reason) {
        self.note_n(reason, 1);
    }

    /// As [`OwnErrors::note`], for many.
    pub fn note_n(&self, reason: Reason, count: u64) {
        if let Some(counter) = self.counter(reason) {
            counter.own.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The operator has said that others may be refused for this reason while the run lasts: no halt for it.
    pub fn accept(&self, reason: Reason) {
        if let Some(counter) = self.counter(reason) {
            counter.accepted.store(true, Ordering::Relaxed);
        }
    }

    /// Whether it was accepted.
    #[must_use]
    pub fn accepts(&self, reason: Reason) -> bool {
        self.counter(reason).is_some_and(|counter| counter.accepted.load(Ordering::Relaxed))
    }

    /// How many of this reason there were.
    #[must_use]
    pub fn noted(&self, reason: Reason) -> u64 {
        self.counter(reason).map_or(0, |counter| counter.own.load(Ordering::Relaxed))
    }

    fn counter(&self, reason: Reason) -> Option<&Count> {
        WATCHED.iter().position(|watched| *watched == reason).map(|index| &self.0[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_watched_for_all_clones() {
        let own = OwnErrors::default();
        let clone = own.clone();
        clone.note(Reason::Oom);
        own.note_n(Reason::Oom, 2);
        own.note(Reason::Timeout);
        assert_eq!(
            (own.noted(Reason::Oom), own.noted(Reason::Misconf), own.noted(Reason::Timeout)),
            (3, 0, 0)
        );
        own.accept(Reason::Oom);
        assert!(clone.accepts(Reason::Oom));
        assert!(!clone.accepts(Reason::Misconf) && !clone.accepts(Reason::Timeout));
    }
}
