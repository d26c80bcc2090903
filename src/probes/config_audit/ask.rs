//! What the server is asked: INFO first, then the named settings and the rest in one batch. Nothing that was denied
//! before is asked again, and of nothing is asked that may hold a secret.
//!
//! What the answers mean is `facts`' to say; what is remembered of earlier audits, `memory`'s.

use std::collections::BTreeMap;

use measure::{
    Failure, Reason,
    facts::Info,
    redis::{self, Cmd, Value as Reply, aio::MultiplexedConnection},
};

use super::{
    known::{KNOWN, Setting},
    memory::Denied,
    value::{Missing, Unknown, Value},
};

/// Something that is asked and may be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Question {
    /// INFO.
    Info,
    /// CONFIG GET of named settings.
    Config,
    /// ACL GETUSER default.
    Acl,
    /// LATENCY LATEST.
    Latency,
    /// CLUSTER INFO.
    Cluster,
}

impl Question {
    const fn name(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Config => "CONFIG GET",
            Self::Acl => "ACL GETUSER",
            Self::Latency => "LATENCY LATEST",
            Self::Cluster => "CLUSTER INFO",
        }
    }
}

/// What the server said.
#[derive(Debug)]
pub(super) struct Answers {
    /// All of INFO.
    pub(super) info: Result<Info, Missing>,
    /// The settings' texts, by the newest name of each. Those that the server does not have are not there.
    pub(super) config: Result<BTreeMap<&'static str, String>, Missing>,
    /// What the user `default` may do.
    pub(super) default_user: Result<DefaultUser, Missing>,
    /// Of each event the last and the greatest latency, in milliseconds.
    pub(super) latency: Result<BTreeMap<String, (f64, f64)>, Missing>,
    /// CLUSTER INFO; not asked where the server is no cluster node.
    pub(super) cluster: Result<Info, Missing>,
    /// What was denied, now or earlier.
    pub(super) denied: Denied,
    /// Refusals of this audit, by whether they were NOPERM: they count in the server's own statistics.
    pub(super) refused: Refused,
}

impl Answers {
    /// A setting as the server has it.
    pub(super) fn setting(&self, name: &str) -> Option<&str> {
        self.config.as_ref().ok()?.get(name).map(String::as_str)
    }
}

/// Refusals that an audit brought upon itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Refused {
    /// By ACL.
    pub(super) denied: u32,
    /// For any other reason, such as an unknown command.
    pub(super) other: u32,
}

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

/// Asks everything that was not denied before.
///
/// # Errors
/// Where the server cannot be asked at all, or not now: it is gone, loading, busy.
pub(super) async fn ask(
    conn: &mut MultiplexedConnection,
    user: &str,
    known: Denied,
) -> Result<Answers, Failure> {
    let mut asker = Asker { conn, user, denied: known, refused: Refused::default() };
    let info = asker.batch(vec![(Question::Info, redis::cmd("INFO").arg("everything").to_owned())]).await?;
    let info = info.text(Question::Info).map(|text| Info::parse(&text));
    if let Ok(info) = &info {
        asker.denied.forget_unless(info.text("run_id").unwrap_or_default());
    }
    let names: Vec<&str> = KNOWN.iter().flat_map(Setting::names).collect();
    // Before Redis 7.0 one setting alone first: where it is refused, that is one refusal and not hundreds.
    let at_once = if info.as_ref().is_ok_and(takes_several) { names.len() } else { 1 };
    let mut questions = vec![
        (Question::Config, get(&names[..at_once])),
        (Question::Acl, redis::cmd("ACL").arg("GETUSER").arg("default").to_owned()),
        (Question::Latency, redis::cmd("LATENCY").arg("LATEST").to_owned()),
    ];
    let is_cluster = info.as_ref().is_ok_and(|info| info.flag("cluster_enabled") == Some(true));
    if is_cluster {
        questions.push((Question::Cluster, redis::cmd("CLUSTER").arg("INFO").to_owned()));
    }
    let batch = asker.batch(questions).await?;
    let mut config = batch.get(Question::Config).map(pairs);
    if let Ok(config) = &mut config
        && at_once < names.len()
    {
        let rest = names[at_once..].iter().map(|name| (Question::Config, get(&[name]))).collect();
        let rest = asker.batch(rest).await?;
        config.extend(rest.get(Question::Config).map(pairs).unwrap_or_default());
    }
    let cluster = if is_cluster {
        batch.text(Question::Cluster).map(|text| Info::parse(&text))
    } else {
        Err(Missing::setup("the server is no node of a cluster"))
    };
    Ok(Answers {
        config: config.map(|pairs| settings(pairs.into_iter())),
        default_user: batch.get(Question::Acl).and_then(|replies| default_user(&replies[0])),
        latency: batch.get(Question::Latency).map(|replies| latest(&replies[0])),
        cluster,
        info,
        denied: asker.denied,
        refused: asker.refused,
    })
}

fn get(names: &[&str]) -> Cmd {
    redis::cmd("CONFIG").arg("GET").arg(names).to_owned()
}

struct Asker<'a> {
    conn: &'a mut MultiplexedConnection,
    user: &'a str,
    denied: Denied,
    refused: Refused,
}

/// The replies to each question of a batch, or why there are none. A question that is here has one reply or more.
struct Batch(BTreeMap<Question, Result<Vec<Reply>, Missing>>);

impl Batch {
    fn get(&self, question: Question) -> Result<&[Reply], Missing> {
        match self.0.get(&question) {
            Some(Ok(replies)) => Ok(replies),
            Some(Err(missing)) => Err(missing.clone()),
            None => Err(Missing::unclear("nothing was answered")),
        }
    }

    fn text(&self, question: Question) -> Result<String, Missing> {
        text(&self.get(question)?[0])
    }
}

impl Asker<'_> {
    /// Sends all of it in one go, but for what was denied before. Where one reply to a question is a refusal, the
    /// question is refused.
    async fn batch(&mut self, questions: Vec<(Question, Cmd)>) -> Result<Batch, Failure> {
        let mut batch = Batch(BTreeMap::new());
        let (mut pipe, mut sent) = (redis::pipe(), Vec::new());
        for (question, command) in questions {
            match self.denied.get(question) {
                Some(missing) => drop(batch.0.insert(question, Err(missing))),
                None => {
                    pipe.add_command(command);
                    sent.push(question);
                }
            }
        }
        if sent.is_empty() {
            return Ok(batch);
        }
        let replies: Vec<redis::RedisResult<Reply>> = pipe.ignore_errors().query_async(self.conn).await?;
        for (question, reply) in sent.into_iter().zip(replies) {
            match reply.map_err(Failure::from) {
                Ok(reply) => {
                    if let Ok(replies) = batch.0.entry(question).or_insert_with(|| Ok(Vec::new())) {
                        replies.push(reply);
                    }
                }
                Err(failure) => {
                    let missing = self.refuse(question, failure)?;
                    batch.0.insert(question, Err(missing));
                }
            }
        }
        Ok(batch)
    }

    /// What a refusal means: never again, or not now.
    fn refuse(&mut self, question: Question, failure: Failure) -> Result<Missing, Failure> {
        let name = question.name();
        let text = match failure.reason {
            Reason::Denied => format!("the user {} may not use {name}", self.user),
            Reason::Unsupported => format!("the server has no {name}: renamed, or a managed service"),
            Reason::Other => format!("the server does not answer {name}"),
            _ => return Err(failure),
        };
        let count =
            if failure.reason == Reason::Denied { &mut self.refused.denied } else { &mut self.refused.other };
        *count += 1;
        Ok(self.denied.add(question, Missing::Unknown(Unknown::Denied, text)))
    }
}

/// Whether CONFIG GET takes several names: since Redis 7.0, and in all of Valkey.
fn takes_several(info: &Info) -> bool {
    let Some(server) = info.server() else { return false };
    match server.flavour {
        measure::facts::Flavour::Valkey => true,
        measure::facts::Flavour::Redis => Value::version(&server.version).is_some_and(|version| {
            version.order(&Value::Version(vec![7, 0])).is_some_and(std::cmp::Ordering::is_ge)
        }),
        _ => false,
    }
}

/// By the newest name of each: where a server answers to two, they say the same.
fn settings(pairs: impl Iterator<Item = (String, String)>) -> BTreeMap<&'static str, String> {
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
fn pairs(replies: &[Reply]) -> Vec<(String, String)> {
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

fn text(reply: &Reply) -> Result<String, Missing> {
    match reply {
        Reply::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Reply::SimpleString(text) | Reply::VerbatimString { text, .. } => Ok(text.clone()),
        Reply::Int(number) => Ok(number.to_string()),
        Reply::Okay => Ok("OK".to_owned()),
        _ => Err(Missing::unclear("an answer of an unexpected kind")),
    }
}

/// `ACL GETUSER`: field and value by turns. Only flags, commands and keys are looked at.
fn default_user(reply: &Reply) -> Result<DefaultUser, Missing> {
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
fn latest(reply: &Reply) -> BTreeMap<String, (f64, f64)> {
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
