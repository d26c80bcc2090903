//! From `[targets.<name>]` and `[apps.<name>]` to what the plan holds, with every check on the way.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use measure::{
    Effect,
    conn::{Endpoint, Password},
};

use super::{
    App, Mistakes, Target,
    nodes::{self, Node},
    plan::PRODUCTION,
    pools::Pools,
    raw::{AppSettings, TargetSettings},
    settings::{Span, clients::DeclaredPool},
    sources, suggest, target_tls,
};

/// A target as resolved, with each of its nodes; `None` after a mistake, which does not make the name unknown.
pub(super) type Targets = BTreeMap<String, Option<Vec<Arc<Target>>>>;

/// The greatest effect a target gets, whatever it is given.
pub(super) fn capped(settings: &TargetSettings) -> Effect {
    if settings.environment == PRODUCTION { settings.allow.min(Effect::Touch) } else { settings.allow }
}

/// Resolves every target.
pub(super) fn targets(
    raw: BTreeMap<String, TargetSettings>,
    pools: &Pools,
    mistakes: &mut Mistakes,
    notes: &mut Vec<String>,
) -> Targets {
    let mut targets = Targets::new();
    for (name, settings) in raw {
        if capped(&settings) != settings.allow {
            notes.push(format!(
                "targets.{name}.allow: {} is lowered to touch: nothing above it runs on production",
                settings.allow
            ));
        }
        let nodes = target(&name, settings, &pools.on(&name), mistakes);
        let first = nodes.as_ref().and_then(|nodes| nodes.first());
        if first
            .is_some_and(|target| target.endpoint.username.is_some() && target.endpoint.password.is_none())
        {
            notes.push(format!(
                "targets.{name}.username: has no password, which is right only for a user with nopass; else set password \
                 or password_file"
            ));
        }
        targets.insert(name, nodes);
    }
    targets
}

/// Each of its nodes; itself where it is one server.
fn target(
    name: &str,
    settings: TargetSettings,
    pools: &[Arc<DeclaredPool>],
    mistakes: &mut Mistakes,
) -> Option<Vec<Arc<Target>>> {
    let path = format!("targets.{name}");
    let before = mistakes.0.len();
    if settings.environment.trim().is_empty() {
        mistakes
            .add(format!("{path}.environment"), "is empty; write what it is part of, such as \"staging\"");
    }
    for (key, value) in [
        ("max_keys", settings.max_keys),
        ("max_bytes", settings.max_bytes.0),
        ("max_connections", settings.max_connections),
    ] {
        if value == 0 {
            mistakes.add(format!("{path}.{key}"), "0 leaves a run nothing to work with; write 1 or more");
        }
    }
    let allow = capped(&settings);
    let (environment, profile) = (settings.environment.clone(), settings.profile);
    let (max_keys, max_bytes, max_connections) =
        (settings.max_keys, settings.max_bytes.0, settings.max_connections);
    let nodes = nodes::nodes(&path, settings, mistakes)?;
    if mistakes.0.len() > before {
        return None;
    }
    let target = |node: Node| Target {
        id: Target::id_of(name, &node.name),
        name: name.to_owned(),
        node: node.name,
        endpoint: node.endpoint,
        cluster: node.cluster,
        environment: environment.clone(),
        allow,
        profile,
        max_keys,
        max_bytes,
        max_connections,
        pools: pools.to_vec(),
    };
    Some(nodes.into_iter().map(|node| Arc::new(target(node))).collect())
}

/// The server at `url`.
pub(super) fn endpoint(path: &str, settings: TargetSettings, mistakes: &mut Mistakes) -> Option<Endpoint> {
    let key = |name: &str| format!("{path}.{name}");
    let timeouts = [
        timeout(key("connect_timeout"), settings.connect_timeout, mistakes),
        timeout(key("response_timeout"), settings.response_timeout, mistakes),
    ];
    let password =
        sources::secret(settings.password.clone(), settings.password_file.as_deref(), &key("password"));
    let password = password.map_err(|mistake| mistakes.0.push(mistake)).ok().flatten();
    if settings.url.is_empty() {
        mistakes.add(key("url"), "missing; write where the server is, such as \"redis://127.0.0.1:6379\"");
        return None;
    }
    // The parser's sentence begins with what the URL is or has.
    let mut endpoint = mistakes.take(key("url"), Endpoint::parse(&settings.url))?;
    [endpoint.connect_timeout, endpoint.response_timeout] = timeouts;
    target_tls::apply(path, &settings, &mut endpoint, mistakes);
    if endpoint.password.is_some() && password.is_some() {
        mistakes.add(key("password"), "is given, and the URL has one as well; keep one of them");
    }
    if endpoint.username.is_some() && settings.username.is_some() {
        mistakes.add(key("username"), "is given, and the URL has one as well; keep one of them");
    }
    endpoint.password =
        endpoint.password.or(password.map(|secret| Password::new(secret, settings.password_file)));
    endpoint.username = endpoint.username.or(settings.username);
    Some(endpoint)
}

/// A bound that has to leave time for something.
pub(super) fn timeout(key: String, span: Span, mistakes: &mut Mistakes) -> Duration {
    const LONGEST: Span = Span::secs(24 * 3600);
    if span == Span::secs(0) || span > LONGEST {
        mistakes.add(key, format!("{span} is out of range; write more than 0s and at most {LONGEST}"));
    }
    span.0
}

/// Resolves every application.
pub(super) fn apps(
    raw: BTreeMap<String, AppSettings>,
    targets: &Targets,
    mistakes: &mut Mistakes,
) -> BTreeMap<String, Arc<App>> {
    let apps = raw.into_iter().filter_map(|(name, settings)| {
        let path = format!("apps.{name}");
        let url = mistakes.take(format!("{path}.url"), http_url(&settings.url));
        let target = find(targets, &settings.target).and_then(the_one);
        let target = mistakes.take(format!("{path}.target"), target)??;
        Some((name.clone(), Arc::new(App { name, url: url?, target })))
    });
    apps.collect()
}

fn http_url(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("missing; write where it answers, such as \"http://127.0.0.1:8000\"".into());
    }
    let uri: Option<axum::http::Uri> = text.parse().ok();
    let is_http =
        uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if is_http {
        Ok(text.to_owned())
    } else {
        // Not quoted: whatever is no URL may hold a password in a place that nothing masks.
        Err("is no URL: expected http://host[:port] or https://…; in a user or password write what is no letter or \
             digit as %XX"
            .into())
    }
}

/// The target of this name, with all its nodes, or the one node of `name/node`; `None` where it has a mistake of its own.
pub(super) fn find(targets: &Targets, name: &str) -> Result<Option<Vec<Arc<Target>>>, String> {
    if let Some(nodes) = targets.get(name) {
        return Ok(nodes.clone());
    }
    let (whole, node) = name.split_once('/').unwrap_or((name, ""));
    match targets.get(whole) {
        None => Err(unknown(name, targets.keys())),
        Some(None) => Ok(None),
        Some(Some(nodes)) => match nodes.iter().find(|target| target.id == name) {
            Some(target) => Ok(Some(vec![Arc::clone(target)])),
            None => Err(unknown_node(whole, node, nodes)),
        },
    }
}

fn unknown_node(target: &str, node: &str, nodes: &[Arc<Target>]) -> String {
    let names: Vec<&str> = nodes.iter().map(|target| target.node.as_str()).collect();
    match (suggest::nearest(node, names.iter().copied()), &names[..]) {
        (_, [""]) => format!("{target:?} is one server and has no nodes; write {target:?}"),
        (Some(near), _) => format!("{target:?} has no node {node:?}; did you mean \"{target}/{near}\"?"),
        (None, _) => format!("{target:?} has no node {node:?}; its nodes are {}", names.join(", ")),
    }
}

/// For who needs one server and no more.
fn the_one(found: Option<Vec<Arc<Target>>>) -> Result<Option<Arc<Target>>, String> {
    match found.as_deref() {
        None | Some([]) => Ok(None),
        Some([one]) => Ok(Some(Arc::clone(one))),
        Some(nodes) => {
            let ids: Vec<String> = nodes.iter().map(|target| format!("{:?}", target.id)).collect();
            Err(format!("has several nodes; write one of {}", ids.join(", ")))
        }
    }
}

/// What to say of a target that is not there.
pub(super) fn unknown<'a>(name: &str, targets: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = targets.map(String::as_str).collect();
    match suggest::nearest(name, names.iter().copied()) {
        Some(near) => format!("unknown target {name:?}; did you mean {near:?}?"),
        None if names.is_empty() => format!("unknown target {name:?}; there is no [targets.NAME] at all"),
        None => format!("unknown target {name:?}; the targets are {}", names.join(", ")),
    }
}
