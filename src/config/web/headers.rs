//! `http_server_config.headers`: the five headers that may be added to responses, and what each may say.

use axum::http::{HeaderName, HeaderValue};

use super::{
    super::suggest,
    Findings,
    node::Node,
    table::{Table, shown},
};

/// Each header with the values that it may have; any where none are named. As exporter-toolkit has them.
const ALLOWED: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];

pub(super) fn read(table: Table, found: &mut Findings) -> Vec<(HeaderName, HeaderValue)> {
    let path = table.key("");
    let entries = table.rest().into_iter().filter_map(|(name, node)| {
        let header = header(&name, &node);
        header.map_err(|message| found.refuse(format!("{path}{name}"), message)).ok().flatten()
    });
    entries.collect()
}

/// A header; nothing where its value is blank and it need not have one.
fn header(name: &str, node: &Node) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let Some((_, values)) = ALLOWED.iter().find(|(allowed, _)| *allowed == name) else {
        let names = ALLOWED.map(|(allowed, _)| allowed);
        let hint = suggest::one_of(name, &names);
        return Err(format!(
            "this header cannot be configured; those that can are {}{hint}",
            names.join(", ")
        ));
    };
    let value = match node {
        Node::Text(text) => text.as_str(),
        Node::Null => "",
        other => return Err(format!("expected text, found {}", other.kind())),
    };
    if !values.is_empty() && !values.contains(&value) {
        return Err(format!("{} is not allowed; write {}", shown(value), values.join(" or ")));
    }
    if value.is_empty() {
        return Ok(None);
    }
    let value = HeaderValue::from_str(value)
        .map_err(|_| "cannot be sent: it has line breaks or control characters".to_owned())?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "is no name of a header")?;
    Ok(Some((name, value)))
}
