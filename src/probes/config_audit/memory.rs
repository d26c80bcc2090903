//! What an audit remembers of the one before it, per target and only in this process: what was denied, what the server
//! had counted, and how it was set.
//!
//! What follows from a difference is said by `facts` (counters) and `drift` (settings).

use std::{
    collections::BTreeMap,
    sync::{LazyLock, Mutex, PoisonError},
};

use super::{
    ask::Question,
    catalogue::CATALOGUE,
    path::{Counter, What},
    value::Missing,
};

/// After this long, what was denied is asked once more: somebody may have granted it meanwhile. In seconds.
const ASK_AGAIN: f64 = 86_400.0;

/// Every target that a job audits.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<BTreeMap<String, Remembered>>);

impl Memory {
    /// What is remembered of a target.
    pub(super) fn of(&self, target: &str) -> Option<Remembered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(target).cloned()
    }

    /// Remembers this of a target from now on.
    pub(super) fn keep(&self, target: &str, remembered: Remembered) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(target.to_owned(), remembered);
    }
}

/// One audit, as far as the next one needs it.
#[derive(Debug, Clone, Default)]
pub(super) struct Remembered {
    /// What was denied.
    pub(super) denied: Denied,
    /// What the server had counted.
    pub(super) counts: Counts,
    /// How it was set, as shown; `None` where that could not be asked.
    pub(super) settings: Option<BTreeMap<&'static str, String>>,
    /// When a setting was last seen to have changed, as a unix time.
    pub(super) changed_at: Option<f64>,
}

/// What a server has denied, until it starts again or a day has passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Denied {
    run_id: String,
    since: f64,
    answers: BTreeMap<Question, Missing>,
}

impl Denied {
    /// What was answered to this.
    pub(super) fn get(&self, question: Question) -> Option<Missing> {
        self.answers.get(&question).cloned()
    }

    /// Every refusal in words.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.answers.values().filter_map(|missing| match missing {
            Missing::Unknown(_, text) => Some(&**text),
            Missing::NotApplicable(..) => None,
        })
    }

    /// Remembers a refusal, and hands it back.
    pub(super) fn add(&mut self, question: Question, missing: Missing) -> Missing {
        self.answers.insert(question, missing.clone());
        missing
    }

    /// Forgets everything where the server is another one, or was started anew.
    pub(super) fn forget_unless(&mut self, run_id: &str) {
        if self.run_id != run_id {
            let since = self.since;
            *self = Self { run_id: run_id.to_owned(), since, ..Self::default() };
        }
    }

    /// The same at `now`: empty where it has been known for a day.
    pub(super) fn at(mut self, now: f64) -> Self {
        if self.answers.is_empty() || now - self.since > ASK_AGAIN {
            self.answers.clear();
            self.since = now;
        }
        self
    }
}

/// Every counter whose increase some check asks for.
pub(super) static COUNTERS: LazyLock<Vec<Counter>> = LazyLock::new(|| {
    let counter = |what: &What| match what {
        What::Increase(counter) => Some(counter.clone()),
        _ => None,
    };
    let mut all: Vec<_> = CATALOGUE.paths().filter_map(|path| counter(&path.what)).collect();
    all.sort();
    all.dedup();
    all
});

/// The values of [`COUNTERS`] at one moment of one server.
#[derive(Debug, Clone, Default)]
pub(super) struct Counts {
    /// Changes when the server starts anew, and with it everything that it counts.
    pub(super) run_id: String,
    values: Box<[Option<f64>]>,
}

impl Counts {
    /// Reads each of [`COUNTERS`].
    pub(super) fn read(run_id: &str, value: impl Fn(&Counter) -> Option<f64>) -> Self {
        Self { run_id: run_id.to_owned(), values: COUNTERS.iter().map(value).collect() }
    }

    /// The value of one.
    pub(super) fn get(&self, counter: &Counter) -> Option<f64> {
        *self.values.get(COUNTERS.binary_search(counter).ok()?)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_holds_until_the_server_starts_again_or_a_day_has_passed() {
        let mut denied = Denied::default().at(1_000.0);
        denied.forget_unless("a");
        denied.add(Question::Config, Missing::unclear("no"));
        let mut later = denied.clone().at(80_000.0);
        later.forget_unless("a");
        assert!(later.get(Question::Config).is_some() && later.get(Question::Info).is_none());
        assert!(denied.clone().at(90_000.0).get(Question::Config).is_none(), "a day later");
        denied.forget_unless("b");
        assert!(denied.get(Question::Config).is_none(), "another server");
    }

    #[test]
    fn counts_are_found_again() {
        let counts = Counts::read("a", |counter| Some(f64::from(*counter == COUNTERS[3])));
        assert_eq!((counts.get(&COUNTERS[3]), counts.get(&COUNTERS[2])), (Some(1.0), Some(0.0)));
        assert_eq!(Counts::default().get(&COUNTERS[0]), None);
    }
}
