//! Where the server of a run is, what the run may do there, and where its keys are by the time they are removed.
//!
//! Found anew for each run, and not again while it goes on: a failover or a moved slot ends that one run, and the next one
//! is at the right place. How sentinels and nodes are asked is the core's `conn`; what becomes of a run, `run`'s.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use measure::{
    Effect, Failure, Reason,
    conn::{
        self, Endpoint, Role,
        cluster::{Node, Topology},
    },
    keys::{CleanUp, KeySpace, Tag},
    lease,
    redis::aio::MultiplexedConnection,
};

use super::kept::KeptConnection;
use crate::{config::Target, sink::Sinks};

/// Where a run takes place.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// The server, until the run is over.
    pub(super) endpoint: Endpoint,
    /// What its keys are called.
    pub(super) tag: Tag,
    /// The key of the server's lease.
    pub(super) lease: String,
    /// Why it may only look here, where that is so.
    pub(super) only_looks: Option<Failure>,
}

impl Spot {
    /// The greatest effect of a run here that may have `effect` otherwise.
    pub(super) fn cap(&self, effect: Effect) -> Effect {
        if self.only_looks.is_some() { Effect::Observe } else { effect }
    }
}

/// Where the target's server is now.
///
/// # Errors
/// Where it cannot be found or asked.
pub(super) async fn find(target: &Target, kept: &KeptConnection, peers: &Peers) -> Result<Spot, Failure> {
    let endpoint = target.endpoint.find().await?;
    if target.is_in_cluster() {
        let topology = ask_kept(&endpoint, kept).await?;
        topology.iter().for_each(|topology| peers.learn(target, topology));
        return Ok(in_cluster(target, endpoint, topology));
    }
    let only_looks = target.is_replica().then(|| {
        let message =
            "this is the replica of the service, which is only looked at: its master is the node `master`";
        Failure::new(Reason::Readonly, message)
    });
    Ok(Spot { endpoint, tag: Tag::of(&target.name), lease: lease::KEY.to_owned(), only_looks })
}

/// `None` where the node does not tell its user.
async fn ask_kept(endpoint: &Endpoint, kept: &KeptConnection) -> Result<Option<Topology>, Failure> {
    let mut conn = kept.get(endpoint).await?;
    match Topology::ask(&mut conn).await {
        Ok(topology) => Ok(Some(topology)),
        Err(failure) if failure.reason == Reason::Denied => Ok(None),
        Err(failure) => {
            kept.close();
            Err(failure)
        }
    }
}

fn in_cluster(target: &Target, endpoint: Endpoint, topology: Option<Topology>) -> Spot {
    let only_looks = |why: &str, reason| Spot {
        endpoint: endpoint.clone(),
        tag: Tag::of(&target.name),
        lease: lease::KEY.to_owned(),
        only_looks: Some(Failure::new(reason, format!("{why}, so that it is only looked at"))),
    };
    let Some(topology) = topology else {
        return only_looks("the node does not let its user see its slots (+cluster|nodes)", Reason::Denied);
    };
    let Some(myself) = topology.myself() else {
        return only_looks("the node does not say which one it is", Reason::Protocol);
    };
    if myself.role == Role::Replica {
        return only_looks("the node is a replica in its cluster now", Reason::Readonly);
    }
    let keeps = |slot| topology.keeps(slot);
    match Tag::kept(&target.name, keeps).zip(lease::key_kept(keeps)) {
        Some((tag, lease)) => Spot { endpoint, tag, lease, only_looks: None },
        None => only_looks("the node has no slot that it keeps, and would take no key", Reason::Precondition),
    }
}

/// What became of the keys of a run.
pub(super) struct Cleaned {
    pub(super) result: Result<CleanUp, Failure>,
    /// Where they are now, where that is another server than the run's.
    pub(super) moved_to: Option<Endpoint>,
}

/// Removes the keys of a run at `at`, and wherever a failover or a moved slot has brought them.
pub(super) async fn clean_up(
    keys: &KeySpace,
    target: &Target,
    at: &Endpoint,
    conn: &mut Result<MultiplexedConnection, Failure>,
) -> Cleaned {
    let result = match conn {
        Ok(conn) => keys.clean_up(conn).await,
        Err(failure) => Err(failure.clone()),
    };
    let moved_to = holder(keys, target, at, conn.as_mut().ok()).await;
    let Some(endpoint) = &moved_to else { return Cleaned { result, moved_to } };
    let there = async {
        let (mut conn, _) = conn::connect(endpoint, "redprobe-clean-up").await?;
        keys.clean_up(&mut conn).await
    };
    Cleaned { result: there.await, moved_to }
}

/// The server that has the keys now, where it is not the one at `at`.
async fn holder(
    keys: &KeySpace,
    target: &Target,
    at: &Endpoint,
    conn: Option<&mut MultiplexedConnection>,
) -> Option<Endpoint> {
    let Some(slot) = keys.slot() else {
        // What does not change is found without asking.
        let now = target.endpoint.find().await.ok()?;
        return (now.address != at.address).then_some(now);
    };
    let said = match conn {
        Some(conn) => Topology::ask(conn).await.ok(),
        None => None,
    };
    let owner = match said {
        Some(topology) => topology.owner(slot).filter(|owner| owner.id != topology.me)?.address.clone(),
        None => ask_another(target).await?.owner(slot)?.address.clone(),
    };
    let address = owner.filter(|address| *address != at.address)?;
    Some(at.at(address))
}

/// What a node of the target's cluster says, the first that answers.
async fn ask_another(target: &Target) -> Option<Topology> {
    for node in target.cluster.iter().flat_map(|nodes| nodes.iter()) {
        let Ok((mut conn, _)) = conn::connect(node, "redprobe-discovery").await else { continue };
        if let Ok(topology) = Topology::ask(&mut conn).await {
            return Some(topology);
        }
    }
    None
}

/// Which nodes of its cluster each target has by name, as far as they have said who they are.
#[derive(Debug)]
pub(super) struct Peers {
    sinks: Arc<Sinks>,
    targets: Mutex<HashMap<String, Known>>,
}

#[derive(Debug, Default)]
struct Known {
    /// Ids by the nodes' names.
    ids: HashMap<String, String>,
    /// Nodes without a name, when that was last told.
    told: usize,
}

impl Peers {
    pub(super) fn new(sinks: Arc<Sinks>) -> Self {
        Self { sinks, targets: Mutex::default() }
    }

    /// Takes on what a node of the target says, and tells how many nodes of its cluster the configuration does not name:
    /// once each that it names has said who it is.
    fn learn(&self, target: &Target, topology: &Topology) {
        let mut all = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.entry(target.name.clone()).or_default();
        known.ids.insert(target.node.clone(), topology.me.clone());
        if known.ids.len() < target.cluster.as_ref().map_or(0, |nodes| nodes.len()) {
            return;
        }
        let is_unnamed = |node: &&Node| node.is_there && !known.ids.values().any(|id| *id == node.id);
        let unnamed: Vec<_> = topology.nodes.iter().filter(is_unnamed).collect();
        if unnamed.len() > known.told {
            let shown =
                |node: &&Node| node.address.as_ref().map_or_else(|| node.id.clone(), ToString::to_string);
            let nodes = unnamed.iter().map(shown).collect::<Vec<_>>().join(", ");
            let target = &target.name;
            tracing::warn!(
                target,
                "nodes of its cluster are not watched: {nodes}; name them in targets.{target}.cluster_nodes"
            );
        }
        known.told = unnamed.len();
        self.sinks.metrics.unnamed_nodes(&target.id, unnamed.len() as u64);
    }

    /// Forgets targets that are gone, and what was known of others: their nodes may be others now.
    pub(super) fn forget(&self) {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
