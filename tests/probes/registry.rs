//! The registry and what it must hold to: every probe listed once, named well, working out of the box, and tested.

use std::{collections::BTreeSet, fs, path::Path};

use redprobe::{
    config::Source,
    probes::{self, PROBES},
};

fn is_name(text: &str) -> bool {
    let snake = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(snake)
}

fn settings(toml: &str) -> Source {
    let table: toml::Table = toml::from_str(toml).expect("the test writes TOML");
    Source {
        path: "jobs.some.settings".to_owned(),
        value: toml::Value::Table(table).try_into().expect("a table is a value"),
    }
}

#[test]
fn names_are_unique_and_snake_case() {
    let names: BTreeSet<_> = PROBES.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), PROBES.len());
    for kind in PROBES {
        assert!(is_name(kind.name), "{}", kind.name);
        assert!(std::ptr::eq(probes::find(kind.name).unwrap(), *kind));
        assert!(kind.summary.ends_with('.') && !kind.summary.contains('\n'), "{}: one sentence", kind.name);
        assert!(kind.effect <= kind.reach, "{}", kind.name);
    }
}

#[test]
fn every_file_of_a_probe_is_registered_and_has_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names = |folder: &str| -> BTreeSet<String> {
        fs::read_dir(root.join(folder))
            .unwrap()
            .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
            .filter(|name| name != "mod" && name != "registry")
            .collect()
    };
    let registered: BTreeSet<_> = PROBES.iter().map(|kind| kind.name.to_owned()).collect();
    assert_eq!(names("src/probes"), registered);
    assert_eq!(names("tests/probes"), registered, "each probe is tested against a real server");
}

#[test]
fn defaults_work_and_every_setting_is_documented() {
    for kind in PROBES {
        for quick in [false, true] {
            let built = (kind.build)(settings(""), quick).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
            assert_eq!(built.probe.kind().name, kind.name);
            let shown: BTreeSet<_> = built.settings.as_object().unwrap().keys().cloned().collect();
            let documented: BTreeSet<_> = kind.settings.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(shown, documented, "{}", kind.name);
        }
        for (name, text) in kind.settings {
            assert!(is_name(name) && text.trim().ends_with(['.', ')']), "{}.{name}: {text:?}", kind.name);
        }
    }
}

#[test]
fn an_unknown_setting_is_a_mistake_with_a_suggestion() {
    for kind in PROBES {
        let Some((name, _)) = kind.settings.first() else { continue };
        let wrong = format!("{name}x = 1");
        let mistakes = (kind.build)(settings(&wrong), false).err().unwrap();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        let text = mistakes[0].to_string();
        assert!(text.contains(&format!("{name}x")) && text.contains(&format!("{name:?}")), "{text}");
    }
}

#[test]
fn metrics_and_objectives_are_named_after_their_probe() {
    let mut metrics = BTreeSet::new();
    for kind in PROBES {
        for def in kind.metrics {
            assert!(def.name.starts_with(&format!("redprobe_{}_", kind.name)), "{}", def.name);
            assert!(metrics.insert(def.name), "{} is declared twice", def.name);
            assert!(def.help().ends_with('.'), "{}: {}", def.name, def.help());
            assert!(def.labels.iter().all(|label| is_name(label)), "{}", def.name);
        }
        let names: BTreeSet<_> = kind.objectives.iter().map(|def| def.name).collect();
        assert_eq!(names.len(), kind.objectives.len(), "{}", kind.name);
        for def in kind.objectives {
            assert!(is_name(def.name) && def.limit.is_finite(), "{}", def.name);
            assert!(!def.phrase.is_empty() && !def.phrase.ends_with('.'), "{}: {}", def.name, def.phrase);
            assert!(def.help.ends_with('.'), "{}: {}", def.name, def.help);
        }
    }
}
