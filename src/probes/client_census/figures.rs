//! A census as metrics and as measurements of the report.
//!
//! What is good or bad about it, and the sentence that says so, are in `findings`.

use std::borrow::Cow;

use measure::{
    clock::{unix_seconds, wall},
    facts::Info,
    metric::{LabelValue, MetricDef},
    report::{Report, Unit},
};

use super::{
    groups::Groups,
    tally::{Census, Group},
};
use crate::config::settings::clients::DeclaredPool;

measure::metrics! {
    /// Client connections, replicas apart, as INFO says.
    gauge CLIENTS = "redprobe_client_census_clients";
    /// Clients waiting in a blocking call, as INFO says.
    gauge CLIENTS_BLOCKED = "redprobe_client_census_blocked_clients";
    /// Connections that the server accepts at the most.
    gauge CLIENTS_MAX = "redprobe_client_census_max_clients";
    /// Connections that the declared pools may have, all together.
    gauge DECLARED = "redprobe_client_census_declared_connections";
    /// Whether there is a list of the clients; 0 where CLIENT LIST is denied, and nothing is known by group or pool.
    gauge LISTED = "redprobe_client_census_list_available";
    /// When the list was asked for. Above sample_above clients that is not done in every run.
    gauge LIST_TIME = "redprobe_client_census_list_timestamp_seconds";
    /// Clients that have not named themselves.
    gauge UNNAMED = "redprobe_client_census_unnamed_clients";

    /// Connections of the group.
    gauge CONNECTIONS = "redprobe_client_census_connections" [group];
    /// Connections of the group that wait in a blocking command.
    gauge BLOCKED = "redprobe_client_census_blocked_connections" [group];
    /// Connections of the group that sent nothing for longer than idle_limit, and neither wait nor are subscribed.
    gauge IDLE = "redprobe_client_census_idle_connections" [group];
    /// Connections of the group that are subscribed to channels.
    gauge SUBSCRIBED = "redprobe_client_census_subscribed_connections" [group];
    /// Connections of the group with more unread than output_buffer_limit.
    gauge SLOW = "redprobe_client_census_slow_readers" [group];
    /// Replies to the group that wait in the server's memory.
    gauge OUTPUT = "redprobe_client_census_output_buffer_bytes" [group];
    /// Replies that wait in the server's memory for the connection that has most of them.
    gauge OUTPUT_MAX = "redprobe_client_census_output_buffer_max_bytes" [group];
    /// Query buffers of the group.
    gauge QUERY = "redprobe_client_census_query_buffer_bytes" [group];
    /// Time since the oldest connection of the group was made; absent where there is none.
    gauge AGE_MAX = "redprobe_client_census_age_max_seconds" [group];
    /// Time since the connections of the group were made, in the mean; absent where there is none.
    gauge AGE_MEAN = "redprobe_client_census_age_mean_seconds" [group];
    /// Connections that were not there at the list before. One that came and went between two lists is in no list.
    counter CAME = "redprobe_client_census_new_connections_total" [group];
    /// Connections that were there at the list before and are gone.
    counter WENT = "redprobe_client_census_gone_connections_total" [group];

    /// Open connections of a declared pool over those that its instances may have.
    gauge UTILISATION = "redprobe_client_census_pool_utilisation_ratio" [pool];
    /// Connections that the instances of a declared pool may still open; below 0 where there are more than declared.
    gauge HEADROOM = "redprobe_client_census_pool_headroom_connections" [pool];
    /// Connections of a declared pool that wait in a blocking command, over those that it may have.
    gauge POOL_BLOCKED = "redprobe_client_census_pool_blocked_ratio" [pool];
    /// Connections that a declared pool may have: max_connections times instances.
    gauge CAPACITY = "redprobe_client_census_pool_capacity_connections" [pool];
    /// Addresses that connections of a declared pool come from.
    gauge ADDRESSES = "redprobe_client_census_pool_addresses" [pool];
    /// Connections of a declared pool from the address that has most of them.
    gauge BUSIEST = "redprobe_client_census_pool_busiest_address_connections" [pool];
}

/// What INFO says, with or without a list.
pub(super) fn of_server(info: &Info, groups: &Groups<'_>, rejected: Option<u64>, report: &mut Report) {
    for (field, def) in
        [("connected_clients", &CLIENTS), ("blocked_clients", &CLIENTS_BLOCKED), ("maxclients", &CLIENTS_MAX)]
    {
        if let Some(value) = info.number(field) {
            report.set(def, value);
            report.measure(field, value, Unit::Count);
        }
    }
    if !groups.pools.is_empty() {
        let declared = declared(groups) as f64;
        report.set(&DECLARED, declared);
        report.measure("declared_connections", declared, Unit::Count);
    }
    if let Some(rejected) = rejected {
        report.measure("rejected_since_last_run", rejected as f64, Unit::Count);
    }
    if let Some(rejected) = info.number("rejected_connections") {
        report.measure("rejected_since_start", rejected, Unit::Count);
    }
}

/// Connections that the declared pools may have, all together.
pub(super) fn declared(groups: &Groups<'_>) -> u64 {
    groups.pools.iter().map(|pool| pool.capacity()).fold(0, u64::saturating_add)
}

/// Everything that the list says.
pub(super) fn of_list(groups: &Groups<'_>, census: &Census, report: &mut Report) {
    report.set(&LISTED, 1.0);
    let age = census.at.elapsed();
    report.set(&LIST_TIME, unix_seconds(wall()) - age.as_secs_f64());
    report.measure("list_age", age.as_secs_f64(), Unit::Seconds);
    report.set(&UNNAMED, census.unnamed as f64);
    report.measure("unnamed_clients", census.unnamed as f64, Unit::Count);
    report.measure("replication_links", census.replication as f64, Unit::Count);
    if census.compared {
        report.measure("new_since_last_list", census.came as f64, Unit::Count);
        report.measure("gone_since_last_list", census.went as f64, Unit::Count);
    }
    for (place, (name, group)) in groups.names().iter().zip(&census.groups).enumerate() {
        set_group(name, group, report);
        measure_group(name, group, report);
        // redprobe's own come and go with every run.
        if place != groups.own() {
            report.set_with(&CAME, [Cow::Owned((*name).to_owned())], group.came as f64);
            report.set_with(&WENT, [Cow::Owned((*name).to_owned())], group.went as f64);
        }
    }
    for (place, pool) in groups.pools.iter().enumerate() {
        of_pool(groups, place, pool, census, report);
    }
}

fn set_group(name: &str, group: &Group, report: &mut Report) {
    let label = || -> [LabelValue; 1] { [Cow::Owned(name.to_owned())] };
    for (def, value) in counts(group) {
        report.set_with(def, label(), value as f64);
    }
    if group.aged > 0 {
        report.set_with(&AGE_MAX, label(), group.age_max as f64);
        report.set_with(&AGE_MEAN, label(), mean_age(group));
    }
}

fn counts(group: &Group) -> [(&'static MetricDef, u64); 8] {
    [
        (&CONNECTIONS, group.connections),
        (&BLOCKED, group.blocked),
        (&IDLE, group.idle),
        (&SUBSCRIBED, group.subscribed),
        (&SLOW, group.slow),
        (&OUTPUT, group.output),
        (&OUTPUT_MAX, group.output_max),
        (&QUERY, group.query),
    ]
}

fn mean_age(group: &Group) -> f64 {
    group.age_sum as f64 / group.aged.max(1) as f64
}

/// Of an empty group that it is empty, of others what there is; what is seldom more than nothing, where it is.
fn measure_group(name: &str, group: &Group, report: &mut Report) {
    let mut measure = |what: &str, value: f64, unit| report.measure(format!("{name}.{what}"), value, unit);
    measure("connections", group.connections as f64, Unit::Count);
    if group.connections == 0 {
        return;
    }
    for (what, value) in [("blocked", group.blocked), ("idle", group.idle), ("subscribed", group.subscribed)]
    {
        measure(what, value as f64, Unit::Count);
    }
    for (what, value, unit) in [
        ("slow_readers", group.slow, Unit::Count),
        ("output_buffer", group.output, Unit::Bytes),
        ("query_buffer", group.query, Unit::Bytes),
    ] {
        if value > 0 {
            measure(what, value as f64, unit);
        }
    }
    if group.aged > 0 {
        measure("age_mean", mean_age(group), Unit::Seconds);
        measure("age_max", group.age_max as f64, Unit::Seconds);
    }
}

fn of_pool(groups: &Groups<'_>, place: usize, pool: &DeclaredPool, census: &Census, report: &mut Report) {
    let name = groups.names()[place];
    let (group, addresses) = (&census.groups[place], census.addresses[place]);
    let capacity = pool.capacity() as f64;
    let (open, blocked) = (group.connections as f64, group.blocked as f64);
    for (def, value) in [
        (&UTILISATION, open / capacity),
        (&HEADROOM, capacity - open),
        (&POOL_BLOCKED, blocked / capacity),
        (&CAPACITY, capacity),
        (&ADDRESSES, addresses.count as f64),
        (&BUSIEST, addresses.busiest as f64),
    ] {
        report.set_with(def, [Cow::Owned(name.to_owned())], value);
    }
    let mut measure = |what: &str, value: f64, unit| report.measure(format!("{name}.{what}"), value, unit);
    measure("utilisation", open / capacity, Unit::Ratio);
    measure("headroom", capacity - open, Unit::Count);
    measure("blocked_share", blocked / capacity, Unit::Ratio);
    measure("addresses", addresses.count as f64, Unit::Count);
    measure("busiest_address", addresses.busiest as f64, Unit::Count);
}
