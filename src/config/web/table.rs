//! A table of the web configuration file while it is read: keys are taken out of it, and what is left is unknown.
//!
//! Every mistake is added to one list under its key, none ends the reading.

use super::{super::suggest, Findings, node::Node};

/// A value for a message, in quotes. What looks like no name may have slipped from the line below, and be a secret.
pub(super) fn shown(value: &str) -> String {
    const LONGEST: usize = 100;
    let looks_like_a_name = value.len() <= LONGEST && !value.contains(char::is_whitespace);
    if looks_like_a_name { format!("{value:?}") } else { "this value (not shown)".to_owned() }
}

/// The keys of one table that were not taken yet.
pub(super) struct Table {
    path: String,
    left: Vec<(String, Node)>,
}

impl Table {
    /// The table at `path`, which is empty for the whole file.
    pub(super) fn new(path: impl Into<String>, node: Node, found: &mut Findings) -> Self {
        let path = path.into();
        let left = match node {
            Node::Table(entries) => entries,
            Node::Null => Vec::new(),
            other => {
                found.refuse(&path, format!("expected a table of keys, found {}", other.kind()));
                Vec::new()
            }
        };
        Self { path, left }
    }

    /// The whole path of a key.
    pub(super) fn key(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// A value as it is; nothing where it is missing or null.
    pub(super) fn node(&mut self, name: &str) -> Option<Node> {
        let at = self.left.iter().position(|(key, _)| key == name)?;
        Some(self.left.remove(at).1).filter(|node| *node != Node::Null)
    }

    /// A table within this one; empty where it is missing.
    pub(super) fn table(&mut self, name: &str, found: &mut Findings) -> Table {
        let node = self.node(name).unwrap_or(Node::Null);
        Table::new(self.key(name), node, found)
    }

    /// Text; nothing where it is missing or empty.
    pub(super) fn text(&mut self, name: &str, found: &mut Findings) -> Option<String> {
        match self.node(name)? {
            Node::Text(text) => Some(text).filter(|text| !text.is_empty()),
            other => {
                found.refuse(self.key(name), format!("expected text, found {}", other.kind()));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, name: &str, unless: bool, found: &mut Findings) -> bool {
        match self.node(name) {
            None => unless,
            Some(Node::Flag(flag)) => flag,
            Some(other) => {
                found.refuse(self.key(name), format!("expected true or false, found {}", other.kind()));
                unless
            }
        }
    }

    /// A list of text; nothing where it is missing.
    pub(super) fn list(&mut self, name: &str, found: &mut Findings) -> Option<Vec<String>> {
        let items = match self.node(name)? {
            Node::List(items) => items,
            other => {
                found.refuse(self.key(name), format!("expected a list of text, found {}", other.kind()));
                return None;
            }
        };
        let texts = items.into_iter().map(|item| match item {
            Node::Text(text) => Some(text),
            _ => None,
        });
        let texts: Option<Vec<String>> = texts.collect();
        if texts.is_none() {
            found.refuse(self.key(name), "expected a list of text; one of its entries is something else");
        }
        texts
    }

    /// What was not taken: names that the user chose.
    pub(super) fn rest(self) -> Vec<(String, Node)> {
        self.left
    }

    /// Whether there is a key with a value that was not taken.
    pub(super) fn has_more(&self) -> bool {
        self.left.iter().any(|(_, node)| *node != Node::Null)
    }

    /// Refuses what was not taken.
    pub(super) fn end(self, known: &[&str], found: &mut Findings) {
        for (name, _) in &self.left {
            found.refuse(self.key(name), suggest::unknown_key(name, known));
        }
    }
}
