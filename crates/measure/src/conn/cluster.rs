//! What a node of a cluster says of the cluster: which nodes there are, which slots each has, and which of them are moving.
//!
//! One command, CLUSTER NODES, since it alone has all of that on every version. How many nodes should be known, and what
//! runs where, is decided elsewhere; a plain connection to one node is all that is ever used.

use std::ops::RangeInclusive;

use redis::aio::MultiplexedConnection;

use super::{Address, Role};
use crate::{
    error::{Failure, Reason},
    grant::Grant,
};

/// What [`Topology::ask`] sends.
pub const NODES: Grant = Grant::observe("cluster|nodes", "", "see which slots the node has")
    .optional("the node is only looked at, since it is not known which keys it would take");

/// Slots of a cluster.
pub const SLOTS: u16 = 16_384;

/// A node, as another one sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its id, which stays the same whatever its address.
    pub id: String,
    /// Where the others reach it; `None` where that is not known.
    pub address: Option<Address>,
    /// Master or replica.
    pub role: Role,
    /// Whether it is a part of the cluster that is there: neither failed, nor still to be met.
    pub is_there: bool,
    /// The slots that it has.
    pub slots: Vec<RangeInclusive<u16>>,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    /// All nodes, the asked one too.
    pub nodes: Vec<Node>,
    /// The id of the asked one.
    pub me: String,
    /// Slots of the asked one that are on their way to or from it.
    moving: Vec<u16>,
}

impl Topology {
    /// Asks a node.
    ///
    /// # Errors
    /// With the node's reason where it denies it, or goes away; `other` where it is no node of a cluster.
    pub async fn ask(conn: &mut MultiplexedConnection) -> Result<Self, Failure> {
        let text: String = redis::cmd("CLUSTER").arg("NODES").query_async(conn).await.map_err(|error| {
            let failure = Failure::from(error);
            if !failure.message.contains("cluster support disabled") {
                return failure;
            }
            Failure::new(
                Reason::Other,
                "it is no node of a cluster: name it by `url` instead of cluster_nodes",
            )
        })?;
        Ok(Self::parse(&text))
    }

    /// Reads the answer to CLUSTER NODES. Lines of another shape are passed over.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut topology = Self::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [id, address, flags, _master, _ping, _pong, _epoch, _link, slots @ ..] = &words[..] else {
                continue;
            };
            let has = |flag: &str| flags.split(',').any(|one| one == flag);
            if has("myself") {
                topology.me = (*id).to_owned();
                topology.moving = slots.iter().filter_map(|word| moving(word)).collect();
            }
            topology.nodes.push(Node {
                id: (*id).to_owned(),
                address: read_address(address),
                role: if has("master") { Role::Master } else { Role::Replica },
                is_there: !(has("fail") || has("handshake") || has("noaddr")),
                slots: slots.iter().filter_map(|word| range(word)).collect(),
            });
        }
        topology
    }

    /// The asked node.
    #[must_use]
    pub fn myself(&self) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == self.me)
    }

    /// Whether the asked node takes the keys of this slot, and is about to go on with that.
    #[must_use]
    pub fn keeps(&self, slot: u16) -> bool {
        self.myself().is_some_and(|node| node.has(slot)) && !self.moving.contains(&slot)
    }

    /// The node that has this slot.
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<&Node> {
        self.nodes.iter().find(|node| node.has(slot))
    }
}

impl Node {
    /// Whether this slot is its.
    #[must_use]
    pub fn has(&self, slot: u16) -> bool {
        self.slots.iter().any(|range| range.contains(&slot))
    }
}

/// The slot of a key: of what is between its first braces, where there is anything.
#[must_use]
pub fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// CRC-16/XMODEM, which the cluster specification names: polynomial 0x1021, from 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// `10.0.0.1:7000@17000,name.example`: the name is not used, since the node is known to others by its address.
fn read_address(word: &str) -> Option<Address> {
    let word = word.split(['@', ',']).next()?;
    let (host, port) = word.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port: u16 = port.parse().ok()?;
    (!host.is_empty() && port > 0).then(|| Address::Tcp(host.to_owned(), port))
}

/// `0-5460`, `9000`.
fn range(word: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (last < SLOTS).then_some(first..=last)
}

/// The slot of `[93->-id]`, which leaves, or `[93-<-id]`, which comes.
fn moving(word: &str) -> Option<u16> {
    word.strip_prefix('[')?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "a1 10.0.0.1:7000@17000,a.example myself,master - 0 0 3 connected 0-99 200 [90->-b2] [300-<-b2]\n\
        b2 [fd00::2]:7001@17001 master - 0 1 2 connected 100-199 201-16383\n\
        c3 10.0.0.3:7002@17002 slave,fail a1 0 1 3 disconnected\n\
        d4 :0@0 master,noaddr - 1 1 0 disconnected\n\
        vars currentEpoch 6 lastVoteEpoch 0\n";

    #[test]
    fn reads_nodes_slots_and_what_is_moving() {
        let topology = Topology::parse(TEXT);
        assert_eq!(topology.nodes.len(), 4);
        let myself = topology.myself().unwrap();
        assert_eq!((myself.id.as_str(), myself.role, myself.is_there), ("a1", Role::Master, true));
        assert!(topology.keeps(0) && topology.keeps(200) && !topology.keeps(100));
        assert!(!topology.keeps(90), "it leaves");
        assert!(!topology.keeps(300), "it is not here yet");
        let owner = topology.owner(150).unwrap();
        assert_eq!(owner.address, Some(Address::Tcp("fd00::2".into(), 7001)));
        assert_eq!(topology.nodes.iter().filter(|node| node.is_there).count(), 2);
        assert_eq!(topology.nodes[2].role, Role::Replica);
        assert_eq!(topology.nodes[3].address, None);
    }

    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{}{bar}"), crc16(b"foo{}{bar}") % SLOTS);
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "(?s).*", key in ".*") {
            let topology = Topology::parse(&text);
            let _ = (topology.myself(), topology.keeps(0), topology.owner(0));
            prop_assert!(slot(&key) < SLOTS);
        }
    }
}
