//! What a census says about pools and groups: objectives, and one sentence with the worst of it and what to do.
//!
//! Figures are in `figures`; whether a limit that a job sets is met is judged elsewhere.

use measure::{
    facts::Info,
    report::{Direction, ObjectiveDef, Report, Severity, Unit},
};

use super::{
    figures::declared,
    groups::Groups,
    tally::{Census, Group},
};
use crate::{config::settings::clients::DeclaredPool, verdict::human};

static UTILISATION: ObjectiveDef = ObjectiveDef {
    name: "pool_utilisation",
    phrase: "the use of the fullest pool",
    help: "Open connections of a declared pool over those that its instances may have, of the fullest pool. Observed where pools are declared. Beyond nine tenths the next burst waits for a connection.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.9,
};

static BLOCKED: ObjectiveDef = ObjectiveDef {
    name: "blocked_share",
    phrase: "the share of a pool that waits in blocking calls",
    help: "Connections that wait in a blocking command over those that the pool may have, of the pool where that is most. Observed where pools are declared that are not for blocking reads. Each is a connection that no other request gets.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 0.5,
};

static IDLE: ObjectiveDef = ObjectiveDef {
    name: "idle_share",
    phrase: "the share of connections that idle",
    help: "Connections that sent nothing for longer than idle_limit, and neither wait nor are subscribed, over all but redprobe's. Observed from ten connections on. Many are a leak, or pools larger than their work.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Info,
    limit: 0.5,
};

static SLOW: ObjectiveDef = ObjectiveDef {
    name: "slow_readers",
    phrase: "the number of clients that do not read their replies",
    help: "Clients for which more than output_buffer_limit waits in the server's memory. A healthy client reads what it asked for at once.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Warning,
    limit: 0.0,
};

static CLIENTS: ObjectiveDef = ObjectiveDef {
    name: "clients_ratio",
    phrase: "the share of maxclients in use",
    help: "Connected clients over maxclients. The next deployment that opens its pools twice is turned away; server_info warns earlier.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Critical,
    limit: 0.85,
};

static REJECTED: ObjectiveDef = ObjectiveDef {
    name: "rejected_connections",
    phrase: "the number of connections turned away since the last run",
    help: "Connections that the server turned away because of maxclients since the job's last run on it. Observed from the second run on.",
    direction: Direction::Max,
    unit: Unit::Count,
    severity: Severity::Critical,
    limit: 0.0,
};

static DECLARED: ObjectiveDef = ObjectiveDef {
    name: "declared_ratio",
    phrase: "what the declared pools may open, over maxclients,",
    help: "Connections that all declared pools may have together over maxclients. Observed where pools are declared. Above 1 the server turns connections away before the pools are full.",
    direction: Direction::Max,
    unit: Unit::Ratio,
    severity: Severity::Warning,
    limit: 1.0,
};

/// Every one.
pub(super) const OBJECTIVES: &[&ObjectiveDef] =
    &[&UTILISATION, &BLOCKED, &IDLE, &SLOW, &CLIENTS, &REJECTED, &DECLARED];

/// Connections from which a share of them means something.
const SOME: u64 = 10;

/// What INFO says, with or without a list.
pub(super) fn observe_server(info: &Info, groups: &Groups<'_>, rejected: Option<u64>, report: &mut Report) {
    if let Some(max) = info.number("maxclients").filter(|max| *max > 0.0) {
        report.observe(&CLIENTS, info.number("connected_clients").unwrap_or_default() / max);
        if !groups.pools.is_empty() {
            report.observe(&DECLARED, declared(groups) as f64 / max);
        }
    }
    if let Some(rejected) = rejected {
        report.observe(&REJECTED, rejected as f64);
    }
}

/// What the list says.
pub(super) fn observe_list(groups: &Groups<'_>, census: &Census, report: &mut Report) {
    let pools: Vec<Use<'_>> = uses(groups, census).collect();
    let most = |shares: &mut dyn Iterator<Item = f64>| shares.reduce(f64::max);
    if let Some(most) = most(&mut pools.iter().map(Use::open)) {
        report.observe(&UTILISATION, most);
    }
    if let Some(most) = most(&mut pools.iter().filter(|pool| !pool.pool.blocking).map(Use::blocked)) {
        report.observe(&BLOCKED, most);
    }
    let connections = census.connections(groups);
    if connections >= SOME {
        let idle: u64 = census.of_others(groups).map(|(_, group)| group.idle).sum();
        report.observe(&IDLE, idle as f64 / connections as f64);
    }
    let slow: u64 = census.of_others(groups).map(|(_, group)| group.slow).sum();
    report.observe(&SLOW, slow as f64);
}

/// A declared pool, and what it has.
struct Use<'a> {
    pool: &'a DeclaredPool,
    group: &'a Group,
    /// Connections from the busiest address and those of them that are blocked, where each instance has an address of
    /// its own.
    busiest: Option<(u64, u64)>,
}

fn uses<'a>(groups: &'a Groups<'_>, census: &'a Census) -> impl Iterator<Item = Use<'a>> {
    let pools = groups.pools.iter().zip(&census.groups).zip(&census.addresses);
    pools.map(|((pool, group), addresses)| Use {
        pool,
        group,
        busiest: (pool.instances > 1 && addresses.count == pool.instances)
            .then_some((addresses.busiest, addresses.busiest_blocked)),
    })
}

impl Use<'_> {
    fn open(&self) -> f64 {
        self.group.connections as f64 / self.pool.capacity() as f64
    }

    fn blocked(&self) -> f64 {
        self.group.blocked as f64 / self.pool.capacity() as f64
    }

    fn is_starving(&self) -> bool {
        !self.pool.blocking && self.blocked() > BLOCKED.limit
    }

    /// How near it is to its end, by whichever limit is nearer; beyond 1 it is there.
    fn strain(&self) -> f64 {
        let blocked = if self.pool.blocking { 0.0 } else { self.blocked() / BLOCKED.limit };
        blocked.max(self.open() / UTILISATION.limit)
    }

    /// "api: 14.2 of 15 connections per instance are open and 12 of them wait in blocking calls".
    fn figures(&self) -> String {
        let instances = self.pool.instances as f64;
        let each = |number: u64| human::value(number as f64 / instances, Unit::Count);
        let per = if self.pool.instances > 1 { " per instance" } else { "" };
        let (name, open, max) =
            (&self.pool.name, each(self.group.connections), human::count(self.pool.max_connections));
        let blocked = match self.group.blocked {
            0 => "none of them waits".to_owned(),
            blocked => format!("{} of them wait", each(blocked)),
        };
        let busiest = self.busiest.filter(|(open, _)| *open * self.pool.instances > self.group.connections);
        let busiest = busiest.map_or_else(String::new, |(open, blocked)| {
            format!(" ({} and {} at the busiest address)", human::count(open), human::count(blocked))
        });
        format!("{name}: {open} of {max} connections{per} are open and {blocked} in blocking calls{busiest}")
    }

    fn remedy(&self) -> String {
        let name = &self.pool.name;
        if self.is_starving() {
            "split blocking reads onto a pool of their own".to_owned()
        } else if self.open() > 1.0 {
            format!(
                "these are more than pools.{name} declares: mend that, or look for connections that are never closed"
            )
        } else if self.group.idle * 2 > self.group.connections {
            "most of them have long been idle: look for connections that are never given back".to_owned()
        } else {
            "raise its max_connections, or find out what holds them".to_owned()
        }
    }
}

/// One sentence: the worst pool or group and what to do, or how all of them are.
pub(super) fn conclusion(groups: &Groups<'_>, census: &Census, info: &Info) -> String {
    let worst = uses(groups, census).max_by(|a, b| a.strain().total_cmp(&b.strain()));
    let mut parts = Vec::new();
    match worst {
        Some(pool) if pool.strain() > 1.0 => {
            parts.push(format!("{}; {}", pool.figures(), pool.remedy()));
        }
        worst => {
            parts.push(worst_group(groups, census).unwrap_or_else(|| all(groups, census)));
            parts.extend(worst.map(|pool| pool.figures()));
        }
    }
    // Whose they are is what the probe is for.
    if groups.are_none() && census.connections(groups) > 0 {
        parts.push(
            "declare [pools.NAME] in the configuration to see whose they are, and how full each pool is"
                .to_owned(),
        );
    }
    let max = info.integer("maxclients").unwrap_or(u64::MAX);
    let declared = declared(groups);
    if declared > max {
        let (declared, max) = (human::count(declared), human::count(max));
        parts.push(format!(
            "the declared pools may open {declared} connections and maxclients is {max}: raise that"
        ));
    }
    if census.contested > 0 {
        let clients = human::things(census.contested, "client");
        parts.push(format!(
            "two pools claim {clients}, counted in the first by name: make their matches exclude each other"
        ));
    }
    if groups.ask_for_library() && !census.libraries {
        parts.push(
            "the server tells no lib_name, which Redis 7.2 began with: those rules fit nobody".to_owned(),
        );
    }
    human::sentence(&parts)
}

/// A group that holds on to something.
fn worst_group(groups: &Groups<'_>, census: &Census) -> Option<String> {
    let most = |of: fn(&Group) -> u64| census.of_others(groups).max_by_key(|(_, group)| of(group));
    if let Some((name, group)) = most(|group| group.slow).filter(|(_, group)| group.slow > 0) {
        let (clients, bytes) =
            (human::things(group.slow, "client"), human::value(group.output as f64, Unit::Bytes));
        return Some(format!(
            "{name}: {clients} leave replies unread, {bytes} of them wait in the server's memory: find out why they do not read"
        ));
    }
    let leaks = |group: &Group| group.connections >= SOME && group.idle * 2 > group.connections;
    let (name, group) = most(|group| group.idle).filter(|(_, group)| leaks(group))?;
    let (idle, open) = (human::count(group.idle), human::things(group.connections, "connection"));
    Some(format!("{name}: {idle} of {open} have long been idle: lower its pool, or look for a leak"))
}

fn all(groups: &Groups<'_>, census: &Census) -> String {
    let used = census.of_others(groups).filter(|(_, group)| group.connections > 0).count() as u64;
    let blocked: u64 = census.of_others(groups).map(|(_, group)| group.blocked).sum();
    let (clients, groups) =
        (human::things(census.connections(groups), "client"), human::things(used, "group"));
    format!("{clients} in {groups}, {} in blocking calls", human::count(blocked))
}

/// The sentence where the list is denied.
pub(super) fn without_list(info: &Info) -> String {
    let number = |field| info.integer(field).unwrap_or_default();
    let clients = human::things(number("connected_clients"), "client");
    let blocked = human::count(number("blocked_clients"));
    format!(
        "{clients}, {blocked} in blocking calls; whose they are is unknown, since the server gives no CLIENT LIST: \
         `redprobe acl client_census` prints a rule that allows it."
    )
}
