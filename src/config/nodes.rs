//! From `[targets.<name>]` to the servers it stands for: one by its URL, those that sentinels name, or nodes of a cluster.
//!
//! How one server is logged in to, whatever led there, is `targets`'.

use std::{collections::BTreeMap, sync::Arc};

use measure::conn::{Address, Endpoint, Password, Role, Sentinel};

use super::{Mistakes, raw::TargetSettings, sources, targets::endpoint, words};

/// Where sentinels listen unless somebody says otherwise.
const SENTINEL_PORT: u16 = 26_379;
const REDIS_PORT: u16 = 6_379;

/// One server of a target.
pub(super) struct Node {
    /// Its name in the target; empty where it is the target.
    pub(super) name: String,
    /// How to reach it.
    pub(super) endpoint: Endpoint,
    /// All configured nodes of its cluster, where it has one.
    pub(super) cluster: Option<Arc<Vec<Endpoint>>>,
}

/// The servers of the target at `path`; `None` after a mistake.
pub(super) fn nodes(path: &str, settings: TargetSettings, mistakes: &mut Mistakes) -> Option<Vec<Node>> {
    check(path, &settings, mistakes);
    match (&settings.sentinels, &settings.cluster_nodes) {
        (Some(sentinels), _) => {
            let sentinels = sentinels.clone();
            behind_sentinels(path, &sentinels, settings, mistakes)
        }
        (None, Some(nodes)) => {
            let nodes = nodes.clone();
            in_cluster(path, &nodes, settings, mistakes)
        }
        (None, None) => {
            let endpoint = endpoint(path, settings, mistakes)?;
            Some(vec![Node { name: String::new(), endpoint, cluster: None }])
        }
    }
}

/// Keys that do not go together, or have nothing to belong to.
fn check(path: &str, settings: &TargetSettings, mistakes: &mut Mistakes) {
    let mut refuse = |is_wrong: bool, key: &str, message: &str| {
        if is_wrong {
            mistakes.add(format!("{path}.{key}"), message);
        }
    };
    let (behind, cluster) = (settings.sentinels.is_some(), settings.cluster_nodes.is_some());
    refuse(behind && cluster, "cluster_nodes", "is given, and sentinels as well; keep one of them");
    refuse(
        (behind || cluster) && !settings.url.is_empty(),
        "url",
        "has no place beside sentinels or cluster_nodes, which say where the servers are; write username, password, \
         database and tls as keys of their own",
    );
    refuse(
        settings.tls && !behind && !cluster,
        "tls",
        "is for sentinels and cluster_nodes; write rediss:// in the URL",
    );
    refuse(
        settings.database > 0 && !behind,
        "database",
        "is for sentinels: a URL has it at its end (redis://host/1), and a cluster has no other than 0",
    );
    refuse(
        behind && settings.sentinel_service.as_ref().is_none_or(|name| name.trim().is_empty()),
        "sentinel_service",
        "missing; write what the sentinels call the master, such as \"mymaster\"",
    );
    for (key, is_given) in [
        ("sentinel_service", settings.sentinel_service.is_some()),
        ("sentinel_roles", settings.sentinel_roles.is_some()),
        ("sentinel_username", settings.sentinel_username.is_some()),
        ("sentinel_password", settings.sentinel_password.is_some()),
        ("sentinel_password_file", settings.sentinel_password_file.is_some()),
    ] {
        refuse(is_given && !behind, key, "is for a target with sentinels; write those, or leave it out");
    }
}

fn behind_sentinels(
    path: &str,
    sentinels: &[String],
    settings: TargetSettings,
    mistakes: &mut Mistakes,
) -> Option<Vec<Node>> {
    let key = format!("{path}.sentinels");
    let named = sentinels.iter().map(|text| (key.clone(), text.as_str()));
    let addresses = addresses(&key, named, SENTINEL_PORT, mistakes);
    let roles = settings.sentinel_roles.clone().unwrap_or_else(|| vec![Role::Master]);
    let roles_key = format!("{path}.sentinel_roles");
    if roles.is_empty() {
        mistakes.add(&roles_key, "names none; write \"master\", \"replica\" or both, or leave it out");
    }
    if (1..roles.len()).any(|index| roles[..index].contains(&roles[index])) {
        mistakes.add(roles_key, "names one twice");
    }
    let service = settings.sentinel_service.clone().unwrap_or_default();
    let login = login_of_sentinels(path, &settings, mistakes);
    let template = template(path, addresses.first(), settings, mistakes)?;
    let (username, password) = login?;
    let sentinel = Endpoint { username, password, database: 0, ..template.clone() };
    let sentinels: Vec<_> = addresses.into_iter().map(|address| one(&sentinel, address)).collect();
    let node = |role: Role| {
        let found = Sentinel { sentinels: sentinels.clone(), service: service.clone(), role };
        let endpoint = one(&template, Address::Sentinel(Arc::new(found)));
        Node { name: role.as_str().to_owned(), endpoint, cluster: None }
    };
    Some(roles.into_iter().map(node).collect())
}

/// The user and password of the sentinels themselves.
fn login_of_sentinels(
    path: &str,
    settings: &TargetSettings,
    mistakes: &mut Mistakes,
) -> Option<(Option<String>, Option<Password>)> {
    let key = format!("{path}.sentinel_password");
    let file = settings.sentinel_password_file.as_deref();
    let password = sources::secret(settings.sentinel_password.clone(), file, &key);
    let password = password.map_err(|mistake| mistakes.0.push(mistake)).ok()?;
    let username = settings.sentinel_username.clone();
    if username.is_some() && password.is_none() {
        let message = "has no password; set sentinel_password or sentinel_password_file";
        mistakes.add(format!("{path}.sentinel_username"), message);
    }
    let file = settings.sentinel_password_file.clone();
    Some((username, password.map(|secret| Password::new(secret, file))))
}

fn in_cluster(
    path: &str,
    nodes: &BTreeMap<String, String>,
    settings: TargetSettings,
    mistakes: &mut Mistakes,
) -> Option<Vec<Node>> {
    let path_of = |name: &String| format!("{path}.cluster_nodes.{name}");
    for name in nodes.keys() {
        mistakes.take(path_of(name), words::name(name));
    }
    let named = nodes.iter().map(|(name, text)| (path_of(name), text.as_str()));
    let addresses = addresses(&format!("{path}.cluster_nodes"), named, REDIS_PORT, mistakes);
    let template = template(path, addresses.first(), settings, mistakes)?;
    let endpoints: Vec<_> = addresses.into_iter().map(|address| one(&template, address)).collect();
    let cluster = Arc::new(endpoints.clone());
    let node = |(name, endpoint): (&String, Endpoint)| Node {
        name: name.clone(),
        endpoint,
        cluster: Some(Arc::clone(&cluster)),
    };
    // One for each name, or there was a mistake.
    Some(nodes.keys().zip(endpoints).map(node).collect())
}

/// Each address once, and one at least.
fn addresses<'a>(
    key: &str,
    texts: impl Iterator<Item = (String, &'a str)>,
    port: u16,
    mistakes: &mut Mistakes,
) -> Vec<Address> {
    let mut addresses = Vec::new();
    let mut is_empty = true;
    for (key, text) in texts {
        is_empty = false;
        let Some(address) = mistakes.take(key.clone(), address(text, port)) else { continue };
        if addresses.contains(&address) {
            mistakes.add(key, format!("{address} is named twice"));
        } else {
            addresses.push(address);
        }
    }
    if is_empty {
        mistakes.add(key, "names none; write host:port of each");
    }
    addresses
}

/// `host`, `host:port`, `[v6]:port`.
fn address(text: &str, port: u16) -> Result<Address, String> {
    // Not quoted: it may be a URL with a password in it.
    if text.contains(['/', '@']) {
        return Err("is more than host:port; user, password and TLS are keys of their own".into());
    }
    match Endpoint::parse(&format!("redis://{text}"))?.address {
        // The parser has a default of its own.
        Address::Tcp(host, _) if !has_port(text) => Ok(Address::Tcp(host, port)),
        address => Ok(address),
    }
}

fn has_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'))
}

/// One server of several: by the login of all, and with a certificate of its own.
fn one(template: &Endpoint, address: Address) -> Endpoint {
    let mut endpoint = template.at(address);
    endpoint.tls = endpoint.tls.map(|tls| tls.apart());
    endpoint
}

/// The login of all of them, at the first one's address.
fn template(
    path: &str,
    first: Option<&Address>,
    settings: TargetSettings,
    mistakes: &mut Mistakes,
) -> Option<Endpoint> {
    let scheme = if settings.tls { "rediss" } else { "redis" };
    // Where none could be read, the other keys are checked all the same.
    let address = first.map_or_else(|| "localhost".to_owned(), ToString::to_string);
    let url = format!("{scheme}://{address}/{}", settings.database);
    endpoint(path, TargetSettings { url, ..settings }, mistakes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_perhaps_a_port() {
        let shown = |text: &str| address(text, 26_379).map(|address| address.to_string());
        for (text, wanted) in [
            ("10.0.0.1", "10.0.0.1:26379"),
            ("10.0.0.1:6379", "10.0.0.1:6379"),
            ("cache.example:7000", "cache.example:7000"),
            ("[fd00::1]", "[fd00::1]:26379"),
            ("[fd00::1]:6379", "[fd00::1]:6379"),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(wanted));
        }
        for text in ["", "redis://h", "user:pw@h", "h:0", "h:70000"] {
            let message = shown(text).unwrap_err();
            assert!(!message.contains("pw"), "{message}");
        }
    }
}
