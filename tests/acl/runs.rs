//! The rule against the probes: enough for each of them, and nothing in it that is not used.

use std::collections::BTreeSet;

use measure::Effect;
use redprobe::probes::PROBES;
use serde_json::Value;

use super::{Bed, effects};
use crate::probes::Ran;

/// The grants that the log says are lacking; none where it says nothing of it.
fn lacking(ran: &Ran) -> Vec<&str> {
    let said: Vec<_> = ran.stderr.lines().filter_map(|line| line.split_once(" lacks ")).collect();
    assert!(said.len() <= 1, "it is said once: {}", ran.stderr);
    let words = said.first().map_or("", |(_, list)| list.split("; `redprobe acl").next().unwrap_or_default());
    words.split(' ').filter(|word| word.starts_with(['+', '~'])).collect()
}

#[test]
fn the_printed_rule_is_enough() {
    for kind in PROBES {
        for effect in effects(kind) {
            let bed = Bed::new(kind, effect);
            let ran = bed.run(&bed.make_user(""));
            let (name, run) = (kind.name, ran.expect_measured());
            assert!(!run["errors"].to_string().contains("denied"), "{name} with {effect}: {ran:#?}");
            assert_eq!(bed.server.denied(), [] as [&str; 0], "{name} with {effect}");
            assert_eq!(lacking(&ran), [] as [&str; 0], "{name} with {effect}");
            assert!(!ran.stderr.contains("may do more"), "{name} with {effect}: {}", ran.stderr);
            assert!(!ran.stderr.contains("PASSWORD"), "{}", ran.stderr);
        }
    }
}

#[test]
fn each_grant_that_is_taken_away_is_named_and_its_run_does_not_pretend() {
    for kind in PROBES {
        let bed = Bed::new(kind, kind.reach);
        for word in bed.words() {
            if word == "+acl|dryrun" {
                continue;
            }
            let ran = bed.run(&bed.make_user(&word));
            // Who may not give the lease back leaves it to its TTL.
            let _ = bed.server.cli(&["DEL", measure::lease::KEY]);
            assert_eq!(lacking(&ran), [word.as_str()], "{} without {word}: {}", kind.name, ran.stderr);
            let run = ran.run();
            let measured = matches!(run["outcome"].as_str(), Some("passed" | "failed"));
            if is_optional(&bed, &word) {
                assert!(measured, "{} can do without {word}: {ran:#?}", kind.name);
            } else if !measured {
                assert_eq!(run["reason"], "denied", "{} without {word}: {run:#}", kind.name);
                let told = run["conclusion"].as_str().unwrap_or_default();
                assert!(told.contains(&format!("lacked {word} (")), "{told}");
            }
            if is_probes_own(&bed, &word) {
                assert!(!measured || run["errors"].to_string().contains("denied"), "{word}: {run:#}");
            }
        }
    }
}

fn needed_by<'b>(bed: &'b Bed, word: &str) -> &'b [Value] {
    let grants = bed.rule["grants"].as_array().expect("a list");
    let grant = grants.iter().find(|grant| grant["rule"] == word).expect("a word of the rule");
    grant["needed_by"].as_array().expect("a list")
}

/// Whether everyone who needs it can do without.
fn is_optional(bed: &Bed, word: &str) -> bool {
    let by = needed_by(bed, word);
    !by.is_empty() && by.iter().all(|need| need["without"].is_string())
}

/// Whether the probe itself sends it, and cannot do without.
fn is_probes_own(bed: &Bed, word: &str) -> bool {
    needed_by(bed, word).iter().any(|need| need["who"] == bed.kind.name && need["without"].is_null())
}

/// What the test itself sends.
const OURS: [&str; 2] = ["config|resetstat", "command|docs"];

#[test]
fn what_is_sent_is_declared_and_what_is_declared_is_sent() {
    let (mut declared, mut sent_by_any) = (BTreeSet::new(), BTreeSet::new());
    for kind in PROBES {
        let (mut own, mut sent_by_it) = (BTreeSet::new(), BTreeSet::new());
        for effect in effects(kind) {
            let bed = Bed::new(kind, effect);
            bed.server.ok(&["CONFIG", "RESETSTAT"]);
            bed.run(&bed.server.url()).expect_measured();
            let calls = bed
                .server
                .calls()
                .into_iter()
                .filter(|(name, count)| *count > 0 && !OURS.contains(&name.as_str()));
            let sent: BTreeSet<String> = calls.map(|(name, _)| format!("+{name}")).collect();
            let words = bed.words();
            for name in &sent {
                assert!(
                    words.contains(name),
                    "{} with {effect} sends {name}, which nobody declares",
                    kind.name
                );
            }
            for word in words.into_iter().filter(|word| word.starts_with('+')) {
                let by = needed_by(&bed, &word);
                if by.iter().any(|need| need["who"] == kind.name) {
                    own.insert(word.clone());
                }
                declared.insert(word);
            }
            sent_by_it.extend(sent);
        }
        // Sent only to a node of a cluster, and the server is none.
        own.remove("+cluster|info");
        // INFO of the test's own reading is not told apart; every probe's login sends it anyway.
        let idle: Vec<_> = own.difference(&sent_by_it).collect();
        assert!(idle.is_empty(), "{} declares {idle:?} and never sends it", kind.name);
        sent_by_any.extend(sent_by_it);
    }
    // Sent only to a node of a cluster, and none of the servers is one.
    declared.remove("+cluster|info");
    // Sent only where a run died half-way, and none does here.
    declared.remove("+client|kill");
    // The daemon's janitor sends it, and no run.
    declared.remove("+scan");
    let idle: Vec<_> = declared.difference(&sent_by_any).collect();
    assert!(idle.is_empty(), "{idle:?} is declared and never sent");
}

/// Everything that no user of redprobe should be able to do, with what any probe's rule may allow after all.
#[test]
fn what_would_do_harm_is_denied() {
    for kind in PROBES {
        for effect in effects(kind) {
            let bed = Bed::new(kind, effect);
            let _url = bed.make_user("");
            let dry = |words: &[&str]| bed.server.cli(&[&["ACL", "DRYRUN", "redprobe"], words].concat());
            assert_eq!(dry(&["ping"]), "OK");
            let changes_settings = bed.words().iter().any(|word| word == "+config|set");
            let lists_clients = bed.words().iter().any(|word| word == "+client|list");
            assert_eq!(dry(&["client", "list"]) == "OK", lists_clients, "{} with {effect}", kind.name);
            let harmful: &[&[&str]] = &[
                &["flushall"],
                &["flushdb"],
                &["keys", "*"],
                &["debug", "sleep", "0"],
                &["shutdown"],
                &["replicaof", "no", "one"],
                &["config", "rewrite"],
                &["config", "resetstat"],
                &["acl", "setuser", "x"],
                &["script", "flush"],
                &["monitor"],
                &["swapdb", "0", "1"],
                &["rename", "a", "b"],
                &["publish", "redprobe", "x"],
                &["get", "user:1"],
                &["set", "user:1", "x"],
                &["unlink", "user:1"],
                &["exists", "user:1"],
                &["eval", "return 0", "1", "user:1"],
                &["get", "redprobe"],
                &["get", "redprobe:{other}:a"],
                &["get", "redprobe:x"],
                &["unlink", "redprobe:lease2"],
            ];
            for words in harmful {
                assert_ne!(dry(words), "OK", "{} with {effect}: {words:?}", kind.name);
            }
            // Names and addresses of everybody: only for those that count them.
            let lists_clients = bed.words().iter().any(|word| word == "+client|list");
            assert_eq!(dry(&["client", "list"]) == "OK", lists_clients, "{} with {effect}", kind.name);
            // The second ends a connection of a run that died, which could still change a setting.
            for words in [&["config", "set", "maxmemory", "1"], &["client", "kill", "id", "1"]] {
                assert_eq!(dry(words) == "OK", changes_settings, "{} with {effect}: {words:?}", kind.name);
            }
            assert!(!changes_settings || effect == Effect::Disrupt, "{} with {effect}", kind.name);
        }
    }
}
