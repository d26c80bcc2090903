//! "Did you mean": the nearest of the names that would have been right.

/// The nearest name, where one is near enough to have been meant.
pub(crate) fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let nearness = |name: &str| strsim::normalized_damerau_levenshtein(found, name);
    names
        .into_iter()
        .map(|name| (nearness(name), name))
        .filter(|(near, _)| *near >= 0.6)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// `; did you mean "x"?`, or nothing.
pub(super) fn one_of(found: &str, names: &[&str]) -> String {
    nearest(found, names.iter().copied()).map_or_else(String::new, |name| format!("; did you mean {name:?}?"))
}

/// What to say of a key that does not exist.
pub(super) fn unknown_key(found: &str, names: &[&str]) -> String {
    match nearest(found, names.iter().copied()) {
        Some(name) => format!("unknown key; did you mean {name:?}?"),
        None if names.is_empty() => "unknown key; there are none here".into(),
        None => format!("unknown key; the keys here are {}", names.join(", ")),
    }
}
