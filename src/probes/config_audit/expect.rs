//! What a person expects of settings, in place of the catalogue's rules: `expect = { maxmemory = "2gb" }`.
//!
//! Everything that can be wrong with it is found when the configuration is read. How an expectation is judged belongs to
//! `evaluate`.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor},
    ser::SerializeMap,
};

use super::{
    known::{self, KNOWN, Kind, Setting},
    normal,
    value::{Value, yes_or_no},
};
use crate::config::settings::nearest;

/// Settings and what is expected of them, as written.
#[derive(Debug, Clone, Default)]
pub struct Expectations(BTreeMap<String, Written>);

/// A value as a person wrote it: text, a number, a switch or a list is the text that redis.conf would have.
#[derive(Clone)]
struct Written(String);

/// What is expected of one setting.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) setting: &'static Setting,
    pub(super) value: Value,
}

impl Expectations {
    /// Reads all of them.
    ///
    /// # Errors
    /// Every one that cannot be: the setting's name, and what is wrong.
    pub(super) fn read(&self) -> Result<Vec<Expected>, Vec<String>> {
        let (mut all, mut mistakes) = (Vec::<Expected>::new(), Vec::new());
        for (name, written) in &self.0 {
            match read(name, &written.0) {
                Ok(expected) => match all.iter().find(|other| other.setting == expected.setting) {
                    Some(_) => mistakes
                        .push(format!("{name} is another name of {}; keep one", expected.setting.name)),
                    None => all.push(expected),
                },
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if mistakes.is_empty() { Ok(all) } else { Err(mistakes) }
    }
}

fn read(name: &str, text: &str) -> Result<Expected, String> {
    if known::is_secret(name) {
        return Err(format!(
            "{name} may hold a secret, which is never read; take it out (whether the default user needs a password is \
             checked without it)"
        ));
    }
    let Some(setting) = known::find(name) else {
        let names = KNOWN.iter().flat_map(Setting::names);
        let near = nearest(&name.replace('_', "-"), names);
        return Err(match near {
            Some(near) => format!("{name} is no setting that is known; did you mean {near:?}?"),
            None => format!("{name} is no setting that is known"),
        });
    };
    let value = normal::read(setting.kind, text).ok_or_else(|| {
        let near = match setting.kind {
            Kind::Word(words) => nearest(text, words.iter().copied()),
            _ => None,
        };
        let meant = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        format!("{name} cannot be {text:?}: expected {}{meant}", normal::expected(setting.kind))
    })?;
    Ok(Expected { setting, value })
}

impl Expected {
    /// As redis.conf has it.
    pub(super) fn shown(&self) -> String {
        normal::show(self.setting.kind, &self.value)
    }

    /// The value as one argument of CONFIG SET.
    fn argument(&self) -> String {
        let text = match (self.setting.kind, &self.value) {
            (Kind::Size | Kind::SizeOrShare, Value::Number(bytes)) if self.shown().contains(' ') => {
                bytes.to_string()
            }
            _ => self.shown(),
        };
        if text.contains(' ') { format!("\"{text}\"") } else { text }
    }

    /// How to make it so.
    pub(super) fn remedy(&self) -> String {
        let (name, value) = (self.setting.name, self.argument());
        if self.setting.fixed {
            format!(
                "{name} {value} in redis.conf, then a restart: it cannot be changed while the server runs"
            )
        } else {
            format!("CONFIG SET {name} {value}, and the same line in redis.conf")
        }
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = String;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value as redis.conf has it, such as \"2gb\", \"everysec\", 300 or \"\"")
            }

            fn visit_str<E>(self, text: &str) -> Result<String, E> {
                Ok(text.to_owned())
            }

            fn visit_i64<E>(self, number: i64) -> Result<String, E> {
                Ok(number.to_string())
            }

            fn visit_u64<E>(self, number: u64) -> Result<String, E> {
                Ok(number.to_string())
            }

            fn visit_bool<E>(self, flag: bool) -> Result<String, E> {
                Ok(yes_or_no(flag).to_owned())
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut elements: A) -> Result<String, A::Error> {
                let mut words = Vec::new();
                while let Some(Written(word)) = elements.next_element()? {
                    words.push(word);
                }
                Ok(words.join(" "))
            }
        }

        deserializer.deserialize_any(Any).map(Self)
    }
}

/// The value of what may be a secret does not show: `/config` and messages quote what is written.
impl Serialize for Expectations {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, written) in &self.0 {
            let shown = if known::find(name).is_some() { &*written.0 } else { "***" };
            map.serialize_entry(name, shown)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Expectations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self)
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expectations(toml: &str) -> Expectations {
        toml::from_str(toml).unwrap()
    }

    fn mistakes(toml: &str) -> String {
        expectations(toml).read().unwrap_err().join("\n")
    }

    #[test]
    fn values_are_read_however_they_are_written() {
        let read =
            expectations("maxmemory = \"2gb\"\nappendonly = true\ntcp_keepalive = 60\nsave = []").read();
        let shown: Vec<_> =
            read.unwrap().iter().map(|it| format!("{} {}", it.setting.name, it.shown())).collect();
        assert_eq!(shown, ["appendonly yes", "maxmemory 2gb", "save \"\"", "tcp-keepalive 60"]);
    }

    #[test]
    fn mistakes_name_the_setting_and_what_was_meant() {
        assert!(mistakes("maxmemry = 1").contains("did you mean \"maxmemory\"?"));
        assert!(mistakes("maxmemory = \"2 gb\"").contains("expected a size such as"));
        assert!(mistakes("maxmemory-policy = \"alkeys-lru\"").contains("did you mean \"allkeys-lru\"?"));
        assert!(mistakes("save = \"900\"").contains("seconds and changes"));
        assert!(mistakes("slave-priority = 1\nreplica-priority = 1").contains("another name"));
        let all = mistakes("maxmemory = \"x\"\nnonsense = 1");
        assert_eq!(all.lines().count(), 2, "{all}");
    }

    #[test]
    fn a_secret_is_refused_and_not_repeated() {
        let secret = expectations("requirepass = \"s3cret\"");
        let told = format!("{:?} {:?} {}", secret.read(), secret, serde_json::to_string(&secret).unwrap());
        assert!(told.contains("may hold a secret") && !told.contains("s3cret"), "{told}");
    }

    #[test]
    fn the_remedy_is_a_command_that_the_server_takes() {
        let remedy = |toml: &str| expectations(toml).read().unwrap()[0].remedy();
        assert!(remedy("save = \"\"").starts_with("CONFIG SET save \"\","));
        assert!(remedy("save = \"900 1\"").starts_with("CONFIG SET save \"900 1\","));
        assert!(remedy("maxmemory = \"2g\"").starts_with("CONFIG SET maxmemory 2000000000,"));
        assert!(remedy("databases = 1").starts_with("databases 1 in redis.conf, then a restart"));
    }
}
