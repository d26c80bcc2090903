//! Who the master of a service is now, or a replica of it: what sentinels say, and whether the server that they name says
//! the same.
//!
//! All sentinels are asked at once and the majority counts, so that one that is down, slow or behind the times changes
//! nothing. Their word is not enough: an old master goes on answering until it is told of its successor, so that the
//! server is asked for its ROLE. Which run is to find which server, and when, is the daemon's to decide.

use std::{collections::HashMap, fmt, net::IpAddr, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use redis::{FromRedisValue, Value, aio::MultiplexedConnection};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::{Address, Endpoint, connect};
use crate::{
    error::{Failure, Reason},
    facts::Info,
    grant::Grant,
};

/// What is asked of the server that the sentinels name.
pub const VERIFY: Grant = Grant::observe("role", "", "see that it has the role that the sentinels say")
    .optional("INFO is asked instead, or else the sentinels are believed");

/// What is asked of the sentinels: for their users, and not for those of the servers.
pub const SENTINEL: [Grant; 2] = [
    Grant::observe("sentinel|get-master-addr-by-name", "x", "find the master"),
    Grant::observe("sentinel|replicas", "x", "find the replicas"),
];

/// What a server is to the others of its service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It takes writes.
    Master,
    /// It follows the master. Where there are several, it is the first by address that is up.
    Replica,
}

impl Role {
    /// Its word in the configuration and in labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "replica",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The sentinels that know where a server is.
#[derive(Debug, Clone)]
pub struct Sentinel {
    /// How to reach each of them, with a login of their own.
    pub sentinels: Vec<Endpoint>,
    /// What they call the master and its replicas.
    pub service: String,
    /// Which of those.
    pub role: Role,
}

/// "the master of mymaster": as people know it.
impl fmt::Display for Sentinel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} of {}", self.role, self.service)
    }
}

impl PartialEq for Sentinel {
    fn eq(&self, other: &Self) -> bool {
        let addresses = |sentinel: &Self| -> Vec<Address> {
            sentinel.sentinels.iter().map(|endpoint| endpoint.address.clone()).collect()
        };
        (&self.service, self.role) == (&other.service, other.role) && addresses(self) == addresses(other)
    }
}

impl Eq for Sentinel {}

/// What came of asking around.
#[derive(Default)]
struct Poll {
    /// Each sentinel's servers with the role, the best first.
    answers: Vec<Vec<Address>>,
    /// Those whom it did not help to ask, and why.
    failures: Vec<(Address, Failure)>,
    /// Servers that were asked themselves, and are not it.
    refuted: Vec<(Address, Failure)>,
}

impl Sentinel {
    /// Where the server is now, with the login of `login`. Takes no longer than two of its connect timeouts where one
    /// server is named, and one more for each further one.
    ///
    /// # Errors
    /// With the reason for which the server that most sentinels name cannot be asked; `readonly` where it is none of
    /// the role, as in the middle of a failover; `noreplicas` where they know of no replica that is up; the last
    /// sentinel's reason where none answers.
    pub(super) async fn find(&self, login: &Endpoint) -> Result<Endpoint, Failure> {
        let mut asking: FuturesUnordered<_> = self
            .sentinels
            .iter()
            .map(|sentinel| async { (&sentinel.address, self.ask(sentinel).await) })
            .collect();
        let mut poll = Poll::default();
        loop {
            // Once somebody has answered, the others have had their time.
            let patience =
                if poll.answers.is_empty() { login.connect_timeout } else { login.connect_timeout / 4 };
            let Ok(Some((sentinel, answer))) = timeout(patience, asking.next()).await else { break };
            match answer {
                Ok(addresses) => poll.answers.push(addresses),
                Err(failure) => poll.failures.push((sentinel.clone(), failure)),
            }
            if let Some(address) = poll.elected(self.sentinels.len() / 2 + 1)
                && let Some(found) = self.verified(login, address, &mut poll).await
            {
                return Ok(found);
            }
        }
        for address in poll.candidates() {
            if let Some(found) = self.verified(login, address, &mut poll).await {
                return Ok(found);
            }
        }
        Err(self.not_found(poll))
    }

    async fn ask(&self, sentinel: &Endpoint) -> Result<Vec<Address>, Failure> {
        let limit = sentinel.connect_timeout;
        let answer = async {
            let (mut conn, _) = connect(sentinel, "redprobe-discovery").await?;
            match self.role {
                Role::Master => self.ask_for_master(&mut conn).await,
                Role::Replica => self.ask_for_replicas(&mut conn).await,
            }
        };
        timeout(limit, answer).await.unwrap_or_else(|_elapsed| Err(late(limit)))
    }

    async fn ask_for_master(&self, conn: &mut MultiplexedConnection) -> Result<Vec<Address>, Failure> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.service);
        match command.query_async::<Option<(String, u16)>>(conn).await? {
            Some((host, port)) => Ok(vec![Address::Tcp(host, port)]),
            None => {
                let message = format!("it knows no master called {:?}: see sentinel_service", self.service);
                Err(Failure::new(Reason::Other, message))
            }
        }
    }

    async fn ask_for_replicas(&self, conn: &mut MultiplexedConnection) -> Result<Vec<Address>, Failure> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("REPLICAS").arg(&self.service);
        let replicas: Vec<HashMap<String, String>> = command.query_async(conn).await?;
        let mut up: Vec<_> = replicas.iter().filter_map(replica_up).collect();
        up.sort_by_key(|(host, port)| (host.parse::<IpAddr>().ok(), host.clone(), *port));
        Ok(up.into_iter().map(|(host, port)| Address::Tcp(host, port)).collect())
    }

    /// The server at this address, where it has the role.
    async fn verified(&self, login: &Endpoint, address: Address, poll: &mut Poll) -> Option<Endpoint> {
        let endpoint = login.at(address.clone());
        let limit = login.connect_timeout;
        let said = timeout(limit, role_of(&endpoint)).await.unwrap_or_else(|_elapsed| Err(late(limit)));
        let failure = match said {
            Ok(role) if role.is_none_or(|role| role == self.role) => return Some(endpoint),
            Ok(_other) => {
                let message =
                    "it says that it has the other role: a failover is under way, or it was not told yet";
                Failure::new(Reason::Readonly, message)
            }
            Err(failure) => failure,
        };
        poll.refuted.push((address, failure));
        None
    }

    fn not_found(&self, mut poll: Poll) -> Failure {
        if !poll.refuted.is_empty() {
            let (address, Failure { reason, message }) = poll.refuted.swap_remove(0);
            return Failure::new(reason, format!("the sentinels say that {self} is {address}: {message}"));
        }
        if !poll.answers.is_empty() {
            let Self { role, service, .. } = self;
            let message = format!("the sentinels know of no {role} of {service} that is up");
            return Failure::new(Reason::Noreplicas, message);
        }
        let said: Vec<_> =
            poll.failures.iter().map(|(sentinel, failure)| format!("{sentinel}: {failure}")).collect();
        let reason = poll.failures.last().map_or(Reason::Other, |(_, failure)| failure.reason);
        Failure::new(reason, format!("no sentinel says who {self} is: {}", said.join("; ")))
    }
}

impl Poll {
    /// The server that this many sentinels name first, where it was not asked yet.
    fn elected(&self, majority: usize) -> Option<Address> {
        let votes =
            |address: &Address| self.answers.iter().filter(|answer| answer.first() == Some(address)).count();
        let named = self.answers.iter().filter_map(|answer| answer.first());
        let mut elected = named.filter(|address| votes(address) >= majority);
        elected.find(|address| !self.is_refuted(address)).cloned()
    }

    /// All that were named and not asked yet, those of most sentinels first.
    fn candidates(&self) -> Vec<Address> {
        let mut counted: Vec<(usize, &Address)> = Vec::new();
        for address in self.answers.iter().flatten().filter(|address| !self.is_refuted(address)) {
            match counted.iter_mut().find(|(_, known)| *known == address) {
                Some((votes, _)) => *votes += 1,
                None => counted.push((1, address)),
            }
        }
        counted.sort_by_key(|(votes, _)| std::cmp::Reverse(*votes));
        counted.into_iter().map(|(_, address)| address.clone()).collect()
    }

    fn is_refuted(&self, address: &Address) -> bool {
        self.refuted.iter().any(|(refuted, _)| refuted == address)
    }
}

fn late(limit: Duration) -> Failure {
    Failure::new(Reason::Timeout, format!("no answer within {limit:?}"))
}

/// Its address, where the sentinel holds it to be up.
fn replica_up(replica: &HashMap<String, String>) -> Option<(String, u16)> {
    let is_down = |flag: &str| matches!(flag, "s_down" | "o_down" | "disconnected");
    if replica.get("flags")?.split(',').any(is_down) {
        return None;
    }
    Some((replica.get("ip")?.clone(), replica.get("port")?.parse().ok()?))
}

/// The role that the server says it has; `None` where it does not say.
async fn role_of(endpoint: &Endpoint) -> Result<Option<Role>, Failure> {
    let (mut conn, _) = connect(endpoint, "redprobe-discovery").await?;
    let word = match redis::cmd("ROLE").query_async::<Vec<Value>>(&mut conn).await.map_err(Failure::from) {
        Ok(said) => said.into_iter().next().and_then(|word| String::from_redis_value(word).ok()),
        Err(failure) if matches!(failure.reason, Reason::Denied | Reason::Unsupported) => {
            match Info::ask(&mut conn, &["replication"]).await {
                Ok(info) => info.text("role").map(str::to_owned),
                Err(failure) if failure.reason == Reason::Denied => None,
                Err(failure) => return Err(failure),
            }
        }
        Err(failure) => return Err(failure),
    };
    match word.as_deref() {
        None => Ok(None),
        Some("master") => Ok(Some(Role::Master)),
        Some("slave") => Ok(Some(Role::Replica)),
        Some(_sentinel) => Err(Failure::new(Reason::Protocol, "it is neither a master nor a replica")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(port: u16) -> Address {
        Address::Tcp("10.0.0.1".into(), port)
    }

    #[test]
    fn the_majority_is_heard_first_and_the_others_after_it() {
        let mut poll = Poll { answers: vec![vec![at(1)], vec![at(2), at(3)]], ..Poll::default() };
        assert_eq!(poll.elected(2), None);
        poll.answers.push(vec![at(2)]);
        assert_eq!(poll.elected(2), Some(at(2)));
        poll.refuted.push((at(2), late(Duration::ZERO)));
        assert_eq!(poll.elected(2), None);
        assert_eq!(poll.candidates(), [at(1), at(3)]);
    }

    #[test]
    fn a_replica_counts_while_it_is_up() {
        let replica = |flags: &str| {
            let fields = [("flags", flags), ("ip", "10.0.0.1"), ("port", "7000")];
            replica_up(&fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
        };
        assert_eq!(replica("slave"), Some(("10.0.0.1".into(), 7000)));
        for down in ["s_down,slave", "slave,disconnected", "o_down,slave"] {
            assert_eq!(replica(down), None);
        }
    }
}
