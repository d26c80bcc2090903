//! What is counted of the clients, group by group, while the list goes by.
//!
//! Arithmetic alone: who belongs where is `groups`', what is made of the sums `figures`'.

use std::collections::HashMap;

use measure::{
    clock::{self, Instant},
    facts::clients::Client,
};

use super::{Settings, groups::Groups};

/// One group.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Group {
    /// All of its connections.
    pub(super) connections: u64,
    /// Those that wait in a blocking command.
    pub(super) blocked: u64,
    /// Those that sent nothing for too long, and neither wait nor are subscribed.
    pub(super) idle: u64,
    /// Those that are subscribed.
    pub(super) subscribed: u64,
    /// Those that leave too much unread.
    pub(super) slow: u64,
    /// Bytes of replies that wait in the server, of all and of the worst.
    pub(super) output: u64,
    pub(super) output_max: u64,
    /// Bytes of query buffers.
    pub(super) query: u64,
    /// Seconds since they connected: the sum, of how many, the oldest.
    pub(super) age_sum: u64,
    pub(super) aged: u64,
    pub(super) age_max: u64,
    /// Since redprobe first looked: connections that were not there at the list before, and those that are gone.
    pub(super) came: u64,
    pub(super) went: u64,
}

/// The addresses of one pool.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Addresses {
    /// How many.
    pub(super) count: u64,
    /// Connections from the one that has most of them.
    pub(super) busiest: u64,
    /// Those of these that wait in a blocking command.
    pub(super) busiest_blocked: u64,
}

/// A whole list, counted.
#[derive(Debug, Clone)]
pub(super) struct Census {
    /// By place.
    pub(super) groups: Vec<Group>,
    /// Per pool, by place.
    pub(super) addresses: Vec<Addresses>,
    /// Clients without a name, redprobe's own and replication apart.
    pub(super) unnamed: u64,
    /// Links of replication: in no group.
    pub(super) replication: u64,
    /// Clients that two pools claim.
    pub(super) contested: u64,
    /// Whether any client's library was told.
    pub(super) libraries: bool,
    /// When it was asked for.
    pub(super) at: Instant,
    /// Whether there was a list before, so that coming and going are known.
    pub(super) compared: bool,
    /// Connections that came and went since the list before.
    pub(super) came: u64,
    pub(super) went: u64,
}

/// Every connection and the place of its group, in the order of their ids.
pub(super) type Ids = Vec<(u64, u32)>;

impl Census {
    /// Connections, redprobe's own apart.
    pub(super) fn connections(&self, groups: &Groups<'_>) -> u64 {
        self.of_others(groups).map(|(_, group)| group.connections).sum()
    }

    /// Every group but redprobe's own, with its name.
    pub(super) fn of_others<'s>(
        &'s self,
        groups: &'s Groups<'_>,
    ) -> impl Iterator<Item = (&'s str, &'s Group)> {
        let all = groups.names().iter().copied().zip(&self.groups);
        all.take(groups.own())
    }
}

/// A census in the making.
pub(super) struct Tally<'a> {
    groups: &'a Groups<'a>,
    idle_limit: f64,
    output_limit: u64,
    census: Census,
    /// Per pool.
    hosts: Vec<Hosts>,
    ids: Ids,
}

/// Connections and blocked ones of each address.
type Hosts = HashMap<Box<[u8]>, (u64, u64)>;

impl<'a> Tally<'a> {
    pub(super) fn new(groups: &'a Groups<'a>, settings: &Settings) -> Self {
        let census = Census {
            groups: vec![Group::default(); groups.names().len()],
            addresses: Vec::new(),
            unnamed: 0,
            replication: 0,
            contested: 0,
            libraries: false,
            at: clock::now(),
            compared: false,
            came: 0,
            went: 0,
        };
        Self {
            groups,
            idle_limit: settings.idle_limit.0.as_secs_f64(),
            output_limit: settings.output_buffer_limit.0,
            census,
            hosts: vec![Hosts::new(); groups.pools.len()],
            ids: Vec::new(),
        }
    }

    /// Counts one client.
    pub(super) fn add(&mut self, client: &Client<'_>) {
        let census = &mut self.census;
        if client.is_replication() {
            census.replication += 1;
            return;
        }
        let place = self.groups.place(client);
        census.contested += u64::from(place.contested);
        census.libraries |= client.library.is_some();
        census.unnamed += u64::from(client.name.is_empty());
        self.ids.push((client.id, u32::try_from(place.group).unwrap_or(u32::MAX)));
        census.groups[place.group].add(client, self.idle_limit, self.output_limit);
        if let Some(hosts) = self.hosts.get_mut(place.group) {
            if !hosts.contains_key(client.host()) {
                hosts.insert(client.host().into(), (0, 0));
            }
            if let Some((connections, blocked)) = hosts.get_mut(client.host()) {
                *connections += 1;
                *blocked += u64::from(client.is_blocked());
            }
        }
    }

    /// The census, and the connections that it counted.
    pub(super) fn done(mut self) -> (Census, Ids) {
        self.ids.sort_unstable();
        let addresses = self.hosts.iter().map(|hosts| {
            let (busiest, busiest_blocked) = hosts.values().max().copied().unwrap_or_default();
            Addresses { count: hosts.len() as u64, busiest, busiest_blocked }
        });
        self.census.addresses = addresses.collect();
        (self.census, self.ids)
    }
}

impl Group {
    fn add(&mut self, client: &Client<'_>, idle_limit: f64, output_limit: u64) {
        self.connections += 1;
        self.blocked += u64::from(client.is_blocked());
        self.subscribed += u64::from(client.is_subscribed());
        let waits = client.is_blocked() || client.is_subscribed() || client.is_monitor();
        self.idle += u64::from(!waits && client.idle.is_some_and(|idle| idle as f64 > idle_limit));
        let output = client.output_buffer.unwrap_or_default();
        self.output = self.output.saturating_add(output);
        self.output_max = self.output_max.max(output);
        self.slow += u64::from(output > output_limit);
        self.query = self.query.saturating_add(client.query_buffer.unwrap_or_default());
        if let Some(age) = client.age {
            self.age_sum = self.age_sum.saturating_add(age);
            self.age_max = self.age_max.max(age);
            self.aged += 1;
        }
    }
}
