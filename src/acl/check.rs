//! Asks a server what its user lacks, and what it may do needlessly, by `ACL DRYRUN`: nothing is carried out, nothing is
//! refused, and the server's ACL LOG does not grow by it.
//!
//! When this is asked and to whom it is told is the runner's.

use std::collections::BTreeMap;

use measure::{
    Failure, Reason,
    conn::{self, Endpoint},
    keys::Whose,
    redis::{self, RedisResult, Value, aio::MultiplexedConnection},
};

use super::{Need, Needs, is_probe};

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checked {
    /// The server has no `ACL DRYRUN`, or it is denied: which, for a log.
    Unknown(String),
    /// It answered.
    Known(Findings),
}

/// What a user has not, and has needlessly.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Lacking, in the order of a rule.
    pub missing: Vec<Missing>,
    /// Harmful commands and foreign keys that it may use though nothing needs them, as a rule grants them.
    pub needless: Vec<String>,
}

/// A grant that is lacking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// As a rule grants it: `+set`, `~redprobe:lease`.
    pub rule: String,
    /// Who needs it.
    pub who: Vec<&'static str>,
    /// What is lost without it, where all of those can do without.
    pub lost: Option<&'static str>,
}

/// Any key that is not ours.
const FOREIGN: &str = "not-of-redprobe";

/// What a user that is to watch should not be able to do, and what no probe sends. A sample: who may do these may do more.
const HARMFUL: &[(&str, &[&str])] = &[
    ("+flushall", &["flushall"]),
    ("+config|set", &["config", "set", "maxmemory", "0"]),
    ("+shutdown", &["shutdown"]),
    ("+debug", &["debug", "sleep", "0"]),
    ("+keys", &["keys", "*"]),
    ("+acl|setuser", &["acl", "setuser", "default"]),
    ("+client|kill", &["client", "kill", "id", "1"]),
    ("+replicaof", &["replicaof", "no", "one"]),
    ("+script|flush", &["script", "flush"]),
    ("+monitor", &["monitor"]),
];

/// The user that a login without a name is.
#[must_use]
pub fn user(endpoint: &Endpoint) -> &str {
    endpoint.username.as_deref().unwrap_or("default")
}

/// Asks, over a connection of its own, about the user that `endpoint` logs in as.
///
/// # Errors
/// Where the server cannot be reached, or cannot answer now.
pub async fn check(endpoint: &Endpoint, whose: Whose<'_>, needs: &Needs) -> Result<Checked, Failure> {
    let (mut conn, _) = conn::connect(endpoint, "redprobe-acl").await?;
    let asker = Asker { user: user(endpoint), whose, needs };
    // One alone: where it is denied, that is one line in the ACL LOG and not one per grant.
    let first = asker.ask(&mut conn, &[vec!["ping"]]).await?;
    if let Some(Err(error)) = first.into_iter().next() {
        let failure = Failure::from(error);
        return match failure.reason {
            Reason::Denied | Reason::Unsupported | Reason::Other => Ok(Checked::Unknown(failure.message)),
            _ => Err(failure),
        };
    }
    let missing = asker.missing(&mut conn).await?;
    let needless = asker.needless(&mut conn).await?;
    Ok(Checked::Known(Findings { missing, needless }))
}

struct Asker<'a> {
    user: &'a str,
    whose: Whose<'a>,
    needs: &'a Needs,
}

/// What `ACL DRYRUN` says of a call.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Allowed,
    NoCommand,
    NoKey,
    /// The server does not know the command, or has it in another form: no grant would help.
    NotThere,
}

impl Asker<'_> {
    /// What is denied, as the rule's words.
    async fn missing(&self, conn: &mut MultiplexedConnection) -> Result<Vec<Missing>, Failure> {
        let [own, lease] =
            [self.whose.pattern(), self.whose.lease()].map(|pattern| pattern.replace('*', "acl"));
        let needs: Vec<&Need> = self.needs.iter().collect();
        let calls: Vec<_> = needs.iter().map(|need| need.grant.words(&own, &lease)).collect();
        let answers = self.ask(conn, &calls).await?;
        let mut missing = BTreeMap::<String, Missing>::new();
        for (need, answer) in needs.into_iter().zip(answers) {
            let rule = match said(answer) {
                Said::Allowed | Said::NotThere => continue,
                Said::NoCommand => format!("+{}", need.grant.command),
                Said::NoKey if need.grant.call.contains("{lease}") => format!("~{}", self.whose.lease()),
                Said::NoKey => format!("~{}", self.whose.pattern()),
            };
            let lacks = Missing { rule: rule.clone(), who: Vec::new(), lost: need.grant.lost };
            let lacks = missing.entry(rule).or_insert(lacks);
            if !lacks.who.contains(&need.who) {
                lacks.who.push(need.who);
            }
            lacks.lost = lacks.lost.and(need.grant.lost);
        }
        let mut missing: Vec<_> = missing.into_values().collect();
        // Keys first, as in the rule.
        missing.sort_by_key(|lacks| !lacks.rule.starts_with('~'));
        Ok(missing)
    }

    /// What is allowed and not needed.
    async fn needless(&self, conn: &mut MultiplexedConnection) -> Result<Vec<String>, Failure> {
        let commands = self.needs.commands();
        let harmful: Vec<_> = HARMFUL.iter().filter(|(rule, _)| !commands.contains_key(&rule[1..])).collect();
        // Foreign keys by a command that is allowed on own ones: without any, no pattern does harm.
        let keyed = self.needs.iter().find(|need| need.grant.call.contains("{key}"));
        let foreign = keyed.map_or_else(|| vec!["get", FOREIGN], |need| need.grant.words(FOREIGN, FOREIGN));
        let calls: Vec<Vec<&str>> = harmful.iter().map(|(_, call)| call.to_vec()).chain([foreign]).collect();
        let mut allowed: Vec<bool> =
            self.ask(conn, &calls).await?.into_iter().map(|answer| said(answer) == Said::Allowed).collect();
        let foreign = allowed.pop().unwrap_or(false);
        let everything = !allowed.is_empty() && allowed.iter().all(|allowed| *allowed);
        let mut needless = Vec::new();
        if everything {
            needless.push("+@all".to_owned());
        } else {
            let named = harmful.iter().zip(&allowed).filter(|(_, allowed)| **allowed);
            needless.extend(named.map(|((rule, _), _)| (*rule).to_owned()));
        }
        needless.extend(foreign.then(|| "~*".to_owned()));
        Ok(needless)
    }

    async fn ask(
        &self,
        conn: &mut MultiplexedConnection,
        calls: &[Vec<&str>],
    ) -> Result<Vec<RedisResult<Value>>, Failure> {
        let mut pipe = redis::Pipeline::with_capacity(calls.len());
        for call in calls {
            pipe.cmd("ACL").arg("DRYRUN").arg(self.user).arg(call);
        }
        Ok(pipe.ignore_errors().query_async(conn).await?)
    }
}

fn said(answer: RedisResult<Value>) -> Said {
    let text: String = match answer.and_then(|value| Ok(redis::from_redis_value(value)?)) {
        Ok(text) => text,
        Err(_not_found_or_of_another_form) => return Said::NotThere,
    };
    // 7.0: "This user has no permissions to run the 'get' command", or "to access the 'x' key"; 7.2: "User u has …".
    match text.as_str() {
        "OK" => Said::Allowed,
        text if text.contains("access the") => Said::NoKey,
        _ => Said::NoCommand,
    }
}

impl Missing {
    /// Whether runs of this probe feel it.
    #[must_use]
    pub fn concerns(&self, probe: &str) -> bool {
        self.who.iter().any(|who| *who == probe || !is_probe(who))
    }
}

/// `+set (health, clean-up), +exists (clean-up; without it …)`.
#[must_use]
pub fn list<'a>(missing: impl IntoIterator<Item = &'a Missing>) -> String {
    let one = |lacks: &Missing| {
        let lost = lacks.lost.map_or_else(String::new, |lost| format!("; without it {lost}"));
        format!("{} ({}{lost})", lacks.rule, lacks.who.join(", "))
    };
    missing.into_iter().map(one).collect::<Vec<_>>().join(", ")
}
