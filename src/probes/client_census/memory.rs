//! What a job remembers of each target from run to run: which connections there were, that the list is denied, the last
//! list where it is not asked for every time.
//!
//! Lost with the process and with each reading of the configuration; a server that restarts begins anew.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use measure::{Failure, facts::Info};

use super::{
    Settings,
    tally::{Census, Group, Ids},
};

/// What a run does about the list.
#[derive(Debug)]
pub(super) enum Way {
    /// Ask for it.
    List,
    /// Show the last one again.
    Again(Arc<Census>),
    /// It was denied before.
    Denied(Failure),
}

/// By target.
#[derive(Debug, Default)]
pub(super) struct Memories(Mutex<BTreeMap<String, Memory>>);

#[derive(Debug, Default)]
struct Memory {
    /// Which start of the server this is of.
    server: String,
    denied: Option<Failure>,
    last: Option<Arc<Census>>,
    ids: Ids,
    /// Runs that have shown `last` again.
    shown_again: u32,
    rejected: Option<u64>,
}

impl Memories {
    /// How this run, on a server with so many clients, comes to its figures.
    pub(super) fn way(&self, target: &str, server: &str, clients: u64, settings: &Settings) -> Way {
        let mut memories = self.lock();
        let memory = memories.entry(target.to_owned()).or_default();
        if memory.server != server {
            *memory = Memory { server: server.to_owned(), ..Memory::default() };
        }
        if let Some(denied) = &memory.denied {
            return Way::Denied(denied.clone());
        }
        let sampled = clients > settings.sample_above && memory.shown_again + 1 < settings.sample_every;
        match &memory.last {
            Some(last) if sampled => {
                memory.shown_again += 1;
                Way::Again(Arc::clone(last))
            }
            _ => Way::List,
        }
    }

    /// The list is denied.
    pub(super) fn deny(&self, target: &str, failure: &Failure) {
        if let Some(memory) = self.lock().get_mut(target) {
            memory.denied = Some(failure.clone());
        }
    }

    /// Takes a census on, and adds to it what came and went since the one before.
    pub(super) fn learn(&self, target: &str, (mut census, ids): (Census, Ids)) -> Arc<Census> {
        let mut memories = self.lock();
        let memory = memories.entry(target.to_owned()).or_default();
        if let Some(last) = &memory.last {
            compare(&mut census, last, &memory.ids, &ids);
        }
        let census = Arc::new(census);
        memory.last = Some(Arc::clone(&census));
        memory.ids = ids;
        memory.shown_again = 0;
        census
    }

    /// Connections that the server turned away since the last run, less this run's own; `None` for the first one.
    pub(super) fn rejected(&self, target: &str, info: &Info, own: bool) -> Option<u64> {
        let now = info.integer("rejected_connections")?;
        let mut memories = self.lock();
        let memory = memories.entry(target.to_owned()).or_default();
        // INFO was asked before this run's own could be turned away: it is in the next one's.
        let before = memory.rejected.replace(now.saturating_add(u64::from(own)))?;
        Some(now.saturating_sub(before))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids are never used twice while the server runs: what is in one list alone came or went. Both are sorted.
fn compare(census: &mut Census, last: &Census, before: &Ids, now: &Ids) {
    // redprobe's own, which is the last group, comes and goes with every run.
    let own = census.groups.len().saturating_sub(1);
    for (group, last) in census.groups.iter_mut().zip(&last.groups) {
        (group.came, group.went) = (last.came, last.went);
    }
    census.compared = true;
    let absent = |id: u64, from: &Ids| from.binary_search_by_key(&id, |(known, _)| *known).is_err();
    let mut count = |ids: &Ids, others: &Ids, of: fn(&mut Group) -> &mut u64| {
        let mut total = 0;
        for (id, place) in ids {
            let place = *place as usize;
            if place != own && absent(*id, others) {
                total += 1;
                if let Some(group) = census.groups.get_mut(place) {
                    *of(group) += 1;
                }
            }
        }
        total
    };
    let came = count(now, before, |group| &mut group.came);
    let went = count(before, now, |group| &mut group.went);
    (census.came, census.went) = (came, went);
}
