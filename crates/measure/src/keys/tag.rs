//! What all keys of a run have between braces: the target's name, which keeps them together, and in a cluster a number
//! that sends them to a certain node.
//!
//! Names alone. Which slots a node has is in [`crate::conn::cluster`].

use super::{PREFIX, scan::literally};
use crate::{conn::cluster::slot, lease};

/// Tags tried for one that fits: some twenty for each slot, so that a node of a single slot finds one.
const TRIES: u32 = 400_000;

/// What is between the braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    target: String,
    number: Option<u32>,
}

impl Tag {
    /// For a server that takes every key.
    #[must_use]
    pub fn of(target: &str) -> Self {
        Self { target: target.to_owned(), number: None }
    }

    /// For a node of a cluster: the first whose slot it `keeps`. The same until slots are moved. `None` where it keeps
    /// none.
    #[must_use]
    pub fn kept(target: &str, keeps: impl Fn(u16) -> bool) -> Option<Self> {
        let mut numbers = 0..TRIES;
        let number = numbers.find(|number| keeps(slot(&format!("{target}/{number}"))))?;
        Some(Self { target: target.to_owned(), number: Some(number) })
    }

    /// The target's name.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The slot of all keys with it; `None` outside of a cluster.
    #[must_use]
    pub fn slot(&self) -> Option<u16> {
        self.number.map(|number| slot(&format!("{}/{number}", self.target)))
    }

    /// `redprobe:{<target>}:`, or in a cluster `redprobe:{<target>/<number>}:`.
    #[must_use]
    pub fn prefix(&self) -> String {
        let Self { target, number } = self;
        match number {
            None => format!("{PREFIX}{{{target}}}:"),
            Some(number) => format!("{PREFIX}{{{target}/{number}}}:"),
        }
    }
}

impl From<&str> for Tag {
    fn from(target: &str) -> Self {
        Self::of(target)
    }
}

/// Whose keys are meant, whichever run's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose<'a> {
    /// Those of all targets.
    All,
    /// Of the target of this name.
    Target(&'a str),
    /// Of the target of this name, a cluster: those of every slot.
    Cluster(&'a str),
}

impl Whose<'_> {
    /// The pattern of their names, as `SCAN` and ACL rules take it.
    #[must_use]
    pub fn pattern(self) -> String {
        match self {
            Whose::All => format!("{PREFIX}{{*}}:*"),
            Whose::Target(target) => format!("{PREFIX}{{{}}}:*", literally(target)),
            Whose::Cluster(target) => format!("{PREFIX}{{{}/*}}:*", literally(target)),
        }
    }

    /// The pattern of the lease's name.
    #[must_use]
    pub fn lease(self) -> String {
        match self {
            Whose::All | Whose::Target(_) => lease::KEY.to_owned(),
            Whose::Cluster(_) => format!("{}:*", lease::KEY),
        }
    }

    /// `<probe>:<run>:…` of a key, where it is one of them.
    pub(super) fn rest(self, key: &str) -> Option<&str> {
        let (tag, rest) = key.strip_prefix(PREFIX)?.strip_prefix('{')?.split_once("}:")?;
        let is_theirs = match self {
            Whose::All => true,
            Whose::Target(target) => tag == target,
            Whose::Cluster(target) => tag.strip_prefix(target).is_some_and(|number| number.starts_with('/')),
        };
        is_theirs.then_some(rest)
    }
}

/// The keys by their tags: a cluster takes no command with keys of several slots.
pub(super) fn by_tag(mut keys: Vec<String>) -> Vec<Vec<String>> {
    let tag = |key: &str| key.split_once('}').map(|(tag, _)| tag.to_owned());
    keys.sort_unstable();
    keys.chunk_by(|a, b| tag(a) == tag(b)).map(<[String]>::to_vec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_lands_where_it_is_to() {
        for wanted in [0, 93, 12_182, 16_383] {
            let tag = Tag::kept("orders", |slot| slot == wanted).unwrap();
            assert_eq!(tag.slot(), Some(wanted));
            assert_eq!(slot(&format!("{}health:01J:x", tag.prefix())), wanted);
        }
        assert_eq!(Tag::kept("orders", |_| false), None);
        assert_eq!(Tag::of("orders").slot(), None);
    }

    #[test]
    fn keys_are_told_apart_by_target_and_kind() {
        let (plain, node) = ("redprobe:{orders}:health:01J:x", "redprobe:{orders/17}:health:01J:x");
        assert_eq!(Whose::Target("orders").rest(plain), Some("health:01J:x"));
        assert_eq!(Whose::Cluster("orders").rest(node), Some("health:01J:x"));
        assert_eq!(Whose::Target("orders").rest(node), None);
        assert_eq!(Whose::Cluster("orders").rest(plain), None);
        assert_eq!(Whose::Cluster("orders").rest("redprobe:{orders_b/17}:health:01J:x"), None);
        assert_eq!(Whose::Target("orders").rest("redprobe:lease"), None);
        let groups = by_tag(vec![node.into(), plain.into(), node.replace("health", "throughput")]);
        assert_eq!(groups.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1]);
    }
}
