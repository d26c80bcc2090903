//! A real cluster of redis-servers on loopback, put together by its own commands, whose slots can be moved.

use std::{net::TcpListener, time::Duration};

use crate::{RedisServer, poll_until};

const PATIENCE: Duration = Duration::from_secs(30);
const SLOTS: usize = 16_384;

/// Some masters that share the slots among them, and perhaps a replica of the first.
#[derive(Debug)]
pub struct Cluster {
    /// The masters in the order of their slots, then the replica.
    pub servers: Vec<RedisServer>,
    masters: usize,
}

impl Cluster {
    /// As many masters, all slots among them in equal parts, and a replica of the first where wanted.
    #[must_use]
    pub fn start(masters: usize, with_replica: bool) -> Self {
        let servers: Vec<_> = (0..masters + usize::from(with_replica)).map(|_| node()).collect();
        let cluster = Self { servers, masters };
        for (index, server) in cluster.servers.iter().enumerate() {
            server.ok(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]);
        }
        let first = &cluster.servers[0];
        for server in &cluster.servers[1..] {
            let (port, bus) = (server.address().port().to_string(), bus_port(server));
            first.ok(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        for (index, server) in cluster.servers[..masters].iter().enumerate() {
            let (from, to) = (SLOTS * index / masters, SLOTS * (index + 1) / masters - 1);
            server.ok(&["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        cluster.await_agreement();
        if with_replica {
            let replica = &cluster.servers[masters];
            replica.ok(&["CLUSTER", "REPLICATE", &cluster.id(0)]);
            let follows = || replica.info("master_link_status") == "up";
            assert!(
                poll_until(PATIENCE, || replica.info("role") == "slave" && follows()),
                "it does not follow"
            );
        }
        cluster
    }

    fn await_agreement(&self) {
        let know = self.servers.len().to_string();
        let agrees = |server: &RedisServer| {
            let info = server.cli(&["CLUSTER", "INFO"]);
            let says = |line: &str| info.lines().any(|said| said.trim_end() == line);
            says("cluster_state:ok")
                && says(&format!("cluster_known_nodes:{know}"))
                && says("cluster_slots_ok:16384")
        };
        assert!(poll_until(PATIENCE, || self.servers.iter().all(agrees)), "the nodes do not agree");
    }

    /// The id of a node.
    #[must_use]
    pub fn id(&self, node: usize) -> String {
        self.servers[node].cli(&["CLUSTER", "MYID"])
    }

    /// The slot of a key.
    #[must_use]
    pub fn slot(&self, key: &str) -> u16 {
        self.servers[0].cli(&["CLUSTER", "KEYSLOT", key]).parse().expect("a number")
    }

    /// Moves slots with their keys from one master to another, as an operator would.
    ///
    /// # Panics
    /// Where a node refuses.
    pub fn move_slots(&self, slots: impl Iterator<Item = u16>, from: usize, to: usize) {
        let (from_id, to_id) = (self.id(from), self.id(to));
        let port = self.servers[to].address().port().to_string();
        for slot in slots.map(|slot| slot.to_string()) {
            self.servers[to].ok(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
            self.servers[from].ok(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
            loop {
                let keys = self.servers[from].cli(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
                let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
                if keys.is_empty() {
                    break;
                }
                let head = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "KEYS"];
                let moved = self.servers[from].cli(&[&head[..], &keys].concat());
                assert!(moved == "OK" || moved == "NOKEY", "{moved}");
            }
            // The one that gets it first, so that at no time nobody has it.
            let others = (0..self.masters).filter(|node| *node != to && *node != from);
            for node in [to, from].into_iter().chain(others) {
                self.servers[node].ok(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
            }
        }
    }

    /// The slots of a node, as it says itself.
    #[must_use]
    pub fn own_slots(&self, node: usize) -> Vec<u16> {
        let id = self.id(node);
        let nodes = self.servers[node].cli(&["CLUSTER", "NODES"]);
        let line = nodes.lines().find(|line| line.starts_with(&id)).expect("it knows itself");
        let ranges = line.split(' ').skip(8).filter(|word| !word.starts_with('['));
        let read = |text: &str| text.parse::<u16>().expect("a slot");
        ranges
            .flat_map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                read(first)..=read(last)
            })
            .collect()
    }
}

fn node() -> RedisServer {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a loopback port is free");
    let bus = listener.local_addr().expect("a bound socket has an address").port().to_string();
    drop(listener);
    RedisServer::with(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus,
        "--cluster-node-timeout",
        "2000",
        "--cluster-config-file",
        "nodes.conf",
        "--repl-diskless-sync-delay",
        "0",
    ])
}

fn bus_port(server: &RedisServer) -> String {
    let said = server.cli(&["CONFIG", "GET", "cluster-port"]);
    said.lines().nth(1).expect("it has a bus").to_owned()
}
