//! Which group a client belongs to: redprobe's own, else a declared pool, else the first rule that fits, else the rest.
//!
//! What a rule can say of a client is in `config::settings::clients`, what is counted in `tally`.

use std::sync::Arc;

use measure::facts::clients::Client;
use serde::{Deserialize, Serialize};

use crate::config::settings::clients::{ClientMatch, Clients, DeclaredPool, RESERVED};

/// How redprobe's own connections are named.
const OWN: &[u8] = b"redprobe-";

/// One entry of the setting `groups`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupRule {
    /// The group: the label.
    pub name: String,
    /// Which clients.
    pub r#match: ClientMatch,
}

/// A rule, checked.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    name: String,
    clients: Clients,
}

/// Checks the rules: those that are good, and what is wrong with the others.
pub(super) fn rules(rules: &[GroupRule]) -> (Vec<Rule>, Vec<String>) {
    let (mut good, mut wrong) = (Vec::new(), Vec::new());
    for (index, GroupRule { name, r#match }) in rules.iter().enumerate() {
        let mut say = |what: String| wrong.push(format!("rule {} ({name:?}): {what}", index + 1));
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(fits) {
            say("the name is a label; use a to z, 0 to 9 and _ only".into());
        } else if RESERVED.contains(&name.as_str()) {
            say("that is the name of clients that need no rule; take another name".into());
        }
        match r#match.compile() {
            Ok(clients) => good.push(Rule { name: name.clone(), clients }),
            Err(mistakes) => mistakes.into_iter().for_each(|(key, what)| {
                say(format!("{}: {what}", if key.is_empty() { "match" } else { key }));
            }),
        }
    }
    (good, wrong)
}

/// The groups of one target, each with its place: pools first, then the rules' in order, then the two that need no
/// rule.
pub(super) struct Groups<'a> {
    /// The declared pools; a pool's group has the same place.
    pub(super) pools: &'a [Arc<DeclaredPool>],
    rules: Vec<(&'a Rule, usize)>,
    names: Vec<&'a str>,
}

/// Where a client belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Its group.
    pub(super) group: usize,
    /// Whether a second pool fits as well: the declarations contradict each other.
    pub(super) contested: bool,
}

impl<'a> Groups<'a> {
    pub(super) fn new(pools: &'a [Arc<DeclaredPool>], rules: &'a [Rule]) -> Self {
        let mut names: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        let mut place = |name: &'a str| {
            names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                names.len() - 1
            })
        };
        let rules = rules.iter().map(|rule| (rule, place(&rule.name))).collect();
        names.extend(RESERVED);
        Self { pools, rules, names }
    }

    /// Every group, by place.
    pub(super) fn names(&self) -> &[&'a str] {
        &self.names
    }

    /// Whether there are no groups but those that need no rule.
    pub(super) fn are_none(&self) -> bool {
        self.names.len() == RESERVED.len()
    }

    /// The group of what nothing else fits.
    pub(super) fn other(&self) -> usize {
        self.names.len() - 2
    }

    /// The group of redprobe's own connections.
    pub(super) fn own(&self) -> usize {
        self.names.len() - 1
    }

    /// Whether any rule looks at the library.
    pub(super) fn ask_for_library(&self) -> bool {
        let pools = self.pools.iter().map(|pool| &pool.clients);
        pools.chain(self.rules.iter().map(|(rule, _)| &rule.clients)).any(Clients::asks_for_library)
    }

    /// Where this client belongs.
    pub(super) fn place(&self, client: &Client<'_>) -> Place {
        if client.name.starts_with(OWN) {
            return Place { group: self.own(), contested: false };
        }
        let mut pools = self.pools.iter().enumerate().filter(|(_, pool)| pool.clients.contains(client));
        if let Some((group, _)) = pools.next() {
            return Place { group, contested: pools.next().is_some() };
        }
        let rule = self.rules.iter().find(|(rule, _)| rule.clients.contains(client));
        Place { group: rule.map_or(self.other(), |(_, group)| *group), contested: false }
    }
}
