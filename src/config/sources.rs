//! Where the configuration comes from: file and environment, merged into one tree of values; and the files of secrets.
//!
//! What the values mean belongs to `raw` and what follows it.

use std::{
    collections::HashMap,
    ffi::OsString,
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

/// What the names of our variables begin with.
const PREFIX: &str = "REDPROBE__";
/// More parts than any key has. The tree is as deep as the longest name, and is walked by functions that call themselves.
const MOST_PARTS: usize = 32;

/// The process's environment. What is no UTF-8 is none of ours, unless its name says so.
pub(super) fn process_env() -> Result<Env, Vec<Mistake>> {
    read_env(std::env::vars_os())
}

fn read_env(vars: impl Iterator<Item = (OsString, OsString)>) -> Result<Env, Vec<Mistake>> {
    let mut env = Env::new();
    let mut mistakes = Vec::new();
    for (name, value) in vars {
        let Ok(name) = name.into_string() else { continue };
        let ours = name.get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX));
        match value.into_string() {
            _ if ours && name.matches("__").count() > MOST_PARTS => {
                let start: String = name.chars().take(60).collect();
                mistakes.push(Mistake::new(format!("{start}…"), "names no key: it has too many parts"));
            }
            Ok(value) => drop(env.insert(name, value)),
            Err(_) if ours => mistakes.push(Mistake::new(name, "is not valid UTF-8 (value not shown)")),
            Err(_) => {}
        }
    }
    if mistakes.is_empty() { Ok(env) } else { Err(mistakes) }
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
            match measure::conn::read_secret(file) {
                Ok(secret) => (key, secret),
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

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn read(name: &str, value: &[u8]) -> Result<Env, String> {
        let vars = [(name.into(), OsString::from_vec(value.to_vec()))];
        read_env(vars.into_iter()).map_err(|mistakes| mistakes[0].to_string())
    }

    #[test]
    fn what_is_ours_is_read_or_refused_and_never_left_out() {
        assert_eq!(read("REDPROBE__LOG__LEVEL", b"info").unwrap()["REDPROBE__LOG__LEVEL"], "info");
        assert!(read("LS_COLORS", b"\xff").unwrap().is_empty());
        assert_eq!(
            read("REDPROBE__TARGETS__A__PASSWORD", b"hunter2\xff").unwrap_err(),
            "REDPROBE__TARGETS__A__PASSWORD: is not valid UTF-8 (value not shown)"
        );
        let deep = format!("REDPROBE__{}B", "A__".repeat(20_000));
        assert!(read(&deep, b"1").unwrap_err().ends_with("…: names no key: it has too many parts"));
    }
}
