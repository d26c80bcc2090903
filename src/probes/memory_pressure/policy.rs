//! The eviction policies: which keys each takes, in which order, and what follows for keys that are not ours.
//!
//! Facts about the server alone. Whether a run may go on under a policy is `plan`'s, what it did `findings`'.

use std::fmt;

/// What `maxmemory-policy` can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Noeviction,
    AllkeysLru,
    AllkeysLfu,
    AllkeysRandom,
    VolatileLru,
    VolatileLfu,
    VolatileRandom,
    VolatileTtl,
}

/// Whom a policy takes keys from when the limit is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nobody: writers are refused with OOM.
    Nothing,
    /// Everybody. The probe's keys are the freshest, so that others' go first.
    AnyKey,
    /// Those with a time to live, others' first for the same reason.
    AnyExpiring,
    /// Those with the shortest time to live: the probe's, where theirs is the shortest and enough of them are seen.
    ShortestLived,
}

/// By what a policy says that it chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// The longest unused first: of keys that nobody reads, the oldest.
    Oldest,
    /// The shortest time to live first.
    ShortestLived,
    /// None that keys which are written once and never read could show.
    None,
}

impl Policy {
    pub(super) const ALL: [Policy; 8] = [
        Policy::Noeviction,
        Policy::AllkeysLru,
        Policy::AllkeysLfu,
        Policy::AllkeysRandom,
        Policy::VolatileLru,
        Policy::VolatileLfu,
        Policy::VolatileRandom,
        Policy::VolatileTtl,
    ];

    /// As the server writes it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Policy::Noeviction => "noeviction",
            Policy::AllkeysLru => "allkeys-lru",
            Policy::AllkeysLfu => "allkeys-lfu",
            Policy::AllkeysRandom => "allkeys-random",
            Policy::VolatileLru => "volatile-lru",
            Policy::VolatileLfu => "volatile-lfu",
            Policy::VolatileRandom => "volatile-random",
            Policy::VolatileTtl => "volatile-ttl",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.as_str().eq_ignore_ascii_case(text.trim()))
    }

    pub(super) const fn takes(self) -> Takes {
        match self {
            Policy::Noeviction => Takes::Nothing,
            Policy::AllkeysLru | Policy::AllkeysLfu | Policy::AllkeysRandom => Takes::AnyKey,
            Policy::VolatileLru | Policy::VolatileLfu | Policy::VolatileRandom => Takes::AnyExpiring,
            Policy::VolatileTtl => Takes::ShortestLived,
        }
    }

    pub(super) const fn order(self) -> Order {
        match self {
            Policy::AllkeysLru | Policy::VolatileLru => Order::Oldest,
            Policy::VolatileTtl => Order::ShortestLived,
            Policy::Noeviction
            | Policy::AllkeysLfu
            | Policy::AllkeysRandom
            | Policy::VolatileLfu
            | Policy::VolatileRandom => Order::None,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
