//! Where the configuration comes from: file and environment, merged into one tree of values; and the files of secrets.
//!
//! What the values mean belongs to `raw` and what follows it.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use config::{Config, ConfigError, Environment, File, FileFormat, Value, ValueKind};
use secrecy::SecretString;

use super::{Mistake, secret::Secret};

/// What `Value::origin` says of a value from the environment.
const ENVIRONMENT: &str = "the environment";

/// Where the configuration is looked for when nobody says.
const DEFAULT_FILE: &str = "/etc/redprobe/redprobe.toml";

/// The environment, by name.
pub(super) type Env = HashMap<String, String>;

/// What to add to a message on this value: the file is not where to look for one from the environment.
pub(super) fn blame(value: &Value) -> &'static str {
    if from_environment(value) { " (from the environment)" } else { "" }
}

/// A table that a longer key called into being has no origin of its own: what is in it has.
fn from_environment(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Table(table) => !table.is_empty() && table.values().all(from_environment),
        _ => value.origin() == Some(ENVIRONMENT),
    }
}

/// The process's environment. Names and values that are no UTF-8 are none of ours.
pub(super) fn process_env() -> Env {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The file that `path` names, or the default one where it exists.
pub(super) fn file(path: Option<&Path>) -> Option<PathBuf> {
    path.map(Path::to_path_buf).or_else(|| Some(PathBuf::from(DEFAULT_FILE)).filter(|path| path.exists()))
}

/// File and environment as one tree.
pub(super) fn load(path: Option<&Path>, env: Env) -> Result<Value, Vec<Mistake>> {
    let mut builder = Config::builder();
    let name = path.map_or_else(|| "environment".into(), |path| path.display().to_string());
    let refuse = |message: String| vec![Mistake::new(&name, message)];
    if let Some(path) = path {
        let format = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => FileFormat::Toml,
            Some("yaml" | "yml") => FileFormat::Yaml,
            _ => return Err(refuse("unknown format; name the file .toml, .yaml or .yml".into())),
        };
        let text =
            std::fs::read_to_string(path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        // Apart from the environment, so that a mistake in the file is not laid at its door.
        builder = builder.add_source(File::from_str(&text, format));
        builder.clone().build().map_err(|error| refuse(syntax(&error, &text)))?;
    }
    let environment = Environment::with_prefix("REDPROBE").prefix_separator("__").separator("__");
    let config = builder
        .add_source(environment.source(Some(env)))
        .build()
        .map_err(|error| vec![Mistake::new("environment", format!("REDPROBE__… cannot be read: {error}"))])?;
    let mut root = config.cache;
    drop_empty(&mut root);
    Ok(root)
}

/// A section with nothing under it (`targets:` in YAML) is a missing one.
fn drop_empty(value: &mut Value) {
    if let ValueKind::Table(table) = &mut value.kind {
        table.retain(|_, value| value.kind != ValueKind::Nil);
        table.values_mut().for_each(drop_empty);
    }
}

/// One line on a syntax error. The parser's own text quotes the line, which may hold a secret.
fn syntax(error: &ConfigError, text: &str) -> String {
    let ConfigError::FileParse { cause, .. } = error else { return error.to_string() };
    let Some(toml) = cause.downcast_ref::<toml::de::Error>() else { return yaml(&cause.to_string()) };
    let message = toml.message().replace('\n', ", ");
    match toml.span().and_then(|span| text.get(..span.start)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.chars().rev().take_while(|&c| c != '\n').count() + 1;
            format!("line {line}, column {column}: {message}")
        }
        None => message,
    }
}

/// The YAML parser names a key as it holds it: `String("level"): duplicated key …`.
fn yaml(message: &str) -> String {
    match message.strip_prefix("String(").and_then(|rest| rest.split_once("): ")) {
        Some((key, rest)) => format!("{key}: {rest}"),
        None => message.to_owned(),
    }
}

/// A secret given in the configuration or in a file of its own; `None` where it is in neither.
pub(super) fn secret(
    inline: Option<Secret>,
    file: Option<&Path>,
    key: &str,
) -> Result<Option<SecretString>, Mistake> {
    let (key, secret) = match (inline, file) {
        (Some(_), Some(_)) => {
            return Err(Mistake::new(key, format!("is set, and {key}_file as well; keep one of them")));
        }
        (None, None) => return Ok(None),
        (Some(Secret(secret)), None) => (key.to_owned(), secret),
        (None, Some(file)) => {
            let key = format!("{key}_file");
            match std::fs::read_to_string(file) {
                Ok(text) => (key, SecretString::from(without_newline(&text))),
                Err(error) => {
                    return Err(Mistake::new(key, format!("{}: cannot be read: {error}", file.display())));
                }
            }
        }
    };
    if secrecy::ExposeSecret::expose_secret(&secret).is_empty() {
        return Err(Mistake::new(key, "is empty; leave the key out, or give the secret"));
    }
    Ok(Some(secret))
}

/// Editors and `echo` end a file with one newline; any other blank is part of the secret.
fn without_newline(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
