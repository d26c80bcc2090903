//! Everything that is known of a server at one audit, looked up by the names of the catalogue.
//!
//! Where a value is missing, why: denied, not in this version, nothing to compare it with. How the server is asked
//! belongs to `ask`, the machine to `host`.

use std::collections::BTreeMap;

use measure::{
    ProbeError, Reason,
    facts::{CommandStat, Flavour, Info, ServerFacts},
};

use super::{
    ask::Answers,
    expr::Lookup,
    host::Host,
    known::{Kind, Setting},
    memory::Counts,
    normal,
    path::{AclFlag, CommandField, Counter, Keyspace, Path, What},
    value::{Missing, Unknown, Value},
    versions,
};
use crate::config::settings::Profile;

/// What is known beside the server's answers.
pub(super) struct Around {
    pub(super) host: Result<Host, Missing>,
    /// What the server had counted at the last audit.
    pub(super) before: Option<Counts>,
    pub(super) profile: Profile,
    /// redprobe's own unix time.
    pub(super) wall: f64,
    /// Connections that all declared pools may open together.
    pub(super) pool_connections: Option<f64>,
    /// Seconds after which they give up an idle connection.
    pub(super) pool_max_idle: Option<f64>,
}

/// What is known.
pub(super) struct Facts {
    pub(super) answers: Answers,
    pub(super) around: Around,
    /// The unix time: the server's own where it tells it.
    pub(super) now: f64,
    /// What the server says of itself, and its version as numbers.
    server: Option<(ServerFacts, Vec<u64>)>,
    commands: BTreeMap<String, CommandStat>,
    errors: BTreeMap<String, u64>,
}

impl Facts {
    /// Takes in what was asked and read.
    ///
    /// # Errors
    /// Where whoever answers is no Redis server.
    pub(super) fn new(answers: Answers, around: Around) -> Result<Self, ProbeError> {
        let info = answers.info.as_ref().ok();
        let server = info.and_then(Info::server);
        if info.is_some() && server.is_none() {
            return Err(ProbeError::failed(
                Reason::Protocol,
                "the answer to INFO has no version; this is not a Redis server, or INFO is filtered",
            ));
        }
        let server_time = info.and_then(|info| info.number("server_time_usec"));
        let now = server_time.map_or(around.wall, |micros| micros / 1e6);
        let server = server.and_then(|server| match Value::version(&server.version)? {
            Value::Version(numbers) => Some((server, numbers)),
            _ => None,
        });
        let (commands, errors) = info.map(|info| (info.commands(), info.errors())).unwrap_or_default();
        Ok(Self { answers, around, now, server, commands, errors })
    }

    /// Flavour and version.
    pub(super) fn version(&self) -> Option<(Flavour, &[u64])> {
        self.server.as_ref().map(|(server, version)| (server.flavour, &version[..]))
    }

    /// As people know it: "Redis 7.0.15".
    pub(super) fn called(&self) -> String {
        match &self.server {
            Some((server, _)) => format!("{} {}", versions::called(server.flavour), server.version),
            None => "this server".to_owned(),
        }
    }

    /// A setting's value: from CONFIG GET, or from INFO where that is denied and INFO has it.
    pub(super) fn setting(&self, setting: &Setting) -> Result<Value, Missing> {
        let text = match &self.answers.config {
            Ok(config) => config
                .get(setting.name)
                .cloned()
                .ok_or_else(|| Missing::version(format!("{} has no {}", self.called(), setting.name)))?,
            Err(denied) => self.told_by_info(setting).ok_or_else(|| denied.clone())?,
        };
        let unclear = || Missing::unclear(format!("{} has an unexpected value", setting.name));
        normal::read_answer(setting.kind, &text).ok_or_else(unclear)
    }

    /// Those settings that INFO tells too.
    fn told_by_info(&self, setting: &Setting) -> Option<String> {
        let info = self.answers.info.as_ref().ok()?;
        let field = match setting.name {
            "maxmemory" => "maxmemory",
            "maxmemory-policy" => "maxmemory_policy",
            "maxclients" => "maxclients",
            "appendonly" => "aof_enabled",
            "hz" => "configured_hz",
            "cluster-enabled" => "cluster_enabled",
            "repl-backlog-size" => "repl_backlog_size",
            "replica-read-only" => "slave_read_only",
            "replica-priority" => "slave_priority",
            _ => return None,
        };
        let text = info.text(field)?;
        Some(match (setting.kind, text) {
            (Kind::Flag, "1") => normal::flag_text(true),
            (Kind::Flag, "0") => normal::flag_text(false),
            _ => text.to_owned(),
        })
    }

    fn info(&self) -> Result<&Info, Missing> {
        self.answers.info.as_ref().map_err(Clone::clone)
    }

    fn field(&self, name: &str) -> Result<Value, Missing> {
        let info = self.info()?;
        if let Some(number) = info.number(name) {
            return Ok(Value::Number(number));
        }
        let absent = || Missing::version(format!("INFO of {} has no {name}", self.called()));
        info.text(name).map(Value::text).ok_or_else(absent)
    }

    fn number(&self, name: &str) -> Result<f64, Missing> {
        match self.field(name)? {
            Value::Number(number) => Ok(number),
            other => Err(Missing::unclear(format!("{name} of INFO is {other}, and no number"))),
        }
    }

    /// What the server has counted so far.
    pub(super) fn count(&self, counter: &Counter) -> Result<f64, Missing> {
        match counter {
            Counter::Info(field) => self.number(field),
            Counter::Error(code) => {
                self.info()?;
                Ok(self.errors.get(code).copied().unwrap_or(0) as f64)
            }
            Counter::Command(name, field) => {
                self.info()?;
                let stat = self.commands.get(name).copied().unwrap_or_default();
                Ok(match field {
                    CommandField::Calls => stat.calls,
                    CommandField::Rejected => stat.rejected,
                    CommandField::Failed => stat.failed,
                } as f64)
            }
        }
    }

    fn increase(&self, counter: &Counter) -> Result<Value, Missing> {
        let now = self.count(counter)?;
        let first = |text: &str| Err(Missing::Unknown(Unknown::FirstAudit, text.to_owned()));
        let Some(before) = &self.around.before else {
            return first("it compares with an earlier audit by the same process");
        };
        if before.run_id != self.info()?.text("run_id").unwrap_or_default() {
            return first("the server was started anew since the last audit");
        }
        match before.get(counter) {
            Some(before) if before <= now => Ok(Value::Number(now - before)),
            Some(_) => first("somebody reset the server's statistics since the last audit"),
            None => first("it was not there at the last audit"),
        }
    }

    fn flavoured(&self) -> Result<(Flavour, &[u64]), Missing> {
        match (self.version(), &self.answers.info) {
            (Some(known), _) => Ok(known),
            (None, Err(denied)) => Err(denied.clone()),
            (None, Ok(_)) => Err(Missing::unclear("INFO does not tell the version")),
        }
    }

    fn support(&self) -> Result<(f64, String), Missing> {
        let (flavour, version) = self.flavoured()?;
        versions::support(flavour, version, self.now)
    }

    fn default_user(&self, flag: AclFlag) -> Result<Value, Missing> {
        let user = self.answers.default_user.as_ref().map_err(Clone::clone)?;
        Ok(Value::Flag(match flag {
            AclFlag::Nopass => user.nopass,
            AclFlag::On => user.on,
            AclFlag::AllCommands => user.all_commands,
            AclFlag::AllKeys => user.all_keys,
        }))
    }

    fn keyspace(&self, what: Keyspace) -> Result<Value, Missing> {
        let keyspace = self.info()?.keyspace();
        let sum = |count: fn(&(u64, u64)) -> u64| keyspace.values().map(count).sum::<u64>() as f64;
        Ok(Value::Number(match what {
            Keyspace::Keys => sum(|(keys, _)| *keys),
            Keyspace::Expires => sum(|(_, expires)| *expires),
            Keyspace::Databases => keyspace.len() as f64,
        }))
    }
}

impl Lookup for Facts {
    fn look_up(&self, path: &Path) -> Result<Value, Missing> {
        let clone = |missing: &Missing| missing.clone();
        match &path.what {
            What::Config(setting) => self.setting(setting),
            What::BufferLimit(class, index) => {
                let setting = super::known::find("client-output-buffer-limit");
                let setting = setting.ok_or_else(|| Missing::unclear("no such setting"))?;
                let limits = self.setting(setting)?;
                normal::buffer_limit(&limits, class, *index)
                    .ok_or_else(|| Missing::unclear(format!("there is no class {class}")))
            }
            What::Info(name) => self.field(name),
            What::Age(name) => Ok(Value::Number((self.now - self.number(name)?).max(0.0))),
            What::Count(counter) => self.count(counter).map(Value::Number),
            What::Increase(counter) => self.increase(counter),
            What::Host(name) => self.around.host.as_ref().map_err(clone)?.get(name),
            What::Version => self.flavoured().map(|(_, version)| Value::Version(version.to_vec())),
            What::Flavour => self
                .flavoured()
                .map(|(flavour, _)| Value::Text(versions::called(flavour).to_ascii_lowercase())),
            What::SupportDays => self.support().map(|(days, _)| Value::Number(days)),
            What::SupportText => self.support().map(|(_, text)| Value::Text(text)),
            What::HoleClosed(hole) => {
                let (flavour, version) = self.flavoured()?;
                versions::is_closed(hole, flavour, version)
            }
            What::HoleFixedIn(hole) => {
                let (flavour, version) = self.flavoured()?;
                versions::closed_in(hole, flavour, version)
            }
            What::Profile => Ok(Value::text(profile_name(self.around.profile))),
            What::AclDefault(flag) => self.default_user(*flag),
            What::AclUser(name) => {
                let allowed = self.answers.allowed.as_ref().map_err(clone)?;
                Ok(Value::Flag(allowed.contains(name)))
            }
            What::Latency(event, greatest) => {
                let events = self.answers.latency.as_ref().map_err(clone)?;
                let (last, max) = events.get(event).copied().unwrap_or_default();
                Ok(Value::Number(if *greatest { max } else { last }))
            }
            What::PoolConnections => {
                declared(self.around.pool_connections, "no [pools.NAME] is declared for this target")
            }
            What::PoolMaxIdle => {
                declared(self.around.pool_max_idle, "the setting pool_max_idle of this audit is not given")
            }
            What::Keyspace(what) => self.keyspace(*what),
            What::Cluster(name) => {
                let cluster = self.answers.cluster.as_ref().map_err(clone)?;
                let absent = || Missing::version(format!("CLUSTER INFO has no {name}"));
                let number = cluster.number(name).map(Value::Number);
                number.or_else(|| cluster.text(name).map(Value::text)).ok_or_else(absent)
            }
        }
    }
}

fn declared(value: Option<f64>, otherwise: &str) -> Result<Value, Missing> {
    value.map(Value::Number).ok_or_else(|| Missing::setup(otherwise))
}

/// As the configuration has it.
pub(super) fn profile_name(profile: Profile) -> &'static str {
    let name = super::catalogue::PROFILES.iter().find(|(_, known)| *known == profile);
    name.map_or("mixed", |(name, _)| name)
}
