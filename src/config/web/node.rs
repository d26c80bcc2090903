//! YAML of a web configuration file as a tree: text stays text, and every key is there, in order.
//!
//! What the keys mean is read by `table` and what uses it. No message of the parser quotes the file: it holds secrets.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// One value of the file.
#[derive(Clone, PartialEq)]
pub(super) enum Node {
    /// Nothing, or `null`.
    Null,
    /// `true`, `yes`, `on` and their opposites, without quotes.
    Flag(bool),
    /// Text, or a number as its text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values.
    Table(Vec<(String, Node)>),
}

impl Node {
    /// Reads a whole file. One without any value is an empty table.
    ///
    /// # Errors
    /// What is wrong and where, for people; nothing of the file but names of keys is in it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // Else a byte order mark is the first letter of the first key.
        let text = text.trim_start_matches('\u{feff}');
        let options = serde_saphyr::options! { with_snippet: false };
        let node = serde_saphyr::from_str_with_options::<Option<Node>>(text, options);
        node.map(|node| node.unwrap_or(Node::Null)).map_err(|error| sentence(&error))
    }

    /// What it is, for a message that must not show its value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Flag(_) => "true or false",
            Node::Text(_) => "text",
            Node::List(_) => "a list",
            Node::Table(_) => "a table of keys",
        }
    }
}

/// The parser's own text may quote what it could not read.
fn sentence(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    let plain = error.without_snippet();
    let said = match plain {
        E::DuplicateMappingKey { key, .. } => match key {
            Some(key) => format!("the key {key:?} is there twice; keep one of them"),
            None => "a key is there twice; keep one of them".to_owned(),
        },
        E::MultipleDocuments { .. } => "there is more than one document; remove what follows ---".to_owned(),
        E::UnknownAnchor { .. } => "an alias (*name) has no anchor (&name)".to_owned(),
        E::Budget { .. } => "it is larger, or nested more deeply, than any web configuration".to_owned(),
        _ => "this is not YAML; check indentation, colons and quotes".to_owned(),
    };
    match plain.location() {
        Some(at) if at.line() > 0 => format!("line {}, column {}: {said}", at.line(), at.column()),
        _ => said,
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AsItIs)
    }
}

struct AsItIs;

impl<'de> Visitor<'de> for AsItIs {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Flag(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_i128<E: Error>(self, number: i128) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_u128<E: Error>(self, number: u128) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Text(number.to_string()))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Node::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
        let mut table = Vec::new();
        // A key is text whatever it looks like: a user may be called 007.
        while let Some(entry) = entries.next_entry::<String, Node>()? {
            table.push(entry);
        }
        Ok(Node::Table(table))
    }
}
