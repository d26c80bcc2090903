//! Where a server is and how to log in: what a URL says, checked. Opening it belongs to [`super::open_stream`].

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Password, Sentinel, Tls};
use crate::error::Failure;

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp(String, u16),
    /// A unix socket.
    Unix(PathBuf),
    /// Wherever the sentinels say: to be found with [`Endpoint::find`] before each use, since it changes.
    Sentinel(Arc<Sentinel>),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
            Address::Sentinel(sentinel) => write!(f, "{sentinel}"),
        }
    }
}

/// How to reach and log in to one Redis server. Its `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it listens.
    pub address: Address,
    /// Set for `rediss://`.
    pub tls: Option<Tls>,
    /// ACL user, where it is not the default one.
    pub username: Option<String>,
    /// Password, where there is one.
    pub password: Option<Password>,
    /// Database number.
    pub database: i64,
    /// Bound of each step of connecting: resolve, connect, TLS, log in.
    pub connect_timeout: Duration,
    /// Bound of one command that does not block.
    pub response_timeout: Duration,
}

const DEFAULT_PORT: u16 = 6379;
const FORMS: &str =
    "redis://[user:password@]host[:port][/database], rediss://… for TLS, or unix:///path/to/socket";

impl Endpoint {
    /// For [`Endpoint::connect_timeout`] where nothing else is set.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
    /// For [`Endpoint::response_timeout`] where nothing else is set.
    pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(2);

    /// Reads a `redis://`, `rediss://` or `unix://` (also `redis+unix://`) URL; user and password percent-encoded. A
    /// socket's database goes into `?db=1`, user and password into `&user=…&pass=…`.
    ///
    /// # Errors
    /// A sentence about the first thing in it that cannot be. It never repeats any part of the URL that may be a
    /// password.
    pub fn parse(url: &str) -> Result<Self, String> {
        if url.contains('#') {
            return Err("has a '#': in a user or password write it as %23".into());
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(format!("is not a URL: expected {FORMS}"));
        };
        let read = match scheme {
            "redis" | "rediss" if url.contains('?') => {
                return Err(
                    "has a '?': a redis URL takes no parameters; in a user or password write it as %3F"
                        .into(),
                );
            }
            "redis" | "rediss" if rest.split_once('/').is_some_and(|(_, path)| path.contains('@')) => {
                return Err("has a '/' before an '@': in a user or password write it as %2F".into());
            }
            "redis" | "rediss" => read_tcp,
            "unix" | "redis+unix" => read_unix,
            _ => return Err(format!("has a scheme other than redis, rediss and unix: expected {FORMS}")),
        };
        // The url crate's errors name the part that is wrong and never repeat it.
        let parsed =
            Url::parse(url).map_err(|error| format!("is not a valid URL ({error}): expected {FORMS}"))?;
        read(&parsed)
    }

    /// The same login at another address: a node that discovery found, say.
    #[must_use]
    pub fn at(&self, address: Address) -> Self {
        let tls = self.tls.clone().map(|tls| match &address {
            Address::Tcp(host, _) => tls.for_host(host),
            Address::Unix(_) | Address::Sentinel(_) => tls,
        });
        Self { address, tls, ..self.clone() }
    }

    /// Every password that is sent on the way to it: its own, and its sentinels'.
    pub fn passwords(&self) -> impl Iterator<Item = &Password> {
        let sentinels = match &self.address {
            Address::Sentinel(sentinel) => &sentinel.sentinels[..],
            Address::Tcp(..) | Address::Unix(_) => &[],
        };
        [self].into_iter().chain(sentinels).filter_map(|endpoint| endpoint.password.as_ref())
    }

    /// Where it is now. What does not change is at hand; sentinels are asked, and the server they name whether it has
    /// the role (see [`Sentinel`]).
    ///
    /// # Errors
    /// Where no sentinel knows, or nobody whom they name has the role.
    pub async fn find(&self) -> Result<Self, Failure> {
        match &self.address {
            Address::Tcp(..) | Address::Unix(_) => Ok(self.clone()),
            Address::Sentinel(sentinel) => sentinel.find(self).await,
        }
    }

    fn new(address: Address) -> Self {
        Self {
            address,
            tls: None,
            username: None,
            password: None,
            database: 0,
            connect_timeout: Self::CONNECT_TIMEOUT,
            response_timeout: Self::RESPONSE_TIMEOUT,
        }
    }
}

fn read_tcp(url: &Url) -> Result<Endpoint, String> {
    if url.query().is_some() {
        return Err(
            "has a '?': a redis URL takes no parameters; in a user or password write it as %3F".into()
        );
    }
    let host = match url.host() {
        Some(url::Host::Ipv6(address)) => address.to_string(),
        Some(host) => decode(&host.to_string(), "host")?,
        None => return Err("names no host".into()),
    };
    let mut endpoint = Endpoint::new(Address::Tcp(host.clone(), url.port().unwrap_or(DEFAULT_PORT)));
    if url.port() == Some(0) {
        return Err("has the port 0: expected 1 to 65535".into());
    }
    endpoint.username = filled(decode(url.username(), "user")?);
    endpoint.password = secret(decode(url.password().unwrap_or_default(), "password")?);
    endpoint.database = database(url.path().trim_start_matches('/'))?;
    if url.scheme() == "rediss" {
        endpoint.tls = Some(Tls::web(host));
    }
    Ok(endpoint)
}

fn read_unix(url: &Url) -> Result<Endpoint, String> {
    if url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err(
            "names a socket by a relative path: expected unix:///path/to/socket, with three slashes".into()
        );
    }
    let path = decode(url.path(), "path")?;
    if path.len() < 2 {
        return Err("names no socket: expected unix:///path/to/socket".into());
    }
    let mut endpoint = Endpoint::new(Address::Unix(path.into()));
    for (key, value) in url.query_pairs() {
        match key.as_ref() {
            "db" => endpoint.database = database(&value)?,
            "user" => endpoint.username = filled(value.into_owned()),
            "pass" => endpoint.password = secret(value.into_owned()),
            _ => return Err("has an unknown parameter: a unix URL takes db, user and pass".into()),
        }
    }
    Ok(endpoint)
}

fn database(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    // What stands there is not repeated: with a '/' in a password it would be a part of the password.
    let number = text.parse::<u32>().ok().and_then(|number| i32::try_from(number).ok());
    number.map(i64::from).ok_or_else(|| {
        "has a path that is no database number: expected /0, /1, …; in a user or password write '/' as %2F".into()
    })
}

fn decode(text: &str, part: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded.map_err(|_| format!("has a {part} that is not UTF-8 once percent-decoded"))?.into_owned())
}

fn filled(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn secret(text: String) -> Option<Password> {
    filled(text).as_deref().map(Password::from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;

    use super::*;

    fn parsed(url: &str) -> (String, Option<String>, Option<String>, i64, bool) {
        let endpoint = Endpoint::parse(url).unwrap();
        let password = endpoint.password.map(|password| password.current().expose_secret().to_owned());
        (endpoint.address.to_string(), endpoint.username, password, endpoint.database, endpoint.tls.is_some())
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn reads_every_form() {
        assert_eq!(parsed("redis://cache"), ("cache:6379".into(), None, None, 0, false));
        assert_eq!(parsed("redis://127.0.0.1:7000/3"), ("127.0.0.1:7000".into(), None, None, 3, false));
        assert_eq!(parsed("redis://[::1]:7000/"), ("[::1]:7000".into(), None, None, 0, false));
        assert_eq!(parsed("redis://:p%40ss@h"), ("h:6379".into(), None, text("p@ss"), 0, false));
        assert_eq!(parsed("rediss://prober@h:6380/0"), ("h:6380".into(), text("prober"), None, 0, true));
        assert_eq!(parsed("redis://u%2F:a%3Ab%23@h"), ("h:6379".into(), text("u/"), text("a:b#"), 0, false));
        assert_eq!(parsed("unix:///run/redis.sock"), ("/run/redis.sock".into(), None, None, 0, false));
        assert_eq!(
            parsed("redis+unix:///run/a%20b?db=2&user=u&pass=p%26q"),
            ("/run/a b".into(), text("u"), text("p&q"), 2, false)
        );
    }

    #[test]
    fn tls_is_for_the_host() {
        let endpoint = Endpoint::parse("rediss://[::1]:7000").unwrap();
        assert_eq!(endpoint.tls.unwrap().server_name, "::1");
    }

    #[test]
    fn says_what_is_wrong() {
        for (url, part) in [
            ("localhost:6379", "is not a URL"),
            ("http://localhost", "scheme other than"),
            ("redis://:se#cret@h", "'#'"),
            ("redis://:se?cret@h", "'?'"),
            ("redis://:se/cret@h", "%2F"),
            ("redis://h:70000", "invalid port"),
            ("redis://h:0", "port 0"),
            ("redis://h/one", "no database number"),
            ("redis://h/-1", "no database number"),
            ("redis://", "names no host"),
            ("unix://run/redis.sock", "three slashes"),
            ("unix:///", "names no socket"),
            ("unix:///s?secret=1", "unknown parameter"),
            ("redis://:%ff@h", "password that is not UTF-8"),
        ] {
            let message = Endpoint::parse(url).unwrap_err();
            assert!(message.contains(part), "{url}: {message}");
            assert!(!message.contains("cret"), "{url}: {message}");
        }
    }

    #[test]
    fn debug_hides_the_password() {
        let endpoint = Endpoint::parse("rediss://me:hunter2@h").unwrap();
        assert!(!format!("{endpoint:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn never_panics_and_never_repeats_a_password(url in "\\PC*", password in "[xyz]{12}") {
            let _ = Endpoint::parse(&url);
            for url in [format!("redis://:{password}{url}"), format!("{url}://{password}@h"), format!("redis://u:{url}{password}@h")] {
                if let Err(message) = Endpoint::parse(&url) {
                    prop_assert!(!message.contains(&password), "{message}");
                }
            }
        }
    }
}
