//! What the server is asked: INFO first, then the named settings and the rest in one batch. Nothing that was denied
//! before is asked again, and of nothing is asked that may hold a secret.
//!
//! What the answers mean is `facts`' to say; what is remembered of earlier audits, `memory`'s.

use std::collections::{BTreeMap, BTreeSet};

use measure::{
    Failure, Reason,
    facts::Info,
    redis::{self, Cmd, Value as Reply, aio::MultiplexedConnection},
};

use super::{
    known::{KNOWN, Setting},
    memory::Denied,
    path::ACL_USER,
    replies::{self, DefaultUser, text},
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
    /// ACL DRYRUN of the login.
    Trial,
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
            Self::Trial => "ACL DRYRUN",
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
    /// The names of [`ACL_USER`] that the login may send.
    pub(super) allowed: Result<BTreeSet<&'static str>, Missing>,
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
    let mut config = batch.get(Question::Config).map(replies::pairs);
    if let Ok(config) = &mut config
        && at_once < names.len()
    {
        let rest = names[at_once..].iter().map(|name| (Question::Config, get(&[name]))).collect();
        let rest = asker.batch(rest).await?;
        config.extend(rest.get(Question::Config).map(replies::pairs).unwrap_or_default());
    }
    let allowed = asker.allowed(info.as_ref().is_ok_and(takes_several)).await?;
    let cluster = if is_cluster {
        batch.text(Question::Cluster).map(|text| Info::parse(&text))
    } else {
        Err(Missing::setup("the server is no node of a cluster"))
    };
    Ok(Answers {
        config: config.map(|pairs| replies::settings(pairs.into_iter())),
        default_user: batch.get(Question::Acl).and_then(|replies| replies::default_user(&replies[0])),
        latency: batch.get(Question::Latency).map(|replies| replies::latest(&replies[0])),
        allowed,
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

    /// What the login may send of [`ACL_USER`], where the server `can_tell`. Nothing of it is carried out, and what is
    /// denied is told without being refused.
    async fn allowed(&mut self, can_tell: bool) -> Result<Result<BTreeSet<&'static str>, Missing>, Failure> {
        if !can_tell {
            return Ok(Err(Missing::version("ACL DRYRUN came with Redis 7.0")));
        }
        let trial = |call: &str| {
            let mut command = redis::cmd("ACL");
            command.arg("DRYRUN").arg(self.user);
            command.arg(call.split(' ').collect::<Vec<_>>());
            command
        };
        let (first, mut all) = (trial("ping"), redis::pipe());
        for (_, call) in ACL_USER {
            all.add_command(trial(call));
        }
        // One alone: where it is refused, that is one refusal and not one per command.
        if let Err(missing) = self.batch(vec![(Question::Trial, first)]).await?.get(Question::Trial) {
            return Ok(Err(missing));
        }
        let replies: Vec<redis::RedisResult<Reply>> = all.ignore_errors().query_async(self.conn).await?;
        // An error is a command that is not there: renamed away, so that it is not allowed either.
        let allowed = |(name, reply): (&(&'static str, &str), redis::RedisResult<Reply>)| {
            reply.is_ok_and(|reply| matches!(text(&reply).as_deref(), Ok("OK"))).then_some(name.0)
        };
        Ok(Ok(ACL_USER.iter().zip(replies).filter_map(allowed).collect()))
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

/// Whether CONFIG GET takes several names and ACL DRYRUN is there: since Redis 7.0, and in all of Valkey.
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
