//! Which clients of a server are meant: by name, user, library, address, database. Used by `[pools]` and by the probes'
//! rules.
//!
//! What is counted of those clients belongs to the probes; reading CLIENT LIST to `measure::facts`.

use std::net::IpAddr;

use ipnet::IpNet;
use measure::facts::clients::Client;
use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

/// Names of groups that are made without a rule: the clients that no rule fits, and redprobe's own.
pub const RESERVED: [&str; 2] = ["other", "redprobe"];

/// What is known of a client by CLIENT LIST. All that is given must fit.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientMatch {
    /// What CLIENT SETNAME said; `*` is any text, `?` one character, `""` no name at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The ACL user; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The library, as CLIENT SETINFO said; likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lib_name: Option<String>,
    /// IP address, network (`10.2.0.0/16`), or address with `*` and `?`; without the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Number of the database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db: Option<u32>,
}

/// [`ClientMatch`], checked.
#[derive(Debug, Clone)]
pub struct Clients {
    name: Option<WildMatch>,
    user: Option<WildMatch>,
    library: Option<WildMatch>,
    address: Option<Addresses>,
    database: Option<u32>,
}

#[derive(Debug, Clone)]
enum Addresses {
    Net(IpNet),
    Pattern(WildMatch),
}

/// A pool of connections that applications are declared to have.
#[derive(Debug, Clone)]
pub struct DeclaredPool {
    /// Its name: the label.
    pub name: String,
    /// Which clients are its connections.
    pub clients: Clients,
    /// Connections of one instance at the most; 1 or more.
    pub max_connections: u64,
    /// Instances; 1 or more.
    pub instances: u64,
    /// Whether it is there for blocking reads.
    pub blocking: bool,
}

impl DeclaredPool {
    /// Connections of all instances at the most.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        self.max_connections.saturating_mul(self.instances)
    }
}

impl ClientMatch {
    /// Checks it.
    ///
    /// # Errors
    /// Every mistake with its key; without one where it is about all of them.
    pub fn compile(&self) -> Result<Clients, Vec<(&'static str, String)>> {
        let given = [&self.name, &self.user, &self.lib_name, &self.address].into_iter().any(Option::is_some);
        if !given && self.db.is_none() {
            let message = "missing, which would be every client; write at least one of name, user, lib_name, address, \
                           db, such as { name = \"api-*\" }";
            return Err(vec![("", message.to_owned())]);
        }
        let pattern = |text: &Option<String>| text.as_deref().map(WildMatch::new);
        let address = self.address.as_deref().map(addresses).transpose();
        Ok(Clients {
            name: pattern(&self.name),
            user: pattern(&self.user),
            library: pattern(&self.lib_name),
            address: address.map_err(|message| vec![("address", message)])?,
            database: self.db,
        })
    }
}

fn addresses(text: &str) -> Result<Addresses, String> {
    let is_path = text.starts_with('/');
    if text.contains(['*', '?']) || is_path {
        return Ok(Addresses::Pattern(WildMatch::new(text)));
    }
    let net =
        if text.contains('/') { text.parse().ok() } else { text.parse::<IpAddr>().ok().map(IpNet::from) };
    net.map(Addresses::Net).ok_or_else(|| {
        format!(
            "{text:?} is no address; write an IP address, a network such as \"10.2.0.0/16\", or either with * and ?, such \
             as \"10.2.*\" (the server knows addresses, not host names)"
        )
    })
}

impl Clients {
    /// Whether this client is one of them.
    #[must_use]
    pub fn contains(&self, client: &Client<'_>) -> bool {
        let fits = |pattern: &Option<WildMatch>, text: &[u8]| {
            pattern.as_ref().is_none_or(|pattern| pattern.matches(&String::from_utf8_lossy(text)))
        };
        let in_address = |addresses: &Addresses| match addresses {
            Addresses::Net(net) => client.ip().is_some_and(|ip| net.contains(&ip)),
            Addresses::Pattern(pattern) => pattern.matches(&String::from_utf8_lossy(client.host())),
        };
        self.database.is_none_or(|database| client.database == Some(database))
            && fits(&self.name, client.name)
            && fits(&self.user, client.user)
            && fits(&self.library, client.library.unwrap_or_default())
            && self.address.as_ref().is_none_or(in_address)
    }

    /// Whether the library is looked at, which servers before Redis 7.2 know nothing of.
    #[must_use]
    pub const fn asks_for_library(&self) -> bool {
        self.library.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &[u8] =
        b"id=7 addr=10.2.3.4:50000 name=api-1 user=app db=2 lib-name=redis-py(celery_v5) flags=N";

    fn contains(rule: &ClientMatch, line: &[u8]) -> bool {
        rule.compile().expect("the rule is good").contains(&Client::parse(line).expect("it has an id"))
    }

    fn by(key: &str, pattern: &str) -> ClientMatch {
        let mut rule = ClientMatch::default();
        let field = match key {
            "name" => &mut rule.name,
            "user" => &mut rule.user,
            "lib_name" => &mut rule.lib_name,
            _ => &mut rule.address,
        };
        *field = Some(pattern.to_owned());
        rule
    }

    #[test]
    fn each_key_is_looked_up_in_its_own_field() {
        for (key, pattern, fits) in [
            ("name", "api-*", true),
            ("name", "api-?", true),
            ("name", "api", false),
            ("name", "*", true),
            ("name", "", false),
            ("user", "app", true),
            ("user", "api-*", false),
            ("lib_name", "redis-py*", true),
            ("lib_name", "go-redis", false),
            ("address", "10.2.0.0/16", true),
            ("address", "10.3.0.0/16", false),
            ("address", "10.2.3.4", true),
            ("address", "10.2.3.5", false),
            ("address", "10.2.*", true),
            ("address", "*:50000", false),
            ("address", "::/0", false),
        ] {
            assert_eq!(contains(&by(key, pattern), CLIENT), fits, "{key} = {pattern:?}");
        }
        assert!(contains(&by("name", ""), b"id=1 name="), "unnamed clients can be meant");
        assert!(contains(&by("address", "/run/*"), b"id=1 addr=/run/redis.sock:0"));
        assert!(contains(&by("address", "2001:db8::/32"), b"id=1 addr=[2001:db8::1]:5"));
        assert!(!contains(&by("lib_name", "redis*"), b"id=1 addr=1.2.3.4:5"), "the server does not say");
    }

    #[test]
    fn all_that_is_given_must_fit() {
        let both = |db| ClientMatch { db: Some(db), ..by("name", "api-*") };
        assert!(contains(&both(2), CLIENT));
        assert!(!contains(&both(3), CLIENT));
        assert!(!contains(&ClientMatch { user: Some("other".into()), ..both(2) }, CLIENT));
    }

    #[test]
    fn a_rule_that_can_mean_nothing_is_refused() {
        let mistakes = |rule: ClientMatch| rule.compile().expect_err("it is refused");
        assert_eq!(mistakes(ClientMatch::default())[0].0, "");
        for address in ["cache.host", "10.2.0.0/33", "10.2", ""] {
            assert_eq!(mistakes(by("address", address))[0].0, "address", "{address}");
        }
    }
}
