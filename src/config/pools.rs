//! From `[pools.<name>]` to the pools that each target is declared to have, with every check on the way.
//!
//! How clients are told apart belongs to `settings::clients`; what a pool's connections come to, to the probes.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Mistakes,
    raw::{PoolSettings, TargetSettings},
    settings::clients::{DeclaredPool, RESERVED},
    targets,
};

/// The declared pools, each with the targets that it connects to.
#[derive(Debug, Default)]
pub(super) struct Pools(Vec<(Arc<DeclaredPool>, Option<Vec<String>>)>);

impl Pools {
    /// Those that connect to this target, by name.
    pub(super) fn on(&self, target: &str) -> Vec<Arc<DeclaredPool>> {
        let on = self.0.iter().filter(|(_, targets)| {
            targets.as_ref().is_none_or(|targets| targets.iter().any(|name| name == target))
        });
        on.map(|(pool, _)| Arc::clone(pool)).collect()
    }
}

/// Resolves every pool.
pub(super) fn pools(
    raw: BTreeMap<String, PoolSettings>,
    targets: &BTreeMap<String, TargetSettings>,
    mistakes: &mut Mistakes,
) -> Pools {
    let mut pools = Vec::new();
    for (name, settings) in raw {
        let path = format!("pools.{name}");
        check(&path, &name, &settings, targets, mistakes);
        let clients = settings.r#match.compile().map_err(|wrong| {
            for (key, message) in wrong {
                let key =
                    if key.is_empty() { format!("{path}.match") } else { format!("{path}.match.{key}") };
                if !is_misread(&key, mistakes) {
                    mistakes.add(key, message);
                }
            }
        });
        let Ok(clients) = clients else { continue };
        let pool = DeclaredPool {
            name,
            clients,
            max_connections: settings.max_connections.into(),
            instances: settings.instances.into(),
            blocking: settings.blocking,
        };
        pools.push((Arc::new(pool), settings.targets));
    }
    Pools(pools)
}

/// Everything but the match.
fn check(
    path: &str,
    name: &str,
    settings: &PoolSettings,
    targets: &BTreeMap<String, TargetSettings>,
    mistakes: &mut Mistakes,
) {
    if RESERVED.contains(&name) {
        mistakes.add(path, format!("{name:?} is the name of clients that are in no pool; take another name"));
    }
    for (key, value, what) in [
        (
            "max_connections",
            settings.max_connections,
            "the connections that one instance may have at the most",
        ),
        ("instances", settings.instances, "how many processes have such a pool"),
    ] {
        let key = format!("{path}.{key}");
        if value == 0 && !is_misread(&key, mistakes) {
            mistakes.add(key, format!("missing or 0; write {what}, 1 or more"));
        }
    }
    let key = format!("{path}.targets");
    let named = settings.targets.iter().flatten();
    for (index, target) in named.clone().enumerate() {
        if named.clone().take(index).any(|before| before == target) {
            mistakes.add(&key, format!("{target:?} is named twice"));
        } else if !targets.contains_key(target) {
            mistakes.add(&key, targets::unknown(target, targets.keys()));
        }
    }
    if settings.targets.as_ref().is_some_and(Vec::is_empty) {
        mistakes.add(key, "names no target; write some, or leave it out for every one");
    }
}

/// Whether what is there could not be read: it is not missing then.
fn is_misread(key: &str, mistakes: &Mistakes) -> bool {
    mistakes.0.iter().any(|mistake| mistake.key.starts_with(key))
}
