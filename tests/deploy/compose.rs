//! `docker-compose.monitoring.yml` as data: every key is known, every service locked down, every file there.

use std::{collections::BTreeMap, time::Duration};

use redprobe::config::{Overrides, Plan};
use serde::Deserialize;
use serde_json::Value;

use super::{at, is_pinned, read, secrets, yaml};

pub(super) const FILE: &str = "docker-compose.monitoring.yml";

/// The file; a key that is not here is a mistake, in it or here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compose {
    pub(super) services: BTreeMap<String, Service>,
    volumes: BTreeMap<String, Option<Value>>,
    networks: BTreeMap<String, Option<Network>>,
    pub(super) secrets: BTreeMap<String, SecretFile>,
    #[serde(rename = "x-service")]
    _service: Value,
    #[serde(rename = "x-check")]
    _check: Value,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Service {
    image: String,
    build: Option<String>,
    user: String,
    #[serde(default)]
    pub(super) command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) volumes: Vec<String>,
    #[serde(default)]
    tmpfs: Vec<String>,
    #[serde(default)]
    pub(super) secrets: Vec<String>,
    networks: Vec<String>,
    #[serde(default)]
    ports: Vec<String>,
    #[serde(default)]
    depends_on: BTreeMap<String, Value>,
    restart: String,
    read_only: bool,
    cap_drop: Vec<String>,
    security_opt: Vec<String>,
    pids_limit: u32,
    mem_limit: String,
    cpus: f64,
    #[serde(default)]
    ulimits: BTreeMap<String, u64>,
    stop_grace_period: String,
    logging: Logging,
    pub(super) healthcheck: Healthcheck,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Logging {
    driver: String,
    options: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Healthcheck {
    pub(super) test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
    start_period: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Network {
    #[serde(default)]
    internal: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretFile {
    pub(super) file: String,
}

impl Compose {
    pub(super) fn read() -> Self {
        yaml(FILE)
    }

    fn share_a_network(&self, one: &str, other: &str) -> bool {
        let networks = &self.services[other].networks;
        self.services[one].networks.iter().any(|network| networks.contains(network))
    }
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn bytes(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let number: u64 = number.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
    number
        << [("k", 10), ("m", 20), ("g", 30)].into_iter().find(|(name, _)| *name == unit).expect("k, m or g").1
}

#[test]
fn every_service_is_locked_down() {
    let compose = Compose::read();
    let names: Vec<_> = compose.services.keys().map(String::as_str).collect();
    assert_eq!(names, ["alertmanager", "grafana", "prometheus", "redis", "redprobe"]);
    for (name, service) in &compose.services {
        if service.build.is_some() {
            assert_eq!(service.image, concat!("redprobe:", env!("CARGO_PKG_VERSION")));
        } else {
            assert!(is_pinned(&service.image), "{name}: {} is not pinned", service.image);
        }
        let (uid, _) = service.user.split_once(':').expect("user and group");
        assert!(uid.parse::<u32>().is_ok_and(|uid| uid != 0), "{name}: {} may be root", service.user);
        assert!(service.read_only, "{name}");
        assert_eq!(service.cap_drop, ["ALL"], "{name}");
        assert_eq!(service.security_opt, ["no-new-privileges:true"], "{name}");
        assert_eq!(service.restart, "unless-stopped", "{name}");
        assert!((32..=1024).contains(&service.pids_limit), "{name}");
        assert!(bytes(&service.mem_limit) >= 64 << 20 && service.cpus > 0.0, "{name}");
        assert!(service.ulimits.values().all(|&limit| limit > 10_000), "{name}");
        assert_eq!(service.logging.driver, "json-file", "{name}");
        for option in ["max-size", "max-file"] {
            assert!(service.logging.options.contains_key(option), "{name}: {option}");
        }
        for port in &service.ports {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port} is open to others");
        }
        for place in &service.tmpfs {
            assert!(place.contains("size="), "{name}: {place} can fill the memory");
        }
    }
}

#[test]
fn every_service_is_asked_how_it_is() {
    for (name, service) in Compose::read().services {
        let check = service.healthcheck;
        assert!(["CMD", "CMD-SHELL"].contains(&check.test[0].as_str()) && check.test.len() > 1, "{name}");
        assert!(duration(&check.timeout) < duration(&check.interval), "{name}");
        assert!(check.retries >= 2 && duration(&check.start_period) >= Duration::from_secs(10), "{name}");
    }
}

#[test]
fn what_is_mounted_is_there_and_cannot_be_written() {
    let compose = Compose::read();
    for (name, service) in &compose.services {
        for volume in &service.volumes {
            let (source, rest) = volume.split_once(':').expect("source:place");
            if source.starts_with("./") {
                assert!(at(source).exists(), "{name} mounts {source}, which is not there");
                assert!(rest.ends_with(":ro"), "{name} could write {source}");
            } else {
                assert!(compose.volumes.contains_key(source), "{name}: no volume is called {source}");
            }
        }
        for dependency in service.depends_on.keys() {
            assert!(compose.services.contains_key(dependency), "{name} depends on {dependency}");
        }
    }
}

#[test]
fn who_has_nothing_to_say_to_another_cannot_reach_it() {
    let compose = Compose::read();
    let declared: Vec<_> = compose.networks.keys().collect();
    for (name, service) in &compose.services {
        let known = service.networks.iter().all(|network| declared.contains(&network));
        assert!(known, "{name}: {:?} of {declared:?}", service.networks);
        let reaches: Vec<_> = compose
            .services
            .keys()
            .filter(|other| *other != name && compose.share_a_network(name, other))
            .map(String::as_str)
            .collect();
        let wanted: &[&str] = match name.as_str() {
            "redis" => &["redprobe"],
            "redprobe" => &["prometheus", "redis"],
            "prometheus" => &["alertmanager", "grafana", "redprobe"],
            "grafana" => &["alertmanager", "prometheus"],
            _ => &["grafana", "prometheus"],
        };
        assert_eq!(reaches, wanted, "{name}");
    }
    assert!(compose.networks["data"].as_ref().is_some_and(|network| network.internal));
    assert!(compose.services["redis"].ports.is_empty());
}

/// A container that is killed while a setting is being put back leaves it to the next start.
#[test]
fn a_stop_is_given_longer_than_a_restore_may_take() {
    let config = secrets::with_secrets(&read("config/examples/compose.toml"));
    let plan = Plan::load_with(Some(&config.file), [].into(), &Overrides::default()).expect("no mistakes");
    let grace = duration(&Compose::read().services["redprobe"].stop_grace_period);
    assert!(grace >= plan.limits.stop_timeout + Duration::from_secs(10), "{grace:?}");
}

#[test]
fn redis_has_room_for_more_than_its_data() {
    let config = read("config/redis.conf");
    let setting = |name: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not set")).trim().to_owned()
    };
    let data = bytes(setting("maxmemory").trim_end_matches('b'));
    let service = &Compose::read().services["redis"];
    assert!(bytes(&service.mem_limit) * 2 >= data * 3, "{} for {data}", service.mem_limit);
    let clients: u64 = setting("maxclients").parse().expect("a number");
    assert!(service.ulimits["nofile"] >= clients + 32);
}

/// The password of Grafana's administrator is a file; nothing secret is in the environment, where anybody who may ask
/// the engine reads it.
#[test]
fn no_secret_is_in_the_environment() {
    for (name, service) in Compose::read().services {
        for (key, value) in &service.environment {
            let secret = ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| key.contains(word));
            assert!(
                !secret || (key.ends_with("__FILE") && value.starts_with("/run/secrets/")),
                "{name}: {key}"
            );
        }
    }
}
