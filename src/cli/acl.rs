//! `redprobe acl`: the least that a user of the server must be allowed for some probes, ready to be pasted.
//!
//! What that is, is `crate::acl`'s to say. Nothing is changed on the server, and no password is printed.

use std::{fmt::Write, sync::Arc};

use anyhow::Context;
use measure::{
    Effect, Failure,
    conn::{self, Address, Endpoint},
    facts::Info,
    keys::Whose,
    redis::{self, Value, aio::MultiplexedConnection},
};
use serde_json::json;

use super::{AclArgs, Exit, Format};
use crate::{
    acl::{Needs, Wanted, check, release::Release, rule::Rule},
    config::{Mistake, Mistakes, Plan, RunRequest, Target, effect, find_probe},
    probes::PROBES,
};

/// Which server a rule is for, and what is to be said about that.
struct Server {
    release: Release,
    /// Commands that it was asked for and does not have.
    absent: Vec<&'static str>,
    /// How it is known.
    known: &'static str,
    notes: Vec<String>,
}

/// What the rule is for.
struct Asked {
    wanted: Vec<Wanted>,
    target: Option<Arc<Target>>,
}

/// Prints the rule.
///
/// # Errors
/// Where the arguments or the configuration are wrong, or the target cannot be reached.
pub async fn run(args: AclArgs) -> anyhow::Result<Exit> {
    let asked = asked(&args)?;
    let given = args.server_version.as_deref().map(str::parse::<Release>).transpose();
    let given = given.map_err(|message| Mistakes(vec![Mistake::new("--server-version", message)]))?;
    let target = asked.target.as_deref();
    let user = user(&args, target.map(|target| &target.endpoint))?;
    let mut needs = Needs::of(&asked.wanted, target.map_or(0, |target| target.endpoint.database));
    if let Some(target) = target {
        needs = needs.finding(target);
    }
    let mut server = match (given, target) {
        (Some(release), _) => Server::new(release, "as said by --server-version"),
        (None, Some(target)) => ask(&target.endpoint, &needs).await.context("cannot ask the target")?,
        (None, None) => Server::new(
            Release::current(),
            "taken to be current; name yours with --target, or its version with --server-version",
        ),
    };
    let there = needs.only(|grant| server.release.knows(grant) && !server.absent.contains(&grant.command));
    let rule = Rule::new(&user, there, target.map_or(Whose::All, Target::whose_keys));
    server.notes.extend(target.and_then(of_sentinels));
    server.notes.extend(rule.care().map(str::to_owned));
    super::print(match args.format {
        Format::Text => text(&asked, &server, &rule),
        Format::Json => super::json_text(&json(&asked, &server, &rule)),
    })?;
    Ok(Exit::Ok)
}

/// The probes with their effects: as `redprobe run` would run them where a target is named, and else as far as they go.
fn asked(args: &AclArgs) -> anyhow::Result<Asked> {
    if args.target.is_some() {
        let request = RunRequest {
            probes: args.probes.clone(),
            target: args.target.clone(),
            allow: args.allow.clone(),
            set: args.set.clone(),
            timeout: "15m".into(),
            access: (&args.access).into(),
            ..RunRequest::default()
        };
        let plan = Plan::for_run(args.config.config.as_deref(), &request).map_err(Mistakes)?;
        let target = plan.targets.values().next().context("a plan for a run has its target")?;
        return Ok(Asked {
            wanted: plan.jobs.iter().map(|job| Wanted::of(job)).collect(),
            target: Some(Arc::clone(target)),
        });
    }
    let mut mistakes = Vec::new();
    let mut kinds = Vec::new();
    for name in &args.probes {
        match find_probe(name) {
            _ if name == "all" => kinds.extend(PROBES),
            Ok(kind) => kinds.push(kind),
            Err(message) => mistakes.push(Mistake::new("PROBE", message)),
        }
    }
    let allowed = args.allow.as_deref().map_or(Ok(Effect::Disrupt), effect);
    match allowed {
        Ok(allowed) if mistakes.is_empty() => {
            kinds.sort_by_key(|kind| kind.name);
            kinds.dedup_by_key(|kind| kind.name);
            let wanted = kinds.into_iter().map(|kind| Wanted::with_defaults(kind, allowed)).collect();
            return Ok(Asked { wanted, target: None });
        }
        Ok(_) => {}
        Err(message) => mistakes.push(Mistake::new("--allow", message)),
    }
    Err(Mistakes(mistakes).into())
}

/// The user's name: as given, or the one that the target is logged in to, or ours.
fn user(args: &AclArgs, endpoint: Option<&Endpoint>) -> Result<String, Mistakes> {
    let configured = endpoint.map(check::user).filter(|user| *user != "default");
    let user = args.user.as_deref().or(configured).unwrap_or("redprobe");
    if user.is_empty() || user.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("{user:?} is no user's name; it needs characters, and none may be blank");
        return Err(Mistakes(vec![Mistake::new("--user", message)]));
    }
    Ok(user.to_owned())
}

/// Version and commands, as the server says. What it denies is taken from a table instead, and that is said.
async fn ask(endpoint: &Endpoint, needs: &Needs) -> Result<Server, Failure> {
    let (mut conn, _) = conn::connect(&endpoint.find().await?, "redprobe-acl").await?;
    let facts = match Info::ask(&mut conn, &["server"]).await {
        Ok(info) => info.server(),
        Err(failure) if failure.reason.is_refusal() => None,
        Err(failure) => return Err(failure),
    };
    let Some(release) = facts.as_ref().and_then(Release::of) else {
        let mut server =
            Server::new(Release::current(), "taken to be current, since the target does not say");
        server.notes.push("the target denies INFO; give its version with --server-version".into());
        return Ok(server);
    };
    let mut server = Server::new(release, "asked");
    let needed: Vec<_> = needs
        .commands()
        .into_keys()
        .filter(|name| {
            needs.iter().any(|need| need.grant.command == *name && server.release.knows(&need.grant))
        })
        .collect();
    match absent(&mut conn, &needed, server.release.tells_subcommands()).await {
        Ok(absent) => server.absent = absent,
        Err(failure) if failure.reason.is_refusal() => {
            server.notes.push(
                "the target denies COMMAND INFO: which commands it has is taken from its version".into(),
            );
        }
        Err(failure) => return Err(failure),
    }
    for name in &server.absent {
        let note =
            format!("the target has no {name} (renamed, or taken away): left out, what needs it will fail");
        server.notes.push(note);
    }
    Ok(server)
}

/// What the sentinels' own users need, where the target has sentinels.
fn of_sentinels(target: &Target) -> Option<String> {
    let Address::Sentinel(sentinel) = &target.endpoint.address else { return None };
    let commands = conn::GRANTS.iter().chain(&conn::SENTINEL).map(|grant| format!("+{}", grant.command));
    let user = sentinel.sentinels.first().map_or("default", check::user);
    let commands = commands.collect::<Vec<_>>().join(" ");
    Some(format!("on the sentinels, which have users of their own, {user} needs {commands}"))
}

/// Those of `names` that the server does not have.
async fn absent(
    conn: &mut MultiplexedConnection,
    names: &[&'static str],
    tells_subcommands: bool,
) -> Result<Vec<&'static str>, Failure> {
    let mut command = redis::cmd("COMMAND");
    command.arg("INFO");
    for name in names {
        command.arg(if tells_subcommands { name } else { name.split('|').next().unwrap_or(name) });
    }
    let answers: Vec<Value> = command.query_async(conn).await?;
    let missing = names.iter().zip(answers).filter(|(_, answer)| *answer == Value::Nil);
    Ok(missing.map(|(name, _)| *name).collect())
}

impl Server {
    fn new(release: Release, known: &'static str) -> Self {
        let notes = release.doubt().into_iter().collect();
        Self { release, absent: Vec::new(), known, notes }
    }
}

fn probes(asked: &Asked) -> String {
    let one = |wanted: &Wanted| format!("{} ({})", wanted.kind.name, wanted.effect);
    let mut names: Vec<_> = asked.wanted.iter().map(one).collect();
    names.dedup();
    names.join(", ")
}

fn text(asked: &Asked, server: &Server, rule: &Rule) -> String {
    let mut out = format!("# The least for {}\n", probes(asked));
    writeln!(out, "# on {} ({}):", server.release, server.known).ok();
    out += &rule.comments();
    if asked.target.is_none() {
        out += "# The keys are those of every target's name; --target narrows them down to one.\n";
    }
    for note in &server.notes {
        writeln!(out, "# Note: {note}.").ok();
    }
    out += "\n# In redis-cli, with a password of yours for PASSWORD:\n";
    writeln!(out, "{}", rule.set_user()).ok();
    out += "\n# Or in users.acl, with the password's hash (printf %s 'PASSWORD' | sha256sum) for SHA256, and no comments:\n";
    writeln!(out, "{}", rule.line()).ok();
    out
}

fn json(asked: &Asked, server: &Server, rule: &Rule) -> serde_json::Value {
    let probes =
        asked.wanted.iter().map(|wanted| json!({ "name": wanted.kind.name, "effect": wanted.effect }));
    let mut json = json!({
        "schema": 1,
        "server": {
            "flavour": server.release.flavour,
            "version": server.release.version,
            "known": server.known,
            "absent_commands": server.absent,
        },
        "target": asked.target.as_ref().map(|target| &target.name),
        "probes": probes.collect::<Vec<_>>(),
        "notes": server.notes,
    });
    if let (Some(json), serde_json::Value::Object(rule)) = (json.as_object_mut(), rule.json()) {
        json.extend(rule);
    }
    json
}
