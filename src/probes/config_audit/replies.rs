//! The server's replies as values: settings by name, the user `default`, latencies by event.
//!
//! What is asked belongs to `ask`, what the values mean to `facts`.

use std::collections::BTreeMap;

use measure::redis::Value as Reply;

use super::{known::KNOWN, value::Missing};

/// What the user `default` may do. Its passwords' hashes are in the same answer and go no further than this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct DefaultUser {
    /// It can log in.
    pub(super) on: bool,
    /// With any password, or none.
    pub(super) nopass: bool,
    /// It may send every command.
    pub(super) all_commands: bool,
    /// It may touch every key.
    pub(super) all_keys: bool,
}

/// By the newest name of each: where a server answers to two, they say the same.
pub(super) fn settings(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<&'static str, String> {
    let mut found = BTreeMap::new();
    for (name, value) in pairs {
        // What was not asked for is not kept.
        let asked = KNOWN.iter().find(|setting| setting.names().any(|known| known == name));
        if let Some(setting) = asked {
            found.entry(setting.name).or_insert(value);
        }
    }
    found
}

/// In each reply name and value by turns, or a map.
pub(super) fn pairs(replies: &[Reply]) -> Vec<(String, String)> {
    let pair = |name: &Reply, value: &Reply| Some((text(name).ok()?, text(value).ok()?));
    let of_one = |reply: &Reply| match reply {
        Reply::Array(items) => {
            items.chunks_exact(2).filter_map(|chunk| pair(&chunk[0], &chunk[1])).collect::<Vec<_>>()
        }
        Reply::Map(items) => items.iter().filter_map(|(name, value)| pair(name, value)).collect(),
        _ => Vec::new(),
    };
    replies.iter().flat_map(of_one).collect()
}

pub(super) fn text(reply: &Reply) -> Result<String, Missing> {
    match reply {
        Reply::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Reply::SimpleString(text) | Reply::VerbatimString { text, .. } => Ok(text.clone()),
        Reply::Int(number) => Ok(number.to_string()),
        Reply::Okay => Ok("OK".to_owned()),
        _ => Err(Missing::unclear("an answer of an unexpected kind")),
    }
}

/// `ACL GETUSER`: field and value by turns. Only flags, commands and keys are looked at.
pub(super) fn default_user(reply: &Reply) -> Result<DefaultUser, Missing> {
    let Reply::Array(fields) = reply else {
        return Err(Missing::unclear("ACL GETUSER default answers with something else than a list"));
    };
    let mut user = DefaultUser::default();
    for field in fields.chunks_exact(2) {
        let words = match &field[1] {
            Reply::Array(items) => items.iter().filter_map(|item| text(item).ok()).collect::<Vec<_>>(),
            other => text(other).map(|text| vec![text]).unwrap_or_default(),
        };
        let has = |word: &str| words.iter().any(|it| it.split_whitespace().any(|part| part == word));
        match &*text(&field[0])? {
            "flags" => {
                user.on = has("on");
                user.nopass = has("nopass");
                user.all_commands |= has("allcommands");
                user.all_keys |= has("allkeys");
            }
            "commands" => user.all_commands |= words.iter().any(|rule| rule.trim() == "+@all"),
            "keys" => user.all_keys |= has("~*") || has("*"),
            _ => {}
        }
    }
    Ok(user)
}

/// `LATENCY LATEST`: event, when, last, greatest.
pub(super) fn latest(reply: &Reply) -> BTreeMap<String, (f64, f64)> {
    let Reply::Array(events) = reply else { return BTreeMap::new() };
    let event = |event: &Reply| {
        let Reply::Array(parts) = event else { return None };
        let number = |at: usize| match parts.get(at) {
            Some(Reply::Int(number)) => Some(*number as f64),
            _ => None,
        };
        Some((text(parts.first()?).ok()?, (number(2)?, number(3)?)))
    };
    events.iter().filter_map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Reply {
        Reply::BulkString(text.as_bytes().to_vec())
    }

    fn list(items: &[&str]) -> Reply {
        Reply::Array(items.iter().map(|item| bulk(item)).collect())
    }

    #[test]
    fn old_names_count_and_what_was_not_asked_for_does_not() {
        let reply = list(&["slave-priority", "7", "requirepass", "s3cret", "save", ""]);
        let found = settings(pairs(&[reply]).into_iter());
        let expected = BTreeMap::from([("replica-priority", "7".to_owned()), ("save", String::new())]);
        assert_eq!(found, expected);
    }

    #[test]
    fn the_default_user_of_6_and_7() {
        let of = |fields: Vec<Reply>| default_user(&Reply::Array(fields)).unwrap();
        let open = DefaultUser { on: true, nopass: true, all_commands: true, all_keys: true };
        let seven = vec![
            bulk("flags"),
            list(&["on", "nopass"]),
            bulk("passwords"),
            list(&[]),
            bulk("commands"),
            bulk("+@all"),
            bulk("keys"),
            bulk("~*"),
        ];
        assert_eq!(of(seven), open);
        let six = vec![
            bulk("flags"),
            list(&["on", "allkeys", "allcommands", "nopass"]),
            bulk("commands"),
            bulk("+@all"),
            bulk("keys"),
            list(&["*"]),
        ];
        assert_eq!(of(six), open);
        let reduced = vec![
            bulk("flags"),
            list(&["on"]),
            bulk("commands"),
            bulk("-@all +get"),
            bulk("keys"),
            bulk("~app:*"),
        ];
        assert_eq!(of(reduced), DefaultUser { on: true, ..DefaultUser::default() });
    }
}
