//! Properties of reading a configuration: whatever it says, the answer is a plan or mistakes, never a panic.

#![expect(unreachable_pub, reason = "settings! declares public structs, which the probes' are")]

use config::{Map, Value, ValueKind};
use proptest::prelude::*;

use super::{Mistakes, Source, jobs, raw::Raw, resolve::resolve, sources::Env};
use crate::settings;

/// Keys that lead somewhere, so that what lies behind them is reached, and some that do not.
const KEYS: [&str; 41] = [
    "state_dir",
    "shard",
    "http",
    "log",
    "limits",
    "targets",
    "apps",
    "jobs",
    "a",
    "b",
    "health",
    "listen",
    "api_token",
    "max_connections",
    "read_timeout",
    "level",
    "format",
    "load_threads",
    "stop_timeout",
    "url",
    "username",
    "password",
    "environment",
    "allow",
    "profile",
    "max_keys",
    "max_bytes",
    "connect_timeout",
    "probe",
    "schedule",
    "timeout",
    "variant",
    "settings",
    "objectives",
    "target",
    "rate",
    "mix",
    "workers",
    "error_ratio",
    "Ünknown",
    "",
];

/// Values that mean something somewhere.
const TEXTS: [&str; 28] = [
    "a",
    "b",
    "*",
    "a,b",
    "redis://127.0.0.1",
    "rediss://u:p@h:1/2",
    "unix:///s?pass=x",
    "http://h",
    "load",
    "production",
    "cache",
    "every 30s",
    "every 1s",
    "* * * * *",
    "0 0 30 2 *",
    "@hourly",
    "manual",
    "30s",
    "0s",
    "1h",
    "50MB",
    "5%",
    "nan",
    "-1",
    "throughput",
    "latency_baseline",
    "server_info",
    "\u{0}ü",
];

fn leaf() -> impl Strategy<Value = ValueKind> {
    prop_oneof![
        4 => prop::sample::select(&TEXTS[..]).prop_map(|text| ValueKind::String(text.into())),
        1 => ".{0,8}".prop_map(ValueKind::String),
        1 => any::<i64>().prop_map(ValueKind::I64),
        1 => (-2_i64..70).prop_map(ValueKind::I64),
        1 => any::<f64>().prop_map(ValueKind::Float),
        1 => any::<bool>().prop_map(ValueKind::Boolean),
        1 => Just(ValueKind::Nil),
    ]
}

fn tree() -> impl Strategy<Value = Value> {
    let value = leaf().prop_map(|kind| Value::new(None, kind));
    value.prop_recursive(5, 128, 12, |inner| {
        let key = prop::sample::select(&KEYS[..]).prop_map(str::to_owned);
        prop_oneof![
            4 => prop::collection::hash_map(key, inner.clone(), 0..12).prop_map(|table| {
                Value::new(None, ValueKind::Table(table.into_iter().collect::<Map<_, _>>()))
            }),
            1 => prop::collection::vec(inner, 0..4).prop_map(|list| Value::new(None, ValueKind::Array(list))),
        ]
    })
}

/// A tree whose upper levels are sections and names, so that most of it is read.
fn configuration() -> impl Strategy<Value = Value> {
    let table = |entries: Vec<(&str, Value)>| {
        let entries = entries.into_iter().map(|(key, value)| (key.to_owned(), value));
        Value::new(None, ValueKind::Table(entries.collect::<Map<_, _>>()))
    };
    let entry = move || {
        prop::collection::vec(tree(), 2).prop_map(move |mut trees| {
            let (a, b) = (trees.remove(0), trees.remove(0));
            table(vec![("a", a), ("b", b)])
        })
    };
    let sections = (tree(), tree(), tree(), entry(), entry(), entry());
    sections.prop_map(move |(http, log, limits, targets, apps, jobs)| {
        let parts = [http, log, limits, targets, apps, jobs];
        table(["http", "log", "limits", "targets", "apps", "jobs"].into_iter().zip(parts).collect())
    })
}

fn read(root: Value) -> Result<super::Plan, Vec<super::Mistake>> {
    let env = Env::from([("STATE_DIRECTORY".to_owned(), "/tmp".to_owned())]);
    let mut mistakes = Mistakes::default();
    let mut raw = Raw::read(root, &mut mistakes);
    jobs::add_health(&mut raw);
    resolve(raw, &env, false, mistakes)
}

settings! {
    /// For the tests.
    pub struct Example {
        /// A number.
        number: u32 = 1,
        /// A list.
        list: Vec<u32> = vec![],
        /// A text.
        text: String = String::new(),
        /// A truth value.
        flag: bool = false,
        /// A table of its own.
        inner: Inner = Inner::default(),
    }
}

settings! {
    /// For the tests.
    pub struct Inner {
        /// A number.
        number: f64 = 0.0,
    }
}

fn example(text: &str) -> Result<Example, Vec<String>> {
    let file = config::File::from_str(text, config::FileFormat::Toml);
    let value = config::Config::builder().add_source(file).build().unwrap().cache;
    let read = Source { path: "jobs.x.settings".into(), value }.read();
    read.map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[test]
fn text_becomes_what_is_demanded_and_nothing_else_is_converted() {
    let read = example("number = \"7\"\nlist = \"1, 2\"\nflag = \"true\"\ninner.number = 3\n").unwrap();
    assert_eq!((read.number, read.list, read.flag, read.inner.number), (7, vec![1, 2], true, 3.0));
    for text in [
        "number = 1.5",
        "number = true",
        "number = \"on\"",
        "flag = 1",
        "text = 1",
        "text = true",
        "list = 1",
    ] {
        assert_eq!(example(text).map_err(|said| said.len()).unwrap_err(), 1, "{text}");
    }
}

#[test]
fn every_mistake_is_found_at_its_key() {
    let text =
        "numbr = 1\nlist = [1, \"x\"]\ntext = []\nflag = \"maybe\"\ninner = { number = \"x\", more = 1 }\n";
    let mut said = example(text).unwrap_err();
    said.sort();
    assert_eq!(
        said,
        [
            "jobs.x.settings.flag: \"maybe\" where true or false was expected",
            "jobs.x.settings.inner.more: unknown key; the keys here are number",
            "jobs.x.settings.inner.number: \"x\" where a number was expected",
            "jobs.x.settings.list: \"x\" where a whole number, 0 or more, was expected",
            "jobs.x.settings.numbr: unknown key; did you mean \"number\"?",
            "jobs.x.settings.text: a list where text in quotes was expected",
        ]
    );
}

proptest! {
    #[test]
    fn any_tree_is_a_plan_or_mistakes(root in tree()) {
        if let Err(mistakes) = read(root) {
            prop_assert!(!mistakes.is_empty());
        }
    }

    #[test]
    fn any_configuration_is_a_plan_or_mistakes(root in configuration()) {
        match read(root) {
            Err(mistakes) => {
                prop_assert!(!mistakes.is_empty());
                prop_assert!(mistakes.iter().all(|mistake| !mistake.key.is_empty() && !mistake.message.is_empty()));
            }
            Ok(plan) => prop_assert!(plan.jobs.iter().all(|job| plan.targets.contains_key(&job.target.id))),
        }
    }
}
