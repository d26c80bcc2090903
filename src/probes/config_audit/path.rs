//! What an expression can name: `config.maxmemory`, `info.used_memory`, `increase.errors.OOM` and the like.
//!
//! Names are checked when the catalogue is read, as far as they form a closed set: settings, facts of the host, holes. Fields of INFO do not, since every version has others. Looking a name up belongs to `facts`.

use std::fmt;

use super::{
    known::{self, Kind, Setting},
    value::Type,
    versions,
};

/// A name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Path {
    /// As the catalogue has it.
    pub(super) text: String,
    /// What it stands for.
    pub(super) what: What,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// `config.NAME`.
    Config(&'static Setting),
    /// `config.client-output-buffer-limit.CLASS.LIMIT`: the class, and which of its three numbers.
    BufferLimit(&'static str, usize),
    /// `info.NAME`.
    Info(String),
    /// `age.NAME`: seconds since that time in INFO.
    Age(String),
    /// `errors.CODE`, `commands.NAME.FIELD`.
    Count(Counter),
    /// `increase.…`: since the last audit of the job in this process.
    Increase(Counter),
    /// `host.NAME`.
    Host(&'static str),
    /// `server.version`.
    Version,
    /// `server.flavour`.
    Flavour,
    /// `support.days_left` of the server's line; negative where it is over.
    SupportDays,
    /// `support.text`: the same in words.
    SupportText,
    /// `hole.NAME.closed`: whether the server's version is without it.
    HoleClosed(String),
    /// `hole.NAME.fixed_in`: the release to update to.
    HoleFixedIn(String),
    /// `profile`.
    Profile,
    /// `acl.default.FLAG`.
    AclDefault(AclFlag),
    /// `acl.user.COMMAND`: whether the login may send it.
    AclUser(&'static str),
    /// `latency.EVENT.max` or `.last`, in milliseconds; 0 where the server has seen no such event.
    Latency(String, bool),
    /// `pools.connections`: what all pools together can open, as declared.
    PoolConnections,
    /// `pools.max_idle_seconds`: time after which pools give up an idle connection, as declared.
    PoolMaxIdle,
    /// `keyspace.keys`, `.expires`, `.databases`.
    Keyspace(Keyspace),
    /// `cluster.NAME`: a field of CLUSTER INFO.
    Cluster(String),
}

/// By its name.
impl PartialEq for Setting {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Something that the server counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Counter {
    /// A field of INFO.
    Info(String),
    /// Replies with this error code.
    Error(String),
    /// Of a command.
    Command(String, CommandField),
}

/// What the server counts of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum CommandField {
    /// Calls executed.
    Calls,
    /// Calls refused before execution.
    Rejected,
    /// Calls that failed.
    Failed,
}

/// What is known of the user `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AclFlag {
    /// Any password does.
    Nopass,
    /// It can log in.
    On,
    /// It may send every command.
    AllCommands,
    /// It may touch every key.
    AllKeys,
}

/// Sums over all databases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keyspace {
    /// Keys.
    Keys,
    /// Keys with a time to live.
    Expires,
    /// Databases that have keys.
    Databases,
}

/// What can be asked of the server's machine: name and type.
pub(super) const HOST: &[(&str, Type)] = &[
    // The memory limit of the server's cgroup, in bytes; 0 without one.
    ("cgroup_memory_max", Type::Number),
    ("clocksource", Type::Text),
    // Whether everybody on the machine may read the configuration file.
    ("config_world_readable", Type::Flag),
    ("cpus", Type::Number),
    // Of the file system that `dir` is on: bytes that the server could still write, and its type, such as ext4.
    ("disk_free", Type::Number),
    ("disk_type", Type::Text),
    // Soft limit of the server's process.
    ("open_files_limit", Type::Number),
    ("overcommit_memory", Type::Number),
    ("somaxconn", Type::Number),
    ("swap_total", Type::Number),
    // Bytes of the server's process.
    ("swapped", Type::Number),
    ("tcp_max_syn_backlog", Type::Number),
    // Transparent huge pages: always, madvise or never.
    ("thp", Type::Text),
    // Effective user of the server's process.
    ("uid", Type::Number),
];

/// What is asked with ACL DRYRUN for the login: name and call. DRYRUN tells and does nothing.
pub(super) const ACL_USER: &[(&str, &str)] = &[
    ("flushall", "flushall"),
    ("flushdb", "flushdb"),
    ("config-set", "config set maxmemory 0"),
    ("config-get-secrets", "config get requirepass"),
    ("debug", "debug sleep 0"),
    ("shutdown", "shutdown"),
    ("module-load", "module load x"),
    ("replicaof", "replicaof no one"),
    ("migrate", "migrate x 1 x 0 1"),
    ("save", "save"),
    ("script-flush", "script flush"),
    ("acl-setuser", "acl setuser x"),
    ("eval", "eval 0 0"),
];

const BUFFER_CLASSES: [&str; 3] = ["normal", "replica", "pubsub"];
const BUFFER_FIELDS: [&str; 3] = ["hard", "soft", "seconds"];

impl Path {
    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let what = parse(text)?;
        Ok(Self { text: text.to_owned(), what })
    }

    /// The type of its value.
    pub(super) fn kind(&self) -> Type {
        match &self.what {
            What::Config(setting) => setting_type(setting.kind),
            What::Info(_) | What::Cluster(_) => Type::Any,
            What::Host(name) => HOST.iter().find(|(known, _)| known == name).map_or(Type::Any, |it| it.1),
            What::Version => Type::Version,
            What::Flavour | What::Profile | What::SupportText | What::HoleFixedIn(_) => Type::Text,
            What::HoleClosed(_) | What::AclDefault(_) | What::AclUser(_) => Type::Flag,
            What::BufferLimit(..)
            | What::Age(_)
            | What::Count(_)
            | What::Increase(_)
            | What::SupportDays
            | What::Latency(..)
            | What::PoolConnections
            | What::PoolMaxIdle
            | What::Keyspace(_) => Type::Number,
        }
    }

    /// As people know it: the setting's or the field's own name.
    pub(super) fn name(&self) -> &str {
        match &self.what {
            What::Config(_) | What::Info(_) | What::Host(_) => {
                self.text.split_once('.').map_or(&*self.text, |(_, name)| name)
            }
            _ => &self.text,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn setting_type(kind: Kind) -> Type {
    match kind {
        Kind::Number | Kind::Size | Kind::SizeOrShare | Kind::Octal => Type::Number,
        Kind::Flag => Type::Flag,
        Kind::Word(_) | Kind::Text | Kind::Letters => Type::Text,
        Kind::Words | Kind::SavePoints | Kind::BufferLimits => Type::List,
    }
}

fn parse(text: &str) -> Result<What, String> {
    if text == "profile" {
        return Ok(What::Profile);
    }
    let (head, rest) = text.split_once('.').unwrap_or((text, ""));
    if rest.is_empty() {
        return Err(format!("{text:?} is neither a keyword nor a path such as config.maxmemory"));
    }
    match head {
        "config" => setting(rest),
        "info" => Ok(What::Info(field(rest)?)),
        "age" => Ok(What::Age(field(rest)?)),
        "cluster" => Ok(What::Cluster(field(rest)?)),
        "increase" => match rest.split_once('.') {
            Some(_) => Ok(What::Increase(counter(rest)?)),
            None => Ok(What::Increase(Counter::Info(field(rest)?))),
        },
        "errors" | "commands" => Ok(What::Count(counter(text)?)),
        "host" => among(rest, HOST.iter().map(|(name, _)| *name), "host").map(What::Host),
        "server" => match rest {
            "version" => Ok(What::Version),
            "flavour" => Ok(What::Flavour),
            _ => Err(format!("server.{rest}: there are server.version and server.flavour")),
        },
        "support" => match rest {
            "days_left" => Ok(What::SupportDays),
            "text" => Ok(What::SupportText),
            _ => Err(format!("{text}: there are support.days_left and support.text")),
        },
        "hole" => match rest.rsplit_once('.') {
            Some((name, _)) if !versions::knows(name) => {
                Err(format!("{text}: versions.toml has no hole {name}"))
            }
            Some((name, "closed")) => Ok(What::HoleClosed(name.to_owned())),
            Some((name, "fixed_in")) => Ok(What::HoleFixedIn(name.to_owned())),
            _ => Err(format!("{text}: there are hole.NAME.closed and hole.NAME.fixed_in")),
        },
        "acl" => acl(rest),
        "latency" => match rest.rsplit_once('.') {
            Some((event, "max")) => Ok(What::Latency(event.to_owned(), true)),
            Some((event, "last")) => Ok(What::Latency(event.to_owned(), false)),
            _ => Err(format!("{text}: write latency.EVENT.max or latency.EVENT.last")),
        },
        "pools" => match rest {
            "connections" => Ok(What::PoolConnections),
            "max_idle_seconds" => Ok(What::PoolMaxIdle),
            _ => Err(format!("{text}: there are pools.connections and pools.max_idle_seconds")),
        },
        "keyspace" => match rest {
            "keys" => Ok(What::Keyspace(Keyspace::Keys)),
            "expires" => Ok(What::Keyspace(Keyspace::Expires)),
            "databases" => Ok(What::Keyspace(Keyspace::Databases)),
            _ => Err(format!("{text}: there are keyspace.keys, .expires and .databases")),
        },
        _ => Err(format!(
            "{text}: paths begin with config, info, increase, errors, commands, host, server, \
             support, hole, age, acl, latency, pools, keyspace or cluster"
        )),
    }
}

fn setting(name: &str) -> Result<What, String> {
    const BUFFERS: &str = "client-output-buffer-limit.";
    if let Some(rest) = name.strip_prefix(BUFFERS) {
        let (class, limit) = rest.split_once('.').unwrap_or((rest, ""));
        let class = among(class, BUFFER_CLASSES, "client-output-buffer-limit")?;
        let index = BUFFER_FIELDS.iter().position(|field| *field == limit);
        return index
            .map(|index| What::BufferLimit(class, index))
            .ok_or_else(|| format!("config.{name}: there are .hard, .soft and .seconds"));
    }
    if known::is_secret(name) {
        return Err(format!("config.{name} may hold a secret: nothing asks for it"));
    }
    match known::find(name) {
        Some(setting) if setting.name == name => Ok(What::Config(setting)),
        Some(setting) => Err(format!("config.{name}: write its newest name, {}", setting.name)),
        None => Err(format!("config.{name} is not in the table of known settings")),
    }
}

fn acl(rest: &str) -> Result<What, String> {
    match rest.split_once('.') {
        Some(("default", flag)) => Ok(What::AclDefault(match flag {
            "nopass" => AclFlag::Nopass,
            "on" => AclFlag::On,
            "all_commands" => AclFlag::AllCommands,
            "all_keys" => AclFlag::AllKeys,
            _ => return Err(format!("acl.{rest}: there are nopass, on, all_commands and all_keys")),
        })),
        Some(("user", command)) => {
            among(command, ACL_USER.iter().map(|(name, _)| *name), "acl.user").map(What::AclUser)
        }
        _ => Err(format!("acl.{rest}: there are acl.default.FLAG and acl.user.COMMAND")),
    }
}

fn counter(text: &str) -> Result<Counter, String> {
    match text.split_once('.') {
        Some(("errors", code)) if !code.is_empty() => Ok(Counter::Error(code.to_owned())),
        Some(("commands", rest)) => {
            let (command, of) = rest.rsplit_once('.').unwrap_or((rest, ""));
            let of = match of {
                "calls" => CommandField::Calls,
                "rejected_calls" => CommandField::Rejected,
                "failed_calls" => CommandField::Failed,
                _ => {
                    return Err(format!(
                        "commands.{rest}: there are .calls, .rejected_calls and .failed_calls"
                    ));
                }
            };
            Ok(Counter::Command(command.to_ascii_lowercase(), of))
        }
        _ => Err(format!(
            "increase.{text}: there are increase.FIELD, increase.errors.CODE and increase.commands.NAME.calls"
        )),
    }
}

fn field(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.chars().all(plain) { Ok(name.to_owned()) } else { Err(format!("{name:?} is no field of INFO")) }
}

fn among(
    name: &str,
    names: impl IntoIterator<Item = &'static str> + Clone,
    of: &str,
) -> Result<&'static str, String> {
    names.clone().into_iter().find(|known| *known == name).ok_or_else(|| {
        let names: Vec<_> = names.into_iter().collect();
        format!("{of}.{name}: there are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_name_is_read() {
        for (text, expected) in [
            ("config.maxmemory", Type::Number),
            ("config.save", Type::List),
            ("config.appendonly", Type::Flag),
            ("config.client-output-buffer-limit.pubsub.hard", Type::Number),
            ("info.used_memory", Type::Any),
            ("increase.evicted_keys", Type::Number),
            ("increase.errors.OOM", Type::Number),
            ("increase.commands.config|get.failed_calls", Type::Number),
            ("commands.keys.calls", Type::Number),
            ("host.thp", Type::Text),
            ("server.version", Type::Version),
            ("hole.S27.closed", Type::Flag),
            ("acl.default.nopass", Type::Flag),
            ("acl.user.flushall", Type::Flag),
            ("latency.aof-fsync-always.max", Type::Number),
            ("keyspace.expires", Type::Number),
            ("profile", Type::Text),
        ] {
            assert_eq!(Path::parse(text).map(|path| path.kind()), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_named_is_refused() {
        for text in [
            "config.requirepass",
            "config.masterauth",
            "config.tls-key-file-pass",
            "config.nonsense",
            "config.slave-priority",
            "config.client-output-buffer-limit.pubsub",
            "host.nonsense",
            "increase.errors.",
            "nonsense",
            "info.",
            "acl.default",
            "latency.fork",
        ] {
            assert!(Path::parse(text).is_err(), "{text}");
        }
    }
}
