//! What is shipped to run redprobe with: the image, the compose file, and what they mount.
//!
//! There is no container engine in the tests. The files are read as data, and the programs that they start are started
//! here with the same arguments and configuration. What redprobe itself does belongs to the other modules.

use std::{fs, path::PathBuf};

use serde::de::DeserializeOwned;

mod compose;
mod image;
mod kubernetes;
mod native;
pub(crate) mod process;
mod secrets;
mod systemd;

/// A file of the repository.
fn at(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A YAML file of the repository, as exactly this type.
fn yaml<T: DeserializeOwned>(path: &str) -> T {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// `name:tag@sha256:…`, with a tag that says a version: what is run today is run tomorrow.
fn is_pinned(image: &str) -> bool {
    let Some((name, digest)) = image.split_once("@sha256:") else { return false };
    let tag = name.rsplit_once(':').map_or("", |(_, tag)| tag);
    let hex = digest.len() == 64 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    hex && !tag.is_empty() && tag != "latest"
}

#[test]
fn a_pinned_image_is_told_from_one_that_is_not() {
    let digest = "a".repeat(64);
    assert!(is_pinned(&format!("prom/prometheus:v3.0.0@sha256:{digest}")));
    let short = &digest[1..];
    for image in [
        "redis".to_owned(),
        "redis:7.2.16".into(),
        format!("redis@sha256:{digest}"),
        format!("redis:latest@sha256:{digest}"),
        format!("redis:7.2.16@sha256:{short}"),
    ] {
        assert!(!is_pinned(&image), "{image}");
    }
}
