//! The probe's arithmetic on made-up lists. What a real server lists is tested in `tests/probes/client_census`.

use std::sync::Arc;

use measure::facts::clients::Client;

use super::*;
use crate::config::settings::clients::{ClientMatch, DeclaredPool};

fn named(pattern: &str) -> ClientMatch {
    ClientMatch { name: Some(pattern.into()), ..ClientMatch::default() }
}

fn pool(name: &str, pattern: &str, max_connections: u64, instances: u64) -> Arc<DeclaredPool> {
    let clients = named(pattern).compile().expect("the rule is good");
    Arc::new(DeclaredPool { name: name.into(), clients, max_connections, instances, blocking: false })
}

fn probe(groups: &[(&str, &str)]) -> ClientCensus {
    let rule = |(name, pattern): &(&str, &str)| GroupRule { name: (*name).into(), r#match: named(pattern) };
    ClientCensus::new(Settings { groups: groups.iter().map(rule).collect(), ..Settings::default() })
        .expect("the settings are good")
}

/// A list of clients: how many, their name, and the rest of their lines.
fn list(clients: &[(u64, &str, &str)]) -> Vec<String> {
    let mut id = 0;
    let mut lines = Vec::new();
    for (count, name, rest) in clients {
        for _ in 0..*count {
            id += 1;
            lines.push(format!("id={id} addr=127.0.0.1:{} name={name} age=9 {rest}", 1000 + id));
        }
    }
    lines
}

fn census(probe: &ClientCensus, groups: &Groups<'_>, lines: &[String]) -> Arc<Census> {
    let mut tally = Tally::new(groups, &probe.settings);
    for line in lines {
        tally.add(&Client::parse(line.as_bytes()).expect("it has an id"));
    }
    probe.memories.learn("a", tally.done())
}

fn said(probe: &ClientCensus, pools: &[Arc<DeclaredPool>], lines: &[String], info: &str) -> Report {
    let groups = Groups::new(pools, &probe.rules);
    let census = census(probe, &groups, lines);
    report(&groups, &Info::parse(info), Ok(census), None)
}

const INFO: &str = "connected_clients:60\r\nblocked_clients:48\r\nmaxclients:10000\r\n";

#[test]
fn a_pool_of_blocked_connections_is_named_with_its_remedy() {
    let lines =
        list(&[(48, "api-1", "flags=b"), (9, "api-1", "flags=N"), (5, "redprobe-observer", "flags=b")]);
    let pools = [pool("api", "api-*", 15, 4), pool("jobs", "job-*", 10, 1)];
    let report = said(&probe(&[]), &pools, &lines, INFO);
    assert_eq!(
        report.conclusion,
        "api: 14.2 of 15 connections per instance are open and 12 of them wait in blocking calls; split blocking \
         reads onto a pool of their own."
    );
    let observed: Vec<_> = report.observed.iter().map(|(def, value)| (def.name, *value)).collect();
    assert_eq!(
        observed,
        [
            ("clients_ratio", 0.006),
            ("declared_ratio", 0.007),
            ("pool_utilisation", 0.95),
            ("blocked_share", 0.8),
            ("idle_share", 0.0),
            ("slow_readers", 0.0)
        ]
    );
}

#[test]
fn a_pool_for_blocking_reads_may_be_blocked() {
    let lines = list(&[(8, "stream-1", "flags=b")]);
    let reading = DeclaredPool { blocking: true, ..(*pool("stream", "stream-*", 10, 1)).clone() };
    let report = said(&probe(&[]), &[Arc::new(reading)], &lines, INFO);
    assert!(report.observed.iter().all(|(def, _)| def.name != "blocked_share"));
    assert_eq!(
        report.conclusion,
        "8 clients in 1 group, 8 in blocking calls; stream: 8 of 10 connections are open and 8 of them wait in \
         blocking calls."
    );
}

#[test]
fn the_remedy_is_that_of_what_is_wrong() {
    let conclusion = |lines: &[(u64, &str, &str)]| {
        said(&probe(&[]), &[pool("api", "api-*", 10, 1)], &list(lines), INFO).conclusion
    };
    for (lines, remedy) in [
        ((10, "api-1", "flags=N idle=5"), "raise its max_connections"),
        ((10, "api-1", "flags=N idle=3601"), "never given back"),
        ((11, "api-1", "flags=N"), "more than pools.api declares"),
        ((20, "batch", "flags=N idle=3601"), "other: 20 of 20 connections have long been idle"),
        ((2, "events", "flags=P omem=2097152"), "other: 2 clients leave replies unread, 4 MB"),
    ] {
        let said = conclusion(&[lines]);
        assert!(said.contains(remedy), "{said}");
    }
}

#[test]
fn the_first_rule_counts_and_pools_come_before_rules() {
    let probe = probe(&[("web", "web-1*"), ("any", "web-*"), ("web", "site-*"), ("any", "api-*")]);
    let pools = [pool("api", "api-*", 10, 1), pool("api_two", "*-2", 10, 1)];
    let lines = list(&[
        (1, "web-1", ""),
        (2, "web-3", ""),
        (4, "site-1", ""),
        (8, "api-1", ""),
        (16, "api-2", ""),
        (32, "", ""),
        (64, "redprobe-x", ""),
        (128, "slave", "flags=S"),
    ]);
    let groups = Groups::new(&pools, &probe.rules);
    let census = census(&probe, &groups, &lines);
    let counted: Vec<_> =
        groups.names().iter().zip(&census.groups).map(|(name, group)| (*name, group.connections)).collect();
    assert_eq!(
        counted,
        [("api", 24), ("api_two", 0), ("web", 5), ("any", 2), ("other", 32), ("redprobe", 64)]
    );
    assert_eq!((census.contested, census.unnamed, census.replication), (16, 32, 128));
    assert_eq!(census.connections(&groups), 63);
}

#[test]
fn what_came_and_went_is_told_by_ids() {
    let probe = probe(&[("web", "web-*")]);
    let groups = Groups::new(&[], &probe.rules);
    let lines = |ids: &[u64]| -> Vec<String> {
        let name = |id| match id {
            0..10 => "web-1",
            10..20 => "",
            _ => "redprobe-x",
        };
        ids.iter().map(|id| format!("id={id} name={}", name(*id))).collect()
    };
    let churn = |ids: &[u64]| {
        let census = census(&probe, &groups, &lines(ids));
        let by_group: Vec<_> = census.groups.iter().map(|group| (group.came, group.went)).collect();
        (census.compared, (census.came, census.went), by_group)
    };
    assert_eq!(churn(&[1, 2, 11, 20]), (false, (0, 0), vec![(0, 0); 3]));
    assert_eq!(churn(&[2, 3, 4, 11, 12, 21, 22]), (true, (3, 1), vec![(2, 1), (1, 0), (0, 0)]));
    assert_eq!(churn(&[12]), (true, (0, 4), vec![(2, 4), (1, 1), (0, 0)]));
}

#[test]
fn a_long_list_is_asked_for_every_so_often() {
    let probe = ClientCensus::new(Settings { sample_above: 100, sample_every: 3, ..Settings::default() })
        .expect("the settings are good");
    let groups = Groups::new(&[], &probe.rules);
    let mut asked = Vec::new();
    for (server, clients) in
        [("x", 101), ("x", 101), ("x", 101), ("x", 101), ("x", 100), ("x", 101), ("y", 101), ("y", 101)]
    {
        let way = probe.memories.way("a", server, clients, &probe.settings);
        asked.push(matches!(way, Way::List));
        if matches!(way, Way::List) {
            census(&probe, &groups, &[]);
        }
    }
    assert_eq!(asked, [true, false, false, true, true, false, true, false]);
}

#[test]
fn a_refusal_is_remembered_until_the_server_restarts() {
    let probe = probe(&[]);
    let is_denied = |server| matches!(probe.memories.way("a", server, 1, &probe.settings), Way::Denied(_));
    assert!(!is_denied("x"));
    probe.memories.deny("a", &Failure::new(Reason::Denied, "no"));
    assert!(is_denied("x") && is_denied("x"));
    assert!(!matches!(probe.memories.way("b", "x", 1, &probe.settings), Way::Denied(_)), "one target's own");
    assert!(!is_denied("y"));
}

#[test]
fn own_rejections_are_not_counted() {
    let probe = probe(&[]);
    let rejected = |so_far: u64, own| {
        probe.memories.rejected("a", &Info::parse(&format!("rejected_connections:{so_far}")), own)
    };
    assert_eq!(rejected(5, false), None);
    assert_eq!(rejected(7, true), Some(2));
    assert_eq!(rejected(9, false), Some(1));
    assert_eq!(rejected(9, false), Some(0));
}

#[test]
fn without_pools_and_groups_it_says_how_to_have_some() {
    let conclusion =
        |groups: &[(&str, &str)]| said(&probe(groups), &[], &list(&[(1, "x", "")]), INFO).conclusion;
    assert!(conclusion(&[]).contains("declare [pools.NAME]"));
    assert!(!conclusion(&[("web", "web-*")]).contains("declare"));
}

#[test]
fn more_declared_than_the_server_takes_is_said() {
    let info = "connected_clients:1\r\nmaxclients:50\r\n";
    let report = said(&probe(&[]), &[pool("api", "api-*", 15, 4)], &list(&[(1, "api-1", "")]), info);
    assert!(
        report.conclusion.contains("may open 60 connections and maxclients is 50"),
        "{}",
        report.conclusion
    );
}

#[test]
fn every_mistake_in_the_rules_is_named() {
    let rule = |name: &str, r#match| GroupRule { name: name.into(), r#match };
    let groups = vec![
        rule("Web", named("*")),
        rule("other", named("*")),
        rule("empty", ClientMatch::default()),
        rule("net", ClientMatch { address: Some("10.0.0.0/99".into()), ..ClientMatch::default() }),
    ];
    let settings = Settings { groups, sample_every: 0, idle_limit: Span::millis(1), ..Settings::default() };
    let mistakes = ClientCensus::new(settings).expect_err("it is refused");
    let keys: Vec<_> = mistakes.iter().map(|mistake| mistake.setting).collect();
    assert_eq!(keys, ["idle_limit", "sample_every", "groups", "groups", "groups", "groups"]);
    let rules: Vec<_> = mistakes[2..].iter().map(|mistake| mistake.message.split(':').next()).collect();
    assert_eq!(rules.len(), 4);
    assert!(mistakes[5].message.starts_with("rule 4 (\"net\"): address: \"10.0.0.0/99\""), "{mistakes:?}");
}
